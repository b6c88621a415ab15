//! Blocks under the Amsterdam fork (EIP-7708): the real program replays generated chains whose story says what must be found, with
//! call traces and without, and with traces that contradict the logs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::{Place, shared, stderr, well_proven};

/// The two chains: all blocks under the fork, and one that crosses it.
const CHAINS: [(&str, &str, &str); 2] =
    [("blocks", "watch.txt", "expected.jsonl"), ("crossing", "crossing-watch.txt", "crossing-expected.jsonl")];

pub(crate) fn file(name: &str) -> Option<String> {
    shared(&format!("amsterdam/{name}"))
}

/// A database with the list of a chain.
pub(crate) fn watching(list: &str) -> Option<Place> {
    let place = Place::new();
    std::fs::write(place.dir.path().join("watch.txt"), file(list)?).unwrap();
    place.ok(&["watchlist", "import", "watch.txt"]);
    Some(place)
}

/// Replays an archive of that text into the place; what the program says of it.
fn replay(place: &Place, archive: &str) -> String {
    std::fs::write(place.dir.path().join("archive.jsonl"), archive).unwrap();
    let out = place.run(&["replay", "--archive", "archive.jsonl"]);
    assert!(out.status.success(), "{}", stderr(&out));
    stderr(&out)
}

fn replayed(list: &str, archive: &str) -> Option<Place> {
    let place = watching(list)?;
    replay(&place, &file(archive)?);
    Some(place)
}

fn lower(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, |text| json!(text.to_lowercase()))
}

/// What an alert and an expected row have in common; the place of the frame apart, since only traces show it.
fn found_row(alert: &Value) -> String {
    json!({
        "block": alert["block"]["number"], "kind": alert["kind"], "tx": lower(&alert["tx"]["hash"]), "log_index": alert["log_index"],
        "sub_index": alert["sub_index"], "from": lower(&alert["from"]), "to": lower(&alert["to"]),
        "asset": lower(&alert["asset"]["contract"]), "amount": alert["amount"], "token_id": alert["token_id"],
        "watched": lower(&alert["watched"]["address"]), "direction": alert["watched"]["direction"], "proof": alert["proof"],
    })
    .to_string()
}

fn expected_row(row: &Value) -> String {
    let kind = if row["shown_by"] == "log" && row["kind_by_log"].is_string() { "kind_by_log" } else { "kind" };
    let log_index = if row["shown_by"] == "log" { &row["log_index"] } else { &Value::Null };
    json!({
        "block": row["block"], "kind": row[kind], "tx": row["tx"], "log_index": log_index, "sub_index": row["sub_index"],
        "from": row["from"], "to": row["to"], "asset": row["asset"], "amount": row["amount"], "token_id": row["token_id"],
        "watched": row["watched"], "direction": row["direction"], "proof": row["proof"],
    })
    .to_string()
}

fn counted(rows: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    rows.for_each(|row| *all.entry(row).or_default() += 1);
    all
}

fn rows_of(expected: &str) -> Option<Vec<Value>> {
    Some(file(expected)?.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn all(place: &Place) -> Vec<Value> {
    place.alerts(&["--triage", "all"])
}

/// The alerts are exactly the expected rows; what only a trace shows is expected where there were traces.
fn check(place: &Place, expected: &[Value], traced: bool) {
    let alerts = all(place);
    let found = counted(alerts.iter().map(found_row));
    let optional = counted(expected.iter().filter(|row| row["optional"] == true).map(expected_row));
    let wanted = expected.iter().filter(|row| row["optional"] == false && (traced || row["shown_by"] != "trace"));
    let wanted = counted(wanted.map(expected_row));
    let missing: Vec<_> = wanted.iter().filter(|(row, count)| found.get(*row) != Some(count)).take(5).collect();
    let is_extra = |row: &String| !(wanted.contains_key(row) || traced && optional.contains_key(row));
    let extra: Vec<_> = found.keys().filter(|row| is_extra(row)).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
    assert!(alerts.iter().all(well_proven), "proven where a log proves it");
}

/// What identifies an alert.
fn identity(alert: &Value) -> (String, String, String) {
    let text = |field: &str| alert[field].as_str().unwrap().to_owned();
    (text("id"), text("kind"), text("plane"))
}

#[test]
fn all_four_archives_of_the_fork_give_exactly_the_expected_rows() {
    for (chain, list, expected) in CHAINS {
        let Some(expected) = rows_of(expected) else { return };
        assert!(expected.len() > 150);
        for traced in [false, true] {
            let archive = format!("{chain}{}.jsonl.zst", if traced { "-traced" } else { "" });
            check(&replayed(list, &archive).unwrap(), &expected, traced);
        }
    }
}

#[test]
fn a_trace_adds_the_frame_to_a_payment_that_a_log_proves_and_changes_nothing_else() {
    for (chain, list, expected) in CHAINS {
        let Some(plain) = replayed(list, &format!("{chain}.jsonl.zst")) else { return };
        let traced = replayed(list, &format!("{chain}-traced.jsonl.zst")).unwrap();
        let (without, with) = (all(&plain), all(&traced));
        let ids: BTreeMap<_, _> = with.iter().map(|alert| (alert["id"].clone().to_string(), identity(alert))).collect();
        for alert in &without {
            assert_eq!(ids.get(&alert["id"].to_string()), Some(&identity(alert)));
            assert_eq!((&alert["trace_address"], &alert["detail"]), (&Value::Null, &Value::Null), "no trace was had");
        }
        let only_traced = with.iter().filter(|a| without.iter().all(|b| a["id"] != b["id"]));
        assert!(only_traced.clone().all(|alert| alert["plane"] == "traces"), "only what only a trace shows");
        let frames: BTreeMap<(u64, u64), (Value, Value)> = rows_of(expected)
            .unwrap()
            .iter()
            .filter(|row| row["kind_by_log"].is_string())
            .map(|row| {
                let place = (row["block"].as_u64().unwrap(), row["log_index"].as_u64().unwrap());
                (place, (row["trace_address"].clone(), row["how"].clone()))
            })
            .collect();
        let by_log: Vec<_> =
            with.iter().filter(|alert| alert["kind"] == "internal_transfer" && alert["plane"] == "logs").collect();
        assert!(by_log.len() > 50);
        for alert in by_log {
            let place = (alert["block"]["number"].as_u64().unwrap(), alert["log_index"].as_u64().unwrap());
            assert_eq!((alert["trace_address"].clone(), alert["detail"].clone()), frames[&place], "{place:?}");
        }
    }
}

#[test]
fn a_later_replay_with_or_without_traces_makes_no_second_alert_and_fills_the_frames() {
    for (chain, list, expected) in CHAINS {
        let (Some(plain), Some(traced)) =
            (file(&format!("{chain}.jsonl.zst")), file(&format!("{chain}-traced.jsonl.zst")))
        else {
            return;
        };
        let once = watching(list).unwrap();
        replay(&once, &traced);
        let timeless = |place: &Place| crate::common::timeless_all(&all(place));
        for order in [[&plain, &traced], [&traced, &plain]] {
            let twice = watching(list).unwrap();
            let mut digests = Vec::new();
            for archive in order {
                replay(&twice, archive);
                digests.push(twice.ok(&["-q", "status", "--digest"]));
            }
            check(&twice, &rows_of(expected).unwrap(), true);
            assert_eq!(timeless(&twice), timeless(&once), "as if it had been replayed with traces once");
            if chain == "blocks" {
                assert_eq!(digests[0], digests[1], "under the fork the digest does not depend on traces");
            }
        }
    }
}

/// Applies a change to the first inner frame, in the traces of a block, for which it says that it changed it.
fn change_first(frames: &mut Vec<Value>, change: &dyn Fn(&mut Vec<Value>, usize) -> bool) -> bool {
    for place in 0..frames.len() {
        if frames[place].get("error").is_some() {
            continue;
        }
        if change(frames, place) {
            return true;
        }
        if let Some(Value::Array(calls)) = frames[place].get_mut("calls")
            && change_first(calls, change)
        {
            return true;
        }
    }
    false
}

fn moves_value(frame: &Value) -> bool {
    frame["type"] == "CALL"
        && frame["value"].as_str().is_some_and(|value| value != "0x0")
        && frame["from"] != frame["to"]
}

type Forgery = (&'static str, fn(&mut Vec<Value>, usize) -> bool);

/// What a false trace may do to the frames below a call.
const FORGERIES: [Forgery; 7] = [
    ("another amount", |calls, at| {
        let moves = moves_value(&calls[at]);
        if moves {
            calls[at]["value"] = json!("0x7");
        }
        moves
    }),
    ("another recipient", |calls, at| {
        let moves = moves_value(&calls[at]);
        if moves {
            calls[at]["to"] = json!("0x00000000000000000000000000000000000000aa");
        }
        moves
    }),
    ("another sender", |calls, at| {
        let moves = moves_value(&calls[at]);
        if moves {
            calls[at]["from"] = json!("0x00000000000000000000000000000000000000aa");
        }
        moves
    }),
    ("a payment that is left out", |calls, at| {
        let moves = moves_value(&calls[at]);
        if moves {
            calls.remove(at);
        }
        moves
    }),
    ("a payment that comes twice", |calls, at| {
        let moves = moves_value(&calls[at]);
        if moves {
            calls.insert(at, calls[at].clone());
        }
        moves
    }),
    ("a payment that is said to have failed", |calls, at| {
        let moves = moves_value(&calls[at]);
        if moves {
            calls[at]["error"] = json!("execution reverted");
        }
        moves
    }),
    ("a code that ran in place said to be paid", |calls, at| {
        let delegates = calls[at]["type"] == "DELEGATECALL" || calls[at]["type"] == "CALLCODE";
        if delegates {
            calls[at]["type"] = json!("CALL");
            calls[at]["value"] = json!("0x7");
        }
        delegates
    }),
];

#[test]
fn traces_that_contradict_the_logs_are_left_out_and_the_logs_stand() {
    let (Some(plain), Some(traced)) = (replayed("watch.txt", "blocks.jsonl.zst"), file("blocks-traced.jsonl.zst"))
    else {
        return;
    };
    let honest = all(&plain);
    for (what, forge) in FORGERIES {
        let mut forged = None;
        let mut lines: Vec<Value> = traced.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &mut lines {
            let number = line["block"]["number"].clone();
            let traces = line["traces"].as_array_mut().unwrap();
            let changed = traces.iter_mut().filter(|trace| trace["result"].get("error").is_none()).any(|trace| {
                let calls = trace["result"].get_mut("calls").and_then(Value::as_array_mut);
                calls.is_some_and(|calls| change_first(calls, &forge))
            });
            if changed {
                forged = Some(u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap());
                break;
            }
        }
        let block = forged.unwrap_or_else(|| panic!("{what}: no frame to change"));
        let archive: Vec<_> = lines.iter().map(Value::to_string).collect();
        let place = watching("watch.txt").unwrap();
        let said = replay(&place, &archive.join("\n"));
        assert!(said.contains("traces refused"), "{what}: {said}");
        // Of that block, what is found without traces; nothing of the false ones.
        let of_block = |alerts: &[Value]| -> Vec<Value> {
            let alerts = alerts.iter().filter(|alert| alert["block"]["number"] == block);
            crate::common::timeless_all(&alerts.cloned().collect::<Vec<_>>())
        };
        assert_eq!(of_block(&all(&place)), of_block(&honest), "{what}");
    }
}

#[test]
fn bundles_of_every_kind_under_the_fork_are_proven_by_both_checkers() {
    for (chain, list, _) in CHAINS {
        let Some(place) = replayed(list, &format!("{chain}-traced.jsonl.zst")) else { return };
        let sum: Value = serde_json::from_str(&place.ok(&["verify", "--format", "json"])).unwrap();
        assert_eq!((&sum["faulty"], &sum["alerts_without_proof"]), (&json!(0), &json!(0)), "{sum}");
        let bundles = crate::evidence::bundles(&place);
        let by_log =
            all(&place).into_iter().find(|a| a["kind"] == "internal_transfer" && a["plane"] == "logs").unwrap();
        let dir = place.dir.path().join("bundles/by-log");
        place.ok(&["evidence", by_log["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
        let all: Vec<_> = bundles.values().chain([&dir]).collect();
        crate::evidence::python_agrees(&all, &[]);
        crate::evidence::python_agrees(&[&dir], &["--sample", "3000"]);
    }
}

#[test]
fn internal_eth_is_complete_where_logs_prove_it_or_traces_show_it() {
    let Some(plain) = replayed("crossing-watch.txt", "crossing.jsonl.zst") else { return };
    let traced = replayed("crossing-watch.txt", "crossing-traced.jsonl.zst").unwrap();
    let asks = |place: &Place, range: [&str; 2], flag: &str| {
        let out = place.run(&["query", "--from-block", range[0], "--to-block", range[1], "--limit", "1", flag]);
        (out.status.code(), stderr(&out))
    };
    for (range, complete) in [(["7", "12"], true), (["1", "6"], false), (["6", "7"], false), (["12", "12"], true)] {
        let (code, said) = asks(&plain, range, "--require-complete=internal");
        assert_eq!(code, Some(if complete { 0 } else { 3 }), "{range:?}: {said}");
        assert_eq!(said.contains("was not seen"), !complete, "{range:?}: {said}");
        assert_eq!(asks(&plain, range, "--require-complete").0, Some(0), "roots prove these blocks");
        assert_eq!(asks(&traced, range, "--require-complete=internal").0, Some(0), "{range:?}");
    }
    let state = |place: &Place| {
        let coverage: Value =
            serde_json::from_str(&place.ok(&["-q", "status", "--coverage", "--format", "json"])).unwrap();
        coverage["internal_eth"].clone()
    };
    let halves =
        |before: &str| json!([{"from": 1, "to": 6, "state": before}, {"from": 7, "to": 12, "state": "proven"}]);
    assert_eq!((state(&plain), state(&traced)), (halves("not_seen"), halves("claimed")));
    let attest = |place: &Place| {
        place.ok(&["watchlist", "add", "0x00000000000000000000000000000000000000e1"]);
        place.ok(&["replay", "--archive", "archive.jsonl"]);
        let args = ["--address", "0x00000000000000000000000000000000000000e1", "--from-block", "1", "--to-block", "12"];
        let json = place.ok(&[&["-q", "attest", "--format", "json"], &args[..]].concat());
        let words = place.ok(&[&["-q", "attest"], &args[..]].concat());
        (serde_json::from_str::<Value>(&json).unwrap()["internal_eth"].clone(), words)
    };
    let (counts, words) = attest(&plain);
    assert_eq!(counts, json!({"proven": 6, "claimed": 0, "not_seen": 6}));
    assert!(words.contains("proven by logs (EIP-7708), in 6 blocks; not seen"), "{words}");
    let (counts, words) = attest(&traced);
    assert_eq!(counts, json!({"proven": 6, "claimed": 6, "not_seen": 0}));
    assert!(words.contains("claimed by traces"), "{words}");
}

#[test]
fn the_gas_a_transaction_paid_is_proven_whatever_its_receipt_says_of_gas_used() {
    let (Some(archive), Some(expected)) = (file("crossing.jsonl.zst"), rows_of("crossing-expected.jsonl")) else {
        return;
    };
    let stated: [(&str, Option<Value>); 5] = [
        ("absent", None),
        ("null", Some(Value::Null)),
        ("nothing", Some(json!("0x0"))),
        ("a plain transfer", Some(json!("0x5208"))),
        ("more than any block has", Some(json!("0xffffffffffff"))),
    ];
    for (what, gas_used) in stated {
        let mut lines: Vec<Value> = archive.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for receipt in lines.iter_mut().flat_map(|line| line["receipts"].as_array_mut().unwrap()) {
            let receipt = receipt.as_object_mut().unwrap();
            receipt.remove("gasUsed");
            gas_used.iter().for_each(|stated| drop(receipt.insert("gasUsed".to_owned(), stated.clone())));
        }
        let place = watching("crossing-watch.txt").unwrap();
        let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
        eprintln!("gasUsed {what}");
        replay(&place, &lines.join("\n"));
        check(&place, &expected, false);
    }
}
