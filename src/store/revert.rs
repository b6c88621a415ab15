//! Dropping blocks that an operator names: `bolo revert`. Unlike a reorg it may take what is final here, since that may be of a chain
//! that was never this one; what a checkpoint vouches for it leaves alone. What was done, and why, is kept.

use alloy::eips::BlockNumHash;
use rusqlite::params;

use super::blocks::orphan_all;
use super::finality::find_finalized;
use super::{Result, Store, StoreError, chain_int, meta, set_meta, sql_int};

/// A revert, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevertRow {
    /// When, unix seconds.
    pub at: i64,
    /// The highest block that was left.
    pub above: u64,
    /// Why, in the operator's words.
    pub reason: String,
    /// Blocks that were dropped.
    pub blocks: u64,
    /// How many of them were final.
    pub final_blocks: u64,
    /// Alerts that became orphaned.
    pub alerts: u64,
    /// The lowest and the highest block that were dropped; `None` where none was.
    pub range: Option<(u64, u64)>,
    /// Blocks above that a filter's word was dropped for (`replay --filtered`): it was given of the chain that was dropped.
    pub filtered: u64,
}

impl Store {
    /// Drops every block above a number, whatever its status: its alerts become orphaned, and its number a hole that `watch` or
    /// `replay` fills. What endpoints' filters said of blocks above is dropped too. `watch` goes on with the block after the highest one that is left of what it took in order.
    ///
    /// # Errors
    /// [`StoreError::Vouched`] where a held block above has the hash of a kept checkpoint or one of `vouched`; nothing is changed then.
    pub fn revert_above(&mut self, above: u64, reason: &str, vouched: &[BlockNumHash], now: i64) -> Result<RevertRow> {
        let kept = self.checkpoints()?;
        for checkpoint in kept.iter().chain(vouched).filter(|checkpoint| checkpoint.number > above) {
            if self.hash_of(checkpoint.number)? == Some(checkpoint.hash) {
                return Err(StoreError::Vouched { above, checkpoint: checkpoint.number });
            }
        }
        self.sync(true)?;
        let path = self.path.clone();
        self.write(|tx| {
            let ends: (Option<i64>, Option<i64>) = tx.query_row(
                "SELECT min(number), max(number) FROM blocks WHERE status <> 3 AND number > ?1",
                [sql_int(above)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let (blocks, final_blocks, alerts) = orphan_all(tx, above)?;
            find_finalized(tx)?;
            if let Some(next) = meta(tx, "watch_next")?.and_then(|text| text.parse().ok()) {
                let next = super::owed::cut(tx, above, next)?;
                set_meta(tx, "watch_next", &next.to_string())?;
            }
            let range = ends.0.zip(ends.1).map(|(first, last)| (chain_int(first), chain_int(last)));
            let filtered = super::filtered::cut(tx, &path, above)?;
            let done =
                RevertRow { at: now, above, reason: reason.to_owned(), blocks, final_blocks, alerts, range, filtered };
            if range.is_none() && filtered == 0 {
                return Ok(done);
            }
            if let Some((first, dropped)) = range {
                // What was dropped is missing up to its end. That end may be of a chain which never was this one: the next head that
                // an endpoint reports takes its place, be it lower.
                let known: Option<u64> = meta(tx, "head")?.and_then(|text| text.parse().ok());
                set_meta(tx, "head", &known.unwrap_or(0).max(dropped).to_string())?;
                let lowest: Option<u64> = meta(tx, "head_reverted")?.and_then(|text| text.parse().ok());
                set_meta(tx, "head_reverted", &lowest.unwrap_or(first).min(first).to_string())?;
                tx.execute("UPDATE endpoints SET head = NULL WHERE head > ?1", [sql_int(above)])?;
                // What endpoints report is heard anew.
                tx.execute("DELETE FROM meta WHERE key = 'head_reported'", [])?;
            }
            tx.prepare_cached(
                "INSERT INTO reverts (at, above, reason, blocks, final_blocks, alerts, first, last, filtered) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                now,
                sql_int(above),
                reason,
                sql_int(blocks),
                sql_int(final_blocks),
                sql_int(alerts),
                range.map(|(first, _)| sql_int(first)),
                range.map(|(_, last)| sql_int(last)),
                sql_int(filtered),
            ])?;
            Ok(done)
        })
    }

    /// All reverts, newest first.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn reverts(&self) -> Result<Vec<RevertRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT at, above, reason, blocks, final_blocks, alerts, first, last, filtered FROM reverts ORDER BY id DESC",
        )?;
        let rows = statement.query_map([], |row| {
            let ends: (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
            Ok(RevertRow {
                at: row.get(0)?,
                above: row.get(1).map(chain_int)?,
                reason: row.get(2)?,
                blocks: row.get(3).map(chain_int)?,
                final_blocks: row.get(4).map(chain_int)?,
                alerts: row.get(5).map(chain_int)?,
                range: ends.0.zip(ends.1).map(|(first, last)| (chain_int(first), chain_int(last))),
                filtered: row.get(8).map(chain_int)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settled;
    use super::super::tests::{append_at_head, hash, open};
    use super::*;

    /// Blocks 0 to 20 of this chain, and the false run that was jumped to from `island` on, all of it final.
    fn with_false_run(island: u64) -> (tempfile::TempDir, Store) {
        let (place, mut store) = open();
        append_at_head(&mut store, 0..=20);
        store.jump(21, island).unwrap();
        append_at_head(&mut store, island..=island + 1);
        store.conn.execute("UPDATE blocks SET status = 2 WHERE number >= ?1", [sql_int(island)]).unwrap();
        store.conn.execute("INSERT INTO meta VALUES ('finalized', ?1)", [(island + 1).to_string()]).unwrap();
        store.note_head(island + 1).unwrap();
        (place, store)
    }

    #[test]
    fn a_false_final_run_is_dropped_and_the_watch_goes_on_after_what_is_left() {
        for (island, above) in [(150, 20), (150, 90), (150, 149), (60, 20), (53, 52)] {
            let (_place, mut store) = with_false_run(island);
            let done = store.revert_above(above, "a false head", &[], 7).unwrap();
            assert_eq!((done.blocks, done.final_blocks, done.alerts), (2, 2, 4), "{island} {above}");
            assert_eq!(done.range, Some((island, island + 1)));
            assert_eq!(store.coverage().unwrap().len(), 1);
            assert_eq!((store.highest().unwrap(), store.finalized().unwrap()), (Some(20), None));
            assert_eq!((store.owed().unwrap(), store.watch_next().unwrap()), (vec![], Some(21)));
            // All that was dropped is missing, until an endpoint reports its head again.
            assert_eq!((store.head().unwrap(), store.reverted_end().unwrap()), (Some(island + 1), Some(island + 1)));
            assert_eq!(store.reverted().unwrap(), Some((island, island + 1)));
            assert_eq!(store.reverts().unwrap(), [done]);
            assert_eq!(store.ledger_differences().unwrap(), []);
            // The true blocks come in its place.
            append_at_head(&mut store, 21..=25);
            store.note_head(25).unwrap();
            assert_eq!((store.head().unwrap(), store.reverted_end().unwrap()), (Some(25), None));
            assert_eq!(store.watch_next().unwrap(), Some(26));
        }
    }

    #[test]
    fn blocks_that_were_taken_in_order_become_what_the_watch_takes_next() {
        for above in [0, 7, 19] {
            let (_place, mut store) = open();
            append_at_head(&mut store, 0..=20);
            let block = BlockNumHash { number: 15, hash: hash(15) };
            store.settle(Settled { safe: None, finalized: Some(block) }, "tags").unwrap();
            let done = store.revert_above(above, "another chain", &[], 7).unwrap();
            assert_eq!((done.blocks, done.final_blocks), (20 - above, 15u64.saturating_sub(above)));
            assert_eq!(store.watch_next().unwrap(), Some(above + 1));
            let left = store.finalized_block().unwrap().map(|block| block.number);
            assert_eq!(left, Some(above.min(15)));
            assert_eq!(store.holes(0, 20).unwrap(), [(above + 1, 20)]);
        }
    }

    #[test]
    fn what_was_dropped_stays_missing_although_a_part_of_it_comes_back() {
        for (above, back) in [(10, 11..=15), (0, 1..=19), (19, 0..=0)] {
            let (_place, mut store) = open();
            append_at_head(&mut store, 0..=20);
            store.revert_above(above, "another chain", &[], 7).unwrap();
            append_at_head(&mut store, back);
            assert_eq!(
                store.head().unwrap(),
                Some(20),
                "above {above}: no endpoint, so the end is that of what was dropped"
            );
            store.note_head(18).unwrap();
            store.note_head(17).unwrap();
            assert_eq!((store.head().unwrap(), store.reverted_end().unwrap()), (Some(18), None));
        }
    }

    #[test]
    fn what_a_filter_said_of_blocks_above_is_dropped_with_them() {
        let span = |from, to| super::super::FilteredSpan {
            from,
            to,
            hosts: vec!["a".to_owned()],
            frames: true,
            native_logs: false,
            watch_revision: 1,
            decoder: 1,
        };
        // Above what is held, across the last block that is kept, below it; and where no block is held at all.
        for (above, left, dropped) in [
            (25, vec![(21, 25)], 15 + 11),
            (40, vec![(21, 40)], 11),
            (55, vec![(21, 40), (50, 55)], 5),
            (12, vec![], 20 + 11),
            (60, vec![(21, 40), (50, 60)], 0),
        ] {
            for held in [0..=20, 0..=0] {
                let (_place, mut store) = open();
                append_at_head(&mut store, held.clone());
                store.put_filtered(&span(21, 40)).unwrap();
                store.put_filtered(&span(50, 60)).unwrap();
                let done = store.revert_above(above, "another chain", &[], 7).unwrap();
                assert_eq!((done.filtered, done.blocks), (dropped, held.end().saturating_sub(above)), "{above}");
                let spans: Vec<_> =
                    store.filtered(0, 1_000).unwrap().iter().map(|(span, _)| (span.from, span.to)).collect();
                assert_eq!(spans, left, "{above}");
                // They are asked for again, and what was done is kept.
                assert_eq!(store.unfiltered(&span(56, 60)).unwrap().is_empty(), above >= 60);
                assert_eq!(store.reverts().unwrap().len(), usize::from(dropped > 0));
            }
        }
    }

    #[test]
    fn a_revert_that_drops_nothing_changes_nothing() {
        let (_place, mut store) = open();
        append_at_head(&mut store, 0..=20);
        for above in [20, 21, 1_000] {
            assert_eq!(store.revert_above(above, "r", &[], 7).unwrap().blocks, 0);
            assert_eq!((store.reverts().unwrap(), store.head().unwrap()), (vec![], None));
        }
    }

    #[test]
    fn nothing_at_or_below_a_vouched_block_is_dropped() {
        let (_place, mut store) = open();
        append_at_head(&mut store, 0..=20);
        let vouched = BlockNumHash { number: 10, hash: hash(10) };
        let of_config = BlockNumHash { number: 14, hash: hash(14) };
        let not_held = BlockNumHash { number: 18, hash: alloy::primitives::B256::repeat_byte(1) };
        store.put_checkpoints(&[vouched]).unwrap();
        for above in [0, 9] {
            let refused = store.revert_above(above, "r", &[], 7);
            assert!(matches!(refused, Err(StoreError::Vouched { checkpoint: 10, .. })), "{refused:?}");
        }
        let refused = store.revert_above(13, "r", &[of_config], 7);
        assert!(matches!(refused, Err(StoreError::Vouched { checkpoint: 14, .. })), "{refused:?}");
        assert_eq!((store.highest().unwrap(), store.reverts().unwrap()), (Some(20), vec![]), "nothing was changed");
        assert_eq!(store.revert_above(14, "r", &[of_config, not_held], 7).unwrap().blocks, 6);
        assert_eq!(store.revert_above(10, "r", &[], 7).unwrap().blocks, 4);
    }
}
