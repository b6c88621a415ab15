//! Downtime of any length: the head is followed at once, what was missed is taken in order beside it, and no hole stays.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Node, PATIENCE, Place};

/// What the database holds, whenever and by whomever it came in.
fn digest(place: &Place) -> String {
    place.ok(&["-q", "status", "--digest"])
}

#[test]
fn ten_thousand_blocks_of_downtime_are_caught_up_while_the_head_alerts_at_once() {
    let node = Node::start(&["--no-mining", "--prune-history"]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let mined = |value: u128| {
        let hash = node.send(a, Some(b), value, "0x");
        node.mine(1);
        hash
    };
    let place = Place::watching(&[(a, "a")]);
    mined(1);
    // anvil keeps no old state to trace.
    let mut watcher = place.watch(&node.url, &["--from-block", "0", "--traces", "off"]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    // What happens meanwhile lies at both ends and in the middle.
    mined(2);
    node.mine(4_999);
    mined(3);
    node.mine(4_998);
    mined(4);
    let mut watcher = place.watch(&node.url, &["--poll-interval", "0.1", "--traces", "off"]);
    let deadline = Instant::now() + 3 * PATIENCE;
    let mut alerted_beside = 0;
    let mut slowest = Duration::ZERO;
    loop {
        let began = Instant::now();
        let hash = mined(5).to_string();
        while place.run(&["-q", "query", "--tx", &hash, "--format", "jsonl"]).stdout.is_empty() {
            assert!(Instant::now() < deadline, "no alert at the head\n{}", watcher.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        slowest = slowest.max(began.elapsed());
        let status = place.status();
        if status["owed"] == json!([]) {
            break;
        }
        alerted_beside += 1;
        std::thread::sleep(Duration::from_millis(400));
        assert!(Instant::now() < deadline, "never caught up: {status:#}\n{}", watcher.log());
    }
    assert!(alerted_beside > 0, "the head was alerted while blocks were owed\n{}", watcher.log());
    eprintln!("{alerted_beside} heads alerted while catching up, the slowest after {slowest:?}");
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    let status = place.status();
    assert_eq!(status["holes"], json!([]));
    assert_eq!(
        status["coverage"],
        json!([{"from": 0, "to": node.head(), "proof": "proven", "traces": false, "senders": "all", "internal_eth": "not_seen"}])
    );
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--traces", "off"]);
    assert_eq!(digest(&place), digest(&fresh));
}

#[test]
fn a_reorg_where_what_is_owed_meets_the_head_is_followed() {
    let node = Node::start(&["--no-mining"]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    for value in 0..40 {
        node.send(a, Some(b), value, "0x");
        node.mine(1);
    }
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    watcher.kill();
    // The tip that is held is replaced, and so is what the head stands on, again and again while it is caught up.
    node.rpc("anvil_reorg", json!([5, []]));
    for value in 0..300 {
        node.send(a, Some(b), value, "0x");
        node.mine(1);
    }
    let mut watcher = place.watch(&node.url, &["--poll-interval", "0.02", "--concurrency", "2"]);
    for depth in [1, 7, 30, 60, 3, 40] {
        std::thread::sleep(Duration::from_millis(150));
        node.rpc("anvil_reorg", json!([depth, [[{"from": a, "to": b, "value": "0x3e7"}, 0]]]));
        node.send(a, Some(b), 1, "0x");
        node.mine(2);
    }
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(digest(&place), digest(&fresh));
    assert!(place.run(&["verify"]).status.success(), "all of it can be proven again");
}

#[test]
fn holes_are_listed_and_filled() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    for value in 0..30 {
        node.send(a, Some(b), value, "0x");
    }
    let place = Place::watching(&[(a, "a")]);
    for (from, to) in [("0", "4"), ("10", "12"), ("20", "30")] {
        place.ok(&["replay", "-r", &node.url, "--from-block", from, "--to-block", to]);
    }
    let ledger =
        || -> Value { serde_json::from_str(&place.ok(&["-q", "status", "--coverage", "--format", "json"])).unwrap() };
    assert_eq!(ledger()["holes"], json!([{"from": 5, "to": 9}, {"from": 13, "to": 19}]));
    assert_eq!(
        ledger()["planes"]["logs"],
        json!([
            {"from": 0, "to": 4, "state": "proven"}, {"from": 5, "to": 9, "state": "missing"},
            {"from": 10, "to": 12, "state": "proven"}, {"from": 13, "to": 19, "state": "missing"},
            {"from": 20, "to": 30, "state": "proven"},
        ])
    );
    assert_eq!(
        ledger()["planes"]["traces"][0],
        json!({"from": 0, "to": 4, "state": "unproven"}),
        "no root covers traces"
    );
    let incomplete = place.run(&["query", "--from-block", "0", "--to-block", "30", "--require-complete"]);
    assert_eq!(incomplete.status.code(), Some(3));
    place.ok(&["replay", "-r", &node.url, "--holes"]);
    assert_eq!(ledger()["holes"], json!([]));
    assert_eq!(ledger()["planes"]["logs"], json!([{"from": 0, "to": 30, "state": "proven"}]));
    place.ok(&["query", "--from-block", "0", "--to-block", "30", "--require-complete"]);
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(digest(&place), digest(&fresh));
    assert!(digest(&place).trim().len() == 64 && digest(&place) != digest(&Place::watching(&[(a, "a")])));
}
