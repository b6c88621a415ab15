//! Blocks going in together and again, and what the ledger says of their senders.
#![cfg(test)]

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use tempfile::TempDir;

use super::*;
use crate::chain::canonical::Link;
use crate::chain::{Differences, Proof};
use crate::decode::{Activity, ActivityKind, Asset, Location, Plane, Position};
use crate::lists::ParsedEntry;
use crate::screen::{Alert, Designation, Direction, Severity, Triage, TriageClass, alert_id};

pub(super) const WATCHED: Address = Address::repeat_byte(0xaa);

pub(super) fn hash(number: u64) -> B256 {
    B256::with_last_byte(u8::try_from(number + 1).unwrap())
}

pub(super) fn open() -> (TempDir, Store) {
    let place = TempDir::new().unwrap();
    let mut store = Store::open(&place.path().join("bolo.db"), Access::Write { durable: false }).unwrap();
    watch(&mut store, WATCHED);
    (place, store)
}

pub(super) fn watch(store: &mut Store, address: Address) {
    let entry = ParsedEntry::bare(address);
    store.add_entry(&ManualEntry { list: "mine", kind: None, entry: &entry, now: 1 }).unwrap();
}

/// A block with two alerts, of new and of known addresses.
pub(super) fn record(store: &Store, number: u64, senders: bool) -> BlockRecord {
    let alert = |place: u32| {
        let location = record_location(place);
        Alert {
            id: alert_id(1, hash(number), &location, WATCHED),
            activity: Activity {
                location,
                kind: ActivityKind::NativeTransfer,
                from: Some(WATCHED),
                to: Some(Address::with_last_byte(u8::try_from(number).unwrap())),
                asset: Asset::Native,
                amount: U256::from(number),
                token_id: None,
                frame: None,
                operator: None,
            },
            watched: WATCHED,
            direction: Direction::Out,
            matched: vec![(1, Designation::Unknown)],
            severity: Severity::High,
            triage: Triage { class: TriageClass::Value, reasons: Vec::new() },
        }
    };
    let facts = TransactionFacts {
        hash: hash(number + 100),
        signer: WATCHED,
        to: Some(Address::with_last_byte(7)),
        success: Some(true),
        first_log_index: 0,
    };
    BlockRecord {
        chain_id: 1,
        link: Link { number, hash: hash(number), parent_hash: number.checked_sub(1).map(hash).unwrap_or_default() },
        timestamp: 1_700_000_000 + number,
        proof: Proof::Proven,
        traces: false,
        native_logs: false,
        senders,
        watch_revision: store.watch_revision().unwrap(),
        decoder: 1,
        endpoint: "e".to_owned(),
        seen_at_ms: 0,
        alerts: vec![alert(0), alert(1)],
        transactions: BTreeMap::from([(0, facts.clone()), (1, facts)]),
        undecoded: BTreeMap::new(),
        evidence: None,
        named: Default::default(),
        beneficiary: Address::ZERO,
        lookback: None,
        differences: Differences::default(),
        missing_traces: None,
        progress: Progress::Replay,
    }
}

/// Appends blocks of those numbers as a watch does.
pub(super) fn append_at_head(store: &mut Store, numbers: impl IntoIterator<Item = u64>) {
    let at_head = |number| BlockRecord { progress: Progress::Head, ..record(store, number, true) };
    let records: Vec<_> = numbers.into_iter().map(at_head).collect();
    store.append_all(&records).unwrap();
}

impl Store {
    /// With so many blocks that are proven, and above them some that are not, all screened before an address was added.
    pub(crate) fn with_blocks(proven: u64, on_trust: u64) -> Self {
        let mut store = Self::in_memory(None);
        let records: Vec<_> = (0..proven + on_trust)
            .map(|number| {
                let proof = if number < proven { Proof::Proven } else { Proof::Unproven };
                BlockRecord { proof, alerts: Vec::new(), ..record(&store, number, true) }
            })
            .collect();
        store.append_all(&records).unwrap();
        watch(&mut store, WATCHED);
        store
    }

    /// The lines that the digest is of.
    pub(crate) fn digest_lines(&self) -> Vec<String> {
        let mut statement =
            self.conn.prepare_cached("SELECT line FROM digest_lines ORDER BY part, number, place, side, line").unwrap();
        let lines = statement.query_map([], |row| row.get(0)).unwrap();
        lines.collect::<rusqlite::Result<_>>().unwrap()
    }

    /// A store in memory. One of before, emptied, keeps its prepared statements, which cost more than what a short test does with them.
    pub(crate) fn in_memory(before: Option<Self>) -> Self {
        let Some(store) = before else {
            let folder = tempfile::tempdir().unwrap();
            let access = Access::Write { durable: false };
            let mut store = Self::open(&folder.path().join("a.db"), access).unwrap();
            store.conn = Connection::open_in_memory().unwrap();
            store.prepare(access).unwrap();
            return Self { folder: Some(folder), ..store };
        };
        let tables: Vec<String> = store
            .conn
            .prepare_cached(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'words' AND name NOT LIKE 'sqlite%'",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        store.conn.pragma_update(None, "foreign_keys", false).unwrap();
        for table in tables {
            store.conn.prepare_cached(&format!("DELETE FROM {table}")).unwrap().execute([]).unwrap();
        }
        store.conn.pragma_update(None, "foreign_keys", true).unwrap();
        store
    }
}

fn has_senders(store: &Store) -> Vec<bool> {
    store.ledger(0, 100).unwrap().iter().map(|ledger| ledger.range.senders).collect()
}

#[test]
fn many_blocks_in_one_transaction_are_what_they_are_one_by_one() {
    let ((_a, mut together), (_b, mut one_by_one)) = (open(), open());
    let records: Vec<_> = (0..20).map(|number| record(&together, number, true)).collect();
    let committed = together.append_all(&records).unwrap();
    let single: Vec<_> = records.iter().map(|record| one_by_one.append(record).unwrap()).collect();
    assert_eq!(committed, single);
    assert_eq!(committed.iter().map(|block| block.new_alerts.len()).sum::<usize>(), 40);
    assert_eq!(committed[3].new_alerts, [7, 8], "each is told which alerts are its own");
    assert_eq!(together.digest().unwrap(), one_by_one.digest().unwrap());
    assert_eq!(together.ledger_differences().unwrap(), vec![]);
    assert_eq!(together.append_all(&[]).unwrap(), vec![]);
}

#[test]
fn of_many_blocks_all_are_there_or_none() {
    let (_place, mut store) = open();
    let good: Vec<_> = (0..5).map(|number| record(&store, number, true)).collect();
    let mut bad = good.clone();
    bad[4].link.parent_hash = B256::repeat_byte(9);
    assert!(matches!(store.append_all(&bad), Err(StoreError::Contradiction { number: 4, .. })));
    assert_eq!(store.ledger(0, 100).unwrap(), vec![]);
    assert_eq!(store.each_alert::<StoreError>(&AlertFilter::default(), |_| Ok(())).unwrap(), 0);
    // The ids of addresses that the failed transaction added are forgotten with it.
    store.append_all(&good).unwrap();
    assert_eq!(store.each_alert::<StoreError>(&AlertFilter::default(), |_| Ok(())).unwrap(), 10);
    watch(&mut store, Address::repeat_byte(0xbb));
    let mut next: Vec<_> = (5..8).map(|number| record(&store, number, true)).collect();
    next[2].watch_revision -= 1;
    assert!(matches!(store.append_all(&next), Err(StoreError::StaleWatchlist)));
    assert_eq!(store.highest().unwrap(), Some(4));
}

#[test]
fn the_ledger_says_of_which_blocks_every_sender_was_recovered() {
    let (_place, mut store) = open();
    let mut records: Vec<_> = (0..6).map(|number| record(&store, number, number < 3)).collect();
    // A block taken on trust has no proven sender, whoever says so.
    records[5] = BlockRecord { proof: Proof::Unproven, senders: true, ..records[5].clone() };
    store.append_all(&records).unwrap();
    assert_eq!(has_senders(&store), [true, false, false]);
    let complete = |store: &Store, number, proof, senders| {
        let block = Link { number, hash: hash(number), parent_hash: B256::ZERO }.id();
        store.is_complete(block, proof, 1, false, senders, false).unwrap()
    };
    // Blocks of alerts without a proof kept are taken again anyway: only these have none.
    assert!(!complete(&store, 0, Proof::Proven, true));
    store.conn.execute("INSERT INTO proofs SELECT id, x'00' FROM blocks", []).unwrap();
    assert!(complete(&store, 0, Proof::Proven, true) && complete(&store, 0, Proof::Proven, false));
    assert!(!complete(&store, 4, Proof::Proven, true) && complete(&store, 4, Proof::Proven, false));
    assert!(complete(&store, 5, Proof::Unproven, true), "on trust there is none to recover");
    let coverage = |from, to| store.block_coverage(from, to).unwrap();
    assert!(coverage(0, 2).is_complete());
    assert!(!coverage(0, 4).is_complete(), "a transfer out of a matched block may have been missed");
    assert_eq!((coverage(0, 5).proven, coverage(0, 5).senders), (5, 3));
    let ranges: Vec<_> = store.coverage().unwrap().iter().map(|range| (range.from, range.to)).collect();
    assert_eq!(ranges, [(0, 2), (3, 4), (5, 5)]);
}

#[test]
fn a_block_taken_again_gains_its_senders_and_keeps_them() {
    let (_place, mut store) = open();
    let matched: Vec<_> = (0..3).map(|number| record(&store, number, false)).collect();
    let all: Vec<_> = (0..3).map(|number| record(&store, number, true)).collect();
    store.append_all(&matched).unwrap();
    let before = store.digest().unwrap();
    store.append_all(&all).unwrap();
    assert_eq!(has_senders(&store), [true]);
    assert_ne!(store.digest().unwrap(), before, "the digest tells the two apart");
    store.append_all(&matched).unwrap();
    assert_eq!(has_senders(&store), [true]);
    assert_eq!(store.ledger_differences().unwrap(), vec![]);
}

#[test]
fn what_a_block_was_looked_at_with_before_says_nothing_of_a_longer_list() {
    let (_place, mut store) = open();
    let first = BlockRecord { traces: true, ..record(&store, 0, true) };
    store.append(&first).unwrap();
    watch(&mut store, Address::repeat_byte(0xbb));
    let taken = |store: &Store| {
        let range = store.ledger(0, 0).unwrap()[0].range;
        (range.proven, range.traces, range.senders)
    };
    store.append(&record(&store, 0, false)).unwrap();
    assert_eq!(taken(&store), (true, false, false), "the new entry was looked for without either");
    let trusted = BlockRecord { proof: Proof::Unproven, ..record(&store, 0, false) };
    store.append(&trusted).unwrap();
    assert_eq!(taken(&store), (true, false, false), "the same lists were looked for in a proven block");
    let screened = store.ledger(0, 0).unwrap()[0].watch_revision;
    watch(&mut store, Address::repeat_byte(0xcc));
    let held = store.digest().unwrap();
    let trusted = BlockRecord { proof: Proof::Unproven, ..record(&store, 0, false) };
    let more = Alert { watched: Address::repeat_byte(0xcc), id: hash(77), ..trusted.alerts[0].clone() };
    let trusted = BlockRecord { alerts: vec![more], ..trusted };
    assert!(store.append(&trusted).unwrap().new_alerts.is_empty(), "an alert found on trust must not pass for proven");
    assert_eq!(taken(&store), (true, false, false), "nor are those that are proven to be taken for trusted");
    assert_eq!(store.ledger(0, 0).unwrap()[0].watch_revision, screened, "it was not screened for the new entry");
    assert_eq!(store.digest().unwrap(), held);
    store.append(&record(&store, 0, true)).unwrap();
    assert_eq!(taken(&store), (true, false, true));
    assert_eq!(store.ledger_differences().unwrap(), vec![]);
}

pub(super) fn record_location(place: u32) -> Location {
    Location { tx_index: Some(place), plane: Plane::Transactions, position: Position::Whole, sub_index: 0 }
}

#[test]
fn what_is_read_at_one_moment_does_not_see_what_is_written_after_it() {
    let (place, mut store) = open();
    store.jump(1, 40).unwrap();
    let path = place.path().join("bolo.db");
    let reader = Store::open(&path, Access::Read).unwrap().at_one_moment().unwrap();
    assert_eq!(reader.owed().unwrap(), [(1, 39)]);
    store.start_over().unwrap();
    assert_eq!((reader.owed().unwrap(), reader.watch_next().unwrap()), (vec![(1, 39)], Some(40)));
    let later = Store::open(&path, Access::Read).unwrap().at_one_moment().unwrap();
    assert_eq!((later.owed().unwrap(), later.watch_next().unwrap()), (Vec::new(), Some(1)));
}

#[test]
fn of_a_span_of_time_only_the_ends_are_looked_up() {
    let (_place, mut store) = open();
    let records: Vec<_> = (0..20).map(|number| record(&store, number, true)).collect();
    store.append_all(&records).unwrap();
    store.revert(17, Progress::Replay).unwrap();
    let ends = |since, until| {
        let named = NamedRange { since, until, ..NamedRange::default() };
        store.blocks_of(&named, 0).unwrap().map(|range| (range.first, range.last))
    };
    let time = |number: i64| Some(1_700_000_000 + number);
    assert_eq!(ends(None, None), Some((0, 17)), "what a reorg replaced is no end");
    assert_eq!(ends(time(3), time(9)), Some((3, 9)));
    assert_eq!((ends(time(18), None), ends(None, time(-1))), (None, None));
    for order in ["ASC", "DESC"] {
        let explain = format!("EXPLAIN QUERY PLAN {}", coverage::end_in_time(order));
        let mut statement = store.conn.prepare(&explain).unwrap();
        let rows = statement.query_map([0, 9, 1], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = rows.collect::<rusqlite::Result<_>>().unwrap();
        assert!(steps[0].starts_with("SEARCH blocks USING INDEX blocks_by_time (timestamp>"), "{steps:?}");
        let whole = steps.iter().any(|step| step.contains("B-TREE FOR ORDER BY"));
        assert!(!whole, "{steps:?}");
    }
}
