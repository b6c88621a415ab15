//! What each stage of the pipeline costs on a generated block, and the floors of their sum. criterion measures, by CPU time.

use std::hint::black_box;
use std::time::Duration;

use alloy::primitives::{Bloom, BloomInput};
use bolo::chain::canonical::Link;
use bolo::chain::lean::Reader;
use bolo::chain::proof::Wanted;
use bolo::chain::trie::ordered_root;
use bolo::chain::trusted::trust;
use bolo::chain::verify::{verify, verify_but_senders};
use bolo::chain::{BlockBundle, Differences, VerifiedBlock};
use bolo::decode::{DecodeOptions, Decoded, decode};
use bolo::lists::ParsedEntry;
use bolo::screen::{Alert, ListKind, WatchEntry, Watchlist, screen};
use bolo::store::{Access, BlockRecord, ListFile, PackedProof, Progress, Store, TransactionFacts};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Bencher, BenchmarkGroup, Criterion, Throughput};
use tempfile::TempDir;

use crate::chain::Chain;
use crate::cpu;
use crate::draw;
use crate::floors::floors;
use crate::subject::{EXPECTED, Subject};

/// CPU time of the thread that a stage runs on, in nanoseconds: what else the machine does tells less than on a clock on the wall.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        cpu()
    }

    fn end(&self, start: u64) -> u64 {
        cpu() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, nanos: &u64) -> f64 {
        Duration::from_nanos(*nanos).as_secs_f64() * 1e9
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

type Group<'a> = BenchmarkGroup<'a, CpuTime>;

/// One block after the other, again and again; what comes of it is dropped within the time.
fn each<'a, T, O>(bencher: &mut Bencher<'_, CpuTime>, items: &'a [T], mut work: impl FnMut(&'a T) -> O) {
    let mut items = items.iter().cycle();
    bencher.iter(|| work(items.next().unwrap()));
}

/// The same for what eats a parsed block.
fn each_parsed<O>(bencher: &mut Bencher<'_, CpuTime>, subjects: &[Subject], work: impl FnMut(BlockBundle) -> O) {
    let mut subjects = subjects.iter().cycle();
    bencher.iter_batched(|| subjects.next().unwrap().parsed(), work, BatchSize::SmallInput);
}

/// Those stages whose names have `filter` in them.
pub(crate) fn run(blocks: u64, seed: u64, filter: Option<String>) {
    let chain = Chain::new(blocks, blocks, seed);
    let subjects = Subject::all(&chain);
    let average = |of: fn(&Subject) -> usize| subjects.iter().map(of).sum::<usize>() / subjects.len();
    println!(
        "CPU time per block; {blocks} blocks, on average: {} transactions, {} logs, {} bytes of block, {} of receipts",
        average(|s| s.transactions.len()),
        average(|s| s.logs),
        average(|s| s.block.len()),
        average(|s| s.receipts.len()),
    );
    let bytes = Throughput::Bytes(average(|s| s.block.len() + s.receipts.len()) as u64);
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    if let Some(filter) = filter {
        criterion = criterion.with_filter(filter);
    }

    let mut group = criterion.benchmark_group("floors");
    for (name, mut work) in floors(chain) {
        group.bench_function(name, |b| each(b, &subjects, &mut work));
    }
    group.finish();
    let proven: Vec<_> = subjects.iter().map(Subject::verified).collect();
    beside_the_floors(criterion.benchmark_group("beside the floors"), &subjects, &proven);

    let mut group = criterion.benchmark_group("lean");
    group.throughput(bytes.clone());
    let mut reader = Reader::new();
    group.bench_function("read and proven, no senders", |b| {
        each(b, &subjects, |s| reader.prove(&s.block, &s.receipts, EXPECTED).unwrap());
    });
    group.bench_function("read and trusted", |b| {
        each(b, &subjects, |s| reader.trust(&s.block, &s.receipts, EXPECTED).unwrap());
    });
    group.finish();

    let mut group = criterion.benchmark_group("typed");
    group.throughput(bytes);
    group.bench_function("parse", |b| each(b, &subjects, Subject::parsed));
    group.bench_function("verify, no senders", |b| {
        each_parsed(b, &subjects, |bundle| verify_but_senders(bundle, EXPECTED).unwrap());
    });
    group.bench_function("verify, all senders", |b| {
        each_parsed(b, &subjects, |bundle| verify(bundle, EXPECTED).unwrap());
    });
    group.bench_function("read and trusted", |b| {
        each(b, &subjects, |s| trust(&s.block, &s.receipts, None, EXPECTED).unwrap());
    });
    group.finish();

    let options = DecodeOptions::default();
    criterion.bench_function("decode", |b| each(b, &proven, |block| decode(block, &options)));
    let decoded: Vec<(_, Decoded)> = proven.iter().map(|block| (block, decode(block, &options))).collect();
    let mut group = criterion.benchmark_group("screen");
    for count in [1, 1_000_000] {
        let list = watchlist(count);
        group.bench_function(format!("{count} watched"), |b| {
            each(b, &decoded, |(block, decoded)| screen(1, block, &decoded.activities, &list));
        });
    }
    group.finish();
    for ranks in [1_000..1_001, 0..200] {
        let entries: Vec<_> = ranks.map(|rank| ParsedEntry::bare(draw::holder(rank))).collect();
        store(&mut criterion, &decoded, &entries);
    }
}

/// What was weighed against them, and what bolo does not do for each block.
fn beside_the_floors(mut group: Group<'_>, subjects: &[Subject], proven: &[VerifiedBlock]) {
    group.bench_function("transactions root, many at once", |b| each(b, subjects, |s| ordered_root(&s.transactions)));
    group.bench_function("receipts root, many at once", |b| each(b, subjects, |s| ordered_root(&s.receipts_encoded)));
    group.bench_function("pass with a look at each byte", |b| each(b, subjects, classes));
    group.bench_function("header hash", |b| each(b, proven, |block| block.header().hash_slow()));
    group.bench_function("blooms of all logs", |b| {
        each(b, proven, |block| {
            for tx in block.transactions() {
                let mut bloom = Bloom::ZERO;
                for log in &tx.logs {
                    bloom.accrue(BloomInput::Raw(log.address.as_slice()));
                    log.topics().iter().for_each(|topic| bloom.accrue(BloomInput::Raw(topic.as_slice())));
                }
                black_box(&bloom);
            }
        });
    });
    group.bench_function("serde_json into alloy's types", |b| {
        each(b, subjects, |s| {
            let block = serde_json::from_slice::<alloy::rpc::types::Block>(&s.block).unwrap();
            (block, serde_json::from_slice::<Vec<alloy::rpc::types::TransactionReceipt>>(&s.receipts).unwrap())
        });
    });
    group.finish();
}

/// A reading that takes up one byte after the other, as a scanner does.
fn classes(subject: &Subject) -> usize {
    let mut table = [0usize; 256];
    for (class, byte) in (1..).zip(*b"{}[]\",:") {
        table[usize::from(byte)] = class;
    }
    subject.texts().into_iter().flatten().fold(0, |state, byte| (state + table[usize::from(*byte)]).rotate_left(1))
}

/// One address of the chain, the rest of none.
fn watchlist(count: u64) -> Watchlist {
    let addresses = std::iter::once(draw::holder(1000)).chain((1..count).map(draw::never_seen));
    let entries = (1..).zip(addresses).map(|(id, address)| WatchEntry {
        id,
        address,
        kind: ListKind::Internal,
        listed_from: None,
        delisted_on: None,
        known_from: None,
        ended_on: None,
    });
    Watchlist::new(entries.collect(), 1)
}

/// A new database with one list.
pub(crate) fn listed(entries: &[ParsedEntry]) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("bench.db"), Access::Write { durable: false }).unwrap();
    let file = ListFile {
        list: "bench",
        kind: None,
        published: None,
        imported_at: 1,
        source: "bench",
        format: "text",
        sha256: [0; 32],
        entries,
        rejected: 0,
    };
    store.import_list(&file).unwrap();
    (folder, store)
}

/// All blocks committed one by one and together, each time to a new database.
fn store(criterion: &mut Criterion<CpuTime>, decoded: &[(&VerifiedBlock, Decoded)], entries: &[ParsedEntry]) {
    let watchlist = listed(entries).1.watchlist().unwrap();
    let pairs: Vec<_> = decoded.iter().map(|(block, decoded)| (*block, record(block, decoded, &watchlist))).collect();
    let alerts = pairs.iter().map(|(_, record)| record.alerts.len()).sum::<usize>();
    let blocks = pairs.len();
    let name = format!("{blocks} blocks with {alerts} alerts");
    let prove = |(block, record): &(&VerifiedBlock, BlockRecord)| evidence(block, record);
    criterion.bench_function(&format!("paths that prove one of {name}"), |b| each(b, &pairs, prove));
    let records: Vec<BlockRecord> = pairs.into_iter().map(|(_, record)| record).collect();
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(blocks as u64));
    for (how, batch) in [("one by one", 1), ("in one commit", blocks)] {
        group.bench_function(format!("{name}, {how}"), |b| {
            let append = |(folder, mut store): (TempDir, Store)| {
                for many in records.chunks(batch) {
                    store.append_all(many).unwrap();
                }
                (store, folder)
            };
            b.iter_batched(|| listed(entries), append, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn evidence(block: &VerifiedBlock, record: &BlockRecord) -> Option<PackedProof> {
    if record.alerts.is_empty() {
        return None;
    }
    let transactions = record.transactions.keys().map(|index| u64::from(*index)).collect();
    block.prove(&Wanted { transactions, ..Wanted::default() }).as_ref().map(PackedProof::new)
}

pub(crate) fn record(block: &VerifiedBlock, decoded: &Decoded, watchlist: &Watchlist) -> BlockRecord {
    let header = block.header();
    // Movements that belong to a transaction: those of the block's producer have proofs of another size.
    let mut alerts = screen(1, block, &decoded.activities, watchlist);
    alerts.retain(|alert| alert.activity.location.tx_index.is_some());
    let of_alert = |alert: &Alert| {
        let index = alert.activity.location.tx_index.unwrap();
        let tx = &block.transactions()[usize::try_from(index).unwrap()];
        let facts = TransactionFacts {
            hash: tx.hash,
            signer: tx.signer,
            to: tx.to,
            success: tx.success,
            first_log_index: tx.first_log_index,
        };
        (index, facts)
    };
    let mut record = BlockRecord {
        chain_id: 1,
        link: Link { number: header.number, hash: block.hash(), parent_hash: header.parent_hash },
        timestamp: header.timestamp,
        proof: block.proof(),
        senders: true,
        traces: false,
        native_logs: false,
        watch_revision: watchlist.revision(),
        decoder: 1,
        endpoint: "bench".to_owned(),
        seen_at_ms: 1,
        transactions: alerts.iter().map(of_alert).collect(),
        alerts,
        undecoded: decoded.undecoded.clone(),
        evidence: None,
        named: decoded.named.clone(),
        beneficiary: block.header().beneficiary,
        lookback: None,
        differences: Differences::default(),
        missing_traces: None,
        progress: Progress::Replay,
    };
    record.evidence = evidence(block, &record);
    record
}
