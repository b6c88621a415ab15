//! Endpoints that disagree on the chain itself, and on what happened within its transactions.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Node, PATIENCE, Place, Watcher, call, n, stderr, word};
use crate::faults::proxy;
use crate::proxy::{Ill, Plan, Proxy};

/// Two nodes with the same hundred blocks: their times are given, and count from the start of the node in whole seconds, so that a
/// slow start makes others: then two new ones are made.
fn twins(extra: &[&str]) -> (Node, Node) {
    let twin = || {
        let node = Node::start(&[&["--no-mining", "--timestamp", "1700000000"], extra].concat());
        node.rpc("anvil_mine", json!(["0x64", "0xc"]));
        node
    };
    for _ in 0..10 {
        let (one, other) = (twin(), twin());
        if one.hash_at(100) == other.hash_at(100) {
            return (one, other);
        }
    }
    panic!("no two nodes with the same blocks");
}

#[test]
fn an_endpoint_whose_chain_leaves_out_what_is_final_is_benched_where_another_one_still_has_it() {
    let (honest, liar) = twins(&[]);
    let place = Place::new();
    let mut watcher =
        place.watch(&honest.url, &["-r", &liar.url, "--from-block", "0", "--slot", "1", "--poll-interval", "0.2"]);
    place.caught_up(&honest, &mut watcher);
    let deadline = Instant::now() + PATIENCE;
    while place.status()["finalized"] != 36 {
        assert!(Instant::now() < deadline, "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // Higher than the honest chain, and another one from block 21 on.
    liar.rpc("anvil_reorg", json!([80, []]));
    liar.mine(5);
    found_out(&place, &mut watcher, "finalized block does not fit");
    honest.mine(3);
    place.caught_up(&honest, &mut watcher);
    let status = place.status();
    assert_eq!((&status["orphaned_blocks"], &status["holes"]), (&json!(0), &json!([])), "nothing gave way");
    assert_eq!(watcher.stop(), 0);
}

/// Waits until a lie of that kind is kept.
fn found_out(place: &Place, watcher: &mut Watcher, reason: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = place.status();
        let lies = status["lies"]["last"].as_array().unwrap();
        if lies.iter().any(|lie| lie["reason"].as_str().unwrap().starts_with(reason)) {
            return;
        }
        let runs = watcher.child.try_wait().unwrap().is_none();
        assert!(Instant::now() < deadline && runs, "{status:#}\n{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_false_head_so_high_that_it_is_jumped_to_is_given_up_again() {
    let (honest, liar) = twins(&[]);
    let place = Place::new();
    let mut watcher = place.watch(&honest.url, &["--from-block", "0"]);
    place.caught_up(&honest, &mut watcher);
    let deadline = Instant::now() + PATIENCE;
    while place.status()["finalized"] != 36 {
        assert!(Instant::now() < deadline, "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(watcher.stop(), 0);
    liar.rpc("anvil_reorg", json!([80, []]));
    liar.mine(60);
    let mut watcher =
        place.watch(&liar.url, &["-r", &honest.url, "--slot", "1", "--poll-interval", "0.2", "--timeout", "3"]);
    found_out(&place, &mut watcher, "finalized block does not fit");
    honest.mine(3);
    place.caught_up(&honest, &mut watcher);
    let status = place.status();
    assert_eq!((&status["holes"], &status["owed"]), (&json!([]), &json!([])));
    assert_eq!(status["coverage"][0]["to"], 103);
    assert_eq!(watcher.stop(), 0);
}

/// Two nodes with the same hundred blocks, of which all but the last two are final; the second one has others from `fork` on, up to
/// block 105.
fn twins_with_a_forger(fork: u64) -> (Node, Node) {
    let (honest, forger) = twins(&["--slots-in-an-epoch", "1"]);
    forger.rpc("anvil_reorg", json!([101 - fork, []]));
    forger.mine(5);
    assert_eq!(honest.hash_at(fork - 1), forger.hash_at(fork - 1));
    assert_ne!(honest.hash_at(fork), forger.hash_at(fork));
    (honest, forger)
}

/// That range of the node's, all of it final.
fn final_range(place: &Place, node: &Node, from: &str, to: &str) {
    place.ok(&["replay", "-r", &node.url, "--from-block", from, "--to-block", to]);
    assert_eq!(place.status()["finalized"].to_string(), to);
}

fn digest(place: &Place) -> String {
    place.ok(&["-q", "status", "--digest"])
}

#[test]
fn what_is_final_does_not_give_way_to_a_block_that_one_endpoint_names_and_a_watch_goes_on_with_another_one() {
    // A gap that is caught up at the head, and one that is jumped over.
    for (fork, from, final_from, final_to) in [(83, "85", "90", "95"), (40, "5", "50", "60")] {
        let (honest, forger) = twins_with_a_forger(fork);
        let place = Place::new();
        final_range(&place, &honest, final_from, final_to);
        let both = ["-r", &honest.url, "--from-block", from, "--slot", "1", "--poll-interval", "0.2"];
        let mut watcher = place.watch(&forger.url, &both);
        found_out(&place, &mut watcher, "finalized block does not fit");
        honest.mine(3);
        place.caught_up(&honest, &mut watcher);
        let status = place.status();
        assert_eq!((&status["holes"], &status["owed"]), (&json!([]), &json!([])));
        assert_eq!(status["coverage"][0]["to"], 103);
        let accused = |lie: &serde_json::Value| forger.url.ends_with(lie["host"].as_str().unwrap());
        assert!(status["lies"]["last"].as_array().unwrap().iter().all(accused), "{status:#}");
        assert_eq!(watcher.stop(), 0);
        let fresh = Place::new();
        fresh.ok(&["replay", "-r", &honest.url, "--from-block", from, "--to-block", "103"]);
        assert_eq!(digest(&place), digest(&fresh));
    }
}

#[test]
fn a_replay_looks_a_block_up_again_that_contradicts_what_is_final_and_stops_where_nobody_else_has_it() {
    let (honest, forger) = twins_with_a_forger(83);
    let range = ["--from-block", "85", "--to-block", "100", "--concurrency", "1"];
    let place = Place::new();
    final_range(&place, &honest, "90", "95");
    let out = place.run(&[&["replay", "-r", &forger.url, "-r", &honest.url], &range[..]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let fresh = Place::new();
    fresh.ok(&["replay", "-r", &honest.url, "--from-block", "85", "--to-block", "100"]);
    assert_eq!(digest(&place), digest(&fresh));
    let status = place.status();
    let lies = status["lies"]["last"].as_array().unwrap();
    assert!(!lies.is_empty() && lies.iter().all(|lie| forger.url.ends_with(lie["host"].as_str().unwrap())), "{lies:?}");
    let place = Place::new();
    final_range(&place, &honest, "90", "95");
    let out = place.run(&[&["replay", "-r", &forger.url], &range[..]].concat());
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    let status = place.status();
    assert_eq!((&status["orphaned_blocks"], &status["lies"]["count"]), (&json!(0), &json!(0)), "{status:#}");
}

#[test]
fn a_replayed_block_that_does_not_link_orphans_nothing() {
    let (honest, forger) = twins_with_a_forger(83);
    let place = Place::new();
    final_range(&place, &honest, "80", "97");
    // Held, and not final: the last two.
    place.ok(&["replay", "-r", &honest.url, "--from-block", "99", "--to-block", "100"]);
    assert_eq!(place.status()["finalized"], 97);
    let before = digest(&place);
    let out = place.run(&["replay", "-r", &forger.url, "--from-block", "98", "--to-block", "98"]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert_eq!((digest(&place), &place.status()["orphaned_blocks"]), (before, &json!(0)));
}

#[test]
fn a_forged_span_that_is_longer_than_can_be_followed_back_benches_the_forger_and_is_taken_again() {
    // The forger has a block for each number of the span, or none for the last ones.
    for forged in [520u64, 450] {
        let (honest, forger) = twins(&[]);
        let place = Place::new();
        let mut watcher = place.watch(&honest.url, &["--from-block", "0"]);
        place.caught_up(&honest, &mut watcher);
        assert_eq!(watcher.stop(), 0);
        honest.rpc("anvil_mine", json!(["0x1f4", "0xc"]));
        forger.rpc("anvil_mine", json!([format!("{forged:#x}"), "0xd"]));
        // It tells of no head, and serves what is asked for by number.
        let sly = Proxy::new(&forger, Plan { ill: Ill::StandsAt(100), delay: Duration::ZERO, ..Plan::honest() });
        let good = Proxy::new(&honest, Plan::honest());
        let mut watcher =
            place.watch(&sly.url, &["-r", &good.url, "--slot", "1", "--poll-interval", "0.2", "--concurrency", "1"]);
        found_out(&place, &mut watcher, "parent hash does not fit");
        place.caught_up(&honest, &mut watcher);
        let status = place.status();
        let accused = |lie: &serde_json::Value| lie["host"] == sly.host();
        assert!(status["lies"]["last"].as_array().unwrap().iter().all(accused), "{status:#}");
        assert_eq!((&status["holes"], &status["coverage"][0]["to"]), (&json!([]), &json!(600)));
        assert!(status["orphaned_blocks"].as_u64().unwrap() >= 384, "the forger was never believed");
        assert_eq!(watcher.stop(), 0);
        let fresh = Place::new();
        fresh.ok(&["replay", "-r", &honest.url, "--from-block", "0", "--to-block", "600"]);
        assert_eq!(digest(&place), digest(&fresh));
    }
}

#[test]
fn a_run_that_was_jumped_to_and_replaced_while_the_watch_was_down_gives_way() {
    let node = Node::start(&["--no-mining"]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let moves = |value: u128| {
        node.send(a, Some(b), value, "0x");
        node.mine(1);
    };
    moves(1);
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    node.mine(100);
    moves(2);
    // So slow that it is killed while it owes blocks, with the head taken.
    let slow = proxy(&node, |_, answer| {
        std::thread::sleep(Duration::from_millis(300));
        Some(answer)
    });
    let mut watcher = place.watch(&slow, &["--concurrency", "1"]);
    let deadline = Instant::now() + PATIENCE;
    while place.status()["tip"]["number"] != node.head() {
        assert!(Instant::now() < deadline && watcher.child.try_wait().unwrap().is_none(), "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    watcher.kill();
    assert_ne!(place.status()["owed"], json!([]));
    node.rpc("anvil_reorg", json!([3, []]));
    node.mine(60);
    moves(3);
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    let ledgers = || [&place, &fresh].map(|place| place.ok(&["status", "--coverage"])).concat();
    assert_eq!(digest(&place), digest(&fresh), "{}", ledgers());
    assert_eq!(place.alerts(&["--status", "orphaned"]).len(), 1);
}

#[test]
fn traces_that_are_refused_are_had_from_another_endpoint() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let splitter = node.deploy(b, "Splitter", "");
    node.send(b, Some(splitter), 100, &call("Splitter", "split(address[])", &[n(32), n(1), word(a)]));
    let liar = proxy(&node, |request, mut answer| {
        if request["method"] == "debug_traceBlockByHash" && answer["result"][0]["result"].is_object() {
            answer["result"][0]["result"]["value"] = json!("0x7");
        }
        Some(answer)
    });
    let honest = proxy(&node, |_, answer| {
        std::thread::sleep(Duration::from_millis(300));
        Some(answer)
    });
    let place = Place::watching(&[(a, "a")]);
    place.ok(&["replay", "-r", &liar, "-r", &honest, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(place.alerts(&["--kind", "internal_transfer"]).len(), 1);
    let status = place.status();
    let range = json!({
        "from": 0, "to": 2, "proof": "proven", "senders": "all", "traces": true, "internal_eth": "claimed",
    });
    assert_eq!(status["coverage"], json!([range]));
    assert!(status["lies"]["count"].as_u64().unwrap() > 0, "{status:#}");
}
