//! What each stage of the pipeline costs on a generated block, and what it cannot cost less than: CPU milliseconds per block.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::consensus::{EthereumTxEnvelope, TxEip4844};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::{Bloom, BloomInput};
use alloy::trie::root::ordered_trie_root_encoded;
use bolo::chain::canonical::Link;
use bolo::chain::lean::Reader;
use bolo::chain::proof::{BlockProof, Wanted};
use bolo::chain::trie::ordered_root;
use bolo::chain::verify::{trust, verify, verify_but_senders};
use bolo::chain::{BlockBundle, Expected, VerifiedBlock};
use bolo::decode::{DecodeOptions, Decoded, decode};
use bolo::lists::ParsedEntry;
use bolo::screen::{Alert, ListKind, WatchEntry, Watchlist, screen};
use bolo::store::{Access, BlockRecord, ListFile, Progress, Store, TransactionFacts};

use crate::chain::{Chain, FIRST};
use crate::cpu;
use crate::draw;
use crate::http;
use crate::rpc::Node;

/// Least time that a stage runs for.
const AT_LEAST: Duration = Duration::from_millis(700);

/// Milliseconds per item: the median of going through all of them again and again.
fn per_item<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    let clock = Instant::now();
    let mut passes = Vec::new();
    while clock.elapsed() < AT_LEAST || passes.len() < 5 {
        let begin = cpu();
        items.iter().for_each(&mut work);
        passes.push(usize::try_from(cpu() - begin).unwrap());
    }
    passes.sort_unstable();
    average_ms(passes[passes.len() / 2], items.len())
}

/// A block in all the shapes that a stage begins with.
struct Subject {
    number: u64,
    block: Vec<u8>,
    receipts: Vec<u8>,
    transactions: Vec<Vec<u8>>,
    receipts_encoded: Vec<Vec<u8>>,
    envelopes: Vec<EthereumTxEnvelope<TxEip4844>>,
}

/// The floors: what nobody who proves a block does for less. In milliseconds per block.
pub(crate) struct Floors {
    transactions_root: f64,
    receipts_root: f64,
    pass: f64,
    receiving: f64,
    senders: f64,
}

impl Floors {
    pub(crate) fn measure(blocks: u64, seed: u64) -> Self {
        let chain = Chain::new(blocks, blocks, seed);
        let subjects: Vec<Subject> = (FIRST..=chain.last()).map(|number| subject(&chain, number)).collect();
        Self {
            transactions_root: per_item(&subjects, |s| drop_of(ordered_trie_root_encoded(&s.transactions))),
            receipts_root: per_item(&subjects, |s| drop_of(ordered_trie_root_encoded(&s.receipts_encoded))),
            pass: per_item(&subjects, |s| drop_of(quotes(s))),
            receiving: receiving(chain, &subjects),
            senders: per_item(&subjects, recover),
        }
    }

    fn sum(&self) -> f64 {
        self.transactions_root + self.receipts_root + self.pass + self.receiving
    }

    /// For scripts.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({
            "transactions_root": self.transactions_root,
            "receipts_root": self.receipts_root,
            "pass": self.pass,
            "receiving": self.receiving,
            "sum": self.sum(),
            "senders": self.senders,
        })
        .to_string()
    }
}

fn say(name: &str, ms: f64) -> f64 {
    println!("  {name:60} {ms:8.3}");
    ms
}

pub(crate) fn run(blocks: u64, seed: u64) {
    let chain = Chain::new(blocks, blocks, seed);
    let subjects: Vec<Subject> = (FIRST..=chain.last()).map(|number| subject(&chain, number)).collect();
    let bytes = |of: fn(&Subject) -> usize| subjects.iter().map(of).sum::<usize>() / subjects.len();
    println!(
        "{blocks} blocks, on average: {} transactions, {} logs, {} bytes of block, {} of receipts",
        bytes(|s| s.transactions.len()),
        (FIRST..=chain.last()).map(|n| chain.block(n).unwrap().template.logs.len()).sum::<usize>() / subjects.len(),
        bytes(|s| s.block.len()),
        bytes(|s| s.receipts.len()),
    );
    drop(chain);
    println!("CPU ms per block:");

    println!("floors");
    let floors = Floors::measure(blocks, seed);
    say("transactions root", floors.transactions_root);
    say("receipts root", floors.receipts_root);
    say("one pass over the bytes (quotes counted, many at once)", floors.pass);
    say("receiving the bytes (bare HTTP, loopback)", floors.receiving);
    say("sum of these four", floors.sum());
    say("recovery of all senders", floors.senders);

    println!("beside the floors");
    say("transactions root, many at once", per_item(&subjects, |s| drop_of(ordered_root(&s.transactions))));
    say("receipts root, many at once", per_item(&subjects, |s| drop_of(ordered_root(&s.receipts_encoded))));
    say("one pass with a look at each byte (classes from a table)", per_item(&subjects, |s| drop_of(classes(s))));
    let proven: Vec<_> = subjects.iter().map(verified).collect();
    say("header hash", per_item(&proven, |block| drop_of(block.header().hash_slow())));
    say(
        "blooms of all logs",
        per_item(&proven, |block| {
            for tx in block.transactions() {
                let mut bloom = Bloom::ZERO;
                for log in &tx.logs {
                    bloom.accrue(BloomInput::Raw(log.address.as_slice()));
                    log.topics().iter().for_each(|topic| bloom.accrue(BloomInput::Raw(topic.as_slice())));
                }
                black_box(&bloom);
            }
        }),
    );
    say(
        "serde_json into alloy's types",
        per_item(&subjects, |s| {
            black_box(serde_json::from_slice::<alloy::rpc::types::Block>(&s.block).unwrap());
            black_box(serde_json::from_slice::<Vec<alloy::rpc::types::TransactionReceipt>>(&s.receipts).unwrap());
        }),
    );

    println!("bolo's stages, from the bytes of an answer");
    let mut reader = Reader::new();
    say(
        "read and proven, no senders",
        per_item(&subjects, |s| {
            drop_of(reader.prove(&s.block, &s.receipts, EXPECTED).unwrap());
        }),
    );
    say("read and trusted", per_item(&subjects, |s| drop_of(reader.trust(&s.block, &s.receipts, EXPECTED).unwrap())));

    println!("bolo's stages, as for what is not read that way");
    let parse = say("parse", per_item(&subjects, |s| drop_of(parsed(s))));
    // A bundle is eaten by its proof, so both are measured together.
    say(
        "verify, no senders",
        per_item(&subjects, |s| drop_of(verify_but_senders(parsed(s), EXPECTED).unwrap())) - parse,
    );
    say("verify, all senders", per_item(&subjects, |s| drop_of(verified(s))) - parse);
    say("trust", per_item(&subjects, |s| drop_of(trust(parsed(s), EXPECTED).unwrap())) - parse);
    let options = DecodeOptions::default();
    say("decode", per_item(&proven, |block| drop_of(decode(block, &options))));
    let decoded: Vec<(_, Decoded)> = proven.iter().map(|block| (block, decode(block, &options))).collect();
    for count in [1, 1_000_000] {
        let list = watchlist(count);
        let name = format!("screen, {count} watched");
        say(&name, per_item(&decoded, |(block, decoded)| drop_of(screen(1, block, &decoded.activities, &list))));
    }
    store(&decoded);
}

fn drop_of<T>(value: T) {
    drop(black_box(value));
}

fn subject(chain: &Chain, number: u64) -> Subject {
    let (block, receipts) = chain.answers(number);
    let template = chain.block(number).unwrap().template;
    let transactions = template.encoded_transactions.clone();
    let decoded = |bytes: &Vec<u8>| EthereumTxEnvelope::decode_2718(&mut bytes.as_slice()).unwrap();
    let envelopes = transactions.iter().map(decoded).collect();
    let receipts_encoded = template.encoded_receipts.clone();
    Subject { number, block, receipts, transactions, receipts_encoded, envelopes }
}

const EXPECTED: Expected = Expected { hash: None, chain_id: 1 };

fn parsed(subject: &Subject) -> BlockBundle {
    BlockBundle::parse(&subject.block, &subject.receipts, None).unwrap()
}

fn verified(subject: &Subject) -> VerifiedBlock {
    verify(parsed(subject), EXPECTED).unwrap()
}

fn recover(subject: &Subject) {
    for tx in &subject.envelopes {
        use alloy::consensus::transaction::SignerRecoverable;
        black_box(tx.recover_signer_unchecked().unwrap());
    }
}

fn texts(subject: &Subject) -> [&[u8]; 2] {
    [&subject.block, &subject.receipts]
}

/// The cheapest reading there is: one comparison for each byte, many at once.
fn quotes(subject: &Subject) -> usize {
    let of_chunk = |chunk: &[u8]| usize::from(chunk.iter().map(|byte| u8::from(*byte == b'"')).sum::<u8>());
    texts(subject).into_iter().map(|text| text.chunks(192).map(of_chunk).sum::<usize>()).sum()
}

/// A reading that takes up one byte after the other, as a scanner does.
fn classes(subject: &Subject) -> usize {
    let mut table = [0usize; 256];
    for (class, byte) in (1..).zip(*b"{}[]\",:") {
        table[usize::from(byte)] = class;
    }
    texts(subject).into_iter().flatten().fold(0, |state, byte| (state + table[usize::from(*byte)]).rotate_left(1))
}

/// A client that asks and reads, and does nothing with what it reads.
fn receiving(chain: Chain, subjects: &[Subject]) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let last = chain.last();
    let node = Arc::new(Node::new(chain, last, false));
    std::thread::spawn(move || http::serve(&listener, &node, Duration::ZERO));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4 << 20];
    per_item(subjects, |subject| {
        for (method, more) in [("eth_getBlockByNumber", ",true"), ("eth_getBlockReceipts", "")] {
            let number = subject.number;
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":["{number:#x}"{more}]}}"#);
            let head = format!("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all([head, body].concat().as_bytes()).unwrap();
            read_answer(&mut stream, &mut buffer);
        }
    })
}

fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        filled += stream.read(&mut buffer[filled..]).unwrap();
        let Some(end) = buffer[..filled.min(256)].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        let length = head.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        let whole = end + 4 + length;
        while filled < whole {
            filled += stream.read(&mut buffer[filled..whole]).unwrap();
        }
        return;
    }
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

/// Blocks with next to no alert, and with many, committed one by one and together.
fn store(decoded: &[(&VerifiedBlock, Decoded)]) {
    for (ranks, batch) in [(1_000..1_001, 1), (1_000..1_001, 100), (0..200, 1), (0..200, 100)] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("bench.db"), Access::Write { durable: false }).unwrap();
        let entries: Vec<_> = ranks.map(|rank| ParsedEntry::bare(draw::holder(rank))).collect();
        let file = ListFile {
            list: "bench",
            kind: None,
            published: None,
            imported_at: 1,
            source: "bench",
            format: "text",
            sha256: [0; 32],
            entries: &entries,
            rejected: 0,
        };
        store.import_list(&file).unwrap();
        let watchlist = store.watchlist().unwrap();
        let screened: Vec<_> = decoded.iter().map(|(block, decoded)| record(block, decoded, &watchlist)).collect();
        let alerts = screened.iter().map(|record| record.alerts.len()).sum::<usize>();
        let average = format!("{:.1}", average(alerts, screened.len()));
        let prove = |(block, record): &(&VerifiedBlock, BlockRecord)| drop_of(evidence(block, record));
        let pairs: Vec<_> = decoded.iter().map(|(block, _)| *block).zip(screened).collect();
        if batch == 1 {
            say(&format!("paths that prove {average} alerts a block"), per_item(&pairs, prove));
        }
        let records: Vec<BlockRecord> = pairs.into_iter().map(|(_, record)| record).collect();
        let begin = cpu();
        for many in records.chunks(batch) {
            store.append_all(many).unwrap();
        }
        let nanos = usize::try_from(cpu() - begin).unwrap();
        say(&format!("store, {average} alerts a block, {batch} in one commit"), average_ms(nanos, records.len()));
    }
}

fn average(sum: usize, count: usize) -> f64 {
    f64::from(u32::try_from(sum).unwrap()) / f64::from(u32::try_from(count).unwrap())
}

fn average_ms(nanos: usize, count: usize) -> f64 {
    average(nanos / 1_000, count) / 1_000.0
}

fn evidence(block: &VerifiedBlock, record: &BlockRecord) -> Option<BlockProof> {
    if record.alerts.is_empty() {
        return None;
    }
    let transactions = record.transactions.keys().map(|index| u64::from(*index)).collect();
    block.prove(&Wanted { transactions, ..Wanted::default() })
}

fn record(block: &VerifiedBlock, decoded: &Decoded, watchlist: &Watchlist) -> BlockRecord {
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
        watch_revision: watchlist.revision(),
        decoder: 1,
        endpoint: "bench".to_owned(),
        seen_at_ms: 1,
        transactions: alerts.iter().map(of_alert).collect(),
        alerts,
        undecoded: decoded.undecoded.clone(),
        evidence: None,
        lookback: None,
        progress: Progress::Replay,
    };
    record.evidence = evidence(block, &record);
    record
}
