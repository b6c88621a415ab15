//! Endpoints that lie, lag and die, on a rich chain: whatever one of them does, an honest one beside it makes the run a clean one,
//! and alone it gets nothing false or incomplete past bolo.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Place, timeless_all};
use crate::proxy::{Committed, Plan, Proxy, dice};
use crate::rich::Chain;
use crate::sins::{Asked, Fault, Sin};

/// A run that takes longer hangs.
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// The exit code and the log of a run.
struct Run {
    code: i32,
    log: String,
}

fn replay(place: &Place, urls: &[&str], blocks: RangeInclusive<u64>, extra: &[&str]) -> Run {
    let (from, to) = (blocks.start().to_string(), blocks.end().to_string());
    let mut args = vec!["--log-format", "json", "replay", "--from-block", &from, "--to-block", &to];
    args.extend(["--traces", "require"]);
    args.extend(urls.iter().flat_map(|url| ["-r", url]));
    args.extend(extra);
    let log = place.dir.path().join("replay.log");
    let mut child = place.command(&args).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > LONGEST_RUN {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs: {}", std::fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Run { code: status.code().expect("an exit code"), log: std::fs::read_to_string(&log).unwrap() }
}

/// Runs the check for each kind, many at once, since most of it is waiting; says which failed.
fn each_kind(kinds: Vec<Sin>, check: impl Fn(Sin) + Sync) {
    assert!(!kinds.is_empty());
    let (kinds, failed) = (std::sync::Mutex::new(kinds), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(kind) = { kinds.lock().unwrap().pop() } {
                    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(kind)));
                    if let Err(cause) = checked {
                        let cause = cause.downcast_ref::<String>().map_or("(see above)", String::as_str);
                        failed.lock().unwrap().push(format!("{kind:?}: {cause}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n---\n"));
}

/// Enough for a clean answer on a busy machine; what never comes is not waited for so long.
fn timeout(sin: Sin) -> [&'static str; 2] {
    ["--timeout", if matches!(sin, Sin::Hang | Sin::Drip | Sin::HugeBody) { "1.5" } else { "10" }]
}

/// With an honest endpoint beside the sinner, which may be asked so early, on a busy machine, that the sinner never is: then once more.
fn beside_an_honest_one(
    chain: &Chain,
    plan: &Plan,
    blocks: RangeInclusive<u64>,
    check: impl Fn(&Run, &Proxy, &Committed),
) {
    let sin = plan.sins[0];
    for turn in 0..8 {
        let sinner = Proxy::new(&chain.node, plan.clone());
        let honest = Proxy::new(&chain.node, Plan::honest());
        let place = chain.place();
        let alone: &[&str] = if turn % 2 == 0 { &[] } else { &["--concurrency", "1"] };
        let options = [&timeout(sin)[..], alone].concat();
        let run = replay(&place, &[&sinner.url, &honest.url], blocks.clone(), &options);
        assert_eq!(run.code, 0, "{}", run.log);
        assert_eq!(alerts(&place), chain.truth(blocks.clone()));
        assert_eq!(covered(&place), [(*blocks.start(), *blocks.end())]);
        let committed = sinner.take_committed();
        if committed.contains_key(&sin) {
            return check(&run, &sinner, &committed);
        }
    }
    panic!("it was never committed");
}

fn data_kinds() -> Vec<Sin> {
    Sin::all().into_iter().filter(|sin| matches!(sin.fault(), Fault::Data(_))).collect()
}

fn difference_kinds() -> Vec<Sin> {
    Sin::all().into_iter().filter(|sin| matches!(sin.fault(), Fault::Difference(_))).collect()
}

fn other_kinds() -> Vec<Sin> {
    Sin::all().into_iter().filter(|sin| matches!(sin.fault(), Fault::Transport | Fault::Odd)).collect()
}

fn reasons(sin: Sin) -> &'static [&'static str] {
    match sin.fault() {
        Fault::Data(reasons) => reasons,
        // Good JSON that is no block at all.
        _ if sin == Sin::DeepJson => &["cannot be read"],
        _ => &[],
    }
}

/// Every alert, as a clean run's.
pub(crate) fn alerts(place: &Place) -> Vec<Value> {
    timeless_all(&place.alerts(&["--triage", "all"]))
}

/// The same without what a run that was stopped cannot know: whether they are final.
pub(crate) fn facts(alerts: &[Value]) -> Vec<Value> {
    let fact = |alert: &Value| {
        let mut alert = alert.clone();
        alert["status"].take();
        alert["replaces"].take();
        alert
    };
    alerts.iter().map(fact).collect()
}

pub(crate) fn covered(place: &Place) -> Vec<(u64, u64)> {
    let ranges = place.status()["coverage"].as_array().unwrap().clone();
    let proven = |range: &Value| range["proof"] == "proven" && range["traces"] == true;
    assert!(ranges.iter().all(proven), "{ranges:?}");
    ranges.iter().map(|r| (r["from"].as_u64().unwrap(), r["to"].as_u64().unwrap())).collect()
}

/// Whatever was refused was of a block that was lied about, by the liar, and for a reason that it gave; returns how many times.
fn refusals(log: &str, liar: &str, committed: &Committed) -> usize {
    let given: Vec<_> = committed.keys().flat_map(|sin| reasons(*sin)).collect();
    let marks = ["does not fit", "cannot be read:", "unknown type", "transaction without", "neither"];
    let is_refusal = |line: &&str| line.contains("\"reason\"") && marks.iter().any(|mark| line.contains(mark));
    let refused: Vec<_> = log.lines().filter(is_refusal).collect();
    for line in &refused {
        assert!(line.contains(liar), "somebody else was refused: {line}");
        assert!(given.iter().any(|reason| line.contains(*reason)), "not what was wrong: {line}, but one of {given:?}");
        let json: Value = serde_json::from_str(line).unwrap();
        if let Some(block) = json["fields"]["what"].as_str().and_then(|what| what.parse::<u64>().ok()) {
            let known = committed.values().any(|blocks| blocks.contains(&block));
            assert!(known, "a clean block was refused: {line}");
        }
    }
    refused.len()
}

#[test]
fn every_kind_of_lie_beside_an_honest_endpoint_changes_nothing_and_is_named() {
    let chain = Chain::shared();
    each_kind(data_kinds(), |sin| {
        let plan = Plan::always(sin, chain.rich + 3);
        beside_an_honest_one(&chain, &plan, chain.rich..=chain.rich + 7, |run, liar, committed| {
            assert!(refusals(&run.log, liar.host(), committed) > 0, "nobody noticed: {}", run.log);
        });
    });
}

#[test]
fn who_names_another_block_at_the_end_of_a_replay_keeps_nothing_from_being_final() {
    let chain = Chain::shared();
    let blocks = chain.rich..=chain.rich + 7;
    // It is the faster by far, and its blocks are true: asked at the end which block stands there, it is asked first.
    let plan = Plan { only: Some(Asked::Header), ..Plan::always(Sin::HeaderOfAnotherFork, *blocks.end()) };
    let liar = Proxy::new(&chain.node, plan);
    let slow = Plan { delay: Duration::from_millis(300), ..Plan::honest() };
    let honest = Proxy::new(&chain.node, slow);
    let place = chain.place();
    let run = replay(&place, &[&liar.url, &honest.url], blocks.clone(), &["--concurrency", "1"]);
    assert_eq!(run.code, 0, "{}", run.log);
    let committed = liar.take_committed();
    assert!(refusals(&run.log, liar.host(), &committed) > 0, "nobody noticed: {}", run.log);
    assert_eq!(alerts(&place), chain.truth(blocks));
}

#[test]
fn receipts_that_come_in_batches_are_proven_as_those_of_a_whole_block_are() {
    let chain = Chain::shared();
    // Those that leave as many receipts as were asked for.
    let shorter = [Sin::DropReceipt, Sin::DropLastReceipts, Sin::EmptyReceipts];
    let kinds = data_kinds().into_iter().filter(|sin| sin.touches(Asked::Batch) && !shorter.contains(sin));
    each_kind(kinds.collect(), |sin| {
        let plan = Plan { bare: true, ..Plan::always(sin, chain.rich + 3) };
        beside_an_honest_one(&chain, &plan, chain.rich..=chain.rich + 5, |run, liar, committed| {
            assert!(refusals(&run.log, liar.host(), committed) > 0, "nobody noticed: {}", run.log);
        });
    });
}

#[test]
fn every_kind_of_lie_alone_stops_a_replay_at_the_block_with_nothing_of_it_stored() {
    let chain = Chain::shared();
    let blocks = chain.rich..=chain.rich + 7;
    each_kind(data_kinds(), |sin| {
        let first = chain.rich + 3;
        let liar = Proxy::new(&chain.node, Plan::always(sin, first));
        let place = chain.place();
        let run = replay(&place, &[&liar.url], blocks.clone(), &[&["--concurrency", "1"], &timeout(sin)[..]].concat());
        assert_eq!(run.code, 4, "{}", run.log);
        assert!(reasons(sin).iter().any(|reason| run.log.contains(reason)), "{}", run.log);
        assert_eq!(covered(&place), [(chain.rich, first - 1)]);
        assert_eq!(facts(&alerts(&place)), facts(&chain.truth(chain.rich..=first - 1)));
    });
}

#[test]
fn every_field_that_differs_from_what_is_proven_changes_nothing_and_is_counted() {
    let chain = Chain::shared();
    let blocks = chain.rich..=chain.rich + 7;
    each_kind(difference_kinds(), |sin| {
        let Fault::Difference(fields) = sin.fault() else { unreachable!() };
        let endpoint = Proxy::new(&chain.node, Plan::always(sin, chain.rich));
        let place = chain.place();
        let run = replay(&place, &[&endpoint.url], blocks.clone(), &timeout(sin));
        assert_eq!(run.code, 0, "{}", run.log);
        assert!(endpoint.take_committed().contains_key(&sin), "it was never committed: {}", run.log);
        assert_eq!(alerts(&place), chain.truth(blocks.clone()));
        assert_eq!(covered(&place), [(*blocks.start(), *blocks.end())]);
        let status = place.status();
        let counted = status["endpoints"][0]["differences"].as_array().unwrap().clone();
        let counts = |difference: &Value| {
            fields.iter().any(|field| difference["field"] == *field) && difference["differences"].as_u64() > Some(0)
        };
        assert!(counted.iter().any(counts), "{counted:?} instead of {fields:?}");
        assert_eq!(status["lies"]["count"], 0, "a difference is no lie: {}", run.log);
        assert!(place.ok(&["status"]).contains("differed from what is proven"));
    });
}

#[test]
fn every_fault_on_the_way_beside_an_honest_endpoint_changes_nothing() {
    let chain = Chain::shared();
    each_kind(other_kinds(), |sin| {
        let plan = Plan::always(sin, chain.rich + 3);
        beside_an_honest_one(&chain, &plan, chain.rich..=chain.rich + 7, |run, faulty, committed| {
            refusals(&run.log, faulty.host(), committed);
        });
    });
}

#[test]
fn a_fault_that_passes_is_waited_out_even_where_there_is_no_other_endpoint() {
    let chain = Chain::shared();
    let blocks = chain.rich..=chain.rich + 4;
    each_kind(other_kinds(), |sin| {
        let plan = Plan { times: Some(1), ..Plan::always(sin, chain.rich + 2) };
        let faulty = Proxy::new(&chain.node, plan);
        let place = chain.place();
        let run =
            replay(&place, &[&faulty.url], blocks.clone(), &[&["--concurrency", "2"], &timeout(sin)[..]].concat());
        assert_eq!(run.code, 0, "{}", run.log);
        assert!(faulty.take_committed().contains_key(&sin), "it was never committed: {}", run.log);
        assert_eq!(alerts(&place), chain.truth(blocks.clone()));
        assert_eq!(covered(&place), [(*blocks.start(), *blocks.end())]);
    });
}

#[test]
fn a_fault_that_lasts_where_there_is_no_other_endpoint_leaves_no_hole_and_says_to_try_again() {
    let chain = Chain::shared();
    let blocks = chain.rich..=chain.rich + 4;
    each_kind(other_kinds(), |sin| {
        let first = chain.rich + 2;
        let faulty = Proxy::new(&chain.node, Plan::always(sin, first));
        let place = chain.place();
        let run =
            replay(&place, &[&faulty.url], blocks.clone(), &[&["--concurrency", "1"], &timeout(sin)[..]].concat());
        assert!(faulty.take_committed().contains_key(&sin), "it was never committed: {}", run.log);
        let whole = sin.fault() == Fault::Odd && run.code == 0;
        assert!(whole || run.code == 75, "exit {}: {}", run.code, run.log);
        let last = if whole { *blocks.end() } else { first - 1 };
        assert_eq!(covered(&place), [(chain.rich, last)]);
        assert_eq!(facts(&alerts(&place)), facts(&chain.truth(chain.rich..=last)));
    });
}

#[test]
fn a_thousand_blocks_from_an_endpoint_with_all_faults_and_an_honest_one_are_as_from_a_clean_one() {
    let chain = Chain::shared();
    each_kind_of_seed(&[1, 2, 3], |seed| {
        let sins: Vec<_> = Sin::all().into_iter().filter(|sin| seed == 3 || !sin.needs_batches()).collect();
        let plan = Plan { bare: seed == 3, ..Plan::mix(seed, 40, sins) };
        let sinner = Proxy::new(&chain.node, plan);
        // It says nothing false, but is busy at times: then the sinner is asked again.
        let busy = vec![Sin::Status429, Sin::Status503, Sin::HangUp];
        let honest = Proxy::new(&chain.node, Plan { times: Some(1), ..Plan::mix(seed + 100, 5, busy) });
        let place = chain.place();
        let (mut next, mut kinds, mut refused) = (0, BTreeSet::new(), 0);
        // In stretches: each run meets the sinner without knowing it.
        while next <= chain.head {
            let roll = dice(seed, 1_000_000 + next);
            let last = (next + 10 + roll % 50).min(chain.head);
            let concurrency = ["1", "4", "16"][usize::try_from(roll >> 8).unwrap() % 3];
            let run = replay(
                &place,
                &[&sinner.url, &honest.url],
                next..=last,
                &["--concurrency", concurrency, "--timeout", "1"],
            );
            assert_eq!(run.code, 0, "seed {seed}, blocks {next} to {last}: {}", run.log);
            let committed = sinner.take_committed();
            refused += refusals(&run.log, sinner.host(), &committed);
            kinds.extend(committed.into_keys());
            next = last + 1;
        }
        assert!(kinds.len() > 5 && refused > 0, "seed {seed}: {kinds:?}, {refused} refused");
        assert_eq!(covered(&place), [(0, chain.head)], "seed {seed}");
        assert_eq!(alerts(&place), chain.truth, "seed {seed}");
        assert_eq!(place.status()["holes"], json!([]));
    });
}

/// One thread for each.
fn each_kind_of_seed(seeds: &[u64], check: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        let running: Vec<_> = seeds.iter().map(|seed| scope.spawn(|| check(*seed))).collect();
        for thread in running {
            if let Err(cause) = thread.join() {
                std::panic::resume_unwind(cause);
            }
        }
    });
}
