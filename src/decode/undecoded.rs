//! What looks like a movement of value and is not decoded: counted by reason, with the addresses that it may be about, so that nobody
//! is told that such an address was not touched.

use std::collections::BTreeSet;

use alloy::primitives::{Address, Log};

use super::Decoded;
use crate::named::named;

named! {
    /// Why a log or a frame that looks like a movement of value is no activity.
    Undecoded {
        /// Not as many topics as any known form has, or the words can be read in two ways.
        TopicCount = "topic_count",
        /// Data too short for the event.
        DataLength = "data_length",
        /// A word that should be an address has more than 20 bytes.
        NotAnAddress = "not_an_address",
        /// A batch whose ids and amounts are not as many, or whose arrays do not lie in the data.
        BrokenBatch = "broken_batch",
        /// A log of the emitter of native transfers ([EIP-7708](https://eips.ethereum.org/EIPS/eip-7708)) that is not of their form, or
        /// in a block whose header is of no fork that has them.
        NativeLog = "native_log",
        /// A call frame of a type that this build does not know, with a value.
        UnknownFrame = "unknown_frame",
        /// An event of a value standard that bolo does not decode.
        OtherStandard = "other_standard",
        /// WETH9's `Deposit` or `Withdrawal` on a chain whose wrapped-native contract is not known.
        UnknownWrapper = "unknown_wrapper",
    }
}

/// So many addresses may be named by what is not decoded in a block before it counts as naming any: 320 KB, and one log of a block of
/// 200 M gas can have 780,000 words.
pub const MAX_NAMED: usize = 16_384;

/// The addresses that the undecoded logs and frames of a block may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// These and no others.
    These(BTreeSet<Address>),
    /// More than [`MAX_NAMED`]: it may be any address.
    Anybody,
}

impl Default for Named {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Named {
    fn add(&mut self, addresses: impl Iterator<Item = Address>) {
        let Self::These(named) = self else { return };
        for address in addresses {
            named.insert(address);
            if named.len() > MAX_NAMED {
                *self = Self::Anybody;
                return;
            }
        }
    }
}

impl Decoded {
    /// Counts a log that is not decoded. It may be about its emitter and the last 20 bytes of any of its words.
    pub(super) fn count_log(&mut self, reason: Undecoded, log: &Log) {
        *self.undecoded.entry(reason).or_default() += 1;
        let last = |word: &[u8]| word.len().checked_sub(20).map(|start| Address::from_slice(&word[start..]));
        let topics = log.topics().iter().skip(1).map(alloy::primitives::FixedBytes::as_slice);
        let words = topics.chain(log.data.data.chunks(32)).filter_map(last);
        self.named.add(std::iter::once(log.address).chain(words));
    }

    /// Counts a frame that is not decoded: it may be about either side.
    pub(super) fn count_frame(&mut self, reason: Undecoded, sides: impl Iterator<Item = Address>) {
        *self.undecoded.entry(reason).or_default() += 1;
        self.named.add(sides);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{B256, LogData};

    fn log(topics: Vec<B256>, data: Vec<u8>) -> Log {
        Log { address: Address::repeat_byte(0xee), data: LogData::new_unchecked(topics, data.into()) }
    }

    #[test]
    fn an_undecoded_log_names_its_emitter_and_every_word_whatever_its_upper_bytes() {
        let [a, b, c] = [0xaa, 0xbb, 0xcc].map(Address::repeat_byte);
        let mut dirty = a.into_word();
        dirty[0] = 1;
        let data = [b.into_word().to_vec(), vec![0xff; 12], c.to_vec(), vec![0x77; 25]].concat();
        let mut decoded = Decoded::default();
        decoded.count_log(Undecoded::TopicCount, &log(vec![B256::repeat_byte(0x11), dirty], data));
        let expected = [Address::repeat_byte(0x77), a, b, c, Address::repeat_byte(0xee)];
        assert_eq!(decoded.named, Named::These(expected.into()));
        assert_eq!(decoded.undecoded, [(Undecoded::TopicCount, 1)].into());
    }

    #[test]
    fn a_log_with_more_words_than_are_kept_may_name_anybody() {
        let words = |count: u64| (1..=count).flat_map(|n| B256::from(alloy::primitives::U256::from(n)).0).collect();
        let mut decoded = Decoded::default();
        decoded.count_log(Undecoded::DataLength, &log(vec![B256::ZERO], words(MAX_NAMED as u64 - 1)));
        assert!(matches!(&decoded.named, Named::These(all) if all.len() == MAX_NAMED));
        decoded.count_log(Undecoded::DataLength, &log(vec![B256::ZERO], words(MAX_NAMED as u64)));
        assert_eq!(decoded.named, Named::Anybody);
        decoded.count_frame(Undecoded::UnknownFrame, std::iter::once(Address::ZERO));
        assert_eq!(decoded.named, Named::Anybody);
    }
}
