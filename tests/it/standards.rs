//! Tokens of every standard, and what looks like one: from the log of a real node to the bundle that both checkers prove.

use alloy::primitives::{Address, B256, address, hex, keccak256};
use serde_json::{Value, json};

use crate::common::{Node, Place, n};
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
