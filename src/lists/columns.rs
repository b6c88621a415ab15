//! The columns of a CSV list: which field each one is, by its own name or by the one that the user gives.

use super::ParsedList;

/// The fields, each with the names that its column may have.
const FIELDS: [(&str, &[&str]); 10] = [
    ("address", &["address"]),
    ("label", &["label", "name"]),
    ("entity", &["entity"]),
    ("programs", &["programs", "program"]),
    ("listed_from", &["listed_from", "listed_on", "listed"]),
    ("delisted_on", &["delisted_on"]),
    ("aliases", &["aliases"]),
    ("uid", &["uid"]),
    ("currency", &["currency", "asset", "ticker", "chain"]),
    ("kind", &["kind"]),
];

/// Names that the user gives to columns: `(field, name in lower case)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(Vec<(&'static str, String)>);

impl Columns {
    /// Whether no column has another name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a field from the column of that name.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn rename(&mut self, field: &str, name: &str) -> Result<(), String> {
        let known = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(field));
        let Some((field, _)) = known else {
            let all: Vec<_> = FIELDS.iter().map(|(known, _)| *known).collect();
            return Err(format!("there is no field {field:?}, only {}", all.join(", ")));
        };
        if name.is_empty() {
            return Err("the column has no name".to_owned());
        }
        let name = name.to_lowercase();
        if self.0.iter().any(|(known, column)| known == field || *column == name) {
            return Err("the field or the column is named twice".to_owned());
        }
        self.0.push((field, name));
        Ok(())
    }

    /// Where each field stands in a header, its names in lower case.
    ///
    /// # Errors
    /// One line: a column is named twice, or there is none for the addresses.
    pub(super) fn places(&self, header: &[String]) -> Result<Places, String> {
        let twice = header.iter().enumerate().find(|(at, name)| !name.is_empty() && header[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(format!("the header has two columns named {name}"));
        }
        let at = |name: &str| header.iter().position(|column| column == name);
        let mut fields = [None; FIELDS.len()];
        for ((field, names), place) in FIELDS.iter().zip(&mut fields) {
            *place = match self.0.iter().find(|(renamed, _)| renamed == field) {
                Some((_, name)) => Some(
                    at(name)
                        .ok_or_else(|| format!("the header has no column named {name}, only {}", listed(header)))?,
                ),
                // A column that the user named for another field is no longer this one.
                None => {
                    let free = |name: &&&str| self.0.iter().all(|(_, renamed)| renamed != *name);
                    names.iter().filter(free).find_map(|name| at(name))
                }
            };
        }
        if fields[0].is_none() {
            return Err(format!(
                "the header has no column named address, only {}: name the column with --column address=NAME",
                listed(header)
            ));
        }
        let unread = (0..header.len()).filter(|at| !fields.contains(&Some(*at)) && !header[*at].is_empty());
        Ok(Places { fields, unread: unread.map(|at| header[at].clone()).collect() })
    }
}

pub(super) fn listed<'a>(header: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<_> =
        header.into_iter().filter(|name| !name.is_empty()).map(|name| crate::text::cell(name, 40)).collect();
    names.join(", ")
}

/// Where the fields of a CSV file stand.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// By field, in the order of [`FIELDS`].
    fields: [Option<usize>; FIELDS.len()],
    /// Columns that are not read.
    unread: Vec<String>,
}

impl Places {
    /// The column of the addresses.
    pub(super) fn address(&self) -> usize {
        self.fields[0].unwrap_or_default()
    }

    /// The fields but for the address and the kind.
    pub(super) fn facts(&self) -> [Option<usize>; 8] {
        let [_, label, entity, programs, from, until, aliases, uid, currency, _] = self.fields;
        [label, entity, programs, from, until, aliases, uid, currency]
    }

    /// The column that says what the list is.
    pub(super) fn kind(&self) -> Option<usize> {
        self.fields[9]
    }

    /// Names the columns that are not read.
    pub(super) fn warn(&self, list: &mut ParsedList) {
        if !self.unread.is_empty() {
            let unread = listed(&self.unread);
            list.warnings
                .push(format!("columns that are not read: {unread} (--column FIELD=NAME reads one as a field)"));
        }
    }
}

/// What the rows say that the list is: one word, or none.
#[derive(Debug, Default)]
pub(super) struct Kind {
    first: Option<(String, u64)>,
    conflict: Option<String>,
}

impl Kind {
    /// The kind of a row.
    pub(super) fn row(&mut self, kind: &str, line: u64) {
        let kind = kind.trim().to_lowercase();
        match &self.first {
            _ if kind.is_empty() || self.conflict.is_some() => {}
            None => self.first = Some((kind, line)),
            Some((first, _)) if *first == kind => {}
            Some((first, at)) => {
                self.conflict = Some(format!(
                    "a list has one kind, and this one has several: {:?} in line {at}, {:?} in line {line}; split it into one file for each",
                    crate::text::cell(first, 40),
                    crate::text::cell(&kind, 40)
                ));
            }
        }
    }

    /// The kind of all rows.
    ///
    /// # Errors
    /// One line: two rows disagree.
    pub(super) fn word(&mut self) -> Result<Option<String>, String> {
        match self.conflict.take() {
            Some(conflict) => Err(conflict),
            None => Ok(self.first.take().map(|(kind, _)| kind)),
        }
    }
}
