//! Completeness over any history: random sequences of imports, additions, removals, replays, look-backs and reorgs, against a model.
//! Drives `screen` and `store` directly, with no process and no node.
//!
//! - (a) Where a fresh run with the present lists finds an alert that the store lacks, `attest` and `--require-complete` refuse.
//! - (b) Where they refuse for the lists' sake, a look-back has something to do, and it makes them accept.
//! - (c) After a look-back the digest equals that of the fresh run.
//!
//! BOLO_TEST_HISTORIES and BOLO_TEST_HISTORIES_SEED set the number of sequences and the seed (tests/long/histories).
#![cfg(test)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use alloy::primitives::{Address, B256, U256, keccak256};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::screened::shortfall;
use crate::chain::canonical::Link;
use crate::chain::{Differences, Proof};
use crate::decode::{Activity, ActivityKind, Asset, Location, Plane, Position};
use crate::lists::ParsedEntry;
use crate::pipeline::Scan;
use crate::screen::{Designation, ListKind, WatchEntry, Watchlist, lookback, screen_activities};
use crate::store::{AlertFilter, BlockRecord, ListFile, ManualEntry, Progress, Store, StoreError, TransactionFacts};

const BLOCKS: u64 = 12;
/// Blocks above this one have another version, which a reorg brings.
const FORK: u64 = 8;
const ADDRESSES: u8 = 5;
const LISTS: [&str; 3] = ["first", "second", "third"];
const DAY: i64 = 86_400;
const DECODER: i64 = 1;
/// After every block and every file.
const LATE: i64 = 1_000 * DAY;
/// Sequences of a normal run.
const CASES: u32 = 2_000;
/// At least one sequence in so many has an address that is attested.
const GRANTED_ONE_IN: u64 = 4;

fn address(number: u8) -> Address {
    Address::repeat_byte(0xa0 + number)
}

/// What has to be known of a block to see an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    /// The endpoint names another sender.
    BySenders,
    ByTraces,
}

/// Who pays whom, and how it shows. Numbers from [`ADDRESSES`] on are strangers.
type Payment = (u8, u8, Shown);
/// The payments of each block of both versions of the chain.
type Chain = [Vec<Vec<Payment>>; 2];

/// How blocks are read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    index: bool,
    traces: bool,
    senders: bool,
    trust: bool,
}

#[derive(Debug, Clone)]
enum ListStep {
    /// List, kind, date, and what the file says of each address: label, and whether it has a legal begin.
    Import(usize, Option<ListKind>, Option<i64>, Vec<Option<(u8, bool)>>),
    Add(usize, u8, u8, i64),
    Remove(u8, Option<usize>, i64),
}

#[derive(Debug, Clone)]
enum Step {
    List(ListStep),
    Replay((u64, u64), Reading),
    LookBack((u64, u64), Reading, u64),
    Reorg,
}

fn time(number: u64) -> u64 {
    number * 10 * DAY as u64
}

/// At, just before and just after a block, or between two.
fn dates() -> impl Strategy<Value = i64> {
    (1..=BLOCKS, prop_oneof![Just(-1), Just(0), Just(1), Just(5 * DAY)])
        .prop_map(|(number, by)| time(number) as i64 + by)
}

fn ranges() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        2 => Just((0, BLOCKS)),
        3 => (0..=BLOCKS, 0..=BLOCKS).prop_map(|(a, b)| (a.min(b), a.max(b))),
    ]
}

fn readings() -> impl Strategy<Value = Reading> {
    (any::<bool>(), any::<bool>(), any::<bool>(), proptest::bool::weighted(0.15))
        .prop_map(|(index, traces, senders, trust)| Reading { index, traces, senders, trust })
}

fn list_steps() -> impl Strategy<Value = ListStep> {
    let kind = proptest::option::weighted(
        0.3,
        prop_oneof![Just(ListKind::Blocking), Just(ListKind::Own), Just(ListKind::Internal), Just(ListKind::Advisory)],
    );
    let said = proptest::collection::vec(proptest::option::of((0u8..2, any::<bool>())), usize::from(ADDRESSES));
    let by_hand = prop_oneof![Just(LATE), dates()];
    prop_oneof![
        4 => (0..LISTS.len(), kind, proptest::option::weighted(0.9, dates()), said)
            .prop_map(|(list, kind, date, said)| ListStep::Import(list, kind, date, said)),
        1 => (0..LISTS.len(), 0..ADDRESSES, 0u8..2, by_hand.clone()).prop_map(|(list, who, label, now)| ListStep::Add(list, who, label, now)),
        2 => (0..ADDRESSES, proptest::option::of(0..LISTS.len()), by_hand).prop_map(|(who, list, now)| ListStep::Remove(who, list, now)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => list_steps().prop_map(Step::List),
        5 => (ranges(), readings()).prop_map(|(range, reading)| Step::Replay(range, reading)),
        4 => (ranges(), readings(), 1u64..6).prop_map(|(range, reading, most)| Step::LookBack(range, reading, most)),
        1 => Just(Step::Reorg),
    ];
    proptest::collection::vec(step, 5..=40)
}

fn chains() -> impl Strategy<Value = Chain> {
    let shown = prop_oneof![3 => Just(Shown::Always), 1 => Just(Shown::BySenders), 1 => Just(Shown::ByTraces)];
    let payment = (0..ADDRESSES + 3, 0..ADDRESSES + 3, shown);
    let block = proptest::collection::vec(payment, 0..3);
    let blocks = proptest::collection::vec(block, BLOCKS as usize + 1);
    (blocks.clone(), blocks).prop_map(|(a, b)| [a, b])
}

fn hash(number: u64, fork: usize) -> B256 {
    let fork = if number > FORK { fork } else { 0 };
    keccak256([number.to_be_bytes(), (fork as u64).to_be_bytes()].concat())
}

thread_local! {
    /// Stores of sequences that are done.
    static EMPTIED: RefCell<Vec<Store>> = const { RefCell::new(Vec::new()) };
}

/// A store with what the model knows of it.
struct World<'a> {
    chain: &'a Chain,
    store: Store,
    fork: usize,
    /// The list steps so far, in order.
    lists: Vec<ListStep>,
    /// The watchlist as it was at each revision, with the labels of its entries.
    snapshots: Vec<Watchlist>,
}

impl<'a> World<'a> {
    fn new(chain: &'a Chain) -> Self {
        let store = Store::in_memory(EMPTIED.with_borrow_mut(Vec::pop));
        let snapshots = vec![store.watchlist().unwrap()];
        Self { chain, store, fork: 0, lists: Vec::new(), snapshots }
    }

    fn done(self) {
        EMPTIED.with_borrow_mut(|emptied| emptied.push(self.store));
    }

    fn change_lists(&mut self, step: &ListStep) {
        match step {
            ListStep::Import(list, kind, date, said) => {
                let entries: Vec<_> = (0u8..)
                    .zip(said)
                    .filter_map(|(who, said)| {
                        let (label, dated) = (*said)?;
                        Some(ParsedEntry {
                            label: Some(format!("label {label}")),
                            listed_from: dated.then_some(time(4) as i64),
                            ..ParsedEntry::bare(address(who))
                        })
                    })
                    .collect();
                let file = ListFile {
                    list: LISTS[*list],
                    kind: *kind,
                    published: *date,
                    imported_at: LATE,
                    source: "f",
                    format: "csv",
                    sha256: keccak256(format!("{said:?}")).0,
                    entries: &entries,
                    rejected: 0,
                };
                self.store.import_list(&file).unwrap();
            }
            ListStep::Add(list, who, label, now) => {
                let entry = ParsedEntry { label: Some(format!("label {label}")), ..ParsedEntry::bare(address(*who)) };
                self.store
                    .add_entry(&ManualEntry { list: LISTS[*list], kind: None, entry: &entry, now: *now })
                    .unwrap();
            }
            ListStep::Remove(who, list, now) => {
                self.store.remove_entry(address(*who), list.map(|list| LISTS[list]), *now).unwrap();
            }
        }
        self.lists.push(step.clone());
        let revision = usize::try_from(self.store.watch_revision().unwrap()).unwrap();
        // A revision that stood in between, if any, screens no block.
        while self.snapshots.len() <= revision {
            self.snapshots.push(self.store.watchlist().unwrap());
        }
    }

    fn record(&self, number: u64, reading: Reading) -> BlockRecord {
        let proof = if reading.trust { Proof::Unproven } else { Proof::Proven };
        let senders = reading.senders && !reading.trust;
        let fork = if number > FORK { self.fork } else { 0 };
        let link = Link {
            number,
            hash: hash(number, fork),
            parent_hash: number.checked_sub(1).map(|parent| hash(parent, fork)).unwrap_or_default(),
        };
        let mut activities = Vec::new();
        for (index, (from, to, shown)) in (0u32..).zip(&self.chain[fork][number as usize]) {
            if *shown == Shown::BySenders && !senders || *shown == Shown::ByTraces && !reading.traces {
                continue;
            }
            let (plane, position, kind) = match shown {
                Shown::ByTraces => (Plane::Traces, Position::Trace(vec![0]), ActivityKind::InternalTransfer),
                _ => (Plane::Transactions, Position::Whole, ActivityKind::NativeTransfer),
            };
            activities.push(Activity {
                kind,
                location: Location { tx_index: Some(index), plane, position, sub_index: 0 },
                from: Some(address(*from)),
                to: Some(address(*to)),
                asset: Asset::Native,
                amount: U256::from(1),
                token_id: None,
                frame: None,
                operator: None,
            });
        }
        let watchlist = self.snapshots.last().unwrap();
        let block = (link.hash, time(number));
        let alerts = screen_activities(1, block, &activities, |activity| activity.from, watchlist);
        let facts = |index: u32| TransactionFacts {
            hash: keccak256([&link.hash[..], &index.to_be_bytes()].concat()),
            signer: address(0),
            to: None,
            success: Some(true),
            first_log_index: 0,
        };
        BlockRecord {
            chain_id: 1,
            link,
            timestamp: time(number),
            proof,
            traces: reading.traces,
            native_logs: false,
            senders,
            watch_revision: watchlist.revision(),
            decoder: DECODER,
            endpoint: "e".to_owned(),
            seen_at_ms: 0,
            transactions: (0..4).map(|index| (index, facts(index))).collect(),
            undecoded: BTreeMap::new(),
            named: Default::default(),
            beneficiary: Address::ZERO,
            differences: Differences::default(),
            evidence: None,
            lookback: (reading.index && !reading.trust).then(|| lookback::index(&activities)),
            alerts,
            missing_traces: None,
            progress: Progress::Replay,
        }
    }

    fn read(&mut self, (from, to): (u64, u64), reading: Reading) {
        let records: Vec<_> = (from..=to).map(|number| self.record(number, reading)).collect();
        self.store.append_all(&records).unwrap();
    }

    fn look_back(&mut self, range: (u64, u64), reading: Reading, most: u64) {
        let proof = if reading.trust { Proof::Unproven } else { Proof::Proven };
        let mut scan = Scan::begin(&self.store, range, DECODER, proof).unwrap();
        let (left, mut seen) = (scan.left(), 0);
        while let Some(looked) = scan.step(&mut self.store, most).unwrap() {
            seen += looked.ruled_out;
            for span in looked.to_read {
                self.read(span, reading);
                seen += span.1 - span.0 + 1;
            }
        }
        let kept = Scan::begin(&self.store, range, DECODER, proof).unwrap().left();
        assert_eq!(left, seen + kept, "every block is ruled out, read, or left");
        assert!(kept == 0 || reading.trust);
    }

    fn reorg(&mut self) {
        self.fork = 1 - self.fork;
        for number in FORK + 1..=BLOCKS {
            self.store.revert(number - 1, Progress::Replay).unwrap();
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::List(step) => self.change_lists(step),
            Step::Replay(range, reading) => self.read(*range, *reading),
            Step::LookBack(range, reading, most) => self.look_back(*range, *reading, *most),
            Step::Reorg => self.reorg(),
        }
    }

    /// Number, revision, and how each held block was read.
    fn held(&self) -> Vec<(u64, i64, Reading)> {
        let ledger = self.store.ledger(0, BLOCKS).unwrap();
        let blocks = ledger.iter().flat_map(|ledger| {
            let range = ledger.range;
            let reading = Reading { index: false, traces: range.traces, senders: range.senders, trust: !range.proven };
            (range.from..=range.to).map(move |number| (number, ledger.watch_revision, reading))
        });
        blocks.collect()
    }

    /// The entries of an address that matched a block at a state of the lists.
    fn entries(&self, who: u8, revision: i64, number: u64) -> Vec<WatchEntry> {
        let entries = self.snapshots[usize::try_from(revision).unwrap()].get(&address(who));
        entries.iter().filter(|entry| entry.covers(time(number) as i64)).copied().collect()
    }

    /// The same as an alert says it.
    fn said(&self, who: u8, revision: i64, number: u64) -> Vec<(i64, ListKind, Designation)> {
        let entries = self.entries(who, revision, number);
        entries.iter().map(|entry| (entry.id, entry.kind, entry.designation(time(number) as i64))).collect()
    }

    /// The alerts of the store: id, address, severity, class and the entries that match, in words.
    fn alerts(&self) -> BTreeMap<B256, (Address, String)> {
        let mut found = BTreeMap::new();
        let filter = AlertFilter { any_triage: true, ..AlertFilter::default() };
        self.store
            .each_alert::<StoreError>(&filter, |row| {
                let entries = row.entries.iter().filter(|entry| entry.matches);
                let entries: Vec<_> =
                    entries.map(|entry| (&entry.list, entry.list_kind, &entry.label, entry.designation)).collect();
                found.insert(row.id, (row.watched, format!("{:?} {:?} {entries:?}", row.severity, row.triage)));
                Ok(())
            })
            .unwrap();
        found
    }

    /// A fresh run with the present lists over the held blocks, read as they are held.
    fn fresh(&self) -> World<'a> {
        let mut fresh = World::new(self.chain);
        fresh.fork = self.fork;
        for step in &self.lists {
            fresh.change_lists(step);
        }
        for (number, _, reading) in self.held() {
            fresh.read((number, number), reading);
        }
        fresh
    }

    fn refuses(&self, addresses: &[Address]) -> Option<String> {
        shortfall(&self.store, &self.store.ledger(0, BLOCKS).unwrap(), addresses).unwrap()
    }

    /// (a) and (b) of `attest` and `--require-complete`, over all that is held. How many of the watched addresses are attested.
    fn check_answers(&self, fresh: &World<'_>) -> u64 {
        let (held, now) = (self.held(), self.store.watch_revision().unwrap());
        let (stored, wanted) = (self.alerts(), fresh.alerts());
        let differs: BTreeSet<_> =
            wanted.iter().filter(|(id, alert)| stored.get(*id) != Some(alert)).map(|(_, (who, _))| *who).collect();
        let (mut granted, mut behind_for_any) = (0, false);
        for who in 0..ADDRESSES {
            let unscreened: Vec<_> =
                held.iter().filter(|(number, revision, _)| self.entries(who, *revision, *number).is_empty()).collect();
            // `attest` says that the address was not touched: refused where any block was not screened for it, and nowhere else.
            let ledger = self.store.ledger(0, BLOCKS).unwrap();
            let first = ledger.iter().find_map(|ledger| self.store.first_unscreened(address(who), ledger).unwrap());
            assert_eq!(
                first,
                unscreened.first().map(|(number, ..)| *number),
                "address {who} at revision {now}: {held:?}"
            );
            let missing = wanted.iter().any(|(id, (watched, _))| *watched == address(who) && !stored.contains_key(id));
            assert!(!missing || first.is_some(), "(a) attest: address {who} has an alert that is missing");
            let behind = |(number, ..): &&&(u64, i64, Reading)| !self.entries(who, now, *number).is_empty();
            behind_for_any |= unscreened.iter().any(|block| behind(&block));
            let refused = self.refuses(&[address(who)]);
            assert!(refused.is_some() || !differs.contains(&address(who)), "(a) --address: address {who}");
            granted += u64::from(refused.is_none() && !held.is_empty());
        }
        let lacking: u64 = self.store.lacking_entries(&self.store.ledger(0, BLOCKS).unwrap()).unwrap();
        assert_eq!(
            lacking > 0,
            behind_for_any,
            "blocks that a look-back has to look at, for an address that matches now"
        );
        let refused = self.refuses(&[]);
        assert!(refused.is_some() || differs.is_empty(), "(a) --require-complete: {differs:?}");
        // (b): the lists changed for an address of a block since it was screened.
        let changed = held.iter().any(|(number, revision, _)| {
            (0..ADDRESSES).any(|who| self.said(who, *revision, *number) != self.said(who, now, *number))
        });
        assert!(refused.is_none() || changed, "(b) {refused:?}: nothing changed");
        granted
    }

    /// (c), and (b): what was refused and can be mended is accepted.
    fn check_look_back(&mut self, reading: Reading) {
        let reading = Reading { trust: false, ..reading };
        self.look_back((0, BLOCKS), reading, 4);
        let now = self.store.watch_revision().unwrap();
        assert!(self.held().iter().all(|(_, revision, _)| *revision == now), "nothing is behind");
        let fresh = self.fresh();
        let (lines, wanted) = (self.store.digest_lines(), fresh.store.digest_lines());
        let unlike = lines.iter().zip(&wanted).find(|(line, wanted)| line != wanted);
        assert!(
            unlike.is_none() && lines.len() == wanted.len(),
            "(c) {} of {} lines: {unlike:?}",
            lines.len(),
            wanted.len()
        );
        fresh.done();
        assert_eq!(self.refuses(&[]), None, "(b) --require-complete after a look-back");
        for who in 0..ADDRESSES {
            let matched = self.held().iter().all(|(number, ..)| !self.entries(who, now, *number).is_empty());
            assert_eq!(self.refuses(&[address(who)]).is_none(), matched, "(b) address {who} after a look-back");
        }
        assert_eq!(self.store.ledger_differences().unwrap(), []);
    }
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text} is no number")))
}

#[test]
#[expect(clippy::print_stderr, reason = "tests/long/histories prints what was run")]
fn over_any_history_of_lists_and_replays_no_answer_claims_more_than_was_screened() {
    let cases: u32 = setting("BOLO_TEST_HISTORIES").unwrap_or(CASES);
    let seed: u64 = setting("BOLO_TEST_HISTORIES_SEED").unwrap_or(13);
    let (began, granted, steps_taken) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32).min(4);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (granted, steps_taken) = (&granted, &steps_taken);
            scope.spawn(move || {
                let share = cases / workers + u32::from(worker < cases % workers);
                let config = Config { cases: share, failure_persistence: None, ..Config::default() };
                let seed = keccak256([seed.to_be_bytes(), u64::from(worker).to_be_bytes()].concat());
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.0);
                let outcome = TestRunner::new_with_rng(config, rng).run(
                    &(chains(), steps(), readings()),
                    |(chain, steps, last)| {
                        let mut world = World::new(&chain);
                        for step in &steps {
                            world.take(step);
                        }
                        steps_taken.fetch_add(steps.len() as u64, Ordering::Relaxed);
                        let fresh = world.fresh();
                        let attested = world.check_answers(&fresh);
                        fresh.done();
                        granted.fetch_add(u64::from(attested > 0), Ordering::Relaxed);
                        world.check_look_back(last);
                        world.done();
                        Ok(())
                    },
                );
                outcome.unwrap_or_else(|error| match error {
                    TestError::Fail(reason, (chain, steps, last)) => {
                        panic!("worker {worker} of {workers}: {reason}\n{chain:?}\n{steps:?}\n{last:?}")
                    }
                    other => panic!("worker {worker} of {workers}: {other}"),
                });
            });
        }
    });
    let granted = granted.into_inner();
    eprintln!(
        "{cases} sequences with {} steps from seed {seed} on {workers} threads in {:.1} s; attest was granted in {granted}",
        steps_taken.into_inner(),
        began.elapsed().as_secs_f64()
    );
    assert!(granted * GRANTED_ONE_IN >= u64::from(cases), "attest was granted in {granted} of {cases} only");
}
