//! What looking back needs of the store: which blocks were screened by an older state of the lists, which addresses these blocks can
//! touch, and that they count as screened now where the present lists find nothing else.

use alloy::primitives::B256;
use rusqlite::{Connection, params};

use super::coverage::{SENDERS, TRACES, Taken, cover_all};
use super::watch_spans::differs;
use super::{BlockRecord, LedgerRange, Result, Store, StoreError, chain_int, meta, sql_int};
use crate::chain::canonical::Link;
use crate::decode::{Named, Undecoded};

/// A block that was screened by an older state of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBehind {
    /// Its number.
    pub number: u64,
    /// Its time, unix seconds.
    pub timestamp: i64,
    /// The filter over its addresses ([`crate::screen::lookback`]); none where none is kept that was made with the proof and the
    /// planes that the block has.
    pub filter: Option<Vec<u8>>,
    /// It has an alert of an address of which other entries match the block now.
    pub alerted: bool,
}

/// Keeps which addresses a block can touch, and which its undecoded logs and frames name, where the filter was made (`made`) with all
/// that the block has now (`held`). Else the filter that is there stays, unless it rests on claims that were made anew: on an
/// endpoint's traces, or on senders that nobody recovered. Undecoded frames of incomplete traces are such claims too.
pub(super) fn put_filter(
    conn: &Connection,
    block_id: i64,
    held: Taken,
    made: Taken,
    record: &BlockRecord,
) -> Result<()> {
    match &record.lookback {
        Some(filter) if (held.proof, held.planes, held.decoder) == (made.proof, made.planes, made.decoder) => {
            let named: Option<Vec<u8>> = match &record.named {
                Named::These(addresses) => Some(addresses.iter().flat_map(|address| address.0.0).collect()),
                Named::Anybody => None,
            };
            conn.prepare_cached(
                "INSERT INTO lookback (block_id, proof, planes, decoder, filter, undecoded) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (block_id) DO UPDATE SET proof = excluded.proof, planes = excluded.planes, decoder = excluded.decoder, \
                 filter = excluded.filter, undecoded = excluded.undecoded",
            )?
            .execute(params![block_id, made.proof, made.planes, made.decoder, filter, named])?;
        }
        _ => {
            conn.prepare_cached(
                "DELETE FROM lookback WHERE block_id = ?1 AND (?5 OR planes & ?2 = 0 OR planes & ?3 & ?4 <> 0)",
            )?
            .execute(params![
                block_id,
                SENDERS,
                TRACES,
                made.planes,
                record.undecoded.contains_key(&Undecoded::UnknownFrame)
            ])?;
        }
    }
    Ok(())
}

/// Joins the filter `i` of a block `b`, where the filter was made with the proof and the planes that the block has.
pub(super) const FILTER: &str =
    "i.block_id = b.id AND i.proof = b.proof AND i.planes = b.planes AND i.decoder = b.decoder AND b.proof = 1";

impl Store {
    /// Whether a filter is kept of that block which says all of it, as it is held.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn is_indexed(&self, block: B256) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached(&format!("SELECT 1 FROM blocks b JOIN lookback i ON {FILTER} WHERE b.hash = ?1"))?
            .exists([block.as_slice()])?)
    }

    /// Blocks of a range that were screened by another state of the lists than the present one, in order.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn screened_otherwise(&self, from: u64, to: u64) -> Result<Vec<LedgerRange>> {
        let revision = self.watch_revision()?;
        let mut ranges = self.ledger(from, to)?;
        ranges.retain(|ledger| ledger.watch_revision != revision);
        Ok(ranges)
    }

    /// The canonical blocks of a range that were screened by that state of the lists, in order, with what is known of the addresses
    /// that they touch. Filters count that the decoder made.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn blocks_behind(&self, from: u64, to: u64, revision: i64, decoder: i64) -> Result<Vec<BlockBehind>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT b.number, b.timestamp, i.filter, EXISTS (SELECT 1 FROM alerts a \
               WHERE a.block_number = b.number AND a.block_id = b.id AND {}) \
             FROM blocks b LEFT JOIN lookback i ON {FILTER} AND i.decoder = ?4 \
             WHERE b.status <> 3 AND b.number BETWEEN ?2 AND ?3 AND b.watch_revision = ?1 ORDER BY b.number",
            differs("a.watched_id")
        ))?;
        let values = params![revision, sql_int(from), sql_int(to), decoder];
        let rows = statement.query_map(values, |row| {
            Ok(BlockBehind {
                number: chain_int(row.get(0)?),
                timestamp: row.get(1)?,
                filter: row.get(2)?,
                alerted: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes that the blocks of those ranges which were screened by the state `was` of the lists would have given nothing else by the
    /// state `now`, in one transaction; how many there were.
    ///
    /// # Errors
    /// [`StoreError::StaleWatchlist`] where the lists are in another state by now.
    pub fn mark_screened(&mut self, ranges: &[(u64, u64)], was: i64, now: i64) -> Result<u64> {
        // What the power takes is looked at again.
        self.sync(false)?;
        self.write(|tx| {
            let revision = meta(tx, "watch_revision")?.and_then(|text| text.parse().ok()).unwrap_or(0);
            if revision != now {
                return Err(StoreError::StaleWatchlist);
            }
            let mut marked = 0;
            for (from, to) in ranges {
                let mut blocks: Vec<(u64, Taken)> = tx
                    .prepare_cached(
                        "UPDATE blocks SET watch_revision = ?4 WHERE status <> 3 AND number BETWEEN ?1 AND ?2 AND watch_revision = ?3 \
                         RETURNING number, proof, planes, watch_revision, decoder",
                    )?
                    .query_map(params![sql_int(*from), sql_int(*to), was, now], |row| {
                        Ok((chain_int(row.get(0)?), Taken::read(row, 1)?))
                    })?
                    .collect::<rusqlite::Result<_>>()?;
                blocks.sort_by_key(|(number, _)| *number);
                marked += blocks.len() as u64;
                for run in blocks.chunk_by(|(a, taken), (b, next)| a + 1 == *b && taken == next) {
                    if let ([(first, taken), ..], [.., (last, _)]) = (run, run) {
                        cover_all(tx, *first, *last, *taken)?;
                    }
                }
            }
            Ok(marked)
        })
    }

    /// The canonical block of that number with its parent.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn link_of(&self, number: u64) -> Result<Option<Link>> {
        let both = self.hash_of(number)?.zip(self.parent_of(number)?);
        Ok(both.map(|(hash, parent_hash)| Link { number, hash, parent_hash }))
    }

    /// Notes whether the watch that runs looks back by itself.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_auto_lookback(&mut self, on: bool) -> Result<()> {
        if meta(&self.conn, "auto_lookback")?.is_some() == on {
            return Ok(());
        }
        self.write(|tx| {
            if on {
                return super::set_meta(tx, "auto_lookback", "1");
            }
            tx.execute("DELETE FROM meta WHERE key = 'auto_lookback'", [])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WATCHED, open, record, watch};
    use super::super::{AlertFilter, BlockRecord, ListFile, ManualEntry};
    use super::*;
    use crate::chain::Proof;
    use crate::lists::ParsedEntry;
    use crate::screen::Designation;
    use alloy::primitives::Address;

    fn filters(store: &Store, decoder: i64) -> Vec<Option<Vec<u8>>> {
        let revision = store.ledger(0, 100).unwrap()[0].watch_revision;
        store.blocks_behind(0, 100, revision, decoder).unwrap().into_iter().map(|block| block.filter).collect()
    }

    #[test]
    fn what_is_ruled_out_counts_as_screened_now_and_the_ledger_says_so() {
        let (_place, mut store) = open();
        let records: Vec<_> = (0..9).map(|number| record(&store, number, number != 4)).collect();
        store.append_all(&records).unwrap();
        let (was, digest) = (store.watch_revision().unwrap(), store.digest().unwrap());
        watch(&mut store, Address::repeat_byte(0xbb));
        let now = store.watch_revision().unwrap();
        assert!(matches!(store.mark_screened(&[(0, 8)], was, was), Err(StoreError::StaleWatchlist)));
        assert_eq!(store.mark_screened(&[(1, 5), (7, 7)], was, now).unwrap(), 6);
        let ranges = |store: &Store, of: Vec<LedgerRange>| -> Vec<(u64, u64, bool)> {
            assert_eq!(store.ledger_differences().unwrap(), []);
            of.iter().map(|ledger| (ledger.range.from, ledger.range.to, ledger.range.senders)).collect()
        };
        let behind = store.screened_otherwise(0, 100).unwrap();
        assert_eq!(ranges(&store, behind), [(0, 0, true), (6, 6, true), (8, 8, true)]);
        assert_eq!(store.mark_screened(&[(0, 8)], was, now).unwrap(), 3, "those that were are not counted again");
        let all = store.ledger(0, 100).unwrap();
        assert_eq!(
            ranges(&store, all),
            [(0, 3, true), (4, 4, false), (5, 8, true)],
            "joined, and nothing else changed"
        );
        assert_eq!(store.digest().unwrap(), digest);
    }

    #[test]
    fn a_filter_counts_where_it_was_made_with_the_proof_and_the_planes_that_the_block_has() {
        let (_place, mut store) = open();
        let made = |store: &Store, number, traces, senders, filter: u8| BlockRecord {
            traces,
            lookback: Some(vec![filter]),
            ..record(store, number, senders)
        };
        let bare = |store: &Store, number, traces, senders| BlockRecord { traces, ..record(store, number, senders) };
        let on_trust = |block: BlockRecord| BlockRecord { proof: Proof::Unproven, ..block };
        let first = [
            made(&store, 0, true, true, 1),
            made(&store, 1, true, true, 1),
            on_trust(made(&store, 2, false, false, 1)),
            made(&store, 3, false, true, 1),
            made(&store, 4, false, false, 1),
            made(&store, 5, false, false, 1),
            made(&store, 6, false, true, 1),
            made(&store, 7, true, true, 1),
            on_trust(made(&store, 8, true, false, 1)),
        ];
        store.append_all(&first).unwrap();
        let again = [
            made(&store, 0, false, true, 2),
            // Of the planes that the first run had, this one saw other claims and made no filter of them.
            bare(&store, 1, true, true),
            bare(&store, 3, true, true),
            // Every sender is known now: the filter of claimed ones does not count.
            bare(&store, 4, false, true),
            bare(&store, 5, false, false),
            bare(&store, 6, false, true),
            made(&store, 7, true, true, 2),
            bare(&store, 8, false, true),
        ];
        store.append_all(&again).unwrap();
        watch(&mut store, Address::repeat_byte(0xbb));
        let (first, second) = (Some(vec![1]), Some(vec![2]));
        assert_eq!(filters(&store, 1), [first.clone(), None, None, None, None, None, first, second, None]);
        assert_eq!(filters(&store, 2), vec![None; 9], "another decoder finds other addresses");
        let is = |number| store.is_indexed(super::super::tests::hash(number)).unwrap();
        assert_eq!((is(0), is(4), is(9)), (true, false, false));
    }

    #[test]
    fn a_changed_entry_leads_to_its_alerts_and_a_new_address_to_blocks_of_the_times_that_it_matches() {
        let (_place, mut store) = open();
        let mut records: Vec<_> = (0..3).map(|number| record(&store, number, true)).collect();
        records[1].alerts.clear();
        store.append_all(&records).unwrap();
        let was = store.watch_revision().unwrap();
        assert!(store.gains_since(was).unwrap().is_empty() && !store.has_changed_since(was).unwrap());
        let entry = ParsedEntry { label: Some("another".to_owned()), ..ParsedEntry::bare(WATCHED) };
        store.add_entry(&ManualEntry { list: "mine", kind: None, entry: &entry, now: 2 }).unwrap();
        assert!(store.has_changed_since(was).unwrap());
        assert_eq!(store.gains_since(was).unwrap(), [], "nothing that was not watched");
        assert_eq!(store.block_coverage(0, 2).unwrap().screened_before, 0);
        let alerted = |store: &Store| -> Vec<bool> {
            store.blocks_behind(0, 100, was, 1).unwrap().iter().map(|block| block.alerted).collect()
        };
        assert_eq!(alerted(&store), [true, false, true]);
        let new = Address::repeat_byte(0xbb);
        watch(&mut store, new);
        let gain = |from, until| [super::super::Gain { from, until, addresses: vec![new] }];
        assert_eq!(store.gains_since(was).unwrap(), gain(i64::MIN, i64::MAX));
        assert_eq!(store.block_coverage(0, 2).unwrap().screened_before, 3);
        store.remove_entry(new, None, 3).unwrap();
        assert_eq!(store.gains_since(was).unwrap(), [], "it matches nothing now");
        // It is on another list, removed by hand, and a file of the second block's time turns up that no longer has it.
        let mut import = |published: i64, entries: &[ParsedEntry]| {
            let file = ListFile {
                list: "dated",
                kind: None,
                published: Some(published),
                imported_at: published,
                source: "f",
                format: "csv",
                sha256: [u8::try_from(entries.len()).unwrap(); 32],
                entries,
                rejected: 0,
            };
            store.import_list(&file).unwrap();
            if entries.len() == 1 {
                store.remove_entry(new, None, 1_800_000_000).unwrap();
            }
        };
        import(1_600_000_000, &[ParsedEntry::bare(new)]);
        import(1_700_000_001, &[]);
        assert_eq!(store.gains_since(was).unwrap(), gain(i64::MIN, 1_700_000_001));
        assert_eq!(store.block_coverage(0, 2).unwrap().screened_before, 1);
        let unscreened = |block| store.first_unscreened(new, &store.ledger(block, block).unwrap()[0]).unwrap();
        assert_eq!([0, 1, 2].map(unscreened), [Some(0), Some(1), Some(2)]);
        store.append_all(&(0..3).map(|number| record(&store, number, true)).collect::<Vec<_>>()).unwrap();
        let ledger = store.ledger(0, 2).unwrap();
        assert_eq!((ledger.len(), store.first_unscreened(new, &ledger[0]).unwrap()), (1, Some(1)));
    }

    #[test]
    fn an_alert_is_retroactive_where_its_block_was_screened_before_its_entries_came() {
        let (_place, mut store) = open();
        let found = |store: &Store| -> Vec<(u64, bool)> {
            let mut all = Vec::new();
            let every = AlertFilter::default();
            let each = |row: super::super::AlertRow| {
                all.push((row.block_number, row.retroactive));
                Ok(())
            };
            store.each_alert::<StoreError>(&every, each).unwrap();
            all.sort_unstable();
            all
        };
        let mut first: Vec<_> = (0..3).map(|number| record(&store, number, true)).collect();
        first[0].alerts.clear();
        // Nothing was found in it on trust.
        first[1].alerts.clear();
        first[1].proof = Proof::Unproven;
        store.append_all(&first).unwrap();
        let later = Address::repeat_byte(0xbb);
        watch(&mut store, later);
        let again: Vec<_> = (0..4)
            .map(|number| {
                let mut block = record(&store, number, true);
                if number != 1 {
                    block.alerts[0].watched = later;
                    block.alerts[0].matched = vec![(2, Designation::Unknown)];
                }
                if number != 2 {
                    block.alerts.truncate(1);
                }
                block
            })
            .collect();
        store.append_all(&again).unwrap();
        // 0: for the later entry. 1: of an entry that was there, proven only now. 2: there already. 3: a block that is new.
        assert_eq!(found(&store), [(0, true), (1, false), (2, false), (2, false), (3, false)]);
        let report =
            "SELECT group_concat(retroactive) FROM (SELECT retroactive FROM alert_report ORDER BY block_number)";
        let report: String = store.conn.query_row(report, [], |row| row.get(0)).unwrap();
        assert_eq!(report, "1,0,0,0,0");
    }
}
