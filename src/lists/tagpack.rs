//! GraphSense TagPacks: YAML with a header whose fields count for every tag that has none of its own. Read as a stream of events, and
//! aliases are refused: so a file cannot unfold into more than it is.

use std::collections::BTreeMap;
use std::io::BufRead;

use saphyr_parser::{Event, Parser};

use super::candidate::{Collector, some};
use super::ofac_entities::day;
use super::{ParsedEntry, source};

/// A tag pack is written by people.
const LARGEST: u64 = 256 << 20;

/// Fields of a tag or of the header, with the line where it begins.
#[derive(Default)]
struct Fields {
    line: u64,
    all: BTreeMap<String, String>,
}

pub(super) fn parse(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let text = source::text(bytes, LARGEST)?;
    let (header, tags) = read(&text)?;
    out.list.published = header.all.get("lastmod").and_then(|date| day(date));
    if tags.is_empty() {
        return Err("it has no tags".to_owned());
    }
    for tag in tags {
        let get = |name: &str| tag.all.get(name).or_else(|| header.all.get(name)).and_then(|text| some(text));
        let facts = ParsedEntry { label: get("label"), entity: get("actor"), ..ParsedEntry::facts() };
        let currency = get("currency").or_else(|| get("network"));
        let address = tag.all.get("address").map_or("", String::as_str);
        out.value(tag.line, address, currency.as_deref(), &facts);
        // What else is said of a tag may name others.
        for (name, text) in &tag.all {
            if !["address", "source", "currency", "network"].contains(&name.as_str()) {
                out.mention(tag.line, text, &facts);
            }
        }
    }
    Ok(())
}

/// The header and the tags. What is nested deeper than a tag's fields counts as text of that field.
fn read(text: &str) -> Result<(Fields, Vec<Fields>), String> {
    let (mut header, mut tags) = (Fields::default(), Vec::new());
    let mut tag = Fields::default();
    let mut depth = 0usize;
    let mut keys: [Option<String>; 2] = [None, None];
    let mut in_tags = false;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("it is no YAML: {error}"))?;
        match event {
            Event::Alias(_) => {
                return Err(format!("line {}: YAML aliases are not read: write the value out", span.start.line()));
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                depth += 1;
                if depth > 32 {
                    return Err("it is nested more than 32 deep".to_owned());
                }
                match depth {
                    1 if matches!(event, Event::SequenceStart(..)) => {
                        return Err("it is a list and not a tag pack with a header".to_owned());
                    }
                    2 => in_tags = keys[0].as_deref() == Some("tags"),
                    3 => tag = Fields { line: span.start.line() as u64, all: BTreeMap::new() },
                    _ => {}
                }
            }
            Event::MappingEnd | Event::SequenceEnd => {
                match depth {
                    2 => (keys[0], in_tags) = (None, false),
                    3 if in_tags => {
                        tags.push(std::mem::take(&mut tag));
                        keys[1] = None;
                    }
                    4 => keys[1] = None,
                    _ => {}
                }
                depth = depth.saturating_sub(1);
            }
            Event::Scalar(value, ..) => match (depth, in_tags) {
                (1, _) => match keys[0].take() {
                    None => keys[0] = Some(value.into_owned()),
                    Some(key) => drop(header.all.insert(key, value.into_owned())),
                },
                // A tag that is an address and no more.
                (2, true) => {
                    let all = BTreeMap::from([("address".to_owned(), value.into_owned())]);
                    tags.push(Fields { line: span.start.line() as u64, all });
                }
                (3, true) => match keys[1].take() {
                    None => keys[1] = Some(value.into_owned()),
                    Some(key) if tag.all.contains_key(&key) => {
                        return Err(format!("line {}: a tag has {key:?} twice", span.start.line()));
                    }
                    Some(key) => drop(tag.all.insert(key, value.into_owned())),
                },
                (4.., true) => {
                    let key = keys[1].clone().unwrap_or_default();
                    let held = tag.all.entry(key).or_default();
                    held.push_str(&value);
                    held.push('\n');
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok((header, tags))
}
