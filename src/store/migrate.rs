//! The schema and the migrations from older files: stepwise, append-only, by `user_version`.

use std::path::Path;

use rusqlite::Connection;

use super::{Result, StoreError};

/// The whole present schema.
const SCHEMA: &str = include_str!("../../schema.sql");

/// `application_id` of the file: "bolo" in ASCII.
const APPLICATION_ID: i64 = 0x626f_6c6f;

/// Each step migrates a file from one version to the next. Version 1 is schema.sql as first released: until then there is no step.
const STEPS: [&str; 0] = [];

/// The version of [`SCHEMA`].
const VERSION: i64 = 1 + STEPS.len() as i64;

fn version(conn: &Connection) -> Result<i64> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Refuses files that are not ours or are newer than this build, before anything is written.
pub(super) fn check_kind(conn: &Connection, path: &Path) -> Result<()> {
    check_known(conn, path, VERSION)
}

fn check_known(conn: &Connection, path: &Path, known: i64) -> Result<()> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        let detail = "it is a SQLite database, but not one of bolo's".to_owned();
        return Err(StoreError::Unusable { path: path.to_owned(), detail });
    }
    let found = version(conn)?;
    if found > known {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known });
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

/// Makes the schema, or migrates an older one, all or nothing.
pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    migrate_by(conn, path, SCHEMA, &STEPS)
}

fn migrate_by(conn: &mut Connection, path: &Path, schema: &str, steps: &[&str]) -> Result<()> {
    let newest = 1 + steps.len() as i64;
    if version(conn)? == newest {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited for the lock.
    check_known(&tx, path, newest)?;
    let found = version(&tx)?;
    if found == 0 {
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.execute_batch(schema)?;
    } else {
        for step in steps.iter().skip(usize::try_from(found - 1).unwrap_or_default()) {
            tx.execute_batch(step)?;
        }
    }
    tx.pragma_update(None, "user_version", newest)?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{ActivityKind, CallType, Plane};
    use crate::screen::{AlertStatus, Designation, Direction, ListKind, Severity, TriageClass};
    use crate::store::EntryState;

    /// The released versions before this one, word for word. They never change; schema.sql does, by a step.
    const OLDER: [&str; 0] = [];

    fn objects(conn: &Connection) -> Vec<(String, String)> {
        let mut statement =
            conn.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(|row| row.unwrap()).collect()
    }

    /// Migrates a file of each older version and compares it with a fresh one.
    fn assert_migrations_lead_to(schema: &str, steps: &[&str], older: &[&str]) {
        assert_eq!(older.len(), steps.len(), "each older version is kept");
        let open = || Connection::open_in_memory().unwrap();
        let mut fresh = open();
        migrate_by(&mut fresh, Path::new("fresh"), schema, steps).unwrap();
        for (from, text) in (1i64..).zip(older) {
            let mut old = open();
            old.execute_batch(text).unwrap();
            old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
            old.pragma_update(None, "user_version", from).unwrap();
            migrate_by(&mut old, Path::new("old"), schema, steps).unwrap();
            assert_eq!(objects(&fresh), objects(&old), "from version {from}");
            assert_eq!(version(&old).unwrap(), 1 + steps.len() as i64);
        }
    }

    #[test]
    fn a_migrated_file_equals_a_fresh_one() {
        assert_migrations_lead_to(SCHEMA, &STEPS, &OLDER);
        let versions =
            ["CREATE TABLE a (x)", "CREATE TABLE a (x, y)", "CREATE TABLE a (x, y); CREATE INDEX i ON a (x)"];
        let steps = ["ALTER TABLE a ADD COLUMN y", "CREATE INDEX i ON a (x)"];
        assert_migrations_lead_to(versions[2], &steps, &versions[..2]);
    }

    #[test]
    #[should_panic(expected = "from version 1")]
    fn a_step_that_forgets_an_index_is_found() {
        assert_migrations_lead_to("CREATE TABLE a (x); CREATE INDEX i ON a (x)", &[""], &["CREATE TABLE a (x)"]);
    }

    #[test]
    fn a_newer_file_and_a_foreign_one_are_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        conn.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert!(matches!(check_kind(&conn, Path::new("x")), Err(StoreError::NewerSchema { found: 2, known: 1, .. })));
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
        same!("asset", crate::decode::AssetStandard);
        same!("direction", Direction);
        same!("severity", Severity);
        same!("triage", TriageClass);
        same!("designation", Designation);
        same!("list_kind", ListKind);
        same!("entry_state", EntryState);
        same!("call_type", CallType);
        // Beside the planes the ledger has more bits.
        let mut planes: Vec<_> = Plane::ALL.iter().map(|(v, word)| (v.code(), (*word).to_owned())).collect();
        planes.push((super::super::coverage::SENDERS.trailing_zeros() as u8, "senders".to_owned()));
        planes.push((super::super::coverage::NATIVE_LOGS.trailing_zeros() as u8, "native_logs".to_owned()));
        assert_eq!(words("plane"), planes);
    }
}
