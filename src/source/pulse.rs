//! What an endpoint says of the head over time: whether it rises, stands still or goes backwards. Pure.

use std::time::{Duration, Instant};

use super::doubt::FAR;
use crate::chain::canonical::Link;

/// The heads that an endpoint told of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pulse {
    /// What it said last.
    pub(super) head: Option<Link>,
    /// When it said that.
    pub(super) told: Option<Instant>,
    /// When its head was last higher than ever before.
    pub(super) rose: Option<Instant>,
    /// The head that no other endpoint has, far above theirs, and when they were asked.
    doubted: Option<(Link, Instant)>,
    /// Nobody was told of that doubt yet.
    new_doubt: bool,
    peak: u64,
    /// It has named a higher head than before at least once.
    has_risen: bool,
    /// Times in a row that it told of a lower head than before.
    lower: u32,
}

/// Answers in a row below the highest before it counts as going backwards: one may be a reorg, or another node behind the same name.
const LOWER_ENOUGH: u32 = 2;

impl Pulse {
    pub(super) fn hear(&mut self, head: Link, now: Instant) {
        self.has_risen |= self.head.is_some() && head.number > self.peak;
        if self.head.is_none() || head.number > self.peak {
            self.rose = Some(now);
            self.peak = head.number;
        }
        self.lower = if head.number < self.peak { self.lower + 1 } else { 0 };
        self.head = Some(head);
        self.told = Some(now);
    }

    /// No other endpoint has that head, which is far above theirs: they were just asked. True where that is new.
    pub(super) fn doubt(&mut self, head: Link, now: Instant) -> bool {
        let new = self.doubted.is_none();
        self.new_doubt |= new;
        self.doubted = Some((head, now));
        new
    }

    /// Something supports its head.
    pub(super) fn believe(&mut self) {
        self.doubted = None;
    }

    /// The head that was in doubt, where the endpoint names a head far below it by now: then it was never so, and there is nothing to
    /// doubt or to go back from.
    pub(super) fn take_given_up(&mut self) -> Option<Link> {
        let (doubted, _) = self.doubted?;
        let head = self.head.filter(|head| head.number.saturating_add(FAR) < doubted.number)?;
        self.doubted = None;
        self.peak = head.number;
        self.lower = 0;
        Some(doubted)
    }

    /// The head that is in doubt.
    pub(super) fn doubted(&self) -> Option<Link> {
        self.doubted.map(|(head, _)| head)
    }

    pub(super) fn take_new_doubt(&mut self) -> bool {
        std::mem::take(&mut self.new_doubt)
    }

    /// Its number where that was told not longer ago than this, and is not in doubt.
    pub(super) fn believed(&self, age: Duration, now: Instant) -> Option<Link> {
        self.fresh(age, now).filter(|_| self.doubted.is_none())
    }

    /// The same; also where it is in doubt, and the others were asked longer ago than `again`.
    pub(super) fn worth_asking(&self, age: Duration, again: Duration, now: Instant) -> Option<Link> {
        let due = self.doubted.is_none_or(|(_, asked)| now.saturating_duration_since(asked) >= again);
        self.fresh(age, now).filter(|_| due)
    }

    /// It says a head below what it said before, and goes on saying so.
    pub(super) fn is_backwards(&self) -> bool {
        self.lower >= LOWER_ENOUGH
    }

    /// Its head rises, and did so not longer ago than that.
    pub(super) fn is_rising(&self, within: Duration, now: Instant) -> bool {
        self.has_risen && self.rose.is_some_and(|rose| now.saturating_duration_since(rose) <= within)
    }

    /// The highest it ever told of.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// It still answers, at least two blocks below `best`, and has had nothing new for so long.
    pub(super) fn is_stalled(&self, best: u64, patience: Duration, now: Instant) -> bool {
        let (Some(head), Some(told), Some(rose)) = (self.head, self.told, self.rose) else { return false };
        best >= head.number + 2
            && now.saturating_duration_since(rose) >= patience
            && now.saturating_duration_since(told) < patience.max(Duration::from_secs(10)) * 2
    }

    /// Its number where that was told not longer ago than this.
    pub(super) fn fresh(&self, age: Duration, now: Instant) -> Option<Link> {
        self.head.filter(|_| self.told.is_some_and(|told| now.saturating_duration_since(told) <= age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;

    fn link(number: u64) -> Link {
        Link { number, hash: B256::with_last_byte(u8::try_from(number).unwrap()), parent_hash: B256::ZERO }
    }

    #[test]
    fn a_lower_head_counts_when_it_lasts_and_is_over_when_it_is_made_up_for() {
        let now = Instant::now();
        let mut pulse = Pulse::default();
        for (number, backwards) in [(10, false), (9, false), (10, false), (8, false), (9, true), (9, true), (10, false)]
        {
            pulse.hear(link(number), now);
            assert_eq!(pulse.is_backwards(), backwards, "{number}");
        }
    }

    #[test]
    fn a_head_that_stands_while_others_go_on_is_stalled() {
        let begin = Instant::now();
        let slot = Duration::from_secs(12);
        let mut pulse = Pulse::default();
        pulse.hear(link(10), begin);
        let now = begin + slot * 3;
        pulse.hear(link(10), now);
        assert!(pulse.is_stalled(12, slot * 3, now));
        assert!(!pulse.is_stalled(11, slot * 3, now), "one block is lag");
        assert!(!pulse.is_stalled(12, slot * 4, now));
        pulse.hear(link(11), now);
        assert!(!pulse.is_stalled(13, slot * 3, now));
        assert_eq!(pulse.fresh(slot, now + slot * 2), None);
    }

    #[test]
    fn a_doubted_head_does_not_count_until_it_is_supported_or_given_up() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let told = |number: u64| {
            let mut pulse = Pulse::default();
            pulse.hear(link(10), now);
            pulse.hear(link(number), now);
            assert!(pulse.doubt(link(number), now) && !pulse.doubt(link(number), now));
            assert!(pulse.take_new_doubt() && !pulse.take_new_doubt());
            pulse
        };
        for number in [60, 100, 200] {
            let mut pulse = told(number);
            assert_eq!((pulse.believed(second, now), pulse.worth_asking(second, second, now)), (None, None));
            assert!(pulse.worth_asking(9 * second, second, now + second).is_some(), "the others may have it by now");
            assert_eq!(pulse.take_given_up(), None, "it goes on naming it");
            pulse.believe();
            assert_eq!(pulse.believed(second, now), Some(link(number)));
            let mut pulse = told(number);
            pulse.hear(link(11), now);
            pulse.hear(link(11), now);
            assert!(pulse.is_backwards());
            assert_eq!(pulse.take_given_up(), Some(link(number)));
            assert!(!pulse.is_backwards() && pulse.believed(second, now) == Some(link(11)));
        }
    }
}
