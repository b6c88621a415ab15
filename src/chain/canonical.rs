//! Where a block belongs relative to the chain that we hold. Pure: the pipeline fetches, this decides.
//!
//! A revert needs a *different hash at a height that we hold*. A lower head, or a block the endpoint does not know, is lag:
//! one waits. How far back a reorg may reach is bounded by what is final, and by the window that the store keeps.

use alloy::eips::BlockNumHash;
use alloy::primitives::B256;

/// Number of blocks below the tip that are always kept at hand, whatever is final.
pub const WINDOW: u64 = 96;

/// The highest number of a block: a store's integers have 63 bits, and the number after it must fit too.
pub const HIGHEST_BLOCK: u64 = i64::MAX as u64 - 1;

/// A block's place and parent, as proven by its header hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Number of the block.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of its parent.
    pub parent_hash: B256,
}

impl Link {
    /// Number and hash.
    pub fn id(&self) -> BlockNumHash {
        BlockNumHash { number: self.number, hash: self.hash }
    }
}

/// The last blocks of the chain that we hold: contiguous, oldest first, back to what is final and at least [`WINDOW`] of them
/// where there are as many.
#[derive(Debug, Clone, Default)]
pub struct Canonical {
    window: std::collections::VecDeque<Link>,
    finalized: Option<u64>,
    /// Nothing older than the window is held: a reorg below its first block leaves nothing, which is no error.
    origin: bool,
    /// Where nothing is held: the block to begin with, if that is fixed.
    first: Option<u64>,
}

/// What to do with a block that an endpoint has at its head or next in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It follows the tip (or there is none yet).
    Append,
    /// It is held already, or is lower than the tip with nothing that contradicts it: the endpoint lags.
    Behind,
    /// It takes the place of a held block: everything from there on is to be orphaned first.
    Revert {
        /// Number of the common ancestor, which stays (or of the block before the first that we ever held).
        above: u64,
    },
    /// Its parent is at a height that we hold or just above, but not the block we hold: ask for the parent, by its hash.
    NeedParent(B256),
    /// There are blocks between it and the tip: fetch them first.
    Gap {
        /// The first that is missing.
        next: u64,
    },
    /// It departs from our chain below what is final or what we can go back to.
    TooDeep {
        /// The oldest height to which a reorg may reach.
        floor: u64,
    },
}

impl Canonical {
    /// From the store's last blocks, oldest first, the highest final number, and whether nothing older is held.
    pub fn new(window: impl IntoIterator<Item = Link>, finalized: Option<u64>, origin: bool) -> Self {
        Self { window: window.into_iter().collect(), finalized, origin, first: None }
    }

    /// Nothing is held yet, and the first block to take is that one.
    pub fn starting_at(first: u64) -> Self {
        Self { origin: true, first: Some(first), ..Self::default() }
    }

    /// The last block that we hold.
    pub fn tip(&self) -> Option<BlockNumHash> {
        self.window.back().map(Link::id)
    }

    /// The lowest block that we hold of the run that ends at the tip, or the block to begin with where nothing is held.
    pub fn lowest(&self) -> Option<u64> {
        self.window.front().map(|link| link.number).or(self.first)
    }

    /// Hash of the held block of that number.
    pub fn hash_at(&self, number: u64) -> Option<B256> {
        let first = self.window.front()?.number;
        let offset = usize::try_from(number.checked_sub(first)?).ok()?;
        self.window.get(offset).map(|link| link.hash)
    }

    /// Decides on a block.
    pub fn step(&self, block: &Link) -> Step {
        let (Some(first), Some(tip)) = (self.window.front(), self.window.back()) else {
            return match self.first {
                Some(first) if block.number > first => Step::Gap { next: first },
                Some(first) if block.number < first => Step::Behind,
                _ => Step::Append,
            };
        };
        if block.number < first.number || self.hash_at(block.number) == Some(block.hash) {
            return Step::Behind;
        }
        if block.number > tip.number + 1 {
            return Step::Gap { next: tip.number + 1 };
        }
        if block.number == tip.number + 1 && block.parent_hash == tip.hash {
            return Step::Append;
        }
        // From here on the block is another one at a height that we hold, or follows another one.
        let floor = self.floor();
        let too_deep = Step::TooDeep { floor };
        let is_final = |number: u64| self.finalized.is_some_and(|finalized| number <= finalized);
        let Some(parent) = block.number.checked_sub(1) else { return too_deep };
        match self.hash_at(parent) {
            Some(held) if held == block.parent_hash => {
                if is_final(block.number) {
                    too_deep
                } else {
                    Step::Revert { above: parent }
                }
            }
            Some(_) if !is_final(parent) && (parent > floor || self.origin) => Step::NeedParent(block.parent_hash),
            None if self.origin && !is_final(block.number) => Step::Revert { above: parent },
            _ => too_deep,
        }
    }

    /// The oldest block that may still be the common ancestor of a reorg.
    pub fn floor(&self) -> u64 {
        let first = self.window.front().map_or(0, |link| link.number);
        self.finalized.map_or(first, |finalized| finalized.max(first))
    }

    /// Takes a block after the tip; older ones that are no longer needed leave.
    pub fn push(&mut self, link: Link) {
        self.origin |= self.window.is_empty();
        self.window.push_back(link);
        self.trim();
    }

    /// Drops everything above that number.
    pub fn revert_to(&mut self, number: u64) {
        while self.window.back().is_some_and(|link| link.number > number) {
            self.window.pop_back();
        }
        if self.window.is_empty() {
            self.origin = true;
            self.first = Some(number + 1);
        }
    }

    /// What is final only ever rises.
    pub fn finalize(&mut self, number: u64) {
        self.finalized = Some(self.finalized.map_or(number, |f| f.max(number)));
        self.trim();
    }

    fn trim(&mut self) {
        let Some(tip) = self.window.back().map(|link| link.number) else { return };
        // Where finality is far behind or unknown the window still has a bound, four times its size.
        let wanted = match self.finalized {
            Some(finalized) => finalized.min(tip.saturating_sub(WINDOW)).max(tip.saturating_sub(4 * WINDOW)),
            None => tip.saturating_sub(4 * WINDOW),
        };
        while self.window.front().is_some_and(|link| link.number < wanted) {
            self.window.pop_front();
            self.origin = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(fork: u8, number: u64) -> B256 {
        let mut bytes = [fork; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        B256::from(bytes)
    }

    fn link(fork: u8, number: u64, parent_fork: u8) -> Link {
        Link { number, hash: hash(fork, number), parent_hash: hash(parent_fork, number.wrapping_sub(1)) }
    }

    fn held(numbers: std::ops::RangeInclusive<u64>, finalized: Option<u64>) -> Canonical {
        Canonical::new(numbers.map(|n| link(1, n, 1)), finalized, false)
    }

    #[test]
    fn a_block_on_the_tip_is_appended_and_one_far_above_is_a_gap() {
        let chain = held(10..=20, None);
        assert_eq!(chain.step(&link(1, 21, 1)), Step::Append);
        assert_eq!(chain.step(&link(1, 25, 1)), Step::Gap { next: 21 });
        assert_eq!(Canonical::default().step(&link(1, 25, 1)), Step::Append);
    }

    #[test]
    fn a_lower_head_that_we_hold_is_lag_and_never_a_reorg() {
        assert_eq!(held(10..=20, None).step(&link(1, 15, 1)), Step::Behind);
    }

    #[test]
    fn another_hash_at_a_held_height_reverts_to_the_common_ancestor() {
        let chain = held(10..=20, None);
        assert_eq!(chain.step(&link(2, 20, 1)), Step::Revert { above: 19 });
        assert_eq!(chain.step(&link(2, 21, 2)), Step::NeedParent(hash(2, 20)));
        assert_eq!(chain.step(&link(2, 15, 1)), Step::Revert { above: 14 });
    }

    #[test]
    fn a_final_block_is_never_reverted() {
        let chain = held(10..=20, Some(15));
        assert_eq!(chain.step(&link(2, 16, 1)), Step::Revert { above: 15 });
        assert_eq!(chain.step(&link(2, 15, 1)), Step::TooDeep { floor: 15 });
        assert_eq!(chain.step(&link(2, 16, 2)), Step::TooDeep { floor: 15 });
        assert_eq!(held(10..=20, None).step(&link(2, 10, 1)), Step::TooDeep { floor: 10 });
    }

    #[test]
    fn a_reorg_below_the_first_block_ever_held_orphans_all_of_it() {
        let mut chain = Canonical::default();
        chain.push(link(1, 10, 1));
        chain.push(link(1, 11, 1));
        assert_eq!(chain.step(&link(2, 12, 2)), Step::NeedParent(hash(2, 11)));
        assert_eq!(chain.step(&link(2, 11, 2)), Step::NeedParent(hash(2, 10)));
        assert_eq!(chain.step(&link(2, 10, 2)), Step::Revert { above: 9 });
        chain.revert_to(9);
        assert_eq!(chain.step(&link(2, 10, 2)), Step::Append);
    }

    #[test]
    fn a_head_below_everything_held_is_lag() {
        assert_eq!(held(10..=20, None).step(&link(2, 5, 2)), Step::Behind);
    }

    proptest! {
        /// Whatever forks grow and are reverted, the held chain is always linked, and equals the one that was last followed.
        #[test]
        fn the_held_chain_is_always_linked(moves in proptest::collection::vec((0u64..30, 1u64..30), 1..40)) {
            let mut chain = Canonical::default();
            let mut truth = vec![link(1, 0, 1)];
            chain.push(truth[0]);
            for (fork, (back, grow)) in (2u8..).zip(moves) {
                let tip = truth.len() as u64 - 1;
                let keep = tip.saturating_sub(back);
                truth.truncate(keep as usize + 1);
                for number in keep + 1..=keep + grow {
                    let parent_hash = truth[truth.len() - 1].hash;
                    truth.push(Link { number, hash: hash(fork, number), parent_hash });
                }
                // Follow the head as the pipeline does.
                let head = truth[truth.len() - 1];
                let mut pending = vec![head];
                while let Some(block) = pending.last().copied() {
                    match chain.step(&block) {
                        Step::Append => { chain.push(block); pending.pop(); }
                        Step::Behind => { pending.pop(); }
                        Step::Revert { above } => chain.revert_to(above),
                        Step::NeedParent(hash) => pending.push(*truth.iter().find(|l| l.hash == hash).unwrap()),
                        Step::Gap { next } => pending.push(truth[next as usize]),
                        Step::TooDeep { .. } => prop_assert!(false, "too deep"),
                    }
                }
                if chain.tip().unwrap().number == head.number {
                    prop_assert_eq!(chain.tip().unwrap().hash, head.hash);
                }
                for pair in chain.window.iter().collect::<Vec<_>>().windows(2) {
                    prop_assert_eq!(pair[0].hash, pair[1].parent_hash);
                    prop_assert_eq!(pair[0].number + 1, pair[1].number);
                }
            }
        }
    }
}
