//! How much an alert matters: own wallets, and the rules of bolo.toml.

use alloy::primitives::Address;
use serde_json::{Value, json};

use crate::common::{Node, Place, stderr, timeless_all};

/// Puts addresses onto a list of that kind.
fn list(place: &Place, name: &str, kind: &str, addresses: &[Address]) {
    let path = place.dir.path().join(format!("{name}.txt"));
    let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    std::fs::write(&path, text).unwrap();
    place.ok(&["watchlist", "import", path.to_str().unwrap(), "--kind", kind]);
}

fn replay(place: &Place, node: &Node, extra: &[&str]) -> std::process::Output {
    let range = ["replay", "-r", &node.url, "--from-block", "earliest", "--to-block", "latest"];
    let out = place.run(&[&range[..], extra].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    out
}

fn query(place: &Place, args: &[&str]) -> Vec<Value> {
    let lines = place.ok(&[&["-q", "query", "--format", "jsonl"], args].concat());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn severities(alerts: &[Value]) -> Vec<&str> {
    alerts.iter().map(|alert| alert["severity"].as_str().unwrap()).collect()
}

#[test]
fn own_wallets_with_blocked_ones_are_severe_and_first_and_alone_they_wait_for_the_other_side() {
    let node = Node::start(&["--no-mining"]);
    let [own, blocked, stranger, later] = [1, 2, 3, 4].map(|index: usize| node.accounts[index]);
    node.send(own, Some(stranger), 1, "0x");
    node.send(own, Some(blocked), 2, "0x");
    // In one block: what is left out has to be told from what is printed of the same commit.
    node.mine(1);
    node.send(blocked, Some(stranger), 3, "0x");
    node.send(later, Some(own), 4, "0x");
    node.mine(1);
    let place = Place::new();
    list(&place, "treasury", "own", &[own]);
    list(&place, "sdn", "blocking", &[blocked]);
    let out = replay(&place, &node, &["--json"]);
    assert_eq!(out.stdout.iter().filter(|byte| **byte == b'\n').count(), 3, "own alone is no line");
    assert!(stderr(&out).contains("own=2"), "{}", stderr(&out));
    let out = place.run(&["query", "--format", "jsonl"]);
    assert!(stderr(&out).contains("own=2") && stderr(&out).contains("--triage own"), "{}", stderr(&out));
    for order in ["asc", "desc"] {
        let found = query(&place, &["--order", order]);
        assert_eq!(severities(&found), ["severe", "severe", "high"]);
        assert!(found[..2].iter().all(|alert| alert["amount"] == "2"));
        let first = query(&place, &["--order", order, "--limit", "1"]);
        let rest = query(&place, &["--order", order, "--after", first[0]["id"].as_str().unwrap()]);
        assert_eq!([first, rest].concat(), found, "pages");
    }
    let alone = place.alerts(&["--triage", "own"]);
    assert_eq!(severities(&alone), ["low", "low"]);
    let counted: u64 = place.status()["alerts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(counted, 3, "own alone is not counted as an alert");
    assert_eq!(place.status()["alerts_by_severity"], json!({"severe": 2, "high": 1}));
    let text = String::from_utf8(place.run(&["status"]).stdout).unwrap();
    assert!(text.contains("severity      2 severe, 1 high"), "{text}");

    // The other side is listed: the rows that waited are alerts, under the same ids, and all is as in a fresh run.
    list(&place, "later", "blocking", &[later]);
    let out = replay(&place, &node, &["--new-entries", "--json"]);
    assert!(stderr(&out).contains("2 new alerts"), "the other side, and the row that waited: {}", stderr(&out));
    let told = String::from_utf8(out.stdout).unwrap();
    let waited = alone[1]["id"].as_str().unwrap();
    assert_eq!((told.lines().count(), told.matches(waited).count()), (2, 1), "each is a line: {told}");
    let found = place.alerts(&["--severity", "severe"]);
    assert_eq!(found.len(), 4);
    let waited = found.iter().find(|alert| alert["id"] == alone[1]["id"]).expect("the row that waited");
    assert_eq!(waited["retroactive"], true);
    let fresh = Place::new();
    list(&fresh, "treasury", "own", &[own]);
    list(&fresh, "sdn", "blocking", &[blocked]);
    list(&fresh, "later", "blocking", &[later]);
    replay(&fresh, &node, &[]);
    let all = ["--triage", "all", "--status", "all"];
    assert_eq!(timeless_all(&place.alerts(&all)), timeless_all(&fresh.alerts(&all)));
    assert_eq!(place.ok(&["status", "--digest"]), fresh.ok(&["status", "--digest"]));

    // At a time when the other side was on no list yet, it was own wallets alone.
    let dated = |name: &str, kind: &str, date: &str| {
        place.ok(&["watchlist", "import", &format!("{name}.txt"), "--kind", kind, "--published", date]);
    };
    dated("treasury", "own", "2020-01-01");
    dated("later", "blocking", "2025-01-01");
    let then =
        |date: &str, more: &[&str]| place.alerts(&[&["--as-of", date, "--severity", "severe"], more].concat()).len();
    assert_eq!((then("2024-01-01", &[]), then("2024-01-01", &["--triage", "all"])), (0, 2));
    assert_eq!(then("2025-06-01", &[]), 2, "both sides of it");
}

#[test]
fn rules_of_the_config_rate_explain_themselves_and_give_the_same_however_the_blocks_came() {
    let node = Node::start(&[]);
    let [own, blocked, stranger] = [1, 2, 3].map(|index: usize| node.accounts[index]);
    for value in 1..=3 {
        node.send(blocked, Some(stranger), value, "0x");
    }
    node.send(own, Some(blocked), 4, "0x");
    let rules = "[[severity]]\nset = \"medium\"\nown = true\n\n[[severity]]\nset = \"severe\"\nlist = \"sdn\"\nasset = \"native\"\n\
                 min_amount = \"2\"\n";
    let listed = |rules: &str| {
        let place = Place::new();
        list(&place, "treasury", "own", &[own]);
        list(&place, "sdn", "blocking", &[blocked]);
        std::fs::write(place.dir.path().join("bolo.toml"), rules).unwrap();
        place
    };
    let all = ["--triage", "all", "--status", "all"];
    let watched = listed(rules);
    let mut watcher = watched.watch(&node.url, &["--from-block", "0"]);
    watched.caught_up(&node, &mut watcher);
    assert_eq!(watcher.stop(), 0);
    assert_eq!(severities(&watched.alerts(&all)), ["severe", "severe", "high", "medium", "medium"]);
    let replayed = listed(rules);
    replay(&replayed, &node, &[]);
    // Taken by the defaults, and the rules came later: without reading a block again.
    let later = listed("");
    replay(&later, &node, &[]);
    assert_eq!(severities(&later.alerts(&all)), ["severe", "severe", "high", "high", "high"]);
    std::fs::write(later.dir.path().join("bolo.toml"), rules).unwrap();
    let out = replay(&later, &node, &[]);
    assert!(
        stderr(&out).contains("alerts=5 changed=4") && stderr(&out).contains("0 blocks committed"),
        "{}",
        stderr(&out)
    );
    for place in [&replayed, &later] {
        assert_eq!(timeless_all(&place.alerts(&all)), timeless_all(&watched.alerts(&all)));
        assert_eq!(place.ok(&["status", "--digest"]), watched.ok(&["status", "--digest"]));
    }

    let explained = |place: &Place, alert: &Value| -> (Value, String) {
        let id = alert["id"].as_str().unwrap();
        let json = place.ok(&["-q", "query", "--explain", id, "--format", "json"]);
        (serde_json::from_str(&json).unwrap(), place.ok(&["-q", "query", "--explain", id]))
    };
    let alerts = watched.alerts(&all);
    let (json, table) = explained(&watched, &alerts[0]);
    assert_eq!((&json["severity"], &json["rule"]["number"]), (&"severe".into(), &2.into()));
    assert_eq!(json["alert"], alerts[0]);
    assert_eq!(json["entries"][0]["brought_by"]["source"], "sdn.txt");
    assert!(table.contains("rule 2 of 2: set = \"severe\", list = \"sdn\""), "{table}");
    let (json, table) = explained(&watched, &alerts[2]);
    assert!(json["rule"].is_null() && json["default"].as_str().unwrap().contains("blocking"), "{json}");
    assert!(table.contains("none of 2 rules fits") && table.contains("list sdn (blocking), unknown"), "{table}");
    std::fs::write(watched.dir.path().join("bolo.toml"), "").unwrap();
    let out = watched.run(&["query", "--explain", alerts[0]["id"].as_str().unwrap()]);
    assert!(out.status.success() && stderr(&out).contains("other severity rules"), "{}", stderr(&out));
    std::fs::write(watched.dir.path().join("bolo.toml"), "\n[[severity]]\nset = \"worst\"\n").unwrap();
    let out = watched.run(&["query"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("line 3"), "{}", stderr(&out));
}
