//! Whole blocks from the pool: asked of one endpoint after the other until the proof takes what one of them answers.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use serde_json::value::RawValue;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::fetch::AtHeight;
use super::lies::{Miss, anchored, refused_bundle};
use super::pool::Pool;
use super::race::Work;
use super::{ProofError, RawBundle, SourceError, TraceMode};

/// Shortest wait before a block at the head is asked of another endpoint too.
const HEDGE: Duration = Duration::from_millis(250);

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
            return Err(SourceError::Unproven { block: number.to_string(), host, reason: Box::new(reason) });
        }
        let judge = &judge;
        self.race(work, |endpoint| async move {
            let want_traces = self.traces != TraceMode::Off;
            let raw = endpoint.bundle(number, hash, want_traces, work.at_head).await?;
            self.judged(&endpoint, raw, (number, hash), work.what, judge).await
        })
        .await
    }

    /// The block that an endpoint has at that height, as soon as `judge` takes it as the block of the hash that it says it has.
    ///
    /// # Errors
    /// As [`bundle`](Self::bundle).
    pub async fn bundle_at<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        number: u64,
        judge: impl Fn(RawBundle, B256) -> F,
    ) -> Result<T, SourceError> {
        let (what, judge) = (number.to_string(), &judge);
        let work = Work::block(&what, number).named();
        self.race(work, |endpoint| async move {
            let want_traces = self.traces != TraceMode::Off;
            let AtHeight { hash, raw, known } = endpoint.bundle_at(number, want_traces).await?;
            if let Err(reason) = anchored(number, hash, &self.shared.checkpoints) {
                return Err(refused_bundle(&raw, number, hash, reason, None));
            }
            if !known {
                return Err(self.without_receipts(raw, (number, hash), &|raw| judge(raw, hash)).await);
            }
            self.judged(&endpoint, raw, (number, hash), &number.to_string(), &|raw| judge(raw, hash)).await
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

    /// Judges an endpoint's answer; where only its traces are refused, with those of another one, or without.
    async fn judged<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        endpoint: &Endpoint,
        mut raw: RawBundle,
        (number, hash): (u64, B256),
        what: &str,
        judge: &impl Fn(RawBundle) -> F,
    ) -> Result<T, Miss> {
        let want_traces = self.traces != TraceMode::Off;
        let mut traces_from = None;
        if want_traces && raw.traces.is_none() {
            (raw.traces, traces_from) = self.traces_elsewhere(endpoint, number, hash).await.unzip();
        }
        if self.traces == TraceMode::Require && raw.traces.is_none() {
            return Err(if self.may_have_traces() {
                CallError::Transport("no traces of this block just now".into()).into()
            } else {
                CallError::Unsupported("traces".into()).into()
            });
        }
        // Kept until it is proven: a lie is kept by its hash.
        let mut answer = raw.clone();
        let reason = match judge(raw).await {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if !reason.is_of_traces() || self.traces != TraceMode::Auto {
            endpoint.refused_raw(&answer, &reason);
            return Err(refused_bundle(&answer, number, hash, reason, traces_from));
        }
        // The block itself may be good: whoever gave the traces lied, and somebody else may have better ones.
        let was_elsewhere = traces_from.is_some();
        endpoint.note_miss(&refused_bundle(&answer, number, hash, reason, traces_from), what, Instant::now());
        if !was_elsewhere && let Some((traces, host)) = self.traces_elsewhere(endpoint, number, hash).await {
            answer.traces = Some(traces);
            match judge(answer.clone()).await {
                Err(reason) if reason.is_of_traces() => {
                    let miss = refused_bundle(&answer, number, hash, reason, Some(host));
                    endpoint.note_miss(&miss, what, Instant::now());
                }
                Err(reason) => return Err(refused_bundle(&answer, number, hash, reason, None)),
                Ok(value) => return Ok(value),
            }
        }
        tracing::warn!(host = %endpoint.host, block = number, "traces refused: internal transfers of this block are not seen");
        answer.traces = None;
        judge(answer.clone()).await.map_err(|reason| refused_bundle(&answer, number, hash, reason, None))
    }

    /// Traces of a block from any endpoint but that one, and its host.
    async fn traces_elsewhere(&self, but: &Endpoint, number: u64, hash: B256) -> Option<(Box<RawValue>, String)> {
        for endpoint in self.endpoints.iter().filter(|endpoint| !std::ptr::eq(&raw const ***endpoint, but)) {
            if endpoint.known_traces() == Some("none") {
                continue;
            }
            if let Some(traces) = endpoint.block_traces(number, hash).await {
                return Some((traces, endpoint.host.clone()));
            }
        }
        None
    }
}
