//! Watching through endpoints that sin: heads that are stale, sockets that are mute, and reorgs meanwhile. And what is never said
//! to any endpoint.

use std::time::Duration;

use alloy::primitives::{Address, hex};
use serde_json::{Value, json};

use crate::common::{Node, Place, call, erc20_arguments, n, word};
use crate::liars::{alerts, covered, facts};
use crate::proxy::{Plan, Proxy, Socket, Upstream};
use crate::rich::Mover;
use crate::sins::Sin;

/// What a clean run finds in the chain as it is now.
fn clean(node: &Node, watched: &[(Address, &str)]) -> Vec<Value> {
    let place = Place::watching(watched);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--traces", "require"]);
    alerts(&place)
}

const QUICK: [&str; 8] = ["--from-block", "0", "--traces", "require", "--timeout", "1", "--poll-interval", "0.2"];

#[test]
fn a_watch_through_faults_of_all_kinds_and_reorgs_ends_with_what_a_fresh_clean_index_has() {
    let node = Node::start(&[]);
    let mover = Mover::deploy(&node);
    let sins: Vec<_> = Sin::all().into_iter().filter(|sin| !sin.needs_batches()).collect();
    let place = Place::watching(&mover.watched());
    let (mut round, mut kinds, mut orphaned) = (0, std::collections::BTreeSet::new(), 0);
    for seed in 1..=4 {
        // A watcher begins anew with each seed, and does not know the sinner.
        let sinner = Proxy::new(&node, Plan { times: Some(2), ..Plan::mix(seed, 60, sins.clone()) });
        let honest = Proxy::new(&node, Plan::honest());
        let mut watcher = place.watch(&sinner.url, &[&["-r", &honest.url], &QUICK[..]].concat());
        for depth in [1, 4, 9] {
            for _ in 0..10 {
                mover.block(&node, round);
                round += 1;
            }
            place.caught_up(&node, &mut watcher);
            node.rpc("anvil_reorg", json!([depth, []]));
            mover.block(&node, round);
            round += 1;
            place.caught_up(&node, &mut watcher);
            orphaned += depth;
        }
        assert_eq!(watcher.stop(), 0, "seed {seed}");
        kinds.extend(sinner.take_committed().into_keys());
    }
    assert!(kinds.len() > 3, "{kinds:?}");
    let status = place.status();
    assert_eq!((&status["holes"], &status["orphaned_blocks"]), (&json!([]), &json!(orphaned)));
    assert_eq!(covered(&place), [(0, node.head())]);
    let truth = clean(&node, &mover.watched());
    assert!(truth.len() > 100, "{}", truth.len());
    assert_eq!(facts(&alerts(&place)), facts(&truth));
}

#[test]
fn a_websocket_that_drops_heads_is_mute_dead_or_closed_costs_no_block() {
    let node = Node::start(&[]);
    let mover = Mover::deploy(&node);
    let sockets = [
        Socket::DropsEveryNthHead(2),
        Socket::MuteAfterHeads(2),
        Socket::DeadAfterMessages(25),
        Socket::ClosedAfterHeads(2),
    ];
    let mut watching: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            let proxy = Proxy::new(&node, Plan { socket, ..Plan::honest() });
            let place = Place::watching(&mover.watched());
            let watcher = place.watch(&proxy.ws(), &QUICK);
            (socket, proxy, place, watcher)
        })
        .collect();
    for (_, _, place, watcher) in &mut watching {
        place.caught_up(&node, watcher);
    }
    for round in 0..20 {
        mover.block(&node, round);
        std::thread::sleep(Duration::from_millis(100));
    }
    let truth = clean(&node, &mover.watched());
    assert!(truth.len() > 100, "{}", truth.len());
    for (socket, proxy, place, mut watcher) in watching {
        place.caught_up(&node, &mut watcher);
        assert_eq!(watcher.stop(), 0, "{socket:?}");
        assert!(proxy.held_back() > 0, "{socket:?} was never committed");
        assert_eq!(covered(&place), [(0, node.head())], "{socket:?}");
        assert_eq!(facts(&alerts(&place)), facts(&truth), "{socket:?}");
    }
}

/// Whether the address is there: in hex of any case, with or without 0x, or as its bytes.
fn names(wire: &[u8], address: Address) -> bool {
    let text = String::from_utf8_lossy(wire).to_lowercase();
    text.contains(&hex::encode(address)) || wire.windows(20).any(|window| window == address.as_slice())
}

#[test]
fn nothing_that_is_sent_in_a_whole_watch_and_replay_names_a_watched_address() {
    let node = Node::start(&[]);
    let [a, b, c] = [node.accounts[1], node.accounts[2], node.accounts[3]];
    // Looked up by its symbol and decimals, so it is named in requests: it must not be watched, and shows that the log is one.
    let token = node.deploy(c, "Erc20", &erc20_arguments("Dollar", "USDM", 6));
    let splitter = node.deploy(c, "Splitter", "");
    let watched = [(a, "a"), (b, "b")];
    let (http, socket) = (Proxy::new(&node, Plan::honest()), Proxy::new(&node, Plan::honest()));
    let place = Place::watching(&watched);
    let start = || place.watch(&socket.ws(), &["-r", &http.url, "--from-block", "0"]);
    let mut watcher = start();
    for round in 1..=5 {
        node.send(a, Some(b), round, "0x");
        node.send(c, Some(token), 0, &call("Erc20", "mint(address,uint256)", &[word(a), n(7)]));
        node.send(c, Some(splitter), 100, &call("Splitter", "split(address[])", &[n(32), n(2), word(a), word(b)]));
        place.caught_up(&node, &mut watcher);
        if round == 3 {
            node.rpc("anvil_reorg", json!([2, []]));
            place.caught_up(&node, &mut watcher);
            assert_eq!(watcher.stop(), 0);
            watcher = start();
        }
    }
    assert_eq!(watcher.stop(), 0);
    let again = Place::watching(&watched);
    again.ok(&["replay", "-r", &http.url, "--from-block", "0", "--to-block", "latest"]);
    again.ok(&["replay", "-r", &socket.ws(), "--from-block", "0", "--to-block", "latest", "--chain", "31337"]);
    for place in [&place, &again] {
        let found = alerts(place);
        assert!(found.iter().any(|alert| alert["asset"]["symbol"] == "USDM"));
        assert!(found.iter().any(|alert| alert["kind"] == "internal_transfer"));
    }
    let (over_http, over_socket) = (http.wire(), socket.wire());
    for (wire, methods) in [
        (&over_http, &["eth_getBlockByNumber", "eth_getBlockReceipts", "eth_call", "debug_traceBlockByHash"][..]),
        (&over_socket, &["eth_subscribe", "eth_getBlockByNumber", "eth_getBlockReceipts", "Upgrade: websocket"]),
    ] {
        let text = String::from_utf8_lossy(wire).to_lowercase();
        for method in methods {
            assert!(text.contains(&method.to_lowercase()), "{method} was not recorded");
        }
        for (address, _) in watched {
            assert!(!names(wire, address), "{address} was sent to an endpoint");
        }
    }
    assert!(names(&over_http, token), "what is named is found");
    // The log would tell: in any case of letters.
    let mut telltale = Upstream::new(&http.url);
    for told in [a.to_string(), b.to_string().replace("0x", "").to_uppercase()] {
        telltale.ask("eth_getBalance", json!([told, "latest"])).expect("an answer");
    }
    let wire = http.wire();
    assert!(names(&wire, a) && names(&wire, b));
}

#[test]
fn a_first_endpoint_whose_head_is_stale_for_good_does_not_hold_back_a_watch_that_has_a_second() {
    for sin in [Sin::StaleHead, Sin::HeadGoingBackwards] {
        let node = Node::start(&[]);
        let mover = Mover::deploy(&node);
        let place = Place::watching(&mover.watched());
        let sinner = Proxy::new(&node, Plan::always(sin, 0));
        let honest = Proxy::new(&node, Plan::honest());
        let mut watcher = place.watch(&sinner.url, &[&["-r", &honest.url], &QUICK[..]].concat());
        for round in 0..10 {
            mover.block(&node, round);
        }
        place.caught_up(&node, &mut watcher);
        assert_eq!(watcher.stop(), 0);
        assert!(sinner.take_committed().contains_key(&sin));
    }
}
