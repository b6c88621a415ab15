//! Imports of list files. A large file is written in many transactions, so that a watch commits its blocks between them. Until the last
//! transaction the rows are staged and have no effect: their version has no list yet, and their spans are of a state of the lists that is
//! not reached yet. A process that dies before it leaves staged rows, which the next change of the lists deletes.
//!
//! Changes of the lists exclude each other by a lock on a file, which the system frees at a crash. So the comparison of the file
//! with the list needs no transaction. Should the lock fail (somebody deletes the file), the marker `staging` in `meta` shows the import
//! that its rows are not its own any more, and it gives up.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::{address_id, find_address};
use super::lists::{
    FACTS, Facts, STATE_ACTIVE, STATE_ENDED, STATE_SUPERSEDED, end_entry, import_older, insert_entry, is_imported,
    put_version, revision_of, set_revision,
};
use super::wait::Waiting;
use super::watch_spans::{Upcoming, record_upcoming};
use super::{ImportCounts, ListFile, Result, Store, StoreError, file, meta, set_meta};
use crate::lists::ParsedEntry;
use crate::screen::ListKind;

/// Changes in one transaction: it takes some tenths of a second, so that a block waits for less than one second.
pub(super) const PART: usize = 20_000;
/// Pause after each part, in which the database is not locked: SQLite sleeps for at most 100 ms before it asks for a lock again.
pub(super) const PAUSE: Duration = Duration::from_millis(110);
/// Key in `meta`: an import is staging its rows, or died over it.
const MARKER: &str = "staging";
/// How often a process asks for the lock on changes of the lists.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What an import changes for one address. Without an entry, new or old, only the kind of the list does.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// None where the database may not have the address yet.
    address: Option<i64>,
    /// Index of the new entry in the file.
    new: Option<usize>,
    /// The active entry, which is superseded or ended.
    old: Option<i64>,
}

/// What is left for the last transaction.
#[derive(Debug)]
struct Replaced {
    old: i64,
    new: Option<i64>,
}

/// An import whose rows are being staged.
#[derive(Debug)]
struct Staging {
    list: i64,
    /// Where the list's kind changes.
    kind: Option<ListKind>,
    /// None where only the kind changes.
    version: Option<i64>,
    /// The state of the lists that it leads to.
    revision: i64,
    published: i64,
    /// What the marker holds as long as the staged rows are those of this import.
    marker: String,
    replaced: Vec<Replaced>,
}

impl Store {
    /// Runs `change` while no other process changes the lists, so that what it reads of them stays true until it returns. It may itself
    /// change the lists. Watches go on committing blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another process changes the lists for longer than this one waits; of SQLite; what `change` returns.
    pub fn change_lists<T, E: From<StoreError>>(
        &mut self,
        change: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if self.lists_lock.is_some() {
            return change(self);
        }
        self.lists_lock = Some(self.lock_lists()?);
        let outcome = self.discard_staged().map_err(E::from).and_then(|()| change(self));
        self.lists_lock = None;
        outcome
    }

    fn lock_lists(&self) -> Result<std::fs::File> {
        let mut waiting = Waiting::new(&self.patience, &self.path);
        loop {
            match file::lock_side_file(self.handle.real(), file::LISTS_LOCK) {
                Err(StoreError::Locked(_)) if waiting.goes_on() => std::thread::sleep(ASK_EVERY),
                Err(StoreError::Locked(path)) => return Err(StoreError::Busy(path)),
                other => return other,
            }
        }
    }

    /// Takes a file as the whole of its list on the day that it was published: adds, changes and ends entries, all at once. One
    /// that is older than others takes its place among them, and the outcome is the same in whatever order they come.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn import_list(&mut self, file: &ListFile<'_>) -> Result<ImportCounts> {
        self.change_lists(|store| store.import(file))
    }

    fn import(&mut self, file: &ListFile<'_>) -> Result<ImportCounts> {
        let list = find_list(&self.conn, file.list)?;
        let kind_before = list.map(|(_, kind)| kind).filter(|old| file.kind.is_some_and(|new| new != *old));
        let same_file = list.map_or(Ok(false), |(id, _)| is_imported(&self.conn, id, file))?;
        if !same_file && list.map_or(Ok(false), |(id, _)| is_older(&self.conn, id, file))? {
            // It changes entries of the past, one by one: such a file is rare, and one transaction.
            return self.write(|tx| import_older(tx, file));
        }
        let (changes, counts) = if same_file {
            (Vec::new(), ImportCounts { same_file, unchanged: file.entries.len(), ..ImportCounts::default() })
        } else {
            compare(&self.conn, list.map(|(id, _)| id), file.entries)?
        };
        let counts = ImportCounts { kind_before, ..counts };
        if same_file && kind_before.is_none() {
            return Ok(counts);
        }
        let rekinded = match (list, kind_before) {
            (Some((id, _)), Some(_)) => rekinded(&self.conn, id, &changes)?,
            _ => Vec::new(),
        };
        let changes: Vec<_> = changes.into_iter().chain(rekinded).collect();
        let begin = |tx: &Connection| Staging::begin(tx, file, list, kind_before.and(file.kind), same_file);
        if changes.len() <= self.import_part {
            self.write(|tx| {
                let mut staging = begin(tx)?;
                staging.stage(tx, file.entries, &changes)?;
                staging.finish(tx)
            })?;
            return Ok(counts);
        }
        let mut staging = self.write(|tx| begin(tx))?;
        for part in changes.chunks(self.import_part) {
            self.write(|tx| staging.stage(tx, file.entries, part))?;
            std::thread::sleep(self.import_pause);
        }
        self.write(|tx| staging.finish(tx))?;
        Ok(counts)
    }

    /// Deletes what an import staged that did not come to its end.
    fn discard_staged(&mut self) -> Result<()> {
        if meta(&self.conn, MARKER)?.is_none() {
            return Ok(());
        }
        tracing::info!("deleting what an interrupted import left: it had no effect");
        self.write(|tx| set_meta(tx, MARKER, "discarded"))?;
        let version: Option<i64> =
            self.conn.query_row("SELECT max(id) FROM list_versions WHERE list_id IS NULL", [], |row| row.get(0))?;
        let revision = revision_of(&self.conn)?;
        let part = super::sql_int(self.import_part as u64);
        self.delete_in_parts(
            "DELETE FROM watch_spans WHERE revision > ?1 AND address_id IN \
             (SELECT address_id FROM watch_spans INDEXED BY watch_spans_by_revision WHERE revision > ?1 LIMIT ?2)",
            revision,
            part,
        )?;
        // Staged entries are the last ones, since nothing else adds entries meanwhile.
        self.delete_in_parts(
            "DELETE FROM watch_entries WHERE first_version = ?1 AND id IN (SELECT id FROM watch_entries ORDER BY id DESC LIMIT ?2)",
            version.unwrap_or_default(),
            part,
        )?;
        // No entry refers to the version any more. SQLite would read the whole table of entries to see that.
        self.conn.pragma_update(None, "foreign_keys", false)?;
        let deleted = self.write(|tx| {
            tx.execute("DELETE FROM list_versions WHERE list_id IS NULL", [])?;
            tx.execute("DELETE FROM lists WHERE id NOT IN (SELECT list_id FROM list_versions)", [])?;
            delete_marker(tx)
        });
        self.conn.pragma_update(None, "foreign_keys", true)?;
        deleted
    }

    fn delete_in_parts(&mut self, sql: &str, of: i64, part: i64) -> Result<()> {
        while self.write(|tx| Ok(tx.prepare_cached(sql)?.execute([of, part])?))? > 0 {
            std::thread::sleep(self.import_pause);
        }
        Ok(())
    }
}

impl Staging {
    fn begin(
        tx: &Connection,
        file: &ListFile<'_>,
        list: Option<(i64, ListKind)>,
        kind: Option<ListKind>,
        same_file: bool,
    ) -> Result<Self> {
        let list = match list {
            Some((id, _)) => id,
            // Without a version it is no list yet.
            None => {
                tx.prepare_cached("INSERT INTO lists (name, kind) VALUES (?1, ?2)")?
                    .execute(params![file.list, file.kind.unwrap_or(ListKind::Internal).code()])?;
                tx.last_insert_rowid()
            }
        };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let marker = format!("{}.{}", std::process::id(), since_epoch.as_nanos());
        set_meta(tx, MARKER, &marker)?;
        Ok(Self {
            list,
            kind,
            marker,
            version: if same_file { None } else { Some(put_version(tx, None, file)?) },
            revision: revision_of(tx)? + 1,
            published: file.published_at(),
            replaced: Vec::new(),
        })
    }

    /// Writes some of the changes, without effect.
    fn stage(&mut self, tx: &Connection, entries: &[ParsedEntry], changes: &[Change]) -> Result<()> {
        self.check_own(tx)?;
        for change in changes {
            let entry = change.new.and_then(|at| entries.get(at));
            let address = match (change.address, entry) {
                (Some(address), _) => address,
                (None, Some(entry)) => address_id(tx, entry.address)?,
                (None, None) => continue,
            };
            let new = match (entry, self.version) {
                (Some(entry), Some(version)) => {
                    // Two entries of an address are never active at a time.
                    let state = if change.old.is_some() { STATE_SUPERSEDED } else { STATE_ACTIVE };
                    Some(insert_entry(tx, self.list, address, version, entry, change.old, state)?)
                }
                _ => None,
            };
            let upcoming = Upcoming {
                list: self.kind.map(|kind| (self.list, kind.code())),
                new,
                old: change.old,
                published: self.published,
            };
            record_upcoming(tx, self.revision, address, upcoming)?;
            self.replaced.extend(change.old.map(|old| Replaced { old, new }));
        }
        Ok(())
    }

    /// Makes all that was staged count.
    fn finish(&self, tx: &Connection) -> Result<()> {
        self.check_own(tx)?;
        if let Some(kind) = self.kind {
            tx.prepare_cached("UPDATE lists SET kind = ?2 WHERE id = ?1")?.execute(params![self.list, kind.code()])?;
        }
        if let Some(version) = self.version {
            tx.prepare_cached("UPDATE list_versions SET list_id = ?2 WHERE id = ?1")?.execute([version, self.list])?;
            let mut activate = tx.prepare_cached("UPDATE watch_entries SET state = ?2 WHERE id = ?1")?;
            for Replaced { old, new } in &self.replaced {
                end_entry(tx, *old, version, if new.is_some() { STATE_SUPERSEDED } else { STATE_ENDED })?;
                if let Some(new) = new {
                    activate.execute([*new, STATE_ACTIVE])?;
                }
            }
        }
        delete_marker(tx)?;
        set_revision(tx, self.revision, self.version.as_slice())
    }

    /// Refuses to go on where another process has begun to change the lists: only one that did not find the lock does that.
    fn check_own(&self, tx: &Connection) -> Result<()> {
        if meta(tx, MARKER)?.as_deref() == Some(&self.marker) && revision_of(tx)? + 1 == self.revision {
            return Ok(());
        }
        Err(StoreError::List(
            "another process changed the lists during the import, and nothing was imported: import the file again"
                .to_owned(),
        ))
    }
}

fn delete_marker(tx: &Connection) -> Result<()> {
    tx.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([MARKER])?;
    Ok(())
}

fn find_list(conn: &Connection, name: &str) -> Result<Option<(i64, ListKind)>> {
    let found: Option<(i64, u8)> = conn
        .prepare_cached("SELECT id, kind FROM lists WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(id, kind)| (id, ListKind::from_code(kind).unwrap_or(ListKind::Internal))))
}

/// Whether the list has a version that comes after the file.
fn is_older(conn: &Connection, list: i64, file: &ListFile<'_>) -> Result<bool> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM list_versions WHERE list_id = ?1 AND published > ?2 LIMIT 1")?
        .exists([list, file.published_at()])?)
}

/// What differs between a file and its list. In the order of the addresses, so that each part of a large import writes to few pages of the
/// indexes: in the order of a file of 3,000,000 addresses each part would write to most of them.
fn compare(conn: &Connection, list: Option<i64>, entries: &[ParsedEntry]) -> Result<(Vec<Change>, ImportCounts)> {
    let mut counts = ImportCounts::default();
    // What the list holds now, by address; what is left at the end is what the file no longer has.
    let mut held: HashMap<i64, i64> = conn
        .prepare_cached("SELECT address_id, id FROM watch_entries WHERE list_id = ?1 AND state = 0")?
        .query_map([list], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut order: Vec<usize> = (0..entries.len()).collect();
    // Of an address that a file has twice the last entry counts.
    let address = |at: usize| entries.get(at).map(|entry| entry.address);
    order.sort_unstable_by_key(|at| (address(*at), Reverse(*at)));
    order.dedup_by_key(|at| address(*at));
    let mut changes = Vec::new();
    let mut facts = conn.prepare_cached(&format!("SELECT {FACTS} FROM watch_entries e WHERE e.id = ?1"))?;
    for at in order {
        let Some(entry) = entries.get(at) else { continue };
        let address = if list.is_some() { find_address(conn, entry.address)? } else { None };
        let old = address.and_then(|address| held.remove(&address));
        match old {
            Some(old) if facts.query_row([old], |row| Facts::read(row, 0))? == Facts::of(entry) => {
                counts.unchanged += 1;
                continue;
            }
            Some(_) => counts.changed += 1,
            None => counts.added += 1,
        }
        changes.push(Change { address, new: Some(at), old });
    }
    counts.ended = held.len();
    let mut ended: Vec<_> =
        held.into_iter().map(|(address, old)| Change { address: Some(address), new: None, old: Some(old) }).collect();
    ended.sort_unstable_by_key(|change| change.address);
    changes.append(&mut ended);
    Ok((changes, counts))
}

/// The addresses that match as entries of another kind from now on, beside those that change anyway.
fn rekinded(conn: &Connection, list: i64, changes: &[Change]) -> Result<Vec<Change>> {
    let known: HashSet<i64> = changes.iter().filter_map(|change| change.address).collect();
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT address_id FROM watch_entries WHERE list_id = ?1 AND state IN (0, 1) ORDER BY address_id",
    )?;
    let all = statement.query_map([list], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    let others = all.into_iter().filter(|address| !known.contains(address));
    Ok(others.map(|address| Change { address: Some(address), new: None, old: None }).collect())
}

#[cfg(test)]
mod tests;
