//! OFAC's `SDN.XML`: digital currency addresses are ids of an entry.

use std::io::BufRead;

use super::candidate::{Collector, some};
use super::date::month_first;
use super::record::{Field, Record, currency, is_currency};
use super::xml::{Node, walk};

pub(super) fn parse(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let mut record = Record::new();
    let mut names: [String; 2] = Default::default();
    let mut kind = String::new();
    let mut number: Option<(u64, String)> = None;
    let (mut entries, mut said) = (0u64, None);
    walk(bytes, &mut |path, node| {
        let Some(path) = path.strip_prefix("/sdnList") else {
            return Err(format!("the root element is {path} and not sdnList"));
        };
        let (text, line) = match node {
            Node::Open(..) => {
                if path == "/sdnEntry" {
                    record = Record::new();
                    names = Default::default();
                }
                return Ok(());
            }
            Node::Close(text, line) => (text, line),
        };
        match path {
            "/publshInformation/Publish_Date" | "/publishInformation/Publish_Date" => {
                out.list.published = month_first(text);
            }
            "/publshInformation/Record_Count" | "/publishInformation/Record_Count" => {
                said = text.trim().parse::<u64>().ok();
            }
            "/sdnEntry/uid" => record.facts.uid = some(text),
            "/sdnEntry/firstName" | "/sdnEntry/akaList/aka/firstName" => text.trim().clone_into(&mut names[1]),
            "/sdnEntry/lastName" => {
                text.trim().clone_into(&mut names[0]);
                // Given names come before the family name; the entry's own are whole with it.
                record.name(std::mem::take(&mut names).join(", ").trim_end_matches(", "), true);
            }
            "/sdnEntry/akaList/aka/lastName" => text.trim().clone_into(&mut names[0]),
            "/sdnEntry/akaList/aka" => {
                record.name(std::mem::take(&mut names).join(", ").trim_matches([',', ' ']), false);
            }
            "/sdnEntry/programList/program" => record.program(text),
            "/sdnEntry/idList/id/idType" => text.trim().clone_into(&mut kind),
            "/sdnEntry/idList/id/idNumber" => number = Some((line, text.to_owned())),
            "/sdnEntry/idList/id" => {
                let kind = std::mem::take(&mut kind);
                match number.take() {
                    Some((line, text)) if is_currency(&kind) => {
                        record.fields.push(Field { line, text, currency: currency(&kind), ends: false });
                    }
                    Some((line, text)) => record.free(&text, line)?,
                    None => {}
                }
            }
            "/sdnEntry/remarks" => {
                record.remarks.push_str(text);
                record.free(" ", line)?;
            }
            "/sdnEntry" => {
                entries += 1;
                std::mem::replace(&mut record, Record::new()).finish(out);
            }
            _ if path.starts_with("/sdnEntry/") => record.free(text, line)?,
            _ => {}
        }
        Ok(())
    })?;
    if let Some(said) = said.filter(|said| *said != entries) {
        out.list.warnings.push(format!("it says that it has {said} entries, and has {entries}"));
    }
    Ok(())
}
