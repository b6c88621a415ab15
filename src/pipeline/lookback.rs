//! Looking back: blocks that were screened by other lists are brought to the present ones. A block in which the present lists can find
//! nothing else, by its index and its alerts, is only noted to be screened; the rest goes through the very same stages as any block, so
//! that what comes of it is what a run with the present lists from the start had found.

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
    /// Blocks in which the present lists can find nothing else: not read.
    pub ruled_out: u64,
    /// Blocks that were read and screened again.
    pub read: u64,
    /// New alerts.
    pub alerts: u64,
    /// Blocks that are still to be looked at: it was told to stop, the archive does not have them, or they are proven and would be read
    /// on trust.
    pub left: u64,
    /// It was told to stop before the end.
    pub stopped: bool,
}

/// What came of a chunk of blocks.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Blocks that are ruled out, and noted to be screened.
    pub(crate) ruled_out: u64,
    /// Blocks that are to be read, as ranges.
    pub(crate) to_read: Vec<(u64, u64)>,
}

/// Addresses that blocks of a span of time were not screened for.
#[derive(Debug)]
struct Missed {
    /// The first block time, and the one after the last.
    times: (i64, i64),
    sought: Sought,
}

/// Looks through what is held for blocks in which the present lists may find something else.
#[derive(Debug)]
pub(crate) struct Scan {
    ranges: VecDeque<LedgerRange>,
    /// Blocks that are behind and stay so: proven, while what is read now is taken on trust.
    kept: u64,
    /// The present state of the lists.
    revision: i64,
    decoder: i64,
    /// What blocks of one state of the lists were not screened for.
    missed: Option<(i64, Vec<Missed>)>,
}

impl Scan {
    /// Of the blocks of a range, both ends included, as they are held now. `decoder` and `proof` are those of blocks that are read.
    pub(crate) fn begin(store: &Store, (from, to): (u64, u64), decoder: i64, proof: Proof) -> Result<Self, StoreError> {
        let revision = store.watch_revision()?;
        // What is proven does not give way to what is taken on trust.
        let (kept, ranges): (Vec<_>, Vec<_>) = store
            .screened_otherwise(from, to)?
            .into_iter()
            .partition(|ledger| proof == Proof::Unproven && ledger.range.proven);
        Ok(Self { ranges: ranges.into(), kept: count(&kept), revision, decoder, missed: None })
    }

    /// Blocks that are not looked through yet, or stay behind.
    pub(crate) fn left(&self) -> u64 {
        self.kept + count(&self.ranges)
    }

    /// Whether the lists changed for any address since a block was screened that is to be looked through.
    pub(crate) fn is_needed(&self, store: &Store) -> Result<bool, StoreError> {
        let oldest = self.ranges.iter().map(|ledger| ledger.watch_revision).min();
        oldest.map_or(Ok(false), |revision| store.has_changed_since(revision))
    }

    /// Looks through at most so many of the next blocks, and notes those that are ruled out. None at the end.
    ///
    /// # Errors
    /// [`StoreError::StaleWatchlist`] where the lists changed meanwhile: it is to be begun anew.
    pub(crate) fn step(&mut self, store: &mut Store, most: u64) -> Result<Option<Looked>, StoreError> {
        let Some(mut ledger) = self.ranges.pop_front() else { return Ok(None) };
        let was = ledger.watch_revision;
        let (from, last) = (ledger.range.from, ledger.range.to);
        let to = last.min(from.saturating_add(most - 1));
        if to < last {
            ledger.range.from = to + 1;
            self.ranges.push_front(ledger);
        }
        let missed = match self.missed.take() {
            Some((since, missed)) if since == was => missed,
            _ => store
                .gains_since(was)?
                .iter()
                .map(|gain| Missed { times: (gain.from, gain.until), sought: Sought::new(&gain.addresses) })
                .collect(),
        };
        let mut looked = Looked::default();
        let mut ruled_out = Vec::new();
        // An address that was screened for leads to its alerts. Another one may be in any block that has no filter.
        let may_differ = |block: &BlockBehind| {
            let mut missed = missed.iter().filter(|missed| (missed.times.0..missed.times.1).contains(&block.timestamp));
            block.alerted
                || match &block.filter {
                    Some(filter) => missed.any(|missed| missed.sought.may_be_in(filter)),
                    None => missed.next().is_some(),
                }
        };
        if !store.has_changed_since(was)? {
            ruled_out.push((from, to));
        } else {
            for block in store.blocks_behind(from, to, was, self.decoder)? {
                append(if may_differ(&block) { &mut looked.to_read } else { &mut ruled_out }, block.number);
            }
        }
        if !ruled_out.is_empty() {
            looked.ruled_out = store.mark_screened(&ruled_out, was, self.revision)?;
        }
        self.missed = Some((was, missed));
        Ok(Some(looked))
    }
}

/// Number of blocks.
fn count<'a>(ranges: impl IntoIterator<Item = &'a LedgerRange>) -> u64 {
    ranges.into_iter().map(|ledger| ledger.range.to - ledger.range.from + 1).sum()
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
    let mut scan = Scan::begin(&engine.store, range, judge.decoder(), judge.proof())?;
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
    let mut outcome = LookbackOutcome { held: count(&held), ..LookbackOutcome::default() };
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
    outcome.left = Scan::begin(&engine.store, range, judge.decoder(), judge.proof())?.left();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_proven_are_left_where_what_is_read_is_taken_on_trust() {
        for (proven, on_trust) in [(60, 0), (60, 5), (1, 1), (0, 7)] {
            let mut store = Store::with_blocks(proven, on_trust);
            let all = proven + on_trust;
            let begin = |store: &Store, proof| Scan::begin(store, (0, 1_000), 1, proof).unwrap();
            assert_eq!(begin(&store, Proof::Proven).left(), all);
            let mut scan = begin(&store, Proof::Unproven);
            assert_eq!((scan.left(), scan.is_needed(&store).unwrap()), (all, on_trust > 0));
            let mut to_read = 0;
            while let Some(looked) = scan.step(&mut store, 16).unwrap() {
                to_read += looked.to_read.iter().map(|(from, to)| to - from + 1).sum::<u64>();
            }
            assert_eq!((to_read, scan.left()), (on_trust, proven), "{proven} proven, {on_trust} on trust");
        }
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_range() {
        let mut ranges = Vec::new();
        [1, 2, 3, 7, 9, 10].into_iter().for_each(|number| append(&mut ranges, number));
        assert_eq!(ranges, [(1, 3), (7, 7), (9, 10)]);
    }
}
