//! What queries ask of SQLite beyond its own functions.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::Result;

/// Functions that queries use: `folded` (lower case beyond ASCII), `units_at_least` (a 256-bit comparison).
pub(super) fn add_functions(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function("folded", 1, flags, |context| {
        Ok(context.get::<Option<String>>(0)?.map(|text| text.to_lowercase()))
    })?;
    conn.create_scalar_function("units_at_least", 3, flags, |context| {
        let (amount, decimals, least) =
            (context.get::<String>(0)?, context.get::<Option<u8>>(1)?, context.get::<String>(2)?);
        Ok(decimals.is_some_and(|decimals| units_at_least(&amount, decimals, &least)))
    })?;
    Ok(())
}

/// Whether `amount` base units are at least `least` units of a token with that many decimals. Both are decimal text without sign
/// or exponent; compared digit by digit, so that no size overflows.
fn units_at_least(amount: &str, decimals: u8, least: &str) -> bool {
    let (whole, fraction) = least.split_once('.').unwrap_or((least, ""));
    let places = usize::from(decimals);
    let mut wanted = whole.to_owned();
    for place in 0..places {
        wanted.push(fraction.as_bytes().get(place).map_or('0', |digit| char::from(*digit)));
    }
    // Digits beyond the token's precision ask for a little more.
    let more = fraction.as_bytes().get(places..).is_some_and(|rest| rest.iter().any(|digit| *digit != b'0'));
    let (amount, wanted) = (amount.trim_start_matches('0'), wanted.trim_start_matches('0'));
    let order = amount.len().cmp(&wanted.len()).then_with(|| amount.cmp(wanted));
    if more { order.is_gt() } else { order.is_ge() }
}

#[cfg(test)]
mod tests {
    use super::units_at_least;

    #[test]
    fn amounts_in_units_compare_without_overflow() {
        assert!(units_at_least("1500000", 6, "1.5"));
        assert!(!units_at_least("1499999", 6, "1.5"));
        assert!(units_at_least("1500001", 6, "1.5000001"));
        assert!(!units_at_least("1500000", 6, "1.5000001"));
        assert!(units_at_least("0", 18, "0.0"));
        assert!(!units_at_least(&"9".repeat(78), 255, "1.0"));
        assert!(units_at_least("3", 0, "2.0"));
    }
}
