//! How one thing is asked for: of the best endpoint first, of the next when that fails (or, hedged, when it takes too long), in
//! rounds with growing pauses, until an answer is taken or there is no more hope.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::call::CallError;
use super::choice::{Candidate, Pick, choose};
use super::endpoint::Endpoint;
use super::health::{LONGEST_RETRY_AFTER, Standing};
use super::lies::Miss;
use super::pauses::{FAILURES_TO_OPEN, spread};
use super::pool::Pool;
use super::{ProofError, SourceError, TraceMode, chance, lock};
use crate::chain::{Part, VerifyError};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Rounds in which whoever answered gave what cannot be proven: another round brings nothing else.
const UNPROVEN_ENOUGH: u32 = 3;
/// Rounds in which nobody has what somebody has named.
const UNKNOWN_ENOUGH: u32 = 3;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    /// For the log: a block's number or hash.
    pub(super) what: &'a str,
    /// The block that an endpoint must still serve.
    pub(super) number: Option<u64>,
    /// Ask the next one too when the first takes unusually long, but at least that long.
    pub(super) hedge: Option<Duration>,
    /// Endpoints that lag are asked last.
    pub(super) at_head: bool,
    /// An endpoint has just named it: where nobody has it, what was named is looked up again soon.
    pub(super) named: bool,
    /// Nothing proves the answer, so that it makes up for no lie.
    pub(super) unproven: bool,
}

impl<'a> Work<'a> {
    pub(super) fn plain(what: &'a str) -> Self {
        Self { what, number: None, hedge: None, at_head: false, named: false, unproven: false }
    }

    pub(super) fn block(what: &'a str, number: u64) -> Self {
        Self { number: Some(number), ..Self::plain(what) }
    }

    pub(super) fn named(self) -> Self {
        Self { named: true, ..self }
    }

    pub(super) fn unproven(self) -> Self {
        Self { unproven: true, ..self }
    }

    pub(super) fn hedged(self, at_least: Duration) -> Self {
        Self { hedge: Some(at_least), at_head: true, ..self }
    }
}

/// An endpoint's turn; a try of a half-open one is given back where nothing came of it.
struct Turn {
    place: usize,
    endpoint: Arc<Endpoint>,
    probes: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.probes {
            lock(&self.endpoint.health).breaker.release_probe();
        }
    }
}

/// What a round brought where it brought no answer.
#[derive(Default)]
struct Misses {
    /// Who, which block where that is another one than what was asked for, and why.
    unproven: Option<(String, Option<u64>, ProofError)>,
    unknown: bool,
    unsupported: usize,
    /// Endpoints that refuse whatever is asked, and what the last of them says.
    refused: usize,
    refusal: String,
    unreachable: String,
    /// Somebody who might have it could not be asked just now.
    may_come: bool,
}

impl Misses {
    fn add(&mut self, endpoint: &Endpoint, miss: Miss) {
        let host = &endpoint.host;
        match miss {
            Miss::Proof(reason, _) => self.unproven = Some((host.clone(), None, reason)),
            Miss::Call(CallError::WrongCheckpoint { number, found, expected }) => {
                let reason = VerifyError::Mismatch {
                    part: Part::Checkpoint,
                    index: None,
                    found: found.to_string(),
                    expected: expected.to_string(),
                };
                self.unproven = Some((host.clone(), Some(number), reason.into()));
            }
            Miss::Call(CallError::NotFound) => self.unknown = true,
            Miss::Call(CallError::Refused(why)) => {
                self.refused += 1;
                self.refusal = format!("{host}: {why}");
                self.unreachable.clone_from(&self.refusal);
            }
            Miss::Call(error) => {
                if matches!(error, CallError::Unsupported(_)) {
                    self.unsupported += 1;
                }
                let dead = lock(&endpoint.health).breaker.failures_in_row >= FAILURES_TO_OPEN;
                let cannot =
                    matches!(error, CallError::Unsupported(_) | CallError::TooLarge(_) | CallError::WrongChain(_));
                self.may_come |= !dead && !cannot;
                // The only one of these that a setting makes up for.
                let advice = if matches!(error, CallError::Throttled(_)) {
                    "; set a lower `rate` (requests a second) for it under [[endpoint]] in bolo.toml"
                } else {
                    ""
                };
                self.unreachable = format!("{host}: {error}{advice}");
            }
        }
    }

    fn into_error(self, rules_of: Option<u64>, what: &str) -> SourceError {
        match (self.unproven, self.unknown) {
            (Some((host, number, reason)), _) => {
                let block = number.map_or_else(|| what.to_owned(), |number| number.to_string());
                SourceError::Unproven { rules_of, block, host, reason: Box::new(reason) }
            }
            (None, true) => SourceError::Unknown(what.to_owned()),
            (None, false) => SourceError::Unreachable(self.unreachable),
        }
    }
}

impl Pool {
    /// Asks until an answer is taken.
    pub(super) async fn race<T, F: Future<Output = Result<T, Miss>>>(
        &self,
        work: Work<'_>,
        ask: impl Fn(Arc<Endpoint>) -> F,
    ) -> Result<T, SourceError> {
        let mut pause = FIRST_PAUSE;
        let mut lied = 0;
        let mut round = 0;
        loop {
            let mut misses = Misses::default();
            if let Some(value) = self.round(&work, round > 0, &mut misses, &ask).await {
                return Ok(value);
            }
            if let Some(error) = self.all_of_another_chain() {
                return Err(error);
            }
            round += 1;
            let count = self.endpoints.len();
            if misses.refused == count {
                return Err(SourceError::Refused(misses.refusal));
            }
            if misses.unsupported == count {
                return Err(if self.traces == TraceMode::Require {
                    SourceError::NoTraces
                } else {
                    SourceError::Unreachable(misses.unreachable)
                });
            }
            let rest = self.rest(Instant::now());
            if misses.unreachable.is_empty()
                && let Some((error, endpoint)) = self.endpoints.iter().find_map(|e| Some((e.last_error()?.0, e)))
            {
                misses.unreachable = format!("{}: {error}", endpoint.host);
            }
            if misses.unproven.is_some() && !misses.unknown && !misses.may_come && rest.is_none() {
                lied += 1;
            }
            if work.named && misses.unknown && misses.unproven.is_none() && !misses.may_come && round >= UNKNOWN_ENOUGH
            {
                return Err(misses.into_error(self.rules_of(), work.what));
            }
            let too_old =
                work.number.is_some_and(|number| self.endpoints.iter().all(|e| lock(&e.capability).lacks(number)));
            if lied >= UNPROVEN_ENOUGH || too_old || self.rounds.is_some_and(|rounds| round >= rounds) {
                return Err(misses.into_error(self.rules_of(), work.what));
            }
            // Where all asked for a pause there is nobody to ask before the first of them is over.
            let all_rest = rest.filter(|(resting, _)| *resting == count).map_or(Duration::ZERO, |(_, soonest)| soonest);
            tokio::time::sleep(spread(pause, chance()).max(all_rest.min(LONGEST_RETRY_AFTER))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One endpoint that says it is of another chain is left alone, as it may after it was connected to anew; where all say so, there is
    /// nothing to wait for.
    pub(super) fn all_of_another_chain(&self) -> Option<SourceError> {
        let mut found = self.endpoints.iter().map(|endpoint| Some((&endpoint.host, endpoint.other_chain()?)));
        let first = found.next()??;
        found.all(|other| other.is_some()).then(|| SourceError::WrongChain {
            host: first.0.clone(),
            found: first.1,
            expected: self.chain_id,
        })
    }

    /// How many endpoints asked for a pause, and how long until the first of these is over.
    fn rest(&self, now: Instant) -> Option<(usize, Duration)> {
        let pauses = self.endpoints.iter().filter_map(|endpoint| match lock(&endpoint.health).standing(now) {
            Standing::Resting(until) => Some(until.saturating_duration_since(now)),
            _ => None,
        });
        let pauses: Vec<Duration> = pauses.collect();
        pauses.iter().min().map(|soonest| (pauses.len(), *soonest))
    }

    /// Asks each endpoint once at most; `anyone`: also those that are benched or failed too often.
    async fn round<T, F: Future<Output = Result<T, Miss>>>(
        &self,
        work: &Work<'_>,
        anyone: bool,
        misses: &mut Misses,
        ask: &impl Fn(Arc<Endpoint>) -> F,
    ) -> Option<T> {
        let mut asked = vec![false; self.endpoints.len()];
        let mut running = FuturesUnordered::new();
        let run = |turn: Turn| async move {
            let begun = Instant::now();
            let outcome = ask(turn.endpoint.clone()).await;
            (turn, begun, outcome)
        };
        loop {
            let is_hedge = !running.is_empty();
            let hedge_at = match self.turn(work, &asked, anyone, !is_hedge).await {
                Some(turn) => {
                    asked[turn.place] = true;
                    let usual = lock(&turn.endpoint.health).usual_latency().unwrap_or_default();
                    running.push(run(turn));
                    work.hedge.map(|at_least| Instant::now() + at_least.max(usual * 3))
                }
                None if running.is_empty() => return None,
                None => None,
            };
            let hedge = async {
                match hedge_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((turn, begun, outcome)) = running.next() => match outcome {
                    Ok(value) => {
                        if !work.unproven {
                            lock(&turn.endpoint.health).bench.proved();
                        }
                        return Some(value);
                    }
                    Err(miss) => {
                        turn.endpoint.note_miss(&miss, work.what, begun);
                        misses.add(&turn.endpoint, miss);
                    }
                },
                () = hedge => tracing::trace!(what = work.what, "no answer yet: another is asked too"),
            }
        }
    }

    /// The next to be asked. Where `wait`, waits for one that stands no more requests just now; none where there is nobody left.
    async fn turn(&self, work: &Work<'_>, asked: &[bool], anyone: bool, wait: bool) -> Option<Turn> {
        let mut anyone = anyone;
        loop {
            let freed = self.shared.freed.notified();
            let now = Instant::now();
            let candidates = self.candidates(work, asked, now);
            match choose(&candidates, anyone, now) {
                Pick::Ask(place) => {
                    let endpoint = self.endpoints[place].clone();
                    let half_open = candidates[place].standing == Standing::HalfOpen;
                    let probes = half_open && lock(&endpoint.health).breaker.begin_probe(now);
                    if half_open && !probes {
                        continue;
                    }
                    return Some(Turn { place, endpoint, probes });
                }
                Pick::Wait if wait => {
                    let _ = tokio::time::timeout(FIRST_PAUSE, freed).await;
                }
                // Nobody good at all: then whoever is benched or failed too often is asked after all.
                Pick::Nobody(_) if !anyone && !asked.contains(&true) => anyone = true,
                Pick::Wait | Pick::Nobody(_) => return None,
            }
        }
    }

    pub(super) fn candidates(&self, work: &Work<'_>, asked: &[bool], now: Instant) -> Vec<Candidate> {
        let best = if work.at_head { self.highest(now) } else { None };
        let mut candidates: Vec<Candidate> = self
            .endpoints
            .iter()
            .zip(asked)
            .map(|(endpoint, asked)| {
                let able = work.number.is_none_or(|number| !lock(&endpoint.capability).lacks(number));
                let lags = {
                    let pulse = lock(&endpoint.pulse);
                    let head = pulse.head.map(|head| head.number);
                    best.is_some_and(|best| {
                        pulse.is_backwards()
                            || pulse.doubted().is_some()
                            || head.is_some_and(|head| head.saturating_add(2) <= best)
                    })
                };
                let health = lock(&endpoint.health);
                Candidate {
                    standing: health.standing(now),
                    latency: health.latency(now),
                    in_flight: health.in_flight(),
                    limit: if work.at_head { health.limit() } else { health.bulk_limit() },
                    asked: *asked,
                    able,
                    lags,
                }
            })
            .collect();
        // Where none is known to serve it, what is known may be out of date: asked once, and not again and again.
        if candidates.iter().all(|candidate| !candidate.able) {
            candidates.iter_mut().for_each(|candidate| candidate.able = true);
        }
        candidates
    }
}
