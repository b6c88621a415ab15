//! What the chain is anchored to: checkpoints that the user vouches for, and the links between the blocks that are held.

use alloy::eips::BlockNumHash;
use alloy::primitives::B256;
use rusqlite::params;

use super::{Result, Store, StoreError, bytes, chain_int, sql_int};

impl Store {
    /// Holds blocks against these checkpoints from now on, beside those that are kept, without keeping them.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where a held block is another one.
    pub fn vouch(&mut self, checkpoints: &[BlockNumHash]) -> Result<()> {
        for BlockNumHash { number, hash } in checkpoints {
            if let Some(held) = self.hash_of(*number)?.filter(|held| held != hash) {
                let held = format!("the block that is held is {held}");
                return Err(StoreError::Contradiction { number: *number, found: *hash, held });
            }
        }
        self.vouched.extend(checkpoints.iter().map(|checkpoint| (checkpoint.number, checkpoint.hash)));
        Ok(())
    }

    /// Keeps checkpoints. One that is there already for the same number gives way, unless a held block bears it: it was mistaken.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where a held block is another one; nothing is kept then.
    pub fn put_checkpoints(&mut self, checkpoints: &[BlockNumHash]) -> Result<()> {
        if checkpoints.is_empty() {
            return Ok(());
        }
        self.vouch(checkpoints)?;
        self.write(|tx| {
            for BlockNumHash { number, hash } in checkpoints {
                tx.prepare_cached(
                    "INSERT INTO checkpoints (number, hash) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET hash = excluded.hash",
                )?
                .execute(params![sql_int(*number), hash.as_slice()])?;
            }
            Ok(())
        })
    }

    /// Refuses a block that a checkpoint contradicts.
    pub(super) fn check_vouched(&self, number: u64, hash: B256) -> Result<()> {
        match self.vouched.get(&number) {
            Some(vouched) if *vouched != hash => {
                Err(StoreError::Contradiction { number, found: hash, held: format!("the checkpoint says {vouched}") })
            }
            _ => Ok(()),
        }
    }

    /// All checkpoints, lowest first.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn checkpoints(&self) -> Result<Vec<BlockNumHash>> {
        let mut statement = self.conn.prepare_cached("SELECT number, hash FROM checkpoints ORDER BY number")?;
        let rows = statement.query_map([], |row| {
            Ok(BlockNumHash { number: chain_int(row.get(0)?), hash: bytes::<32>(row, 1)?.into() })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Checkpoints that the held blocks contradict: number, the checkpoint's hash, the block's.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn broken_checkpoints(&self) -> Result<Vec<(u64, B256, B256)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT c.number, c.hash, b.hash FROM checkpoints c JOIN blocks b ON b.number = c.number AND b.status <> 3 \
             WHERE b.hash <> c.hash ORDER BY c.number",
        )?;
        let rows = statement.query_map([], |row| {
            Ok((chain_int(row.get(0)?), bytes::<32>(row, 1)?.into(), bytes::<32>(row, 2)?.into()))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Canonical blocks whose parent is not the canonical block before them, though one is held: none, ever.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn broken_links(&self) -> Result<Vec<(u64, B256)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT b.number, b.hash FROM blocks b JOIN blocks p ON p.number = b.number - 1 AND p.status <> 3 \
             WHERE b.status <> 3 AND b.parent_hash <> p.hash ORDER BY b.number",
        )?;
        let rows = statement.query_map([], |row| Ok((chain_int(row.get(0)?), bytes::<32>(row, 1)?.into())))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The lowest checkpoint, at or above a block, that vouches for the block: every block between the two is held, proven, and
    /// linked by its parent's hash. A block that was taken on trust says nothing of its parent, so it ends the chain.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn anchor_of(&self, number: u64) -> Result<Option<BlockNumHash>> {
        for checkpoint in self.checkpoints()?.into_iter().filter(|checkpoint| checkpoint.number >= number) {
            if self.hash_of(checkpoint.number)? == Some(checkpoint.hash)
                && self.is_proven_chain(number, checkpoint.number)?
            {
                return Ok(Some(checkpoint));
            }
        }
        Ok(None)
    }

    /// Whether every block from `first` to `last` is held, proven, and the parent of the next.
    fn is_proven_chain(&self, first: u64, last: u64) -> Result<bool> {
        let coverage = self.block_coverage(first, last)?;
        if coverage.missing() > 0 || coverage.unproven > 0 {
            return Ok(false);
        }
        let broken = self
            .conn
            .prepare_cached(
                "SELECT 1 FROM blocks b JOIN blocks p ON p.number = b.number - 1 AND p.status <> 3 \
                 WHERE b.status <> 3 AND b.number > ?1 AND b.number <= ?2 AND b.parent_hash <> p.hash LIMIT 1",
            )?
            .exists([sql_int(first), sql_int(last)])?;
        Ok(!broken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlockRecord;
    use super::super::tests::{hash, open, record};
    use super::*;
    use crate::chain::Proof;

    #[test]
    fn a_checkpoint_anchors_what_every_block_between_links_to_it_by_proof() {
        let checkpoint = BlockNumHash { number: 20, hash: hash(20) };
        let anchored = |unproven: &[u64], missing: &[u64], from: u64| {
            let (_place, mut store) = open();
            let taken = (0..=20).filter(|number| !missing.contains(number)).map(|number| {
                let proof = if unproven.contains(&number) { Proof::Unproven } else { Proof::Proven };
                BlockRecord { proof, ..record(&store, number, true) }
            });
            let taken: Vec<_> = taken.collect();
            store.append_all(&taken).unwrap();
            store.put_checkpoints(&[checkpoint]).unwrap();
            store.anchor_of(from).unwrap() == Some(checkpoint)
        };
        assert!(anchored(&[], &[], 10) && anchored(&[], &[], 0) && anchored(&[], &[], 20));
        assert!(anchored(&[3], &[5], 10), "what is below says nothing of it");
        for block in [10, 11, 15, 19, 20] {
            assert!(!anchored(&[block], &[], 10), "block {block} was taken on trust");
        }
        for block in [11, 15, 19] {
            assert!(!anchored(&[], &[block], 10), "block {block} is missing");
        }
        assert!(!anchored(&[20], &[], 20), "whoever is trusted names any hash");
    }

    #[test]
    fn a_seam_between_two_forks_is_no_anchor() {
        for at in [11u64, 15, 20] {
            let (_place, mut store) = open();
            let records: Vec<_> = (0..=20).map(|number| record(&store, number, true)).collect();
            store.append_all(&records).unwrap();
            store.put_checkpoints(&[BlockNumHash { number: 20, hash: hash(20) }]).unwrap();
            let other = B256::repeat_byte(7);
            let seam = "UPDATE blocks SET parent_hash = ?1 WHERE number = ?2";
            store.conn.execute(seam, params![other.as_slice(), sql_int(at)]).unwrap();
            assert_eq!(store.anchor_of(10).unwrap(), None, "{at}");
            assert!(store.anchor_of(at).unwrap().is_some());
        }
    }
}
