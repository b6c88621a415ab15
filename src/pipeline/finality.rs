//! What is known of finality: the blocks that endpoints name by their tags, or, where no endpoint has tags, the depth below the head.

use alloy::eips::BlockNumHash;

use crate::source::{FINAL_DEPTH, FinalityVote, SAFE_DEPTH, Tags};
use crate::store::{Result, Settled, Store};

/// The state of one run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Finality {
    /// The last tags that came; kept while none come.
    tags: Option<Tags>,
    /// The blocks at the depths of [`by_depth`], where several endpoints agreed on them; kept while none come.
    deep: Option<Tags>,
    /// The chain has tags: seen now, or by an earlier run on this database. Then depth never stands in for them.
    pub(super) has_tags: bool,
    /// How often in a row the endpoints said that they have no such tags: one such answer may be a fault.
    tagless: u32,
    head: Option<u64>,
}

/// Answers without tags before depth counts.
const TAGLESS_ENOUGH: u32 = 2;
pub(super) const RULE_TAGS: &str = "tags safe/finalized";
pub(super) const RULE_DEPTH: &str = "depth 12/64";

impl Finality {
    /// `has_tags`: an earlier run on this database went by tags.
    pub(super) fn new(has_tags: bool) -> Self {
        Self { has_tags, ..Self::default() }
    }

    /// Takes what the endpoints said, if they could be asked.
    pub(super) fn learn(&mut self, head: u64, vote: Option<FinalityVote>) {
        self.head = Some(head);
        match vote {
            Some(FinalityVote::Tags(tags)) => {
                self.tags = Some(tags);
                self.has_tags = true;
            }
            Some(FinalityVote::NoTags(deep)) => {
                self.tagless += 1;
                self.deep = deep;
            }
            None => {}
        }
    }

    /// It is still open whether the chain has tags.
    pub(super) fn is_open(self) -> bool {
        !self.has_tags && self.tagless < TAGLESS_ENOUGH
    }

    /// The blocks in force and the rule they come from, for a held block that is known to be of the chain of the head: what is named
    /// above that block makes the block itself so. `None` while nothing is known.
    pub(super) fn settled(self, store: &Store, confirmed: BlockNumHash) -> Result<Option<(Settled, &'static str)>> {
        let Some(head) = self.head else { return Ok(None) };
        let clamp = |tags: Tags| {
            let clamp = |block: BlockNumHash| if block.number > confirmed.number { confirmed } else { block };
            Settled { safe: tags.safe.map(clamp), finalized: tags.finalized.map(clamp) }
        };
        match (self.tags, self.deep) {
            (Some(tags), _) => Ok(Some((clamp(tags), RULE_TAGS))),
            (None, _) if self.has_tags || self.is_open() => Ok(None),
            (None, Some(deep)) => Ok(Some((clamp(deep), RULE_DEPTH))),
            (None, None) => Ok(Some((by_depth(store, head, confirmed)?, RULE_DEPTH))),
        }
    }
}

/// By depth below a head, on the chain that ends with a held block.
pub(super) fn by_depth(store: &Store, head: u64, confirmed: BlockNumHash) -> Result<Settled> {
    let deep = |depth: u64| match head.checked_sub(depth) {
        Some(number) => store.ancestor(confirmed, number.min(confirmed.number)),
        None => Ok(None),
    };
    Ok(Settled { safe: deep(SAFE_DEPTH)?, finalized: deep(FINAL_DEPTH)? })
}
