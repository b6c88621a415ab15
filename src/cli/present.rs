//! How alerts and entries are printed: JSON to the letter of CONTRACT, CSV, and tables for people.

use std::io::{BufWriter, Write};

use alloy::primitives::Address;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

use super::Failure;
use super::alert_json::{AlertJson, ChainWords, checksum, counterparty, csv_line, in_units, moment};
use super::args::Format;
use crate::decode::AssetStandard;
use crate::evidence::version_json;
use crate::lists::show_date;
use crate::redact::redacted;
use crate::store::{AlertRow, EntryRow};
use crate::text::{cell, csv_field, visible_lines};

/// Writes text to stdout, without anything in it that a terminal would act on; a closed pipe ends it well.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(visible_lines(text).as_bytes())
}

/// Writes to stdout what is no text for people; a closed pipe ends it well.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// A value as JSON in one line, with what a terminal would act on as `\\uXXXX`.
pub(super) fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::input(error.to_string()))?;
    Ok(crate::text::json(&text).into_owned())
}

/// Prints alerts as they come, in any form.
pub(super) struct AlertPrinter {
    format: Format,
    chain: ChainWords,
    out: BufWriter<std::io::Stdout>,
    table: Table,
    /// Addresses, hashes and ids are shown whole in tables.
    wide: bool,
    count: u64,
}

const CSV_HEADER: &str = "id,status,severity,chain_id,block_number,block_hash,timestamp,tx_hash,tx_index,tx_from,tx_to,success,kind,\
plane,log_index,trace_address,sub_index,from,to,asset_id,contract,symbol,decimals,amount,amount_display,token_id,watched,direction,\
label,list,entity,programs,designation,counterparty,triage,triage_reasons,proof,endpoint,seen_at,replaces,retroactive,detail";

impl AlertPrinter {
    pub(super) fn new(format: Format, chain: ChainWords, wide: bool) -> Result<Self, Failure> {
        let mut out = BufWriter::new(std::io::stdout());
        match format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv => writeln!(out, "{CSV_HEADER}")?,
            Format::Table | Format::Jsonl => {}
        }
        let table = plain_table([
            "TIME (UTC)",
            "BLOCK",
            "STATUS",
            "SEVERITY",
            "KIND",
            "WATCHED",
            "SIDE",
            "COUNTERPARTY",
            "AMOUNT",
            "ASSET",
            "TX",
            "ID",
        ]);
        Ok(Self { format, chain, out, table, wide, count: 0 })
    }

    pub(super) fn alert(&mut self, row: &AlertRow) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => self.out.write_all(&AlertJson::new(row, &self.chain).line()?)?,
            Format::Json => {
                self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
                self.out.write_all(json_text(&AlertJson::new(row, &self.chain))?.as_bytes())?;
            }
            Format::Csv => {
                let line = csv_line(&AlertJson::new(row, &self.chain))?;
                self.out.write_all(&line)?;
            }
            Format::Table => {
                self.table.add_row(table_row(row, &self.chain, self.wide));
            }
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<u64, Failure> {
        print_rows(&mut self.out, self.format, &self.table, self.count)?;
        Ok(self.count)
    }
}

fn table_row(row: &AlertRow, chain: &ChainWords, wide: bool) -> Vec<String> {
    let hex = |text: String| if wide { text } else { shorten_hex(&text) };
    let short = |address: Address| hex(checksum(address));
    let label = row.entries.first().and_then(|entry| entry.label.as_deref());
    let watched = match label {
        Some(label) => format!("{} {}", clean(label, 28), short(row.watched)),
        None => short(row.watched),
    };
    let (symbol, decimals) = chain.symbol_and_decimals(&row.asset);
    let amount = match (row.asset.standard, decimals) {
        (AssetStandard::Native | AssetStandard::Erc20, Some(decimals)) => in_units(&row.amount, decimals),
        (AssetStandard::Native | AssetStandard::Erc20, None) => format!("{} base units", row.amount),
        _ => format!("{} of #{}", row.amount, clean(row.token_id.as_deref().unwrap_or("?"), 20)),
    };
    let asset = match (symbol, row.asset.contract) {
        (Some(symbol), _) => clean(&symbol, 16),
        (None, Some(contract)) => short(contract),
        (None, None) => "native".to_owned(),
    };
    let triage = if row.triage == crate::screen::TriageClass::Value { "" } else { row.triage.name() };
    let failed = row.tx.as_ref().is_some_and(|tx| tx.success == Some(false));
    let kind = match (triage, failed) {
        ("", false) => row.kind.name().to_owned(),
        ("", true) => format!("{} (failed)", row.kind.name()),
        (noise, _) => format!("{} ({noise})", row.kind.name()),
    };
    vec![
        moment(row.timestamp).trim_end_matches('Z').replace('T', " "),
        row.block_number.to_string(),
        row.status.name().to_owned(),
        row.severity.name().to_owned(),
        kind,
        watched,
        row.direction.name().to_owned(),
        counterparty(row).map(short).unwrap_or_default(),
        amount,
        asset,
        row.tx.as_ref().map(|tx| hex(tx.hash.to_string())).unwrap_or_default(),
        hex(row.id.to_string()),
    ]
}

fn shorten_hex(text: &str) -> String {
    match (text.get(..8), text.get(text.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

/// Text of strangers for a terminal: without secrets and hidden characters, cut.
pub(super) fn clean(text: &str, longest: usize) -> String {
    // Before it is cut: what is left of a secret is harder to find.
    cell(&redacted(text), longest)
}

/// A table with a header and no lines.
pub(super) fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    table
}

/// Closes what was printed in that form.
pub(super) fn print_rows(out: &mut impl Write, format: Format, table: &Table, count: u64) -> std::io::Result<()> {
    match format {
        Format::Json => out.write_all(if count == 0 { b"]\n" } else { b"\n]\n" })?,
        Format::Table if count > 0 => print_table(out, table)?,
        _ => {}
    }
    out.flush()
}

/// The table's lines, without the room that it leaves on both sides.
fn print_table(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim()))
}

/// A line of CSV that no spreadsheet runs.
pub(super) fn csv_record(fields: &[String]) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| Failure::input(format!("cannot write CSV: {error}"));
    writer.write_record(fields.iter().map(|field| csv_field(field))).map_err(|error| failed(&error))?;
    writer.into_inner().map_err(|error| failed(&error))
}

/// A watch entry as CONTRACT has it.
#[derive(Debug, Serialize)]
pub(super) struct EntryJson {
    address: String,
    label: Option<String>,
    list: String,
    kind: &'static str,
    entity: Option<String>,
    programs: Vec<String>,
    listed_from: Option<String>,
    delisted_on: Option<String>,
    derived_from: Option<String>,
    aliases: Vec<String>,
    uid: Option<String>,
    source_line: Option<i64>,
    version: serde_json::Value,
}

/// The columns of an entry in CSV.
pub(super) const ENTRY_CSV: &str = "address,label,list,kind,entity,programs,listed_from,delisted_on,derived_from,aliases,uid,source_line,\
                                    version_published,version_sha256,version_source";

impl EntryJson {
    pub(super) fn new(row: &EntryRow) -> Self {
        Self {
            address: checksum(row.address),
            label: row.label.clone(),
            list: row.list.clone(),
            kind: row.kind.name(),
            entity: row.entity.clone(),
            programs: row.programs.clone(),
            listed_from: row.listed_from.map(show_date),
            delisted_on: row.delisted_on.map(show_date),
            derived_from: row.derived_from.clone(),
            aliases: row.aliases.clone(),
            uid: row.uid.clone(),
            source_line: row.source_line,
            version: version_json(&row.brought_by),
        }
    }

    /// The fields under [`ENTRY_CSV`].
    pub(super) fn csv_fields(self) -> Vec<String> {
        vec![
            self.address,
            self.label.unwrap_or_default(),
            self.list,
            self.kind.to_owned(),
            self.entity.unwrap_or_default(),
            self.programs.join(";"),
            self.listed_from.unwrap_or_default(),
            self.delisted_on.unwrap_or_default(),
            self.derived_from.unwrap_or_default(),
            self.aliases.join(";"),
            self.uid.unwrap_or_default(),
            self.source_line.map(|line| line.to_string()).unwrap_or_default(),
            self.version["published"].as_str().unwrap_or_default().to_owned(),
            self.version["sha256"].as_str().unwrap_or_default().to_owned(),
            self.version["source"].as_str().unwrap_or_default().to_owned(),
        ]
    }
}

/// Prints watch entries as they come, in any form.
pub(super) struct EntryPrinter {
    format: Format,
    out: BufWriter<std::io::Stdout>,
    table: Table,
    count: u64,
}

impl EntryPrinter {
    pub(super) fn new(format: Format) -> Result<Self, Failure> {
        let mut out = BufWriter::new(std::io::stdout());
        match format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv => {
                writeln!(out, "{ENTRY_CSV}")?;
            }
            Format::Table | Format::Jsonl => {}
        }
        let table =
            plain_table(["ADDRESS", "LABEL", "LIST", "KIND", "ENTITY", "PROGRAMS", "LISTED FROM", "DELISTED ON"]);
        Ok(Self { format, out, table, count: 0 })
    }

    pub(super) fn entry(&mut self, row: &EntryRow) -> Result<(), Failure> {
        let entry = EntryJson::new(row);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        match self.format {
            Format::Jsonl => {
                self.out.write_all(json_text(&entry)?.as_bytes())?;
                self.out.write_all(b"\n")?;
            }
            Format::Json => {
                self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
                self.out.write_all(json_text(&entry)?.as_bytes())?;
            }
            Format::Csv => {
                self.out.write_all(&csv_record(&entry.csv_fields())?)?;
            }
            Format::Table => {
                self.table.add_row(vec![
                    entry.address,
                    clean(&text(&entry.label), 40),
                    clean(&entry.list, 30),
                    entry.kind.to_owned(),
                    clean(&text(&entry.entity), 40),
                    clean(&entry.programs.join(" "), 30),
                    text(&entry.listed_from),
                    text(&entry.delisted_on),
                ]);
            }
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<u64, Failure> {
        print_rows(&mut self.out, self.format, &self.table, self.count)?;
        Ok(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_shown_in_units_without_rounding() {
        assert_eq!(in_units("1234500000", 6), "1234.5");
        assert_eq!(in_units("1", 18), "0.000000000000000001");
        assert_eq!(in_units("0", 18), "0");
        assert_eq!(in_units("7", 0), "7");
        assert_eq!(in_units("1000000000000000000", 18), "1");
    }

    proptest! {
        #[test]
        fn no_digit_is_lost(amount in any::<u128>(), decimals in 0u8..=77) {
            let shown = in_units(&amount.to_string(), decimals);
            let (whole, fraction) = shown.split_once('.').unwrap_or((&shown, ""));
            let back = format!("{whole}{fraction:0<width$}", width = usize::from(decimals));
            let amount = amount.to_string();
            prop_assert_eq!(back.trim_start_matches('0'), amount.trim_start_matches('0'));
        }
    }
}
