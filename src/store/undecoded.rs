//! What was not decoded in a range of blocks: how much of it by reason, and whether it may be about an address.

use std::collections::{BTreeSet, HashSet};

use alloy::primitives::Address;
use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::find_address;
use super::{BlockRecord, Result, Store, bytes, chain_int, sql_int};
use crate::decode::{Named, Undecoded};

/// Blocks of a range whose undecoded logs or frames may be about one of the addresses that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UndecodedNames {
    /// Blocks with an undecoded log or frame that names one of them.
    pub naming: u64,
    /// The first of these, and an address that it names.
    pub first: Option<(u64, Address)>,
    /// Blocks whose undecoded logs and frames name more addresses than are kept.
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
    // The names of frames and of logs are kept together: too many names are better than too few.
    conn.prepare_cached(
        "DELETE FROM undecoded_names WHERE block_id = ?1 AND NOT EXISTS (SELECT 1 FROM undecoded WHERE block_id = ?1)",
    )?
    .execute([block_id])?;
    Ok(())
}

/// Adds what is not decoded in a block, and whom it may name, to what is kept of it.
pub(super) fn put_undecoded(conn: &Connection, block_id: i64, record: &BlockRecord) -> Result<()> {
    if record.undecoded.is_empty() {
        return Ok(());
    }
    for (reason, count) in &record.undecoded {
        conn.prepare_cached(
            "INSERT INTO undecoded (block_id, reason, count) VALUES (?1, ?2, ?3) \
             ON CONFLICT (block_id, reason) DO UPDATE SET count = max(count, excluded.count)",
        )?
        .execute(params![block_id, reason.name(), sql_int(*count)])?;
    }
    let before: Option<Option<Vec<u8>>> = conn
        .prepare_cached("SELECT names FROM undecoded_names WHERE block_id = ?1")?
        .query_row([block_id], |row| row.get(0))
        .optional()?;
    let names = match (&record.named, &before) {
        (Named::These(names), None) => Some(pack(names)),
        (Named::These(names), Some(Some(before))) => Some(pack(&names.iter().copied().chain(unpack(before)).collect())),
        (Named::Anybody, _) | (_, Some(None)) => None,
    };
    conn.prepare_cached(
        "INSERT INTO undecoded_names (block_id, names) VALUES (?1, ?2) ON CONFLICT (block_id) DO UPDATE SET names = excluded.names",
    )?
    .execute(params![block_id, names])?;
    Ok(())
}

fn pack(names: &BTreeSet<Address>) -> Vec<u8> {
    names.iter().flat_map(|name| name.0.0).collect()
}

fn unpack(names: &[u8]) -> impl Iterator<Item = Address> {
    names.chunks_exact(20).map(Address::from_slice)
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
        let mut statement = self.conn.prepare_cached(
            "SELECT b.number, n.names FROM blocks b LEFT JOIN undecoded_names n ON n.block_id = b.id WHERE b.status <> 3 \
             AND b.number BETWEEN ?1 AND ?2 AND EXISTS (SELECT 1 FROM undecoded u WHERE u.block_id = b.id) ORDER BY b.number",
        )?;
        let mut rows = statement.query(params![sql_int(from), sql_int(to)])?;
        let mut found = UndecodedNames::default();
        let mut asked: Option<HashSet<Address>> = None;
        while let Some(row) = rows.next()? {
            let Some(names) = row.get::<_, Option<Vec<u8>>>(1)? else {
                found.unknown += 1;
                continue;
            };
            let asked = match &mut asked {
                Some(asked) => asked,
                None if addresses.is_empty() => asked.insert(self.ever_watched()?),
                None => asked.insert(addresses.iter().copied().collect()),
            };
            if let Some(named) = unpack(&names).find(|name| asked.contains(name)) {
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

    /// A block with undecoded logs that name those.
    fn undecoded(store: &Store, number: u64, named: Named) -> BlockRecord {
        let counts = [(Undecoded::TopicCount, 2), (Undecoded::UnknownFrame, 1)].into();
        BlockRecord { undecoded: counts, named, ..record(store, number, true) }
    }

    fn these(names: &[Address]) -> Named {
        Named::These(names.iter().copied().collect())
    }

    #[test]
    fn undecoded_logs_are_counted_by_range_and_answer_for_the_addresses_they_name() {
        let (_place, mut store) = open();
        let records = [
            record(&store, 0, true),
            undecoded(&store, 1, these(&[OTHER, Address::repeat_byte(1)])),
            undecoded(&store, 2, these(&[Address::repeat_byte(2)])),
            undecoded(&store, 3, Named::Anybody),
            undecoded(&store, 4, these(&[Address::repeat_byte(4)])),
            undecoded(&store, 5, these(&[WATCHED])),
        ];
        store.append_all(&records).unwrap();
        let counts = |from, to| store.undecoded_in(from, to).unwrap();
        assert_eq!(counts(0, 0), []);
        assert_eq!(counts(0, 2), [("topic_count".to_owned(), 4), ("unknown_frame".to_owned(), 2)]);
        let naming = |from, to, addresses: &[Address]| store.undecoded_naming(from, to, addresses).unwrap();
        let none = UndecodedNames::default();
        assert_eq!(naming(0, 2, &[OTHER]), UndecodedNames { naming: 1, first: Some((1, OTHER)), unknown: 0 });
        assert_eq!(naming(2, 2, &[OTHER]), none, "it names another");
        assert_eq!(naming(0, 2, &[WATCHED, Address::ZERO]), none);
        assert_eq!(naming(0, 5, &[]), UndecodedNames { naming: 1, first: Some((5, WATCHED)), unknown: 1 });
        assert_eq!(naming(3, 3, &[OTHER]).unknown, 1, "more names than are kept");
        // Taken again in the same way, only this time counts.
        store.append(&undecoded(&store, 3, these(&[Address::repeat_byte(4)]))).unwrap();
        assert_eq!(store.undecoded_naming(3, 4, &[OTHER]).unwrap(), none);
    }

    #[test]
    fn a_frame_that_was_counted_with_traces_stays_counted_without_and_so_does_whom_it_names() {
        let (_place, mut store) = open();
        let log = Address::repeat_byte(0x11);
        let with = |store: &Store, traces, reasons: &[(Undecoded, u64)], named| {
            let undecoded = reasons.iter().copied().collect();
            BlockRecord { traces, undecoded, named, ..record(store, 0, true) }
        };
        let (topics, frame) = ((Undecoded::TopicCount, 2), (Undecoded::UnknownFrame, 1));
        let naming = |store: &Store, address| store.undecoded_naming(0, 0, &[address]).unwrap().naming;
        store.append(&with(&store, true, &[frame], these(&[OTHER]))).unwrap();
        store.append(&with(&store, false, &[topics], these(&[log]))).unwrap();
        let counts = store.undecoded_in(0, 0).unwrap();
        assert_eq!(counts, [("topic_count".to_owned(), 2), ("unknown_frame".to_owned(), 1)]);
        assert_eq!([OTHER, log, WATCHED].map(|address| naming(&store, address)), [1, 1, 0]);
        // Other traces that do not show the frame take the place of those of before.
        store.append(&with(&store, true, &[topics], these(&[log]))).unwrap();
        assert_eq!([OTHER, log].map(|address| naming(&store, address)), [0, 1]);
        store.append(&with(&store, true, &[], these(&[]))).unwrap();
        assert_eq!([OTHER, log].map(|address| naming(&store, address)), [0, 0]);
        assert_eq!(store.undecoded_in(0, 0).unwrap(), []);
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
