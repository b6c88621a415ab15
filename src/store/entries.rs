//! Watch entries going out: to screening, to the user, to `status`.

use alloy::primitives::Address;
use rusqlite::params;

use super::lists::{FACTS, Facts};
use super::versions::{VERSION, VersionRow, version};
use super::{Result, Store, StoreError, bytes, chain_int, meta};
use crate::named::named;
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
    /// Other names of who is behind it.
    pub aliases: Vec<String>,
    /// The list's own id of the record.
    pub uid: Option<String>,
    /// Where in its file it stands.
    pub source_line: Option<i64>,
    /// The version that brought it.
    pub brought_by: VersionRow,
    /// The version that had it no more, or says something else.
    pub ended_by: Option<VersionRow>,
    /// What became of it.
    pub state: EntryState,
}

named! {
    /// What became of a watch entry.
    EntryState {
        /// The list has it.
        Active = "active",
        /// A later version of the list does not.
        Ended = "ended",
        /// Removed by hand.
        Removed = "removed",
        /// It says something else in a later version.
        Superseded = "superseded",
    }
}

impl EntryRow {
    /// Whether its own dates have begun and not ended at a time.
    pub fn is_in_force(&self, at: i64) -> bool {
        self.listed_from.is_none_or(|from| from <= at) && self.delisted_on.is_none_or(|until| until > at)
    }

    /// The names of the fields in which another entry of the address says something else.
    pub fn differs_from(&self, other: &Self) -> Vec<&'static str> {
        // Of what left the list it says when; that is no fact of the list's.
        let end =
            |row: &Self| row.delisted_on.filter(|_| !matches!(row.state, EntryState::Ended | EntryState::Removed));
        let fields = [
            ("label", self.label != other.label),
            ("entity", self.entity != other.entity),
            ("aliases", self.aliases != other.aliases),
            ("programs", self.programs != other.programs),
            ("uid", self.uid != other.uid),
            ("listed_from", self.listed_from != other.listed_from),
            ("delisted_on", end(self) != end(other)),
            ("derived_from", self.derived_from != other.derived_from),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
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

/// Whether an entry `e` from version `v` to version `ended` was in force at a time.
pub(super) fn in_force(at: &str) -> String {
    format!(
        "coalesce(e.listed_from, {at}) <= {at} AND coalesce(e.delisted_on > {at}, 1) AND CASE WHEN v.published <= {at} \
         THEN coalesce(ended.published > {at}, 1) \
         ELSE e.listed_from IS NOT NULL AND NOT EXISTS (SELECT 1 FROM committed_entries p JOIN list_versions pv ON pv.id = p.first_version \
              WHERE p.list_id = e.list_id AND p.address_id = e.address_id AND (pv.published, pv.id) < (v.published, v.id)) END"
    )
}

/// `as_of`: what a later version did is not known yet.
fn entry_row(row: &rusqlite::Row<'_>, as_of: Option<i64>) -> rusqlite::Result<EntryRow> {
    let texts = |text: String| serde_json::from_str(&text).unwrap_or_default();
    let facts = Facts::read(row, 7)?;
    let state = EntryState::from_code(row.get(3)?).unwrap_or(EntryState::Superseded);
    let ended_by = if row.get(6)? { None } else { Some(version(row, 21)?) };
    let left = |by: &&VersionRow| {
        matches!(state, EntryState::Ended | EntryState::Removed) && as_of.is_none_or(|as_of| by.published <= as_of)
    };
    Ok(EntryRow {
        id: row.get(5)?,
        address: bytes(row, 0)?.into(),
        label: facts.label,
        list: row.get(1)?,
        kind: ListKind::from_code(row.get(2)?).unwrap_or(ListKind::Internal),
        entity: facts.entity,
        programs: texts(facts.programs),
        listed_from: facts.listed_from,
        delisted_on: facts.delisted_on.or(ended_by.as_ref().filter(left).map(|version| version.published)),
        derived_from: facts.derived_from,
        aliases: texts(facts.aliases),
        uid: facts.uid,
        source_line: row.get(4)?,
        brought_by: version(row, 15)?,
        ended_by,
        state,
    })
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
             FROM committed_entries e JOIN addresses x ON x.id = e.address_id JOIN lists l ON l.id = e.list_id \
             JOIN list_versions first ON first.id = e.first_version \
             LEFT JOIN list_versions ended ON ended.id = e.end_version WHERE e.state IN (0, 1) ORDER BY l.kind, l.name, first.published, first.id",
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
    /// As of a time: what the version in force then had, from its own begin to its own end. Of an address that no version so old is held
    /// with, its first entry says since when it was listed.
    ///
    /// # Errors
    /// Of SQLite, or what `each` returns.
    pub fn each_entry<E: From<StoreError>>(
        &self,
        address: Option<Address>,
        list: Option<&str>,
        as_of: Option<i64>,
        each: impl FnMut(EntryRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        match as_of {
            Some(at) => self.each_row(address, list, &in_force("?3"), at, as_of, each),
            None => self.each_row(address, list, "e.state = 0 AND ?3 = 0", 0, None, each),
        }
    }

    /// Calls `each` with every entry that an address ever had, by list and in the order of the versions.
    ///
    /// # Errors
    /// As [`each_entry`](Self::each_entry).
    pub fn history<E: From<StoreError>>(
        &self,
        address: Address,
        each: impl FnMut(EntryRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.each_row(Some(address), None, "?3 = 0", 0, None, each)
    }

    /// One entry by its number in the store.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn entry(&self, id: i64) -> Result<Option<EntryRow>> {
        let mut found = None;
        self.each_row::<StoreError>(None, None, "e.id = ?3", id, None, |row| {
            found = Some(row);
            Ok(())
        })?;
        Ok(found)
    }

    fn each_row<E: From<StoreError>>(
        &self,
        address: Option<Address>,
        list: Option<&str>,
        which: &str,
        at: i64,
        as_of: Option<i64>,
        mut each: impl FnMut(EntryRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let run = |each: &mut dyn FnMut(EntryRow) -> std::result::Result<(), E>| -> Result<std::result::Result<(), E>> {
            // For one address the text says so: planned once for both, it would read the whole list.
            let wanted = if address.is_some() { "x.address = ?1" } else { "?1 IS NULL" };
            let ended = VERSION.replace("v.", "ended.");
            let mut statement = self.conn.prepare_cached(&format!(
                "SELECT x.address, l.name, l.kind, e.state, e.source_line, e.id, ended.id IS NULL, {FACTS}, {VERSION}, {ended} \
                 FROM committed_entries e JOIN addresses x ON x.id = e.address_id JOIN lists l ON l.id = e.list_id \
                 JOIN list_versions v ON v.id = e.first_version LEFT JOIN list_versions ended ON ended.id = e.end_version \
                 WHERE {wanted} AND (?2 IS NULL OR l.name = ?2) AND {which} ORDER BY l.name, x.address, v.published, v.id",
            ))?;
            let mut rows = statement.query(params![address.as_ref().map(|a| a.as_slice()), list, at])?;
            while let Some(row) = rows.next()? {
                if let Err(error) = each(entry_row(row, as_of)?) {
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
            "SELECT l.name, l.kind, (SELECT count(*) FROM committed_entries e WHERE e.list_id = l.id AND e.state = 0), \
                    coalesce(max(v.published) FILTER (WHERE v.sha256 IS NOT NULL), max(v.published)), max(v.imported_at) \
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
