//! Blocks in RLP, encoded here by alloy's own RPC types from what nodes answered, against the same blocks in JSON.

use alloy::consensus::{Header, ReceiptEnvelope, TxReceipt as _, Typed2718 as _};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{B256, Bytes};
use alloy::rlp::Header as RlpHeader;
use alloy::rpc::types::{Transaction, TransactionReceipt};
use bolo::chain::rlp::{RlpBlock, RlpBundle, RlpReceipts};
use bolo::chain::verify::verify;
use bolo::chain::{BlockBundle, Expected, VerifiedBlock};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::{shared, stderr, timeless_all};
use crate::proxy::{Plan, Proxy, Raw};
use crate::rich::Chain;
use crate::served::{Chain as DemoChain, Served};

/// A block in its own encoding.
#[derive(Clone)]
pub(crate) struct Coded {
    pub number: u64,
    pub hash: B256,
    pub header: Vec<u8>,
    pub body: Vec<u8>,
    pub each: Vec<Bytes>,
    pub receipts: Vec<u8>,
    pub slim: Vec<u8>,
}

/// A list of items that are encoded already.
pub(crate) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    RlpHeader { list: true, payload_length: items.iter().map(Vec::len).sum() }.encode(&mut out);
    items.iter().for_each(|item| out.extend_from_slice(item));
    out
}

/// As it stands in a list: a legacy one as it is, a typed one as a string.
fn in_list(encoded: &[u8]) -> Vec<u8> {
    if encoded[0] >= 0xc0 { encoded.to_vec() } else { alloy::rlp::encode(encoded) }
}

impl Coded {
    /// From the answers of `eth_getBlockByHash` and `eth_getBlockReceipts`; none where it has ommers, of which those know the
    /// hashes only.
    pub(crate) fn of(block: &Value, receipts: &Value) -> Option<Self> {
        if block["uncles"].as_array().is_some_and(|uncles| !uncles.is_empty()) {
            return None;
        }
        let header = Header::deserialize(block).unwrap();
        let transactions: Vec<Vec<u8>> = block["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tx| in_list(&<Transaction>::deserialize(tx).unwrap().inner.inner().encoded_2718()))
            .collect();
        let mut body = vec![list(&transactions), list(&[])];
        if header.withdrawals_root.is_some() {
            let withdrawals = Vec::<Withdrawal>::deserialize(&block["withdrawals"]).unwrap();
            body.push(alloy::rlp::encode(withdrawals));
        }
        let receipts: Vec<ReceiptEnvelope> = receipts
            .as_array()
            .unwrap()
            .iter()
            .map(|receipt| <TransactionReceipt>::deserialize(receipt).unwrap().into_primitives_receipt().inner)
            .collect();
        let slim = |receipt: &ReceiptEnvelope| {
            let mut logs = Vec::new();
            alloy::rlp::encode_list(receipt.logs(), &mut logs);
            list(&[
                alloy::rlp::encode(receipt.ty()),
                alloy::rlp::encode(receipt.status_or_post_state()),
                alloy::rlp::encode(receipt.cumulative_gas_used()),
                logs,
            ])
        };
        Some(Self {
            number: header.number,
            hash: header.hash_slow(),
            header: alloy::rlp::encode(&header),
            body: list(&body),
            receipts: list(&receipts.iter().map(|receipt| in_list(&receipt.encoded_2718())).collect::<Vec<_>>()),
            each: receipts.iter().map(|receipt| receipt.encoded_2718().into()).collect(),
            slim: list(&receipts.iter().map(slim).collect::<Vec<_>>()),
        })
    }

    /// As `debug_getRawBlock` answers it.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let mut body = &self.body[..];
        let payload = RlpHeader::decode_bytes(&mut body, true).unwrap();
        list(&[self.header.clone(), payload.to_vec()])
    }

    fn forms(&self) -> Vec<(RlpBlock, RlpReceipts)> {
        let parts = RlpBlock::Parts { header: self.header.clone().into(), body: self.body.clone().into() };
        vec![
            (parts.clone(), RlpReceipts::List(self.receipts.clone().into())),
            (parts, RlpReceipts::Slim(self.slim.clone().into())),
            (RlpBlock::Whole(self.whole().into()), RlpReceipts::Each(self.each.clone())),
        ]
    }
}

fn proven(block: &RlpBlock, receipts: &RlpReceipts, hash: Option<B256>) -> Result<VerifiedBlock, String> {
    let bundle = RlpBundle::read(block, receipts, None).map_err(|error| error.to_string())?;
    bundle.verify(Expected { hash, chain_id: 1 }).map_err(|error| error.to_string())
}

/// The real blocks that have no ommers, each as it was answered and in RLP.
pub(crate) fn mainnet() -> Option<Vec<(Value, Coded)>> {
    let blocks = shared("mainnet/blocks.jsonl.zst")?;
    let lines = blocks.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let coded: Vec<_> =
        lines.filter_map(|line| Coded::of(&line["block"], &line["receipts"]).map(|coded| (line, coded))).collect();
    assert_eq!(coded.len(), 19);
    Some(coded)
}

#[test]
fn a_block_proven_from_rlp_is_the_one_proven_from_json() {
    let Some(blocks) = mainnet() else { return };
    for (line, coded) in &blocks {
        let bundle =
            BlockBundle::parse(line["block"].to_string().as_bytes(), line["receipts"].to_string().as_bytes(), None)
                .unwrap();
        let expected = verify(bundle, Expected { hash: Some(coded.hash), chain_id: 1 }).unwrap();
        for (block, receipts) in coded.forms() {
            let found = proven(&block, &receipts, Some(coded.hash)).unwrap();
            // All of it: header, transactions, receipts, withdrawals, and the bytes that prove them.
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "block {}", coded.number);
            assert!(found.senders_proven() && found.is_whole());
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_block_of_rlp_is_refused() {
    let Some(blocks) = mainnet() else { return };
    // Post-states, legacy, and all of typed transactions with withdrawals.
    for number in [2_370_721, 15_537_393, 19_923_400] {
        let (_, coded) = blocks.iter().find(|(_, coded)| coded.number == number).unwrap();
        let total = coded.header.len() + coded.body.len();
        let step = (total / 1500).max(1);
        let mut refused = 0;
        for (block, receipts) in coded.forms() {
            let mut refuse = |block: &RlpBlock, receipts: &RlpReceipts, what: &str, at: usize| {
                assert!(proven(block, receipts, Some(coded.hash)).is_err(), "{number}: {what} byte {at} flipped");
                refused += 1;
            };
            let flip = |bytes: &Bytes, at: usize| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= 1 << (at % 8);
                Bytes::from(bytes)
            };
            match &block {
                RlpBlock::Whole(bytes) => (0..bytes.len())
                    .step_by(step)
                    .for_each(|at| refuse(&RlpBlock::Whole(flip(bytes, at)), &receipts, "block", at)),
                RlpBlock::Parts { header, body } => {
                    for at in 0..header.len() {
                        let header = flip(header, at);
                        refuse(&RlpBlock::Parts { header, body: body.clone() }, &receipts, "header", at);
                    }
                    for at in (0..body.len()).step_by(step) {
                        let body = flip(body, at);
                        refuse(&RlpBlock::Parts { header: header.clone(), body }, &receipts, "body", at);
                    }
                }
            }
            match &receipts {
                RlpReceipts::List(bytes) => (0..bytes.len())
                    .step_by(step)
                    .for_each(|at| refuse(&block, &RlpReceipts::List(flip(bytes, at)), "receipts", at)),
                RlpReceipts::Slim(bytes) => (0..bytes.len())
                    .step_by(step)
                    .for_each(|at| refuse(&block, &RlpReceipts::Slim(flip(bytes, at)), "slim receipts", at)),
                RlpReceipts::Each(each) => {
                    let mut fewer = each.clone();
                    fewer.pop();
                    refuse(&block, &RlpReceipts::Each(fewer), "one less", 0);
                    let mut twisted = each.clone();
                    twisted[0] = flip(&each[0], each[0].len() / 2);
                    refuse(&block, &RlpReceipts::Each(twisted), "first receipt", 0);
                }
            }
        }
        assert!(refused > 2_000, "{refused}");
    }
}

#[test]
fn another_block_or_chain_than_was_asked_for_is_refused_in_rlp_too() {
    let Some(blocks) = mainnet() else { return };
    let (_, coded) = blocks.last().unwrap();
    let (block, receipts) = coded.forms().remove(0);
    let error = proven(&block, &receipts, Some(B256::ZERO)).unwrap_err();
    assert!(error.starts_with("block hash does not fit"), "{error}");
    let bundle = RlpBundle::read(&block, &receipts, None).unwrap();
    let error = bundle.verify(Expected { hash: None, chain_id: 5 }).unwrap_err().to_string();
    assert!(error.starts_with("chain id does not fit"), "{error}");
}

/// No node at hand has the raw methods: the proxy answers them, encoded by alloy from the node's JSON.
#[test]
fn raw_methods_are_used_where_an_endpoint_has_them_and_given_up_where_they_fail() {
    let chain = Chain::shared();
    let (first, last) = (chain.rich, chain.rich + 30);
    let (from, to) = (first.to_string(), last.to_string());
    for raw in [None, Some(Raw::Good), Some(Raw::FailsFrom(first + 10)), Some(Raw::LiesFrom(first + 10))] {
        let proxy = Proxy::new(&chain.node, Plan { raw, ..Plan::honest() });
        let place = chain.place();
        let out = place.run(&[
            "-v",
            "replay",
            "-r",
            &proxy.url,
            "--from-block",
            &from,
            "--to-block",
            &to,
            "--concurrency",
            "2",
        ]);
        let said = stderr(&out);
        assert!(out.status.success(), "{raw:?}: {said}");
        assert_eq!(timeless_all(&place.alerts(&["--triage", "all"])), chain.truth(first..=last), "{raw:?}");
        let wire = String::from_utf8_lossy(&proxy.wire()).into_owned();
        let count = |method: &str| wire.matches(&format!("\"{method}\"")).count();
        let (raw_blocks, json_receipts) = (count("debug_getRawBlock"), count("eth_getBlockReceipts"));
        let in_rlp = said.contains("blocks are asked for in RLP");
        let given_up = said.contains("blocks are asked for in JSON from now on");
        match raw {
            None => {
                assert!(!in_rlp && said.contains("blocks are asked for in JSON"), "{said}");
                assert_eq!((raw_blocks, json_receipts), (3, 31), "settled over several tries");
            }
            Some(Raw::Good) => {
                assert!(in_rlp && !given_up, "{said}");
                assert_eq!((raw_blocks, json_receipts), (32, 0));
            }
            Some(fault) => {
                // What is false is of no use at once. What fails is asked for in JSON, block by block.
                assert!(in_rlp && given_up == matches!(fault, Raw::LiesFrom(_)), "{said}");
                assert!(raw_blocks >= 10 && json_receipts >= 20, "{raw_blocks} {json_receipts}");
            }
        }
        // A lie is kept, with what was asked.
        let lies = place.status()["lies"].to_string();
        assert_eq!(lies.contains("debug_getRawReceipts"), matches!(raw, Some(Raw::LiesFrom(_))), "{raw:?}: {lies}");
    }
}

#[test]
fn raw_methods_that_fail_now_and_then_go_on_being_used() {
    let by_block: Vec<(u64, Coded)> = crate::served::demo_blocks()
        .iter()
        .filter_map(|(block, receipts)| Coded::of(block, receipts))
        .map(|coded| (coded.number, coded))
        .collect();
    let by_block = std::sync::Arc::new(by_block);
    let errors = [
        json!({"code": -32601, "message": "the method does not exist/is not available"}),
        json!({"code": -32603, "message": "no such table"}),
        json!({"code": -32000, "message": "not here"}),
    ];
    // One fault in so many requests; the first ones, before it is known whether the methods are there, with it.
    for (error, one_in) in [(0, 3), (1, 5), (2, 4)] {
        let (chain, by_block, error) = (DemoChain::demo(), by_block.clone(), errors[error].clone());
        let asked = std::sync::atomic::AtomicU64::new(0);
        let endpoint = Served::new(move |request| {
            let method = request["method"].as_str().unwrap_or_default();
            if !method.starts_with("debug_getRaw") {
                return (200, chain.answer(request).to_string().into_bytes());
            }
            let id = &request["id"];
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(one_in) {
                return (200, json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string().into_bytes());
            }
            let block =
                chain.result(&json!({"method": "eth_getBlockByNumber", "params": [request["params"][0], false]}));
            let block = block.unwrap_or_default();
            let coded = by_block.iter().find(|(_, coded)| block["hash"] == coded.hash.to_string());
            let result = match (coded, method) {
                (None, _) => Value::Null,
                (Some((_, coded)), "debug_getRawBlock") => json!(Bytes::from(coded.whole())),
                (Some((_, coded)), _) => json!(coded.each),
            };
            (200, json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string().into_bytes())
        });
        let (place, out) = endpoint.replay(&["-v", "--concurrency", "1"]);
        let said = stderr(&out);
        assert!(out.status.success(), "{said}");
        assert_eq!(place.status()["blocks"], 58);
        let count = |method: &str| endpoint.asked().iter().filter(|request| request["method"] == method).count();
        let (raw, json) = (count("debug_getRawBlock"), count("eth_getBlockReceipts"));
        assert!(raw >= 58 && json < 58 && !said.contains("from now on"), "one in {one_in}: {raw} {json}: {said}");
    }
}

#[test]
fn raw_methods_that_hang_or_fail_altogether_cost_a_replay_little_time_and_no_block() {
    let encoded: std::collections::HashMap<String, Coded> = crate::served::demo_blocks()
        .iter()
        .filter_map(|(block, receipts)| Coded::of(block, receipts))
        .map(|coded| (coded.hash.to_string(), coded))
        .collect();
    let encoded = std::sync::Arc::new(encoded);
    // What fails, after how many good answers, and with what; none: it hangs for longer than a request may take.
    let cases = [
        ("debug_getRaw", 0, None),
        ("debug_getRawReceipts", 0, None),
        ("debug_getRaw", 12, None),
        ("debug_getRaw", 0, Some((500, "<html>Internal Server Error</html>"))),
        ("debug_getRaw", 0, Some((200, "null"))),
        ("debug_getRaw", 12, Some((502, "Bad Gateway"))),
    ];
    for (method, good, fault) in cases {
        let (chain, encoded) = (DemoChain::demo(), encoded.clone());
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let endpoint = Served::new(move |request| {
            let (id, name) = (&request["id"], request["method"].as_str().unwrap_or_default());
            if !name.starts_with("debug_getRaw") {
                return (200, chain.answer(request).to_string().into_bytes());
            }
            let result =
                |result: Value| (200, json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string().into_bytes());
            if name.starts_with(method) && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= good {
                return match fault {
                    Some((200, _)) => result(Value::Null),
                    Some((status, body)) => (status, body.as_bytes().to_vec()),
                    None => {
                        std::thread::sleep(std::time::Duration::from_secs(4));
                        result(Value::Null)
                    }
                };
            }
            let named = json!({"method": "eth_getBlockByNumber", "params": [request["params"][0], false]});
            let named = chain.result(&named).map(|block| block["hash"].as_str().unwrap_or_default().to_owned());
            let hash = named.unwrap_or_else(|| request["params"][0].as_str().unwrap_or_default().to_owned());
            result(match (encoded.get(&hash), name) {
                (None, _) => Value::Null,
                (Some(coded), "debug_getRawBlock") => json!(Bytes::from(coded.whole())),
                (Some(coded), _) => json!(coded.each),
            })
        });
        let begun = std::time::Instant::now();
        let (place, out) = endpoint.replay(&["-v", "--concurrency", "2", "--timeout", "1"]);
        let (said, elapsed) = (stderr(&out), begun.elapsed());
        let what = format!("{method} after {good}: {fault:?}");
        assert!(out.status.success(), "{what}: {said}");
        assert_eq!(place.status()["blocks"], 58, "{what}");
        let raw = endpoint.asked().iter().filter(|request| request["method"].to_string().contains("getRaw")).count();
        // What fails at once costs little, so that more tries may settle it.
        assert!(fault.is_some() || raw <= good + 20, "{what}: {raw} requests");
        assert!(elapsed < std::time::Duration::from_secs(20), "{what}: {elapsed:?}");
    }
}
