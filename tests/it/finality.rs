//! What endpoints say of heads and of finality, and which of it counts: endpoints of made chains, which name what the test says and
//! fall silent when it says so. No node is needed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::consensus::Header;
use alloy::consensus::constants::EMPTY_ROOT_HASH;
use alloy::eips::BlockNumHash;
use alloy::primitives::Address;
use bolo::decode::DecodeOptions;
use bolo::pipeline::Judge;
use bolo::source::{EndpointOptions, FinalityVote, Pool, PoolOptions, TraceMode};
use serde_json::{Value, json};

use crate::common::{Place, stderr};
use crate::doubt::{forged, until};
use crate::served::{Chain, Served, demo_blocks};

/// A chain of empty blocks from 0 on, each true to its hash; another `salt` makes another chain.
fn made_chain(length: u64, salt: u8) -> Arc<Vec<Value>> {
    let (template, _) = demo_blocks().remove(0);
    let mut blocks: Vec<Value> = Vec::new();
    for number in 0..length {
        let mut block = template.clone();
        for (field, value) in [
            ("number", json!(format!("{number:#x}"))),
            ("timestamp", json!(format!("{:#x}", 1_700_000_000 + 12 * number))),
            ("extraData", json!(format!("0x{salt:02x}"))),
            ("transactions", json!([])),
            ("transactionsRoot", json!(EMPTY_ROOT_HASH)),
            ("receiptsRoot", json!(EMPTY_ROOT_HASH)),
            ("logsBloom", json!(format!("0x{}", "0".repeat(512)))),
            ("gasUsed", json!("0x0")),
        ] {
            block[field] = value;
        }
        if let Some(parent) = blocks.last() {
            block["parentHash"] = parent["hash"].clone();
        }
        block.as_object_mut().unwrap().remove("size");
        let header: Header = serde_json::from_value(block.clone()).unwrap();
        block["hash"] = json!(header.hash_slow());
        block["size"] = json!("0x200");
        blocks.push(block);
    }
    Arc::new(blocks)
}

fn id(block: &Value) -> BlockNumHash {
    BlockNumHash {
        number: crate::common::number(&block["number"]),
        hash: block["hash"].as_str().unwrap().parse().unwrap(),
    }
}

/// What an endpoint does.
#[derive(Debug, Clone, Default)]
struct Behavior {
    down: bool,
    /// It answers tags and heads, and nothing that is asked by number.
    no_numbers: bool,
    /// It answers tags and heads, and has no time for anything that is asked by number or hash.
    busy: Option<u16>,
    /// It fails at tags.
    no_tags: bool,
    head: u64,
    finalized: Option<u64>,
    /// A head that it makes up.
    made_up: Option<u64>,
}

#[derive(Clone)]
struct Endpoint {
    url: String,
    behavior: Arc<Mutex<Behavior>>,
}

impl Endpoint {
    fn new(chain: &Arc<Vec<Value>>, behavior: Behavior) -> Self {
        let (chain, behavior) = (chain.clone(), Arc::new(Mutex::new(behavior)));
        let shared = behavior.clone();
        let served = Served::new(move |request| {
            let behavior = shared.lock().unwrap().clone();
            let by_number = request["params"][0].as_str().is_some_and(|text| text.starts_with("0x") && text.len() < 20);
            if behavior.down || (behavior.no_numbers && by_number) {
                return (503, b"down".to_vec());
            }
            let asked = request["params"][0].as_str().unwrap_or_default();
            if let Some(status) = behavior.busy.filter(|_| asked.starts_with("0x")) {
                return (status, b"busy".to_vec());
            }
            if behavior.no_tags && matches!(asked, "safe" | "finalized") {
                let error = json!({"code": -32603, "message": "internal error"});
                let answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
                return (200, answer.to_string().into_bytes());
            }
            (200, answer(&chain, &behavior, request).to_string().into_bytes())
        });
        Self { url: served.url, behavior }
    }

    fn set(&self, change: impl FnOnce(&mut Behavior)) {
        change(&mut self.behavior.lock().unwrap());
    }
}

fn answer(chain: &[Value], behavior: &Behavior, request: &Value) -> Value {
    if let Some(all) = request.as_array() {
        return all.iter().map(|one| answer(chain, behavior, one)).collect();
    }
    let asked = &request["params"][0];
    let made_up = behavior.made_up.map(|number| forged(&chain[1], number));
    let block = |number: u64| chain.get(usize::try_from(number).unwrap()).cloned();
    let found = if asked == "latest" {
        made_up.or_else(|| block(behavior.head))
    } else if asked == "safe" || asked == "finalized" {
        behavior.finalized.and_then(block)
    } else {
        let held = chain.iter().take(usize::try_from(behavior.head).unwrap() + 1);
        made_up.iter().chain(held).find(|block| block["number"] == *asked || block["hash"] == *asked).cloned()
    };
    let result = match request["method"].as_str().unwrap() {
        "eth_chainId" => json!("0x7a69"),
        "eth_getBlockByNumber" | "eth_getBlockByHash" => found.unwrap_or_default(),
        "eth_getBlockReceipts" => found.map_or(Value::Null, |_| json!([])),
        "eth_getLogs" => json!([]),
        _ => {
            let error = json!({"code": -32601, "message": "no such method"});
            return json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
        }
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

fn options(urls: &[&str], traces: TraceMode) -> PoolOptions {
    let endpoint = |url: &&str| EndpointOptions { url: (*url).to_owned(), rate: None, concurrency: 24 };
    PoolOptions {
        endpoints: urls.iter().map(endpoint).collect(),
        timeout: Duration::from_secs(20),
        max_answer: 1 << 24,
        chain_id: None,
        traces,
        rounds: Some(2),
        trust: false,
        raw: false,
        quorum: 1,
        checkpoints: Vec::new(),
    }
}

async fn pool(urls: &[&str]) -> Pool {
    let pool = Pool::connect(options(urls, TraceMode::Off)).await.unwrap();
    pool.set_slot(Duration::from_millis(100));
    pool
}

async fn finalized(pool: &Pool) -> Option<u64> {
    let head = pool.head().await.unwrap();
    match pool.finality(&head).await {
        Some(FinalityVote::Tags(tags)) => tags.finalized.map(|block| block.number),
        other => panic!("no tags: {other:?}"),
    }
}

fn codes(pool: &Pool) -> Vec<&'static str> {
    // The first look after a long pause tells nothing new.
    pool.problems();
    pool.problems().iter().map(|problem| problem.code).filter(|code| code.starts_with("finality")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_falls_silent_counts_for_what_is_final_until_it_was_silent_for_long() {
    let chain = made_chain(101, 0);
    for (made_up, first) in [(100, true), (90, false), (37, true)] {
        let honest = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
        let forger = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(made_up), ..Behavior::default() });
        let urls = if first { [&*forger.url, &*honest.url] } else { [&*honest.url, &*forger.url] };
        let pool = pool(&urls).await;
        assert_eq!(finalized(&pool).await, Some(36), "the lower of the two");
        honest.set(|behavior| behavior.down = true);
        for _ in 0..3 {
            assert_eq!(finalized(&pool).await, None, "{made_up}: one endpoint's word, while the other one is down");
        }
        assert_eq!(codes(&pool), ["finality_waits"]);
        if made_up == 90 {
            // It counts for 64 slots.
            tokio::time::sleep(Duration::from_millis(6_500)).await;
            assert_eq!((finalized(&pool).await, codes(&pool)), (Some(90), vec!["finality_uncorroborated"]));
        }
        honest.set(|behavior| behavior.down = false);
        let deadline = Instant::now() + Duration::from_secs(30);
        while finalized(&pool).await != Some(36) {
            assert!(Instant::now() < deadline, "it is back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(codes(&pool), [""; 0]);
    }
    // One that was never there in this run is not waited for.
    let honest = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
    let pool = pool(&[&honest.url, "http://127.0.0.1:9"]).await;
    assert_eq!((finalized(&pool).await, codes(&pool)), (Some(36), vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_a_vote_and_then_fails_does_not_leave_it_to_the_other_one() {
    let (chain, other) = (made_chain(101, 0), made_chain(101, 1));
    for false_final in [20, 50, 89] {
        // The lower of the two is of another chain; the honest one does not come to say so.
        let honest = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(90), ..Behavior::default() });
        let forger = Endpoint::new(&other, Behavior { head: 100, finalized: Some(false_final), ..Behavior::default() });
        let pool = pool(&[&honest.url, &forger.url]).await;
        pool.head().await.unwrap();
        honest.set(|behavior| behavior.no_numbers = true);
        assert_eq!(finalized(&pool).await, None, "{false_final}");
        honest.set(|behavior| behavior.no_numbers = false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_one_endpoint_is_not_corroborated_while_the_other_one_is_down() {
    let (chain, other) = (made_chain(101, 0), made_chain(101, 1));
    for number in [10, 50, 99] {
        let honest = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
        let forger = Endpoint::new(&other, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
        let pool = pool(&[&honest.url, &forger.url]).await;
        finalized(&pool).await;
        let false_block = id(&other[number]);
        assert!(!pool.corroborates(false_block).await, "the other one has another block there");
        honest.set(|behavior| behavior.down = true);
        assert!(!pool.corroborates(false_block).await, "{number}: the other one is down");
        honest.set(|behavior| behavior.down = false);
        assert!(!pool.corroborates(id(&chain[number])).await, "one of two has it");
    }
    // It is there, and fails at this block for the moment.
    for (number, status) in [(10, 503), (50, 429), (99, 500)] {
        let honest = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
        let forger = Endpoint::new(&other, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
        let pool = pool(&[&honest.url, &forger.url]).await;
        finalized(&pool).await;
        honest.set(|behavior| behavior.busy = Some(status));
        let soon = honest.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            soon.set(|behavior| behavior.busy = None);
        });
        assert!(!pool.corroborates(id(&other[number])).await, "{number}: the other one answers {status}");
    }
    let one = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
    let two = Endpoint::new(&chain, Behavior { head: 100, finalized: Some(36), ..Behavior::default() });
    let both = pool(&[&one.url, &two.url]).await;
    finalized(&both).await;
    assert!(both.corroborates(id(&chain[50])).await);
    let alone = pool(&[&one.url, "http://127.0.0.1:9"]).await;
    finalized(&alone).await;
    assert!(alone.corroborates(id(&chain[50])).await, "the other one was never there in this run");
}

#[test]
fn a_filtered_replay_passes_over_nothing_where_the_endpoints_do_not_agree_on_what_is_final() {
    let (chain, other) = (made_chain(201, 0), made_chain(201, 1));
    let honest = Endpoint::new(&chain, Behavior { head: 200, finalized: Some(136), ..Behavior::default() });
    let replay = |place: &Place, url: &str| {
        let range = ["--from-block", "1", "--to-block", "130", "--traces", "off", "--filtered"];
        place.run(&[&["replay", "-r", &honest.url, "-r", url][..], &range].concat())
    };
    for (chain, finalized) in [(&other, 130), (&other, 60), (&other, 2)] {
        let forger = Endpoint::new(chain, Behavior { head: 200, finalized: Some(finalized), ..Behavior::default() });
        let place = Place::watching(&[(Address::repeat_byte(0x51), "quiet")]);
        let out = replay(&place, &forger.url);
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(75), "{finalized}: {said}");
        assert!(said.contains("the endpoints do not agree on it"), "{finalized}: {said}");
        assert_eq!(place.status()["filtered"], json!([]), "{finalized}");
    }
    // A single one that fails at tags agrees with nobody and disagrees with nobody.
    let alone =
        Endpoint::new(&chain, Behavior { head: 200, finalized: Some(136), no_tags: true, ..Behavior::default() });
    let place = Place::watching(&[(Address::repeat_byte(0x51), "quiet")]);
    let range = ["--from-block", "1", "--to-block", "130", "--traces", "off", "--filtered"];
    let out = place.run(&[&["replay", "-r", &alone.url][..], &range].concat());
    let said = stderr(&out);
    assert_eq!(out.status.code(), Some(75), "{said}");
    assert!(said.contains("which block is final is not known"), "{said}");
    let honest_too = Endpoint::new(&chain, Behavior { head: 200, finalized: Some(135), ..Behavior::default() });
    let place = Place::watching(&[(Address::repeat_byte(0x51), "quiet")]);
    let out = replay(&place, &honest_too.url);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert_eq!(place.status()["filtered"].as_array().map(Vec::len), Some(1));
}

#[test]
fn endpoints_that_answer_every_request_with_an_error_are_as_good_as_unreachable() {
    let error = |code: i64| json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "no"}}).to_string();
    let answers = [
        (200, error(-32000)),
        (200, error(-32601)),
        (200, error(-32603)),
        (200, error(-32005)),
        (200, "<html>Sorry</html>".to_owned()),
        (200, json!({"jsonrpc": "2.0", "id": 1, "result": null}).to_string()),
        (429, "slow down".to_owned()),
        (500, error(-32000)),
        (401, "key".to_owned()),
    ];
    for (status, body) in answers {
        let served = Served::new({
            let body = body.clone();
            move |_| (status, body.clone().into_bytes())
        });
        let out = Place::new().run(&["endpoints", "-r", &served.url, "--timeout", "1", "--format", "json"]);
        assert_eq!(out.status.code(), Some(75), "{status} {body}: {}", String::from_utf8_lossy(&out.stdout));
        let state: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(state[0]["state"] != "ok", "{status} {body}: {state}");
    }
    let chain = made_chain(101, 0);
    let good = Endpoint::new(&chain, Behavior { head: 100, ..Behavior::default() });
    let out = Place::new().run(&["endpoints", "-r", &good.url, "--timeout", "1"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn a_head_that_one_endpoint_reports_and_bolo_cannot_follow_is_the_open_end_until_it_is_disproved() {
    let chain = made_chain(101, 0);
    let quiet = Address::repeat_byte(0x51);
    for made_up in [200, 1_000_000, i64::MAX as u64 - 1] {
        let behavior = Behavior { head: 100, finalized: Some(36), ..Behavior::default() };
        let (one, two) = (Endpoint::new(&chain, behavior.clone()), Endpoint::new(&chain, behavior));
        let place = Place::watching(&[(quiet, "quiet")]);
        let quick = ["--from-block", "0", "--slot", "1", "--poll-interval", "0.2", "--traces", "off", "--timeout", "2"];
        let mut watcher = place.watch(&one.url, &[&["-r", &two.url][..], &quick].concat());
        until(&place, &mut watcher, "caught up", |status| {
            status["watch_tip"]["number"] == 100 && status["owed"] == json!([])
        });
        let attest = || {
            let address = quiet.to_string();
            let attest = place.run(&["attest", "--address", &address, "--from-block", "0"]);
            let query = ["query", "--address", &address, "--from-block", "0", "--require-complete"];
            assert_eq!(place.run(&query).status.code(), attest.status.code(), "{}", stderr(&attest));
            attest.status.code().unwrap()
        };
        assert_eq!(attest(), 0);
        // Nobody is there who could say that it is not so.
        two.set(|behavior| behavior.down = true);
        one.set(|behavior| behavior.made_up = Some(made_up));
        until(&place, &mut watcher, "reported", |status| status["reported_head"]["number"] == made_up);
        assert_eq!((attest(), &place.status()["head"]), (3, &json!(100)), "{made_up}");
        // Also once no watch runs any more.
        assert_eq!(watcher.stop(), 0);
        assert_eq!(attest(), 3);
        let mut watcher = place.watch(&one.url, &[&["-r", &two.url][..], &quick].concat());
        if made_up == 200 {
            one.set(|behavior| behavior.made_up = None);
        } else {
            two.set(|behavior| behavior.down = false);
        }
        until(&place, &mut watcher, "disproved", |status| status["reported_head"] == Value::Null);
        assert_eq!(attest(), 0, "{made_up}: {:#}", place.status());
        assert_eq!(watcher.stop(), 0);
    }
}

#[test]
fn an_open_end_says_how_old_the_last_head_is() {
    let chain = made_chain(41, 0);
    let quiet = Address::repeat_byte(0x51).to_string();
    let endpoint = Endpoint::new(&chain, Behavior { head: 40, finalized: Some(30), ..Behavior::default() });
    let place = Place::watching(&[(Address::repeat_byte(0x51), "quiet")]);
    place.ok(&["replay", "-r", &endpoint.url, "--from-block", "0", "--to-block", "40", "--traces", "off"]);
    let said = |range: &[&str]| {
        let attest = stderr(&place.run(&[&["attest", "--address", &quiet], range].concat()));
        let query = stderr(&place.run(&[&["query", "--address", &quiet], range].concat()));
        let has = |text: &str| text.contains("the range ends with block");
        assert_eq!(has(&attest), has(&query), "{range:?}: {attest} {query}");
        attest
    };
    assert!(!said(&["--from-block", "0"]).contains("the range ends with"), "just seen");
    for (age, words) in [(16 * 60, "16 min ago"), (3 * 3600, "3 h ago"), (9 * 86_400, "9 days ago")] {
        let conn = rusqlite::Connection::open(&place.db).unwrap();
        let seen = jiff::Timestamp::now().as_second() - age;
        conn.execute("UPDATE meta SET value = ?1 WHERE key = 'head_seen'", [seen.to_string()]).unwrap();
        let warned = said(&["--from-block", "0"]);
        assert!(warned.contains("the range ends with block 40") && warned.contains(words), "{warned}");
        assert!(!said(&["--from-block", "0", "--to-block", "40"]).contains("the range ends with"));
    }
    rusqlite::Connection::open(&place.db).unwrap().execute("DELETE FROM meta WHERE key = 'head_seen'", []).unwrap();
    assert!(said(&["--from-block", "3"]).contains("no endpoint has reported a head"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_traces_hang_does_not_hold_back_a_block_at_the_head() {
    let block = |number: usize| demo_blocks().remove(number).0;
    let hang = || {
        std::thread::sleep(Duration::from_secs(15));
        (503, Vec::new())
    };
    let no_method = |request: &Value| {
        json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no"}})
            .to_string()
            .into_bytes()
    };
    type Traces = Box<dyn Fn(&Value) -> (u16, Vec<u8>) + Send + Sync>;
    // Both methods hang; the second one does; the first one fails at once and the next try hangs; another endpoint's hang.
    let kinds: [(&str, Traces, Traces); 4] = [
        ("both", Box::new(move |_| hang()), Box::new(move |_| hang())),
        (
            "the second method",
            Box::new(
                move |request| if request["method"] == "trace_block" { hang() } else { (200, no_method(request)) },
            ),
            Box::new(move |request| (200, no_method(request))),
        ),
        ("the other endpoint", Box::new(move |request| (200, no_method(request))), Box::new(move |_| hang())),
        ("the first fails", Box::new(move |_| (500, Vec::new())), Box::new(move |_| hang())),
    ];
    for (what, one, two) in kinds {
        let serve = |traces: Traces| {
            let chain = Chain::demo();
            Served::new(move |request| match request["method"].as_str() {
                Some("debug_traceBlockByHash" | "trace_block") => traces(request),
                _ => (200, chain.answer(request).to_string().into_bytes()),
            })
        };
        let (one, two) = (serve(one), serve(two));
        let pool = Pool::connect(options(&[&one.url, &two.url], TraceMode::Auto)).await.unwrap();
        pool.set_slot(Duration::from_secs(1));
        let judge = Judge::new(pool.chain_id(), false, DecodeOptions::default());
        for number in [3, 4, 5] {
            let BlockNumHash { number, hash } = id(&block(number));
            let begun = Instant::now();
            let prepared = pool.head_bundle(number, hash, async |raw| judge.judge(&raw, Some(hash))).await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(6), "{what}: block {number} waited {:?}", begun.elapsed());
            assert!(!prepared.block.has_all_traces());
        }
    }
}
