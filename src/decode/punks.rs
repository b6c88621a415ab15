//! CryptoPunks, of the time before ERC-721, with events of its own. It says by `Transfer` as well that one token moved, but not which.

use alloy::primitives::{Address, B256, Log, address};

use super::Undecoded;
use super::activity::Activity;
use super::events::{PUNK_ASSIGN, PUNK_BOUGHT, PUNK_TRANSFER};
use super::logs::{Place, erc721_transfer, word};

/// The contract on mainnet; others may give the same names to anything.
pub(super) const CONTRACT: Address = address!("b47e3cd837dDF8e4c57F05d70Ab865de6e193BBB");

/// None for a sale by bid: the contract forgets the buyer before it names him, and only its `Transfer` has both sides.
pub(super) fn transfer(log: &Log, place: Place) -> Result<Option<Activity>, Undecoded> {
    let data = &log.data.data;
    let (from, to, punk) = match *log.topics() {
        [PUNK_TRANSFER, from, to] => (from, to, word(data, 0)?),
        [PUNK_BOUGHT, _, _, B256::ZERO] => return Ok(None),
        [PUNK_BOUGHT, punk, from, to] => (from, to, punk),
        [PUNK_ASSIGN, to] => (B256::ZERO, to, word(data, 0)?),
        _ => return Err(Undecoded::TopicCount),
    };
    erc721_transfer(log, place, from, to, punk).map(Some)
}
