//! Dates as lists and people write them.

use jiff::{Timestamp, civil, tz::TimeZone};

/// A date (`2025-02-21`, its first second in UTC) or a moment (RFC 3339), as unix seconds.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse_date(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_second());
    }
    // A time without a zone is UTC; a bare date is its first second.
    let date = if text.len() <= 10 {
        text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0))
    } else {
        text.parse::<civil::DateTime>()
    };
    date.map_err(|_| format!("{text:?} is no date: write 2025-02-21 or 2025-02-21T14:00:00Z"))?
        .to_zoned(TimeZone::UTC)
        .map(|zoned| zoned.timestamp().as_second())
        .map_err(|_| format!("{text:?} is out of range"))
}

/// A date as the UK writes it (`26/02/2025`), or as everybody should.
pub(super) fn day_first(text: &str) -> Option<i64> {
    slashed(text, [2, 1, 0])
}

/// A date as the United States write it (`02/26/2025`), or as everybody should.
pub(super) fn month_first(text: &str) -> Option<i64> {
    slashed(text, [2, 0, 1])
}

/// Where year, month and day stand among three numbers.
fn slashed(text: &str, order: [usize; 3]) -> Option<i64> {
    let text = text.trim();
    let parts: Vec<&str> = text.split(['/', ' ', 'T']).take(3).collect();
    let [Some(year), Some(month), Some(day)] = order.map(|at| parts.get(at)) else {
        return parse_date(text.get(..10)?).ok();
    };
    let date = format!("{year:0>4}-{month:0>2}-{day:0>2}");
    parse_date(&date).or_else(|_| parse_date(text.get(..10).unwrap_or_default())).ok()
}

/// Unix seconds as RFC 3339, or as a bare date where it is the first second of one.
pub fn show_date(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) if seconds.rem_euclid(86_400) == 0 => moment.to_zoned(TimeZone::UTC).date().to_string(),
        Ok(moment) => moment.to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_slashes_are_read_as_their_country_writes_them() {
        let wanted = parse_date("2025-02-03").ok();
        assert_eq!(day_first("03/02/2025"), wanted);
        assert_eq!(month_first("2/3/2025"), wanted);
        assert_eq!([day_first("2025-02-03"), month_first("2025-02-03T10:00:00")], [wanted; 2]);
        assert_eq!([day_first("99/99/2025"), month_first("soon"), day_first("")], [None; 3]);
    }

    #[test]
    fn dates_and_moments_are_read_and_shown_as_they_were() {
        for text in ["2025-02-21", "2025-02-21T14:05:00Z", "1969-12-31"] {
            assert_eq!(show_date(parse_date(text).unwrap()), text);
        }
        assert_eq!(parse_date("2025-02-21T14:05:00+02:00"), parse_date("2025-02-21T12:05:00Z"));
        assert_eq!(parse_date("2025-02-21T14:03:00"), parse_date("2025-02-21T14:03:00Z"), "no zone is UTC");
        assert_eq!(parse_date("2025-02-21 14:03:00"), parse_date("2025-02-21T14:03:00Z"));
        assert!(parse_date("yesterday").is_err() && parse_date("2025-02-21T99:99:99").is_err());
    }
}
