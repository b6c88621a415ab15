//! Whether an endpoint has a method, as several of its answers say: nodes behind one URL differ, so a single "no such method" settles
//! nothing, and what is settled is looked at again soon. Pure: time is handed in.

use std::time::{Duration, Instant};

/// Answers in a row that there is no such method, before it counts as missing.
const DENIALS_TO_SETTLE: u32 = 3;
/// The same of a method that has answered: then one of the nodes behind the URL has it.
const DENIALS_TO_UNSETTLE: u32 = 10;
/// Denials closer together than that are one: requests in flight together reach the same node.
const APART: Duration = Duration::from_millis(100);
/// After that long a missing method is tried again; twice as long after each further denial.
const FIRST_PROBE: Duration = Duration::from_secs(30);
const LONGEST_PROBE: Duration = Duration::from_secs(300);

/// What is known of one method of one endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ability {
    /// It has answered.
    had: bool,
    denials: u32,
    last_denial: Option<Instant>,
    /// Counts as missing, and when it is tried again.
    missing: Option<(Instant, Duration)>,
}

impl Ability {
    /// It answered.
    pub(super) fn confirm(&mut self) {
        *self = Self { had: true, ..Self::default() };
    }

    /// It answered that there is no such method. Whether the method counts as missing from this answer on.
    pub(super) fn deny(&mut self, now: Instant) -> bool {
        if self.last_denial.is_none_or(|last| now.saturating_duration_since(last) >= APART) {
            self.denials += 1;
            self.last_denial = Some(now);
        }
        match self.missing {
            // Those in flight with the probe say nothing new.
            Some((probe_at, _)) if now < probe_at => false,
            Some((_, pause)) => {
                let pause = (pause * 2).min(LONGEST_PROBE);
                self.missing = Some((now + pause, pause));
                false
            }
            None if self.denials < if self.had { DENIALS_TO_UNSETTLE } else { DENIALS_TO_SETTLE } => false,
            None => {
                self.missing = Some((now + FIRST_PROBE, FIRST_PROBE));
                true
            }
        }
    }

    /// Whether to ask: it is not missing, or it is time to try again.
    pub(super) fn is_worth_asking(&self, now: Instant) -> bool {
        self.missing.is_none_or(|(probe_at, _)| probe_at <= now)
    }

    /// It has answered at some time.
    pub(super) fn has_answered(&self) -> bool {
        self.had
    }

    /// Whether it is there; none while that is open.
    pub(super) fn known(&self) -> Option<bool> {
        match (self.missing, self.had) {
            (Some(_), _) => Some(false),
            (None, true) => Some(true),
            (None, false) => None,
        }
    }

    /// Counts as missing at once, as where what it answers is of no use.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let was_missing = self.missing.is_some();
        let pause = self.missing.map_or(FIRST_PROBE, |(_, pause)| (pause * 2).min(LONGEST_PROBE));
        self.missing = Some((now + pause, pause));
        !was_missing
    }

    /// Tries again at the next opportunity.
    pub(super) fn look_again(&mut self) {
        if let Some((probe_at, _)) = &mut self.missing {
            *probe_at = Instant::now().min(*probe_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_method_counts_as_missing_only_after_several_denials_in_a_row() {
        let begin = Instant::now();
        for good_between in [1, 2] {
            let mut ability = Ability::default();
            for step in 0..50 {
                let now = begin + SECOND * step;
                if step % (good_between + 1) == 0 {
                    ability.confirm();
                } else {
                    ability.deny(now);
                }
                assert!(ability.is_worth_asking(now) && ability.known() == Some(true), "step {step}");
            }
        }
        let mut ability = Ability::default();
        // Many at once are one.
        for _ in 0..20 {
            assert!(!ability.deny(begin));
        }
        assert_eq!((ability.known(), ability.is_worth_asking(begin)), (None, true));
        assert!(!ability.deny(begin + SECOND));
        assert!(ability.deny(begin + SECOND * 2), "the third settles it");
        assert_eq!((ability.known(), ability.is_worth_asking(begin + SECOND * 3)), (Some(false), false));
    }

    #[test]
    fn a_missing_method_is_tried_again_soon_and_comes_back_with_its_first_answer() {
        let mut now = Instant::now();
        let mut ability = Ability::default();
        for _ in 0..3 {
            now += SECOND;
            ability.deny(now);
        }
        let mut pause = FIRST_PROBE;
        for _ in 0..8 {
            assert!(!ability.is_worth_asking(now + pause - SECOND), "not before");
            now += pause;
            assert!(ability.is_worth_asking(now) && ability.known() == Some(false), "tried again after {pause:?}");
            ability.deny(now);
            ability.deny(now);
            pause = (pause * 2).min(LONGEST_PROBE);
        }
        assert_eq!(pause, LONGEST_PROBE);
        ability.confirm();
        assert!(ability.is_worth_asking(now) && ability.known() == Some(true));
        for denials in 1..=DENIALS_TO_UNSETTLE {
            now += SECOND;
            assert_eq!(ability.deny(now), denials == DENIALS_TO_UNSETTLE, "it has answered: one node may lack it");
        }
        ability.confirm();
        assert!(ability.give_up(now) && !ability.give_up(now) && !ability.is_worth_asking(now));
        ability.look_again();
        assert!(ability.is_worth_asking(now + SECOND));
    }
}
