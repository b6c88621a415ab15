//! What looking back needs of the store: which blocks were screened by an older state of the lists, what is watched since, which of these
//! blocks can touch it, and that they count as screened now where they cannot.

use alloy::primitives::{Address, B256};
use rusqlite::{Connection, params};

use super::coverage::{TRACES, Taken, cover_all};
use super::{LedgerRange, Result, Store, StoreError, bytes, chain_int, meta, sql_int};
use crate::chain::canonical::Link;

/// A block that was screened by an older state of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBehind {
    /// Its number.
    pub number: u64,
    /// The filter over its addresses ([`crate::screen::lookback`]); none where none is kept that says all of this block as it is held.
    pub filter: Option<Vec<u8>>,
    /// It has an alert of an address with an entry that is newer than its screening.
    pub alerted: bool,
}

/// Keeps which addresses a block can touch. What was found with traces is not given up for what was found without.
pub(super) fn put_filter(conn: &Connection, block_id: i64, taken: Taken, filter: &[u8]) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO lookback (block_id, planes, decoder, filter) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (block_id) DO UPDATE SET planes = excluded.planes, decoder = excluded.decoder, filter = excluded.filter \
         WHERE decoder <> excluded.decoder OR planes & ?5 <= excluded.planes & ?5",
    )?
    .execute(params![block_id, taken.planes, taken.decoder, filter, TRACES])?;
    Ok(())
}

impl Store {
    /// Whether an index is kept of that block which says all of it, as it is held.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn is_indexed(&self, block: B256) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached(
                "SELECT 1 FROM blocks b JOIN lookback i ON i.block_id = b.id AND i.decoder = b.decoder \
                 AND i.planes & ?2 >= b.planes & ?2 WHERE b.hash = ?1",
            )?
            .exists(params![block.as_slice(), TRACES])?)
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

    /// The state of the lists as of which they gained their last addresses: whatever came later says something else of an address
    /// that was watched already.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn last_gain(&self) -> Result<i64> {
        self.last_addition()
    }

    /// The addresses with an entry, now or ended, that came after that state of the lists, or of which an older bolo did not note when
    /// they came.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn entries_since(&self, revision: i64) -> Result<Vec<Address>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT x.address FROM watch_entries e JOIN addresses x ON x.id = e.address_id \
             WHERE e.state IN (0, 1) AND (e.since_revision > ?1 OR e.since_revision = 0)",
        )?;
        let rows = statement.query_map([revision], |row| bytes::<20>(row, 0).map(Address::from))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The canonical blocks of a range that were screened by that state of the lists, in order, with what is known of the addresses
    /// that they touch. Filters count that the decoder made.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn blocks_behind(&self, from: u64, to: u64, revision: i64, decoder: i64) -> Result<Vec<BlockBehind>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT b.number, i.filter, i.filter IS NULL AND EXISTS (SELECT 1 FROM alerts a JOIN watch_entries e \
               ON e.address_id = a.watched_id AND e.state IN (0, 1) AND (e.since_revision > ?3 OR e.since_revision = 0) \
               WHERE a.block_number = b.number AND a.block_id = b.id) \
             FROM blocks b LEFT JOIN lookback i ON i.block_id = b.id AND b.proof = 1 AND b.decoder = ?4 AND i.decoder = ?4 \
               AND i.planes & ?5 >= b.planes & ?5 \
             WHERE b.status <> 3 AND b.number BETWEEN ?1 AND ?2 AND b.watch_revision = ?3 ORDER BY b.number",
        )?;
        let values = params![sql_int(from), sql_int(to), revision, decoder, TRACES];
        let rows = statement.query_map(values, |row| {
            Ok(BlockBehind { number: chain_int(row.get(0)?), filter: row.get(1)?, alerted: row.get(2)? })
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
    use super::super::{AlertFilter, BlockRecord, ManualEntry};
    use super::*;
    use crate::chain::Proof;
    use crate::lists::ParsedEntry;
    use crate::screen::Designation;

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
    fn a_filter_counts_where_it_says_all_of_the_block_as_it_is_held() {
        let (_place, mut store) = open();
        let indexed = |store: &Store, number, traces, filter: u8| BlockRecord {
            traces,
            lookback: Some(vec![filter]),
            ..record(store, number, true)
        };
        let mut records: Vec<_> = (0..4).map(|number| indexed(&store, number, number < 2, 1)).collect();
        records[2].proof = Proof::Unproven;
        store.append_all(&records).unwrap();
        // Without traces it says less than was found with them; with them, more.
        let again = [indexed(&store, 0, false, 2), indexed(&store, 3, true, 3)];
        store.append_all(&again).unwrap();
        // It was taken without a filter first, and with traces that the filter has nothing of.
        let bare = BlockRecord { traces: true, ..record(&store, 4, true) };
        store.append_all(&[bare, indexed(&store, 4, false, 4)]).unwrap();
        watch(&mut store, Address::repeat_byte(0xbb));
        assert_eq!(filters(&store, 1), [Some(vec![1]), Some(vec![1]), None, Some(vec![3]), None]);
        assert_eq!(filters(&store, 2), [None, None, None, None, None], "another decoder finds other addresses");
        let is = |number| store.is_indexed(super::super::tests::hash(number)).unwrap();
        assert_eq!((is(0), is(4), is(5)), (true, false, false));
    }

    #[test]
    fn without_an_index_a_changed_entry_leads_to_its_alerts_and_a_new_address_to_every_block() {
        let (_place, mut store) = open();
        let mut records: Vec<_> = (0..3).map(|number| record(&store, number, true)).collect();
        records[1].alerts.clear();
        store.append_all(&records).unwrap();
        let was = store.watch_revision().unwrap();
        assert_eq!(store.entries_since(was).unwrap(), [] as [Address; 0]);
        let entry = ParsedEntry { label: Some("another".to_owned()), ..ParsedEntry::bare(WATCHED) };
        store.add_entry(&ManualEntry { list: "mine", kind: None, entry: &entry, now: 2 }).unwrap();
        assert_eq!(store.entries_since(was).unwrap(), [WATCHED]);
        assert!(store.last_gain().unwrap() <= was, "nothing that was not watched");
        let alerted = |store: &Store| -> Vec<bool> {
            store.blocks_behind(0, 100, was, 1).unwrap().iter().map(|block| block.alerted).collect()
        };
        assert_eq!(alerted(&store), [true, false, true]);
        watch(&mut store, Address::repeat_byte(0xbb));
        assert!(store.last_gain().unwrap() > was);
        // What an older bolo noted no time of may be new to any block.
        store.conn.execute("UPDATE watch_entries SET since_revision = 0", []).unwrap();
        assert_eq!(store.entries_since(i64::MAX).unwrap().len(), 2);
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
        let entry = ParsedEntry::bare(WATCHED);
        store.add_entry(&ManualEntry { list: "other", kind: None, entry: &entry, now: 2 }).unwrap();
        let again: Vec<_> = (0..4)
            .map(|number| {
                let mut block = record(&store, number, true);
                let entry = if number == 1 { 1 } else { 2 };
                block.alerts.iter_mut().for_each(|alert| alert.matched = vec![(entry, Designation::Unknown)]);
                block.alerts.truncate(1);
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
