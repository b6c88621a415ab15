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

    /// The lowest checkpoint, at or above a block, to which the block is linked without a hole: then it is as true as that.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn anchor_of(&self, number: u64) -> Result<Option<BlockNumHash>> {
        for checkpoint in self.checkpoints()?.into_iter().filter(|checkpoint| checkpoint.number >= number) {
            let linked = self.hash_of(checkpoint.number)? == Some(checkpoint.hash);
            if linked && self.holes(number, checkpoint.number)?.is_empty() {
                return Ok(Some(checkpoint));
            }
        }
        Ok(None)
    }
}
