//! Endpoints that disagree on the chain itself, and on what happened within its transactions.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Node, PATIENCE, Place, Watcher, call, n, word};
use crate::faults::proxy;

/// The same blocks on each: their times are given.
fn twin() -> Node {
    let node = Node::start(&["--no-mining", "--timestamp", "1700000000"]);
    node.rpc("anvil_mine", json!(["0x64", "0xc"]));
    node
}

#[test]
fn an_endpoint_whose_chain_leaves_out_what_is_final_is_benched_where_another_one_still_has_it() {
    let (honest, liar) = (twin(), twin());
    assert_eq!(honest.hash_at(100), liar.hash_at(100), "the same chain so far");
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
    let (honest, liar) = (twin(), twin());
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
    let digest = |place: &Place| place.ok(&["-q", "status", "--digest"]);
    assert_eq!(digest(&place), digest(&fresh));
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
    assert_eq!(status["coverage"], json!([{"from": 0, "to": 2, "proof": "proven", "senders": "all", "traces": true}]));
    assert!(status["lies"]["count"].as_u64().unwrap() > 0, "{status:#}");
}
