//! Bundles of evidence that were forged with care: each lie agrees with itself and has a fresh seal. Both checkers refuse every one, or
//! the bundle itself says that nothing proves what was changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use alloy::primitives::{Address, B256};
use bolo::decode::{Location, Plane, Position};
use bolo::pipeline::check_files;
use bolo::screen::alert_id;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Place, stderr};
use crate::evidence::{files, python, script};

type Files = BTreeMap<String, Vec<u8>>;

/// The courier: the user's own wallet here.
const OWN: &str = "0x1CBd3b2770909D4e10f157cABC84C7264073C9Ec";
/// The thief, whom the courier pays.
const BLOCKED: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
/// The mixer, and who makes the blocks.
const OTHERS: &str = "address,label\n0x3690387DA29f99b86A93f1F12A2aC4a8d869e9af,mixer\n0x9dcce783b6464611f38631e6c851bf441907c710,builder\n";
const NOBODY: &str = "0x00000000000000000000000000000000000000aA";

/// The demo's chain with own wallets, a blocked address and others.
fn place() -> Place {
    let place = Place::new();
    let write = |name: &str, text: &str| std::fs::write(place.dir.path().join(name), text).unwrap();
    write("ours.csv", &format!("address,label\n{OWN},treasury\n"));
    write("sdn.csv.csv", &format!("address,entity,programs,listed_from\n{BLOCKED},Sparrow Group,DPRK3,2022-04-14\n"));
    write("others.csv", OTHERS);
    write("again.csv", &format!("address,label\n{BLOCKED},seen before\n"));
    for (file, list, kind) in [
        ("ours.csv", "ours", "own"),
        ("sdn.csv.csv", "sdn", "blocking"),
        ("again.csv", "cases", "internal"),
        ("others.csv", "others", "internal"),
    ] {
        place.ok(&["watchlist", "import", file, "--list", list, "--kind", kind]);
    }
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/chain.jsonl.zst");
    place.ok(&["replay", "--archive", archive.to_str().unwrap(), "--chain", "31337", "--traces", "auto"]);
    // What an endpoint would have said of the token.
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.execute_batch(
        "INSERT OR REPLACE INTO tokens SELECT id, 'USDM', 6, 1 FROM addresses \
         WHERE address = x'0A867CA0442383c2A89951244B955AA19b615b58'",
    )
    .unwrap();
    place
}

/// The bundle of the first alert that fits.
fn bundle(place: &Place, fits: impl Fn(&Value) -> bool) -> Files {
    let alerts = place.alerts(&["--triage", "all", "--status", "all"]);
    let alert = alerts.iter().find(|alert| fits(alert)).expect("such an alert");
    let dir = place.dir.path().join(format!("bundle-{}", alert["id"].as_str().unwrap()));
    if !dir.exists() {
        place.ok(&["evidence", alert["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
    }
    files(&dir)
}

fn evidence(files: &Files) -> Value {
    serde_json::from_slice(&files["evidence.json"]).unwrap()
}

fn resealed(files: &Files, evidence: &Value) -> Files {
    let mut files = files.clone();
    files.insert("evidence.json".to_owned(), format!("{evidence:#}\n").into_bytes());
    files.remove("SHA256SUMS");
    let sums: String = files
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", alloy::primitives::hex::encode(Sha256::digest(bytes))))
        .collect();
    files.insert("SHA256SUMS".to_owned(), sums.into_bytes());
    files
}

/// The id that a forger computes for what the alert says now.
fn reid(evidence: &mut Value) {
    let alert = &evidence["alert"];
    let word = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let (plane, position) = match alert["plane"].as_str().unwrap() {
        "logs" => (Plane::Logs, Position::Log(word(&alert["log_index"]))),
        "traces" => {
            (Plane::Traces, Position::Trace(alert["trace_address"].as_array().unwrap().iter().map(word).collect()))
        }
        "withdrawals" => (Plane::Withdrawals, Position::Whole),
        _ => (Plane::Transactions, Position::Whole),
    };
    let tx_index = alert["tx"]["index"].is_u64().then(|| word(&alert["tx"]["index"]));
    let location = Location { tx_index, plane, position, sub_index: word(&alert["sub_index"]) };
    let hash: B256 = alert["block"]["hash"].as_str().unwrap().parse().unwrap();
    let watched: Address = alert["watched"]["address"].as_str().unwrap().parse().unwrap();
    let id = alert_id(alert["chain_id"].as_u64().unwrap(), hash, &location, watched);
    evidence["alert"]["id"] = json!(id);
}

fn with_chain(evidence: &mut Value, chain: u64) {
    let asset = evidence["alert"]["asset"]["id"].as_str().unwrap().split_once('/').unwrap().1.to_owned();
    evidence["alert"]["chain_id"] = json!(chain);
    evidence["alert"]["asset"]["id"] = json!(format!("eip155:{chain}/{asset}"));
    reid(evidence);
}

/// Another address on a side, wherever it is named.
fn with_side(evidence: &mut Value, role: &str, address: &str) {
    let old = evidence["alert"][role].clone();
    evidence["alert"][role] = json!(address);
    if evidence["alert"]["counterparty"] == old {
        evidence["alert"]["counterparty"] = json!(address);
    }
    if evidence["alert"]["watched"]["address"] == old {
        evidence["alert"]["watched"]["address"] = json!(address);
    }
    for side in evidence["sides"].as_array_mut().unwrap() {
        if side["role"] == role {
            side["address"] = json!(address);
        }
    }
    reid(evidence);
}

/// The alert is about the other side now, which has the entries of the first.
fn with_the_other_side_watched(evidence: &mut Value) {
    let other = evidence["alert"]["counterparty"].clone();
    evidence["alert"]["counterparty"] = evidence["alert"]["watched"]["address"].clone();
    evidence["alert"]["watched"]["address"] = other;
    let direction = if evidence["alert"]["watched"]["direction"] == "out" { "in" } else { "out" };
    evidence["alert"]["watched"]["direction"] = json!(direction);
    for entry in evidence["alert"]["watched_all"].as_array_mut().into_iter().flatten() {
        entry["direction"] = json!(direction);
    }
    let sides = evidence["sides"].as_array_mut().unwrap();
    let first = sides[0]["entries"].clone();
    sides[0]["entries"] = sides[1]["entries"].clone();
    sides[1]["entries"] = first;
    reid(evidence);
}

fn watched_entries(evidence: &mut Value) -> &mut Vec<Value> {
    let watched = evidence["alert"]["watched"]["address"].clone();
    let side = evidence["sides"].as_array_mut().unwrap().iter_mut().find(|side| side["address"] == watched);
    side.unwrap()["entries"].as_array_mut().unwrap()
}

fn both(evidence: &mut Value, name: &str, value: &Value) {
    evidence["alert"]["watched"][name] = value.clone();
    if let Some(first) = evidence["alert"]["watched_all"].as_array_mut() {
        first[0][name] = value.clone();
    }
    watched_entries(evidence)[0][name] = value.clone();
}

type Forgery = (&'static str, fn(&mut Value));

/// Of a token transfer to the blocked address, which is on two lists.
const OF_TOKEN: [Forgery; 46] = [
    ("amount and units ten times as much", |e| {
        e["alert"]["amount"] = json!(format!("{}0", e["alert"]["amount"].as_str().unwrap()));
        e["alert"]["amount_display"] = json!(format!("{}0", e["alert"]["amount_display"].as_str().unwrap()));
    }),
    ("amount one less", |e| e["alert"]["amount"] = json!("89999999999")),
    ("units a thousand times as much", |e| {
        e["alert"]["amount_display"] = json!(format!("{}000", e["alert"]["amount_display"].as_str().unwrap()));
    }),
    ("units with another point", |e| e["alert"]["amount_display"] = json!("9000.0")),
    ("no units", |e| e["alert"]["amount_display"] = Value::Null),
    ("decimals alone", |e| e["alert"]["asset"]["decimals"] = json!(2)),
    ("no decimals", |e| e["alert"]["asset"]["decimals"] = Value::Null),
    ("sides swapped", |e| {
        let (from, to) = (e["alert"]["from"].clone(), e["alert"]["to"].clone());
        (e["alert"]["from"], e["alert"]["to"]) = (to, from);
        e["alert"]["watched"]["direction"] = json!("out");
        let sides = e["sides"].as_array_mut().unwrap();
        sides.reverse();
        (sides[0]["role"], sides[1]["role"]) = (json!("from"), json!("to"));
    }),
    ("another sender", |e| with_side(e, "from", NOBODY)),
    ("another recipient", |e| with_side(e, "to", NOBODY)),
    ("another token", |e| {
        e["alert"]["asset"]["contract"] = json!(NOBODY);
        e["alert"]["asset"]["id"] = json!(format!("eip155:31337/erc20:{NOBODY}"));
    }),
    ("the token's id in another namespace", |e| {
        let id = e["alert"]["asset"]["id"].as_str().unwrap().replace("erc20", "erc721");
        e["alert"]["asset"]["id"] = json!(id);
    }),
    ("an NFT", |e| {
        let id = e["alert"]["asset"]["id"].as_str().unwrap().replace("erc20", "erc721");
        (e["alert"]["kind"], e["alert"]["asset"]["id"]) = (json!("erc721_transfer"), json!(id));
        (e["alert"]["token_id"], e["alert"]["amount"]) = (e["alert"]["amount"].clone(), json!("1"));
        e["alert"]["amount_display"] = Value::Null;
    }),
    ("a wrap", |e| e["alert"]["kind"] = json!("wrap")),
    ("the native currency", |e| {
        e["alert"]["asset"] =
            json!({"id": "eip155:31337/slip44:60", "contract": null, "symbol": "ETH", "decimals": 18});
    }),
    ("a native transfer", |e| {
        e["alert"]["asset"] =
            json!({"id": "eip155:31337/slip44:60", "contract": null, "symbol": "ETH", "decimals": 18});
        (e["alert"]["kind"], e["alert"]["plane"]) = (json!("native_transfer"), json!("transactions"));
        (e["alert"]["log_index"], e["alert"]["amount_display"]) = (Value::Null, json!("0.00000009"));
        reid(e);
    }),
    ("a token id", |e| e["alert"]["token_id"] = json!("1")),
    ("another log", |e| {
        e["alert"]["log_index"] = json!(e["alert"]["log_index"].as_u64().unwrap() + 1);
        reid(e);
    }),
    ("another place in a batch", |e| {
        e["alert"]["sub_index"] = json!(1);
        reid(e);
    }),
    ("another transaction", |e| e["alert"]["tx"]["hash"] = json!(B256::repeat_byte(7))),
    ("another index of the transaction", |e| {
        e["alert"]["tx"]["index"] = json!(e["alert"]["tx"]["index"].as_u64().unwrap() + 1);
        reid(e);
    }),
    ("another signer", |e| e["alert"]["tx"]["from"] = json!(NOBODY)),
    ("another contract called", |e| e["alert"]["tx"]["to"] = json!(NOBODY)),
    ("a failed transaction", |e| e["alert"]["tx"]["success"] = json!(false)),
    ("no transaction", |e| {
        (e["alert"]["tx"], e["first_log_index"]) = (Value::Null, Value::Null);
        reid(e);
    }),
    ("the next block", |e| e["alert"]["block"]["number"] = json!(e["alert"]["block"]["number"].as_u64().unwrap() + 1)),
    ("another block", |e| {
        e["alert"]["block"]["hash"] = json!(B256::repeat_byte(9));
        reid(e);
    }),
    ("another time", |e| e["alert"]["block"]["timestamp"] = json!("2021-01-01T00:00:00Z")),
    ("another chain", |e| with_chain(e, 1)),
    ("another chain in the asset alone", |e| {
        let id = e["alert"]["asset"]["id"].as_str().unwrap().replace("31337", "1");
        e["alert"]["asset"]["id"] = json!(id);
    }),
    ("the other direction", |e| e["alert"]["watched"]["direction"] = json!("out")),
    ("another counterparty", |e| e["alert"]["counterparty"] = json!(NOBODY)),
    ("a watched address that is no side", |e| {
        e["alert"]["watched"]["address"] = json!(NOBODY);
        reid(e);
    }),
    ("the id of another alert", |e| e["alert"]["id"] = json!(B256::repeat_byte(3))),
    ("unproven", |e| (e["alert"]["proof"], e["proves"]) = (json!("unproven"), json!("transaction"))),
    ("another status", |e| e["alert"]["status"] = json!("final")),
    ("another severity", |e| e["alert"]["severity"] = json!("critical")),
    ("the watched listing dropped", |e| watched_entries(e).clear()),
    ("one of two listings dropped", |e| drop(watched_entries(e).remove(0))),
    ("both of one listing dropped but in the sides", |e| {
        drop(e["alert"].as_object_mut().unwrap().remove("watched_all"));
    }),
    ("another list in the alert", |e| e["alert"]["watched"]["list"] = json!("sanctions")),
    ("another kind of list in the sides", |e| watched_entries(e)[0]["kind"] = json!("advisory")),
    ("another version's hash in the alert", |e| e["alert"]["watched"]["version"]["sha256"] = json!("ab".repeat(32))),
    ("designated later than its date", |e| both(e, "designation", &json!("before"))),
    ("designated without its date", |e| both(e, "designation", &json!("unknown"))),
    ("a limit left out", |e| drop(e["not_proven"].as_array_mut().unwrap().remove(1))),
];

/// Of the courier's payment: native, from an own wallet to the blocked address.
const OF_NATIVE: [Forgery; 16] = [
    ("units by other decimals", |e| {
        e["alert"]["asset"]["decimals"] = json!(6);
        e["alert"]["amount_display"] = json!("250000000000");
    }),
    ("a hundred times the amount", |e| {
        (e["alert"]["amount"], e["alert"]["amount_display"]) = (json!("25000000000000000000"), json!("25"));
    }),
    ("a call without value", |e| {
        e["alert"]["kind"] = json!("transaction");
        (e["alert"]["amount"], e["alert"]["amount_display"]) = (json!("0"), json!("0"));
    }),
    ("a creation", |e| e["alert"]["kind"] = json!("contract_creation")),
    ("an internal transfer", |e| {
        (e["alert"]["kind"], e["alert"]["plane"]) = (json!("internal_transfer"), json!("traces"));
        (e["alert"]["trace_address"], e["alert"]["proof"]) = (json!([0]), json!("unproven"));
        e["proves"] = json!("transaction");
        reid(e);
    }),
    ("another chain", |e| with_chain(e, 1)),
    ("another chain, said not to be proven", |e| {
        with_chain(e, 137);
        let limits = e["not_proven"].as_array_mut().unwrap();
        limits.push(json!("alert.chain_id"));
        limits.sort_by_key(|name| name.as_str().unwrap().to_owned());
    }),
    ("the blocked side is somebody else", |e| with_side(e, "to", NOBODY)),
    ("the blocked side's address in the sides alone", |e| e["sides"][1]["address"] = json!(NOBODY)),
    ("the blocked side left out", |e| drop(e["sides"].as_array_mut().unwrap().pop())),
    ("the blocked side as the sender", |e| e["sides"][1]["role"] = json!("from")),
    ("the blocked side listed after its time", |e| e["sides"][1]["entries"][0]["listed_from"] = json!("2026-01-01")),
    ("the blocked side delisted before its time", |e| e["sides"][1]["entries"][0]["delisted_on"] = json!("2023-01-01")),
    ("the blocked side on an unknown kind of list", |e| e["sides"][1]["entries"][0]["kind"] = json!("friends")),
    ("the blocked list's file with half a hash", |e| e["sides"][1]["entries"][0]["brought_by"]["sha256"] = json!("ab")),
    ("an own wallet that never matched", |e| e["sides"][0]["entries"][0]["matched"] = json!(false)),
];

/// Of the fees that a builder got: the whole block is shown.
const OF_FEES: [Forgery; 3] = [
    ("another chain", |e| with_chain(e, 1)),
    ("more fees", |e| {
        e["alert"]["amount"] = json!("1000000000000000000");
        e["alert"]["amount_display"] = json!("1");
    }),
    ("another builder", |e| with_side(e, "to", NOBODY)),
];

/// What nothing can prove is taken, and the bundle names it: the field that says so.
const UNPROVABLE: [(&str, Forgery); 9] = [
    ("sides.entries", ("the blocked listing of the other side dropped", |e| e["sides"][1]["entries"] = json!([]))),
    (
        "sides.entries",
        ("another entity of the other side", |e| {
            e["sides"][1]["entries"][0]["entity"] = json!("Nobody Ltd");
        }),
    ),
    (
        "sides.entries",
        ("another file of the other side's list", |e| {
            e["sides"][1]["entries"][0]["brought_by"]["sha256"] = json!("ab".repeat(32));
        }),
    ),
    ("sides.entries", ("the listings of the two sides exchanged", with_the_other_side_watched)),
    (
        "alert.watched.list",
        ("another list of the watched side, in both places", |e| both(e, "list", &json!("friends"))),
    ),
    ("alert.watched.kind", ("another kind of list, in both places", |e| both(e, "kind", &json!("advisory")))),
    ("alert.status", ("another status", |e| e["alert"]["status"] = json!("orphaned"))),
    ("alert.severity", ("another severity", |e| e["alert"]["severity"] = json!("low"))),
    ("alert.triage", ("noise", |e| e["alert"]["triage"] = json!({"class": "dust", "reasons": []}))),
];

/// What check.py says of each bundle, in order.
fn check_py(place: &Place, bundles: &[(String, Files)]) -> Vec<String> {
    let dirs: Vec<PathBuf> = bundles
        .iter()
        .enumerate()
        .map(|(number, (_, files))| {
            let dir = place.dir.path().join(format!("forged-{number}"));
            std::fs::create_dir(&dir).unwrap();
            files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
            dir
        })
        .collect();
    let out = Command::new(python())
        .arg(script("check.py"))
        .args(&dirs)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said: Vec<_> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    assert_eq!(said.len(), bundles.len(), "{}", stderr(&out));
    said
}

#[test]
fn both_checkers_refuse_every_semantic_forgery_or_the_bundle_says_it_is_not_proven() {
    let place = place();
    let token = bundle(&place, |alert| {
        alert["kind"] == "erc20_transfer" && alert["to"] == BLOCKED && alert["amount"] == "90000000000"
    });
    let native = bundle(&place, |alert| {
        alert["kind"] == "native_transfer" && alert["from"] == OWN && alert["watched"]["address"] == OWN
    });
    let fees = bundle(&place, |alert| alert["kind"] == "fee_recipient");
    let mut forged: Vec<(String, Files)> = Vec::new();
    for (what, good, forgeries) in
        [("token", &token, &OF_TOKEN[..]), ("native", &native, &OF_NATIVE), ("fees", &fees, &OF_FEES)]
    {
        for (name, forge) in forgeries {
            let mut changed = evidence(good);
            forge(&mut changed);
            assert_ne!(changed, evidence(good), "{what}: {name} changes nothing");
            forged.push((format!("{what}: {name}"), resealed(good, &changed)));
        }
    }
    let taken: Vec<_> = forged.iter().filter(|(_, files)| check_files(files).is_ok()).map(|(name, _)| name).collect();
    assert!(taken.is_empty(), "bolo takes {taken:#?}");
    let said = check_py(&place, &forged);
    let taken: Vec<_> = forged.iter().zip(&said).filter(|(_, said)| !said.contains(": REFUSED: ")).collect();
    let taken: Vec<_> = taken.iter().map(|((name, _), said)| (name, said)).collect();
    assert!(taken.is_empty(), "check.py takes {taken:#?}");
}

#[test]
fn what_no_checker_can_refuse_is_named_in_the_bundle_and_in_its_readme() {
    let place = place();
    let native = bundle(&place, |alert| alert["kind"] == "native_transfer" && alert["watched"]["address"] == OWN);
    let mut bundles = Vec::new();
    let mut wanted = Vec::new();
    for (field, (name, forge)) in UNPROVABLE {
        let mut changed = evidence(&native);
        forge(&mut changed);
        bundles.push((name.to_owned(), resealed(&native, &changed)));
        wanted.push((field, name));
    }
    // Where the count of logs before the transaction is not in the bundle, a shift of both is not to be seen.
    let late = bundle(&place, |alert| alert["plane"] == "logs" && alert["tx"]["index"] != 0);
    let mut changed = evidence(&late);
    changed["first_log_index"] = json!(changed["first_log_index"].as_u64().unwrap() + 5);
    changed["alert"]["log_index"] = json!(changed["alert"]["log_index"].as_u64().unwrap() + 5);
    reid(&mut changed);
    bundles.push(("logs counted from elsewhere".to_owned(), resealed(&late, &changed)));
    wanted.push(("alert.log_index", "logs counted from elsewhere"));
    // What a token says of its units.
    let mut changed = evidence(&late);
    if changed["alert"]["kind"] == "erc20_transfer" {
        changed["alert"]["asset"]["decimals"] = json!(0);
        changed["alert"]["amount_display"] = changed["alert"]["amount"].clone();
    }
    changed["alert"]["asset"]["symbol"] = json!("GOLD");
    bundles.push(("what the token calls itself".to_owned(), resealed(&late, &changed)));
    wanted.push(("alert.asset.symbol", "what the token calls itself"));
    let said = check_py(&place, &bundles);
    for (((_, files), (field, name)), said) in bundles.iter().zip(&wanted).zip(&said) {
        assert!(check_files(files).is_ok_and(|checked| checked.not_proven.contains(field)), "{name}");
        assert!(said.contains(": proven: "), "{name}: {said}");
        let readme = String::from_utf8(files["README.txt"].clone()).unwrap();
        assert!(readme.contains(&format!("\n  {field}\n")), "{name}: {readme}");
    }
}

#[test]
fn evidence_of_an_own_wallet_names_the_blocked_listing_of_the_other_side() {
    let place = place();
    let files = bundle(&place, |alert| alert["kind"] == "native_transfer" && alert["watched"]["address"] == OWN);
    let evidence = evidence(&files);
    let [from, to] = [&evidence["sides"][0], &evidence["sides"][1]];
    assert_eq!((&from["address"], &from["entries"][0]["list"]), (&json!(OWN), &json!("ours")));
    assert_eq!((&to["address"], &to["entries"][0]["list"]), (&json!(BLOCKED), &json!("sdn")));
    let entry = &to["entries"][0];
    assert_eq!((&entry["kind"], &entry["entity"]), (&json!("blocking"), &json!("Sparrow Group")));
    assert_eq!((&entry["programs"], &entry["designation"]), (&json!(["DPRK3"]), &json!("listed")));
    assert_eq!(to["entries"].as_array().unwrap().len(), 2, "both of its lists");
    let readme = String::from_utf8(files["README.txt"].clone()).unwrap();
    for said in
        ["0.25 ETH", "250000000000000000 base units", "on the list sdn (blocking, listed): Sparrow Group", "DPRK3"]
    {
        assert!(readme.contains(said), "{said}: {readme}");
    }
    // A listing that came after the screening is named as such.
    place.ok(&[
        "watchlist",
        "add",
        "0x71bE63f3384f5fb98995898A86B02Fb2426c5788",
        "--list",
        "late",
        "--kind",
        "blocking",
    ]);
    let alerts = place.alerts(&["--triage", "all"]);
    let late = json!("0x71bE63f3384f5fb98995898A86B02Fb2426c5788");
    let alert = alerts.iter().find(|alert| alert["counterparty"] == late);
    let alert = alert.expect("a movement with it");
    let dir = place.dir.path().join("late");
    place.ok(&["evidence", alert["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
    let evidence: Value = serde_json::from_slice(&std::fs::read(dir.join("evidence.json")).unwrap()).unwrap();
    let side = evidence["sides"].as_array().unwrap().iter().find(|side| side["address"] == late).unwrap();
    assert_eq!((&side["entries"][0]["list"], &side["entries"][0]["matched"]), (&json!("late"), &json!(false)));
}

#[test]
fn bundles_carry_their_format_and_checker_and_come_as_folders_or_zip_files() {
    let place = place();
    let alerts = place.alerts(&["--triage", "all"]);
    let payment = alerts.iter().find(|alert| alert["watched"]["address"] == OWN && alert["kind"] == "native_transfer");
    let (id, tx) = (payment.unwrap()["id"].as_str().unwrap(), payment.unwrap()["tx"]["hash"].as_str().unwrap());
    // The short form of a table, a prefix, and all alerts of the transaction.
    let short = format!("{}…{}", &id[..8], &id[62..]);
    place.ok(&["evidence", &short, "--out", "one"]);
    place.ok(&["evidence", &id[2..20], "--out", "one.zip", "--zip"]);
    place.ok(&["evidence", "--tx", &tx[..14], "--out", "all"]);
    place.ok(&["evidence", id, "--tx", tx, "--out", "zips", "--zip"]);
    let others: Vec<_> = alerts.iter().filter(|alert| alert["tx"]["hash"] == tx).collect();
    assert!(others.len() > 1);
    for folder in ["all", "zips"] {
        let found = std::fs::read_dir(place.dir.path().join(folder)).unwrap().count();
        assert_eq!(found, others.len(), "{folder}: each once");
    }
    for bundle in ["one", "one.zip", "all", "zips"] {
        let said = place.ok(&["verify", "--bundle", bundle]);
        let wanted = if bundle.starts_with("one") { 1 } else { others.len() };
        assert_eq!(said.lines().filter(|line| line.contains(": proven: ")).count(), wanted, "{bundle}: {said}");
    }
    // The checker within the bundle checks it, as a folder and as an archive.
    let dir = place.dir.path().join("one");
    let run = |bundle: &Path| {
        Command::new(python())
            .arg(dir.join("check.py"))
            .arg(bundle)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap()
    };
    for bundle in [dir.clone(), place.dir.path().join("one.zip")] {
        let out = run(&bundle);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    let format = std::fs::read_to_string(dir.join("FORMAT.md")).unwrap();
    assert!(format.contains("## How to check it") && std::fs::read(dir.join("requirements.txt")).is_ok());
    // What cannot be a bundle, or names none.
    std::fs::write(place.dir.path().join("no.zip"), "PK").unwrap();
    for (args, said) in [
        (vec!["evidence", "0x1234567890", "--out", "x"], "begins no alert"),
        (vec!["evidence", "0x12", "--out", "x"], "is no id"),
        (vec!["evidence", "--tx", "0xffffffffffff", "--out", "x"], "begins no transaction"),
        (vec!["evidence", id, "--out", "one.zip", "--zip"], "is there already"),
        (vec!["evidence", id, "--out", "one"], "is not empty"),
    ] {
        let out = place.run(&args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(said), "{args:?}: {}", stderr(&out));
    }
    assert_eq!(place.run(&["verify", "--bundle", "no.zip"]).status.code(), Some(4));
}
