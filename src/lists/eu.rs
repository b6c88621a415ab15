//! The EU's consolidated list of financial sanctions (FSF) in XML. Nearly all of it stands in attributes; addresses on a chain stand
//! in remarks and identifications.

use std::io::BufRead;

use super::candidate::{Collector, some};
use super::ofac_entities::day;
use super::record::{Field, Record, is_currency};
use super::xml::{Attributes, Node, walk};

const ENTITY: &str = "/export/sanctionEntity";

pub(super) fn parse(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let mut record = Record::new();
    walk(bytes, &mut |path, node| {
        if !path.starts_with("/export") {
            return Err(format!("the root element is {path} and not export"));
        }
        match node {
            Node::Open(attributes, _) if path == "/export" => {
                out.list.published = attributes.get("generationDate").and_then(day);
            }
            Node::Open(attributes, line) => {
                if let Some(path) = path.strip_prefix(ENTITY) {
                    open(&mut record, path, attributes, line)?;
                }
            }
            Node::Close(_, _) if path == ENTITY => std::mem::replace(&mut record, Record::new()).finish(out),
            Node::Close(text, line) => {
                if path.starts_with(ENTITY) {
                    record.free(text, line)?;
                }
            }
        }
        Ok(())
    })
}

fn open(record: &mut Record, path: &str, attributes: &Attributes, line: u64) -> Result<(), String> {
    match path {
        "" => {
            *record = Record::new();
            let facts = &mut record.facts;
            facts.uid = attributes.get("euReferenceNumber").or_else(|| attributes.get("logicalId")).and_then(some);
            record.listed(attributes.get("designationDate").and_then(day));
            // What the entity says of its designation is free text.
            return record.free(attributes.get("designationDetails").unwrap_or_default(), line);
        }
        "/regulation" => {
            record.program(attributes.get("programme").unwrap_or_default());
            let date = attributes.get("entryIntoForceDate").or_else(|| attributes.get("publicationDate"));
            record.listed(date.and_then(day));
        }
        "/nameAlias" => {
            // The first strong name is the entity's.
            record.name(attributes.get("wholeName").unwrap_or_default(), attributes.get("strong") == Some("true"));
        }
        "/identification" => {
            let kind = ["identificationTypeCode", "identificationTypeDescription"].map(|name| attributes.get(name));
            if let Some(number) = attributes.get("number").or_else(|| attributes.get("latinNumber"))
                && kind.into_iter().flatten().any(is_currency)
            {
                record.fields.push(Field { line, text: number.to_owned(), currency: None, ends: false });
                return Ok(());
            }
        }
        _ => {}
    }
    for (_, value) in attributes.iter() {
        record.free(value, line)?;
    }
    Ok(())
}
