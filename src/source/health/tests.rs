//! Sequences of requests and how they end.
#![cfg(test)]

use super::*;
use crate::source::pace::BURST;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn go(health: &mut Health, now: Instant) -> Ticket {
    match health.admit(SECOND, true, now) {
        Admission::Go(ticket) => ticket,
        // What was throttled before goes slower.
        Admission::After(pause) => go(health, now + pause),
        Admission::Full => panic!("full"),
    }
}

fn end(health: &mut Health, outcome: Outcome, now: Instant) {
    let ticket = go(health, now);
    health.finish(ticket, outcome, now, 1000);
}

#[test]
fn the_pace_slows_with_each_throttled_burst_and_recovers_with_answers() {
    let mut now = Instant::now();
    let mut health = Health::new(4, None);
    let mut interval = Duration::ZERO;
    for _ in 0..12 {
        now += SECOND * 20;
        end(&mut health, Outcome::Throttled(None), now);
        let slower = health.pace.interval().unwrap();
        assert!(slower > interval || slower == SECOND * 2, "{slower:?}");
        interval = slower;
    }
    assert_eq!(interval, SECOND * 2);
    let (mut answers, mut waited) = (0, false);
    while health.pace.interval().is_some() {
        match health.admit(SECOND, true, now) {
            Admission::Go(ticket) => {
                health.finish(ticket, Outcome::Answered, now, 0);
                answers += 1;
            }
            Admission::After(pause) => {
                waited = true;
                now += pause;
            }
            Admission::Full => panic!("nothing is in flight"),
        }
    }
    assert!(waited && (30..200).contains(&answers), "{answers}");
    // A rate that is set is kept to, whatever is learned.
    let mut health = Health::new(4, Some(SECOND));
    end(&mut health, Outcome::Throttled(None), now);
    assert_eq!(health.pace.interval(), Some(SECOND));
}

#[test]
fn a_refusal_is_not_tried_again_soon() {
    let now = Instant::now();
    let mut health = Health::new(4, None);
    end(&mut health, Outcome::Answered, now);
    end(&mut health, Outcome::Refused, now);
    assert!(matches!(health.standing(now + SECOND * 20), Standing::Open(_)), "{:?}", health.standing(now));
    assert_eq!(health.standing(now + SECOND * 31), Standing::HalfOpen);
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
        let mut throttled = false;
        for (what, wait, chance) in steps {
            now += Duration::from_millis(wait);
            let outcome = match what {
                0..=2 => {
                    match health.admit(SECOND, true, now) {
                        Admission::Go(ticket) => open.push(ticket),
                        Admission::Full => prop_assert!(health.in_flight() >= health.limit()),
                        Admission::After(_) => prop_assert!(throttled, "no rate is set, and nothing was throttled"),
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
                throttled |= matches!(outcome, Outcome::Throttled(_));
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
