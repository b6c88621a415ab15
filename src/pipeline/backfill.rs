//! What `watch` owes: blocks that it jumped over to follow the head at once are taken in order beside it. They are fetched
//! while the head is waited for; committing stays with the one that follows it, between its steps, so there is one writer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use alloy::eips::BlockNumHash;
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::{Engine, Judge, PipelineError, Prepared};
use crate::chain::Part;
use crate::chain::canonical::{Canonical, Link};
use crate::source::{Pool, SourceError};
use crate::store::{Progress, Store, StoreError};

/// A gap of more blocks than that is jumped over.
pub(super) const JUMP: u64 = 32;
/// Pause after a failure, once more for each one in a row, up to ten times.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

type Fetched = Result<(Link, Box<Prepared>), PipelineError>;

/// The span that is being worked off.
struct Span {
    last: u64,
    chain: Canonical,
    blocks: Pin<Box<dyn Stream<Item = Fetched>>>,
}

/// Works off what is owed, span by span.
pub(super) struct Backfill {
    pool: Arc<Pool>,
    judge: Judge,
    concurrency: usize,
    span: Option<Span>,
    not_before: Instant,
    failures: u32,
    waiting: Option<String>,
    /// What was followed last is what the run at the head stands on, and no number's block.
    at_joint: bool,
    /// Nothing is owed, as far as is known.
    idle: bool,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progressed {
    /// A block was taken, or is to be tried again.
    Going,
    /// A span is done: what was below the head's run is linked to it.
    SpanDone,
    /// The run above what is owed is not of the chain that the endpoints have: the jump is to be made anew.
    StartOver,
}

impl Backfill {
    pub(super) fn new(pool: Arc<Pool>, judge: Judge, concurrency: usize) -> Self {
        Self {
            pool,
            judge,
            concurrency,
            span: None,
            not_before: Instant::now(),
            failures: 0,
            waiting: None,
            at_joint: false,
            idle: false,
        }
    }

    /// Something may be owed now.
    pub(super) fn wake(&mut self) {
        self.idle = false;
    }

    /// Nothing is owed, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    /// What was in hand is no longer what is owed.
    pub(super) fn forget(&mut self) {
        self.span = None;
        self.idle = false;
    }

    /// Why what is owed cannot be taken just now.
    pub(super) fn waits_for(&self) -> Option<&str> {
        self.waiting.as_deref()
    }

    /// The next block of what is owed; never, while nothing is. May be dropped at any point: nothing is lost by it.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Fetched, StoreError> {
        loop {
            if self.idle {
                std::future::pending::<()>().await;
            }
            if let Some(span) = &mut self.span {
                match span.blocks.next().await {
                    Some(fetched) => return Ok(fetched),
                    // It came to its end, and yet the span is not done: a reorg changed what comes next.
                    None => self.span = None,
                }
                continue;
            }
            tokio::time::sleep_until(self.not_before).await;
            match store.owed()?.first() {
                Some((first, last)) => self.span = Some(self.begin(store, *first, *last)?),
                None => self.idle = true,
            }
        }
    }

    fn begin(&self, store: &Store, first: u64, last: u64) -> Result<Span, StoreError> {
        let window = match first.checked_sub(1) {
            Some(before) => store.canonical_window(before)?,
            None => Canonical::default(),
        };
        let chain = if window.tip().is_some() { window } else { Canonical::starting_at(first) };
        let (pool, judge) = (self.pool.clone(), self.judge.clone());
        let fetches = (first..=last).map(move |number| {
            let (pool, judge) = (pool.clone(), judge.clone());
            async move {
                let (link, prepared) = judge.fetch_number(&pool, number).await?;
                Ok((link, Box::new(prepared)))
            }
        });
        let blocks = Box::pin(futures_util::stream::iter(fetches).buffered(self.concurrency.max(1)));
        tracing::info!(first, last, "catching up beside the head");
        Ok(Span { last, chain, blocks })
    }

    /// What was followed last departs from what was taken of the span further back than can be followed, at `link`, which would
    /// take the place of the block above `floor`; nothing there is final. The run at the head decides, as the highest head does
    /// everywhere: whoever has another chain than the one it stands on is benched, and what was taken from `floor` on is owed again.
    ///
    /// # Errors
    /// Of the store.
    pub(super) async fn set_back(
        &mut self,
        engine: &mut Engine<'_>,
        link: BlockNumHash,
        floor: u64,
    ) -> Result<(), PipelineError> {
        let span = self.span.take();
        let right = match (self.at_joint, span) {
            // Reached by hashes alone from the run at the head.
            (true, _) => Some(link.hash),
            (false, Some(span)) => match engine.store.parent_of(span.last + 1)? {
                Some(hash) => self.pool.beside(BlockNumHash { number: span.last, hash }, link.number).await,
                None => None,
            },
            (false, None) => None,
        };
        if let Some(hash) = right {
            self.pool.bench_those_without(BlockNumHash { hash, ..link }, Part::ParentHash).await;
        }
        let (blocks, _) = engine.store.revert(floor.saturating_sub(1), Progress::Owed)?;
        tracing::warn!(
            from = floor,
            orphaned = blocks,
            "what was caught up is not what the head stands on: it is taken again"
        );
        self.forget();
        Ok(())
    }

    /// Takes a block that [`next`](Self::next) brought.
    ///
    /// # Errors
    /// [`PipelineError`]; what the endpoints fail at is tried again and is none.
    pub(super) async fn take(
        &mut self,
        engine: &mut Engine<'_>,
        fetched: Fetched,
    ) -> Result<Progressed, PipelineError> {
        match self.try_take(engine, fetched).await {
            Ok(progressed) => {
                self.failures = 0;
                self.waiting = None;
                Ok(progressed)
            }
            Err(PipelineError::Source(error)) if error.may_pass() => {
                self.failures = (self.failures + 1).min(10);
                self.not_before = Instant::now() + PAUSE_AFTER_FAILURE * self.failures;
                self.span = None;
                tracing::warn!(%error, "catching up waits: nothing is skipped");
                self.waiting = Some(format!("catching up: {error}"));
                Ok(Progressed::Going)
            }
            Err(other) => Err(other),
        }
    }

    async fn try_take(&mut self, engine: &mut Engine<'_>, fetched: Fetched) -> Result<Progressed, PipelineError> {
        let (link, prepared) = fetched?;
        let Some(span) = &mut self.span else { return Ok(Progressed::Going) };
        let (mut link, mut ready) = (link, Some(*prepared));
        let is_last = link.number == span.last;
        self.at_joint = false;
        if is_last
            && let Some(parent) = engine.store.parent_of(link.number + 1)?
            && parent != link.hash
        {
            // Between two spans lies what followed an earlier head, and may have been replaced since.
            if engine.store.owed()?.len() > 1 {
                return Ok(Progressed::StartOver);
            }
            // The run that follows the head says which block it stands on.
            link = match self.pool.link(parent).await {
                Err(SourceError::Unknown(_)) => return Ok(Progressed::StartOver),
                other => other?,
            };
            ready = None;
            self.at_joint = true;
        }
        let expected = span.last.min(link.number);
        engine.follow(&self.pool, &self.judge, &mut span.chain, link, ready, Progress::Owed).await?;
        if span.chain.tip().map(|tip| tip.number) != Some(expected) {
            // A reorg changed what comes next: what is in flight may be of the other fork.
            self.span = None;
            return Ok(Progressed::Going);
        }
        if !is_last {
            return Ok(Progressed::Going);
        }
        self.span = None;
        tracing::info!(last = link.number, "caught up: joined with the run at the head");
        Ok(Progressed::SpanDone)
    }
}
