//! Where a movement leaves an address so that an endpoint could find it by a filter. bolo reads blocks whole and needs none of this; it
//! is for `replay --filtered`, which has to say what it cannot see. What is decoded anew must be entered here, or it does not compile.

use alloy::primitives::B256;

use super::activity::ActivityKind;
use super::events::*;

/// By what the addresses of a movement can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trail {
    /// Topics of a log. Tokens older than the standards index nothing: their addresses stand in the data, where no filter looks.
    Topics,
    /// Call frames, the top one included (`trace_filter`).
    Frames,
    /// Nothing that can be asked for.
    None,
}

impl ActivityKind {
    /// By what its addresses can be found.
    pub fn trail(self) -> Trail {
        match self {
            Self::Erc20Transfer
            | Self::Erc721Transfer
            | Self::Erc1155Transfer
            | Self::Erc6909Transfer
            | Self::Wrap
            | Self::Unwrap => Trail::Topics,
            Self::NativeTransfer
            | Self::Transaction
            | Self::ContractCreation
            | Self::InternalTransfer
            | Self::SelfDestruct => Trail::Frames,
            Self::Withdrawal | Self::FeeRecipient => Trail::None,
        }
    }
}

/// The places of topics where an address can stand that a movement is from or to, each with the topics 0 of the events that have it
/// there. Who emits a log is never a side of a movement, and the operator of an ERC-1155 transfer neither; that of an ERC-6909 transfer
/// stands in the data.
pub const INDEXED: [(usize, &[B256]); 3] = [
    (
        1,
        &[
            TRANSFER,
            WRAP,
            UNWRAP,
            TRANSFER_WITH_DATA,
            ERC20_TRANSFER,
            ERC721_TRANSFER,
            ERC6909_TRANSFER,
            MINT,
            BURN,
            PUNK_TRANSFER,
            PUNK_ASSIGN,
        ],
    ),
    (
        2,
        &[
            TRANSFER,
            TRANSFER_SINGLE,
            TRANSFER_BATCH,
            TRANSFER_WITH_DATA,
            ERC20_TRANSFER,
            ERC721_TRANSFER,
            ERC6909_TRANSFER,
            PUNK_TRANSFER,
            PUNK_BOUGHT,
        ],
    ),
    (3, &[TRANSFER_SINGLE, TRANSFER_BATCH, PUNK_BOUGHT]),
];

#[cfg(test)]
mod tests {
    use super::super::DecodeOptions;
    use super::super::logs::{Place, decode_log};
    use super::*;
    use alloy::primitives::{Address, Log, LogData, U256};

    /// Whatever is decoded of a log with topics, its sides are found at the places that are asked for, and each of these is needed.
    #[test]
    fn every_side_that_is_decoded_from_topics_is_at_a_place_that_is_asked_for() {
        let emitter = Address::with_last_byte(0xaa);
        let options = DecodeOptions { wrapped_native: vec![emitter], ..DecodeOptions::default() };
        let number = |n: u64| U256::from(n).to_be_bytes::<32>();
        // ids and amounts of a batch of one.
        let data: Vec<u8> = [64, 128, 1, 7, 1, 9].into_iter().flat_map(number).collect();
        let mut needed = Vec::new();
        let punks = [PUNK_TRANSFER, PUNK_BOUGHT, PUNK_ASSIGN];
        let tokens = [TRANSFER_WITH_DATA, ERC20_TRANSFER, ERC721_TRANSFER, ERC6909_TRANSFER, MINT, BURN];
        let old = [TRANSFER, TRANSFER_SINGLE, TRANSFER_BATCH, WRAP, UNWRAP];
        for topic in old.into_iter().chain(tokens).chain(punks) {
            let emitter = if punks.contains(&topic) { super::super::punks::CONTRACT } else { emitter };
            for count in 1..=3u8 {
                let sides: Vec<Address> = (1..=count).map(Address::with_last_byte).collect();
                let topics = std::iter::once(topic).chain(sides.iter().map(Address::into_word)).collect();
                let log = Log { address: emitter, data: LogData::new(topics, data.clone().into()).unwrap() };
                let mut out = Vec::new();
                if decode_log(&log, Place { tx_index: 0, log_index: 0 }, &options, &mut out).is_err() {
                    continue;
                }
                for side in out.iter().flat_map(|activity| [activity.from, activity.to]).flatten() {
                    if side.is_zero() {
                        continue;
                    }
                    let place = sides.iter().position(|other| *other == side).unwrap() + 1;
                    needed.push((place, topic));
                }
            }
        }
        needed.sort();
        needed.dedup();
        let mut asked: Vec<_> =
            INDEXED.iter().flat_map(|(place, topics)| topics.iter().map(|topic| (*place, *topic))).collect();
        asked.sort();
        assert_eq!(asked, needed);
    }
}
