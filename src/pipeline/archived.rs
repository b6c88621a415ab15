//! Replay of an archive: blocks come in its own order, with holes, and no endpoint is asked.

use std::sync::Arc;

use alloy::eips::BlockNumHash;
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::batch::Batch;
use super::finality::{RULE_DEPTH, by_depth};
use super::replay::{ReplayOptions, ReplayOutcome, appends, window_below};
use super::{Engine, Judge, PipelineError, Prepared};
use crate::chain::canonical::{Canonical, Step};
use crate::chain::{RawBlock, rlp};
use crate::ops::Shutdown;
use crate::source::archive::Archive;
use crate::source::{RawBundle, SourceError, TraceMode};
use crate::store::Progress;

/// Blocks that are read and not judged yet take no more than so much memory, in KiB; one that is larger than all of it goes alone.
const ROOM_KIB: usize = 256 << 10;

/// First and last block of a range, as far as they are named.
pub type Ends = (Option<u64>, Option<u64>);

/// Replays an archive, or the blocks of it from and to those numbers. Holes are allowed, and counted, also between a named end and
/// the nearest block; a block of another hash at a held height is a reorg.
///
/// # Errors
/// [`PipelineError`]; what was taken before stays.
pub async fn replay_archive(
    engine: &mut Engine<'_>,
    archive: Archive,
    judge: &Judge,
    named: Ends,
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<ReplayOutcome, PipelineError> {
    let span = (named.0.unwrap_or(0), named.1.unwrap_or(u64::MAX));
    replay_archived(engine, archive, judge, (&[span], named), options, shutdown).await
}

/// The same of the blocks in ranges that follow each other, and the ends of them that are named.
pub(super) async fn replay_archived(
    engine: &mut Engine<'_>,
    archive: Archive,
    judge: &Judge,
    (spans, named): (&[(u64, u64)], Ends),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<ReplayOutcome, PipelineError> {
    let mut outcome = ReplayOutcome::default();
    let judge = &judge.screening(&engine.lists);
    let (Some((from, _)), Some((_, to))) = (spans.first().copied(), spans.last().copied()) else {
        return Ok(outcome);
    };
    let wanted = spans.to_vec();
    let (sender, receiver) = tokio::sync::mpsc::channel(options.concurrency.max(1));
    let room = Arc::new(Semaphore::new(ROOM_KIB));
    let runtime = tokio::runtime::Handle::current();
    // Reading and unpacking has a thread of its own.
    let reader = std::thread::spawn(move || {
        let mut outside = 0;
        let mut archive = archive.within(from, to);
        for block in archive.by_ref() {
            let message = match block {
                Ok((number, _)) if !is_in(&wanted, number) => {
                    outside += 1;
                    continue;
                }
                Ok((_, raw)) => {
                    let size = raw.block.size() + raw.traces.as_ref().map_or(0, |traces| traces.get().len());
                    let needs = u32::try_from((size >> 10).clamp(1, ROOM_KIB)).unwrap_or(u32::MAX);
                    let taken = runtime.block_on(room.clone().acquire_many_owned(needs));
                    Ok::<_, SourceError>((raw, taken))
                }
                Err(error) => Err(error),
            };
            if sender.blocking_send(message).is_err() {
                break;
            }
        }
        outside + archive.passed_over()
    });
    let judged = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|message| (message, receiver))
    })
    .map(|message| async move {
        // The room is given back when the block is judged, or given up.
        let (mut raw, _room) = message?;
        if options.traces == TraceMode::Off {
            raw.traces = None;
        } else if options.traces == TraceMode::Require && raw.traces.is_none() {
            let block = block_name(&raw);
            return Err(SourceError::Archive(format!(
                "{}: block {block} has no traces in it, which --traces require wants",
                raw.endpoint
            ))
            .into());
        }
        let (block, host) = (block_name(&raw), raw.endpoint.clone());
        let prepared = judge.judge_apart(raw, None).await.map_err(|reason| SourceError::Unproven {
            rules_of: (!judge.trust).then_some(judge.chain_id),
            block,
            host,
            reason: Box::new(reason),
        })?;
        Ok::<_, PipelineError>(prepared)
    })
    .buffered(options.concurrency.max(1));
    let mut judged = std::pin::pin!(judged);
    let mut chain = Canonical::default();
    let mut batch = Batch::default();
    // The next block that is wanted, where it is known which.
    let mut next = named.0;
    let taken = loop {
        let prepared = tokio::select! {
            prepared = judged.next() => prepared,
            () = batch.due() => {
                batch.commit(engine, None).await?;
                continue;
            }
            () = shutdown.requested() => { outcome.stopped = true; break Ok(()) }
        };
        let prepared = match prepared {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(prepared)) => prepared,
        };
        let number = prepared.link().number;
        lacking(engine, &mut outcome, next.map_or(0, |next| wanted_within(spans, next, number)));
        next = Some(number + 1);
        if take_archived(engine, &mut chain, &mut batch, judge, prepared, options).await? {
            outcome.taken += 1;
        } else {
            outcome.skipped += 1;
            engine.observer.skipped(number);
        }
    };
    // What was taken before an error stays.
    batch.commit(engine, None).await?;
    judge.say_paths();
    taken?;
    if !outcome.stopped {
        outcome.outside = reader.join().map_err(|_| PipelineError::Worker("the reader of the archive died".into()))?;
        if let Some(tip) = chain.tip() {
            settle_archived(engine, tip.number)?;
        }
        let left = named.1.map(|to| wanted_within(spans, next.unwrap_or(from), to + 1));
        lacking(engine, &mut outcome, left.unwrap_or(0));
    }
    Ok(outcome)
}

/// So many blocks next to each other are not in the archive.
fn lacking(engine: &mut Engine<'_>, outcome: &mut ReplayOutcome, blocks: u64) {
    if blocks > 0 {
        outcome.holes += blocks;
        engine.observer.not_read(blocks);
    }
}

/// Whether a number lies in one of ranges that follow each other.
fn is_in(spans: &[(u64, u64)], number: u64) -> bool {
    let next = spans.partition_point(|(_, to)| *to < number);
    spans.get(next).is_some_and(|(from, _)| *from <= number)
}

/// How many blocks of the ranges lie from a number up to another, without that.
fn wanted_within(spans: &[(u64, u64)], from: u64, end: u64) -> u64 {
    let clipped = spans.iter().map(|(first, last)| ((*first).max(from), last.saturating_add(1).min(end)));
    clipped.map(|(first, end)| end.saturating_sub(first)).sum()
}

/// An archive has no tags: what lies deep enough below the end of a run of linked blocks is settled by that, unless this database
/// goes by an endpoint's tags.
fn settle_archived(engine: &mut Engine<'_>, end: u64) -> Result<(), PipelineError> {
    if !engine.finality.has_tags {
        let Some(hash) = engine.store.hash_of(end)? else { return Ok(()) };
        let settled = by_depth(&engine.store, end, BlockNumHash { number: end, hash })?;
        engine.store.settle(settled, RULE_DEPTH)?;
    }
    Ok(())
}

/// Whether the block was taken; false where it was there already.
async fn take_archived(
    engine: &mut Engine<'_>,
    chain: &mut Canonical,
    batch: &mut Batch,
    judge: &Judge,
    prepared: Prepared,
    options: ReplayOptions,
) -> Result<bool, PipelineError> {
    let link = prepared.link();
    let follows = chain.tip().is_some_and(|tip| tip.number + 1 == link.number) && appends(engine, chain, &link)?;
    if !follows {
        batch.commit(engine, None).await?;
    }
    // After a hole, or on going back, the window is that of the block before.
    if chain.tip().is_none_or(|tip| tip.number + 1 < link.number || chain.floor() > link.number) {
        if let Some(tip) = chain.tip() {
            settle_archived(engine, tip.number)?;
        }
        *chain = window_below(engine, link.number)?;
    }
    let offers_traces = options.traces != TraceMode::Off && prepared.block.frames().is_some();
    let senders = judge.proves_senders();
    if engine.store.is_complete(link.id(), judge.proof(), judge.decoder(), offers_traces, senders, judge.indexes())? {
        if chain.step(&link) == Step::Append {
            chain.push(link);
        }
        return Ok(false);
    }
    if follows {
        batch.add(engine, None, prepared).await?;
        chain.push(link);
        return Ok(true);
    }
    loop {
        match chain.step(&link) {
            Step::Append => {
                engine.give_way(chain, &link, Progress::Replay)?;
                batch.add(engine, None, prepared).await?;
                chain.push(link);
                return Ok(true);
            }
            // Held, but lacking something: screened against an older list, unproven, or without traces.
            Step::Behind => {
                batch.add(engine, None, prepared).await?;
                return Ok(true);
            }
            Step::Revert { above } => engine.revert(chain, above, Progress::Replay, &link)?,
            Step::TooDeep { floor } => {
                return Err(PipelineError::TooDeep { number: link.number, hash: link.hash, floor });
            }
            Step::NeedParent(_) | Step::Gap { .. } => {
                return Err(PipelineError::NotLinked { number: link.number, hash: link.hash });
            }
        }
    }
}

fn block_name(raw: &RawBundle) -> String {
    #[derive(serde::Deserialize)]
    struct Numbered {
        number: alloy::primitives::U64,
    }
    let number = match &raw.block {
        RawBlock::Json { block, .. } => serde_json::from_slice::<Numbered>(block).ok().map(|block| block.number.to()),
        RawBlock::Rlp { block, .. } => rlp::number_of(block),
    };
    number.map_or_else(|| "?".to_owned(), |number: u64| number.to_string())
}
