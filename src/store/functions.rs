//! What queries ask of SQLite beyond its own functions.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::Result;

/// Functions that queries use: `folded` (text as searches compare it), `units_at_least` (a 256-bit comparison), `matched_at` (the entries of
/// `watch_spans` that match a block time).
pub(super) fn add_functions(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function("folded", 1, flags, |context| {
        Ok(context.get::<Option<String>>(0)?.map(|text| crate::text::folded(&text)))
    })?;
    conn.create_scalar_function("units_at_least", 3, flags, |context| {
        let (amount, decimals, least) =
            (context.get::<String>(0)?, context.get::<Option<u8>>(1)?, context.get::<String>(2)?);
        Ok(decimals.is_some_and(|decimals| units_at_least(&amount, decimals, &least)))
    })?;
    conn.create_scalar_function("matched_at", 2, flags, |context| {
        let (entries, time) = (context.get::<Option<String>>(0)?, context.get::<i64>(1)?);
        Ok(matched_at(entries.as_deref().unwrap_or_default(), time))
    })?;
    Ok(())
}

/// The entries of a row of `watch_spans` that match a block of that time, as screening sees them: `id/kind/known`, of which `known` says
/// whether the list version that brought the entry was published by then.
fn matched_at(entries: &str, time: i64) -> String {
    let mut matched = String::new();
    for entry in entries.split_whitespace() {
        let mut fields = entry.split('/');
        let (id, kind) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let mut moment = || fields.next().and_then(|field| field.parse::<i64>().ok());
        let (known_from, until) = (moment(), moment());
        if until.is_none_or(|until| time < until) {
            let known = u8::from(known_from.is_some_and(|known| known <= time));
            matched.push_str(&format!("{id}/{kind}/{known} "));
        }
    }
    matched
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
    use super::{matched_at, units_at_least};
    use crate::lists::ParsedEntry;
    use crate::store::tests::{WATCHED, open, record};
    use crate::store::{AlertFilter, AlertRow, ManualEntry, StoreError};

    #[test]
    fn alerts_are_found_by_label_and_entity_whatever_is_hidden_in_them() {
        for stored in [
            "Lazarus Group",
            "Laz\u{200b}arus Group",
            "\u{202e}LAZARUS\u{a0}GROUP\u{2066}",
            "L\u{ad}azarus\u{e0041} \u{feff}Group",
            "lazarus\ngroup",
        ] {
            let (_place, mut store) = open();
            let text = Some(stored.to_owned());
            let entry = ParsedEntry { label: text.clone(), entity: text, ..ParsedEntry::bare(WATCHED) };
            store.add_entry(&ManualEntry { list: "mine", kind: None, entry: &entry, now: 2 }).unwrap();
            let mut block = record(&store, 1, true);
            // The entry that took the place of the one that `open` made.
            block.alerts.iter_mut().for_each(|alert| alert.matched.iter_mut().for_each(|(entry, _)| *entry = 2));
            store.append_all(&[block]).unwrap();
            let found = |labels: &[&str], entities: &[&str]| {
                let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
                let filter = AlertFilter { labels: texts(labels), entities: texts(entities), ..AlertFilter::default() };
                store.each_alert(&filter, |_: AlertRow| Ok::<_, StoreError>(())).unwrap()
            };
            for asked in ["lazarus", "LAZARUS GROUP", "azarus\u{2003}gr", "la\u{200d}za\u{2060}rus"] {
                assert_eq!((found(&[asked], &[]), found(&[], &[asked])), (2, 2), "{asked:?} in {stored:?}");
            }
            assert_eq!((found(&["lazarusgroup"], &[]), found(&[], &["lazaruss"])), (0, 0), "{stored:?}");
        }
    }

    #[test]
    fn entries_are_told_apart_by_what_they_say_of_a_block_of_that_time() {
        let entries = "1/0/100/300 2/3// 7/0/-5/200";
        assert_eq!(matched_at(entries, 99), "1/0/0 2/3/0 7/0/1 ");
        assert_eq!(matched_at(entries, 100), "1/0/1 2/3/0 7/0/1 ");
        assert_eq!(matched_at(entries, 200), "1/0/1 2/3/0 ");
        assert_eq!(matched_at(entries, 300), "2/3/0 ");
        assert_eq!((matched_at("", 0), matched_at("1/0//5", 5)), (String::new(), String::new()));
    }

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
