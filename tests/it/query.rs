//! Every filter and form of `bolo query`, on the demo's recorded chain.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value;

use crate::common::{Place, stderr};

/// The demo's database, made once.
fn demo() -> &'static Place {
    static DEMO: OnceLock<Place> = OnceLock::new();
    DEMO.get_or_init(|| {
        let place = Place::new();
        place.ok(&["-q", "demo", "--dir", "d"]);
        Place { db: place.dir.path().join("d/demo.db"), ..place }
    })
}

fn all() -> Vec<Value> {
    demo().alerts(&["--status", "all", "--triage", "all"])
}

/// The filter's answer is what one gets by looking through everything.
fn same(filter: &[&str], fits: impl Fn(&Value) -> bool) {
    let found = demo().alerts(&[&["--status", "all", "--triage", "all"], filter].concat());
    let wanted: Vec<_> = all().into_iter().filter(|alert| fits(alert)).collect();
    assert!(!wanted.is_empty(), "{filter:?} is a test of something");
    assert!(wanted.len() < all().len(), "{filter:?} leaves something out");
    assert_eq!(found, wanted, "{filter:?}");
}

#[test]
fn each_filter_lets_through_what_fits_and_nothing_else() {
    let thief = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let split = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
    same(&["--address", thief], |a| a["watched"]["address"] == thief);
    same(&["--address", &thief.to_lowercase(), "--address", split], |a| {
        a["watched"]["address"] == thief || a["watched"]["address"] == split
    });
    same(&["--counterparty", split], |a| a["counterparty"] == split);
    same(&["--label", "SPLIT"], |a| a["watched"]["label"].as_str().unwrap().contains("Split"));
    same(&["--entity", "cyclone"], |a| a["watched"]["entity"] == "Cyclone (demo)");
    same(&["--kind", "wrap,unwrap"], |a| a["kind"] == "wrap" || a["kind"] == "unwrap");
    same(&["--asset", "usdm"], |a| a["asset"]["symbol"] == "USDM");
    same(&["--asset", "ETH"], |a| a["asset"]["contract"].is_null());
    let weth = "0x6D8da4B12D658a36909ec1C75F81E54B8DB4eBf9";
    same(&["--asset", weth], |a| a["asset"]["contract"] == weth);
    same(&["--asset", &format!("eip155:31337/erc20:{weth}")], |a| a["asset"]["contract"] == weth);
    same(&["--asset", "eip155:31337/slip44:60"], |a| a["asset"]["contract"].is_null());
    same(&["--direction", "self"], |a| a["watched"]["direction"] == "self");
    same(&["--direction", "in"], |a| a["watched"]["direction"] == "in");
    let amount = |a: &Value| a["amount"].as_str().unwrap().parse::<u128>().unwrap();
    same(&["--min-amount", "40000000000000000000"], |a| amount(a) >= 40_000_000_000_000_000_000);
    same(&["--min-amount", "50000.0"], |a| {
        a["amount_display"].as_str().is_some_and(|shown| shown.parse::<f64>().unwrap() >= 50_000.0)
    });
    let block = |a: &Value| a["block"]["number"].as_u64().unwrap();
    same(&["--from-block", "20"], |a| block(a) >= 20);
    same(&["--to-block", "0x14"], |a| block(a) <= 20);
    same(&["--since", "2025-02-21T14:05:00Z"], |a| a["block"]["timestamp"].as_str().unwrap() >= "2025-02-21T14:05:00Z");
    same(&["--until", "2025-02-21T14:05:00Z"], |a| a["block"]["timestamp"].as_str().unwrap() <= "2025-02-21T14:05:00Z");
    same(&["--severity", "low"], |a| a["severity"] == "low");
    let tx = all()[7]["tx"]["hash"].as_str().unwrap().to_owned();
    same(&["--tx", &tx], |a| a["tx"]["hash"] == tx.as_str());
    assert_eq!(demo().alerts(&["--list", "demo"]).len(), demo().alerts(&[]).len());
    assert_eq!(demo().run(&["query", "--list", "none"]).status.code(), Some(1), "a mistyped name is no answer");
    let found = demo().alerts(&["--status", "orphaned"]);
    assert!(found.len() == 1 && found[0]["status"] == "orphaned");
    assert!(demo().alerts(&["--triage", "zero_value"]).iter().all(|a| a["triage"]["class"] == "zero_value"));
}

#[test]
fn an_amount_with_more_decimals_than_its_asset_has_is_refused() {
    let weth = "0x6D8da4B12D658a36909ec1C75F81E54B8DB4eBf9";
    let long = "0.".to_owned() + &"0".repeat(60) + "1eth";
    let units = |amount: &'static str, asset: &'static str| vec!["--min-amount", amount, "--asset", asset];
    for args in [
        vec!["--min-amount", "1.0000000000000000001eth"],
        vec!["--min-amount", "0.0000000000000000009 ETH"],
        vec!["--min-amount", "2.1234567890123456789native"],
        vec!["--min-amount", &long],
        vec!["--min-amount", "1.0000001usdm"],
        vec!["--min-amount", "0.1234567890123456789weth"],
        vec!["--min-amount", "0.1234567890123456789", "--asset", weth],
        units("1.0000000000000000001", "native"),
        units("1.0000000000000000001", "eip155:31337/slip44:60"),
        units("1.0000001", "USDM"),
        units("1.0000001", "0x0A867CA0442383c2A89951244B955AA19b615b58"),
    ] {
        let out = demo().run(&[&["-q", "query"], args.as_slice()].concat());
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.lines().count() == 1 && said.contains("decimals"), "{args:?}: {said}");
    }
    for args in [
        vec!["--min-amount", "1.000000000000000001eth"],
        vec!["--min-amount", "1.00000000000000000000000eth"],
        vec!["--min-amount", "1.123456usdm"],
        vec!["--min-amount", "1.0000001weth"],
        units("1.0000000000000000001", "BIRD"),
        vec!["--min-amount", "1.0000000000000000001"],
    ] {
        demo().ok(&[&["-q", "query"], args.as_slice()].concat());
    }
}

#[test]
fn what_the_defaults_leave_out_is_said() {
    let out = demo().run(&["query", "--limit", "0", "--format", "jsonl"]);
    let text = stderr(&out);
    assert!(text.contains("orphaned=1") && text.contains("noise=1"), "{text}");
    assert_eq!(out.stdout.iter().filter(|byte| **byte == b'\n').count(), all().len() - 2);
}

#[test]
fn order_and_limit_hold_and_ids_are_unique() {
    let forward = all();
    let mut backward: Vec<Value> = demo()
        .ok(&["-q", "query", "--status", "all", "--triage", "all", "--limit", "0", "--format", "jsonl"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(demo().ok(&["-q", "query", "--format", "jsonl"]).lines().count(), 50, "the default limit");
    assert_eq!(demo().ok(&["-q", "query", "--format", "jsonl", "--limit", "3"]).lines().count(), 3);
    let ids: BTreeSet<_> = forward.iter().map(|alert| alert["id"].to_string()).collect();
    assert_eq!(ids.len(), forward.len());
}

#[test]
fn json_csv_and_table_say_the_same() {
    let args = ["-q", "query", "--limit", "0", "--order", "asc", "--status", "all", "--triage", "all", "--format"];
    let json: Value = serde_json::from_str(&demo().ok(&[&args[..], &["json"]].concat())).unwrap();
    assert_eq!(*json.as_array().unwrap(), all());
    let csv = demo().ok(&[&args[..], &["csv"]].concat());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|found| found == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), all().len());
    for (row, alert) in rows.iter().zip(all()) {
        assert_eq!(row[column("id")], *alert["id"].as_str().unwrap());
        assert_eq!(row[column("amount")], *alert["amount"].as_str().unwrap());
        assert_eq!(row[column("label")], *alert["watched"]["label"].as_str().unwrap());
    }
    let table = demo().ok(&[&args[..], &["table"]].concat());
    assert_eq!(table.lines().count(), all().len() + 1);
    assert!(table.contains("401.347") && table.contains("Theft wallet 0x709979…79C8"), "{table}");
    let empty = ["-q", "query", "--address", "0x0000000000000000000000000000000000000001", "--format"];
    assert_eq!(
        serde_json::from_str::<Value>(&demo().ok(&[&empty[..], &["json"]].concat())).unwrap(),
        serde_json::json!([])
    );
    assert_eq!(demo().ok(&[&empty[..], &["jsonl"]].concat()), "");
}

#[test]
fn a_range_is_complete_only_if_every_block_of_it_is_proven() {
    let code =
        |range: &[&str]| demo().run(&[&["-q", "query", "--require-complete"], range].concat()).status.code().unwrap();
    assert_eq!(code(&["--from-block", "1", "--to-block", "31"]), 0);
    assert_eq!(code(&["--from-block", "1", "--to-block", "58"]), 3, "a log of block 32 is not decoded and names two");
    assert_eq!(code(&["--from-block", "33", "--to-block", "58"]), 0);
    assert_eq!(code(&[]), 1, "complete from where to where?");
    assert_eq!(code(&["--from-block", "0", "--to-block", "58"]), 3, "block 0 was not recorded");
    assert_eq!(code(&["--from-block", "1", "--to-block", "59"]), 3);
    assert_eq!(code(&["--from-block", "100", "--to-block", "200"]), 3);
    assert_eq!(code(&["--since", "2025-02-21T14:01:00Z", "--until", "2025-02-21T14:05:00Z"]), 0);
    assert_eq!(
        code(&["--since", "2025-02-21T14:01:00Z", "--until", "2025-02-22"]),
        3,
        "the last block may not be the last of the day"
    );
    assert_eq!(
        code(&["--since", "2025-02-20", "--until", "2025-02-21T14:05:00Z"]),
        3,
        "the first block may not be the first of the day"
    );
    assert_eq!(code(&["--from-block", "finalized"]), 1, "nothing is final yet");
    assert_eq!(code(&["--from-block", "40", "--to-block", "latest"]), 0);
}

#[test]
fn an_answer_says_complete_only_where_require_complete_would_let_it_through() {
    let own = Place::new();
    own.ok(&["-q", "demo", "--dir", "d"]);
    let db = own.dir.path().join("d/demo.db");
    let own = Place { db, ..own };
    let thief = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let nobody = "0x00000000000000000000000000000000000000A1";
    let mut granted = 0;
    let mut same = |place: &Place, args: &[&str]| {
        let asked = place.run(&[&["query"], args].concat());
        let required = place.run(&[&["query", "--require-complete"], args].concat());
        let said = stderr(&asked);
        assert_eq!(asked.status.code(), Some(0), "{args:?}: {said}");
        let complete = required.status.code() == Some(0);
        assert!(complete || required.status.code() == Some(3), "{args:?}: {}", stderr(&required));
        assert_eq!(said.contains("complete: every block"), complete, "{args:?}: {said}");
        assert_eq!(
            said.contains("is not complete") || said.contains("no block of the range"),
            !complete,
            "{args:?}: {said}"
        );
        granted += u32::from(complete);
    };
    let ranges: [&[&str]; 8] = [
        &["--from-block", "1", "--to-block", "31"],
        &["--from-block", "1", "--to-block", "58"],
        &["--from-block", "32", "--to-block", "32"],
        &["--from-block", "33", "--to-block", "58"],
        &["--from-block", "33"],
        &["--to-block", "31"],
        &["--from-block", "50", "--to-block", "70"],
        &["--since", "2025-02-21T14:01:00Z", "--until", "2025-02-21T14:05:00Z"],
    ];
    for range in ranges {
        same(demo(), range);
        same(demo(), &[range, &["--address", thief]].concat());
        same(demo(), &[range, &["--address", nobody]].concat());
    }
    // Listed after the blocks were screened.
    own.ok(&["watchlist", "add", nobody, "--list", "demo"]);
    for range in ranges {
        same(&own, range);
        same(&own, &[range, &["--address", nobody]].concat());
        same(&own, &[range, &["--address", thief]].concat());
    }
    assert!((4..=30).contains(&granted), "{granted} of 48 are complete");
}

#[test]
fn help_completions_and_manual_pages_are_there() {
    let place = Place::new();
    for command in ["watch", "replay", "query", "watchlist", "record", "status", "demo"] {
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains("Usage: bolo"), "{help}");
    }
    assert!(place.ok(&["--help"]).contains("75 temporary"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&["completions", shell]).contains("bolo"));
    }
    place.ok(&["man", "--out", "man"]);
    assert!(place.dir.path().join("man/bolo-query.1").exists());
}

#[test]
fn a_table_shows_short_ids_that_commands_understand_and_wide_shows_whole_ones() {
    let table = ["-q", "query", "--limit", "0", "--order", "asc"];
    let (narrow, wide) = (demo().ok(&table), demo().ok(&[&table[..], &["--wide"]].concat()));
    let short = |hash: &str| format!("{}…{}", &hash[..8], &hash[62..]);
    let alerts = demo().alerts(&[]);
    assert_eq!(narrow.lines().count(), alerts.len() + 1);
    for ((row, whole), alert) in narrow.lines().zip(wide.lines()).skip(1).zip(&alerts) {
        let id = alert["id"].as_str().unwrap();
        assert!(row.ends_with(&short(id)) && whole.ends_with(id), "{row}");
        if let Some(hash) = alert["tx"]["hash"].as_str() {
            assert!(row.contains(&short(hash)) && whole.contains(hash), "{row}");
        }
    }
    let alert = &alerts[alerts.len() / 2];
    let (id, hash) = (alert["id"].as_str().unwrap(), alert["tx"]["hash"].as_str().unwrap());
    for form in [short(id), id[..10].to_owned(), id[2..14].to_uppercase(), id.to_owned()] {
        assert!(demo().ok(&["query", "--explain", &form]).contains(id), "{form}");
    }
    let of_transaction: Vec<_> = alerts.iter().filter(|alert| alert["tx"]["hash"] == hash).cloned().collect();
    for form in [short(hash), hash[..12].to_owned(), hash[2..20].to_owned(), hash.to_owned()] {
        assert_eq!(demo().alerts(&["--tx", &form]), of_transaction, "{form}");
    }
}

#[test]
fn status_counts_the_alerts_of_each_severity() {
    let file = |name: &str| format!("{}/src/cli/demo/{name}", env!("CARGO_MANIFEST_DIR"));
    for (kind, last) in [("blocking", "40"), ("blocking", "58"), ("advisory", "25"), ("own", "58"), ("blocking", "1")] {
        let place = Place::new();
        place.ok(&["-q", "watchlist", "import", &file("watchlist.csv"), "--kind", kind]);
        place.ok(&["-q", "replay", "--archive", &file("chain.jsonl.zst"), "--chain", "31337", "--to-block", last]);
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for alert in place.alerts(&["--triage", "all"]).iter().filter(|alert| alert["triage"]["class"] != "own") {
            *counts.entry(alert["severity"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(place.status()["alerts_by_severity"], serde_json::json!(counts), "{kind} {last}");
        let shown = place.run(&["status"]).stdout;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let line = shown.lines().find(|line| line.starts_with("severity")).unwrap_or_default();
        assert!(counts.iter().all(|(name, count)| line.contains(&format!("{count} {name}"))), "{kind} {last}: {shown}");
    }
}
