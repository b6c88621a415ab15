//! What happened in a block: every movement of value, as one flat list of [`Activity`]. Pure and total: no block makes it fail
//! or panic. What looks like a known event but cannot be decoded is counted by reason, never dropped in silence.
//!
//! Each plane has a file of its own, which only adds activities: a new kind is a new file (or a new arm in its plane's file)
//! and a new [`ActivityKind`].

pub mod activity;
mod erc1155;
mod logs;
mod native_logs;
mod traces;
mod trail;
mod transactions;
mod withdrawals;

use std::collections::BTreeMap;

use alloy::primitives::{Address, Keccak256, U256};

pub use activity::{Activity, ActivityKind, Asset, CallFrame, CallType, Location, Plane, Position};
pub use logs::{TRANSFER, TRANSFER_BATCH, TRANSFER_SINGLE, UNWRAP, Undecoded, WRAP};
pub use trail::{INDEXED, Trail};

use crate::chain::VerifiedBlock;

/// What a chain has that the bytes of a block do not say.
#[derive(Debug, Clone, Default)]
pub struct DecodeOptions {
    /// The chain's wrapped-native contracts (WETH9 and its likes); no other contract's Deposit is a wrap.
    pub wrapped_native: Vec<Address>,
}

/// Raised whenever the same block yields more, or other, activities than before: a replay then takes blocks again.
const DECODER_VERSION: u64 = 2;

impl DecodeOptions {
    /// The decoder's version.
    pub fn version() -> u64 {
        DECODER_VERSION
    }

    /// A number that differs where another version or other options would find other things.
    pub fn fingerprint(&self) -> i64 {
        let mut wrapped = self.wrapped_native.clone();
        wrapped.sort();
        wrapped.dedup();
        let mut hasher = Keccak256::new();
        hasher.update(DECODER_VERSION.to_be_bytes());
        wrapped.iter().for_each(|address| hasher.update(address));
        let hash = hasher.finalize();
        // The upper 63 bits, since SQLite's integers have a sign.
        let upper = hash[..8].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        i64::try_from(upper >> 1).unwrap_or(i64::MAX)
    }
}

/// What a block held.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// In the order of their [`Location`].
    pub activities: Vec<Activity>,
    /// Logs that look like a known event but are not one, and frames of unknown types that show value, by reason.
    pub undecoded: BTreeMap<Undecoded, u64>,
}

impl Decoded {
    /// A place that two activities have: no true block has one, and the store keeps one activity for each.
    pub fn repeated(&self) -> Option<&Location> {
        let pair = self.activities.windows(2).find(|pair| pair[0].location == pair[1].location)?;
        Some(&pair[0].location)
    }
}

/// Decodes all planes of a block.
pub fn decode(block: &VerifiedBlock, options: &DecodeOptions) -> Decoded {
    let logs: usize = block.transactions().iter().map(|tx| tx.logs.len()).sum();
    let mut out = Decoded { activities: Vec::with_capacity(logs + block.transactions().len()), ..Decoded::default() };
    let native_logs = block.logs_native_transfers();
    let mut fees = U256::ZERO;
    for (place, tx) in block.transactions().iter().enumerate() {
        fees += transactions::decode(block, tx, &mut out);
        let frames = block.frames().and_then(|frames| frames.get(place)).map(Vec::as_slice);
        if native_logs {
            native_logs::decode(tx, frames, &mut out);
        }
        logs::decode(tx, options, native_logs, &mut out);
        if let Some(frames) = frames {
            traces::decode(tx, frames, native_logs, &mut out);
        }
    }
    transactions::fees(block, fees, &mut out);
    withdrawals::decode(block, &mut out);
    // They mostly are in order by now, and then it costs a look at each.
    out.activities.sort_by(|a, b| a.location.cmp(&b.location));
    out
}
