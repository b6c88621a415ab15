//! `replay`, `record` and `watch` take times for ends of a range: they pick blocks by the times of headers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Node, Place, stderr};

/// Times of the blocks, from 0 on; none of them is the first of its day but 2 and 6.
const TIMES: [&str; 8] = [
    "2025-01-01T12:00:00Z",
    "2025-01-01T23:59:59Z",
    "2025-01-02T00:00:00Z",
    "2025-01-02T12:00:00Z",
    "2025-01-02T23:59:59Z",
    "2025-01-03T00:00:01Z",
    "2025-01-05T00:00:00Z",
    "2025-01-05T06:00:00Z",
];

fn seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_second()
}

/// A node with blocks of these times.
fn node() -> Node {
    let node = Node::start(&["--timestamp", &seconds(TIMES[0]).to_string(), "--no-mining"]);
    for time in &TIMES[1..] {
        node.rpc("evm_setNextBlockTimestamp", json!([seconds(time)]));
        node.rpc("evm_mine", json!([]));
    }
    assert_eq!(node.head(), TIMES.len() as u64 - 1);
    node
}

/// Both ends, and the first and the last block that they pick, or what is said of them.
type Case = (&'static str, &'static str, Result<(u64, u64), &'static str>);

const CASES: [Case; 17] = [
    ("2025-01-02", "2025-01-02", Ok((2, 4))),
    ("2025-01-01", "2025-01-01", Ok((0, 1))),
    ("2024-06-01", "2025-01-03", Ok((0, 5))),
    ("2025-01-04", "2025-01-05", Ok((6, 7))),
    ("2025-01-02T12:00:00Z", "2025-01-02T12:00:00Z", Ok((3, 3))),
    ("2025-01-02T12:00:01Z", "2025-01-03T00:00:00Z", Ok((4, 4))),
    ("2025-01-02T13:00:00+01:00", "2025-01-05T01:00:00+01:00", Ok((3, 6))),
    ("20000d", "2025-01-01", Ok((0, 1))),
    ("1", "2025-01-02", Ok((1, 4))),
    ("2025-01-03", "6", Ok((5, 6))),
    ("earliest", "2025-01-01T12:00:00Z", Ok((0, 0))),
    // The chain may go on within that time.
    ("2025-01-05", "0s", Ok((6, 7))),
    ("2025-01-04", "2025-01-04", Err("no block is of the time")),
    ("2025-01-03", "2025-01-02", Err("is after")),
    ("2025-01-06", "2025-01-07", Err("2025-01-06")),
    ("2024-01-01", "2024-12-31", Err("2024-12-31")),
    ("2025-02-30", "2025-03-01", Err("no block")),
];

/// The blocks that the database holds.
fn held(place: &Place) -> Option<(u64, u64)> {
    let status = place.status();
    let ranges = status["coverage"].as_array().unwrap();
    let number = |range: &Value, end: &str| range[end].as_u64().unwrap();
    Some((number(ranges.first()?, "from"), number(ranges.last()?, "to")))
}

#[test]
fn a_date_as_an_end_of_a_range_picks_the_first_or_last_block_of_that_day() {
    let node = node();
    let folder = Place::new();
    let whole: PathBuf = folder.dir.path().join("all.jsonl.zst");
    let whole = whole.to_str().unwrap();
    folder.ok(&["record", "-r", &node.url, "--from-block", "0", "--to-block", "7", "--out", whole]);
    for (from, to, expected) in CASES {
        let range = ["--from-block", from, "--to-block", to];
        for source in [["replay", "-r", &node.url], ["replay", "--archive", whole]] {
            let place = Place::new();
            let out = place.run(&[&source[..], &range].concat());
            let said = stderr(&out);
            match expected {
                Ok((first, last)) => {
                    assert!(out.status.success(), "{source:?} {range:?}: {said}");
                    assert_eq!(held(&place), Some((first, last)), "{source:?} {range:?}: {said}");
                    for (end, word) in
                        [(from, format!("begins with block {first} of")), (to, format!("ends with block {last} of"))]
                    {
                        let is_time = end.contains('-') || end.ends_with(['d', 's']);
                        assert_eq!(said.contains(&word), is_time, "{source:?} {range:?}: {said}");
                    }
                }
                Err(part) => {
                    assert_eq!(out.status.code(), Some(1), "{source:?} {range:?}: {said}");
                    let refused: Vec<_> = said.lines().filter(|line| line.contains("error")).collect();
                    assert!(refused.len() == 1 && refused[0].contains(part), "{source:?} {range:?}: {said}");
                }
            }
        }
        let out = folder.run(&[&["record", "-r", &node.url, "--out", "-"], &range[..]].concat());
        let numbers: Vec<u64> = String::from_utf8(out.stdout)
            .unwrap()
            .lines()
            .map(|line| crate::common::number(&serde_json::from_str::<Value>(line).unwrap()["block"]["number"]))
            .collect();
        assert_eq!(numbers, expected.map_or(Vec::new(), |(first, last)| (first..=last).collect()), "{range:?}");
    }
}

#[test]
fn a_watch_begins_with_the_first_block_of_a_date() {
    let node = node();
    for (from, first) in [("2025-01-02", 2), ("2025-01-02T12:00:01Z", 4), ("2025-01-04", 6)] {
        let place = Place::new();
        let mut watcher = place.watch(&node.url, &["--from-block", from]);
        place.caught_up(&node, &mut watcher);
        assert_eq!(watcher.stop_after(Duration::ZERO), 0);
        assert_eq!(held(&place), Some((first, 7)), "{from}");
        // Later starts go on from there, and pick no block.
        for later in [from, "2025-01-01", "2100-01-01"] {
            std::fs::remove_file(place.dir.path().join("watch.log")).unwrap();
            let mut watcher = place.watch(&node.url, &["--from-block", later]);
            let begun = Instant::now();
            while !watcher.log().contains("going on from the last block taken") {
                let runs = watcher.child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(30);
                assert!(runs, "{later}: {}", watcher.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            let log = watcher.log();
            assert_eq!(watcher.stop_after(Duration::ZERO), 0, "{later}: {log}");
            assert!(!log.contains("the range begins with"), "{later}: {log}");
        }
    }
}
