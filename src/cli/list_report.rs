//! What is said of a list file: warnings, what was rejected, and every candidate for `--report`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::Failure;
use crate::lists::{Candidate, Class, Outcome, ParsedList, Rejected};

/// Rejected candidates that are shown; all are counted, and `--report` has all.
const SHOWN: usize = 10;

/// Says what was found in a file, and refuses one that is not to be taken.
pub(super) fn say(path: &Path, list: &ParsedList, skip_bad: bool, remedy: &str) -> Result<(), Failure> {
    let shown = path.display();
    for warning in &list.warnings {
        tracing::warn!("{shown}: {warning}");
    }
    let broken: Vec<&Rejected> = list.rejected.iter().filter(|rejected| rejected.class == Class::Broken).collect();
    for bad in broken.iter().take(SHOWN) {
        tracing::warn!("{shown} line {}: {:?} {}", bad.line, bad.text, bad.reason);
    }
    let counts = list.counts;
    if counts.broken > SHOWN as u64 {
        tracing::warn!("{shown}: {} more bad lines (--report FILE lists all)", counts.broken - SHOWN as u64);
    }
    let spoken = counts.mentioned;
    if spoken > 0 {
        tracing::warn!(
            "{shown}: {spoken} addresses that its texts only speak of were left out (--report FILE lists them)"
        );
    }
    if list.format.is_own()
        && !skip_bad
        && let Some(first) = broken.first()
    {
        return Err(Failure::input(format!(
            "{shown}: bad lines: {}, the first is line {}; nothing was changed ({remedy})",
            counts.broken, first.line
        )));
    }
    if list.entries.is_empty() && list.delta.is_none() {
        return Err(Failure::input(format!("{shown}: no address in it; nothing was changed")));
    }
    Ok(())
}

/// The file that `--report` names: a JSON line for each candidate.
pub(super) struct Report<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl<'a> Report<'a> {
    /// `apart` from those files, which it would overwrite.
    pub(super) fn create<'p>(path: &'a Path, mut apart: impl Iterator<Item = &'p Path>) -> Result<Self, Failure> {
        let place = path.canonicalize().ok();
        if place.is_some() && apart.any(|other| other.canonicalize().ok() == place) {
            return Err(Failure::input(format!("--report {}: it would overwrite what it reports on", path.display())));
        }
        let file =
            File::create(path).map_err(|error| Failure::input(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { path, out: BufWriter::new(file), failed: None })
    }

    pub(super) fn tell(&mut self, file: &Path, candidate: &Candidate<'_>) {
        let (word, address, reason) = match &candidate.outcome {
            Outcome::Accepted(address, note) => ("accepted", Some(address), *note),
            Outcome::Repeated(address, note) => ("repeated", Some(address), *note),
            Outcome::Derived(address) => ("derived", Some(address), None),
            Outcome::Ended(address) => ("ended", Some(address), None),
            Outcome::Rejected(_, reason) => ("rejected", None, Some(reason.as_str())),
        };
        let other_chain = matches!(candidate.outcome, Outcome::Rejected(Class::OtherChain, _));
        let line = serde_json::json!({
            "file": file.display().to_string(), "line": candidate.line, "outcome": word,
            "address": address.map(|address| address.to_checksum(None)), "text": candidate.text, "reason": reason,
            "other_chain": other_chain, "derived": candidate.derived, "currency": candidate.currency, "entity": candidate.entity, "uid": candidate.uid,
        });
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "{}", crate::text::json(&line.to_string())).err();
        }
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let done = self.failed.take().map_or(Ok(()), Err).and_then(|()| self.out.flush());
        done.map_err(|error| Failure::input(format!("cannot write {}: {error}", self.path.display())))
    }
}
