//! Raising statuses: pending, safe, final. Finality is known of a block, by its number and hash: only that block and what is linked
//! below it is raised. Whatever else is held may be of another fork.

use alloy::eips::BlockNumHash;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Result, Store, chain_int, meta, set_meta, sql_int};
use crate::screen::AlertStatus;

/// The blocks that are known to be safe and final: what is linked below each has that status too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// The highest safe block.
    pub safe: Option<BlockNumHash>,
    /// The highest final block.
    pub finalized: Option<BlockNumHash>,
}

/// How often, in seconds, it is noted that heads are still heard of.
const HEAD_SEEN_EVERY: i64 = 10;

impl Store {
    /// Raises statuses to what is known of finality: of the very blocks that are named, where these are held, and of the blocks
    /// linked below them without a hole. A run of blocks that follows a gap which `watch` has jumped over is not raised: nothing
    /// links it to what was held before, so that one endpoint's word would make it final. Writes only where something changes.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn settle(&mut self, settled: Settled, rule: &str) -> Result<()> {
        let known_rule = meta(&self.conn, "finality_rule")?.as_deref() == Some(rule);
        let named = [(settled.safe, AlertStatus::Safe), (settled.finalized, AlertStatus::Finalized)];
        let mut raises = Vec::new();
        for (block, status) in named.into_iter().filter_map(|(block, status)| Some((block?, status))) {
            if let Some(first) = self.first_to_raise(block, status)? {
                raises.push((first, block.number, status));
            }
        }
        if known_rule && raises.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            set_meta(tx, "finality_rule", rule)?;
            for (first, last, status) in &raises {
                tx.prepare_cached(
                    "UPDATE blocks SET status = ?3 WHERE number BETWEEN ?1 AND ?2 AND status < 2 AND status < ?3",
                )?
                .execute(params![sql_int(*first), sql_int(*last), status.code()])?;
            }
            let known: Option<u64> = meta(tx, "finalized")?.and_then(|text| text.parse().ok());
            match raises.iter().find(|(.., status)| *status == AlertStatus::Finalized) {
                Some((_, last, _)) if known.is_none_or(|known| *last > known) => {
                    set_meta(tx, "finalized", &last.to_string())
                }
                _ => Ok(()),
            }
        })
    }

    /// The lowest block to give that status, of those that are linked up to `block`. `None` where that very block is not held, where
    /// its run stands on a gap that was jumped over, or where all of it has that status.
    fn first_to_raise(&self, block: BlockNumHash, status: AlertStatus) -> Result<Option<u64>> {
        if self.hash_of(block.number)? != Some(block.hash) {
            return Ok(None);
        }
        let Some(first) = self.first_unsettled(block.number)? else { return Ok(None) };
        if let Some(before) = first.checked_sub(1)
            && self.hash_of(before)?.is_none()
            && self.is_owed(before)?
        {
            return Ok(None);
        }
        let due = self
            .conn
            .prepare_cached(
                "SELECT 1 FROM blocks WHERE number BETWEEN ?1 AND ?2 AND status < 2 AND status < ?3 LIMIT 1",
            )?
            .exists(params![sql_int(first), sql_int(block.number), status.code()])?;
        Ok(due.then_some(first))
    }

    /// The block of that number of the chain that ends with a held block, where every block between them is held.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn ancestor(&self, of: BlockNumHash, number: u64) -> Result<Option<BlockNumHash>> {
        if number > of.number || self.hash_of(of.number)? != Some(of.hash) || !self.all_held(number, of.number)? {
            return Ok(None);
        }
        Ok(self.hash_of(number)?.map(|hash| BlockNumHash { number, hash }))
    }

    /// The lowest block that is not final of the run that ends, without a hole, at `confirmed`; none where all of it is final.
    fn first_unsettled(&self, confirmed: u64) -> Result<Option<u64>> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT number FROM blocks WHERE number <= ?1 AND status < 2 ORDER BY number DESC")?;
        let mut rows = statement.query([sql_int(confirmed)])?;
        let mut first = None;
        while let Some(row) = rows.next()? {
            let number = chain_int(row.get(0)?);
            // The blocks of the run that lie between this one and the last are either final or missing.
            let linked = match first {
                None => number == confirmed || self.all_held(number, confirmed)?,
                Some(above) => number + 1 == above || self.all_held(number, above)?,
            };
            if !linked {
                break;
            }
            first = Some(number);
        }
        Ok(first)
    }

    /// Whether every block between the two is held.
    fn all_held(&self, below: u64, above: u64) -> Result<bool> {
        let held = self
            .conn
            .prepare_cached("SELECT count(*) FROM blocks WHERE number > ?1 AND number < ?2 AND status <> 3")?
            .query_row([sql_int(below), sql_int(above)], |row| row.get(0).map(chain_int))?;
        Ok(above.saturating_sub(below).saturating_sub(1) == held)
    }

    /// Highest block that is final.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn finalized(&self) -> Result<Option<u64>> {
        Ok(meta(&self.conn, "finalized")?.and_then(|text| text.parse().ok()))
    }

    /// The highest final block.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn finalized_block(&self) -> Result<Option<BlockNumHash>> {
        let Some(number) = self.finalized()? else { return Ok(None) };
        Ok(self.final_hash(number)?.map(|hash| BlockNumHash { number, hash }))
    }

    /// Notes a head that an endpoint told of, whether or not it can be followed: the highest of them is kept, as the open end of
    /// ranges, and the lag is measured by it. After a revert the first one counts, be it lower.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_head(&mut self, head: u64) -> Result<()> {
        if self.reverted_end()?.is_none() && self.head()?.is_some_and(|known| known >= head) {
            return Ok(());
        }
        self.write(|tx| {
            tx.execute("DELETE FROM meta WHERE key = 'head_reverted'", [])?;
            set_meta(tx, "head", &head.to_string())
        })
    }

    /// Notes the highest head that an endpoint reports and that is neither followed nor disproved yet; `None` where there is none. Unlike
    /// [`note_head`](Self::note_head) it takes the place of what was noted before.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_reported_head(&mut self, head: Option<BlockNumHash>) -> Result<()> {
        if self.reported_head()? == head {
            return Ok(());
        }
        self.write(|tx| match head {
            Some(head) => set_meta(tx, "head_reported", &format!("{} {}", head.number, head.hash)),
            None => {
                tx.execute("DELETE FROM meta WHERE key = 'head_reported'", [])?;
                Ok(())
            }
        })
    }

    /// The highest head that an endpoint reported and that is neither followed nor disproved: the end of ranges with an open end.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn reported_head(&self) -> Result<Option<BlockNumHash>> {
        let text = meta(&self.conn, "head_reported")?;
        let parsed = text
            .as_deref()
            .and_then(|text| text.split_once(' '))
            .map(|(number, hash)| Some(BlockNumHash { number: number.parse().ok()?, hash: hash.parse().ok()? }));
        Ok(parsed.flatten())
    }

    /// An endpoint has just told of its head.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn note_head_seen(&mut self, now: i64) -> Result<()> {
        if self.head_seen()?.is_some_and(|seen| (seen..seen + HEAD_SEEN_EVERY).contains(&now)) {
            return Ok(());
        }
        self.write(|tx| set_meta(tx, "head_seen", &now.to_string()))
    }

    /// When an endpoint last told of its head, unix seconds, to within a few seconds; `None` where none ever did.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn head_seen(&self) -> Result<Option<i64>> {
        Ok(meta(&self.conn, "head_seen")?.and_then(|text| text.parse().ok()))
    }

    /// The end of what a revert dropped, while no endpoint has reported a head since: blocks are missing up to it.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn reverted_end(&self) -> Result<Option<u64>> {
        if meta(&self.conn, "head_reverted")?.is_some() { self.head() } else { Ok(None) }
    }

    /// The blocks from the lowest to the highest that reverts dropped, while no endpoint has reported a head since: those of them that are
    /// not held are missing, whatever is left.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn reverted(&self) -> Result<Option<(u64, u64)>> {
        let first = meta(&self.conn, "head_reverted")?.and_then(|text| text.parse().ok());
        Ok(first.zip(self.reverted_end()?))
    }

    /// The rule by which statuses were raised last.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn finality_rule(&self) -> Result<Option<String>> {
        meta(&self.conn, "finality_rule")
    }
}

/// Notes the highest final block anew, after blocks were dropped.
pub(super) fn find_finalized(conn: &Connection) -> Result<()> {
    let highest: Option<i64> = conn
        .prepare_cached("SELECT number FROM blocks WHERE status = 2 ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match highest {
        Some(number) => set_meta(conn, "finalized", &number.to_string()),
        None => {
            conn.execute("DELETE FROM meta WHERE key = 'finalized'", [])?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append_at_head, hash, open, record};
    use super::super::{BlockRecord, Progress};
    use super::*;
    use alloy::primitives::B256;

    fn block(number: u64) -> BlockNumHash {
        BlockNumHash { number, hash: hash(number) }
    }

    fn final_blocks(store: &Store) -> Vec<u64> {
        (0..=250).filter(|number| store.final_hash(*number).unwrap().is_some()).collect()
    }

    fn finalize(store: &mut Store, block: BlockNumHash) {
        store.settle(Settled { safe: None, finalized: Some(block) }, "tags").unwrap();
    }

    #[test]
    fn only_the_very_block_that_is_named_final_and_what_is_linked_below_it_becomes_final() {
        let (_place, mut store) = open();
        append_at_head(&mut store, 5..=20);
        for foreign in [
            BlockNumHash { number: 12, hash: B256::repeat_byte(9) },
            BlockNumHash { number: 20, hash: hash(19) },
            block(21),
            block(200),
            block(4),
        ] {
            finalize(&mut store, foreign);
            assert_eq!(final_blocks(&store), [0u64; 0], "{foreign:?} is not held");
        }
        finalize(&mut store, block(12));
        assert_eq!(final_blocks(&store), (5..=12).collect::<Vec<_>>());
        assert_eq!(store.finalized_block().unwrap(), Some(block(12)));
        finalize(&mut store, BlockNumHash { number: 15, hash: hash(14) });
        assert_eq!(store.finalized_block().unwrap(), Some(block(12)), "another block of that number says nothing");
    }

    #[test]
    fn a_run_that_was_jumped_to_is_not_final_before_it_is_linked() {
        for (head, named) in [(150, 150), (60, 61), (53, 53)] {
            let (_place, mut store) = open();
            append_at_head(&mut store, 0..=10);
            store.jump(11, head).unwrap();
            append_at_head(&mut store, head..=head + 2);
            finalize(&mut store, block(named));
            store.settle(Settled { safe: Some(block(head + 2)), finalized: None }, "tags").unwrap();
            assert_eq!(final_blocks(&store), [0u64; 0], "{head}");
            assert_eq!(store.highest_safe().unwrap(), None, "{head}: nor safe");
            // What is below the gap is what it always was.
            finalize(&mut store, block(9));
            assert_eq!(final_blocks(&store), (0..=9).collect::<Vec<_>>());
            let owed: Vec<_> = (11..head)
                .map(|number| BlockRecord { progress: Progress::Owed, ..record(&store, number, true) })
                .collect();
            store.append_all(&owed).unwrap();
            finalize(&mut store, block(named));
            assert_eq!(final_blocks(&store), (0..=named).collect::<Vec<_>>(), "linked by now");
        }
    }

    #[test]
    fn the_known_head_is_the_highest_that_was_told_until_a_jump_is_taken_back() {
        let (_place, mut store) = open();
        for (head, known) in [(20, 20), (18, 20), (25, 25), (3, 25)] {
            store.note_head(head).unwrap();
            assert_eq!(store.head().unwrap(), Some(known));
        }
        store.jump(11, 150).unwrap();
        store.note_head(150).unwrap();
        store.start_over().unwrap();
        store.note_head(26).unwrap();
        assert_eq!(store.head().unwrap(), Some(26));
    }
}
