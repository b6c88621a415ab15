//! Blocks of a fork that this build does not know: refused by the name of what is unknown, never skipped, and nobody's false answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::amsterdam::{file, watching};
use crate::common::{Node, PATIENCE, Place, stderr};
use crate::faults::proxy;

/// The first block of the chain with a change to it, replayed alone with the flags: exit code, what was said, blocks taken.
fn replay_changed(line: &Value, flags: &[&str]) -> (Option<i32>, String, Value) {
    let place = watching("watch.txt").unwrap();
    std::fs::write(place.dir.path().join("archive.jsonl"), line.to_string()).unwrap();
    let out = place.run(&[&["replay", "--archive", "archive.jsonl", "--chain", "31337"], flags].concat());
    (out.status.code(), stderr(&out), place.status()["blocks"].clone())
}

fn first_line() -> Option<Value> {
    Some(serde_json::from_str(file("blocks.jsonl.zst")?.lines().next().unwrap()).unwrap())
}

#[test]
fn a_header_with_unknown_fields_is_refused_by_their_names_where_its_hash_needs_them() {
    let Some(line) = first_line() else { return };
    let renamed = |from: &str, to: &str| {
        let mut line = line.clone();
        let header = line["block"].as_object_mut().unwrap();
        let value = header.remove(from).unwrap();
        header.insert(to.to_owned(), value);
        line
    };
    for (from, to) in [
        ("slotNumber", "futureSlot"),
        ("blockAccessListHash", "inclusionListHash"),
        ("requestsHash", "requestsRoot"),
        ("parentBeaconBlockRoot", "parentBid"),
    ] {
        let (code, said, blocks) = replay_changed(&renamed(from, to), &[]);
        assert_eq!((code, &blocks), (Some(4), &json!(0)), "{said}");
        assert!(said.contains(&format!("({to})")) && said.contains("update bolo"), "{said}");
        let (code, said, blocks) = replay_changed(&renamed(from, to), &["--trust-rpc"]);
        assert_eq!((code, blocks), (Some(0), json!(1)), "the endpoint's word is taken: {said}");
    }
    // What nodes add beside the header needs no refusal: the known fields explain the hash.
    let mut more = line;
    for name in ["l1Fee", "sendRoot", "futureRoot", "totalDifficulty"] {
        more["block"][name] = json!("0x1");
    }
    let (code, said, blocks) = replay_changed(&more, &[]);
    assert_eq!((code, blocks), (Some(0), json!(1)), "{said}");
    more["block"]["stateRoot"] = more["block"]["receiptsRoot"].clone();
    let (code, said, _) = replay_changed(&more, &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("l1Fee, sendRoot, futureRoot") || said.contains("futureRoot, l1Fee"), "{said}");
}

#[test]
fn a_transaction_of_an_unknown_type_is_refused_by_its_type_whatever_fields_it_lacks() {
    let Some(line) = first_line() else { return };
    for (index, tx_type, lacking) in [
        (0, "0x6", &[][..]),
        (1, "0x5", &["value", "to"][..]),
        (3, "0x7d", &["r", "s", "nonce"]),
        (2, "0x100", &["from"]),
    ] {
        let mut line = line.clone();
        let tx = line["block"]["transactions"][index].as_object_mut().unwrap();
        tx.insert("type".to_owned(), json!(tx_type));
        // What a type that is unknown is hashed from is unknown too; a known transaction with a wrong type is another case.
        tx.insert("hash".to_owned(), json!(format!("0x{}", "7d".repeat(32))));
        lacking.iter().for_each(|name| drop(tx.remove(*name)));
        let (code, said, blocks) = replay_changed(&line, &[]);
        assert_eq!((code, blocks), (Some(4), json!(0)), "{said}");
        assert!(said.contains(&format!("transaction {index} is of unknown type {tx_type}")), "{said}");
        assert!(said.contains("update bolo"), "{said}");
    }
}

#[test]
fn a_watch_waits_at_a_fork_that_it_does_not_know_says_so_and_skips_nothing() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    // 0: as it is; then one shape after the other.
    let fork = Arc::new(AtomicUsize::new(0));
    let shapes: [(&str, &str); 4] =
        [("field", "frameRoot"), ("field", "inclusionListRoot"), ("type", "0x5"), ("type", "0x7d")];
    let forked = fork.clone();
    let endpoint = proxy(&node, move |_, mut answer| {
        let block = &mut answer["result"];
        match forked.load(Ordering::Relaxed).checked_sub(1).map(|place| shapes[place]) {
            Some(("field", name)) if block["stateRoot"].is_string() => {
                block["stateRoot"] = block["receiptsRoot"].clone();
                block[name] = json!("0x1");
            }
            Some(("type", tx_type)) if block["transactions"][0].is_object() => {
                block["transactions"][0]["type"] = json!(tx_type);
                block["transactions"][0]["hash"] = json!(format!("0x{}", "7d".repeat(32)));
            }
            _ => {}
        }
        Some(answer)
    });
    let place = Place::watching(&[(a, "a")]);
    node.mine(2);
    let mut watcher = place.watch(&endpoint, &["--poll-interval", "0.1"]);
    place.caught_up(&node, &mut watcher);
    for (number, (_, name)) in (1..).zip(shapes) {
        fork.store(number, Ordering::Relaxed);
        node.send(b, Some(a), 7, "0x");
        let deadline = Instant::now() + PATIENCE;
        let problem = loop {
            let health = place.status()["health"].clone();
            let problems = health["problems"].as_array().unwrap();
            // The problem of the shape before may still be there for a moment.
            let of_this = |problem: &&Value| {
                problem["code"] == "unknown_fork_field" && problem["detail"].as_str().unwrap().contains(name)
            };
            if let Some(found) = problems.iter().find(of_this) {
                assert_eq!(health["healthy"], false);
                break found.clone();
            }
            assert!(Instant::now() < deadline, "{name}: {health:#}\n{}", watcher.log());
            std::thread::sleep(Duration::from_millis(100));
        };
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("update bolo"), "{name}: {detail}");
        assert_eq!(place.status()["lies"]["count"], 0, "{name}: it is nobody's false answer");
        assert_eq!(place.alerts(&[]).len(), number - 1, "{name}");
        fork.store(0, Ordering::Relaxed);
        place.caught_up(&node, &mut watcher);
        assert_eq!(place.alerts(&[]).len(), number, "{name}: nothing was skipped");
    }
    assert_eq!(watcher.stop(), 0);
}
