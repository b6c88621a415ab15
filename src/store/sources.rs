//! Where lists are fetched from: what to ask the server with next time, how the last time went, and how old each list is.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Result, Store, maybe_bytes};
use crate::redact::redacted;

/// What the server said of the file that a list was last fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSource {
    /// SHA-256 of the URL and of how its answer is read: what follows holds for no other.
    pub asked_for: [u8; 32],
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// What the server called it.
    pub etag: Option<String>,
    /// When it last changed, as the server wrote it.
    pub last_modified: Option<String>,
}

/// How old a list is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListAge {
    /// Its name. A list that was only asked for, and never came, has one too.
    pub name: String,
    /// Format of its newest file; none where it has no file yet.
    pub format: Option<String>,
    /// Publication of its newest file, unix seconds; none where that one bears no date.
    pub published: Option<i64>,
    /// When a file of it was last imported, unix seconds.
    pub imported_at: Option<i64>,
    /// When its server last had a good file, or nothing newer, unix seconds.
    pub checked_at: Option<i64>,
    /// When it could not be fetched, if that was the last time, and why.
    pub failed: Option<(i64, String)>,
    /// Trying again will not help: somebody has to do something.
    pub failed_for_good: bool,
}

impl Store {
    /// What is known of where a list was fetched from; only where its newest version is still that file.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn list_source(&self, name: &str) -> Result<Option<ListSource>> {
        let row = self
            .conn
            .prepare_cached(
                "SELECT s.asked_for, s.sha256, s.etag, s.last_modified FROM list_sources s WHERE s.name = ?1 AND s.sha256 = \
                 (SELECT v.sha256 FROM list_versions v JOIN lists l ON l.id = v.list_id AND l.name = ?1 ORDER BY v.id DESC LIMIT 1)",
            )?
            .query_row([name], |row| {
                Ok((maybe_bytes(row, 0)?, maybe_bytes(row, 1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        Ok(row.and_then(|(asked_for, sha256, etag, last_modified)| {
            Some(ListSource { asked_for: asked_for?, sha256: sha256?, etag, last_modified })
        }))
    }

    /// The server had a good file, which is in the store now; or nothing newer, then there is no `source` to keep.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_list_checked(&mut self, name: &str, source: Option<&ListSource>, now: i64) -> Result<()> {
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO list_sources (name, checked_at) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET checked_at = ?2, failed_at = NULL, last_error = NULL, failed_for_good = 0",
            )?
            .execute(params![name, now])?;
            source.map_or(Ok(()), |source| keep(tx, name, source))
        })
    }

    /// It could not be fetched, or what came was not taken. `for_good`: trying again will not help.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_list_failed(&mut self, name: &str, error: &str, for_good: bool, now: i64) -> Result<()> {
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO list_sources (name, failed_at, last_error, failed_for_good) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (name) DO UPDATE SET failed_at = ?2, last_error = ?3, failed_for_good = ?4",
            )?
            .execute(params![name, now, redacted(error), for_good])?;
            Ok(())
        })
    }

    /// How old each list is, by name.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn list_ages(&self) -> Result<Vec<ListAge>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT n.name, (SELECT v.format FROM list_versions v WHERE v.list_id = l.id AND v.sha256 IS NOT NULL \
                     ORDER BY v.published DESC, v.id DESC LIMIT 1), \
                    (SELECT CASE WHEN v.published_given THEN v.published END FROM list_versions v WHERE v.list_id = l.id AND v.sha256 IS NOT NULL \
                     ORDER BY v.published DESC, v.id DESC LIMIT 1), \
                    (SELECT max(v.imported_at) FROM list_versions v WHERE v.list_id = l.id AND v.sha256 IS NOT NULL), \
                    s.checked_at, s.failed_at, s.last_error, coalesce(s.failed_for_good, 0) \
             FROM (SELECT name FROM lists WHERE id IN (SELECT list_id FROM list_versions) UNION SELECT name FROM list_sources) n LEFT JOIN lists l ON l.name = n.name \
             LEFT JOIN list_sources s ON s.name = n.name ORDER BY n.name",
        )?;
        let rows = statement.query_map([], |row| {
            let failed: (Option<i64>, Option<String>) = (row.get(5)?, row.get(6)?);
            Ok(ListAge {
                name: row.get(0)?,
                format: row.get(1)?,
                published: row.get(2)?,
                imported_at: row.get(3)?,
                checked_at: row.get(4)?,
                failed: failed.0.zip(failed.1),
                failed_for_good: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn keep(conn: &Connection, name: &str, source: &ListSource) -> Result<()> {
    conn.prepare_cached(
        "UPDATE list_sources SET asked_for = ?2, sha256 = ?3, etag = ?4, last_modified = ?5 WHERE name = ?1",
    )?
    .execute(params![name, source.asked_for, source.sha256, source.etag, source.last_modified])?;
    Ok(())
}
