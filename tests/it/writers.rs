//! Who may write a database, what happens to one that goes away, and files that are written.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Node, PATIENCE, Place, stderr};
use crate::faults::one_line;

/// The program with another database.
fn run_at(place: &Place, db: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bolo"));
    command.env_clear().current_dir(place.dir.path()).arg("--db").arg(db).args(args).output().unwrap()
}

/// Waits for the end; the exit code.
fn ended(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_second_writer_is_refused_under_any_name_of_the_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let place = Place::new();
    place.ok(&["watchlist", "add", "0x098B716B8Aaf21512996dC57EB0615e2383E2f96", "--list", "a"]);
    let mut watcher = place.watch(&url, &["--timeout", "60"]);
    let begin = Instant::now();
    while !place.dir.path().join("bolo.db.lock").exists() {
        assert!(begin.elapsed() < PATIENCE && watcher.child.try_wait().unwrap().is_none(), "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    let at = |name: &str| place.dir.path().join(name);
    symlink(&place.db, at("link.db")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::hard_link(&place.db, at("folder/hard.db")).unwrap();
    let refused = |name: &str, args: &[&str], why: &str| {
        let db = at(name);
        let out = run_at(&place, &db, args);
        assert_eq!(out.status.code(), Some(5), "{name} {args:?}: {}", stderr(&out));
        assert!(one_line(&stderr(&out)).contains(why), "{name} {args:?}: {}", stderr(&out));
    };
    let replay = ["replay", "-r", &url, "--from-block", "0", "--to-block", "0", "--timeout", "1"];
    for name in ["bolo.db", "link.db", "folder/hard.db"] {
        refused(name, &replay, "is in use by another");
        refused(name, &["watch", "-r", &url], "is in use by another");
    }
    // Lists may be changed beside the watch, but not under a hard link: that has a log of its own.
    let add = ["watchlist", "add", "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B", "--list", "a"];
    refused("folder/hard.db", &add, "under another one");
    refused("folder/hard.db", &["query"], "under another one");
    place.ok(&add);
    std::fs::remove_file(at("bolo.db.lock")).unwrap();
    for name in ["bolo.db", "link.db", "folder/hard.db"] {
        refused(name, &replay, "is in use by another");
    }
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_watch_whose_database_is_deleted_or_replaced_stops_within_seconds() {
    let node = Node::start(&[]);
    for how in ["deleted", "replaced", "moved away", "folder deleted"] {
        let mut place = Place::new();
        let folder = place.dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let db = folder.join("bolo.db");
        place.db.clone_from(&db);
        let mut watcher = place.watch(&node.url, &[]);
        let begin = Instant::now();
        while !watcher.log().contains("beginning at the head") {
            assert!(begin.elapsed() < PATIENCE, "{}", watcher.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        match how {
            "deleted" => std::fs::remove_file(&db).unwrap(),
            "replaced" => {
                let other = place.dir.path().join("other.db");
                assert!(
                    run_at(&place, &other, &["watchlist", "add", "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"])
                        .status
                        .success()
                );
                std::fs::rename(other, &db).unwrap();
            }
            "moved away" => std::fs::rename(&db, folder.join("moved.db")).unwrap(),
            _ => std::fs::remove_dir_all(&folder).unwrap(),
        }
        let begin = Instant::now();
        let code = ended(&mut watcher.child);
        assert_eq!(code, Some(5), "{how}: {}", watcher.log());
        assert!(begin.elapsed() < Duration::from_secs(8), "{how}: {:?}", begin.elapsed());
        assert!(one_line(&watcher.log()).contains("deleted or replaced"), "{how}: {}", watcher.log());
    }
}

#[test]
fn a_watch_waits_for_a_long_import_tells_of_it_and_loses_nothing() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    // As an import does that goes on and on.
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    for value in 1..=5 {
        node.send(a, Some(b), value, "0x");
    }
    let begin = Instant::now();
    while !watcher.log().contains("waiting for another process that writes") {
        assert!(begin.elapsed() < PATIENCE && watcher.child.try_wait().unwrap().is_none(), "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    conn.execute_batch("COMMIT").unwrap();
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len(), 5);
    assert!(watcher.log().contains("the wait for the other process is over"), "{}", watcher.log());
    // Told to stop while it waits, it stops in time.
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    node.send(a, Some(b), 9, "0x");
    std::thread::sleep(Duration::from_millis(700));
    let begin = Instant::now();
    assert_eq!(watcher.stop(), 0);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    conn.execute_batch("COMMIT").unwrap();
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len() as u64, node.head());
    assert_eq!(watcher.stop(), 0);
}

/// A list of so many addresses, in no order, the same each time.
fn write_large_list(place: &Place, entries: u64) {
    let mut list = String::from("address,label\n");
    for number in 1..=entries {
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        list += &format!("0x{scattered:016x}{number:024x},entry {number}\n");
    }
    std::fs::write(place.dir.path().join("large.csv"), list).unwrap();
}

const IMPORT: [&str; 3] = ["watchlist", "import", "large.csv"];

/// Begins the import of the large list.
fn begin_import(place: &Place) -> Child {
    place.command(&IMPORT).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
#[expect(clippy::print_stdout, reason = "figures for docs/BENCHMARKS.md")]
fn a_watch_commits_its_blocks_while_a_large_list_is_imported() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    write_large_list(&place, 300_000);
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    let ask = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let mut import = begin_import(&place);
    let (mut first, mut longest, mut tips) = (None, Duration::ZERO, BTreeSet::new());
    while import.try_wait().unwrap().is_none() {
        node.send(a, Some(b), 7, "0x");
        if ask("SELECT count(*) FROM list_versions WHERE list_id IS NULL") == 1 {
            first.get_or_insert_with(Instant::now);
            tips.insert(ask("SELECT max(number) FROM blocks"));
            let asked = Instant::now();
            conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
            longest = longest.max(asked.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(import.wait().unwrap().success());
    let wrote = first.expect("its rows are staged").elapsed();
    println!("written in {wrote:?}, longest wait {longest:?}, tips of the watch {}", tips.len());
    assert!(tips.len() >= 5, "the watch commits meanwhile: {tips:?}");
    assert!(longest < wrote / 3, "no part is long: {longest:?} of {wrote:?}");
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len() as u64, node.head(), "an alert for each block");
    let lists = place.status()["lists"].clone();
    let large = lists.as_array().unwrap().iter().find(|list| list["name"] == "large").unwrap();
    assert_eq!(large["entries"], 300_000);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn an_import_that_is_killed_leaves_no_half_list() {
    let digest = |place: &Place| place.ok(&["-q", "status", "--digest", "--lists"]);
    let listed = |place: &Place| place.ok(&["-q", "watchlist", "show", "--format", "csv"]);
    let (place, quiet) = (Place::new(), Place::new());
    for place in [&place, &quiet] {
        place.ok(&["watchlist", "add", "0x098B716B8Aaf21512996dC57EB0615e2383E2f96", "--list", "large"]);
        write_large_list(place, 70_000);
    }
    let (digest_before, listed_before) = (digest(&place), listed(&place));
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    for staged in [1, 25_000, 45_000] {
        let mut import = begin_import(&place);
        while conn.query_row("SELECT count(*) FROM watch_entries", [], |row| row.get::<_, i64>(0)).unwrap() <= staged {
            assert!(import.try_wait().unwrap().is_none(), "the import ended before it could be killed");
            std::thread::sleep(Duration::from_millis(2));
        }
        import.kill().unwrap();
        import.wait().unwrap();
        assert_eq!(digest(&place), digest_before, "killed after {staged}");
        assert_eq!(listed(&place), listed_before, "killed after {staged}");
    }
    for place in [&place, &quiet] {
        place.ok(&IMPORT);
    }
    assert_eq!(digest(&place), digest(&quiet));
    assert_eq!(listed(&place).lines().count(), 1 + 70_000);
    let staged = "SELECT count(*) FROM list_versions WHERE list_id IS NULL";
    assert_eq!(conn.query_row(staged, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    assert_eq!(conn.query_row("SELECT count(*) FROM watch_entries", [], |row| row.get::<_, i64>(0)).unwrap(), 70_001);
}

#[test]
fn a_database_that_is_none_is_refused_with_the_reason_and_an_empty_variable_is_none() {
    let place = Place::new();
    let add = ["watchlist", "add", "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"];
    for (db, code, why) in [
        (":memory:", 5, "name a file"),
        ("/dev/null", 5, "is no database"),
        ("none/bolo.db", 5, "folder none does not exist"),
        ("", 1, "--db is empty"),
    ] {
        let out = run_at(&place, Path::new(db), &add);
        assert_eq!(out.status.code(), Some(code), "{db}: {}", stderr(&out));
        assert!(one_line(&stderr(&out)).contains(why), "{db}: {}", stderr(&out));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bolo"));
    command.env_clear().current_dir(place.dir.path()).env("BOLO_DB", "").env("BOLO_CONFIG", "").args(add);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(place.dir.path().join("bolo.db").exists(), "the default");
}

#[test]
fn a_recording_replaces_nothing_unasked_and_goes_to_stdout_for_a_dash() {
    let node = Node::start(&[]);
    node.mine(3);
    let place = Place::new();
    let at = |name: &str| place.dir.path().join(name);
    let record = |out: &str, more: &[&str]| {
        place.run(&[&["record", "-r", &node.url, "--from-block", "0", "--to-block", "3", "--out", out], more].concat())
    };
    let first = record("a.jsonl", &[]);
    assert!(first.status.success(), "{}", stderr(&first));
    let lines = std::fs::read(at("a.jsonl")).unwrap();
    std::fs::write(at("b.jsonl"), "kept").unwrap();
    std::fs::write(at("victim"), "kept").unwrap();
    symlink(at("victim"), at("c.jsonl")).unwrap();
    symlink(at("nowhere"), at("d.jsonl")).unwrap();
    for name in ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"] {
        let out = record(name, &[]);
        assert_eq!(out.status.code(), Some(1), "{name}");
        assert!(one_line(&stderr(&out)).contains("--force"), "{name}: {}", stderr(&out));
    }
    assert_eq!(std::fs::read(at("b.jsonl")).unwrap(), b"kept");
    assert!(record("b.jsonl", &["--force"]).status.success());
    assert_eq!(std::fs::read(at("b.jsonl")).unwrap(), lines);
    // Nothing is written through a link.
    symlink(at("victim"), at("e.jsonl.partial")).unwrap();
    assert!(record("e.jsonl", &[]).status.success());
    assert!(record("c.jsonl", &["--force"]).status.success());
    assert_eq!(std::fs::read(at("victim")).unwrap(), b"kept");
    let out = record("-", &[]);
    assert!(out.status.success() && out.stdout == lines && !at("-").exists(), "{}", stderr(&out));
}

#[test]
fn a_recording_to_a_pipe_whose_reader_has_enough_is_no_error() {
    let node = Node::start(&[]);
    node.mine(60);
    let place = Place::new();
    for lines in [0, 1, 7, 40] {
        let args = ["record", "-r", &node.url, "--from-block", "0", "--to-block", "60", "--out", "-"];
        let mut child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::with_capacity(1, child.stdout.take().unwrap());
        for _ in 0..lines {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0);
        }
        drop(reader);
        let code = ended(&mut child);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(code, Some(0), "after {lines} lines: {said}");
        assert!(!said.contains("error") && !said.contains("panicked"), "after {lines} lines: {said}");
    }
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_recording_never_replaces_the_database_or_what_lies_beside_it() {
    let node = Node::start(&[]);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "0"]);
    let at = |name: &str| place.dir.path().join(name);
    symlink(&place.db, at("link.db")).unwrap();
    std::fs::hard_link(&place.db, at("hard.jsonl")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let before = std::fs::read(&place.db).unwrap();
    let absolute = place.db.to_str().unwrap();
    let names = ["bolo.db", "./bolo.db", "folder/../bolo.db", absolute, "link.db", "hard.jsonl"];
    let of_database = ["bolo.db-wal", "bolo.db-shm", "./bolo.db.lock", "bolo.db.lists.lock", "folder/../bolo.db-wal"];
    for name in names.into_iter().chain(of_database) {
        for force in [&["--force"][..], &[]] {
            let record = ["record", "-r", &node.url, "--from-block", "0", "--to-block", "0", "--out", name];
            let out = place.run(&[&record, force].concat());
            let said = stderr(&out);
            assert_eq!(out.status.code(), Some(1), "{name} {force:?}: {said}");
            assert!(one_line(&said).contains("of the database"), "{name} {force:?}: {said}");
        }
    }
    assert_eq!(std::fs::read(&place.db).unwrap(), before);
    assert_eq!(place.status()["blocks"], 1);
}
