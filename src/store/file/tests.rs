//! One writer for a file, and what is refused.
#![cfg(test)]

use std::os::unix::fs::symlink;

use super::*;
use crate::store::{Access, Store};

fn is_taken(path: &Path) -> bool {
    matches!(Store::lock_for_writing(path), Err(StoreError::Locked(_)))
}

#[test]
fn one_file_has_one_writer_under_all_its_names_and_without_its_lock_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = at("bolo.db");
    let lock = Store::lock_for_writing(&db).unwrap();
    symlink(&db, at("link.db")).unwrap();
    symlink("link.db", at("link-of-link.db")).unwrap();
    std::fs::hard_link(&db, at("hard.db")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    symlink(at("folder"), at("other-folder")).unwrap();
    std::fs::hard_link(&db, at("folder/far.db")).unwrap();
    std::fs::remove_file(at("bolo.db.lock")).unwrap();
    for name in ["bolo.db", "link.db", "link-of-link.db", "hard.db", "./hard.db", "other-folder/far.db"] {
        assert!(is_taken(&at(name)), "{name}");
    }
    drop(lock);
    for name in ["hard.db", "link.db", "bolo.db"] {
        assert!(Store::lock_for_writing(&at(name)).is_ok(), "{name} is free again");
    }
    // Another file of the same name is another one.
    let lock = Store::lock_for_writing(&db).unwrap();
    std::fs::remove_file(&db).unwrap();
    std::fs::remove_file(at("bolo.db.lock")).unwrap();
    assert!(Store::lock_for_writing(&db).is_ok());
    drop(lock);
}

#[test]
fn a_lock_by_device_and_inode_is_one_for_all_names_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("bolo.db"), b"").unwrap();
    std::fs::write(at("other.db"), b"").unwrap();
    symlink(at("bolo.db"), at("link.db")).unwrap();
    std::fs::hard_link(at("bolo.db"), at("hard.db")).unwrap();
    let lock = |name: &str| lock_by_inode(&at(name), id_of(&std::fs::metadata(at(name)).unwrap()));
    let held = lock("bolo.db").unwrap();
    for name in ["bolo.db", "link.db", "hard.db"] {
        assert!(matches!(lock(name), Err(StoreError::Locked(path)) if path == at(name)), "{name}");
    }
    assert!(lock("other.db").is_ok());
    drop(held);
    assert!(lock("hard.db").is_ok());
    for name in ["bolo.db", "other.db"] {
        std::fs::remove_file(inode_lock_path(id_of(&std::fs::metadata(at(name)).unwrap()))).unwrap();
    }
}

#[test]
fn a_file_that_was_replaced_is_noticed_at_the_next_write() {
    for how in ["deleted", "replaced", "moved away", "log deleted"] {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("bolo.db");
        let mut store = Store::open(&db, Access::Write { durable: false }).unwrap();
        store.note_stop(Some(("stopped", "watch", "one"))).unwrap();
        store.note_stop(Some(("stopped", "watch", "two"))).unwrap();
        let other = dir.path().join("other.db");
        match how {
            "deleted" => std::fs::remove_file(&db).unwrap(),
            "replaced" => {
                drop(Store::open(&other, Access::Write { durable: false }).unwrap());
                std::fs::rename(&other, &db).unwrap();
            }
            "moved away" => std::fs::rename(&db, &other).unwrap(),
            _ => std::fs::remove_file(beside(&db, "-wal")).unwrap(),
        }
        let error = store.note_stop(Some(("stopped", "watch", "three"))).unwrap_err();
        assert!(matches!(error, StoreError::Replaced(_)) && error.is_unusable(), "{how}: {error}");
    }
}

#[test]
fn sqlite_keeps_its_locks_whatever_else_opens_and_closes_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("bolo.db");
    drop(Store::open(&db, Access::Write { durable: false }).unwrap());
    let reader = Store::open(&db, Access::Read).unwrap().at_one_moment().unwrap();
    let _ = reader.chain_id().unwrap();
    drop(Store::lock_for_writing(&db).unwrap());
    drop(Store::open(&db, Access::Write { durable: false }).unwrap());
    drop(Store::open(&db, Access::Read).unwrap());
    // Nor does looking for the reason of a failure, whatever it is.
    for code in [rusqlite::ffi::SQLITE_CANTOPEN, rusqlite::ffi::SQLITE_IOERR, rusqlite::ffi::SQLITE_READONLY] {
        drop(error_at(&db, rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)));
    }
    // Another process: it cannot have the file to itself while this one reads.
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=0)\nc.execute('PRAGMA locking_mode=EXCLUSIVE')\n\
                  c.execute('PRAGMA journal_mode=delete').fetchall()\nprint(c.execute('PRAGMA journal_mode').fetchone()[0])";
    let python = std::env::var_os("BOLO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let out = std::process::Command::new(python).args(["-c", script]).arg(&db).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("locked"), "{said}");
}

#[test]
fn a_database_and_its_side_files_are_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("bolo.db");
    let _lock = Store::lock_for_writing(&db).unwrap();
    let mut store = Store::open(&db, Access::Write { durable: true }).unwrap();
    store.note_stop(Some(("stopped", "watch", "x"))).unwrap();
    store.remove_entry(alloy::primitives::Address::ZERO, None, 0).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["bolo.db", "bolo.db-shm", "bolo.db-wal", "bolo.db.lists.lock", "bolo.db.lock"]);
}

#[test]
fn what_is_no_database_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("file"), b"x").unwrap();
    let cases = [
        (PathBuf::from(":memory:"), "name a file"),
        (PathBuf::from("file::memory:"), "name a file by its path"),
        (PathBuf::from("file:x?mode=memory&cache=shared"), "name a file by its path"),
        (PathBuf::from("file:///tmp/x.db"), "name a file by its path"),
        (PathBuf::from("/dev/null"), "is no database"),
        (PathBuf::from("/dev/zero"), "is no database"),
        (dir.path().to_owned(), "is a folder"),
        (at("none/bolo.db"), "none does not exist"),
        (at("file/bolo.db"), "file does not exist"),
        (at("none/deeper/bolo.db"), "deeper does not exist"),
    ];
    for (path, why) in cases {
        for access in [Access::Write { durable: false }, Access::Read] {
            let error = Store::open(&path, access).unwrap_err();
            let missing = matches!(error, StoreError::Missing(_)) && access == Access::Read;
            assert!(missing || error.to_string().contains(why), "{}: {error}", path.display());
        }
        assert!(Store::lock_for_writing(&path).is_err(), "{}", path.display());
    }
}

#[test]
fn nothing_is_written_through_a_link_that_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    let (db, victim) = (dir.path().join("bolo.db"), dir.path().join("victim"));
    std::fs::write(&victim, b"precious").unwrap();
    symlink(&victim, beside(&db, &format!(".{}.probe", std::process::id()))).unwrap();
    assert!(probe(&db, 10).is_err());
    symlink(&victim, beside(&db, ".lock")).unwrap();
    assert!(Store::lock_for_writing(&db).is_err());
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_database_that_cannot_be_opened_says_whether_its_folder_or_a_permission_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("here.db"), b"").unwrap();
    for (name, kind, said) in [
        ("none/bolo.db", ErrorKind::NotFound, "none does not exist"),
        ("here.db/bolo.db", ErrorKind::NotADirectory, "here.db does not exist"),
        ("here.db", ErrorKind::PermissionDenied, "no permission to read it"),
        ("new.db", ErrorKind::PermissionDenied, "no permission to make files in"),
        ("new.db", ErrorKind::ReadOnlyFilesystem, "read-only"),
        ("here.db", ErrorKind::ResourceBusy, "cannot be opened"),
    ] {
        let why = why_not_opened(&at(name), &kind.into());
        assert!(why.contains(said), "{name} {kind}: {why}");
    }
}
