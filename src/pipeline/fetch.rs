//! From a number or a hash to a block that is judged: asked of the pool, and judged off the async threads, endpoint by endpoint.

use std::sync::Arc;

use super::PipelineError;
use super::apart::apart;
use super::prepare::{Judge, Prepared};
use super::stages::Asking;
use crate::chain::canonical::Link;
use crate::chain::{Part, VerifyError};
use crate::source::{Pool, SourceError};

/// How often a number is looked up again whose block nobody has.
const LOOK_UPS: u32 = 4;

/// Looks up which block has a number, and takes it. A block that nobody has was replaced by a reorg meanwhile, or never was: the
/// number is looked up again, and whoever names what it does not have is found out.
pub(super) async fn numbered<T>(
    pool: &Arc<Pool>,
    number: u64,
    take: impl AsyncFn(Link) -> Result<T, PipelineError>,
) -> Result<T, PipelineError> {
    let mut look_ups = 1;
    let mut found_out = None;
    loop {
        let asked = pool.clone();
        let link = apart(async move { asked.link_at(number).await }).await??;
        match take(link).await {
            Err(PipelineError::Source(SourceError::Unknown(_))) if look_ups < LOOK_UPS => {
                look_ups += 1;
                let asked = pool.clone();
                found_out = apart(async move { asked.unmask(link).await }).await?.or(found_out);
                tracing::debug!(number, hash = %link.hash, "nobody has the block that was named: looked up again");
            }
            Err(PipelineError::Source(SourceError::Unknown(block))) => {
                return Err(found_out.unwrap_or(SourceError::Unknown(block)).into());
            }
            other => return other,
        }
    }
}

/// Lets the next block ask.
fn answered(asking: &Option<Asking>) {
    if let Some(asking) = asking {
        asking.answered();
    }
}

impl Judge {
    /// Waits for its turn to ask, where there are turns.
    async fn ask(&self) -> Option<Asking> {
        match self.stages() {
            Some(stages) => Some(stages.ask().await),
            None => None,
        }
    }

    /// Fetches a block by its hash and judges what comes, asking another endpoint where it is not what was asked for.
    pub(super) async fn fetch(&self, pool: &Arc<Pool>, link: &Link) -> Result<Prepared, PipelineError> {
        let (judge, pool, link) = (self.clone(), pool.clone(), *link);
        let work = async move {
            let asking = &judge.ask().await;
            let judge = &judge;
            pool.bundle(link.number, link.hash, |raw| async move {
                answered(asking);
                judge.judge_apart(raw, Some(link.hash)).await
            })
            .await
        };
        Ok(apart(work).await??)
    }

    /// The same at the head, where time counts.
    pub(super) async fn fetch_at_head(&self, pool: &Arc<Pool>, link: &Link) -> Result<Prepared, PipelineError> {
        // Blocks do not come side by side here: the signatures of one are shared out.
        let judge = &self.on_threads(std::thread::available_parallelism().map_or(1, usize::from));
        Ok(pool.head_bundle(link.number, link.hash, |raw| judge.judge_apart(raw, Some(link.hash))).await?)
    }

    /// Fetches the block of a number, from an endpoint that has one there. Where more than one is to say which it is, or nobody has
    /// the block that was named, its hash is looked up first.
    pub(super) async fn fetch_number(&self, pool: &Arc<Pool>, number: u64) -> Result<(Link, Prepared), PipelineError> {
        self.numbered(pool, number, false).await
    }

    /// The same for a block between the last one and the head, which must not wait long for its traces.
    pub(super) async fn fetch_near_head(
        &self,
        pool: &Arc<Pool>,
        number: u64,
    ) -> Result<(Link, Prepared), PipelineError> {
        self.numbered(pool, number, true).await
    }

    async fn numbered(
        &self,
        pool: &Arc<Pool>,
        number: u64,
        near_head: bool,
    ) -> Result<(Link, Prepared), PipelineError> {
        if !pool.wants_quorum() {
            let (judge, asked) = (self.clone(), pool.clone());
            let work = async move {
                let asking = &judge.ask().await;
                let judge = &judge;
                asked
                    .bundle_at(number, near_head, |raw, hash| async move {
                        answered(asking);
                        let prepared = judge.judge_apart(raw, Some(hash)).await?;
                        let found = prepared.link().number;
                        if found == number {
                            return Ok(prepared);
                        }
                        let (found, expected) = (found.to_string(), number.to_string());
                        Err(VerifyError::Mismatch { part: Part::BlockNumber, index: None, found, expected }.into())
                    })
                    .await
            };
            match apart(work).await? {
                Err(SourceError::Unknown(_)) => {}
                other => return other.map(|prepared| (prepared.link(), prepared)).map_err(PipelineError::from),
            }
        }
        numbered(pool, number, async |link| Ok((link, self.fetch(pool, &link).await?))).await
    }
}
