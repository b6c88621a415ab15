//! `bolo watchlist`.

use jiff::Timestamp;

use super::check::check;
use super::list_args::{AddArgs, RemoveArgs, ShowArgs, WatchlistArgs, WatchlistCommand};
use super::list_history::{diff, history};
use super::list_import::import;
use super::list_update::update;
use super::present::EntryPrinter;
use super::sources::address;
use super::{Context, Failure};
use crate::lists::{ParsedEntry, parse_date};
use crate::store::{Access, EntryChange, ManualEntry, Store};

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

fn add(context: &Context, args: &AddArgs) -> Result<u8, Failure> {
    let entry = ParsedEntry {
        label: args.label.clone(),
        entity: args.entity.clone(),
        programs: args.program.clone(),
        listed_from: date(args.listed_from.as_ref())?,
        ..ParsedEntry::bare(address(&args.address)?)
    };
    let mut store = writable(context)?;
    let change = store.add_entry(&ManualEntry { list: &args.list, kind: args.kind, entry: &entry, now: now() })?;
    let word = match change {
        EntryChange::Added => "added to",
        EntryChange::Changed => "changed on",
        EntryChange::Unchanged => "unchanged on",
    };
    super::present::print(format!("{} {word} {}\n", entry.address, args.list).as_bytes())?;
    Ok(0)
}

fn remove(context: &Context, args: &RemoveArgs) -> Result<u8, Failure> {
    let address = address(&args.address)?;
    Store::open(&context.db, Access::Read)?;
    let removed = writable(context)?.remove_entry(address, args.list.as_deref(), now())?;
    if removed == 0 {
        return Err(Failure::input(format!("{address} is on no such list; nothing was changed")));
    }
    super::present::print(format!("{address} ended on {removed} list(s); its old alerts stay\n").as_bytes())?;
    Ok(0)
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
