//! Blocks going in and out: one transaction for a block with all that came of it, one for a revert.

use std::collections::BTreeMap;

use alloy::eips::BlockNumHash;
use alloy::primitives::{Address, B256};
use rusqlite::{Connection, OptionalExtension, params};

use super::alerts::put_alert;
use super::{Result, Store, StoreError, bytes, chain_int, check_chain, meta, set_meta, sql_int};
use crate::chain::Proof;
use crate::chain::canonical::{Canonical, Link, WINDOW};
use crate::decode::Undecoded;
use crate::screen::{Alert, AlertStatus};

/// What an endpoint (or depth) says of finality, as heights: blocks up to each have that status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Highest safe block.
    pub safe: Option<u64>,
    /// Highest final block.
    pub finalized: Option<u64>,
}

impl Settled {
    /// No higher than that block: what is above it may be on another fork.
    #[must_use]
    pub fn up_to(self, number: u64) -> Self {
        Self {
            safe: self.safe.map(|height| height.min(number)),
            finalized: self.finalized.map(|height| height.min(number)),
        }
    }

    fn status(self, number: u64) -> AlertStatus {
        if self.finalized.is_some_and(|height| number <= height) {
            AlertStatus::Finalized
        } else if self.safe.is_some_and(|height| number <= height) {
            AlertStatus::Safe
        } else {
            AlertStatus::Pending
        }
    }
}

/// What alerts need to know of a transaction.
#[derive(Debug, Clone)]
pub struct TransactionFacts {
    /// Transaction hash.
    pub hash: B256,
    /// Who signed it.
    pub signer: Address,
    /// Whom it called.
    pub to: Option<Address>,
    /// Receipt status; none before Byzantium.
    pub success: Option<bool>,
    /// Index in the block of its first log.
    pub first_log_index: u64,
}

/// A block with all that is to be stored of it.
#[derive(Debug, Clone)]
pub struct BlockRecord {
    /// The chain.
    pub chain_id: u64,
    /// Number, hash, parent.
    pub link: Link,
    /// Unix seconds.
    pub timestamp: u64,
    /// Proven or not.
    pub proof: Proof,
    /// Whether the plane of traces was seen; all others come with every block.
    pub traces: bool,
    /// Which state of the watchlist it was screened against.
    pub watch_revision: i64,
    /// Host of the endpoint, or name of the archive.
    pub endpoint: String,
    /// Unix milliseconds.
    pub seen_at_ms: i64,
    /// Every alert.
    pub alerts: Vec<Alert>,
    /// The transactions that alerts belong to, by index.
    pub transactions: BTreeMap<u32, TransactionFacts>,
    /// Undecodable logs by reason.
    pub undecoded: BTreeMap<Undecoded, u64>,
    /// Finality as known now.
    pub settled: Settled,
    /// Whether this is `watch`'s own progress.
    pub watching: bool,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// The block's id in the store.
    pub block_id: i64,
    /// Alerts that were not there before.
    pub new_alerts: usize,
    /// Row id of alerts before this block: those above it are new.
    pub alerts_after: i64,
}

impl Store {
    /// Takes a block: its row, its alerts, what is final, in one transaction. A block that is there already gains what it
    /// lacked (alerts of a longer list, the plane of traces, a proof).
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where it does not fit to a stored neighbour or a stored block of its height;
    /// [`StoreError::StaleWatchlist`] where it was screened against an older state of the lists.
    pub fn append(&mut self, record: &BlockRecord) -> Result<Committed> {
        self.write(|tx| {
            let alerts_after =
                tx.query_row("SELECT coalesce(max(id), 0) FROM alerts", [], |row| row.get::<_, i64>(0))?;
            if !check_chain(tx, record.chain_id)? {
                set_meta(tx, "chain_id", &record.chain_id.to_string())?;
            }
            let revision = meta(tx, "watch_revision")?.and_then(|text| text.parse().ok()).unwrap_or(0);
            if record.watch_revision != revision {
                return Err(StoreError::StaleWatchlist);
            }
            check_neighbours(tx, &record.link)?;
            let block_id = put_block(tx, record)?;
            let mut new_alerts = 0;
            for alert in &record.alerts {
                new_alerts += usize::from(put_alert(tx, record, block_id, alert)?);
            }
            // Everything below is linked to this block: what is final of its chain is final of ours.
            settle(tx, record.settled.up_to(record.link.number))?;
            if record.watching {
                set_meta(tx, "watch_next", &(record.link.number + 1).to_string())?;
            }
            Ok(Committed { block_id, new_alerts, alerts_after })
        })
    }

    /// Orphans the canonical blocks above that number, as far as they are linked to one another: what a reorg replaced.
    /// Returns how many blocks and alerts that are.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where one of them is final.
    pub fn revert(&mut self, above: u64) -> Result<(u64, u64)> {
        self.write(|tx| {
            let mut orphaned = (0, 0);
            let mut number = above + 1;
            while let Some((block_id, hash, status)) = canonical_at(tx, number)? {
                if status == AlertStatus::Finalized {
                    return Err(StoreError::Contradiction {
                        number,
                        found: hash,
                        held: format!("a reorg would replace block {number}, which is final"),
                    });
                }
                tx.prepare_cached("UPDATE blocks SET status = 3 WHERE id = ?1")?.execute([block_id])?;
                orphaned.0 += 1;
                orphaned.1 += tx
                    .prepare_cached("SELECT count(*) FROM alerts WHERE block_number = ?1 AND block_id = ?2")?
                    .query_row(params![sql_int(number), block_id], |row| row.get::<_, i64>(0).map(chain_int))?;
                number += 1;
            }
            let next: Option<u64> = meta(tx, "watch_next")?.and_then(|text| text.parse().ok());
            if next.is_some_and(|next| next > above + 1) {
                set_meta(tx, "watch_next", &(above + 1).to_string())?;
            }
            Ok(orphaned)
        })
    }

    /// Raises statuses to what is known of finality, and notes the head that goes with it. The caller knows that the held blocks
    /// up to those heights are on the chain that it is known of. Writes only where something changes.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn settle(&mut self, settled: Settled, head: Option<u64>, rule: &str) -> Result<()> {
        let head = head.map(|head| head.to_string());
        let same = meta(&self.conn, "finality_rule")?.as_deref() == Some(rule) && meta(&self.conn, "head")? == head;
        let due = |status: AlertStatus, height: Option<u64>| -> Result<bool> {
            let Some(height) = height else { return Ok(false) };
            Ok(self
                .conn
                .prepare_cached("SELECT 1 FROM blocks WHERE number <= ?1 AND status < 2 AND status < ?2 LIMIT 1")?
                .exists(params![sql_int(height), status.code()])?)
        };
        if same && !due(AlertStatus::Safe, settled.safe)? && !due(AlertStatus::Finalized, settled.finalized)? {
            return Ok(());
        }
        self.write(|tx| {
            set_meta(tx, "finality_rule", rule)?;
            if let Some(head) = head {
                set_meta(tx, "head", &head)?;
            }
            settle(tx, settled)
        })
    }

    /// The last canonical blocks that end at `tip`, linked, back to what is final: the window in which a reorg can be followed.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn canonical_window(&self, tip: u64) -> Result<Canonical> {
        let finalized = self.finalized()?;
        let mut links: Vec<Link> = Vec::new();
        let mut statement = self.conn.prepare_cached(
            "SELECT number, hash, parent_hash FROM blocks WHERE status <> 3 AND number <= ?1 ORDER BY number DESC LIMIT ?2",
        )?;
        let rows = statement.query_map([sql_int(tip), sql_int(4 * WINDOW + 1)], |row| {
            Ok(Link { number: chain_int(row.get(0)?), hash: bytes(row, 1)?.into(), parent_hash: bytes(row, 2)?.into() })
        })?;
        let mut origin = true;
        for link in rows {
            let link = link?;
            let expected = links.last().map_or(tip, |newer| newer.number.saturating_sub(1));
            if link.number != expected {
                break;
            }
            if links.len() as u64 == 4 * WINDOW {
                origin = false;
                break;
            }
            links.push(link);
        }
        links.reverse();
        Ok(Canonical::new(links, finalized, origin))
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

    /// Highest canonical block.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn highest(&self) -> Result<Option<u64>> {
        Ok(self
            .conn
            .prepare_cached("SELECT max(number) FROM blocks WHERE status <> 3")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?
            .map(chain_int))
    }

    /// Highest canonical block that is safe or final.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn highest_safe(&self) -> Result<Option<u64>> {
        Ok(self
            .conn
            .prepare_cached("SELECT number FROM blocks WHERE status IN (1, 2) ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| row.get::<_, i64>(0))
            .optional()?
            .map(chain_int))
    }

    /// Where `watch` left off: the end of the linked blocks that begin at the last one it took. None where it holds none.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn watch_tip(&self) -> Result<Option<BlockNumHash>> {
        let Some(mut number) = self.watch_next()?.and_then(|next| next.checked_sub(1)) else { return Ok(None) };
        let Some((_, mut hash, _)) = canonical_at(&self.conn, number)? else { return Ok(None) };
        while let Some((_, next, _)) = canonical_at(&self.conn, number + 1)? {
            number += 1;
            hash = next;
        }
        Ok(Some(BlockNumHash { number, hash }))
    }

    /// The block that `watch` takes next, once it has begun: kept even where it holds none, so that nothing is skipped.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn watch_next(&self) -> Result<Option<u64>> {
        Ok(meta(&self.conn, "watch_next")?.and_then(|text| text.parse().ok()))
    }

    /// Notes where watching begins.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn begin_watching(&mut self, first: u64) -> Result<()> {
        self.write(|tx| set_meta(tx, "watch_next", &first.to_string()))
    }

    /// Whether a block is canonical here, proven if `proof` asks for it, screened against that state of the list, with traces if
    /// they are wanted: then a replay has nothing to add.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn is_complete(&self, block: BlockNumHash, proof: Proof, revision: i64, traces: bool) -> Result<bool> {
        let found = self
            .conn
            .prepare_cached("SELECT proof, watch_revision, planes FROM blocks WHERE hash = ?1 AND status <> 3")?
            .query_row([block.hash.as_slice()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        Ok(found.is_some_and(|(proven, screened, planes)| {
            proven >= proof_code(proof) && screened == revision && (!traces || planes & TRACES != 0)
        }))
    }

    /// The lowest canonical block that cannot stand beside this one: another of its number, or a child of another one.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn conflicting(&self, link: &Link) -> Result<Option<u64>> {
        if canonical_at(&self.conn, link.number)?.is_some_and(|(_, held, _)| held != link.hash) {
            return Ok(Some(link.number));
        }
        let child = parent_at(&self.conn, link.number + 1)?;
        Ok(child.is_some_and(|parent| parent != link.hash).then_some(link.number + 1))
    }
}

/// The bit of the plane of traces.
const TRACES: i64 = 1 << 2;
/// The bits of the planes that come with every block: transactions, logs, withdrawals, authorizations are in its roots. What is
/// not decoded yet (authorizations) is not claimed.
const ALWAYS: i64 = 1 | 1 << 1 | 1 << 3;

fn proof_code(proof: Proof) -> i64 {
    i64::from(proof == Proof::Proven)
}

fn canonical_at(conn: &Connection, number: u64) -> Result<Option<(i64, B256, AlertStatus)>> {
    Ok(conn
        .prepare_cached("SELECT id, hash, status FROM blocks WHERE number = ?1 AND status <> 3")?
        .query_row([sql_int(number)], |row| {
            let status = AlertStatus::from_code(row.get(2)?).unwrap_or(AlertStatus::Pending);
            Ok((row.get(0)?, bytes::<32>(row, 1)?.into(), status))
        })
        .optional()?)
}

/// A block must link to the stored blocks on both sides, and no other of its number may be canonical.
fn check_neighbours(conn: &Connection, link: &Link) -> Result<()> {
    let contradiction = |held: String| Err(StoreError::Contradiction { number: link.number, found: link.hash, held });
    if let Some((_, held, _)) = canonical_at(conn, link.number)?
        && held != link.hash
    {
        return contradiction(format!("block {} is {held}", link.number));
    }
    if let Some(before) = link.number.checked_sub(1)
        && let Some((_, held, _)) = canonical_at(conn, before)?
        && held != link.parent_hash
    {
        return contradiction(format!("its parent should be {}, block {before} is {held}", link.parent_hash));
    }
    match parent_at(conn, link.number + 1)? {
        Some(parent) if link.hash != parent => {
            contradiction(format!("block {} has the parent {parent}", link.number + 1))
        }
        _ => Ok(()),
    }
}

/// Parent of the canonical block of that number.
fn parent_at(conn: &Connection, number: u64) -> Result<Option<B256>> {
    Ok(conn
        .prepare_cached("SELECT parent_hash FROM blocks WHERE number = ?1 AND status <> 3")?
        .query_row([sql_int(number)], |row| bytes::<32>(row, 0).map(B256::from))
        .optional()?)
}

fn put_block(conn: &Connection, record: &BlockRecord) -> Result<i64> {
    let link = &record.link;
    let status = record.settled.status(link.number).code();
    let proof = proof_code(record.proof);
    let planes = if record.traces { ALWAYS | TRACES } else { ALWAYS };
    let endpoint = endpoint_id(conn, &record.endpoint)?;
    let known: Option<i64> = conn
        .prepare_cached("SELECT id FROM blocks WHERE hash = ?1")?
        .query_row([link.hash.as_slice()], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        // Canonical again after a reorg and back, or screened anew. Proof and planes are only gained, from who gave them.
        conn.prepare_cached(
            "UPDATE blocks SET endpoint_id = CASE WHEN proof < ?3 OR planes | ?4 <> planes THEN ?6 ELSE endpoint_id END, status = CASE WHEN status = 3 THEN ?2 ELSE max(status, ?2) END, proof = max(proof, ?3), \
             planes = planes | ?4, watch_revision = ?5 WHERE id = ?1",
        )?
        .execute(params![id, status, proof, planes, record.watch_revision, endpoint])?;
        return Ok(id);
    }
    conn.prepare_cached(
        "INSERT INTO blocks (number, hash, parent_hash, timestamp, status, proof, planes, watch_revision, endpoint_id, seen_at_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        sql_int(link.number),
        link.hash.as_slice(),
        link.parent_hash.as_slice(),
        sql_int(record.timestamp),
        status,
        proof,
        planes,
        record.watch_revision,
        endpoint,
        record.seen_at_ms,
    ])?;
    let id = conn.last_insert_rowid();
    for (reason, count) in &record.undecoded {
        conn.prepare_cached("INSERT INTO undecoded (block_id, reason, count) VALUES (?1, ?2, ?3)")?
            .execute(params![id, reason.name(), sql_int(*count)])?;
    }
    Ok(id)
}

/// The id of an endpoint's host or an archive's name.
pub(super) fn endpoint_id(conn: &Connection, host: &str) -> Result<i64> {
    let found = conn
        .prepare_cached("SELECT id FROM endpoints WHERE host = ?1")?
        .query_row([host], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    conn.prepare_cached("INSERT INTO endpoints (host) VALUES (?1)")?.execute([host])?;
    Ok(conn.last_insert_rowid())
}

fn settle(conn: &Connection, settled: Settled) -> Result<()> {
    for (height, status) in [(settled.safe, AlertStatus::Safe), (settled.finalized, AlertStatus::Finalized)] {
        let Some(height) = height else { continue };
        conn.prepare_cached("UPDATE blocks SET status = ?2 WHERE number <= ?1 AND status < 2 AND status < ?2")?
            .execute(params![sql_int(height), status.code()])?;
    }
    if let Some(height) = settled.finalized {
        let known: Option<u64> = meta(conn, "finalized")?.and_then(|text| text.parse().ok());
        if known.is_none_or(|known| height > known) {
            set_meta(conn, "finalized", &height.to_string())?;
        }
    }
    Ok(())
}
