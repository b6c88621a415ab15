//! Alerts going in: the facts of a movement once, an alert for each watched address it touches, and which entries it is about.

use std::collections::HashSet;

use alloy::primitives::{Address, B256};
use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::AddressIds;
use super::blocks::{BlockRecord, TransactionFacts, invalid};
use super::watch_spans::matched_until;
use super::{Result, bytes, chain_int, sql_int};
use crate::decode::CallFrame;
use crate::screen::{Alert, Designation, Direction, TriageClass};

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there now, in that row, and was not before, or touched own wallets alone and was none.
    New(i64),
    /// It touches own wallets alone, and was not there before.
    Own,
    /// It was there.
    Held,
}

/// `screened` is the state of the lists that its block was screened against before, where it was.
pub(super) fn put_alert(
    conn: &Connection,
    ids: &mut AddressIds,
    record: &BlockRecord,
    (block_id, screened): (i64, Option<i64>),
    alert: &Alert,
) -> Result<Put> {
    // Of a block that was not there before, nothing is.
    let held: Option<i64> = match screened {
        None => None,
        Some(_) => conn
            .prepare_cached("SELECT id FROM alerts WHERE alert_id = ?1")?
            .query_row([alert.id.as_slice()], |row| row.get(0))
            .optional()?,
    };
    if let Some(id) = held {
        put_frame(conn, id, alert)?;
        let rose = put_more_entries(conn, id, record, alert)?;
        return Ok(if rose { Put::New(id) } else { Put::Held });
    }
    let activity = &alert.activity;
    let frame = activity.frame.as_ref().map(frame_columns);
    let location = activity.location.encode();
    let facts = activity.location.tx_index.and_then(|index| Some((index, record.transactions.get(&index)?)));
    let tx_id = facts.map(|(index, facts)| put_transaction(conn, ids, block_id, index, facts)).transpose()?;
    let mut optional = |address: Option<Address>| address.map(|a| ids.of(conn, a)).transpose();
    let (from, to) = (optional(activity.from)?, optional(activity.to)?);
    let token = optional(activity.asset.contract())?;
    let operator = optional(activity.operator)?;
    let added = conn
        .prepare_cached(
            "INSERT INTO activities (block_id, location, tx_id, kind, from_id, to_id, asset, token_address_id, amount, token_id, \
             block_number, trace_address, detail, operator_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT (block_id, location) DO NOTHING",
        )?
        .execute(params![
            block_id,
            location,
            tx_id,
            activity.kind.code(),
            from,
            to,
            activity.asset.standard().code(),
            token,
            activity.amount.to_string(),
            activity.token_id.map(|id| id.to_string()),
            sql_int(record.link.number),
            frame.as_ref().map(|(path, _)| path),
            frame.as_ref().map(|(_, code)| code),
            operator,
        ])?;
    let activity_id: i64 = match added {
        0 => {
            let (id, is_same) = conn
                .prepare_cached(
                    "SELECT id, kind = ?3 AND from_id IS ?4 AND to_id IS ?5 AND amount = ?6 AND token_id IS ?7 FROM activities \
                     WHERE block_id = ?1 AND location = ?2",
                )?
                .query_row(
                    params![
                        block_id,
                        location,
                        activity.kind.code(),
                        from,
                        to,
                        activity.amount.to_string(),
                        activity.token_id.map(|id| id.to_string())
                    ],
                    |row| Ok((row.get(0)?, row.get::<_, bool>(1)?)),
                )?;
            // Of a block that is taken again, by another decoder say, the first facts stay.
            if !is_same && screened.is_none() {
                return Err(invalid(&record.link, format!("two activities at {:?}", activity.location)));
            }
            id
        }
        _ => conn.last_insert_rowid(),
    };
    let watched = ids.of(conn, alert.watched)?;
    let counterparty = match alert.direction {
        Direction::Out => activity.to,
        Direction::In => activity.from,
        Direction::Own | Direction::Party => None,
    };
    let counterparty = counterparty.map(|address| ids.of(conn, address)).transpose()?;
    let replaces = facts.map(|(_, facts)| replaced(conn, facts, alert, watched)).transpose()?.flatten();
    // Otherwise it is new for another reason: its block was taken on trust before, or by an older decoder.
    let retroactive = match screened {
        Some(revision) => sql_int(record.timestamp) >= matched_until(conn, watched, revision)?,
        None => false,
    };
    conn.prepare_cached(
        "INSERT INTO alerts (alert_id, block_number, block_id, location, direction, activity_id, watched_id, severity, triage, \
         triage_reasons, seen_at_ms, replaces, counterparty_id, retroactive) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        alert.id.as_slice(),
        sql_int(record.link.number),
        block_id,
        location,
        alert.direction.code(),
        activity_id,
        watched,
        alert.severity.code(),
        alert.triage.class.code(),
        reasons(alert),
        record.seen_at_ms,
        replaces,
        counterparty,
        retroactive,
    ])?;
    let id = conn.last_insert_rowid();
    put_entries(conn, id, record.link.number, &matched(alert))?;
    Ok(if alert.triage.class == TriageClass::Own { Put::Own } else { Put::New(id) })
}

/// A call frame as it is stored: its path (4 bytes a step, big endian), and the code of what made it.
fn frame_columns(frame: &CallFrame) -> (Vec<u8>, u8) {
    (frame.trace_address.iter().flat_map(|step| step.to_be_bytes()).collect(), frame.call_type.code())
}

/// Adds what a later trace shows of a movement that is stored already; one without traces takes nothing away.
fn put_frame(conn: &Connection, alert_id: i64, alert: &Alert) -> Result<()> {
    let Some((path, call_type)) = alert.activity.frame.as_ref().map(frame_columns) else { return Ok(()) };
    conn.prepare_cached(
        "UPDATE activities SET trace_address = ?2, detail = ?3 WHERE id = (SELECT activity_id FROM alerts WHERE id = ?1)",
    )?
    .execute(params![alert_id, path, call_type])?;
    Ok(())
}

/// Whether an entry `ae` of an alert is shown: it matches. Where none does any more, all that ever did are shown. Those that match come
/// first.
pub(super) const SHOWN: &str =
    "ae.matches = (SELECT k.matches FROM alert_entries k WHERE k.alert_id = ae.alert_id AND k.rank = 0)";

/// An entry that an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: i64,
    designation: u8,
    /// It matched when the block was last screened.
    matches: bool,
}

/// The entries that the alert is about, strictest first.
fn matched(alert: &Alert) -> Vec<Entry> {
    let entry =
        |(id, designation): &(i64, Designation)| Entry { id: *id, designation: designation.code(), matches: true };
    alert.matched.iter().map(entry).collect()
}

/// Brings an alert up to date that is there already: its entries are those matched now, strictest first, then those it named before,
/// which it keeps as not matching any more. Severity and class are what a fresh run gives them: the other side may have come onto a
/// list, or left it, without this one's entries changing.
///
/// Returns whether it was no alert, touching own wallets alone, and is one now.
fn put_more_entries(conn: &Connection, alert_id: i64, record: &BlockRecord, alert: &Alert) -> Result<bool> {
    let was_own = conn
        .prepare_cached("SELECT 1 FROM alerts WHERE id = ?1 AND triage = ?2")?
        .exists(params![alert_id, TriageClass::Own.code()])?;
    let before: Vec<(Entry, bool)> = conn
        .prepare_cached(
            "SELECT ae.entry_id, ae.designation, ae.matches, e.state = 3 FROM alert_entries ae \
             JOIN watch_entries e ON e.id = ae.entry_id WHERE ae.alert_id = ?1 ORDER BY ae.rank",
        )?
        .query_map([alert_id], |row| {
            Ok((Entry { id: row.get(0)?, designation: row.get(1)?, matches: row.get(2)? }, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut entries = matched(alert);
    // What says something else in a later version gave way to it.
    let former =
        before.iter().filter(|(entry, gave_way)| !gave_way && alert.matched.iter().all(|(id, _)| *id != entry.id));
    entries.extend(former.map(|(entry, _)| Entry { matches: false, ..*entry }));
    if !entries.iter().eq(before.iter().map(|(entry, _)| entry)) {
        conn.prepare_cached("DELETE FROM alert_entries WHERE alert_id = ?1")?.execute([alert_id])?;
        put_entries(conn, alert_id, record.link.number, &entries)?;
    }
    let (severity, class) = (alert.severity.code(), alert.triage.class.code());
    conn.prepare_cached(
        // What was no alert, and is one since the other side was listed, is found afterwards.
        "UPDATE alerts SET severity = ?2, triage = ?3, triage_reasons = ?4, retroactive = retroactive OR triage = ?5 AND ?3 <> ?5 \
         WHERE id = ?1 AND (severity, triage) <> (?2, ?3)",
    )?
    .execute(params![alert_id, severity, class, reasons(alert), TriageClass::Own.code()])?;
    Ok(was_own && alert.triage.class != TriageClass::Own)
}

/// Keeps the block's alerts that screening did not find this time, by other lists or another decoder than before, as matched by no
/// entry any more.
pub(super) fn unmatch_others(conn: &Connection, record: &BlockRecord, block_id: i64) -> Result<()> {
    let found: HashSet<B256> = record.alerts.iter().map(|alert| alert.id).collect();
    let held: Vec<(i64, B256)> = conn
        .prepare_cached("SELECT id, alert_id FROM alerts WHERE block_number = ?1 AND block_id = ?2")?
        .query_map([sql_int(record.link.number), block_id], |row| Ok((row.get(0)?, bytes::<32>(row, 1)?.into())))?
        .collect::<rusqlite::Result<_>>()?;
    for (row, _) in held.iter().filter(|(_, id)| !found.contains(id)) {
        conn.prepare_cached("UPDATE alert_entries SET matches = 0 WHERE alert_id = ?1 AND matches")?.execute([row])?;
    }
    Ok(())
}

/// Why it is of its class, as a JSON array.
fn reasons(alert: &Alert) -> String {
    serde_json::to_string(&alert.triage.reasons).unwrap_or_else(|_| "[]".to_owned())
}

/// Writes the entries of an alert that has none, strictest first.
fn put_entries(conn: &Connection, alert_id: i64, block: u64, entries: &[Entry]) -> Result<()> {
    for (rank, entry) in (0i64..).zip(entries) {
        conn.prepare_cached(
            "INSERT INTO alert_entries (alert_id, rank, entry_id, designation, block_number, list_id, matches) \
             VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT list_id FROM watch_entries WHERE id = ?3), 0), ?6)",
        )?
        .execute(params![alert_id, rank, entry.id, entry.designation, sql_int(block), entry.matches])?;
    }
    Ok(())
}

fn put_transaction(
    conn: &Connection,
    ids: &mut AddressIds,
    block_id: i64,
    index: u32,
    facts: &TransactionFacts,
) -> Result<i64> {
    let signer = ids.of(conn, facts.signer)?;
    let to = facts.to.map(|to| ids.of(conn, to)).transpose()?;
    let added = conn
        .prepare_cached(
            "INSERT INTO transactions (block_id, tx_index, hash, signer_id, to_id, success, first_log_index) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (block_id, tx_index) DO NOTHING",
        )?
        .execute(params![
            block_id,
            index,
            facts.hash.as_slice(),
            signer,
            to,
            facts.success,
            sql_int(facts.first_log_index)
        ])?;
    Ok(match added {
        0 => conn
            .prepare_cached("SELECT id FROM transactions WHERE block_id = ?1 AND tx_index = ?2")?
            .query_row(params![block_id, index], |row| row.get(0))?,
        _ => conn.last_insert_rowid(),
    })
}

/// The alert of the same transaction, place in it and watched address in the block that was orphaned last.
fn replaced(conn: &Connection, facts: &TransactionFacts, alert: &Alert, watched: i64) -> Result<Option<[u8; 32]>> {
    let mut statement = conn.prepare_cached(
        // CROSS JOIN keeps the order: by the hash, then what is orphaned (mostly nothing), then its movements.
        "SELECT a.alert_id, a.location, t.first_log_index FROM transactions t \
         CROSS JOIN blocks b ON b.id = t.block_id AND b.status = 3 \
         CROSS JOIN activities m ON m.tx_id = t.id \
         CROSS JOIN alerts a ON a.activity_id = m.id AND a.watched_id = ?2 \
         WHERE t.hash = ?1 ORDER BY b.id DESC",
    )?;
    let wanted = place_in_transaction(&alert.activity.location.encode(), facts.first_log_index);
    let mut rows = statement.query(params![facts.hash.as_slice(), watched])?;
    while let Some(row) = rows.next()? {
        let location: Vec<u8> = row.get(1)?;
        if place_in_transaction(&location, chain_int(row.get(2)?)) == wanted {
            return Ok(Some(bytes(row, 0)?));
        }
    }
    Ok(None)
}

/// A location as it would be were the transaction the first of its block: what stays the same when a reorg moves it.
fn place_in_transaction(location: &[u8], first_log_index: u64) -> Option<crate::decode::Location> {
    use crate::decode::{Location, Position};
    let mut location = Location::decode(location)?;
    location.tx_index = None;
    if let Position::Log(index) = &mut location.position {
        *index = u32::try_from(u64::from(*index).checked_sub(first_log_index)?).ok()?;
    }
    Some(location)
}
