//! Alerts and transactions by the beginning of their id or hash, as people copy them from a table.

use alloy::primitives::B256;

use super::{Result, Store, bytes};

/// Matches that are named where there are several.
const MAX_MATCHES: usize = 4;

/// Hashes that lie between two others, both inclusive, and end in some hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashRange {
    /// The lowest.
    pub first: B256,
    /// The highest.
    pub last: B256,
    /// Hex digits that they end in, in lower case.
    pub tail: String,
}

impl Store {
    /// Ids of alerts in that range, in order; a few, where there are many.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn alert_ids(&self, range: &HashRange) -> Result<Vec<B256>> {
        self.hashes_in("SELECT alert_id FROM alerts WHERE alert_id BETWEEN ?1 AND ?2 ORDER BY alert_id", range)
    }

    /// Hashes of transactions in that range that alerts belong to, in order; a few, where there are many.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn transaction_hashes(&self, range: &HashRange) -> Result<Vec<B256>> {
        self.hashes_in("SELECT DISTINCT hash FROM transactions WHERE hash BETWEEN ?1 AND ?2 ORDER BY hash", range)
    }

    fn hashes_in(&self, sql: &str, range: &HashRange) -> Result<Vec<B256>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([range.first.as_slice(), range.last.as_slice()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let hash = B256::from(bytes::<32>(row, 0)?);
            if found.len() < MAX_MATCHES && alloy::primitives::hex::encode(hash).ends_with(&range.tail) {
                found.push(hash);
            }
        }
        Ok(found)
    }
}
