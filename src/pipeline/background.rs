//! Looking back beside the head (`auto_lookback`): when the lists have changed, what is held is brought to the present lists while
//! the head is waited for. The head goes first, then what is owed; of the past a little at a time. Blocks are read by the hash that is
//! held: following reorgs is for who follows the head. All that is known of what is left stands in the ledger, so that nothing is lost
//! wherever it ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::lookback::Scan;
use super::{Engine, Judge, PipelineError, Prepared};
use crate::source::{Pool, SourceError};
use crate::store::{Progress, Store, StoreError};

/// Blocks that are looked through in one step: a few milliseconds, for which the head may have to wait.
const CHUNK: u64 = 256;
/// Blocks in flight.
const IN_FLIGHT: usize = 2;
/// Blocks that are begun with at once.
const AT_ONCE: usize = 64;
/// Pause after a round in which a block could not be had, once more for each failure, up to ten times.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(3);

/// Something to be done.
pub(super) enum Work {
    /// The next step.
    Look,
    /// A block was read again, or could not be.
    Block(Result<Box<Prepared>, PipelineError>),
}

/// Blocks that are being read, in order.
type Reading = Pin<Box<dyn Stream<Item = Result<Box<Prepared>, PipelineError>>>>;

/// Looks back as long as there is something to be looked at.
pub(super) struct Background {
    pool: Arc<Pool>,
    judge: Judge,
    on: bool,
    /// The state of the lists that all blocks were brought to.
    done: Option<i64>,
    scan: Option<Scan>,
    to_read: VecDeque<(u64, u64)>,
    reading: Option<Reading>,
    not_before: Instant,
    failures: u32,
}

impl Background {
    /// Does nothing at all where it is not `on`.
    pub(super) fn new(pool: Arc<Pool>, judge: Judge, on: bool) -> Self {
        Self {
            pool,
            judge,
            on,
            done: None,
            scan: None,
            to_read: VecDeque::new(),
            reading: None,
            not_before: Instant::now(),
            failures: 0,
        }
    }

    /// What is to be done next; never, while nothing is. May be dropped at any point: nothing is lost by it.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Work, StoreError> {
        if !self.on {
            std::future::pending::<()>().await;
        }
        if let Some(reading) = &mut self.reading {
            if let Some(read) = reading.next().await {
                return Ok(Work::Block(read));
            }
            self.reading = None;
        }
        let idle = self.scan.is_none() && self.to_read.is_empty();
        if idle && self.done == Some(store.watch_revision()?) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.not_before).await;
        Ok(Work::Look)
    }

    /// Does what [`next`](Self::next) brought.
    ///
    /// # Errors
    /// [`PipelineError`]; what the endpoints fail at is tried again and is none.
    pub(super) async fn take(&mut self, engine: &mut Engine<'_>, work: Work) -> Result<(), PipelineError> {
        match work {
            Work::Look => self.look(engine),
            Work::Block(Ok(prepared)) => {
                let link = prepared.link();
                // A reorg may have replaced it meanwhile.
                if engine.store.hash_of(link.number)? == Some(link.hash) {
                    // That an endpoint gave a block that cannot be stored is no reason to end the watch.
                    match engine.commit(*prepared, Some(&self.pool), Progress::Replay).await {
                        Err(PipelineError::Source(error)) => {
                            self.put_off(&error);
                            return Ok(());
                        }
                        other => other?,
                    }
                }
                self.failures = 0;
                Ok(())
            }
            Work::Block(Err(PipelineError::Source(error))) if error.may_pass() => {
                self.put_off(&error);
                Ok(())
            }
            Work::Block(Err(other)) => Err(other),
        }
    }

    /// A block could not be had, or not be stored: the next round is put off.
    fn put_off(&mut self, error: &SourceError) {
        self.failures = (self.failures + 1).min(10);
        self.not_before = Instant::now() + PAUSE_AFTER_FAILURE * self.failures;
        // An endpoint that has pruned the past fails at each block of it.
        if self.failures == 1 {
            tracing::warn!(%error, "looking back: a block cannot be read again, it is tried later");
        } else {
            tracing::debug!(%error, "looking back: another block cannot be read again");
        }
    }

    /// Goes on with what is looked through, then with what is to be read; begins anew where the lists changed or blocks are left.
    fn look(&mut self, engine: &mut Engine<'_>) -> Result<(), PipelineError> {
        if let Some(scan) = &mut self.scan {
            match scan.step(&mut engine.store, CHUNK) {
                Ok(Some(looked)) => self.to_read.extend(looked.to_read),
                Ok(None) => self.scan = None,
                Err(StoreError::StaleWatchlist) => {
                    self.scan = None;
                    self.to_read.clear();
                }
                Err(other) => return Err(other.into()),
            }
            return Ok(());
        }
        if !self.to_read.is_empty() {
            return Ok(self.read(&engine.store)?);
        }
        let revision = engine.read_lists()?;
        let scan = Scan::begin(&engine.store, (0, i64::MAX as u64), self.judge.decoder(), self.judge.proof())?;
        if !scan.is_needed(&engine.store)? {
            if self.done.replace(revision) != Some(revision) {
                tracing::debug!(revision, "nothing to look back at");
            }
            return Ok(());
        }
        tracing::info!(blocks = scan.left(), "the lists changed: looking back beside the head");
        self.scan = Some(scan);
        Ok(())
    }

    /// Begins to read some of what is to be read.
    fn read(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut links = Vec::new();
        while links.len() < AT_ONCE
            && let Some((first, last)) = self.to_read.pop_front()
        {
            if first < last {
                self.to_read.push_front((first + 1, last));
            }
            links.extend(store.link_of(first)?);
        }
        let (pool, judge) = (self.pool.clone(), self.judge.clone());
        let fetches = links.into_iter().map(move |link| {
            let (pool, judge) = (pool.clone(), judge.clone());
            async move { judge.fetch(&pool, &link).await.map(Box::new) }
        });
        self.reading = Some(Box::pin(futures_util::stream::iter(fetches).buffered(IN_FLIGHT)));
        Ok(())
    }
}
