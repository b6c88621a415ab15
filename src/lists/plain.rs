//! The plain formats of lines: one address a line, CSV with a header.

use std::io::BufRead;

use super::address::{Verdict, judge};
use super::candidate::{Class, Collector, some};
use super::columns::Columns;
use super::source::{csv_line, ends_in_two, is_csv_end, lines, open_quote, with_csv_end};
use super::{ParsedEntry, parse_date};

/// No field of a list is longer: a quote that never ends would swallow the rest of the file.
const LONGEST_FIELD: usize = 64 << 10;

pub(super) fn refuse(reason: impl Into<String>) -> Verdict {
    Verdict::Reject(Class::Broken, reason.into())
}

/// One address a line: another one in what is said of it would be lost, as where a line's end or a quote is missing.
fn alone<const N: usize>(verdict: Verdict, said: [&Option<String>; N]) -> Verdict {
    let holds_another = said.into_iter().flatten().any(|text| {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word.len() >= 34 && matches!(judge(word, false), Verdict::Evm(..) | Verdict::Tron(..)))
    });
    match verdict {
        Verdict::Reject(..) => verdict,
        _ if holds_another => refuse("names another address beside this one, which would not be taken: one a line"),
        taken => taken,
    }
}

pub(super) fn text(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    lines(bytes, &mut |line, raw| {
        let content = raw.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            return Ok(());
        }
        let (address, label) = content.split_once(|c: char| c.is_whitespace() || c == ',').unwrap_or((content, ""));
        let mut facts = ParsedEntry::facts();
        let mut verdict = judge(address, false);
        // A line that is nothing but an address with white space in it.
        if matches!(verdict, Verdict::Reject(..))
            && let whole @ Verdict::Evm(..) = judge(content, false)
        {
            verdict = whole;
        } else {
            facts.label = some(label.trim_start_matches([',', ' ', '\t']).trim_matches('"'));
            verdict = alone(verdict, [&facts.label]);
        }
        out.take(line, content, None, &facts, verdict);
        Ok(())
    })
}

pub(super) fn csv(bytes: &mut dyn BufRead, columns: &Columns, out: &mut Collector<'_>) -> Result<(), String> {
    let two = ends_in_two(bytes)?;
    let delimiter = {
        let head = bytes.fill_buf().map_err(|error| error.to_string())?;
        let header = head.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        let count = |delimiter: u8| header.iter().filter(|b| **b == delimiter).count();
        [b',', b';', b'\t'].into_iter().max_by_key(|d| (count(*d), *d == b',')).unwrap_or(b',')
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(with_csv_end(bytes));
    let names: Vec<String> =
        reader.headers().map_err(|err| err.to_string())?.iter().map(str::to_ascii_lowercase).collect();
    let places = columns.places(&names)?;
    places.warn(&mut out.list);
    let (address, columns) = (places.address(), places.facts());
    let mut line = 1;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                if matches!(error.kind(), csv::ErrorKind::Io(_)) {
                    return Err(error.to_string());
                }
                line = csv_line(error.position(), two);
                out.take(line, "", None, &ParsedEntry::facts(), refuse(error.to_string()));
                continue;
            }
        };
        if is_csv_end(record.as_byte_record().iter()) {
            out.list.kind = out.kind.word()?;
            return Ok(());
        }
        line = csv_line(record.position(), two);
        if record.iter().any(|field| field.len() > LONGEST_FIELD) {
            break;
        }
        if let Some(word) = places.kind().and_then(|at| record.get(at)) {
            out.kind.row(word, line);
        }
        let [label, entity, programs, from, until, aliases, uid, currency] =
            columns.map(|c| c.and_then(|c| record.get(c)).and_then(some));
        let text = record.iter().collect::<Vec<_>>().join(",");
        let others = record
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != address && !columns.contains(&Some(*at)) && places.kind() != Some(*at));
        let others = others.map(|(_, text)| text).collect::<Vec<_>>().join("\n");
        let facts = ParsedEntry {
            label,
            entity,
            programs: split(programs.as_deref()),
            aliases: split(aliases.as_deref()),
            uid,
            ..ParsedEntry::facts()
        };
        let value = record.get(address).unwrap_or_default();
        let said = facts.clone();
        dated(out, Place { line, text: &text, currency: currency.as_deref() }, facts, value, [from, until]);
        out.mention(line, &others, &said);
    }
    Err(open_quote(line))
}

pub(super) fn split(all: Option<&str>) -> Vec<String> {
    all.map(|all| all.split([';', ',']).filter_map(some).collect()).unwrap_or_default()
}

/// Where an item stands, and how the file shows it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) line: u64,
    pub(super) text: &'a str,
    pub(super) currency: Option<&'a str>,
}

/// An address with dates that may be wrong: then nothing of it is taken.
pub(super) fn dated(
    out: &mut Collector<'_>,
    at: Place<'_>,
    mut facts: ParsedEntry,
    address: &str,
    [from, until]: [Option<String>; 2],
) {
    let date = |text: Option<String>| text.map(|text| parse_date(&text)).transpose();
    let verdict = match (date(from), date(until)) {
        (Ok(Some(from)), Ok(Some(until))) if until < from => refuse("ends before it begins"),
        (Ok(from), Ok(until)) => {
            (facts.listed_from, facts.delisted_on) = (from, until);
            alone(judge(address, at.currency.is_some()), [&facts.label, &facts.entity])
        }
        (Err(reason), _) | (_, Err(reason)) => refuse(reason),
    };
    out.take(at.line, at.text, at.currency, &facts, verdict);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Format, ParsedList, Source, parse};
    use super::*;

    const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
    const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";

    fn read(text: &str, format: Option<Format>) -> Result<ParsedList, String> {
        let mut bytes = std::io::Cursor::new(text.as_bytes().to_vec());
        let mut told = 0;
        let list = parse(&mut Source::open(&mut bytes)?, None, format, &mut |_| told += 1)?;
        let counts = list.counts;
        assert_eq!(counts.candidates, counts.accepted + counts.derived + counts.rejected);
        assert_eq!(counts.candidates, told, "each is told");
        assert_eq!(list.entries.len() as u64, counts.accepted + counts.derived - counts.repeated);
        assert_eq!(list.rejected.len() as u64, counts.rejected);
        Ok(list)
    }

    #[test]
    fn text_takes_labels_and_comments_and_reports_bad_lines_by_number() {
        let text =
            format!("# list\n{A} Ronin thief\n\n{},second # note\nnonsense\n{}\n", B.to_lowercase(), A.to_lowercase());
        let list = read(&text, None).unwrap();
        let labels: Vec<_> = list.entries.iter().map(|e| e.label.as_deref()).collect();
        assert_eq!(labels, [Some("Ronin thief"), Some("second")]);
        assert_eq!(list.rejected.iter().map(|r| r.line).collect::<Vec<_>>(), [5]);
        assert_eq!(list.counts.repeated, 1);
    }

    #[test]
    fn a_second_address_in_a_line_is_never_taken_for_what_is_said_of_the_first() {
        let tron = "TAqg8TXo8tmpaz7TwHS669Tgt8MPSWgoxB";
        let bad = [
            format!("{A} {B}\n"),
            format!("{A},{B}\n"),
            format!("{A}\r{B}\r"),
            format!("{A} {tron}\n"),
            format!("address,entity\n{A},see {B}\n"),
            format!("address,listed_from,delisted_on\n{A},2021-01-01,2020-01-01\n"),
        ];
        for text in bad {
            let list = read(&text, None).unwrap();
            assert_eq!((list.entries.len(), list.rejected.len()), (0, 1), "{text}: {list:?}");
        }
        assert!(read(&format!("address,address\n{A},{B}\n"), None).unwrap_err().contains("two columns"));
    }

    #[test]
    fn a_wrong_checksum_is_shown_and_not_mended() {
        let list = read(&A.replace("8Aaf", "8AAf"), None).unwrap();
        assert!(list.entries.is_empty());
        assert!(list.rejected[0].reason.contains("wrong checksum"), "{:?}", list.rejected);
    }

    #[test]
    fn csv_takes_known_columns_in_any_order() {
        let text = format!(
            "label,programs,address,listed_from\n\"Thief, the first\",DPRK3;CYBER2,{A},2022-04-14\nx,,{B},never\n"
        );
        let list = read(&text, None).unwrap();
        assert_eq!((list.format, list.entries.len()), (Format::Csv, 1));
        let entry = &list.entries[0];
        assert_eq!(entry.label.as_deref(), Some("Thief, the first"));
        assert_eq!(entry.programs, ["DPRK3", "CYBER2"]);
        assert_eq!(entry.listed_from, parse_date("2022-04-14").ok());
        assert_eq!((entry.row, list.rejected[0].line), (Some(2), 3));
    }

    #[test]
    fn a_header_without_an_address_column_is_no_list_of_addresses() {
        let format = |text: &str| Format::recognise(text.as_bytes()).unwrap();
        assert_eq!(format(&format!("wallet,Name\n{A},x\n")), Format::Csv);
        assert_eq!(format(&format!("# note, with a comma\n{A},x\n")), Format::Text);
        assert_eq!(format(&format!("{A}\n")), Format::Text);
        assert!(read(&format!("wallet,Name\n{A},x\n"), None).unwrap_err().contains("no column named address"));
    }

    #[test]
    fn a_quote_that_never_ends_is_no_list() {
        let open = "line 2 begins a quoted field that does not end";
        let text = format!("address,label\n{A},\"open\n{}", format!("{B},x\n").repeat(2000));
        assert!(read(&text, None).unwrap_err().contains(open));
        for cut in [format!("address,label\n{A},\"open"), format!("address,label\n{A},\"open quote\n")] {
            assert!(read(&cut, None).unwrap_err().contains(open), "{cut}");
        }
        for whole in ["\"shut\"", "5\" pipe", "\"a \"\"word\"\"\"", "x\n", "\"two\nlines\"\r\n"] {
            let list = read(&format!("address,label\n{A},{whole}"), None).unwrap();
            assert_eq!((list.entries.len(), list.rejected.len()), (1, 0), "{whole}");
        }
    }

    #[test]
    fn an_address_in_two_places_loses_nothing_of_either() {
        let tron = "TAqg8TXo8tmpaz7TwHS669Tgt8MPSWgoxB";
        let text = format!(
            "address,entity,programs,listed_from,delisted_on\n{tron},One,P1,2022-01-01,2023-01-01\n{A},Two,P2,2021-01-01,\n"
        );
        let list = read(&text, None).unwrap();
        assert_eq!((list.entries.len(), list.counts.derived, list.counts.repeated), (1, 1, 1));
        let entry = &list.entries[0];
        assert_eq!((entry.entity.as_deref(), entry.aliases.as_slice()), (Some("One"), ["Two".to_owned()].as_slice()));
        assert_eq!(entry.programs, ["P1", "P2"]);
        assert_eq!((entry.listed_from, entry.delisted_on), (parse_date("2021-01-01").ok(), None));
        assert_eq!(entry.derived_from, None, "it is listed by itself as well");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_every_line_is_accounted_for(text in "[ -~\n\u{400}-\u{460}]{0,200}") {
            let list = read(&text, Some(Format::Text)).unwrap();
            let lines = text.lines().filter(|l| !l.split('#').next().unwrap().trim().is_empty()).count() as u64;
            prop_assert_eq!(list.counts.candidates, lines);
            let _ = read(&text, Some(Format::Csv));
            let _ = read(&text, Some(Format::Json));
        }
    }
}
