//! `bolo watchlist`.

use std::collections::HashSet;

use alloy::primitives::Address;
use jiff::Timestamp;

use super::check::check;
use super::hidden_text::warn_of_hidden;
use super::known_addresses::warn_of_busy;
use super::list_args::{AddArgs, RemoveArgs, ShowArgs, WatchlistArgs, WatchlistCommand};
use super::list_history::{diff, history};
use super::list_import::import;
use super::list_update::update;
use super::present::EntryPrinter;
use super::sources::address;
use super::{Context, Failure};
use crate::lists::{ParsedEntry, parse_address, parse_date};
use crate::store::{Access, EntryChange, ManualEntry, Store};
use crate::text::cell;

pub(super) async fn run(context: &Context, args: WatchlistArgs) -> Result<u8, Failure> {
    match args.command {
        WatchlistCommand::Import(args) => import(context, &args),
        WatchlistCommand::Update(args) => update(context, &args).await,
        WatchlistCommand::Add(args) => add(context, &args),
        WatchlistCommand::Remove(args) => remove(context, &args),
        WatchlistCommand::Show(args) => show(context, &args),
        WatchlistCommand::Check(args) => check(context, &args),
        WatchlistCommand::History(args) => history(context, &args),
        WatchlistCommand::Diff(args) => diff(context, &args),
    }
}

pub(super) fn date(text: Option<&String>) -> Result<Option<i64>, Failure> {
    text.map(|text| parse_date(text)).transpose().map_err(Failure::input)
}

pub(super) fn now() -> i64 {
    Timestamp::now().as_second()
}

pub(super) fn writable(context: &Context) -> Result<Store, Failure> {
    Ok(Store::open(&context.db, Access::Write { durable: true })?)
}

/// A name for a list.
pub(super) fn list_name(name: &str) -> Result<&str, Failure> {
    crate::config::check_list_name(name)
        .map_err(|reason| Failure::input(format!("{:?} is no name for a list: {reason} (--list)", cell(name, 40))))?;
    Ok(name)
}

/// Addresses of the command line, `-` for those of standard input, each once and in order. All are good, or none is taken.
fn addresses(words: &[String]) -> Result<Vec<Address>, Failure> {
    let mut all = Vec::new();
    for word in words {
        if word != "-" {
            all.push(address(word)?);
            continue;
        }
        for (number, line) in (1u64..).zip(std::io::stdin().lines()) {
            let line = line.map_err(|error| Failure::input(format!("cannot read standard input: {error}")))?;
            let text = line.trim_start_matches('\u{feff}').split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let parsed = parse_address(text);
            all.push(parsed.map_err(|reason| Failure::input(format!("line {number}: {:?} {reason}", cell(text, 80))))?);
        }
    }
    let mut seen = HashSet::new();
    all.retain(|address| seen.insert(*address));
    if all.is_empty() { Err(Failure::input("no address was named")) } else { Ok(all) }
}

fn add(context: &Context, args: &AddArgs) -> Result<u8, Failure> {
    let list = list_name(&args.list)?;
    let addresses = addresses(&args.addresses)?;
    let entries: Vec<ParsedEntry> = {
        let listed_from = date(args.listed_from.as_ref())?;
        let entry = |address| ParsedEntry {
            label: args.label.clone(),
            entity: args.entity.clone(),
            programs: args.program.clone(),
            listed_from,
            ..ParsedEntry::bare(address)
        };
        addresses.iter().map(|address| entry(*address)).collect()
    };
    let mut store = writable(context)?;
    for entry in &entries {
        let change = store.add_entry(&ManualEntry { list, kind: args.kind, entry, now: now() })?;
        let word = match change {
            EntryChange::Added => "added to",
            EntryChange::Changed => "changed on",
            EntryChange::Unchanged => "unchanged on",
        };
        super::present::print(&format!("{} {word} {list}\n", entry.address))?;
    }
    warn_of_busy(entries.iter().map(|entry| entry.address));
    // All of them have the texts of the command line.
    warn_of_hidden(entries.iter().take(1));
    Ok(0)
}

fn remove(context: &Context, args: &RemoveArgs) -> Result<u8, Failure> {
    let addresses = addresses(&args.addresses)?;
    Store::open(&context.db, Access::Read)?;
    let mut store = writable(context)?;
    let mut missing = Vec::new();
    for address in addresses {
        match store.remove_entry(address, args.list.as_deref(), now())? {
            0 => missing.push(address.to_string()),
            removed => super::present::print(&format!("{address} ended on {removed} list(s); its old alerts stay\n"))?,
        }
    }
    if missing.is_empty() {
        return Ok(0);
    }
    let (is, was) =
        if missing.len() == 1 { ("is", "nothing was changed") } else { ("are", "nothing was changed for these") };
    Err(Failure::input(format!("{} {is} on no such list; {was}", missing.join(", "))))
}

/// Refuses the name of a list that there is not.
pub(super) fn is_list(store: &Store, name: Option<&str>) -> Result<(), Failure> {
    match name {
        Some(name) if !store.lists()?.iter().any(|list| list.name == name) => {
            Err(Failure::input(format!("there is no list {name:?} (bolo status names them)")))
        }
        _ => Ok(()),
    }
}

fn show(context: &Context, args: &ShowArgs) -> Result<u8, Failure> {
    let as_of = date(args.as_of.as_ref())?;
    let store = Store::open(&context.db, Access::Read)?;
    is_list(&store, args.list.as_deref())?;
    let mut printer = EntryPrinter::new(args.format)?;
    store.each_entry::<Failure>(None, args.list.as_deref(), as_of, |row| printer.entry(&row))?;
    if printer.finish()? == 0 {
        tracing::info!("no entries");
    }
    Ok(0)
}
