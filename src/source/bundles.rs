//! Whole blocks from the pool: asked of one endpoint after the other until the proof takes what one of them answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use alloy::primitives::B256;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::fetch::AtHeight;
use super::lies::{Miss, anchored, refused_bundle};
use super::pool::Pool;
use super::race::Work;
use super::traces::TraceAnswer;
use super::{ProofError, RawBundle, SourceError, TraceMode};
use crate::chain::RawBlock;

/// Shortest wait before a block at the head is asked of another endpoint too.
const HEDGE: Duration = Duration::from_millis(250);

/// The block that is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) number: u64,
    pub(super) hash: B256,
    /// For the log: its number or hash.
    pub(super) what: &'a str,
    /// When nobody waits for its traces any more; none: as long as requests may take.
    pub(super) traces_until: Option<Instant>,
}

/// What comes of that before a deadline, where there is one.
pub(super) async fn before<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

impl Pool {
    /// Everything of a block, by its hash, as soon as `judge` takes an endpoint's answer.
    ///
    /// # Errors
    /// [`SourceError::Unproven`] where `judge` took none; others once the rounds are used up.
    pub async fn bundle<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        number: u64,
        hash: B256,
        judge: impl Fn(RawBundle) -> F,
    ) -> Result<T, SourceError> {
        self.bundle_by(Work::block(&number.to_string(), number).named(), number, hash, judge).await
    }

    /// The same for a block at the head, where time counts: another endpoint is asked too when the first takes long.
    ///
    /// # Errors
    /// As [`bundle`](Self::bundle).
    pub async fn head_bundle<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        number: u64,
        hash: B256,
        judge: impl Fn(RawBundle) -> F,
    ) -> Result<T, SourceError> {
        self.bundle_by(Work::block(&number.to_string(), number).hedged(HEDGE), number, hash, judge).await
    }

    async fn bundle_by<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        work: Work<'_>,
        number: u64,
        hash: B256,
        judge: impl Fn(RawBundle) -> F,
    ) -> Result<T, SourceError> {
        if let Err(reason) = anchored(number, hash, &self.shared.checkpoints) {
            let host = "the chain that leads here".to_owned();
            return Err(SourceError::Unproven {
                rules_of: self.rules_of(),
                block: number.to_string(),
                host,
                reason: Box::new(reason),
            });
        }
        let judge = &judge;
        self.race(work, |endpoint| async move {
            // At the head traces are asked for at once; elsewhere only of blocks that have transactions.
            let asks_at_once = work.at_head && self.traces != TraceMode::Off && endpoint.may_trace(number);
            let hurry = work.at_head && self.traces == TraceMode::Auto;
            let target = |traces_until| Target { number, hash, what: work.what, traces_until };
            let traces = endpoint.first_traces(asks_at_once, number, hash);
            let (raw, traces, traces_until) =
                self.with_first_traces(endpoint.bundle(hash, work.at_head), traces, hurry).await?;
            self.judged(&endpoint, raw, traces, target(traces_until), judge).await
        })
        .await
    }

    /// Waits for a block and for its traces, which were asked for at the same time; for these, in a `hurry`, not for long once the
    /// block is there. With when nobody waits for traces any more.
    async fn with_first_traces(
        &self,
        bundle: impl Future<Output = Result<RawBundle, CallError>>,
        traces: impl Future<Output = Option<TraceAnswer>>,
        hurry: bool,
    ) -> Result<(RawBundle, Option<TraceAnswer>, Option<Instant>), CallError> {
        let (mut bundle, mut traces) = (std::pin::pin!(bundle), std::pin::pin!(traces));
        let mut early = None;
        let raw = loop {
            tokio::select! {
                raw = &mut bundle => break raw?,
                answer = &mut traces, if early.is_none() => early = Some(answer),
            }
        };
        let traces_until = hurry.then(|| Instant::now() + self.trace_patience());
        let traces = match early {
            Some(answer) => answer,
            None => match before(traces_until, traces).await {
                Some(answer) => answer,
                None => Some(Err(CallError::Timeout(self.trace_patience()))),
            },
        };
        Ok((raw, traces, traces_until))
    }

    /// The block that an endpoint has at that height, as soon as `judge` takes it as the block of the hash that it says it has. Near the
    /// head nobody waits long for traces where those of the block before could not be had.
    ///
    /// # Errors
    /// As [`bundle`](Self::bundle).
    pub async fn bundle_at<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        number: u64,
        near_head: bool,
        judge: impl Fn(RawBundle, B256) -> F,
    ) -> Result<T, SourceError> {
        let (what, judge) = (number.to_string(), &judge);
        let work = Work::block(&what, number).named();
        self.race(work, |endpoint| async move {
            let hurry = near_head && self.traces == TraceMode::Auto && self.shared.traces_fail.load(Ordering::Relaxed);
            let want_traces = self.traces != TraceMode::Off && !hurry && endpoint.may_trace(number);
            let AtHeight { hash, raw, traces, known } = endpoint.bundle_at(number, want_traces).await?;
            if let Err(reason) = anchored(number, hash, &self.shared.checkpoints) {
                return Err(refused_bundle(&raw, number, hash, reason, None));
            }
            if !known {
                return Err(self.without_receipts(raw, (number, hash), &|raw| judge(raw, hash)).await);
            }
            let judge = |raw| judge(raw, hash);
            let traces_until = hurry.then(|| Instant::now() + self.trace_patience());
            let target = Target { number, hash, what: &number.to_string(), traces_until };
            self.judged(&endpoint, raw, traces, target, &judge).await
        })
        .await
    }

    /// What is to be made of a block that an endpoint names and knows no receipts of: it is made up, which it may show by itself, or the
    /// endpoint is several, of which one lags.
    async fn without_receipts<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        raw: RawBundle,
        (number, hash): (u64, B256),
        judge: &impl Fn(RawBundle) -> F,
    ) -> Miss {
        match judge(raw.clone()).await {
            Err(reason) if !reason.is_of_receipts() && !reason.is_of_traces() => {
                refused_bundle(&raw, number, hash, reason, None)
            }
            _ => CallError::NotFound.into(),
        }
    }

    /// Judges an endpoint's answer; where it has too few receipts or none, once more with those of each transaction, which the
    /// endpoint may have all the same.
    async fn judged<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        endpoint: &Arc<Endpoint>,
        raw: RawBundle,
        traces: Option<TraceAnswer>,
        target: Target<'_>,
        judge: &impl Fn(RawBundle) -> F,
    ) -> Result<T, Miss> {
        match self.judged_once(endpoint, raw.clone(), traces, target, judge).await {
            Err(Miss::Proof(reason, _))
                if reason.is_short_of_receipts()
                    && let RawBlock::Json { block, .. } = &raw.block =>
            {
                let receipts = endpoint.receipts_one_by_one(target.hash, block).await?;
                let raw = RawBundle { block: RawBlock::Json { block: block.clone(), receipts }, ..raw };
                self.judged_once(endpoint, raw, None, target, judge).await
            }
            other => other,
        }
    }

    /// Judges an endpoint's answer, with traces where they are wanted and the block has any.
    async fn judged_once<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        endpoint: &Arc<Endpoint>,
        mut raw: RawBundle,
        traces: Option<TraceAnswer>,
        target: Target<'_>,
        judge: &impl Fn(RawBundle) -> F,
    ) -> Result<T, Miss> {
        let lists_none = raw.block.lists_no_transactions();
        if self.traces != TraceMode::Off && !lists_none {
            return self.judged_with_traces(endpoint, raw, traces, target, judge).await;
        }
        let claims = before(target.traces_until, self.claims_no_frames()).await;
        if claims.unwrap_or_else(|| self.may_have_traces()) {
            raw.traces = Some(super::with_traces::no_frames());
        }
        // Kept until it is proven: an invalid answer is kept by its hash.
        let answer = raw.clone();
        judge(raw).await.map_err(|reason| {
            endpoint.refused_raw(&answer, &reason);
            refused_bundle(&answer, target.number, target.hash, reason, None)
        })
    }
}
