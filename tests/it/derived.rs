//! Fields that follow from what is proven: absent they are computed, and where they differ the proven value counts and the difference
//! is counted. Blocks of the demo's chain, every such field.

use serde_json::{Value, json};

use crate::flips::{facts, taken_of};
use crate::served::demo_blocks;

const BLOCK: [&str; 4] = ["hash", "size", "uncles", "withdrawals"];
const TRANSACTION: [&str; 12] = [
    "hash",
    "type",
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "transactionIndex",
    "from",
    "chainId",
    "yParity",
    "v",
    "creates",
    "accessList",
];
const RECEIPT: [&str; 16] = [
    "transactionHash",
    "transactionIndex",
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "type",
    "from",
    "to",
    "contractAddress",
    "cumulativeGasUsed",
    "gasUsed",
    "effectiveGasPrice",
    "blobGasUsed",
    "blobGasPrice",
    "logsBloom",
    "root",
];
const LOG: [&str; 7] =
    ["blockHash", "blockNumber", "blockTimestamp", "transactionHash", "transactionIndex", "logIndex", "removed"];

/// What may be there instead of the truth.
fn false_values(field: &str) -> Vec<Value> {
    let mut values = vec![
        json!("0x7b"),
        json!(""),
        json!(7_000_000_007u64),
        json!("not hex"),
        json!(true),
        json!("0x00000000000000000000000000000000000000aa"),
        json!("0x00000000000000000000000000000000000000000000000000000000000000aa"),
        json!({"a": [1, {"b": null}]}),
        json!([1, "0x2", []]),
    ];
    // These are lists, of which an empty one says nothing.
    if field == "uncles" {
        values.retain(|value| !value.is_object());
    }
    values
}

/// The objects of that kind in a block.
fn objects<'a>(kind: &str, block: &'a mut Value, receipts: &'a mut Value) -> Vec<&'a mut Value> {
    match kind {
        "block" => vec![block],
        "transaction" => block["transactions"].as_array_mut().unwrap().iter_mut().collect(),
        "receipt" => receipts.as_array_mut().unwrap().iter_mut().collect(),
        _ => {
            let receipts = receipts.as_array_mut().unwrap().iter_mut();
            receipts.flat_map(|receipt| receipt["logs"].as_array_mut().unwrap().iter_mut()).collect()
        }
    }
}

#[test]
fn a_field_that_proven_data_determine_is_computed_where_it_is_absent_or_wrong() {
    let kinds = [("block", &BLOCK[..]), ("transaction", &TRANSACTION), ("receipt", &RECEIPT), ("log", &LOG)];
    let mut counted = std::collections::BTreeSet::new();
    for (block, receipts) in demo_blocks().into_iter().step_by(3) {
        let hash = block["hash"].as_str().unwrap().parse().ok();
        let take = |block: &Value, receipts: &Value| taken_of(31337, &block.to_string(), &receipts.to_string(), hash);
        let (truth, none) = facts(take(&block, &receipts).unwrap());
        assert!(none.is_empty(), "{none:?}");
        for (kind, fields) in kinds {
            for field in fields {
                let change = |value: Option<Value>| {
                    let (mut block, mut receipts) = (block.clone(), receipts.clone());
                    let mut all = objects(kind, &mut block, &mut receipts);
                    // Of the last one alone, so that the others contradict it.
                    let object = all.pop()?;
                    // What the answer bears twice or not at all is another case.
                    match value {
                        Some(value) => object[*field] = value,
                        None => drop(object.as_object_mut()?.remove(*field)),
                    }
                    Some((block, receipts))
                };
                for absent in [None, Some(Value::Null)] {
                    let Some((block, receipts)) = change(absent) else { continue };
                    let taken =
                        take(&block, &receipts).unwrap_or_else(|error| panic!("{kind}.{field} absent: {error}"));
                    let (without, differences) = facts(taken);
                    assert!(without == truth && differences.is_empty(), "{kind}.{field} absent: {differences:?}");
                }
                for value in false_values(field) {
                    let Some((block, receipts)) = change(Some(value.clone())) else { continue };
                    // What the hash covers cannot be computed: only that there is none.
                    if *field == "accessList"
                        && taken_of(31337, &block.to_string(), &receipts.to_string(), hash).is_err()
                    {
                        continue;
                    }
                    let taken =
                        take(&block, &receipts).unwrap_or_else(|error| panic!("{kind}.{field} {value}: {error}"));
                    let (changed, differences) = facts(taken);
                    assert!(changed == truth, "{kind}.{field} {value} changed what is proven: {differences:?}");
                    let name = format!("{kind}.{field}");
                    // A state root beside a status is what old nodes add to it, and an empty number reads as 0.
                    let harmless = *field == "root" || value == json!("");
                    let told = differences.contains(&name.as_str());
                    assert!(told || harmless, "{name} {value}: {differences:?}");
                    counted.insert(name);
                }
            }
        }
    }
    assert_eq!(counted.len(), BLOCK.len() + TRANSACTION.len() + RECEIPT.len() + LOG.len(), "{counted:?}");
}

#[test]
fn a_false_value_that_hash_or_root_covers_is_refused() {
    let covered = [
        ("transaction", "nonce"),
        ("transaction", "value"),
        ("transaction", "to"),
        ("transaction", "r"),
        ("transaction", "input"),
        ("receipt", "status"),
        ("log", "address"),
        ("log", "data"),
    ];
    let mut refused = 0;
    for (block, receipts) in demo_blocks().into_iter().take(20) {
        let hash = block["hash"].as_str().unwrap().parse().ok();
        for (kind, field) in covered {
            let (mut block, mut receipts) = (block.clone(), receipts.clone());
            let Some(object) = objects(kind, &mut block, &mut receipts).pop() else { continue };
            let text = object[field].as_str().unwrap_or("0x").to_owned();
            let last =
                text.chars().last().filter(char::is_ascii_hexdigit).map_or('1', |c| if c == '1' { '0' } else { '1' });
            let other = if text.len() > 2 { format!("{}{last}", &text[..text.len() - 1]) } else { format!("{text}01") };
            object[field] = json!(other);
            let error = taken_of(31337, &block.to_string(), &receipts.to_string(), hash).unwrap_err();
            assert!(error.contains("root does not fit") || error.contains("cannot be read"), "{kind}.{field}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_list_that_the_type_of_a_transaction_does_not_have_reaches_nothing() {
    let authorization = json!({"chainId": "0x0", "address": "0x00000000000000000000000000000000000000aa", "nonce": "0x1",
        "yParity": "0x0", "r": "0x1", "s": "0x1"});
    let mut types = std::collections::BTreeSet::new();
    for (block, receipts) in demo_blocks() {
        let hash = block["hash"].as_str().unwrap().parse().ok();
        let take = |block: &Value| facts(taken_of(31337, &block.to_string(), &receipts.to_string(), hash).unwrap());
        let transactions = block["transactions"].as_array().unwrap();
        let Some(place) =
            transactions.iter().position(|tx| tx["type"] != "0x4" && types.insert(tx["type"].to_string()))
        else {
            continue;
        };
        let (truth, _) = take(&block);
        for (list, is_told) in [
            (json!([authorization]), true),
            (json!([authorization, authorization]), true),
            (json!("0x01"), true),
            (json!({"address": "0xaa"}), true),
            (json!([]), false),
            (Value::Null, false),
        ] {
            let mut changed = block.clone();
            changed["transactions"][place]["authorizationList"] = list.clone();
            let (facts, differences) = take(&changed);
            assert!(facts == truth, "an authorization that nobody signed was taken for proven: {list}");
            let told: &[&str] = if is_told { &["transaction.authorizationList"] } else { &[] };
            assert_eq!(differences, told, "{list}");
        }
    }
    assert!(types.len() > 1, "{types:?}");
}
