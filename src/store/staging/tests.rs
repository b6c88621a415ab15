//! A large import has no effect until its end, and then the same as a small one.
#![cfg(test)]

use alloy::primitives::Address;
use proptest::prelude::*;
use rusqlite::types::Value;

use super::*;
use crate::store::{Access, EntryRow, ManualEntry};

const DAY: i64 = 86_400;

fn store(part: usize) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("a.db"), Access::Write { durable: false }).unwrap();
    store.import_part = part;
    store.import_pause = Duration::ZERO;
    (folder, store)
}

/// Label of each address that a file has, by the address's last byte.
type Contents = Vec<(u8, u8)>;

fn entries(contents: &Contents) -> Vec<ParsedEntry> {
    let entry = |(address, label): &(u8, u8)| ParsedEntry {
        label: Some(format!("label {label}")),
        ..ParsedEntry::bare(Address::with_last_byte(*address))
    };
    contents.iter().map(entry).collect()
}

fn import(store: &mut Store, day: u8, kind: Option<ListKind>, contents: &Contents) -> Result<ImportCounts> {
    let sha256 = std::array::from_fn(|at| contents.get(at).map_or(day, |(address, label)| address ^ label));
    store.import_list(&ListFile {
        list: "l",
        kind,
        published: Some(i64::from(day) * DAY),
        imported_at: 1_000 * DAY,
        source: "f",
        format: "csv",
        sha256,
        entries: &entries(contents),
        rejected: 0,
    })
}

/// Every row of the tables that an import writes.
fn rows(store: &Store) -> Vec<(&'static str, Vec<Value>)> {
    let mut all = Vec::new();
    for table in ["lists", "list_versions", "watch_entries", "watch_spans", "revisions", "addresses", "meta"] {
        let mut statement = store.conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            all.push((table, (0..columns).map(|column| row.get(column).unwrap()).collect()));
        }
    }
    all
}

/// What everybody who asks for the lists gets to know.
fn answers(store: &Store) -> String {
    let mut shown = String::new();
    for as_of in [None, Some(0), Some(2 * DAY), Some(5 * DAY), Some(2_000 * DAY)] {
        let each = |row: EntryRow| -> Result<()> {
            shown += &format!("{as_of:?} {row:?}\n");
            Ok(())
        };
        store.each_entry(None, None, as_of, each).unwrap();
    }
    for address in (0..12).map(Address::with_last_byte) {
        let each = |row: EntryRow| -> Result<()> {
            shown += &format!("{row:?}\n");
            Ok(())
        };
        store.history(address, each).unwrap();
        shown += &format!("{} {:?}\n", store.was_ever_listed(address).unwrap(), store.left_lists(address).unwrap());
    }
    for revision in 0..4 {
        let changed = store.has_changed_since(revision).unwrap();
        shown += &format!("{changed} {:?}\n", store.gains_since(revision).unwrap());
    }
    let (watchlist, digest) = (store.watchlist().unwrap(), store.list_digest().unwrap());
    let watchlist: Vec<_> = (0..12).map(|address| watchlist.get(&Address::with_last_byte(address)).to_vec()).collect();
    let (lists, ages) = (store.lists().unwrap(), store.list_ages().unwrap());
    shown + &format!("{watchlist:?}\n{digest:?}\n{lists:?}\n{ages:?}\n{:?}", store.watch_revision().unwrap())
}

/// From here on the import fails at that row of watch_spans, as if the process had been killed there.
fn fail_at(store: &Store, row: i64) {
    store
        .conn
        .execute_batch(&format!(
            "CREATE TEMP TRIGGER killed BEFORE INSERT ON watch_spans WHEN (SELECT count(*) FROM watch_spans) >= {row} \
             BEGIN SELECT RAISE(ABORT, 'killed'); END"
        ))
        .unwrap();
}

#[test]
fn an_import_that_dies_at_any_point_has_no_effect_and_leaves_nothing() {
    let first = vec![(1, 0), (2, 0), (3, 0), (4, 0)];
    let cases: [(&str, Option<Contents>, Option<ListKind>, Contents); 5] = [
        ("new list", None, Some(ListKind::Blocking), vec![(9, 1), (8, 1), (7, 1), (6, 1)]),
        ("added", Some(first.clone()), None, vec![(1, 0), (2, 0), (3, 0), (4, 0), (9, 1), (8, 1), (7, 1)]),
        ("changed and ended", Some(first.clone()), None, vec![(1, 5), (2, 6), (7, 1)]),
        ("another kind", Some(first.clone()), Some(ListKind::Advisory), vec![(1, 0), (2, 1), (3, 0), (9, 0)]),
        ("only its kind", Some(first.clone()), Some(ListKind::Own), first),
    ];
    for (name, before, kind, contents) in cases {
        let day = if name == "only its kind" { 1 } else { 3 };
        let prepared = || {
            let (folder, mut store) = store(1);
            if let Some(before) = &before {
                import(&mut store, 1, None, before).unwrap();
            }
            (folder, store)
        };
        let (_whole_folder, mut whole) = prepared();
        import(&mut whole, day, kind, &contents).unwrap();
        let mut died = 0;
        for row in 0.. {
            let (_folder, mut store) = prepared();
            let spans: i64 = store.conn.query_row("SELECT count(*) FROM watch_spans", [], |row| row.get(0)).unwrap();
            let (rows_before, answers_before) = (rows(&store), answers(&store));
            fail_at(&store, spans + row);
            let Err(error) = import(&mut store, day, kind, &contents) else { break };
            assert!(error.to_string().contains("killed"), "{name}: {error}");
            died += 1;
            assert_eq!(answers(&store), answers_before, "{name}, dead at row {row}");
            assert!(row == 0 || rows(&store) != rows_before, "{name}: rows are staged");
            store.conn.execute_batch("DROP TRIGGER killed").unwrap();
            // The next change of the lists, even one that changes nothing, deletes what is left of it.
            assert_eq!(store.remove_entry(Address::with_last_byte(99), None, DAY).unwrap(), 0);
            let no_addresses = |rows: Vec<(&'static str, Vec<Value>)>| {
                rows.into_iter().filter(|(table, _)| *table != "addresses").collect::<Vec<_>>()
            };
            assert_eq!(no_addresses(rows(&store)), no_addresses(rows_before), "{name}, dead at row {row}");
            import(&mut store, day, kind, &contents).unwrap();
            assert_eq!(answers(&store), answers(&whole), "{name}, dead at row {row}, and again");
        }
        assert!(died >= 3, "{name}: {died}");
    }
}

#[test]
fn an_import_gives_up_where_another_process_took_over_the_lists() {
    let contents = vec![(1, 0), (2, 0), (3, 0), (4, 0)];
    // What the other process does: a change by hand, a change that changes nothing, an import of its own.
    for what in ["adds", "removes nothing", "imports"] {
        for staged in [0, 2, 4] {
            let (folder, mut store) = store(1);
            let parsed = entries(&contents);
            let file = ListFile {
                list: "l",
                kind: None,
                published: Some(DAY),
                imported_at: DAY,
                source: "f",
                format: "csv",
                sha256: [1; 32],
                entries: &parsed,
                rejected: 0,
            };
            let (changes, _) = compare(&store.conn, None, &parsed).unwrap();
            let mut staging = store.write(|tx| Staging::begin(tx, &file, None, None, false)).unwrap();
            store.write(|tx| staging.stage(tx, &parsed, &changes[..staged])).unwrap();
            let mut other = Store::open(&folder.path().join("a.db"), Access::Write { durable: false }).unwrap();
            let by_hand = ParsedEntry::bare(Address::with_last_byte(50));
            match what {
                "adds" => {
                    other.add_entry(&ManualEntry { list: "l", kind: None, entry: &by_hand, now: DAY }).unwrap();
                }
                "removes nothing" => drop(other.remove_entry(Address::ZERO, None, DAY).unwrap()),
                _ => drop(import(&mut other, 2, None, &vec![(7, 7)]).unwrap()),
            }
            let answers_then = answers(&other);
            for step in
                [store.write(|tx| staging.stage(tx, &parsed, &changes[staged..])), store.write(|tx| staging.finish(tx))]
            {
                let error = step.unwrap_err();
                assert!(error.to_string().contains("nothing was imported"), "{what}: {error}");
            }
            assert_eq!(answers(&store), answers_then, "{what} after {staged}");
        }
    }
}

#[test]
fn what_is_read_and_then_written_in_one_change_of_the_lists_is_lost_to_no_other() {
    let (folder, first) = store(3);
    drop(first);
    let path = folder.path().join("a.db");
    const THREADS: u8 = 4;
    const ROUNDS: u8 = 5;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let path = &path;
            scope.spawn(move || {
                let mut store = Store::open(path, Access::Write { durable: false }).unwrap();
                (store.import_part, store.import_pause) = (3, Duration::ZERO);
                for round in 0..ROUNDS {
                    // As a file of changes does: the list as it is, and one more.
                    store
                        .change_lists(|store| {
                            let mut contents = Contents::new();
                            store.each_entry(None, Some("l"), None, |row| -> Result<()> {
                                contents.push((row.address.0[19], 0));
                                Ok(())
                            })?;
                            contents.push((1 + thread * ROUNDS + round, 0));
                            import(store, 99, None, &contents)
                        })
                        .unwrap();
                }
            });
        }
    });
    let store = Store::open(&path, Access::Read).unwrap();
    let mut held = Vec::new();
    store
        .each_entry(None, Some("l"), None, |row| -> Result<()> {
            held.push(row.address.0[19]);
            Ok(())
        })
        .unwrap();
    assert_eq!(held, (1..=THREADS * ROUNDS).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    Import(u8, Option<ListKind>, Contents),
    Add(u8, u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let kinds =
        prop_oneof![3 => Just(None), 1 => (0usize..3).prop_map(|at| ListKind::ALL.get(at).map(|(kind, _)| *kind))];
    let contents = proptest::collection::btree_map(0u8..8, 0u8..2, 0..8)
        .prop_flat_map(|contents| Just(contents.into_iter().collect::<Vec<_>>()).prop_shuffle());
    prop_oneof![
        4 => (1u8..9, kinds, contents).prop_map(|(day, kind, contents)| Step::Import(day, kind, contents)),
        1 => (0u8..8, 0u8..2).prop_map(|(address, label)| Step::Add(address, label)),
        1 => (0u8..8).prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_import_in_many_transactions_writes_what_one_writes(
        steps in proptest::collection::vec(step(), 1..8), part in 1usize..5,
    ) {
        let ((_a, mut parts), (_b, mut whole)) = (store(part), store(PART));
        for step in &steps {
            for store in [&mut parts, &mut whole] {
                match step {
                    Step::Import(day, kind, contents) => drop(import(store, *day, *kind, contents).unwrap()),
                    Step::Add(address, label) => {
                        let entry = entries(&vec![(*address, *label)]).remove(0);
                        store.add_entry(&ManualEntry { list: "l", kind: None, entry: &entry, now: 4 * DAY }).unwrap();
                    }
                    Step::Remove(address) => {
                        store.remove_entry(Address::with_last_byte(*address), None, 4 * DAY).unwrap();
                    }
                }
            }
            prop_assert_eq!(rows(&parts), rows(&whole));
            prop_assert!(answers(&parts) == answers(&whole));
        }
        // Those that were told of one by one are those that follow from the entries.
        let revision = revision_of(&whole.conn).unwrap();
        whole.conn.execute("DELETE FROM watch_spans", []).unwrap();
        let ids = whole.conn.prepare("SELECT id FROM addresses ORDER BY id").unwrap()
            .query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<Vec<i64>>>().unwrap();
        super::super::watch_spans::record(&whole.conn, revision, ids).unwrap();
        let last = |store: &Store| -> Vec<(i64, i64, String)> {
            let mut statement = store.conn.prepare(
                "SELECT address_id, until, entries FROM watch_spans s WHERE entries <> '' AND NOT EXISTS (SELECT 1 FROM watch_spans o \
                 WHERE o.address_id = s.address_id AND o.revision > s.revision) ORDER BY 1").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        prop_assert_eq!(last(&parts), last(&whole));
    }
}
