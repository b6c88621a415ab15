//! Withdrawals of chains that pay them in a token: what `query`, `evidence` and `attest` say of them.

use alloy::consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header};
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{Address, B256};
use serde_json::{Value, json};

use crate::common::{Place, stderr};
use crate::evidence::python_agrees;

const PAID: Address = Address::repeat_byte(0xaa);

/// A block after Shanghai that has nothing but withdrawals, as a line of an archive.
fn block(number: u64, parent: B256, gwei: &[u64]) -> (B256, String) {
    let withdrawals: Vec<Withdrawal> = (0u64..)
        .zip(gwei)
        .map(|(index, amount)| Withdrawal { index, validator_index: 7, address: PAID, amount: *amount })
        .collect();
    let header = Header {
        number,
        parent_hash: parent,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        gas_limit: 30_000_000,
        timestamp: 1_700_000_000 + 5 * number,
        base_fee_per_gas: Some(7),
        withdrawals_root: Some(alloy::consensus::proofs::calculate_withdrawals_root(&withdrawals)),
        ..Header::default()
    };
    let hash = header.hash_slow();
    let mut block = serde_json::to_value(&header).unwrap();
    block["hash"] = json!(hash);
    block["transactions"] = json!([]);
    block["uncles"] = json!([]);
    block["withdrawals"] = json!(withdrawals);
    (hash, json!({"block": block, "receipts": [], "traces": null}).to_string() + "\n")
}

#[test]
fn withdrawals_of_gnosis_and_chiado_are_paid_in_gno_and_those_of_other_chains_in_their_own_currency() {
    let (first, one) = block(100, B256::ZERO, &[32_000_000_000, 1, 33]);
    let (_, two) = block(101, first, &[17_000_000]);
    // Base units: the block counts Gwei, and of GNO 32 times as many.
    let gno = ["1000000000000000000", "31250000", "1031250000", "531250000000000"];
    let own = ["32000000000000000000", "1000000000", "33000000000", "17000000000000000"];
    let token = |contract: &str| (json!(contract), format!("erc20:{contract}"));
    for (chain, (contract, asset), symbol, amounts) in [
        ("100", token("0x9C58BAcC331c9aa871AFD802DB6379a98e80CEdb"), None, gno),
        ("10200", token("0x19C653Da7c37c66208fbfbE8908A5051B57b4C70"), None, gno),
        ("1", (Value::Null, "slip44:60".to_owned()), Some("ETH"), own),
        ("560048", (Value::Null, "slip44:60".to_owned()), Some("ETH"), own),
        ("987654321", (Value::Null, "native:coin".to_owned()), None, own),
    ] {
        let place = Place::watching(&[(PAID, "validator")]);
        std::fs::write(place.dir.path().join("blocks.jsonl"), format!("{one}{two}")).unwrap();
        place.ok(&["replay", "--archive", "blocks.jsonl", "--chain", chain]);
        let alerts = place.alerts(&["--triage", "all"]);
        assert_eq!(alerts.len(), 4, "{chain}");
        for (alert, amount) in alerts.iter().zip(amounts) {
            assert_eq!((&alert["kind"], &alert["proof"]), (&json!("withdrawal"), &json!("proven")), "{chain}");
            assert_eq!(alert["asset"]["id"], format!("eip155:{chain}/{asset}"), "{chain}");
            assert_eq!((&alert["asset"]["contract"], &alert["amount"]), (&contract, &json!(amount)), "{chain}");
            assert_eq!(alert["asset"]["symbol"], json!(symbol), "{chain}");
        }
        // Filters tell the token from the currency.
        let native = place.alerts(&["--triage", "all", "--asset", "native"]).len();
        assert_eq!(native, if contract.is_null() { 4 } else { 0 }, "{chain}");
        let whole = place.alerts(&["--triage", "all", "--asset", &format!("eip155:{chain}/{asset}")]).len();
        assert_eq!(whole, 4, "{chain}");
        let own_currency = place.alerts(&["--triage", "all", "--min-amount", "0.000000001native"]).len();
        assert_eq!(own_currency, if contract.is_null() { 4 } else { 0 }, "{chain}");
        // Both checkers prove the same asset and amount.
        let dirs: Vec<_> = alerts.iter().map(|alert| place.dir.path().join(alert["id"].as_str().unwrap())).collect();
        for (alert, dir) in alerts.iter().zip(&dirs) {
            place.ok(&["evidence", alert["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
            let said = place.ok(&["verify", "--bundle", dir.to_str().unwrap()]);
            assert!(said.contains(": proven: "), "{chain}: {said}");
        }
        python_agrees(&dirs.iter().collect::<Vec<_>>(), &["--sample", "40"]);
        // The address was touched, whatever it was paid in.
        let attest = |address: Address| {
            place.run(&["attest", "--address", &address.to_string(), "--from-block", "100", "--to-block", "101"])
        };
        let out = attest(PAID);
        assert!(out.status.code() == Some(1) && stderr(&out).contains("4 alerts touch"), "{chain}: {}", stderr(&out));
        assert_eq!(attest(Address::repeat_byte(0xbb)).status.code(), Some(3), "{chain}: not on a list");
    }
}
