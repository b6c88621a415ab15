//! OFAC's `SDN_ENHANCED.XML`, with entity, programs, addresses and dates in one place, and its files of changes, which have the same
//! elements with actions on them.

use std::collections::HashMap;
use std::io::BufRead;

use super::candidate::{Collector, some};
use super::record::{Field, Record, currency, is_currency};
use super::xml::{Attributes, Node, walk};
use super::{Format, parse_date};

/// What is being read of an entity.
struct State {
    /// Names of kinds of features by their ids, as the file has them.
    kinds: HashMap<String, String>,
    kind_at: Option<String>,
    record: Record,
    action: Action,
    name: Vec<String>,
    name_parts: [String; 2],
    primary: bool,
    feature: Feature,
}

#[derive(Default)]
struct Feature {
    kind: String,
    kind_id: Option<String>,
    values: Vec<(u64, String)>,
    /// What stood there before a change.
    old: Vec<(u64, String)>,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Action {
    #[default]
    None,
    Add,
    Change,
    Remove,
    Unknown,
}

impl Action {
    fn of(attributes: &Attributes) -> Self {
        match attributes.get("action").map(|text| text.trim().to_lowercase()).as_deref() {
            None | Some("") => Self::None,
            Some("add" | "added" | "new") => Self::Add,
            Some("remove" | "removed" | "delete" | "deleted") => Self::Remove,
            Some("change" | "changed" | "modify" | "modified" | "update" | "updated") => Self::Change,
            Some(_) => Self::Unknown,
        }
    }
}

pub(super) fn parse(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let mut state = State {
        kinds: HashMap::new(),
        kind_at: None,
        record: Record::new(),
        action: Action::None,
        name: Vec::new(),
        name_parts: Default::default(),
        primary: false,
        feature: Feature::default(),
    };
    if out.list.format == Format::OfacDelta {
        out.delta();
    }
    let mut root = false;
    walk(bytes, &mut |path, node| {
        let Some(path) = path.strip_prefix("/sanctionsData") else {
            return Err(format!("the root element is {path} and not sanctionsData"));
        };
        root = true;
        match node {
            Node::Open(attributes, line) => state.open(path, attributes, line, out),
            Node::Close(text, line) => state.close(path, text, line, out),
        }
    })?;
    if root { Ok(()) } else { Err("there is nothing in it".to_owned()) }
}

impl State {
    fn open(&mut self, path: &str, attributes: &Attributes, line: u64, out: &Collector<'_>) -> Result<(), String> {
        let action = Action::of(attributes);
        if action == Action::Unknown {
            return Err(format!(
                "line {line}: the action {:?} is none that is known: what it does to the list cannot be said",
                attributes.get("action").unwrap_or_default()
            ));
        }
        if action != Action::None && out.list.format != Format::OfacDelta {
            return Err("it has actions in it: it is a file of changes (--format ofac-delta)".to_owned());
        }
        match path {
            "/featureTypes/featureType" => {
                self.kind_at = attributes.get("featureTypeId").or_else(|| attributes.get("id")).map(ToOwned::to_owned);
            }
            "/entities/entity" => {
                self.record = Record::new();
                self.record.facts.uid = attributes.get("id").and_then(some);
                self.action = action;
                self.record.ends = action == Action::Remove;
            }
            "/entities/entity/names/name" => {
                (self.name, self.primary) = (Vec::new(), false);
            }
            "/entities/entity/sanctionsLists/sanctionsList" => {
                self.record.listed(attributes.get("datePublished").and_then(day));
            }
            "/entities/entity/features/feature" => {
                let action = if action == Action::None && self.action != Action::Change { self.action } else { action };
                self.feature = Feature { action, ..Feature::default() };
            }
            "/entities/entity/features/feature/type" => {
                self.feature.kind_id = attributes.get("featureTypeId").map(ToOwned::to_owned);
            }
            "/entities/entity/features/feature/value" => {
                self.feature.old.extend(attributes.get("oldValue").map(|old| (line, old.to_owned())));
                if action == Action::Remove {
                    self.feature.action = action;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, path: &str, text: &str, line: u64, out: &mut Collector<'_>) -> Result<(), String> {
        if path.starts_with("/featureTypes/featureType")
            && let (Some(id), Some(text)) = (&self.kind_at, some(text))
        {
            self.kinds.entry(id.clone()).or_insert(text);
        }
        match path {
            "/publicationInfo/dataAsOf" | "/publicationInfo/datePublished" | "/publicationInfo/publicationDate" => {
                out.list.published = out.list.published.or(day(text));
            }
            "/entities/entity/sanctionsPrograms/sanctionsProgram" => self.record.program(text),
            "/entities/entity/names/name/isPrimary" => self.primary = text.trim() == "true",
            "/entities/entity/names/name/translations/translation/formattedFullName" => {
                self.name.extend(some(text));
            }
            "/entities/entity/names/name/translations/translation/formattedFirstName" => {
                self.name_parts[0] = text.trim().to_owned();
            }
            "/entities/entity/names/name/translations/translation/formattedLastName" => {
                self.name_parts[1] = text.trim().to_owned();
            }
            "/entities/entity/names/name/translations/translation" => {
                let [first, last] = std::mem::take(&mut self.name_parts);
                if self.name.is_empty() {
                    let parts: Vec<String> = [last, first].into_iter().filter(|part| !part.is_empty()).collect();
                    self.name.extend(some(&parts.join(", ")));
                }
            }
            "/entities/entity/names/name" => {
                for name in std::mem::take(&mut self.name) {
                    self.record.name(&name, self.primary);
                }
            }
            "/entities/entity/features/feature/type" => text.trim().clone_into(&mut self.feature.kind),
            "/entities/entity/features/feature/value" if !text.trim().is_empty() => {
                self.feature.values.push((line, text.to_owned()));
            }
            "/entities/entity/features/feature" => self.end_feature(line)?,
            "/entities/entity" => self.end_entity(out),
            _ if path.starts_with("/entities/entity/") => self.record.free(text, line)?,
            _ => {}
        }
        Ok(())
    }

    fn kind(&self) -> String {
        match (&self.feature.kind, &self.feature.kind_id) {
            (kind, Some(id)) if kind.is_empty() => self.kinds.get(id).cloned().unwrap_or_default(),
            (kind, _) => kind.clone(),
        }
    }

    fn end_feature(&mut self, line: u64) -> Result<(), String> {
        let kind = self.kind();
        let feature = std::mem::take(&mut self.feature);
        let ends = feature.action == Action::Remove;
        if !is_currency(&kind) {
            // Another kind of feature may still have an address in its text; but not one that leaves.
            return feature.values.iter().filter(|_| !ends).try_for_each(|(line, text)| self.record.free(text, *line));
        }
        if feature.values.is_empty() {
            let field = Field { line, text: String::new(), currency: currency(&kind), ends };
            self.record.fields.push(field);
        }
        let old = feature.old.into_iter().map(|old| (old, true));
        for ((line, text), ends) in feature.values.into_iter().map(|value| (value, ends)).chain(old) {
            self.record.fields.push(Field { line, text, currency: currency(&kind), ends });
        }
        Ok(())
    }

    fn end_entity(&mut self, out: &mut Collector<'_>) {
        let record = std::mem::replace(&mut self.record, Record::new());
        if self.action == Action::Remove {
            out.delta().entities.extend(record.facts.entity.clone());
        }
        record.finish(out);
    }
}

/// The day of a date, whatever the hour and its zone: OFAC means the day.
pub(super) fn day(text: &str) -> Option<i64> {
    parse_date(text.trim().get(..10)?).ok()
}
