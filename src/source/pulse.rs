//! What an endpoint says of the head over time: whether it rises, stands still or goes backwards. Pure.

use std::time::{Duration, Instant};

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
    peak: u64,
    /// Times in a row that it told of a lower head than before.
    lower: u32,
}

/// Answers in a row below the highest before it counts as going backwards: one may be a reorg, or another node behind the same name.
const LOWER_ENOUGH: u32 = 2;

impl Pulse {
    pub(super) fn hear(&mut self, head: Link, now: Instant) {
        if self.head.is_none() || head.number > self.peak {
            self.rose = Some(now);
            self.peak = head.number;
        }
        self.lower = if head.number < self.peak { self.lower + 1 } else { 0 };
        self.head = Some(head);
        self.told = Some(now);
    }

    /// It says a head below what it said before, and goes on saying so.
    pub(super) fn is_backwards(&self) -> bool {
        self.lower >= LOWER_ENOUGH
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
}
