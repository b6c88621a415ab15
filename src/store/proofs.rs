//! What proves alerts for ever, kept for each block that has some: one compressed proof a block, which grows where a longer list
//! brings more alerts.

use alloy::primitives::B256;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Result, Store, StoreError, bytes, chain_int};
use crate::chain::proof::BlockProof;

/// Costs about 0.2 ms for a block with many alerts, level 6 three times that: it gains 1 % on hashes.
const LEVEL: i32 = 2;
/// No block's proof is larger: it holds at most a block.
const LARGEST: usize = 1 << 28;

/// A block with its proof.
#[derive(Debug, Clone)]
pub struct ProvenRow {
    /// Row id of the block.
    pub block_id: i64,
    /// Number of the block.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Time that the block is said to be of, unix seconds.
    pub timestamp: i64,
    /// Hash that its parent is said to have.
    pub parent_hash: B256,
    /// Number of alerts that it has.
    pub alerts: u64,
    /// Whether it was proven when it was taken.
    pub proven: bool,
    /// The proof, where there is one.
    pub proof: Option<std::result::Result<BlockProof, String>>,
}

/// A block's proof as it is stored. Made where the block is judged, on whichever core, so that a commit need not.
#[derive(Debug, Clone)]
pub struct PackedProof(std::result::Result<Vec<u8>, String>);

impl PackedProof {
    /// Should it fail, storing it does.
    #[must_use]
    pub fn new(proof: &BlockProof) -> Self {
        Self(zstd::bulk::compress(&proof.encode(), LEVEL).map_err(|error| error.to_string()))
    }

    fn bytes(&self) -> Result<&[u8]> {
        self.0.as_deref().map_err(|error| StoreError::Proof(error.clone()))
    }
}

/// Keeps a proof, joined with the one that is there.
pub(super) fn put_proof(conn: &Connection, block_id: i64, proof: &PackedProof) -> Result<()> {
    let held: Option<Vec<u8>> = conn
        .prepare_cached("SELECT proof FROM proofs WHERE block_id = ?1")?
        .query_row([block_id], |row| row.get(0))
        .optional()?;
    // A damaged proof gives way to a good one.
    let held = held.and_then(|held| unpack(&held).ok());
    let joined = match held {
        None => None,
        Some(held) => held.join(&unpack(proof.bytes()?).map_err(StoreError::Proof)?).ok(),
    };
    let joined = joined.as_ref().map(PackedProof::new);
    conn.prepare_cached(
        "INSERT INTO proofs (block_id, proof) VALUES (?1, ?2) ON CONFLICT (block_id) DO UPDATE SET proof = excluded.proof",
    )?
    .execute(params![block_id, joined.as_ref().unwrap_or(proof).bytes()?])?;
    Ok(())
}

fn unpack(packed: &[u8]) -> std::result::Result<BlockProof, String> {
    let bytes = zstd::bulk::decompress(packed, LARGEST.min(packed.len().saturating_mul(1000).max(1 << 16)))
        .map_err(|error| format!("cannot be unpacked: {error}"))?;
    BlockProof::decode(&bytes).map_err(|error| error.to_string())
}

impl Store {
    /// The proof of a block; none where there is none.
    ///
    /// # Errors
    /// Of SQLite; [`StoreError::Proof`] where it is damaged.
    pub fn proof(&self, block: B256) -> Result<Option<BlockProof>> {
        let packed: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT p.proof FROM proofs p JOIN blocks b ON b.id = p.block_id WHERE b.hash = ?1")?
            .query_row([block.as_slice()], |row| row.get(0))
            .optional()?;
        packed.map(|packed| unpack(&packed).map_err(StoreError::Proof)).transpose()
    }

    /// Every block that has alerts or a proof, orphaned ones too, in the order of numbers.
    ///
    /// # Errors
    /// Of SQLite, or what `each` returns.
    pub fn each_proof<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(ProvenRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let failed = |error: rusqlite::Error| E::from(self.explain(error.into()));
        let mut statement = self
            .conn
            .prepare(
                "SELECT b.id, b.number, b.hash, b.timestamp, b.parent_hash, \
                        (SELECT count(*) FROM alerts a WHERE a.block_number = b.number AND a.block_id = b.id) AS alerts, \
                        b.proof, p.proof \
                 FROM blocks b LEFT JOIN proofs p ON p.block_id = b.id \
                 WHERE p.block_id IS NOT NULL OR EXISTS ( \
                   SELECT 1 FROM alerts a WHERE a.block_number = b.number AND a.block_id = b.id) \
                 ORDER BY b.number, b.id",
            )
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let read = || -> rusqlite::Result<ProvenRow> {
                Ok(ProvenRow {
                    block_id: row.get(0)?,
                    number: chain_int(row.get(1)?),
                    hash: bytes(row, 2)?.into(),
                    timestamp: row.get(3)?,
                    parent_hash: bytes(row, 4)?.into(),
                    alerts: chain_int(row.get(5)?),
                    proven: row.get::<_, i64>(6)? == 1,
                    proof: row.get::<_, Option<Vec<u8>>>(7)?.map(|packed| unpack(&packed)),
                })
            };
            each(read().map_err(failed)?)?;
        }
        Ok(())
    }

    /// Index in the block of the first log, of each transaction of the block that has alerts.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn first_log_indices(&self, block_id: i64) -> Result<std::collections::BTreeMap<u64, u64>> {
        let mut statement =
            self.conn.prepare_cached("SELECT tx_index, first_log_index FROM transactions WHERE block_id = ?1")?;
        let rows = statement.query_map([block_id], |row| Ok((chain_int(row.get(0)?), chain_int(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Bytes that all proofs take.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn proof_bytes(&self) -> Result<u64> {
        Ok(self
            .conn
            .query_row("SELECT coalesce(sum(length(proof)), 0) FROM proofs", [], |row| row.get(0).map(chain_int))?)
    }
}
