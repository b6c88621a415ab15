//! The signs of life of a running watch, what is wrong with it, and what endpoints lied about.

use alloy::primitives::B256;
use rusqlite::params;

use super::{Result, Store, bytes, chain_int, maybe_bytes, meta, set_meta, sql_int};
use crate::redact::redacted;

/// What is wrong just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemRow {
    /// A word that names it.
    pub code: String,
    /// The endpoint it is about; none: all of them, or the watch itself.
    pub host: Option<String>,
    /// Since when, unix seconds.
    pub since: i64,
    /// In a few words.
    pub detail: String,
}

/// An answer that could not be what it claimed to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "schema.sql says what each field means")]
pub struct LieRow {
    pub host: String,
    pub at: i64,
    pub number: Option<u64>,
    pub hash: Option<B256>,
    pub request: String,
    pub answer_keccak: B256,
    pub answer_bytes: u64,
    pub reason: String,
}

/// A watch that runs, or died while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// When it began, unix seconds.
    pub since: i64,
    /// How long a block takes, as far as it knows, in milliseconds.
    pub slot_ms: u64,
    /// Its last sign of life, unix milliseconds.
    pub heartbeat_ms: i64,
    /// What is wrong with it.
    pub problems: Vec<ProblemRow>,
}

impl Store {
    /// A watch begins; none: it ends in good order.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_running(&mut self, running: Option<(i64, u64)>) -> Result<()> {
        self.write(|tx| {
            tx.execute("DELETE FROM problems", [])?;
            set_meta(tx, "heartbeat", &running.map_or(0, |(since, _)| since * 1000).to_string())?;
            set_meta(tx, "running", &running.map(|(since, slot)| format!("{since} {slot}")).unwrap_or_default())
        })
    }

    /// A sign of life, with all that is wrong and how the endpoints are (host, JSON).
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_health(&mut self, now_ms: i64, problems: &[ProblemRow], endpoints: &[(String, String)]) -> Result<()> {
        self.sync(false)?;
        self.write(|tx| {
            set_meta(tx, "heartbeat", &now_ms.to_string())?;
            tx.prepare_cached("DELETE FROM problems")?.execute([])?;
            for problem in problems {
                tx.prepare_cached(
                    "INSERT INTO problems (code, host, since, detail) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    problem.code,
                    problem.host.as_deref().unwrap_or_default(),
                    problem.since,
                    redacted(&problem.detail)
                ])?;
            }
            for (host, state) in endpoints {
                let id = super::blocks::endpoint_id(tx, host)?;
                tx.prepare_cached(
                    "INSERT INTO endpoint_states (endpoint_id, state, at) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (endpoint_id) DO UPDATE SET state = excluded.state, at = excluded.at",
                )?
                .execute(params![id, redacted(state), now_ms / 1000])?;
            }
            Ok(())
        })
    }

    /// Keeps lies as evidence.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn put_lies(&mut self, lies: &[LieRow]) -> Result<()> {
        if lies.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            for lie in lies {
                let endpoint = super::blocks::endpoint_id(tx, &lie.host)?;
                tx.prepare_cached(
                    "INSERT INTO lies (endpoint_id, at, block_number, block_hash, request, answer_keccak, answer_bytes, reason) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    endpoint,
                    lie.at,
                    lie.number.map(sql_int),
                    lie.hash.map(|hash| hash.to_vec()),
                    redacted(&lie.request),
                    lie.answer_keccak.as_slice(),
                    sql_int(lie.answer_bytes),
                    redacted(&lie.reason),
                ])?;
            }
            Ok(())
        })
    }

    /// The last lies, newest first, and how many there are.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn lies(&self, most: u64) -> Result<(Vec<LieRow>, u64)> {
        let count = self.conn.query_row("SELECT count(*) FROM lies", [], |row| row.get(0).map(chain_int))?;
        let mut statement = self.conn.prepare_cached(
            "SELECT e.host, l.at, l.block_number, l.block_hash, l.request, l.answer_keccak, l.answer_bytes, l.reason \
             FROM lies l JOIN endpoints e ON e.id = l.endpoint_id ORDER BY l.id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([sql_int(most)], |row| {
            Ok(LieRow {
                host: row.get(0)?,
                at: row.get(1)?,
                number: row.get::<_, Option<i64>>(2)?.map(chain_int),
                hash: maybe_bytes::<32>(row, 3)?.map(B256::from),
                request: row.get(4)?,
                answer_keccak: bytes::<32>(row, 5)?.into(),
                answer_bytes: chain_int(row.get(6)?),
                reason: row.get(7)?,
            })
        })?;
        Ok((rows.collect::<rusqlite::Result<_>>()?, count))
    }

    /// The watch that runs, or died while it ran; none where the last one ended in good order.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn running(&self) -> Result<Option<Running>> {
        let text = meta(&self.conn, "running")?.unwrap_or_default();
        let Some((since, slot)) = text.split_once(' ') else { return Ok(None) };
        let mut statement =
            self.conn.prepare_cached("SELECT code, host, since, detail FROM problems ORDER BY code, host")?;
        let rows = statement.query_map([], |row| {
            let host: String = row.get(1)?;
            Ok(ProblemRow {
                code: row.get(0)?,
                host: Some(host).filter(|host| !host.is_empty()),
                since: row.get(2)?,
                detail: row.get(3)?,
            })
        })?;
        Ok(Some(Running {
            since: since.parse().unwrap_or_default(),
            slot_ms: slot.parse().unwrap_or_default(),
            heartbeat_ms: meta(&self.conn, "heartbeat")?.and_then(|text| text.parse().ok()).unwrap_or_default(),
            problems: rows.collect::<rusqlite::Result<_>>()?,
        }))
    }

    /// How each endpoint was when the watch last looked: host, JSON, unix seconds.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn endpoint_states(&self) -> Result<Vec<(String, String, i64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT e.host, s.state, s.at FROM endpoint_states s JOIN endpoints e ON e.id = s.endpoint_id ORDER BY e.id",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
