//! What was not decoded in a range of blocks: how much of it by reason, and whether it may be about an address.

use std::collections::HashSet;

use alloy::primitives::Address;
use rusqlite::{Connection, params};

use super::addresses::find_address;
use super::lookback::FILTER;
use super::{BlockRecord, Result, Store, bytes, chain_int, sql_int};
use crate::decode::Undecoded;

/// Blocks of a range whose undecoded logs or frames may be about one of the addresses that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UndecodedNames {
    /// Blocks with an undecoded log or frame that names one of them.
    pub naming: u64,
    /// The first of these, and an address that it names.
    pub first: Option<(u64, Address)>,
    /// Blocks with an undecoded log or frame and without a look-back filter that counts: nothing records which addresses these name.
    pub unindexed: u64,
    /// Blocks whose undecoded logs and frames name more addresses than are recorded.
    pub unknown: u64,
}

/// Forgets what was not decoded in a block that is taken again. `keeps_frames`: this time its traces are not seen, and those of before
/// still count.
pub(super) fn forget_undecoded(conn: &Connection, block_id: i64, keeps_frames: bool) -> Result<()> {
    conn.prepare_cached("DELETE FROM undecoded WHERE block_id = ?1 AND NOT (?2 AND reason = ?3)")?.execute(params![
        block_id,
        keeps_frames,
        Undecoded::UnknownFrame.name()
    ])?;
    Ok(())
}

/// Adds what is not decoded in a block to what is kept of it.
pub(super) fn put_undecoded(conn: &Connection, block_id: i64, record: &BlockRecord) -> Result<()> {
    for (reason, count) in &record.undecoded {
        conn.prepare_cached(
            "INSERT INTO undecoded (block_id, reason, count) VALUES (?1, ?2, ?3) \
             ON CONFLICT (block_id, reason) DO UPDATE SET count = max(count, excluded.count)",
        )?
        .execute(params![block_id, reason.name(), sql_int(*count)])?;
    }
    Ok(())
}

impl Store {
    /// What was not decoded in the canonical blocks of a range, by reason.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn undecoded_in(&self, from: u64, to: u64) -> Result<Vec<(String, u64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT u.reason, sum(u.count) FROM undecoded u JOIN blocks b ON b.id = u.block_id AND b.status <> 3 \
             WHERE b.number BETWEEN ?1 AND ?2 GROUP BY u.reason ORDER BY u.reason",
        )?;
        let rows = statement
            .query_map(params![sql_int(from), sql_int(to)], |row| Ok((row.get(0)?, chain_int(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// In which blocks of a range that may be about one of these addresses; none: about any that is or was watched.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn undecoded_naming(&self, from: u64, to: u64, addresses: &[Address]) -> Result<UndecodedNames> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT b.number, i.block_id IS NOT NULL, i.undecoded FROM blocks b LEFT JOIN lookback i ON {FILTER} WHERE b.status <> 3 \
             AND b.number BETWEEN ?1 AND ?2 AND EXISTS (SELECT 1 FROM undecoded u WHERE u.block_id = b.id) ORDER BY b.number"
        ))?;
        let mut rows = statement.query(params![sql_int(from), sql_int(to)])?;
        let mut found = UndecodedNames::default();
        let mut asked: Option<HashSet<Address>> = None;
        while let Some(row) = rows.next()? {
            if !row.get::<_, bool>(1)? {
                found.unindexed += 1;
                continue;
            }
            let Some(names) = row.get::<_, Option<Vec<u8>>>(2)? else {
                found.unknown += 1;
                continue;
            };
            let asked = match &mut asked {
                Some(asked) => asked,
                None if addresses.is_empty() => asked.insert(self.ever_watched()?),
                None => asked.insert(addresses.iter().copied().collect()),
            };
            if let Some(named) = names.chunks_exact(20).map(Address::from_slice).find(|name| asked.contains(name)) {
                found.naming += 1;
                found.first = found.first.or(Some((chain_int(row.get(0)?), named)));
            }
        }
        Ok(found)
    }

    /// How many canonical blocks of a range have a header that names the address as beneficiary, and the first of them.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn blocks_of_beneficiary(&self, from: u64, to: u64, address: Address) -> Result<Option<(u64, u64)>> {
        let Some(id) = find_address(&self.conn, address)? else { return Ok(None) };
        let (count, first): (i64, Option<i64>) = self
            .conn
            .prepare_cached(
                "SELECT count(*), min(number) FROM blocks WHERE beneficiary_id = ?1 AND number BETWEEN ?2 AND ?3 AND status <> 3",
            )?
            .query_row(params![id, sql_int(from), sql_int(to)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(first.map(|first| (chain_int(count), chain_int(first))))
    }

    /// Every address with an entry, in force or ended.
    fn ever_watched(&self) -> Result<HashSet<Address>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT x.address FROM committed_entries e JOIN addresses x ON x.id = e.address_id WHERE e.state IN (0, 1)",
        )?;
        let rows = statement.query_map([], |row| bytes::<20>(row, 0).map(Address::from))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlockRecord;
    use super::super::tests::{WATCHED, open, record};
    use super::*;
    use crate::decode::{Named, Undecoded};

    const OTHER: Address = Address::repeat_byte(0x77);

    /// A block with undecoded logs that name those, and with a filter for looking back or without.
    fn undecoded(store: &Store, number: u64, named: Named, indexed: bool) -> BlockRecord {
        let counts = [(Undecoded::TopicCount, 2), (Undecoded::UnknownWrapper, 1)].into();
        BlockRecord { undecoded: counts, named, lookback: indexed.then(|| vec![0]), ..record(store, number, true) }
    }

    fn these(names: &[Address]) -> Named {
        Named::These(names.iter().copied().collect())
    }

    #[test]
    fn undecoded_logs_are_counted_by_range_and_answer_for_the_addresses_they_name() {
        let (_place, mut store) = open();
        let records = [
            record(&store, 0, true),
            undecoded(&store, 1, these(&[OTHER, Address::repeat_byte(1)]), true),
            undecoded(&store, 2, these(&[Address::repeat_byte(2)]), true),
            undecoded(&store, 3, Named::Anybody, true),
            undecoded(&store, 4, these(&[]), false),
            undecoded(&store, 5, these(&[WATCHED]), true),
            undecoded(&store, 6, these(&[OTHER]), false),
        ];
        store.append_all(&records).unwrap();
        let counts = |from, to| store.undecoded_in(from, to).unwrap();
        assert_eq!(counts(0, 0), []);
        assert_eq!(counts(0, 2), [("topic_count".to_owned(), 4), ("unknown_wrapper".to_owned(), 2)]);
        let naming = |from, to, addresses: &[Address]| store.undecoded_naming(from, to, addresses).unwrap();
        let none = UndecodedNames::default();
        assert_eq!(naming(0, 2, &[OTHER]), UndecodedNames { naming: 1, first: Some((1, OTHER)), ..none });
        assert_eq!(naming(2, 2, &[OTHER]), none, "it names another");
        assert_eq!(naming(0, 2, &[WATCHED, Address::ZERO]), none);
        let of_all = UndecodedNames { naming: 1, first: Some((5, WATCHED)), unindexed: 2, unknown: 1 };
        assert_eq!(naming(0, 6, &[]), of_all);
        assert_eq!(naming(3, 3, &[OTHER]), UndecodedNames { unknown: 1, ..none }, "more names than are recorded");
        for (from, to, address) in [(4, 4, OTHER), (4, 4, WATCHED), (6, 6, Address::repeat_byte(4))] {
            assert_eq!(naming(from, to, &[address]), UndecodedNames { unindexed: 1, ..none }, "no filter");
        }
        // Taken again with an index, the names are known; without one, the filter stays.
        for indexed in [true, false] {
            store.append(&undecoded(&store, 4, these(&[Address::repeat_byte(4)]), indexed)).unwrap();
            let naming = |address| store.undecoded_naming(4, 4, &[address]).unwrap();
            assert_eq!((naming(OTHER), naming(Address::repeat_byte(4)).naming), (none, 1), "{indexed}");
        }
    }

    #[test]
    fn a_filter_answers_for_undecoded_frames_only_with_the_traces_it_was_made_of() {
        let (_place, mut store) = open();
        let log = Address::repeat_byte(0x11);
        let (topics, frame) = ((Undecoded::TopicCount, 2), (Undecoded::UnknownFrame, 1));
        let with = |store: &Store, traces: bool, indexed: bool, of_frame: Option<Address>| BlockRecord {
            traces,
            undecoded: [topics].into_iter().chain(of_frame.map(|_| frame)).collect(),
            named: Named::These([log].into_iter().chain(of_frame).collect()),
            lookback: indexed.then(|| vec![0]),
            ..record(store, 0, true)
        };
        // How many blocks name the frame's address, the log's and another one, and how many have no filter.
        let naming = |store: &Store| {
            let of = |address| store.undecoded_naming(0, 0, &[address]).unwrap();
            ([of(OTHER).naming, of(log).naming, of(WATCHED).naming], of(WATCHED).unindexed)
        };
        store.append(&with(&store, true, true, Some(OTHER))).unwrap();
        assert_eq!(naming(&store), ([1, 1, 0], 0));
        // Without traces, those of before still count, and so does their filter.
        for indexed in [true, false] {
            store.append(&with(&store, false, indexed, None)).unwrap();
            assert_eq!(naming(&store), ([1, 1, 0], 0), "{indexed}");
        }
        let counts = store.undecoded_in(0, 0).unwrap();
        assert_eq!(counts, [("topic_count".to_owned(), 2), ("unknown_frame".to_owned(), 1)]);
        // Other traces take their place: without a filter of these, nothing records the names.
        store.append(&with(&store, true, false, None)).unwrap();
        assert_eq!(naming(&store), ([0, 0, 0], 1));
        // A filter without traces says nothing of a block that has some.
        store.append(&with(&store, false, true, None)).unwrap();
        assert_eq!(naming(&store), ([0, 0, 0], 1));
        store.append(&with(&store, true, true, None)).unwrap();
        assert_eq!(naming(&store), ([0, 1, 0], 0));
        // A frame of incomplete traces, which do not make the plane.
        store.append(&with(&store, false, false, Some(OTHER))).unwrap();
        assert_eq!(naming(&store), ([0, 0, 0], 1));
    }

    #[test]
    fn the_header_of_a_block_tells_its_beneficiary_whatever_it_was_paid() {
        let (_place, mut store) = open();
        let mut records: Vec<_> = (0..4).map(|number| record(&store, number, true)).collect();
        records[1].beneficiary = OTHER;
        records[3].beneficiary = OTHER;
        store.append_all(&records).unwrap();
        let of = |from, to, address| store.blocks_of_beneficiary(from, to, address).unwrap();
        assert_eq!(of(0, 3, OTHER), Some((2, 1)));
        assert_eq!(of(2, 3, OTHER), Some((1, 3)));
        assert_eq!((of(2, 2, OTHER), of(0, 3, Address::repeat_byte(0x78))), (None, None));
    }
}
