//! Watchlists from the command line.

use serde_json::{Value, json};

use crate::common::{Node, Place, shared, stderr, timeless_all};

const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";
const C: &str = "0x3Cffd56B47B7b41c56258D9C7731ABaDc360E073";
const D: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

fn shown(place: &Place, extra: &[&str]) -> Vec<Value> {
    let text = place.ok(&[&["-q", "watchlist", "show", "--format", "jsonl"], extra].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write(place: &Place, name: &str, text: &str) {
    std::fs::write(place.dir.path().join(name), text).unwrap();
}

#[test]
fn bad_lines_stop_an_import_unless_they_are_to_be_skipped() {
    let place = Place::new();
    write(&place, "mixed.txt", &format!("{A} one\nnot an address\n{}\n{B}\n", A.replace("8Aaf", "8AAf")));
    let out = place.run(&["watchlist", "import", "mixed.txt"]);
    assert_eq!(out.status.code(), Some(1));
    let text = stderr(&out);
    assert!(text.contains("line 2") && text.contains("line 3") && text.contains("wrong checksum"), "{text}");
    assert!(text.contains("bad lines: 2") && text.contains("nothing was changed"), "{text}");
    assert!(!place.db.exists());
    let out = place.ok(&["watchlist", "import", "mixed.txt", "--skip-bad", "--report", "bad.jsonl"]);
    assert!(out.contains("2 added") && out.contains("2 rejected"), "{out}");
    let report = std::fs::read_to_string(place.dir.path().join("bad.jsonl")).unwrap();
    let report: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<_> = report.iter().map(|line| (&line["line"], line["outcome"].as_str().unwrap())).collect();
    let wanted = [(1, "accepted"), (2, "rejected"), (3, "rejected"), (4, "accepted")];
    assert_eq!(
        outcomes,
        wanted.map(|(line, outcome)| (json!(line), outcome)).iter().map(|(l, o)| (l, *o)).collect::<Vec<_>>()
    );
    assert!(report[2]["reason"].as_str().unwrap().contains("wrong checksum"), "{report:?}");
    // What was folded has a note, also where it names an address again.
    write(&place, "twice.txt", &format!("{A}\n{}\n", A.replace("8Aaf", "8\u{200b}Aaf")));
    place.ok(&["watchlist", "import", "twice.txt", "--list", "mixed", "--report", "twice.jsonl"]);
    let report = std::fs::read_to_string(place.dir.path().join("twice.jsonl")).unwrap();
    let again: Value = serde_json::from_str(report.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&again["outcome"], &again["reason"]),
        (&json!("repeated"), &json!("invisible characters were left out"))
    );
    place.ok(&["watchlist", "import", "mixed.txt", "--skip-bad"]);
    assert_eq!(shown(&place, &[]).len(), 2);
}

#[test]
fn a_newer_file_adds_changes_and_ends_entries_and_an_older_one_is_filed_where_it_belongs() {
    let place = Place::new();
    let import = |date: &str| place.run(&["watchlist", "import", "l.csv", "--kind", "blocking", "--published", date]);
    write(&place, "l.csv", &format!("address,label\n{A},first\n{B},second\n"));
    assert!(import("2024-01-01").status.success());
    write(&place, "l.csv", &format!("address,label\n{A},renamed\n{C},third\n"));
    let out = import("2025-01-01");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("1 added, 1 changed, 1 ended"), "{text}");
    let again = import("2025-01-01");
    assert!(String::from_utf8_lossy(&again.stdout).contains("imported before"));
    write(&place, "l.csv", &format!("address,label\n{A},first\n{D},fourth\n"));
    let out = import("2024-09-01");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("older than others") && text.contains("1 added, 0 changed, 1 ended, 1 unchanged"), "{text}");
    let labels =
        |entries: Vec<Value>| entries.iter().map(|e| e["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(shown(&place, &[])), ["renamed", "third"].map(str::to_owned));
    let mut then = labels(shown(&place, &["--as-of", "2024-07-01"]));
    then.sort();
    assert_eq!(then, ["first", "second"].map(str::to_owned));
    let ends: Vec<_> = shown(&place, &["--as-of", "2024-07-01"]).iter().map(|e| e["delisted_on"].clone()).collect();
    assert_eq!(ends, [Value::Null, Value::Null], "what a later version ended was not known to end");
    assert_eq!(shown(&place, &["--as-of", "2023-01-01"]).len(), 0);

    // Its history, and what changed between two dates.
    let jsonl = |args: &[&str]| -> Vec<Value> {
        let out = place.ok(&[args, &["--format", "jsonl"]].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let spans: Vec<_> = jsonl(&["watchlist", "history", A])
        .iter()
        .map(|s| json!([s["label"], s["version"]["published"], s["ended_by"]["published"], s["state"], s["changed"]]))
        .collect();
    assert_eq!(
        spans,
        [
            json!(["first", "2024-01-01", "2025-01-01", "superseded", []]),
            json!(["renamed", "2025-01-01", null, "active", ["label"]]),
        ]
    );
    let ended = &jsonl(&["watchlist", "history", B])[0];
    assert_eq!((&ended["state"], &ended["ended_by"]["published"]), (&json!("ended"), &json!("2024-09-01")));
    let changes = |from: &str, to: &str| -> Vec<Value> {
        let rows = jsonl(&["watchlist", "diff", from, to, "--list", "l"]);
        rows.iter().map(|row| json!([row["change"], row["before"]["label"], row["after"]["label"]])).collect()
    };
    let mut all = changes("2024-01-01", "2025-01-01");
    all.sort_by_key(ToString::to_string);
    assert_eq!(
        all,
        [json!(["added", null, "third"]), json!(["changed", "first", "renamed"]), json!(["ended", "second", null])]
    );
    let mut all = changes("2024-01-01", "2024-10-01");
    all.sort_by_key(ToString::to_string);
    assert_eq!(all, [json!(["added", null, "fourth"]), json!(["ended", "second", null])]);
    assert_eq!(changes("2025-01-01", "2026-01-01"), Vec::<Value>::new());
    assert_eq!(place.run(&["watchlist", "diff", "2025-01-01", "2024-01-01"]).status.code(), Some(1));
}

#[test]
fn alerts_are_shown_with_what_their_list_says_or_said_at_a_date() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.send(a, Some(b), 1, "0x");
    let place = Place::new();
    let import = |label: &str, date: &str| {
        write(&place, "l.csv", &format!("address,label\n{a},{label}\n"));
        place.ok(&["watchlist", "import", "l.csv", "--kind", "blocking", "--published", date]);
    };
    import("renamed", "2025-01-01");
    import("first", "2024-01-01");
    place.ok(&["watchlist", "add", &b.to_string(), "--list", "mine"]);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    let said = |extra: &[&str]| -> Vec<Value> {
        let one = |alert: &Value| {
            let watched = &alert["watched"];
            json!([
                watched["label"],
                watched["version"]["published"],
                watched["version"]["source"],
                watched["designation"]
            ])
        };
        place.alerts(&[extra, &["--address", &a.to_string()]].concat()).iter().map(one).collect()
    };
    assert_eq!(said(&[]), [json!(["renamed", "2025-01-01", "l.csv", "listed"])]);
    assert_eq!(said(&["--as-of", "2026-01-01"]), said(&[]));
    assert_eq!(said(&["--as-of", "2024-06-01"]), [json!(["first", "2024-01-01", "l.csv", "listed"])]);
    assert_eq!(said(&["--as-of", "2023-06-01"]), Vec::<Value>::new());
    assert_eq!(place.alerts(&[]).len(), 2);
    assert_eq!(place.alerts(&["--as-of", "2024-06-01"]).len(), 1, "the other was on no list then");
    assert_eq!(place.alerts(&["--as-of", "2024-06-01", "--list", "mine"]).len(), 0);
    let by_hand = &place.alerts(&["--list", "mine"])[0]["watched"]["version"];
    assert_eq!(by_hand, &json!({"published": null, "sha256": null, "source": "added by hand"}));
}

#[test]
fn a_version_that_splits_an_entry_leaves_each_alert_with_the_part_of_its_time_and_looking_back_makes_it_whole() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.send(a, Some(b), 1, "0x");
    let versions = [("2024-01-01", true), ("2025-06-01", true), ("2025-01-01", false)];
    let import = |place: &Place, (date, listed): (&str, bool)| {
        let listed = if listed { format!("{a},one\n") } else { String::new() };
        write(place, "l.csv", &format!("address,label\n{b},two\n{listed}"));
        place.ok(&["watchlist", "import", "l.csv", "--kind", "blocking", "--published", date]);
    };
    let range = ["-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    let place = Place::new();
    versions[..2].iter().for_each(|version| import(&place, *version));
    place.ok(&[&["replay"], &range[..]].concat());
    let of_a = |place: &Place| place.alerts(&["--address", &a.to_string()])[0]["watched"].clone();
    assert_eq!(of_a(&place)["version"]["published"], "2024-01-01");
    import(&place, versions[2]);
    assert_eq!(of_a(&place)["version"]["published"], "2025-06-01", "the block is of a time after it");
    assert_eq!(place.status()["blocks_screened_before_last_addition"], 0, "it matched at the block's time all along");
    // Its alerts name an entry that another one took the place of.
    let complete = ["query", "--from-block", "1", "--to-block", "1", "--require-complete"];
    assert_eq!(place.run(&complete).status.code(), Some(3));
    place.ok(&[&["replay", "--new-entries"], &range[..]].concat());
    assert_eq!(place.run(&complete).status.code(), Some(0));
    let fresh = Place::new();
    versions.iter().for_each(|version| import(&fresh, *version));
    fresh.ok(&[&["replay"], &range[..]].concat());
    assert_eq!(timeless_all(&place.alerts(&[])), timeless_all(&fresh.alerts(&[])));
    assert_eq!(place.ok(&["status", "--digest"]), fresh.ok(&["status", "--digest"]));
}

#[test]
fn an_entry_has_all_fields_of_the_contract() {
    let place = Place::new();
    write(
        &place,
        "ofac.json",
        &json!([{"address": A.to_lowercase(), "label": "x", "entity": "Lazarus Group", "programs": ["DPRK3"],
                 "listed_from": "2022-04-14", "delisted_on": "2030-01-01T12:00:00Z", "aliases": ["y"], "uid": "7"}])
        .to_string(),
    );
    place.ok(&["watchlist", "import", "ofac.json", "--kind", "blocking"]);
    let wanted = json!({"address": A, "label": "x", "list": "ofac", "kind": "blocking", "entity": "Lazarus Group",
        "programs": ["DPRK3"], "listed_from": "2022-04-14", "delisted_on": "2030-01-01T12:00:00Z", "derived_from": null});
    let entry = &shown(&place, &[])[0];
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&entry[field], value, "{field}");
    }
    assert_eq!((&entry["aliases"], &entry["uid"], &entry["source_line"]), (&json!(["y"]), &json!("7"), &json!(1)));
    assert_eq!(
        (&entry["version"]["source"], &entry["version"]["published_given"]),
        (&json!("ofac.json"), &json!(false))
    );
    let checked = place.ok(&["-q", "watchlist", "check", &A.to_uppercase().replace("0X", "0x"), B, "--format", "json"]);
    let checked: Value = serde_json::from_str(&checked).unwrap();
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&checked[0][field], value, "{field}");
    }
    assert_eq!(checked.as_array().unwrap().len(), 1);
    let table = place.ok(&["watchlist", "check", A, B]);
    assert!(table.contains("Lazarus Group") && table.contains(&format!("{B} is on no list")), "{table}");
    let csv = place.ok(&["watchlist", "show", "--format", "csv"]);
    assert_eq!(csv.lines().count(), 2);
}

#[test]
fn a_list_is_of_the_kind_that_the_configuration_says_unless_told_otherwise() {
    let place = Place::new();
    write(&place, "bolo.toml", "[[list]]\nname = \"sdn\"\nkind = \"blocking\"\n");
    write(&place, "sdn.txt", A);
    write(&place, "mine.txt", A);
    let kinds = || -> Vec<Value> { shown(&place, &[]).iter().map(|entry| entry["kind"].clone()).collect() };
    place.ok(&["watchlist", "import", "sdn.txt"]);
    assert_eq!(kinds(), ["blocking"]);
    place.ok(&["watchlist", "import", "sdn.txt", "--kind", "advisory"]);
    assert_eq!(kinds(), ["advisory"]);
    place.ok(&["watchlist", "import", "mine.txt"]);
    assert_eq!(kinds(), ["internal", "advisory"]);
}

#[test]
fn entries_can_be_added_and_removed_one_by_one_and_from_standard_input() {
    let place = Place::new();
    place.ok(&[
        "watchlist",
        "add",
        A,
        "--label",
        "one",
        "--program",
        "P1",
        "--program",
        "P2",
        "--listed-from",
        "2024-01-01",
    ]);
    assert!(
        place
            .ok(&[
                "watchlist",
                "add",
                A,
                "--label",
                "one",
                "--program",
                "P1",
                "--program",
                "P2",
                "--listed-from",
                "2024-01-01"
            ])
            .contains("unchanged")
    );
    assert!(place.ok(&["watchlist", "add", A, "--label", "other"]).contains("changed"));
    assert_eq!(shown(&place, &[]).len(), 1);
    assert!(place.ok(&["watchlist", "remove", A]).contains("ended on 1 list"));
    assert_eq!(shown(&place, &[]).len(), 0);
    assert_eq!(place.run(&["watchlist", "remove", A]).status.code(), Some(1));
    let mut child = place
        .command(&["watchlist", "import", "-", "--list", "piped"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{B}\n{C}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(shown(&place, &["--list", "piped"]).len(), 2);
    assert_eq!(place.run(&["watchlist", "show", "--list", "none"]).status.code(), Some(1));
}

#[test]
fn the_dated_versions_of_a_real_list_are_as_of_every_date_what_they_were_in_whatever_order_they_come() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/lists/versions");
    if shared("lists/versions/2022-09-03.json").is_none() {
        return;
    }
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let date = |file: &std::path::Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let digest = |order: &[std::path::PathBuf]| {
        let place = Place::new();
        for file in order {
            let path = file.to_str().unwrap();
            place.ok(&[
                "watchlist",
                "import",
                path,
                "--list",
                "ofac",
                "--kind",
                "blocking",
                "--published",
                &date(file),
            ]);
        }
        for file in &files {
            let wanted: Vec<String> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            let mut wanted: Vec<_> = wanted.iter().map(|address| address.to_lowercase()).collect();
            let entries = shown(&place, &["--as-of", &date(file)]);
            let mut found: Vec<_> = entries.iter().map(|e| e["address"].as_str().unwrap().to_lowercase()).collect();
            wanted.sort();
            wanted.dedup();
            found.sort();
            assert_eq!(found, wanted, "as of {}", date(file));
        }
        (place.ok(&["status", "--digest"]), place.ok(&["status", "--digest", "--lists"]))
    };
    let in_order = digest(&files);
    let reverse: Vec<_> = files.iter().rev().cloned().collect();
    assert_eq!(digest(&reverse), in_order);
    let mut shuffled = files.clone();
    // A card trick: by the hash of the name, which is no order of dates.
    shuffled.sort_by_key(|file| alloy::primitives::keccak256(date(file)));
    assert_ne!(shuffled, files);
    assert_eq!(digest(&shuffled), in_order);
}

#[test]
fn of_the_directory_of_versions_the_newest_is_taken() {
    if shared("lists/versions/2022-09-03.json").is_none() {
        return;
    }
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/lists/versions");
    let newest = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let wanted: Vec<String> = serde_json::from_slice(&std::fs::read(&newest).unwrap()).unwrap();
    let place = Place::new();
    place.ok(&["watchlist", "import", dir.to_str().unwrap(), "--kind", "blocking"]);
    assert_eq!(shown(&place, &["--list", "versions"]).len(), wanted.len());
    assert_eq!(place.status()["lists"][0]["published"], newest.file_stem().unwrap().to_str().unwrap());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_list() {
    let place = Place::new();
    write(&place, "excel.csv", &format!("\u{feff}address,label,entity\n{A},thief,Group\n"));
    place.ok(&["watchlist", "import", "excel.csv"]);
    assert_eq!(shown(&place, &[])[0]["entity"], "Group");
    write(&place, "bom.json", &format!("\u{feff}[\"{B}\"]"));
    place.ok(&["watchlist", "import", "bom.json"]);
    assert_eq!(shown(&place, &["--list", "bom"]).len(), 1);
}

#[test]
fn the_kind_of_a_list_changes_only_by_import_and_is_said() {
    let place = Place::new();
    write(&place, "l.txt", A);
    place.ok(&["watchlist", "import", "l.txt", "--kind", "blocking"]);
    let out = place.run(&["watchlist", "add", B, "--list", "l", "--kind", "own"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert_eq!(shown(&place, &[]).len(), 1);
    let out = place.run(&["watchlist", "import", "l.txt", "--kind", "advisory"]);
    assert!(stderr(&out).contains("was blocking and is advisory now"), "{}", stderr(&out));
}
