//! A block with its traces: whoever has them is asked, in rounds with growing pauses, as for receipts. A block does not wait for its
//! traces for ever: then it is taken without, and says why, so that they can be had later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::bundles::{Target, before};
use super::call::CallError;
use super::endpoint::Endpoint;
use super::health::Standing;
use super::lies::{Miss, refused_bundle};
use super::pauses::spread;
use super::pool::Pool;
use super::traces::TraceAnswer;
use super::{NoTraces, ProofError, RawBundle, TraceMode, chance, lock};
use crate::chain::VerifyError;
use crate::chain::traces::{is_of_other_block, splice};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Rounds where the pool itself never gives up: a block at the head waits for less than two seconds.
const ROUNDS_AT_HEAD: u32 = 4;
/// A block at the head waits for its traces at least that long, for a third of a slot where that is longer: an endpoint that hangs must
/// not hold it back, and one that needs a few seconds is not to be passed over.
const SHORTEST_TRACE_PATIENCE: Duration = Duration::from_secs(2);
/// Rounds of a replay: a block waits for less than four seconds.
const ROUNDS_OF_REPLAY: u32 = 5;
/// Rounds in which whoever answered gave broken traces: another round brings nothing else.
const ROUNDS_OF_BROKEN_TRACES: u32 = 3;

/// The traces of a block without transactions.
pub(super) fn no_frames() -> Box<RawValue> {
    RawValue::from_string("[]".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What the rounds have brought, where they have brought no whole traces.
#[derive(Default)]
struct Found {
    /// Traces that lack some transactions, the fewest so far, and how many they lack.
    partial: Option<(Box<RawValue>, usize)>,
    /// Why the last traces were refused, and who gave them.
    refused: Option<(Arc<Endpoint>, Miss)>,
    /// The last reason, for the log and the backlog.
    detail: String,
    /// Endpoints that gave nothing in the last round.
    failures: u32,
}

impl Pool {
    /// Judges a block with the traces of whoever has them, its own endpoint first. `first` is what that endpoint answered already.
    pub(super) async fn judged_with_traces<T, F: Future<Output = Result<T, ProofError>>>(
        &self,
        endpoint: &Arc<Endpoint>,
        mut raw: RawBundle,
        first: Option<TraceAnswer>,
        target: Target<'_>,
        judge: &impl Fn(RawBundle) -> F,
    ) -> Result<T, Miss> {
        let Target { number, hash, what, traces_until } = target;
        let is_late = || traces_until.is_some_and(|until| Instant::now() >= until);
        let too_late = || Err(CallError::Timeout(self.trace_patience()));
        let mut first = first;
        let mut found = Found::default();
        let mut pause = FIRST_PAUSE;
        for round in 0..self.trace_rounds() {
            if round > 0 {
                let only_broken = found.failures == 0 && (found.partial.is_some() || found.refused.is_some());
                if !self.may_trace(number) || (only_broken && round >= ROUNDS_OF_BROKEN_TRACES) {
                    break;
                }
                found.failures = 0;
                let rested = before(traces_until, tokio::time::sleep(spread(pause, chance()))).await;
                if rested.is_none() {
                    break;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            for giver in self.trace_givers(endpoint, number) {
                if is_late() && first.is_none() {
                    found.failures += 1;
                    break;
                }
                let taken = if Arc::ptr_eq(&giver, endpoint) { first.take() } else { None };
                let answer = match taken {
                    Some(answer) => answer,
                    None => before(traces_until, giver.block_traces(number, hash)).await.unwrap_or_else(too_late),
                };
                let asked = Instant::now();
                // Another endpoint that was asked by number may have another block there: that contradicts nothing it said.
                let answer = answer.and_then(|traces| {
                    match !Arc::ptr_eq(&giver, endpoint) && is_of_other_block(&traces, hash) {
                        true => Err(CallError::NotFound),
                        false => Ok(traces),
                    }
                });
                match answer {
                    Ok(traces) => raw.traces = Some(traces),
                    Err(error) => {
                        if !matches!(error, CallError::Unsupported(_) | CallError::Pruned(_)) {
                            giver.note_no_traces(what, &error);
                        }
                        found.detail = format!("{}: {error}", giver.host);
                        found.failures += 1;
                        continue;
                    }
                }
                let mut outcome = judge(raw.clone()).await;
                if let Err(ProofError::Refused(VerifyError::NotTraced(missing))) = &outcome
                    && let Some(traces) = &raw.traces
                {
                    let singles = before(traces_until, giver.single_traces(missing)).await.unwrap_or_default();
                    if !singles.is_empty()
                        && let Ok(spliced) = splice(traces, missing, &singles)
                    {
                        raw.traces = Some(spliced);
                        outcome = judge(raw.clone()).await;
                    }
                }
                let reason = match outcome {
                    Ok(value) => {
                        self.note_refused(found.refused.take(), what, asked);
                        if self.shared.traces_fail.swap(false, Ordering::Relaxed) {
                            tracing::info!(block = number, "traces can be had again");
                        }
                        return Ok(value);
                    }
                    Err(reason) => reason,
                };
                if !reason.is_of_traces() {
                    endpoint.refused_raw(&raw, &reason);
                    return Err(refused_bundle(&raw, number, hash, reason, None));
                }
                found.detail = format!("{}: {reason}", giver.host);
                match (&reason, raw.traces.take()) {
                    (ProofError::Refused(VerifyError::NotTraced(missing)), Some(traces))
                        if self.traces == TraceMode::Auto =>
                    {
                        tracing::debug!(host = %giver.host, block = number, %reason, "traces of some transactions are missing");
                        if found.partial.as_ref().is_none_or(|(_, fewest)| missing.len() < *fewest) {
                            found.partial = Some((traces, missing.len()));
                        }
                    }
                    (_, traces) => {
                        raw.traces = traces;
                        let from = (!Arc::ptr_eq(&giver, endpoint)).then(|| giver.host.clone());
                        let from = from.filter(|_| self.traces == TraceMode::Require);
                        let miss = refused_bundle(&raw, number, hash, reason, from);
                        self.note_refused(found.refused.replace((giver, miss)), what, asked);
                    }
                }
            }
        }
        if self.traces == TraceMode::Require {
            return Err(match found.refused {
                Some((_, miss)) => miss,
                None if self.may_have_traces() => {
                    // A block that is false has no traces anywhere.
                    if let Err(reason) = judge(raw.clone()).await
                        && !reason.is_of_traces()
                    {
                        endpoint.refused_raw(&raw, &reason);
                        return Err(refused_bundle(&raw, number, hash, reason, None));
                    }
                    CallError::Transport(format!("no traces of this block just now ({})", found.detail)).into()
                }
                None => CallError::Unsupported("traces".into()).into(),
            });
        }
        self.note_refused(found.refused.take(), what, Instant::now());
        let now = Instant::now();
        let has_pruned = |endpoint: &Arc<Endpoint>| lock(&endpoint.capability).has_pruned_state(number, now);
        let pruned = !self.may_trace(number) && self.endpoints.iter().any(has_pruned);
        if !self.never_had_traces() {
            let detail = match found.detail {
                said if !said.is_empty() => said,
                _ if pruned => "the endpoints no longer have the state of the block".to_owned(),
                _ => "no endpoint with traces can be asked just now".to_owned(),
            };
            if !pruned && !self.shared.traces_fail.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    block = number,
                    reason = detail,
                    "traces cannot be had just now: blocks are taken without them, and their traces are asked for again later"
                );
            }
            raw.no_traces = Some(NoTraces { detail, pruned });
        }
        raw.traces = found.partial.map(|(traces, _)| traces);
        judge(raw.clone()).await.map_err(|reason| {
            endpoint.refused_raw(&raw, &reason);
            refused_bundle(&raw, number, hash, reason, None)
        })
    }

    /// How long a block at the head waits for traces once it is there: they are had later, and its other alerts do not wait.
    pub(super) fn trace_patience(&self) -> Duration {
        SHORTEST_TRACE_PATIENCE.max(self.slot() / 3)
    }

    /// Rounds over the endpoints for the traces of a block. Where those of the block before could not be had, one has to do: what is
    /// missing is had later, and the chain goes on meanwhile.
    fn trace_rounds(&self) -> u32 {
        match self.traces {
            // The block itself is asked for again.
            TraceMode::Require => 1,
            _ if self.shared.traces_fail.load(Ordering::Relaxed) => 1,
            _ => self.rounds.map_or(ROUNDS_AT_HEAD, |rounds| rounds.min(ROUNDS_OF_REPLAY)),
        }
    }

    /// Whom to ask for the traces of a block: its own endpoint first, then the others, but for those that are known not to have them
    /// or want to be left alone.
    fn trace_givers(&self, own: &Arc<Endpoint>, number: u64) -> Vec<Arc<Endpoint>> {
        let now = Instant::now();
        let others = self.endpoints.iter().filter(|endpoint| !Arc::ptr_eq(endpoint, own));
        let is_fit = |endpoint: &&Arc<Endpoint>| {
            let standing = lock(&endpoint.health).standing(now);
            let waits =
                matches!(standing, Standing::Resting(_)) || (!Arc::ptr_eq(endpoint, own) && standing != Standing::Good);
            !waits && endpoint.other_chain().is_none() && endpoint.may_trace(number)
        };
        std::iter::once(own).chain(others).filter(is_fit).cloned().collect()
    }

    /// Some endpoint may have the traces of that block, now or in a moment.
    fn may_trace(&self, number: u64) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.may_trace(number))
    }

    /// Every endpoint says, several times over, that there are no traces to be had from it.
    fn never_had_traces(&self) -> bool {
        self.endpoints.iter().all(|endpoint| lock(&endpoint.capability).never_had_traces())
    }

    /// Whether a block without transactions counts as one with its traces, which nobody needs to be asked for: wherever traces are
    /// required, and else where some endpoint may have those of other blocks, so that a chain without traces is one range without.
    pub(super) async fn claims_no_frames(&self) -> bool {
        if self.traces != TraceMode::Auto {
            return self.traces == TraceMode::Require;
        }
        let has_some = |endpoint: &Arc<Endpoint>| endpoint.known_traces().is_some_and(|method| method != "none");
        if self.endpoints.iter().any(has_some) {
            return true;
        }
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.known_traces().is_none()) {
            let head = lock(&endpoint.pulse).head.filter(|head| head.number > 0);
            if let Some(head) = head {
                endpoint.probe_traces(head).await;
            }
        }
        self.may_have_traces()
    }

    /// The traces of the next block get every round again, though those of the last could not be had.
    pub fn retry_traces(&self) {
        self.shared.traces_fail.store(false, Ordering::Relaxed);
    }

    /// Keeps traces that were refused, as their giver's.
    fn note_refused(&self, refused: Option<(Arc<Endpoint>, Miss)>, what: &str, asked: Instant) {
        if let Some((giver, miss)) = refused {
            giver.note_miss(&miss, what, asked);
        }
    }
}

impl Endpoint {
    /// Keeps and says that the traces of a block could not be had just now.
    fn note_no_traces(&self, what: &str, error: &CallError) {
        tracing::debug!(host = %self.host, what, %error, "no traces of this block from here");
        self.note_error(format!("traces of block {what}: {error}"));
    }
}
