//! `bolo watchlist check`: one address after the other, each from the indexes, so that a million of them need no more memory than one.

use std::io::{BufRead, BufWriter, Read, Write};

use alloy::primitives::{Address, hex};
use serde::Serialize;
use serde_json::json;

use super::alert_json::{checksum, moment};
use super::args::Format;
use super::list_args::CheckArgs;
use super::present::{ENTRY_CSV, EntryJson, clean, csv_record, json_text};
use super::watchlist::{date, now};
use super::{Context, Failure};
use crate::lists::{parse_any_form, show_date};
use crate::store::{Access, EntryRow, StandingAlerts, Store};

/// Bad lines that are shown; all are counted.
const SHOWN: u64 = 10;
/// No address is that long.
const LONGEST: u64 = 4096;

pub(super) fn check(context: &Context, args: &CheckArgs) -> Result<u8, Failure> {
    let as_of = date(args.as_of.as_ref())?;
    let mut store = Store::open(&context.db, Access::Read)?;
    if !args.stdin {
        // Not where whoever writes the lines may take his time: a watch could not clear its log meanwhile.
        store = store.at_one_moment()?;
    }
    let mut check = Check {
        store,
        as_of,
        at: as_of.unwrap_or_else(now),
        printer: Printer::new(args.format)?,
        checked: 0,
        listed: 0,
        in_force: 0,
    };
    let bad = if args.stdin {
        check.lines(&mut std::io::stdin().lock())?.map(|(first, count)| {
            format!("bad lines: {count}, the first is line {first}; the other {} addresses were checked", check.checked)
        })
    } else {
        check.words(&args.addresses)?
    };
    let Check { checked, listed, in_force, printer, .. } = check;
    printer.finish()?;
    if args.stdin {
        tracing::info!(checked, listed, on_no_list = checked - listed, "addresses checked");
    }
    match bad {
        None if args.exit_code && in_force > 0 => Ok(LISTED),
        None => Ok(0),
        Some(message) => Err(Failure::input(message)),
    }
}

/// With `--exit-code`: some address is listed, and in force.
const LISTED: u8 = 10;

struct Check {
    store: Store,
    as_of: Option<i64>,
    /// That, or now.
    at: i64,
    printer: Printer,
    checked: u64,
    listed: u64,
    /// Of the listed: those with an entry in force.
    in_force: u64,
}

impl Check {
    /// Checks the addresses of the command line; what is wrong with those that are none.
    fn words(&mut self, words: &[String]) -> Result<Option<String>, Failure> {
        let mut bad = Vec::new();
        for text in words.iter().map(|word| word.trim()) {
            match parse_any_form(text) {
                Ok(address) => {
                    if !self.one(text, address)? {
                        self.clear(address)?;
                    }
                }
                Err(reason) => bad.push(format!("{:?} {reason}", clean(text, 80))),
            }
        }
        let rest = if self.checked > 0 { "; the others were checked" } else { "" };
        Ok((!bad.is_empty()).then(|| format!("{}{rest}", bad.join("; "))))
    }

    /// Prints what is known of an address, where it is listed.
    fn one(&mut self, text: &str, address: Address) -> Result<bool, Failure> {
        self.checked += 1;
        if !self.store.was_ever_listed(address)? {
            return Ok(false);
        }
        let mut entries = Vec::new();
        self.store.each_entry::<Failure>(Some(address), None, self.as_of, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        if entries.is_empty() {
            return Ok(false);
        }
        let (alerts, at) = (self.store.standing_alerts(address)?, self.at);
        let listed = entries.iter().any(|entry| entry.is_in_force(at));
        for (place, entry) in entries.into_iter().enumerate() {
            self.printer.found(&Found { text, first: place == 0, listed, at, entry, alerts })?;
        }
        self.listed += 1;
        self.in_force += u64::from(listed);
        Ok(true)
    }

    /// Says of a single address that it is on no list.
    fn clear(&mut self, address: Address) -> Result<(), Failure> {
        if self.printer.format != Format::Table {
            tracing::info!(%address, "is on no list");
            return Ok(());
        }
        let left: Vec<_> = match self.as_of {
            Some(_) => Vec::new(),
            None => self.store.left_lists(address)?,
        };
        let left = left.iter().map(|(list, at)| format!("; was on {} until {}", clean(list, 40), show_date(*at)));
        let alerts = in_words(self.store.standing_alerts(address)?).map(|words| format!("; {words}"));
        let more: String = left.chain(alerts).collect();
        self.printer.out.write_all(format!("{address} is on no list{more}\n").as_bytes())?;
        Ok(())
    }

    /// Checks a line at a time; the number of the first bad one, and how many there were.
    fn lines(&mut self, input: &mut impl BufRead) -> Result<Option<(u64, u64)>, Failure> {
        let failed = |error: std::io::Error| Failure::input(format!("cannot read standard input: {error}"));
        let mut bad: Option<(u64, u64)> = None;
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            if input.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            let whole = line.ends_with(b"\n") || (line.len() as u64) < LONGEST;
            if !whole {
                input.skip_until(b'\n').map_err(failed)?;
            }
            let text = String::from_utf8_lossy(&line);
            // A byte order mark is no part of the first address.
            let text = text.trim_start_matches('\u{feff}').split('#').next().unwrap_or_default().trim();
            let parsed = match (whole, text.is_empty()) {
                (true, true) => continue,
                (true, false) => parse_any_form(text),
                (false, _) => Err(format!("is longer than {LONGEST} bytes")),
            };
            match parsed {
                Ok(address) => {
                    self.one(text, address)?;
                }
                Err(reason) => {
                    let (_, count) = bad.get_or_insert((number, 0));
                    *count += 1;
                    if *count <= SHOWN {
                        tracing::warn!("line {number}: {:?} {reason}", clean(text, 80));
                    }
                }
            }
        }
        Ok(bad)
    }
}

/// A watch entry of an address that was checked.
struct Found<'a> {
    /// The address as it was given.
    text: &'a str,
    /// It is the first of that address.
    first: bool,
    /// Some entry of that address is in force.
    listed: bool,
    /// When that is asked for, unix seconds.
    at: i64,
    entry: EntryRow,
    alerts: StandingAlerts,
}

fn in_words(alerts: StandingAlerts) -> Option<String> {
    let (number, time) = alerts.last?;
    Some(format!("{} standing alert(s), the last in block {number} ({})", alerts.count, moment(time)))
}

/// Prints what was found as it comes.
struct Printer {
    format: Format,
    out: BufWriter<std::io::Stdout>,
    count: u64,
}

impl Printer {
    fn new(format: Format) -> Result<Self, Failure> {
        let mut out = BufWriter::new(std::io::stdout());
        match format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv => writeln!(out, "{ENTRY_CSV},checked,alerts,last_block,last_block_time,in_force")?,
            Format::Table | Format::Jsonl => {}
        }
        Ok(Self { format, out, count: 0 })
    }

    fn found(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.out.write_all(for_people(found).as_bytes())?,
            Format::Csv => self.out.write_all(&csv_record(&csv_fields(found))?)?,
            Format::Json | Format::Jsonl => {
                if self.format == Format::Json {
                    self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
                }
                let entry = Checked {
                    entry: EntryJson::new(&found.entry),
                    checked: found.text,
                    in_force: found.entry.is_in_force(found.at),
                    alerts: json!({
                        "count": found.alerts.count, "last_block": found.alerts.last.map(|(number, _)| number),
                        "last_block_time": found.alerts.last.map(|(_, time)| moment(time)),
                    }),
                };
                self.out.write_all(json_text(&entry)?.as_bytes())?;
                if self.format == Format::Jsonl {
                    self.out.write_all(b"\n")?;
                }
            }
        }
        self.count += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        if self.format == Format::Json {
            self.out.write_all(if self.count == 0 { b"]\n" } else { b"\n]\n" })?;
        }
        Ok(self.out.flush()?)
    }
}

#[derive(Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    entry: EntryJson,
    checked: &'a str,
    in_force: bool,
    alerts: serde_json::Value,
}

fn for_people(found: &Found<'_>) -> String {
    let Found { entry, alerts, .. } = found;
    let version = &entry.brought_by;
    let mut out = String::new();
    if found.first {
        let listed = if found.listed { "is LISTED" } else { "is on a list, and NOT IN FORCE by its dates" };
        out += &format!("{} {listed}", checksum(entry.address));
        // As it was given, where that says something else.
        if found.text.starts_with('T') {
            out += &format!(", as {}", found.text);
        }
        out += &format!("; {}\n", in_words(*alerts).unwrap_or_else(|| "no standing alert".to_owned()));
    }
    let said = |name: &str, value: Option<&String>| value.map(|value| format!("{name}{}", clean(value, 80)));
    let programs = Some(entry.programs.join(" ")).filter(|programs| !programs.is_empty());
    let dates = [
        entry
            .listed_from
            .map(|at| format!("{} {}", if at > found.at { "to be listed from" } else { "listed from" }, show_date(at))),
        entry
            .delisted_on
            .map(|at| format!("{} {}", if at > found.at { "to be delisted on" } else { "delisted on" }, show_date(at))),
    ];
    let facts = [
        said("label ", entry.label.as_ref()),
        said("entity ", entry.entity.as_ref()),
        said("programs ", programs.as_ref()),
        said("derived from ", entry.derived_from.as_ref()),
    ];
    let facts: Vec<_> = facts.into_iter().chain(dates).flatten().collect();
    out += &format!(
        "  {} ({}): {}\n",
        clean(&entry.list, 40),
        entry.kind.name(),
        if facts.is_empty() { "nothing more is said".to_owned() } else { facts.join("; ") }
    );
    let of = if version.published_given { "published" } else { "imported" };
    let sha256 = version.sha256.map(|hash| format!(", SHA-256 {}", hex::encode(hash))).unwrap_or_default();
    out +=
        &format!("    by the version {of} {}: {}{sha256}\n", show_date(version.published), clean(&version.source, 60));
    out
}

fn csv_fields(found: &Found<'_>) -> Vec<String> {
    let mut fields = EntryJson::new(&found.entry).csv_fields();
    let (number, time) = found.alerts.last.unzip();
    fields.extend([
        found.text.to_owned(),
        found.alerts.count.to_string(),
        number.map(|number| number.to_string()).unwrap_or_default(),
        time.map(moment).unwrap_or_default(),
        found.entry.is_in_force(found.at).to_string(),
    ]);
    fields
}
