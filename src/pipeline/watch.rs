//! Following the head: catch up from the last block that was taken, then take each new one, until told to stop.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;

use super::{Engine, Judge, PipelineError, now_ms};
use crate::chain::canonical::{Canonical, Link, Step};
use crate::ops::Shutdown;
use crate::source::{Pool, SourceError};
use crate::store::Progress;

/// How to watch.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Where to begin where nothing was watched yet; none: at the head.
    pub from_block: Option<u64>,
    /// How often to ask for the head.
    pub poll_interval: Duration,
    /// Blocks in flight while catching up.
    pub concurrency: usize,
}

/// Tokens that could not be asked before, asked again in a quiet moment.
const TOKENS_AT_ONCE: u32 = 16;
/// How often, in milliseconds, unanswered tokens are looked for.
const TOKENS_EVERY_MS: i64 = 30_000;
/// Pause after a failure, once more for each one in a row, up to ten times.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Watches until `shutdown`; the block in hand is finished first.
///
/// # Errors
/// [`PipelineError`]; an endpoint that fails is no error here: it is tried again, with the lag showing.
pub async fn watch(
    engine: &mut Engine<'_>,
    pool: &Pool,
    judge: &Judge,
    options: &WatchOptions,
    shutdown: &Shutdown,
) -> Result<(), PipelineError> {
    let wake = Notify::new();
    tokio::select! {
        outcome = follow_head(engine, pool, judge, options, shutdown, &wake) => outcome,
        () = pool.ring(&wake) => Ok(()),
    }
}

async fn follow_head(
    engine: &mut Engine<'_>,
    pool: &Pool,
    judge: &Judge,
    options: &WatchOptions,
    shutdown: &Shutdown,
    wake: &Notify,
) -> Result<(), PipelineError> {
    let Some(mut chain) = begin(engine, pool, options, shutdown).await? else { return Ok(()) };
    let mut followed = None;
    let mut noted = 0;
    let mut asked_tokens = 0;
    let mut failures = 0u32;
    loop {
        let open = engine.finality.is_open();
        let round = async {
            let head = pool.head().await?;
            let news = followed != Some(head.link.hash);
            let tags = if news || open { pool.tags(&head.host).await } else { None };
            Ok::<_, SourceError>((head, news, tags))
        };
        let outcome = tokio::select! {
            outcome = round => outcome.map_err(PipelineError::from),
            () = shutdown.requested() => return Ok(()),
        };
        let outcome = match outcome {
            Ok((head, news, tags)) => {
                engine.finality.learn(head.link.number, tags);
                engine.store.note_head(head.link.number)?;
                let outcome = if news {
                    catch_up(engine, pool, judge, options, shutdown, &mut chain, head.link).await
                } else if now_ms() - asked_tokens > TOKENS_EVERY_MS {
                    asked_tokens = now_ms();
                    let tokens = engine.store.unasked_tokens(TOKENS_AT_ONCE)?;
                    engine.ask_tokens(pool, tokens, None).await
                } else {
                    Ok(())
                };
                // Only a head that we hold vouches for what is below it; otherwise it is asked for again.
                followed = (chain.hash_at(head.link.number) == Some(head.link.hash)).then_some(head.link.hash);
                if followed.is_some() {
                    engine.settle(&mut chain, head.link.number)?;
                }
                if now_ms() - noted > 10_000 {
                    noted = now_ms();
                    note_endpoints(engine, pool, &head.host, head.link.number)?;
                }
                outcome
            }
            Err(error) => Err(error),
        };
        failures = match outcome {
            Ok(()) => 0,
            Err(PipelineError::Source(error)) => {
                wait_for_better(&error, pool, engine)?;
                failures + 1
            }
            Err(other) => return Err(other),
        };
        // After failures the pauses grow, so that endpoints and the log are spared; a new head does not cut these short.
        let pause = options.poll_interval.max(PAUSE_AFTER_FAILURE * failures.min(10));
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            () = wake.notified(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Endpoints that fail are tried again, and the failure is kept for `status`; an endpoint of another chain does not get better.
fn wait_for_better(error: &SourceError, pool: &Pool, engine: &mut Engine<'_>) -> Result<(), PipelineError> {
    match error {
        SourceError::WrongChain { host, found, expected } => {
            Err(SourceError::WrongChain { host: host.clone(), found: *found, expected: *expected }.into())
        }
        SourceError::NoTraces => Err(SourceError::NoTraces.into()),
        waiting => {
            tracing::warn!(error = %waiting, "waiting: nothing is skipped");
            for (host, error, at) in pool.take_errors() {
                engine.store.note_endpoint(host, None, None, Some(&error), at)?;
            }
            Ok(())
        }
    }
}

fn note_endpoints(engine: &mut Engine<'_>, pool: &Pool, host: &str, head: u64) -> Result<(), PipelineError> {
    for (name, error, at) in pool.take_errors() {
        engine.store.note_endpoint(name, None, None, Some(&error), at)?;
    }
    for (name, traces) in pool.hosts() {
        let head = (name == host).then_some(head);
        if head.is_some() || traces.is_some() {
            engine.store.note_endpoint(name, head, traces, None, now_ms() / 1000)?;
        }
    }
    Ok(())
}

/// The chain as held so far, with the first block to take where there is none. None where it was told to stop meanwhile.
async fn begin(
    engine: &mut Engine<'_>,
    pool: &Pool,
    options: &WatchOptions,
    shutdown: &Shutdown,
) -> Result<Option<Canonical>, PipelineError> {
    if let Some(tip) = engine.store.watch_tip()? {
        tracing::info!(tip = tip.number, hash = %tip.hash, "going on from the last block taken");
        if let Some(from) = options.from_block.filter(|from| *from <= tip.number) {
            tracing::warn!(
                from,
                tip = tip.number,
                "--from-block is below the last block taken: `bolo replay` covers what is older"
            );
        }
        return Ok(Some(engine.store.canonical_window(tip.number)?));
    }
    let wanted = options.from_block;
    let first = match (engine.store.watch_next()?, wanted) {
        // It was stopped before its first block, or in the middle of a reorg below it: a place is kept, but no block.
        (Some(next), Some(from)) if from > next => {
            tracing::warn!(from, next, "--from-block is above the block to go on with: nothing is skipped");
            next
        }
        (Some(_), Some(from)) | (None, Some(from)) => from,
        (Some(next), None) => next,
        (None, None) => {
            let head = tokio::select! {
                head = pool.head() => head?,
                () = shutdown.requested() => return Ok(None),
            };
            tracing::info!(
                block = head.link.number,
                "nothing was watched yet: beginning at the head (--from-block begins earlier)"
            );
            head.link.number
        }
    };
    engine.store.begin_watching(first)?;
    // Blocks that a replay left just below are linked to; otherwise nothing is held yet.
    if let Some(before) = first.checked_sub(1) {
        let window = engine.store.canonical_window(before)?;
        if window.tip().is_some() {
            return Ok(Some(window));
        }
    }
    Ok(Some(Canonical::starting_at(first)))
}

/// Takes every block up to the head, in order, many in flight.
async fn catch_up(
    engine: &mut Engine<'_>,
    pool: &Pool,
    judge: &Judge,
    options: &WatchOptions,
    shutdown: &Shutdown,
    chain: &mut Canonical,
    head: Link,
) -> Result<(), PipelineError> {
    loop {
        if shutdown.is_requested() {
            return Ok(());
        }
        let next = match chain.step(&head) {
            Step::Gap { next } => next,
            Step::Behind => return Ok(()),
            // Next in line, or the head of another fork.
            _ => {
                return engine.follow(pool, judge, chain, head, None, Progress::Head).await.map(|_| ());
            }
        };
        // Blocks up to just below the head, by number; each is proven apart and linked when its turn comes.
        let fetches = (next..head.number).map(|number| async move {
            let link = pool.link_at(number).await?;
            let prepared = judge.fetch(pool, &link).await?;
            Ok::<_, PipelineError>((link, prepared))
        });
        let mut blocks = futures_util::stream::iter(fetches).buffered(options.concurrency.max(1));
        loop {
            let fetched = tokio::select! {
                fetched = blocks.next() => fetched,
                () = shutdown.requested() => return Ok(()),
            };
            let (link, prepared) = match fetched {
                Some(fetched) => fetched?,
                None => break,
            };
            let expected = link.number;
            engine.follow(pool, judge, chain, link, Some(prepared), Progress::Head).await?;
            if chain.tip().map(|tip| tip.number) != Some(expected) {
                // A reorg changed what comes next: what is in flight may be of the other fork.
                break;
            }
        }
    }
}
