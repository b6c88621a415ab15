//! Watchlists: imported versions, single changes, and what is watched now.

use alloy::primitives::Address;
use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::{address_id, find_address};
use super::filing;
use super::watch_spans;
use super::{Result, Store, StoreError, meta, set_meta};
use crate::lists::ParsedEntry;
use crate::screen::ListKind;

/// Of an entry that the list has now.
pub(super) const STATE_ACTIVE: i64 = 0;
/// Of an entry that a later version of the list did not have any more.
pub(super) const STATE_ENDED: i64 = 1;
/// Of one that was removed by hand.
pub(super) const STATE_REMOVED: i64 = 2;
/// Of one that says something else in a later version.
pub(super) const STATE_SUPERSEDED: i64 = 3;

/// A parsed list file on its way into the store.
#[derive(Debug, Clone)]
pub struct ListFile<'a> {
    /// Name of the list.
    pub list: &'a str,
    /// Its kind; none keeps the kind that the list has, or `internal` for a new one.
    pub kind: Option<ListKind>,
    /// When it was published, unix seconds; none where nobody said so.
    pub published: Option<i64>,
    /// Unix seconds of now.
    pub imported_at: i64,
    /// Name of the file.
    pub source: &'a str,
    /// Its format.
    pub format: &'a str,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// The good entries.
    pub entries: &'a [ParsedEntry],
    /// How many were not.
    pub rejected: u64,
}

impl ListFile<'_> {
    /// When it counts as published, unix seconds.
    pub(super) fn published_at(&self) -> i64 {
        self.published.unwrap_or(self.imported_at)
    }
}

/// What an import changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Entries that were not on the list.
    pub added: usize,
    /// Entries with another label, entity, program or date than before.
    pub changed: usize,
    /// Entries that the file no longer has: ended, not deleted.
    pub ended: usize,
    /// Entries that were there just so.
    pub unchanged: usize,
    /// It is older than another version: the counts are of what the one before it said.
    pub filed: bool,
    /// The very same file was imported before: nothing was done.
    pub same_file: bool,
    /// The list was of another kind before.
    pub kind_before: Option<ListKind>,
}

/// A single entry added by hand.
#[derive(Debug, Clone)]
pub struct ManualEntry<'a> {
    /// Name of the list.
    pub list: &'a str,
    /// Its kind, where the list is new or is to change.
    pub kind: Option<ListKind>,
    /// The entry.
    pub entry: &'a ParsedEntry,
    /// Unix seconds of now.
    pub now: i64,
}

/// What adding or removing by hand did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryChange {
    /// A new entry.
    Added,
    /// The address was on the list; its entry says something else now.
    Changed,
    /// Nothing to do.
    Unchanged,
}

impl Store {
    /// Adds or changes one entry. What the given one leaves open is kept; an empty text takes away what was said.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn add_entry(&mut self, manual: &ManualEntry<'_>) -> Result<EntryChange> {
        self.change_lists(|store| store.write(|tx| {
            if let (Some(kind), Some(wanted)) = (kind_of(tx, manual.list)?, manual.kind)
                && kind != wanted
            {
                return Err(StoreError::List(format!(
                    "the list {} is {}, and one entry does not change that: import it with --kind, or name another --list",
                    manual.list,
                    kind.name()
                )));
            }
            let (list_id, _) = put_list(tx, manual.list, manual.kind)?;
            let address = address_id(tx, manual.entry.address)?;
            let old = active_entry(tx, list_id, address)?;
            let entry = with_kept(manual.entry, old.as_ref().map(|(_, facts)| facts));
            if old.as_ref().is_some_and(|(_, facts)| *facts == Facts::of(&entry)) {
                return Ok(EntryChange::Unchanged);
            }
            let version = put_manual_version(tx, list_id, "added by hand", address, manual.now)?;
            if let Some((id, _)) = &old {
                end_entry(tx, *id, version, STATE_SUPERSEDED)?;
            }
            insert_entry(tx, list_id, address, version, &entry, old.as_ref().map(|(id, _)| *id), STATE_ACTIVE)?;
            bump_revision(tx, vec![address], &[version])?;
            Ok(if old.is_some() { EntryChange::Changed } else { EntryChange::Added })
        }))
    }

    /// Ends the entries of an address, on one list or on all: they match nothing from now on. Returns how many there were.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn remove_entry(&mut self, address: Address, list: Option<&str>, now: i64) -> Result<usize> {
        self.change_lists(|store| {
            store.write(|tx| {
                let Some(address) = find_address(tx, address)? else { return Ok(0) };
                let entries: Vec<(i64, i64)> = tx
                    .prepare_cached(
                        "SELECT e.id, e.list_id FROM watch_entries e JOIN lists l ON l.id = e.list_id \
                     WHERE e.address_id = ?1 AND e.state = 0 AND (?2 IS NULL OR l.name = ?2)",
                    )?
                    .query_map(params![address, list], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?;
                let mut versions = Vec::with_capacity(entries.len());
                for (entry, list_id) in &entries {
                    let version = put_manual_version(tx, *list_id, "removed by hand", address, now)?;
                    end_entry(tx, *entry, version, STATE_REMOVED)?;
                    versions.push(version);
                }
                if !entries.is_empty() {
                    bump_revision(tx, vec![address], &versions)?;
                }
                Ok(entries.len())
            })
        })
    }
}

pub(super) fn revision_of(conn: &Connection) -> Result<i64> {
    Ok(meta(conn, "watch_revision")?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Files a version that is older than another one of its list.
pub(super) fn import_older(tx: &Connection, file: &ListFile<'_>) -> Result<ImportCounts> {
    let kind_before = kind_of(tx, file.list)?.filter(|old| file.kind.is_some_and(|new| new != *old));
    let (list_id, mut changed) = put_list(tx, file.list, file.kind)?;
    let version = put_version(tx, Some(list_id), file)?;
    let later = filing::later(tx, list_id, version)?;
    let counts = filing::file(tx, list_id, version, file.entries, &later, &mut changed)?;
    bump_revision(tx, changed, &[version])?;
    Ok(ImportCounts { kind_before, ..counts })
}

/// What an entry says, to tell whether it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) label: Option<String>,
    pub(super) entity: Option<String>,
    pub(super) programs: String,
    pub(super) listed_from: Option<i64>,
    pub(super) delisted_on: Option<i64>,
    pub(super) derived_from: Option<String>,
    pub(super) aliases: String,
    pub(super) uid: Option<String>,
}

/// The columns that [`Facts::read`] takes.
pub(super) const FACTS: &str =
    "e.label, e.entity, e.programs, e.listed_from, e.delisted_on, e.derived_from, e.aliases, e.uid";

impl Facts {
    /// From [`FACTS`], beginning with that column.
    pub(super) fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            label: row.get(at)?,
            entity: row.get(at + 1)?,
            programs: row.get(at + 2)?,
            listed_from: row.get(at + 3)?,
            delisted_on: row.get(at + 4)?,
            derived_from: row.get(at + 5)?,
            aliases: row.get(at + 6)?,
            uid: row.get(at + 7)?,
        })
    }

    pub(super) fn of(entry: &ParsedEntry) -> Self {
        Self {
            label: entry.label.clone(),
            entity: entry.entity.clone(),
            programs: texts(&entry.programs),
            listed_from: entry.listed_from,
            delisted_on: entry.delisted_on,
            derived_from: entry.derived_from.clone(),
            aliases: texts(&entry.aliases),
            uid: entry.uid.clone(),
        }
    }
}

/// An entry by hand with what it leaves open as it was.
fn with_kept(given: &ParsedEntry, old: Option<&Facts>) -> ParsedEntry {
    let list = |given: &[String], old: Option<&String>| match (given, old) {
        ([], Some(old)) => serde_json::from_str(old).unwrap_or_default(),
        _ => given.iter().filter(|text| !text.is_empty()).cloned().collect(),
    };
    let text = |given: &Option<String>, old: Option<&Option<String>>| {
        given.clone().or_else(|| old.cloned().flatten()).filter(|text| !text.is_empty())
    };
    ParsedEntry {
        address: given.address,
        label: text(&given.label, old.map(|old| &old.label)),
        entity: text(&given.entity, old.map(|old| &old.entity)),
        aliases: list(&given.aliases, old.map(|old| &old.aliases)),
        programs: list(&given.programs, old.map(|old| &old.programs)),
        uid: text(&given.uid, old.map(|old| &old.uid)),
        row: given.row,
        listed_from: given.listed_from.or(old.and_then(|old| old.listed_from)),
        delisted_on: given.delisted_on.or(old.and_then(|old| old.delisted_on)),
        derived_from: text(&given.derived_from, old.map(|old| &old.derived_from)),
    }
}

/// As a JSON array.
fn texts(texts: &[String]) -> String {
    serde_json::to_string(texts).unwrap_or_else(|_| "[]".to_owned())
}

fn kind_of(conn: &Connection, name: &str) -> Result<Option<ListKind>> {
    let code: Option<u8> = conn
        .prepare_cached("SELECT kind FROM lists WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(code.and_then(ListKind::from_code))
}

/// The list's id, and the addresses whose entries say something else from here on, where the list is of another kind now.
fn put_list(conn: &Connection, name: &str, kind: Option<ListKind>) -> Result<(i64, Vec<i64>)> {
    let known: Option<i64> =
        conn.prepare_cached("SELECT id FROM lists WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?;
    let Some(id) = known else {
        conn.prepare_cached("INSERT INTO lists (name, kind) VALUES (?1, ?2)")?
            .execute(params![name, kind.unwrap_or(ListKind::Internal).code()])?;
        return Ok((conn.last_insert_rowid(), Vec::new()));
    };
    let rekinded = match kind {
        Some(kind) => conn
            .prepare_cached("UPDATE lists SET kind = ?2 WHERE id = ?1 AND kind <> ?2")?
            .execute(params![id, kind.code()])?,
        None => 0,
    };
    if rekinded == 0 {
        return Ok((id, Vec::new()));
    }
    let mut statement =
        conn.prepare_cached("SELECT DISTINCT address_id FROM watch_entries WHERE list_id = ?1 AND state IN (0, 1)")?;
    let addresses = statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok((id, addresses))
}

/// A new version; of no list while its entries are being staged.
pub(super) fn put_version(conn: &Connection, list_id: Option<i64>, file: &ListFile<'_>) -> Result<i64> {
    conn.prepare_cached(
        "INSERT INTO list_versions (list_id, published, published_given, imported_at, source, format, sha256, accepted, rejected) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        list_id,
        file.published_at(),
        file.published.is_some(),
        file.imported_at,
        file.source,
        file.format,
        file.sha256,
        file.entries.len() as i64,
        super::sql_int(file.rejected),
    ])?;
    Ok(conn.last_insert_rowid())
}

fn put_manual_version(conn: &Connection, list_id: i64, source: &str, address_id: i64, now: i64) -> Result<i64> {
    conn.prepare_cached(
        "INSERT INTO list_versions (list_id, published, published_given, imported_at, source, format, accepted, rejected, address_id) \
         VALUES (?1, ?2, 0, ?2, ?3, 'manual', 1, 0, ?4)",
    )?
    .execute(params![list_id, now, source, address_id])?;
    Ok(conn.last_insert_rowid())
}

/// Whether that very file is a version of the list already, of the same date. One that bears no date is a version of its own day, so only
/// where it was the last to be imported, and nothing was changed by hand since.
pub(super) fn is_imported(conn: &Connection, list_id: i64, file: &ListFile<'_>) -> Result<bool> {
    Ok(match file.published {
        Some(published) => conn
            .prepare_cached(
                "SELECT 1 FROM list_versions WHERE list_id = ?1 AND published = ?2 AND published_given AND sha256 = ?3",
            )?
            .exists(params![list_id, published, file.sha256])?,
        None => conn
            .prepare_cached("SELECT sha256 FROM list_versions WHERE list_id = ?1 ORDER BY id DESC LIMIT 1")?
            .query_row([list_id], |row| row.get::<_, Option<Vec<u8>>>(0))
            .optional()?
            .flatten()
            .is_some_and(|sha256| sha256 == file.sha256),
    })
}

fn active_entry(conn: &Connection, list_id: i64, address: i64) -> Result<Option<(i64, Facts)>> {
    Ok(conn
        .prepare_cached(&format!(
            "SELECT e.id, {FACTS} FROM watch_entries e WHERE e.list_id = ?1 AND e.address_id = ?2 AND e.state = 0"
        ))?
        .query_row([list_id, address], |row| Ok((row.get(0)?, Facts::read(row, 1)?)))
        .optional()?)
}

/// A new entry in that state; its id. `old` is the entry whose place it takes, which keeps the day it was first known.
pub(super) fn insert_entry(
    conn: &Connection,
    list_id: i64,
    address: i64,
    version: i64,
    entry: &ParsedEntry,
    old: Option<i64>,
    state: i64,
) -> Result<i64> {
    conn.prepare_cached(
        "INSERT INTO watch_entries (list_id, address_id, label, entity, programs, listed_from, delisted_on, derived_from, \
         first_version, state, known_from, aliases, uid, source_line) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?14, \
         CASE WHEN ?10 IS NULL THEN (SELECT CASE WHEN published_given THEN published END FROM list_versions WHERE id = ?9) \
              ELSE (SELECT known_from FROM watch_entries WHERE id = ?10) END, ?11, ?12, ?13)",
    )?
    .execute(params![
        list_id,
        address,
        entry.label,
        entry.entity,
        texts(&entry.programs),
        entry.listed_from,
        entry.delisted_on,
        entry.derived_from,
        version,
        old,
        texts(&entry.aliases),
        entry.uid,
        entry.row.map(|row| i64::try_from(row).unwrap_or(i64::MAX)),
        state,
    ])?;
    Ok(conn.last_insert_rowid())
}

pub(super) fn end_entry(conn: &Connection, id: i64, version: i64, state: i64) -> Result<()> {
    conn.prepare_cached("UPDATE watch_entries SET state = ?3, end_version = ?2 WHERE id = ?1")?
        .execute([id, version, state])?;
    Ok(())
}

/// Counts a change of the lists: which versions made it, and for which addresses another entry is in force than before.
fn bump_revision(conn: &Connection, changed: Vec<i64>, versions: &[i64]) -> Result<()> {
    let next = revision_of(conn)? + 1;
    watch_spans::record(conn, next, changed)?;
    set_revision(conn, next, versions)
}

/// Makes a state of the lists the present one.
pub(super) fn set_revision(conn: &Connection, revision: i64, versions: &[i64]) -> Result<()> {
    for version in versions {
        conn.prepare_cached("INSERT INTO revisions (revision, version_id) VALUES (?1, ?2)")?
            .execute([revision, *version])?;
    }
    set_meta(conn, "watch_revision", &revision.to_string())
}
