//! Chains whose blocks this build may not be able to prove: real blocks are taken at their endpoint's word, and where one is refused
//! the error says how.

use alloy::primitives::{B256, U256};
use bolo::chain::lean::Reader;
use bolo::chain::{Expected, Proof, RawBlock};
use serde_json::{Value, json};

use crate::common::{Place, shared, stderr};
use crate::served::{Chain, Served, demo_blocks};

/// The blocks of a file of ../shared/chains.
fn blocks(name: &str) -> Option<Vec<Value>> {
    let text = shared(&format!("chains/{name}"))?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Receipts that say no more than that each transaction succeeded.
fn plain_receipts(block: &Value) -> Value {
    let transactions = block["transactions"].as_array().unwrap().iter();
    transactions.map(|tx| json!({"transactionHash": tx["hash"], "status": "0x1", "logs": []})).collect()
}

#[test]
fn real_blocks_of_other_chains_are_taken_on_trust_with_all_that_is_in_them() {
    let mut chains = std::collections::BTreeSet::new();
    for name in ["blocks.jsonl.zst", "blocks-without-receipts.jsonl.zst", "refused.jsonl.zst"] {
        let Some(lines) = blocks(name) else { return };
        for mut line in lines {
            let chain_id = line["chain_id"].as_u64().unwrap();
            let block = line["block"].take();
            let about = format!("block {} of chain {chain_id}", block["number"]);
            let receipts = match line["receipts"].take() {
                Value::Null => plain_receipts(&block),
                receipts => receipts,
            };
            let hash: B256 = serde_json::from_value(block["hash"].clone()).unwrap();
            let raw = RawBlock::Json {
                block: block.to_string().into_bytes().into(),
                receipts: receipts.to_string().into_bytes().into(),
            };
            let taken = Reader::new().take(&raw, None, Expected { hash: Some(hash), chain_id }, true);
            let (taken, _) = taken.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!((taken.proof(), taken.hash()), (Proof::Unproven, hash), "{about}");
            let (stated, receipts) = (block["transactions"].as_array().unwrap(), receipts.as_array().unwrap());
            assert_eq!(taken.transactions().len(), stated.len(), "{about}");
            for ((tx, stated), receipt) in taken.transactions().iter().zip(stated).zip(receipts) {
                let value: U256 = serde_json::from_value(stated["value"].clone()).unwrap();
                let to: Option<_> = serde_json::from_value(stated["to"].clone()).unwrap();
                assert_eq!((tx.value, tx.to, json!(tx.hash)), (value, to, stated["hash"].clone()), "{about}");
                assert_eq!(tx.logs.len(), receipt["logs"].as_array().unwrap().len(), "{about}");
                assert_eq!(
                    tx.success,
                    Some(receipt["status"] == "0x1").filter(|_| !receipt["status"].is_null()),
                    "{about}"
                );
            }
            chains.insert(chain_id);
        }
    }
    assert!(chains.len() >= 8, "{chains:?}");
}

/// Replays one block that an endpoint of that chain serves.
fn replay(chain_id: u64, block: &Value, receipts: &Value, extra: &[&str]) -> (Place, std::process::Output) {
    let chain = Chain::of(vec![(block.clone(), receipts.clone())]);
    let endpoint = Served::new(move |request| {
        let mut answer = chain.answer(request);
        if request["method"] == "eth_chainId" {
            answer["result"] = json!(format!("{chain_id:#x}"));
        }
        (200, answer.to_string().into_bytes())
    });
    let place = Place::new();
    let number = block["number"].as_str().unwrap().to_owned();
    let range = ["replay", "-r", &endpoint.url, "--traces", "off", "--from-block", &number, "--to-block", &number];
    let out = place.run(&[&range[..], extra].concat());
    (place, out)
}

#[test]
fn a_block_of_a_chain_that_cannot_be_proven_names_the_way_to_trust_its_endpoint() {
    let (block, receipts) = demo_blocks().into_iter().find(|(_, all)| all.as_array().unwrap().len() > 2).unwrap();
    let mut failed = receipts.clone();
    failed[0]["status"] = json!("0x0");
    let mut rootless = block.clone();
    rootless["stateRoot"] = json!(B256::ZERO);
    let mut sized = block.clone();
    sized.as_object_mut().unwrap().remove("gasLimit");
    let typed = |name: &str| {
        let mut block = block.clone();
        block["transactions"][0]["type"] = json!(name);
        block
    };
    let mut cases = vec![
        ("another receipt", 999_999, block.clone(), failed.clone()),
        ("another header", 999_999, rootless, receipts.clone()),
        ("a header that lacks a field", 999_999, sized, receipts.clone()),
        ("a deposit of the OP stack", 10, typed("0x7e"), receipts.clone()),
        ("a transaction of zkSync", 324, typed("0x71"), receipts.clone()),
        ("another chain's signatures", 56, block.clone(), receipts),
    ];
    // Arbitrum before Nitro, of which neither receipts nor transactions can be hashed again.
    for mut line in blocks("refused.jsonl.zst").unwrap_or_default() {
        let chain_id = line["chain_id"].as_u64().unwrap();
        cases.push(("Arbitrum Classic", chain_id, line["block"].take(), line["receipts"].take()));
    }
    for (what, chain_id, block, receipts) in cases {
        let (_, out) = replay(chain_id, &block, &receipts, &[]);
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(4), "{what}: {said}");
        assert!(said.contains("--trust-rpc"), "{what}: {said}");
        let (place, out) = replay(chain_id, &block, &receipts, &["--trust-rpc"]);
        assert!(out.status.success(), "{what}: {}", stderr(&out));
        assert_eq!(place.status()["blocks"], 1, "{what}");
    }
    // Where Ethereum's own rules hold, a receipt that does not fit is false, and nobody is told to believe it.
    let (_, out) = replay(31_337, &block, &failed, &[]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(!stderr(&out).contains("--trust-rpc"), "{}", stderr(&out));
}
