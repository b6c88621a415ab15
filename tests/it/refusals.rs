//! Endpoints that refuse for a while, and what is said of endpoints that fail again and again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{PATIENCE, Place, stderr};
use crate::lenient::ok;
use crate::served::{Answer, Chain, Served, demo_place};

/// The chain of the demo's first blocks.
fn first(count: usize) -> Chain {
    Chain::of(Chain::demo().into_blocks().into_iter().take(count).collect())
}

fn wait_for(what: &str, place: &Place, log: &dyn Fn() -> String, is_so: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(&place.status()) {
        assert!(Instant::now() < deadline, "{what}: {}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_watch_whose_key_is_revoked_says_so_asks_seldom_and_goes_on_when_it_is_good_again() {
    let chain = Arc::new(Mutex::new(first(20)));
    let (revoked, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (served, is_revoked, counter) = (chain.clone(), revoked.clone(), refused.clone());
    let endpoint = Served::new(move |request| {
        if is_revoked.load(Ordering::SeqCst) {
            counter.fetch_add(1, Ordering::SeqCst);
            let said = json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32600, "message": "Must be authenticated!"}});
            return (401, said.to_string().into_bytes());
        }
        ok(&served.lock().unwrap().answer(request))
    });
    let place = demo_place();
    let watcher = place.watch(&format!("{}/REVOKEDKEY00001", endpoint.url), &["--from-block", "1", "--traces", "off"]);
    let log = || watcher.log();
    let tip = |status: &Value| status["watch_tip"]["number"].as_u64().unwrap_or_default();
    wait_for("the beginning", &place, &log, |status| tip(status) == 20);
    revoked.store(true, Ordering::SeqCst);
    *chain.lock().unwrap() = first(40);
    wait_for("the revocation", &place, &log, |status| status["health"]["healthy"] == false);
    std::thread::sleep(Duration::from_secs(5));
    let (said, asked) = (watcher.log(), refused.load(Ordering::SeqCst));
    assert!(said.contains("401") && said.contains("check the key in the URL"), "{said}");
    assert!(!said.contains("REVOKEDKEY00001"), "{said}");
    assert!((1..=12).contains(&asked), "asked {asked} times in 5 s: {said}");
    let problems = place.status()["health"]["problems"].to_string();
    assert!(problems.contains("401"), "{problems}");
    revoked.store(false, Ordering::SeqCst);
    wait_for("the recovery", &place, &log, |status| tip(status) == 40 && status["health"]["healthy"] == true);
    assert_eq!(watcher.stop(), 0);
}

type Fail = fn(usize) -> Answer;

#[test]
fn an_endpoint_that_fails_again_and_again_is_warned_of_in_few_lines() {
    let failures: [(&'static str, Fail); 4] = [
        ("500", |_| (500, b"<html>oops</html>".to_vec())),
        ("pages", |_| (200, b"<html>Just a moment...</html>".to_vec())),
        ("cut", |_| (200, b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":[{\"a\"".to_vec())),
        ("every time another", |count| (500, format!("error number {count}").into_bytes())),
    ];
    std::thread::scope(|all| {
        for (what, fail) in failures {
            all.spawn(move || fails_in_few_lines(what, fail));
        }
    });
}

fn fails_in_few_lines(what: &str, fail: Fail) {
    let (chain, failed) = (Chain::demo(), Arc::new(AtomicUsize::new(0)));
    let counter = failed.clone();
    // Two of three of the first requests fail, so that it is never given up.
    let endpoint = Served::new(move |request| {
        let count = counter.fetch_add(1, Ordering::SeqCst);
        if count < 120 && count % 3 > 0 && request["method"] != "eth_chainId" {
            fail(count)
        } else {
            ok(&chain.answer(request))
        }
    });
    let place = demo_place();
    let range = ["--from-block", "1", "--to-block", "58", "--traces", "off", "--timeout", "5"];
    let begun = Instant::now();
    let out = place.run(&[&["replay", "-r", &endpoint.url][..], &range].concat());
    // Two kinds of failure, of which each is said once in ten seconds.
    let most = 10 + 2 * (begun.elapsed().as_secs() / 10 + 1);
    let said = stderr(&out);
    let requests = failed.load(Ordering::SeqCst);
    assert!(requests > 45, "{what}: {requests} requests: {said}");
    assert!(said.contains(" WARN "), "{what}: nothing is said: {said}");
    let lines = said.lines().count() as u64;
    assert!(lines <= most, "{what}: {lines} lines instead of {most} at most, of {requests} requests:\n{said}");
}

#[test]
fn an_endpoint_of_the_environment_may_have_white_space_around_it() {
    let chain = Chain::demo();
    let endpoint = Served::new(move |request| ok(&chain.answer(request)));
    let url = &endpoint.url;
    for given in [
        format!(" {url} "),
        format!("\t{url}\n"),
        format!("{url},"),
        format!(" {url} , {url}/v1 "),
        format!("{url}\n{url}/v1\n"),
        format!(",, {url} ,"),
    ] {
        let mut place = demo_place();
        place.env.push(("ETH_RPC_URL", given.clone().into()));
        let out = place.run(&["replay", "--from-block", "1", "--to-block", "3", "--traces", "off"]);
        assert!(out.status.success(), "{given:?}: {}", stderr(&out));
        assert_eq!(place.status()["blocks"], 3, "{given:?}");
        let out = place.run(&["endpoints", "--format", "json"]);
        let shown: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| json!(stderr(&out)));
        assert!(!shown.to_string().contains("\\n") && !shown.to_string().contains("%20"), "{given:?}: {shown}");
    }
    // White space alone is no endpoint.
    let mut place = demo_place();
    place.env.push(("ETH_RPC_URL", " \n ".into()));
    let out = place.run(&["replay", "--from-block", "1", "--to-block", "3"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("no endpoint given"), "{}", stderr(&out));
}

type Throttle = fn(&Value) -> Answer;

#[test]
fn an_endpoint_that_throttles_names_the_rate_that_can_be_set() {
    let throttles: [(&'static str, Throttle); 4] = [
        ("429", |_| (429, b"Too Many Requests".to_vec())),
        ("-32005", |request| ok(&json!({"id": request["id"], "error": {"code": -32005, "message": "limit"}}))),
        ("-32007", |request| ok(&json!({"id": request["id"], "error": {"code": -32007, "message": "15/second"}}))),
        ("words", |request| ok(&json!({"id": request["id"], "error": {"code": 1, "message": "rate limit exceeded"}}))),
    ];
    std::thread::scope(|all| {
        for (what, throttle) in throttles {
            all.spawn(move || names_the_rate(what, throttle));
        }
    });
}

fn names_the_rate(what: &str, throttle: Throttle) {
    let chain = Chain::demo();
    let endpoint = Served::new(move |request| match request["method"] == "eth_chainId" {
        true => ok(&chain.answer(request)),
        false => throttle(request),
    });
    let place = demo_place();
    let range = ["--from-block", "1", "--to-block", "3", "--traces", "off", "--timeout", "1"];
    let out = place.run(&[&["replay", "-r", &endpoint.url][..], &range].concat());
    assert_eq!(out.status.code(), Some(75), "{what}: {}", stderr(&out));
    assert!(stderr(&out).contains("`rate`"), "{what}: {}", stderr(&out));
}
