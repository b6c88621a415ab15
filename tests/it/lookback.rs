//! An address that is added later has a past: looking back gives what a run with it from the start had given, and says so.

use std::process::Stdio;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use serde_json::Value;

use crate::common::{Node, PATIENCE, Place, call, erc20_arguments, n, stderr, timeless_all, word};

/// Blocks of the long chain; more by BOLO_TEST_LOOKBACK_BLOCKS (anvil takes longer for each, the more it has).
const BLOCKS: u64 = 2_000;
/// An address in one block is found by chance once in so many (README).
const ONE_IN: u64 = 784_931;

/// Nobody's: named in transfers only.
fn stranger(byte: u8) -> Address {
    Address::from([byte; 20])
}

/// A long chain in which some blocks touch the first stranger, others the second, and most nobody. Returns the blocks of each.
fn long_chain(node: &Node, blocks: u64) -> [Vec<u64>; 2] {
    let payer = node.accounts[3];
    let token = node.deploy(payer, "Erc20", &erc20_arguments("Dollar", "USDM", 6));
    let mut touched = [Vec::new(), Vec::new()];
    for round in 0..40u64 {
        node.mine(blocks / 40 - 1 - u64::from(round == 0));
        let which = usize::from(round % 2 == 1);
        let to = stranger(0x51 + which as u8);
        node.receipt(if round % 4 < 2 {
            node.send(payer, Some(to), 1 + u128::from(round), "0x")
        } else {
            node.send(payer, Some(token), 0, &call("Erc20", "mint(address,uint256)", &[word(to), n(round)]))
        });
        touched[which].push(node.head());
    }
    assert_eq!(node.head(), blocks);
    touched
}

fn digest(place: &Place) -> String {
    place.ok(&["-q", "status", "--digest"])
}

/// Alerts without what says when and why they were found.
fn bare(place: &Place) -> Vec<Value> {
    timeless_all(&place.alerts(&["--status", "all", "--triage", "all"]))
}

/// A number of the line that a run ends with.
fn said(err: &str, name: &str) -> u64 {
    let words = match name {
        "held" => " blocks held",
        "behind" => " were screened by older lists",
        "ruled_out_by_index" => " ruled out by their time, alerts or index",
        "read_again" => " read again",
        "left" => " left;",
        "alerts" if err.contains("no new alerts") => return 0,
        "alerts" => " new alert",
        other => panic!("{other} is not said"),
    };
    let end = err.rfind(words).unwrap_or_else(|| panic!("{name} in {err}"));
    err[..end].rsplit(' ').next().unwrap().parse().unwrap()
}

/// Begins to look back and kills it once something is done; how many blocks were left at that moment or before.
fn killed_midway(place: &Place, args: &[&str]) -> u64 {
    // One block after the other, so that there is a midway.
    let mut child = place.command(args).args(["--concurrency", "1"]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let left = || place.status()["blocks_screened_before_last_addition"].as_u64().unwrap();
    let all = left();
    let mut seen = all;
    while seen == all {
        assert!(Instant::now() < deadline, "it does not begin");
        seen = left();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen > 0, "it was done before it was killed");
    seen
}

#[test]
fn looking_back_for_a_new_address_equals_a_run_that_had_it_and_reads_only_blocks_that_touch_it() {
    let blocks = std::env::var("BOLO_TEST_LOOKBACK_BLOCKS").ok().map_or(BLOCKS, |text| text.parse().unwrap());
    // Without the states of old blocks, which take a gigabyte.
    let node = Node::start(&["--prune-history"]);
    let [touched, _] = long_chain(&node, blocks);
    let held = blocks + 1;
    let (old, new) = ((stranger(0x52), "old"), (stranger(0x51), "new"));
    let range = ["-r", &node.url, "--from-block", "0", "--to-block", "latest", "--traces", "off"];
    // The same files in the same order, all of them before the first block: an alert names the version that brought its entry.
    let fresh = Place::watching(&[old]);
    fresh.import(&[old, new]);
    fresh.ok(&[&["replay"], &range[..]].concat());
    assert!(fresh.alerts(&[]).iter().all(|alert| alert["retroactive"] == false));

    for indexed in [true, false] {
        let place = Place::watching(&[old]);
        let index: &[&str] = if indexed { &["--lookback-index"] } else { &[] };
        place.ok(&[&["replay"], &range[..], index].concat());
        let before = place.alerts(&[]);
        place.import(&[old, new]);
        assert_eq!(place.status()["blocks_screened_before_last_addition"], held);
        let look_back = ["replay", "-r", &node.url, "--traces", "off", "--new-entries"];
        let killed_at = if indexed { held } else { killed_midway(&place, &look_back) };
        let out = place.run(&look_back);
        assert!(out.status.success(), "{}", stderr(&out));
        let err = stderr(&out);
        let (behind, read) = (said(&err, "behind"), said(&err, "read_again"));
        assert_eq!(
            (said(&err, "held"), said(&err, "left"), said(&err, "ruled_out_by_index") + read),
            (held, 0, behind)
        );
        assert!(
            behind <= killed_at && (behind == held || !indexed),
            "{behind} were left, {killed_at} seen when it was killed"
        );
        eprintln!("{held} blocks held, {} touch it, {read} read again, indexed: {indexed}", touched.len());
        if indexed {
            // As many as touch it, and the one that 784,931 blocks with one address each may cost.
            assert!((20..=20 + blocks.div_ceil(ONE_IN)).contains(&read), "{read} blocks read for {}", touched.len());
        } else {
            assert_eq!(read, behind, "no index: all of them");
        }
        assert_eq!(digest(&place), digest(&fresh), "indexed: {indexed}");
        assert_eq!(bare(&place), bare(&fresh), "indexed: {indexed}");
        let found: Vec<_> = place.alerts(&[]).into_iter().filter(|alert| alert["retroactive"] == true).collect();
        if indexed {
            assert_eq!(said(&err, "alerts"), found.len() as u64);
        }
        let at: Vec<_> = found.iter().map(|alert| alert["block"]["number"].as_u64().unwrap()).collect();
        assert_eq!(at, touched, "each block that touches it, once");
        assert!(found.iter().all(|alert| alert["watched"]["label"] == "new"));
        let after = place.alerts(&[]);
        assert!(before.iter().all(|alert| after.contains(alert)), "what was found before is as it was");
        assert_eq!(place.status()["blocks_screened_before_last_addition"], 0);
        assert_eq!(place.status()["coverage"], fresh.status()["coverage"]);
        assert!(place.run(&["verify"]).status.success(), "the ledger is as it should be");
        let again = place.run(&look_back);
        assert_eq!((said(&stderr(&again), "behind"), said(&stderr(&again), "alerts")), (0, 0));
    }
}

/// Waits until no block was screened by an older list.
fn looked_back(place: &Place) {
    let deadline = Instant::now() + PATIENCE;
    while place.status()["blocks_screened_before_last_addition"] != 0 {
        assert!(Instant::now() < deadline, "looking back does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_watch_looks_back_by_itself_killed_or_not_while_the_head_goes_on() {
    let node = Node::start(&["--prune-history"]);
    long_chain(&node, 400);
    let (old, new) = ((stranger(0x52), "old"), (stranger(0x51), "new"));
    let place = Place::watching(&[old]);
    std::fs::write(
        place.dir.path().join("bolo.toml"),
        "lookback_index = true\nauto_lookback = true\ntraces = \"off\"\n",
    )
    .unwrap();
    let options = ["--from-block", "0", "--poll-interval", "0.05"];
    let mut watcher = place.watch(&node.url, &options);
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.status()["auto_lookback"], true);
    place.import(&[old, new]);
    node.mine(3);
    std::thread::sleep(Duration::from_millis(60));
    watcher.kill();
    let mut watcher = place.watch(&node.url, &options);
    node.mine(3);
    place.caught_up(&node, &mut watcher);
    looked_back(&place);
    // Once more, with no block coming that would tell of the list.
    let third = (node.accounts[3], "third");
    place.import(&[old, new, third]);
    looked_back(&place);
    assert_eq!(watcher.stop(), 0);
    assert_eq!(place.status()["auto_lookback"], false);
    let fresh = Place::watching(&[old]);
    fresh.import(&[old, new]);
    fresh.import(&[old, new, third]);
    fresh.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--traces", "off"]);
    assert_eq!(digest(&place), digest(&fresh));
    assert_eq!(bare(&place), bare(&fresh));
    let later = place.alerts(&[]).iter().filter(|alert| alert["retroactive"] == true).count();
    assert!(later > 40, "the second's and the third's: {later}");
    assert!(place.run(&["verify"]).status.success());
}

#[test]
fn labels_lists_and_kinds_that_changed_are_looked_back_for_too_from_an_archive_as_well() {
    let node = Node::start(&[]);
    let [a, b, c] = [1, 2, 3].map(|n| node.accounts[n]);
    for (from, to, value) in [(b, a, 1), (b, c, 2), (c, a, 3), (a, b, 4), (c, c, 5)] {
        node.send(from, Some(to), value, "0x");
        node.mine(3);
    }
    let change = |place: &Place| {
        // Another label, another list of an address that is watched, and a list that is of another kind.
        place.import(&[(a, "first, renamed"), (b, "second")]);
        for (address, list) in [(a, "blocked"), (c, "wallets")] {
            let file = place.dir.path().join(format!("{list}.txt"));
            std::fs::write(&file, address.to_string()).unwrap();
            place.ok(&["watchlist", "import", file.to_str().unwrap(), "--kind", "blocking"]);
        }
    };
    let before = || {
        let place = Place::watching(&[(a, "first"), (b, "second")]);
        std::fs::write(place.dir.path().join("wallets.txt"), c.to_string()).unwrap();
        place.ok(&["watchlist", "import", "wallets.txt", "--kind", "own"]);
        place
    };
    let fresh = before();
    change(&fresh);
    let range = ["-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    fresh.ok(&[&["replay"], &range[..]].concat());
    let archive = fresh.dir.path().join("all.jsonl");
    let archive = archive.to_str().unwrap();
    fresh.ok(&[&["record"], &range[..], &["--out", archive]].concat());
    for index in [&["--lookback-index"][..], &[]] {
        let place = before();
        place.ok(&[&["replay"], &range[..], index].concat());
        change(&place);
        let out = place.run(&["replay", "--archive", archive, "--new-entries"]);
        assert!(out.status.success(), "{}", stderr(&out));
        // Each transaction touches the first or the third; the other blocks have fees only, or nothing. Every address was watched
        // already, so that its alerts lead to its blocks, with or without an index.
        assert_eq!((said(&stderr(&out), "read_again"), said(&stderr(&out), "left")), (5, 0), "{index:?}");
        assert_eq!(place.ok(&["-q", "status", "--coverage"]), fresh.ok(&["-q", "status", "--coverage"]));
        let (place, fresh) = (bare(&place), bare(&fresh));
        for (alert, same) in place.iter().zip(&fresh) {
            assert_eq!(alert, same, "{index:?}");
        }
        assert!(place.len() > 8 && place.len() == fresh.len());
    }
}

#[test]
fn a_look_back_without_the_traces_that_were_there_says_what_is_lost() {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    let lines = String::from_utf8(zstd::decode_all(std::fs::File::open(archive).unwrap()).unwrap()).unwrap();
    // Without all of the traces, those of every second block, those of the last blocks; and with all of them.
    for (what, dropped) in [("all", 0..60), ("some", 20..40), ("the last", 50..60), ("none", 0..0)] {
        let place = Place::watching(&[(Address::repeat_byte(0x51), "quiet")]);
        place.ok(&["-q", "replay", "--archive", archive, "--chain", "31337"]);
        let without = place.dir.path().join("without.jsonl");
        let text: String = lines
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                if dropped.contains(&at) {
                    line.as_object_mut().unwrap().remove("traces");
                }
                format!("{line}\n")
            })
            .collect();
        std::fs::write(&without, text).unwrap();
        place.import(&[(Address::repeat_byte(0x52), "another")]);
        let out = place.run(&["replay", "--archive", without.to_str().unwrap(), "--chain", "31337", "--new-entries"]);
        let said = stderr(&out);
        assert!(out.status.success(), "{what}: {said}");
        let warns = said.contains("read again without the traces that they had");
        assert_eq!(warns, what != "none", "{what}: {said}");
    }
}
