//! Tokens of every standard, and what looks like one: from the log of a real node to the bundle that both checkers prove.

use alloy::primitives::{Address, B256, address, hex, keccak256};
use serde_json::{Value, json};

use crate::common::{Node, Place, n, stderr};
use crate::evidence::python_agrees;

/// Topics and words of data.
type Log = (Vec<B256>, Vec<B256>);

const PUNKS: Address = address!("b47e3cd837dDF8e4c57F05d70Ab865de6e193BBB");

fn topic(signature: &str) -> B256 {
    keccak256(signature)
}

fn side(address: Address) -> B256 {
    address.into_word()
}

fn num(value: u64) -> B256 {
    n(value).into()
}

/// Puts a contract there that emits these logs whenever it is called.
fn emitting(node: &Node, at: Address, logs: &[Log]) {
    let mut code = Vec::new();
    for (topics, data) in logs {
        for (offset, word) in (0u16..).step_by(32).zip(data) {
            code.push(0x7f);
            code.extend(word);
            code.push(0x61);
            code.extend(offset.to_be_bytes());
            code.push(0x52);
        }
        for topic in topics.iter().rev() {
            code.push(0x7f);
            code.extend(topic);
        }
        code.push(0x61);
        code.extend(u16::try_from(32 * data.len()).unwrap().to_be_bytes());
        code.extend([0x60, 0, 0xa0 + u8::try_from(topics.len()).unwrap()]);
    }
    node.rpc("anvil_setCode", json!([at, hex::encode_prefixed(code)]));
}

/// One transaction that emits these logs, of a contract of its own unless it is named.
fn emit(node: &Node, at: Option<Address>, logs: &[Log]) -> B256 {
    let at = at.unwrap_or_else(|| Address::from_word(keccak256(format!("{logs:?}"))));
    emitting(node, at, logs);
    let hash = node.send(node.accounts[9], Some(at), 0, "0x");
    assert_eq!(node.receipt(hash)["logs"].as_array().unwrap().len(), logs.len());
    hash
}

fn transfer(from: Address, to: Address, amount: u64) -> Log {
    (vec![topic("Transfer(address,address,uint256)"), side(from), side(to)], vec![num(amount)])
}

fn with_data(from: Address, to: Address, amount: u64) -> Log {
    let signature = topic("Transfer(address,address,uint256,bytes)");
    (vec![signature, side(from), side(to)], vec![num(amount), num(64), num(0)])
}

fn erc6909(operator: Address, from: Address, to: Address) -> Log {
    let signature = topic("Transfer(address,address,address,uint256,uint256)");
    (vec![signature, side(from), side(to), num(7)], vec![side(operator), num(5)])
}

/// Kind, direction, amount and token id of the alerts of a transaction.
fn alerts_of(alerts: &[Value], tx: B256) -> Vec<(String, String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    alerts
        .iter()
        .filter(|alert| alert["tx"]["hash"] == tx.to_string())
        .map(|a| (text(&a["kind"]), text(&a["watched"]["direction"]), text(&a["amount"]), a["token_id"].clone()))
        .collect()
}

#[test]
fn tokens_of_every_standard_are_alerted_once_and_proven_by_both_checkers() {
    let node = Node::start(&[]);
    let [a, b, c] = [node.accounts[1], node.accounts[2], node.accounts[3]];
    let zero = Address::ZERO;
    let pair = |name: &str| vec![topic(name), side(a), side(b)];
    let erc20 = |direction: &str, amount: &str| {
        vec![("erc20_transfer".to_owned(), direction.to_owned(), amount.to_owned(), Value::Null)]
    };
    let token = |kind: &str, direction: &str, amount: &str, id: &str| {
        vec![(kind.to_owned(), direction.to_owned(), amount.to_owned(), json!(id))]
    };
    let id = |name: &str| (pair(name).into_iter().chain([num(9)]).collect(), vec![]);
    let hybrid = (pair("ERC20Transfer(address,address,uint256)"), vec![num(5)]);
    let mint = (vec![topic("Mint(address,uint256)"), side(a)], vec![num(5)]);
    let burn = (vec![topic("Burn(address,uint256)"), side(a)], vec![num(5)]);
    let punk = (pair("PunkTransfer(address,address,uint256)"), vec![num(9)]);
    let cases = [
        (None, vec![with_data(a, b, 5)], erc20("out", "5")),
        (None, vec![with_data(a, b, 6), transfer(a, b, 6)], erc20("out", "6")),
        (None, vec![with_data(a, b, 5), transfer(a, b, 5), with_data(a, b, 5), transfer(a, b, 5)], {
            [erc20("out", "5"), erc20("out", "5")].concat()
        }),
        (None, vec![hybrid.clone()], erc20("out", "5")),
        (None, vec![id("ERC721Transfer(address,address,uint256)")], token("erc721_transfer", "out", "1", "9")),
        (None, vec![id("ERC721Transfer(address,address,uint256)"), hybrid.clone()], erc20("out", "5")),
        (None, vec![id("Transfer(address,address,uint256)"), hybrid], erc20("out", "5")),
        (None, vec![mint.clone()], erc20("in", "5")),
        (None, vec![mint, transfer(zero, a, 5)], erc20("in", "5")),
        (None, vec![burn.clone()], erc20("out", "5")),
        (None, vec![transfer(a, zero, 5), burn], erc20("out", "5")),
        (Some(PUNKS), vec![punk.clone()], token("erc721_transfer", "out", "1", "9")),
        (Some(PUNKS), vec![transfer(a, b, 1), punk], erc20("out", "1")),
        (None, vec![erc6909(c, a, b)], token("erc6909_transfer", "out", "5", "7")),
        (None, vec![erc6909(a, b, c)], token("erc6909_transfer", "party", "5", "7")),
        (None, vec![erc6909(a, a, b)], token("erc6909_transfer", "out", "5", "7")),
        (
            None,
            vec![(vec![topic("Transfer(address,address,uint256)"), num(9)], vec![side(b), side(a)])],
            token("erc721_transfer", "in", "1", "9"),
        ),
    ];
    let place = Place::watching(&[(a, "a")]);
    let sent: Vec<_> = cases.iter().map(|(at, logs, _)| emit(&node, *at, logs)).collect();
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"]);
    let alerts = place.alerts(&["--triage", "all"]);
    let mut dirs = Vec::new();
    for (tx, (_, logs, expected)) in sent.iter().zip(&cases) {
        assert_eq!(&alerts_of(&alerts, *tx), expected, "{logs:#?}");
        let of_tx = alerts.iter().filter(|alert| alert["tx"]["hash"] == tx.to_string());
        for alert in of_tx {
            let dir = place.dir.path().join(format!("bundle-{}", dirs.len()));
            place.ok(&["evidence", alert["id"].as_str().unwrap(), "--out", dir.to_str().unwrap()]);
            place.ok(&["verify", "--bundle", dir.to_str().unwrap()]);
            dirs.push(dir);
        }
    }
    let operated = alerts.iter().find(|alert| alert["watched"]["direction"] == "party").unwrap();
    let party = |role: &str, address: Address| json!({"role": role, "address": address.to_string()});
    assert_eq!(operated["parties"], json!([party("from", b), party("to", c), party("operator", a)]));
    assert_eq!(operated["counterparty"], Value::Null);
    let contract = operated["asset"]["contract"].as_str().unwrap();
    assert_eq!(operated["asset"]["id"], format!("eip155:31337/erc6909:{contract}"));
    assert_eq!(place.status()["undecoded"], json!({}));
    place.ok(&["verify"]);
    python_agrees(&dirs.iter().collect::<Vec<_>>(), &["--sample", "400"]);
    let all = ["--asset", &format!("eip155:31337/erc6909:{contract}/7")];
    assert_eq!(place.alerts(&all).len(), 1);
    assert_eq!(place.alerts(&["--asset", "native"]).len(), 0);
}

/// The exit code and stderr.
fn said(place: &Place, args: &[&str]) -> (i32, String) {
    let out = place.run(args);
    (out.status.code().unwrap(), stderr(&out))
}

#[test]
fn an_undecoded_log_that_names_an_address_refuses_what_is_asked_of_it() {
    let node = Node::start(&[]);
    let [a, b, bystander, miner] = [node.accounts[1], node.accounts[2], node.accounts[3], node.accounts[4]];
    let [in_topic, in_word, dirty, emitter, announced] = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5].map(Address::repeat_byte);
    let transfer = topic("Transfer(address,address,uint256)");
    let mut unclean = side(dirty);
    unclean[3] = 1;
    let single = topic("TransferSingle(address,address,address,uint256,uint256)");
    let consecutive = topic("ConsecutiveTransfer(uint256,uint256,address,address)");
    emit(&node, None, &[(vec![transfer, side(in_topic)], vec![side(b), num(5)])]);
    emit(&node, None, &[(vec![transfer, side(b)], vec![side(in_word), num(5)])]);
    emit(&node, None, &[(vec![single, num(1), unclean, side(b)], vec![num(1), num(2)])]);
    // Called by another contract, so that the transaction does not name it.
    emitting(&node, emitter, &[(vec![transfer, side(b)], vec![side(b)])]);
    let caller = Address::repeat_byte(0xa6);
    let call = format!("0x600060006000600060{:02x}73{}5af100", 0, hex::encode(emitter));
    node.rpc("anvil_setCode", json!([caller, call]));
    assert_eq!(node.receipt(node.send(b, Some(caller), 0, "0x"))["logs"].as_array().unwrap().len(), 1);
    emit(&node, None, &[(vec![consecutive, num(1), side(b), side(announced)], vec![num(9)])]);
    node.rpc("anvil_setCoinbase", json!([miner]));
    node.mine(1);
    node.rpc("anvil_setCoinbase", json!([Address::ZERO]));
    node.send(a, Some(node.accounts[5]), 7, "0x");
    let named = [in_topic, in_word, dirty, emitter, announced];
    let list: Vec<_> = named.iter().chain([&a, &bystander, &miner]).map(|address| (*address, "x")).collect();
    let place = Place::watching(&list);
    place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--lookback-index"]);
    let head = node.head().to_string();
    let range = ["--from-block", "0", "--to-block", &head];
    let attest = |place: &Place, address: Address| {
        said(place, &[&["attest", "--address", &address.to_string()], &range[..]].concat())
    };
    let complete = |place: &Place, addresses: &[Address]| {
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let asked = texts.iter().flat_map(|text| ["--address", text.as_str()]);
        said(place, &["query", "--require-complete"].into_iter().chain(range).chain(asked).collect::<Vec<_>>())
    };
    for address in named {
        let (code, text) = attest(&place, address);
        assert!(code == 3 && text.contains("does not decode"), "{address}: {code} {text}");
        assert_eq!(complete(&place, &[address]).0, 3, "{address}");
        assert_eq!(complete(&place, &[bystander, address]).0, 3, "{address}");
    }
    assert_eq!(attest(&place, bystander).0, 0, "{:?}", attest(&place, bystander));
    assert_eq!(complete(&place, &[bystander, a]).0, 0);
    assert_eq!(complete(&place, &[]).0, 3, "a watched one is named");
    let (code, text) = attest(&place, miner);
    assert!(code == 3 && text.contains("beneficiary"), "{code} {text}");
    let counts = json!({"data_length": 1, "not_an_address": 1, "other_standard": 1, "topic_count": 2});
    let reasons = json!({"data_length": 1, "not_an_address": 1, "other_standard": 1, "topic_count": 2});
    let statement = ["attest", "--format", "json", "--address", &bystander.to_string()];
    let statement: Value = serde_json::from_str(&place.ok(&[&statement, &range[..]].concat())).unwrap();
    assert_eq!(statement["undecoded"], counts);
    let coverage: Value = serde_json::from_str(&place.ok(&["status", "--coverage", "--format", "json"])).unwrap();
    assert_eq!(coverage["undecoded"], json!([{"from": 0, "to": node.head(), "reasons": reasons}]));
    assert!(place.ok(&["status", "--coverage"]).contains("2 topic_count"));
    assert!(complete(&place, &[bystander]).1.contains("2 topic_count"));
    // Without the index, nothing records the names: any undecoded log refuses, whoever is asked for.
    let bare = Place::watching(&list);
    let replay = ["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest"];
    bare.ok(&replay);
    for address in [bystander, in_topic, emitter] {
        let (code, text) = attest(&bare, address);
        assert!(code == 3 && text.contains("--lookback-index"), "{address}: {code} {text}");
    }
    for asked in [&[bystander][..], &[bystander, a], &[]] {
        let (code, text) = complete(&bare, asked);
        assert!(code == 3 && text.contains("--lookback-index"), "{asked:?}: {code} {text}");
    }
    bare.ok(&[&replay[..], &["--lookback-index"]].concat());
    assert_eq!(attest(&bare, bystander).0, 0);
    assert_eq!(complete(&bare, &[bystander, a]).0, 0);
    assert_eq!(attest(&bare, in_topic).0, 3);
}

#[test]
fn a_query_without_a_range_says_what_was_searched_and_an_unknown_symbol_is_said() {
    let node = Node::start(&[]);
    let a = node.accounts[1];
    for _ in 0..6 {
        node.send(a, Some(node.accounts[2]), 1, "0x");
    }
    let place = Place::watching(&[(a, "a")]);
    let (_, text) = said(&place, &["query"]);
    assert!(text.contains("searched no block"), "{text}");
    for (from, to) in [("0", "1"), ("3", "3"), ("5", "6")] {
        place.ok(&["replay", "-r", &node.url, "--from-block", from, "--to-block", to, "--traces", "off"]);
    }
    let (_, text) = said(&place, &["query"]);
    assert!(text.contains("searched 5 blocks in 3 ranges between 0 and 6"), "{text}");
    assert!(text.contains("2 blocks between them") && text.contains("5 blocks' ETH"), "{text}");
    assert!(text.contains("searched") && !text.contains("--trust-rpc"), "{text}");
    let (_, text) = said(&place, &["query", "--from-block", "0", "--to-block", "1"]);
    assert!(!text.contains("searched"), "{text}");
    for (symbol, is_said) in [("USDX", true), ("weth", true), ("ETH", false), ("native", false)] {
        let (_, text) = said(&place, &["query", "--asset", symbol, "--min-amount", "100.5"]);
        assert_eq!(text.contains("is known by the symbol"), is_said, "{symbol}: {text}");
    }
    // Many addresses are one warning with a count.
    let many: String = (1u64..=3_000).map(|n| format!("{}\n", Address::from_word(num(n << 40)))).collect();
    std::fs::write(place.dir.path().join("many.txt"), format!("# asked for\n{many}{a} # listed\n\n")).unwrap();
    let (code, text) = said(&place, &["query", "--address-file", "many.txt"]);
    assert_eq!((code, text.lines().filter(|line| line.contains("WARN")).count()), (0, 2), "{text}");
    assert!(text.contains("addresses=3000"), "{text}");
    for count in [2, 7, 500] {
        let some: String = many.lines().take(count).map(|line| format!("{line}\n")).collect();
        std::fs::write(place.dir.path().join("some.txt"), some).unwrap();
        let (_, text) = said(&place, &["query", "--address-file", "some.txt"]);
        let listed_nowhere = text.lines().filter(|line| line.contains("addresses=")).count();
        assert!(listed_nowhere == 1 && text.contains(&format!("addresses={count}")), "{text}");
    }
    assert_eq!(place.alerts(&["--address-file", "many.txt"]).len(), 4);
    for (name, content) in [("empty.txt", "# nothing\n"), ("bad.txt", "0x12\n")] {
        std::fs::write(place.dir.path().join(name), content).unwrap();
        assert_eq!(said(&place, &["query", "--address-file", name]).0, 1, "{name}");
    }
    place.ok(&["record", "-r", &node.url, "--from-block", "0", "--to-block", "1", "--out", "blocks.jsonl"]);
    for endpoint in
        [&["-r", &node.url][..], &["--rpc-url", "ws://127.0.0.1:1"], &["-r", "http://127.0.0.1:2", "-r", &node.url]]
    {
        let (code, text) = said(&place, &[&["replay", "--archive", "blocks.jsonl"], endpoint].concat());
        assert!(code == 1 && text.contains("asks no endpoint"), "{code} {text}");
    }
    place.ok(&["replay", "--archive", "blocks.jsonl"]);
}

#[test]
fn native_value_is_in_the_currency_of_its_chain() {
    for (chain, symbol, decimals, id) in [
        ("100", Some("xDAI"), 18, "slip44:700"),
        ("43114", Some("AVAX"), 18, "slip44:9005"),
        ("61", Some("ETC"), 18, "slip44:61"),
        ("728126428", Some("TRX"), 6, "slip44:195"),
        ("1337", Some("ETH"), 18, "slip44:60"),
        ("424242424242", None, 18, "native:coin"),
    ] {
        let node = Node::start(&["--chain-id", chain]);
        let a = node.accounts[1];
        let place = Place::watching(&[(a, "a")]);
        node.send(a, Some(node.accounts[2]), 1_500_000, "0x");
        node.mine(1);
        place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--traces", "off"]);
        let caip19 = format!("eip155:{chain}/{id}");
        let found = place.alerts(&["--asset", "native"]);
        assert_eq!(found.len(), 1, "{chain}");
        let asset = json!({"id": caip19, "contract": null, "symbol": symbol, "decimals": decimals});
        assert_eq!(found[0]["asset"], asset);
        assert_eq!(found[0]["amount_display"], if decimals == 6 { "1.5" } else { "0.0000000000015" });
        for (word, fits) in
            [(caip19.as_str(), true), (symbol.unwrap_or("ETH"), symbol.is_some()), ("ETH", symbol == Some("ETH"))]
        {
            assert_eq!(place.alerts(&["--asset", word]).len(), usize::from(fits), "{chain}: {word}");
        }
    }
}
