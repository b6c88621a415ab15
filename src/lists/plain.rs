//! The plain formats: one address a line, CSV with a header, a JSON array.

use std::collections::HashSet;

use alloy::primitives::Address;
use serde_json::Value;

use super::{ParsedEntry, ParsedList, Rejected, parse_date};

/// A plain format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One address a line, with an optional label after white space or a comma; `#` begins a comment.
    Text,
    /// A header line with a column `address`; known columns: label (or name), entity, programs (separated by `;` or `,`), listed_from, delisted_on.
    Csv,
    /// An array of addresses, or of objects with the same names as the CSV's columns.
    Json,
}

impl Format {
    /// The name on the command line and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// By what the file begins with.
    pub fn recognise(text: &str) -> Self {
        if text.trim_start().starts_with(['[', '{']) {
            return Self::Json;
        }
        let first =
            text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        // A header names columns: it has a separator, and no field of it is an address or tries to be one.
        let mut fields = first.split([',', ';', '\t']).map(|field| field.trim().trim_matches('"'));
        let names = fields.clone().any(|name| name.eq_ignore_ascii_case("address"))
            || first.contains([',', ';']) && !fields.any(|field| field.len() >= 20 || field.starts_with("0x"));
        if names { Self::Csv } else { Self::Text }
    }
}

/// Reads a file of that format.
///
/// # Errors
/// One line, where the file as a whole is not of the format.
pub fn parse(text: &str, format: Format) -> Result<ParsedList, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut out = Collector::default();
    match format {
        Format::Text => parse_text(text, &mut out),
        Format::Csv => parse_csv(text, &mut out)?,
        Format::Json => parse_json(text, &mut out)?,
    }
    Ok(out.list)
}

/// An address with or without `0x`, in lower or upper case, or in mixed case with the right checksum (EIP-55).
///
/// # Errors
/// Why it is none.
pub fn parse_address(text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("is not an address of 40 hex digits".to_owned());
    }
    let address: Address = digits.parse().map_err(|_| "is not an address".to_owned())?;
    let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    let checksum = address.to_checksum(None);
    if mixed && digits != &checksum[2..] {
        return Err(format!("has a wrong checksum: a letter may be mistyped (by its digits it would be {checksum})"));
    }
    Ok(address)
}

#[derive(Default)]
struct Collector {
    list: ParsedList,
    seen: HashSet<Address>,
}

impl Collector {
    fn take(&mut self, line: u64, text: &str, entry: Result<ParsedEntry, String>) {
        match entry {
            Ok(entry) if self.seen.insert(entry.address) => self.list.entries.push(entry),
            Ok(_) => self.list.repeated += 1,
            Err(reason) => self.list.rejected.push(Rejected { line, text: shorten(text), reason }),
        }
    }
}

fn shorten(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match clean.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

fn some(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn parse_text(text: &str, out: &mut Collector) {
    for (line, raw) in (1u64..).zip(text.lines()) {
        let content = raw.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        let (address, label) = content.split_once(|c: char| c.is_whitespace() || c == ',').unwrap_or((content, ""));
        let entry = parse_address(address).map(|address| ParsedEntry {
            label: some(label.trim_start_matches([',', ' ', '\t']).trim_matches('"')),
            ..ParsedEntry::bare(address)
        });
        out.take(line, content, entry);
    }
}

fn parse_csv(text: &str, out: &mut Collector) -> Result<(), String> {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let delimiter = [b',', b';', b'\t']
        .into_iter()
        .max_by_key(|d| (header.bytes().filter(|b| b == d).count(), *d == b','))
        .unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let names: Vec<String> =
        reader.headers().map_err(|err| err.to_string())?.iter().map(str::to_ascii_lowercase).collect();
    let column = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
    let Some(address) = column(&["address"]) else {
        return Err("the header has no column named address".to_owned());
    };
    let columns = [
        column(&["label", "name"]),
        column(&["entity"]),
        column(&["programs", "program"]),
        column(&["listed_from", "listed_on"]),
        column(&["delisted_on"]),
    ];
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                out.take(line, "", Err(error.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let [label, entity, programs, from, until] = columns.map(|c| c.and_then(|c| record.get(c)).and_then(some));
        let text = record.iter().collect::<Vec<_>>().join(",");
        out.take(
            line,
            &text,
            build(record.get(address).unwrap_or_default(), [label, entity, from, until], split(programs)),
        );
    }
    Ok(())
}

fn split(programs: Option<String>) -> Vec<String> {
    programs.map(|all| all.split([';', ',']).filter_map(some).collect()).unwrap_or_default()
}

fn build(address: &str, texts: [Option<String>; 4], programs: Vec<String>) -> Result<ParsedEntry, String> {
    let address = parse_address(address.trim())?;
    let [label, entity, from, until] = texts;
    let date = |text: Option<String>| text.map(|text| parse_date(&text)).transpose();
    Ok(ParsedEntry {
        label,
        entity,
        programs,
        listed_from: date(from)?,
        delisted_on: date(until)?,
        ..ParsedEntry::bare(address)
    })
}

fn parse_json(text: &str, out: &mut Collector) -> Result<(), String> {
    let value: Value = serde_json::from_str(text).map_err(|err| format!("it is no JSON: {err}"))?;
    let Value::Array(items) = value else { return Err("the JSON is not an array".to_owned()) };
    for (place, item) in (1u64..).zip(items) {
        let shown = item.to_string();
        let entry = match &item {
            Value::String(address) => parse_address(address.trim()).map(ParsedEntry::bare),
            Value::Object(fields) => from_object(fields),
            _ => Err("is neither an address nor an object".to_owned()),
        };
        out.take(place, &shown, entry);
    }
    Ok(())
}

fn from_object(fields: &serde_json::Map<String, Value>) -> Result<ParsedEntry, String> {
    let text = |names: &[&str]| -> Result<Option<String>, String> {
        match names.iter().find_map(|name| fields.get(*name)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(some(text)),
            Some(_) => Err(format!("has a {} that is no text", names[0])),
        }
    };
    let programs = match fields.get("programs").or_else(|| fields.get("program")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(all)) => split(Some(all.clone())),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).filter_map(some).collect(),
        Some(_) => return Err("has programs that are neither text nor an array".to_owned()),
    };
    let address = text(&["address"])?.ok_or("has no address")?;
    let facts =
        [text(&["label", "name"])?, text(&["entity"])?, text(&["listed_from", "listed_on"])?, text(&["delisted_on"])?];
    build(&address, facts, programs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
    const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";

    #[test]
    fn text_takes_labels_and_comments_and_reports_bad_lines_by_number() {
        let text =
            format!("# list\n{A} Ronin thief\n\n{},second # note\nnonsense\n{}\n", B.to_lowercase(), A.to_lowercase());
        let list = parse(&text, Format::recognise(&text)).unwrap();
        let labels: Vec<_> = list.entries.iter().map(|e| e.label.as_deref()).collect();
        assert_eq!(labels, [Some("Ronin thief"), Some("second")]);
        assert_eq!(list.rejected.iter().map(|r| r.line).collect::<Vec<_>>(), [5]);
        assert_eq!(list.repeated, 1);
    }

    #[test]
    fn a_wrong_checksum_is_shown_and_not_mended() {
        let wrong = A.replace("8Aaf", "8AAf");
        let list = parse(&wrong, Format::Text).unwrap();
        assert!(list.entries.is_empty());
        assert!(list.rejected[0].reason.contains("wrong checksum"), "{:?}", list.rejected);
    }

    #[test]
    fn csv_takes_known_columns_in_any_order() {
        let text = format!(
            "label,programs,address,listed_from\n\"Thief, the first\",DPRK3;CYBER2,{A},2022-04-14\nx,,{B},never\n"
        );
        assert_eq!(Format::recognise(&text), Format::Csv);
        let list = parse(&text, Format::Csv).unwrap();
        assert_eq!(list.entries.len(), 1);
        let entry = &list.entries[0];
        assert_eq!(entry.label.as_deref(), Some("Thief, the first"));
        assert_eq!(entry.programs, ["DPRK3", "CYBER2"]);
        assert_eq!(entry.listed_from, parse_date("2022-04-14").ok());
        assert_eq!(list.rejected[0].line, 3);
    }

    #[test]
    fn a_header_without_an_address_column_is_no_list_of_addresses() {
        assert_eq!(Format::recognise(&format!("wallet,Name\n{A},x\n")), Format::Csv);
        assert_eq!(Format::recognise(&format!("# note, with a comma\n{A},x\n")), Format::Text);
        assert_eq!(Format::recognise(&format!("{A}\n")), Format::Text);
        assert!(parse(&format!("wallet,Name\n{A},x\n"), Format::Csv).unwrap_err().contains("no column named address"));
    }

    #[test]
    fn json_takes_addresses_and_objects() {
        let text = format!(r#"["{A}", {{"address": "{B}", "label": "b", "programs": ["X"]}}, 5]"#);
        let list = parse(&text, Format::recognise(&text)).unwrap();
        assert_eq!(list.entries.len(), 2);
        assert_eq!(list.rejected[0].line, 3);
        assert!(parse("{}", Format::Json).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_every_line_is_accounted_for(text in "[ -~\n\u{400}-\u{460}]{0,200}") {
            let list = parse(&text, Format::Text).unwrap();
            let lines = text.lines().filter(|l| !l.split('#').next().unwrap().trim().is_empty()).count() as u64;
            prop_assert_eq!(list.entries.len() as u64 + list.rejected.len() as u64 + list.repeated, lines);
            let _ = parse(&text, Format::Csv);
            let _ = parse(&text, Format::Json);
        }
    }
}
