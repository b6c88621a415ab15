//! `replay --senders matched`: the same alerts with the senders of alerts proven only, and a ledger that says so.

use serde_json::Value;

use crate::common::Place;
use crate::liars::{alerts, facts};
use crate::proxy::{Plan, Proxy};
use crate::rich::Chain;
use crate::sins::Sin;

fn replay(place: &Place, url: &str, blocks: (u64, u64), extra: &[&str]) -> std::process::Output {
    let (from, to) = (blocks.0.to_string(), blocks.1.to_string());
    let range = ["replay", "-r", url, "--from-block", &from, "--to-block", &to, "--traces", "require"];
    place.run(&[&range, extra].concat())
}

fn senders(place: &Place) -> Vec<Value> {
    let coverage = place.status()["coverage"].take();
    coverage.as_array().unwrap().iter().map(|range| range["senders"].clone()).collect()
}

fn log(out: &std::process::Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn senders_of_alerts_alone_give_the_same_alerts_and_a_ledger_that_says_so_until_all_are_recovered() {
    let chain = Chain::shared();
    let (place, blocks) = (chain.place(), (chain.rich, chain.rich + 7));
    let out = replay(&place, &chain.node.url, blocks, &["--senders", "matched"]);
    assert!(out.status.success(), "{}", log(&out));
    assert_eq!(facts(&alerts(&place)), facts(&chain.truth(blocks.0..=blocks.1)));
    assert_eq!(senders(&place), ["matched"]);
    let range = [blocks.0.to_string(), blocks.1.to_string()];
    let complete = ["query", "--require-complete", "--from-block", &range[0], "--to-block", &range[1]];
    assert_eq!(place.run(&complete).status.code(), Some(3), "that nothing else was sent is not proven");
    // The same again has nothing to add; with all senders it has.
    let again = replay(&place, &chain.node.url, blocks, &["--senders", "matched"]);
    assert!(log(&again).contains("0 blocks committed"), "{}", log(&again));
    let all = replay(&place, &chain.node.url, blocks, &[]);
    assert!(log(&all).contains("8 blocks committed"), "{}", log(&all));
    assert_eq!(senders(&place), ["all"]);
    assert_eq!(place.run(&complete).status.code(), Some(0));
    assert!(place.run(&["verify"]).status.success());
}

#[test]
fn a_wrong_sender_makes_every_sender_of_its_block_recovered_whichever_are_asked_for() {
    let chain = Chain::shared();
    let (first, last) = (chain.rich + 3, chain.rich + 5);
    for sin in [Sin::WrongFromInBoth, Sin::WrongFrom] {
        let endpoint = Proxy::new(&chain.node, Plan { blocks: first..=first, ..Plan::always(sin, first) });
        for which in ["matched", "all"] {
            let place = chain.place();
            let out = replay(&place, &endpoint.url, (chain.rich, last), &["--senders", which]);
            assert!(out.status.success(), "{which}: {}", log(&out));
            assert_eq!(facts(&alerts(&place)), facts(&chain.truth(chain.rich..=last)), "{which}");
            let expected: &[&str] = if which == "all" { &["all"] } else { &["matched", "all", "matched"] };
            assert_eq!(senders(&place), expected, "{which}");
        }
    }
}

#[test]
fn what_is_taken_on_trust_has_no_senders_to_recover() {
    let place = Place::new();
    let out = place.run(&["replay", "--trust-rpc", "--senders", "matched", "--archive", "blocks.jsonl"]);
    assert_eq!(out.status.code(), Some(2), "{}", log(&out));
}

#[test]
fn what_is_not_proven_with_matched_senders_is_said_wherever_they_are_spoken_of() {
    let chain = Chain::shared();
    let (place, first, last) = (chain.place(), chain.rich.to_string(), (chain.rich + 7).to_string());
    assert!(replay(&place, &chain.node.url, (chain.rich, chain.rich + 7), &["--senders", "matched"]).status.success());
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let run = |args: &[&str]| {
        let out = place.run(args);
        words(&(String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr)))
    };
    let nobody = "0x00000000000000000000000000000000000000A1";
    let range = ["--from-block", &first, "--to-block", &last];
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, guarantees) = readme.split_once("| Every sender |").unwrap();
    let (_, ledger) = readme.split_once("`senders` says of which transactions").unwrap();
    let (_, replaying) = readme.split_once("`--senders matched` recovers\nonly").unwrap();
    let start = |text: &str| words(&text.chars().take(700).collect::<String>());
    for (place, text) in [
        ("README, guarantees", start(guarantees)),
        ("README, the ledger", start(ledger)),
        ("README, replay", start(replaying)),
        ("replay --help", run(&["replay", "--help"])),
        ("attest", run(&[&["attest", "--address", nobody][..], &range].concat())),
        ("query", run(&[&["query"][..], &range].concat())),
        ("query --require-complete", run(&[&["query", "--require-complete"][..], &range].concat())),
        ("status", run(&["status"])),
        ("status --coverage", run(&["status", "--coverage"])),
    ] {
        assert!(
            text.contains("that a watched address sent nothing else, and that no contract creation paid it"),
            "{place}: {text}"
        );
        assert!(
            text.contains("is the endpoint's word") || text.contains("is then the endpoint's word"),
            "{place}: {text}"
        );
    }
    // Where all senders are recovered, there is nothing to be said.
    assert!(replay(&place, &chain.node.url, (chain.rich, chain.rich + 7), &[]).status.success());
    for args in [&["status"][..], &["status", "--coverage"], &[&["query"][..], &range].concat()] {
        assert!(!run(args).contains("endpoint's word"), "{args:?}");
    }
}
