//! List files: from bytes to entries. Parsing only; nothing here knows the store. What cannot be taken is reported with its line
//! and the reason, and counted: never dropped in silence.

mod date;
mod plain;

use alloy::primitives::Address;

pub use date::{parse_date, show_date};
pub use plain::{Format, parse, parse_address};

/// An entry of a list file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedEntry {
    /// The address.
    pub address: Address,
    /// What the list calls it.
    pub label: Option<String>,
    /// Who is behind it.
    pub entity: Option<String>,
    /// Sanctions programs.
    pub programs: Vec<String>,
    /// Legal begin, unix seconds.
    pub listed_from: Option<i64>,
    /// Legal end, unix seconds.
    pub delisted_on: Option<i64>,
    /// Another form that it was derived from (a Tron address, say).
    pub derived_from: Option<String>,
}

impl ParsedEntry {
    /// An entry with nothing but an address.
    pub fn bare(address: Address) -> Self {
        Self {
            address,
            label: None,
            entity: None,
            programs: Vec::new(),
            listed_from: None,
            delisted_on: None,
            derived_from: None,
        }
    }
}

/// A line or item that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Line of the file, counted from 1; for JSON the place in the array, counted from 1.
    pub line: u64,
    /// What stood there, cut to a readable length.
    pub text: String,
    /// Why it is no entry.
    pub reason: String,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedList {
    /// Good entries, in order; of an address that occurs twice, the first.
    pub entries: Vec<ParsedEntry>,
    /// What was rejected.
    pub rejected: Vec<Rejected>,
    /// Lines that name an address again.
    pub repeated: u64,
}
