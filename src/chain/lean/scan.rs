//! A cursor over the bytes of a JSON answer that takes what nodes write and nothing else. Every refusal is [`Odd`]: the typed
//! path then decides.

use alloy::primitives::{U256, hex};

use super::Odd;
use super::keys::{Key, Order};

/// What a step of the scanner comes to.
pub(super) type Read<T> = Result<T, Odd>;

/// A place in the text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Where it stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from there to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes that byte where it is the next one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let next = self.text.get(self.at) == Some(&byte) || self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    pub(super) fn demand(&mut self, byte: u8) -> Read<()> {
        if self.take(byte) { Ok(()) } else { Err(Odd("a token that was not expected")) }
    }

    /// Takes that text where it is next.
    #[inline]
    pub(super) fn take_text(&mut self, text: &[u8]) -> bool {
        let next = begins(self.rest(), text);
        if next {
            self.at += text.len();
        }
        next
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Read<()> {
        if self.peek().is_none() { Ok(()) } else { Err(Odd("more after the end")) }
    }

    /// What is between the next two quotes; whoever takes it looks at each of its bytes.
    pub(super) fn string(&mut self) -> Read<&'a [u8]> {
        self.demand(b'"')?;
        let rest = self.rest();
        let end = memchr::memchr(b'"', rest).ok_or(Odd("a string without an end"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    /// A string in which every character stands for itself.
    pub(super) fn plain_string(&mut self) -> Read<&'a [u8]> {
        let text = self.string()?;
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        if text.iter().all(plain) { Ok(text) } else { Err(Odd("an escape or a character beyond ASCII")) }
    }

    /// Hex digits of unknown number, unchecked, without their `0x`.
    pub(super) fn digits(&mut self) -> Read<&'a [u8]> {
        self.string()?.strip_prefix(b"0x").ok_or(Odd("hex without 0x"))
    }

    /// The same where it is likely to be those digits.
    #[inline]
    pub(super) fn digits_like(&mut self, likely: &[u8]) -> Read<&'a [u8]> {
        if let [b'"', b'0', b'x', rest @ ..] = self.rest()
            && begins(rest, likely)
            && rest.get(likely.len()) == Some(&b'"')
        {
            self.at += likely.len() + 4;
            return Ok(&rest[..likely.len()]);
        }
        self.digits()
    }

    /// So many hex digits, unchecked, without their `0x`.
    #[inline]
    fn exactly(&mut self, count: usize) -> Read<&'a [u8]> {
        self.demand(b'"')?;
        match self.rest().get(..count + 3) {
            Some([b'0', b'x', digits @ .., b'"']) => {
                self.at += count + 3;
                Ok(digits)
            }
            _ => Err(Odd("hex of another length")),
        }
    }

    /// The 64 hex digits of a hash, unchecked: for those that are compared with others.
    #[inline]
    pub(super) fn hash_text(&mut self) -> Read<&'a [u8; 64]> {
        self.exactly(64)?.as_array().ok_or(Odd("hex of another length"))
    }

    /// `N` bytes of hex.
    pub(super) fn bytes<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        unhex(self.exactly(2 * N)?, &mut out)?;
        Ok(out)
    }

    /// A quantity of at most 64 bits.
    pub(super) fn u64(&mut self) -> Read<u64> {
        self.demand(b'"')?;
        let [b'0', b'x', digits @ ..] = self.rest() else { return Err(Odd("hex without 0x")) };
        // Most are short: looking for their end first would cost more than reading them.
        let mut value = 0;
        for (count, digit) in digits.iter().enumerate().take(17) {
            if *digit == b'"' {
                if count == 0 || (count > 1 && digits[0] == b'0') {
                    break;
                }
                self.at += count + 3;
                return Ok(value);
            }
            value = value << 4 | u64::from(nibble(*digit)?);
        }
        Err(Odd("a quantity of odd length"))
    }

    /// A quantity of at most 128 bits.
    pub(super) fn u128(&mut self) -> Read<u128> {
        let start = self.at;
        if let Ok(value) = self.u64() {
            return Ok(value.into());
        }
        self.at = start;
        self.quantity(32)?.iter().try_fold(0u128, |sum, digit| Ok(sum << 4 | u128::from(nibble(*digit)?)))
    }

    /// At most so many digits, without zeros at the front.
    fn quantity(&mut self, most: usize) -> Read<&'a [u8]> {
        let digits = self.digits()?;
        if digits.is_empty() || digits.len() > most || (digits.len() > 1 && digits[0] == b'0') {
            return Err(Odd("a quantity of odd length"));
        }
        Ok(digits)
    }

    /// A quantity of at most 256 bits; some nodes pad those of a signature with zeros.
    pub(super) fn u256(&mut self) -> Read<U256> {
        let digits = self.digits()?;
        if digits.is_empty() || digits.len() > 64 {
            return Err(Odd("a quantity of odd length"));
        }
        if digits.len() <= 16 {
            let value = digits.iter().try_fold(0u64, |sum, digit| Ok(sum << 4 | u64::from(nibble(*digit)?)))?;
            return Ok(U256::from(value));
        }
        let mut padded = [b'0'; 64];
        padded[64 - digits.len()..].copy_from_slice(digits);
        let mut out = [0; 32];
        unhex(&padded, &mut out)?;
        Ok(U256::from_be_bytes(out))
    }

    /// The decimal digits that come next, if any: they are compared with a number as it is written.
    pub(super) fn number(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.since(start)
    }

    pub(super) fn bool(&mut self) -> Read<bool> {
        match self.peek() {
            Some(b't') if self.take_text(b"true") => Ok(true),
            Some(b'f') if self.take_text(b"false") => Ok(false),
            _ => Err(Odd("neither true nor false")),
        }
    }

    /// Each element of an array.
    pub(super) fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.demand(b'[')?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.take(b',') {
                return self.demand(b']');
            }
        }
    }

    /// Each member of an object that is known and not null; returns the bits of these. Members that nobody knows are passed
    /// over, as the typed path does, where they are as plain as can be.
    pub(super) fn members<K: Key>(
        &mut self,
        order: &mut Order<K>,
        mut each: impl FnMut(&mut Self, K) -> Read<()>,
    ) -> Read<u64> {
        self.demand(b'{')?;
        if self.take(b'}') {
            return Ok(0);
        }
        let (mut seen, mut stated) = (0, 0);
        for place in 0.. {
            let key = order.next(self, place)?;
            let bit = key.map_or(0, Key::bit);
            if seen & bit != 0 {
                return Err(Odd("a key that comes twice"));
            }
            seen |= bit;
            match (key, self.peek()) {
                (_, Some(b'n')) => {
                    if !self.take_text(b"null") {
                        return Err(Odd("a token that was not expected"));
                    }
                }
                (Some(key), _) => {
                    each(self, key)?;
                    stated |= bit;
                }
                (None, Some(b'"')) => {
                    self.plain_string()?;
                }
                (None, _) => {
                    self.bool()?;
                }
            }
            if !self.take(b',') {
                self.demand(b'}')?;
                break;
            }
        }
        Ok(stated)
    }

    /// Passes over a value whose inside somebody else will read: strings without escapes, brackets in pairs.
    pub(super) fn skip(&mut self) -> Read<()> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.plain_string()?;
                }
                Some(b'[' | b'{') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b']' | b'}') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => self.at += 1,
                Some(b'a'..=b'z' | b'0'..=b'9' | b'-') => {
                    while matches!(self.text.get(self.at), Some(b'a'..=b'z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'E'))
                    {
                        self.at += 1;
                    }
                }
                _ => return Err(Odd("a token that was not expected")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Whether the bytes begin with that text. Most texts here are of 4 to 32 bytes: a few words, two of which may overlap, are
/// compared sooner than a function is called.
#[inline]
fn begins(bytes: &[u8], text: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..text.len()) else { return false };
    match text.len() {
        4..8 => bytes.first_chunk::<4>() == text.first_chunk() && bytes.last_chunk::<4>() == text.last_chunk(),
        8..=16 => bytes.first_chunk::<8>() == text.first_chunk() && bytes.last_chunk::<8>() == text.last_chunk(),
        17..=32 => bytes.first_chunk::<16>() == text.first_chunk() && bytes.last_chunk::<16>() == text.last_chunk(),
        _ => bytes == text,
    }
}

/// The bytes that those hex digits stand for, as many as there is room.
pub(super) fn unhex(digits: &[u8], out: &mut [u8]) -> Read<()> {
    hex::decode_to_slice(digits, out).map_err(|_| Odd("hex that is none"))
}

/// Whether those are pairs of hex digits.
pub(super) fn check_hex(digits: &[u8]) -> Read<()> {
    // The check would pass over a second `0x`.
    if digits.len().is_multiple_of(2) && !digits.starts_with(b"0x") && hex::check_raw(digits) {
        Ok(())
    } else {
        Err(Odd("hex that is none"))
    }
}

/// What each byte is worth as a hex digit.
const NIBBLES: [u8; 256] = {
    let mut table = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};
const NO_NIBBLE: u8 = 0xff;

#[inline]
fn nibble(digit: u8) -> Read<u8> {
    match NIBBLES[usize::from(digit)] {
        NO_NIBBLE => Err(Odd("hex that is none")),
        value => Ok(value),
    }
}
