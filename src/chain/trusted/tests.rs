//! Blocks as nodes of other chains answer them, after the source that each names.
#![cfg(test)]

use super::*;
use alloy::primitives::keccak256;
use serde_json::{Value, json};

const A: &str = "0x00000000000000000000000000000000000000a1";
const B: &str = "0x00000000000000000000000000000000000000b2";
const ZERO: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

fn word(text: &str) -> B256 {
    keccak256(text)
}

/// What every chain has.
fn block() -> Value {
    json!({
        "hash": word("block"), "number": "0x10", "parentHash": word("parent"), "timestamp": "0x5f5e100", "miner": A,
        "transactions": [{"hash": word("tx"), "from": A, "to": B, "value": "0x7"}],
    })
}

fn receipts() -> Value {
    let log = json!({"address": B, "topics": [word("Transfer")], "data": "0x01"});
    json!([{"transactionHash": word("tx"), "status": "0x1", "gasUsed": "0x5208", "logs": [log]}])
}

fn take(block: &Value, receipts: &Value) -> Result<VerifiedBlock, String> {
    let expected = Expected { hash: Some(word("block")), chain_id: 7 };
    trust(block.to_string().as_bytes(), receipts.to_string().as_bytes(), None, expected).map_err(|e| e.to_string())
}

/// An answer with members changed; null removes nothing, it is what some nodes write.
fn with(mut answer: Value, members: &Value) -> Value {
    members.as_object().unwrap().iter().for_each(|(key, value)| answer[key] = value.clone());
    answer
}

/// The usual block with members of its header, transaction and receipt changed.
fn shaped(header: &Value, tx: &Value, receipt: &Value) -> (Value, Value) {
    let (mut block, mut receipts) = (with(block(), header), receipts());
    block["transactions"][0] = with(block["transactions"][0].take(), tx);
    receipts[0] = with(receipts[0].take(), receipt);
    (block, receipts)
}

/// Name, header, transaction and receipt of each chain, where these differ from Ethereum's.
fn chains() -> Vec<(&'static str, Value, Value, Value)> {
    vec![
        ("bare", json!({}), json!({}), json!({})),
        // OpenEthereum on Gnosis, block 0xc63463 of its documentation; nonce and mixHash are not there (nethermind, issue 4545).
        (
            "AuRa",
            json!({"author": A, "step": "326374892", "signature": "b4dc56f1", "sealFields": ["0x84137415ec", "0xb841b4dc"],
                "size": "0x24c", "gasLimit": "0xbebc20", "totalDifficulty": "0xc63462ffffffffffffffffffffffffebc7b5b1",
                "difficulty": "0xfffffffffffffffffffffffffffffffe", "uncles": []}),
            json!({"condition": null, "creates": null, "publicKey": "0x04", "raw": "0xf8", "standardV": "0x0", "chainId": null}),
            json!({"root": null, "contractAddress": null, "logsBloom": null}),
        ),
        // Besu's clique, and Moonbeam: no mixHash (besu, issue 1091), no nonce (moonbeam, issue 1572).
        ("no seal", json!({"author": A, "extraData": "0x00", "baseFeePerGas": "0x3b9aca00"}), json!({}), json!({})),
        // Block 16645775 of Celo as viem's tests have it: no difficulty, gas limit, mixHash, nonce or uncles.
        (
            "Celo",
            json!({"baseFeePerGas": null, "epochSnarkData": null, "gasUsed": "0x4cfc7a", "size": "0x3bc",
                "randomness": {"committed": word("c"), "revealed": word("r")}, "totalDifficulty": "0xfdfeb0"}),
            json!({"ethCompatible": false, "feeCurrency": null, "gatewayFee": "0x0", "gatewayFeeRecipient": null,
                "gasPrice": "0x21815c79", "v": "0x149fc"}),
            json!({"cumulativeGasUsed": "0x5208"}),
        ),
        // Harmony's documentation of getBlockByHash: numbers without quotes, and what shards need.
        (
            "Harmony",
            json!({"nonce": 0, "difficulty": 0, "viewID": "0x286b8ab", "epoch": "0x5ba", "stakingTransactions": [],
                "transactionsInEthHash": [word("tx")], "mixHash": ZERO, "vrf": word("vrf"), "vrfProof": "0x81"}),
            json!({"timestamp": "0x647409e5", "shardID": 0, "toShardID": 0, "nonce": 5}),
            json!({"root": "0x", "status": 1, "from": "one1gh043zc95e6mtutwy5a2zhvsxv7lnlklkj42ux", "shardID": 0}),
        ),
        // Aurora: no mixHash and zero for sha3Uncles (aurora-relayer, issue 54), contractAddress of quotes (pull request 347).
        (
            "Aurora",
            json!({"nonce": "0x0000000000000000", "sha3Uncles": ZERO, "difficulty": "0x0", "logsBloom": "0x"}),
            json!({"v": "0x1", "input": "0x"}),
            json!({"contractAddress": "0x2232303030303030303030303030303030303022", "cumulativeGasUsed": "0x0",
                "nearTransactionHash": word("near"), "nearReceiptHash": word("receipt")}),
        ),
        // Flow: direct calls of Cadence have type 255 and no signature (flow-evm-gateway, issue 307), roots are zero (issue 158).
        (
            "Flow",
            json!({"receiptsRoot": ZERO, "nonce": "0x0000000000000001", "mixHash": ZERO, "logsBloom": "0x00", "size": "0x0"}),
            json!({"type": "0xff", "gasPrice": "0x0", "v": "0x0", "r": "0x0", "s": "0x0", "nonce": "0x0"}),
            json!({"type": "0xff", "revertReason": "0x"}),
        ),
        // Hedera: a relay's block has neither miner nor roots, and gas without 0x (hedera-json-rpc-relay, model.ts).
        (
            "Hedera",
            json!({"miner": "", "extraData": "", "logsBloom": "0x0", "stateRoot": "0x0", "receiptsRoot": "0x0",
                "sha3Uncles": "0x0", "transactionsRoot": "0x0", "size": "0x0", "baseFeePerGas": "0xa54f4c3c00"}),
            json!({"type": null, "accessList": [], "v": null, "r": null, "s": null, "transactionIndex": null}),
            json!({"logsBloom": "", "cumulativeGasUsed": "0x0", "type": null, "root": null, "effectiveGasPrice": null}),
        ),
        // zkSync Era: transactions from L1 have type 0xff and no signature, no batch is sealed yet, gas is not summed up.
        (
            "zkSync",
            json!({"l1BatchNumber": null, "l1BatchTimestamp": null, "sealFields": [], "stateRoot": ZERO,
                "receiptsRoot": ZERO, "transactionsRoot": ZERO, "totalDifficulty": "0x0", "size": "0x0",
                "miner": "0x0000000000000000000000000000000000000000"}),
            json!({"type": "0xff", "l1BatchNumber": null, "l1BatchTxIndex": "0x0", "maxFeePerGas": "0x0", "gas": "0x44aa200"}),
            json!({"type": "0xff", "l1BatchTxIndex": null, "l1BatchNumber": null, "cumulativeGasUsed": "0x0", "root": word("block"),
                "l2ToL1Logs": [{"sender": B, "logIndex": "0x0"}]}),
        ),
        // Viction (victionchain, pull request 435) states a root of null as well as the status.
        ("Viction", json!({"validators": "0x", "penalties": "0x"}), json!({}), json!({"root": null})),
    ]
}

#[test]
fn blocks_of_other_chains_are_taken_on_trust_whatever_else_they_have_or_lack() {
    for (chain, header, tx, receipt) in chains() {
        let (block, receipts) = shaped(&header, &tx, &receipt);
        let taken = take(&block, &receipts).unwrap_or_else(|error| panic!("{chain}: {error}"));
        assert_eq!((taken.proof(), taken.number(), taken.hash()), (Proof::Unproven, 16, word("block")), "{chain}");
        let tx = &taken.transactions()[0];
        assert_eq!((tx.value, tx.success, tx.logs.len()), (U256::from(7), Some(true), 1), "{chain}");
        assert_eq!(tx.gas_used, 21_000, "{chain}");
        // The same through the path that is quick.
        let raw = crate::chain::RawBlock::Json {
            block: block.to_string().into_bytes().into(),
            receipts: receipts.to_string().into_bytes().into(),
        };
        let expected = Expected { hash: Some(word("block")), chain_id: 7 };
        let (read, _) = crate::chain::lean::Reader::new().take(&raw, None, expected, true).unwrap();
        assert_eq!(format!("{:?}", read.transactions()), format!("{:?}", taken.transactions()), "{chain}");
    }
}

#[test]
fn logs_are_taken_on_trust_as_relays_write_them() {
    let log = |topics: Value, data: Value| json!({"address": B, "topics": topics, "data": data});
    let cases = [
        // Aurora's relayer wrote null for no topics (pull request 290).
        (log(Value::Null, json!("0x01")), vec![], "0x01", 0),
        // Hedera's relay wrote 0x for a topic of zeros (hiero-json-rpc-relay, issue 3807).
        (log(json!([word("T"), "0x", word("to")]), json!("0x")), vec![word("T"), B256::ZERO, word("to")], "0x", 1),
        (log(json!([word("T"), "0x05"]), json!("")), vec![word("T"), B256::with_last_byte(5)], "0x", 1),
        (log(json!([]), Value::Null), vec![], "0x", 0),
        // zkSync's logs say more than others do.
        (
            with(
                log(json!([word("T")]), json!("0x")),
                &json!({"logType": null, "l1BatchNumber": "0x1", "removed": null}),
            ),
            vec![word("T")],
            "0x",
            0,
        ),
    ];
    for (log, topics, data, differences) in cases {
        let receipts = json!([{"transactionHash": word("tx"), "status": "0x1", "logs": [log]}]);
        let taken = take(&block(), &receipts).unwrap_or_else(|error| panic!("{log}: {error}"));
        let [read] = &taken.transactions()[0].logs[..] else { panic!("{log}: {taken:?}") };
        assert_eq!((read.topics(), read.data.data.to_string().as_str()), (&topics[..], data), "{log}");
        assert_eq!(taken.differences().iter().count(), differences, "{log}");
    }
    // Null where there are none: nodes in Go.
    let none = json!([{"transactionHash": word("tx"), "status": "0x1", "logs": null}]);
    assert!(take(&block(), &none).unwrap().transactions()[0].logs.is_empty());
    let too_long =
        json!([{"transactionHash": word("tx"), "logs": [log(json!([format!("0x{}", "11".repeat(33))]), json!("0x"))]}]);
    assert!(take(&block(), &too_long).unwrap_err().contains("a topic of 33 bytes"));
}

#[test]
fn a_receipt_of_what_is_no_transaction_is_left_out_and_counted() {
    // Celo has one for the logs of system calls, under the block's hash (celo-blockchain, pull requests 1628 and 2295).
    let mut receipts = receipts();
    let system = json!({"transactionHash": word("block"), "transactionIndex": "0x1", "from": ZERO, "logs": [], "gasUsed": "0x0"});
    receipts.as_array_mut().unwrap().push(system);
    let taken = take(&block(), &receipts).unwrap();
    assert_eq!(taken.transactions().len(), 1);
    assert_eq!(taken.differences().iter().map(|(field, _)| field).collect::<Vec<_>>(), ["block.receipts"]);
}

#[test]
fn numbers_and_addresses_are_read_however_they_are_written() {
    for (member, written) in [
        ("number", json!("0x0010")),
        ("number", json!(16)),
        ("number", json!("16")),
        ("timestamp", json!("0x0000000005f5e100")),
        ("timestamp", json!(100_000_000)),
        ("miner", json!("0x00000000000000000000000000000000000000A1")),
        ("hash", json!(format!("0x{}", word("block").to_string()[2..].to_uppercase()))),
    ] {
        let taken = take(&with(block(), &json!({member: written})), &receipts());
        let taken = taken.unwrap_or_else(|error| panic!("{member} {written}: {error}"));
        let read = (taken.number(), taken.header().timestamp, taken.header().beneficiary.to_string().to_lowercase());
        assert_eq!(read, (16, 100_000_000, A.to_owned()), "{member} {written}");
    }
    for to in [Value::Null, json!(""), json!("0x")] {
        let (block, receipts) = shaped(&json!({}), &json!({"to": to}), &json!({}));
        assert_eq!(take(&block, &receipts).unwrap().transactions()[0].to, None, "{to}");
    }
    for (status, success) in [
        (json!("0x01"), Some(true)),
        (json!("0x0"), Some(false)),
        (json!(true), Some(true)),
        (json!(false), Some(false)),
        (Value::Null, None),
        (json!(""), None),
    ] {
        let (block, receipts) = shaped(&json!({}), &json!({}), &json!({"status": status}));
        assert_eq!(take(&block, &receipts).unwrap().transactions()[0].success, success, "{status}");
    }
}

#[test]
fn what_is_needed_has_no_default() {
    for field in ["hash", "number", "parentHash", "timestamp", "miner", "transactions"] {
        let mut without = block();
        without.as_object_mut().unwrap().remove(field);
        let error = take(&without, &receipts()).unwrap_err();
        assert!(error.contains(field), "{field}: {error}");
    }
    for field in ["hash", "from", "value"] {
        let mut without = block();
        without["transactions"][0].as_object_mut().unwrap().remove(field);
        assert!(take(&without, &receipts()).unwrap_err().contains(field), "{field}");
    }
    for field in ["address", "topics"] {
        let mut without = receipts();
        without[0]["logs"][0].as_object_mut().unwrap().remove(field);
        assert!(take(&block(), &without).unwrap_err().contains(field), "{field}");
    }
    assert!(take(&block(), &json!([])).unwrap_err().contains("number of receipts"));
    assert!(take(&block(), &Value::Null).unwrap_err().contains("number of receipts"));
    assert!(take(&block(), &json!([{"transactionHash": word("tx")}])).unwrap_err().contains("logs"));
    // Null is a list of none, where nothing contradicts it.
    assert_eq!(take(&with(block(), &json!({"transactions": null})), &json!([])).unwrap().transactions().len(), 0);
}
