//! `query --min-amount`: an amount as a person writes it.

use alloy::primitives::U256;

use super::Failure;
use crate::store::AmountFilter;

/// An amount of the native currency below this part of a unit was probably meant in whole units: 10^-6.
const TINY_PLACES: u8 = 6;
/// Longest number that is read: far more digits than 2^256 has.
const MAX_DIGITS: usize = 100;

/// What `--min-amount` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MinAmount {
    pub(super) filter: AmountFilter,
    /// The asset that the amount names, as `--asset` takes it.
    pub(super) asset: Option<String>,
}

impl MinAmount {
    /// `1000`, `1_000`, `1,000` and `1e18` are base units; `1.5` and `1,000.0` units of each asset; `100eth`, `20 gwei` and `1000usdc`
    /// units of the asset that they name.
    pub(super) fn parse(text: &str, native_symbol: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::input(format!(
                "--min-amount {text:?}: {why}; write 100eth, 1.5 (units of each asset) or 1500000 (base units)"
            ))
        };
        let trimmed = text.trim();
        let (number, unit) = split_unit(trimmed);
        let number = Decimal::parse(number).map_err(wrong)?;
        let unit = unit.to_ascii_lowercase();
        let base =
            |exponent| number.whole(exponent).ok_or_else(|| wrong("that is no whole number of base units below 2^256"));
        let (filter, asset) = match unit.as_str() {
            "" if number.is_units() => (AmountFilter::Units(number.in_units()), None),
            "" => (AmountFilter::Base(base(0)?), None),
            "wei" => (AmountFilter::Base(base(0)?), Some("native".to_owned())),
            "gwei" => (AmountFilter::Base(base(9)?), Some("native".to_owned())),
            // Half an exponent, or a hexadecimal number: no asset is meant.
            "e" => return Err(wrong("its exponent has no digits")),
            _ if unit.starts_with('x') && number.whole == "0" => return Err(wrong("write a decimal number")),
            _ if number.exponent.is_some() => return Err(wrong("an exponent goes with base units, without a symbol")),
            _ if unit.eq_ignore_ascii_case(native_symbol) || unit == "native" => {
                (AmountFilter::Units(number.in_units()), Some("native".to_owned()))
            }
            _ if unit.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                (AmountFilter::Units(number.in_units()), Some(unit))
            }
            _ => return Err(wrong("that is no number")),
        };
        Ok(Self { filter, asset })
    }
}

impl AmountFilter {
    /// Digits behind the point that make a difference, where the amount is in units of its asset.
    pub(super) fn places(&self) -> usize {
        match self {
            Self::Base(_) => 0,
            Self::Units(units) => units.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len()),
        }
    }

    /// Whether it is next to nothing of a native currency with so many decimals.
    pub(super) fn is_tiny_as_native(&self, decimals: u8) -> bool {
        let tiny = U256::from(10).pow(U256::from(decimals.saturating_sub(TINY_PLACES)));
        matches!(self, Self::Base(amount) if !amount.is_zero() && *amount < tiny)
    }
}

/// The number and what stands behind it. `e` belongs to the number where digits follow: 1e18, but 5eth.
fn split_unit(text: &str) -> (&str, &str) {
    let is_number = |at: usize, c: char| match c {
        '0'..='9' | '.' | ',' | '_' => true,
        'e' | 'E' => at > 0 && text[at + 1..].starts_with(|next: char| next.is_ascii_digit()),
        '-' => at == 0,
        _ => false,
    };
    let end = text.char_indices().find(|(at, c)| !is_number(*at, *c)).map_or(text.len(), |(at, _)| at);
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A decimal number, digit by digit: amounts never become floats.
#[derive(Debug)]
struct Decimal {
    whole: String,
    fraction: Option<String>,
    exponent: Option<u32>,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (
                mantissa,
                Some(exponent.parse().ok().filter(|e| *e <= 77).ok_or("its exponent is not a number up to 77")?),
            ),
            None => (text, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let mut groups = whole.split(',');
        let first = groups.next().unwrap_or_default();
        if whole.contains(',') && (first.is_empty() || first.len() > 3 || groups.any(|group| group.len() != 3)) {
            return Err("a comma separates thousands (1,000), a point the fraction (1.5)");
        }
        let is_separator = |c: char| c == ',' || c == '_';
        let whole = whole.replace(is_separator, "");
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() > MAX_DIGITS || fraction.is_some_and(|fraction| fraction.len() > MAX_DIGITS) {
            return Err("it is too long");
        }
        if !is_digits(&whole) || fraction.is_some_and(|fraction| !is_digits(fraction)) {
            return Err("that is no number");
        }
        Ok(Self { whole, fraction: fraction.map(str::to_owned), exponent })
    }

    fn is_units(&self) -> bool {
        self.fraction.is_some() && self.exponent.is_none()
    }

    fn in_units(&self) -> String {
        format!("{}.{}", self.whole, self.fraction.as_deref().unwrap_or("0"))
    }

    /// The number times ten to the exponent and `more`, where that is whole and fits.
    fn whole(&self, more: u32) -> Option<U256> {
        let fraction = self.fraction.as_deref().unwrap_or_default().trim_end_matches('0');
        let zeros = (self.exponent.unwrap_or(0) + more) as usize;
        let digits = format!("{}{fraction}{}", self.whole, "0".repeat(zeros.checked_sub(fraction.len())?));
        U256::from_str_radix(&digits, 10).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (AmountFilter, Option<String>) {
        let MinAmount { filter, asset } = MinAmount::parse(text, "ETH").unwrap();
        (filter, asset)
    }

    fn base(text: &str) -> AmountFilter {
        AmountFilter::Base(U256::from_str_radix(text, 10).unwrap())
    }

    #[test]
    fn a_number_alone_is_base_units_unless_it_has_a_point() {
        let million = base("1000000");
        for text in ["1000000", "1_000_000", "1,000,000", "1e6", " 1.0e6 ", "0.5e6"] {
            let expected = if text == "0.5e6" { base("500000") } else { million.clone() };
            assert_eq!(parsed(text), (expected, None), "{text}");
        }
        assert_eq!(parsed("1.5"), (AmountFilter::Units("1.5".into()), None));
        assert_eq!(parsed("1,000.0"), (AmountFilter::Units("1000.0".into()), None));
    }

    #[test]
    fn an_amount_may_name_its_asset() {
        let native = |units: &str| (AmountFilter::Units(units.into()), Some("native".to_owned()));
        assert_eq!(parsed("100eth"), native("100.0"));
        assert_eq!(parsed("1.5 ETH"), native("1.5"));
        assert_eq!(parsed("2,500Eth"), native("2500.0"));
        assert_eq!(parsed("20gwei"), (base("20000000000"), Some("native".to_owned())));
        assert_eq!(parsed("7wei"), (base("7"), Some("native".to_owned())));
        assert_eq!(parsed("1000usdc"), (AmountFilter::Units("1000.0".into()), Some("usdc".to_owned())));
        let elsewhere = MinAmount::parse("3xdai", "xDAI").unwrap();
        assert_eq!(elsewhere.asset.as_deref(), Some("native"));
    }

    #[test]
    fn what_is_no_amount_is_refused_in_one_line() {
        let too_large = "1".repeat(79);
        for bad in [
            "", "-1", "1.", ".5", "0x10", "1,5", "12,34", "1.5.5", "1e", "1.5e0", "1e78", "eth", "1.5wei", "1e18eth",
            "5 e th", &too_large,
        ] {
            let failure = MinAmount::parse(bad, "ETH").unwrap_err();
            assert_eq!(failure.code, 1, "{bad}");
            assert!(!failure.message.contains('\n'), "{bad}");
        }
    }

    #[test]
    fn a_few_wei_are_told_from_an_amount() {
        for (text, tiny) in
            [("100", true), ("1_000", true), ("1e11", true), ("0", false), ("1e18", false), ("1.0", false)]
        {
            assert_eq!(parsed(text).0.is_tiny_as_native(18), tiny, "{text}");
        }
    }
}
