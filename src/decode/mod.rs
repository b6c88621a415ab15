//! What happened in a block: every movement of value, as one flat list of [`Activity`]. Pure and total: no block makes it fail
//! or panic. What looks like a known event but cannot be decoded is counted by reason, never dropped in silence.
//!
//! Each plane has a file of its own, which only adds activities: a new kind is a new file (or a new arm in its plane's file)
//! and a new [`ActivityKind`].

pub mod activity;
mod erc1155;
mod erc20;
mod erc6909;
mod events;
mod logs;
mod native_logs;
mod punks;
mod repeats;
mod tests;
mod traces;
mod trail;
mod transactions;
mod undecoded;
mod withdrawals;

use std::collections::BTreeMap;

use alloy::primitives::{Address, Keccak256, U256};

pub use activity::{Activity, ActivityKind, Asset, AssetStandard, CallFrame, CallType, Location, Plane, Position};
pub use events::{TRANSFER, TRANSFER_BATCH, TRANSFER_SINGLE, UNWRAP, WRAP};
pub use trail::{INDEXED, Trail};
pub use undecoded::{MAX_NAMED, Named, Undecoded};
pub use withdrawals::WithdrawalToken;

use crate::chain::VerifiedBlock;

/// What a chain has that the bytes of a block do not say.
#[derive(Debug, Clone, Default)]
pub struct DecodeOptions {
    /// The chain's wrapped-native contracts (WETH9 and its likes); no other contract's Deposit is a wrap.
    pub wrapped_native: Vec<Address>,
    /// What withdrawals are paid in, where that is not the chain's own currency.
    pub withdrawal_token: Option<WithdrawalToken>,
}

/// Raised whenever the same block yields more, or other, activities than before: a replay then takes blocks again.
const DECODER_VERSION: u64 = 3;
/// Bits of a fingerprint that tell options apart.
const OPTIONS_BITS: u32 = 48;

impl DecodeOptions {
    /// Those of a chain, with its wrapped-native contracts.
    pub fn of_chain(chain_id: u64, wrapped_native: Vec<Address>) -> Self {
        Self { wrapped_native, withdrawal_token: WithdrawalToken::of_chain(chain_id) }
    }

    /// The decoder's version.
    pub fn version() -> u64 {
        DECODER_VERSION
    }

    /// A number that differs where another version or other options would find other things: the version in the upper 15 bits (the sign
    /// is never set), then 48 bits of a hash of both.
    pub fn fingerprint(&self) -> i64 {
        let mut wrapped = self.wrapped_native.clone();
        wrapped.sort();
        wrapped.dedup();
        let mut hasher = Keccak256::new();
        hasher.update(DECODER_VERSION.to_be_bytes());
        wrapped.iter().for_each(|address| hasher.update(address));
        if let Some(token) = self.withdrawal_token {
            hasher.update(token.contract.into_word());
            hasher.update(token.divisor.to_be_bytes());
        }
        let hash = hasher.finalize();
        let options = hash[..6].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        i64::try_from(DECODER_VERSION << OPTIONS_BITS | options).unwrap_or(i64::MAX)
    }

    /// The version of the decoder with that fingerprint.
    pub fn version_of(fingerprint: i64) -> u64 {
        fingerprint.unsigned_abs() >> OPTIONS_BITS
    }
}

/// What a block held.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// In the order of their [`Location`].
    pub activities: Vec<Activity>,
    /// Logs and frames that look like a movement of value and are not decoded, by reason.
    pub undecoded: BTreeMap<Undecoded, u64>,
    /// The addresses that these may be about.
    pub named: Named,
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
    withdrawals::decode(block, options, &mut out);
    // They mostly are in order by now, and then it costs a look at each.
    out.activities.sort_by(|a, b| a.location.cmp(&b.location));
    out
}
