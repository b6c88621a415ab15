//! Endpoints that fail at traces: nothing of a block is lost by it, and whatever is missing is recorded, said and had later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use serde_json::{Value, json};

use crate::common::{Node, PATIENCE, Place, Watcher, call, n, stderr, word};
use crate::faults::no_method;
use crate::pool::{Reply, endpoint, status};

/// A node with blocks in which a contract pays the watched address, which only traces show.
struct Chain {
    node: Node,
    watched: Address,
    splitter: Address,
}

impl Chain {
    fn new(payments: u64) -> Self {
        let node = Node::start(&[]);
        let (watched, payer) = (node.accounts[1], node.accounts[2]);
        let splitter = node.deploy(payer, "Splitter", "");
        let chain = Self { node, watched, splitter };
        (0..payments).for_each(|_| chain.pay());
        chain
    }

    fn pay(&self) {
        let split = call("Splitter", "split(address[])", &[n(32), n(1), word(self.watched)]);
        self.node.send(self.node.accounts[2], Some(self.splitter), 100, &split);
    }

    fn place(&self) -> Place {
        Place::watching(&[(self.watched, "watched")])
    }

    fn replay(&self, place: &Place, urls: &[&str], extra: &[&str]) -> String {
        self.replay_to(place, "latest", urls, extra)
    }

    fn replay_to(&self, place: &Place, to: &str, urls: &[&str], extra: &[&str]) -> String {
        let mut args = vec!["replay", "--from-block", "0", "--to-block", to];
        args.extend(urls.iter().flat_map(|url| ["-r", url]));
        args.extend(extra);
        let out = place.run(&args);
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
        stderr(&out)
    }
}

fn payments(place: &Place) -> usize {
    place.alerts(&["--kind", "internal_transfer"]).len()
}

fn problem(place: &Place, code: &str) -> Option<Value> {
    let problems = place.status()["health"]["problems"].as_array().unwrap().clone();
    problems.into_iter().find(|problem| problem["code"] == code)
}

/// Every block is held with its traces.
fn is_whole(place: &Place) -> bool {
    let status = place.status();
    let ranges = status["coverage"].as_array().unwrap();
    status["traces_missing"].is_null() && ranges.iter().all(|range| range["traces"] == true)
}

fn is_trace(request: &Value) -> bool {
    request["method"].as_str().is_some_and(|method| method.starts_with("debug_trace") || method.starts_with("trace_"))
}

fn rpc_error(request: &Value, code: i64, message: &str) -> Reply {
    let error = json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}});
    status("200 OK", &error.to_string())
}

type Failing = fn(&Value) -> Reply;

/// Ways in which a request for traces fails.
const FAILURES: [(&str, Failing); 14] = [
    ("429", |_| status("429 Too Many Requests", "")),
    ("-32005", |request| rpc_error(request, -32005, "daily request count exceeded, request rate limited")),
    ("-32007", |request| rpc_error(request, -32007, "50/second request limit reached")),
    ("500", |_| status("500 Internal Server Error", "<html>oops</html>")),
    ("502", |_| status("502 Bad Gateway", "<html>bad gateway</html>")),
    ("504", |_| status("504 Gateway Timeout", "")),
    ("HTML", |_| status("200 OK", "<html><body>maintenance</body></html>")),
    ("execution timeout", |request| rpc_error(request, -32000, "execution timeout")),
    ("internal", |request| rpc_error(request, -32603, "internal error")),
    ("no method", |request| status("200 OK", &no_method(request).to_string())),
    ("null", |request| status("200 OK", &json!({"jsonrpc": "2.0", "id": request["id"], "result": null}).to_string())),
    ("truncated", |_| {
        Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\nConnection: close\r\n\r\n{\"jsonrpc\"".to_owned())
    }),
    ("closed", |_| Reply::Raw(String::new())),
    ("state", |request| rpc_error(request, -32000, "missing trie node 5a (path ) state 0x12 is not available")),
];

/// Fails so for the first requests for traces of any kind; counts them all.
fn failing(chain: &Chain, times: usize, fail: Failing) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let url = endpoint(&chain.node, move |request| {
        if is_trace(request) && counter.fetch_add(1, Ordering::Relaxed) < times { fail(request) } else { Reply::Pass }
    });
    (url, asked)
}

fn each_failure(check: impl Fn(&str, Failing) + Sync) {
    std::thread::scope(|scope| {
        for part in FAILURES.chunks(2) {
            scope.spawn(|| part.iter().for_each(|(name, fail)| check(name, *fail)));
        }
    });
}

#[test]
fn a_request_for_traces_that_fails_for_a_moment_is_made_again() {
    let chain = Chain::new(3);
    each_failure(|name, fail| {
        let (url, _) = failing(&chain, 3, fail);
        let place = chain.place();
        let log = chain.replay(&place, &[&url], &[]);
        assert_eq!(payments(&place), 3, "{name}: {log}");
        assert!(is_whole(&place), "{name}: {log}");
    });
}

#[test]
fn traces_that_cannot_be_had_are_recorded_and_a_replay_fills_them() {
    let chain = Chain::new(3);
    each_failure(|name, fail| {
        let (url, _) = failing(&chain, usize::MAX, fail);
        let place = chain.place();
        // Once it had them: otherwise an endpoint without the method is one without traces.
        chain.replay_to(&place, "1", &[&chain.node.url], &[]);
        let log = chain.replay(&place, &[&url], &[]);
        let status = place.status();
        assert_eq!(payments(&place), 0, "{name}");
        if name == "no method" {
            assert!(status["traces_missing"].is_null() && problem(&place, "traces_missing").is_none(), "{status:#}");
        } else {
            let missing = &status["traces_missing"];
            assert_eq!(
                (&missing["blocks"], &missing["first"], &missing["last"]),
                (&json!(3), &json!(2), &json!(4)),
                "{name}: {log}"
            );
            assert_eq!(
                (status["health"]["healthy"].clone(), missing["pruned"] == 3),
                (json!(false), name == "state"),
                "{name}"
            );
            let detail = problem(&place, "traces_missing").unwrap()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("3 blocks from 2 to 4 lack traces"), "{detail}");
            assert_eq!(detail.contains("archive node"), name == "state", "{detail}");
        }
        let out = place.run(&["replay", "--holes", "--traces", "require", "-r", &chain.node.url]);
        assert_eq!(out.status.code(), Some(0), "{name}: {}", stderr(&out));
        assert_eq!(payments(&place), 3, "{name}");
        assert!(is_whole(&place) && problem(&place, "traces_missing").is_none(), "{name}: {:#}", place.status());
    });
}

fn wait(place: &Place, watcher: &Watcher, what: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "{:#}\n{}", place.status(), watcher.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_watch_works_off_the_traces_that_it_missed_also_after_a_restart() {
    let chain = Chain::new(1);
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let url = endpoint(&chain.node, move |request| {
        if is_trace(request) && is_broken.load(Ordering::Relaxed) {
            return status("503 Service Unavailable", "");
        }
        Reply::Pass
    });
    let place = chain.place();
    let options = ["--from-block", "0", "--poll-interval", "0.2"];
    let mut watcher = place.watch(&url, &options);
    place.caught_up(&chain.node, &mut watcher);
    chain.pay();
    wait(&place, &watcher, || place.status()["traces_missing"]["blocks"] == 3);
    assert_eq!(watcher.stop(), 0);
    assert!(problem(&place, "traces_missing").is_some(), "it is said of a database that nobody watches");
    let mut watcher = place.watch(&url, &options);
    chain.pay();
    place.caught_up(&chain.node, &mut watcher);
    wait(&place, &watcher, || place.status()["traces_missing"]["blocks"] == 4);
    assert_eq!(payments(&place), 0);
    broken.store(false, Ordering::Relaxed);
    wait(&place, &watcher, || is_whole(&place));
    assert_eq!(payments(&place), 3);
    assert!(problem(&place, "traces_missing").is_none() && watcher.log().contains("traces cannot be had just now"));
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn pruned_state_is_said_once_and_not_asked_for_hotly() {
    let chain = Chain::new(4);
    chain.node.mine(30);
    let check = |message: &'static str| {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let url = endpoint(&chain.node, move |request| {
            if !is_trace(request) {
                return Reply::Pass;
            }
            counter.fetch_add(1, Ordering::Relaxed);
            rpc_error(request, -32000, message)
        });
        let place = chain.place();
        let log = chain.replay(&place, &[&url], &["--concurrency", "1"]);
        let warned = log.lines().filter(|line| line.contains("WARN") && line.contains("traces")).count();
        assert!((1..=3).contains(&warned), "{warned} warnings: {log}");
        assert_eq!(place.status()["traces_missing"]["pruned"], 5, "{message}: {log}");
        asked.store(0, Ordering::Relaxed);
        let mut watcher = place.watch(&url, &["--poll-interval", "0.2"]);
        place.caught_up(&chain.node, &mut watcher);
        assert_eq!(watcher.stop_after(Duration::from_secs(4)), 0);
        assert!(asked.load(Ordering::Relaxed) <= 24, "asked {} times", asked.load(Ordering::Relaxed));
    };
    std::thread::scope(|scope| {
        for message in [
            "required historical state unavailable (reexec=128)",
            "historical state 0xabcd is not available",
            "missing trie node 5a (path 0b)",
            "state is not available, an archive node is required",
        ] {
            let check = &check;
            scope.spawn(move || check(message));
        }
    });
}

#[test]
fn nodes_behind_one_url_of_which_some_lack_traces_cost_nothing() {
    let chain = Chain::new(6);
    // Every second answer, two of three, and bursts.
    let patterns: [fn(usize) -> bool; 4] =
        [|count| count % 2 == 0, |count| count % 3 != 2, |count| count < 4, |count| (count / 3).is_multiple_of(2)];
    for lacks in patterns {
        let counter = AtomicUsize::new(0);
        let url = endpoint(&chain.node, move |request| {
            if is_trace(request) && lacks(counter.fetch_add(1, Ordering::Relaxed)) {
                return status("200 OK", &no_method(request).to_string());
            }
            Reply::Pass
        });
        let place = chain.place();
        let log = chain.replay(&place, &[&url], &["--concurrency", "1"]);
        assert_eq!((payments(&place), is_whole(&place)), (6, true), "{log}");
    }
}

#[test]
fn blocks_without_transactions_need_nobody_who_has_traces() {
    let node = Node::start(&[]);
    node.mine(5);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let url = endpoint(&node, move |request| {
        if is_trace(request) {
            counter.fetch_add(1, Ordering::Relaxed);
            return status("200 OK", &no_method(request).to_string());
        }
        Reply::Pass
    });
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let replay = |from: &str, to: &str, traces: &str| {
        let out = place.run(&["replay", "-r", &url, "--from-block", from, "--to-block", to, "--traces", traces]);
        (out.status.code(), stderr(&out))
    };
    for (from, to) in [("0", "0"), ("3", "3"), ("0", "5")] {
        let (code, log) = replay(from, to, "require");
        assert_eq!((code, asked.load(Ordering::Relaxed)), (Some(0), 0), "{log}");
    }
    let covered = &place.status()["coverage"];
    assert_eq!(
        (&covered[0]["to"], &covered[0]["traces"], covered.as_array().map(Vec::len)),
        (&json!(5), &json!(true), Some(1))
    );
    // One with a transaction is not passed, and nobody is said to have traces.
    node.send(a, Some(b), 1, "0x");
    let (code, log) = replay("6", "6", "require");
    assert!(code == Some(1) && asked.load(Ordering::Relaxed) > 0, "{code:?}: {log}");
    assert_eq!(replay("6", "6", "auto").0, Some(0));
    let status = place.status();
    assert_eq!(status["coverage"][1]["traces"], false);
    assert!(status["traces_missing"].is_null() && !log.contains("has traces"), "{status:#}");
}

/// A chain whose block 2 has two payments, and the traces of that block.
fn two_payments() -> (Chain, Value) {
    let chain = Chain::new(0);
    let node = &chain.node;
    node.rpc("evm_setAutomine", json!([false]));
    let split = call("Splitter", "split(address[])", &[n(32), n(1), word(chain.watched)]);
    for from in [node.accounts[3], node.accounts[4]] {
        let tx = json!({"from": from, "to": chain.splitter, "value": "0x64", "data": split, "gas": "0x4c4b40"});
        node.rpc("eth_sendTransaction", json!([tx]));
    }
    node.mine(1);
    let traces = node.rpc("debug_traceBlockByNumber", json!(["0x2", {"tracer": "callTracer"}]));
    assert_eq!(traces.as_array().unwrap().len(), 2);
    (chain, traces)
}

#[test]
fn one_transaction_whose_trace_fails_costs_the_others_nothing() {
    type Change = (&'static str, fn(&mut Value));
    let changes: [Change; 7] = [
        ("text", |traces| traces[0] = json!({"txHash": traces[0]["txHash"], "error": "execution timeout"})),
        ("object", |traces| {
            traces[0] = json!({"txHash": traces[0]["txHash"], "error": {"code": -32000, "message": "oom"}});
        }),
        ("null", |traces| traces[0] = Value::Null),
        ("no result", |traces| traces[0]["result"] = Value::Null),
        ("missing", |traces| drop(traces.as_array_mut().unwrap().remove(0))),
        ("other order", |traces| traces.as_array_mut().unwrap().reverse()),
        ("unreadable", |traces| traces[0]["result"]["from"] = json!("0x1")),
    ];
    let (chain, traces) = two_payments();
    let check = |name: &str, change: fn(&mut Value), single: bool| {
        let mut twisted = traces.clone();
        change(&mut twisted);
        let url = endpoint(&chain.node, move |request| match request["method"].as_str().unwrap_or_default() {
            "debug_traceBlockByHash" if request["params"][1]["timeout"].is_null() => {
                rpc_error(request, -32000, "no time-out was sent")
            }
            "debug_traceBlockByHash" => {
                status("200 OK", &json!({"jsonrpc": "2.0", "id": request["id"], "result": twisted}).to_string())
            }
            "debug_traceTransaction" | "trace_transaction" | "trace_block" if !single => {
                rpc_error(request, -32000, "execution timeout")
            }
            _ => Reply::Pass,
        });
        let place = chain.place();
        let out = place.run(&["replay", "-r", &url, "--from-block", "2", "--to-block", "2"]);
        assert_eq!(out.status.code(), Some(0), "{name}: {}", stderr(&out));
        let whole = single || name == "other order";
        let expected = if whole { 2 } else { 1 };
        assert_eq!(payments(&place), expected, "{name}, single {single}: {}", stderr(&out));
        assert_eq!(is_whole(&place), whole, "{name}");
        let status = place.status();
        assert_eq!(status["lies"]["count"], 0, "{name}: the endpoint is not penalised");
        if !whole {
            assert_eq!(status["traces_missing"]["blocks"], 1, "{name}");
            place.ok(&["replay", "--holes", "--traces", "require", "-r", &chain.node.url]);
            assert_eq!((payments(&place), is_whole(&place)), (2, true), "{name}");
        }
    };
    std::thread::scope(|scope| {
        for (name, change) in changes {
            let check = &check;
            scope.spawn(move || [true, false].map(|single| check(name, change, single)));
        }
    });
}

#[test]
fn traces_that_no_execution_has_are_refused_and_another_endpoint_is_asked() {
    let chain = Chain::new(2);
    type Change = (&'static str, fn(&mut Vec<Value>));
    let changes: [Change; 5] = [
        ("two frames at", |frames| frames.push(frames[1].clone())),
        ("without the one above it", |frames| frames[1]["traceAddress"] = json!([0, 7])),
        ("1 frames below one that says 0", |frames| frames[0]["subtraces"] = json!(0)),
        ("transaction position", |frames| frames[1]["transactionPosition"] = json!(5)),
        ("a trace of", |frames| frames[1]["transactionHash"] = json!(format!("0x{}", "1".repeat(64)))),
    ];
    for (reason, change) in changes {
        let flat: Vec<Value> =
            (0..=3).map(|number| chain.node.rpc("trace_block", json!([format!("{number:#x}")]))).collect();
        let bad = endpoint(&chain.node, move |request| {
            if request["method"] == "debug_traceBlockByHash" {
                return status("200 OK", &no_method(request).to_string());
            }
            if request["method"] != "trace_block" {
                return Reply::Pass;
            }
            let number = crate::common::number(&request["params"][0]);
            let mut frames = flat[usize::try_from(number).unwrap()].as_array().unwrap().clone();
            if frames.len() > 1 {
                change(&mut frames);
            }
            status("200 OK", &json!({"jsonrpc": "2.0", "id": request["id"], "result": frames}).to_string())
        });
        let place = chain.place();
        let slow = endpoint(&chain.node, |_| Reply::Late(Duration::from_millis(120)));
        let log = chain.replay(&place, &[&bad, &slow], &["--concurrency", "1"]);
        assert_eq!((payments(&place), is_whole(&place)), (2, true), "{reason}: {log}");
        let lies = &place.status()["lies"];
        assert!(
            lies["count"].as_u64() > Some(0) && lies["last"][0]["reason"].as_str().unwrap().contains(reason),
            "{lies:#}"
        );
        // Alone: nothing of it is believed, and the rest of the block is taken.
        let place = chain.place();
        let log = chain.replay(&place, &[&bad], &[]);
        assert_eq!(payments(&place), 0, "{reason}: {log}");
        assert_eq!(place.status()["traces_missing"]["blocks"], 2, "{reason}");
    }
}
