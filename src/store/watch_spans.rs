//! What the lists match, address by address: an append-only record of every state of the lists that changed it. Whether a block was
//! screened for an address is answered from this record alone, never from the entries as they are now.
//!
//! An active entry matches every block; an entry that a later version ended matches the blocks before its end. So at each state of
//! the lists an address matches the block times before one moment, [`FOREVER`] or [`NEVER`] included.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Address;
use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::find_address;
use super::{LedgerRange, Result, Store, bytes, chain_int, sql_int};

/// An address matches block times before this one: all of them.
pub(super) const FOREVER: i64 = i64::MAX;
/// An address matches block times before this one: none.
pub(super) const NEVER: i64 = i64::MIN;

/// Block times, from `from` up to but without `until`, that the present lists match for these addresses and an older state of the
/// lists did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gain {
    /// The first block time, unix seconds.
    pub from: i64,
    /// The block time after the last.
    pub until: i64,
    /// The addresses.
    pub addresses: Vec<Address>,
}

/// Of each address with a row `s` after state ?1 of the lists: its last row. Rows of a state that is still being staged do not count.
const LAST: &str = "s.revision > ?1 AND s.revision <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'watch_revision') AND NOT EXISTS \
    (SELECT 1 FROM committed_spans later WHERE later.address_id = s.address_id AND later.revision > s.revision)";

/// For each address with a row after state ?1 of the lists: its id, until when state ?1 matched it, until when the present state does.
fn changed() -> String {
    format!(
        "SELECT s.address_id AS address_id, coalesce((SELECT o.until FROM watch_spans o WHERE o.address_id = s.address_id \
           AND o.revision <= ?1 ORDER BY o.revision DESC LIMIT 1), {NEVER}) AS was, s.until AS until \
         FROM watch_spans s INDEXED BY watch_spans_by_revision WHERE {LAST}"
    )
}

/// Whether other entries of any of these addresses (SQL) match a block `b` now than by state ?1 of the lists.
pub(super) fn differs(addresses: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM watch_spans s WHERE s.address_id IN ({addresses}) AND {LAST} \
           AND matched_at(s.entries, b.timestamp) <> matched_at((SELECT o.entries FROM watch_spans o \
             WHERE o.address_id = s.address_id AND o.revision <= ?1 ORDER BY o.revision DESC LIMIT 1), b.timestamp))"
    )
}

/// How entries will be once a list version that is being staged counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Upcoming {
    /// The list, and its kind then.
    pub(super) list: Option<(i64, u8)>,
    /// The entry that will be active.
    pub(super) new: Option<i64>,
    /// The entry that will be ended or superseded.
    pub(super) old: Option<i64>,
    /// When the version was published.
    pub(super) published: i64,
}

/// Records what the entries of these addresses match as of a new state of the lists, where that is something else than before.
pub(super) fn record(conn: &Connection, revision: i64, mut addresses: Vec<i64>) -> Result<()> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().try_for_each(|address| record_upcoming(conn, revision, address, Upcoming::default()))
}

/// The same for one address, as its entries will be.
pub(super) fn record_upcoming(conn: &Connection, revision: i64, address: i64, upcoming: Upcoming) -> Result<()> {
    let Upcoming { list, new, old, published } = upcoming;
    // A legal begin decides the designation whatever the date of the version.
    let mut statement = conn.prepare_cached(
        "WITH upcoming AS (SELECT e.id, e.list_id, e.listed_from, e.known_from, ended.published AS ended, \
                CASE e.id WHEN ?5 THEN 0 WHEN ?6 THEN iif(?5 IS NULL, 1, 3) ELSE e.state END AS state \
              FROM watch_entries e LEFT JOIN list_versions ended ON ended.id = e.end_version WHERE e.address_id = ?1), \
            matching AS (SELECT e.id, iif(l.id = ?8, ?9, l.kind) AS kind, iif(e.listed_from IS NULL, e.known_from, NULL) AS known, \
                iif(e.state = 0, NULL, iif(e.id = ?6, ?7, e.ended)) AS until \
              FROM upcoming e JOIN lists l ON l.id = e.list_id WHERE e.state IN (0, 1)), \
            now AS (SELECT coalesce(max(coalesce(until, ?3)), ?4) AS until, coalesce(group_concat(id || '/' || kind || '/' \
                || coalesce(known, '') || '/' || coalesce(until, ''), ' ' ORDER BY id), '') AS entries FROM matching) \
         INSERT INTO watch_spans (address_id, revision, until, entries) SELECT ?1, ?2, until, entries FROM now \
         WHERE entries <> coalesce((SELECT entries FROM watch_spans WHERE address_id = ?1 ORDER BY revision DESC LIMIT 1), '')",
    )?;
    let (list, kind) = list.unzip();
    statement.execute(params![address, revision, FOREVER, NEVER, new, old, published, list, kind])?;
    Ok(())
}

/// A state of the lists matched an address at block times before this one.
pub(super) fn matched_until(conn: &Connection, address_id: i64, revision: i64) -> Result<i64> {
    let until = conn
        .prepare_cached(
            "SELECT until FROM watch_spans WHERE address_id = ?1 AND revision <= ?2 ORDER BY revision DESC LIMIT 1",
        )?
        .query_row([address_id, revision], |row| row.get(0))
        .optional()?;
    Ok(until.unwrap_or(NEVER))
}

/// Spans of time, in order and apart from each other.
fn merged(spans: BTreeSet<(i64, i64)>) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, until) in spans {
        match merged.last_mut() {
            Some((_, end)) if *end >= from => *end = until.max(*end),
            _ => merged.push((from, until)),
        }
    }
    merged
}

impl Store {
    /// What the present lists match and that state of the lists did not, as groups of one span of block time.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn gains_since(&self, revision: i64) -> Result<Vec<Gain>> {
        let mut gains: BTreeMap<(i64, i64), Vec<Address>> = BTreeMap::new();
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT c.was, c.until, x.address FROM ({}) c JOIN addresses x ON x.id = c.address_id WHERE c.until > c.was",
            changed()
        ))?;
        let mut rows = statement.query([revision])?;
        while let Some(row) = rows.next()? {
            gains.entry((row.get(0)?, row.get(1)?)).or_default().push(bytes::<20>(row, 2)?.into());
        }
        Ok(gains.into_iter().map(|((from, until), addresses)| Gain { from, until, addresses }).collect())
    }

    /// Whether the entries of an address changed after that state of the lists: what they match, or what they say of it.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn has_changed_since(&self, revision: i64) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM committed_spans WHERE revision > ?1 LIMIT 1")?.exists([revision])?)
    }

    /// The block times that the present lists match for an address which that state of the lists did not.
    fn gained_times(&self, revision: i64) -> Result<Vec<(i64, i64)>> {
        let mut statement =
            self.conn.prepare_cached(&format!("SELECT was, until FROM ({}) WHERE until > was", changed()))?;
        let mut rows = statement.query([revision])?;
        let mut spans = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let span = (row.get(0)?, row.get(1)?);
            spans.insert(span);
            // A new entry matches every block: no other one can add to that.
            if span == (NEVER, FOREVER) {
                return Ok(vec![span]);
            }
        }
        Ok(merged(spans))
    }

    /// How many blocks of these ranges were screened before the lists gained something that matches blocks of their time.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn lacking_entries(&self, ledger: &[LedgerRange]) -> Result<u64> {
        let mut gained: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
        let mut blocks = 0;
        for LedgerRange { range, watch_revision, .. } in ledger {
            if !gained.contains_key(watch_revision) {
                gained.insert(*watch_revision, self.gained_times(*watch_revision)?);
            }
            for span in gained.get(watch_revision).into_iter().flatten() {
                blocks += match *span {
                    (NEVER, FOREVER) => range.to - range.from + 1,
                    (from, until) => self
                        .conn
                        .prepare_cached(
                            "SELECT count(*) FROM blocks WHERE status <> 3 AND number BETWEEN ?1 AND ?2 AND timestamp >= ?3 AND timestamp < ?4",
                        )?
                        .query_row([sql_int(range.from), sql_int(range.to), from, until], |row| row.get(0).map(chain_int))?,
                };
            }
        }
        Ok(blocks)
    }

    /// The first block of a range that was screened when the lists did not match the address at its time; none where it was screened
    /// for the address all along.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn first_unscreened(&self, address: Address, ledger: &LedgerRange) -> Result<Option<u64>> {
        let LedgerRange { range, watch_revision, .. } = ledger;
        let until = match find_address(&self.conn, address)? {
            Some(id) => matched_until(&self.conn, id, *watch_revision)?,
            None => NEVER,
        };
        match until {
            FOREVER => Ok(None),
            NEVER => Ok(Some(range.from)),
            until => Ok(self
                .conn
                .prepare_cached(
                    "SELECT number FROM blocks WHERE status <> 3 AND number BETWEEN ?1 AND ?2 AND timestamp >= ?3 ORDER BY number LIMIT 1",
                )?
                .query_row([sql_int(range.from), sql_int(range.to), until], |row| row.get(0).map(chain_int))
                .optional()?),
        }
    }

    /// The first block of a range with an alert (of that address, or of any) that may read otherwise by the present lists: its address
    /// matches the block, and of any party of the activity other entries match than when the block was screened.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn first_outdated_alert(&self, address: Option<Address>, ledger: &LedgerRange) -> Result<Option<u64>> {
        let LedgerRange { range, watch_revision, .. } = ledger;
        if !self.has_changed_since(*watch_revision)? {
            return Ok(None);
        }
        let watched = match address {
            None => None,
            Some(address) => match find_address(&self.conn, address)? {
                Some(id) => Some(id),
                None => return Ok(None),
            },
        };
        let watched_by = if watched.is_some() { "a.watched_id = ?4" } else { "?4 IS NULL" };
        Ok(self
            .conn
            .prepare_cached(&format!(
                "SELECT a.block_number FROM alerts a JOIN blocks b ON b.id = a.block_id AND b.status <> 3 \
                 JOIN activities m ON m.id = a.activity_id \
                 WHERE {watched_by} AND a.block_number BETWEEN ?2 AND ?3 AND b.timestamp < \
                   (SELECT w.until FROM committed_spans w WHERE w.address_id = a.watched_id ORDER BY w.revision DESC LIMIT 1) \
                 AND {} ORDER BY a.block_number LIMIT 1",
                differs("a.watched_id, m.from_id, m.to_id, m.operator_id")
            ))?
            .query_row(params![watch_revision, sql_int(range.from), sql_int(range.to), watched], |row| {
                row.get(0).map(chain_int)
            })
            .optional()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WATCHED, open, record, watch};
    use super::*;

    #[test]
    fn an_alert_is_outdated_once_other_entries_match_any_of_its_parties() {
        let [from, to, operator, stranger] = [1, 2, 3, 4].map(Address::repeat_byte);
        for (listed, outdated) in [
            (Some(WATCHED), false),
            (Some(from), true),
            (Some(to), true),
            (Some(operator), true),
            (Some(stranger), false),
            (None, false),
        ] {
            let (_place, mut store) = open();
            let mut block = record(&store, 5, true);
            for alert in &mut block.alerts {
                let activity = &mut alert.activity;
                (activity.from, activity.to, activity.operator) = (Some(from), Some(to), Some(operator));
            }
            store.append_all(&[record(&store, 4, true), block, record(&store, 6, true)]).unwrap();
            if let Some(listed) = listed {
                watch(&mut store, listed);
            }
            let ledger = &store.ledger(0, 100).unwrap()[0];
            for (asked, has_alerts) in [(None, true), (Some(WATCHED), true), (Some(stranger), false)] {
                let found = store.first_outdated_alert(asked, ledger).unwrap();
                assert_eq!(found, (outdated && has_alerts).then_some(5), "{listed:?} listed, {asked:?} asked");
            }
        }
    }
}
