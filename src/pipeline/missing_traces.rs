//! Traces that a block was taken without are asked for again while the head is waited for: the lowest block first, the past that was
//! pruned rarely. All that is known of what is missing is in the store, so that nothing is lost wherever the watch ends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::{Engine, Judge, PipelineError, Prepared, now_ms};
use crate::source::Pool;
use crate::store::{Progress, Store, StoreError};

/// Blocks that are begun with at once.
const AT_ONCE: usize = 16;
/// Blocks in flight: the head goes first.
const IN_FLIGHT: usize = 2;
/// How often the backlog is looked at while nothing of it is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failure, once more for each one in a row, up to ten times.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(3);
/// Pause before a block whose state was pruned is tried: an endpoint may have been replaced by one that keeps it.
const PRUNED_EVERY: Duration = Duration::from_secs(600);

type Fetched = Result<Box<Prepared>, PipelineError>;

/// Works off the backlog of traces.
pub(super) struct MissingTraces {
    pool: Arc<Pool>,
    judge: Judge,
    on: bool,
    reading: Option<Pin<Box<dyn Stream<Item = Fetched>>>>,
    not_before: Instant,
    pruned_not_before: Instant,
    failures: u32,
}

impl MissingTraces {
    /// Does nothing at all where it is not `on`.
    pub(super) fn new(pool: Arc<Pool>, judge: Judge, on: bool) -> Self {
        let now = Instant::now();
        Self { pool, judge, on, reading: None, not_before: now, pruned_not_before: now, failures: 0 }
    }

    /// The next block of the backlog; never, while nothing is due. May be dropped at any point: nothing is lost by it.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Fetched, StoreError> {
        if !self.on {
            std::future::pending::<()>().await;
        }
        loop {
            if let Some(reading) = &mut self.reading {
                if let Some(fetched) = reading.next().await {
                    return Ok(fetched);
                }
                self.reading = None;
            }
            tokio::time::sleep_until(self.not_before).await;
            if !self.pool.may_have_traces() || !self.begin(store)? {
                self.not_before = Instant::now() + LOOK_EVERY;
            }
        }
    }

    /// Begins to read what is due; whether there is anything.
    fn begin(&mut self, store: &Store) -> Result<bool, StoreError> {
        let now = now_ms() / 1000;
        let mut links = store.due_traces(now, false, AT_ONCE)?;
        if links.is_empty() && self.pruned_not_before <= Instant::now() {
            links = store.due_traces(now, true, AT_ONCE)?;
            if links.is_empty() {
                self.pruned_not_before = Instant::now() + LOOK_EVERY * 10;
            }
        }
        if links.is_empty() {
            return Ok(false);
        }
        let (pool, judge) = (self.pool.clone(), self.judge.clone());
        let fetches = links.into_iter().map(move |link| {
            let (pool, judge) = (pool.clone(), judge.clone());
            async move { judge.fetch(&pool, &link).await.map(Box::new) }
        });
        self.reading = Some(Box::pin(futures_util::stream::iter(fetches).buffered(IN_FLIGHT)));
        Ok(true)
    }

    /// Takes a block that [`next`](Self::next) brought.
    ///
    /// # Errors
    /// [`PipelineError`]; what the endpoints fail at is tried again and is none.
    pub(super) async fn take(&mut self, engine: &mut Engine<'_>, fetched: Fetched) -> Result<(), PipelineError> {
        let prepared = match fetched {
            Ok(prepared) => *prepared,
            Err(PipelineError::Source(error)) if error.may_pass() => {
                tracing::debug!(%error, "missing traces: a block cannot be read again just now");
                self.pause(false);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let (link, has_all, pruned) = (prepared.link(), prepared.block.has_all_traces(), prepared.lacks_state());
        // A reorg may have replaced it meanwhile.
        if engine.store.hash_of(link.number)? == Some(link.hash) {
            match engine.commit(prepared, Some(&self.pool), Progress::Replay).await {
                Err(PipelineError::Source(error)) => {
                    tracing::debug!(%error, "missing traces: a block cannot be committed again just now");
                    self.pause(false);
                    return Ok(());
                }
                other => other?,
            }
        }
        if !has_all {
            self.pause(pruned);
            return Ok(());
        }
        tracing::info!(block = link.number, "its missing traces came");
        if std::mem::take(&mut self.failures) > 0 {
            engine.store.retry_traces_now()?;
        }
        Ok(())
    }

    fn pause(&mut self, pruned: bool) {
        self.failures = (self.failures + 1).min(10);
        self.not_before = Instant::now() + PAUSE_AFTER_FAILURE * self.failures;
        if pruned {
            self.pruned_not_before = Instant::now() + PRUNED_EVERY;
        }
        self.reading = None;
    }
}
