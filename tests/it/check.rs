//! `watchlist check`: every form of an address, what is known of it, and a long list of them on standard input.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::common::{Node, Place, stderr};

const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
/// The same key on Tron.
const A_TRON: &str = "TAqg8TXo8tmpaz7TwHS669Tgt8MPSWgoxB";
const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";
const C: &str = "0x3Cffd56B47B7b41c56258D9C7731ABaDc360E073";

fn fed(place: &Place, args: &[&str], input: &[u8]) -> Output {
    let mut command = place.command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn listed() -> Place {
    let place = Place::new();
    let csv = format!(
        "address,label,entity,programs,listed_from\n{A},Ronin thief,Lazarus Group,DPRK3;CYBER2,2022-04-14\n{B},other,,,\n"
    );
    std::fs::write(place.dir.path().join("ofac.csv"), csv).unwrap();
    place.ok(&["watchlist", "import", "ofac.csv", "--kind", "blocking", "--published", "2022-04-15"]);
    place
}

#[test]
fn an_address_in_any_form_is_found_with_all_that_is_known_of_it() {
    let place = listed();
    let bare = A.trim_start_matches("0x").to_uppercase();
    for form in [A, &A.to_lowercase(), &A.to_uppercase(), &bare, &format!(" {A} "), A_TRON] {
        let found: Value = serde_json::from_str(&place.ok(&["watchlist", "check", form, "--format", "json"])).unwrap();
        let entry = &found[0];
        assert_eq!((&entry["address"], &entry["checked"]), (&json!(A), &json!(form.trim())), "{form}");
        assert_eq!(entry["alerts"], json!({"count": 0, "last_block": null, "last_block_time": null}));
        let version = &entry["version"];
        assert_eq!((&version["published"], &version["source"]), (&json!("2022-04-15"), &json!("ofac.csv")));
        assert_eq!(version["sha256"].as_str().unwrap().len(), 64, "{version}");
    }
    let table = place.ok(&["watchlist", "check", A_TRON, C]);
    for said in [
        &format!("{A} is LISTED, as {A_TRON}; no standing alert") as &str,
        "ofac (blocking): label Ronin thief; entity Lazarus Group; programs DPRK3 CYBER2; listed from 2022-04-14",
        "by the version published 2022-04-15: ofac.csv, SHA-256 ",
        &format!("{C} is on no list\n"),
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
    for (wrong, why) in [
        (A.replace("8Aaf", "8AAf"), "wrong checksum"),
        (A_TRON.replace("xB", "xC"), "Tron address and has a wrong checksum"),
        ("vitalik.eth".to_owned(), "40 hex digits"),
    ] {
        let out = place.run(&["watchlist", "check", C, &wrong]);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.code() == Some(1) && said == format!("{C} is on no list\n"),
            "the good one is answered: {said}"
        );
        assert!(stderr(&out).contains(why) && stderr(&out).contains(&wrong), "{}", stderr(&out));
    }
    // What has left the lists is told from what never was on one.
    place.ok(&["watchlist", "remove", A]);
    let table = place.ok(&["watchlist", "check", A]);
    assert!(table.starts_with(&format!("{A} is on no list; was on ofac until ")), "{table}");
    assert_eq!(place.ok(&["watchlist", "check", A, "--format", "json"]), "[]\n");
}

#[test]
fn an_entry_whose_dates_have_not_begun_or_have_ended_is_told_and_is_not_in_force() {
    let place = Place::new();
    let csv = format!(
        "address,listed_from,delisted_on\n{A},2999-01-01,\n{B},2020-01-01,2021-01-01\n{C},2020-01-01,2999-01-01\n"
    );
    std::fs::write(place.dir.path().join("l.csv"), csv).unwrap();
    place.ok(&["watchlist", "import", "l.csv"]);
    let table = place.ok(&["watchlist", "check", A, B, C]);
    for said in [
        &format!("{A} is on a list, and NOT IN FORCE by its dates") as &str,
        "to be listed from 2999-01-01",
        &format!("{B} is on a list, and NOT IN FORCE by its dates"),
        "listed from 2020-01-01; delisted on 2021-01-01",
        &format!("{C} is LISTED"),
        "to be delisted on 2999-01-01",
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
    let json: Value = serde_json::from_str(&place.ok(&["watchlist", "check", A, B, C, "--format", "json"])).unwrap();
    assert_eq!([0, 1, 2].map(|at| json[at]["in_force"].clone()), [json!(false), json!(false), json!(true)]);
    assert!(place.ok(&["watchlist", "check", B, "--as-of", "2020-06-01"]).contains(&format!("{B} is LISTED")));
}

#[test]
fn a_bad_line_on_standard_input_is_told_and_the_others_are_checked() {
    let place = listed();
    let long = "f".repeat(10_000);
    let input = format!(
        "\u{feff}# a comment\n\n{C}\r\n  {}  # inline\nnonsense\n{A_TRON}\n{long}\n{}\n{B}",
        A.to_lowercase(),
        A.replace("8Aaf", "8AAf")
    );
    let out = fed(&place, &["watchlist", "check", "--stdin", "--format", "jsonl"], input.as_bytes());
    let found = String::from_utf8(out.stdout.clone()).unwrap();
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let checked: Vec<_> = found.iter().map(|entry| entry["checked"].as_str().unwrap().to_owned()).collect();
    assert_eq!(checked, [&A.to_lowercase() as &str, A_TRON, B], "in order, the last without a line feed too");
    assert_eq!(out.status.code(), Some(1));
    let said = stderr(&out);
    for said_so in ["line 5: \"nonsense\" is not", "line 7: ", "line 8: ", "wrong checksum"] {
        assert!(said.contains(said_so), "{said_so}: {said}");
    }
    assert!(said.contains("bad lines: 3, the first is line 5; the other 4 addresses were checked"), "{said}");
    assert!(said.contains("checked=4 listed=3 on_no_list=1"), "{said}");
    let good = fed(&place, &["watchlist", "check", "--stdin"], format!("{C}\n{B}\n").as_bytes());
    assert_eq!(good.status.code(), Some(0));
    let table = String::from_utf8(good.stdout).unwrap();
    assert!(table.starts_with(&format!("{B} is LISTED")) && !table.contains(C), "only what is listed: {table}");
    let none = fed(&place, &["-q", "watchlist", "check", "--stdin"], b"\n# none\n");
    assert!(none.status.success() && none.stdout.is_empty());
}

#[test]
fn check_counts_the_alerts_that_stand() {
    let node = Node::start(&[]);
    let [watched, other] = [node.accounts[1], node.accounts[2]];
    let place = Place::watching(&[(watched, "case")]);
    for _ in 0..2 {
        node.send(other, Some(watched), 1_000, "0x");
    }
    let head = node.head().to_string();
    let replay = |from: &str| place.ok(&["-q", "replay", "-r", &node.url, "--from-block", from, "--to-block", &head]);
    replay("1");
    let text = watched.to_string();
    let check = || -> Value {
        let found = place.ok(&["watchlist", "check", &text, "--format", "jsonl"]);
        serde_json::from_str(&found).unwrap()
    };
    let time = place.alerts(&[])[1]["block"]["timestamp"].clone();
    assert_eq!(check()["alerts"], json!({"count": 2, "last_block": 2, "last_block_time": time}));
    // A reorg takes the newer one away.
    let snapshot = node.rpc("anvil_reorg", json!([1, []]));
    assert!(snapshot.is_null(), "{snapshot}");
    node.mine(1);
    let to = node.head().to_string();
    place.ok(&["-q", "replay", "-r", &node.url, "--from-block", "2", "--to-block", &to]);
    let left = place.alerts(&["--status", "all"]).iter().filter(|alert| alert["status"] == "orphaned").count();
    assert_eq!(left, 1, "the reorg was seen");
    assert_eq!((&check()["alerts"]["count"], &check()["alerts"]["last_block"]), (&json!(1), &json!(1)));
    let table = place.ok(&["watchlist", "check", &text]);
    assert!(table.contains("1 standing alert(s), the last in block 1 ("), "{table}");
}
