//! Times as people write them on the command line: a moment, a whole day, or an age.

use jiff::{Span, Timestamp};

use super::Failure;
use crate::lists::parse_date;

/// The last second of a day, counted from its first.
const LAST_SECOND_OF_DAY: i64 = 86_400 - 1;

/// The first and the last second, in unix time, of what was written: RFC 3339, a date (the whole day in UTC), or an age like `7d`.
pub(super) fn parse_span(text: &str) -> Result<(i64, i64), Failure> {
    let text = text.trim();
    if let Ok(first) = parse_date(text) {
        let is_day = text.len() <= 10;
        return Ok((first, if is_day { first.saturating_add(LAST_SECOND_OF_DAY) } else { first }));
    }
    let moment = parse_age(text)?;
    Ok((moment, moment))
}

/// `--since`: of a day, its first second.
pub(super) fn parse_since(text: &str) -> Result<i64, Failure> {
    Ok(parse_span(text)?.0)
}

/// `--until`: of a day, its last second.
pub(super) fn parse_until(text: &str) -> Result<i64, Failure> {
    Ok(parse_span(text)?.1)
}

fn parse_age(text: &str) -> Result<i64, Failure> {
    let bad = || {
        Failure::input(format!(
            "{text:?} is no time: write 2025-02-21T14:00:00Z, 2025-02-21, or an age like 7d, 12h, 30m"
        ))
    };
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let number: i64 = number.parse().ok().filter(|number| *number >= 0).ok_or_else(bad)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(bad()),
    };
    let age = number.checked_mul(seconds).ok_or_else(bad)?;
    let span = Span::new().try_seconds(age).map_err(|_| bad())?;
    Timestamp::now().checked_sub(span).map(Timestamp::as_second).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_ages() {
        assert_eq!(parse_since("1970-01-02"), Ok(86_400));
        let week = parse_since("7d").unwrap();
        assert!((Timestamp::now().as_second() - week - 7 * 86_400).abs() < 5);
        for bad in ["", "d", "7y", "-1d", "99999999999999999d", "é"] {
            assert_eq!(parse_since(bad).unwrap_err().code, 1, "{bad}");
        }
    }

    #[test]
    fn a_date_ends_with_the_last_second_of_that_day_and_a_moment_with_itself() {
        for (day, moment) in [
            ("2026-11-28", "2026-11-28T23:59:59Z"),
            ("1970-01-01", "1970-01-01T23:59:59Z"),
            (" 2024-02-29 ", "2024-02-29T23:59:59Z"),
        ] {
            assert_eq!(parse_until(day), parse_until(moment), "{day}");
            assert_eq!(parse_since(day), parse_since(&moment.replace("23:59:59", "00:00:00")), "{day}");
        }
        for moment in ["2026-11-28T00:00:00Z", "2026-11-28 00:00:00", "2026-11-28T14:05:00+02:00"] {
            assert_eq!(parse_until(moment), parse_since(moment), "{moment}");
        }
    }
}
