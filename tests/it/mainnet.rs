use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

use bolo::chain::{BlockBundle, Expected, Proof, verify::verify};
use bolo::decode::{DecodeOptions, decode, Position};
use bolo::screen::{ListKind, WatchEntry, Watchlist, screen};
use serde_json::Value;
use serde_json::value::RawValue;

fn data(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/mainnet").join(name);
    let bytes = std::fs::read(path).ok()?;
    let mut text = String::new();
    if name.ends_with(".zst") {
        zstd::stream::read::Decoder::new(&bytes[..]).unwrap().read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    Some(text)
}

#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    block: &'a RawValue,
    #[serde(borrow)]
    receipts: &'a RawValue,
    #[serde(borrow)]
    traces: Option<&'a RawValue>,
}

#[test]
fn lib_level() {
    let weth = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2".parse().unwrap();
    let options = DecodeOptions { wrapped_native: vec![weth] };
    let entries: Vec<WatchEntry> = data("watch.txt").unwrap().lines().enumerate().map(|(i, l)| WatchEntry {
        id: i as i64, address: l.split_whitespace().next().unwrap().parse().unwrap(), kind: ListKind::Internal,
        listed_from: None, delisted_on: None, known_from: None, ended_on: None }).collect();
    let list = Watchlist::new(entries, 1);
    let mut got = BTreeMap::<String, usize>::new();
    for line in data("blocks.jsonl.zst").unwrap().lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let bundle = BlockBundle::parse(line.block, line.receipts, line.traces).unwrap();
        let block = match verify(bundle, Expected { hash: None, chain_id: 1 }) { Ok(b) => b, Err(e) => { println!("REFUSED {e}"); continue } };
        if let Some(e) = block.traces_refused() { println!("{} traces: {e}", block.number()); }
        let decoded = decode(&block, &options);
        println!("{} {} activities {:?}", block.number(), decoded.activities.len(), decoded.undecoded);
        for a in screen(1, &block, &decoded.activities, &list) {
            let k = serde_json::json!({"block": block.number(), "kind": a.activity.kind.name(),
              "log_index": match &a.activity.location.position { Position::Log(i) => Value::from(*i), _ => Value::Null},
              "trace_address": match &a.activity.location.position { Position::Trace(p) => Value::from(p.clone()), _ => Value::Null},
              "sub_index": a.activity.location.sub_index, "tx": a.activity.location.tx_index.map(|i| block.transactions()[i as usize].hash),
              "from": a.activity.from.map(|x| format!("{x:?}").to_lowercase()), "to": a.activity.to.map(|x| format!("{x:?}").to_lowercase()), "asset": a.activity.asset.contract().map(|x| format!("{x:?}").to_lowercase()),
              "amount": a.activity.amount.to_string(), "token_id": a.activity.token_id.map(|t| t.to_string()), "watched": format!("{:?}", a.watched).to_lowercase(), "direction": a.direction.name()});
            *got.entry(k.to_string()).or_default() += 1;
        }
    }
    let mut want = BTreeMap::<String, usize>::new();
    for l in data("expected-traces.jsonl.zst").unwrap().lines() { let v: Value = serde_json::from_str(l).unwrap(); *want.entry(v.to_string()).or_default() += 1; }
    let g: BTreeSet<_> = got.into_iter().collect(); let w: BTreeSet<_> = want.into_iter().collect();
    println!("got {} want {}", g.len(), w.len());
    for x in g.difference(&w).take(8) { println!("EXTRA {x:?}"); }
    for x in w.difference(&g).take(8) { println!("MISSING {x:?}"); }
    for line in data("refused.jsonl.zst").unwrap().lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let r = BlockBundle::parse(line.block, line.receipts, line.traces).map(|b| verify(b, Expected { hash: None, chain_id: 1 }));
        match r { Ok(Ok(_)) => println!("ACCEPTED?!"), Ok(Err(e)) => println!("ok {e}"), Err(e) => println!("ok? {e}") }
    }
    let _ = Proof::Proven;
    assert_eq!(g, w);
}
