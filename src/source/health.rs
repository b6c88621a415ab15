//! How an endpoint fares: latency, how many requests it stands at once, when to leave it alone. A pure state machine: time and
//! chance are handed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::pauses::{Bench, Breaker, Gate, spread};

const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// An endpoint may not put us off for longer than that.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered, be it with an error of its own.
    Answered,
    /// The connection failed, or what came is no answer.
    Failed,
    /// It answers, and refuses whatever is asked.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Too many requests; come back after that long, where it says so.
    Throttled(Option<Duration>),
    /// Nobody waited for the answer any more.
    Abandoned,
}

/// Whether a request may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It goes; end it with [`Health::finish`].
    Go(Ticket),
    /// As many are in flight as it stands: wait until one ends.
    Full,
    /// The configured rate, or the one that the endpoint seems to want: wait that long.
    After(Duration),
}

/// A request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    id: u64,
    started: Instant,
}

/// Whether an endpoint is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Yes.
    Good,
    /// It failed, and one request may try whether it is back.
    HalfOpen,
    /// It failed too often: not before then.
    Open(Instant),
    /// It asked for a pause: not before then.
    Resting(Instant),
    /// It gave wrong answers: not before then.
    Benched(Instant),
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    started: Instant,
    allowed: Duration,
    urgent: bool,
}

/// State of an endpoint.
#[derive(Debug)]
pub(super) struct Health {
    limit: u32,
    max: u32,
    gained: u32,
    last_cut: Option<Instant>,
    latency_us: Option<u64>,
    pace: Pace,
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    pub(super) breaker: Breaker,
    pub(super) timeouts_in_row: u32,
    rest: Option<(Instant, Duration)>,
    /// Since when it has been throttling without a good answer between.
    pub(super) throttled_since: Option<Instant>,
    pub(super) bench: Bench,
    pub(super) last_answer: Option<Instant>,
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) lies: u64,
}

impl Health {
    /// `max` requests at once; `interval` between two on average, where a rate is set.
    pub(super) fn new(max: u32, interval: Option<Duration>) -> Self {
        let max = max.max(1);
        Self {
            limit: max,
            max,
            gained: 0,
            last_cut: None,
            latency_us: None,
            pace: Pace::new(interval),
            next_id: 0,
            waiting: BTreeMap::new(),
            breaker: Breaker::default(),
            timeouts_in_row: 0,
            rest: None,
            throttled_since: None,
            bench: Bench::default(),
            last_answer: None,
            requests: 0,
            failures: 0,
            lies: 0,
        }
    }

    /// How many requests at once it stands, as far as is known.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Requests in flight.
    pub(super) fn in_flight(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Usual time to an answer; longer while one is awaited longer than that.
    pub(super) fn latency(&self, now: Instant) -> Option<Duration> {
        let usual = self.latency_us.map(Duration::from_micros);
        let awaited = self.waiting.values().map(|waiting| now.saturating_duration_since(waiting.started)).max();
        match (usual, awaited) {
            (Some(usual), Some(awaited)) => Some(usual.max(awaited)),
            (usual, _) => usual,
        }
    }

    /// Usual time to an answer.
    pub(super) fn usual_latency(&self) -> Option<Duration> {
        self.latency_us.map(Duration::from_micros)
    }

    /// A request waits for longer than it was allowed.
    pub(super) fn has_stuck(&self, now: Instant) -> bool {
        let grace = Duration::from_secs(1);
        self.waiting.values().any(|waiting| now.saturating_duration_since(waiting.started) > waiting.allowed + grace)
    }

    /// Nothing was answered for `silence`, and an urgent request has waited for `patience`. Others may take long, a trace say, and
    /// hold up nothing.
    pub(super) fn hangs(&self, silence: Duration, patience: Duration, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        self.last_answer.is_some_and(|at| since(at) >= silence)
            && self.waiting.values().any(|waiting| waiting.urgent && since(waiting.started) >= patience)
    }

    /// How many requests at once that can wait: some room is kept for the head, which must not queue behind a backfill.
    pub(super) fn bulk_limit(&self) -> u32 {
        if self.limit < 4 { self.limit } else { self.limit - (self.limit / 8).max(1) }
    }

    /// Lets a request through that may take so long, or says what to wait for.
    pub(super) fn admit(&mut self, allowed: Duration, urgent: bool, now: Instant) -> Admission {
        if self.in_flight() >= if urgent { self.limit } else { self.bulk_limit() } {
            return Admission::Full;
        }
        if let Err(pause) = self.pace.enter(now) {
            return Admission::After(pause);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert(id, Waiting { started: now, allowed, urgent });
        self.requests += 1;
        Admission::Go(Ticket { id, started: now })
    }

    /// A request ended; `chance` (0..=1000) spreads the pause that may follow.
    pub(super) fn finish(&mut self, ticket: Ticket, outcome: Outcome, now: Instant, chance: u32) {
        self.waiting.remove(&ticket.id);
        let took = now.saturating_duration_since(ticket.started);
        match outcome {
            Outcome::Answered => {
                self.note_latency(took);
                self.breaker.close();
                self.timeouts_in_row = 0;
                self.rest = None;
                self.throttled_since = None;
                self.pace.answered();
                self.last_answer = Some(now);
                self.gained += 1;
                if self.gained >= self.limit {
                    self.gained = 0;
                    self.limit = (self.limit + 1).min(self.max);
                }
            }
            Outcome::Failed => {
                self.failures += 1;
                self.timeouts_in_row = 0;
                self.breaker.fail(now, chance);
            }
            Outcome::Refused => {
                self.failures += 1;
                self.timeouts_in_row = 0;
                self.breaker.refuse(now);
            }
            Outcome::TimedOut => {
                self.cut(ticket.started, now);
                self.note_latency(took);
                self.timeouts_in_row += 1;
                self.failures += 1;
                self.breaker.fail(now, chance);
            }
            Outcome::Throttled(after) => {
                if self.cut(ticket.started, now) {
                    self.pace.throttled();
                }
                // It lives: a probe is answered.
                self.breaker.close();
                self.timeouts_in_row = 0;
                self.failures += 1;
                self.throttled_since.get_or_insert(now);
                let (until, pause) = match (after, self.rest) {
                    (Some(after), _) => (now + after.min(LONGEST_RETRY_AFTER), FIRST_REST),
                    // Those in flight with the first say nothing new.
                    (None, Some((until, pause))) if ticket.started < until => (until.max(now), pause),
                    (None, Some((_, pause))) => {
                        let pause = (pause * 2).min(LONGEST_REST);
                        (now + spread(pause, chance), pause)
                    }
                    (None, None) => (now + spread(FIRST_REST, chance), FIRST_REST),
                };
                self.rest = Some((self.rest.map_or(until, |(before, _)| before.max(until)), pause));
            }
            // What was waited for longer than usual counts: otherwise a hung endpoint would go on looking fast.
            Outcome::Abandoned => {
                if self.usual_latency().is_none_or(|usual| took > usual) {
                    self.note_latency(took);
                }
            }
        }
    }

    /// Half as many at once, but once for all that were in flight together: returns whether this was the first of these.
    fn cut(&mut self, started: Instant, now: Instant) -> bool {
        let first = self.last_cut.is_none_or(|last| started >= last);
        if first {
            self.limit = (self.limit / 2).max(1);
            self.gained = 0;
            self.last_cut = Some(now);
        }
        first
    }

    fn note_latency(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / 8);
        self.latency_us = Some(match self.latency_us {
            Some(usual) => (usual * 7 + took) / 8,
            None => took,
        });
    }

    /// Whether to ask it.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        if let Some(until) = self.bench.until(now) {
            return Standing::Benched(until);
        }
        if let Some((until, _)) = self.rest.filter(|(until, _)| *until > now) {
            return Standing::Resting(until);
        }
        match self.breaker.gate(now) {
            Gate::Closed => Standing::Good,
            Gate::HalfOpen => Standing::HalfOpen,
            Gate::Open(until) => Standing::Open(until),
        }
    }

    /// It gave what cannot be proven, asked at `asked`.
    pub(super) fn lied(&mut self, asked: Instant, now: Instant) {
        self.lies += 1;
        self.bench.lied(asked, now);
    }
}

#[cfg(test)]
mod tests;
