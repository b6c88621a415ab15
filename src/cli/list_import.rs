//! `bolo watchlist import`: finds the files, reads them, says what became of every candidate, and only then changes anything.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hidden_text::warn_of_hidden;
use super::known_addresses::warn_of_busy;
use super::list_args::ImportArgs;
use super::list_changes::put;
use super::list_report::{Report, say};
use super::watchlist::{date, list_name, now, writable};
use super::{Context, Failure};
use crate::lists::{
    Candidate, Columns, Counts, Format, ParsedList, ReadSeek, Source, parse_date, parse_with, show_date,
};
use crate::screen::ListKind;
use crate::store::{ImportCounts, is_of_database};

/// A file as it was found on the command line or in a directory.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    /// Its list, where the file's own name does not say.
    name: Option<String>,
    /// OFAC's `sdn_comments.csv` that goes with it.
    comments: Option<PathBuf>,
    /// A date in the file's name, for files that bear none inside.
    named: Option<i64>,
}

/// A file that was read.
pub(super) struct Ready {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) list: ParsedList,
    pub(super) sha256: [u8; 32],
    pub(super) published: Option<i64>,
}

/// So many entries that an import ends, if they are more than it leaves, are worth a word.
const MANY: usize = 10;

pub(super) fn import(context: &Context, args: &ImportArgs) -> Result<u8, Failure> {
    let given_kind = args.kind;
    let given = date(args.published.as_ref())?;
    let columns = columns(&args.column)?;
    let format = args.format.as_deref().map(format_of).transpose()?;
    let format = match (format, columns.is_empty()) {
        (format, true) => format,
        (None | Some(Format::Csv), false) => Some(Format::Csv),
        (Some(other), false) => {
            return Err(Failure::input(format!("--column is for CSV files, and --format says {}", other.name())));
        }
    };
    if given.is_some_and(|given| given > now() + 86_400) {
        return Err(Failure::input("--published is in the future"));
    }
    let files = find(&args.files, format, &columns)?;
    if files.len() > 1 && args.list.is_some() {
        return Err(Failure::input(
            "each file is the whole of a list: import them one by one to give them a --list name",
        ));
    }
    // All files are read before anything is changed.
    let inputs = || files.iter().flat_map(|file| std::iter::once(&file.path).chain(&file.comments));
    let report = args.report.as_deref();
    if let Some(report) = report.filter(|report| is_of_database(report, &context.db)) {
        return Err(Failure::input(format!("--report {} is of the database: name another file", report.display())));
    }
    let mut report = report.map(|path| Report::create(path, inputs().map(PathBuf::as_path))).transpose()?;
    let mut ready: Vec<Ready> = Vec::new();
    for file in files {
        let name = name_of(&file, args.list.as_deref())?;
        if ready.iter().any(|other| other.name == name) {
            return Err(Failure::input(format!(
                "two files would be the list {name:?}, and each is the whole of its list: import them one by one with --list"
            )));
        }
        let (list, sha256) = read(&file, format, &columns, &mut |path, candidate| {
            if let Some(report) = &mut report {
                report.tell(path, candidate);
            }
        })?;
        let published = given.or(list.published).or(file.named);
        if published.is_none()
            && let Some(date) = date_in(&file.path)
        {
            let (shown, date) = (file.path.display(), show_date(date));
            tracing::warn!(
                "{shown}: its name says {date}, and it counts as of now: give --published {date} if that is its date"
            );
        }
        ready.push(Ready { path: file.path, name, list, sha256, published });
    }
    if let Some(report) = report {
        report.finish()?;
    }
    for file in &ready {
        say(&file.path, &file.list, args.skip_bad, "mend them, or take the good ones with --skip-bad")?;
        if file.published.is_some_and(|published| published > now() + 86_400) {
            let shown = file.path.display();
            return Err(Failure::input(format!(
                "{shown}: it says that it is of the future: give its date with --published"
            )));
        }
    }
    let mut store = writable(context)?;
    for file in &mut ready {
        let configured = context.lists.iter().find(|list| list.name == file.name);
        let own_kind = file.list.kind.as_deref().map(kind_of_file).transpose()?;
        if let (Some(given), Some(own)) = (given_kind, own_kind)
            && given != own
        {
            tracing::warn!(
                "{}: the file says {}, and --kind says {}, which counts",
                file.name,
                own.name(),
                given.name()
            );
        }
        let kind = given_kind.or(own_kind).or_else(|| configured?.kind);
        let counts = put(&mut store, file, kind)?;
        super::present::print(&outcome(&file.name, &file.list, counts))?;
        warn_of_busy(file.list.entries.iter().map(|entry| entry.address));
        warn_of_hidden(file.list.entries.iter());
        if counts.ended >= MANY && counts.ended > counts.unchanged + counts.changed {
            tracing::warn!(
                "{}: {} entries are ended and {} are left of those before: was the file whole?",
                file.name,
                counts.ended,
                counts.unchanged + counts.changed
            );
        }
        if let (Some(before), Some(now)) = (counts.kind_before, kind) {
            tracing::warn!("{}: the list was {} and is {} now", file.name, before.name(), now.name());
        }
    }
    Ok(0)
}

fn format_of(name: &str) -> Result<Format, Failure> {
    Format::from_name(name).ok_or_else(|| {
        let known = Format::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
        Failure::input(format!("--format {name:?}: write one of {known}"))
    })
}

fn kind_of_file(word: &str) -> Result<ListKind, Failure> {
    ListKind::from_name(word).ok_or_else(|| {
        let known: Vec<_> = ListKind::ALL.iter().map(|(_, name)| *name).collect();
        Failure::input(format!(
            "the column kind says {:?}: write one of {}, or give --kind and name the column otherwise",
            crate::text::cell(word, 40),
            known.join(", ")
        ))
    })
}

/// `FIELD=NAME` of each `--column`.
fn columns(words: &[String]) -> Result<Columns, Failure> {
    let mut columns = Columns::default();
    for word in words {
        let bad = |reason: &str| {
            let shown = crate::text::cell(word, 80);
            Failure::input(format!("--column {shown:?}: {reason}: write FIELD=NAME, as in address=wallet"))
        };
        let (field, name) = word.split_once('=').ok_or_else(|| bad("it has no ="))?;
        columns.rename(field.trim(), name.trim()).map_err(|reason| bad(&reason))?;
    }
    Ok(columns)
}

/// What an import did, and the three counts that add up.
pub(super) fn outcome(name: &str, list: &ParsedList, counts: ImportCounts) -> String {
    if counts.same_file {
        let what = if counts.kind_before.is_some() { "only its kind has changed" } else { "nothing to change" };
        return format!("{name}: this very file was imported before; {what}\n");
    }
    let Counts { candidates, accepted, derived, rejected, other_chain, repeated, .. } = list.counts;
    let place = if counts.filed { " (older than others of this list: filed by its date)" } else { "" };
    format!(
        "{name}: {} entries{place}: {} added, {} changed, {} ended, {} unchanged; {rejected} rejected, {repeated} repeated\n\
         {name}: {candidates} candidates = {accepted} accepted + {derived} derived + {rejected} rejected \
         ({other_chain} of other chains)\n",
        list.entries.len(),
        counts.added,
        counts.changed,
        counts.ended,
        counts.unchanged,
    )
}

/// The files that were named; for a directory the newest file in it; `sdn.csv` and its comments are one.
fn find(paths: &[PathBuf], format: Option<Format>, columns: &Columns) -> Result<Vec<Found>, Failure> {
    let mut files = Vec::new();
    let mut comments = None;
    for path in paths {
        if path.is_dir() {
            files.push(newest(path, format, columns)?);
        } else if path != Path::new("-") && format.is_none() && recognise(path)? == Format::OfacComments {
            comments = Some(path.clone());
        } else {
            files.push(Found { path: path.clone(), name: None, comments: beside(path), named: None });
        }
    }
    if let Some(comments) = comments {
        // Without sdn.csv it is read by itself, which says what is missing.
        let is_sdn = |file: &Found| {
            file.path != Path::new("-") && recognise(&file.path).is_ok_and(|format| format == Format::OfacCsv)
        };
        match files.iter_mut().find(|file| is_sdn(file)) {
            Some(file) => file.comments = Some(comments),
            None => files.push(Found { path: comments, name: None, comments: None, named: None }),
        }
    }
    Ok(files)
}

/// OFAC's comments where they lie beside `sdn.csv`, whatever the case of the names.
fn beside(path: &Path) -> Option<PathBuf> {
    let named = |path: &Path, wanted: &str| path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    if !named(path, "sdn.csv") {
        return None;
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    found.into_iter().find(|path| named(path, "sdn_comments.csv"))
}

/// The file of a directory that says the newest date, inside or in its name. The directory has the list's name.
fn newest(dir: &Path, format: Option<Format>, columns: &Columns) -> Result<Found, Failure> {
    let failed = |error: std::io::Error| Failure::input(format!("cannot read {}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    let mut best: Option<(i64, Found)> = None;
    let mut undated = Vec::new();
    for path in paths {
        let found = Found { comments: beside(&path), named: date_in(&path), name: None, path };
        let read = if format.is_none() && recognise(&found.path).is_ok_and(|format| format == Format::OfacComments) {
            continue;
        } else {
            read(&found, format, columns, &mut |_, _| {})
        };
        let published = match read {
            Ok((list, _)) => list.published.or(found.named),
            Err(failure) => {
                tracing::warn!("left out: {}", failure.message);
                continue;
            }
        };
        let Some(published) = published else {
            undated.push(found);
            continue;
        };
        if let Some((newest, other)) = &best
            && *newest == published
        {
            tracing::warn!("left out: {} is of the same date as {}", other.path.display(), found.path.display());
        }
        if best.as_ref().is_none_or(|(newest, _)| published >= *newest) {
            best = Some((published, found));
        }
    }
    let found = match (best, undated.as_mut_slice()) {
        // The only one, as OFAC's two CSV files are: there is nothing to choose.
        (None, [_]) => undated.remove(0),
        (None, _) => return Err(Failure::input(format!("{}: no list with a date in it", dir.display()))),
        (Some((published, found)), without) => {
            for other in without {
                tracing::warn!("{}: left out: it bears no date", other.path.display());
            }
            tracing::info!("{}: the newest, of {}", found.path.display(), show_date(published));
            found
        }
    };
    let name = dir.canonicalize().map_err(failed)?.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Found { name, ..found })
}

/// A date in a file's name, as in `2024-05-02.json` or `sdn_20240502.xml`.
fn date_in(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    (0..name.len()).find_map(|at| {
        if let Some(dashed) = name.get(at..at + 10)
            && dashed.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
        {
            return parse_date(dashed).ok();
        }
        let plain = name.get(at..at + 8).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        parse_date(&format!("{}-{}-{}", &plain[..4], &plain[4..6], &plain[6..])).ok()
    })
}

fn name_of(file: &Found, list: Option<&str>) -> Result<String, Failure> {
    let stem = || file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = match list {
        Some(list) => list.to_owned(),
        None if file.path == Path::new("-") => {
            return Err(Failure::input("standard input has no name: give the list one with --list"));
        }
        None => file.name.clone().unwrap_or_else(stem),
    };
    list_name(&name)?;
    Ok(name)
}

fn open(path: &Path) -> Result<Box<dyn ReadSeek>, Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::input(format!("cannot read {what}: {error}"));
    if path != Path::new("-") {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Failure::input(format!(
                "{} is no regular file: give what it holds on standard input (`-`)",
                path.display()
            )));
        }
        return Ok(Box::new(File::open(path).map_err(|error| failed(&path.display().to_string(), error))?));
    }
    // Some formats are read twice, which a pipe cannot be.
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| failed("standard input", error))?;
    Ok(Box::new(Cursor::new(bytes)))
}

fn recognise(path: &Path) -> Result<Format, Failure> {
    let mut file = open(path)?;
    let source = Source::open(&mut *file).and_then(|mut source| source.recognise());
    source.map_err(|reason| Failure::input(format!("{}: {reason}", path.display())))
}

/// The list of a file and the SHA-256 of its bytes; with comments, of both files one after the other.
fn read(
    file: &Found,
    format: Option<Format>,
    columns: &Columns,
    each: &mut dyn FnMut(&Path, &Candidate<'_>),
) -> Result<(ParsedList, [u8; 32]), Failure> {
    let failed = |reason: String| Failure::input(format!("{}: {reason}", file.path.display()));
    let mut bytes = open(&file.path)?;
    let mut comments = file.comments.as_deref().map(open).transpose()?;
    let before = hash(&mut bytes, comments.as_mut()).map_err(|error| failed(error.to_string()))?;
    let mut source = Source::open(&mut *bytes).map_err(failed)?;
    let mut rest = comments.as_mut().map(|bytes| Source::open(&mut **bytes)).transpose().map_err(failed)?;
    let list = parse_with(&mut source, rest.as_mut(), format, columns, &mut |candidate| each(&file.path, candidate))
        .map_err(failed)?;
    // The hash is of what was read, or it proves nothing: a download may go on meanwhile.
    let after = hash(&mut bytes, comments.as_mut()).map_err(|error| failed(error.to_string()))?;
    if before != after {
        return Err(failed("it was changed while it was read: try again".to_owned()));
    }
    Ok((list, after))
}

fn hash(file: &mut Box<dyn ReadSeek>, comments: Option<&mut Box<dyn ReadSeek>>) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    for bytes in std::iter::once(file).chain(comments) {
        bytes.rewind()?;
        loop {
            match bytes.read(&mut buffer)? {
                0 => break,
                found => hash.update(&buffer[..found]),
            }
        }
        bytes.rewind()?;
    }
    Ok(hash.finalize().into())
}
