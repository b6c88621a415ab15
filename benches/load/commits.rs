//! What a commit costs while watching, on a database that is large already: blocks one by one, synced, through the store's own code,
//! beside what the disk takes to sync a few pages in the same moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use bolo::chain::canonical::Link;
use bolo::chain::proof::Wanted;
use bolo::chain::{Differences, Proof};
use bolo::decode::{Activity, ActivityKind, Asset, Location, Plane, Position};
use bolo::screen::{Alert, Designation, Direction, Severity, Triage, TriageClass, alert_id};
use bolo::store::{
    Access, AlertFilter, BlockRecord, Order, PackedProof, Progress, Store, StoreError, TransactionFacts,
};
use rusqlite::{Connection, OpenFlags};

use crate::chain::{Chain, FIRST};
use crate::cpu;
use crate::draw::Rng;

/// Alerts of the blocks, in turn.
const ALERTS: [usize; 3] = [0, 1, 20];
/// Blocks of each kind that come first: they fill the cache of pages.
pub(crate) const UNCOUNTED: usize = 10;
/// Pages that the floor writes and syncs.
const FLOOR_PAGES: usize = 4;
const PAGE: usize = 4096;

/// What alerts of the database are about.
struct Known {
    /// Watched addresses with an entry of each, the busiest first.
    watched: Vec<(Address, i64)>,
    others: Vec<Address>,
    tokens: Vec<Address>,
    revision: i64,
}

impl Known {
    fn read(path: &Path) -> Self {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let addresses = |sql: &str| -> Vec<(Address, i64)> {
            let mut statement = conn.prepare(sql).unwrap();
            let row = |row: &rusqlite::Row<'_>| Ok((Address::from(row.get::<_, [u8; 20]>(0)?), row.get(1)?));
            statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let alone = |sql: &str| addresses(sql).into_iter().map(|(address, _)| address).collect();
        let revision: Option<String> =
            conn.query_row("SELECT max(value) FROM meta WHERE key = 'watch_revision'", [], |row| row.get(0)).unwrap();
        Self {
            watched: addresses(
                "SELECT a.address, e.id FROM watch_entries e JOIN addresses a ON a.id = e.address_id WHERE e.state = 0 ORDER BY a.id",
            ),
            others: alone("SELECT address, id FROM addresses WHERE id NOT IN (SELECT address_id FROM watch_entries)"),
            tokens: alone(
                "SELECT a.address, t.address_id FROM tokens t JOIN addresses a ON a.id = t.address_id ORDER BY a.id",
            ),
            revision: revision.unwrap().parse().unwrap(),
        }
    }

    /// Skewed as benches/alerts.py has them: a third one address's, a third twenty's, the rest anybody's.
    fn watched(&self, rng: &mut Rng) -> (Address, i64) {
        let all = u64::try_from(self.watched.len()).unwrap();
        let index = match rng.below(3) {
            0 => 0,
            1 => 1 + rng.below(20.min(all - 1)),
            _ => rng.below(all),
        };
        self.watched[usize::try_from(index).unwrap()]
    }

    /// One in four is new to the database.
    fn other(&self, rng: &mut Rng) -> Address {
        if rng.below(4) == 0 { Address::from_word(rng.word()) } else { one_of(&self.others, rng) }
    }
}

fn one_of(all: &[Address], rng: &mut Rng) -> Address {
    all[usize::try_from(rng.below(u64::try_from(all.len()).unwrap())).unwrap()]
}

fn record(known: &Known, rng: &mut Rng, parent: Link, timestamp: u64, alerts: usize) -> BlockRecord {
    let link = Link { number: parent.number + 1, hash: rng.word(), parent_hash: parent.hash };
    let mut record = BlockRecord {
        chain_id: 1,
        link,
        timestamp,
        proof: Proof::Proven,
        traces: false,
        native_logs: false,
        senders: true,
        watch_revision: known.revision,
        decoder: 1,
        endpoint: "node.example".to_owned(),
        seen_at_ms: 1_000,
        alerts: Vec::new(),
        transactions: BTreeMap::new(),
        undecoded: BTreeMap::new(),
        evidence: None,
        named: Default::default(),
        beneficiary: Address::ZERO,
        lookback: None,
        differences: Differences::default(),
        missing_traces: None,
        progress: Progress::Head,
    };
    for place in 0..u32::try_from(alerts).unwrap() {
        let ((watched, entry), other) = (known.watched(rng), known.other(rng));
        let out = rng.below(2) == 0;
        let token = rng.below(3) > 0;
        let (from, to) = if out { (watched, other) } else { (other, watched) };
        let (plane, position) =
            if token { (Plane::Logs, Position::Log(place * 7)) } else { (Plane::Transactions, Position::Whole) };
        let location = Location { tx_index: Some(place), plane, position, sub_index: 0 };
        record.alerts.push(Alert {
            id: alert_id(1, link.hash, &location, watched),
            activity: Activity {
                location,
                kind: if token { ActivityKind::Erc20Transfer } else { ActivityKind::NativeTransfer },
                from: Some(from),
                to: Some(to),
                asset: if token { Asset::Erc20(one_of(&known.tokens, rng)) } else { Asset::Native },
                amount: rng.amount() * U256::from(rng.below(1_000_000)),
                token_id: None,
                frame: None,
                operator: None,
            },
            watched,
            direction: if out { Direction::Out } else { Direction::In },
            matched: vec![(entry, Designation::Listed)],
            severity: Severity::High,
            triage: Triage { class: TriageClass::Value, reasons: Vec::new() },
        });
        let facts = TransactionFacts {
            hash: rng.word(),
            signer: from,
            to: Some(to),
            success: Some(true),
            first_log_index: u64::from(place) * 7,
        };
        record.transactions.insert(place, facts);
    }
    record
}

/// Paths of as many transactions of a generated block: the bytes that a proof of as many alerts has.
fn evidence(chain: &Chain, number: u64, alerts: usize) -> Option<PackedProof> {
    let transactions = (0..u64::try_from(alerts).unwrap()).map(|place| place * 14).collect();
    if alerts == 0 {
        return None;
    }
    chain.verified(number).prove(&Wanted { transactions, ..Wanted::default() }).as_ref().map(PackedProof::new)
}

/// Milliseconds, and how to sum them up.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What was measured of blocks of one kind.
#[derive(Default)]
struct Measured {
    wall: Times,
    cpu: Times,
    /// Until the alerts' rows were read back too, as they are printed.
    seen: Times,
    /// A few pages written and synced, just before.
    floor: Times,
    ratio: Times,
}

pub(crate) fn run(database: &Path, commits: usize, every: Duration) {
    let known = Known::read(database);
    let chain = Chain::new(20, 20, 4);
    let mut store = Store::open(database, Access::Write { durable: true }).unwrap();
    // As in a watch, whose signs of life are written over a connection of their own.
    let mut vitals = Store::open(database, Access::Write { durable: false }).unwrap();
    let number = store.highest().unwrap().unwrap();
    let mut parent = Link { number, hash: store.hash_of(number).unwrap().unwrap(), parent_hash: B256::ZERO };
    let mut timestamp = u64::try_from(store.tip_timestamp().unwrap().unwrap()).unwrap();
    let mut rng = Rng(number);
    let probe_path = database.with_extension("floor");
    let probe = File::options().create(true).truncate(true).read(true).write(true).open(&probe_path).unwrap();
    probe.write_all_at(&vec![1; PAGE * FLOOR_PAGES], 0).unwrap();
    probe.sync_all().unwrap();

    let mut measured: BTreeMap<usize, Measured> = BTreeMap::new();
    for round in 0..commits * ALERTS.len() {
        let alerts = ALERTS[round % ALERTS.len()];
        timestamp += 12;
        let mut record = record(&known, &mut rng, parent, timestamp, alerts);
        record.evidence = evidence(&chain, FIRST + u64::try_from(round % 20).unwrap(), alerts);
        // As at the head: a block in some seconds, and nothing of the store's to do between two.
        std::thread::sleep(every);
        vitals.note_health(record.seen_at_ms, &[], &[("node.example".to_owned(), "{}".to_owned())]).unwrap();

        let begin = Instant::now();
        probe.write_all_at(&vec![round.to_le_bytes()[0]; PAGE * FLOOR_PAGES], 0).unwrap();
        probe.sync_data().unwrap();
        let floor = ms(begin.elapsed());

        let (begin, cpu_begin) = (Instant::now(), cpu());
        let committed = store.append(&record).unwrap();
        let (wall, cpu) = (ms(begin.elapsed()), ms(Duration::from_nanos(cpu() - cpu_begin)));
        let filter = AlertFilter {
            from_block: Some(record.link.number),
            to_block: Some(record.link.number),
            rows: Some(committed.new_alerts.clone()),
            any_status: true,
            any_triage: true,
            order: Order::Ascending,
            ..AlertFilter::default()
        };
        let mut read = 0;
        let each = |_| {
            read += 1;
            Ok::<_, StoreError>(())
        };
        store.each_alert(&filter, each).unwrap();
        let seen = ms(begin.elapsed());
        assert_eq!((committed.new_alerts.len(), read), (alerts, alerts), "every alert is new and read back");
        parent = record.link;
        if round >= UNCOUNTED * ALERTS.len() {
            let of = measured.entry(alerts).or_default();
            of.wall.0.push(wall);
            of.cpu.0.push(cpu);
            of.seen.0.push(seen);
            of.floor.0.push(floor);
            of.ratio.0.push(wall / floor);
        }
    }
    std::fs::remove_file(&probe_path).unwrap();
    println!(
        "| alerts in the block | commits | wall ms: quiet quarter | median | p95 | most | CPU ms median | read back ms median | floor ms: quiet quarter | median | p95 | commit / floor, median |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for (alerts, m) in measured {
        println!(
            "| {alerts} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            m.wall.0.len(),
            m.wall.at(25),
            m.wall.at(50),
            m.wall.at(95),
            m.wall.at(100),
            m.cpu.at(50),
            m.seen.at(50),
            m.floor.at(25),
            m.floor.at(50),
            m.floor.at(95),
            m.ratio.at(50),
        );
    }
}
