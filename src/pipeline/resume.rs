//! Where a watch begins: after the last block that it took, or where it was told to, or at the head.

use super::watch::{PAUSE_AFTER_FAILURE, WatchOptions};
use super::{Engine, PipelineError};
use crate::chain::canonical::Canonical;
use crate::ops::Shutdown;
use crate::source::{Pool, SourceError};

/// The chain as held so far, with the first block to take where there is none. None where it was told to stop meanwhile.
pub(super) async fn begin(
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
        // It had jumped to the head, and was stopped before it took a block there.
        (Some(next), _) if !engine.store.owed()?.is_empty() => next,
        // It was stopped before its first block, or in the middle of a reorg below it: a place is kept, but no block.
        (Some(next), Some(from)) if from > next => {
            tracing::warn!(from, next, "--from-block is above the block to go on with: nothing is skipped");
            next
        }
        (Some(_), Some(from)) | (None, Some(from)) => from,
        (Some(next), None) => next,
        (None, None) => {
            let head = loop {
                let head = tokio::select! {
                    head = pool.head() => head,
                    () = shutdown.requested() => return Ok(None),
                };
                match head {
                    // They may agree in a moment.
                    Err(error @ SourceError::NoQuorum { .. }) => {
                        tracing::warn!(%error, "waiting for endpoints to agree");
                    }
                    other => break other?,
                }
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            };
            tracing::info!(
                block = head.link.number,
                "nothing was watched yet: beginning at the head (--from-block begins earlier)"
            );
            head.link.number
        }
    };
    engine.store.begin_watching(first)?;
    if wanted.is_some() {
        tracing::info!(block = first, "beginning at this block, as soon as the chain has it");
    }
    // Blocks that a replay left just below are linked to; otherwise nothing is held yet.
    if let Some(before) = first.checked_sub(1) {
        let window = engine.store.canonical_window(before)?;
        if window.tip().is_some() {
            return Ok(Some(window));
        }
    }
    Ok(Some(Canonical::starting_at(first)))
}
