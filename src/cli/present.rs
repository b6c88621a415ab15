//! How alerts and entries are printed: JSON to the letter of CONTRACT, CSV, and tables for people.

use std::io::{BufWriter, Write};

use alloy::primitives::Address;
use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::args::Format;
use crate::decode::Position;
use crate::lists::show_date;
use crate::screen::Direction;
use crate::store::{AlertRow, EntryRow, MatchedEntry};

/// Writes to stdout; a closed pipe ends it well.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// An alert as CONTRACT has it.
#[derive(Debug, Serialize)]
pub(super) struct AlertJson {
    id: String,
    status: &'static str,
    severity: &'static str,
    chain_id: u64,
    block: BlockJson,
    tx: Option<TxJson>,
    kind: &'static str,
    plane: &'static str,
    log_index: Option<u32>,
    trace_address: Option<Vec<u32>>,
    sub_index: u32,
    from: Option<String>,
    to: Option<String>,
    asset: AssetJson,
    amount: String,
    amount_display: Option<String>,
    token_id: Option<String>,
    watched: WatchedJson,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    watched_all: Vec<WatchedJson>,
    counterparty: Option<String>,
    triage: TriageJson,
    proof: &'static str,
    endpoint: String,
    seen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
}

#[derive(Debug, Serialize)]
struct BlockJson {
    number: u64,
    hash: String,
    timestamp: String,
}

#[derive(Debug, Serialize)]
struct TxJson {
    hash: String,
    index: u64,
    from: String,
    to: Option<String>,
    success: Option<bool>,
}

#[derive(Debug, Serialize)]
struct AssetJson {
    id: String,
    contract: Option<String>,
    symbol: Option<String>,
    decimals: Option<u8>,
}

#[derive(Debug, Serialize)]
struct WatchedJson {
    address: String,
    direction: &'static str,
    label: Option<String>,
    list: String,
    kind: &'static str,
    entity: Option<String>,
    programs: Vec<String>,
    designation: &'static str,
}

#[derive(Debug, Serialize)]
struct TriageJson {
    class: &'static str,
    reasons: Vec<String>,
}

/// What a chain calls its own currency, and which chain it is.
#[derive(Debug, Clone)]
pub(super) struct ChainWords {
    pub(super) chain_id: u64,
    pub(super) native_symbol: String,
}

impl ChainWords {
    pub(super) fn of(chain_id: u64) -> Self {
        Self { chain_id, native_symbol: crate::config::chain_facts(chain_id).native_symbol }
    }
}

/// EIP-55.
fn checksum(address: Address) -> String {
    address.to_checksum(None)
}

fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Base units as a decimal number of units.
pub(super) fn in_units(amount: &str, decimals: u8) -> String {
    let places = usize::from(decimals);
    let padded = format!("{amount:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

impl AlertJson {
    pub(super) fn new(row: &AlertRow, chain: &ChainWords) -> Self {
        let native = row.asset.contract.is_none();
        let decimals = if native { Some(18) } else { row.asset.decimals };
        let fungible = matches!(row.asset.standard, "slip44" | "erc20");
        let reference = row.asset.contract.map_or_else(|| "60".to_owned(), checksum);
        let (log_index, trace_address) = match &row.location.position {
            Position::Whole => (None, None),
            Position::Log(index) => (Some(*index), None),
            Position::Trace(path) => (None, Some(path.clone())),
        };
        let watched = |entry: &MatchedEntry| WatchedJson {
            address: checksum(row.watched),
            direction: row.direction.name(),
            label: entry.label.clone(),
            list: entry.list.clone(),
            kind: entry.list_kind.name(),
            entity: entry.entity.clone(),
            programs: entry.programs.clone(),
            designation: entry.designation.name(),
        };
        let nothing = MatchedEntry {
            label: None,
            list: String::new(),
            list_kind: crate::screen::ListKind::Internal,
            entity: None,
            programs: Vec::new(),
            designation: crate::screen::Designation::Unknown,
        };
        Self {
            id: row.id.to_string(),
            status: row.status.name(),
            severity: row.severity.name(),
            chain_id: chain.chain_id,
            block: BlockJson {
                number: row.block_number,
                hash: row.block_hash.to_string(),
                timestamp: moment(row.timestamp),
            },
            tx: row.tx.as_ref().map(|tx| TxJson {
                hash: tx.hash.to_string(),
                index: tx.index,
                from: checksum(tx.signer),
                to: tx.to.map(checksum),
                success: tx.success,
            }),
            kind: row.kind.name(),
            plane: row.location.plane.name(),
            log_index,
            trace_address,
            sub_index: row.location.sub_index,
            from: row.from.map(checksum),
            to: row.to.map(checksum),
            asset: AssetJson {
                id: format!("eip155:{}/{}:{reference}", chain.chain_id, row.asset.standard),
                contract: row.asset.contract.map(checksum),
                symbol: if native { Some(chain.native_symbol.clone()) } else { row.asset.symbol.clone() },
                decimals,
            },
            amount: row.amount.clone(),
            amount_display: decimals.filter(|_| fungible).map(|decimals| in_units(&row.amount, decimals)),
            token_id: row.token_id.clone(),
            watched: watched(row.entries.first().unwrap_or(&nothing)),
            watched_all: if row.entries.len() > 1 { row.entries.iter().map(watched).collect() } else { Vec::new() },
            counterparty: counterparty(row).map(checksum),
            triage: TriageJson { class: row.triage.name(), reasons: row.triage_reasons.clone() },
            proof: if row.proven { "proven" } else { "unproven" },
            endpoint: row.endpoint.clone(),
            seen_at: Timestamp::from_millisecond(row.seen_at_ms)
                .map_or_else(|_| row.seen_at_ms.to_string(), |time| format!("{time:.3}")),
            replaces: row.replaces.map(|id| id.to_string()),
        }
    }

    /// One line, with its end.
    pub(super) fn line(&self) -> Result<Vec<u8>, Failure> {
        let mut line = serde_json::to_vec(self).map_err(|error| Failure::input(error.to_string()))?;
        line.push(b'\n');
        Ok(line)
    }
}

fn counterparty(row: &AlertRow) -> Option<Address> {
    match row.direction {
        Direction::Out => row.to,
        Direction::In => row.from,
        Direction::Own | Direction::Party => None,
    }
}

/// Prints alerts as they come, in any form.
pub(super) struct AlertPrinter {
    format: Format,
    chain: ChainWords,
    out: BufWriter<std::io::Stdout>,
    table: Table,
    count: u64,
}

const CSV_HEADER: &str = "id,status,severity,chain_id,block_number,block_hash,timestamp,tx_hash,tx_index,tx_from,tx_to,success,kind,\
plane,log_index,trace_address,sub_index,from,to,asset_id,contract,symbol,decimals,amount,amount_display,token_id,watched,direction,\
label,list,entity,programs,designation,counterparty,triage,triage_reasons,proof,endpoint,seen_at,replaces";

impl AlertPrinter {
    pub(super) fn new(format: Format, chain: ChainWords) -> Result<Self, Failure> {
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
        ]);
        Ok(Self { format, chain, out, table, count: 0 })
    }

    pub(super) fn alert(&mut self, row: &AlertRow) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => self.out.write_all(&AlertJson::new(row, &self.chain).line()?)?,
            Format::Json => {
                self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
                let text = serde_json::to_vec(&AlertJson::new(row, &self.chain))
                    .map_err(|error| Failure::input(error.to_string()))?;
                self.out.write_all(&text)?;
            }
            Format::Csv => {
                let line = csv_line(&AlertJson::new(row, &self.chain))?;
                self.out.write_all(&line)?;
            }
            Format::Table => {
                self.table.add_row(table_row(row, &self.chain));
            }
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<u64, Failure> {
        match self.format {
            Format::Json => self.out.write_all(if self.count == 0 { b"]\n" } else { b"\n]\n" })?,
            Format::Table if self.count > 0 => print_table(&mut self.out, &self.table)?,
            _ => {}
        }
        self.out.flush()?;
        Ok(self.count)
    }
}

fn table_row(row: &AlertRow, chain: &ChainWords) -> Vec<String> {
    let label = row.entries.first().and_then(|entry| entry.label.as_deref());
    let watched = match label {
        Some(label) => format!("{} {}", clean(label, 28), short(row.watched)),
        None => short(row.watched),
    };
    let (decimals, symbol) = match row.asset.contract {
        None => (Some(18), Some(chain.native_symbol.clone())),
        Some(_) => (row.asset.decimals, row.asset.symbol.clone()),
    };
    let amount = match (row.asset.standard, decimals) {
        ("slip44" | "erc20", Some(decimals)) => in_units(&row.amount, decimals),
        ("slip44" | "erc20", None) => format!("{} base units", row.amount),
        _ => format!("{} of #{}", row.amount, clean(row.token_id.as_deref().unwrap_or("?"), 20)),
    };
    let asset = match (symbol, row.asset.contract) {
        (Some(symbol), _) => clean(&symbol, 16),
        (None, Some(contract)) => short(contract),
        (None, None) => String::new(),
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
        row.tx.as_ref().map(|tx| shorten_hex(&tx.hash.to_string())).unwrap_or_default(),
    ]
}

fn short(address: Address) -> String {
    shorten_hex(&checksum(address))
}

fn shorten_hex(text: &str) -> String {
    match (text.get(..8), text.get(text.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

/// Text of strangers for a terminal: no control characters, cut.
pub(super) fn clean(text: &str, longest: usize) -> String {
    let kept: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match kept.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &kept[..end]),
        None => kept,
    }
}

/// A table with a header and no lines.
pub(super) fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    table
}

/// The table's lines, without the room that it leaves on both sides.
fn print_table(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim()))
}

fn csv_line(alert: &AlertJson) -> Result<Vec<u8>, Failure> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let tx = |part: fn(&TxJson) -> Option<String>| alert.tx.as_ref().and_then(part).unwrap_or_default();
    let path = alert.trace_address.as_ref().map(|path| path.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
    let fields = [
        alert.id.clone(),
        alert.status.to_owned(),
        alert.severity.to_owned(),
        alert.chain_id.to_string(),
        alert.block.number.to_string(),
        alert.block.hash.clone(),
        alert.block.timestamp.clone(),
        tx(|tx| Some(tx.hash.clone())),
        tx(|tx| Some(tx.index.to_string())),
        tx(|tx| Some(tx.from.clone())),
        tx(|tx| tx.to.clone()),
        tx(|tx| tx.success.map(|success| success.to_string())),
        alert.kind.to_owned(),
        alert.plane.to_owned(),
        alert.log_index.map(|index| index.to_string()).unwrap_or_default(),
        text(&path),
        alert.sub_index.to_string(),
        text(&alert.from),
        text(&alert.to),
        alert.asset.id.clone(),
        text(&alert.asset.contract),
        no_formula(alert.asset.symbol.clone().unwrap_or_default()),
        alert.asset.decimals.map(|d| d.to_string()).unwrap_or_default(),
        alert.amount.clone(),
        text(&alert.amount_display),
        text(&alert.token_id),
        alert.watched.address.clone(),
        alert.watched.direction.to_owned(),
        no_formula(text(&alert.watched.label)),
        no_formula(alert.watched.list.clone()),
        no_formula(text(&alert.watched.entity)),
        no_formula(alert.watched.programs.join(";")),
        alert.watched.designation.to_owned(),
        text(&alert.counterparty),
        alert.triage.class.to_owned(),
        alert.triage.reasons.join(";"),
        alert.proof.to_owned(),
        alert.endpoint.clone(),
        alert.seen_at.clone(),
        text(&alert.replaces),
    ];
    csv_record(&fields)
}

/// A spreadsheet takes a cell that begins so for a formula; strangers choose symbols.
fn no_formula(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

fn csv_record(fields: &[String]) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| Failure::input(format!("cannot write CSV: {error}"));
    writer.write_record(fields).map_err(|error| failed(&error))?;
    writer.into_inner().map_err(|error| failed(&error))
}

/// A watch entry as CONTRACT has it.
#[derive(Debug, Serialize)]
struct EntryJson {
    address: String,
    label: Option<String>,
    list: String,
    kind: &'static str,
    entity: Option<String>,
    programs: Vec<String>,
    listed_from: Option<String>,
    delisted_on: Option<String>,
    derived_from: Option<String>,
}

impl EntryJson {
    fn new(row: &EntryRow) -> Self {
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
        }
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
                out.write_all(b"address,label,list,kind,entity,programs,listed_from,delisted_on,derived_from\n")?;
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
        let failed = |error: serde_json::Error| Failure::input(error.to_string());
        match self.format {
            Format::Jsonl => {
                self.out.write_all(&serde_json::to_vec(&entry).map_err(failed)?)?;
                self.out.write_all(b"\n")?;
            }
            Format::Json => {
                self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
                self.out.write_all(&serde_json::to_vec(&entry).map_err(failed)?)?;
            }
            Format::Csv => {
                let fields = [
                    entry.address,
                    no_formula(text(&entry.label)),
                    no_formula(entry.list),
                    entry.kind.to_owned(),
                    no_formula(text(&entry.entity)),
                    no_formula(entry.programs.join(";")),
                    text(&entry.listed_from),
                    text(&entry.delisted_on),
                    no_formula(text(&entry.derived_from)),
                ];
                self.out.write_all(&csv_record(&fields)?)?;
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
        match self.format {
            Format::Json => self.out.write_all(if self.count == 0 { b"]\n" } else { b"\n]\n" })?,
            Format::Table if self.count > 0 => print_table(&mut self.out, &self.table)?,
            _ => {}
        }
        self.out.flush()?;
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

    #[test]
    fn cells_that_spreadsheets_would_run_are_quoted() {
        assert_eq!(no_formula("=HYPERLINK(1)".into()), "'=HYPERLINK(1)");
        assert_eq!(no_formula("USDC".into()), "USDC");
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
