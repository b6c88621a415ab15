//! `replay --filtered`: what a filter sees is found and proven, what it does not is said, and nothing that was only filtered looks like
//! what was read. A real node filters; a proxy has the limits that services have.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::process::Stdio;
use std::time::Duration;

use alloy::primitives::{Address, hex};
use serde_json::{Value, json};

use crate::common::{Node, Place, call, erc20_arguments, n, stderr, timeless_all, well_proven, word};
use crate::proxy::{Plan, Proxy, Upstream};
use crate::reply::{Reply, ok};
use crate::sins::Sin;
use crate::twist::quantity;

/// What an endpoint says of a range that is too wide for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    /// The range that it would answer, with the code of a limit on requests.
    Range,
}

/// Limits of an endpoint's filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Blocks of one question.
    pub blocks: u64,
    pub hint: Hint,
    /// Results; more are an error.
    pub results: usize,
    /// Results; more are left out, and nothing is said.
    pub cut: usize,
    /// It has `trace_filter`.
    pub frames: bool,
    /// `eth_getLogs` of that block is an error that says nothing of limits.
    pub broken: Option<u64>,
}

impl Limits {
    const NONE: Self =
        Self { blocks: u64::MAX, hint: Hint::None, results: usize::MAX, cut: usize::MAX, frames: true, broken: None };

    /// None where the question is no filter's.
    pub(crate) fn answer(self, upstream: &mut Upstream, question: &Value) -> Option<Reply> {
        let method = question["method"].as_str().filter(|method| ["eth_getLogs", "trace_filter"].contains(method))?;
        let error = |code: i64, message: String| {
            let error = json!({"code": code, "message": message});
            Some(ok(json!({"jsonrpc": "2.0", "id": question["id"], "error": error}).to_string().into_bytes()))
        };
        if method == "trace_filter" && !self.frames {
            return error(-32601, "the method trace_filter does not exist/is not available".into());
        }
        let asked = &question["params"][0];
        let (from, to) = (quantity(&asked["fromBlock"])?, quantity(&asked["toBlock"])?);
        if method == "eth_getLogs" && self.broken.is_some_and(|block| (from..=to).contains(&block)) {
            return error(-32000, "something broke".into());
        }
        if to - from >= self.blocks {
            return match self.hint {
                Hint::None => error(-32602, "block range is too wide".into()),
                Hint::Range => error(
                    -32005,
                    format!(
                        "query returned more than 10000 results. Try with this block range [{from:#x}, {:#x}].",
                        from + self.blocks - 1
                    ),
                ),
            };
        }
        let mut question = question.clone();
        if method == "trace_filter"
            && question["params"][0]["count"].as_u64().is_some_and(|count| count as usize > self.cut)
        {
            question["params"][0]["count"] = json!(self.cut);
        }
        let mut answer: Value = serde_json::from_slice(&upstream.post(question.to_string().as_bytes())?).ok()?;
        if let Some(results) = answer.get_mut("result").and_then(Value::as_array_mut) {
            if results.len() > self.results {
                return error(-32005, format!("query returned more than {} results", self.results));
            }
            if method == "eth_getLogs" {
                results.truncate(self.cut);
            }
        }
        Some(ok(answer.to_string().into_bytes()))
    }
}

/// A chain that one address touches seldom, in every way; blocks are final one after the other.
struct Quiet {
    node: Node,
    watched: Address,
    /// The block of a token that indexes nothing, and the one whose fees go to the watched address.
    unindexed: u64,
    fees: u64,
}

/// Constructor argument of a text.
fn text_argument(text: &str) -> String {
    format!("{:064x}{:064x}{}", 32, text.len(), hex::encode(text) + &"0".repeat(64 - 2 * text.len()))
}

fn quiet() -> Quiet {
    let node = Node::start(&["--slots-in-an-epoch", "1"]);
    let (payer, watched) = (node.accounts[1], node.accounts[7]);
    let send = |from, to, value, data: &str| {
        node.receipt(node.send(from, Some(to), value, data));
        node.head()
    };
    let token = node.deploy(payer, "Erc20", &erc20_arguments("Dollar", "USDM", 6));
    let many = node.deploy(payer, "Erc1155", "");
    let nft = node.deploy(payer, "Erc721", &text_argument("THING"));
    let old = node.deploy(payer, "UnindexedToken", "");
    let splitter = node.deploy(payer, "Splitter", "");
    node.mine(20);
    send(payer, watched, 7, "0x");
    node.mine(40);
    let mint = call("Erc20", "mint(address,uint256)", &[word(watched), n(100)]);
    send(payer, token, 0, &mint);
    send(payer, token, 0, &mint);
    node.mine(30);
    send(payer, many, 0, &call("Erc1155", "mint(address,uint256,uint256)", &[word(watched), n(1), n(2)]));
    node.mine(3);
    send(payer, nft, 0, &call("Erc721", "mint(address,uint256)", &[word(watched), n(9)]));
    node.mine(60);
    let unindexed = send(payer, old, 0, &call("UnindexedToken", "mint(address,uint256)", &[word(watched), n(5)]));
    node.mine(10);
    send(payer, splitter, 100, &call("Splitter", "split(address[])", &[n(32), n(2), word(watched), word(payer)]));
    node.mine(25);
    node.rpc("anvil_setCoinbase", json!([watched]));
    let fees = send(payer, payer, 1, "0x");
    node.rpc("anvil_setCoinbase", json!([Address::ZERO]));
    node.mine(400);
    send(watched, token, 0, &call("Erc20", "transfer(address,uint256)", &[word(payer), n(3)]));
    send(watched, payer, 1, "0x");
    node.mine(20);
    Quiet { node, watched, unindexed, fees }
}

impl Quiet {
    fn place(&self) -> Place {
        Place::watching(&[(self.watched, "seldom")])
    }

    fn full(&self) -> Place {
        let place = self.place();
        place.ok(&["replay", "-r", &self.node.url, "--from-block", "0", "--to-block", "latest", "--traces", "require"]);
        place
    }

    /// What a full replay finds, but for what only the data of a log and a header show.
    fn seen_by_a_filter(&self, full: &Place) -> Vec<Value> {
        let mut alerts = full.alerts(&[]);
        alerts.retain(|alert| ![self.unindexed, self.fees].contains(&alert["block"]["number"].as_u64().unwrap()));
        timeless_all(&alerts)
    }
}

fn filtered(url: &str) -> [&str; 8] {
    ["replay", "--filtered", "-r", url, "--from-block", "0", "--to-block", "latest"]
}

/// The ranges that were asked for by that method, in order.
fn asked(proxy: &Proxy, method: &str) -> Vec<RangeInclusive<u64>> {
    let wire = String::from_utf8_lossy(&proxy.wire()).into_owned();
    let questions = wire.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let filters = questions.filter(|question| question["method"] == method);
    filters
        .map(|question| {
            let range = &question["params"][0];
            quantity(&range["fromBlock"]).unwrap()..=quantity(&range["toBlock"]).unwrap()
        })
        .collect()
}

fn width(range: &RangeInclusive<u64>) -> u64 {
    range.end() - range.start() + 1
}

#[test]
fn what_a_filter_sees_is_found_and_proven_and_the_rest_is_not_said_to_be_seen() {
    let chain = quiet();
    let full = chain.full();
    let place = chain.place();
    let out = place.run(&filtered(&chain.node.url));
    let said = stderr(&out);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("disclosed to the endpoints"), "{said}");
    assert!(said.contains("kinds=withdrawal, fee_recipient"), "{said}");
    assert!(!said.contains("ETHER IS NOT SEEN"), "anvil has trace_filter: {said}");

    let (everything, found) = (full.alerts(&[]), place.alerts(&[]));
    assert!(found.iter().all(well_proven));
    assert_eq!(timeless_all(&found), chain.seen_by_a_filter(&full));
    let kinds: BTreeSet<_> = found.iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect();
    for kind in
        ["native_transfer", "internal_transfer", "erc20_transfer", "erc721_transfer", "erc1155_transfer", "transaction"]
    {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
    let missed: Vec<_> = everything
        .iter()
        .filter(|alert| !found.iter().any(|other| other["id"] == alert["id"]))
        .map(|alert| (alert["block"]["number"].as_u64().unwrap(), alert["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(missed, [(chain.unindexed, "erc20_transfer"), (chain.fees, "fee_recipient")], "as is said of it");

    // The ledger: few blocks were seen, of all others there is a word only.
    let (head, status) = (chain.node.head(), place.status());
    let held = status["blocks"].as_u64().unwrap();
    assert!(held < 20, "{held} of {head}");
    let span = &status["filtered"][0];
    assert_eq!((&span["from"], &span["state"]), (&json!(0), &json!("unproven")));
    assert_eq!(span["endpoints"], json!([chain.node.url.trim_start_matches("http://")]));
    assert_eq!(
        span["asked"],
        json!({"logs": "unproven", "transactions": "unproven", "traces": "unproven", "withdrawals": "missing"})
    );
    assert_eq!(span["not_seen"], json!(["withdrawal", "fee_recipient"]));
    let end = span["to"].as_u64().unwrap();
    assert!(end < head, "what is not final is read: {end} of {head}");
    let of_it = |range: &&Value| range["from"].as_u64().unwrap() <= end;
    let coverage = status["coverage"].as_array().unwrap();
    let below: u64 = coverage
        .iter()
        .filter(of_it)
        .map(|range| range["to"].as_u64().unwrap().min(end) - range["from"].as_u64().unwrap() + 1)
        .sum();
    assert_eq!(span["blocks"], json!(end + 1 - below));
    let ledger: Value = serde_json::from_str(&place.ok(&["-q", "status", "--coverage", "--format", "json"])).unwrap();
    assert_eq!(ledger["filtered"], status["filtered"]);
    let states: BTreeSet<_> =
        ledger["planes"]["logs"].as_array().unwrap().iter().map(|span| span["state"].as_str().unwrap()).collect();
    assert_eq!(states, BTreeSet::from(["missing", "proven"]), "a block that was only filtered was not seen");
    assert!(place.ok(&["status", "--coverage"]).contains("blocks not read, unproven"));

    // Nothing may take it for read.
    let range = ["--from-block", "0", "--to-block", &head.to_string()];
    let out = place.run(&[&["query", "--require-complete"], &range[..]].concat());
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("of the missing blocks, filtered"), "{}", stderr(&out));
    let out = place.run(&[&["attest", "--address", &Address::repeat_byte(9).to_string()], &range[..]].concat());
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("only asked for by --filtered"), "{}", stderr(&out));
    place.ok(&["verify"]);

    // Asked for once; by another list again.
    let again = stderr(&place.run(&filtered(&chain.node.url)));
    assert!(again.contains(&format!("passed_over=0 filtered_before={}", end + 1 - below)), "{again}");

    // Up to both its ends it is missing.
    let holes: u64 = ledger["holes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hole| hole["to"].as_u64().unwrap() - hole["from"].as_u64().unwrap() + 1)
        .sum();
    assert_eq!(holes, end + 1 - below);
    assert_eq!(ledger["holes"], status["holes"]);

    // A replay reads all of it, and what comes of both is what comes of the replay alone.
    let out = place.run(&["replay", "--holes", "-r", &chain.node.url]);
    assert!(stderr(&out).contains(&format!("{} blocks committed", head + 1 - held)), "{}", stderr(&out));
    // Now that all is held, no filter has anything to say.
    let again = stderr(&place.run(&filtered(&chain.node.url)));
    assert!(!again.contains("passed_over"), "{again}");
    assert_eq!(place.ok(&["status", "--digest"]), full.ok(&["status", "--digest"]));
    assert_eq!(place.status()["filtered"], json!([]));
    place.ok(&[&["query", "--require-complete"], &range[..]].concat());
}

#[test]
fn ranges_that_are_refused_are_halved_and_answered_ones_grow() {
    let chain = quiet();
    let expected = chain.seen_by_a_filter(&chain.full());
    let head = chain.node.head();
    for hint in [Hint::None, Hint::Range] {
        let limits = Limits { blocks: 50, hint, ..Limits::NONE };
        let proxy = Proxy::new(&chain.node, Plan { filter: Some(limits), ..Plan::honest() });
        let place = chain.place();
        place.ok(&filtered(&proxy.url));
        assert_eq!(timeless_all(&place.alerts(&[])), expected, "{hint:?}");
        for method in ["eth_getLogs", "trace_filter"] {
            let asked = asked(&proxy, method);
            let refused = asked.iter().filter(|range| width(range) > 50).count();
            let widest = asked.iter().map(width).filter(|width| *width <= 50).max().unwrap();
            match hint {
                // Not one by one, and not again and again.
                Hint::None => assert!((38..=50).contains(&widest), "{method}: {asked:?}"),
                Hint::Range => assert_eq!(widest, 50, "{method}: {asked:?}"),
            }
            // A question for each place or side; each range once, but for what is refused.
            let questions = if method == "eth_getLogs" { 3 } else { 2 };
            let answered = asked.len() - refused;
            assert!(answered < questions * (head as usize / 38 + 10), "{method}: {asked:?}");
            assert!((1..=questions * 10).contains(&refused), "{method}: {asked:?}");
        }
    }
    // Anvil's own limit is on trace_filter, and names a number of blocks.
    let proxy = Proxy::new(&chain.node, Plan::honest());
    let place = chain.place();
    place.ok(&filtered(&proxy.url));
    let widths: Vec<_> = asked(&proxy, "trace_filter").iter().map(width).collect();
    assert!(widths.iter().any(|width| *width > 301) && widths.contains(&300), "{widths:?}");
}

#[test]
fn an_answer_that_may_have_been_cut_is_not_believed() {
    let node = Node::start(&["--slots-in-an-epoch", "1"]);
    let (payer, watched) = (node.accounts[1], node.accounts[7]);
    let token = node.deploy(payer, "Erc20", &erc20_arguments("Dollar", "USDM", 6));
    let splitter = node.deploy(payer, "Splitter", "");
    node.rpc("evm_setAutomine", json!([false]));
    let mint = call("Erc20", "mint(address,uint256)", &[word(watched), n(100)]);
    let split = call("Splitter", "split(address[])", &[n(32), n(1), word(watched)]);
    // What a log shows and what a frame shows, in blocks of their own.
    for _ in 0..30 {
        for _ in 0..5 {
            node.send(payer, Some(token), 0, &mint);
        }
        node.mine(1);
        for _ in 0..5 {
            node.send(payer, Some(splitter), 3, &split);
        }
        node.mine(1);
    }
    node.mine(600);
    let watched = [(watched, "busy")];
    let full = Place::watching(&watched);
    full.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert_eq!(full.alerts(&["--kind", "erc20_transfer"]).len(), 150);
    assert_eq!(full.alerts(&["--kind", "internal_transfer"]).len(), 150);
    for limits in [
        // The rest is left out, and nothing said.
        Limits { cut: 100, ..Limits::NONE },
        Limits { results: 40, ..Limits::NONE },
        // A single block is too much: then it is read.
        Limits { results: 4, ..Limits::NONE },
    ] {
        let proxy = Proxy::new(&node, Plan { filter: Some(limits), ..Plan::honest() });
        let place = Place::watching(&watched);
        place.ok(&filtered(&proxy.url));
        assert_eq!(timeless_all(&place.alerts(&[])), timeless_all(&full.alerts(&[])), "{limits:?}");
        let widths: Vec<_> = asked(&proxy, "eth_getLogs").iter().map(width).collect();
        let least = widths.iter().position(|width| Some(width) == widths.iter().min()).unwrap();
        assert!(widths[0] > widths[least], "halved: {widths:?}");
        // After the busy part there is nothing, so that they grow again, also beyond what was refused in it.
        let refused = widths[least - 1];
        assert!(widths[least..].iter().any(|width| *width > refused), "{widths:?}");
        // Frames come in pages, so that the next one tells whether there is more.
        let paged = String::from_utf8_lossy(&proxy.wire()).contains("\"after\":100");
        assert_eq!(paged, limits.cut == 100, "{limits:?}");
    }
}

#[test]
fn without_trace_filter_ether_is_said_not_to_be_seen() {
    let chain = quiet();
    let expected = chain.seen_by_a_filter(&chain.full());
    let with_a_log: BTreeSet<u64> = expected
        .iter()
        .filter(|alert| alert["plane"] == "logs")
        .map(|alert| alert["block"]["number"].as_u64().unwrap())
        .collect();
    let proxy =
        Proxy::new(&chain.node, Plan { filter: Some(Limits { frames: false, ..Limits::NONE }), ..Plan::honest() });
    let place = chain.place();
    let out = place.run(&filtered(&proxy.url));
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("ETHER IS NOT SEEN"), "{}", stderr(&out));
    let span = &place.status()["filtered"][0];
    let end = span["to"].as_u64().unwrap();
    let found = timeless_all(&place.alerts(&["--to-block", &end.to_string()]));
    let expected: Vec<_> =
        expected.into_iter().filter(|alert| with_a_log.contains(&alert["block"]["number"].as_u64().unwrap())).collect();
    assert_eq!(found, expected, "of blocks that a log leads to, all is found");
    assert_eq!(
        span["asked"],
        json!({"logs": "unproven", "transactions": "missing", "traces": "missing", "withdrawals": "missing"})
    );
    for kind in ["native_transfer", "internal_transfer", "transaction", "withdrawal"] {
        assert!(span["not_seen"].as_array().unwrap().contains(&json!(kind)), "{span}");
    }
    // With frames it is another question.
    let again = stderr(&place.run(&filtered(&chain.node.url)));
    assert!(again.contains("filtered_before=0"), "{again}");

    let place = chain.place();
    let out = place.run(&[&filtered(&proxy.url)[..], &["--traces", "require"]].concat());
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("no endpoint has trace_filter"), "{}", stderr(&out));
}

#[test]
fn one_endpoint_with_trace_filter_is_enough() {
    let chain = quiet();
    let expected = chain.seen_by_a_filter(&chain.full());
    let without =
        Proxy::new(&chain.node, Plan { filter: Some(Limits { frames: false, ..Limits::NONE }), ..Plan::honest() });
    for urls in [[&without.url, &chain.node.url], [&chain.node.url, &without.url]] {
        let place = chain.place();
        let out = place.run(&[
            "replay",
            "--filtered",
            "-r",
            urls[0],
            "-r",
            urls[1],
            "--from-block",
            "0",
            "--to-block",
            "latest",
        ]);
        assert!(out.status.success(), "{}", stderr(&out));
        assert!(!stderr(&out).contains("ETHER IS NOT SEEN"), "{}", stderr(&out));
        assert_eq!(timeless_all(&place.alerts(&[])), expected, "{urls:?}");
        assert_eq!(place.status()["filtered"][0]["asked"]["traces"], "unproven", "{urls:?}");
    }
    assert!(!asked(&without, "eth_getLogs").is_empty(), "its logs are asked for as well");
}

#[test]
fn killed_in_between_it_ends_as_if_never_killed() {
    let chain = quiet();
    chain.node.mine(2600);
    let undisturbed = chain.place();
    undisturbed.ok(&filtered(&chain.node.url));
    // Noted by ranges of 2,000 blocks at first, which take twenty questions each, each with a wait.
    let slow = Plan {
        filter: Some(Limits { blocks: 100, ..Limits::NONE }),
        delay: Duration::from_millis(10),
        ..Plan::honest()
    };
    let proxy = Proxy::new(&chain.node, slow);
    let place = chain.place();
    let (mut between, mut ended) = (0, false);
    for kill in 0..40 {
        let mut child = place.command(&filtered(&proxy.url)).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(400 + 20 * kill));
        ended = child.try_wait().unwrap().is_some();
        let _ = child.kill();
        child.wait().unwrap();
        if ended {
            break;
        }
        let spans = place.status()["filtered"].clone();
        between += u64::from(spans.as_array().is_some_and(|spans| !spans.is_empty()));
        place.ok(&["verify"]);
        if between == 2 {
            break;
        }
    }
    if !ended {
        place.ok(&filtered(&proxy.url));
    }
    assert!(between > 0, "killed where part of it was done: {between}");
    assert_eq!(timeless_all(&place.alerts(&[])), timeless_all(&undisturbed.alerts(&[])));
    assert_eq!(place.ok(&["status", "--digest"]), undisturbed.ok(&["status", "--digest"]));
    let spans = |place: &Place| {
        let spans = place.status()["filtered"].clone();
        let of =
            |span: &Value| (span["from"].clone(), span["to"].clone(), span["asked"].clone(), span["blocks"].clone());
        spans.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(spans(&place), spans(&undisturbed));
}

#[test]
fn a_block_that_cannot_be_looked_through_stops_it_and_nothing_after_it_counts_as_filtered() {
    let chain = quiet();
    let broken = 150;
    let limits = Limits { blocks: 60, hint: Hint::Range, broken: Some(broken), ..Limits::NONE };
    let proxy = Proxy::new(&chain.node, Plan { filter: Some(limits), ..Plan::honest() });
    let place = chain.place();
    let out = place.run(&filtered(&proxy.url));
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(
        stderr(&out).contains(&format!("block {broken} could not be looked through by filter")),
        "{}",
        stderr(&out)
    );
    for span in place.status()["filtered"].as_array().unwrap() {
        assert!(span["to"].as_u64().unwrap() < broken, "{span}");
    }
    // Once it is mended it goes on, and all is there.
    proxy.change(|plan| plan.filter = Some(Limits::NONE));
    place.ok(&filtered(&proxy.url));
    assert_eq!(timeless_all(&place.alerts(&[])), chain.seen_by_a_filter(&chain.full()));
}

#[test]
fn a_block_that_is_found_and_cannot_be_proven_is_not_passed_over() {
    let chain = quiet();
    let full = chain.full();
    let block = full.alerts(&["--kind", "erc721_transfer"])[0]["block"]["number"].as_u64().unwrap();
    let proxy = Proxy::new(&chain.node, Plan { blocks: block..=block, ..Plan::always(Sin::DropLastLog, 0) });
    let place = chain.place();
    let out = place.run(&filtered(&proxy.url));
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert_eq!(place.status()["filtered"], json!([]), "the range is not done");
}

#[test]
fn an_endpoint_that_has_pruned_its_logs_is_not_believed_to_have_none() {
    let chain = quiet();
    let first = chain.full().alerts(&[])[0]["block"]["number"].as_u64().unwrap();
    let plan = Plan { blocks: 0..=first, ..Plan::always(Sin::EmptyReceipts, 0) };
    let proxy = Proxy::new(&chain.node, plan);
    let place = chain.place();
    let from = first.to_string();
    let args = ["replay", "--filtered", "-r", &proxy.url, "--from-block", &from, "--to-block", "latest"];
    let out = place.run(&args);
    assert_eq!(out.status.code(), Some(75), "{}", stderr(&out));
    assert!(stderr(&out).contains(&format!("no endpoint has block {first}")), "{}", stderr(&out));
    assert!(asked(&proxy, "eth_getLogs").is_empty());
    assert_eq!(place.status()["filtered"], json!([]));
}

#[test]
fn what_is_not_final_is_read_and_no_list_is_told_unless_it_is_asked_for() {
    let node = Node::start(&[]);
    let (payer, watched) = (node.accounts[1], node.accounts[7]);
    for value in 1..=5 {
        node.send(payer, Some(watched), value, "0x");
    }
    let place = Place::watching(&[(watched, "new")]);
    let proxy = Proxy::new(&node, Plan::honest());
    // Anvil's blocks are final 64 blocks deep: block 0 is all that is.
    place.ok(&["replay", "--filtered", "-r", &proxy.url, "--from-block", "1", "--to-block", "latest"]);
    assert_eq!(place.alerts(&[]).len(), 5);
    assert_eq!(place.status()["filtered"], json!([]));
    place.ok(&["query", "--from-block", "1", "--to-block", "5", "--require-complete"]);
    let place = Place::watching(&[(watched, "new")]);
    place.ok(&["replay", "-r", &proxy.url, "--from-block", "0", "--to-block", "latest"]);
    for method in ["eth_getLogs", "trace_filter"] {
        assert!(asked(&proxy, method).is_empty(), "{method}");
    }
}

#[test]
fn what_cannot_be_filtered_is_refused_before_anything_is_asked() {
    // Nobody listens there: whoever is asked would be missed.
    let nobody = ["replay", "--filtered", "-r", "http://127.0.0.1:9"];
    let range = ["--from-block", "0", "--to-block", "9"];
    let addresses = |count: u64| -> Vec<(Address, &str)> {
        (1..=count).map(|n| (Address::left_padding_from(&n.to_be_bytes()), "x")).collect()
    };
    let refused = |place: &Place, more: &[&str], why: &str| {
        let out = place.run(&[&nobody, more].concat());
        assert_eq!(out.status.code(), Some(1), "{more:?}: {}", stderr(&out));
        // A database that was not there is made, which is said as well.
        let said = stderr(&out);
        let lines: Vec<_> = said.lines().filter(|line| !line.contains("there is no database at")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(stderr(&out).contains(why), "{more:?}: {}", stderr(&out));
    };
    refused(&Place::watching(&addresses(501)), &range, "at most 500 addresses, this one has 501");
    refused(&Place::new(), &range, "which is empty");
    refused(&Place::watching(&[(Address::ZERO, "none")]), &range, "zero address");
    let place = Place::watching(&addresses(500));
    refused(&place, &[&range[..], &["--archive", "x.jsonl"]].concat(), "--archive");
    refused(&place, &[&range[..], &["--senders", "all"]].concat(), "--senders");
    refused(&place, &["--holes"], "--holes");
    let out = place.run(&[&nobody, &range[..], &["--timeout", "0.05"]].concat());
    assert_eq!(out.status.code(), Some(75), "500 are not too many: {}", stderr(&out));
}
