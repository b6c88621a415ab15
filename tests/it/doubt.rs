//! Heads, tags and blocks that one endpoint alone names: what they must not bring about, and the way out where they did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy::consensus::Header;
use serde_json::{Value, json};

use crate::common::{Node, PATIENCE, Place, Watcher, number, stderr};
use crate::faults::proxy;

/// What an endpoint makes up: nothing (0), or a head, safe and final block of that number.
type Lie = Arc<AtomicU64>;

/// An empty block of another number, true to its own hash.
pub(crate) fn forged(true_block: &Value, number: u64) -> Value {
    let mut block = true_block.clone();
    block["number"] = json!(format!("{number:#x}"));
    block["parentHash"] = json!(format!("0x{number:064x}"));
    block["transactions"] = json!([]);
    let header: Header = serde_json::from_value(block.clone()).unwrap();
    let length = |header: &Header| alloy::rlp::Encodable::length(header);
    let before: Header = serde_json::from_value(true_block.clone()).unwrap();
    let size = crate::common::number(&true_block["size"]) as usize + length(&header) - length(&before);
    block["size"] = json!(format!("{size:#x}"));
    block["hash"] = json!(header.hash_slow());
    block
}

/// An endpoint in front of the node, whose blocks are empty, that names a made-up block for as long as `lie` says so.
fn forger(node: &Node, lie: &Lie) -> String {
    let lie = lie.clone();
    let made = std::sync::Mutex::new(std::collections::BTreeMap::<String, Value>::new());
    let genuine = node.rpc("eth_getBlockByNumber", json!(["0x1", true]));
    proxy(node, move |request, mut answer| {
        let height = lie.load(Ordering::SeqCst);
        if height == 0 {
            return Some(answer);
        }
        let mut made = made.lock().unwrap();
        let block = made.entry(height.to_string()).or_insert_with(|| forged(&genuine, height)).clone();
        let asked = &request["params"][0];
        let named = ["latest", "safe", "finalized"].iter().any(|tag| asked == tag)
            || *asked == block["number"]
            || *asked == block["hash"];
        match request["method"].as_str().unwrap_or_default() {
            "eth_blockNumber" => answer["result"] = block["number"].clone(),
            "eth_getBlockByNumber" | "eth_getBlockByHash" if named => {
                answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": block});
            }
            "eth_getBlockReceipts" if named => answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": []}),
            _ => {}
        }
        Some(answer)
    })
}

const QUICK: [&str; 8] = ["--from-block", "0", "--slot", "1", "--poll-interval", "0.2", "--traces", "off"];

pub(crate) fn until(place: &Place, watcher: &mut Watcher, what: &str, wanted: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = place.status();
        if wanted(&status) {
            return;
        }
        let runs = watcher.child.try_wait().unwrap().is_none();
        assert!(Instant::now() < deadline && runs, "{what}: {status:#}\n{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn has_problem(status: &Value, code: &str) -> bool {
    status["health"]["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == code)
}

fn final_numbers(place: &Place) -> Vec<u64> {
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    let mut rows = conn.prepare("SELECT number FROM blocks WHERE status = 2 ORDER BY number").unwrap();
    rows.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|row| row.unwrap().try_into().unwrap()).collect()
}

#[test]
fn a_head_that_one_endpoint_makes_up_far_above_the_other_leaves_nothing_behind() {
    let node = Node::start(&["--no-mining", "--slots-in-an-epoch", "1"]);
    node.mine(40);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    let lie = Lie::default();
    let (forger, honest) = (forger(&node, &lie), proxy(&node, |_, answer| Some(answer)));
    let mut watcher = place.watch(&forger, &[&["-r", &honest][..], &QUICK].concat());
    place.caught_up(&node, &mut watcher);
    until(&place, &mut watcher, "final", |status| status["finalized"].as_u64() >= Some(30));
    for height in [1_000_000, 200, i64::MAX as u64 - 1] {
        lie.store(height, Ordering::SeqCst);
        until(&place, &mut watcher, "doubted", |status| has_problem(status, "head_uncorroborated"));
        assert_eq!(place.status()["health"]["healthy"], false);
        node.mine(3);
        place.caught_up(&node, &mut watcher);
        assert_eq!(place.status()["owed"], json!([]));
        lie.store(0, Ordering::SeqCst);
        until(&place, &mut watcher, "over", |status| !has_problem(status, "head_uncorroborated"));
    }
    node.mine(3);
    place.caught_up(&node, &mut watcher);
    let head = node.head();
    until(&place, &mut watcher, "final again", |status| status["finalized"].as_u64() >= Some(head - 5));
    assert_eq!(watcher.stop(), 0);
    let status = place.status();
    assert_eq!((&status["head"], &status["holes"], &status["orphaned_blocks"]), (&json!(head), &json!([]), &json!(0)));
    assert!(final_numbers(&place).into_iter().all(|number| number <= head));
    assert!(status["lies"]["count"].as_u64() > Some(0), "what it said is kept: {}", status["lies"]);
}

#[test]
fn finality_that_one_of_two_endpoints_makes_up_raises_nothing() {
    let node = Node::start(&["--no-mining"]);
    node.mine(100);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    // Its tags name the head itself, a block of its own, or a true block that is not final: anvil finalizes 64 below the head.
    for forged_tag in ["latest", "made up", "0x5a"] {
        let liar = {
            let genuine = node.rpc("eth_getBlockByNumber", json!(["0x1", true]));
            let url = node.url.clone();
            proxy(&node, move |request, mut answer| {
                let asked = request["params"][0].as_str().unwrap_or_default().to_owned();
                if request["method"] == "eth_getBlockByNumber" && ["safe", "finalized"].contains(&asked.as_str()) {
                    answer["result"] = match forged_tag {
                        "made up" => forged(&genuine, 90),
                        tag => {
                            crate::proxy::Upstream::new(&url).ask("eth_getBlockByNumber", json!([tag, false])).unwrap()
                        }
                    };
                }
                Some(answer)
            })
        };
        let honest = proxy(&node, |_, answer| Some(answer));
        let mut watcher = place.watch(&liar, &[&["-r", &honest][..], &QUICK].concat());
        for _ in 0..3 {
            node.mine(1);
            place.caught_up(&node, &mut watcher);
            std::thread::sleep(Duration::from_millis(400));
        }
        let truly = number(&node.rpc("eth_getBlockByNumber", json!(["finalized", false]))["number"]);
        until(&place, &mut watcher, "the true one", |status| status["finalized"].as_u64() >= Some(truly - 1));
        let held = place.status()["finalized"].as_u64().unwrap();
        assert!(held <= truly, "{forged_tag}: {held} is final, the chain says {truly}");
        assert_eq!(watcher.stop(), 0);
    }
}

#[test]
fn a_single_endpoint_that_makes_up_a_head_and_returns_is_followed_again() {
    let node = Node::start(&["--no-mining", "--slots-in-an-epoch", "1"]);
    node.mine(40);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    let lie = Lie::default();
    let forger = forger(&node, &lie);
    let mut watcher = place.watch(&forger, &QUICK);
    place.caught_up(&node, &mut watcher);
    for height in [1_000_000, 500, 5_000_000_000] {
        lie.store(height, Ordering::SeqCst);
        until(&place, &mut watcher, "jumped", |status| status["watch_tip"]["number"] == height);
        until(&place, &mut watcher, "not good", |status| status["health"]["healthy"] == false);
        assert!(final_numbers(&place).iter().all(|number| *number <= 40 + 9), "{:#}", place.status());
        lie.store(0, Ordering::SeqCst);
        node.mine(3);
        place.caught_up(&node, &mut watcher);
    }
    assert_eq!(watcher.stop(), 0);
    let status = place.status();
    assert_eq!((&status["head"], &status["holes"]), (&json!(node.head()), &json!([])));
}

#[test]
fn with_a_quorum_no_block_is_committed_while_the_honest_endpoints_are_down() {
    let node = Node::start(&["--no-mining"]);
    node.mine(10);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    let down = Arc::new(AtomicU64::new(0));
    let honest = |which: u64| {
        let down = down.clone();
        proxy(&node, move |_, answer| (down.load(Ordering::SeqCst) < which).then_some(answer))
    };
    let (one, two, third) = (honest(1), honest(2), proxy(&node, |_, answer| Some(answer)));
    let more = ["-r", &one, "-r", &two, "--quorum", "2", "--timeout", "2"];
    let mut watcher = place.watch(&third, &[&more[..], &QUICK].concat());
    place.caught_up(&node, &mut watcher);
    // One is down: two are left, and agree.
    down.store(1, Ordering::SeqCst);
    node.mine(1);
    place.caught_up(&node, &mut watcher);
    down.store(2, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(500));
    let held = place.status()["blocks"].clone();
    node.mine(5);
    until(&place, &mut watcher, "waiting", |status| has_problem(status, "waiting"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(place.status()["blocks"], held, "one endpoint is no quorum of two");
    down.store(0, Ordering::SeqCst);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn revert_is_the_way_out_of_a_false_final_block_and_refuses_while_a_watch_runs() {
    let node = Node::start(&["--no-mining"]);
    node.mine(20);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    let revert = |above: &str, more: &[&str]| place.run(&[&["revert", "--above", above], more].concat());
    let why = ["--reason", "a false head of one endpoint"];
    assert_eq!(revert("20", &why).status.code(), Some(0));
    // A fresh watch that begins at a made-up head has nothing to link it to.
    let lie = Lie::new(AtomicU64::new(1_000_000));
    let forger = forger(&node, &lie);
    let mut watcher = place.watch(&forger, &QUICK[2..]);
    until(&place, &mut watcher, "the false block", |status| status["finalized"] == 1_000_000);
    let out = revert("20", &why);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert_eq!(watcher.stop(), 0);
    for bad in [&["--reason", "  "][..], &[]] {
        assert!(matches!(revert("20", bad).status.code(), Some(1 | 2)));
    }
    let out = revert("20", &why);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let status = place.status();
    let kept = &status["reverts"][0];
    assert_eq!((&kept["above"], &kept["reason"], &kept["final_blocks"]), (&json!(20), &json!(why[1]), &json!(1)));
    assert!(place.run(&["status"]).stdout.windows(why[1].len()).any(|part| part == why[1].as_bytes()));
    assert_eq!((&status["finalized"], &status["orphaned_blocks"]), (&Value::Null, &json!(1)));
    lie.store(0, Ordering::SeqCst);
    node.mine(3);
    let mut watcher = place.watch(&forger, &QUICK[2..]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    assert_eq!(place.status()["head"], node.head());
    let out = Place::new().run(&[&["revert", "--above", "1"][..], &why].concat());
    assert!(out.status.code() == Some(1) && stderr(&out).contains("there is no database"), "{}", stderr(&out));
}

#[test]
fn a_watch_says_that_its_first_block_is_not_there_yet_and_that_a_node_is_below_its_tip() {
    let node = Node::start(&["--no-mining"]);
    node.mine(20);
    let place = Place::watching(&[(node.accounts[0], "a")]);
    for first in ["99999999999", "30", "1_000", "0x15"] {
        let place = Place::watching(&[(node.accounts[0], "a")]);
        let mut watcher = place.watch(&node.url, &["--from-block", first, "--poll-interval", "0.2"]);
        until(&place, &mut watcher, "waits", |status| has_problem(status, "waiting"));
        assert!(watcher.log().contains("is not there yet: the chain is at block 20"), "{}", watcher.log());
        assert_eq!(watcher.stop(), 0);
    }
    let mut watcher = place.watch(&node.url, &QUICK);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    for head in [5, 1, 19] {
        let url = node.url.clone();
        let lower = proxy(&node, move |request, mut answer| {
            if request["params"][0] == "latest" {
                let block = json!([format!("{head:#x}"), false]);
                answer["result"] = crate::proxy::Upstream::new(&url).ask("eth_getBlockByNumber", block)?;
            }
            Some(answer)
        });
        let watcher = place.watch(&lower, &["--poll-interval", "0.2", "--slot", "1"]);
        let said = format!("the chain is at block {head}, below block 20, the last one taken");
        let deadline = Instant::now() + PATIENCE;
        while !watcher.log().contains(&said) {
            assert!(Instant::now() < deadline, "{}", watcher.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(watcher.stop(), 0);
    }
}

#[test]
fn an_empty_watchlist_is_a_problem_and_a_new_database_is_said() {
    let node = Node::start(&["--no-mining"]);
    node.mine(3);
    for command in [
        &["replay", "--from-block", "0", "--to-block", "3"][..],
        &["replay", "--from-block", "1", "--to-block", "latest"],
    ] {
        let place = Place::new();
        let out = place.run(&[command, &["-r", &node.url]].concat());
        assert!(stderr(&out).contains("there is no database at"), "{}", stderr(&out));
        assert!(has_problem(&place.status(), "no_list"));
        let again = place.run(&[command, &["-r", &node.url]].concat());
        assert!(!stderr(&again).contains("there is no database at"));
        place.import(&[(node.accounts[0], "a")]);
        assert!(!has_problem(&place.status(), "no_list"));
        place.ok(&["watchlist", "remove", &node.accounts[0].to_string()]);
        assert!(has_problem(&place.status(), "no_list"), "nothing on it can alert any more");
    }
    let place = Place::new();
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    assert!(watcher.log().contains("there is no database at"), "{}", watcher.log());
    assert!(has_problem(&place.status(), "no_list"));
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_replay_without_a_last_block_ends_with_the_finalized_one() {
    let node = Node::start(&["--no-mining"]);
    for blocks in [70, 10, 33] {
        node.mine(blocks);
        let place = Place::watching(&[(node.accounts[0], "a")]);
        place.ok(&["replay", "-r", &node.url, "--from-block", "1"]);
        let last = number(&node.rpc("eth_getBlockByNumber", json!(["finalized", false]))["number"]);
        assert_eq!(place.status()["tip"]["number"], last);
        assert_eq!(place.status()["head"], node.head(), "an open range goes on to the head");
    }
}
