//! Looking back: blocks that were screened before the lists gained entries are brought to the present lists. What no new entry can touch,
//! by its index, is only noted to be screened; the rest goes through the very same stages as any block, so that what comes of it is what
//! a run with the present lists from the start had found.

use std::collections::VecDeque;
use std::sync::Arc;

use super::archived::replay_archived;
use super::replay::replay_spans;
use super::vitals::keep_lies;
use super::{Engine, Judge, PipelineError, ReplayOptions, ReplayOutcome};
use crate::chain::Proof;
use crate::ops::Shutdown;
use crate::screen::Sought;
use crate::source::Pool;
use crate::source::archive::Archive;
use crate::store::{BlockBehind, LedgerRange, Store, StoreError};

/// Blocks that are looked through, and noted, in one transaction.
const CHUNK: u64 = 2_048;

/// What looking back did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LookbackOutcome {
    /// Blocks of the range that are held.
    pub held: u64,
    /// Of these, blocks that were screened by an older state of the lists.
    pub behind: u64,
    /// Blocks that no new entry can touch: not read.
    pub ruled_out: u64,
    /// Blocks that were read and screened again.
    pub read: u64,
    /// New alerts.
    pub alerts: u64,
    /// Blocks that are still to be looked at: it was told to stop, or the archive does not have them.
    pub left: u64,
    /// It was told to stop before the end.
    pub stopped: bool,
}

/// What came of a chunk of blocks.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Blocks that are ruled out, and noted to be screened.
    pub(super) ruled_out: u64,
    /// Blocks that are to be read, as ranges.
    pub(super) to_read: Vec<(u64, u64)>,
}

/// Looks through what is held for blocks that a new entry can touch.
#[derive(Debug)]
pub(super) struct Scan {
    ranges: VecDeque<LedgerRange>,
    /// The present state of the lists.
    revision: i64,
    decoder: i64,
    /// The last state that gained an address.
    gained: i64,
    /// What came after which state of the lists.
    sought: Option<(i64, Sought)>,
}

impl Scan {
    /// Of the blocks of a range, both ends included, as they are held now.
    pub(super) fn begin(store: &Store, (from, to): (u64, u64), judge: &Judge) -> Result<Self, StoreError> {
        let (revision, decoder) = (store.watch_revision()?, judge.decoder());
        let mut ranges = store.screened_otherwise(from, to)?;
        // What is proven does not give way to what is taken on trust.
        ranges.retain(|ledger| judge.proof() == Proof::Proven || !ledger.range.proven);
        Ok(Self { ranges: ranges.into(), revision, decoder, gained: store.last_gain()?, sought: None })
    }

    /// Blocks that are not looked through yet.
    pub(super) fn left(&self) -> u64 {
        self.ranges.iter().map(|ledger| ledger.range.to - ledger.range.from + 1).sum()
    }

    /// Whether any of them was screened before an address was added.
    pub(super) fn lacks_entries(&self) -> bool {
        self.ranges.iter().any(|ledger| ledger.watch_revision < self.gained)
    }

    /// Looks through at most so many of the next blocks, and notes those that are ruled out. None at the end.
    ///
    /// # Errors
    /// [`StoreError::StaleWatchlist`] where the lists changed meanwhile: it is to be begun anew.
    pub(super) fn step(&mut self, store: &mut Store, most: u64) -> Result<Option<Looked>, StoreError> {
        let Some(mut ledger) = self.ranges.pop_front() else { return Ok(None) };
        let was = ledger.watch_revision;
        let (from, last) = (ledger.range.from, ledger.range.to);
        let to = last.min(from.saturating_add(most - 1));
        if to < last {
            ledger.range.from = to + 1;
            self.ranges.push_front(ledger);
        }
        let sought = match self.sought.take() {
            Some((since, sought)) if since == was => sought,
            _ => Sought::new(&store.entries_since(was)?),
        };
        let mut looked = Looked::default();
        let mut ruled_out = Vec::new();
        // Without an index any block may have a new address; one that was watched already only where there are alerts of it.
        let may_touch = |block: &BlockBehind| match &block.filter {
            Some(filter) => sought.may_be_in(filter),
            None => was < self.gained || block.alerted,
        };
        if sought.is_empty() {
            ruled_out.push((from, to));
        } else {
            for block in store.blocks_behind(from, to, was, self.decoder)? {
                append(if may_touch(&block) { &mut looked.to_read } else { &mut ruled_out }, block.number);
            }
        }
        if !ruled_out.is_empty() {
            looked.ruled_out = store.mark_screened(&ruled_out, was, self.revision)?;
        }
        self.sought = Some((was, sought));
        Ok(Some(looked))
    }
}

/// Adds a number to ranges, which it follows.
fn append(ranges: &mut Vec<(u64, u64)>, number: u64) {
    match ranges.last_mut() {
        Some((_, last)) if *last + 1 == number => *last = number,
        _ => ranges.push((number, number)),
    }
}

/// Looks through a range; the blocks that are to be read. None where the lists changed meanwhile.
fn look_through(
    engine: &mut Engine<'_>,
    judge: &Judge,
    range: (u64, u64),
    outcome: &mut LookbackOutcome,
    shutdown: &Shutdown,
) -> Result<Option<Vec<(u64, u64)>>, PipelineError> {
    engine.read_lists()?;
    let mut scan = Scan::begin(&engine.store, range, judge)?;
    outcome.behind = outcome.behind.max(scan.left());
    let mut spans: Vec<(u64, u64)> = Vec::new();
    loop {
        if shutdown.is_requested() {
            outcome.stopped = true;
            return Ok(Some(Vec::new()));
        }
        let looked = match scan.step(&mut engine.store, CHUNK) {
            Err(StoreError::StaleWatchlist) => return Ok(None),
            other => other?,
        };
        let Some(looked) = looked else { return Ok(Some(spans)) };
        outcome.ruled_out += looked.ruled_out;
        engine.observer.not_read(looked.ruled_out);
        for (from, to) in looked.to_read {
            match spans.last_mut() {
                Some((_, last)) if *last + 1 == from => *last = to,
                _ => spans.push((from, to)),
            }
        }
    }
}

/// Where blocks are read again.
enum Origin<'a> {
    Endpoints(&'a Arc<Pool>),
    Archive(Option<Archive>),
}

/// Brings the held blocks of a range, both ends included, to the present lists, reading again from endpoints what may touch a new entry.
///
/// # Errors
/// [`PipelineError`]; what was done before stays.
pub async fn look_back(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    range: (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<LookbackOutcome, PipelineError> {
    let outcome = run(engine, Origin::Endpoints(pool), judge, range, options, shutdown).await;
    keep_lies(&mut engine.store, pool)?;
    outcome
}

/// The same from an archive. What it does not have is left as it is.
///
/// # Errors
/// [`PipelineError`]; what was done before stays.
pub async fn look_back_in_archive(
    engine: &mut Engine<'_>,
    archive: Archive,
    judge: &Judge,
    range: (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<LookbackOutcome, PipelineError> {
    run(engine, Origin::Archive(Some(archive)), judge, range, options, shutdown).await
}

async fn run(
    engine: &mut Engine<'_>,
    mut origin: Origin<'_>,
    judge: &Judge,
    range: (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<LookbackOutcome, PipelineError> {
    let held = engine.store.ledger(range.0, range.1)?;
    let held = held.iter().map(|ledger| ledger.range.to - ledger.range.from + 1).sum();
    let mut outcome = LookbackOutcome { held, ..LookbackOutcome::default() };
    let found_before = engine.found;
    loop {
        let Some(spans) = look_through(engine, judge, range, &mut outcome, shutdown)? else { continue };
        if spans.is_empty() {
            break;
        }
        let revision = engine.lists.get().revision();
        let ReplayOutcome { taken, stopped, .. } = match &mut origin {
            Origin::Endpoints(pool) => replay_spans(engine, pool, judge, &spans, options, shutdown).await?,
            Origin::Archive(archive) => match archive.take() {
                Some(archive) => {
                    let ends = (spans.first().map(|span| span.0), spans.last().map(|span| span.1));
                    replay_archived(engine, archive, judge, (&spans, ends), options, shutdown).await?
                }
                None => break,
            },
        };
        outcome.read += taken;
        outcome.stopped = stopped;
        // Blocks that were read before the lists changed once more are behind again.
        if stopped || engine.store.watch_revision()? == revision {
            break;
        }
    }
    outcome.alerts = engine.found - found_before;
    outcome.left = Scan::begin(&engine.store, range, judge)?.left();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_range() {
        let mut ranges = Vec::new();
        [1, 2, 3, 7, 9, 10].into_iter().for_each(|number| append(&mut ranges, number));
        assert_eq!(ranges, [(1, 3), (7, 7), (9, 10)]);
    }
}
