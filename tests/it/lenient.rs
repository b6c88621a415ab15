//! Endpoints that are honest and odd: receipts of one block that are missing, a pause in the middle, JSON that is written loosely, and
//! those that refuse everything because the URL or the key is wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::{Place, stderr, timeless_all};
use crate::served::{Answer, Chain, Served, demo_blocks};

pub(crate) fn ok(answer: &Value) -> Answer {
    (200, answer.to_string().into_bytes())
}

pub(crate) fn alerts(place: &Place) -> Vec<Value> {
    let endpointless = |mut alert: Value| {
        alert["endpoint"].take();
        alert
    };
    timeless_all(&place.alerts(&["--triage", "all"])).into_iter().map(endpointless).collect()
}

/// What an endpoint without oddities gives.
pub(crate) fn truth() -> Vec<Value> {
    let chain = Chain::demo();
    let (place, out) = Served::new(move |request| ok(&chain.answer(request))).replay(&[]);
    assert!(out.status.success(), "{}", stderr(&out));
    let truth = alerts(&place);
    assert!(truth.len() > 20, "{}", truth.len());
    truth
}

fn replays_as_the_truth(what: &str, answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> (Served, Place) {
    let endpoint = Served::new(answer);
    let (place, out) = endpoint.replay(&["--timeout", "5"]);
    assert!(out.status.success(), "{what}: {}", stderr(&out));
    assert_eq!(alerts(&place), truth(), "{what}");
    assert_eq!(place.status()["lies"]["count"], 0, "{what}");
    (endpoint, place)
}

#[test]
fn receipts_of_a_block_that_are_missing_or_short_are_asked_for_one_by_one() {
    let blocks = demo_blocks();
    let (block, receipts) = blocks.iter().find(|(_, receipts)| receipts.as_array().unwrap().len() > 2).unwrap();
    let short = Value::from(receipts.as_array().unwrap()[1..].to_vec());
    let cases = [
        ("null", json!({"result": null})),
        ("empty", json!({"result": []})),
        ("short", json!({"result": short})),
        ("no list", json!({"result": {"a": 1}})),
        ("failed", json!({"error": {"code": -32000, "message": "leveldb: closed"}})),
        ("no answer", json!("502")),
    ];
    for (what, given) in cases {
        let (chain, hash, number) = (Chain::demo(), block["hash"].clone(), block["number"].clone());
        let (endpoint, _) = replays_as_the_truth(what, move |request| {
            let of = &request["params"][0];
            if request["method"] != "eth_getBlockReceipts" || (*of != hash && *of != number) {
                return ok(&chain.answer(request));
            }
            if given == "502" {
                return (502, b"<html>bad gateway</html>".to_vec());
            }
            let mut answer = given.clone();
            answer["id"] = request["id"].clone();
            ok(&answer)
        });
        let singles = endpoint.asked().iter().filter(|request| request.is_array()).count();
        assert!(singles > 0, "{what}: nobody asked for single receipts");
    }
}

#[test]
fn a_block_whose_root_shows_no_receipts_needs_none() {
    // A chain of one block without transactions, whose receipts cannot be had in any way.
    let (mut block, _) = demo_blocks().remove(0);
    let empty = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";
    (block["transactions"], block["receiptsRoot"], block["transactionsRoot"]) = (json!([]), json!(empty), json!(empty));
    block["logsBloom"] = json!(format!("0x{}", "0".repeat(512)));
    (block["gasUsed"], block["size"]) = (json!("0x0"), Value::Null);
    let header: alloy::consensus::Header = serde_json::from_value(block.clone()).unwrap();
    block["hash"] = json!(header.hash_slow());
    let error = |code: i32, message: &str| json!({"error": {"code": code, "message": message}});
    for given in [
        json!({"result": null}),
        error(-32000, "broken"),
        error(-32601, "the method does not exist"),
        error(-32602, "block range is too wide"),
        error(4444, "pruned history unavailable"),
        json!("503"),
    ] {
        let chain = Chain::of(vec![(block.clone(), json!([]))]);
        let endpoint = Served::new(move |request| {
            if request["method"] == "eth_getBlockReceipts" {
                if given == "503" {
                    return (503, b"<html>unavailable</html>".to_vec());
                }
                let mut answer = given.clone();
                answer["id"] = request["id"].clone();
                return ok(&answer);
            }
            ok(&chain.answer(request))
        });
        let place = Place::new();
        let range = ["--from-block", "1", "--to-block", "1", "--traces", "off"];
        let out = place.run(&[&["replay", "-r", &endpoint.url][..], &range].concat());
        assert!(out.status.success(), "{}", stderr(&out));
        assert_eq!(place.status()["blocks"], 1);
    }
}

#[test]
fn receipts_that_came_before_a_throttle_are_not_asked_for_again() {
    let chain = Chain::demo();
    let (asked, throttled) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let answered: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let (given, refused) = (answered.clone(), throttled.clone());
    // It has no receipts of whole blocks and takes no batches; every twentieth receipt is one too many.
    replays_as_the_truth("throttled", move |request| {
        if request["method"] == "eth_getBlockReceipts" {
            return ok(&json!({"id": request["id"], "error": {"code": -32601, "message": "no such method"}}));
        }
        if request.is_array() {
            return (405, b"no batches".to_vec());
        }
        if request["method"] == "eth_getTransactionReceipt" {
            if asked.fetch_add(1, Ordering::Relaxed) % 20 == 19 {
                refused.fetch_add(1, Ordering::Relaxed);
                return (429, b"slow down".to_vec());
            }
            *given.lock().unwrap().entry(request["params"][0].to_string()).or_default() += 1;
        }
        ok(&chain.answer(request))
    });
    assert!(throttled.load(Ordering::Relaxed) > 3);
    let answered = answered.lock().unwrap();
    let again: Vec<_> = answered.iter().filter(|(_, times)| **times > 1).collect();
    assert!(answered.len() > 100 && again.is_empty(), "answered more than once: {again:?}");
}

type Change = fn(Value) -> Vec<u8>;
/// How servers write answers that are not to the letter.
pub(crate) const LOOSE: [(&str, Change); 5] = [
    ("an error of null beside the result", |mut answer| {
        answer["error"] = Value::Null;
        answer.to_string().into_bytes()
    }),
    ("an id as a string", |mut answer| {
        answer["id"] = json!(answer["id"].to_string());
        answer.to_string().into_bytes()
    }),
    ("an id with a point", |mut answer| {
        answer["id"] = json!(answer["id"].as_f64());
        answer.to_string().into_bytes()
    }),
    ("a byte order mark", |answer| format!("\u{feff}{answer}").into_bytes()),
    ("no jsonrpc", |mut answer| {
        answer.as_object_mut().unwrap().remove("jsonrpc");
        answer.to_string().into_bytes()
    }),
];

#[test]
fn a_batch_that_is_throttled_is_sent_again_in_smaller_parts() {
    for most in [1, 2, 3] {
        let chain = Chain::demo();
        let (endpoint, _) = replays_as_the_truth("throttled batches", move |request| match request.as_array() {
            Some(calls) if calls.len() > most => (429, b"too much at once".to_vec()),
            None if request["method"] == "eth_getBlockReceipts" => {
                ok(&json!({"id": request["id"], "error": {"code": -32601, "message": "no such method"}}))
            }
            _ => ok(&chain.answer(request)),
        });
        let sizes: Vec<_> = endpoint.asked().iter().filter_map(|request| request.as_array().map(Vec::len)).collect();
        let refused = sizes.iter().filter(|size| **size > most).count();
        assert!((1..20).contains(&refused), "{most}: {sizes:?}");
    }
}

#[test]
fn json_that_is_written_loosely_is_understood() {
    for (what, change) in LOOSE {
        let chain = Chain::demo();
        replays_as_the_truth(what, move |request| (200, change(chain.answer(request))));
    }
}

#[test]
fn an_endpoint_that_refuses_everything_is_a_wrong_url_or_key_and_not_asked_again() {
    for (status, words) in [
        (401, "key"),
        (403, "key"),
        (404, "check the URL"),
        (405, "check the URL"),
        (410, "check the URL"),
        (400, "check the URL"),
    ] {
        let page = "<html><h1>Sorry</h1></html>";
        // As providers write them.
        let errors: &[&str] = &[
            r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32600,"message":"Must be authenticated!"}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"invalid project id"}}"#,
            r#"{"error":"Unauthorized: You must authenticate your request with an API key."}"#,
        ];
        // With these two statuses nodes also answer errors of their own.
        let errors = if matches!(status, 400 | 405) { &[] } else { errors };
        for body in errors.iter().copied().chain([page]) {
            let endpoint = Served::new(move |_| (status, body.as_bytes().to_vec()));
            let (_, out) = endpoint.replay(&[]);
            let said = stderr(&out);
            assert_eq!(out.status.code(), Some(1), "{status} {body}: {said}");
            assert!(said.contains(&status.to_string()) && said.contains(words), "{status} {body}: {said}");
            assert!(endpoint.asked().len() <= 4, "{status} {body}: asked {} times", endpoint.asked().len());
        }
    }
    // A page with status 200 may be of a moment: it is said, and to be tried again.
    let page = Served::new(|_| (200, b"<!doctype html><title>Welcome</title>".to_vec()));
    let (_, out) = page.replay(&["--timeout", "1"]);
    assert_eq!(out.status.code(), Some(75), "{}", stderr(&out));
    assert!(stderr(&out).contains("is this the URL of a JSON-RPC endpoint?"), "{}", stderr(&out));
}
