//! What goes wrong around the program: the behaviour and exit codes of CONTRACT.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Node, PATIENCE, Place, stderr};
use crate::wire::{listen, next_body, pass_on};

pub(crate) fn one_line(text: &str) -> &str {
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one clear line: {text}");
    errors[0]
}

#[test]
fn an_unreachable_endpoint_is_temporary() {
    let place = Place::new();
    let source = ["-r", "http://127.0.0.1:9", "--from-block", "1", "--timeout", "2"];
    for command in [&["watch"][..], &["replay", "--to-block", "2"]] {
        let out = place.run(&[command, &source].concat());
        assert_eq!(out.status.code(), Some(75), "{}", stderr(&out));
        assert!(one_line(&stderr(&out)).contains("no endpoint can be reached"));
    }
}

#[test]
fn keys_in_a_url_are_never_shown() {
    let node = Node::start(&[]);
    let place = Place::new();
    let port = node.url.rsplit(':').next().unwrap();
    for url in [
        "http://user:hunter22@127.0.0.1:9/v3/abcdef123456?token=zzzz".to_owned(),
        format!("http://user:hunter22@127.0.0.1:{port}/v3/abcdef123456?token=zzzz"),
        "127.0.0.1/v3/abcdef123456?token=zzzz".to_owned(),
    ] {
        let mut command =
            place.command(&["-vv", "replay", "-r", &url, "--timeout", "2", "--from-block", "0", "--to-block", "0"]);
        let text = stderr(&command.env("RUST_LOG", "trace").output().unwrap());
        for secret in ["hunter22", "abcdef123456", "zzzz"] {
            assert!(!text.contains(secret), "{secret} of {url}: {text}");
        }
    }
}

#[test]
fn a_reader_of_the_log_that_goes_away_does_not_stop_the_watch() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let mut child =
        place.command(&["-v", "watch", "-r", &node.url, "--from-block", "0"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    for value in 1..=5 {
        node.send(a, Some(b), value, "0x");
    }
    let deadline = Instant::now() + PATIENCE;
    while place.run(&["-q", "status"]).status.code() != Some(0) || place.alerts(&[]).len() < 5 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_block_whose_traces_are_refused_is_not_taken_where_they_are_required() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.send(a, Some(b), 1, "0x");
    let place = Place::watching(&[(a, "a")]);
    let bad = proxy(&node, |request, mut answer| {
        if request["method"] == "debug_traceBlockByHash" && answer["result"][0]["result"].is_object() {
            answer["result"][0]["result"]["value"] = json!("0x7");
        }
        Some(answer)
    });
    let range = ["--from-block", "1", "--to-block", "1"];
    let out = place.run(&[&["replay", "-r", &bad, "--traces", "require"][..], &range].concat());
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert_eq!(place.status()["blocks"], 0);
    // By default the block is taken and its traces are not, which is said.
    let out = place.run(&[&["replay", "-r", &bad][..], &range].concat());
    assert!(stderr(&out).contains("traces cannot be had"), "{}", stderr(&out));
    assert_eq!(place.status()["coverage"][0]["traces"], false);
    assert_eq!(place.status()["traces_missing"]["blocks"], 1);
}

#[test]
fn why_a_watch_ended_by_itself_shows_in_status() {
    let node = Node::start(&[]);
    let place = Place::new();
    node.mine(100);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    until(&place, &watcher, |status| status["finalized"] == 36);
    // A reorg below what is final, as from a node of another chain.
    node.rpc("anvil_reorg", json!([80, []]));
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = watcher.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(Instant::now() < deadline, "{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(4), "{}", watcher.log());
    let status = place.status();
    assert!(status["stopped"].as_str().unwrap().contains("which is final"), "{status:#}");
    assert_eq!((&status["blocks"], &status["orphaned_blocks"]), (&json!(101), &json!(0)), "nothing was changed");
}

#[test]
fn a_wrong_chain_is_the_users_mistake() {
    let node = Node::start(&[]);
    let place = Place::new();
    let out = place.run(&["watch", "-r", &node.url, "--chain", "mainnet"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(one_line(&stderr(&out)).contains("of chain 31337, not of chain 1"));
    // A database keeps its chain.
    let out = place.run(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "0"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let other = Node::start(&["--chain-id", "5"]);
    let out = place.run(&["replay", "-r", &other.url, "--from-block", "0", "--to-block", "0"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    // Two endpoints of two chains.
    let out = Place::new().run(&["watch", "-r", &node.url, "-r", &other.url]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
}

#[test]
fn an_unreadable_list_changes_nothing() {
    let place = Place::new();
    let out = place.run(&["watchlist", "import", "nowhere.csv"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(one_line(&stderr(&out)).contains("nowhere.csv"));
    assert!(!place.db.exists());
}

#[test]
fn wrong_input_is_one_line_and_exit_1() {
    let place = Place::watching(&[(alloy::primitives::Address::repeat_byte(1), "x")]);
    let cases: [&[&str]; 16] = [
        &["query", "--address", "0x12"],
        &["query", "--address", "0x098b716B8Aaf21512996dC57EB0615e2383E2f96"],
        &["query", "--from-block", "x1"],
        &["query", "--from-block=9", "--to-block=3"],
        &["query", "--since", "yesterday"],
        &["query", "--min-amount", "1.5e0"],
        &["query", "--format", "tsv"],
        &["query", "--limit", "-1"],
        &["query", "--since", "-7d"],
        &["watch", "--timeout", "soon"],
        &["query", "--kind", "gift"],
        &["query", "--status", "lost"],
        &["query", "--require-complete"],
        &["watchlist", "check", "vitalik.eth"],
        &["replay", "--archive", "nowhere.jsonl"],
        &["watch"],
    ];
    for args in cases {
        let out = place.run(args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", stderr(&out));
        one_line(&stderr(&out));
    }
    assert_eq!(place.run(&["query", "--no-such-flag"]).status.code(), Some(2));
}

#[test]
fn the_second_watcher_is_refused_and_readers_are_not() {
    let node = Node::start(&[]);
    let place = Place::new();
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    for args in [&["watch", "-r", &node.url][..], &["replay", "-r", &node.url, "--from-block", "0", "--to-block", "0"]]
    {
        let out = place.run(args);
        assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
        assert!(one_line(&stderr(&out)).contains("in use by another"));
    }
    assert!(place.run(&["query"]).status.success());
    // The lock goes with the process, however it ends.
    watcher.kill();
    assert_eq!(place.watch(&node.url, &[]).stop_after(Duration::from_millis(500)), 0);
}

#[test]
fn a_database_that_is_no_use_is_exit_5() {
    let place = Place::new();
    // Not there: the user's mistake, and nothing is made.
    let out = place.run(&["query"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(!place.db.exists());
    std::fs::write(
        &place.db,
        "this is no database, it is a text of some length, which SQLite will not take for its own",
    )
    .unwrap();
    let out = place.run(&["query"]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    std::fs::remove_file(&place.db).unwrap();
    place.ok(&["watchlist", "add", "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"]);
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let out = place.run(&["query"]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(one_line(&stderr(&out)).contains("use the newer bolo"));
}

/// A folder of its own on a small file system.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test mounts a small tmpfs: run it as root, or by tests/run, which takes a user namespace for it"
        );
        Self { dir }
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.dir.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[test]
fn a_read_only_database_can_be_read_and_not_watched() {
    let node = Node::start(&[]);
    let place = Place::watching(&[(node.accounts[1], "w")]);
    node.send(node.accounts[1], Some(node.accounts[2]), 1, "0x");
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    let disk = SmallDisk::new("size=8m");
    let db = disk.dir.path().join("bolo.db");
    std::fs::copy(&place.db, &db).unwrap();
    disk.remount("ro");
    let other = Place { dir: tempfile::tempdir().unwrap(), db, env: Vec::new() };
    let out = other.run(&["watch", "-r", &node.url]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    let out = other.run(&["watchlist", "add", &node.accounts[3].to_string()]);
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(one_line(&stderr(&out)).contains("read-only"));
    assert_eq!(other.alerts(&[]).len(), 1, "what is there can be read");
}

#[test]
fn a_full_disk_stops_it_and_loses_nothing() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let disk = SmallDisk::new("size=1000k");
    let place = Place { dir: tempfile::tempdir().unwrap(), db: disk.dir.path().join("bolo.db"), env: Vec::new() };
    place.import(&[(a, "a"), (b, "b")]);
    node.rpc("anvil_setAutomine", json!([false]));
    for block in 0..40u128 {
        for tx in 0..20 {
            let transaction = json!({"from": a, "to": b, "value": format!("{:#x}", block * 100 + tx), "gas": "0x5208"});
            node.rpc("eth_sendTransaction", json!([transaction]));
        }
        node.mine(1);
    }
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = watcher.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(Instant::now() < deadline, "it does not stop: {}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(5), "{}", watcher.log());
    assert!(one_line(&watcher.log()).contains("disk is full"), "{}", watcher.log());
    drop(watcher);
    // With room again it goes on, and ends up with everything, once each.
    disk.remount("size=64m");
    let mut watcher = place.watch(&node.url, &[]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    let mut ids: Vec<_> = place.alerts(&[]).iter().map(|alert| alert["id"].to_string()).collect();
    assert_eq!(ids.len(), 40 * 20 * 2);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40 * 20 * 2);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    for value in 0..200 {
        node.send(a, Some(b), value, "0x");
    }
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    for format in ["table", "json", "jsonl", "csv"] {
        let mut child = place
            .command(&["query", "--limit", "0", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{format}: {}", stderr(&out));
        assert!(!stderr(&out).contains("error"), "{}", stderr(&out));
    }
}

#[test]
fn watch_prints_each_alert_once_as_json_and_ends_well_on_sigterm_and_sigint() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a"), (b, "b")]);
    for signal in ["-TERM", "-INT"] {
        let mut child = place
            .command(&["watch", "-r", &node.url, "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The watcher may begin at the block in which the first of these is: what counts is that both sides come, once each.
        std::thread::sleep(Duration::from_millis(800));
        node.send(a, Some(b), 1, "0x");
        let printed: Vec<Value> =
            (0..2).map(|_| serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()).collect();
        let hash = printed[0]["tx"]["hash"].as_str().unwrap().to_owned();
        assert_eq!(printed, place.alerts(&["--tx", &hash]), "the same as a query prints");
        let begin = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{signal}: {:?}", begin.elapsed());
        assert_eq!(lines.count(), 0);
    }
}

/// Answers in the place of a node: passes on what it is asked, but for what `twist` changes.
pub(crate) fn proxy(node: &Node, twist: impl Fn(&Value, Value) -> Option<Value> + Send + Sync + 'static) -> String {
    let target = node.url.trim_start_matches("http://").to_owned();
    format!("http://{}", listen(move |stream| serve(stream, &target, &twist)))
}

fn serve(mut stream: TcpStream, target: &str, twist: &dyn Fn(&Value, Value) -> Option<Value>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let body = next_body(&mut reader)?;
        let request: Value = serde_json::from_slice(&body).ok()?;
        let mut answer = String::new();
        pass_on(target, &body).ok()?.read_to_string(&mut answer).ok()?;
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        let answer = twist(&request, answer)?.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).ok()?;
    }
}

#[test]
fn an_endpoint_that_drops_a_log_is_found_out_and_another_is_asked() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let token = node.deploy(b, "NoMetadataToken", "");
    let mint =
        crate::common::call("NoMetadataToken", "mint(address,uint256)", &[crate::common::word(a), crate::common::n(1)]);
    node.send(b, Some(token), 0, &mint);
    let liar = proxy(&node, |request, mut answer| {
        if request["method"] == "eth_getBlockReceipts" {
            for receipt in answer["result"].as_array_mut()? {
                receipt["logs"] = json!([]);
                receipt["logsBloom"] = json!(format!("0x{}", "0".repeat(512)));
            }
        }
        Some(answer)
    });
    let range = ["--from-block", "0", "--to-block", "latest"];
    let place = Place::watching(&[(a, "a")]);
    // So slow that the liar is asked first.
    let honest = proxy(&node, |_, answer| {
        std::thread::sleep(Duration::from_millis(300));
        Some(answer)
    });
    let out = place.run(&[&["replay", "-r", &liar, "-r", &honest][..], &range].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("receipts root does not fit"), "{}", stderr(&out));
    assert_eq!(place.alerts(&[]).len(), 1);
    // With the liar alone: stopped at the block, nothing of it stored.
    let place = Place::watching(&[(a, "a")]);
    let out = place.run(&[&["replay", "-r", &liar, "--concurrency", "1"][..], &range].concat());
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert_eq!(place.status()["blocks"], 2, "only the blocks before the lie");
}

#[test]
fn an_endpoint_without_block_receipts_and_batches_is_asked_for_them_one_by_one() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    for value in 0..5 {
        node.send(a, Some(b), value, "0x");
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let old = proxy(&node, move |request, answer| {
        if request.is_array() {
            return Some(no_method(&Value::Null));
        }
        if request["method"] == "eth_getTransactionReceipt" {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let gone = ["eth_getBlockReceipts", "debug_traceBlockByHash", "trace_block"];
        if gone.iter().any(|method| request["method"] == *method) { Some(no_method(request)) } else { Some(answer) }
    });
    let place = Place::watching(&[(a, "a")]);
    place.ok(&["replay", "-r", &old, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(place.alerts(&[]).len(), 5);
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    assert_eq!(
        place.status()["coverage"],
        json!([{"from": 0, "to": 5, "proof": "proven", "senders": "all", "traces": false, "internal_eth": "not_seen"}])
    );
    let out = place.run(&["replay", "-r", &old, "--from-block", "0", "--to-block", "latest", "--traces", "require"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
}

/// An answer that the method does not exist.
pub(crate) fn no_method(request: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "the method does not exist"}})
}

#[test]
fn traces_that_the_first_endpoint_lacks_are_had_from_the_second() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let splitter = node.deploy(b, "Splitter", "");
    let split = crate::common::call(
        "Splitter",
        "split(address[])",
        &[crate::common::n(32), crate::common::n(1), crate::common::word(a)],
    );
    node.send(b, Some(splitter), 100, &split);
    let bare = proxy(&node, |request, answer| {
        let traces = ["debug_traceBlockByHash", "trace_block"].iter().any(|method| request["method"] == *method);
        Some(if traces { no_method(request) } else { answer })
    });
    let place = Place::watching(&[(a, "a")]);
    place.ok(&["replay", "-r", &bare, "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(place.alerts(&["--kind", "internal_transfer"]).len(), 1);
    assert_eq!(
        place.status()["coverage"],
        json!([{"from": 0, "to": 2, "proof": "proven", "senders": "all", "traces": true, "internal_eth": "claimed"}])
    );
}

#[test]
fn a_watcher_that_cannot_prove_a_block_stays_at_it_and_says_so() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let lie = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let lying = lie.clone();
    let endpoint = proxy(&node, move |request, mut answer| {
        if request["method"] == "eth_getBlockReceipts" && lying.load(Ordering::Relaxed) {
            answer["result"][0]["status"] = json!("0x0");
        }
        Some(answer)
    });
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&endpoint, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    lie.store(true, Ordering::Relaxed);
    for value in 1..=3 {
        node.send(a, Some(b), value, "0x");
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = place.status();
        let error = &status["endpoints"][0]["last_error"];
        if status["lag"] == 3 && error.as_str().is_some_and(|error| error.contains("receipts root does not fit")) {
            break;
        }
        assert!(Instant::now() < deadline, "the lag and its cause do not show: {status:#}\n{}", watcher.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(place.alerts(&[]).len(), 0, "nothing of the block is stored");
    lie.store(false, Ordering::Relaxed);
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len(), 3, "nothing was skipped");
    assert_eq!(watcher.stop(), 0);
}

/// Waits until `status` says so.
fn until(place: &Place, watcher: &crate::common::Watcher, what: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = place.status();
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}\n{}", watcher.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn asks_for_tag(request: &Value) -> bool {
    request["params"][0] == "safe" || request["params"][0] == "finalized"
}

#[test]
fn a_chain_with_no_finality_tags_is_settled_by_depth() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.send(a, Some(b), 1, "0x");
    node.mine(51);
    node.send(a, Some(b), 2, "0x");
    node.mine(20);
    node.send(a, Some(b), 3, "0x");
    let untagged = proxy(&node, |request, answer| {
        let error = json!({"code": -32602, "message": "invalid block tag"});
        Some(if asks_for_tag(request) {
            json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        } else {
            answer
        })
    });
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&untagged, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    until(&place, &watcher, |status| status["finality_rule"] == "depth 12/64" && status["finalized"].is_number());
    assert_eq!(watcher.stop(), 0);
    let statuses: Vec<_> = place.alerts(&[]).iter().map(|alert| alert["status"].clone()).collect();
    assert_eq!(statuses, ["finalized", "safe", "pending"]);
}

#[test]
fn tags_that_fail_for_a_while_never_give_way_to_depth() {
    let node = Node::start(&["--slots-in-an-epoch", "200"]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let failing = Arc::new(AtomicUsize::new(0));
    let mode = failing.clone();
    let flaky = proxy(&node, move |request, answer| {
        let (code, message) = match mode.load(Ordering::Relaxed) {
            1 if asks_for_tag(request) => (-32603, "internal error"),
            2 if asks_for_tag(request) => (-32602, "invalid block tag"),
            _ => return Some(answer),
        };
        Some(json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}}))
    });
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&flaky, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    until(&place, &watcher, |status| status["finality_rule"] == "tags safe/finalized");
    for fault in [1, 2] {
        failing.store(fault, Ordering::Relaxed);
        node.send(a, Some(b), 1, "0x");
        node.mine(100);
        place.caught_up(&node, &mut watcher);
        node.mine(1);
        place.caught_up(&node, &mut watcher);
    }
    let status = place.status();
    assert_eq!((&status["finality_rule"], &status["finalized"]), (&json!("tags safe/finalized"), &json!(0)));
    assert!(place.alerts(&[]).iter().all(|alert| alert["status"] == "pending"));
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn no_watched_address_is_in_any_request() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.send(a, Some(b), 1, "0x");
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let wire = seen.clone();
    let tap = proxy(&node, move |request, answer| {
        wire.lock().unwrap().push_str(&request.to_string().to_lowercase());
        Some(answer)
    });
    let place = Place::watching(&[(a, "a"), (b, "b")]);
    let mut watcher = place.watch(&tap, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    assert_eq!(place.alerts(&[]).len(), 2);
    let wire = seen.lock().unwrap();
    assert!(wire.contains("eth_getblockbyhash"));
    for address in [a, b] {
        assert!(!wire.contains(&format!("{address:x}")), "{address} was sent to the endpoint");
    }
}

#[test]
fn another_process_that_writes_for_long_does_not_stop_a_watch() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    // As the import of a very large list does.
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    node.send(a, Some(b), 1, "0x");
    std::thread::sleep(Duration::from_secs(12));
    conn.execute_batch("COMMIT").unwrap();
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len(), 1);
    assert_eq!(watcher.stop(), 0);
}
