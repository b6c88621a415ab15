//! ERC-1155: one activity for each id of a transfer, single or batch.

use alloy::primitives::{Log, U256};

use super::Undecoded;
use super::activity::{Activity, ActivityKind, Asset};
use super::events::TRANSFER_SINGLE;
use super::logs::{Place, as_address, word};

pub(super) fn transfers(log: &Log, place: Place, out: &mut Vec<Activity>) -> Result<(), Undecoded> {
    let [topic, _operator, from, to] = log.topics() else { return Err(Undecoded::TopicCount) };
    let (from, to) = (Some(as_address(*from)?), Some(as_address(*to)?));
    let data = &log.data.data;
    let mut push = |sub_index: u32, id: U256, amount: U256| {
        out.push(Activity {
            kind: ActivityKind::Erc1155Transfer,
            location: place.location(sub_index),
            from,
            to,
            asset: Asset::Erc1155(log.address),
            amount,
            token_id: Some(id),
            frame: None,
            operator: None,
        });
    };
    if *topic == TRANSFER_SINGLE {
        push(0, number(data, 0)?, number(data, 1)?);
        return Ok(());
    }
    let ids = Array::at(data, 0)?;
    let amounts = Array::at(data, 1)?;
    if ids.length != amounts.length {
        return Err(Undecoded::BrokenBatch);
    }
    for index in 0..ids.length {
        push(index as u32, ids.get(index)?, amounts.get(index)?);
    }
    Ok(())
}

fn number(data: &[u8], index: usize) -> Result<U256, Undecoded> {
    word(data, index).map(|word| U256::from_be_bytes(word.0))
}

/// A dynamic array of words within ABI-encoded data, known to lie within it.
struct Array<'a> {
    items: &'a [u8],
    length: usize,
}

impl<'a> Array<'a> {
    /// The array whose offset stands at that word of the head.
    fn at(data: &'a [u8], head: usize) -> Result<Self, Undecoded> {
        let broken = Undecoded::BrokenBatch;
        let as_usize = |value: U256| usize::try_from(value).map_err(|_| broken);
        let offset = as_usize(number(data, head)?)?;
        let body = data.get(offset..).ok_or(broken)?;
        let length = as_usize(number(body, 0).map_err(|_| broken)?)?;
        let bytes = length.checked_mul(32).and_then(|bytes| bytes.checked_add(32)).ok_or(broken)?;
        let items = body.get(32..bytes).ok_or(broken)?;
        Ok(Self { items, length })
    }

    fn get(&self, index: usize) -> Result<U256, Undecoded> {
        number(self.items, index)
    }
}
