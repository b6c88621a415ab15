//! Blocks that a replay has taken and not yet committed: committed together, since a transaction for each costs more than its rows.
//! Only blocks that append to the chain in hand are gathered; whatever else comes first has them committed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, PipelineError, Prepared};
use crate::source::Pool;
use crate::store::Progress;

/// Blocks in one transaction.
const MOST: usize = 64;
/// Alerts in one transaction.
const MOST_ALERTS: usize = 20_000;
/// How long a block waits to be committed: no more than that is done again after a kill.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What is to be committed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    blocks: Vec<Prepared>,
    alerts: usize,
    due: Option<Instant>,
}

impl Batch {
    /// Gathers a block, and commits all where there are enough of them.
    ///
    /// # Errors
    /// Of the commit.
    pub(super) async fn add(
        &mut self,
        engine: &mut Engine<'_>,
        pool: Option<&Arc<Pool>>,
        block: Prepared,
    ) -> Result<(), PipelineError> {
        self.alerts += block.alerts();
        self.blocks.push(block);
        let due = *self.due.get_or_insert_with(|| Instant::now() + LONGEST_WAIT);
        if self.blocks.len() < MOST && self.alerts < MOST_ALERTS && Instant::now() < due {
            return Ok(());
        }
        self.commit(engine, pool).await
    }

    /// Commits what there is.
    ///
    /// # Errors
    /// [`PipelineError`]; nothing of it is stored then.
    pub(super) async fn commit(
        &mut self,
        engine: &mut Engine<'_>,
        pool: Option<&Arc<Pool>>,
    ) -> Result<(), PipelineError> {
        self.due = None;
        self.alerts = 0;
        let mut blocks = std::mem::take(&mut self.blocks);
        engine.commit_all(&mut blocks, pool.map(Arc::as_ref), Progress::Replay).await
    }

    /// Comes when the first of the blocks has waited long enough; never while there are none.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}
