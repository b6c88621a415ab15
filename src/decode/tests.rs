//! What the logs of one transaction are decoded to, standard by standard.
#![cfg(test)]

use alloy::primitives::{Address, B256, Log, LogData, U256, keccak256};

use super::events::*;
use super::{ActivityKind, DecodeOptions, Decoded, Undecoded, logs, punks};
use crate::chain::VerifiedTransaction;

const TOKEN: Address = Address::repeat_byte(0xaa);
const A: Address = Address::repeat_byte(0x0a);
const B: Address = Address::repeat_byte(0x0b);
const C: Address = Address::repeat_byte(0x0c);

fn num(value: u64) -> B256 {
    B256::from(U256::from(value))
}

fn side(address: Address) -> B256 {
    address.into_word()
}

fn log(emitter: Address, topics: &[B256], data: &[B256]) -> Log {
    let data: Vec<u8> = data.iter().flat_map(|word| word.0).collect();
    Log { address: emitter, data: LogData::new(topics.to_vec(), data.into()).unwrap() }
}

fn decoded_by(options: &DecodeOptions, logs: Vec<Log>) -> Decoded {
    let tx = VerifiedTransaction { logs, ..VerifiedTransaction::plain() };
    let mut out = Decoded::default();
    logs::decode(&tx, options, false, &mut out);
    out
}

fn decoded(logs: Vec<Log>) -> Decoded {
    decoded_by(&DecodeOptions { wrapped_native: vec![Address::repeat_byte(0xee)], ..DecodeOptions::default() }, logs)
}

/// Kind, sides, and the token's id or the amount, with the place of the log.
fn short(decoded: &Decoded) -> Vec<(&'static str, Address, Address, u64, String)> {
    let all = decoded.activities.iter().map(|activity| {
        let value = activity.token_id.unwrap_or(activity.amount).to::<u64>();
        let place = format!("{:?}", activity.location.position);
        (activity.kind.name(), activity.from.unwrap(), activity.to.unwrap(), value, place)
    });
    all.collect()
}

/// The one activity of those logs.
fn only(logs: Vec<Log>) -> (&'static str, Address, Address, u64) {
    let all = decoded(logs);
    assert_eq!(all.undecoded, [].into());
    let [(kind, from, to, value, _)] = short(&all)[..] else { panic!("{:#?}", all.activities) };
    (kind, from, to, value)
}

fn transfer(from: Address, to: Address, value: u64) -> Log {
    log(TOKEN, &[TRANSFER, side(from), side(to)], &[num(value)])
}

fn transfer_of_id(from: Address, to: Address, id: u64) -> Log {
    log(TOKEN, &[TRANSFER, side(from), side(to), num(id)], &[])
}

fn with_data(from: Address, to: Address, value: u64) -> Log {
    log(TOKEN, &[TRANSFER_WITH_DATA, side(from), side(to)], &[num(value), num(64), num(0)])
}

#[test]
fn each_standard_that_is_not_erc20_is_a_movement_of_its_kind() {
    let hash = keccak256("data");
    let punk = |topics: &[B256], data: &[B256]| only(vec![log(punks::CONTRACT, topics, data)]);
    let one = |topics: &[B256], data: &[B256]| only(vec![log(TOKEN, topics, data)]);
    let erc20 = ("erc20_transfer", A, B, 5);
    let erc721 = ("erc721_transfer", A, B, 5);
    // ERC-223 and ERC-677, in the forms that contracts have.
    assert_eq!(one(&[TRANSFER_WITH_DATA, side(A), side(B)], &[num(5), num(64), num(0)]), erc20);
    assert_eq!(one(&[TRANSFER_WITH_DATA, side(A), side(B), hash], &[num(5)]), erc20);
    assert_eq!(one(&[TRANSFER_WITH_DATA, side(A), side(B), num(5)], &[num(32), num(0)]), erc20);
    assert_eq!(one(&[TRANSFER_WITH_DATA], &[side(A), side(B), num(5), num(128), num(0)]), erc20);
    assert_eq!(one(&[TRANSFER_WITH_DATA, hash], &[side(A), side(B), num(5)]), erc20);
    // ERC-404.
    assert_eq!(one(&[ERC20_TRANSFER, side(A), side(B)], &[num(5)]), erc20);
    assert_eq!(one(&[ERC20_TRANSFER], &[side(A), side(B), num(5)]), erc20);
    assert_eq!(one(&[ERC721_TRANSFER, side(A), side(B), num(5)], &[]), erc721);
    assert_eq!(one(&[ERC721_TRANSFER, side(A), side(B)], &[num(5)]), erc721);
    // DSToken.
    assert_eq!(one(&[MINT, side(B)], &[num(5)]), ("erc20_transfer", Address::ZERO, B, 5));
    assert_eq!(one(&[BURN, side(A)], &[num(5)]), ("erc20_transfer", A, Address::ZERO, 5));
    assert_eq!(one(&[MINT], &[side(B), num(5)]), ("erc20_transfer", Address::ZERO, B, 5));
    // CryptoPunks.
    assert_eq!(punk(&[PUNK_TRANSFER, side(A), side(B)], &[num(5)]), erc721);
    assert_eq!(punk(&[PUNK_BOUGHT, num(5), side(A), side(B)], &[num(1_000)]), erc721);
    assert_eq!(punk(&[PUNK_ASSIGN, side(B)], &[num(5)]), ("erc721_transfer", Address::ZERO, B, 5));
    let elsewhere = decoded(vec![log(TOKEN, &[PUNK_TRANSFER, side(A), side(B)], &[num(5)])]);
    assert!(elsewhere.activities.is_empty(), "any contract can emit such an event");
}

#[test]
fn an_erc6909_transfer_has_its_caller_as_operator() {
    let topics = [ERC6909_TRANSFER, side(A), side(B), num(7)];
    let all = decoded(vec![log(TOKEN, &topics, &[side(C), num(5)])]);
    let activity = &all.activities[0];
    assert_eq!((activity.kind, activity.token_id), (ActivityKind::Erc6909Transfer, Some(U256::from(7))));
    assert_eq!((activity.amount, activity.operator), (U256::from(5), Some(C)));
    assert_eq!(activity.sides().collect::<Vec<_>>(), [A, B, C]);
    let own = decoded(vec![log(TOKEN, &topics, &[side(A), num(5)])]);
    assert_eq!(own.activities[0].sides().collect::<Vec<_>>(), [A, B], "who moves his own is named once");
    for (topics, data, reason) in [
        (&topics[..3], &[side(C), num(5)][..], Undecoded::TopicCount),
        (&topics, &[side(C)], Undecoded::DataLength),
        (&topics, &[B256::repeat_byte(1), num(5)], Undecoded::NotAnAddress),
    ] {
        assert_eq!(decoded(vec![log(TOKEN, topics, data)]).undecoded, [(reason, 1)].into());
    }
}

#[test]
fn two_events_of_one_movement_are_one_activity_that_of_the_erc20_event() {
    let erc20 = |from, to| vec![("erc20_transfer", from, to, 5, "Log(1)".to_owned())];
    let moved = erc20(A, B);
    let hybrid = log(TOKEN, &[ERC20_TRANSFER, side(A), side(B)], &[num(5)]);
    let token = |id| log(TOKEN, &[ERC721_TRANSFER, side(A), side(B), num(id)], &[]);
    let mint = log(TOKEN, &[MINT, side(B)], &[num(5)]);
    let burn = log(TOKEN, &[BURN, side(A)], &[num(5)]);
    let sent = log(TOKEN, &[SENT, side(C), side(A), side(B)], &[num(5), num(96), num(128)]);
    let (none, zero) = (Vec::new(), Address::ZERO);
    for (logs, expected) in [
        (vec![with_data(A, B, 5), transfer(A, B, 5)], &moved),
        (vec![mint.clone(), transfer(zero, B, 5)], &erc20(zero, B)),
        (vec![burn, transfer(A, zero, 5)], &erc20(A, zero)),
        (vec![token(9), hybrid.clone()], &moved),
        (vec![token(9), hybrid.clone(), token(10)], &moved),
        (vec![transfer_of_id(A, B, 9), hybrid.clone()], &moved),
        (vec![transfer_of_id(A, B, 9), transfer(A, B, 5)], &moved),
        (vec![hybrid, transfer(A, B, 5)], &moved),
        (vec![sent.clone(), transfer(A, B, 5)], &moved),
        (vec![transfer_of_id(zero, B, 5), mint], &none),
    ] {
        let all = decoded(logs);
        assert_eq!(all.undecoded, [].into());
        let found: Vec<_> = short(&all).into_iter().filter(|(kind, ..)| *kind == "erc20_transfer").collect();
        assert_eq!(&found, expected, "{:#?}", all.activities);
        assert_eq!(all.activities.len(), 1);
    }
    let punks = |topic, data: &[B256]| log(punks::CONTRACT, &[topic, side(A), side(B)], data);
    let sold = log(punks::CONTRACT, &[PUNK_BOUGHT, num(9), side(A), side(Address::ZERO)], &[num(1)]);
    let given = vec![punks(PUNK_TRANSFER, &[num(9)]), punks(TRANSFER, &[num(1)]), sold];
    assert_eq!(only(given), ("erc20_transfer", A, B, 1));
    assert_eq!(
        decoded(vec![sent]).undecoded,
        [(Undecoded::OtherStandard, 1)].into(),
        "announced, and nothing shows it"
    );
}

#[test]
fn movements_that_are_alike_stay_as_many_as_they_are() {
    let count = |logs: Vec<Log>| decoded(logs).activities.len();
    let (plain, data) = (|| transfer(A, B, 5), || with_data(A, B, 5));
    assert_eq!(count(vec![data(), plain(), data(), plain()]), 2, "two movements, each in both forms");
    assert_eq!(count(vec![plain(), plain(), data()]), 2);
    assert_eq!(count(vec![data(), data(), plain()]), 2, "one of them in one form only");
    let mint = || log(TOKEN, &[MINT, side(B)], &[num(5)]);
    assert_eq!(count(vec![mint(), mint()]), 2);
    assert_eq!(count(vec![mint(), transfer(Address::ZERO, B, 5), mint()]), 2);
    // What differs in anything is another movement.
    for other in [transfer(A, B, 6), transfer(A, C, 5), transfer(C, B, 5), transfer(B, A, 5)] {
        assert_eq!(count(vec![data(), other]), 2);
    }
    let elsewhere = Log { address: C, ..plain() };
    assert_eq!(count(vec![data(), elsewhere.clone()]), 2);
    assert_eq!(count(vec![mint(), transfer(C, B, 5)]), 2, "made, and paid by another");
    assert_eq!(count(vec![transfer_of_id(A, B, 5), elsewhere]), 2, "a token for money of another contract");
    let punk = |id: u64| log(punks::CONTRACT, &[PUNK_TRANSFER, side(A), side(B)], &[num(id)]);
    let one = || log(punks::CONTRACT, &[TRANSFER, side(A), side(B)], &[num(1)]);
    assert_eq!(count(vec![one(), punk(1), one(), punk(2)]), 2);
}

#[test]
fn a_transfer_with_one_indexed_argument_is_decoded_where_it_has_one_reading() {
    let half = |topic: B256, data: &[B256]| decoded(vec![log(TOKEN, &[TRANSFER, topic], data)]);
    let huge = B256::repeat_byte(0x77);
    let number = |n: u64| B256::from(U256::from(n) * U256::from(10).pow(U256::from(18)));
    // The third argument is indexed, which a side is not.
    for id in [num(5), num(40_000), number(3), huge] {
        let all = half(id, &[side(A), side(B)]);
        assert_eq!((all.activities[0].kind, all.activities[0].to), (ActivityKind::Erc721Transfer, Some(B)));
    }
    let minted = half(num(5), &[side(Address::ZERO), side(B)]);
    assert_eq!(minted.activities[0].from, Some(Address::ZERO));
    // Which side is indexed does not matter.
    for value in [num(5), number(4), huge] {
        let all = half(side(A), &[side(A), value]);
        assert_eq!((all.activities[0].from, all.activities[0].to), (Some(A), Some(A)));
    }
    for (topic, data) in [
        (side(A), vec![side(B), num(5)]),
        (side(A), vec![side(B), side(C)]),
        (side(Address::ZERO), vec![side(B), num(5)]),
        (side(A), vec![side(A), side(A)]),
        (huge, vec![side(A), huge]),
        (num(1), vec![num(2), num(3)]),
    ] {
        let all = half(topic, &data);
        assert_eq!((all.activities.len(), all.undecoded), (0, [(Undecoded::TopicCount, 1)].into()), "{topic} {data:?}");
    }
}

#[test]
fn value_events_of_other_standards_and_unknown_wrappers_are_counted() {
    let other: Vec<B256> = [CONSECUTIVE_TRANSFER, TRANSFER_VALUE, LSP7_TRANSFER, LSP8_TRANSFER]
        .into_iter()
        .chain(UNKNOWN_TRANSFERS)
        .collect();
    for topic in &other {
        let all = decoded(vec![log(TOKEN, &[*topic, side(A)], &[num(5)])]);
        assert_eq!((all.activities.len(), all.undecoded), (0, [(Undecoded::OtherStandard, 1)].into()));
    }
    let deposit = || log(TOKEN, &[WRAP, side(A)], &[num(5)]);
    let unknown = decoded_by(&DecodeOptions::default(), vec![deposit(), log(TOKEN, &[UNWRAP, side(A)], &[num(5)])]);
    assert_eq!(unknown.undecoded, [(Undecoded::UnknownWrapper, 2)].into());
    let of_another_form = log(TOKEN, &[WRAP, side(A), side(B)], &[num(5)]);
    assert_eq!(decoded_by(&DecodeOptions::default(), vec![of_another_form]).undecoded, [].into());
    assert_eq!(decoded(vec![deposit()]).undecoded, [].into(), "the chain's wrapper is known, and this is another");
}
