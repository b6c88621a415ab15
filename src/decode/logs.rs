//! The plane of logs: token standards and wrapped native currency. Any contract can emit anything, so every word is checked
//! before it is believed to be what the event's signature says; what does not fit is counted.

use alloy::primitives::{Address, B256, Log, U256, address};

use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use super::events::*;
use super::repeats::{Event, Repeats};
use super::{DecodeOptions, Decoded, Undecoded, erc20, erc1155, erc6909, punks};
use crate::chain::VerifiedTransaction;
use crate::chain::native_logs::NATIVE_LOG_EMITTER;

/// Contracts of the time before ERC-721 whose `Transfer` indexes nothing, so that its third word is a token id and not an
/// amount; the bytes of the log do not tell. CryptoKitties.
const UNINDEXED_ERC721: [Address; 1] = [address!("06012c8cf97BEaD5deAe237070F9587f8E7A266d")];

/// `native_logs`: those of native transfers are decoded elsewhere.
pub(super) fn decode(tx: &VerifiedTransaction, options: &DecodeOptions, native_logs: bool, out: &mut Decoded) {
    let mut repeats = Repeats::from(out.activities.len());
    for (log, log_index) in tx.logs.iter().zip(tx.first_log_index..) {
        if native_logs && log.address == NATIVE_LOG_EMITTER {
            continue;
        }
        let place = Place { tx_index: tx.index as u32, log_index: log_index as u32 };
        let before = out.activities.len();
        match decode_log(log, place, options, &mut out.activities) {
            Ok(event) => repeats.note(event, before, out.activities.len(), log),
            Err(reason) => out.count_log(reason, log),
        }
    }
    for log in repeats.merge(&mut out.activities) {
        out.count_log(Undecoded::OtherStandard, log);
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
) -> Result<Event, Undecoded> {
    let Some(topic) = log.topics().first() else { return Ok(Event::Other) };
    let (activity, event) = match *topic {
        TRANSFER => {
            let activity = transfer(log, place)?;
            let is_token = activity.kind == ActivityKind::Erc721Transfer;
            (activity, if is_token { Event::Token } else { Event::Fungible })
        }
        TRANSFER_SINGLE | TRANSFER_BATCH => {
            erc1155::transfers(log, place, out)?;
            return Ok(Event::Other);
        }
        WRAP | UNWRAP if options.wrapped_native.contains(&log.address) => (wrapped(log, place)?, Event::Other),
        WRAP | UNWRAP if options.wrapped_native.is_empty() && wrapped(log, place).is_ok() => {
            return Err(Undecoded::UnknownWrapper);
        }
        TRANSFER_WITH_DATA => (erc20::with_data(log, place)?, Event::FungibleWithData),
        ERC20_TRANSFER => (erc20::fungible(log, place)?, Event::FungibleOfHybrid),
        ERC721_TRANSFER => (erc20::token(log, place)?, Event::TokenOfHybrid),
        MINT | BURN => (erc20::minted(log, place)?, Event::MintOrBurn),
        ERC6909_TRANSFER => (erc6909::transfer(log, place)?, Event::Other),
        PUNK_TRANSFER | PUNK_BOUGHT | PUNK_ASSIGN if log.address == punks::CONTRACT => {
            let Some(activity) = punks::transfer(log, place)? else { return Ok(Event::Other) };
            (activity, Event::TokenOfHybrid)
        }
        SENT | MINTED | BURNED | TRANSFER_BY_PARTITION => (erc20::announced(log, place)?, Event::Announced),
        CONSECUTIVE_TRANSFER | TRANSFER_VALUE | LSP7_TRANSFER | LSP8_TRANSFER => {
            return Err(Undecoded::OtherStandard);
        }
        other if UNKNOWN_TRANSFERS.contains(&other) => return Err(Undecoded::OtherStandard),
        _ => return Ok(Event::Other),
    };
    out.push(activity);
    Ok(event)
}

fn transfer(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    if log.address == NATIVE_LOG_EMITTER {
        return Err(Undecoded::NativeLog);
    }
    let data = &log.data.data;
    match *log.topics() {
        [_, from, to] => erc20_transfer(log, place, from, to, word(data, 0)?),
        [_, from, to, id] => erc721_transfer(log, place, from, to, id),
        [_] => {
            let [from, to, value] = [word(data, 0)?, word(data, 1)?, word(data, 2)?];
            if UNINDEXED_ERC721.contains(&log.address) {
                erc721_transfer(log, place, from, to, value)
            } else {
                erc20_transfer(log, place, from, to, value)
            }
        }
        [_, indexed] => half_indexed(log, place, indexed),
        _ => Err(Undecoded::TopicCount),
    }
}

/// `Transfer` with one indexed argument, which may be any of the three: an activity where the words leave one reading. An address is a
/// word with twelve zero bytes in front whose next eight are not all zero, or the zero address: what is smaller is a number.
fn half_indexed(log: &Log, place: Place, indexed: B256) -> Result<Activity, Undecoded> {
    let [first, second] = [word(&log.data.data, 0)?, word(&log.data.data, 1)?];
    let is_side =
        |word: B256| as_address(word).is_ok() && (word.is_zero() || word[12..20].iter().any(|byte| *byte != 0));
    let value_indexed = is_side(first) && is_side(second);
    let side_indexed = is_side(indexed) && is_side(first);
    match (side_indexed, value_indexed) {
        // Only token ids are indexed, as in ERC-721.
        (false, true) => erc721_transfer(log, place, first, second, indexed),
        // Which side is indexed does not matter where both are the same.
        (true, false) if indexed == first => erc20_transfer(log, place, first, first, second),
        _ => Err(Undecoded::TopicCount),
    }
}

/// A movement of fungible units of the emitter.
pub(super) fn erc20_transfer(
    log: &Log,
    place: Place,
    from: B256,
    to: B256,
    value: B256,
) -> Result<Activity, Undecoded> {
    Ok(Activity {
        kind: ActivityKind::Erc20Transfer,
        location: place.location(0),
        from: Some(as_address(from)?),
        to: Some(as_address(to)?),
        asset: Asset::Erc20(log.address),
        amount: U256::from_be_bytes(value.0),
        token_id: None,
        operator: None,
        frame: None,
    })
}

/// A movement of one token of the emitter.
pub(super) fn erc721_transfer(log: &Log, place: Place, from: B256, to: B256, id: B256) -> Result<Activity, Undecoded> {
    Ok(Activity {
        kind: ActivityKind::Erc721Transfer,
        location: place.location(0),
        from: Some(as_address(from)?),
        to: Some(as_address(to)?),
        asset: Asset::Erc721(log.address),
        amount: U256::ONE,
        token_id: Some(U256::from_be_bytes(id.0)),
        operator: None,
        frame: None,
    })
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
    Ok(Activity {
        kind,
        location: place.location(0),
        from,
        to,
        asset,
        amount,
        token_id: None,
        operator: None,
        frame: None,
    })
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
    use alloy::primitives::{Bytes, LogData};
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
        let options = DecodeOptions { wrapped_native: vec![TOKEN], ..DecodeOptions::default() };
        decode_log(log, PLACE, &options, &mut out).map(|_| out)
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
