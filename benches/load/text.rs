//! JSON that is written once and served under many block numbers: the fields that tell the block have a fixed width and a known
//! place, and are written over.

use std::fmt::{LowerHex, Write as _};
use std::ops::Range;

use alloy::primitives::{B256, hex};

/// A field that differs from block to block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Hash,
    Parent,
    Number,
    Timestamp,
}

/// What those fields are of one block, as hex digits without `0x`.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) hash: [u8; 64],
    pub(crate) parent: [u8; 64],
    pub(crate) number: [u8; 7],
    pub(crate) timestamp: [u8; 8],
}

impl Place {
    pub(crate) fn new(hash: B256, parent: B256, number: u64, timestamp: u64) -> Self {
        let digits = |word: B256| hex::encode(word).into_bytes().try_into().unwrap();
        Self {
            hash: digits(hash),
            parent: digits(parent),
            number: format!("{number:07x}").into_bytes().try_into().unwrap(),
            timestamp: format!("{timestamp:08x}").into_bytes().try_into().unwrap(),
        }
    }

    fn of(&self, field: Field) -> &[u8] {
        match field {
            Field::Hash => &self.hash,
            Field::Parent => &self.parent,
            Field::Number => &self.number,
            Field::Timestamp => &self.timestamp,
        }
    }
}

/// JSON with places to write over.
#[derive(Debug, Default)]
pub(crate) struct Text {
    text: String,
    places: Vec<(usize, Field)>,
}

impl Text {
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn key(&mut self, key: &str) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
    }

    /// `"key":` and what follows is written by the caller.
    pub(crate) fn open(&mut self, key: &str, bracket: &str) -> &mut Self {
        self.key(key);
        self.raw(bracket)
    }

    /// `"key":"0x…"` of a number, an address, a hash.
    pub(crate) fn hex<T: LowerHex>(&mut self, key: &str, value: T) -> &mut Self {
        self.key(key);
        write!(self.text, "\"{value:#x}\"").unwrap();
        self
    }

    /// `"key":"0x…"` of bytes.
    pub(crate) fn bytes(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.key(key);
        self.text.push_str("\"0x");
        self.text.push_str(&hex::encode(value));
        self.text.push('"');
        self
    }

    /// `"key":` and a literal.
    pub(crate) fn literal(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        self.raw(value)
    }

    /// `"key":"0x…"` of what differs from block to block.
    pub(crate) fn place(&mut self, key: &str, field: Field) -> &mut Self {
        self.key(key);
        self.text.push_str("\"0x");
        self.places.push((self.text.len(), field));
        let width = match field {
            Field::Hash | Field::Parent => 64,
            Field::Number => 7,
            Field::Timestamp => 8,
        };
        self.text.extend(std::iter::repeat_n('0', width));
        self.text.push('"');
        self
    }

    /// Goes on in a list.
    pub(crate) fn comma(&mut self) -> &mut Self {
        if !self.text.ends_with('[') {
            self.text.push(',');
        }
        self
    }

    /// Appends a part of it, as it is of one block.
    pub(crate) fn render(&self, part: Range<usize>, place: &Place, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.text.as_bytes()[part.clone()]);
        let first = self.places.partition_point(|(at, _)| *at < part.start);
        for (at, field) in self.places[first..].iter().take_while(|(at, _)| *at < part.end) {
            let digits = place.of(*field);
            let at = begin + at - part.start;
            out[at..at + digits.len()].copy_from_slice(digits);
        }
    }
}
