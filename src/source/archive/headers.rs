//! What the headers of an era file say together: that each links to the one before, and the accumulator over all of them.

use alloy::consensus::Header;
use alloy::primitives::{B256, U256, keccak256};
use sha2::{Digest, Sha256};

/// Blocks of a file: as many headers as an accumulator has room for, two to this power.
const DEPTH: u32 = 13;
pub(super) const MOST_BLOCKS: usize = 1 << DEPTH;

/// What the headers of a file say together.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// Number of the first.
    pub(super) first: Option<u64>,
    last: Option<(u64, B256)>,
    total: Option<U256>,
    /// The root of each header's record, and whether it was worked for.
    pub(super) records: Vec<([u8; 32], bool)>,
    /// The time of each block, in unix seconds.
    pub(super) times: Vec<u64>,
}

impl Headers {
    /// Adds the next header, with the total difficulty up to it.
    pub(super) fn add(&mut self, rlp: &[u8], total: Option<U256>) -> Result<(), String> {
        let header: Header = alloy::rlp::decode_exact(rlp)
            .map_err(|error| format!("header {} cannot be read: {error}", self.records.len()))?;
        let hash = keccak256(rlp);
        let number = header.number;
        if let Some((before, parent)) = self.last
            && (Some(number) != before.checked_add(1) || header.parent_hash != parent)
        {
            return Err(format!("block {number} does not link to the block before it, {before}"));
        }
        if let (Some(before), Some(total)) = (self.total, total)
            && before.checked_add(header.difficulty) != Some(total)
        {
            return Err(format!("the total difficulty of block {number} is not that of the block before plus its own"));
        }
        (self.last, self.total) = (Some((number, hash)), total);
        self.first.get_or_insert(number);
        self.times.push(header.timestamp);
        let total = B256::from(total.unwrap_or_default().to_le_bytes::<32>());
        self.records.push((pair(&hash.0, &total.0), !header.difficulty.is_zero()));
        Ok(())
    }
}

fn pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// `hash_tree_root` of [SSZ](https://github.com/ethereum/consensus-specs/blob/dev/ssz/simple-serialize.md) of a list of at most
/// 8,192 records, whose own roots these are.
pub(super) fn accumulator_root(mut layer: Vec<[u8; 32]>) -> [u8; 32] {
    let mut length = [0; 32];
    length[..8].copy_from_slice(&(layer.len() as u64).to_le_bytes());
    let mut zero = [0; 32];
    for _ in 0..DEPTH {
        layer = layer.chunks(2).map(|two| pair(&two[0], two.get(1).unwrap_or(&zero))).collect();
        zero = pair(&zero, &zero);
    }
    pair(layer.first().unwrap_or(&zero), &length)
}
