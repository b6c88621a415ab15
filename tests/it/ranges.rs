//! Which blocks an answer is about: a range is what the user named, and nothing is clipped to what is held.

use alloy::primitives::Address;
use serde_json::Value;

use crate::common::{Place, stderr};

/// On a list, and in no block of the demo's chain.
const QUIET: Address = Address::repeat_byte(0x51);
/// The chain's blocks are these, twelve seconds apart from 2025-02-21T14:00:12Z on.
const LAST: u64 = 58;

/// The demo's recorded chain, screened for an address that never moves.
fn recorded() -> Place {
    let place = Place::watching(&[(QUIET, "quiet")]);
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    place.ok(&["-q", "replay", "--archive", archive, "--chain", "31337", "--lookback-index"]);
    place
}

fn know_head(place: &Place, head: u64) {
    let conn = rusqlite::Connection::open(&place.db).unwrap();
    conn.execute(
        "INSERT INTO meta VALUES ('head', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
        [head.to_string()],
    )
    .unwrap();
}

/// What a command prints, whatever its exit code.
fn stdout(place: &Place, args: &[&str]) -> String {
    String::from_utf8(place.run(args).stdout).unwrap()
}

/// The exit codes of `query --require-complete` and of `attest`, which are the same, and what they say.
fn ask(place: &Place, range: &[&str]) -> (i32, String) {
    let quiet = QUIET.to_string();
    let query = place.run(&[&["query", "--address", &quiet, "--require-complete"], range].concat());
    let attest = place.run(&[&["attest", "--address", &quiet, "--format", "json"], range].concat());
    let code = query.status.code().unwrap();
    assert_eq!(attest.status.code(), Some(code), "{range:?}: {} {}", stderr(&query), stderr(&attest));
    (code, stderr(&query) + &stderr(&attest))
}

#[test]
fn query_and_attest_refuse_every_range_of_which_a_block_is_missing_at_an_end() {
    let place = recorded();
    know_head(&place, LAST);
    // 14:01:00 is block 5, 14:11:00 is block 53, 14:12:00 is the last one.
    let refused: [&[&str]; 14] = [
        &["--since", "2025-02-21T14:01:00Z", "--to-block", "59"],
        &["--since", "2025-02-21T14:01:00Z", "--to-block", "1M"],
        &["--since", "2025-02-21", "--to-block", "40"],
        &["--from-block", "0", "--until", "2025-02-21T14:11:00Z"],
        &["--from-block", "earliest", "--until", "2025-02-21T14:11:00Z"],
        &["--from-block", "5", "--until", "2025-02-21"],
        &["--from-block", "5", "--until", "2025-02-21T14:12:00Z"],
        &["--since", "2025-02-21T14:00:12Z", "--until", "2025-02-21T14:11:00Z"],
        &["--since", "2025-02-21T14:01:00Z", "--until", "2025-02-21T15:00:00Z"],
        &["--since", "2025-02-20", "--to-block", "40", "--from-block", "0"],
        &["--from-block", "5", "--to-block", "59"],
        &["--to-block", "40"],
        &["--since", "1h"],
        &["--since", "2025-02-21T14:01:00Z"],
    ];
    for range in refused {
        let (code, said) = ask(&place, range);
        assert_eq!(code, 3, "{range:?}: {said}");
    }
    let complete: [&[&str]; 6] = [
        &["--since", "2025-02-21T14:01:00Z", "--to-block", "58"],
        &["--from-block", "1", "--until", "2025-02-21T14:11:00Z"],
        &["--since", "2025-02-21T14:01:00Z", "--until", "2025-02-21T14:11:00Z"],
        &["--from-block", "5", "--since", "2025-02-20", "--to-block", "40"],
        &["--from-block", "5", "--until", "2025-02-21", "--to-block", "58"],
        &["--from-block", "1"],
    ];
    for range in complete {
        let (code, said) = ask(&place, range);
        assert_eq!(code, 0, "{range:?}: {said}");
    }
    // The blocks that a time names.
    let quiet = QUIET.to_string();
    let said = place.ok(&[
        "attest",
        "--address",
        &quiet,
        "--since",
        "2025-02-21T14:01:00Z",
        "--until",
        "2025-02-21T14:11:00Z",
        "--format",
        "json",
    ]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["from"]["number"].as_u64(), said["to"]["number"].as_u64()), (Some(5), Some(53)));
    assert_eq!(place.run(&["attest", "--address", &quiet]).status.code(), Some(2), "a range must be named");
}

#[test]
fn as_of_a_time_blocks_have_to_be_screened_for_the_addresses_that_were_listed_then() {
    let place = Place::new();
    let [left, stayed] = [QUIET, Address::repeat_byte(0x52)];
    // An address that left its list before the blocks' time, and one that stayed.
    for (date, listed) in [("2020-01-01", vec![left, stayed]), ("2024-01-01", vec![stayed])] {
        let lines: Vec<_> = listed.iter().map(ToString::to_string).collect();
        std::fs::write(place.dir.path().join("l.txt"), lines.join("\n")).unwrap();
        place.ok(&["-q", "watchlist", "import", "l.txt", "--published", date]);
    }
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    place.ok(&["-q", "replay", "--archive", archive, "--chain", "31337", "--lookback-index"]);
    let (left, stayed) = (left.to_string(), stayed.to_string());
    let code = |args: &[&str]| {
        let range = ["query", "--require-complete", "--from-block", "1", "--to-block", "58"];
        place.run(&[&range, args].concat()).status.code().unwrap()
    };
    let refused: [&[&str]; 6] = [
        &["--as-of", "2019-12-31"],
        &["--as-of", "2020-01-01"],
        &["--as-of", "2023-12-31", "--list", "l"],
        &["--as-of", "2022-06-01", "--direction", "in"],
        &["--as-of", "2020-06-01", "--address", &left],
        &["--address", &left],
    ];
    for args in refused {
        assert_eq!(code(args), 3, "{args:?}");
    }
    let complete: [&[&str]; 4] = [
        &[],
        &["--as-of", "2024-01-01"],
        &["--as-of", "2025-02-21T14:05:00Z", "--list", "l"],
        &["--as-of", "2020-06-01", "--address", &stayed],
    ];
    for args in complete {
        assert_eq!(code(args), 0, "{args:?}");
    }
}

#[test]
fn as_of_a_time_before_the_first_version_of_a_list_no_answer_is_complete() {
    let place = Place::new();
    let import = |list: &str, dates: &[&str]| {
        let file = format!("{list}.txt");
        for (number, date) in (1u8..).zip(dates) {
            let lines = [QUIET, Address::repeat_byte(number)].map(|address| address.to_string()).join("\n");
            std::fs::write(place.dir.path().join(&file), lines).unwrap();
            place.ok(&["-q", "watchlist", "import", &file, "--published", date]);
        }
    };
    // Versions come in any order; the hand-made list has no other past than its own.
    import("old", &["2023-01-01", "2020-01-01"]);
    import("young", &["2022-01-01"]);
    place.ok(&["-q", "watchlist", "add", &QUIET.to_string(), "--list", "cases"]);
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    place.ok(&["-q", "replay", "--archive", archive, "--chain", "31337", "--lookback-index"]);
    let ask = |args: &[&str]| {
        let range = ["query", "--require-complete", "--from-block", "1", "--to-block", "58", "--address"];
        let out = place.run(&[&range[..], &[&QUIET.to_string()], args].concat());
        (out.status.code().unwrap(), stderr(&out))
    };
    let refused: [(&[&str], &str); 5] = [
        (
            &["--as-of", "2019-12-31"],
            "\"old\" here is of 2020-01-01, later than --as-of 2019-12-31 (and of 1 other lists)",
        ),
        (&["--as-of", "2021-12-31T23:59:59Z"], "\"young\" here is of 2022-01-01"),
        (&["--as-of", "2020-01-01"], "\"young\""),
        (&["--as-of", "2019-01-01", "--list", "old"], "\"old\""),
        (&["--as-of", "2021-01-01", "--list", "old", "--list", "young"], "\"young\""),
    ];
    for (args, reason) in refused {
        let (code, said) = ask(args);
        assert!(code == 3 && said.contains("error: the answer is not complete"), "{args:?}: {said}");
        assert!(said.contains(&format!("the first version of the list {reason}")), "{args:?}: {said}");
    }
    let complete: [&[&str]; 5] = [
        &[],
        &["--as-of", "2022-01-01"],
        &["--as-of", "2020-01-01", "--list", "old"],
        &["--as-of", "2021-06-01", "--list", "old"],
        &["--as-of", "2019-01-01", "--list", "cases"],
    ];
    for args in complete {
        let (code, said) = ask(args);
        assert_eq!(code, 0, "{args:?}: {said}");
    }
}

#[test]
fn a_filter_by_symbol_or_units_is_not_complete_where_tokens_were_never_asked() {
    // Holds tokens of the demo's chain, whose archive has no answers of tokens.
    let place = Place::watching(&[("0x70997970C51812dc3A010C7d01b50e0d17dc79C8".parse().unwrap(), "holder")]);
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    place.ok(&["-q", "replay", "--archive", archive, "--chain", "31337", "--lookback-index"]);
    let refuses = |args: &[&str]| {
        let range = ["query", "--require-complete", "--from-block", "1", "--to-block", "58"];
        let out = place.run(&[&range, args].concat());
        let said = stderr(&out);
        let refuses = said.contains("is not known, so that their alerts are left out");
        assert!(!refuses || out.status.code() == Some(3), "{args:?}: {said}");
        refuses
    };
    let token = place.alerts(&["--kind", "erc20_transfer"])[0]["asset"]["contract"].as_str().unwrap().to_owned();
    let by_claims: [&[&str]; 7] = [
        &["--asset", "USDC"],
        &["--asset", "nosuch"],
        &["--min-amount", "1.5"],
        &["--asset", &token, "--min-amount", "0.5"],
        // The chain's own currency is known, and says nothing of the token beside it.
        &["--asset", "native", "--asset", "USDC"],
        &["--asset", "ETH", "--asset", "nosuch"],
        &["--asset", "native", "--asset", &token, "--min-amount", "0.5"],
    ];
    for args in by_claims {
        assert!(refuses(args), "{args:?}");
    }
    let proven: [&[&str]; 6] = [
        &[],
        &["--asset", "native"],
        &["--asset", "ETH", "--min-amount", "1.5"],
        &["--asset", &token],
        &["--min-amount", "1000"],
        &["--asset", "0x5151515151515151515151515151515151515151", "--min-amount", "1.5"],
    ];
    for args in proven {
        assert!(!refuses(args), "{args:?}");
    }
    // All were asked, and have a symbol and no decimals.
    rusqlite::Connection::open(&place.db)
        .unwrap()
        .execute(
            "INSERT INTO tokens SELECT DISTINCT token_address_id, 'Abc', NULL, 1 FROM activities WHERE token_address_id IS NOT NULL",
            [],
        )
        .unwrap();
    let by_decimals: [&[&str]; 4] = [
        &["--min-amount", "1.5abc"],
        &["--asset", "ABC", "--min-amount", "0.5"],
        &["--asset", "nosuch", "--asset", "abc", "--min-amount", "0.5"],
        &["--asset", "eth", "--asset", "abc", "--min-amount", "0.5"],
    ];
    for args in by_decimals {
        assert!(refuses(args), "{args:?}");
    }
    for args in [&["--asset", "abc"][..], &["--asset", "abc", "--min-amount", "5"], &["--min-amount", "1.5nosuch"]] {
        assert!(!refuses(args), "{args:?}");
    }
}

#[test]
fn an_open_end_refuses_where_an_endpoint_has_reported_a_higher_head() {
    let place = recorded();
    for head in [59, 70, 1_000_000] {
        know_head(&place, head);
        for range in [
            &["--from-block", "1"][..],
            &["--since", "2025-02-21T14:01:00Z"],
            &["--from-block", "5", "--since", "2025-02-21"],
            &["--to-block", "latest"],
            &["--from-block", "1", "--to-block", "latest"],
            &["--from-block", "58", "--to-block", " latest "],
            &["--since", "2025-02-21T14:01:00Z", "--to-block", "latest"],
        ] {
            let (code, said) = ask(&place, range);
            assert!(code == 3 && said.contains(&format!("to={head}")), "{range:?}: {said}");
        }
        assert_eq!(ask(&place, &["--from-block", "1", "--to-block", "58"]).0, 0);
    }
    know_head(&place, LAST);
    assert_eq!(ask(&place, &["--to-block", "latest"]).0, 3, "block 0 is not there");
    for range in [
        &["--from-block", "1", "--to-block", "latest"][..],
        &["--from-block", "latest", "--to-block", "latest"],
        &["--from-block", "latest"],
        &["--from-block", "5", "--to-block", "latest", "--until", "2025-02-21T14:11:00Z"],
    ] {
        let (code, said) = ask(&place, range);
        assert_eq!(code, 0, "{range:?}: {said}");
    }
}

#[test]
fn where_nothing_is_stored_a_required_answer_is_refused_in_a_line() {
    let place = Place::watching(&[(QUIET, "quiet")]);
    for args in [
        &["--from-block", "1", "--to-block", "5"][..],
        &["--to-block", "latest"],
        &["--since", "1h"],
        &["--address", "0x5151515151515151515151515151515151515151", "--until", "2025-02-21"],
    ] {
        for level in ["-q", "-v"] {
            let out = place.run(&[&[level, "query", "--require-complete"], args].concat());
            let said = stderr(&out);
            assert_eq!(out.status.code(), Some(3), "{args:?}: {said}");
            assert!(said.contains("error: the answer is not complete: no block"), "{level} {args:?}: {said:?}");
        }
    }
    for (value, said) in
        [("foo", "--require-complete \"foo\": write one of"), ("inner", "--require-complete \"inner\": ")]
    {
        let out = place.run(&["query", &format!("--require-complete={value}"), "--from-block", "1"]);
        assert!(stderr(&out).contains(said), "{}", stderr(&out));
    }
}

#[test]
fn what_a_revert_dropped_is_a_hole_also_where_no_block_is_left() {
    for (steps, holes, lag) in [(&["0"][..], (1, 58), 58), (&["30", "0"], (1, 58), 58), (&["30"], (31, 58), 28)] {
        let place = recorded();
        for above in steps {
            place.ok(&["revert", "--above", above, "--reason", "test"]);
        }
        let status: Value = serde_json::from_str(&stdout(&place, &["status", "--format", "json"])).unwrap();
        let found: Vec<_> = status["holes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hole| (hole["from"].as_u64(), hole["to"].as_u64()))
            .collect();
        assert_eq!(found, [(Some(holes.0), Some(holes.1))], "{steps:?}");
        assert_eq!(status["lag"], lag, "{steps:?}");
        let text = stdout(&place, &["status"]);
        assert!(text.contains(&format!("holes         1 ({} blocks)", holes.1 - holes.0 + 1)), "{text}");
    }
}

#[test]
fn a_block_number_that_cannot_be_stored_is_refused_in_one_line_by_every_command() {
    let place = recorded();
    let quiet = QUIET.to_string();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/demo/chain.jsonl.zst");
    let hash = format!("0x{:064x}", 7);
    for number in ["0xffffffffffffffff", "9223372036854775808", "0x8000000000000000", "99999999999999M"] {
        let checkpoint = format!("{number}:{hash}");
        let config = place.dir.path().join("bolo.toml");
        std::fs::write(&config, format!("checkpoints = [\"{checkpoint}\"]\n")).unwrap();
        let config = config.to_str().unwrap();
        let commands: [&[&str]; 11] = [
            &["query", "--from-block", "1", "--to-block", number, "--require-complete"],
            &["query", "--from-block", number],
            &["attest", "--address", &quiet, "--from-block", "1", "--to-block", number],
            &["attest", "--address", &quiet, "--from-block", number, "--until", "2025-02-21"],
            &["replay", "--archive", archive, "--from-block", "1", "--to-block", number],
            &["replay", "-r", "http://127.0.0.1:1", "--from-block", number, "--to-block", number],
            &["record", "-r", "http://127.0.0.1:1", "--from-block", "1", "--to-block", number, "--out", "o"],
            &["watch", "-r", "http://127.0.0.1:1", "--from-block", number],
            &["watch", "-r", "http://127.0.0.1:1", "--checkpoint", &checkpoint],
            &["replay", "--archive", archive, "--checkpoint", &checkpoint],
            &["--config", config, "replay", "--archive", archive],
        ];
        for command in commands {
            let out = place.run(command);
            let said = stderr(&out);
            assert_eq!(out.status.code(), Some(1), "{command:?}: {said}");
            assert!(said.lines().count() == 1 && said.contains("too high"), "{command:?}: {said}");
        }
    }
}

#[test]
fn verify_says_which_blocks_it_counts() {
    let said = recorded().ok(&["verify"]);
    assert!(said.starts_with("0 blocks with alerts proven again, of 58 blocks held: 0 alerts proven"), "{said}");
    let demo = |name: &str| format!("{}/src/cli/demo/{name}", env!("CARGO_MANIFEST_DIR"));
    for last in ["1", "20", "58"] {
        let place = Place::new();
        place.ok(&["-q", "watchlist", "import", &demo("watchlist.csv")]);
        let archive = demo("chain.jsonl.zst");
        place.ok(&["-q", "replay", "--archive", &archive, "--chain", "31337", "--to-block", last]);
        let alerts = place.alerts(&["--triage", "all", "--status", "all"]);
        let blocks: std::collections::BTreeSet<_> = alerts.iter().map(|alert| alert["block"].to_string()).collect();
        let (said, held) = (place.ok(&["verify"]), place.status()["blocks"].clone());
        let begin = format!("{} blocks with alerts proven again, of {held} blocks held: ", blocks.len());
        assert!(said.replace("1 block ", "1 blocks ").starts_with(&begin), "{last}: {begin}: {said}");
    }
}
