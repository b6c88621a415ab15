//! The plane of logs: token standards and wrapped native currency. Any contract can emit anything, so every word is checked
//! before it is believed to be what the event's signature says; what does not fit is counted.

use alloy::primitives::{Address, B256, Log, U256, address};
use alloy::sol;
use alloy::sol_types::SolEvent;

use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use super::{DecodeOptions, Decoded, erc1155};
use crate::chain::VerifiedTransaction;
use crate::chain::native_logs::NATIVE_LOG_EMITTER;

/// The events by their signatures; topic 0 is computed from them, since public tables of hashes have errors.
mod signatures {
    use super::sol;
    sol! {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value);
        event TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values);
        event Deposit(address indexed dst, uint256 wad);
        event Withdrawal(address indexed src, uint256 wad);
    }
}

/// Topic 0 of `Transfer`: [ERC-20](https://eips.ethereum.org/EIPS/eip-20) with three topics,
/// [ERC-721](https://eips.ethereum.org/EIPS/eip-721) with four; contracts older than the standards index nothing.
pub const TRANSFER: B256 = signatures::Transfer::SIGNATURE_HASH;
/// Topic 0 of [ERC-1155](https://eips.ethereum.org/EIPS/eip-1155) `TransferSingle`.
pub const TRANSFER_SINGLE: B256 = signatures::TransferSingle::SIGNATURE_HASH;
/// Topic 0 of [ERC-1155](https://eips.ethereum.org/EIPS/eip-1155) `TransferBatch`.
pub const TRANSFER_BATCH: B256 = signatures::TransferBatch::SIGNATURE_HASH;
/// Topic 0 of WETH9 `Deposit`.
pub const WRAP: B256 = signatures::Deposit::SIGNATURE_HASH;
/// Topic 0 of WETH9 `Withdrawal`.
pub const UNWRAP: B256 = signatures::Withdrawal::SIGNATURE_HASH;

/// Contracts of the time before ERC-721 whose `Transfer` indexes nothing, so that its third word is a token id and not an
/// amount; the bytes of the log do not tell. CryptoKitties.
const UNINDEXED_ERC721: [Address; 1] = [address!("06012c8cf97BEaD5deAe237070F9587f8E7A266d")];

/// Why a log with a known topic 0, or a frame that shows value, is no activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Undecoded {
    /// Not as many topics as any known form has.
    TopicCount,
    /// Data too short for the event.
    DataLength,
    /// A word that should be an address has more than 20 bytes.
    NotAnAddress,
    /// A batch whose ids and amounts are not as many, or whose arrays do not lie in the data.
    BrokenBatch,
    /// A log of the emitter of native transfers ([EIP-7708](https://eips.ethereum.org/EIPS/eip-7708)) that is not of their form, or
    /// in a block whose header is of no fork that has them.
    NativeLog,
    /// A call frame of a type that this build does not know, with a value.
    UnknownFrame,
}

impl Undecoded {
    /// The name in the store and in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TopicCount => "topic_count",
            Self::DataLength => "data_length",
            Self::NotAnAddress => "not_an_address",
            Self::BrokenBatch => "broken_batch",
            Self::NativeLog => "native_log",
            Self::UnknownFrame => "unknown_frame",
        }
    }
}

/// `native_logs`: those of native transfers are decoded elsewhere.
pub(super) fn decode(tx: &VerifiedTransaction, options: &DecodeOptions, native_logs: bool, out: &mut Decoded) {
    for (log, log_index) in tx.logs.iter().zip(tx.first_log_index..) {
        if native_logs && log.address == NATIVE_LOG_EMITTER {
            continue;
        }
        let place = Place { tx_index: tx.index as u32, log_index: log_index as u32 };
        if let Err(reason) = decode_log(log, place, options, &mut out.activities) {
            *out.undecoded.entry(reason).or_default() += 1;
        }
    }
}

/// Where a log is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) tx_index: u32,
    pub(super) log_index: u32,
}

impl Place {
    pub(super) fn location(self, sub_index: u32) -> Location {
        Location {
            tx_index: Some(self.tx_index),
            plane: Plane::Logs,
            position: Position::Log(self.log_index),
            sub_index,
        }
    }
}

pub(super) fn decode_log(
    log: &Log,
    place: Place,
    options: &DecodeOptions,
    out: &mut Vec<Activity>,
) -> Result<(), Undecoded> {
    match log.topics().first() {
        Some(&TRANSFER) => out.push(transfer(log, place)?),
        Some(&TRANSFER_SINGLE | &TRANSFER_BATCH) => erc1155::transfers(log, place, out)?,
        Some(&WRAP | &UNWRAP) if options.wrapped_native.contains(&log.address) => out.push(wrapped(log, place)?),
        _ => {}
    }
    Ok(())
}

fn transfer(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    if log.address == NATIVE_LOG_EMITTER {
        return Err(Undecoded::NativeLog);
    }
    let data = &log.data.data;
    let (from, to, value, is_erc721) = match log.topics() {
        [_, from, to] => (*from, *to, word(data, 0)?, false),
        [_, from, to, id] => (*from, *to, *id, true),
        [_] => (word(data, 0)?, word(data, 1)?, word(data, 2)?, UNINDEXED_ERC721.contains(&log.address)),
        // One indexed side: which of the two it is, the log does not say.
        _ => return Err(Undecoded::TopicCount),
    };
    let value = U256::from_be_bytes(value.0);
    let (kind, asset, amount, token_id) = if is_erc721 {
        (ActivityKind::Erc721Transfer, Asset::Erc721(log.address), U256::ONE, Some(value))
    } else {
        (ActivityKind::Erc20Transfer, Asset::Erc20(log.address), value, None)
    };
    let (from, to) = (Some(as_address(from)?), Some(as_address(to)?));
    Ok(Activity { kind, location: place.location(0), from, to, asset, amount, token_id, frame: None })
}

/// `Deposit` and `Withdrawal` of WETH9, which says nothing by `Transfer` when it wraps: shown as a mint and a burn.
fn wrapped(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let [topic, account] = log.topics() else { return Err(Undecoded::TopicCount) };
    let account = Some(as_address(*account)?);
    let zero = Some(Address::ZERO);
    let (kind, from, to) =
        if *topic == WRAP { (ActivityKind::Wrap, zero, account) } else { (ActivityKind::Unwrap, account, zero) };
    let amount = U256::from_be_bytes(word(&log.data.data, 0)?.0);
    let asset = Asset::Erc20(log.address);
    Ok(Activity { kind, location: place.location(0), from, to, asset, amount, token_id: None, frame: None })
}

/// The word at that place of the data.
pub(super) fn word(data: &[u8], index: usize) -> Result<B256, Undecoded> {
    let start = index.checked_mul(32).ok_or(Undecoded::DataLength)?;
    let end = start.checked_add(32).ok_or(Undecoded::DataLength)?;
    data.get(start..end).map(B256::from_slice).ok_or(Undecoded::DataLength)
}

/// A word that must be an address: its first twelve bytes are zero.
pub(super) fn as_address(word: B256) -> Result<Address, Undecoded> {
    if word[..12].iter().any(|byte| *byte != 0) {
        return Err(Undecoded::NotAnAddress);
    }
    Ok(Address::from_word(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Bytes, LogData, b256};
    use proptest::prelude::*;

    const TOKEN: Address = address!("00000000000000000000000000000000000000aa");
    const PLACE: Place = Place { tx_index: 1, log_index: 7 };

    fn addr(byte: u8) -> B256 {
        Address::with_last_byte(byte).into_word()
    }

    fn num(value: u64) -> B256 {
        U256::from(value).into()
    }

    fn log(topics: Vec<B256>, data: &[B256]) -> Log {
        let data: Vec<u8> = data.iter().flat_map(|word| word.0).collect();
        Log { address: TOKEN, data: LogData::new(topics, Bytes::from(data)).unwrap() }
    }

    fn run(log: &Log) -> Result<Vec<Activity>, Undecoded> {
        let mut out = Vec::new();
        decode_log(log, PLACE, &DecodeOptions { wrapped_native: vec![TOKEN] }, &mut out).map(|()| out)
    }

    #[test]
    fn topic_hashes_are_those_of_the_standards() {
        assert_eq!(TRANSFER, b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"));
        assert_eq!(WRAP, b256!("e1fffcc4923d04b559f4d29a8bfc6cda04eb5b0d3c460751c2402c5c5cc9109c"));
        assert_eq!(UNWRAP, b256!("7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65"));
    }

    #[test]
    fn three_topics_are_erc20_and_four_are_erc721() {
        let erc20 = &run(&log(vec![TRANSFER, addr(1), addr(2)], &[num(5)])).unwrap()[0];
        assert_eq!((erc20.kind, erc20.amount, erc20.token_id), (ActivityKind::Erc20Transfer, U256::from(5), None));
        let erc721 = &run(&log(vec![TRANSFER, addr(1), addr(2), num(5)], &[])).unwrap()[0];
        assert_eq!(
            (erc721.kind, erc721.amount, erc721.token_id),
            (ActivityKind::Erc721Transfer, U256::ONE, Some(U256::from(5)))
        );
    }

    #[test]
    fn an_unindexed_transfer_has_its_addresses_in_the_data() {
        let old = log(vec![TRANSFER], &[addr(1), addr(2), num(5)]);
        let activity = &run(&old).unwrap()[0];
        assert_eq!(activity.kind, ActivityKind::Erc20Transfer);
        assert_eq!((activity.from, activity.to), (Some(Address::with_last_byte(1)), Some(Address::with_last_byte(2))));
        let kitty = Log { address: UNINDEXED_ERC721[0], ..old };
        assert_eq!(run(&kitty).unwrap()[0].kind, ActivityKind::Erc721Transfer);
    }

    #[test]
    fn odd_transfers_are_counted_by_reason() {
        assert_eq!(run(&log(vec![TRANSFER, addr(1)], &[addr(2), num(5)])), Err(Undecoded::TopicCount));
        assert_eq!(run(&log(vec![TRANSFER, addr(1), addr(2)], &[])), Err(Undecoded::DataLength));
        assert_eq!(run(&log(vec![TRANSFER, B256::repeat_byte(1), addr(2)], &[num(5)])), Err(Undecoded::NotAnAddress));
        let native = Log { address: NATIVE_LOG_EMITTER, ..log(vec![TRANSFER, addr(1), addr(2)], &[num(5)]) };
        assert_eq!(run(&native), Err(Undecoded::NativeLog));
    }

    #[test]
    fn only_the_chains_own_wrapper_wraps() {
        let deposit = log(vec![WRAP, addr(1)], &[num(5)]);
        assert_eq!(run(&deposit).unwrap()[0].kind, ActivityKind::Wrap);
        let elsewhere = Log { address: Address::with_last_byte(0xbb), ..deposit };
        assert_eq!(run(&elsewhere), Ok(vec![]));
    }

    #[test]
    fn a_batch_is_one_activity_for_each_id() {
        let topics = vec![TRANSFER_BATCH, addr(9), addr(1), addr(2)];
        let good = [num(64), num(160), num(2), num(10), num(11), num(2), num(1), num(3)];
        let all = run(&log(topics.clone(), &good)).unwrap();
        let short: Vec<_> = all.iter().map(|a| (a.location.sub_index, a.token_id.unwrap(), a.amount)).collect();
        assert_eq!(short, [(0, U256::from(10), U256::from(1)), (1, U256::from(11), U256::from(3))]);
        let unequal = [num(64), num(160), num(2), num(10), num(11), num(1), num(1)];
        assert_eq!(run(&log(topics.clone(), &unequal)), Err(Undecoded::BrokenBatch));
        let endless = [num(64), num(64), B256::repeat_byte(0xff)];
        assert_eq!(run(&log(topics, &endless)), Err(Undecoded::BrokenBatch));
    }

    proptest! {
        #[test]
        fn no_log_whatever_panics(
            known in 0usize..6,
            topics in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
            small in proptest::collection::vec(0u64..400, 0..12),
            tail in proptest::collection::vec(any::<u8>(), 0..70),
        ) {
            let known = [TRANSFER, TRANSFER_SINGLE, TRANSFER_BATCH, WRAP, UNWRAP, B256::ZERO][known];
            let mut all = vec![known];
            all.extend(topics.into_iter().take(3).map(B256::from));
            let mut data: Vec<u8> = small.iter().flat_map(|n| num(*n).0).collect();
            data.extend(tail);
            let log = Log { address: TOKEN, data: LogData::new(all, data.into()).unwrap() };
            let _ = run(&log);
        }
    }
}
