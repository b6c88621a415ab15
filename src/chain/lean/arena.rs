//! RLP written one item after another into one buffer that all of a block's items share.
//!
//! A list's header holds its length, which is known only at its end: room is left before the payload, and the header is put
//! right before it. The few bytes between two items belong to none.

use std::ops::Range;

use alloy::primitives::Bytes;
use alloy::rlp::{Encodable, Header};

use super::scan::{Read, unhex};

/// Where an item is in the buffer.
pub(super) type Place = Range<usize>;

/// The buffer.
#[derive(Debug, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    /// With room for what a text of that length comes to: two digits a byte, and a good deal that is not hashed.
    pub(super) fn for_text(text: &[u8]) -> Self {
        Self { bytes: Vec::with_capacity(text.len() / 5 * 2) }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn get(&self, place: Place) -> &[u8] {
        self.bytes.get(place).unwrap_or_default()
    }

    /// What all items share; taking a part of it allocates nothing.
    pub(super) fn freeze(self) -> Bytes {
        self.bytes.into()
    }

    /// Leaves room; returns where the payload begins.
    pub(super) fn open(&mut self, room: usize) -> usize {
        self.bytes.resize(self.bytes.len() + room, 0);
        self.bytes.len()
    }

    /// Puts what comes first right before the payload. The caller has left room for it.
    pub(super) fn close(&mut self, payload: usize, first: &[u8]) -> Place {
        let start = payload.saturating_sub(first.len());
        if let Some(room) = self.bytes.get_mut(start..payload) {
            room.copy_from_slice(first);
        }
        start..self.bytes.len()
    }

    /// A number, or whatever else knows its RLP.
    pub(super) fn put(&mut self, item: &impl Encodable) {
        item.encode(&mut self.bytes);
    }

    /// Bytes that are RLP already.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The header of a list.
    pub(super) fn list(&mut self, payload_length: usize) {
        Header { list: true, payload_length }.encode(&mut self.bytes);
    }

    /// A fixed-size string of 2 to 55 bytes.
    pub(super) fn short<const N: usize>(&mut self, bytes: &[u8; N]) {
        const { assert!(N >= 2 && N <= 55) }
        self.bytes.push(0x80 + N as u8);
        self.bytes.extend_from_slice(bytes);
    }

    /// The string that those hex digits stand for; returns where its bytes are.
    pub(super) fn hex(&mut self, digits: &[u8]) -> Read<Place> {
        let length = digits.len() / 2;
        if length == 1 {
            let mut one = [0];
            unhex(digits, &mut one)?;
            one[..].encode(&mut self.bytes);
            return Ok(self.bytes.len() - 1..self.bytes.len());
        }
        Header { list: false, payload_length: length }.encode(&mut self.bytes);
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        unhex(digits, &mut self.bytes[start..])?;
        Ok(start..self.bytes.len())
    }
}

/// Length of a list with its header.
pub(super) fn list_length(payload_length: usize) -> usize {
    Header { list: true, payload_length }.length() + payload_length
}

/// Length of the string that those hex digits stand for, with its header.
pub(super) fn hex_length(digits: &[u8]) -> Read<usize> {
    let length = digits.len() / 2;
    if length == 1 {
        let mut one = [0];
        unhex(digits, &mut one)?;
        return Ok(one[..].length());
    }
    Ok(Header { list: false, payload_length: length }.length() + length)
}
