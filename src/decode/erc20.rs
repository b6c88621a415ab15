//! Events of fungible tokens beside ERC-20's `Transfer`: with data (ERC-223, ERC-677), of hybrids (ERC-404), of DSToken, and those of
//! standards that announce each movement by `Transfer` as well.

use alloy::primitives::{B256, Log};

use super::Undecoded;
use super::activity::Activity;
use super::events::{BURN, BURNED, MINTED, SENT};
use super::logs::{Place, erc20_transfer, erc721_transfer, word};

/// `Transfer` with four arguments, of which any may be indexed, `bytes` as its hash.
pub(super) fn with_data(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let data = &log.data.data;
    let at = |index| word(data, index);
    // With nothing else before them, dynamic data begin at this byte.
    let offset = B256::with_last_byte(32);
    let (from, to, value) = match *log.topics() {
        [_, from, to] => (from, to, at(0)?),
        // Either the data are indexed, so that only the value is left, or the value is.
        [_, from, to, _] if data.len() == 32 => (from, to, at(0)?),
        [_, from, to, value] if at(0)? == offset => (from, to, value),
        [_] => (at(0)?, at(1)?, at(2)?),
        // Only the data are indexed: nothing but the three words is left.
        [_, _] if data.len() == 96 => (at(0)?, at(1)?, at(2)?),
        _ => return Err(Undecoded::TopicCount),
    };
    erc20_transfer(log, place, from, to, value)
}

/// ERC-404's `ERC20Transfer`.
pub(super) fn fungible(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let data = &log.data.data;
    match *log.topics() {
        [_, from, to] => erc20_transfer(log, place, from, to, word(data, 0)?),
        [_, from, to, amount] => erc20_transfer(log, place, from, to, amount),
        [_] => erc20_transfer(log, place, word(data, 0)?, word(data, 1)?, word(data, 2)?),
        _ => Err(Undecoded::TopicCount),
    }
}

/// ERC-404's `ERC721Transfer`.
pub(super) fn token(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let data = &log.data.data;
    match *log.topics() {
        [_, from, to, id] => erc721_transfer(log, place, from, to, id),
        [_, from, to] => erc721_transfer(log, place, from, to, word(data, 0)?),
        [_] => erc721_transfer(log, place, word(data, 0)?, word(data, 1)?, word(data, 2)?),
        _ => Err(Undecoded::TopicCount),
    }
}

/// DSToken's `Mint` and `Burn`: from and to the zero address.
pub(super) fn minted(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let data = &log.data.data;
    let (topic, guy, value) = match *log.topics() {
        [topic, guy] => (topic, guy, word(data, 0)?),
        [topic, guy, value] => (topic, guy, value),
        [topic] => (topic, word(data, 0)?, word(data, 1)?),
        _ => return Err(Undecoded::TopicCount),
    };
    let (from, to) = if topic == BURN { (guy, B256::ZERO) } else { (B256::ZERO, guy) };
    erc20_transfer(log, place, from, to, value)
}

/// ERC-777 and ERC-1410: what `Transfer` should say as well.
pub(super) fn announced(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let data = &log.data.data;
    let (from, to, value) = match *log.topics() {
        [SENT, _, from, to] => (from, to, word(data, 0)?),
        [MINTED, _, to] => (B256::ZERO, to, word(data, 0)?),
        [BURNED, _, from] => (from, B256::ZERO, word(data, 0)?),
        // ERC-1410: partition, from, to; the operator comes first in the data.
        [topic, _, from, to] if ![MINTED, BURNED].contains(&topic) => (from, to, word(data, 1)?),
        _ => return Err(Undecoded::OtherStandard),
    };
    erc20_transfer(log, place, from, to, value).map_err(|_| Undecoded::OtherStandard)
}
