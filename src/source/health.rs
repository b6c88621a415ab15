//! How an endpoint fares: latency, how many requests it stands at once, when to leave it alone. A pure state machine: time and
//! chance are handed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pauses::{Bench, Breaker, Gate, spread};

const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// An endpoint may not put us off for longer than that.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Requests that may go at once after a pause, where a rate is set.
const BURST: u32 = 2;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered, be it with an error of its own.
    Answered,
    /// The connection failed, or what came is no answer.
    Failed,
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
    /// The configured rate: wait that long.
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
    rate: Option<Rate>,
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

/// A token bucket as one point in time: when the bucket will be full again.
#[derive(Debug, Clone, Copy)]
struct Rate {
    interval: Duration,
    full_at: Option<Instant>,
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
            rate: interval.map(|interval| Rate { interval, full_at: None }),
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
        if let Some(rate) = &mut self.rate {
            let full_at = rate.full_at.unwrap_or(now).max(now);
            let ahead = full_at.saturating_duration_since(now);
            let room = rate.interval * (BURST - 1);
            if ahead > room {
                return Admission::After(ahead - room);
            }
            rate.full_at = Some(full_at + rate.interval);
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
            Outcome::TimedOut => {
                self.cut(ticket.started, now);
                self.note_latency(took);
                self.timeouts_in_row += 1;
                self.failures += 1;
                self.breaker.fail(now, chance);
            }
            Outcome::Throttled(after) => {
                self.cut(ticket.started, now);
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

    /// Half as many at once, but once for all that were in flight together.
    fn cut(&mut self, started: Instant, now: Instant) {
        if self.last_cut.is_none_or(|last| started >= last) {
            self.limit = (self.limit / 2).max(1);
            self.gained = 0;
            self.last_cut = Some(now);
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn go(health: &mut Health, now: Instant) -> Ticket {
        match health.admit(SECOND, true, now) {
            Admission::Go(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn end(health: &mut Health, outcome: Outcome, now: Instant) {
        let ticket = go(health, now);
        health.finish(ticket, outcome, now, 1000);
    }

    #[test]
    fn the_limit_halves_once_for_a_burst_and_grows_back_slowly() {
        let now = Instant::now();
        let mut health = Health::new(8, None);
        let tickets: Vec<_> = (0..8).map(|_| go(&mut health, now)).collect();
        assert_eq!(health.admit(SECOND, true, now), Admission::Full);
        for ticket in tickets {
            health.finish(ticket, Outcome::Throttled(None), now + SECOND, 0);
        }
        assert_eq!((health.limit(), health.in_flight()), (4, 0), "one burst, one cut");
        for _ in 0..4 {
            end(&mut health, Outcome::Answered, now + SECOND * 2);
        }
        assert_eq!(health.limit(), 5);
        for _ in 0..100 {
            end(&mut health, Outcome::Answered, now + SECOND * 2);
        }
        assert_eq!(health.limit(), 8, "never more than configured");
        for step in 3..20 {
            end(&mut health, Outcome::TimedOut, now + SECOND * step);
        }
        assert_eq!(health.limit(), 1, "never less than one");
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_and_others_grow() {
        let now = Instant::now();
        let mut health = Health::new(8, None);
        end(&mut health, Outcome::Throttled(Some(SECOND * 7)), now);
        assert_eq!(health.standing(now), Standing::Resting(now + SECOND * 7));
        end(&mut health, Outcome::Throttled(Some(SECOND * 9000)), now);
        assert_eq!(health.standing(now), Standing::Resting(now + LONGEST_RETRY_AFTER), "not for hours");
        let mut health = Health::new(8, None);
        let mut at = now;
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            end(&mut health, Outcome::Throttled(None), at);
            let Standing::Resting(until) = health.standing(at) else { panic!() };
            assert!(until - at > last);
            (last, at) = (until - at, until);
        }
        assert_eq!(health.throttled_since, Some(now));
        end(&mut health, Outcome::Answered, at);
        assert_eq!((health.standing(at), health.throttled_since), (Standing::Good, None));
    }

    #[test]
    fn the_head_finds_room_where_a_backfill_takes_all_it_can() {
        for max in 1..40 {
            let now = Instant::now();
            let mut health = Health::new(max, None);
            let mut bulk = 0;
            while let Admission::Go(_) = health.admit(SECOND, false, now) {
                bulk += 1;
            }
            assert!(bulk >= 1 && bulk == health.bulk_limit());
            let urgent = matches!(health.admit(SECOND, true, now), Admission::Go(_));
            assert_eq!(urgent, max >= 4, "{max}");
        }
    }

    #[test]
    fn a_configured_rate_is_kept() {
        let begin = Instant::now();
        let mut health = Health::new(100, Some(Duration::from_millis(100)));
        let mut now = begin;
        let mut gone = 0u32;
        while now < begin + SECOND * 10 {
            match health.admit(SECOND, false, now) {
                Admission::Go(ticket) => {
                    gone += 1;
                    health.finish(ticket, Outcome::Answered, now, 0);
                }
                Admission::After(pause) => now += pause,
                Admission::Full => panic!("not full"),
            }
        }
        assert!((100..=100 + BURST).contains(&gone), "{gone}");
    }

    #[test]
    fn a_request_that_hangs_shows() {
        let now = Instant::now();
        let mut health = Health::new(8, None);
        end(&mut health, Outcome::Answered, now);
        let ticket = go(&mut health, now);
        assert!(!health.has_stuck(now + SECOND) && health.has_stuck(now + SECOND * 3));
        assert_eq!(health.latency(now + SECOND * 3), Some(SECOND * 3));
        health.finish(ticket, Outcome::Abandoned, now + SECOND * 8, 0);
        assert_eq!(health.latency(now + SECOND * 8), Some(SECOND));
    }

    #[test]
    fn an_urgent_request_that_waits_while_nothing_is_answered_shows_before_its_time_is_up() {
        let now = Instant::now();
        let mut health = Health::new(8, None);
        let hangs = |health: &Health, after| health.hangs(SECOND * 2, SECOND, now + SECOND * after);
        end(&mut health, Outcome::Answered, now);
        assert!(!hangs(&health, 9), "nobody waits");
        let Admission::Go(slow) = health.admit(SECOND * 9, false, now) else { panic!() };
        assert!(!hangs(&health, 9), "it is no hurry");
        health.finish(slow, Outcome::Answered, now, 0);
        let ticket = go(&mut health, now + SECOND);
        assert!(!hangs(&health, 1) && hangs(&health, 2));
        end(&mut health, Outcome::Answered, now + SECOND);
        assert!(!hangs(&health, 2), "another one was answered meanwhile");
        health.finish(ticket, Outcome::Answered, now + SECOND * 5, 0);
        assert!(!hangs(&health, 5));
    }

    proptest! {
        /// Whatever happens: never more in flight than allowed, a limit in its bounds, one probe at most, and every endpoint is
        /// asked again in the end.
        #[test]
        fn nothing_breaks_the_limits(max in 1u32..20, steps in proptest::collection::vec((0u8..8, 0u64..5000, 0u32..=1000), 1..300)) {
            let mut now = Instant::now();
            let mut health = Health::new(max, None);
            let mut open: Vec<Ticket> = Vec::new();
            for (what, wait, chance) in steps {
                now += Duration::from_millis(wait);
                let outcome = match what {
                    0..=2 => {
                        match health.admit(SECOND, true, now) {
                            Admission::Go(ticket) => open.push(ticket),
                            Admission::Full => prop_assert!(health.in_flight() >= health.limit()),
                            Admission::After(_) => prop_assert!(false, "no rate is set"),
                        }
                        prop_assert!(health.in_flight() <= max);
                        None
                    }
                    3 => Some(Outcome::Answered),
                    4 => Some(Outcome::Failed),
                    5 => Some(Outcome::TimedOut),
                    6 => Some(Outcome::Throttled((chance > 500).then_some(SECOND))),
                    _ => { health.lied(now, now); None }
                };
                if let Some(outcome) = outcome && let Some(ticket) = open.pop() {
                    health.finish(ticket, outcome, now, chance);
                }
                prop_assert_eq!(health.in_flight() as usize, open.len());
                prop_assert!((1..=max).contains(&health.limit()));
                let half_open = health.breaker.gate(now) == Gate::HalfOpen;
                prop_assert_eq!(health.breaker.begin_probe(now), half_open);
                prop_assert!(!health.breaker.begin_probe(now), "one probe");
                health.breaker.release_probe();
            }
            let later = now + super::super::pauses::LONGEST_BENCH + super::super::pauses::LONGEST_PAUSE;
            prop_assert!(matches!(health.standing(later), Standing::Good | Standing::HalfOpen), "it comes back");
        }
    }
}
