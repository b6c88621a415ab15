//! Completeness over any history: random sequences of imports, additions, removals, replays, look-backs, reorgs and reverts, against a
//! model. Drives `screen`, `store` and the checks of `attest` and `--require-complete` directly, with no process and no node.
//!
//! - (a) Where a fresh run with the present lists finds an alert that the store lacks, `attest` and `--require-complete` refuse.
//! - (b) Where they refuse for the lists' sake, a look-back has something to do, and it makes them accept.
//! - (c) After a look-back the digest equals that of the fresh run.
//!
//! BOLO_TEST_HISTORIES and BOLO_TEST_HISTORIES_SEED set the number of sequences and the seed (tests/long/histories).
#![cfg(test)]

mod checks;
mod content;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use alloy::primitives::keccak256;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use self::checks::Ask;
use self::content::{Chain, Content, Decoder, Form, Payment, Reading, Shown, Unknown, time};
use self::world::World;
use crate::screen::ListKind;

const BLOCKS: u64 = 12;
/// Blocks above this one have another version, which a reorg brings.
const FORK: u64 = 8;
/// From this block on, logs show internal ETH (EIP-7708).
const NATIVE_LOGS_FROM: u64 = 6;
/// Addresses that lists may have.
const ADDRESSES: u8 = 5;
/// Addresses that lists never have.
const STRANGERS: u8 = 3;
const LISTS: [&str; 3] = ["first", "second", "third"];
const DAY: i64 = 86_400;
/// After every block and every file.
const LATE: i64 = 1_000 * DAY;
/// Sequences of a normal run.
const CASES: u32 = 2_000;
/// At least one sequence in so many has an address that is attested.
const GRANTED_ONE_IN: u64 = 4;
/// The share of steps that a question follows.
const ASKED_SHARE: f64 = 0.22;
/// A failing sequence is made smaller for so long, in milliseconds.
const SHRINK_MS: u32 = 20_000;

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
    /// `bolo revert`, above that block.
    Revert(u64),
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
    let decoder = prop_oneof![8 => Just(Decoder::Current), 1 => Just(Decoder::Other), 1 => Just(Decoder::Older)];
    let often = proptest::bool::weighted(0.8);
    (any::<bool>(), any::<bool>(), often, proptest::bool::weighted(0.1), decoder)
        .prop_map(|(index, traces, senders, trust, decoder)| Reading { index, traces, senders, trust, decoder })
}

fn list_steps() -> impl Strategy<Value = ListStep> {
    let kind = proptest::option::weighted(
        0.5,
        prop_oneof![
            2 => Just(ListKind::Blocking),
            2 => Just(ListKind::Own),
            1 => Just(ListKind::Internal),
            1 => Just(ListKind::Advisory),
        ],
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

fn asks() -> impl Strategy<Value = Ask> {
    let few = (0..=BLOCKS, 0..3u64).prop_map(|(first, more)| (first, BLOCKS.min(first + more)));
    (proptest::option::weighted(0.8, 0..ADDRESSES), prop_oneof![3 => few, 1 => ranges()], any::<(bool, bool)>())
        .prop_map(|(who, range, by_time)| Ask { who, range, by_time })
}

/// Steps, some of them with a question that is asked afterwards.
fn steps() -> impl Strategy<Value = Vec<(Step, Option<Ask>)>> {
    let step = prop_oneof![
        16 => list_steps().prop_map(Step::List),
        10 => (ranges(), readings()).prop_map(|(range, reading)| Step::Replay(range, reading)),
        8 => (ranges(), readings(), 1u64..6).prop_map(|(range, reading, most)| Step::LookBack(range, reading, most)),
        2 => Just(Step::Reorg),
        1 => (0..BLOCKS).prop_map(Step::Revert),
    ];
    proptest::collection::vec((step, proptest::option::weighted(ASKED_SHARE, asks())), 5..=40)
}

fn chains() -> impl Strategy<Value = Chain> {
    let anyone = 0..ADDRESSES + STRANGERS;
    let shown = prop_oneof![
        4 => Just(Shown::Always),
        1 => Just(Shown::BySenders),
        1 => Just(Shown::ByTraces),
        1 => Just(Shown::ByDecoder),
    ];
    let form = prop_oneof![
        2 => Just(Form::Native),
        1 => Just(Form::Token),
        3 => (0..ADDRESSES).prop_map(Form::Operated),
        1 => Just(Form::Withdrawal),
    ];
    let payment = (anyone.clone(), anyone.clone(), form, shown).prop_map(|(from, to, form, shown)| Payment {
        from,
        to,
        form,
        shown,
    });
    let names = proptest::collection::vec(anyone.clone(), 0..3);
    let unknown = (names, any::<bool>(), proptest::bool::weighted(0.1)).prop_map(|(names, frame, anybody)| Unknown {
        names,
        frame,
        anybody,
    });
    let unknown = prop_oneof![6 => Just(Vec::new()), 1 => proptest::collection::vec(unknown, 1..4)];
    let beneficiary = prop_oneof![9 => Just(ADDRESSES), 1 => anyone];
    let block = (proptest::collection::vec(payment, 0..3), unknown, beneficiary)
        .prop_map(|(payments, unknown, beneficiary)| Content { payments, unknown, beneficiary });
    let blocks = proptest::collection::vec(block, BLOCKS as usize + 1);
    (blocks.clone(), blocks).prop_map(|(a, b)| [a, b])
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text} is no number")))
}

/// Runs a sequence; whether an address that is watched was attested.
fn run(chain: &Chain, steps: &[(Step, Option<Ask>)], last: Reading) -> bool {
    let mut world = World::new(chain);
    let mut attested = false;
    for (step, ask) in steps {
        world.apply(step);
        if let Some(ask) = ask {
            attested |= world.check_answer(ask);
        }
    }
    for who in [None, Some(0)] {
        attested |= world.check_answer(&Ask { who, range: (0, BLOCKS), by_time: (false, false) });
    }
    let fresh = world.fresh();
    world.check_lists(&fresh);
    fresh.done();
    world.check_look_back(last);
    world.check_full_replay();
    world.done();
    attested
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
                let config =
                    Config { cases: share, failure_persistence: None, max_shrink_time: SHRINK_MS, ..Config::default() };
                let seed = keccak256([seed.to_be_bytes(), u64::from(worker).to_be_bytes()].concat());
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.0);
                let outcome = TestRunner::new_with_rng(config, rng).run(
                    &(chains(), steps(), readings()),
                    |(chain, steps, last)| {
                        let attested = run(&chain, &steps, last);
                        steps_taken.fetch_add(steps.len() as u64, Ordering::Relaxed);
                        granted.fetch_add(u64::from(attested), Ordering::Relaxed);
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
