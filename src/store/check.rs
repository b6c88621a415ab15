//! What is known of single addresses, for `watchlist check`: each question is answered by an index, so that a million of them can be
//! asked of a list of a million.

use alloy::primitives::Address;
use rusqlite::{OptionalExtension, params};

use super::addresses::find_address;
use super::{Result, Store, chain_int};

/// The alerts of an address that stand: not those of blocks that a reorg replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StandingAlerts {
    /// How many, on all lists, noise included.
    pub count: u64,
    /// Number and time (unix seconds) of the newest block with one.
    pub last: Option<(u64, i64)>,
}

impl Store {
    /// Whether the address has ever been on a list: for most addresses there is nothing more to ask.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn was_ever_listed(&self, address: Address) -> Result<bool> {
        let Some(address) = find_address(&self.conn, address)? else { return Ok(false) };
        Ok(self
            .conn
            .prepare_cached("SELECT 1 FROM committed_entries WHERE address_id = ?1 LIMIT 1")?
            .exists([address])?)
    }

    /// The lists that the address was on and is not any more, with when the version that ended it was published, unix seconds.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn left_lists(&self, address: Address) -> Result<Vec<(String, i64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT l.name, max(v.published) FROM committed_entries e JOIN addresses x ON x.id = e.address_id AND x.address = ?1 \
             JOIN lists l ON l.id = e.list_id JOIN list_versions v ON v.id = e.end_version \
             WHERE e.state IN (1, 2) AND NOT EXISTS \
                   (SELECT 1 FROM committed_entries a WHERE a.list_id = e.list_id AND a.address_id = e.address_id AND a.state = 0) \
             GROUP BY l.id ORDER BY l.name",
        )?;
        let rows = statement.query_map([address.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The alerts of a watched address that stand.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn standing_alerts(&self, address: Address) -> Result<StandingAlerts> {
        let Some(id) = find_address(&self.conn, address)? else { return Ok(StandingAlerts::default()) };
        // Counted from the index alone, since there may be many; those of orphaned blocks are few.
        let count: i64 = self
            .conn
            .prepare_cached(
                "SELECT (SELECT count(*) FROM alerts WHERE watched_id = ?1) - (SELECT count(*) FROM blocks b CROSS JOIN alerts a \
                 ON a.watched_id = ?1 AND a.block_number = b.number AND a.block_id = b.id WHERE b.status = 3)",
            )?
            .query_row([id], |row| row.get(0))?;
        let last = self
            .conn
            .prepare_cached(
                "SELECT b.number, b.timestamp FROM alerts a JOIN blocks b ON b.id = a.block_id AND b.status <> 3 \
                 WHERE a.watched_id = ?1 ORDER BY a.block_number DESC LIMIT 1",
            )?
            .query_row(params![id], |row| Ok((chain_int(row.get(0)?), row.get(1)?)))
            .optional()?;
        Ok(StandingAlerts { count: chain_int(count), last })
    }
}
