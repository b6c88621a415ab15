//! What each block was screened against: said of every answer that depends on it, and never a mix of two lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, hex};
use sha2::{Digest, Sha256};

use crate::common::{Node, PATIENCE, Place, stderr};

/// Signs in the demo, and is on no list.
const UNLISTED: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const LISTED: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

#[test]
fn an_answer_says_when_its_blocks_were_screened_against_too_short_a_list() {
    let place = Place::new();
    place.ok(&["-q", "demo", "--dir", "d"]);
    let place = Place { db: place.dir.path().join("d/demo.db"), ..place };
    let query = |args: &[&str]| {
        let out = place.run(&[&["query", "--format", "jsonl"], args].concat());
        (out.status.code().unwrap(), stderr(&out))
    };
    let range = ["--from-block", "1", "--to-block", "20", "--require-complete"];
    let of = |address: &'static str| [&["--address", address], &range[..]].concat();
    let (code, said) = query(&of(LISTED));
    assert!(code == 0 && said.contains("complete: every block"), "{said}");
    // Nothing was screened for it, before and after it is added: only a replay mends that.
    let refused =
        format!("error: the answer is not complete: blocks 1 to 20 were screened when {UNLISTED} was on no list");
    let refuses = |(code, said): (i32, String)| {
        assert!(code == 3 && said.contains(&refused) && !said.contains("complete: every"), "{said}");
    };
    refuses(query(&of(UNLISTED)));
    refuses(query(&[&["--address", LISTED][..], &of(UNLISTED)].concat()));
    let warned = |said: &str| said.contains("screened before the watchlist gained entries");
    assert!(!warned(&query(&range).1) && !warned(&query(&[]).1), "nothing was added yet");
    place.ok(&["watchlist", "add", UNLISTED]);
    refuses(query(&of(UNLISTED)));
    let (code, said) = query(&["--address", UNLISTED]);
    assert!(code == 0 && said.contains("no alert means nothing there: blocks 1 to 58"), "no range: {said}");
    // All other answers too: over a range, over one with holes, and over all there is.
    let (code, said) = query(&range);
    assert!(code == 3 && warned(&said) && !said.contains("complete: every"), "{said}");
    let (code, said) = query(&["--from-block", "50", "--to-block", "70", "--require-complete"]);
    assert!(code == 3 && warned(&said) && said.contains("the range is not complete"), "{said}");
    assert!(warned(&query(&[]).1) && warned(&query(&["--list", "demo"]).1));
    assert!(!warned(&query(&of(LISTED)).1), "it was watched all along");
}

#[test]
fn an_alert_names_only_lists_that_had_its_address_when_its_block_was_made() {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    let replay = ["-q", "replay", "--archive", archive, "--chain", "31337", "--lookback-index"];
    // The list that the address leaves, and its kind; the one where it stays, and its kind.
    for (left, stays) in
        [("blocking", "advisory"), ("advisory", "blocking"), ("blocking", "own"), ("internal", "internal")]
    {
        let place = Place::new();
        let import = |list: &str, kind: &str, date: &str, address: &str| {
            let file = format!("{list}.csv");
            std::fs::write(place.dir.path().join(&file), format!("address,label\n{address},of {list}\n")).unwrap();
            place.ok(&["-q", "watchlist", "import", &file, "--kind", kind, "--published", date]);
        };
        import("gone", left, "2024-01-01", LISTED);
        import("there", stays, "2024-01-01", LISTED);
        place.ok(&replay);
        let query = |args: &[&str]| {
            let range = [
                "query",
                "--format",
                "jsonl",
                "--triage",
                "all",
                "--limit",
                "0",
                "--from-block",
                "1",
                "--to-block",
                "58",
            ];
            let out = place.run(&[&range, args].concat());
            let found = String::from_utf8_lossy(&out.stdout).lines().count();
            (out.status.code().unwrap(), found, stderr(&out))
        };
        let (_, before, _) = query(&["--list", "gone"]);
        assert!(before > 5);
        // Before the blocks' time it has somebody else.
        import("gone", left, "2025-01-01", "0x5252525252525252525252525252525252525252");
        let (code, _, said) = query(&["--list", "gone", "--require-complete"]);
        assert_eq!(code, 3, "{left}: not looked back yet: {said}");
        place.ok(&[&replay[..], &["--new-entries"]].concat());
        let of = ["--address", LISTED];
        for args in [&["--list", "gone"][..], &["--label", "of gone"]] {
            // Undecoded logs name the address, so that no answer about it is complete on this chain.
            let (_, found, said) = query(&[args, &of, &["--require-complete"]].concat());
            assert!(found == 0 && !said.contains("older list entries"), "{left} {args:?}: {said}");
        }
        let (_, found, _) = query(&[&["--list", "there"][..], &of].concat());
        assert_eq!(found, before, "{left}");
        let (_, then, _) = query(&[&["--list", "gone", "--as-of", "2024-06-01"][..], &of].concat());
        assert_eq!(then, before, "{left}: as of a time it was there");
        for alert in place.alerts(&[&["--triage", "all"][..], &of].concat()) {
            let lists = |watched: &serde_json::Value| watched["list"].as_str().unwrap().to_owned();
            assert_eq!(lists(&alert["watched"]), "there", "{alert}");
            let all = alert["watched_all"].as_array().map_or(0, Vec::len);
            assert!(all < 2, "{alert}");
            let id = alert["id"].as_str().unwrap();
            let why = place.ok(&["query", "--explain", id]);
            assert!(!why.contains("list gone"), "{why}");
        }
        let alert = &place.alerts(&[&["--triage", "all"][..], &of].concat())[0];
        place.ok(&["-q", "evidence", alert["id"].as_str().unwrap(), "--out", "bundle"]);
        let readme = std::fs::read_to_string(place.dir.path().join("bundle/README.txt")).unwrap();
        let of_listed = readme.lines().filter(|line| line.contains("on the list")).collect::<Vec<_>>().join("\n");
        assert!(of_listed.contains("on the list there"), "{of_listed}");
        assert!(!readme.contains("of gone"), "{readme}");
    }
}

/// A list of that many addresses, of which only `watched` has anything to do on the chain.
fn list(watched: Address, count: u64) -> String {
    let others = (1..count).map(|n| format!("0x{:040x}\n", 0xdead_0000_0000u64 + n));
    std::iter::once(format!("{watched}\n")).chain(others).collect()
}

#[test]
fn no_block_is_screened_by_a_mix_while_the_list_grows_and_shrinks_under_load() {
    let node = Node::start(&[]);
    let [x, y] = [node.accounts[1], node.accounts[2]];
    let place = Place::new();
    // Every block is a payment from x to y, and each version has just one of the two.
    let mut versions = BTreeMap::new();
    let mut import = |number: usize, watched: Address, count: u64| {
        let text = list(watched, count);
        versions.insert(hex::encode(Sha256::digest(&text)), watched);
        std::fs::write(place.dir.path().join("list.txt"), text).unwrap();
        let date = format!("2024-01-{:02}", number + 1);
        place.ok(&["-q", "watchlist", "import", "list.txt", "--published", &date]);
    };
    import(0, x, 10);
    // Without traces: a node that is slow to give them has its block screened once more later, by a newer list than the blocks after it.
    let mut watcher = place.watch(&node.url, &["--from-block", "1", "--poll-interval", "0.1", "--traces", "off"]);
    let done = AtomicBool::new(false);
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    let screened = |after: i64| -> i64 {
        let sql = "SELECT count(*) FROM blocks WHERE watch_revision > ?1";
        conn.query_row(sql, [after], |row| row.get(0)).unwrap()
    };
    let revision = || -> i64 { conn.query_row("SELECT max(revision) FROM revisions", [], |row| row.get(0)).unwrap() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                node.send(x, Some(y), 1, "0x");
                std::thread::sleep(Duration::from_millis(30));
            }
        });
        let mut before = 0;
        for (number, (watched, count)) in
            [(x, 10), (y, 1_000), (x, 100_000), (y, 50_000), (x, 99_999), (y, 10)].into_iter().enumerate()
        {
            if number > 0 {
                before = revision();
                import(number, watched, count);
            }
            let deadline = Instant::now() + PATIENCE;
            while screened(before) < 3 {
                assert!(Instant::now() < deadline, "version {number} screens no block: {}", watcher.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    // From the store alone: which file was in force when the block was screened, and whom it alerted.
    let sql = "SELECT b.number, b.watch_revision, \
                      (SELECT lower(hex(v.sha256)) FROM revisions r JOIN list_versions v ON v.id = r.version_id \
                       WHERE r.revision <= b.watch_revision ORDER BY r.revision DESC LIMIT 1), \
                      (SELECT group_concat(lower(hex(w.address)), ' ') FROM alerts a JOIN addresses w ON w.id = a.watched_id \
                       WHERE a.block_id = b.id) \
               FROM blocks b WHERE b.number > 0 AND b.status <> 3 ORDER BY b.id";
    let mut statement = conn.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let (mut seen, mut last, mut blocks) = (BTreeSet::new(), 0, 0);
    while let Some(row) = rows.next().unwrap() {
        let (number, revision): (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        let (sha256, alerted): (String, Option<String>) = (row.get(2).unwrap(), row.get(3).unwrap());
        let wanted = hex::encode(versions[&sha256]);
        assert_eq!(alerted, Some(wanted), "block {number}, screened against revision {revision}");
        assert!(revision >= last, "block {number} was screened against an older list than the one committed before it");
        last = revision;
        seen.insert(revision);
        blocks += 1;
    }
    assert_eq!(seen.len(), 6, "every version screened some block: {seen:?}");
    assert_eq!(blocks, node.head());
}
