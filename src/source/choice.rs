//! Which endpoint is asked next: the one that is expected to answer first, and of equals the one that was configured first. Pure.

use std::time::{Duration, Instant};

use super::health::Standing;

/// Differences of latency below that are noise: then the order of the configuration counts.
const GRAIN: Duration = Duration::from_millis(100);

/// What counts of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Whether it is to be asked.
    pub(super) standing: Standing,
    /// Expected time to an answer, where it is known.
    pub(super) latency: Option<Duration>,
    /// Requests in flight.
    pub(super) in_flight: u32,
    /// How many at once it stands.
    pub(super) limit: u32,
    /// It was asked for this already.
    pub(super) asked: bool,
    /// It is not known to be unable to answer this.
    pub(super) able: bool,
    /// It stands behind the others, or was found out as stalled: asked after the others.
    pub(super) lags: bool,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// That one, now.
    Ask(usize),
    /// One is good but has as many in flight as it stands: wait for one to end.
    Wait,
    /// None that may be asked now; the soonest may be then.
    Nobody(Option<Instant>),
}

/// Chooses among the endpoints. `anyone` lifts bench and breaker, for when nobody else is left; a pause that was asked for stays.
pub(super) fn choose(candidates: &[Candidate], anyone: bool, now: Instant) -> Pick {
    let mut best: Option<((bool, u128, usize), usize)> = None;
    let mut full = false;
    let mut soonest: Option<Instant> = None;
    for (place, candidate) in candidates.iter().enumerate() {
        if candidate.asked || !candidate.able {
            continue;
        }
        let back = match candidate.standing {
            Standing::Good | Standing::HalfOpen => None,
            Standing::Open(until) | Standing::Benched(until) => Some(until).filter(|_| !anyone),
            Standing::Resting(until) => Some(until),
        };
        if let Some(until) = back.filter(|until| *until > now) {
            soonest = Some(soonest.map_or(until, |other| other.min(until)));
            continue;
        }
        if candidate.in_flight >= candidate.limit {
            full = true;
            continue;
        }
        let rank = (candidate.lags, cost(candidate), place);
        if best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, place));
        }
    }
    match best {
        Some((_, place)) => Pick::Ask(place),
        None if full => Pick::Wait,
        None => Pick::Nobody(soonest),
    }
}

/// Expected time to an answer in coarse steps: the latency, half as much again for each half of what it stands that is in flight.
fn cost(candidate: &Candidate) -> u128 {
    let steps = candidate.latency.unwrap_or_default().as_millis() / GRAIN.as_millis() + 1;
    steps * (1 + u128::from(2 * candidate.in_flight / candidate.limit.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(latency_ms: u64) -> Candidate {
        Candidate {
            standing: Standing::Good,
            latency: Some(Duration::from_millis(latency_ms)),
            in_flight: 0,
            limit: 8,
            asked: false,
            able: true,
            lags: false,
        }
    }

    #[test]
    fn the_fastest_is_asked_and_of_equals_the_first() {
        let now = Instant::now();
        assert_eq!(choose(&[good(3), good(1)], false, now), Pick::Ask(0), "noise is no reason");
        assert_eq!(choose(&[good(300), good(40)], false, now), Pick::Ask(1));
        assert_eq!(choose(&[Candidate { lags: true, ..good(1) }, good(400)], false, now), Pick::Ask(1));
        assert_eq!(
            choose(&[Candidate { asked: true, ..good(1) }, Candidate { able: false, ..good(1) }], false, now),
            Pick::Nobody(None)
        );
    }

    #[test]
    fn work_spreads_when_much_is_in_flight_and_waits_when_all_are_full() {
        let now = Instant::now();
        let mut pool = [good(10), good(10)];
        let mut given = [0, 0];
        loop {
            match choose(&pool, false, now) {
                Pick::Ask(place) => {
                    pool[place].in_flight += 1;
                    given[place] += 1;
                }
                other => {
                    assert_eq!(other, Pick::Wait);
                    break;
                }
            }
            assert!(given[0] < 6 || given[1] > 1, "{given:?}");
        }
        assert_eq!(given, [8, 8]);
    }

    #[test]
    fn bench_and_breaker_hold_until_nobody_else_is_left_and_a_pause_always() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let away = |standing| Candidate { standing, ..good(1) };
        let pool = [away(Standing::Benched(later)), away(Standing::Open(later)), away(Standing::Resting(later))];
        assert_eq!(choose(&pool, false, now), Pick::Nobody(Some(later)));
        assert_eq!(choose(&pool, true, now), Pick::Ask(0));
        assert_eq!(choose(&pool[2..], true, now), Pick::Nobody(Some(later)));
        assert_eq!(choose(&[away(Standing::HalfOpen)], false, now), Pick::Ask(0));
    }

    proptest! {
        #[test]
        fn nobody_is_asked_beyond_the_limit_or_while_away(seed in proptest::collection::vec((0u8..4, 0u64..900, 0u32..5, any::<bool>(), any::<bool>()), 0..6)) {
            let now = Instant::now();
            let later = now + Duration::from_secs(5);
            let pool: Vec<_> = seed.iter().map(|(standing, latency, in_flight, asked, able)| Candidate {
                standing: match standing { 0 => Standing::Good, 1 => Standing::Benched(later), 2 => Standing::Open(later), _ => Standing::Resting(later) },
                in_flight: *in_flight, limit: 4, asked: *asked, able: *able, ..good(*latency)
            }).collect();
            let may = |c: &Candidate| c.standing == Standing::Good && !c.asked && c.able && c.in_flight < c.limit;
            match choose(&pool, false, now) {
                Pick::Ask(place) => prop_assert!(may(&pool[place])),
                Pick::Wait | Pick::Nobody(_) => prop_assert!(!pool.iter().any(may)),
            }
        }
    }
}
