//! The schema and the way to it from older files: stepwise, append-only, by `user_version`.

use std::path::Path;

use rusqlite::Connection;

use super::{Result, StoreError};

/// The whole present schema.
const SCHEMA: &str = include_str!("../../schema.sql");

/// `application_id` of the file: "bolo" in ASCII.
const APPLICATION_ID: i64 = 0x626f_6c6f;

/// Each step brings a file from its place's version to the next: version 1 is schema.sql as first released.
const STEPS: [&str; 5] = [
    include_str!("steps/2.sql"),
    include_str!("steps/3.sql"),
    include_str!("steps/4.sql"),
    include_str!("steps/5.sql"),
    include_str!("steps/6.sql"),
];

/// The version of [`SCHEMA`].
const VERSION: i64 = 1 + STEPS.len() as i64;

fn version(conn: &Connection) -> Result<i64> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Refuses files that are not ours or are newer than this build, before anything is written.
pub(super) fn check_kind(conn: &Connection, path: &Path) -> Result<()> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        let detail = "it is a SQLite database, but not one of bolo's".to_owned();
        return Err(StoreError::Unusable { path: path.to_owned(), detail });
    }
    let found = version(conn)?;
    if found > VERSION {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: VERSION });
    }
    Ok(())
}

/// For reading: the schema must be there and be this one.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<()> {
    check_kind(conn, path)?;
    let found = version(conn)?;
    if found == VERSION {
        return Ok(());
    }
    let detail = match found {
        0 => "it is empty: run `bolo watch`, `bolo replay` or `bolo watchlist import` first".to_owned(),
        _ => format!("its schema is version {found}; `bolo watch` or `bolo replay` brings it to {VERSION}"),
    };
    Err(StoreError::Unusable { path: path.to_owned(), detail })
}

/// Makes the schema, or brings it up to date, all or nothing.
pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    if version(conn)? == VERSION {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited for the lock.
    check_kind(&tx, path)?;
    let found = version(&tx)?;
    if found == 0 {
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.execute_batch(SCHEMA)?;
    } else {
        for step in STEPS.iter().skip(usize::try_from(found - 1).unwrap_or_default()) {
            tx.execute_batch(step)?;
        }
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{ActivityKind, Plane};
    use crate::screen::{AlertStatus, Designation, Direction, ListKind, Severity, TriageClass};
    use crate::store::EntryState;

    /// The versions before this one as they were, copies: what the steps start from. They are never changed; schema.sql is, by a step.
    const OLDER: [&str; 5] = [
        include_str!("../../tests/schema/v1.sql"),
        include_str!("../../tests/schema/v2.sql"),
        include_str!("../../tests/schema/v3.sql"),
        include_str!("../../tests/schema/v4.sql"),
        include_str!("../../tests/schema/v5.sql"),
    ];

    fn older(version: usize) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(OLDER[version - 1]).unwrap();
        conn.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        conn.pragma_update(None, "user_version", version as i64).unwrap();
        conn
    }

    fn text(conn: &Connection, sql: &str) -> String {
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn objects(conn: &Connection) -> Vec<(String, String)> {
        let mut statement =
            conn.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(|row| row.unwrap()).collect()
    }

    #[test]
    fn a_migrated_file_equals_a_fresh_one() {
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh, Path::new("fresh")).unwrap();
        let words = "SELECT group_concat(topic || code || word, ' ') FROM (SELECT * FROM words ORDER BY topic, code)";
        for from in 1..=OLDER.len() {
            let mut old = older(from);
            migrate(&mut old, Path::new("old")).unwrap();
            assert_eq!(objects(&fresh), objects(&old), "from version {from}");
            assert_eq!(text(&fresh, words), text(&old, words), "from version {from}");
            assert_eq!(version(&old).unwrap(), VERSION);
        }
        assert_eq!(OLDER.len(), STEPS.len(), "each older version is kept");
    }

    #[test]
    fn what_was_proven_before_the_ledger_told_of_senders_had_them_all_and_the_digest_stays() {
        let mut old = older(2);
        old.execute_batch(
            "INSERT INTO endpoints (id, host) VALUES (1, 'e'); \
             INSERT INTO blocks SELECT value, value, randomblob(32), randomblob(32), value, 0, value < 3, 11, 0, 1, 1, 0 \
             FROM json_each('[1, 2, 3]'); \
             INSERT INTO coverage VALUES (1, 2, 1, 11, 0, 1), (3, 3, 0, 11, 0, 1)",
        )
        .unwrap();
        let digest =
            "SELECT group_concat(line) FROM (SELECT line FROM digest_lines ORDER BY part, number, place, side, line)";
        let before = text(&old, digest);
        migrate(&mut old, Path::new("old")).unwrap();
        assert_eq!(text(&old, "SELECT group_concat(planes) FROM blocks"), "43,43,11");
        assert_eq!(text(&old, "SELECT group_concat(planes) FROM coverage"), "43,11");
        assert_eq!(text(&old, digest), before);
        old.execute_batch("UPDATE blocks SET planes = 11; UPDATE coverage SET planes = 11").unwrap();
        assert_eq!(text(&old, digest).matches("\tmatched").count(), 3, "two blocks and their range");
    }

    #[test]
    fn the_other_side_of_older_alerts_is_theirs_after_the_migration() {
        let mut old = older(3);
        old.execute_batch(
            "INSERT INTO endpoints (id, host) VALUES (1, 'e'); \
             INSERT INTO addresses SELECT value, randomblob(20) FROM json_each('[1, 2]'); \
             INSERT INTO blocks VALUES (1, 1, randomblob(32), randomblob(32), 1, 0, 1, 43, 0, 1, 1, 0); \
             INSERT INTO activities SELECT value, 1, CAST(value AS BLOB), NULL, 0, iif(value = 6, NULL, 1), 2, 0, NULL, '7', NULL, 1 \
             FROM json_each('[1, 2, 3, 4, 6]'); \
             INSERT INTO alerts SELECT value, randomblob(32), 1, 1, CAST(value AS BLOB), (value - 1) % 4, value, 1, 0, 0, '[]', 0, \
             NULL FROM json_each('[1, 2, 3, 4, 6]')",
        )
        .unwrap();
        migrate(&mut old, Path::new("old")).unwrap();
        let sides = "SELECT group_concat(direction || ':' || coalesce(counterparty_id, '-'), ' ') FROM alerts";
        // Out: who got it. In: who gave it, where anybody did. With itself, or neither side: none.
        assert_eq!(text(&old, sides), "0:2 1:1 2:- 3:- 1:-");
    }

    #[test]
    fn a_newer_file_and_a_foreign_one_are_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        conn.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert!(matches!(check_kind(&conn, Path::new("x")), Err(StoreError::NewerSchema { found: 7, known: 6, .. })));
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE t (a)").unwrap();
        assert!(matches!(check_kind(&foreign, Path::new("x")), Err(StoreError::Unusable { .. })));
    }

    #[test]
    fn the_words_in_the_schema_are_those_of_the_code() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        let words = |topic: &str| -> Vec<(u8, String)> {
            let mut statement = conn.prepare("SELECT code, word FROM words WHERE topic = ?1 ORDER BY code").unwrap();
            statement.query_map([topic], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(|r| r.unwrap()).collect()
        };
        macro_rules! same {
            ($topic:literal, $named:ty) => {
                let all: Vec<_> = <$named>::ALL.iter().map(|(v, word)| (v.code(), (*word).to_owned())).collect();
                assert_eq!(words($topic), all, $topic);
            };
        }
        same!("status", AlertStatus);
        same!("kind", ActivityKind);
        same!("direction", Direction);
        same!("severity", Severity);
        same!("triage", TriageClass);
        same!("designation", Designation);
        same!("list_kind", ListKind);
        same!("entry_state", EntryState);
        // Beside the planes the ledger has one more bit.
        let mut planes: Vec<_> = Plane::ALL.iter().map(|(v, word)| (v.code(), (*word).to_owned())).collect();
        planes.push((super::super::coverage::SENDERS.trailing_zeros() as u8, "senders".to_owned()));
        assert_eq!(words("plane"), planes);
    }
}
