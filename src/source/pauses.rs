//! When an endpoint is left alone, and for how long: a breaker for one that fails, a bench for one that lies. Pure.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
pub(super) const FAILURES_TO_OPEN: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const FIRST_BENCH: Duration = Duration::from_secs(10);
pub(super) const LONGEST_BENCH: Duration = Duration::from_secs(3600);
/// Proven answers in a row after which earlier wrong ones no longer lengthen the bench.
const PROVEN_TO_FORGIVE: u32 = 200;

/// Opens after failures in a row, then lets one try through at a time, after pauses that grow.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    pub(super) failures_in_row: u32,
    open: Option<(Instant, Duration)>,
    probing: bool,
}

/// Whether a breaker lets requests through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Closed,
    /// One may try.
    HalfOpen,
    /// Not before then.
    Open(Instant),
}

impl Breaker {
    pub(super) fn gate(&self, now: Instant) -> Gate {
        match self.open {
            None => Gate::Closed,
            Some((until, _)) if until > now => Gate::Open(until),
            Some((_, pause)) if self.probing => Gate::Open(now + pause),
            Some(_) => Gate::HalfOpen,
        }
    }

    /// Takes the one try that is allowed; false where there is none.
    pub(super) fn begin_probe(&mut self, now: Instant) -> bool {
        let free = self.gate(now) == Gate::HalfOpen;
        self.probing |= free;
        free
    }

    /// The try was given up before it brought anything.
    pub(super) fn release_probe(&mut self) {
        self.probing = false;
    }

    /// It answered.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// It refused: trying again soon changes nothing.
    pub(super) fn refuse(&mut self, now: Instant) {
        self.failures_in_row = self.failures_in_row.max(FAILURES_TO_OPEN);
        self.probing = false;
        self.open = Some((now + LONGEST_PAUSE, LONGEST_PAUSE));
    }

    /// It failed; `chance` (0..=1000) spreads the pause that may follow.
    pub(super) fn fail(&mut self, now: Instant, chance: u32) {
        self.failures_in_row += 1;
        let was_probe = std::mem::take(&mut self.probing);
        if self.failures_in_row < FAILURES_TO_OPEN {
            return;
        }
        self.open = Some(match self.open {
            // Those in flight with the one that opened it say nothing new.
            Some((until, pause)) if now < until && !was_probe => (until, pause),
            Some((_, pause)) => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                (now + spread(pause, chance), pause)
            }
            None => (now + spread(FIRST_PAUSE, chance), FIRST_PAUSE),
        });
    }
}

/// Where those sit that gave wrong answers, longer each time.
#[derive(Debug)]
pub(super) struct Bench {
    sits: Option<(Instant, Instant)>,
    pause: Duration,
    proven_in_row: u32,
}

impl Default for Bench {
    fn default() -> Self {
        Self { sits: None, pause: FIRST_BENCH, proven_in_row: 0 }
    }
}

impl Bench {
    /// It gave what cannot be proven, asked at `asked`: the time doubles with every such answer that was asked for after the last
    /// bench began.
    pub(super) fn lied(&mut self, asked: Instant, now: Instant) {
        self.proven_in_row = 0;
        if self.sits.is_some_and(|(begun, _)| asked < begun) {
            return;
        }
        self.sits = Some((now, now + self.pause));
        self.pause = (self.pause * 2).min(LONGEST_BENCH);
    }

    /// It gave what was proven.
    pub(super) fn proved(&mut self) {
        self.proven_in_row += 1;
        if self.proven_in_row >= PROVEN_TO_FORGIVE {
            self.pause = FIRST_BENCH;
        }
    }

    /// Until when it sits.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.sits.map(|(_, until)| until).filter(|until| *until > now)
    }
}

/// Between half and all of a pause; `chance` is 0..=1000.
pub(super) fn spread(pause: Duration, chance: u32) -> Duration {
    pause / 2 + pause / 2 * chance.min(1000) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_breaker_opens_grows_and_lets_one_try_through() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN - 1 {
            breaker.fail(now, 1000);
        }
        assert_eq!(breaker.gate(now), Gate::Closed);
        breaker.fail(now, 1000);
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            let Gate::Open(until) = breaker.gate(now) else { panic!("{:?}", breaker.gate(now)) };
            breaker.fail(now, 1000);
            assert_eq!(breaker.gate(now), Gate::Open(until), "what was in flight does not lengthen it");
            assert!(until - now > last, "pauses grow");
            last = until - now;
            now = until;
            assert_eq!(breaker.gate(now), Gate::HalfOpen);
            assert!(breaker.begin_probe(now) && !breaker.begin_probe(now), "one only");
            breaker.fail(now, 1000);
        }
        let Gate::Open(until) = breaker.gate(now) else { panic!() };
        now = until;
        assert!(breaker.begin_probe(now));
        breaker.release_probe();
        assert!(breaker.begin_probe(now), "a try that was given up is free again");
        breaker.close();
        assert_eq!(breaker.gate(now), Gate::Closed);
    }

    #[test]
    fn the_bench_doubles_with_each_lie_and_is_forgiven_after_a_run_of_proofs() {
        let mut now = Instant::now();
        let mut bench = Bench::default();
        let mut expected = FIRST_BENCH;
        for _ in 0..12 {
            bench.lied(now, now);
            // What was asked before the bench began does not lengthen it.
            bench.lied(now - SECOND, now);
            assert_eq!(bench.until(now), Some(now + expected));
            assert_eq!(bench.until(now + expected), None, "a benched endpoint comes back");
            now += expected;
            expected = (expected * 2).min(LONGEST_BENCH);
        }
        assert_eq!(expected, LONGEST_BENCH);
        for _ in 0..PROVEN_TO_FORGIVE {
            bench.proved();
        }
        bench.lied(now, now);
        assert_eq!(bench.until(now), Some(now + FIRST_BENCH));
    }
}
