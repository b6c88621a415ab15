//! [ERC-6909](https://eips.ethereum.org/EIPS/eip-6909): one id a transfer, moved by a caller who may be neither side.

use alloy::primitives::{Log, U256};

use super::Undecoded;
use super::activity::{Activity, ActivityKind, Asset};
use super::logs::{Place, as_address, word};

pub(super) fn transfer(log: &Log, place: Place) -> Result<Activity, Undecoded> {
    let [_, sender, receiver, id] = log.topics() else { return Err(Undecoded::TopicCount) };
    let data = &log.data.data;
    Ok(Activity {
        kind: ActivityKind::Erc6909Transfer,
        location: place.location(0),
        from: Some(as_address(*sender)?),
        to: Some(as_address(*receiver)?),
        asset: Asset::Erc6909(log.address),
        amount: U256::from_be_bytes(word(data, 1)?.0),
        token_id: Some(U256::from_be_bytes(id.0)),
        operator: Some(as_address(word(data, 0)?)?),
        frame: None,
    })
}
