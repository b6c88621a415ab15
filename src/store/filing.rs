//! A version of a list takes its place among the others by its date, whenever it is imported.
//!
//! An entry is a span of versions in the order of their dates, from the one that brought it to the one that had it no more or otherwise.
//! A file speaks of every address, a change by hand of one. What a version says holds until the next one that speaks of the address: so a
//! version that comes late changes the time up to that one, and no more.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::Result;
use super::addresses::address_id;
use super::lists::{FACTS, Facts, ImportCounts, STATE_ENDED, STATE_REMOVED, STATE_SUPERSEDED, end_entry, insert_entry};
use crate::lists::ParsedEntry;

/// The place of a version: by its date, of one date by when it came.
type At = (i64, i64);

/// A version that comes after another one.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: At,
    /// It is a change by hand.
    by_hand: bool,
}

/// The versions after one that is to be filed.
#[derive(Debug)]
pub(super) struct Later {
    file: Option<At>,
    /// The first change by hand of each address that has one.
    by_hand: HashMap<i64, At>,
}

/// The versions of the list after that one.
pub(super) fn later(conn: &Connection, list_id: i64, version: i64) -> Result<Later> {
    let own = at(conn, version)?;
    let mut later = Later { file: None, by_hand: HashMap::new() };
    let mut statement = conn.prepare_cached(
        "SELECT published, id, address_id FROM list_versions WHERE list_id = ?1 AND (published, id) > (?2, ?3) ORDER BY published, id",
    )?;
    let mut rows = statement.query(params![list_id, own.0, own.1])?;
    while let Some(row) = rows.next()? {
        let at = (row.get(0)?, row.get(1)?);
        match row.get::<_, Option<i64>>(2)? {
            None => {
                later.file = later.file.or(Some(at));
            }
            Some(address) => {
                later.by_hand.entry(address).or_insert(at);
            }
        }
    }
    Ok(later)
}

fn at(conn: &Connection, version: i64) -> Result<At> {
    Ok(conn
        .prepare_cached("SELECT published, id FROM list_versions WHERE id = ?1")?
        .query_row([version], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

impl Later {
    /// The first of them that speaks of an address.
    fn of(&self, address: i64) -> Option<Next> {
        let by_hand = self.by_hand.get(&address).map(|at| Next { at: *at, by_hand: true });
        let file = self.file.map(|at| Next { at, by_hand: false });
        match (by_hand, file) {
            (Some(by_hand), Some(file)) => Some(if by_hand.at < file.at { by_hand } else { file }),
            (by_hand, file) => by_hand.or(file),
        }
    }
}

/// Files a version with these entries before those that are later. The addresses with other entries than before go to `changed`.
pub(super) fn file(
    conn: &Connection,
    list_id: i64,
    version: i64,
    entries: &[ParsedEntry],
    later: &Later,
    changed: &mut Vec<i64>,
) -> Result<ImportCounts> {
    let own = at(conn, version)?;
    let mut counts = ImportCounts { filed: true, ..ImportCounts::default() };
    let mut held: BTreeSet<i64> = conn
        .prepare_cached(
            "SELECT e.address_id FROM watch_entries e JOIN list_versions f ON f.id = e.first_version \
             LEFT JOIN list_versions x ON x.id = e.end_version \
             WHERE e.list_id = ?1 AND (f.published, f.id) < (?2, ?3) AND (x.id IS NULL OR (x.published, x.id) > (?2, ?3))",
        )?
        .query_map(params![list_id, own.0, own.1], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut say = |address: i64, entry: Option<&ParsedEntry>| -> Result<()> {
        if (Speaking { conn, list_id, address, own, next: later.of(address) }).says(entry, &mut counts)? {
            changed.push(address);
        }
        Ok(())
    };
    for entry in entries {
        let address = address_id(conn, entry.address)?;
        held.remove(&address);
        say(address, Some(entry))?;
    }
    for address in held {
        say(address, None)?;
    }
    Ok(counts)
}

/// A span of an address.
#[derive(Debug)]
struct Span {
    id: i64,
    first: At,
    end: Option<At>,
    facts: Facts,
}

/// A version that is being filed, as to one address.
struct Speaking<'a> {
    conn: &'a Connection,
    list_id: i64,
    address: i64,
    own: At,
    next: Option<Next>,
}

impl Speaking<'_> {
    /// The spans of the address, in order.
    fn spans(&self) -> Result<Vec<Span>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT e.id, f.published, f.id, x.published, x.id, {FACTS} FROM watch_entries e \
             JOIN list_versions f ON f.id = e.first_version LEFT JOIN list_versions x ON x.id = e.end_version \
             WHERE e.list_id = ?1 AND e.address_id = ?2 ORDER BY f.published, f.id",
        ))?;
        let rows = statement.query_map([self.list_id, self.address], |row| {
            let end: Option<i64> = row.get(3)?;
            Ok(Span {
                id: row.get(0)?,
                first: (row.get(1)?, row.get(2)?),
                end: match end {
                    Some(published) => Some((published, row.get(4)?)),
                    None => None,
                },
                facts: Facts::read(row, 5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// It has the address, as that entry, or does not. Whether this changes an entry of the address.
    fn says(&self, entry: Option<&ParsedEntry>, counts: &mut ImportCounts) -> Result<bool> {
        let spans = self.spans()?;
        let facts = entry.map(Facts::of);
        let before = spans.iter().find(|span| span.first < self.own && span.end.is_none_or(|end| end > self.own));
        if before.map(|span| &span.facts) == facts.as_ref() {
            counts.unchanged += usize::from(entry.is_some());
            return Ok(false);
        }
        let following = self.next.and_then(|next| spans.iter().find(|span| span.first == next.at));
        let goes_on = self.next.is_some() && before.is_some_and(|span| span.end != self.next.map(|next| next.at));
        if let Some(span) = before {
            if let Some(next) = self.next.filter(|_| goes_on) {
                self.copy_from(span.id, next.at)?;
            }
            end_entry(self.conn, span.id, self.own.1, if entry.is_some() { STATE_SUPERSEDED } else { STATE_ENDED })?;
        }
        match (before, entry) {
            (Some(_), Some(_)) => counts.changed += 1,
            (Some(_), None) => counts.ended += 1,
            (None, _) => counts.added += 1,
        }
        if let Some(entry) = entry {
            match (self.next, following) {
                // It said so earlier than was known. What was said by hand keeps its own beginning.
                (Some(Next { by_hand: false, .. }), Some(following)) if Some(&following.facts) == facts.as_ref() => {
                    let line = entry.row.map(|row| i64::try_from(row).unwrap_or(i64::MAX));
                    self.conn
                        .prepare_cached("UPDATE watch_entries SET first_version = ?2, source_line = ?3 WHERE id = ?1")?
                        .execute(params![following.id, self.own.1, line])?;
                }
                (next, following) => {
                    let goes_on = following.is_some() || goes_on;
                    self.put(entry, next, goes_on)?;
                }
            }
        }
        self.know_anew()?;
        Ok(true)
    }

    /// The span of what this version says, up to the next one that speaks.
    fn put(&self, entry: &ParsedEntry, next: Option<Next>, goes_on: bool) -> Result<()> {
        // Only one entry of an address is active at a time: it is not, for a moment, until it is known that it is.
        let id = insert_entry(self.conn, self.list_id, self.address, self.own.1, entry, None, STATE_SUPERSEDED)?;
        match next {
            None => {
                self.conn.prepare_cached("UPDATE watch_entries SET state = 0 WHERE id = ?1")?.execute([id])?;
                Ok(())
            }
            Some(Next { at, .. }) if goes_on => end_entry(self.conn, id, at.1, STATE_SUPERSEDED),
            Some(Next { at, by_hand: true }) => end_entry(self.conn, id, at.1, STATE_REMOVED),
            Some(Next { at, by_hand: false }) => end_entry(self.conn, id, at.1, STATE_ENDED),
        }
    }

    /// What a span says goes on from that version in one of its own, with whatever became of it, and with the alerts of that time.
    fn copy_from(&self, id: i64, first: At) -> Result<()> {
        let (state, end): (i64, Option<i64>) = self
            .conn
            .prepare_cached("SELECT state, end_version FROM watch_entries WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        end_entry(self.conn, id, first.1, STATE_SUPERSEDED)?;
        self.conn
            .prepare_cached(
                "INSERT INTO watch_entries (list_id, address_id, label, entity, programs, listed_from, delisted_on, derived_from, known_from, \
                 aliases, uid, source_line, first_version, end_version, state) \
                 SELECT list_id, address_id, label, entity, programs, listed_from, delisted_on, derived_from, known_from, aliases, uid, \
                 source_line, ?2, ?3, ?4 FROM watch_entries WHERE id = ?1",
            )?
            .execute(params![id, first.1, end, state])?;
        self.conn
            .prepare_cached(
                "UPDATE alert_entries SET entry_id = ?2 WHERE entry_id = ?1 AND ?3 <= (SELECT b.timestamp FROM alerts a \
                 JOIN blocks b ON b.id = a.block_id WHERE a.id = alert_entries.alert_id)",
            )?
            .execute([id, self.conn.last_insert_rowid(), first.0])?;
        Ok(())
    }

    /// Each span is known from the date of the first one that it goes on from without a break.
    fn know_anew(&self) -> Result<()> {
        let mut before: Option<(Option<At>, Option<i64>)> = None;
        for span in self.spans()? {
            let own: Option<i64> = self
                .conn
                .prepare_cached("SELECT CASE WHEN published_given THEN published END FROM list_versions WHERE id = ?1")?
                .query_row([span.first.1], |row| row.get(0))
                .optional()?
                .flatten();
            let known = match before {
                Some((Some(end), known)) if end == span.first => known,
                _ => own,
            };
            self.conn
                .prepare_cached("UPDATE watch_entries SET known_from = ?2 WHERE id = ?1 AND known_from IS NOT ?2")?
                .execute(params![span.id, known])?;
            before = Some((span.end, known));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, EntryRow, ListFile, ManualEntry, Store, StoreError};
    use alloy::primitives::Address;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    fn entry(address: u8, label: u8) -> ParsedEntry {
        ParsedEntry { label: Some(format!("label {label}")), ..ParsedEntry::bare(Address::repeat_byte(address)) }
    }

    /// What a file says: label of each address that it has.
    type Contents = Vec<Option<u8>>;

    fn entries(contents: &Contents) -> Vec<ParsedEntry> {
        (0u8..).zip(contents).filter_map(|(address, label)| label.map(|label| entry(address, label))).collect()
    }

    fn import(store: &mut Store, day: i64, contents: &Contents) -> ImportCounts {
        let entries = entries(contents);
        let file = ListFile {
            list: "l",
            kind: None,
            published: Some(day * DAY),
            imported_at: 1_000 * DAY,
            source: "f",
            format: "csv",
            sha256: [day as u8; 32],
            entries: &entries,
            rejected: 0,
        };
        store.import_list(&file).unwrap()
    }

    fn fresh() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("a.db"), Access::Write { durable: false }).unwrap();
        (dir, store)
    }

    fn as_of(store: &Store, at: i64) -> Vec<(Address, Option<String>)> {
        let mut found = Vec::new();
        store
            .each_entry::<StoreError>(None, None, Some(at), |row: EntryRow| {
                found.push((row.address, row.label));
                Ok(())
            })
            .unwrap();
        found
    }

    fn contents() -> impl Strategy<Value = Vec<Contents>> {
        proptest::collection::vec(proptest::collection::vec(proptest::option::of(0u8..2), 3), 1..7)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn files_come_out_the_same_in_whatever_order_they_are_imported(
            files in contents(), order in proptest::collection::vec(any::<u32>(), 7),
        ) {
            let (_dir, mut in_order) = fresh();
            let (_other, mut shuffled) = fresh();
            let mut shuffle: Vec<usize> = (0..files.len()).collect();
            shuffle.sort_by_key(|place| order[*place]);
            for (day, contents) in (1..).zip(&files) {
                import(&mut in_order, day, contents);
            }
            for place in shuffle {
                import(&mut shuffled, 1 + place as i64, &files[place]);
            }
            for (day, contents) in (1..).zip(&files) {
                let wanted: Vec<_> = entries(contents).into_iter().map(|entry| (entry.address, entry.label)).collect();
                prop_assert_eq!(&as_of(&in_order, day * DAY), &wanted);
                prop_assert_eq!(&as_of(&shuffled, day * DAY + DAY / 2), &wanted);
            }
            prop_assert_eq!(shuffled.list_digest().unwrap(), in_order.list_digest().unwrap());
        }
    }

    #[test]
    fn what_was_changed_by_hand_outlasts_a_file_that_is_older_and_comes_later() {
        let (_dir, mut store) = fresh();
        import(&mut store, 1, &vec![Some(0), None]);
        store.add_entry(&ManualEntry { list: "l", kind: None, entry: &entry(1, 1), now: 100 * DAY }).unwrap();
        store.remove_entry(Address::repeat_byte(0), None, 101 * DAY).unwrap();
        let counts = import(&mut store, 2, &vec![Some(0), None]);
        assert!(counts.filed && counts.unchanged == 1, "{counts:?}");
        assert_eq!(as_of(&store, 102 * DAY), [(Address::repeat_byte(1), Some("label 1".to_owned()))]);
        // One that is newer is the whole of the list again.
        import(&mut store, 103, &vec![Some(0), None]);
        assert_eq!(as_of(&store, 103 * DAY), [(Address::repeat_byte(0), Some("label 0".to_owned()))]);
        assert!(import(&mut store, 2, &vec![Some(0), None]).same_file);
    }
}
