//! Lists of RLP, read without a copy: what is hashed are slices of the input.

use alloy::primitives::Bytes;
use alloy::rlp::{Error, Header as RlpHeader};

/// Items of a list, above which it is not read: 262,144 transactions would burn more than 5 billion gas.
pub(super) const MOST_ITEMS: usize = 1 << 18;

/// One item of a list.
pub(super) struct Item<'a> {
    /// With its prefix.
    pub(super) whole: &'a [u8],
    /// Without.
    pub(super) payload: &'a [u8],
    pub(super) list: bool,
}

/// Takes the next item off a list's payload.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> alloy::rlp::Result<Item<'a>> {
    let start = *rest;
    let header = RlpHeader::decode(rest)?;
    let payload = rest.get(..header.payload_length).ok_or(Error::InputTooShort)?;
    *rest = &rest[payload.len()..];
    Ok(Item { whole: &start[..start.len() - rest.len()], payload, list: header.list })
}

/// The payload of a list that is all there is.
pub(super) fn payload(list: &[u8]) -> alloy::rlp::Result<&[u8]> {
    let mut rest = list;
    let item = next(&mut rest)?;
    match (item.list, rest) {
        (true, []) => Ok(item.payload),
        (true, _) => Err(Error::UnexpectedLength),
        (false, _) => Err(Error::UnexpectedString),
    }
}

/// The items of a list's payload.
pub(super) fn items(payload: &[u8]) -> alloy::rlp::Result<Vec<Item<'_>>> {
    let (mut rest, mut all) = (payload, Vec::new());
    while !rest.is_empty() {
        if all.len() == MOST_ITEMS {
            return Err(Error::Custom("more than 262,144 items in a list"));
        }
        all.push(next(&mut rest)?);
    }
    Ok(all)
}

/// The EIP-2718 encodings in a list of transactions or receipts: the item itself where it is a list, else what the string holds.
pub(super) fn encodings(source: &Bytes, payload: &[u8]) -> alloy::rlp::Result<Vec<Bytes>> {
    let encoding = |item: Item<'_>| match (item.list, item.payload.first()) {
        (true, _) => Ok(source.slice_ref(item.whole)),
        (false, Some(1..=0x7f)) => Ok(source.slice_ref(item.payload)),
        (false, _) => Err(Error::Custom("a string that starts with no type of EIP-2718")),
    };
    items(payload)?.into_iter().map(encoding).collect()
}
