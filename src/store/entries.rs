//! Watch entries going out: to screening, to the user, to `status`.

use alloy::primitives::Address;
use rusqlite::params;

use super::{Result, Store, StoreError, bytes, chain_int, meta};
use crate::screen::{ListKind, WatchEntry, Watchlist};

/// An entry as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Its number in the store.
    pub id: i64,
    /// The address.
    pub address: Address,
    /// What the list calls it.
    pub label: Option<String>,
    /// Name of the list.
    pub list: String,
    /// Its kind.
    pub kind: ListKind,
    /// Who is behind it.
    pub entity: Option<String>,
    /// Sanctions programs.
    pub programs: Vec<String>,
    /// Legal begin, unix seconds.
    pub listed_from: Option<i64>,
    /// Legal end, or the day the list no longer had it.
    pub delisted_on: Option<i64>,
    /// What it was derived from.
    pub derived_from: Option<String>,
}

/// A list as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: ListKind,
    /// Entries now.
    pub entries: u64,
    /// Publication of its newest version, unix seconds.
    pub published: i64,
    /// Last change, unix seconds.
    pub imported_at: i64,
}

impl Store {
    /// Which state the lists are in: rises with every change.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn watch_revision(&self) -> Result<i64> {
        Ok(meta(&self.conn, "watch_revision")?.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Everything that screening has to know. Entries that a later version ended still match blocks from before their end.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn watchlist(&self) -> Result<Watchlist> {
        // Read in one transaction, so that revision and entries are of one state.
        let tx = self.conn.unchecked_transaction()?;
        let revision = meta(&tx, "watch_revision")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut statement = tx.prepare(
            "SELECT e.id, x.address, l.kind, e.listed_from, e.delisted_on, \
                    e.known_from, CASE WHEN e.state = 1 THEN ended.published END \
             FROM watch_entries e JOIN addresses x ON x.id = e.address_id JOIN lists l ON l.id = e.list_id \
             LEFT JOIN list_versions ended ON ended.id = e.end_version WHERE e.state IN (0, 1) ORDER BY l.kind, l.name, e.id",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(WatchEntry {
                id: row.get(0)?,
                address: bytes(row, 1)?.into(),
                kind: ListKind::from_code(row.get(2)?).unwrap_or(ListKind::Internal),
                listed_from: row.get(3)?,
                delisted_on: row.get(4)?,
                known_from: row.get(5)?,
                ended_on: row.get(6)?,
            })
        })?;
        let entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        self.with_rules(Watchlist::new(entries, revision))
    }

    /// Calls `each` with every entry of a list (or of all), as of a time or as of now, by list and address.
    ///
    /// # Errors
    /// Of SQLite, or what `each` returns.
    pub fn each_entry<E: From<StoreError>>(
        &self,
        address: Option<Address>,
        list: Option<&str>,
        as_of: Option<i64>,
        mut each: impl FnMut(EntryRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let run = |each: &mut dyn FnMut(EntryRow) -> std::result::Result<(), E>| -> Result<std::result::Result<(), E>> {
            // For one address the text says so: planned once for both, it would read the whole list.
            let wanted = if address.is_some() { "x.address = ?1" } else { "?1 IS NULL" };
            // As of a time: what the version in force then had, and was not yet delisted.
            let mut statement = self.conn.prepare_cached(&format!(
                "SELECT x.address, e.label, l.name, l.kind, e.entity, e.programs, e.listed_from, \
                        coalesce(e.delisted_on, CASE WHEN e.state IN (1, 2) THEN ended.published END), e.derived_from, e.id \
                 FROM watch_entries e JOIN addresses x ON x.id = e.address_id JOIN lists l ON l.id = e.list_id \
                 JOIN list_versions v ON v.id = e.first_version LEFT JOIN list_versions ended ON ended.id = e.end_version \
                 WHERE {wanted} AND (?2 IS NULL OR l.name = ?2) \
                   AND CASE WHEN ?3 IS NULL THEN e.state = 0 ELSE \
                       coalesce(e.listed_from, v.published) <= ?3 AND coalesce(ended.published, ?3 + 1) > ?3 \
                       AND coalesce(e.delisted_on, ?3 + 1) > ?3 END \
                 ORDER BY l.name, x.address, e.id",
            ))?;
            let mut rows = statement.query(params![address.as_ref().map(|a| a.as_slice()), list, as_of])?;
            while let Some(row) = rows.next()? {
                let programs: String = row.get(5)?;
                let entry = EntryRow {
                    id: row.get(9)?,
                    address: bytes(row, 0)?.into(),
                    label: row.get(1)?,
                    list: row.get(2)?,
                    kind: ListKind::from_code(row.get(3)?).unwrap_or(ListKind::Internal),
                    entity: row.get(4)?,
                    programs: serde_json::from_str(&programs).unwrap_or_default(),
                    listed_from: row.get(6)?,
                    delisted_on: row.get(7)?,
                    derived_from: row.get(8)?,
                };
                if let Err(error) = each(entry) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        };
        run(&mut each).map_err(E::from)?
    }

    /// The lists with their ages.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn lists(&self) -> Result<Vec<ListRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT l.name, l.kind, (SELECT count(*) FROM watch_entries e WHERE e.list_id = l.id AND e.state = 0), \
                    max(v.published), max(v.imported_at) \
             FROM lists l JOIN list_versions v ON v.list_id = l.id GROUP BY l.id ORDER BY l.name",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(ListRow {
                name: row.get(0)?,
                kind: ListKind::from_code(row.get(1)?).unwrap_or(ListKind::Internal),
                entries: chain_int(row.get(2)?),
                published: row.get(3)?,
                imported_at: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
