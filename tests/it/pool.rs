//! The endpoint pool against endpoints that lag, throttle, hang and lie, in front of a real node.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy::eips::BlockNumHash;
use alloy::primitives::B256;
use bolo::decode::DecodeOptions;
use bolo::pipeline::{Judge, Prepared};
use bolo::source::{EndpointOptions, Pool, PoolOptions, SourceError, TraceMode};
use serde_json::{Value, json};

use crate::common::{Node, PATIENCE, Place, stderr};
use crate::faults::{one_line, proxy};
use crate::wire::{listen, next_body, pass_on};

/// How an endpoint answers a request.
pub(crate) enum Reply {
    /// As the node does.
    Pass,
    /// With these bytes, then it closes.
    Raw(String),
    /// Late.
    Late(Duration),
    /// With a body that never ends.
    Endless,
}

/// An endpoint that decides on each request how to answer.
pub(crate) fn endpoint(node: &Node, reply: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> String {
    let target = node.url.trim_start_matches("http://").to_owned();
    format!("http://{}", listen(move |stream| serve(stream, &target, &reply)))
}

fn serve(mut stream: TcpStream, target: &str, reply: &dyn Fn(&Value) -> Reply) -> Option<()> {
    let body = next_body(&mut BufReader::new(stream.try_clone().ok()?))?;
    match reply(&serde_json::from_slice(&body).ok()?) {
        Reply::Raw(answer) => stream.write_all(answer.as_bytes()).ok()?,
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").ok()?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            while stream.write_all(chunk.as_bytes()).is_ok() {}
        }
        pass => {
            if let Reply::Late(pause) = pass {
                std::thread::sleep(pause);
            }
            std::io::copy(&mut pass_on(target, &body).ok()?, &mut stream).ok()?;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    None
}

pub(crate) fn status(line: &str, body: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}

fn options(urls: &[&str]) -> PoolOptions {
    let endpoint = |url: &&str| EndpointOptions { url: (*url).to_owned(), rate: None, concurrency: 24 };
    PoolOptions {
        endpoints: urls.iter().map(endpoint).collect(),
        timeout: Duration::from_secs(5),
        max_answer: 1 << 20,
        chain_id: None,
        traces: TraceMode::Off,
        rounds: Some(3),
        trust: false,
        raw: false,
        quorum: 1,
        checkpoints: Vec::new(),
    }
}

async fn pool(urls: &[&str]) -> Pool {
    Pool::connect(options(urls)).await.unwrap()
}

async fn block(pool: &Pool, number: u64) -> Result<Prepared, SourceError> {
    let judge = Judge::new(pool.chain_id(), false, DecodeOptions::default());
    let link = pool.link_at(number).await?;
    pool.bundle(number, link.hash, async |raw| judge.judge(&raw, Some(link.hash))).await
}

fn hash(node: &Node, number: u64) -> B256 {
    node.hash_at(number).parse().unwrap()
}

fn codes(pool: &Pool) -> Vec<&'static str> {
    pool.problems().iter().map(|problem| problem.code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_kept_with_its_fingerprint_and_the_liar_is_left_alone() {
    let node = Node::start(&[]);
    for value in 1..=3 {
        node.send(node.accounts[1], Some(node.accounts[2]), value, "0x");
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let liar = proxy(&node, move |request, mut answer| {
        if request["method"] == "eth_getBlockReceipts" {
            counter.fetch_add(1, Ordering::Relaxed);
            answer["result"][0]["status"] = json!("0x0");
        }
        Some(answer)
    });
    let pool = pool(&[&liar, &node.url]).await;
    assert_eq!(block(&pool, 1).await.unwrap().block.hash(), hash(&node, 1));
    let (lies, dropped) = pool.take_lies();
    assert_eq!((lies.len(), dropped), (1, 0));
    let lie = &lies[0];
    assert_eq!((lie.number, lie.hash), (Some(1), Some(hash(&node, 1))));
    assert!(lie.reason.contains("receipts root does not fit"), "{}", lie.reason);
    assert!(lie.request.contains("eth_getBlockReceipts") && !lie.request.contains("http"), "{}", lie.request);
    assert!(liar.ends_with(&lie.host) && lie.answer_bytes > 500 && lie.answer_keccak != B256::ZERO);
    assert_eq!(pool.states()[0].state, "benched");
    assert!(pool.states()[0].benched_for.unwrap() <= 10 && pool.states()[0].lies == 1);
    assert_eq!(codes(&pool), ["benched"]);
    for number in [2, 3] {
        block(&pool, number).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it is not asked again");
    assert_eq!(pool.take_lies().0.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_share_a_pool_and_its_endpoints_share_the_work() {
    let node = Node::start(&[]);
    node.mine(60);
    let asked = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let urls = asked.clone().map(|counter| {
        proxy(&node, move |_, answer| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            Some(answer)
        })
    });
    let pool = Arc::new(pool(&[&urls[0], &urls[1]]).await);
    let workers: Vec<_> = (1..=60)
        .map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let head = pool.head().await.unwrap();
                let judge = Judge::new(pool.chain_id(), false, DecodeOptions::default());
                let link = pool.link_at(number).await.unwrap();
                let judged = async |raw| judge.judge_apart(raw, Some(link.hash)).await;
                let prepared = pool.head_bundle(number, link.hash, judged).await.unwrap();
                (head.link.number, prepared.block.number())
            })
        })
        .collect();
    for (worker, number) in workers.into_iter().zip(1..) {
        assert_eq!(worker.await.unwrap(), (60, number));
    }
    let shares = asked.map(|counter| counter.load(Ordering::Relaxed));
    assert!(shares.iter().all(|share| *share > 40), "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_prove_is_given_up_soon() {
    let node = Node::start(&[]);
    node.send(node.accounts[1], Some(node.accounts[2]), 1, "0x");
    let liar = proxy(&node, |request, mut answer| {
        if request["method"] == "eth_getBlockReceipts" {
            answer["result"][0]["status"] = json!("0x0");
        }
        if request["method"] == "eth_getTransactionReceipt" {
            answer["result"]["status"] = json!("0x0");
        }
        Some(answer)
    });
    let pool =
        Pool::connect(PoolOptions { rounds: Some(50), ..options(&[&liar, "http://127.0.0.1:9"]) }).await.unwrap();
    let begin = Instant::now();
    let error = block(&pool, 1).await.unwrap_err();
    assert!(matches!(error, SourceError::Unproven { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let begin = Instant::now();
    // The dead endpoint is known to be dead by now.
    assert!(matches!(block(&pool, 1).await.unwrap_err(), SourceError::Unproven { .. }));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_asked_of_the_next_and_a_dead_endpoint_costs_nothing() {
    let node = Node::start(&[]);
    node.mine(3);
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = slow.clone();
    let first = endpoint(&node, move |request| {
        let late = is_slow.load(Ordering::Relaxed) && request["params"][0] == "latest";
        if late { Reply::Late(Duration::from_secs(3)) } else { Reply::Pass }
    });
    let pool = pool(&[&first, "http://127.0.0.1:9", &node.url]).await;
    assert_eq!(pool.head().await.unwrap().link.number, 3);
    slow.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let begin = Instant::now();
        let head = pool.head().await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert!(node.url.ends_with(&head.host), "{}", head.host);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_takes_what_enough_endpoints_have() {
    let (node, other) = (Node::start(&["--timestamp", "1700000000"]), Node::start(&["--timestamp", "1600000000"]));
    node.mine(6);
    other.mine(6);
    let (a, b) = (proxy(&node, |_, answer| Some(answer)), proxy(&node, |_, answer| Some(answer)));
    let connect = async |urls: &[&str], quorum| Pool::connect(PoolOptions { quorum, ..options(urls) }).await;
    let two = connect(&[&a, &other.url, &b], 2).await.unwrap();
    let head = two.head().await.unwrap();
    assert_eq!((head.link.number, head.link.hash), (6, hash(&node, 6)));
    assert_eq!(two.link_at(4).await.unwrap().hash, hash(&node, 4));
    two.confirm(head.link).await.unwrap();
    let minority = bolo::chain::canonical::Link { hash: hash(&other, 6), ..head.link };
    let error = two.confirm(minority).await.unwrap_err();
    assert!(matches!(&error, SourceError::NoQuorum { number: 6, wanted: 2, .. }), "{error}");
    assert!(error.to_string().contains(&head.link.hash.to_string()), "{error}");
    let three = connect(&[&a, &other.url, &b], 3).await.unwrap();
    for error in [three.head().await.unwrap_err(), three.link_at(6).await.unwrap_err()] {
        let SourceError::NoQuorum { number: 6, wanted: 3, mut votes } = error else { panic!("{error}") };
        votes.sort_by_key(|(_, hosts)| hosts.len());
        let counts: Vec<_> = votes.iter().map(|(hash, hosts)| (*hash, hosts.len())).collect();
        assert_eq!(counts, [(hash(&other, 6), 1), (hash(&node, 6), 2)]);
    }
    // A node that is ahead alone is waited for.
    let lagging = connect(&[&a, &node.url], 2).await.unwrap();
    assert_eq!(lagging.head().await.unwrap().link.number, 6);
    let error = connect(&[&a], 2).await.unwrap_err();
    assert!(matches!(error, SourceError::BadUrl(_)), "{error}");
    let out = Place::new().run(&["watch", "-r", &node.url, "--quorum", "2"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(one_line(&stderr(&out)).contains("--quorum 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_with_a_quorum_goes_on() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let second = proxy(&node, |_, answer| Some(answer));
    let place = Place::watching(&[(a, "a")]);
    let mut watcher = place.watch(&node.url, &["-r", &second, "--quorum", "2", "--from-block", "0"]);
    place.caught_up(&node, &mut watcher);
    for value in 1..=3 {
        node.send(a, Some(b), value, "0x");
    }
    place.caught_up(&node, &mut watcher);
    assert_eq!(place.alerts(&[]).len(), 3);
    assert_eq!(watcher.stop(), 0);
}

#[test]
fn a_checkpoint_decides_whom_to_believe() {
    let (node, other) = (Node::start(&["--timestamp", "1700000000"]), Node::start(&["--timestamp", "1600000000"]));
    node.mine(5);
    other.mine(5);
    let range = ["--from-block", "0", "--to-block", "5"];
    let replay = |place: &Place, urls: &[&str], checkpoint: &str| {
        let mut args = vec!["replay", "--checkpoint", checkpoint];
        urls.iter().for_each(|url| args.extend(["-r", url]));
        place.run(&[&args[..], &range].concat())
    };
    let right = format!("3:{}", node.hash_at(3));
    let place = Place::new();
    let out = replay(&place, &[&other.url, &node.url], &right);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("checkpoint does not fit"), "{}", stderr(&out));
    assert_eq!(place.status()["tip"]["hash"], node.hash_at(5).as_str());
    // Nobody has it: stopped, and nothing of another chain is taken, not even below the checkpoint.
    let place = Place::new();
    let out = replay(&place, &[&other.url], &right);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(one_line(&stderr(&out)).contains("block 3 could not be proven"), "{}", stderr(&out));
    assert!(one_line(&stderr(&out)).contains("checkpoint does not fit"));
    let status = place.status();
    assert_eq!(status["blocks"], 0);
    let lie = &status["lies"]["last"][0];
    assert_eq!(
        (&lie["number"], &lie["host"]),
        (&json!(3), &json!(other.url.trim_start_matches("http://"))),
        "{status:#}"
    );
    for wrong in ["3", "x:0x12", "3:0x12", &right.replace("3:", "latest:")] {
        let out = replay(&Place::new(), &[&node.url], wrong);
        assert_eq!(out.status.code(), Some(1), "{wrong}: {}", stderr(&out));
        assert!(one_line(&stderr(&out)).contains("NUMBER:HASH"));
    }
    // One that the endpoint does not have yet says nothing.
    let ahead = format!("900:{}", B256::repeat_byte(7));
    assert!(replay(&Place::new(), &[&node.url], &ahead).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_benches_whoever_has_another_block_there() {
    let (node, other) = (Node::start(&["--timestamp", "1700000000"]), Node::start(&["--timestamp", "1600000000"]));
    node.mine(5);
    other.mine(5);
    let checkpoints = vec![BlockNumHash { number: 3, hash: hash(&node, 3) }];
    let pool = Pool::connect(PoolOptions { checkpoints, ..options(&[&other.url, &node.url]) }).await.unwrap();
    let (lies, _) = pool.take_lies();
    assert!(!lies.is_empty() && lies.iter().all(|lie| other.url.ends_with(&lie.host)), "{lies:?}");
    assert_eq!((lies[0].number, lies[0].reason.contains("checkpoint does not fit")), (Some(3), true));
    let states: Vec<_> = pool.states().iter().map(|state| state.state).collect();
    assert_eq!(states, ["benched", "ok"]);
    for number in [1, 3, 5] {
        assert_eq!(pool.link_at(number).await.unwrap().hash, hash(&node, number));
    }
    // Asked for the other chain's block by its hash: refused without asking.
    let error = pool.bundle(3, hash(&other, 3), async |_| Ok(())).await.unwrap_err();
    assert!(error.to_string().contains("checkpoint"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_endpoint_is_left_alone_for_as_long_as_it_asks() {
    let node = Node::start(&[]);
    node.mine(2);
    let mode = Arc::new(AtomicUsize::new(0));
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (throttle, seen) = (mode.clone(), times.clone());
    let busy = endpoint(&node, move |request| {
        // Not block 1, which probes look for.
        if request["params"][0] == "0x2" {
            seen.lock().unwrap().push(Instant::now());
            return match throttle.load(Ordering::Relaxed) {
                1 => {
                    throttle.store(0, Ordering::Relaxed);
                    status("429 Too Many Requests\r\nRetry-After: 2", "slow down")
                }
                2 => {
                    throttle.store(0, Ordering::Relaxed);
                    status("429 Too Many Requests", "{}")
                }
                _ => Reply::Pass,
            };
        }
        Reply::Pass
    });
    let alone = pool(&[&busy]).await;
    for (fault, least) in [(1, 2000), (2, 200)] {
        mode.store(fault, Ordering::Relaxed);
        times.lock().unwrap().clear();
        assert_eq!(alone.link_at(2).await.unwrap().hash, hash(&node, 2));
        let times = times.lock().unwrap();
        let pause = times[1] - times[0];
        assert!(times.len() == 2 && pause >= Duration::from_millis(least), "{fault}: {pause:?}");
    }
    assert!(alone.states()[0].limit < 24, "fewer at once than before");
    // Another endpoint is asked meanwhile.
    let both = pool(&[&busy, &node.url]).await;
    // Which of the two is asked first is not said, nor is the slower one's answer waited for: until the busy one was heard.
    let clock = Instant::now();
    while both.states()[0].state != "throttled" {
        assert!(clock.elapsed() < Duration::from_secs(30), "{:?}", both.states());
        mode.store(1, Ordering::Relaxed);
        let begin = Instant::now();
        both.link_at(2).await.unwrap();
        assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_asked_of_another() {
    let node = Node::start(&[]);
    node.mine(2);
    type Answer = fn(&Value) -> Reply;
    let cases: [(&str, Answer); 7] = [
        ("too large", |_| Reply::Endless),
        ("too large", |_| status("200 OK", &" ".repeat(3 << 20))),
        ("is to request", |request| {
            let id = request["id"].as_u64().unwrap() + 1;
            status("200 OK", &json!({"jsonrpc": "2.0", "id": id, "result": "0x1"}).to_string())
        }),
        ("Bad Gateway", |_| status("502 Bad Gateway", "<html><h1>Bad Gateway</h1></html>")),
        ("no JSON-RPC answer", |_| status("200 OK", "<html><title>Log in</title></html>")),
        ("ended after", |_| Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"jsonrpc\":".to_owned())),
        ("no JSON-RPC answer", |_| status("200 OK", "")),
    ];
    for (reason, reply) in cases {
        let bad =
            endpoint(&node, move |request| if request["params"][0] == "0x1" { reply(request) } else { Reply::Pass });
        let pool = pool(&[&bad, &node.url]).await;
        let begin = Instant::now();
        assert_eq!(pool.link_at(1).await.unwrap().hash, hash(&node, 1), "{reason}");
        assert!(begin.elapsed() < Duration::from_secs(4), "{reason}: {:?}", begin.elapsed());
        let error = pool.states()[0].last_error.clone().unwrap_or_default().0;
        assert!(error.contains(reason) && !error.contains('<'), "{reason}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_are_too_large_for_one_answer_come_one_by_one_whatever_becomes_of_the_batches() {
    let node = Node::start(&["--no-mining"]);
    for value in 0..6u32 {
        let transaction =
            json!({"from": node.accounts[1], "to": node.accounts[2], "value": format!("{value:#x}"), "gas": "0x5208"});
        node.rpc("eth_sendTransaction", json!([transaction]));
    }
    node.mine(1);
    for twist in ["shuffled", "short", "doubled", "whole", "foreign"] {
        let batches = Arc::new(AtomicUsize::new(0));
        let counter = batches.clone();
        let small = proxy(&node, move |request, mut answer| {
            if request["method"] == "eth_getBlockReceipts" {
                let error = json!({"code": -32005, "message": "Response size exceeded the limit of 10485760 bytes"});
                return Some(json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
            }
            if let Some(answers) = answer.as_array_mut() {
                counter.fetch_add(1, Ordering::Relaxed);
                match twist {
                    "shuffled" => answers.reverse(),
                    "short" => drop(answers.pop()),
                    "doubled" => answers[1] = answers[0].clone(),
                    "foreign" => answers[1]["id"] = json!(987_654),
                    _ => {}
                }
            }
            Some(answer)
        });
        let pool = pool(&[&small]).await;
        assert_eq!(block(&pool, 1).await.unwrap().block.transactions().len(), 6, "{twist}");
        assert!(batches.load(Ordering::Relaxed) > 0);
        let state = &pool.states()[0];
        assert_eq!((state.max_answer, state.lies), (Some(10_485_760), 0), "{twist}");
        let batches_work = matches!(twist, "shuffled" | "whole");
        assert_eq!(state.batch, (!batches_work).then_some(1), "{twist}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_rate_and_concurrency_are_kept() {
    let node = Node::start(&[]);
    node.mine(30);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, peak) = (now.clone(), most.clone());
    let slow = proxy(&node, move |_, answer| {
        peak.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        counter.fetch_sub(1, Ordering::SeqCst);
        Some(answer)
    });
    let with = |rate, concurrency| {
        let endpoints = vec![EndpointOptions { url: slow.clone(), rate, concurrency }];
        Pool::connect(PoolOptions { endpoints, ..options(&[]) })
    };
    let pool = with(None, 3).await.unwrap();
    let links = futures_util::future::join_all((0..30).map(|number| pool.link_at(number))).await;
    assert!(links.iter().all(Result::is_ok));
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
    let pool = with(Some(20.0), 30).await.unwrap();
    let begin = Instant::now();
    let links = futures_util::future::join_all((0..20).map(|number| pool.link_at(number))).await;
    assert!(links.iter().all(Result::is_ok) && begin.elapsed() > Duration::from_millis(800), "{:?}", begin.elapsed());
}

/// Asks for the head every 50 ms until the problems are these.
async fn until_problems(pool: &Pool, wanted: &[&str], within: Duration) -> Duration {
    let begin = Instant::now();
    loop {
        let _ = pool.head().await;
        let found = codes(pool);
        if found == wanted {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < within, "{found:?} instead of {wanted:?}: {:#?}", pool.states());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_stands_still_or_goes_backwards_is_found_out() {
    let node = Node::start(&[]);
    node.mine(10);
    let behind = Arc::new(AtomicUsize::new(0));
    let (height, target) = (behind.clone(), node.url.clone());
    // Its head is at a fixed height, where one is set.
    let first = proxy(&node, move |request, answer| {
        let height = height.load(Ordering::Relaxed);
        if height == 0 || request["params"][0] != "latest" {
            return Some(answer);
        }
        let mut request = request.clone();
        request["params"][0] = json!(format!("{height:#x}"));
        Some(post(&target, &request))
    });
    let pool = pool(&[&first, &node.url]).await;
    let slot = Duration::from_secs(2);
    pool.set_slot(slot);
    until_problems(&pool, &[], PATIENCE).await;
    behind.store(10, Ordering::Relaxed);
    node.mine(3);
    let took = until_problems(&pool, &["endpoint_stalled"], PATIENCE).await;
    assert!(took <= slot * 3 + Duration::from_secs(1), "{took:?}");
    let head = pool.head().await.unwrap();
    assert_eq!(head.link.number, 13, "the other one's head counts");
    assert_eq!((pool.states()[0].state, pool.states()[0].lag), ("stalled", Some(3)));
    behind.store(0, Ordering::Relaxed);
    until_problems(&pool, &[], PATIENCE).await;
    behind.store(9, Ordering::Relaxed);
    let took = until_problems(&pool, &["head_backwards"], PATIENCE).await;
    assert!(took <= slot * 3, "{took:?}");
    assert_eq!(pool.head().await.unwrap().link.number, 13);
    behind.store(0, Ordering::Relaxed);
    until_problems(&pool, &[], PATIENCE).await;
}

fn post(url: &str, request: &Value) -> Value {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let body = request.to_string();
    let head = "POST / HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_or_dies_is_said_and_so_is_its_return() {
    let node = Node::start(&[]);
    let mode = Arc::new(AtomicUsize::new(0));
    let fault = mode.clone();
    let first = endpoint(&node, move |_| match fault.load(Ordering::Relaxed) {
        1 => Reply::Late(Duration::from_secs(20)),
        2 => Reply::Raw(String::new()),
        _ => Reply::Pass,
    });
    let options = PoolOptions { timeout: Duration::from_secs(1), ..options(&[&first, &node.url]) };
    let pool = Pool::connect(options).await.unwrap();
    pool.set_slot(Duration::from_secs(4));
    for (fault, code) in [(1, "no_answer"), (2, "unreachable")] {
        node.mine(1);
        mode.store(fault, Ordering::Relaxed);
        let took = until_problems(&pool, &[code], PATIENCE).await;
        assert!(took <= Duration::from_secs(12), "{code}: {took:?}");
        node.mine(1);
        mode.store(0, Ordering::Relaxed);
        until_problems(&pool, &[], PATIENCE).await;
    }
}

/// A socket passes what comes back, swallows it, or is closed, and so are new ones.
const PASSES: usize = 0;
const MUTE: usize = 1;
const DEAD: usize = 2;

/// Passes sockets on, as the mode says.
fn relay(node: &Node, mode: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let target = node.url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            if mode.load(Ordering::Relaxed) == DEAD {
                continue;
            }
            let mut server = TcpStream::connect(&target).unwrap();
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            let mode = mode.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                loop {
                    let read = match server.read(&mut bytes) {
                        Ok(0) => break,
                        Ok(read) => read,
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                        Err(_) => break,
                    };
                    let mode = mode.load(Ordering::Relaxed);
                    if mode == DEAD || (mode == PASSES && client.write_all(&bytes[..read]).is_err()) {
                        break;
                    }
                }
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_mute_or_lost_is_said_and_made_anew() {
    let node = Node::start(&[]);
    let mode = Arc::new(AtomicUsize::new(PASSES));
    let socket = relay(&node, mode.clone());
    let options = PoolOptions { timeout: Duration::from_secs(2), ..options(&[&node.url, &socket]) };
    let pool = Pool::connect(options).await.unwrap();
    pool.set_slot(Duration::from_secs(60));
    let wake = tokio::sync::Notify::new();
    let check = async {
        // It rings.
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.mine(1);
        tokio::time::timeout(PATIENCE, wake.notified()).await.unwrap();
        until_problems(&pool, &[], PATIENCE).await;
        for (fault, code) in [(MUTE, "subscription_mute"), (DEAD, "subscription_lost")] {
            mode.store(fault, Ordering::Relaxed);
            node.mine(4);
            let begin = Instant::now();
            while !codes(&pool).contains(&code) {
                assert!(begin.elapsed() < Duration::from_secs(15), "{code}: {:?}", codes(&pool));
                pool.head().await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            mode.store(PASSES, Ordering::Relaxed);
            let begin = Instant::now();
            while codes(&pool).contains(&code) {
                assert!(begin.elapsed() < PATIENCE, "{code}: {:?}", codes(&pool));
                node.mine(1);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    tokio::select! {
        () = check => {}
        () = pool.ring(&wake) => panic!("it never ends"),
    }
}

#[test]
fn the_endpoints_are_shown_with_what_they_can_do() {
    let node = Node::start(&[]);
    node.send(node.accounts[1], Some(node.accounts[2]), 1, "0x");
    node.mine(40);
    // It has pruned what is older than block 20, and answers [] for it.
    let pruned = proxy(&node, |request, mut answer| {
        let number = request["params"][0].as_str().and_then(|text| text.strip_prefix("0x"));
        let old =
            number.and_then(|hex| u64::from_str_radix(hex, 16).ok()).is_some_and(|number| (1..20).contains(&number));
        if request["method"] == "eth_getBlockByNumber" && old {
            answer["result"] = Value::Null;
        }
        let traces = ["debug_traceBlockByHash", "trace_block"].iter().any(|method| request["method"] == *method);
        if traces || request["method"] == "eth_getBlockReceipts" {
            return Some(crate::faults::no_method(request));
        }
        if request.as_array().is_some_and(|batch| batch.len() > 10) {
            return Some(json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "batch too long"}}));
        }
        Some(answer)
    });
    let place = Place::new();
    let key = format!("{}/?token=abcdef123456", node.url);
    let args = ["endpoints", "-r", &key, "-r", &pruned, "-r", "http://127.0.0.1:9/secret99", "--timeout", "3"];
    let out = place.run(&[&args[..], &["--format", "json"]].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(!text.contains("abcdef123456") && !text.contains("secret99"), "{text}");
    let all: Value = serde_json::from_str(&text).unwrap();
    let first = &all[0];
    assert!(first["client"].as_str().unwrap().starts_with("anvil"), "{first:#}");
    let seen = |value: &Value| {
        ["state", "head", "oldest_block", "oldest_receipts", "block_receipts", "traces", "tags", "batch"]
            .map(|field| value[field].clone())
    };
    assert_eq!(
        seen(first),
        [
            json!("ok"),
            json!(41),
            json!(0),
            json!(0),
            json!(true),
            json!("debug_traceBlockByHash"),
            json!(true),
            json!(100)
        ]
    );
    assert_eq!(
        seen(&all[1]),
        [json!("ok"), json!(41), json!(20), Value::Null, json!(false), json!("none"), json!(true), json!(10)]
    );
    assert_eq!(all[2]["state"], "unreachable");
    let table = place.ok(&args);
    assert!(table.contains("BLOCKS FROM") && table.contains("unreachable") && !table.contains("secret99"), "{table}");
    let out = place.run(&["endpoints", "-r", "http://127.0.0.1:9", "--timeout", "2"]);
    assert_eq!(out.status.code(), Some(75), "{}", stderr(&out));
    let out = place.run(&["endpoints", "-r", &node.url, "--chain", "mainnet", "--format", "json"]);
    assert_eq!(out.status.code(), Some(75), "{}", stderr(&out));
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&all[0]["state"], &all[0]["last_error"]), (&json!("wrong_chain"), &json!("is of chain 31337")));
    assert!(!place.db.exists(), "it needs no database");
}

#[test]
fn endpoints_of_the_config_file_have_their_own_settings() {
    let node = Node::start(&[]);
    let place = Place::new();
    let config = |text: String| std::fs::write(place.dir.path().join("bolo.toml"), text).unwrap();
    let run = || place.run(&["endpoints", "--format", "json"]);
    config(format!("[[endpoint]]\nurl = \"{}\"\nrate = 50\nconcurrency = 2\n", node.url));
    let out = run();
    assert!(out.status.success(), "{}", stderr(&out));
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(all[0]["limit"], 2);
    for bad in ["rate = 0", "concurrency = 0", "rates = 1"] {
        config(format!("[[endpoint]]\nurl = \"{}\"\n{bad}\n", node.url));
        let out = run();
        assert_eq!(out.status.code(), Some(1), "{bad}: {}", stderr(&out));
        one_line(&stderr(&out));
    }
    config("checkpoints = [\"1:0xzz\"]\n".to_owned());
    assert_eq!(run().status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_turns_out_to_be_of_another_chain_after_the_start_is_a_miss_of_its_own() {
    let node = Node::start(&[]);
    node.mine(3);
    // It is not up when the others are asked for their chain.
    let up = Arc::new(AtomicUsize::new(0));
    let late = |up: Arc<AtomicUsize>| {
        endpoint(&node, move |request| match (up.load(Ordering::Relaxed), request["method"] == "eth_chainId") {
            (0, _) => status("503 Service Unavailable", ""),
            (_, true) => {
                let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": "0x1"}).to_string();
                status("200 OK", &answer)
            }
            _ => Reply::Pass,
        })
    };
    let (first, slow) = (late(up.clone()), endpoint(&node, |_| Reply::Late(Duration::from_millis(100))));
    let known = |urls: &[&str]| PoolOptions { chain_id: Some(31337), ..options(urls) };
    let pool = Pool::connect(known(&[&first, &slow])).await.unwrap();
    let agreeing = Pool::connect(PoolOptions { quorum: 2, ..known(&[&first, &slow, &slow]) }).await.unwrap();
    up.store(1, Ordering::Relaxed);
    for pool in [&pool, &agreeing] {
        assert_eq!(pool.link_at(2).await.unwrap().hash, hash(&node, 2));
        assert_eq!(pool.head().await.unwrap().link.number, 3);
        assert_eq!(pool.states()[0].state, "wrong_chain");
        assert!(pool.take_lies().0.is_empty(), "that is no lie");
    }
}
