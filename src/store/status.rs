//! What the database covers and holds: `bolo status`, and the answer to "is this range complete?".

use alloy::eips::BlockNumHash;
use rusqlite::params;
use sha2::{Digest, Sha256};

use super::{
    CoverageRange, FieldDifferences, FilteredSpan, ListRow, Result, RevertRow, Store, StoreError, TraceBacklog, bytes,
    chain_int, meta, set_meta, sql_int,
};
use crate::redact::redacted;
use crate::screen::{AlertStatus, Severity};

/// An endpoint as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "schema.sql says what each field means")]
pub struct EndpointRow {
    pub host: String,
    pub head: Option<u64>,
    pub traces: Option<String>,
    pub last_error: Option<String>,
    pub error_at: Option<i64>,
    pub seen_at: Option<i64>,
    pub blocks: u64,
}

/// How many alerts there are of a status and a severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AlertCount {
    pub status: AlertStatus,
    pub severity: Severity,
    pub alerts: u64,
}

/// The state of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Status {
    pub chain_id: Option<u64>,
    pub tip: Option<BlockNumHash>,
    pub tip_timestamp: Option<i64>,
    pub watch_tip: Option<BlockNumHash>,
    pub head: Option<u64>,
    pub reported_head: Option<BlockNumHash>,
    pub finality_rule: Option<String>,
    pub finalized: Option<BlockNumHash>,
    pub blocks: u64,
    pub orphaned_blocks: u64,
    pub alerts: Vec<AlertCount>,
    pub coverage: Vec<CoverageRange>,
    /// Spans that were filtered, with how many of their blocks are not held.
    pub filtered: Vec<(FilteredSpan, u64)>,
    pub undecoded: Vec<(String, u64)>,
    pub endpoints: Vec<EndpointRow>,
    /// Fields of endpoints' answers that differed from what is proven.
    pub differences: Vec<FieldDifferences>,
    pub lists: Vec<ListRow>,
    pub unasked_tokens: u64,
    pub screened_before: u64,
    /// The watch that runs looks there again by itself.
    pub auto_lookback: bool,
    pub owed: Vec<(u64, u64)>,
    pub checkpoints: Vec<BlockNumHash>,
    /// The blocks from the lowest to the highest that reverts dropped.
    pub reverted: Option<(u64, u64)>,
    /// What was dropped by `bolo revert`, newest first.
    pub reverts: Vec<RevertRow>,
    pub trace_backlog: Option<TraceBacklog>,
    pub stopped: Option<String>,
    pub stopped_at: Option<i64>,
    pub stopped_code: Option<String>,
}

impl Store {
    /// Everything that `bolo status` shows.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn status(&self) -> Result<Status> {
        let count = |sql: &str| -> Result<u64> { Ok(self.conn.query_row(sql, [], |row| row.get(0).map(chain_int))?) };
        let coverage = self.coverage()?;
        let tip = match coverage.last() {
            Some(last) => Some(self.conn.query_row(
                "SELECT hash, timestamp FROM blocks WHERE number = ?1 AND status <> 3",
                [sql_int(last.to)],
                |row| Ok((BlockNumHash { number: last.to, hash: bytes(row, 0)?.into() }, row.get(1)?)),
            )?),
            None => None,
        };
        Ok(Status {
            chain_id: self.chain_id()?,
            tip: tip.map(|(tip, _)| tip),
            tip_timestamp: tip.map(|(_, timestamp)| timestamp),
            watch_tip: self.watch_tip()?,
            head: meta(&self.conn, "head")?.and_then(|text| text.parse().ok()),
            reported_head: self.reported_head()?,
            finality_rule: self.finality_rule()?,
            finalized: self.finalized_block()?,
            blocks: count("SELECT count(*) FROM blocks WHERE status <> 3")?,
            orphaned_blocks: count("SELECT count(*) FROM blocks WHERE status = 3")?,
            alerts: self.alert_counts()?,
            coverage,
            filtered: self.filtered(0, i64::MAX as u64)?,
            undecoded: self.undecoded()?,
            endpoints: self.endpoints()?,
            differences: self.field_differences()?,
            lists: self.lists()?,
            owed: self.owed()?,
            checkpoints: self.checkpoints()?,
            reverted: self.reverted()?,
            reverts: self.reverts()?,
            trace_backlog: self.trace_backlog()?,
            stopped: meta(&self.conn, "stopped")?.filter(|reason| !reason.is_empty()),
            stopped_at: meta(&self.conn, "stopped_at")?.and_then(|text| text.parse().ok()),
            stopped_code: meta(&self.conn, "stopped_code")?.filter(|code| !code.is_empty()),
            auto_lookback: meta(&self.conn, "auto_lookback")?.is_some(),
            screened_before: self.lacking_entries(&self.ledger(0, i64::MAX as u64)?)?,
            unasked_tokens: count(
                "SELECT count(DISTINCT token_address_id) FROM activities WHERE token_address_id IS NOT NULL \
                 AND token_address_id NOT IN (SELECT address_id FROM tokens)",
            )?,
        })
    }

    /// SHA-256 of the lists with all of their history: of the lines of the view `list_digest_lines`, in order, each ended by a line feed. The
    /// same for the same files, in whatever order they were imported.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn list_digest(&self) -> Result<[u8; 32]> {
        self.hash_lines("SELECT line FROM list_digest_lines ORDER BY part, line")
    }

    /// SHA-256 of the database's content: of the lines of the view `digest_lines`, in order, each ended by a line feed. Equal for the
    /// same chain and lists, however they came in.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn digest(&self) -> Result<[u8; 32]> {
        self.hash_lines("SELECT line FROM digest_lines ORDER BY part, number, place, side, line")
    }

    fn hash_lines(&self, sql: &str) -> Result<[u8; 32]> {
        let mut statement = self.conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut hasher = Sha256::new();
        while let Some(row) = rows.next()? {
            hasher.update(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?.as_bytes());
            hasher.update(b"\n");
        }
        Ok(hasher.finalize().into())
    }

    /// Keeps why a command ended by itself, as (code of the problem, command, reason); none once a watch runs again.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_stop(&mut self, stop: Option<(&str, &str, &str)>) -> Result<()> {
        let (code, command, reason) = stop.unwrap_or_default();
        let reason = redacted(reason);
        if meta(&self.conn, "stopped")?.unwrap_or_default() == reason {
            return Ok(());
        }
        self.write(|tx| {
            tx.execute(
                "INSERT INTO meta (key, value) VALUES ('stopped_at', unixepoch()) ON CONFLICT (key) DO UPDATE SET value = unixepoch()",
                [],
            )?;
            set_meta(tx, "stopped_code", code)?;
            set_meta(tx, "stopped_by", command)?;
            set_meta(tx, "stopped", &reason)
        })
    }

    /// That problem of that command is over.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn forget_stop(&mut self, code: &str, command: &str) -> Result<()> {
        let is = |key: &str, value: &str| Ok::<_, StoreError>(meta(&self.conn, key)?.as_deref() == Some(value));
        if is("stopped_code", code)? && is("stopped_by", command)? { self.note_stop(None) } else { Ok(()) }
    }

    /// Alerts by status and severity, own wallets left out.
    fn alert_counts(&self) -> Result<Vec<AlertCount>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT b.status, a.severity, count(*) FROM alerts a JOIN blocks b ON b.id = a.block_id WHERE a.triage <> 5 \
             GROUP BY b.status, a.severity ORDER BY b.status, a.severity DESC",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(AlertCount {
                status: AlertStatus::from_code(row.get(0)?).unwrap_or(AlertStatus::Pending),
                severity: Severity::from_code(row.get(1)?).unwrap_or(Severity::Low),
                alerts: chain_int(row.get(2)?),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn undecoded(&self) -> Result<Vec<(String, u64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT u.reason, sum(u.count) FROM undecoded u JOIN blocks b ON b.id = u.block_id AND b.status <> 3 \
             GROUP BY u.reason ORDER BY u.reason",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, chain_int(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn endpoints(&self) -> Result<Vec<EndpointRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT e.host, e.head, e.traces, e.last_error, e.error_at, e.seen_at, \
                    (SELECT count(*) FROM blocks b WHERE b.endpoint_id = e.id AND b.status <> 3) \
             FROM endpoints e ORDER BY e.id",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(EndpointRow {
                host: row.get(0)?,
                head: row.get::<_, Option<i64>>(1)?.map(chain_int),
                traces: row.get(2)?,
                last_error: row.get(3)?,
                error_at: row.get(4)?,
                seen_at: row.get(5)?,
                blocks: chain_int(row.get(6)?),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes what was last seen of an endpoint.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_endpoint(
        &mut self,
        host: &str,
        head: Option<u64>,
        traces: Option<&str>,
        error: Option<&str>,
        now: i64,
    ) -> Result<()> {
        self.write(|tx| {
            let id = super::blocks::endpoint_id(tx, host)?;
            tx.prepare_cached(
                "UPDATE endpoints SET head = coalesce(?2, head), traces = coalesce(?3, traces), \
                 last_error = coalesce(?4, last_error), error_at = CASE WHEN ?4 IS NULL THEN error_at ELSE ?5 END, \
                 seen_at = CASE WHEN ?4 IS NULL THEN ?5 ELSE seen_at END WHERE id = ?1",
            )?
            .execute(params![id, head.map(sql_int), traces, error.map(redacted), now])?;
            Ok(())
        })
    }
}
