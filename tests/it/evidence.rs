//! Proof that lasts: bundles of every kind and era, checked by the program, by an independent checker in Python, and with every byte
//! changed; the whole store proven again; and what an attestation may say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use bolo::pipeline::{check_claims, check_files};
use serde_json::{Value, json};

use crate::common::{Node, Place, call, n, stderr, word};
use crate::rich::Chain;

/// The Python that has the checker's libraries: made by tests/run.
pub(crate) fn python() -> PathBuf {
    let python = std::env::var_os("BOLO_TEST_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python"));
    assert!(python.exists(), "no Python with the checker's libraries: run the tests by tests/run, which installs them");
    python
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evidence").join(name)
}

/// One bundle for each kind of alert in each block, by `block-kind`.
pub(crate) fn bundles(place: &Place) -> BTreeMap<String, PathBuf> {
    let mut wanted: BTreeMap<(u64, String), String> = BTreeMap::new();
    for alert in place.alerts(&["--triage", "all"]) {
        let key = (alert["block"]["number"].as_u64().unwrap(), alert["kind"].as_str().unwrap().to_owned());
        wanted.entry(key).or_insert_with(|| alert["id"].as_str().unwrap().to_owned());
    }
    wanted
        .into_iter()
        .map(|((block, kind), id)| {
            let name = format!("{block}-{kind}");
            let dir = place.dir.path().join("bundles").join(&name);
            place.ok(&["evidence", &id, "--out", dir.to_str().unwrap()]);
            (name, dir)
        })
        .collect()
}

pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    std::fs::read_dir(dir).unwrap().map(read).collect()
}

fn size(dir: &Path) -> usize {
    files(dir).values().map(Vec::len).sum()
}

/// The independent checker takes them all, and refuses what `how` does to them.
pub(crate) fn python_agrees(dirs: &[&PathBuf], how: &[&str]) {
    let run = |name: &str, arguments: &[&str]| {
        let out = Command::new(python())
            .arg(script(name))
            .args(arguments)
            .args(dirs)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), stderr(&out));
        assert!(out.status.success(), "{name}: {said}");
        said
    };
    let said = run("check.py", &[]);
    assert_eq!(said.lines().filter(|line| line.contains(": proven: ")).count(), dirs.len(), "{said}");
    if !how.is_empty() {
        eprintln!("{}", run("mutate.py", how));
    }
}

/// A number in a range, the same series each time.
fn dice(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap() % below
}

/// Every file with its byte at that place changed so is refused.
fn refused_with(bundle: &BTreeMap<String, Vec<u8>>, name: &str, place: usize, flip: u8) {
    let mut changed = bundle.clone();
    changed.get_mut(name).unwrap()[place] ^= flip;
    assert!(check_files(&changed).is_err(), "{name} byte {place} ^ {flip:#x} is taken");
    // Where nothing but hashes can hold it, the seal is not needed.
    if name.ends_with(".nodes") || name == "header.rlp" {
        assert!(check_claims(&changed).is_err(), "{name} byte {place} ^ {flip:#x} is taken without the seal");
    }
}

#[test]
fn bundles_of_real_blocks_of_every_era_are_proven_by_both_checkers_and_no_changed_byte_is() {
    let Some(place) = crate::mainnet::replayed("auto") else { return };
    let sum: Value = serde_json::from_str(&place.ok(&["verify", "--format", "json"])).unwrap();
    assert_eq!((&sum["blocks"], &sum["faulty"], &sum["alerts_without_proof"]), (&json!(21), &json!(0), &json!(0)));
    let bundles = bundles(&place);
    let kinds: BTreeSet<_> = bundles.keys().filter_map(|name| name.split_once('-')).map(|(_, kind)| kind).collect();
    assert!(kinds.len() >= 11 && bundles.len() > 100, "{kinds:?}");
    let all: Vec<_> = bundles.values().collect();
    let out = place.run(&all.iter().fold(vec!["verify"], |mut args, dir| {
        args.extend(["--bundle", dir.to_str().unwrap()]);
        args
    }));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    python_agrees(&all, &[]);
    // All changes of a small one; samples of the others, whole blocks left out since each check of these takes long.
    let small = &bundles["46147-native_transfer"];
    let bundle = files(small);
    for (name, bytes) in &bundle {
        // Only the checksums hold the format's page and the checker.
        let is_tool = ["FORMAT.md", "check.py", "requirements.txt"].contains(&name.as_str());
        for place in (0..bytes.len()).step_by(if is_tool { 997 } else { 1 }) {
            [0x01, 0x80].iter().for_each(|flip| refused_with(&bundle, name, place, *flip));
        }
    }
    python_agrees(&[small], &["--all"]);
    // Signed before EIP-155: nothing proves the chain id, which the bundle and both checkers say.
    let limits = |dir: &Path| check_files(&files(dir)).unwrap().not_proven;
    assert!(limits(small).contains(&"alert.chain_id"));
    let unsigned: Vec<_> = bundles.iter().filter(|(_, dir)| limits(dir).contains(&"alert.chain_id")).collect();
    assert!(unsigned.iter().any(|(name, _)| name.ends_with("-withdrawal")));
    assert!(unsigned.len() < bundles.len() / 2, "{} of {}", unsigned.len(), bundles.len());
    let larger: Vec<_> = all.into_iter().filter(|dir| size(dir) < 120_000).collect();
    let opened: Vec<_> = larger.iter().map(|dir| files(dir)).collect();
    let mut state = 5;
    for _ in 0..10_000 {
        let bundle = &opened[dice(&mut state, opened.len())];
        let name = bundle.keys().nth(dice(&mut state, bundle.len())).unwrap();
        let flip = u8::try_from(1 + dice(&mut state, 255)).unwrap();
        refused_with(bundle, name, dice(&mut state, bundle[name].len()), flip);
    }
    python_agrees(&larger, &["--sample", "10000"]);
}

#[test]
fn every_bundle_of_a_rich_chain_is_proven_by_both_checkers() {
    let chain = Chain::shared();
    let place = chain.place();
    let (first, last) = (chain.rich.to_string(), (chain.rich + 60).to_string());
    place.ok(&["replay", "-r", &chain.node.url, "--from-block", &first, "--to-block", &last]);
    let mut dirs = Vec::new();
    for (place_of, alert) in place.alerts(&["--triage", "all"]).iter().enumerate() {
        let dir = place.dir.path().join(format!("bundle-{place_of}"));
        place.ok(&["evidence", alert["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
        assert_eq!(check_files(&files(&dir)).unwrap().claim.id.to_string(), alert["id"]);
        dirs.push(dir);
    }
    assert!(dirs.len() > 100, "{}", dirs.len());
    python_agrees(&dirs.iter().collect::<Vec<_>>(), &[]);
}

#[test]
fn whatever_is_changed_in_the_database_is_found_by_verify() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let token = node.deploy(b, "NoMetadataToken", "");
    node.send(b, Some(token), 0, &call("NoMetadataToken", "mint(address,uint256)", &[word(a), n(9)]));
    for value in 1..4 {
        node.send(a, Some(b), value, "0x");
    }
    let place = Place::watching(&[(a, "a")]);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert!(place.ok(&["verify"]).contains("no fault found"));
    let clean = std::fs::read(&place.db).unwrap();
    let damages = [
        ("UPDATE activities SET amount = '8' WHERE kind = 5", "the amount is 9, and the claim says 8"),
        ("UPDATE activities SET to_id = from_id WHERE kind = 0", "watched address is not on the side"),
        ("UPDATE transactions SET success = 0", "by its receipt"),
        ("UPDATE transactions SET hash = zeroblob(32)", "transaction hash"),
        ("UPDATE blocks SET timestamp = timestamp + 1 WHERE number = 3", "block time"),
        ("UPDATE blocks SET timestamp = -timestamp WHERE number = 3", "block time"),
        ("UPDATE alerts SET alert_id = zeroblob(32) WHERE id = 1", "the id is"),
        ("UPDATE coverage SET last = last + 1", "ledger of coverage"),
        ("UPDATE blocks SET parent_hash = zeroblob(32) WHERE number = 3", "does not link"),
        ("UPDATE proofs SET proof = substr(proof, 1, length(proof) - 1)", "cannot be unpacked"),
        (
            "UPDATE proofs SET proof = (SELECT proof FROM proofs ORDER BY block_id DESC LIMIT 1)",
            "header hash does not fit",
        ),
        ("INSERT INTO checkpoints VALUES (2, zeroblob(32))", "the checkpoint says"),
    ];
    for (damage, reason) in damages {
        std::fs::write(&place.db, &clean).unwrap();
        let conn = rusqlite::Connection::open(&place.db).unwrap();
        conn.execute_batch(damage).unwrap();
        drop(conn);
        let out = place.run(&["verify"]);
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(4), "{damage}: {said}");
        assert!(said.contains(reason), "{damage}: {said}");
    }
    // What an older bolo kept no proof of is not wrong, but it is said, and a replay mends it.
    std::fs::write(&place.db, &clean).unwrap();
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.execute_batch("DELETE FROM proofs").unwrap();
    drop(conn);
    assert_eq!(place.run(&["verify"]).status.code(), Some(3));
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    assert!(place.ok(&["verify"]).contains("no fault found"));
}

#[test]
fn what_was_taken_on_trust_has_no_evidence_until_it_is_proven() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    node.send(a, Some(b), 1, "0x");
    let place = Place::watching(&[(a, "a")]);
    let range = ["--from-block", "0", "--to-block", "latest"];
    place.ok(&[&["replay", "-r", &node.url, "--trust-rpc"][..], &range].concat());
    let id = place.alerts(&[])[0]["id"].as_str().unwrap().to_owned();
    let out = place.run(&["evidence", &id, "--out", "bundle"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("taken on trust"), "{}", stderr(&out));
    let out = place.run(&["verify"]);
    assert_eq!(out.status.code(), Some(3), "not everything is proven: {}", stderr(&out));
    assert!(String::from_utf8_lossy(&out.stdout).contains("1 alerts were taken on trust"));
    place.ok(&[&["replay", "-r", &node.url][..], &range].concat());
    place.ok(&["evidence", &id, "--out", "bundle"]);
    // A bundle is not written over another one.
    assert_eq!(place.run(&["evidence", &id, "--out", "bundle"]).status.code(), Some(1));
    let none = format!("0x{}", "0".repeat(64));
    assert_eq!(place.run(&["evidence", &none, "--out", "other"]).status.code(), Some(1));
}

#[test]
fn what_is_proven_does_not_give_way_to_what_is_taken_on_trust() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    let c = node.accounts[3];
    for (from, to) in [(a, b), (b, c), (c, a)] {
        node.send(from, Some(to), 7, "0x");
    }
    let range = ["--from-block", "0", "--to-block", "latest"];
    let place = Place::watching(&[(a, "a")]);
    place.ok(&[&["replay", "-r", &node.url][..], &range].concat());
    place.ok(&["record", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--out", "all.jsonl"]);
    let archive = place.dir.path().join("all.jsonl");
    let before = place.alerts(&[]);
    place.ok(&["watchlist", "add", &b.to_string()]);
    let onto = [
        &["replay", "-r", &node.url][..],
        &["replay", "-r", &node.url, "--new-entries"],
        &["replay", "-r", &node.url, "--filtered"],
        &["replay", "--archive", archive.to_str().unwrap(), "--chain", "31337"],
    ];
    for how in onto {
        let out = place.run(&[how, &range[..], &["--trust-rpc"]].concat().into_iter().collect::<Vec<_>>());
        assert!(out.status.success(), "{how:?}: {}", stderr(&out));
        assert!(
            stderr(&out).contains("they stay as they are") && stderr(&out).contains("blocks=4"),
            "{}",
            stderr(&out)
        );
        assert_eq!(place.alerts(&[]), before, "{how:?}");
        assert_eq!(place.status()["coverage"][0]["senders"], "all", "{how:?}");
        place.ok(&["verify"]);
    }
    place.ok(&[&["replay", "-r", &node.url][..], &range].concat());
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["watchlist", "add", &b.to_string()]);
    fresh.ok(&[&["replay", "-r", &node.url][..], &range].concat());
    assert_eq!(place.ok(&["status", "--digest"]), fresh.ok(&["status", "--digest"]));
    assert_eq!(place.alerts(&[]).len(), 4);
}

#[test]
fn a_longer_list_adds_to_the_proof_of_a_block_and_takes_nothing_away() {
    let node = Node::start(&["--no-mining"]);
    let [a, b, c] = [node.accounts[1], node.accounts[2], node.accounts[3]];
    for (from, to) in [(a, b), (b, c), (c, b)] {
        let tx = json!({"from": from, "to": to, "value": "0x7", "gas": "0x5208"});
        node.rpc("eth_sendTransaction", json!([tx]));
    }
    node.mine(1);
    let place = Place::watching(&[(a, "a")]);
    let range = ["--from-block", "0", "--to-block", "latest"];
    place.ok(&[&["replay", "-r", &node.url][..], &range].concat());
    place.ok(&["watchlist", "add", &c.to_string()]);
    place.ok(&["watchlist", "remove", &a.to_string()]);
    place.ok(&[&["replay", "-r", &node.url][..], &range].concat());
    let sum: Value = serde_json::from_str(&place.ok(&["verify", "--format", "json"])).unwrap();
    assert_eq!((&sum["alerts_proven"], &sum["faulty"]), (&json!(3), &json!(0)), "{sum}");
}

#[test]
fn an_attestation_is_made_from_the_ledger_and_refused_where_that_has_a_hole() {
    let node = Node::start(&[]);
    let [a, b, quiet] = [node.accounts[1], node.accounts[2], node.accounts[9]];
    for value in 1..=20 {
        node.send(a, Some(b), value, "0x");
    }
    let place = Place::watching(&[(a, "a"), (quiet, "quiet")]);
    let take = |from: &str, to: &str, extra: &[&str]| {
        place.ok(&[&["replay", "-r", &node.url, "--from-block", from, "--to-block", to][..], extra].concat());
    };
    let attest = |who: &str, from: &str, to: &str| {
        place.run(&["attest", "--address", who, "--from-block", from, "--to-block", to, "--format", "json"])
    };
    let refused = |who: &str, code: i32, why: &str| {
        let out = attest(who, "2", "18");
        assert_eq!(out.status.code(), Some(code), "{}", stderr(&out));
        assert!(stderr(&out).contains(why) && out.stdout.is_empty(), "{}", stderr(&out));
    };
    let quiet = quiet.to_string();
    take("0", "8", &[]);
    refused(&a.to_string(), 1, "alerts touch");
    take("12", "13", &[]);
    take("15", "20", &[]);
    refused(
        &quiet,
        3,
        "4 blocks of 2 to 18 were not seen (9 to 11, 14 to 14): `bolo replay --holes --from-block 2 --to-block 18`",
    );
    place.ok(&["replay", "--holes", "-r", &node.url, "--from-block", "12", "--to-block", "18"]);
    refused(&quiet, 3, "3 blocks of 2 to 18 were not seen (9 to 11)");
    take("9", "11", &["--trust-rpc"]);
    refused(&quiet, 3, "taken on trust");
    take("9", "11", &["--checkpoint", &format!("20:{}", node.hash_at(20))]);
    refused(&a.to_string(), 1, "alerts touch");
    refused(&b.to_string(), 3, "was on no list");
    let out = attest(&quiet, "2", "18");
    assert!(out.status.success(), "{}", stderr(&out));
    let statement: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(statement["from"], json!({"number": 2, "hash": node.hash_at(2)}));
    assert_eq!(statement["to"], json!({"number": 18, "hash": node.hash_at(18)}));
    assert_eq!((&statement["blocks"], &statement["planes"]["logs"]), (&json!(17), &json!("proven")));
    assert_eq!(statement["planes"]["traces"], "unproven", "no root covers traces");
    assert_eq!(statement["anchor"]["number"], 20);
    // Listed only now: what was screened before says nothing of it, until it is screened again.
    place.ok(&["watchlist", "add", &node.accounts[8].to_string()]);
    refused(&node.accounts[8].to_string(), 3, "was on no list");
    take("0", "20", &[]);
    assert!(attest(&node.accounts[8].to_string(), "2", "18").status.success());
    // Removed by hand: from then on it would not alert.
    place.ok(&["watchlist", "remove", &quiet]);
    assert!(attest(&quiet, "2", "18").status.success(), "it was screened while it was listed");
    take("0", "20", &[]);
    refused(&quiet, 3, "was on no list");
}

#[test]
fn a_checkpoint_holds_for_archives_and_a_mistaken_one_does_not_stay() {
    let node = Node::start(&[]);
    let a = node.accounts[1];
    let place = Place::watching(&[(a, "a")]);
    let checkpoints = || place.status()["checkpoints"].clone();
    let wrong = format!("5:0x{}", "11".repeat(32));
    // An endpoint that does not have the block yet cannot tell: it is kept, and holds for whoever comes with the block.
    let range = ["--from-block", "0", "--to-block", "0"];
    place.ok(&[&["replay", "-r", &node.url, "--checkpoint", &wrong][..], &range].concat());
    assert_eq!(checkpoints()[0]["number"], 5);
    for value in 1..=6 {
        node.send(a, Some(a), value, "0x");
    }
    let fresh = Place::watching(&[(a, "a")]);
    fresh.ok(&["record", "-r", &node.url, "--from-block", "0", "--to-block", "6", "--out", "all.jsonl"]);
    let archive = fresh.dir.path().join("all.jsonl");
    let replay = ["replay", "--archive", archive.to_str().unwrap(), "--chain", "31337"];
    let refused = |place: &Place, extra: &[&str], why: &str| {
        let out = place.run(&[&replay, extra].concat());
        assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
        assert!(stderr(&out).contains(why), "{}", stderr(&out));
    };
    refused(&place, &[], "the checkpoint says 0x1111");
    let out = place.run(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "6"]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    // Given with an archive, it is kept only once the archive has not contradicted it.
    refused(&fresh, &["--checkpoint", &wrong], "the checkpoint says 0x1111");
    assert_eq!(fresh.status()["checkpoints"], json!([]));
    assert!(fresh.alerts(&["--from-block", "5"]).is_empty());
    let right = format!("5:{}", node.hash_at(5));
    // The right one takes its place.
    place.ok(&[&replay[..], &["--checkpoint", &right]].concat());
    assert_eq!(checkpoints(), json!([{"number": 5, "hash": node.hash_at(5)}]));
    refused(&place, &["--checkpoint", &wrong], "the block that is held is");
    // From an endpoint as well, which is not blamed for it.
    let out = place.run(&[&["replay", "-r", &node.url, "--checkpoint", &wrong][..], &range].concat());
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(stderr(&out).contains("the block that is held is"), "{}", stderr(&out));
    assert!(!stderr(&out).contains("does not fit"), "{}", stderr(&out));
    assert_eq!(checkpoints(), json!([{"number": 5, "hash": node.hash_at(5)}]));
    place.ok(&["verify"]);
}

#[test]
fn what_an_archive_lacks_of_the_range_is_said() {
    let node = Node::start(&[]);
    let a = node.accounts[1];
    node.mine(9);
    let place = Place::watching(&[(a, "a")]);
    let record = |to: &str, out: &str| {
        place.run(&["record", "-r", &node.url, "--from-block", "3", "--to-block", to, "--out", out])
    };
    assert_eq!(record("99", "x.jsonl").status.code(), Some(1), "no endless wait for what is not there");
    let out = record("6", ".");
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(record("6", "some.jsonl").status.success());
    let left: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
    let replay =
        |range: &[&str]| place.run(&[&["replay", "--archive", "some.jsonl", "--chain", "31337"], range].concat());
    let out = replay(&["--from-block", "7", "--to-block", "9"]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("holds no block of this range"), "{}", stderr(&out));
    let out = replay(&["--from-block", "1", "--to-block", "9"]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("4 blocks committed, 0 already held, 5 missing"), "{}", stderr(&out));
    let out = replay(&["--from-block", "earliest", "--to-block", "latest"]);
    assert!(out.status.success() && !stderr(&out).contains("missing"), "{}", stderr(&out));
    for wrong in [["--from-block", "latest"], ["--to-block", "earliest"], ["--to-block", "finalized"]] {
        let out = replay(&wrong);
        assert_eq!(out.status.code(), Some(1), "{wrong:?}: {}", stderr(&out));
        assert!(stderr(&out).contains("write a number, a time, or"), "{}", stderr(&out));
    }
    // Of a folder, what is not read is told.
    let folder = place.dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a.jsonl", "b.JSONL", ".hidden"] {
        std::fs::copy(place.dir.path().join("some.jsonl"), folder.join(name)).unwrap();
    }
    let out = place.run(&["replay", "--archive", "folder", "--chain", "31337"]);
    assert!(out.status.success() && stderr(&out).contains("4 already held"), "{}", stderr(&out));
    assert!(stderr(&out).contains("left out of the folder") && stderr(&out).contains("files=1"), "{}", stderr(&out));
}

#[test]
fn where_only_the_senders_of_alerts_were_recovered_nothing_is_said_of_what_did_not_alert() {
    let node = Node::start(&[]);
    let [a, b, quiet] = [node.accounts[1], node.accounts[2], node.accounts[9]];
    for value in 1..=8 {
        node.send(a, Some(b), value, "0x");
    }
    let place = Place::watching(&[(a, "a"), (quiet, "quiet")]);
    let replay = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "8"];
    place.ok(&replay);
    let digest = place.ok(&["status", "--digest"]);
    // As a replay with `--senders matched` leaves it.
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.execute_batch(
        "UPDATE blocks SET planes = planes & ~32 WHERE number BETWEEN 4 AND 5; DELETE FROM coverage; \
         INSERT INTO coverage SELECT min(number), max(number), proof, planes, watch_revision, decoder FROM blocks \
         GROUP BY number < 4, number < 6",
    )
    .unwrap();
    drop(conn);
    let ledger =
        || -> Value { serde_json::from_str(&place.ok(&["status", "--coverage", "--format", "json"])).unwrap() };
    assert_eq!(
        ledger()["senders"],
        json!([
            {"from": 0, "to": 3, "state": "all"}, {"from": 4, "to": 5, "state": "matched"},
            {"from": 6, "to": 8, "state": "all"},
        ])
    );
    assert!(place.ok(&["status", "--coverage"]).contains("4 to 5: matched (2 blocks)"));
    assert_ne!(place.ok(&["status", "--digest"]), digest);
    let quiet = quiet.to_string();
    let ask = |from: &str, to: &str| {
        let range = ["--from-block", from, "--to-block", to];
        let attest = place.run(&[&["attest", "--address", &quiet][..], &range].concat());
        let query = place.run(&[&["query", "--require-complete"][..], &range].concat());
        assert_eq!(attest.status.code(), query.status.code(), "{} {}", stderr(&attest), stderr(&query));
        (attest.status.code(), stderr(&attest))
    };
    assert_eq!(ask("0", "3").0, Some(0));
    let (code, why) = ask("0", "8");
    assert_eq!(code, Some(3));
    assert!(why.contains("in 2 blocks of 0 to 8 senders were recovered for alerts only"), "{why}");
    // A replay that recovers all takes these two again, and no others.
    assert!(stderr(&place.run(&replay)).contains("2 blocks committed, 7 already held"));
    assert_eq!(ask("0", "8").0, Some(0));
    assert_eq!(place.ok(&["status", "--digest"]), digest);
}
