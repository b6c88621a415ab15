//! What becomes of a block whose sender turns out to be false when the lists change.
#![cfg(test)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, Bytes};
use serde_json::{Value, json};

use super::super::background::{Background, Work};
use super::super::missing_traces::MissingTraces as Backlog;
use super::super::{Engine, Observer, PipelineError};
use super::*;
use crate::chain::RawBlock;
use crate::lists::ParsedEntry;
use crate::source::{EndpointOptions, Pool, PoolOptions, TraceMode};
use crate::store::{Access, Committed, ManualEntry, Store};

const CHAIN: u64 = 31_337;
/// Blocks of the demo's chain whose first transaction sends ether to an address of nobody else's.
const BLOCKS: [usize; 3] = [7, 8, 10];

/// A block of the demo's chain, of whose first transaction everything says that another address sent it: the block, the receipts and
/// the traces. And the recipient, which leads to that transaction.
fn with_false_sender(number: usize) -> (RawBundle, Address, B256) {
    let packed = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/chain.jsonl.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut line = lines.find(|line| line["block"]["number"] == format!("{number:#x}")).unwrap();
    let transactions = line["block"]["transactions"].as_array().unwrap();
    let at = transactions.iter().position(|tx| tx["input"] == "0x" && tx["value"] != "0x0").unwrap();
    let recipient = transactions[at]["to"].as_str().unwrap().parse().unwrap();
    let hash = line["block"]["hash"].as_str().unwrap().parse().unwrap();
    let false_sender = json!(Address::repeat_byte(0xf5));
    line["block"]["transactions"][at]["from"] = false_sender.clone();
    line["receipts"][at]["from"] = false_sender.clone();
    line["traces"][at]["result"]["from"] = false_sender;
    let bytes = |value: &Value| Bytes::from(value.to_string().into_bytes());
    let block = RawBlock::Json { block: bytes(&line["block"]), receipts: bytes(&line["receipts"]) };
    let traces = serde_json::value::to_raw_value(&line["traces"]).unwrap();
    (RawBundle::new(block, Some(traces), "a"), recipient, hash)
}

fn judge(required: bool) -> Judge {
    Judge::new(CHAIN, false, DecodeOptions::default()).proving(Senders::Matched).requiring_traces(required)
}

fn watch(store: &mut Store, address: Address) {
    let entry = ParsedEntry::bare(address);
    store.add_entry(&ManualEntry { list: "l", kind: None, entry: &entry, now: 1 }).unwrap();
}

#[test]
fn traces_that_only_fit_a_sender_found_false_later_are_missing_and_refused_where_they_are_required() {
    for number in BLOCKS {
        let (raw, recipient, hash) = with_false_sender(number);
        let place = tempfile::tempdir().unwrap();
        let mut store = Store::open(&place.path().join("a.db"), Access::Write { durable: false }).unwrap();
        watch(&mut store, recipient);
        let list = store.watchlist().unwrap();
        let mut auto = judge(false).judge(&raw, Some(hash)).unwrap();
        assert!(auto.block.has_all_traces() && auto.missing_traces.is_none(), "{number}: everything fits as yet");
        auto.screen(CHAIN, &list).unwrap();
        assert!(auto.block.senders_proven() && !auto.block.has_all_traces());
        let missing = auto.missing_traces.as_ref().unwrap();
        assert!(!missing.detail.is_empty() && !missing.pruned, "{number}: {missing:?}");
        assert_eq!(auto.record(CHAIN, Progress::Replay).missing_traces, auto.missing_traces);
        let mut required = judge(true).judge(&raw, Some(hash)).unwrap();
        let refused = required.screen(CHAIN, &list);
        assert!(
            matches!(&refused, Err(VerifyError::Mismatch { part: Part::Traces, .. })),
            "{number}: taken without the traces that are required: {refused:?}"
        );
    }
}

struct Silent;

impl Observer for Silent {
    fn committed(&mut self, _: &Store, _: &Link, _: &Committed) -> std::io::Result<()> {
        Ok(())
    }
}

/// A pool whose only endpoint cannot be reached.
async fn nobody() -> Arc<Pool> {
    let endpoint = EndpointOptions { url: "http://127.0.0.1:9".to_owned(), rate: None, concurrency: 1 };
    let options = PoolOptions {
        endpoints: vec![endpoint],
        timeout: Duration::from_secs(1),
        max_answer: 1 << 20,
        chain_id: Some(CHAIN),
        traces: TraceMode::Require,
        rounds: Some(1),
        trust: false,
        raw: false,
        quorum: 1,
        checkpoints: Vec::new(),
    };
    Arc::new(Pool::survey(options).await.unwrap())
}

#[tokio::test]
async fn a_block_that_cannot_be_committed_ends_neither_the_look_back_nor_the_backlog_of_traces() {
    let pool = nobody().await;
    for number in BLOCKS {
        let (raw, recipient, hash) = with_false_sender(number);
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("a.db"), Access::Write { durable: false }).unwrap();
        let mut silent = Silent;
        let mut engine = Engine::new(store, CHAIN, &mut silent).unwrap();
        let judge = judge(true).screening(&engine.lists);
        let again = || judge.judge(&raw, Some(hash)).unwrap();
        engine.commit(again(), None, Progress::Replay).await.unwrap();
        // Read again while the list did not have the address yet, and committed when it has.
        let (by_look_back, by_backlog, by_nobody) = (again(), again(), again());
        watch(&mut engine.store, recipient);
        let refused = engine.commit(by_nobody, Some(&pool), Progress::Replay).await;
        assert!(matches!(refused, Err(PipelineError::Source(_))), "{number}: {refused:?}");
        let mut background = Background::new(pool.clone(), judge.clone(), true);
        background.take(&mut engine, Work::Block(Ok(Box::new(by_look_back)))).await.unwrap();
        let mut backlog = Backlog::new(pool.clone(), judge.clone(), true);
        backlog.take(&mut engine, Ok(Box::new(by_backlog))).await.unwrap();
    }
}
