//! `bolo demo` finds what its story says, and says nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::Place;

fn expected() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo/expected.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let movements = all.as_array().or_else(|| all["movements"].as_array()).expect("a list of movements");
    // Approvals are in the recorded chain for a later version to find.
    movements.iter().filter(|movement| movement["kind"] != "approval").cloned().collect()
}

#[test]
fn the_demo_finds_every_movement_of_its_story_and_no_other() {
    let place = Place::new();
    let dir = place.dir.path().join("demo");
    let out = Command::new(env!("CARGO_BIN_EXE_bolo"))
        .args(["demo", "--dir", dir.to_str().unwrap()])
        .env("BOLO_DB", "/nowhere/at/all.db")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("60 blocks proven"), "{text}");
    assert!(text.contains("401.347"), "the theft is shown: {text}");
    let demo = Place { db: dir.join("demo.db"), ..place };
    let alerts = demo.alerts(&["--status", "all", "--triage", "all"]);
    let key = |tx: &str, kind: &str, from: &str, to: &str, amount: &str, orphaned: bool| {
        [tx, kind, from, to, amount, if orphaned { "orphaned" } else { "" }].join(" ").to_lowercase()
    };
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let found: BTreeMap<String, usize> = alerts.iter().fold(BTreeMap::new(), |mut all, alert| {
        let row = key(
            &text(&alert["tx"]["hash"]),
            &text(&alert["kind"]),
            &text(&alert["from"]),
            &text(&alert["to"]),
            &text(&alert["amount"]),
            alert["status"] == "orphaned",
        );
        *all.entry(row).or_default() += 1;
        all
    });
    let list: Vec<String> = demo
        .ok(&["-q", "watchlist", "show", "--format", "jsonl"])
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["address"].as_str().unwrap().to_lowercase())
        .collect();
    let listed = |address: &str| list.contains(&address.to_lowercase());
    let wanted: BTreeMap<String, usize> = expected().iter().fold(BTreeMap::new(), |mut all, movement| {
        let (from, to) = (text(&movement["from"]), text(&movement["to"]));
        let row = key(
            &text(&movement["tx"]),
            &text(&movement["kind"]),
            &from,
            &to,
            &text(&movement["amount"]),
            movement["orphaned"] == true,
        );
        let sides =
            if from.eq_ignore_ascii_case(&to) { 1 } else { usize::from(listed(&from)) + usize::from(listed(&to)) };
        *all.entry(row).or_default() += sides;
        all
    });
    assert_eq!(found, wanted);
    assert_eq!(alerts.len(), 84);
    // Before the listing and after it.
    let designations: Vec<_> = alerts.iter().map(|a| a["watched"]["designation"].as_str().unwrap()).collect();
    assert!(designations.contains(&"before") && designations.contains(&"listed"));
}
