//! Which version of a list said what, and which was in force when a block was screened.

use alloy::primitives::{Address, B256};
use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension, params};

use super::alerts::SHOWN;
use super::{Result, Store, maybe_bytes};
use crate::screen::{Designation, ListKind, WatchEntry};

/// A version of a list: a file that was imported, or a change by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// When it was published, unix seconds; the time of import where nobody said.
    pub published: i64,
    /// Whether somebody said.
    pub published_given: bool,
    /// When it was imported, unix seconds.
    pub imported_at: i64,
    /// Name of the file, or what was done by hand.
    pub source: String,
    /// Its format; `manual` for a change by hand.
    pub format: String,
    /// SHA-256 of the file's bytes; none for a change by hand.
    pub sha256: Option<[u8; 32]>,
}

/// A watch entry of an alert, with the versions that stand behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "schema.sql says what each field means")]
pub struct EntryVersions {
    pub list: String,
    pub kind: ListKind,
    pub label: Option<String>,
    pub entity: Option<String>,
    pub programs: Vec<String>,
    pub designation: Designation,
    pub listed_from: Option<i64>,
    pub delisted_on: Option<i64>,
    /// The block was screened against it.
    pub matched: bool,
    /// The version that brought the entry.
    pub brought_by: VersionRow,
    /// The newest version of the list when the block was screened; none where an older bolo kept no record of it.
    pub in_force: Option<VersionRow>,
}

/// How a block was screened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screening {
    /// The state of the lists.
    pub watch_revision: i64,
    /// The decoder.
    pub decoder: i64,
    /// Index in the block of the first log of the alert's transaction.
    pub first_log_index: Option<u64>,
}

pub(super) const VERSION: &str = "v.published, v.published_given, v.imported_at, v.source, v.format, v.sha256";

pub(super) fn version(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<VersionRow> {
    Ok(VersionRow {
        published: row.get(at)?,
        published_given: row.get(at + 1)?,
        imported_at: row.get(at + 2)?,
        source: row.get(at + 3)?,
        format: row.get(at + 4)?,
        sha256: maybe_bytes(row, at + 5)?,
    })
}

impl Store {
    /// How the block of an alert was screened.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn screening(&self, alert: B256) -> Result<Option<Screening>> {
        Ok(self
            .conn
            .prepare_cached(
                "SELECT b.watch_revision, b.decoder, t.first_log_index FROM alerts a JOIN blocks b ON b.id = a.block_id \
                 JOIN activities m ON m.id = a.activity_id LEFT JOIN transactions t ON t.id = m.tx_id WHERE a.alert_id = ?1",
            )?
            .query_row([alert.as_slice()], |row| {
                Ok(Screening {
                    watch_revision: row.get(0)?,
                    decoder: row.get(1)?,
                    first_log_index: row.get::<_, Option<i64>>(2)?.map(super::chain_int),
                })
            })
            .optional()?)
    }

    /// The lists that were imported from files, each with the date of its first file, unix seconds.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn first_files(&self) -> Result<Vec<(String, i64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT l.name, min(v.published) FROM lists l JOIN list_versions v ON v.list_id = l.id WHERE v.sha256 IS NOT NULL \
             GROUP BY l.id ORDER BY l.name",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The watch entries of an alert, strictest first, with their versions.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn entry_versions(&self, alert: B256) -> Result<Vec<EntryVersions>> {
        self.entries_where(
            "FROM alerts a JOIN blocks b ON b.id = a.block_id JOIN alert_entries ae ON ae.alert_id = a.id \
             JOIN watch_entries e ON e.id = ae.entry_id",
            &format!("a.alert_id = ?1 AND {SHOWN} ORDER BY ae.rank"),
            params![alert.as_slice()],
        )
    }

    /// What the lists say of a side of an alert's movement, strictest first: the entries of the alert that the movement made for that
    /// address. Where there is none, the block was screened before the lists had the address: the entries that they have now.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn side_entries(&self, alert: B256, address: Address) -> Result<Vec<EntryVersions>> {
        let of_side: Option<[u8; 32]> = self
            .conn
            .prepare_cached(
                "SELECT other.alert_id FROM alerts a JOIN alerts other ON other.activity_id = a.activity_id \
                 JOIN addresses x ON x.id = other.watched_id WHERE a.alert_id = ?1 AND x.address = ?2",
            )?
            .query_row(params![alert.as_slice(), address.as_slice()], |row| maybe_bytes(row, 0))
            .optional()?
            .flatten();
        if let Some(of_side) = of_side {
            return self.entry_versions(of_side.into());
        }
        self.entries_where(
            "FROM alerts a JOIN blocks b ON b.id = a.block_id JOIN addresses x ON x.address = ?2 \
             JOIN committed_entries e ON e.address_id = x.id AND e.state = 0 \
             LEFT JOIN alert_entries ae ON FALSE",
            "a.alert_id = ?1 ORDER BY l.kind, l.name",
            params![alert.as_slice(), address.as_slice()],
        )
    }

    fn entries_where(&self, from: &str, condition: &str, values: &[&dyn ToSql]) -> Result<Vec<EntryVersions>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT l.name, l.kind, e.label, e.entity, e.programs, ae.designation, l.id, b.watch_revision, e.listed_from, e.delisted_on, \
             e.known_from, b.timestamp, {VERSION} {from} JOIN lists l ON l.id = e.list_id \
             JOIN list_versions v ON v.id = e.first_version WHERE {condition}"
        ))?;
        let rows = statement.query_map(values, |row| {
            let programs: String = row.get(4)?;
            let kind = ListKind::from_code(row.get(1)?).unwrap_or(ListKind::Internal);
            let recorded: Option<u8> = row.get(5)?;
            let present = WatchEntry {
                id: 0,
                address: Address::ZERO,
                kind,
                listed_from: row.get(8)?,
                delisted_on: row.get(9)?,
                known_from: row.get(10)?,
                ended_on: None,
            };
            let designation = match recorded {
                Some(code) => Designation::from_code(code).unwrap_or(Designation::Unknown),
                None => present.designation(row.get(11)?),
            };
            let entry = EntryVersions {
                list: row.get(0)?,
                kind,
                label: row.get(2)?,
                entity: row.get(3)?,
                programs: serde_json::from_str(&programs).unwrap_or_default(),
                designation,
                listed_from: present.listed_from,
                delisted_on: present.delisted_on,
                matched: recorded.is_some(),
                brought_by: version(row, 12)?,
                in_force: None,
            };
            Ok((entry, row.get::<_, i64>(6)?, row.get::<_, i64>(7)?))
        })?;
        let mut entries = Vec::new();
        for row in rows {
            let (entry, list, revision) = row?;
            let in_force = self
                .conn
                .prepare_cached(&format!(
                    "SELECT {VERSION} FROM revisions r JOIN list_versions v ON v.id = r.version_id \
                     WHERE v.list_id = ?1 AND r.revision <= ?2 ORDER BY v.published DESC, v.id DESC LIMIT 1"
                ))?
                .query_row(params![list, revision], |row| version(row, 0))
                .optional()?;
            entries.push(EntryVersions { in_force, ..entry });
        }
        Ok(entries)
    }
}
