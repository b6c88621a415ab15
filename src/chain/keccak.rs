//! Keccak-256 of many messages at once: eight side by side with AVX-512, four with AVX2, one after the other elsewhere.
//!
//! The roots of a block are some six hundred hashes of which most need no other's result, and hashing is most of what a proof
//! costs. One instruction here works on one word of each message. Every lane takes the next message as soon as its own is
//! done, so that messages of all lengths go together.

use alloy::primitives::{B256, Keccak256};

/// A message in two parts, so that what stands before its body need not be copied together with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Message<'a> {
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
}

/// Their hashes, in order.
pub(super) fn keccak_all(messages: &[Message<'_>]) -> Vec<B256> {
    #[cfg(target_arch = "x86_64")]
    if let Some(hashes) = lanes::keccak_all(messages) {
        return hashes;
    }
    messages.iter().map(keccak).collect()
}

fn keccak(message: &Message<'_>) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(message.head);
    hasher.update(message.body);
    hasher.finalize()
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    //! FIPS 202, section 3, with the padding of Keccak's third submission, as Ethereum has it.

    use alloy::primitives::B256;
    use pulp::bytemuck::cast_slice_mut;
    use pulp::x86::{V3, V4};
    use pulp::{Arch, NullaryFnOnce, Simd};

    use super::Message;

    /// Words of 64 bits that one permutation takes up.
    const WORDS: usize = 17;
    const RATE: usize = 8 * WORDS;
    /// Most lanes that there are.
    const MOST: usize = 8;
    /// Below that many messages the lanes would stay empty.
    const WORTH: usize = 3;

    const ROUNDS: [u64; 24] = [
        0x0000_0000_0000_0001,
        0x0000_0000_0000_8082,
        0x8000_0000_0000_808a,
        0x8000_0000_8000_8000,
        0x0000_0000_0000_808b,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8009,
        0x0000_0000_0000_008a,
        0x0000_0000_0000_0088,
        0x0000_0000_8000_8009,
        0x0000_0000_8000_000a,
        0x0000_0000_8000_808b,
        0x8000_0000_0000_008b,
        0x8000_0000_0000_8089,
        0x8000_0000_0000_8003,
        0x8000_0000_0000_8002,
        0x8000_0000_0000_0080,
        0x0000_0000_0000_800a,
        0x8000_0000_8000_000a,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8080,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8008,
    ];
    /// By how many bits the word at `x + 5 * y` turns.
    const TURNS: [u64; 25] =
        [0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14];

    /// None where this processor has no such instructions, or it is not worth it.
    pub(super) fn keccak_all(messages: &[Message<'_>]) -> Option<Vec<B256>> {
        if messages.len() < WORTH {
            return None;
        }
        match Arch::new() {
            Arch::V4(simd) => Some(simd.vectorize(Many { simd, messages })),
            Arch::V3(simd) => Some(simd.vectorize(Many { simd, messages })),
            _ => None,
        }
    }

    /// Bits of each lane's word turned to the left; what the traits of `pulp` call a rotation turns lanes.
    pub(super) trait Turn: Simd {
        fn turn(self, words: Self::u64s, by: u64) -> Self::u64s;
    }

    impl Turn for V3 {
        #[inline(always)]
        fn turn(self, words: Self::u64s, by: u64) -> Self::u64s {
            let left = self.shl_dyn_u64x4(words, self.splat_u64x4(by));
            self.or_u64s(left, self.shr_dyn_u64x4(words, self.splat_u64x4(64 - by)))
        }
    }

    impl Turn for V4 {
        #[inline(always)]
        fn turn(self, words: Self::u64s, by: u64) -> Self::u64s {
            let left = self.shl_dyn_u64x8(words, self.splat_u64x8(by));
            self.or_u64s(left, self.shr_dyn_u64x8(words, self.splat_u64x8(64 - by)))
        }
    }

    pub(super) struct Many<'a, S> {
        pub(super) simd: S,
        pub(super) messages: &'a [Message<'a>],
    }

    /// What a lane is at.
    #[derive(Clone, Copy, Default)]
    struct Lane {
        message: Option<usize>,
        /// Bytes taken up.
        taken: usize,
    }

    impl<S: Turn> NullaryFnOnce for Many<'_, S> {
        type Output = Vec<B256>;

        #[inline(always)]
        fn call(self) -> Vec<B256> {
            let Self { simd, messages } = self;
            let lanes = S::U64_LANES;
            let mut hashes = vec![B256::ZERO; messages.len()];
            // The longest first: one that begins last would keep the other lanes waiting.
            let mut waiting: Vec<usize> = (0..messages.len()).collect();
            waiting.sort_unstable_by_key(|message| messages[*message].head.len() + messages[*message].body.len());
            let mut state = [simd.splat_u64s(0); 25];
            let mut block = [simd.splat_u64s(0); WORDS];
            let mut at = [Lane::default(); MOST];
            let at = &mut at[..lanes];
            at.iter_mut().for_each(|lane| lane.message = waiting.pop());
            while at.iter().any(|lane| lane.message.is_some()) {
                let words: &mut [u64] = cast_slice_mut(&mut block);
                let mut done = [false; MOST];
                for (number, lane) in at.iter_mut().enumerate() {
                    let Some(message) = lane.message else { continue };
                    done[number] = take_up(&messages[message], lane.taken, &mut words[number..], lanes);
                    lane.taken += RATE;
                }
                for (word, taken) in state.iter_mut().zip(block) {
                    *word = simd.xor_u64s(*word, taken);
                }
                permute(simd, &mut state);
                let words: &mut [u64] = cast_slice_mut(&mut state);
                for (number, lane) in at.iter_mut().enumerate().filter(|(number, _)| done[*number]) {
                    let Some(message) = lane.message else { continue };
                    for (place, bytes) in hashes[message].0.chunks_exact_mut(8).enumerate() {
                        bytes.copy_from_slice(&words[place * lanes + number].to_le_bytes());
                    }
                    words[number..].iter_mut().step_by(lanes).for_each(|word| *word = 0);
                    *lane = Lane { message: waiting.pop(), taken: 0 };
                }
            }
            hashes
        }
    }

    /// The next words of a message, each `lanes` after the one before; says whether they are the last.
    #[inline(always)]
    fn take_up(message: &Message<'_>, taken: usize, words: &mut [u64], lanes: usize) -> bool {
        let Message { head, body } = message;
        let whole = taken.checked_sub(head.len()).and_then(|from| body.get(from..from + RATE));
        if let Some(whole) = whole {
            put(whole, words, lanes);
            return false;
        }
        let mut bytes = [0; RATE];
        let head_rest = head.get(taken..).unwrap_or_default();
        let body_rest = body.get(taken.saturating_sub(head.len())..).unwrap_or_default();
        let of_head = head_rest.len().min(RATE);
        let of_body = body_rest.len().min(RATE - of_head);
        let filled = of_head + of_body;
        bytes[..of_head].copy_from_slice(&head_rest[..of_head]);
        bytes[of_head..filled].copy_from_slice(&body_rest[..of_body]);
        let last = filled < RATE;
        if last {
            bytes[filled] ^= 0x01;
            bytes[RATE - 1] ^= 0x80;
        }
        put(&bytes, words, lanes);
        last
    }

    #[inline(always)]
    fn put(bytes: &[u8], words: &mut [u64], lanes: usize) {
        let (chunks, _) = bytes.as_chunks::<8>();
        for (word, bytes) in words.iter_mut().step_by(lanes).zip(chunks) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    #[inline(always)]
    fn permute<S: Turn>(simd: S, state: &mut [S::u64s; 25]) {
        let mut a = *state;
        for constant in ROUNDS {
            let mut sums = [a[0]; 5];
            for x in 0..5 {
                let (one, other) = (simd.xor_u64s(a[x], a[x + 5]), simd.xor_u64s(a[x + 10], a[x + 15]));
                sums[x] = simd.xor_u64s(simd.xor_u64s(one, other), a[x + 20]);
            }
            let mut b = a;
            for x in 0..5 {
                let theta = simd.xor_u64s(sums[(x + 4) % 5], simd.turn(sums[(x + 1) % 5], 1));
                for y in 0..5 {
                    let (from, to) = (x + 5 * y, y + 5 * ((2 * x + 3 * y) % 5));
                    let word = simd.xor_u64s(a[from], theta);
                    b[to] = if from == 0 { word } else { simd.turn(word, TURNS[from]) };
                }
            }
            for y in 0..5 {
                for x in 0..5 {
                    let next = simd.not_u64s(b[5 * y + (x + 1) % 5]);
                    a[5 * y + x] = simd.xor_u64s(b[5 * y + x], simd.and_u64s(next, b[5 * y + (x + 2) % 5]));
                }
            }
            a[0] = simd.xor_u64s(a[0], simd.splat_u64s(constant));
        }
        *state = a;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lengths around one, two and three blocks, parted at all places around them, in a shuffled order.
    fn messages() -> Vec<(Vec<u8>, usize)> {
        let mut all = Vec::new();
        for length in (0..12).chain(130..142).chain(266..278).chain(400..412).chain([1000, 5000]) {
            for parted in [0, 1, 8, 135, 136, 137, 271, 272, 300] {
                let bytes: Vec<u8> = (0..length).map(|place: usize| (place * 7 + length * 31 + parted) as u8).collect();
                all.push((bytes, parted.min(length)));
            }
        }
        all.sort_by_key(|(bytes, parted)| alloy::primitives::keccak256([&bytes[..], &[*parted as u8]].concat()));
        all
    }

    fn of(all: &[(Vec<u8>, usize)]) -> Vec<Message<'_>> {
        all.iter().map(|(bytes, parted)| Message { head: &bytes[..*parted], body: &bytes[*parted..] }).collect()
    }

    fn expected(all: &[(Vec<u8>, usize)]) -> Vec<B256> {
        all.iter().map(|(bytes, _)| alloy::primitives::keccak256(bytes)).collect()
    }

    #[test]
    fn many_at_once_are_hashed_as_each_by_itself() {
        let all = messages();
        assert_eq!(keccak_all(&of(&all)), expected(&all));
        for count in 0..20 {
            assert_eq!(keccak_all(&of(&all[..count])), expected(&all[..count]), "{count} messages");
        }
        let alone: Vec<B256> = of(&all).iter().map(keccak).collect();
        assert_eq!(alone, expected(&all), "as other processors do it");
    }

    /// A processor that has the wider instructions would never try the narrower ones.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_width_that_this_processor_has_gives_the_same() {
        let all = messages();
        let messages = &of(&all)[..];
        let mut tried = 0;
        if let Some(simd) = pulp::x86::V3::try_new() {
            assert_eq!(simd.vectorize(lanes::Many { simd, messages }), expected(&all));
            tried += 1;
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            assert_eq!(simd.vectorize(lanes::Many { simd, messages }), expected(&all));
            tried += 1;
        }
        assert_eq!(tried > 0, lanes::keccak_all(messages).is_some());
    }
}
