//! Watching a real node: every kind, to the last field.

use alloy::primitives::{Address, B256, U256, hex, keccak256};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Node, Place, call, erc20_arguments, n, number, word};

const ETHER: u128 = 1_000_000_000_000_000_000;

fn only<'a>(alerts: &'a [Value], tx: B256, kind: &str) -> &'a Value {
    let found: Vec<_> = alerts.iter().filter(|a| a["tx"]["hash"] == tx.to_string() && a["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "one {kind} of {tx}: {found:#?}");
    found[0]
}

#[test]
fn every_kind_is_alerted_right_to_the_last_field() {
    let node = Node::start(&["--block-time", "1"]);
    let [watched, other, third] = [node.accounts[1], node.accounts[2], node.accounts[3]];
    let erc20 = node.deploy(third, "Erc20", &erc20_arguments("Dollar", "USDM", 6));
    let bytes32 = node.deploy(third, "Bytes32Token", "");
    let unknown = node.deploy(third, "NoMetadataToken", "");
    let hostile = node.deploy(third, "HostileToken", "");
    let unindexed = node.deploy(third, "UnindexedToken", "");
    let erc721 = node.deploy(third, "Erc721", &format!("{:064x}{:064x}{:0<64}", 32, 4, hex::encode("BIRD")));
    let erc1155 = node.deploy(third, "Erc1155", "");
    let weth = node.deploy(third, "Weth9", "");
    let fake_weth = node.deploy(third, "FakeWeth", "");
    let reverter = node.deploy(third, "Reverter", "");
    let splitter = node.deploy(third, "Splitter", "");

    let place = Place::watching(&[(watched, "Watched one")]);
    let mut watcher = place.watch(&node.url, &["--wrapped-native", &weth.to_string(), "--from-block", "0"]);

    let mint = |contract: &str, token: Address, to: Address, amount: u64| {
        node.send(third, Some(token), 0, &call(contract, "mint(address,uint256)", &[word(to), n(amount)]))
    };
    let plain = node.send(watched, Some(other), 3 * ETHER / 2, "0x");
    let to_self = node.send(watched, Some(watched), 7, "0x");
    let reverted = node.send(watched, Some(reverter), ETHER, "0x");
    let created = node.send(watched, None, 0, "0x600a600c600039600a6000f3602a60005260206000f3");
    let got20 = mint("Erc20", erc20, watched, 2_500_000);
    let got_bytes32 = mint("Bytes32Token", bytes32, watched, 5);
    let got_unknown = mint("NoMetadataToken", unknown, watched, 11);
    let got_hostile = mint("HostileToken", hostile, watched, 12);
    let got_unindexed = mint("UnindexedToken", unindexed, watched, 13);
    let got721 = mint("Erc721", erc721, watched, 77);
    let mint1155 = |id: u64, amount: u64| {
        let data = call("Erc1155", "mint(address,uint256,uint256)", &[word(watched), n(id), n(amount)]);
        node.send(third, Some(erc1155), 0, &data)
    };
    let (single, second) = (mint1155(1, 25), mint1155(2, 4));
    let batch_data = call(
        "Erc1155",
        "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
        &[word(watched), word(other), n(160), n(256), n(352), n(2), n(1), n(2), n(2), n(10), n(3), n(0)],
    );
    for hash in [single, second, got721, got20] {
        assert_eq!(node.receipt(hash)["status"], "0x1");
    }
    let batch = node.send(watched, Some(erc1155), 0, &batch_data);
    let broken = node.send(
        third,
        Some(erc1155),
        0,
        &call("Erc1155", "emitBroken(address,address)", &[word(watched), word(other)]),
    );
    let wrapped = node.send(watched, Some(weth), ETHER, &call("Weth9", "deposit()", &[]));
    assert_eq!(node.receipt(wrapped)["status"], "0x1");
    let unwrapped = node.send(watched, Some(weth), 0, &call("Weth9", "withdraw(uint256)", &[U256::from(ETHER / 4)]));
    let pretend = call("FakeWeth", "pretendDeposit(address,uint256)", &[word(watched), n(5)]);
    let pretended = node.send(third, Some(fake_weth), 0, &pretend);
    let split = node.send(
        other,
        Some(splitter),
        10 * ETHER,
        &call("Splitter", "split(address[])", &[n(32), n(2), word(watched), word(third)]),
    );
    let undone =
        node.send(other, Some(splitter), ETHER, &call("Splitter", "forwardThenRevert(address)", &[word(watched)]));
    let poison = call("Erc20", "transferFrom(address,address,uint256)", &[word(watched), word(other), n(0)]);
    let poisoned = node.send(third, Some(erc20), 0, &poison);
    for hash in [batch, broken, unwrapped, pretended, split, undone, poisoned] {
        assert_eq!(node.receipt(hash)["status"], "0x1");
    }
    place.caught_up(&node, &mut watcher);
    let alerts = place.alerts(&["--triage", "all"]);

    // One alert in full.
    let receipt = node.receipt(got20);
    let block = node.rpc("eth_getBlockByHash", json!([receipt["blockHash"], false]));
    let mut alert = only(&alerts, got20, "erc20_transfer").clone();
    let seen_at = alert["seen_at"].take();
    assert!(seen_at.as_str().unwrap().ends_with('Z'));
    let log_index = number(&receipt["logs"][0]["logIndex"]);
    let mut id_bytes = 31337u64.to_be_bytes().to_vec();
    id_bytes.extend(hex::decode(receipt["blockHash"].as_str().unwrap()).unwrap());
    id_bytes.extend((number(&receipt["transactionIndex"]) as u32).to_be_bytes());
    id_bytes.extend([1, 0, 0, 0, 1]);
    id_bytes.extend((log_index as u32).to_be_bytes());
    id_bytes.extend([0, 0, 0, 0]);
    id_bytes.extend(watched.as_slice());
    let list = std::fs::read(place.dir.path().join("test.csv")).unwrap();
    let timestamp = jiff::Timestamp::from_second(number(&block["timestamp"]) as i64).unwrap().to_string();
    assert_eq!(
        alert,
        json!({
            "id": keccak256(id_bytes).to_string(), "status": alert["status"], "severity": "medium", "chain_id": 31337,
            "block": {"number": number(&receipt["blockNumber"]), "hash": receipt["blockHash"], "timestamp": timestamp},
            "tx": {"hash": got20.to_string(), "index": number(&receipt["transactionIndex"]), "from": third.to_string(),
                   "to": erc20.to_string(), "success": true},
            "kind": "erc20_transfer", "plane": "logs", "log_index": log_index, "trace_address": null, "detail": null,
            "sub_index": 0,
            "from": Address::ZERO.to_string(), "to": watched.to_string(),
            "asset": {"id": format!("eip155:31337/erc20:{erc20}"), "contract": erc20.to_string(), "symbol": "USDM", "decimals": 6},
            "amount": "2500000", "amount_display": "2.5", "token_id": null,
            "watched": {"address": watched.to_string(), "direction": "in", "label": "Watched one", "list": "test",
                        "kind": "internal", "entity": null, "programs": [], "designation": "unknown",
                        "version": {"published": null, "sha256": hex::encode(Sha256::digest(&list)), "source": "test.csv"}},
            "counterparty": Address::ZERO.to_string(), "triage": {"class": "value", "reasons": []}, "proof": "proven",
            "endpoint": node.url.trim_start_matches("http://"), "seen_at": null, "retroactive": false,
        })
    );

    let sent = only(&alerts, plain, "native_transfer");
    assert_eq!((&sent["amount"], &sent["amount_display"]), (&json!("1500000000000000000"), &json!("1.5")));
    assert_eq!(
        sent["asset"],
        json!({"id": "eip155:31337/slip44:60", "contract": null, "symbol": "ETH", "decimals": 18})
    );
    assert_eq!((&sent["watched"]["direction"], &sent["counterparty"]), (&json!("out"), &json!(other.to_string())));
    assert_eq!(only(&alerts, to_self, "native_transfer")["watched"]["direction"], "self");
    let failed = only(&alerts, reverted, "transaction");
    assert_eq!((&failed["tx"]["success"], &failed["amount"]), (&json!(false), &json!("0")));
    let creation = only(&alerts, created, "contract_creation");
    assert_eq!(
        creation["to"],
        watched.create(number(&node.rpc("eth_getTransactionByHash", json!([created]))["nonce"])).to_string()
    );
    assert_eq!(creation["tx"]["to"], Value::Null);

    let symbols = [(got_bytes32, json!("MKR"), json!(18)), (got_unknown, Value::Null, Value::Null)];
    for (tx, symbol, decimals) in symbols {
        let asset = &only(&alerts, tx, "erc20_transfer")["asset"];
        assert_eq!((&asset["symbol"], &asset["decimals"]), (&symbol, &decimals));
    }
    let nasty = &only(&alerts, got_hostile, "erc20_transfer")["asset"];
    let symbol = nasty["symbol"].as_str().unwrap();
    assert!(symbol.chars().count() <= 32 && !symbol.chars().any(char::is_control), "{symbol:?}");
    assert_eq!(nasty["decimals"], Value::Null);
    assert_eq!(only(&alerts, got_unindexed, "erc20_transfer")["amount"], "13");
    let bird = only(&alerts, got721, "erc721_transfer");
    assert_eq!(
        (&bird["amount"], &bird["token_id"], &bird["amount_display"]),
        (&json!("1"), &json!("77"), &Value::Null)
    );
    assert_eq!(only(&alerts, single, "erc1155_transfer")["token_id"], "1");
    let ids: Vec<_> = alerts
        .iter()
        .filter(|a| a["tx"]["hash"] == batch.to_string() && a["kind"] == "erc1155_transfer")
        .map(|a| (a["sub_index"].clone(), a["token_id"].clone(), a["amount"].clone()))
        .collect();
    assert_eq!(ids, [(json!(0), json!("1"), json!("10")), (json!(1), json!("2"), json!("3"))]);
    assert!(!alerts.iter().any(|a| a["tx"]["hash"] == broken.to_string()));
    assert_eq!(place.status()["undecoded"], json!({"broken_batch": 1}));
    let wrap = only(&alerts, wrapped, "wrap");
    assert_eq!((&wrap["from"], &wrap["asset"]["symbol"]), (&json!(Address::ZERO.to_string()), &json!("WETH")));
    assert_eq!(only(&alerts, unwrapped, "unwrap")["amount"], json!((ETHER / 4).to_string()));
    assert!(!alerts.iter().any(|a| a["tx"]["hash"] == pretended.to_string()), "no other contract wraps");
    let internal = only(&alerts, split, "internal_transfer");
    assert_eq!((&internal["amount"], &internal["trace_address"]), (&json!((5 * ETHER).to_string()), &json!([0])));
    assert_eq!((&internal["plane"], &internal["log_index"]), (&json!("traces"), &Value::Null));
    assert!(!alerts.iter().any(|a| a["tx"]["hash"] == undone.to_string()), "a reverted frame moved nothing");
    let bait = only(&alerts, poisoned, "erc20_transfer");
    assert_eq!((&bait["triage"]["class"], &bait["severity"]), (&json!("zero_value"), &json!("low")));
    assert!(place.alerts(&[]).iter().all(|a| a["triage"]["class"] == "value"), "noise is shown only when asked for");
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_websocket_is_enough_and_a_dead_first_endpoint_does_no_harm() {
    let node = Node::start(&[]);
    let place = Place::watching(&[(node.accounts[1], "w")]);
    let mut watcher =
        place.watch("http://127.0.0.1:9", &["-r", &node.ws(), "--from-block", "0", "--poll-interval", "30"]);
    place.caught_up(&node, &mut watcher);
    // Polling every 30 seconds could not be that quick: the subscription wakes it.
    let begin = std::time::Instant::now();
    node.send(node.accounts[1], Some(node.accounts[2]), 1, "0x");
    place.caught_up(&node, &mut watcher);
    assert!(begin.elapsed() < std::time::Duration::from_secs(25), "woken by the new head, not by the poll");
    assert_eq!(place.alerts(&[]).len(), 1);
}

#[test]
fn an_ipc_socket_is_an_endpoint_too() {
    let place = Place::new();
    let socket = place.dir.path().join("node.ipc");
    let socket = socket.to_str().unwrap();
    let node = Node::start(&["--ipc", socket]);
    node.mine(3);
    let mut watcher = place.watch(socket, &["--from-block", "0", "--poll-interval", "30"]);
    place.caught_up(&node, &mut watcher);
    node.mine(2);
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.status()["endpoints"][0]["host"], "node.ipc");
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn downtime_skips_nothing() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    node.send(a, Some(b), 1, "0x");
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    for value in 2..=30 {
        node.send(a, Some(b), value, "0x");
    }
    node.mine(200);
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    let amounts: Vec<_> =
        place.alerts(&[]).iter().map(|a| a["amount"].as_str().unwrap().parse::<u64>().unwrap()).collect();
    assert_eq!(amounts, (1..=30).collect::<Vec<_>>());
    assert_eq!(place.status()["holes"], json!([]));
}

#[test]
fn a_change_of_the_watchlist_counts_from_the_next_block() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    node.send(b, Some(node.accounts[3]), 1, "0x");
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len(), 0);
    place.ok(&["watchlist", "add", &b.to_string(), "--label", "late"]);
    node.send(b, Some(node.accounts[3]), 2, "0x");
    place.caught_up(&node, &mut watcher);
    place.ok(&["watchlist", "remove", &b.to_string()]);
    node.send(b, Some(node.accounts[3]), 3, "0x");
    place.caught_up(&node, &mut watcher);
    let amounts: Vec<_> = place.alerts(&[]).iter().map(|a| a["amount"].clone()).collect();
    assert_eq!(amounts, ["2"]);
}
