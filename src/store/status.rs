//! What the database covers and holds: `bolo status`, and the answer to "is this range complete?".

use alloy::eips::BlockNumHash;
use rusqlite::params;

use super::{ListRow, Result, Store, bytes, chain_int, meta, set_meta, sql_int};
use crate::screen::AlertStatus;

/// Blocks next to each other that are covered in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoverageRange {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// All proven.
    pub proven: bool,
    /// All with the plane of traces.
    pub traces: bool,
}

/// How much of a range is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeCoverage {
    /// First block of the range.
    pub from: u64,
    /// Last block of the range.
    pub to: u64,
    /// Proven blocks in it.
    pub proven: u64,
    /// Unproven blocks in it.
    pub unproven: u64,
    /// Blocks with traces in it.
    pub traces: u64,
    /// Blocks screened before the watchlist gained its last entries: these may have a past there.
    pub screened_before: u64,
    /// Nothing is known to lie between the range's ends in time and the blocks that stand for them.
    pub ends_known: bool,
}

impl RangeCoverage {
    /// Blocks that were not seen.
    pub fn missing(&self) -> u64 {
        (self.to - self.from + 1).saturating_sub(self.proven + self.unproven)
    }

    /// Every block is proven.
    pub fn is_complete(&self) -> bool {
        self.ends_known && self.missing() == 0 && self.unproven == 0
    }
}

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

/// The state of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Status {
    pub chain_id: Option<u64>,
    pub tip: Option<BlockNumHash>,
    pub tip_timestamp: Option<i64>,
    pub watch_tip: Option<BlockNumHash>,
    pub head: Option<u64>,
    pub finality_rule: Option<String>,
    pub finalized: Option<u64>,
    pub blocks: u64,
    pub orphaned_blocks: u64,
    pub alerts: Vec<(AlertStatus, u64)>,
    pub coverage: Vec<CoverageRange>,
    pub undecoded: Vec<(String, u64)>,
    pub endpoints: Vec<EndpointRow>,
    pub lists: Vec<ListRow>,
    pub unasked_tokens: u64,
    pub screened_before: u64,
    pub stopped: Option<String>,
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
            finality_rule: self.finality_rule()?,
            finalized: self.finalized()?,
            blocks: count("SELECT count(*) FROM blocks WHERE status <> 3")?,
            orphaned_blocks: count("SELECT count(*) FROM blocks WHERE status = 3")?,
            alerts: self.alerts_by_status()?,
            coverage,
            undecoded: self.undecoded()?,
            endpoints: self.endpoints()?,
            lists: self.lists()?,
            stopped: meta(&self.conn, "stopped")?.filter(|reason| !reason.is_empty()),
            screened_before: self.conn.query_row(
                "SELECT count(*) FROM blocks WHERE status <> 3 AND watch_revision < ?1",
                [self.last_addition()?],
                |row| row.get(0).map(chain_int),
            )?,
            unasked_tokens: count(
                "SELECT count(DISTINCT token_address_id) FROM activities WHERE token_address_id IS NOT NULL \
                 AND token_address_id NOT IN (SELECT address_id FROM tokens)",
            )?,
        })
    }

    /// Keeps why the last watch ended by itself; none once one runs again.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_stop(&mut self, reason: Option<&str>) -> Result<()> {
        let reason = reason.unwrap_or_default();
        if meta(&self.conn, "stopped")?.unwrap_or_default() == reason {
            return Ok(());
        }
        self.write(|tx| set_meta(tx, "stopped", reason))
    }

    /// The state of the lists as of which they gained their last entries.
    fn last_addition(&self) -> Result<i64> {
        Ok(meta(&self.conn, "watch_added")?.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    fn alerts_by_status(&self) -> Result<Vec<(AlertStatus, u64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT b.status, count(*) FROM alerts a JOIN blocks b ON b.id = a.block_id GROUP BY b.status ORDER BY b.status",
        )?;
        let rows = statement.query_map([], |row| {
            let status = AlertStatus::from_code(row.get(0)?).unwrap_or(AlertStatus::Pending);
            Ok((status, chain_int(row.get(1)?)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Canonical blocks as ranges.
    fn coverage(&self) -> Result<Vec<CoverageRange>> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT number, proof, planes & 4 FROM blocks WHERE status <> 3 ORDER BY number")?;
        let mut ranges: Vec<CoverageRange> = Vec::new();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number = chain_int(row.get(0)?);
            let (proven, traces) = (row.get::<_, i64>(1)? == 1, row.get::<_, i64>(2)? != 0);
            match ranges.last_mut() {
                Some(last) if last.to + 1 == number && last.proven == proven && last.traces == traces => {
                    last.to = number;
                }
                _ => ranges.push(CoverageRange { from: number, to: number, proven, traces }),
            }
        }
        Ok(ranges)
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
            .execute(params![id, head.map(sql_int), traces, error, now])?;
            Ok(())
        })
    }

    /// How much of a range of blocks is there.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn block_coverage(&self, from: u64, to: u64) -> Result<RangeCoverage> {
        let counted = self.conn.query_row(
            "SELECT coalesce(sum(proof), 0), count(*), coalesce(sum(planes & 4 <> 0), 0), \
                    coalesce(sum(watch_revision < ?3), 0) \
             FROM blocks WHERE status <> 3 AND number BETWEEN ?1 AND ?2",
            [sql_int(from), sql_int(to), self.last_addition()?],
            |row| Ok([0, 1, 2, 3].map(|column| row.get(column).map(chain_int))),
        )?;
        let [proven, blocks, traces, screened_before] = counted;
        let (proven, blocks) = (proven?, blocks?);
        Ok(RangeCoverage {
            from,
            to,
            proven,
            unproven: blocks - proven,
            traces: traces?,
            screened_before: screened_before?,
            ends_known: true,
        })
    }

    /// The blocks that lie in a span of time (unix seconds, ends included; none: open), as far as they are known: with how much of
    /// them is there. None where no block of that time is held.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn time_coverage(&self, since: Option<i64>, until: Option<i64>) -> Result<Option<RangeCoverage>> {
        let ends = self.conn.query_row(
            "SELECT min(number), max(number) FROM blocks WHERE status <> 3 AND timestamp BETWEEN ?1 AND ?2",
            [since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX)],
            |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
        )?;
        let (Some(from), Some(to)) = ends else { return Ok(None) };
        let holds = |number: i64| -> Result<bool> {
            Ok(self.conn.prepare_cached("SELECT 1 FROM blocks WHERE number = ?1 AND status <> 3")?.exists([number])?)
        };
        // A block just outside either end shows that none is missing between it and the end.
        let ends_known = (from == 0 || since.is_none() || holds(from - 1)?) && (until.is_none() || holds(to + 1)?);
        let coverage = self.block_coverage(chain_int(from), chain_int(to))?;
        Ok(Some(RangeCoverage { ends_known, ..coverage }))
    }
}
