//! The UK sanctions list in XML. It has no field for addresses on a chain: they stand in free text.

use std::io::BufRead;

use super::candidate::{Collector, some};
use super::date::day_first;
use super::record::{Field, Record, is_currency};
use super::xml::{Node, walk};

pub(super) fn parse(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let mut record = Record::new();
    let mut parts: [String; 6] = Default::default();
    let (mut whole, mut primary) = (String::new(), false);
    walk(bytes, &mut |path, node| {
        let Some(path) = path.strip_prefix("/Designations") else {
            return Err(format!("the root element is {path} and not Designations"));
        };
        let (text, line) = match node {
            Node::Open(..) => {
                if path == "/Designation" {
                    record = Record::new();
                }
                return Ok(());
            }
            Node::Close(text, line) => (text, line),
        };
        match path {
            "/DateGenerated" => out.list.published = day_first(text),
            "/Designation/UniqueID" => record.facts.uid = some(text),
            "/Designation/RegimeName" => record.program(text),
            "/Designation/DateDesignated" => record.listed(day_first(text)),
            "/Designation/Names/Name/NameType" => primary = text.trim().to_lowercase().starts_with("primary"),
            "/Designation/Names/Name" => {
                // Name6 is the family name, or the whole name of what is no person.
                whole.clear();
                for part in parts.iter_mut().filter(|part| !part.is_empty()) {
                    if !whole.is_empty() {
                        whole.push(' ');
                    }
                    whole.push_str(part);
                    part.clear();
                }
                record.name(&whole, std::mem::take(&mut primary));
            }
            "/Designation/NonLatinNames/NonLatinName/NameNonLatinScript" => record.name(text, false),
            "/Designation" => std::mem::replace(&mut record, Record::new()).finish(out),
            _ => {
                let Some(field) = path.strip_prefix("/Designation/") else { return Ok(()) };
                if let Some(number) = field.strip_prefix("Names/Name/Name").and_then(|n| n.parse::<usize>().ok())
                    && let Some(part) = number.checked_sub(1).and_then(|at| parts.get_mut(at))
                {
                    text.trim().clone_into(part);
                } else if is_currency(&field.replace("Crypto", "crypto ")) && !text.trim().is_empty() {
                    record.fields.push(Field { line, text: text.to_owned(), currency: None, ends: false });
                } else {
                    record.free(text, line)?;
                }
            }
        }
        Ok(())
    })
}
