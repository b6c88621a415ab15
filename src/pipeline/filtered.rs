//! A replay that asks endpoints which blocks touch the list, and takes only these: for small lists, when reading all of history is too
//! much and the endpoints may know the list. What is taken is taken whole and proven like any block; that nothing else touches the
//! list is the endpoint's word, and the ledger does not take it for seen.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;

use super::apart::{Task, begin};
use super::replay::replay_spans;
use super::vitals::keep_lies;
use super::{Engine, Judge, PipelineError, ReplayOptions, ReplayOutcome};
use crate::decode::{ActivityKind, INDEXED, Trail};
use crate::ops::Shutdown;
use crate::screen::Watchlist;
use crate::source::{FINAL_DEPTH, Filter, FinalityVote, Found, Head, Pool, SourceError};
use crate::store::FilteredSpan;

/// Addresses of a list that may be asked for: with more, reading whole blocks costs less than asking so often.
pub const MOST_FILTERED: usize = 500;

/// Pauses before the endpoints are asked what is final, once more for each.
const FINALITY_PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(2)];

/// What a filtered replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilteredOutcome {
    /// The blocks that were read whole.
    pub replayed: ReplayOutcome,
    /// Blocks that were not read, by the endpoints' word that they do not touch the list, and are not held.
    pub passed_over: u64,
    /// Blocks of which an earlier run got that word, and which are not held either.
    pub filtered_before: u64,
    /// Blocks that were read since they could not be looked through.
    pub unanswered: u64,
}

/// The addresses to ask for, in order.
///
/// # Errors
/// One line that says why that list cannot be asked for.
pub fn filterable(watchlist: &Watchlist) -> Result<Vec<Address>, String> {
    let mut addresses: Vec<_> = watchlist.addresses().collect();
    addresses.sort();
    match addresses.len() {
        0 => Err("--filtered asks endpoints for the addresses of the watchlist, which is empty".to_owned()),
        count if count > MOST_FILTERED => Err(format!(
            "--filtered is for lists of at most {MOST_FILTERED} addresses, this one has {count}: replay without it reads blocks whole, at \
             the same cost for any list"
        )),
        // It is a side of every mint, burn and wrap.
        _ if addresses.contains(&Address::ZERO) => {
            Err("--filtered cannot ask for the zero address, which much of the chain touches: take it off the list, or replay without \
                 --filtered"
                .to_owned())
        }
        _ => Ok(addresses),
    }
}

/// The kinds that a filter cannot find, with or without call frames. With `native_logs` topics find value that moves to another account;
/// plain transfers stay unseen as a kind, since one to oneself leaves no log.
pub fn unseen_kinds(frames: bool, native_logs: bool) -> impl Iterator<Item = &'static str> {
    let seen = move |kind: ActivityKind| match kind.trail() {
        Trail::Topics => true,
        Trail::Frames => frames || native_logs && kind == ActivityKind::InternalTransfer,
        Trail::None => false,
    };
    ActivityKind::ALL.iter().filter(move |(kind, _)| !seen(*kind)).map(|(_, name)| *name)
}

/// What is being asked for: the range, and the filter, which learns from each answer.
type Asking = Task<(Filter, (u64, u64), Result<Found, SourceError>)>;

/// What is still to be asked for.
struct Ahead {
    pool: Arc<Pool>,
    spans: VecDeque<(u64, u64)>,
    head: u64,
}

impl Ahead {
    /// Begins with the next range; none where there is none.
    fn ask(&mut self, filter: Filter) -> Option<Asking> {
        let (from, last) = self.spans.pop_front()?;
        let to = last.min(from.saturating_add(filter.span() - 1));
        if to < last {
            self.spans.push_front((to + 1, last));
        }
        let (pool, head) = (self.pool.clone(), self.head);
        Some(begin(async move {
            let found = pool.find(&filter, (from, to), head).await;
            (filter, (from, to), found)
        }))
    }
}

/// Replays a range, both ends included, of which only the blocks are read that the endpoints say touch those addresses. Blocks that are
/// not final yet are all read: they may be replaced, and an endpoint may not have all of their logs yet.
///
/// # Errors
/// [`PipelineError`]; what was taken before stays, and is noted as far as it is whole.
pub async fn replay_filtered(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    addresses: &[Address],
    range: (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<FilteredOutcome, PipelineError> {
    let outcome = filter_range(engine, pool, judge, addresses, range, options, shutdown).await;
    keep_lies(&mut engine.store, pool)?;
    outcome
}

async fn filter_range(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    addresses: &[Address],
    (from, to): (u64, u64),
    options: ReplayOptions,
    shutdown: &Shutdown,
) -> Result<FilteredOutcome, PipelineError> {
    let mut outcome = FilteredOutcome::default();
    let head = pool.head().await?;
    engine.note_heads(pool, Some(&head)).await?;
    // None where nothing is final yet: then all is read.
    let end = last_final(engine, pool, &head, to).await?.map(|end| to.min(end));
    if let Some(end) = end.filter(|end| from <= *end) {
        let frames = pool.filters_frames(from).await?;
        let native_logs = pool.logs_native_transfers(from).await?;
        say_unseen(frames, native_logs);
        let like = FilteredSpan {
            from,
            to: end,
            hosts: pool.hosts().map(|(host, _)| host.to_owned()).collect(),
            frames,
            native_logs,
            watch_revision: engine.lists.get().revision(),
            decoder: judge.decoder(),
        };
        let spans = engine.store.unfiltered(&like)?;
        let todo: u64 = spans.iter().map(|(from, to)| to - from + 1).sum();
        engine.observer.not_read(end - from + 1 - todo);
        let mut before = missing(engine, from, end)?;
        for (from, to) in &spans {
            before -= missing(engine, *from, *to)?;
        }
        outcome.filtered_before = before;
        let mut ahead = Ahead { pool: pool.clone(), spans: spans.into(), head: head.link.number };
        let mut asking = ahead.ask(Filter::new(addresses, &INDEXED, frames));
        while let Some(asked) = asking.take() {
            let (filter, (from, to), found) = tokio::select! {
                answered = asked.done() => answered?,
                () = shutdown.requested() => {
                    outcome.replayed.stopped = true;
                    return Ok(outcome);
                }
            };
            let found = found?;
            // The next range is asked for while the blocks of this one are taken.
            asking = ahead.ask(filter);
            let replayed = replay_spans(engine, pool, judge, &runs(&found.blocks), options, shutdown).await?;
            outcome.replayed.add(replayed);
            if replayed.stopped {
                return Ok(outcome);
            }
            engine.store.put_filtered(&FilteredSpan {
                from,
                to,
                hosts: found.hosts.into_iter().collect(),
                ..like.clone()
            })?;
            engine.observer.not_read(to - from + 1 - found.blocks.len() as u64);
            outcome.passed_over += missing(engine, from, to)?;
            outcome.unanswered += found.unanswered;
        }
        if engine.lists.get().revision() != like.watch_revision {
            tracing::warn!("the watchlist changed meanwhile: run it again to ask for what was added");
        }
    }
    if end.is_none_or(|end| to > end) {
        let first = end.map_or(from, |end| from.max(end.saturating_add(1)));
        tracing::info!(from = first, to, "not final yet, so read whole");
        outcome.replayed.add(replay_spans(engine, pool, judge, &[(first, to)], options, shutdown).await?);
    }
    Ok(outcome)
}

/// The highest block that a filter may speak of: it is final, by as many endpoints as finality takes, or final here already. Depth
/// counts only where the chain has no tags, never in place of tags on which the endpoints do not agree. None where the chain is too
/// short for anything to be final.
async fn last_final(engine: &mut Engine<'_>, pool: &Pool, head: &Head, to: u64) -> Result<Option<u64>, PipelineError> {
    for pause in FINALITY_PAUSES {
        tokio::time::sleep(pause).await;
        let vote = pool.finality(head).await;
        engine.finality.learn(head.link.number, vote);
        // One answer without tags may be a fault; a chain that once had tags has not lost them.
        if engine.finality.is_open() {
            continue;
        }
        let named = match vote {
            Some(FinalityVote::Tags(tags)) => tags.finalized,
            Some(FinalityVote::NoTags(_)) if engine.finality.has_tags => None,
            Some(FinalityVote::NoTags(None)) => return Ok(head.link.number.checked_sub(FINAL_DEPTH)),
            Some(FinalityVote::NoTags(_)) if head.link.number < FINAL_DEPTH => return Ok(None),
            Some(FinalityVote::NoTags(Some(deep))) => deep.finalized,
            None => None,
        };
        if let Some(block) = named {
            return Ok(Some(block.number));
        }
    }
    match engine.store.finalized()? {
        Some(known) if to <= known => Ok(Some(known)),
        _ => Err(SourceError::NoFinality.into()),
    }
}

/// How many blocks of a range are not held.
fn missing(engine: &Engine<'_>, from: u64, to: u64) -> Result<u64, PipelineError> {
    Ok(engine.store.holes(from, to)?.iter().map(|(from, to)| to - from + 1).sum())
}

fn say_unseen(frames: bool, native_logs: bool) {
    let kinds = unseen_kinds(frames, native_logs).collect::<Vec<_>>().join(", ");
    if !frames && native_logs {
        tracing::info!("no trace_filter is to be had (or --traces off): ether is found by its logs (EIP-7708)");
    } else if !frames {
        tracing::warn!(
            "no trace_filter is to be had (or --traces off): ETHER IS NOT SEEN where nothing else leads to the block, neither plain \
             transfers nor internal ones"
        );
    }
    tracing::warn!(
        %kinds,
        "not seen by a filter, but in the blocks that it finds: these kinds, and transfers of tokens that index no address"
    );
}

/// Numbers that follow each other, as ranges.
fn runs(blocks: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in blocks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_cannot_find_is_named() {
        assert_eq!(unseen_kinds(true, false).collect::<Vec<_>>(), ["withdrawal", "fee_recipient"]);
        let without: Vec<_> = unseen_kinds(false, false).collect();
        assert!(without.contains(&"native_transfer") && without.contains(&"internal_transfer"), "{without:?}");
        assert!(!without.contains(&"erc20_transfer"));
        let by_logs: Vec<_> = unseen_kinds(false, true).collect();
        assert!(!by_logs.contains(&"internal_transfer") && by_logs.contains(&"transaction"), "{by_logs:?}");
        assert_eq!(by_logs.len() + 1, without.len());
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_run() {
        assert_eq!(runs(&BTreeSet::from([1, 2, 3, 7, 9, 10])), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(runs(&BTreeSet::new()), []);
    }
}
