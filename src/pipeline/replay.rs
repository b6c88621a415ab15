//! The same stages over history, from endpoints by range. Resumable and idempotent: what is there already, screened against the present
//! watchlist, is not asked for again.

use std::sync::Arc;

use alloy::eips::BlockNumHash;
use futures_util::StreamExt;

use super::batch::Batch;
use super::fetch::numbered;
use super::stages::Stages;
use super::vitals::keep_lies;
use super::{Engine, Judge, PipelineError, Prepared};
use crate::chain::canonical::{Canonical, Link, Step};
use crate::ops::Shutdown;
use crate::source::{Pool, TraceMode};
use crate::store::{Access, Progress, Store};

/// How often in a row a block is looked up again that contradicts what is final, where an endpoint still has that.
const DOUBTS: u32 = 3;

/// How to replay.
#[derive(Debug, Clone, Copy)]
pub struct ReplayOptions {
    /// Blocks that are asked for at once.
    pub concurrency: usize,
    /// Whether traces are wanted.
    pub traces: TraceMode,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayOutcome {
    /// Blocks taken.
    pub taken: u64,
    /// Blocks that were there already.
    pub skipped: u64,
    /// Blocks of the archive outside the range.
    pub outside: u64,
    /// Blocks between two of the archive, or between one and a named end of the range, that it does not have.
    pub holes: u64,
    /// It was told to stop before the end.
    pub stopped: bool,
}

impl ReplayOutcome {
    /// Takes in what another part of the same run did.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.skipped += other.skipped;
        self.outside += other.outside;
        self.holes += other.holes;
        self.stopped |= other.stopped;
    }
}

/// A block of the range.
enum Fetched {
    /// It is there already.
    Held(Link),
    /// It is to be taken.
    New(Link, Box<Prepared>),
}

/// Replays a range of blocks, both ends included.
///
/// # Errors
/// [`PipelineError`]; what was taken before stays.
pub async fn replay_endpoints(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    range: (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<ReplayOutcome, PipelineError> {
    let outcome = replay_spans(engine, pool, judge, &[range], options, shutdown).await;
    keep_lies(&mut engine.store, pool)?;
    outcome
}

/// Takes the blocks of a range once more that were taken without all of their traces because these failed: by now they may come.
///
/// # Errors
/// As [`replay_endpoints`].
pub async fn replay_missing_traces(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    (from, to): (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<ReplayOutcome, PipelineError> {
    let spans = match options.traces {
        TraceMode::Auto => engine.store.backlog_spans(from, to, false)?,
        TraceMode::Require | TraceMode::Off => Vec::new(),
    };
    if spans.is_empty() || !pool.may_have_traces() {
        return Ok(ReplayOutcome::default());
    }
    tracing::info!(spans = spans.len(), "asking once more for the traces that are missing");
    pool.retry_traces();
    let outcome = replay_spans(engine, pool, judge, &spans, options, shutdown).await;
    keep_lies(&mut engine.store, pool)?;
    outcome
}

/// Replays several ranges, in order and apart from each other, as one stream of blocks.
pub(super) async fn replay_spans(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    spans: &[(u64, u64)],
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<ReplayOutcome, PipelineError> {
    let mut outcome = ReplayOutcome::default();
    let Some((mut next, _)) = spans.first().copied() else { return Ok(outcome) };
    let head = pool.head().await?;
    engine.finality.learn(head.link.number, pool.finality(&head).await);
    engine.note_heads(pool, Some(&head)).await?;
    // What is there is looked up while blocks are in flight, so through a connection of its own.
    let ledger = Store::open(engine.store.path(), Access::Read)?;
    let mut chain = window_below(engine, next)?;
    // The last block of each range that is done.
    let mut ends = Vec::new();
    let stages = Stages::new(options.concurrency);
    let judge = &judge.screening(&engine.lists).staged(&stages);
    let mut batch = Batch::default();
    let mut doubted = 0;
    let mut at = 0;
    let taken = 'range: loop {
        while spans.get(at).is_some_and(|(_, to)| next > *to) {
            at += 1;
            next = spans.get(at).map_or(next, |(from, _)| next.max(*from));
        }
        let Some((_, to)) = spans.get(at) else { break Ok(()) };
        let later = spans[at + 1..].iter().flat_map(|(from, to)| *from..=*to);
        let fetches = (next..=*to).chain(later).map(|number| fetch(&ledger, pool, judge, number));
        let mut blocks = futures_util::stream::iter(fetches).buffered(stages.in_hand());
        loop {
            let fetched = tokio::select! {
                fetched = blocks.next() => fetched,
                () = batch.due() => {
                    batch.commit(engine, Some(pool)).await?;
                    continue;
                }
                () = shutdown.requested() => {
                    outcome.stopped = true;
                    break 'range Ok(());
                }
            };
            let fetched = match fetched {
                None => break 'range Ok(()),
                Some(Err(error)) => break 'range Err(error),
                Some(Ok(fetched)) => fetched,
            };
            let (Fetched::Held(Link { number, .. }) | Fetched::New(Link { number, .. }, _)) = fetched;
            if let Some(tip) = chain.tip().filter(|tip| tip.number + 1 < number) {
                // Another range begins.
                batch.commit(engine, Some(pool)).await?;
                ends.push(tip);
                chain = window_below(engine, number)?;
            }
            match fetched {
                Fetched::Held(link) if chain.step(&link) == Step::Append => {
                    chain.push(link);
                    outcome.skipped += 1;
                    engine.observer.skipped(link.number);
                }
                Fetched::New(link, prepared) if appends(engine, &chain, &link)? => {
                    batch.add(engine, Some(pool), *prepared).await?;
                    chain.push(link);
                    outcome.taken += 1;
                }
                other => {
                    batch.commit(engine, Some(pool)).await?;
                    let (link, ready) = match other {
                        // It is held and yet does not link: what is before it was replaced meanwhile.
                        Fetched::Held(link) => (link, None),
                        Fetched::New(link, prepared) => (link, Some(*prepared)),
                    };
                    match engine.follow(pool, judge, &mut chain, link, ready, Progress::Replay).await {
                        // Whoever named it is benched where another endpoint has what is final: looked up again, of that one.
                        Err(PipelineError::TooDeep { floor, .. })
                            if doubted < DOUBTS && engine.is_false_chain(pool, floor).await? =>
                        {
                            doubted += 1;
                            next = chain.tip().map_or(next, |tip| tip.number + 1);
                            break;
                        }
                        taken => outcome.taken += taken?,
                    }
                }
            }
            doubted = 0;
            next = number + 1;
            keep_lies(&mut engine.store, pool)?;
            if chain.tip().map(|tip| tip.number) != Some(number) {
                // A reorg changed what comes next: what is in flight may be of the other fork.
                next = chain.tip().map_or(next, |tip| tip.number + 1);
                break;
            }
        }
    };
    // What was taken before an error stays.
    batch.commit(engine, Some(pool)).await?;
    judge.say_paths();
    taken?;
    ends.extend(chain.tip());
    if !outcome.stopped {
        settle_at_end(engine, pool, &mut chain, &ends, options).await?;
    }
    Ok(outcome)
}

/// The held blocks that a block of that number would follow.
pub(super) fn window_below(engine: &Engine<'_>, number: u64) -> Result<Canonical, PipelineError> {
    Ok(match number.checked_sub(1) {
        Some(before) => engine.store.canonical_window(before)?,
        None => Canonical::default(),
    })
}

/// The block of a number, unless it is there already.
async fn fetch(ledger: &Store, pool: &Arc<Pool>, judge: &Judge, number: u64) -> Result<Fetched, PipelineError> {
    if ledger.hash_of(number)?.is_none() {
        let (link, prepared) = judge.fetch_number(pool, number).await?;
        return Ok(Fetched::New(link, Box::new(prepared)));
    }
    numbered(pool, number, async |link| {
        if is_held(ledger, pool, judge, link)? {
            return Ok(Fetched::Held(link));
        }
        Ok(Fetched::New(link, Box::new(judge.fetch(pool, &link).await?)))
    })
    .await
}

/// Whether the block is the next one, and nothing that is stored contradicts it.
pub(super) fn appends(engine: &Engine<'_>, chain: &Canonical, link: &Link) -> Result<bool, PipelineError> {
    Ok(chain.step(link) == Step::Append && engine.store.conflicting(link)?.is_none())
}

/// The chain went on meanwhile: what was replayed is settled by what is known of it now, each range by its last block.
async fn settle_at_end(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    chain: &mut Canonical,
    ends: &[BlockNumHash],
    options: ReplayOptions,
) -> Result<(), PipelineError> {
    if ends.is_empty() {
        return Ok(());
    }
    let head = pool.head().await?;
    engine.finality.learn(head.link.number, pool.finality(&head).await);
    engine.note_heads(pool, Some(&head)).await?;
    let asked = ends.iter().map(|end| async move { Ok::<_, PipelineError>((end, still_stands(pool, *end).await?)) });
    let mut asked = futures_util::stream::iter(asked).buffered(options.concurrency.max(1));
    while let Some(answer) = asked.next().await {
        match answer? {
            (end, true) => engine.settle(chain, *end)?,
            (end, false) => tracing::info!(
                block = end.number,
                "another block stands there by now, or too few endpoints have this one: what was replayed is not settled"
            ),
        }
    }
    Ok(())
}

/// Whether the chain has that block at its number: by as many endpoints as finality takes. Another one that is named there must be
/// one that somebody has.
async fn still_stands(pool: &Arc<Pool>, block: BlockNumHash) -> Result<bool, PipelineError> {
    let holds = async |link: Link| {
        if link.hash != block.hash {
            pool.link(link.hash).await?;
        }
        Ok(link.hash == block.hash)
    };
    Ok(numbered(pool, block.number, holds).await? && pool.corroborates(block).await)
}

fn is_held(ledger: &Store, pool: &Pool, judge: &Judge, link: Link) -> Result<bool, PipelineError> {
    let (traces, senders) = (pool.may_have_traces(), judge.proves_senders());
    Ok(ledger.is_complete(link.id(), judge.proof(), judge.decoder(), traces, senders, judge.indexes())?)
}
