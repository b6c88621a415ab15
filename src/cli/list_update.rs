//! `bolo watchlist update`: fetches the lists that bolo.toml names. A list changes only once the new file is there whole, was read, and
//! looks like a newer version of it; whatever else happens, the last good one stays.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::hidden_text::warn_of_hidden;
use super::known_addresses::warn_of_busy;
use super::list_args::UpdateArgs;
use super::list_import::outcome;
use super::list_report::say;
use super::present::print;
use super::status::age;
use super::watchlist::{now, writable};
use super::{Context, Failure};
use crate::config::{ListSettings, parse_seconds};
use crate::lists::{Format, ParsedList, Source, parse};
use crate::source::{DownloadError, Fetched, FetchedFile, Wanted, download, shown_host};
use crate::store::{ListFile, ListSource, Store};

/// A server may be silent for so long, unless --timeout says otherwise.
const IDLE: Duration = Duration::from_secs(30);
/// The whole of a file may take so many times as long.
const WHOLE: u32 = 60;
/// So many entries may end at once, whatever part of the list they are.
const FEW: usize = 10;
/// Temporary: try again.
const TEMPORARY: u8 = 75;
/// The database is unusable.
const UNUSABLE: u8 = 5;

pub(super) async fn update(context: &Context, args: &UpdateArgs) -> Result<u8, Failure> {
    let idle = args.timeout.map(|seconds| parse_seconds("--timeout", seconds)).transpose().map_err(Failure::input)?;
    let wanted = wanted(&context.lists, &args.names)?;
    let mut store = writable(context)?;
    let mut failed: Vec<(&str, u8)> = Vec::new();
    for (list, url) in &wanted {
        let one = Update { list, url, idle: idle.unwrap_or(IDLE), force: args.force, db: &context.db };
        match one.run(&mut store).await {
            Ok(said) => print(&said)?,
            // Nothing can be kept, or nobody reads any more.
            Err(failure) if failure.code == UNUSABLE || failure.code == 0 => return Err(failure),
            Err(failure) => {
                tracing::warn!("{}: {}; the list stays as it was", list.name, failure.message);
                store.note_list_failed(&list.name, &failure.message, failure.code != TEMPORARY, now())?;
                failed.push((&list.name, failure.code));
            }
        }
    }
    let Some(code) = failed.iter().map(|(_, code)| *code).min() else { return Ok(0) };
    let names: Vec<_> = failed.iter().map(|(name, _)| *name).collect();
    let message = format!("{} of {} lists could not be updated: {}", failed.len(), wanted.len(), names.join(", "));
    Err(Failure::new(code, message))
}

/// The lists that are named, or all, with their URLs.
fn wanted<'a>(lists: &'a [ListSettings], names: &[String]) -> Result<Vec<(&'a ListSettings, &'a str)>, Failure> {
    for name in names {
        match lists.iter().find(|list| list.name == *name) {
            None => return Err(Failure::input(format!("bolo.toml has no [[list]] with name = {name:?}"))),
            Some(list) if list.url.is_none() => {
                return Err(Failure::input(format!("the [[list]] {name:?} in bolo.toml has no url")));
            }
            Some(_) => {}
        }
    }
    let all = lists.iter().filter_map(|list| Some((list, list.url.as_deref()?)));
    let wanted: Vec<_> = all.filter(|(list, _)| names.is_empty() || names.contains(&list.name)).collect();
    if wanted.is_empty() {
        return Err(Failure::input(
            "no list to fetch: bolo.toml names them, each as [[list]] with name = \"…\" and url = \"https://…\"",
        ));
    }
    Ok(wanted)
}

/// One list to be brought up to date.
struct Update<'a> {
    list: &'a ListSettings,
    url: &'a str,
    idle: Duration,
    force: bool,
    db: &'a Path,
}

impl Update<'_> {
    async fn run(&self, store: &mut Store) -> Result<String, Failure> {
        let name = &self.list.name;
        let held = store.lists()?.into_iter().find(|list| list.name == *name);
        let same_kind = held.as_ref().is_some_and(|held| self.list.kind.is_none_or(|kind| kind == held.kind));
        let known = store.list_source(name)?.filter(|source| same_kind && source.asked_for == self.asked_for());
        let wanted = Wanted {
            url: self.url,
            etag: known.as_ref().and_then(|source| source.etag.as_deref()),
            last_modified: known.as_ref().and_then(|source| source.last_modified.as_deref()),
            most: self.list.max_bytes,
            idle: self.idle,
            whole: self.idle * WHOLE,
        };
        let mut spool = Spool::create(self.db)?;
        let fetched = match download(&wanted, &mut spool.file).await? {
            Fetched::File(fetched) => fetched,
            Fetched::NotChanged => {
                store.note_list_checked(name, None, now())?;
                let published = held.map(|held| age(held.published)).unwrap_or_default();
                return Ok(format!("{name}: not changed at {}; published {published}\n", shown_host(self.url)));
            }
        };
        let list = self.read(&mut spool.file, &fetched)?;
        drop(spool);
        let counts = store.change_lists(|store| {
            self.brake(store, &list)?;
            Ok::<_, Failure>(store.import_list(&ListFile {
                list: name,
                kind: self.list.kind,
                published: list.published,
                imported_at: now(),
                source: &shown_host(self.url),
                format: list.format.name(),
                sha256: fetched.sha256,
                entries: &list.entries,
                rejected: list.counts.rejected,
            })?)
        })?;
        let source = ListSource {
            asked_for: self.asked_for(),
            sha256: fetched.sha256,
            etag: fetched.etag,
            last_modified: fetched.last_modified,
        };
        store.note_list_checked(name, Some(&source), now())?;
        if let (Some(before), Some(now)) = (counts.kind_before, self.list.kind) {
            tracing::warn!("{name}: the list was {} and is {} now", before.name(), now.name());
        }
        warn_of_busy(list.entries.iter().map(|entry| entry.address));
        warn_of_hidden(list.entries.iter());
        Ok(outcome(name, &list, counts))
    }

    /// What the server's answer is of. A key in the URL does not come out of it again.
    fn asked_for(&self) -> [u8; 32] {
        let format = self.list.format.map_or("", Format::name);
        Sha256::digest(format!("{format}\n{}", self.url)).into()
    }

    /// The list in the file, if it is one that may replace another.
    fn read(&self, file: &mut File, fetched: &FetchedFile) -> Result<ParsedList, Failure> {
        let host = shown_host(self.url);
        let failed = |reason: String| Failure::input(format!("the file from {host}: {reason}"));
        file.rewind().map_err(|error| failed(error.to_string()))?;
        let mut source = Source::open(file).map_err(failed)?;
        let list = parse(&mut source, None, self.list.format, &mut |_| {}).map_err(failed)?;
        if list.delta.is_some() {
            return Err(failed("it is a file of changes, and only the whole of a list can be fetched".to_owned()));
        }
        if !fetched.ends_told && !list.format.shows_its_end() {
            return Err(failed(format!(
                "neither the server nor a file in the format {} tells where it ends, so it may be cut off",
                list.format.name()
            )));
        }
        say(
            Path::new(&format!("the file from {host}")),
            &list,
            self.list.skip_bad,
            "skip_bad = true in its [[list]] takes the good ones",
        )?;
        if list.published.is_some_and(|published| published > now() + 86_400) {
            return Err(failed("it says that it is of the future".to_owned()));
        }
        Ok(list)
    }

    /// Refuses what would end most of a list: rather a wrong or cut file than a publisher who takes so many off at once.
    fn brake(&self, store: &Store, list: &ParsedList) -> Result<(), Failure> {
        let news: HashSet<_> = list.entries.iter().map(|entry| entry.address).collect();
        let (mut held, mut ends) = (0usize, 0usize);
        store.each_entry::<Failure>(None, Some(&self.list.name), None, |row| {
            held += 1;
            ends += usize::from(!news.contains(&row.address));
            Ok(())
        })?;
        if self.force || !ends_too_many(held, ends) {
            return Ok(());
        }
        Err(Failure::input(format!(
            "the file from {} would end {ends} of {held} entries, more than half: refused; if it is right, `bolo watchlist update {} --force` \
             takes it",
            shown_host(self.url),
            self.list.name
        )))
    }
}

fn ends_too_many(held: usize, ends: usize) -> bool {
    ends > FEW && ends > held / 2
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::new(if error.may_pass() { TEMPORARY } else { 1 }, error.to_string())
    }
}

/// Where a download is kept until it is read: beside the database, where there is room for lists. It has no name any more once it is
/// open, so that nothing is left of it when the process is killed.
struct Spool {
    file: File,
    /// Where a file that is open cannot lose its name.
    left: Option<PathBuf>,
}

impl Spool {
    fn create(db: &Path) -> Result<Self, Failure> {
        let mut name = db.as_os_str().to_owned();
        name.push(format!(".{}.download", std::process::id()));
        let path = PathBuf::from(name);
        // A new file, readable by its owner: what lies there under the name is not written to, nor what it links to.
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let mut file = options.map_err(DownloadError::Disk)?;
        file.flush().map_err(DownloadError::Disk)?;
        let left = std::fs::remove_file(&path).is_err().then_some(path);
        Ok(Self { file, left })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = &self.left {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_few_and_more_than_half_are_too_many_to_end_at_once() {
        for (held, ends, refused) in
            [(0, 0, false), (10, 10, false), (11, 11, true), (22, 11, false), (21, 11, true), (1000, 500, false)]
        {
            assert_eq!(ends_too_many(held, ends), refused, "{ends} of {held}");
        }
    }

    #[test]
    fn a_download_has_no_name_once_it_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(&dir.path().join("bolo.db")).unwrap();
        spool.file.write_all(b"x").unwrap();
        assert_eq!(cfg!(unix), std::fs::read_dir(dir.path()).unwrap().next().is_none());
        drop(spool);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
