//! Real blocks of every era, replayed by the real program, against an independent decoder's rows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::{Place, shared, stderr, well_proven};

/// A row as the expected files have it.
fn row(alert: &Value) -> String {
    let lower = |value: &Value| value.as_str().map_or(Value::Null, |text| json!(text.to_lowercase()));
    json!({
        "block": alert["block"]["number"], "kind": alert["kind"], "tx": lower(&alert["tx"]["hash"]),
        "log_index": alert["log_index"], "trace_address": alert["trace_address"], "sub_index": alert["sub_index"],
        "from": lower(&alert["from"]), "to": lower(&alert["to"]), "asset": lower(&alert["asset"]["contract"]),
        "amount": alert["amount"], "token_id": alert["token_id"],
        "watched": lower(&alert["watched"]["address"]), "direction": alert["watched"]["direction"],
    })
    .to_string()
}

fn counted(rows: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for row in rows {
        *all.entry(row).or_default() += 1;
    }
    all
}

pub(crate) fn replayed(traces: &str) -> Option<Place> {
    let (blocks, watch) = (shared("mainnet/blocks.jsonl.zst")?, shared("mainnet/watch.txt")?);
    let place = Place::new();
    std::fs::write(place.dir.path().join("watch.txt"), watch).unwrap();
    std::fs::write(place.dir.path().join("blocks.jsonl"), blocks).unwrap();
    place.ok(&["watchlist", "import", "watch.txt"]);
    place.ok(&["replay", "--archive", "blocks.jsonl", "--traces", traces]);
    Some(place)
}

fn check(traces: &str, expected: &str) {
    let Some(place) = replayed(traces) else { return };
    let expected = shared(expected).unwrap();
    let wanted = counted(expected.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().to_string()));
    let alerts = place.alerts(&["--triage", "all"]);
    let found = counted(alerts.iter().map(row));
    assert!(wanted.len() > 10_000);
    let missing: Vec<_> = wanted.iter().filter(|(row, count)| found.get(*row) != Some(count)).take(5).collect();
    let extra: Vec<_> = found.iter().filter(|(row, count)| wanted.get(*row) != Some(count)).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
    assert!(alerts.iter().all(well_proven));
    assert_eq!(place.status()["blocks"], 21, "every block is taken");
}

#[test]
fn real_blocks_of_every_era_give_what_an_independent_decoder_finds() {
    check("off", "mainnet/expected.jsonl.zst");
}

#[test]
fn with_traces_their_internal_transfers_come_as_well() {
    check("auto", "mainnet/expected-traces.jsonl.zst");
}

#[test]
fn receipts_that_do_not_hash_to_the_root_are_refused_and_nothing_is_stored() {
    let Some(blocks) = shared("mainnet/refused.jsonl.zst") else { return };
    for line in blocks.lines() {
        let place = Place::new();
        std::fs::write(place.dir.path().join("one.jsonl"), line).unwrap();
        let out = place.run(&["replay", "--archive", "one.jsonl", "--chain", "1"]);
        assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
        assert!(stderr(&out).contains("could not be proven"), "{}", stderr(&out));
        assert_eq!(place.status()["blocks"], 0);
    }
}

#[test]
fn a_list_that_grows_brings_the_alerts_that_it_would_have_had() {
    let Some(place) = replayed("auto") else { return };
    // Half of the list first, then all of it: replaying again adds what was missing.
    let half = Place::new();
    let watch = shared("mainnet/watch.txt").unwrap();
    let addresses: Vec<_> = watch.lines().collect();
    let list = half.dir.path().join("watch.txt");
    let archive = place.dir.path().join("blocks.jsonl");
    for part in [&addresses[..addresses.len() / 2], &addresses[..]] {
        std::fs::write(&list, part.join("\n")).unwrap();
        half.ok(&["watchlist", "import", "watch.txt"]);
        half.ok(&["replay", "--archive", archive.to_str().unwrap()]);
    }
    // The two differ in which version of the list brought an entry, and in nothing else.
    let strip = |place: &Place| -> Vec<Value> {
        let mut alerts = crate::common::timeless_all(&place.alerts(&["--triage", "all"]));
        for alert in &mut alerts {
            assert!(
                alert["watched"].as_object_mut().unwrap().remove("version").is_some_and(|v| v["sha256"].is_string())
            );
        }
        alerts
    };
    assert_eq!(strip(&half), strip(&place));
}
