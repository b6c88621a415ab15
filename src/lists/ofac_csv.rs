//! OFAC's `sdn.csv`: no header, twelve columns, and remarks that are cut at 1000 characters, within a word. The rest of them is in
//! `sdn_comments.csv`. Most digital currency addresses stand there.

use std::collections::HashMap;
use std::io::BufRead;

use super::address::{Verdict, judge};
use super::candidate::{Class, Collector, some};
use super::scan::scan;
use super::source::{csv_line, ends_in_two, is_csv_end, open_quote, with_csv_end};
use super::{ParsedEntry, Source};

/// Where the remarks of `sdn.csv` are cut.
const CUT: usize = 1000;
/// What OFAC writes before each address, whatever the currency.
const MARK: &str = "Digital Currency Address";

pub(super) fn parse(
    file: &mut Source<'_>,
    comments: Option<&mut Source<'_>>,
    out: &mut Collector<'_>,
) -> Result<(), String> {
    let mut rest = match comments {
        Some(comments) => Some(comments.read(read_comments)?),
        None => file.read_named("sdn_comments.csv", read_comments)?,
    };
    let joined = rest.is_some();
    let (mut cut, mut ended) = (0, false);
    file.read(|bytes| {
        records(bytes, |line, row| {
            if row.len() == 1 && row[0].trim_matches('\u{1a}').trim().is_empty() {
                ended |= row[0].contains('\u{1a}'); // The file ends as those of CP/M did.
                return Ok(());
            }
            let [number, name, _, program, title, _, _, _, _, _, owner, remarks] = row else {
                // To take the half of a list is to end the other half.
                return Err(format!(
                    "line {line} has {} columns and not twelve: the file is cut off, or no sdn.csv",
                    row.len()
                ));
            };
            let rest = rest.as_mut().and_then(|rest| rest.remove(number.trim()));
            let is_cut = rest.is_none() && was_cut(remarks);
            cut += u64::from(is_cut);
            let remarks = format!("{remarks}{}", rest.unwrap_or_default());
            let facts = ParsedEntry {
                entity: value(name),
                uid: value(number),
                programs: programs(program),
                aliases: aliases(&remarks),
                ..ParsedEntry::facts()
            };
            let others = [name, title, owner].map(String::as_str).join("\n");
            out.text(line, &others, &facts);
            take_remarks(out, line, &remarks, &facts, is_cut);
            Ok(())
        })
    })?;
    if !ended {
        out.list.warnings.push("OFAC's mark of the end (0x1a) is missing: the file may be cut off".to_owned());
    }
    if cut > 0 {
        let why = if joined { "sdn_comments.csv does not go on with them" } else { "sdn_comments.csv is missing" };
        out.list
            .warnings
            .push(format!("INCOMPLETE: the remarks of {cut} entries are cut off, and their addresses: {why}"));
    }
    if let Some(left) = rest.filter(|rest| !rest.is_empty()) {
        let mut numbers: Vec<_> = left.iter().collect();
        numbers.sort();
        for (number, text) in numbers {
            let facts = ParsedEntry { uid: value(number), ..ParsedEntry::facts() };
            scan(text, &mut |raw, _| {
                let reason = "belongs to no entry of sdn.csv: are the two files of the same day?".to_owned();
                out.take(0, raw, None, &facts, Verdict::Reject(Class::Broken, reason));
            });
        }
        out.list.warnings.push(format!(
            "{} remarks in sdn_comments.csv belong to no entry of sdn.csv: are the two of the same day?",
            left.len()
        ));
    }
    Ok(())
}

/// The remarks of `SDN.XML` and `sdn.csv`: addresses behind their mark, and free text.
pub(super) fn take_remarks(out: &mut Collector<'_>, line: u64, remarks: &str, facts: &ParsedEntry, is_cut: bool) {
    let mut free = String::new();
    let mut parts = remarks.split(';').peekable();
    while let Some(part) = parts.next() {
        let Some((_, after)) = part.split_once(MARK) else {
            free.push_str(part);
            free.push(';');
            continue;
        };
        let after = after.trim_start_matches([' ', '-', ':']);
        let (currency, address) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
        let address = address.trim().trim_end_matches('.');
        if is_cut && parts.peek().is_none() && matches!(judge(address, true), Verdict::Reject(..)) {
            let reason = "is cut off where the remark is".to_owned();
            out.take(line, address, Some(currency), facts, Verdict::Reject(Class::Broken, reason));
        } else {
            out.value(line, address, Some(currency), facts);
        }
    }
    out.text(line, &free, facts);
}

/// A whole remark ends with a full stop, and none is longer than this.
fn was_cut(remarks: &str) -> bool {
    let length = remarks.chars().count();
    length >= CUT || (length >= CUT - 20 && !remarks.trim_end().ends_with('.'))
}

/// `-0-` stands for nothing.
fn value(field: &str) -> Option<String> {
    some(field).filter(|text| text != "-0-")
}

/// Programs stand in brackets where there are several: `SDGT] [IFSR`.
fn programs(field: &str) -> Vec<String> {
    field.split(['[', ']', ';']).filter_map(value).collect()
}

/// `a.k.a. 'HYDRA'`, as the remarks have weak aliases.
pub(super) fn aliases(remarks: &str) -> Vec<String> {
    let names = remarks.split(';').filter_map(|part| {
        let (kind, name) = part.trim().trim_end_matches('.').split_once(" '")?;
        (kind.ends_with("k.a.")).then(|| some(name.trim_end_matches('\''))).flatten()
    });
    names.collect()
}

fn read_comments(bytes: &mut dyn BufRead) -> Result<HashMap<String, String>, String> {
    let mut rest: HashMap<String, String> = HashMap::new();
    records(bytes, |line, row| match row {
        [number, remark] => {
            rest.entry(number.trim().to_owned()).or_default().push_str(remark);
            Ok(())
        }
        [only] if only.trim_matches('\u{1a}').trim().is_empty() => Ok(()),
        _ => Err(format!("sdn_comments.csv line {line} is not a number and a remark")),
    })?;
    Ok(rest)
}

/// Rows with their lines. Names in old files are Latin-1.
fn records(bytes: &mut dyn BufRead, mut each: impl FnMut(u64, &[String]) -> Result<(), String>) -> Result<(), String> {
    let two = ends_in_two(bytes)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(with_csv_end(bytes));
    let mut line = 1;
    for record in reader.byte_records() {
        let record = record.map_err(|error| error.to_string())?;
        if is_csv_end(record.iter()) {
            return Ok(());
        }
        line = csv_line(record.position(), two);
        let row: Vec<String> = record.iter().map(decode).collect();
        if row.iter().any(|field| field.len() > 1 << 20) {
            break;
        }
        each(line, &row)?;
    }
    Err(open_quote(line))
}

fn decode(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), ToOwned::to_owned)
}
