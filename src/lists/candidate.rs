//! What became of everything in a file that might be an address: accepted, derived or rejected, and the three counts add up.

use std::collections::{BTreeSet, HashMap};

use alloy::primitives::Address;

use super::address::{Verdict, judge};
use super::columns::Kind;
use super::scan::scan;
use super::{Delta, Format, ParsedEntry, ParsedList};

/// So many rejected candidates of each class are kept in memory; all are counted, and told.
const KEPT: u64 = 1000;

/// Why a candidate is no entry, in broad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is no address, or a wrong one: somebody should look at it.
    Broken,
    /// It is the address of a chain that bolo does not watch.
    OtherChain,
    /// It is an address that a text speaks of, and none that the list has: a victim's, perhaps.
    Mentioned,
}

/// A candidate that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Line of the file, counted from 1; for JSON the place in the array, counted from 1.
    pub line: u64,
    /// What stood there, cut to a readable length.
    pub text: String,
    /// Whose it is said to be.
    pub entity: Option<String>,
    /// Whether it is a mistake or just another chain.
    pub class: Class,
    /// Why it is no entry.
    pub reason: String,
}

/// How many candidates a file has: `candidates` = `accepted` + `derived` + `rejected`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that might be an address.
    pub candidates: u64,
    /// Taken as they stand.
    pub accepted: u64,
    /// Taken in another form: Tron addresses, whose twin is watched.
    pub derived: u64,
    /// Not taken.
    pub rejected: u64,
    /// Of the rejected: addresses of other chains.
    pub other_chain: u64,
    /// Of the rejected: mistakes.
    pub broken: u64,
    /// Of the rejected: addresses that a text only speaks of.
    pub mentioned: u64,
    /// Of the accepted and derived: those that name an address again.
    pub repeated: u64,
    /// Of the accepted and derived: those that a file of changes takes off the list.
    pub ended: u64,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken as it stands, but for what the note says.
    Accepted(Address, Option<&'static str>),
    /// Taken as the EVM address of the same key.
    Derived(Address),
    /// Names an address that the file named before.
    Repeated(Address, Option<&'static str>),
    /// A file of changes takes it off the list.
    Ended(Address),
    /// Not taken, and why.
    Rejected(Class, String),
}

/// Something in a file that might be an address.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Line of the file, counted from 1; for JSON the place in the array.
    pub line: u64,
    /// As it stands there, cut to a readable length.
    pub text: &'a str,
    /// Which currency the list says that it is of.
    pub currency: Option<&'a str>,
    /// Whose it is said to be.
    pub entity: Option<&'a str>,
    /// The list's own id of the record.
    pub uid: Option<&'a str>,
    /// It is in another form, from which the address follows (Tron's).
    pub derived: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// Gathers the entries of a file and tells of each candidate.
pub(super) struct Collector<'a> {
    pub(super) list: ParsedList,
    at: HashMap<Address, usize>,
    /// What the records say that the list is.
    pub(super) kind: Kind,
    /// Names in records that are not read.
    pub(super) unread: BTreeSet<String>,
    each: &'a mut dyn FnMut(&Candidate<'_>),
}

impl<'a> Collector<'a> {
    pub(super) fn new(format: Format, each: &'a mut dyn FnMut(&Candidate<'_>)) -> Self {
        let list = ParsedList {
            format,
            entries: Vec::new(),
            rejected: Vec::new(),
            counts: Counts::default(),
            published: None,
            kind: None,
            delta: None,
            warnings: Vec::new(),
        };
        Self { list, at: HashMap::new(), kind: Kind::default(), unread: BTreeSet::new(), each }
    }

    /// A candidate that was judged, with what is known of the record.
    pub(super) fn take(&mut self, line: u64, raw: &str, currency: Option<&str>, facts: &ParsedEntry, verdict: Verdict) {
        self.settle(line, raw, currency, facts, verdict, false);
    }

    /// The same for an address that a file of changes takes off the list.
    pub(super) fn end(&mut self, line: u64, raw: &str, currency: Option<&str>, facts: &ParsedEntry, verdict: Verdict) {
        self.settle(line, raw, currency, facts, verdict, true);
    }

    fn settle(
        &mut self,
        line: u64,
        raw: &str,
        currency: Option<&str>,
        facts: &ParsedEntry,
        verdict: Verdict,
        ends: bool,
    ) {
        let counts = &mut self.list.counts;
        counts.candidates += 1;
        let text = shorten(raw);
        let (address, derived_from, note) = match verdict {
            Verdict::Evm(address, note) => {
                counts.accepted += 1;
                (address, None, note)
            }
            Verdict::Tron(address, form) => {
                counts.derived += 1;
                (address, Some(form), None)
            }
            Verdict::Reject(class, reason) => {
                counts.rejected += 1;
                let of_class = match class {
                    Class::Broken => &mut counts.broken,
                    Class::OtherChain => &mut counts.other_chain,
                    Class::Mentioned => &mut counts.mentioned,
                };
                *of_class += 1;
                if *of_class <= KEPT {
                    let (text, entity, reason) = (text.clone(), facts.entity.clone(), reason.clone());
                    self.list.rejected.push(Rejected { line, text, entity, class, reason });
                }
                self.tell(line, &text, currency, facts, false, Outcome::Rejected(class, reason));
                return;
            }
        };
        let derived = derived_from.is_some();
        let entry = ParsedEntry { address, derived_from, row: Some(line), ..facts.clone() };
        let outcome = if ends {
            counts.ended += 1;
            self.list.delta.get_or_insert_default().ended.push((address, entry.entity));
            Outcome::Ended(address)
        } else if let Some(held) = self.at.get(&address).and_then(|at| self.list.entries.get_mut(*at)) {
            counts.repeated += 1;
            merge(held, entry);
            Outcome::Repeated(address, note)
        } else {
            self.at.insert(address, self.list.entries.len());
            self.list.entries.push(entry);
            if derived { Outcome::Derived(address) } else { Outcome::Accepted(address, note) }
        };
        self.tell(line, &text, currency, facts, derived, outcome);
    }

    fn tell(
        &mut self,
        line: u64,
        text: &str,
        currency: Option<&str>,
        facts: &ParsedEntry,
        derived: bool,
        outcome: Outcome,
    ) {
        let (entity, uid) = (facts.entity.as_deref(), facts.uid.as_deref());
        (self.each)(&Candidate { line, text, currency, entity, uid, derived, outcome });
    }

    /// Whatever is an address in free text.
    pub(super) fn text(&mut self, line: u64, text: &str, facts: &ParsedEntry) {
        scan(text, &mut |raw, verdict| self.take(line, raw, None, facts, verdict));
    }

    /// Text that speaks of addresses and does not list them.
    pub(super) fn mention(&mut self, line: u64, text: &str, facts: &ParsedEntry) {
        scan(text, &mut |raw, verdict| {
            if !matches!(verdict, Verdict::Reject(..)) && !self.knows(&verdict) {
                let reason = "is only spoken of in a text: add it by hand if it is to be watched".to_owned();
                self.take(line, raw, None, facts, Verdict::Reject(Class::Mentioned, reason));
            }
        });
    }

    fn knows(&self, verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Evm(address, _) | Verdict::Tron(address, _) if self.at.contains_key(address))
    }

    /// A field that the list says holds an address of some currency: at least one candidate comes of it.
    pub(super) fn value(&mut self, line: u64, raw: &str, currency: Option<&str>, facts: &ParsedEntry) {
        for (raw, verdict) in judge_value(raw) {
            self.take(line, &raw, currency, facts, verdict);
        }
    }

    /// The same for a field that is no longer on the list.
    pub(super) fn end_value(&mut self, line: u64, raw: &str, currency: Option<&str>, facts: &ParsedEntry) {
        for (raw, verdict) in judge_value(raw) {
            self.end(line, &raw, currency, facts, verdict);
        }
    }

    /// What is being told of a file of changes.
    pub(super) fn delta(&mut self) -> &mut Delta {
        self.list.delta.get_or_insert_default()
    }
}

/// The field as one address; where it is more than that, what stands in it.
fn judge_value(raw: &str) -> Vec<(String, Verdict)> {
    let whole = judge(raw, true);
    let words = raw.trim().contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '/' | '('));
    // As where a space is missing before it.
    let words = words || raw.contains("0x") || raw.contains("0X");
    if matches!(whole, Verdict::Reject(..)) && words {
        let mut parts = Vec::new();
        scan(raw, &mut |part, verdict| parts.push((part.to_owned(), verdict)));
        if !parts.is_empty() {
            return parts;
        }
    }
    vec![(raw.to_owned(), whole)]
}

/// One address in two places of a file: nothing that either says is lost, and the longer time on the list counts.
fn merge(held: &mut ParsedEntry, other: ParsedEntry) {
    if held.derived_from.is_some() && other.derived_from.is_none() {
        held.derived_from = None;
        held.row = other.row;
    }
    let mut names = other.aliases;
    match (&held.entity, other.entity) {
        (None, entity) => held.entity = entity,
        (Some(_), Some(entity)) => names.insert(0, entity),
        (Some(_), None) => {}
    }
    if held.label.is_none() {
        held.label = other.label;
    }
    if held.uid.is_none() {
        held.uid = other.uid;
    }
    for name in names {
        if held.entity.as_ref() != Some(&name) && !held.aliases.contains(&name) {
            held.aliases.push(name);
        }
    }
    for program in other.programs {
        if !held.programs.contains(&program) {
            held.programs.push(program);
        }
    }
    held.listed_from = match (held.listed_from, other.listed_from) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    held.delisted_on = match (held.delisted_on, other.delisted_on) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    };
}

/// As it is shown: cut to a readable length.
pub(super) fn shorten(text: &str) -> String {
    crate::text::cell(text.get(..400).unwrap_or(text), 80)
}

pub(super) fn some(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
