//! Shapes of traces as clients answer them, good and broken.
#![cfg(test)]

use super::*;
use alloy::primitives::address;
use serde_json::{Value, json};

const ALICE: Address = address!("00000000000000000000000000000000000000a1");
const BOB: Address = address!("00000000000000000000000000000000000000b0");
const CAROL: Address = address!("00000000000000000000000000000000000000c0");
const BLOCK: B256 = B256::repeat_byte(0xbb);

fn hash(index: u64) -> B256 {
    B256::with_last_byte(index as u8 + 1)
}

/// Transactions of Alice to Bob with 7 wei.
fn transactions(count: u64) -> Vec<VerifiedTransaction> {
    let one = |index| VerifiedTransaction {
        index,
        hash: hash(index),
        signer: ALICE,
        to: Some(BOB),
        value: U256::from(7),
        nonce: index,
        gas_used: 21_000,
        effective_gas_price: 1,
        ..VerifiedTransaction::plain()
    };
    (0..count).map(one).collect()
}

fn read(traces: &Value, count: u64) -> Result<BlockFrames, String> {
    let traces = Traces::parse(&traces.to_string()).map_err(|error| error.to_string())?;
    let found = traces.frames(BLOCK, &transactions(count)).map_err(|error| error.to_string())?;
    found.check_tops(&transactions(count)).map_err(|error| error.to_string())?;
    Ok(found)
}

/// A good nested item: Bob pays Carol 3 wei.
fn nested(index: u64) -> Value {
    let child = json!({"type": "CALL", "from": BOB, "to": CAROL, "value": "0x3"});
    let top = json!({"type": "CALL", "from": ALICE, "to": BOB, "value": "0x7", "calls": [child]});
    json!({"txHash": hash(index), "result": top})
}

/// The same as flat items.
fn flat(index: u64) -> Vec<Value> {
    let item = |from: Address, to: Address, value: &str, path: Value, subtraces: u64| {
        json!({
            "action": {"callType": "call", "from": from, "to": to, "value": value}, "type": "call", "blockHash": BLOCK,
            "traceAddress": path, "subtraces": subtraces, "transactionHash": hash(index), "transactionPosition": index,
        })
    };
    vec![item(ALICE, BOB, "0x7", json!([]), 1), item(BOB, CAROL, "0x3", json!([0]), 0)]
}

/// Two lines of frames, one missing.
fn one_of_three_is_missing(found: &BlockFrames, missing: u64, detail: &str) {
    let counts: Vec<usize> = found.frames.iter().map(Vec::len).collect();
    let expected: Vec<usize> = (0..3).map(|index| if index == missing { 0 } else { 2 }).collect();
    assert_eq!(counts, expected, "{found:?}");
    let [MissingTrace { index, hash: of, detail: said, .. }] = &found.missing[..] else { panic!("{found:?}") };
    assert_eq!((*index, *of), (missing, hash(missing)));
    assert!(said.contains(detail), "{said} lacks {detail}");
}

#[test]
fn a_transaction_whose_trace_failed_costs_the_others_nothing() {
    let shapes = [
        (json!({"txHash": hash(1), "error": "execution timeout"}), "execution timeout"),
        (json!({"txHash": hash(1), "error": {"code": -32000, "message": "missing trie node"}}), "missing trie node"),
        (json!({"txHash": hash(1), "result": null}), "no result"),
        (json!({"txHash": hash(1), "result": null, "error": "tracer failed"}), "tracer failed"),
        (json!({"txHash": hash(1)}), "no result"),
        (json!({"txHash": hash(1), "result": {}}), "type"),
        (json!({"txHash": hash(1), "result": {"type": "CALL", "from": "0xzz"}}), "invalid"),
        (json!({"txHash": hash(1), "result": "timeout"}), "timeout"),
        (json!({"transactionHash": hash(1), "error": ["stack"]}), "stack"),
        (json!({"error": "out of memory"}), "out of memory"),
        (json!({"result": null}), "no result"),
        (json!(null), "null"),
        (json!("nothing"), "nothing"),
    ];
    for (item, detail) in shapes {
        one_of_three_is_missing(&read(&json!([nested(0), item, nested(2)]), 3).unwrap(), 1, detail);
    }
    // It is not in the answer at all: the last (a transaction that the client itself adds), the first, one between.
    for missing in 0..3 {
        let rest: Vec<Value> = (0..3).filter(|index| *index != missing).map(nested).collect();
        one_of_three_is_missing(&read(&json!(rest), 3).unwrap(), missing, "no trace");
        let rest: Vec<Value> = (0..3).filter(|index| *index != missing).flat_map(flat).collect();
        one_of_three_is_missing(&read(&json!(rest), 3).unwrap(), missing, "no trace");
    }
    // A frame that cannot be read, and one that is said to exist and does not come.
    let mut broken = [flat(0), flat(1), flat(2)].concat();
    broken[3]["action"]["to"] = json!("0x12");
    one_of_three_is_missing(&read(&json!(broken), 3).unwrap(), 1, "invalid");
    let mut short = [flat(0), flat(1), flat(2)].concat();
    short.remove(3);
    one_of_three_is_missing(&read(&json!(short), 3).unwrap(), 1, "0 frames below one that says 1");
    let mut gap = [flat(0), flat(1), flat(2)].concat();
    gap[3]["traceAddress"] = json!([1]);
    gap[2]["subtraces"] = json!(2);
    one_of_three_is_missing(&read(&json!(gap), 3).unwrap(), 1, "before [1]");
}

#[test]
fn null_calls_and_results_in_another_order_are_read() {
    let mut plain = nested(0);
    for nothing in [json!(null), json!([])] {
        plain["result"]["calls"] = nothing;
        assert_eq!(read(&json!([plain]), 1).unwrap().frames[0].len(), 1);
    }
    let mut other = nested(1);
    other["result"]["calls"][0]["value"] = json!("0x9");
    let found = read(&json!([other, nested(0)]), 2).unwrap();
    assert_eq!(found.frames[1][1].value, U256::from(9));
    assert_eq!(found.frames[0][1].value, U256::from(3));
    let mut mixed = [flat(2), flat(0), flat(1)].concat();
    mixed.reverse();
    let found = read(&json!(mixed), 3).unwrap();
    assert!(found.missing.is_empty() && found.frames.iter().all(|frames| frames[1].trace_address == [0]));
    // Without hashes the order is the block's, where there are as many.
    let unnamed = |index| json!({"result": nested(index)["result"]});
    assert!(read(&json!([unnamed(0), unnamed(1)]), 2).unwrap().missing.is_empty());
    assert_eq!(read(&json!([unnamed(0), unnamed(1)]), 3).unwrap().missing.len(), 3, "nobody knows which is missing");
    // Fields that are there and say nothing.
    let mut odd = nested(0);
    odd["result"]["calls"][0] = json!({"type": "CREATE", "from": BOB, "to": "", "value": null, "error": null});
    assert_eq!(read(&json!([odd]), 1).unwrap().frames[0][1].to, None);
}

#[test]
fn frame_types_are_known_in_any_case_and_by_their_aliases() {
    let kind = |name: &str| {
        let mut item = nested(0);
        item["result"]["calls"][0]["type"] = json!(name);
        let mut list = flat(0);
        list[1]["type"] = json!(name);
        list[1]["action"] =
            json!({"from": BOB, "to": CAROL, "value": "0x3", "address": BOB, "refundAddress": CAROL, "balance": "0x3"});
        let of_list = read(&json!(list), 1).unwrap().frames.remove(0).remove(1);
        let of_tree = read(&json!([item]), 1).unwrap().frames.remove(0).remove(1);
        assert_eq!((of_list.kind, of_list.value, of_list.from), (of_tree.kind, U256::from(3), BOB), "{name}");
        of_tree.kind
    };
    for (names, expected) in [
        (&["CALL", "call", "Call", "cAlL", "EXTCALL", "extcall"][..], FrameKind::Call),
        (&["CREATE", "create", "Create2", "CREATE2", "EOFCREATE"], FrameKind::Create),
        (&["SELFDESTRUCT", "selfdestruct", "SelfDestruct", "SUICIDE", "suicide", "Suicide"], FrameKind::SelfDestruct),
        (&["DELEGATECALL", "delegateCall", "CallCode", "staticcall", "EXTDELEGATECALL"], FrameKind::NoValue),
        (&["INVALID", "AUTHCALL", "authcall", "STOP", "", "call2", "TRANSFER", "0xf1"], FrameKind::Unknown),
    ] {
        for name in names {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
    let mut list = flat(0);
    for (call_type, expected) in [
        ("CALL", FrameKind::Call),
        ("Delegatecall", FrameKind::NoValue),
        ("authcall", FrameKind::Unknown),
        ("", FrameKind::Unknown),
    ] {
        list[1]["action"]["callType"] = json!(call_type);
        assert_eq!(read(&json!(list), 1).unwrap().frames[0][1].kind, expected, "{call_type}");
    }
}

#[test]
fn an_empty_error_reverts_nothing_and_a_revert_reason_alone_does() {
    let reverted = |field: &str, said: Value| {
        let mut item = nested(0);
        item["result"]["calls"][0][field] = said.clone();
        let mut list = flat(0);
        list[1][field] = said;
        let of_tree = read(&json!([item]), 1).unwrap().frames[0][1].reverted;
        assert_eq!(read(&json!(list), 1).unwrap().frames[0][1].reverted, of_tree);
        of_tree
    };
    for nothing in [json!(""), json!(null), json!(" "), json!(false), json!({})] {
        assert!(!reverted("error", nothing.clone()) && !reverted("revertReason", nothing));
    }
    for failed in [json!("execution reverted"), json!("Reverted"), json!({"message": "out of gas"}), json!("0x")] {
        assert!(reverted("error", failed));
    }
    assert!(reverted("revertReason", json!("Too little received")) && !reverted("revertReason", json!("0x")));
    // So too of the whole transaction: an empty error beside its result is none.
    for (said, missing) in [(json!(""), 0), (json!(null), 0), (json!("execution timeout"), 1)] {
        let mut item = nested(0);
        item["error"] = said;
        assert_eq!(read(&json!([item]), 1).unwrap().missing.len(), missing);
    }
}

#[test]
fn traces_that_no_execution_has_are_refused() {
    let change = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut list = [flat(0), flat(1)].concat();
        change(&mut list);
        read(&json!(list), 2).unwrap_err()
    };
    type Twist<'a> = (&'a str, &'a dyn Fn(&mut Vec<Value>));
    let cases: [Twist<'_>; 13] = [
        ("two frames at [0]", &|list| list.insert(2, list[1].clone())),
        ("two frames at []", &|list| list.push(list[0].clone())),
        ("without the one above it", &|list| list[1]["traceAddress"] = json!([0, 0])),
        ("without the one above it", &|list| list[1]["traceAddress"] = json!([4, 1, 0])),
        ("without the one above it", &|list| drop(list.remove(0))),
        ("1 frames below one that says 0", &|list| list[0]["subtraces"] = json!(0)),
        ("1 frames below one that says 0", &|list| list[0]["subtraces"] = json!("0x0")),
        ("2 frames below one that says 1", &|list| {
            list.push(list[1].clone());
            list[4]["traceAddress"] = json!([1]);
        }),
        ("a trace of", &|list| list[1]["transactionHash"] = json!(hash(9))),
        ("transaction position 1", &|list| list[1]["transactionPosition"] = json!(1)),
        ("traces of another block", &|list| list[1]["blockHash"] = json!(hash(9))),
        ("top frame from", &|list| list[0]["action"]["value"] = json!("0x8")),
        ("a frame of no transaction", &|list| {
            let frame = list[1].as_object_mut().unwrap();
            frame.remove("transactionHash");
            frame.remove("transactionPosition");
        }),
    ];
    for (expected, twist) in cases {
        let refused = change(twist);
        assert!(refused.starts_with("traces does not fit") && refused.contains(expected), "{expected}: {refused}");
    }
    let refused = |items: Value| read(&items, 2).unwrap_err();
    assert!(refused(json!([nested(0), nested(0)])).contains("two traces"));
    assert!(refused(json!([nested(0), nested(9)])).contains("a trace of"));
    let both = [vec![nested(0)], flat(0), flat(1)].concat();
    assert!(refused(json!(both)).contains("two traces of one transaction"));
}

#[test]
fn single_traces_take_the_place_of_what_the_block_said_of_their_transactions() {
    let single = |index: u64, answer: Value| SingleTrace {
        index,
        hash: hash(index),
        answer: RawValue::from_string(answer.to_string()).unwrap(),
    };
    let spliced = |items: Value, singles: &[SingleTrace]| {
        let missing = read(&items, 3).unwrap().missing;
        let block = RawValue::from_string(items.to_string()).unwrap();
        read(&serde_json::from_str(splice(&block, &missing, singles).unwrap().get()).unwrap(), 3).unwrap()
    };
    let whole = |found: BlockFrames| {
        assert!(found.missing.is_empty(), "{found:?}");
        assert!(found.frames.iter().all(|frames| frames.len() == 2), "{found:?}");
    };
    let top = |index| nested(index)["result"].clone();
    let failed = json!({"txHash": hash(1), "error": "execution timeout"});
    whole(spliced(json!([nested(0), failed, nested(2)]), &[single(1, top(1))]));
    whole(spliced(json!([nested(0), null, nested(2)]), &[single(1, top(1))]));
    whole(spliced(json!([nested(2)]), &[single(0, top(0)), single(1, top(1))]));
    whole(spliced(json!([nested(0), nested(1)]), &[single(2, json!(flat(2)))]));
    let mut broken = [flat(0), flat(1), flat(2)].concat();
    broken[3]["action"]["to"] = json!("0x12");
    whole(spliced(json!(broken), &[single(1, json!(flat(1)))]));
}

#[test]
fn a_trace_without_a_hash_counts_only_where_the_order_tells_whose_it_is() {
    // Bob pays as many wei as the transaction's number, so that each trace is told from the others.
    let named = |index: u64| {
        let mut item = nested(index);
        item["result"]["calls"][0]["value"] = json!(format!("{:#x}", index + 1));
        item
    };
    let unnamed = |index: u64| json!({"result": named(index)["result"]});
    let found_of = |found: &BlockFrames| -> Vec<Option<u64>> {
        found.frames.iter().map(|frames| frames.get(1).map(|frame| frame.value.to::<u64>() - 1)).collect()
    };
    let single = |index: u64| {
        let answer = RawValue::from_string(named(index)["result"].to_string()).unwrap();
        SingleTrace { index, hash: hash(index), answer }
    };
    let (all, none) = ([0, 1, 2].map(Some), None);
    // What the answer holds, what it tells, and what it tells with the traces of the transactions that could be had one by one.
    let cases = [
        (json!([unnamed(0), unnamed(1), unnamed(2)]), all, vec![], all),
        (json!([unnamed(0), named(1), unnamed(2)]), all, vec![], all),
        (json!([unnamed(0), {"error": "execution timeout"}, unnamed(2)]), [Some(0), none, Some(2)], vec![1], all),
        (json!([unnamed(0), null, unnamed(2)]), [Some(0), none, Some(2)], vec![1], all),
        // One is missing, and nothing says which.
        (json!([named(0), unnamed(2)]), [Some(0), none, none], vec![1, 2], all),
        (json!([named(0), unnamed(2)]), [Some(0), none, none], vec![2], [Some(0), none, Some(2)]),
        (json!([named(0), unnamed(2)]), [Some(0), none, none], vec![1], [Some(0), Some(1), none]),
        (json!([unnamed(1), unnamed(2)]), [none; 3], vec![0, 1], [Some(0), Some(1), none]),
        // As many, and yet not in the order of the block.
        (json!([named(1), unnamed(0), named(2)]), [none, Some(1), Some(2)], vec![0], all),
        (json!([named(2), unnamed(1), unnamed(0)]), [none, none, Some(2)], vec![1], [none, Some(1), Some(2)]),
        (json!([unnamed(2), named(0), {"error": "no"}]), [Some(0), none, none], vec![2], [Some(0), none, Some(2)]),
        // One too many.
        (json!([unnamed(0), unnamed(0), unnamed(1), unnamed(2)]), [none; 3], vec![0, 1, 2], all),
    ];
    for (answer, told, had, spliced) in cases {
        let found = read(&answer, 3).unwrap();
        assert_eq!(found_of(&found), told, "{answer}");
        let singles: Vec<_> = had.iter().map(|index| single(*index)).collect();
        let block = RawValue::from_string(answer.to_string()).unwrap();
        let text = splice(&block, &found.missing, &singles).unwrap();
        let found = read(&serde_json::from_str(text.get()).unwrap(), 3).unwrap();
        assert_eq!(found_of(&found), spliced, "{answer} with {had:?}");
    }
}

#[test]
fn calls_1024_deep_are_read_and_anything_deeper_is_refused() {
    let nest = |levels: usize| {
        let open = format!(r#"{{"type":"CALL","from":"{ALICE}","to":"{BOB}","value":"0x7","calls":["#);
        format!("[{{\"result\":{}{}}}]", open.repeat(levels), "]}".repeat(levels))
    };
    let found = Traces::parse(&nest(1024)).unwrap().frames(BLOCK, &transactions(1)).unwrap();
    assert_eq!(found.frames[0].len(), 1024);
    let refused = Traces::parse(&nest(100_000)).unwrap_err();
    assert_eq!(refused.detail, "nested deeper than calls can be");
}
