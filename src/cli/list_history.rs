//! `bolo watchlist history` and `bolo watchlist diff`: what the lists said when.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use alloy::primitives::Address;
use comfy_table::Table;
use serde::Serialize;
use serde_json::Value;

use super::args::Format;
use super::list_args::{DiffArgs, HistoryArgs};
use super::present::{ENTRY_CSV, EntryJson, clean, csv_record, json_text, plain_table, print_rows};
use super::watchlist::{date, is_list};
use super::{Context, Failure};
use crate::evidence::version_json;
use crate::lists::{parse_any_form, show_date};
use crate::store::{Access, EntryRow, EntryState, Store, VersionRow};

/// An entry of an address with what became of it.
#[derive(Serialize)]
struct Span {
    #[serde(flatten)]
    entry: EntryJson,
    state: &'static str,
    /// What it says otherwise than the entry that it took the place of.
    changed: Vec<&'static str>,
    ended_by: Option<Value>,
}

pub(super) fn history(context: &Context, args: &HistoryArgs) -> Result<u8, Failure> {
    let text = args.address.trim();
    let address = parse_any_form(text).map_err(|reason| Failure::input(format!("{text:?} {reason}")))?;
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let header = ["LIST", "FROM VERSION", "TO VERSION", "STATE", "LABEL", "ENTITY", "PROGRAMS", "CHANGED", "SOURCE"];
    let mut rows = Rows::new(
        args.format,
        &format!("{ENTRY_CSV},state,changed,ended_by_published,ended_by_sha256"),
        plain_table(header),
    )?;
    let mut before: Option<EntryRow> = None;
    store.history::<Failure>(address, |row| {
        let taken_over = before.as_ref().filter(|old| {
            old.list == row.list
                && old.state == EntryState::Superseded
                && old.ended_by.as_ref() == Some(&row.brought_by)
        });
        let changed = taken_over.map(|old| row.differs_from(old)).unwrap_or_default();
        let (state, ended_by) = (row.state.name(), row.ended_by.clone());
        let entry = EntryJson::new(&row);
        match args.format {
            Format::Json | Format::Jsonl => {
                let ended_by = ended_by.as_ref().map(version_json);
                rows.json(&Span { entry, state, changed, ended_by })?;
            }
            Format::Csv => {
                let mut fields = entry.csv_fields();
                let ended_by = ended_by.as_ref();
                fields.extend([
                    state.to_owned(),
                    changed.join(";"),
                    ended_by.map(|version| show_date(version.published)).unwrap_or_default(),
                    ended_by.and_then(|version| version.sha256).map(alloy::primitives::hex::encode).unwrap_or_default(),
                ]);
                rows.csv(&fields)?;
            }
            Format::Table => {
                rows.table.add_row(vec![
                    clean(&row.list, 30),
                    of(&row.brought_by),
                    ended_by.as_ref().map(of).unwrap_or_default(),
                    state.to_owned(),
                    clean(row.label.as_deref().unwrap_or_default(), 40),
                    clean(row.entity.as_deref().unwrap_or_default(), 40),
                    clean(&row.programs.join(" "), 30),
                    changed.join(" "),
                    clean(&row.brought_by.source, 40),
                ]);
            }
        }
        rows.count += 1;
        before = Some(row);
        Ok(())
    })?;
    if rows.finish()? == 0 {
        tracing::info!(%address, "was never on a list");
    }
    Ok(0)
}

/// The day of a version; of one that bears none, that of its import.
fn of(version: &VersionRow) -> String {
    let day = show_date(version.published);
    if version.published_given { day } else { format!("{day} (imported)") }
}

/// What became of an address between two dates.
#[derive(Serialize)]
struct Change {
    change: &'static str,
    address: String,
    list: String,
    changed: Vec<&'static str>,
    before: Option<EntryJson>,
    after: Option<EntryJson>,
}

pub(super) fn diff(context: &Context, args: &DiffArgs) -> Result<u8, Failure> {
    let (from, to) = (date(Some(&args.from))?.unwrap_or_default(), date(Some(&args.to))?.unwrap_or_default());
    if from > to {
        return Err(Failure::input(format!("{} is after {}: name the earlier date first", args.from, args.to)));
    }
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let list = args.list.as_deref();
    is_list(&store, list)?;
    // Numbers only: the entries themselves may be a million.
    let mut was: HashMap<(String, Address), i64> = HashMap::new();
    store.each_entry::<Failure>(None, list, Some(from), |row| {
        was.insert((row.list, row.address), row.id);
        Ok(())
    })?;
    let header = ["CHANGE", "ADDRESS", "LIST", "LABEL", "ENTITY", "PROGRAMS", "CHANGED"];
    let mut rows = Rows::new(
        args.format,
        "change,address,list,changed,label_before,entity_before,label_after,entity_after",
        plain_table(header),
    )?;
    store.each_entry::<Failure>(None, list, Some(to), |row| {
        let Some(id) = was.remove(&(row.list.clone(), row.address)) else { return rows.change(None, Some(&row)) };
        if id == row.id {
            return Ok(());
        }
        match store.entry(id)? {
            Some(old) if old.differs_from(&row).is_empty() => Ok(()),
            old => rows.change(old.as_ref(), Some(&row)),
        }
    })?;
    let mut ended: Vec<_> = was.into_iter().collect();
    ended.sort();
    for (_, id) in ended {
        rows.change(store.entry(id)?.as_ref(), None)?;
    }
    if rows.finish()? == 0 {
        tracing::info!("nothing changed");
    }
    Ok(0)
}

/// Rows that are printed as they come, in any form.
struct Rows {
    format: Format,
    out: BufWriter<std::io::Stdout>,
    table: Table,
    count: u64,
}

impl Rows {
    fn new(format: Format, columns: &str, table: Table) -> Result<Self, Failure> {
        let mut out = BufWriter::new(std::io::stdout());
        match format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv => writeln!(out, "{columns}")?,
            Format::Table | Format::Jsonl => {}
        }
        Ok(Self { format, out, table, count: 0 })
    }

    fn json(&mut self, row: &impl Serialize) -> Result<(), Failure> {
        if self.format == Format::Json {
            self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
        }
        self.out.write_all(json_text(row)?.as_bytes())?;
        if self.format == Format::Jsonl {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn csv(&mut self, fields: &[String]) -> Result<(), Failure> {
        Ok(self.out.write_all(&csv_record(fields)?)?)
    }

    fn change(&mut self, before: Option<&EntryRow>, after: Option<&EntryRow>) -> Result<(), Failure> {
        let Some(row) = after.or(before) else { return Ok(()) };
        let change = match (before, after) {
            (None, _) => "added",
            (_, None) => "ended",
            _ => "changed",
        };
        let changed = before.zip(after).map(|(before, after)| after.differs_from(before)).unwrap_or_default();
        let address = super::alert_json::checksum(row.address);
        match self.format {
            Format::Json | Format::Jsonl => self.json(&Change {
                change,
                address,
                list: row.list.clone(),
                changed,
                before: before.map(EntryJson::new),
                after: after.map(EntryJson::new),
            })?,
            Format::Csv => {
                let text = |row: Option<&EntryRow>, of: fn(&EntryRow) -> &Option<String>| {
                    row.and_then(|row| of(row).clone()).unwrap_or_default()
                };
                self.csv(&[
                    change.to_owned(),
                    address,
                    row.list.clone(),
                    changed.join(";"),
                    text(before, |row| &row.label),
                    text(before, |row| &row.entity),
                    text(after, |row| &row.label),
                    text(after, |row| &row.entity),
                ])?;
            }
            Format::Table => {
                self.table.add_row(vec![
                    change.to_owned(),
                    address,
                    clean(&row.list, 30),
                    clean(row.label.as_deref().unwrap_or_default(), 40),
                    clean(row.entity.as_deref().unwrap_or_default(), 40),
                    clean(&row.programs.join(" "), 30),
                    changed.join(" "),
                ]);
            }
        }
        self.count += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Failure> {
        print_rows(&mut self.out, self.format, &self.table, self.count)?;
        Ok(self.count)
    }
}
