//! List files: from bytes to entries. Parsing only; nothing here knows the store. Whatever in a file might be an address is
//! accepted, derived (an address in another form) or rejected with its line and the reason, and counted: never dropped in silence.

mod address;
mod candidate;
mod columns;
mod date;
mod eu;
mod fold;
mod format;
mod guard;
mod json;
mod ofac_advanced;
mod ofac_csv;
mod ofac_entities;
mod ofac_sdn;
mod opensanctions;
mod plain;
mod record;
mod scan;
mod source;
mod stix;
mod tagpack;
mod uk;
mod xml;

use alloy::primitives::Address;

pub use address::{parse_address, parse_any_form};
pub use candidate::{Candidate, Class, Counts, Outcome, Rejected};
pub use columns::Columns;
pub use date::{parse_date, show_date};
pub use format::Format;
pub use source::{ReadSeek, Source};

use candidate::Collector;

/// An entry of a list file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedEntry {
    /// The address.
    pub address: Address,
    /// What the list calls it.
    pub label: Option<String>,
    /// Who is behind it.
    pub entity: Option<String>,
    /// Other names of whoever is behind it.
    pub aliases: Vec<String>,
    /// Sanctions programs.
    pub programs: Vec<String>,
    /// The list's own id of the record.
    pub uid: Option<String>,
    /// Line of the file, counted from 1 (for JSON the place in the array); none for an entry that comes from no file.
    pub row: Option<u64>,
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
            aliases: Vec::new(),
            programs: Vec::new(),
            uid: None,
            row: None,
            listed_from: None,
            delisted_on: None,
            derived_from: None,
        }
    }

    /// What is known of a record before its addresses are.
    fn facts() -> Self {
        Self::bare(Address::ZERO)
    }
}

/// What a file of changes ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Addresses that are no longer on the list, and for whom they were on it.
    pub ended: Vec<(Address, Option<String>)>,
    /// Names of entities that left the list as a whole.
    pub entities: Vec<String>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedList {
    /// The format that it was read as.
    pub format: Format,
    /// Good entries, in order; what a file says of one address in several places is put together.
    pub entries: Vec<ParsedEntry>,
    /// What was rejected, in order.
    pub rejected: Vec<Rejected>,
    /// How many candidates there were, and what became of them.
    pub counts: Counts,
    /// When the file says that it was published, unix seconds.
    pub published: Option<i64>,
    /// What it says that the list is (`blocking`, …), where it says so.
    pub kind: Option<String>,
    /// Only for a file of changes: what it ends. Its entries are then what it adds.
    pub delta: Option<Delta>,
    /// What whoever imports it should hear: remarks that are cut off, counts that do not fit.
    pub warnings: Vec<String>,
}

/// Reads a list file. `comments` is OFAC's `sdn_comments.csv`, which only goes with `sdn.csv`. Every candidate is told to `each`.
///
/// # Errors
/// One line, where the file as a whole cannot be read: nothing of it is to be taken then.
pub fn parse(
    file: &mut Source<'_>,
    comments: Option<&mut Source<'_>>,
    format: Option<Format>,
    each: &mut dyn FnMut(&Candidate<'_>),
) -> Result<ParsedList, String> {
    parse_with(file, comments, format, &Columns::default(), each)
}

/// The same with other names for the columns of a CSV file.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(
    file: &mut Source<'_>,
    comments: Option<&mut Source<'_>>,
    format: Option<Format>,
    columns: &Columns,
    each: &mut dyn FnMut(&Candidate<'_>),
) -> Result<ParsedList, String> {
    let format = match format {
        Some(format) => format,
        None => file.recognise()?,
    };
    if comments.is_some() && format != Format::OfacCsv {
        return Err("comments only go with sdn.csv".to_owned());
    }
    let mut out = Collector::new(format, each);
    match format {
        Format::Text => file.read(|bytes| plain::text(bytes, &mut out))?,
        Format::Csv => file.read(|bytes| plain::csv(bytes, columns, &mut out))?,
        Format::Json => file.read(|bytes| json::json(bytes, &mut out))?,
        Format::OfacCsv => ofac_csv::parse(file, comments, &mut out)?,
        Format::OfacEnhanced | Format::OfacDelta => file.read(|bytes| ofac_entities::parse(bytes, &mut out))?,
        Format::OfacAdvanced => file.read(|bytes| ofac_advanced::parse(bytes, &mut out))?,
        Format::OfacSdn => file.read(|bytes| ofac_sdn::parse(bytes, &mut out))?,
        Format::OpenSanctions => opensanctions::entities(file, &mut out)?,
        Format::OpenSanctionsCsv => file.read(|bytes| opensanctions::targets(bytes, &mut out))?,
        Format::Uk => file.read(|bytes| uk::parse(bytes, &mut out))?,
        Format::Eu => file.read(|bytes| eu::parse(bytes, &mut out))?,
        Format::TagPack => file.read(|bytes| tagpack::parse(bytes, &mut out))?,
        Format::Stix => file.read(|bytes| stix::bundle(bytes, &mut out))?,
        Format::Misp => file.read(|bytes| stix::events(bytes, &mut out))?,
        Format::OfacComments => {
            return Err(
                "this is sdn_comments.csv, the rest of the remarks in sdn.csv: import sdn.csv together with it"
                    .to_owned(),
            );
        }
    }
    if out.list.published.is_none() && format.has_a_date() {
        let warning = "it has no date that can be read: it counts as of now, unless --published says of when it is";
        out.list.warnings.push(warning.to_owned());
    }
    Ok(out.list)
}
