//! What the chain is anchored to: checkpoints that the user vouches for, and the links between the blocks that are held.

use alloy::eips::BlockNumHash;
use alloy::primitives::B256;
use rusqlite::params;

use super::{Result, Store, StoreError, bytes, chain_int, sql_int};

impl Store {
    /// Keeps checkpoints. A held block that is another one is a contradiction, as is another checkpoint of that number.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`].
    pub fn put_checkpoints(&mut self, checkpoints: &[BlockNumHash]) -> Result<()> {
        if checkpoints.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            for BlockNumHash { number, hash } in checkpoints {
                tx.prepare_cached("INSERT INTO checkpoints (number, hash) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                    .execute(params![sql_int(*number), hash.as_slice()])?;
                let held: B256 = tx
                    .prepare_cached("SELECT hash FROM checkpoints WHERE number = ?1")?
                    .query_row([sql_int(*number)], |row| bytes::<32>(row, 0).map(B256::from))?;
                if held != *hash {
                    return Err(StoreError::Contradiction {
                        number: *number,
                        found: *hash,
                        held: format!("a checkpoint given before says {held}"),
                    });
                }
            }
            Ok(())
        })?;
        match self.broken_checkpoints()?.first() {
            None => Ok(()),
            Some((number, hash, held)) => Err(StoreError::Contradiction {
                number: *number,
                found: *hash,
                held: format!("the block that is held is {held}"),
            }),
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
