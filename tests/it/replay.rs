//! Replaying: the same rows as watching, resumable, and doing it twice changes nothing.

use serde_json::json;

use crate::common::{Node, Place, call, erc20_arguments, n, stderr, timeless_all, well_proven, word};

/// A chain with movements of several kinds.
fn busy_node() -> (Node, [alloy::primitives::Address; 2]) {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let token = node.deploy(b, "Erc20", &erc20_arguments("Dollar", "USDM", 6));
    let splitter = node.deploy(b, "Splitter", "");
    for round in 1..=20u64 {
        node.send(a, Some(b), u128::from(round), "0x");
        node.send(b, Some(token), 0, &call("Erc20", "mint(address,uint256)", &[word(a), n(round)]));
        node.send(b, Some(splitter), 100, &call("Splitter", "split(address[])", &[n(32), n(2), word(a), word(b)]));
    }
    (node, [a, b])
}

#[test]
fn replayed_rows_equal_watched_rows_byte_for_byte() {
    let (node, [a, b]) = busy_node();
    let watched = Place::watching(&[(a, "a"), (b, "b")]);
    let mut watcher = watched.watch(&node.url, &["--from-block", "0"]);
    watched.caught_up(&node, &mut watcher);
    for value in 100..110 {
        node.send(a, Some(b), value, "0x");
        watched.caught_up(&node, &mut watcher);
    }
    assert_eq!(watcher.stop(), 0);
    let replayed = Place::watching(&[(a, "a"), (b, "b")]);
    replayed.ok(&["replay", "-r", &node.url, "--from-block", "earliest", "--to-block", "latest", "--concurrency", "3"]);
    let all = ["--status", "all", "--triage", "all"];
    let (live, again) = (timeless_all(&watched.alerts(&all)), timeless_all(&replayed.alerts(&all)));
    assert!(live.len() > 150, "{}", live.len());
    assert_eq!(live, again);

    // Recorded and replayed with no node, the same but for what only a node can be asked: the token's symbol.
    let archive = replayed.dir.path().join("all.jsonl.zst");
    let archive = archive.to_str().unwrap();
    replayed.ok(&["record", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--out", archive]);
    drop(node);
    let offline = Place::watching(&[(a, "a"), (b, "b")]);
    offline.ok(&["replay", "--archive", archive]);
    let bare = |place: &Place| {
        let mut alerts = timeless_all(&place.alerts(&all));
        for alert in &mut alerts {
            alert["status"].take();
            alert["amount_display"].take();
            alert["asset"].take();
        }
        alerts
    };
    assert_eq!(bare(&offline), bare(&watched));
}

#[test]
fn replaying_again_asks_for_nothing_and_changes_nothing() {
    let (node, [a, _]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    let range = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    let first = place.run(&range);
    assert!(first.status.success(), "{}", stderr(&first));
    let before = place.alerts(&[]);
    let second = place.run(&range);
    let total = node.head() + 1;
    assert!(stderr(&second).contains(&format!("0 blocks committed, {total} already held")), "{}", stderr(&second));
    assert_eq!(place.alerts(&[]), before, "to the last byte, seen_at too");
}

#[test]
fn blocks_screened_before_the_list_grew_are_said_to_be() {
    let (node, [a, b]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    let range = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "30"];
    place.ok(&range);
    let query = ["query", "--from-block", "0", "--to-block", "30", "--require-complete"];
    assert!(!stderr(&place.run(&query)).contains("screened before"));
    place.ok(&["watchlist", "add", &b.to_string()]);
    assert!(stderr(&place.run(&query)).contains("screened before the watchlist gained entries"));
    assert_eq!(place.status()["blocks_screened_before_last_addition"], 31);
    place.ok(&range);
    assert!(!stderr(&place.run(&query)).contains("screened before"));
    // An entry less is no reason to look again.
    place.ok(&["watchlist", "remove", &b.to_string()]);
    assert_eq!(place.status()["blocks_screened_before_last_addition"], 0);
}

#[test]
fn an_interrupted_replay_goes_on_where_it_stopped() {
    let (node, [a, _]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "20"]);
    place.ok(&["replay", "-r", &node.url, "--from-block", "30", "--to-block", "40"]);
    assert_eq!(place.status()["holes"], json!([{"from": 21, "to": 29}]));
    let out = place.run(&["query", "--from-block", "0", "--to-block", "40", "--require-complete"]);
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    let out = place.run(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert!(stderr(&out).contains("32 already held"), "{}", stderr(&out));
    assert_eq!(place.status()["holes"], json!([]));
    assert_eq!(
        place.run(&["query", "--from-block", "0", "--to-block", "40", "--require-complete"]).status.code(),
        Some(0)
    );
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(timeless_all(&place.alerts(&[])), timeless_all(&fresh.alerts(&[])));
}

#[test]
fn a_replay_over_what_a_reorg_replaced_puts_it_right() {
    let (node, [a, b]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    let range = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    place.ok(&range);
    node.rpc("anvil_reorg", json!([5, []]));
    node.send(a, Some(b), 999, "0x");
    place.ok(&range);
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&range);
    assert_eq!(timeless_all(&place.alerts(&[])), timeless_all(&fresh.alerts(&[])));
    assert_eq!(place.status()["orphaned_blocks"], 5);
}

#[test]
fn trusting_the_endpoint_is_said_in_every_row_and_a_proof_makes_up_for_it() {
    let (node, [a, _]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    let range = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    place.ok(&[&range[..], &["--trust-rpc"]].concat());
    assert!(place.alerts(&[]).iter().all(|alert| alert["proof"] == "unproven"));
    assert_eq!(
        place.run(&["query", "--from-block", "0", "--to-block", "9", "--require-complete"]).status.code(),
        Some(3)
    );
    place.ok(&range);
    assert!(place.alerts(&[]).iter().all(well_proven));
}

#[test]
fn traces_that_are_required_and_not_there_stop_it() {
    let (node, [a, _]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    place.ok(&[
        "record",
        "-r",
        &node.url,
        "--from-block",
        "0",
        "--to-block",
        "9",
        "--traces",
        "off",
        "--out",
        "bare.jsonl",
    ]);
    let out = place.run(&["replay", "--archive", "bare.jsonl", "--traces", "require"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("bare.jsonl: block 0 has no traces in it"), "{}", stderr(&out));
    place.ok(&["replay", "--archive", "bare.jsonl"]);
    assert_eq!(place.status()["coverage"][0]["traces"], false);
}

#[test]
fn what_a_liar_said_on_trust_does_not_outlive_the_proof() {
    let (node, [a, _]) = busy_node();
    let place = Place::watching(&[(a, "a")]);
    let file = place.dir.path().join("true.jsonl");
    place.ok(&[
        "record",
        "-r",
        &node.url,
        "--from-block",
        "0",
        "--to-block",
        "latest",
        "--out",
        file.to_str().unwrap(),
    ]);
    let truth = std::fs::read_to_string(&file).unwrap();
    // Twenty ETH transfers of one account, each said to be of another amount, and one to have been made by another.
    let lie = truth.replace("\"value\":\"0x3\"", "\"value\":\"0x33333\"");
    assert_ne!(lie, truth);
    std::fs::write(place.dir.path().join("lie.jsonl"), lie).unwrap();
    place.ok(&["replay", "--archive", "lie.jsonl", "--traces", "off", "--trust-rpc"]);
    let amounts = |place: &Place| place.alerts(&[]).iter().map(|a| a["amount"].to_string()).collect::<Vec<_>>();
    assert!(amounts(&place).contains(&format!("\"{}\"", 0x33333)));
    place.ok(&["replay", "--archive", "true.jsonl", "--traces", "off"]);
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["replay", "--archive", file.to_str().unwrap(), "--traces", "off"]);
    assert_eq!(timeless_all(&place.alerts(&[])), timeless_all(&fresh.alerts(&[])));
}

#[test]
fn blocks_taken_by_another_decoder_or_without_traces_are_taken_again() {
    let (node, [a, b]) = busy_node();
    let weth = node.deploy(b, "Weth9", "");
    node.send(a, Some(weth), 5, &call("Weth9", "deposit()", &[]));
    let place = Place::watching(&[(a, "a")]);
    let range = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    place.ok(&[&range[..], &["--traces", "off"]].concat());
    assert_eq!(place.alerts(&["--kind", "wrap,internal_transfer"]).len(), 0);
    place.ok(&range);
    assert_eq!(place.alerts(&["--kind", "internal_transfer"]).len(), 20);
    place.ok(&[&range[..], &["--wrapped-native", &weth.to_string()]].concat());
    assert_eq!(place.alerts(&["--kind", "wrap"]).len(), 1);
}
