//! From what a user names (blocks, times, or both) to the blocks that it means. Nothing is clipped to what is held: a block that is
//! missing at an end of the range is missing in the range.

use rusqlite::OptionalExtension;

use super::coverage::end_in_time;
use super::{RangeCoverage, Result, Store, chain_int};

/// A range as a user named it: both ends included, `None` where an end is open. Times are unix seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamedRange {
    /// First block.
    pub from_block: Option<u64>,
    /// Last block.
    pub to_block: Option<u64>,
    /// No block before that time.
    pub since: Option<i64>,
    /// No block after that time.
    pub until: Option<i64>,
}

/// The blocks that a [`NamedRange`] means, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    /// First block.
    pub first: u64,
    /// Last block; it may be above every block that is held.
    pub last: u64,
    /// Whether it is known which blocks begin and end the range. A block number says so itself; a time is known to begin or end with
    /// a block only where the block on the other side of that time is held too.
    pub ends_known: bool,
}

/// A tip that is older than that, in seconds, is not the present.
pub const PRESENT: i64 = 15 * 60;

/// The blocks that may be an end in time: the bounds are equal where that block is known.
struct Bracket {
    lowest: u64,
    highest: u64,
}

impl NamedRange {
    /// Whether any end was named.
    pub fn is_named(&self) -> bool {
        *self != Self::default()
    }
}

impl Store {
    /// The last block of a range with an open end: the highest head that an endpoint has reported, followed or not (see
    /// [`reported_head`](Self::reported_head)), or the highest block held where that is higher. `None` where nothing is held.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn open_end(&self) -> Result<Option<u64>> {
        let Some(highest) = self.highest()? else { return Ok(None) };
        let reported = self.reported_head()?.map_or(0, |head| head.number);
        Ok(Some(highest.max(self.head()?.unwrap_or(0)).max(reported)))
    }

    /// The blocks of a range. An open beginning is block 0; an open end is the [`open_end`](Self::open_end), and for a range in time
    /// also the present (`now`, unix seconds). `None` where no block can be in it, or nothing is held.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn blocks_of(&self, named: &NamedRange, now: i64) -> Result<Option<BlockRange>> {
        let Some(open_end) = self.open_end()? else { return Ok(None) };
        let mut first = named.from_block.unwrap_or(0);
        let mut last = named.to_block.unwrap_or(open_end);
        let up_to_now = named.since.is_some() && named.until.is_none() && named.to_block.is_none();
        let mut ends_known = !up_to_now || self.tip_timestamp()?.is_some_and(|tip| now.saturating_sub(tip) < PRESENT);
        if let Some(since) = named.since {
            let Bracket { lowest, highest } = self.first_since(since)?;
            if named.from_block.is_none() && lowest == 0 && highest > 0 {
                // No block before that time is held: any block below the first one held may be of the range.
                (first, ends_known) = (highest, false);
            } else {
                first = first.max(lowest);
            }
        }
        if let Some(until) = named.until {
            match self.first_after(until)? {
                Some(0) => return Ok(None),
                // The blocks just below that one may be after that time too. They are not held, so they are missing.
                Some(after) if named.to_block.is_none() => last = after - 1,
                Some(after) => last = last.min(after - 1),
                // No block after that time is held: without a last block, any block above may be of the range.
                None => ends_known &= named.to_block.is_some(),
            }
        }
        Ok((first <= last).then_some(BlockRange { first, last, ends_known }))
    }

    /// How much of a range is there.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn range_coverage(&self, range: BlockRange) -> Result<RangeCoverage> {
        let coverage = self.block_coverage(range.first, range.last)?;
        Ok(RangeCoverage { ends_known: range.ends_known, ..coverage })
    }

    /// The blocks that may be the first one not before a time: all above the last one held that is before it, up to the first one
    /// held that is not.
    fn first_since(&self, since: i64) -> Result<Bracket> {
        let before = match since.checked_sub(1) {
            Some(before) => self.end_in_time("DESC", i64::MIN, before)?,
            None => None,
        };
        let from = self.end_in_time("ASC", since, i64::MAX)?;
        let lowest = before.map_or(0, |before| before + 1);
        Ok(Bracket { lowest, highest: from.map_or(lowest, |from| from.max(lowest)) })
    }

    /// The first block held that is after a time.
    fn first_after(&self, until: i64) -> Result<Option<u64>> {
        match until.checked_add(1) {
            Some(after) => self.end_in_time("ASC", after, i64::MAX),
            None => Ok(None),
        }
    }

    /// The time of a block that was taken on trust is a claim, and must not move the ends of a range away from blocks that it is about. It
    /// counts only where no block is proven, and no answer is complete.
    fn end_in_time(&self, order: &str, since: i64, until: i64) -> Result<Option<u64>> {
        let any_proven = self.conn.prepare_cached("SELECT 1 FROM coverage WHERE proof = 1 LIMIT 1")?.exists([])?;
        let found = self
            .conn
            .prepare_cached(&end_in_time(order))?
            .query_row((since, until, any_proven), |row| row.get(0).map(chain_int))
            .optional()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use alloy::eips::BlockNumHash;

    use super::super::BlockRecord;
    use super::super::tests::{open, record};
    use super::*;
    use crate::chain::Proof;

    const START: i64 = 1_700_000_000;

    /// A store that holds these blocks, each a second after the one before it, and has been told of that head.
    fn holding(numbers: &[u64], head: u64) -> (tempfile::TempDir, Store) {
        let (place, mut store) = open();
        let records: Vec<_> = numbers.iter().map(|number| record(&store, *number, true)).collect();
        store.append_all(&records).unwrap();
        store.note_head(head).unwrap();
        (place, store)
    }

    fn is_complete(store: &Store, named: NamedRange) -> bool {
        let range = store.blocks_of(&named, START + 20).unwrap();
        range.is_some_and(|range| store.range_coverage(range).unwrap().is_complete())
    }

    fn at(number: i64) -> Option<i64> {
        Some(START + number)
    }

    #[test]
    fn a_range_of_times_and_blocks_is_not_clipped_to_what_is_held() {
        let held: Vec<u64> = (5..=20).collect();
        let (_place, store) = holding(&held, 20);
        let all = NamedRange::default();
        // The beginning in time and the end as a block, and the other way round.
        for to_block in [21, 25, 1_000_000, i64::MAX as u64 - 1] {
            assert!(!is_complete(&store, NamedRange { since: at(10), to_block: Some(to_block), ..all }), "{to_block}");
        }
        for from_block in [0, 3, 4] {
            assert!(
                !is_complete(&store, NamedRange { from_block: Some(from_block), until: at(15), ..all }),
                "{from_block}"
            );
        }
        // Times outside of what is held, alone and beside blocks.
        for (since, until) in [(at(2), at(15)), (at(10), at(20)), (at(10), at(30)), (None, at(15)), (at(5), at(15))] {
            assert!(!is_complete(&store, NamedRange { since, until, ..all }), "{since:?} {until:?}");
        }
        assert!(!is_complete(&store, NamedRange { since: at(2), to_block: Some(15), ..all }));
        assert!(!is_complete(&store, NamedRange { from_block: Some(2), since: at(2), to_block: Some(15), ..all }));
        assert!(!is_complete(&store, NamedRange { from_block: Some(10), until: at(25), to_block: Some(25), ..all }));
        assert!(!is_complete(&store, NamedRange { since: at(25), ..all }), "later than all that is held");
        assert!(!is_complete(&store, NamedRange { until: at(3), ..all }), "before all that is held");
        // What is held on both sides of a time says which block is its end.
        for named in [
            NamedRange { since: at(6), to_block: Some(20), ..all },
            NamedRange { from_block: Some(5), until: at(19), ..all },
            NamedRange { since: at(6), until: at(19), ..all },
            NamedRange { since: at(6), ..all },
            NamedRange { from_block: Some(7), since: at(2), to_block: Some(20), ..all },
            NamedRange { from_block: Some(7), to_block: Some(12), until: at(99), ..all },
            NamedRange { from_block: Some(5), ..all },
        ] {
            assert!(is_complete(&store, named), "{named:?}");
        }
    }

    #[test]
    fn the_time_that_a_block_on_trust_claims_moves_no_end_of_a_range() {
        // Blocks 20 to 30 are missing; the one above them says whatever it likes.
        for claimed in [at(12), at(0), Some(0), at(9), at(1_000)] {
            let (_place, mut store) = holding(&(0..20).chain(32..=40).collect::<Vec<_>>(), 40);
            let timestamp = claimed.unwrap() as u64;
            store.append(&BlockRecord { proof: Proof::Unproven, timestamp, ..record(&store, 31, true) }).unwrap();
            let all = NamedRange::default();
            for named in [
                NamedRange { since: at(10), to_block: Some(40), ..all },
                NamedRange { since: at(13), until: at(39), ..all },
                NamedRange { from_block: Some(5), until: at(35), ..all },
                NamedRange { since: at(10), ..all },
            ] {
                assert!(!is_complete(&store, named), "{claimed:?} {named:?}");
            }
            for named in
                [NamedRange { since: at(2), until: at(15), ..all }, NamedRange { since: at(34), until: at(38), ..all }]
            {
                assert!(is_complete(&store, named), "{claimed:?} {named:?}");
            }
        }
        // Where nothing is proven, times of claims are all there is.
        let (_place, mut store) = open();
        let on_trust = |number| BlockRecord { proof: Proof::Unproven, ..record(&store, number, true) };
        let records: Vec<_> = (0..9).map(on_trust).collect();
        store.append_all(&records).unwrap();
        let range =
            store.blocks_of(&NamedRange { since: at(3), until: at(6), ..NamedRange::default() }, START).unwrap();
        assert_eq!(range.map(|range| (range.first, range.last)), Some((3, 6)));
    }

    #[test]
    fn an_open_end_is_the_highest_head_that_an_endpoint_has_reported() {
        let held: Vec<u64> = (0..=20).collect();
        for head in [21, 30, 1_000_000] {
            let (_place, store) = holding(&held, head);
            for (from_block, since) in [(Some(3), None), (None, at(3)), (Some(3), at(1)), (None, at(20))] {
                let named = NamedRange { from_block, since, ..NamedRange::default() };
                assert_eq!(store.blocks_of(&named, START + 20).unwrap().unwrap().last, head, "{named:?}");
                assert!(!is_complete(&store, named), "{head} {named:?}");
            }
            let closed = NamedRange { from_block: Some(3), to_block: Some(20), ..NamedRange::default() };
            assert!(is_complete(&store, closed));
        }
    }

    #[test]
    fn a_head_that_is_reported_and_not_followed_is_the_open_end_until_it_is_disproved_or_reverted() {
        let held: Vec<u64> = (0..=20).collect();
        let open = NamedRange { from_block: Some(3), ..NamedRange::default() };
        let closed = NamedRange { from_block: Some(3), to_block: Some(20), ..NamedRange::default() };
        for number in [21, 52, 1_000_000, i64::MAX as u64 - 1] {
            let (_place, mut store) = holding(&held, 20);
            let head = BlockNumHash { number, hash: alloy::primitives::B256::repeat_byte(7) };
            store.note_reported_head(Some(head)).unwrap();
            assert_eq!((store.reported_head().unwrap(), store.head().unwrap()), (Some(head), Some(20)));
            assert_eq!(store.blocks_of(&open, START + 20).unwrap().unwrap().last, number);
            assert!(!is_complete(&store, open) && is_complete(&store, closed), "{number}");
            store.note_reported_head(None).unwrap();
            assert!(is_complete(&store, open), "{number}: disproved");
            store.note_reported_head(Some(head)).unwrap();
            store.revert_above(19, "a false head", &[], 7).unwrap();
            assert_eq!(store.reported_head().unwrap(), None);
        }
        let (_place, mut store) = holding(&held, 20);
        for (now, seen) in [(100, 100), (105, 100), (111, 111), (90, 90)] {
            store.note_head_seen(now).unwrap();
            assert_eq!(store.head_seen().unwrap(), Some(seen));
        }
    }

    #[test]
    fn a_time_that_falls_into_a_hole_takes_the_whole_hole_into_the_range() {
        let held: Vec<u64> = (0..=6).chain(12..=20).collect();
        let (_place, store) = holding(&held, 20);
        let blocks = |since, until| {
            let range = store.blocks_of(&NamedRange { since, until, ..NamedRange::default() }, START + 20).unwrap();
            range.map(|range| (range.first, range.last, range.ends_known))
        };
        assert_eq!(blocks(at(9), at(15)), Some((7, 15, true)));
        assert_eq!(blocks(at(2), at(9)), Some((2, 11, true)));
        assert_eq!(blocks(at(8), at(9)), Some((7, 11, true)));
        assert_eq!(blocks(at(12), at(15)), Some((7, 15, true)), "an unknown block may have that time too");
        for (since, until) in [(at(9), at(15)), (at(2), at(9)), (at(8), at(9)), (at(12), at(15))] {
            assert!(!is_complete(&store, NamedRange { since, until, ..NamedRange::default() }));
        }
    }
}
