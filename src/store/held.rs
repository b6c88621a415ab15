//! The chain as it is held: its tips, the window in which a reorg can be followed, and what of a block is there.

use alloy::eips::BlockNumHash;
use alloy::primitives::B256;
use rusqlite::OptionalExtension;

use super::blocks::{canonical_at, parent_at};
use super::coverage::{SENDERS, TRACES, proof_code};
use super::{Result, Store, bytes, chain_int, meta, set_meta, sql_int};
use crate::chain::Proof;
use crate::chain::canonical::{Canonical, Link, WINDOW};
use crate::screen::AlertStatus;

impl Store {
    /// The last canonical blocks that end at `tip`, linked, back to what is final: the window in which a reorg can be followed.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn canonical_window(&self, tip: u64) -> Result<Canonical> {
        // What is final elsewhere (a replayed range far above, say) says nothing of this run.
        let mut finalized = None;
        let mut links: Vec<Link> = Vec::new();
        let mut statement = self.conn.prepare_cached(
            "SELECT number, hash, parent_hash, status FROM blocks WHERE status <> 3 AND number <= ?1 ORDER BY number DESC LIMIT ?2",
        )?;
        let rows = statement.query_map([sql_int(tip), sql_int(4 * WINDOW + 1)], |row| {
            let link = Link {
                number: chain_int(row.get(0)?),
                hash: bytes(row, 1)?.into(),
                parent_hash: bytes(row, 2)?.into(),
            };
            Ok((link, row.get::<_, u8>(3)?))
        })?;
        let mut origin = true;
        for link in rows {
            let (link, status) = link?;
            let expected = links.last().map_or(tip, |newer| newer.number.saturating_sub(1));
            if link.number != expected {
                break;
            }
            if links.len() as u64 == 4 * WINDOW {
                origin = false;
                break;
            }
            if status == AlertStatus::Finalized.code() {
                finalized = finalized.max(Some(link.number));
            }
            links.push(link);
        }
        links.reverse();
        Ok(Canonical::new(links, finalized, origin))
    }

    /// The highest block that an endpoint told of.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn head(&self) -> Result<Option<u64>> {
        Ok(meta(&self.conn, "head")?.and_then(|text| text.parse().ok()))
    }

    /// Time of the highest canonical block, unix seconds.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn tip_timestamp(&self) -> Result<Option<i64>> {
        Ok(self
            .conn
            .prepare_cached("SELECT timestamp FROM blocks WHERE status <> 3 ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?)
    }

    /// Highest canonical block.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn highest(&self) -> Result<Option<u64>> {
        Ok(self
            .conn
            .prepare_cached("SELECT max(number) FROM blocks WHERE status <> 3")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?
            .map(chain_int))
    }

    /// Highest canonical block that is safe or final.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn highest_safe(&self) -> Result<Option<u64>> {
        Ok(self
            .conn
            .prepare_cached("SELECT number FROM blocks WHERE status IN (1, 2) ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| row.get::<_, i64>(0))
            .optional()?
            .map(chain_int))
    }

    /// The last block that `watch` took. None where it holds none.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn watch_tip(&self) -> Result<Option<BlockNumHash>> {
        let Some(number) = self.watch_next()?.and_then(|next| next.checked_sub(1)) else { return Ok(None) };
        Ok(canonical_at(&self.conn, number)?.map(|(_, hash, _)| BlockNumHash { number, hash }))
    }

    /// Hash of the parent of the canonical block of that number.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn parent_of(&self, number: u64) -> Result<Option<B256>> {
        parent_at(&self.conn, number)
    }

    /// Hash of the canonical block of that number.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn hash_of(&self, number: u64) -> Result<Option<B256>> {
        Ok(canonical_at(&self.conn, number)?.map(|(_, hash, _)| hash))
    }

    /// Hash of the block of that number that is final here; none where none is.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn final_hash(&self, number: u64) -> Result<Option<B256>> {
        let held = canonical_at(&self.conn, number)?;
        Ok(held.filter(|(_, _, status)| *status == AlertStatus::Finalized).map(|(_, hash, _)| hash))
    }

    /// The block that `watch` takes next, once it has begun: kept even where it holds none, so that nothing is skipped.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn watch_next(&self) -> Result<Option<u64>> {
        Ok(meta(&self.conn, "watch_next")?.and_then(|text| text.parse().ok()))
    }

    /// Notes where watching begins.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn begin_watching(&mut self, first: u64) -> Result<()> {
        self.write(|tx| set_meta(tx, "watch_next", &first.to_string()))
    }

    /// Whether a block is canonical here, at least so well proven, taken by that decoder, screened against the present lists, and
    /// with traces, with every sender recovered, and with its index for looking back, if that is wanted: then a replay has nothing to
    /// add. On trust no sender is, and no index kept; and to a block that is proven trust has nothing to add, whatever it was screened
    /// against.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn is_complete(
        &self,
        block: BlockNumHash,
        proof: Proof,
        decoder: i64,
        traces: bool,
        senders: bool,
        lookback: bool,
    ) -> Result<bool> {
        if proof == Proof::Unproven
            && self
                .conn
                .prepare_cached("SELECT 1 FROM blocks WHERE hash = ?1 AND status <> 3 AND proof = 1")?
                .exists([block.hash.as_slice()])?
        {
            return Ok(true);
        }
        let revision = self.watch_revision()?;
        let found: Option<(i64, i64, i64, i64)> = self
            .conn
            .prepare_cached(
                // What a bolo of before kept no proof of is taken again.
                "SELECT proof, decoder, watch_revision, planes FROM blocks b WHERE hash = ?1 AND status <> 3 AND NOT ( \
                   proof = 1 AND EXISTS (SELECT 1 FROM alerts a WHERE a.block_number = b.number AND a.block_id = b.id) \
                   AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.block_id = b.id))",
            )?
            .query_row([block.hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let complete = found.is_some_and(|(proven, by, screened, planes)| {
            let has = |wanted: bool, bit: i64| !wanted || planes & bit != 0;
            proven >= proof_code(proof)
                && by == decoder
                && screened == revision
                && has(traces, TRACES)
                && has(senders && proof == Proof::Proven, SENDERS)
        });
        Ok(complete && (!lookback || proof == Proof::Unproven || self.is_indexed(block.hash)?))
    }

    /// The lowest canonical block that cannot stand beside this one: another of its number, or a child of another one.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn conflicting(&self, link: &Link) -> Result<Option<u64>> {
        if canonical_at(&self.conn, link.number)?.is_some_and(|(_, held, _)| held != link.hash) {
            return Ok(Some(link.number));
        }
        let child = parent_at(&self.conn, link.number + 1)?;
        Ok(child.is_some_and(|parent| parent != link.hash).then_some(link.number + 1))
    }
}
