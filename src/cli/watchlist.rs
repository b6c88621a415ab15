//! `bolo watchlist`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::list_args::{AddArgs, CheckArgs, ImportArgs, RemoveArgs, ShowArgs, WatchlistArgs, WatchlistCommand};
use super::present::EntryPrinter;
use super::sources::address;
use super::{Context, Failure};
use crate::lists::{Format, ParsedEntry, ParsedList, Rejected, parse, parse_date};
use crate::screen::ListKind;
use crate::store::{Access, EntryChange, ListFile, ManualEntry, Store};

/// Rejected lines that are shown; all are counted, and `--report` has all.
const SHOWN: usize = 10;

pub(super) fn run(context: &Context, args: WatchlistArgs) -> Result<u8, Failure> {
    match args.command {
        WatchlistCommand::Import(args) => import(context, &args),
        WatchlistCommand::Add(args) => add(context, &args),
        WatchlistCommand::Remove(args) => remove(context, &args),
        WatchlistCommand::Show(args) => show(context, &args),
        WatchlistCommand::Check(args) => check(context, &args),
    }
}

fn kind(text: Option<&String>) -> Result<Option<ListKind>, Failure> {
    let known = || ListKind::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    text.map(|text| {
        ListKind::from_name(text).ok_or_else(|| Failure::input(format!("--kind {text:?}: write one of {}", known())))
    })
    .transpose()
}

fn date(text: Option<&String>) -> Result<Option<i64>, Failure> {
    text.map(|text| parse_date(text)).transpose().map_err(Failure::input)
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn writable(context: &Context) -> Result<Store, Failure> {
    Ok(Store::open(&context.db, Access::Write { durable: true })?)
}

fn import(context: &Context, args: &ImportArgs) -> Result<u8, Failure> {
    let kind = kind(args.kind.as_ref())?;
    let published = date(args.published.as_ref())?;
    let format = match args.format.as_deref() {
        None => None,
        Some("text") => Some(Format::Text),
        Some("csv") => Some(Format::Csv),
        Some("json") => Some(Format::Json),
        Some(other) => return Err(Failure::input(format!("--format {other:?}: write text, csv or json"))),
    };
    if args.files.len() > 1 && args.list.is_some() {
        return Err(Failure::input(
            "each file is the whole of a list: import them one by one to give them a --list name",
        ));
    }
    if published.is_some_and(|published| published > now() + 86_400) {
        return Err(Failure::input("--published is in the future"));
    }
    // All files are read before anything is changed.
    let mut parsed: Vec<(&PathBuf, String, Format, ParsedList, [u8; 32])> = Vec::new();
    for file in &args.files {
        let (name, bytes) = read(file, args.list.as_deref())?;
        if parsed.iter().any(|(_, other, ..)| *other == name) {
            return Err(Failure::input(format!(
                "two files would be the list {name:?}, and each is the whole of its list: import them one by one with --list"
            )));
        }
        let shown = file.display();
        if name.trim().is_empty() {
            return Err(Failure::input("a list needs a name: give one with --list"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            Failure::input(format!("{shown}: is not UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
        })?;
        let format = format.unwrap_or_else(|| Format::recognise(text.trim_start_matches('\u{feff}')));
        let list = parse(&text, format).map_err(|reason| Failure::input(format!("{shown}: {reason}")))?;
        parsed.push((file, name, format, list, <[u8; 32]>::from(Sha256::digest(text.as_bytes()))));
    }
    if let Some(path) = &args.report {
        let rejected =
            parsed.iter().flat_map(|(file, _, _, list, _)| list.rejected.iter().map(|r| (file.as_path(), r)));
        report(path, rejected)?;
    }
    for (file, _, _, list, _) in &parsed {
        refuse_bad_lines(file, &list.rejected, args.skip_bad)?;
        if list.entries.is_empty() {
            return Err(Failure::input(format!("{}: no address in it; nothing was changed", file.display())));
        }
    }
    let mut store = writable(context)?;
    for (file, name, format, list, sha256) in &parsed {
        let counts = store.import_list(&ListFile {
            list: name,
            kind,
            published,
            imported_at: now(),
            source: &file.file_name().unwrap_or(file.as_os_str()).to_string_lossy(),
            format: format.name(),
            sha256: *sha256,
            entries: &list.entries,
            rejected: list.rejected.len(),
        })?;
        let line = if counts.same_file {
            format!("{name}: this very file was imported before; nothing to change\n")
        } else {
            format!(
                "{name}: {} entries: {} added, {} changed, {} ended, {} unchanged; {} rejected, {} repeated\n",
                list.entries.len(),
                counts.added,
                counts.changed,
                counts.ended,
                counts.unchanged,
                list.rejected.len(),
                list.repeated
            )
        };
        super::present::print(line.as_bytes())?;
        if let (Some(before), Some(now)) = (counts.kind_before, kind) {
            tracing::warn!("{name}: the list was {} and is {} now", before.name(), now.name());
        }
    }
    Ok(0)
}

/// The name of the list and the bytes of the file.
fn read(file: &Path, list: Option<&str>) -> Result<(String, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let name = list.ok_or_else(|| Failure::input("standard input has no name: give the list one with --list"))?;
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::input(format!("cannot read standard input: {error}")))?;
        return Ok((name.to_owned(), bytes));
    }
    bytes = std::fs::read(file).map_err(|error| Failure::input(format!("cannot read {}: {error}", file.display())))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((list.map_or(stem, ToOwned::to_owned), bytes))
}

fn refuse_bad_lines(file: &Path, rejected: &[Rejected], skip: bool) -> Result<(), Failure> {
    for bad in rejected.iter().take(SHOWN) {
        tracing::warn!("{} line {}: {:?} {}", file.display(), bad.line, bad.text, bad.reason);
    }
    if rejected.len() > SHOWN {
        tracing::warn!("{}: {} more bad lines (--report FILE lists all)", file.display(), rejected.len() - SHOWN);
    }
    if rejected.is_empty() || skip {
        return Ok(());
    }
    let first = rejected.first().map_or(0, |bad| bad.line);
    Err(Failure::input(format!(
        "{}: bad lines: {}, the first is line {first}; nothing was changed (mend them, or take the good ones with --skip-bad)",
        file.display(),
        rejected.len()
    )))
}

fn report<'a>(path: &Path, rejected: impl Iterator<Item = (&'a Path, &'a Rejected)>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::input(format!("cannot write {}: {error}", path.display()));
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    for (file, bad) in rejected {
        let line = serde_json::json!({
            "file": file.display().to_string(), "line": bad.line, "text": bad.text, "reason": bad.reason,
        });
        writeln!(out, "{line}").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

fn add(context: &Context, args: &AddArgs) -> Result<u8, Failure> {
    let entry = ParsedEntry {
        label: args.label.clone(),
        entity: args.entity.clone(),
        programs: args.program.clone(),
        listed_from: date(args.listed_from.as_ref())?,
        ..ParsedEntry::bare(address(&args.address)?)
    };
    let kind = kind(args.kind.as_ref())?;
    let mut store = writable(context)?;
    let change = store.add_entry(&ManualEntry { list: &args.list, kind, entry: &entry, now: now() })?;
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

fn show(context: &Context, args: &ShowArgs) -> Result<u8, Failure> {
    let as_of = date(args.as_of.as_ref())?;
    let store = Store::open(&context.db, Access::Read)?;
    if let Some(name) = &args.list
        && !store.lists()?.iter().any(|list| list.name == *name)
    {
        return Err(Failure::input(format!("there is no list {name:?} (bolo status names them)")));
    }
    let mut printer = EntryPrinter::new(args.format)?;
    store.each_entry::<Failure>(None, args.list.as_deref(), as_of, |row| printer.entry(&row))?;
    if printer.finish()? == 0 {
        tracing::info!("no entries");
    }
    Ok(0)
}

fn check(context: &Context, args: &CheckArgs) -> Result<u8, Failure> {
    let as_of = date(args.as_of.as_ref())?;
    let addresses = args.addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let store = Store::open(&context.db, Access::Read)?;
    let mut printer = EntryPrinter::new(args.format)?;
    let mut clear = Vec::new();
    for address in addresses {
        let mut found = false;
        store.each_entry::<Failure>(Some(address), None, as_of, |row| {
            found = true;
            printer.entry(&row)
        })?;
        if !found {
            clear.push(address);
        }
    }
    printer.finish()?;
    for address in clear {
        if args.format == super::args::Format::Table {
            super::present::print(format!("{address} is on no list\n").as_bytes())?;
        } else {
            tracing::info!(%address, "is on no list");
        }
    }
    Ok(0)
}
