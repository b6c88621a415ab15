//! Whatever dies in silence is said within three slots: in the log once, and by `bolo status`, with its exit code, until it is over.
//! A slot is a second here; BOLO_TEST_SLOT makes it longer.

use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use serde_json::{Value, json};

use crate::common::{Node, PATIENCE, Place, Watcher};
use crate::proxy::{Ill, Plan, Proxy, Socket};

/// Seconds from block to block, as text.
static SLOT: LazyLock<String> = LazyLock::new(|| std::env::var("BOLO_TEST_SLOT").unwrap_or_else(|_| "1".to_owned()));

fn slot() -> Duration {
    Duration::from_secs(SLOT.parse().unwrap())
}

/// A new block each slot, of which the watch is told.
fn each_slot() -> Node {
    Node::start(&["--block-time", &SLOT])
}

fn quick() -> [&'static str; 6] {
    ["--slot", &SLOT, "--traces", "off", "--log-format", "json"]
}

/// Three slots are promised, by `bolo status`, which is started every 50 ms.
fn in_time(what: &str, took: Duration) {
    assert!(took < 3 * slot(), "{what}: {took:?}");
}

/// Whether it is healthy, and what is wrong: code and host.
fn health(place: &Place) -> (bool, Vec<(String, Option<String>)>) {
    // Its exit code is compared there.
    let status = place.status();
    let problems = status["health"]["problems"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let problems = problems.map(|problem| (text(&problem["code"]).unwrap(), text(&problem["host"])));
    (status["health"]["healthy"] == true, problems.collect())
}

/// Waits until the health is so; how long it took.
fn until(place: &Place, watcher: &Watcher, wanted: impl Fn(bool, &[(String, Option<String>)]) -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        let (healthy, problems) = health(place);
        if wanted(healthy, &problems) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE + 5 * slot(), "{healthy} {problems:?}\n{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn until_ill(place: &Place, watcher: &Watcher, code: &str, host: Option<&str>) -> Duration {
    until(place, watcher, |healthy, problems| {
        !healthy && problems.iter().any(|(known, of)| known == code && of.as_deref() == host)
    })
}

fn until_well(place: &Place, watcher: &Watcher) -> Duration {
    until(place, watcher, |healthy, _| healthy)
}

/// What the log says of problems, in order: whether it began, and which.
fn told(watcher: &Watcher) -> Vec<(bool, String)> {
    let of_line = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some((line["level"] == "WARN", line["fields"]["problem"].as_str()?.to_owned()))
    };
    watcher.log().lines().filter_map(of_line).collect()
}

/// Healthy at the head, for a while and without a word of any problem.
fn well_at_first(place: &Place, node: &Node, watcher: &mut Watcher) {
    place.caught_up(node, watcher);
    let until = Instant::now() + 3 * slot();
    while Instant::now() < until {
        assert_eq!(health(place), (true, Vec::new()), "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(told(watcher), []);
}

/// It begins, shows and is said once; it ends, and all is well again, which is said once too.
fn shows(place: &Place, watcher: &Watcher, what: &str, sick: (&str, Option<&str>), begin: impl Fn(), end: impl Fn()) {
    shows_beside(place, watcher, what, sick, begin, || {}, end);
}

/// The same, with something to be done while it lasts.
fn shows_beside(
    place: &Place,
    watcher: &Watcher,
    what: &str,
    (code, host): (&str, Option<&str>),
    begin: impl Fn(),
    meanwhile: impl Fn(),
    end: impl Fn(),
) {
    let before = told(watcher).len();
    begin();
    let ill = until_ill(place, watcher, code, host);
    meanwhile();
    end();
    let well = until_well(place, watcher);
    eprintln!("{what}: {code} after {ill:.2?}, and healthy again {well:.2?} after its end");
    let told: Vec<_> = told(watcher).split_off(before).into_iter().filter(|(_, about)| about == code).collect();
    assert_eq!(told, [(true, code.to_owned()), (false, code.to_owned())], "{what}\n{}", watcher.log());
    // Where no endpoint has a new head, it may be the chain that has none: that is waited for longer.
    if code != "no_new_head" {
        in_time(what, ill);
    }
}

/// An alert of a transaction that is sent now.
fn alerts(place: &Place, node: &Node, watcher: &Watcher) {
    let hash: B256 = node.send(node.accounts[1], Some(node.accounts[2]), 1, "0x");
    let begun = Instant::now();
    while place.alerts(&["--tx", &hash.to_string()]).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no alert\n{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("alerted {:.1?} after it was sent", begun.elapsed());
}

fn place(node: &Node) -> Place {
    Place::watching(&[(node.accounts[1], "a")])
}

#[test]
fn an_endpoint_that_stands_still_or_goes_backwards_beside_a_second_one() {
    let node = each_slot();
    let place = place(&node);
    let (sick, honest) = (Proxy::new(&node, Plan::honest()), Proxy::new(&node, Plan::honest()));
    let mut watcher = place.watch(&sick.url, &[&["-r", &honest.url], &quick()[..]].concat());
    well_at_first(&place, &node, &mut watcher);
    let ill = |ill| sick.change(|plan| plan.ill = ill);
    let stands = || ill(Ill::StandsAt(node.head()));
    let host = Some(sick.host());
    let alert = || alerts(&place, &node, &watcher);
    let well = || ill(Ill::Well);
    shows_beside(&place, &watcher, "a head that stands", ("endpoint_stalled", host), stands, alert, well);
    let backwards = || ill(Ill::StandsAt(node.head() - 4));
    shows_beside(&place, &watcher, "a head that goes backwards", ("head_backwards", host), backwards, alert, well);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn an_only_endpoint_whose_head_goes_backwards() {
    let node = each_slot();
    let place = place(&node);
    let sick = Proxy::new(&node, Plan::honest());
    let mut watcher = place.watch(&sick.url, &quick());
    well_at_first(&place, &node, &mut watcher);
    let ill = |ill| sick.change(|plan| plan.ill = ill);
    let backwards = || ill(Ill::StandsAt(node.head() - 3));
    let sickness = ("head_backwards", Some(sick.host()));
    shows(&place, &watcher, "the only head goes backwards", sickness, backwards, || ill(Ill::Well));
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_websocket_that_is_open_and_pushes_nothing() {
    let node = each_slot();
    let place = place(&node);
    let sick = Proxy::new(&node, Plan::honest());
    let mut watcher = place.watch(&sick.ws(), &quick());
    well_at_first(&place, &node, &mut watcher);
    let socket = |socket| sick.change(|plan| plan.socket = socket);
    let alert = || alerts(&place, &node, &watcher);
    let sickness = ("subscription_mute", Some(sick.host()));
    let (mute, well) = (|| socket(Socket::MuteAfterHeads(0)), || socket(Socket::Honest));
    shows_beside(&place, &watcher, "a mute socket", sickness, mute, alert, well);
    assert!(sick.held_back() > 0);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_websocket_that_is_open_and_says_nothing_at_all_beside_an_honest_endpoint() {
    let node = each_slot();
    let place = place(&node);
    let (sick, honest) = (Proxy::new(&node, Plan::honest()), Proxy::new(&node, Plan::honest()));
    let mut watcher = place.watch(&sick.ws(), &[&["-r", &honest.url], &quick()[..]].concat());
    well_at_first(&place, &node, &mut watcher);
    let socket = |socket| sick.change(|plan| plan.socket = socket);
    let alert = || alerts(&place, &node, &watcher);
    let (dead, well) = (|| socket(Socket::DeadAfterMessages(0)), || socket(Socket::Honest));
    shows_beside(&place, &watcher, "a dead socket", ("no_answer", Some(sick.host())), dead, alert, well);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_subscription_that_the_server_ends() {
    let node = each_slot();
    let place = place(&node);
    let (sick, honest) = (Proxy::new(&node, Plan::honest()), Proxy::new(&node, Plan::honest()));
    let mut watcher = place.watch(&sick.ws(), &[&["-r", &honest.url], &quick()[..]].concat());
    well_at_first(&place, &node, &mut watcher);
    let change = |ill, socket| sick.change(|plan| (plan.ill, plan.socket) = (ill, socket));
    let alert = || alerts(&place, &node, &watcher);
    let well = || change(Ill::Well, Socket::Honest);
    let sickness = ("subscription_lost", Some(sick.host()));
    let closes = || change(Ill::Well, Socket::ClosedAfterHeads(0));
    shows_beside(&place, &watcher, "a socket closed at each head", sickness, closes, alert, well);
    let goes = || change(Ill::Gone, Socket::Honest);
    shows_beside(&place, &watcher, "a socket closed for good", sickness, goes, alert, well);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn requests_that_hang() {
    let node = each_slot();
    let place = place(&node);
    let (sick, other) = (Proxy::new(&node, Plan::honest()), Proxy::new(&node, Plan::honest()));
    let mut watcher = place.watch(&sick.url, &[&["-r", &other.url], &quick()[..]].concat());
    well_at_first(&place, &node, &mut watcher);
    let ill = |ill| sick.change(|plan| plan.ill = ill);
    let alert = || alerts(&place, &node, &watcher);
    let (hangs, well) = (|| ill(Ill::Hangs), || ill(Ill::Well));
    shows_beside(&place, &watcher, "one of two hangs", ("no_answer", Some(sick.host())), hangs, alert, well);
    let all = |ill| {
        for proxy in [&sick, &other] {
            proxy.change(|plan| plan.ill = ill);
        }
    };
    let before = told(&watcher).len();
    all(Ill::Hangs);
    let took = until_ill(&place, &watcher, "no_answer", Some(other.host()));
    eprintln!("all hang: no_answer after {took:.2?}");
    in_time("all hang", took);
    all(Ill::Well);
    let took = until_well(&place, &watcher);
    eprintln!("all answer again: healthy after {took:.1?}");
    assert!(told(&watcher).len() > before);
    alerts(&place, &node, &watcher);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn an_endpoint_that_is_of_another_chain_after_a_reconnect_is_left_alone_and_the_watch_goes_on_with_another() {
    let node = each_slot();
    let place = place(&node);
    let (sick, honest) = (Proxy::new(&node, Plan::honest()), Proxy::new(&node, Plan::honest()));
    let mut watcher = place.watch(&sick.ws(), &[&["-r", &honest.url], &quick()[..]].concat());
    well_at_first(&place, &node, &mut watcher);
    let ill = |ill| sick.change(|plan| plan.ill = ill);
    let moves = || {
        ill(Ill::Gone);
        until_ill(&place, &watcher, "subscription_lost", Some(sick.host()));
        ill(Ill::OtherChain);
    };
    let is_wrong = || {
        let known = place.status()["endpoints"].as_array().unwrap().clone();
        known.iter().any(|endpoint| endpoint["host"] == sick.host() && endpoint["state"]["state"] == "wrong_chain")
    };
    let meanwhile = || {
        until(&place, &watcher, |healthy, _| !healthy && is_wrong());
        alerts(&place, &node, &watcher);
    };
    let before = told(&watcher).len();
    moves();
    meanwhile();
    assert!(sick.held_back() > 0);
    assert!(watcher.log().contains("is of chain 31338"), "{}", watcher.log());
    ill(Ill::Well);
    until_well(&place, &watcher);
    assert!(!is_wrong() && told(&watcher).len() > before);
    // The only one there is: then there is nothing to wait for.
    assert_eq!(watcher.stop(), 0);
    let mut watcher = place.watch(&sick.ws(), &quick());
    place.caught_up(&node, &mut watcher);
    ill(Ill::Gone);
    std::thread::sleep(Duration::from_millis(500));
    ill(Ill::OtherChain);
    assert_eq!(watcher.child.wait().unwrap().code(), Some(1), "{}", watcher.log());
    assert!(watcher.log().contains("is of chain 31338, not of chain 31337"), "{}", watcher.log());
}

#[test]
fn no_endpoint_that_can_be_reached() {
    let node = each_slot();
    let place = place(&node);
    let only = Proxy::new(&node, Plan::honest());
    let mut watcher = place.watch(&only.url, &quick());
    well_at_first(&place, &node, &mut watcher);
    let ill = |ill| only.change(|plan| plan.ill = ill);
    let (goes, comes) = (|| ill(Ill::Gone), || ill(Ill::Well));
    shows(&place, &watcher, "nobody answers", ("unreachable", Some(only.host())), goes, comes);
    place.caught_up(&node, &mut watcher);
    alerts(&place, &node, &watcher);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_chain_that_stands_still_everywhere() {
    let node = each_slot();
    let place = place(&node);
    let mut watcher = place.watch(&node.url, &quick());
    well_at_first(&place, &node, &mut watcher);
    let interval = |seconds: u64| {
        node.rpc("evm_setIntervalMining", json!([seconds]));
    };
    shows(
        &place,
        &watcher,
        "no new head from anybody",
        ("no_new_head", None),
        || interval(0),
        || interval(slot().as_secs()),
    );
    assert_eq!(watcher.stop(), 0);
}

/// A library that makes the program's wall clock go wrong.
#[cfg(target_os = "linux")]
fn wrong_clock(place: &mut Place) -> impl Fn(i64) + use<> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clock.c");
    let library = place.dir.path().join("clock.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(made.success());
    let offset = place.dir.path().join("offset");
    place.env = vec![("LD_PRELOAD", library), ("BOLO_TEST_CLOCK", offset.clone())];
    let new = place.dir.path().join("offset.new");
    move |seconds| {
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(&new, &offset).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_clock_that_jumps() {
    let node = each_slot();
    let mut place = place(&node);
    let set = wrong_clock(&mut place);
    let mut watcher = place.watch(&node.url, &quick());
    well_at_first(&place, &node, &mut watcher);
    for (off, by) in [(3600, "forward"), (-1800, "backward"), (0, "forward")] {
        let before = watcher.log().lines().filter(|line| line.contains("the clock jumped")).count();
        set(off);
        let ill = until_ill(&place, &watcher, "clock_jump", None);
        let well = until_well(&place, &watcher);
        in_time("a clock that jumps", ill);
        eprintln!("a clock that jumps {by}: clock_jump after {ill:.2?}, and healthy again {well:.2?} later");
        let after = watcher.log().lines().filter(|line| line.contains("the clock jumped")).count();
        assert_eq!(after, before + 1, "{}", watcher.log());
    }
    assert_eq!(told(&watcher), [], "nothing else is wrong\n{}", watcher.log());
    alerts(&place, &node, &watcher);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_watch_that_is_killed_or_hangs_and_one_that_is_told_to_stop() {
    let node = each_slot();
    let place = place(&node);
    let mut watcher = place.watch(&node.url, &quick());
    well_at_first(&place, &node, &mut watcher);
    watcher.signal("-STOP");
    let took = until_ill(&place, &watcher, "watch_silent", None);
    watcher.signal("-CONT");
    let well = until_well(&place, &watcher);
    eprintln!("a watch that hangs: watch_silent after {took:.1?}, and healthy again {well:.2?} after it goes on");
    watcher.signal("-KILL");
    let took = until_ill(&place, &watcher, "watch_silent", None);
    watcher.child.wait().unwrap();
    watcher = place.watch(&node.url, &quick());
    let well = until_well(&place, &watcher);
    eprintln!("a watch that was killed: watch_silent after {took:.1?}, and healthy {well:.2?} after its new start");
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.status()["health"]["watching"], true);
    assert_eq!(watcher.stop(), 0);
    let status = place.status();
    assert_eq!((&status["health"]["watching"], &status["health"]["problems"]), (&json!(false), &json!([])));
    assert_eq!(status["health"]["healthy"], true, "it was told to stop");
}

#[test]
fn a_watch_that_ended_because_what_is_final_changed() {
    let (node, other) = (Node::start(&[]), Node::start(&[]));
    node.mine(100);
    // Blocks without transactions would be the same ones, in nodes that were started in the same second.
    other.send(other.accounts[1], Some(other.accounts[2]), 1, "0x");
    other.mine(120);
    let place = place(&node);
    let watch_to_the_head = || {
        let mut watcher = place.watch(&node.url, &[&["--from-block", "0"], &quick()[..]].concat());
        place.caught_up(&node, &mut watcher);
        until(&place, &watcher, |healthy, _| healthy && place.status()["finalized"] == 36);
        watcher
    };
    assert_eq!(watch_to_the_head().stop(), 0);
    // The same endpoint, which now has another chain behind it.
    let mut watcher = place.watch(&other.url, &quick());
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = watcher.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(4), "{}", watcher.log());
    assert_eq!(health(&place), (false, vec![("stopped".to_owned(), None)]));
    assert_eq!(place.status()["health"]["watching"], false);
    eprintln!("a watch that ended: stopped, {:.1?} after it began", begun.elapsed());
    let watcher = watch_to_the_head();
    assert_eq!((health(&place), watcher.stop()), ((true, Vec::new()), 0));
}
