//! OFAC's `SDN_ADVANCED.XML`: names, features and sanctions are joined by ids, and what an id means stands in the file's own tables.
//! No id is known beforehand.

use std::collections::HashMap;
use std::io::BufRead;

use super::candidate::{Collector, some};
use super::ofac_entities::day;
use super::record::{Field, Record, currency, is_currency};
use super::xml::{Attributes, Node, walk};

#[derive(Default)]
struct State {
    kinds: HashMap<String, String>,
    details: HashMap<String, String>,
    /// Ids of the kind of sanction that names a program.
    programs: Vec<String>,
    id: Option<String>,
    date: [String; 3],
    /// Parties with something to judge, by their profile; sanctions come after all parties.
    parties: Vec<Record>,
    by_profile: HashMap<String, usize>,
    record: Option<Record>,
    profile: Option<String>,
    primary: bool,
    primary_identity: bool,
    name: Vec<String>,
    kind: Option<String>,
    detail: Option<String>,
    entry: Option<usize>,
    is_program: bool,
    strays: Option<Record>,
}

const TABLES: &str = "/Sanctions/ReferenceValueSets/";
const PARTY: &str = "/Sanctions/DistinctParties/DistinctParty";
const ENTRY: &str = "/Sanctions/SanctionsEntries/SanctionsEntry";

pub(super) fn parse(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let mut state = State::default();
    walk(bytes, &mut |path, node| {
        if !path.starts_with("/Sanctions") {
            return Err(format!("the root element is {path} and not Sanctions"));
        }
        match node {
            Node::Open(attributes, _) => state.open(path, attributes),
            Node::Close(text, line) => state.close(path, text, line, out),
        }
    })?;
    if state.kinds.is_empty() && !state.parties.is_empty() {
        return Err("its table of feature types is missing, so that nothing tells what its ids mean".to_owned());
    }
    for record in state.parties.into_iter().chain(state.strays) {
        record.finish(out);
    }
    Ok(())
}

fn own(attributes: &Attributes, name: &str) -> Option<String> {
    attributes.get(name).and_then(some)
}

impl State {
    fn open(&mut self, path: &str, attributes: &Attributes) -> Result<(), String> {
        if path.starts_with(TABLES) {
            self.id = own(attributes, "ID");
            return Ok(());
        }
        if let Some(path) = path.strip_prefix(PARTY) {
            match path {
                "" => {
                    let mut record = Record::new();
                    record.facts.uid = own(attributes, "FixedRef");
                    (self.record, self.profile) = (Some(record), own(attributes, "FixedRef"));
                }
                "/Profile" => {
                    self.profile = own(attributes, "ID").or_else(|| self.profile.take());
                }
                "/Profile/Identity" => self.primary_identity = attributes.get("Primary") != Some("false"),
                "/Profile/Identity/Alias" => {
                    self.primary = self.primary_identity && attributes.get("Primary") == Some("true");
                }
                "/Profile/Identity/Alias/DocumentedName" => self.name.clear(),
                "/Profile/Feature" | "/Feature" => {
                    self.kind = own(attributes, "FeatureTypeID");
                    if let Some(id) = &self.kind
                        && !self.kinds.contains_key(id)
                    {
                        return Err(format!("the feature type {id} stands in no table of the file"));
                    }
                }
                _ if path.ends_with("/VersionDetail") => self.detail = own(attributes, "DetailReferenceID"),
                _ => {}
            }
        } else if let Some(path) = path.strip_prefix(ENTRY) {
            match path {
                "" => {
                    let profile = own(attributes, "ProfileID");
                    self.entry = profile.and_then(|profile| self.by_profile.get(&profile).copied());
                }
                "/EntryEvent/Date" => self.date = Default::default(),
                "/SanctionsMeasure" => {
                    let kind = attributes.get("SanctionsTypeID").unwrap_or_default();
                    self.is_program = self.programs.iter().any(|id| id == kind);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn close(&mut self, path: &str, text: &str, line: u64, out: &mut Collector<'_>) -> Result<(), String> {
        if let Some(path) = path.strip_prefix(TABLES) {
            if let (Some(id), Some(text)) = (self.id.take(), some(text)) {
                match path {
                    "FeatureTypeValues/FeatureType" => drop(self.kinds.insert(id, text)),
                    "DetailReferenceValues/DetailReference" => drop(self.details.insert(id, text)),
                    "SanctionsTypeValues/SanctionsType" if text.eq_ignore_ascii_case("program") => {
                        self.programs.push(id);
                    }
                    _ => {}
                }
            }
        } else if let Some(path) = path.strip_prefix(PARTY) {
            self.close_party(path, text, line)?;
        } else if let Some(path) = path.strip_prefix(ENTRY) {
            self.close_entry(path, text, line)?;
        } else if let Some(part) = path.strip_prefix("/Sanctions/DateOfIssue") {
            self.date_part(part, text);
            if part.is_empty() {
                out.list.published = self.date();
            }
        } else {
            self.stray(text, line)?;
        }
        Ok(())
    }

    fn close_party(&mut self, path: &str, text: &str, line: u64) -> Result<(), String> {
        let Some(record) = &mut self.record else { return Ok(()) };
        match path {
            "/Profile/Identity/Alias/DocumentedName/DocumentedNamePart/NamePartValue" => self.name.extend(some(text)),
            "/Profile/Identity/Alias/DocumentedName" => {
                record.name(&std::mem::take(&mut self.name).join(" "), self.primary);
            }
            "" => self.end_party(),
            _ if path.ends_with("/VersionDetail") => {
                let referred = self.detail.take().and_then(|id| self.details.get(&id));
                let kind = self.kind.as_ref().and_then(|id| self.kinds.get(id)).map_or("", String::as_str);
                for text in [Some(text), referred.map(String::as_str)].into_iter().flatten().filter_map(some) {
                    if is_currency(kind) {
                        record.fields.push(Field { line, text, currency: currency(kind), ends: false });
                    } else {
                        record.free(&text, line)?;
                    }
                }
            }
            _ => record.free(text, line)?,
        }
        Ok(())
    }

    /// Only parties that may have an address are kept: a file has tens of thousands.
    fn end_party(&mut self) {
        let Some(record) = self.record.take().filter(Record::may_matter) else { return };
        if let Some(profile) = self.profile.take() {
            self.by_profile.insert(profile, self.parties.len());
        }
        self.parties.push(record);
    }

    fn close_entry(&mut self, path: &str, text: &str, line: u64) -> Result<(), String> {
        let Some(record) = self.entry.and_then(|at| self.parties.get_mut(at)) else {
            return self.stray(text, line);
        };
        match path {
            "/SanctionsMeasure/Comment" if self.is_program => record.program(text),
            "/EntryEvent/Date" => {
                let date = self.date();
                if let Some(record) = self.entry.and_then(|at| self.parties.get_mut(at)) {
                    record.listed(date);
                }
            }
            _ => {
                if let Some(part) = path.strip_prefix("/EntryEvent/Date") {
                    self.date_part(part, text);
                } else {
                    record.free(text, line)?;
                }
            }
        }
        Ok(())
    }

    /// Text outside of parties and their entries, should ever an address stand there.
    fn stray(&mut self, text: &str, line: u64) -> Result<(), String> {
        if text.trim().len() >= 26 {
            let mut record = Record::new();
            record.free(text, line)?;
            if record.may_matter() {
                return self.strays.get_or_insert_with(Record::new).free(text, line);
            }
        }
        Ok(())
    }

    fn date_part(&mut self, part: &str, text: &str) {
        match part {
            "/Year" => text.trim().clone_into(&mut self.date[0]),
            "/Month" => text.trim().clone_into(&mut self.date[1]),
            "/Day" => text.trim().clone_into(&mut self.date[2]),
            _ => {}
        }
    }

    fn date(&self) -> Option<i64> {
        let [year, month, date] = &self.date;
        day(&format!("{year:0>4}-{month:0>2}-{date:0>2}"))
    }
}
