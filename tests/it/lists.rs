//! Watchlists from the command line.

use serde_json::{Value, json};

use crate::common::{Place, shared, stderr};

const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";
const C: &str = "0x3Cffd56B47B7b41c56258D9C7731ABaDc360E073";

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
    assert_eq!(shown(&place, &[]).len(), 2);
}

#[test]
fn a_newer_file_adds_changes_and_ends_entries_and_an_older_one_is_refused() {
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
    assert_eq!(import("2024-06-01").status.code(), Some(1));
    let labels =
        |entries: Vec<Value>| entries.iter().map(|e| e["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(shown(&place, &[])), ["renamed", "third"].map(str::to_owned));
    let mut then = labels(shown(&place, &["--as-of", "2024-07-01"]));
    then.sort();
    assert_eq!(then, ["first", "second"].map(str::to_owned));
    assert_eq!(shown(&place, &["--as-of", "2023-01-01"]).len(), 0);
}

#[test]
fn an_entry_has_all_fields_of_the_contract() {
    let place = Place::new();
    write(
        &place,
        "ofac.json",
        &json!([{"address": A.to_lowercase(), "label": "x", "entity": "Lazarus Group", "programs": ["DPRK3"],
                 "listed_from": "2022-04-14", "delisted_on": "2030-01-01T12:00:00Z"}])
        .to_string(),
    );
    place.ok(&["watchlist", "import", "ofac.json", "--kind", "blocking"]);
    let wanted = json!({"address": A, "label": "x", "list": "ofac", "kind": "blocking", "entity": "Lazarus Group",
        "programs": ["DPRK3"], "listed_from": "2022-04-14", "delisted_on": "2030-01-01T12:00:00Z", "derived_from": null});
    assert_eq!(shown(&place, &[]), std::slice::from_ref(&wanted));
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
fn the_dated_versions_of_a_real_list_import_in_order() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/lists/versions");
    if shared("lists/versions/2022-09-03.json").is_none() {
        return;
    }
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let place = Place::new();
    for file in &files {
        let date = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let path = file.to_str().unwrap();
        place.ok(&["watchlist", "import", path, "--list", "ofac", "--kind", "blocking", "--published", &date]);
    }
    for file in &files {
        let date = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let wanted: Vec<String> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut wanted: Vec<_> = wanted.iter().map(|address| address.to_lowercase()).collect();
        let entries = shown(&place, &["--as-of", &date]);
        let mut found: Vec<_> = entries.iter().map(|e| e["address"].as_str().unwrap().to_lowercase()).collect();
        wanted.sort();
        wanted.dedup();
        found.sort();
        assert_eq!(found, wanted, "as of {date}");
    }
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
