//! What every object of a block repeats of it: the text is compared, not the value.

use alloy::consensus::Header;
use alloy::primitives::B256;

use super::Odd;
use super::scan::{Cursor, Read};

/// A text that must be the same wherever it comes.
#[derive(Debug)]
pub(super) struct Claim<'a, T: ?Sized = [u8]>(Option<&'a T>);

impl<T: ?Sized> Default for Claim<'_, T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'a> Claim<'a> {
    /// The claim comes once more, as hex digits.
    #[inline]
    pub(super) fn hold_digits(&mut self, cursor: &mut Cursor<'a>) -> Read<()> {
        let digits = cursor.digits_like(self.0.unwrap_or_default())?;
        self.hold(digits)
    }
}

impl<'a, T: ?Sized + AsRef<[u8]> + PartialEq> Claim<'a, T> {
    /// The claim comes once more.
    #[inline]
    pub(super) fn hold(&mut self, text: &'a T) -> Read<()> {
        match self.0 {
            Some(first) if first == text => Ok(()),
            Some(_) => Err(Odd("a claim that is not made alike everywhere")),
            None => {
                self.0 = Some(text);
                Ok(())
            }
        }
    }

    fn is(&self, truth: &str) -> bool {
        self.0.is_none_or(|text| text.as_ref() == truth.as_bytes())
    }
}

/// What is repeated, without `0x`.
#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    pub(super) hash: Claim<'a, [u8; 64]>,
    pub(super) number: Claim<'a>,
    pub(super) timestamp: Claim<'a>,
    /// The time as a decimal number, as anvil's receipts have it.
    pub(super) seconds: Claim<'a>,
}

impl Claims<'_> {
    /// What was claimed is true.
    pub(super) fn check(&self, hash: B256, header: &Header) -> Read<()> {
        let fits = self.hash.is(format!("{hash:x}").trim_start_matches("0x"))
            && self.number.is(&format!("{:x}", header.number))
            && self.timestamp.is(&format!("{:x}", header.timestamp))
            && self.seconds.is(&header.timestamp.to_string());
        if fits { Ok(()) } else { Err(Odd("a claim that is not the block's, or is written in another way")) }
    }
}
