//! Blocks going in and out: one transaction for a block with all that came of it, one for a revert.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256};
use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::AddressIds;
use super::alerts::{Put, put_alert, unmatch_others};
use super::checkpoint::Checkpointer;
use super::coverage::{Taken, cover, uncover};
use super::differences::put_differences;
use super::lookback::put_filter;
use super::missing_traces::{MissingTraces, note_traces};
use super::proofs::{PackedProof, put_proof};
use super::undecoded::{forget_undecoded, put_undecoded};
use super::{Result, Store, StoreError, bytes, chain_int, check_chain, meta, set_meta, sql_int};
use crate::chain::canonical::Link;
use crate::chain::{Differences, Proof};
use crate::decode::{Named, Undecoded};
use crate::screen::{Alert, AlertStatus, Severity};

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
    /// Whether its header shows that logs prove every movement of the chain's own currency (EIP-7708).
    pub native_logs: bool,
    /// Whether every sender of the block was recovered from its signature, and not only those of its alerts. Counts only where the
    /// block is proven: the signatures of one taken on trust may be of anything.
    pub senders: bool,
    /// Which state of the watchlist it was screened against.
    pub watch_revision: i64,
    /// Which decoder took it.
    pub decoder: i64,
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
    /// The addresses that these name: recorded with the filter for looking back, and only there.
    pub named: Named,
    /// The header's beneficiary.
    pub beneficiary: Address,
    /// What proves its alerts; none where there is nothing to prove, or it was taken on trust.
    pub evidence: Option<PackedProof>,
    /// Which addresses it can touch ([`crate::screen::lookback`]); none where that is not kept.
    pub lookback: Option<Vec<u8>>,
    /// Fields of the endpoint's answer that differed from what is proven.
    pub differences: Differences,
    /// The traces that it lacks and that may be had later; none where it has them all, or nobody is expected to have them.
    pub missing_traces: Option<MissingTraces>,
    /// Whose progress this is.
    pub progress: Progress,
}

/// Whose progress a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A replay's: the ledger alone tells.
    Replay,
    /// Of `watch` at the head: the next block it takes is the one after.
    Head,
    /// Of `watch`, catching up with what it jumped over.
    Owed,
}

/// What became of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The block's id in the store.
    pub block_id: i64,
    /// Row ids of the alerts that were not there before, or touched own wallets alone and were none.
    pub new_alerts: Vec<i64>,
    /// How many of them there are of each severity, by its code.
    pub by_severity: [u64; Severity::ALL.len()],
    /// What touches own wallets alone and was not there before: stored, and no alert.
    pub own: usize,
}

impl Store {
    /// Takes a block: its row, its alerts, what is final, in one transaction. A block that is there already gains what it
    /// lacked (alerts of a longer list, the plane of traces, a proof).
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where it does not fit to a stored neighbour or a stored block of its height;
    /// [`StoreError::StaleWatchlist`] where it was screened against an older state of the lists.
    pub fn append(&mut self, record: &BlockRecord) -> Result<Committed> {
        Ok(self.append_all(std::slice::from_ref(record))?.pop().unwrap_or_default())
    }

    /// Takes blocks as [`Store::append`] does, in the order given, all in one transaction: either all of them are there afterwards
    /// or none is. Tells of each what became of it, in the same order.
    ///
    /// # Errors
    /// As of [`Store::append`], for whichever block it is.
    pub fn append_all(&mut self, records: &[BlockRecord]) -> Result<Vec<Committed>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        for BlockRecord { link, .. } in records {
            self.check_vouched(link.number, link.hash)?;
        }
        // What is owed, or looked back at, stays so if the power takes its last commits; a commit at the head syncs them with it.
        self.sync(self.durable && records.iter().any(|record| record.progress == Progress::Head))?;
        if self.durable && self.checkpointer.is_none() {
            self.checkpointer = Some(Checkpointer::start(&self.path, &self.conn)?);
        }
        let committed = self.write(|tx| {
            let revision = meta(tx, "watch_revision")?.and_then(|text| text.parse().ok()).unwrap_or(0);
            let mut ids = AddressIds::default();
            records.iter().map(|record| append_valid(tx, &mut ids, revision, record)).collect()
        })?;
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.wake();
        }
        Ok(committed)
    }

    /// Orphans the canonical blocks above that number, as far as they are linked to one another: what a reorg replaced. `watch`
    /// takes them again: as what it owes where they lie below the head's run, else as its next ones.
    /// Returns how many blocks and alerts that are.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where one of them is final.
    pub fn revert(&mut self, above: u64, progress: Progress) -> Result<(u64, u64)> {
        self.sync(self.durable)?;
        self.write(|tx| {
            // What is owed ends below the run that follows the head, which is not its to orphan.
            let end = if progress == Progress::Owed { super::owed::end(tx, above)? } else { None };
            let orphaned = orphan(tx, above, end)?;
            let next: Option<u64> = meta(tx, "watch_next")?.and_then(|text| text.parse().ok());
            match (progress, next) {
                (Progress::Owed, _) => super::owed::give_back(tx, above + 1, above + orphaned.0)?,
                (_, Some(next)) if next > above + 1 => set_meta(tx, "watch_next", &(above + 1).to_string())?,
                _ => {}
            }
            Ok(orphaned)
        })
    }
}

/// Takes a block as [`append_one`] does. What endpoints say never fails as the database would: a row that the schema does not allow is
/// an invalid block.
fn append_valid(tx: &Connection, ids: &mut AddressIds, revision: i64, record: &BlockRecord) -> Result<Committed> {
    append_one(tx, ids, revision, record).map_err(|error| match error {
        StoreError::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
            invalid(&record.link, error.to_string())
        }
        other => other,
    })
}

pub(super) fn invalid(link: &Link, detail: String) -> StoreError {
    StoreError::InvalidBlock { number: link.number, found: link.hash, detail }
}

/// Takes a block in a transaction that others may share, `revision` being the state of the lists now.
fn append_one(tx: &Connection, ids: &mut AddressIds, revision: i64, record: &BlockRecord) -> Result<Committed> {
    if !check_chain(tx, record.chain_id)? {
        set_meta(tx, "chain_id", &record.chain_id.to_string())?;
        super::tokens::put_built_in(tx, record.chain_id)?;
    }
    if record.watch_revision != revision {
        return Err(StoreError::StaleWatchlist);
    }
    check_neighbours(tx, &record.link)?;
    let made = Taken::of(record);
    let (block_id, before, held) = put_block(tx, ids, record)?;
    put_differences(tx, record)?;
    let (mut new_alerts, mut by_severity, mut own) = (Vec::new(), [0; Severity::ALL.len()], 0);
    // What is proven takes nothing on trust.
    if before.is_none_or(|before| before.proof <= made.proof) {
        for alert in &record.alerts {
            match put_alert(tx, ids, record, (block_id, before.map(|before| before.watch_revision)), alert)? {
                Put::New(row) => {
                    new_alerts.push(row);
                    by_severity[usize::from(alert.severity.code())] += 1;
                }
                Put::Own => own += 1,
                Put::Held => {}
            }
        }
        if before.is_some_and(|before| !before.looked_for_the_same(made)) {
            unmatch_others(tx, record, block_id)?;
        }
        put_filter(tx, block_id, held, made, record)?;
        if let Some(evidence) = &record.evidence {
            put_proof(tx, block_id, evidence)?;
        }
        note_traces(tx, block_id, before.map_or(Taken::of(record), |held| held.again(Taken::of(record))), record)?;
    }
    match record.progress {
        Progress::Replay => {}
        Progress::Head => set_meta(tx, "watch_next", &(record.link.number + 1).to_string())?,
        Progress::Owed => super::owed::take(tx, record.link.number)?,
    }
    Ok(Committed { block_id, new_alerts, by_severity, own })
}

/// Orphans the canonical blocks above that number up to `end`, as far as there is no gap; how many blocks and alerts that are.
pub(super) fn orphan(conn: &Connection, above: u64, end: Option<u64>) -> Result<(u64, u64)> {
    let mut orphaned = (0, 0);
    let mut number = above + 1;
    while let Some((block_id, hash, status)) = canonical_at(conn, number)?
        && end.is_none_or(|end| number <= end)
    {
        if status == AlertStatus::Finalized {
            return Err(StoreError::Contradiction {
                number,
                found: hash,
                held: format!("a reorg would replace block {number}, which is final"),
            });
        }
        conn.prepare_cached("UPDATE blocks SET status = 3 WHERE id = ?1")?.execute([block_id])?;
        orphaned.0 += 1;
        orphaned.1 += conn
            .prepare_cached("SELECT count(*) FROM alerts WHERE block_number = ?1 AND block_id = ?2")?
            .query_row(params![sql_int(number), block_id], |row| row.get::<_, i64>(0).map(chain_int))?;
        number += 1;
    }
    if number > above + 1 {
        uncover(conn, sql_int(above + 1), sql_int(number - 1))?;
    }
    Ok(orphaned)
}

/// Orphans every canonical block above that number, final ones too; how many blocks, final ones among them, and alerts that are.
pub(super) fn orphan_all(conn: &Connection, above: u64) -> Result<(u64, u64, u64)> {
    let above = sql_int(above);
    let counts = conn.query_row(
        "SELECT count(*), count(*) FILTER (WHERE status = 2), \
                (SELECT count(*) FROM alerts a JOIN blocks b ON b.id = a.block_id AND b.status <> 3 WHERE a.block_number > ?1) \
         FROM blocks WHERE status <> 3 AND number > ?1",
        [above],
        |row| Ok((chain_int(row.get(0)?), chain_int(row.get(1)?), chain_int(row.get(2)?))),
    )?;
    conn.execute("UPDATE blocks SET status = 3 WHERE status <> 3 AND number > ?1", [above])?;
    uncover(conn, above + 1, i64::MAX)?;
    Ok(counts)
}

pub(super) fn canonical_at(conn: &Connection, number: u64) -> Result<Option<(i64, B256, AlertStatus)>> {
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
pub(super) fn parent_at(conn: &Connection, number: u64) -> Result<Option<B256>> {
    Ok(conn
        .prepare_cached("SELECT parent_hash FROM blocks WHERE number = ?1 AND status <> 3")?
        .query_row([sql_int(number)], |row| bytes::<32>(row, 0).map(B256::from))
        .optional()?)
}

/// The block's id, how it was taken before, where it was, and how it is held now.
fn put_block(conn: &Connection, ids: &mut AddressIds, record: &BlockRecord) -> Result<(i64, Option<Taken>, Taken)> {
    let link = &record.link;
    let now = Taken::of(record);
    let endpoint = endpoint_id(conn, &record.endpoint)?;
    let beneficiary = ids.of(conn, record.beneficiary)?;
    let known: Option<(i64, Taken, i64)> = conn
        .prepare_cached("SELECT id, proof, planes, watch_revision, decoder, number FROM blocks WHERE hash = ?1")?
        .query_row([link.hash.as_slice()], |row| Ok((row.get(0)?, Taken::read(row, 1)?, row.get(5)?)))
        .optional()?;
    // Only where nothing was proven can two blocks say that they have one hash.
    if let Some((.., number)) = known.filter(|(.., number)| *number != sql_int(link.number)) {
        return Err(invalid(link, format!("block {number} has the same hash")));
    }
    let known = known.map(|(id, taken, _)| (id, taken));
    let (id, taken) = match known {
        Some((id, held)) if held.proof > now.proof => {
            // Canonical again after a reorg and back; else it stays as it is.
            conn.prepare_cached("UPDATE blocks SET status = 0 WHERE id = ?1 AND status = 3")?.execute([id])?;
            cover(conn, link.number, held)?;
            return Ok((id, Some(held), held));
        }
        Some((id, held)) => {
            if held.proof < now.proof {
                forget_contents(conn, id)?;
            }
            // Canonical again after a reorg and back, or taken anew.
            let taken = held.again(now);
            conn.prepare_cached(
                "UPDATE blocks SET endpoint_id = CASE WHEN ?10 THEN ?4 ELSE endpoint_id END, \
                 status = CASE WHEN status = 3 THEN 0 ELSE status END, number = ?5, parent_hash = ?6, timestamp = ?7, \
                 proof = ?2, planes = ?3, watch_revision = ?8, decoder = ?9, beneficiary_id = ?11 WHERE id = ?1",
            )?
            .execute(params![
                id,
                taken.proof,
                taken.planes,
                endpoint,
                sql_int(link.number),
                link.parent_hash.as_slice(),
                sql_int(record.timestamp),
                taken.watch_revision,
                taken.decoder,
                (held.proof, held.planes) != (taken.proof, taken.planes),
                beneficiary,
            ])?;
            forget_undecoded(conn, id, taken.planes != now.planes)?;
            (id, taken)
        }
        None => {
            conn.prepare_cached(
                "INSERT INTO blocks (number, hash, parent_hash, timestamp, status, proof, planes, watch_revision, decoder, \
                 endpoint_id, seen_at_ms, beneficiary_id) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                sql_int(link.number),
                link.hash.as_slice(),
                link.parent_hash.as_slice(),
                sql_int(record.timestamp),
                now.proof,
                now.planes,
                now.watch_revision,
                now.decoder,
                endpoint,
                record.seen_at_ms,
                beneficiary,
            ])?;
            (conn.last_insert_rowid(), now)
        }
    };
    cover(conn, link.number, taken)?;
    put_undecoded(conn, id, record)?;
    Ok((id, known.map(|(_, held)| held), taken))
}

/// What was taken on trust gives way to what is proven: a lie in it must not live on beside the proof.
fn forget_contents(conn: &Connection, block_id: i64) -> Result<()> {
    for sql in [
        "DELETE FROM alert_entries WHERE alert_id IN (SELECT a.id FROM alerts a JOIN activities m ON m.id = a.activity_id \
         WHERE m.block_id = ?1)",
        "DELETE FROM alerts WHERE activity_id IN (SELECT id FROM activities WHERE block_id = ?1)",
        "DELETE FROM activities WHERE block_id = ?1",
        "DELETE FROM transactions WHERE block_id = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([block_id])?;
    }
    Ok(())
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
