//! Everything that is drawn: the same seed gives the same blocks on any machine.

use alloy::consensus::crypto::secp256k1::{recover_signer, sign_message};
use alloy::primitives::{Address, B256, Signature, U256, keccak256};

/// Addresses that hold tokens. Low ranks are drawn far more often: rank r with about the density of 1 / sqrt(r).
pub(crate) const HOLDERS: u64 = 200_000;
/// Tokens, skewed as well.
const TOKENS: u64 = 3_000;
/// Keys that sign.
const SIGNERS: u64 = 400;

/// SplitMix64: enough for data that only has to look like many.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Of `end` ranks, low ones more often: the square of an even draw.
    fn rank(&mut self, end: u64) -> u64 {
        let even = u128::from(self.next() >> 32);
        u64::try_from((even * even * u128::from(end)) >> 64).unwrap()
    }

    pub(crate) fn holder(&mut self) -> Address {
        holder(self.rank(HOLDERS))
    }

    pub(crate) fn token(&mut self) -> Address {
        named("token", self.rank(TOKENS))
    }

    pub(crate) fn word(&mut self) -> B256 {
        keccak256(self.next().to_be_bytes())
    }

    /// An amount of a token, from some base units to many.
    pub(crate) fn amount(&mut self) -> U256 {
        let bits = 20 + usize::try_from(self.below(60)).unwrap();
        (U256::from(1) << bits) + U256::from(self.next())
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            // Calldata is words, of which many bytes are zero.
            let word = if self.below(3) == 0 { self.word() } else { B256::from(self.amount()) };
            bytes.extend_from_slice(word.as_slice());
        }
        bytes.truncate(length);
        bytes
    }
}

fn named(name: &str, index: u64) -> Address {
    Address::from_word(keccak256([name.as_bytes(), &index.to_be_bytes()].concat()))
}

/// The holder of that rank.
pub(crate) fn holder(rank: u64) -> Address {
    named("holder", rank)
}

/// An address that no block has.
pub(crate) fn never_seen(index: u64) -> Address {
    named("never", index)
}

/// Keys with their addresses.
pub(crate) struct Signers(Vec<(B256, Address)>);

impl Signers {
    pub(crate) fn new() -> Self {
        let key = |index: u64| keccak256([b"key".as_slice(), &index.to_be_bytes()].concat());
        let probe = keccak256("whose key is it");
        let with_address = |key: B256| (key, recover_signer(&sign_message(key, probe).unwrap(), probe).unwrap());
        Self((0..SIGNERS).map(|index| with_address(key(index))).collect())
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> (B256, Address) {
        self.0[usize::try_from(rng.below(SIGNERS)).unwrap()]
    }
}

pub(crate) fn sign(key: B256, hash: B256) -> Signature {
    sign_message(key, hash).unwrap()
}
