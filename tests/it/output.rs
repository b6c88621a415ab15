//! Text of strangers (labels, entities, symbols, names of lists and endpoints, arguments) reaches neither a terminal nor a spreadsheet
//! as they wrote it, whatever command prints it.

use std::path::Path;
use std::process::Output;

use bolo::text::is_hidden;
use serde_json::Value;

use crate::common::{Place, stderr};

const WATCHED: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
/// Colours, a title, a bell, C1, bidi, separators, zero-width, tags, selectors, soft hyphen, fillers.
const HIDDEN: &str = "\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}\u{2028}\u{2029}\u{200b}\u{200d}\u{feff}\
                      \u{e0041}\u{e007f}\u{fe0f}\u{e0100}\u{ad}\u{3164}\u{85}\t\r\u{fff9}";

fn nasty(begin: &str) -> String {
    format!("{begin}{HIDDEN}end")
}

/// The demo's chain with all text in the database replaced by what nobody should print.
fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.dir.path().join("l.csv"), format!("address,label,programs\n{WATCHED},thief,P\n")).unwrap();
    place.ok(&["watchlist", "import", "l.csv", "--list", "l", "--kind", "blocking"]);
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/chain.jsonl.zst");
    place.ok(&["replay", "--archive", archive.to_str().unwrap(), "--chain", "31337"]);
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    let set = |sql: &str, text: String| conn.execute(sql, [text]).unwrap();
    set("UPDATE watch_entries SET label = ?1, derived_from = ?1, uid = ?1", nasty("＝1+1"));
    set("UPDATE watch_entries SET entity = ?1", nasty("=HYPERLINK(1)"));
    let list = |begin: &str| serde_json::to_string(&[nasty(begin)]).unwrap();
    set("UPDATE watch_entries SET programs = ?1", list("@P"));
    set("UPDATE watch_entries SET aliases = ?1", list(" -A"));
    set("UPDATE lists SET name = ?1", nasty("+L"));
    set("UPDATE list_versions SET source = ?1", nasty("－S"));
    set("UPDATE endpoints SET host = ?1", nasty("@host"));
    set(
        "INSERT OR REPLACE INTO tokens SELECT token_address_id, ?1, 6, 1 FROM activities WHERE token_address_id NOT NULL",
        nasty("\t=T"),
    );
    set("UPDATE alerts SET triage_reasons = ?1", list("=r"));
    place
}

fn shows_nothing_hidden(what: &[&str], out: &Output) {
    for (name, bytes) in [("stdout", &out.stdout), ("stderr", &out.stderr)] {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let found: Vec<_> = text.chars().filter(|c| is_hidden(*c) && *c != '\n').collect();
        assert!(found.is_empty(), "{what:?} has {found:?} on {name}: {text:?}");
    }
}

#[test]
fn no_command_prints_what_a_terminal_would_act_on() {
    let place = place();
    let id = place.alerts(&[])[0]["id"].as_str().unwrap().to_owned();
    let (id, list) = (id.as_str(), nasty("+L"));
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["status", "--coverage"],
        vec!["status", "--format", "json"],
        vec!["query", "--wide", "--limit", "0"],
        vec!["query", "--explain", id],
        vec!["query", "--explain", id, "--format", "json"],
        vec!["evidence", id, "--out", "bundle"],
        vec!["verify", "--bundle", "bundle"],
        vec!["verify", "--bundle", "bundle", "--format", "json"],
        vec!["verify"],
        vec!["attest", "--address", WATCHED],
        vec!["watchlist", "import", "l.csv", "--list", "other"],
    ];
    for format in ["table", "json", "jsonl", "csv"] {
        commands.push(vec!["query", "--triage", "all", "--status", "all", "--format", format]);
        commands.push(vec!["watchlist", "show", "--format", format]);
        commands.push(vec!["watchlist", "show", "--list", &list, "--format", format]);
        commands.push(vec!["watchlist", "check", WATCHED, "--format", format]);
        commands.push(vec!["watchlist", "history", WATCHED, "--format", format]);
        commands.push(vec!["watchlist", "diff", "2020-01-01", "2099-01-01", "--format", format]);
    }
    let mut printed = 0;
    for command in &commands {
        for log in ["pretty", "json"] {
            if log == "json" && command[0] == "evidence" {
                continue;
            }
            let out = place.run(&[&["--log-format", log][..], command].concat());
            shows_nothing_hidden(command, &out);
            printed += usize::from(String::from_utf8_lossy(&out.stdout).contains("end"));
        }
    }
    assert!(printed >= 40, "the names are printed at all: {printed}");
    for name in ["README.txt", "evidence.json"] {
        let text = std::fs::read_to_string(place.dir.path().join("bundle").join(name)).unwrap();
        assert!(text.contains("end") && !text.chars().any(|c| is_hidden(c) && c != '\n'), "{name}: {text}");
    }
    // What is JSON still says what was stored.
    let alert = &place.alerts(&[])[0];
    assert_eq!(alert["watched"]["label"], Value::from(nasty("＝1+1")));
    assert_eq!(alert["watched"]["list"], Value::from(list));
}

#[test]
fn errors_that_quote_what_was_typed_show_nothing_hidden() {
    let place = place();
    let word = nasty("x");
    std::fs::write(place.dir.path().join("bad\u{202e}name.csv"), "wallet\u{202e},\u{200b}x\n1,2\n").unwrap();
    std::fs::write(place.dir.path().join("lines.txt"), format!("{WATCHED} ok\nnot{HIDDEN}an address\n")).unwrap();
    for command in [
        vec!["query", &word],
        vec!["query", "--list", &word],
        vec!["query", "--address", &word],
        vec!["query", "--tx", &word],
        vec!["query", "--since", &word],
        vec!["query", "--severity", &word],
        vec!["query", "--min-amount", &word],
        vec!["query", "--from-block", &word],
        vec!["evidence", &word, "--out", "x"],
        vec!["evidence", "0x1234", "--out", &word, "--zip"],
        vec!["verify", "--bundle", &word],
        vec!["watchlist", "add", &word],
        vec!["watchlist", "add", WATCHED, "--list", &word],
        vec!["watchlist", "check", &word],
        vec!["watchlist", "show", "--list", &word],
        vec!["watchlist", "import", "bad\u{202e}name.csv"],
        vec!["watchlist", "import", "lines.txt"],
        vec!["watchlist", "import", &word],
        vec!["watchlist", &word],
        vec!["--no-such\u{202e}option", "status"],
        vec![&word],
        vec!["replay", "--archive", &word],
        vec!["replay", "-r", &word],
        vec!["status", "--config", &word],
        vec!["status", "--db", &word],
    ] {
        for log in ["pretty", "json"] {
            let out = place.run(&[&["--log-format", log][..], &command].concat());
            assert!(!out.status.success(), "{command:?}");
            assert!(!stderr(&out).trim().is_empty(), "{command:?}");
            shows_nothing_hidden(&command, &out);
        }
    }
}

#[test]
fn no_field_of_csv_is_a_formula() {
    let place = place();
    let mut fields = 0;
    for command in [
        vec!["query", "--triage", "all", "--status", "all", "--limit", "0"],
        vec!["watchlist", "show"],
        vec!["watchlist", "check", WATCHED],
        vec!["watchlist", "history", WATCHED],
        vec!["watchlist", "diff", "2020-01-01", "2099-01-01"],
    ] {
        let text = place.ok(&[&command[..], &["--format", "csv"]].concat());
        for record in csv::Reader::from_reader(text.as_bytes()).records() {
            for field in &record.unwrap() {
                let begin = field.trim_start().chars().next().unwrap_or('x');
                assert!(!"=+-@＝＋－＠\t\r".contains(begin), "{command:?}: {field:?}");
                fields += usize::from(field.starts_with('\''));
            }
        }
    }
    assert!(fields > 50, "formulas were there: {fields}");
}
