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
