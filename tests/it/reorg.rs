//! Reorgs on a real node: what was replaced is retracted, nothing is lost or doubled.

use alloy::primitives::{Address, B256};
use serde_json::{Value, json};

use crate::common::{Node, Place, timeless_all};

/// Blocks with a transfer in each.
fn transfers(node: &Node, from: Address, to: Address, values: std::ops::Range<u128>) -> Vec<B256> {
    values.map(|value| node.send(from, Some(to), value, "0x")).collect()
}

fn ids(alerts: &[Value]) -> Vec<String> {
    alerts.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

/// The final chain indexed afresh.
fn fresh(node: &Node, watched: Address) -> Place {
    let place = Place::watching(&[(watched, "w")]);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    place
}

/// Statuses, counts and ids after a reorg.
fn check(place: &Place, node: &Node, watched: Address) {
    let alerts = place.alerts(&[]);
    let truth = fresh(node, watched).alerts(&[]);
    assert_eq!(ids(&alerts), ids(&truth), "the same alerts as a fresh index of the final chain");
    for alert in &alerts {
        let number = alert["block"]["number"].as_u64().unwrap();
        assert_eq!(alert["block"]["hash"], node.hash_at(number).as_str());
    }
    for orphan in place.alerts(&["--status", "orphaned"]) {
        let number = orphan["block"]["number"].as_u64().unwrap();
        assert!(number > node.head() || orphan["block"]["hash"] != node.hash_at(number).as_str());
    }
}

#[test]
fn reorgs_of_depth_1_5_and_40_are_followed_while_watching() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "w")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    let mut orphaned = 0;
    for depth in [1u64, 5, 40] {
        transfers(&node, a, b, 1..50);
        place.caught_up(&node, &mut watcher);
        // The replaced blocks held one transfer each; the new ones are empty but for one.
        node.rpc("anvil_reorg", json!([depth, [[{"from": a, "to": b, "value": "0x3e7"}, 0]]]));
        place.caught_up(&node, &mut watcher);
        orphaned += depth as usize;
        assert_eq!(place.alerts(&["--status", "orphaned"]).len(), orphaned, "depth {depth}\n{}", watcher.log());
        check(&place, &node, a);
    }
    assert_eq!(place.status()["orphaned_blocks"], 46);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_reorg_while_stopped_is_seen_at_the_next_start() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "w")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    transfers(&node, a, b, 1..20);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    node.rpc("anvil_reorg", json!([7, []]));
    transfers(&node, a, b, 100..103);
    // Long after the reorg the chain's final block is above all that was held.
    node.mine(150);
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&["--status", "orphaned"]).len(), 7);
    check(&place, &node, a);
    let status = place.status();
    assert_eq!(status["finality_rule"], "tags safe/finalized");
    assert_eq!(status["holes"], json!([]));
}

#[test]
fn a_transaction_that_moves_to_another_block_is_a_new_alert_that_names_the_old_one() {
    let node = Node::start(&["--no-mining"]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.rpc("anvil_setAutomine", json!([true]));
    let token = node.deploy(b, "Erc20", &crate::common::erc20_arguments("T", "T", 6));
    node.rpc("anvil_setAutomine", json!([false]));
    let place = Place::watching(&[(a, "w")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    node.mine(3);
    // With its price given and its nonce the same, the same call is the same transaction.
    let mint = |from: Address, to: Address, amount: u64| -> B256 {
        let words = [crate::common::word(to), crate::common::n(amount)];
        let data = crate::common::call("Erc20", "mint(address,uint256)", &words);
        let tx = json!({"from": from, "to": token, "data": data, "gas": "0x30d40", "gasPrice": "0x12a05f200"});
        serde_json::from_value(node.rpc("eth_sendTransaction", json!([tx]))).unwrap()
    };
    let snapshot = node.rpc("evm_snapshot", json!([]));
    let tx = mint(b, a, 5);
    node.mine(2);
    place.caught_up(&node, &mut watcher);
    let before = place.alerts(&[]);
    assert_eq!(before.len(), 1);
    // The same transaction, after an empty block and behind another one with a log of its own.
    node.rpc("evm_revert", json!([snapshot]));
    node.mine(1);
    let first = mint(node.accounts[3], b, 9);
    assert_eq!(mint(b, a, 5), tx);
    node.mine(4);
    let (first, moved) = (node.receipt(first), node.receipt(tx));
    assert_eq!(first["blockHash"], moved["blockHash"]);
    place.caught_up(&node, &mut watcher);
    let after = place.alerts(&["--status", "all"]);
    assert_eq!(after.len(), 2, "{after:#?}");
    let (old, new) = (&after[0], &after[1]);
    assert_eq!((&old["status"], &old["id"]), (&json!("orphaned"), &before[0]["id"]));
    assert_eq!(old["replaces"], Value::Null);
    assert_ne!(new["status"], "orphaned");
    assert_eq!(new["replaces"], old["id"]);
    check(&place, &node, a);
    // What is written out as evidence says on its first page that it happened on another fork.
    for (alert, replaced) in [(old, true), (new, false)] {
        let dir = place.dir.path().join(alert["id"].as_str().unwrap());
        place.ok(&["evidence", alert["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
        let page = std::fs::read_to_string(dir.join("README.txt")).unwrap();
        assert_eq!(page.contains("THE BLOCK WAS REPLACED"), replaced, "{page}");
    }
}

#[test]
fn an_archive_tells_of_a_reorg_as_an_endpoint_does() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    transfers(&node, a, b, 1..10);
    let place = Place::watching(&[(a, "w")]);
    let file = |name: &str| place.dir.path().join(name).to_str().unwrap().to_owned();
    let record = |from: &str, name: &str| {
        place.ok(&["record", "-r", &node.url, "--from-block", from, "--to-block", "latest", "--out", &file(name)]);
    };
    record("0", "1.jsonl");
    node.rpc("anvil_reorg", json!([3, []]));
    transfers(&node, a, b, 50..52);
    record("7", "2.jsonl.zst");
    let watched_live = Place::watching(&[(a, "w")]);
    watched_live.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    place.ok(&["replay", "--archive", place.dir.path().to_str().unwrap()]);
    assert_eq!(place.alerts(&["--status", "orphaned"]).len(), 3);
    assert_eq!(ids(&place.alerts(&[])), ids(&watched_live.alerts(&[])));
    // Once more changes nothing.
    let before = timeless_all(&place.alerts(&["--status", "all"]));
    place.ok(&["replay", "--archive", &file("2.jsonl.zst")]);
    assert_eq!(timeless_all(&place.alerts(&["--status", "all"])), before);
}

#[test]
fn replayed_blocks_that_a_reorg_replaced_are_never_settled_by_a_watch_above_them() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    transfers(&node, a, b, 1..31);
    let place = Place::watching(&[(a, "w")]);
    let range = ["replay", "-r", &node.url, "--from-block", "10", "--to-block", "30"];
    place.ok(&range);
    node.rpc("anvil_reorg", json!([6, []]));
    node.mine(150);
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    for alert in place.alerts(&["--from-block", "25", "--to-block", "30"]) {
        assert_eq!(alert["status"], "pending", "a block of the lost fork is not final: {alert:#}");
    }
    // Replaying the range puts it right, and then it is final.
    place.ok(&range);
    assert_eq!(place.alerts(&["--status", "orphaned"]).len(), 6);
    assert!(place.alerts(&[]).iter().all(|alert| alert["status"] == "finalized"));
}

#[test]
fn a_watch_that_begins_right_above_a_replay_follows_a_reorg_between_the_two() {
    for from in ["21", "5"] {
        let node = Node::start(&[]);
        let (a, b) = (node.accounts[1], node.accounts[2]);
        transfers(&node, a, b, 1..21);
        let place = Place::watching(&[(a, "w")]);
        place.ok(&["replay", "-r", &node.url, "--from-block", "10", "--to-block", "20"]);
        node.rpc("anvil_reorg", json!([4, []]));
        transfers(&node, a, b, 50..53);
        let mut watcher = place.watch(&node.url, &["--from-block", from]);
        place.caught_up(&node, &mut watcher);
        assert_eq!(watcher.stop(), 0);
        let alerts = place.alerts(&["--from-block", "10"]);
        let truth = fresh(&node, a).alerts(&["--from-block", "10"]);
        assert_eq!(ids(&alerts), ids(&truth), "--from-block {from}");
    }
}

#[test]
fn a_first_block_that_was_asked_for_counts_although_an_earlier_watch_took_none() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    transfers(&node, a, b, 1..11);
    let place = Place::watching(&[(a, "w")]);
    // It waits for a block that is not there yet, and is stopped before it comes.
    let watcher = place.watch(&node.url, &["--from-block", "15"]);
    assert_eq!(watcher.stop_after(std::time::Duration::from_millis(700)), 0);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len(), 10);
}
