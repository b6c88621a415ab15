//! Raising statuses: pending, safe, final. Only what is linked to a block of the chain that finality is known of is raised;
//! whatever else is held may be of another fork.

use rusqlite::params;

use super::{Result, Store, chain_int, meta, set_meta, sql_int};
use crate::screen::AlertStatus;

/// What an endpoint (or depth) says of finality, as heights: blocks up to each have that status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Highest safe block.
    pub safe: Option<u64>,
    /// Highest final block.
    pub finalized: Option<u64>,
}

impl Store {
    /// Raises statuses to what is known of finality: of `confirmed`, a held block that is on the chain it is known of, and of the
    /// blocks linked below it without a hole. Whatever else is held may be of another fork. Writes only where something changes.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn settle(&mut self, settled: Settled, confirmed: u64, rule: &str) -> Result<()> {
        let safe = settled.safe.max(settled.finalized).map(|height| height.min(confirmed));
        let finalized = settled.finalized.map(|height| height.min(confirmed));
        let known_rule = meta(&self.conn, "finality_rule")?.as_deref() == Some(rule);
        let Some(first) = self.first_unsettled(confirmed)? else {
            return if known_rule { Ok(()) } else { self.write(|tx| set_meta(tx, "finality_rule", rule)) };
        };
        let due = |height: Option<u64>, status: AlertStatus| -> Result<bool> {
            let Some(height) = height else { return Ok(false) };
            Ok(self
                .conn
                .prepare_cached(
                    "SELECT 1 FROM blocks WHERE number BETWEEN ?1 AND ?2 AND status < 2 AND status < ?3 LIMIT 1",
                )?
                .exists(params![sql_int(first), sql_int(height), status.code()])?)
        };
        if known_rule && !due(safe, AlertStatus::Safe)? && !due(finalized, AlertStatus::Finalized)? {
            return Ok(());
        }
        self.write(|tx| {
            set_meta(tx, "finality_rule", rule)?;
            for (height, status) in [(safe, AlertStatus::Safe), (finalized, AlertStatus::Finalized)] {
                let Some(height) = height else { continue };
                tx.prepare_cached(
                    "UPDATE blocks SET status = ?3 WHERE number BETWEEN ?1 AND ?2 AND status < 2 AND status < ?3",
                )?
                .execute(params![sql_int(first), sql_int(height), status.code()])?;
            }
            let known: Option<u64> = meta(tx, "finalized")?.and_then(|text| text.parse().ok());
            match finalized {
                // Where what is owed lies between, the block of that height may not be held yet, or not be linked.
                Some(height)
                    if known.is_none_or(|known| height > known)
                        && tx
                            .prepare_cached("SELECT 1 FROM blocks WHERE number = ?1 AND status = 2")?
                            .exists([sql_int(height)])? =>
                {
                    set_meta(tx, "finalized", &height.to_string())
                }
                _ => Ok(()),
            }
        })
    }

    /// The lowest block that is not final of the run that ends, without a hole, at `confirmed`; none where all of it is final.
    fn first_unsettled(&self, confirmed: u64) -> Result<Option<u64>> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT number FROM blocks WHERE number <= ?1 AND status < 2 ORDER BY number DESC")?;
        let mut rows = statement.query([sql_int(confirmed)])?;
        let mut first = None;
        while let Some(row) = rows.next()? {
            let number = chain_int(row.get(0)?);
            // The blocks of the run that lie between this one and the last are either final or missing.
            let linked = match first {
                None => number == confirmed || self.all_held(number, confirmed)?,
                Some(above) => number + 1 == above || self.all_held(number, above)?,
            };
            if !linked {
                break;
            }
            first = Some(number);
        }
        Ok(first)
    }

    /// Whether every block between the two is held.
    fn all_held(&self, below: u64, above: u64) -> Result<bool> {
        let held = self
            .conn
            .prepare_cached("SELECT count(*) FROM blocks WHERE number > ?1 AND number < ?2 AND status <> 3")?
            .query_row([sql_int(below), sql_int(above)], |row| row.get(0).map(chain_int))?;
        Ok(above.saturating_sub(below).saturating_sub(1) == held)
    }

    /// Highest block that is final.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn finalized(&self) -> Result<Option<u64>> {
        Ok(meta(&self.conn, "finalized")?.and_then(|text| text.parse().ok()))
    }

    /// Notes the highest block that an endpoint told of, whether or not it can be followed: the lag is measured by it.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_head(&mut self, head: u64) -> Result<()> {
        let head = head.to_string();
        if meta(&self.conn, "head")?.as_deref() == Some(&head) {
            return Ok(());
        }
        self.write(|tx| set_meta(tx, "head", &head))
    }

    /// The rule by which statuses were raised last.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn finality_rule(&self) -> Result<Option<String>> {
        meta(&self.conn, "finality_rule")
    }
}
