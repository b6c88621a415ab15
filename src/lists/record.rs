//! One record of a list with its names, dates and everything in it that might hold an address. The addresses are judged when the
//! record is whole, since names and programs may come after them.

use super::ParsedEntry;
use super::candidate::{Collector, some};
use super::ofac_csv::take_remarks;
use super::scan::scan;
use super::source::LONGEST;

/// A field that holds an address, as the list says.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) currency: Option<String>,
    /// A file of changes takes it off the list.
    pub(super) ends: bool,
}

/// A record on its way.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) facts: ParsedEntry,
    pub(super) fields: Vec<Field>,
    /// Remarks as OFAC writes them.
    pub(super) remarks: String,
    free: String,
    row: u64,
    /// A file of changes takes the whole record off the list.
    pub(super) ends: bool,
}

impl Record {
    pub(super) fn new() -> Self {
        let (remarks, free) = (String::new(), String::new());
        Self { facts: ParsedEntry::facts(), fields: Vec::new(), remarks, free, row: 0, ends: false }
    }

    /// Text that may have addresses in it. What is in one record is looked at together: an address may be broken over fields.
    pub(super) fn free(&mut self, text: &str, line: u64) -> Result<(), String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        if self.row == 0 {
            self.row = line;
        }
        if self.free.len() + text.len() > LONGEST {
            return Err(format!("line {line}: a record is longer than {} MiB", LONGEST >> 20));
        }
        self.free.push_str(text);
        self.free.push('\n');
        Ok(())
    }

    /// The first name is the entity's, the others are aliases.
    pub(super) fn name(&mut self, name: &str, primary: bool) {
        let Some(name) = some(name) else { return };
        let facts = &mut self.facts;
        if primary && facts.entity.is_none() {
            facts.aliases.retain(|alias| *alias != name);
            facts.entity = Some(name);
        } else if facts.entity.as_ref() != Some(&name) && !facts.aliases.contains(&name) {
            facts.aliases.push(name);
        }
    }

    pub(super) fn program(&mut self, program: &str) {
        if let Some(program) = some(program)
            && !self.facts.programs.contains(&program)
        {
            self.facts.programs.push(program);
        }
    }

    /// The earliest of several dates.
    pub(super) fn listed(&mut self, date: Option<i64>) {
        self.facts.listed_from = match (self.facts.listed_from, date) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Judges all that is in it.
    pub(super) fn finish(mut self, out: &mut Collector<'_>) {
        if self.facts.entity.is_none() && !self.facts.aliases.is_empty() {
            self.facts.entity = Some(self.facts.aliases.remove(0));
        }
        for field in &self.fields {
            let currency = field.currency.as_deref();
            if field.ends {
                out.end_value(field.line, &field.text, currency, &self.facts);
            } else {
                out.value(field.line, &field.text, currency, &self.facts);
            }
        }
        if !self.remarks.is_empty() {
            take_remarks(out, self.row, &self.remarks, &self.facts, false);
        }
        if self.ends {
            scan(&self.free, &mut |raw, verdict| out.end(self.row, raw, None, &self.facts, verdict));
        } else {
            out.text(self.row, &self.free, &self.facts);
        }
    }

    /// Whether there is anything in it that would be a candidate.
    pub(super) fn may_matter(&self) -> bool {
        let mut found = !self.fields.is_empty() || !self.remarks.is_empty();
        if !found {
            scan(&self.free, &mut |_, _| found = true);
        }
        found
    }
}

/// Whether a list's word for a kind of field says that it holds an address on some chain.
pub(super) fn is_currency(kind: &str) -> bool {
    let kind = kind.to_lowercase();
    ["digital currency", "virtual currency", "crypto"].iter().any(|word| kind.contains(word))
}

/// The currency in `Digital Currency Address - ETH`.
pub(super) fn currency(kind: &str) -> Option<String> {
    kind.rsplit_once(['-', '–', ':']).and_then(|(_, currency)| some(currency))
}
