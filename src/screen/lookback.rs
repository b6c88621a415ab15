//! Which blocks can touch an address at all: a filter for each block over every address that a movement in it is from or to, so that an
//! address that is added later need not be looked for in blocks that cannot have it. The filter never says no to an address that is in
//! it; it says yes to another one in [`ONE_IN`] at most, and the block is then read for nothing.
//!
//! A Golomb-Rice coded set with the parameters of [BIP 158](https://github.com/bitcoin/bips/blob/master/bip-0158.mediawiki): some 21 bits
//! an address. A binary fuse filter of 16 bits takes 22 to 26 in sets of this size, and answers twelve times as many questions wrongly. The
//! bytes:
//!
//! ```text
//! count      number of different hashes, LEB128
//! bits       for each, in ascending order, the difference to the one before (the first: to 0) of its place
//!            = hash × count × 784931 / 2^64, hash being SipHash-2-4 with a key of zeros of the 20 bytes:
//!            the difference / 2^19 as so many ones and a zero, then its lowest 19 bits; the most significant bit of each byte first
//! ```
//!
//! The key is the same for every block: places then keep the order of the hashes, so that a long list is hashed and sorted once and not
//! for each block. Who makes addresses that look like another one gets blocks read again that he could have had read again anyway, by
//! touching them with an address that will be listed; a block cannot be hidden.

use std::hash::Hasher;

use alloy::primitives::Address;
use siphasher::sip::SipHasher24;

use crate::decode::Activity;

/// Of so many addresses that a block does not touch, at most one is said to be touched, on average.
pub const ONE_IN: u64 = 784_931;

/// Bits of a difference that stand as they are: with [`ONE_IN`] the parameter that costs least.
const LOW_BITS: u32 = 19;

fn hash(address: &Address) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(address.as_slice());
    hasher.finish()
}

/// The place of a hash among so many addresses: keeps the order of the hashes.
fn place(hash: u64, count: u64) -> u64 {
    let places = u128::from(count) * u128::from(ONE_IN);
    // Less than `places`, which fits: no block has 2^44 addresses.
    ((u128::from(hash) * places) >> 64) as u64
}

/// The filter of a block in which these movements were found.
pub fn index(activities: &[Activity]) -> Vec<u8> {
    index_of(activities.iter().flat_map(Activity::sides))
}

/// The filter of those addresses, which may come more than once.
pub fn index_of(addresses: impl IntoIterator<Item = Address>) -> Vec<u8> {
    // Two addresses of one hash have one place: neither is missed.
    let mut hashes: Vec<u64> = addresses.into_iter().map(|address| hash(&address)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let count = hashes.len() as u64;
    let mut out = Writer { bytes: Vec::with_capacity(8 + hashes.len() * 22 / 8), free: 0 };
    let mut rest = count;
    while rest >= 0x80 {
        out.bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.bytes.push(rest as u8);
    let mut before = 0;
    for hash in hashes {
        let place = place(hash, count);
        let difference = place - before;
        for _ in 0..difference >> LOW_BITS {
            out.push(1, 1);
        }
        out.push(0, 1);
        out.push(difference & ((1 << LOW_BITS) - 1), LOW_BITS);
        before = place;
    }
    out.bytes
}

/// Appends bits.
struct Writer {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
}

impl Writer {
    /// The lowest `width` bits of the value.
    fn push(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let now = left.min(self.free);
            let bits = (value >> (left - now)) & ((1 << now) - 1);
            self.free -= now;
            left -= now;
            if let Some(last) = self.bytes.last_mut() {
                *last |= (bits as u8) << self.free;
            }
        }
    }
}

/// Takes bits.
struct Reader<'a> {
    bytes: &'a [u8],
    /// Bits taken and not given out yet, at the upper end.
    held: u64,
    count: u32,
}

impl Reader<'_> {
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some((byte, rest)) = self.bytes.split_first() else { return };
            self.held |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.bytes = rest;
        }
    }

    /// The next difference; none where the bytes end.
    fn difference(&mut self) -> Option<u64> {
        let mut ones = 0u64;
        loop {
            self.fill();
            let run = self.held.leading_ones().min(self.count);
            ones += u64::from(run);
            if run < self.count {
                self.take(run + 1);
                break;
            }
            if run == 0 {
                return None;
            }
            self.take(run);
        }
        self.fill();
        if self.count < LOW_BITS {
            return None;
        }
        let low = self.held >> (64 - LOW_BITS);
        self.take(LOW_BITS);
        ones.checked_mul(1 << LOW_BITS)?.checked_add(low)
    }

    fn take(&mut self, width: u32) {
        self.held = self.held.checked_shl(width).unwrap_or(0);
        self.count -= width;
    }
}

/// Addresses that are looked for, made ready once for any number of filters.
#[derive(Debug, Clone, Default)]
pub struct Sought {
    /// In ascending order.
    hashes: Vec<u64>,
}

impl Sought {
    /// Those addresses.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Self {
        let mut hashes: Vec<u64> = addresses.into_iter().map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self { hashes }
    }

    /// Nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether a block with that filter can touch one of the addresses: false only where it certainly does not. Bytes that are no filter
    /// rule out nothing. One pass over the filter, however many addresses there are.
    pub fn may_be_in(&self, filter: &[u8]) -> bool {
        if self.hashes.is_empty() {
            return false;
        }
        self.find(filter).unwrap_or(true)
    }

    /// None where the bytes are no filter.
    fn find(&self, filter: &[u8]) -> Option<bool> {
        let (count, bits) = count(filter)?;
        let mut reader = Reader { bytes: bits, held: 0, count: 0 };
        let mut sought = &self.hashes[..];
        let mut at = 0u64;
        for _ in 0..count {
            at = at.checked_add(reader.difference()?)?;
            sought = &sought[sought.partition_point(|hash| place(*hash, count) < at)..];
            match sought.first() {
                None => return Some(false),
                Some(next) if place(*next, count) == at => return Some(true),
                Some(_) => {}
            }
        }
        Some(false)
    }
}

/// The number of addresses, and what comes after it.
fn count(filter: &[u8]) -> Option<(u64, &[u8])> {
    let mut count = 0u64;
    for (place, byte) in filter.iter().enumerate().take(6) {
        count |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((count, &filter[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{U256, keccak256};
    use proptest::prelude::*;

    /// Addresses that look random, the same each time.
    fn some(from: u64, count: u64) -> Vec<Address> {
        (from..from + count).map(|n| Address::from_word(keccak256(n.to_be_bytes()))).collect()
    }

    #[test]
    fn the_hash_and_the_bytes_are_the_documented_ones() {
        // SipHash-2-4 with another key has this as its test vector of 15 bytes; ours is held by what it gives.
        let mut hasher = SipHasher24::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        hasher.write(&(0u8..15).collect::<Vec<_>>());
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
        assert_eq!(index_of([]), [0]);
        let one = some(0, 1);
        let place = u64::try_from((U256::from(hash(&one[0])) * U256::from(ONE_IN)) >> 64).unwrap();
        let bits = format!("{}0{:019b}", "1".repeat((place >> 19) as usize), place & 0x7ffff);
        let bits = format!("{bits:0<24}");
        let bytes: Vec<u8> = (0..3).map(|n| u8::from_str_radix(&bits[8 * n..8 * n + 8], 2).unwrap()).collect();
        assert_eq!(index_of(one), [&[1], &bytes[..]].concat());
    }

    /// What a block of today and real ones cost, and how often another address is said to be in them.
    #[test]
    fn an_address_takes_twenty_one_bits_and_false_positives_are_as_few_as_stated() {
        let mut said = 0u64;
        let (mut filters, mut asked) = (0u64, 0u64);
        for n in 0..200 {
            // Other numbers of addresses each time, 800 on average.
            let block = some(n * 10_000, 600 + n * 2);
            let filter = index_of(block.clone());
            let bits = filter.len() as u64 * 8 / block.len() as u64;
            assert!((20..=21).contains(&bits), "{bits} bits");
            let others = some(1_000_000_000 + n * 100_000, 5_000);
            asked += others.len() as u64;
            // Whole lists are asked for at once; how many of them are hit is counted one by one where any is.
            if Sought::new(&others).may_be_in(&filter) {
                said += others.iter().filter(|other| Sought::new([*other]).may_be_in(&filter)).count() as u64;
            }
            filters += 1;
        }
        // A million questions: one and a quarter are expected to be answered wrongly. Eight would be a rate six times as high.
        assert_eq!((filters, asked), (200, 1_000_000));
        assert!(said < 8, "{said} of {asked}");
    }

    #[test]
    fn a_hundred_thousand_addresses_are_looked_for_as_well_as_one() {
        let list = some(0, 100_000);
        let sought = Sought::new(&list);
        for n in 0..300 {
            let mut block = some(10_000_000 + n * 1_000, 900);
            block.push(list[(n * 331) as usize]);
            assert!(sought.may_be_in(&index_of(block)));
        }
        let empty = (0..300).filter(|n| !sought.may_be_in(&index_of(some(20_000_000 + n * 1_000, 900)))).count();
        // 100,000 / 784,931: some 36 of 300 have one by chance.
        assert!((230..=290).contains(&empty), "{empty}");
    }

    #[test]
    fn what_is_no_filter_rules_out_nothing_but_for_nobody() {
        let sought = Sought::new(&some(0, 3));
        for bytes in [&[][..], &[0x80], &[0xff; 12], &[5], &[5, 0, 0]] {
            assert!(sought.may_be_in(bytes), "{bytes:?}");
        }
        assert!(!sought.may_be_in(&[0]), "a block without any address");
        assert!(!Sought::default().may_be_in(&[5]), "nobody is looked for");
    }

    proptest! {
        #[test]
        fn no_address_of_a_block_is_ever_ruled_out(
            block in proptest::collection::vec(any::<[u8; 20]>(), 0..400),
            others in proptest::collection::vec(any::<[u8; 20]>(), 0..50),
            small in proptest::collection::vec(0u8..20, 0..20),
        ) {
            let mut block: Vec<Address> = block.into_iter().map(Address::from).collect();
            block.extend(small.into_iter().map(Address::with_last_byte));
            let filter = index_of(block.clone());
            for address in &block {
                prop_assert!(Sought::new([address]).may_be_in(&filter));
                let among: Vec<Address> = others.iter().copied().map(Address::from).chain([*address]).collect();
                prop_assert!(Sought::new(&among).may_be_in(&filter));
            }
        }

        #[test]
        fn no_bytes_whatever_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Sought::new(&some(0, 4)).may_be_in(&bytes);
        }
    }
}
