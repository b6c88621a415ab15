//! Whether there is news of each list as often as there should be: for `bolo status`, and part of its health.

use serde_json::{Value, json};

use super::Failure;
use super::present::clean;
use super::status::age;
use crate::config::{ListSettings, Rhythm};
use crate::lists::{Format, show_date};
use crate::store::{ListAge, Store};

/// A list that there should be news of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) list: String,
    /// Since when, unix seconds.
    pub(super) since: i64,
    pub(super) detail: String,
}

/// The ages of all lists that there are or should be.
pub(super) struct Ages(Vec<(ListAge, Rhythm, Option<Overdue>)>);

impl Ages {
    pub(super) fn of(store: &Store, settings: &[ListSettings], now: i64) -> Result<Self, Failure> {
        let mut ages = store.list_ages()?;
        // What bolo.toml names and the store has never heard of.
        let unknown = settings.iter().filter(|list| !ages.iter().any(|age| age.name == list.name));
        let unknown: Vec<_> = unknown.map(|list| ListAge { name: list.name.clone(), ..ListAge::default() }).collect();
        ages.extend(unknown);
        let judged = ages.into_iter().map(|age| {
            let named = settings.iter().find(|list| list.name == age.name);
            let format = age.format.as_deref().and_then(Format::from_name).or(named.and_then(|list| list.format));
            let rhythm = Rhythm::of(named.map(|list| list.rhythm).unwrap_or_default(), format);
            let overdue = overdue(&age, named, rhythm, now);
            (age, rhythm, overdue)
        });
        Ok(Self(judged.collect()))
    }

    pub(super) fn overdue(&self) -> impl Iterator<Item = &Overdue> {
        self.0.iter().filter_map(|(.., overdue)| overdue.as_ref())
    }

    /// Adds to a list what is known of its age.
    pub(super) fn describe(&self, list: &mut Value) {
        let Some((age, rhythm, overdue)) = self.0.iter().find(|(age, ..)| list["name"] == age.name.as_str()) else {
            return;
        };
        list["checked_at"] = json!(age.checked_at.map(show_date));
        list["every"] = json!(rhythm.every);
        list["max_age"] = json!(rhythm.max_age);
        list["overdue"] = json!(overdue.is_some());
        list["last_error"] = json!(age.failed.as_ref().map(|(_, error)| error));
        list["error_at"] = json!(age.failed.as_ref().map(|(at, _)| show_date(*at)));
    }

    /// What matters of it, for a line.
    pub(super) fn in_short(&self, name: &str) -> String {
        let Some((known, _, overdue)) = self.0.iter().find(|(age, ..)| age.name == name) else { return String::new() };
        let checked = known.checked_at.map(|at| format!(", checked {}", age(at)));
        let failed = known.failed.as_ref();
        let failed = failed.map(|(at, error)| format!(", not fetched {}: {}", age(*at), clean(error, 100)));
        let overdue = overdue.as_ref().map(|_| ", OVERDUE".to_owned());
        [checked, overdue, failed].into_iter().flatten().collect()
    }
}

/// Whether there should be news of a list. A quarter of its rhythm is let pass, since whoever looks daily is some minutes late at times.
fn overdue(age: &ListAge, named: Option<&ListSettings>, rhythm: Rhythm, now: i64) -> Option<Overdue> {
    let problem = |since: i64, detail: String| {
        let failed = age.failed.as_ref().map(|(_, error)| format!("; the last try: {error}")).unwrap_or_default();
        Some(Overdue { list: age.name.clone(), since, detail: format!("{}: {detail}{failed}", age.name) })
    };
    let never = named.is_some_and(|list| list.rhythm.every == Some(None));
    if let Some((at, _)) = age.failed.as_ref().filter(|_| age.failed_for_good && !never) {
        return problem(*at, "it cannot be fetched, and trying again will not help".to_owned());
    }
    let Some(looked) = age.imported_at.max(age.checked_at) else {
        // A list of single entries by hand has no file and no rhythm.
        let wanted = named.is_some_and(|list| list.url.is_some()) || rhythm.every.is_some() || rhythm.max_age.is_some();
        let since = age.failed.as_ref().map_or(now, |(at, _)| *at);
        return if wanted && !never {
            problem(since, "bolo.toml names it, and it was never imported".to_owned())
        } else {
            None
        };
    };
    let late = |begin: i64, rhythm: i64| Some(begin.saturating_add(rhythm)).filter(|end| *end < now);
    if let Some(every) = rhythm.every
        && let Some(since) = late(looked, every.saturating_add(every / 4))
    {
        let every = in_words(every);
        let every = every.strip_prefix("1 ").unwrap_or(&every);
        return problem(since, format!("last looked for on {}, expected every {every}", show_date(looked)));
    }
    if let (Some(published), Some(most)) = (age.published, rhythm.max_age)
        && let Some(since) = late(published, most)
    {
        let published = show_date(published);
        return problem(
            since,
            format!("its newest version is of {published}, expected not older than {}", in_words(most)),
        );
    }
    None
}

fn in_words(seconds: i64) -> String {
    let (count, unit) = match seconds {
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3600 == 0 => (s / 3600, "hour"),
        s if s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RhythmSettings;

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_800_000_000;

    fn said(age: &ListAge, every: Option<i64>, max_age: Option<i64>) -> Option<String> {
        overdue(age, None, Rhythm { every, max_age }, NOW).map(|overdue| overdue.detail)
    }

    #[test]
    fn a_list_is_overdue_by_its_last_look_or_by_its_date() {
        let age = ListAge {
            name: "ofac".to_owned(),
            imported_at: Some(NOW - 30 * DAY),
            checked_at: Some(NOW - DAY),
            published: Some(NOW - 40 * DAY),
            ..ListAge::default()
        };
        assert_eq!(said(&age, None, None), None, "no rhythm");
        assert_eq!(said(&age, Some(DAY), None), None, "a little late");
        assert_eq!(said(&age, Some(DAY), Some(45 * DAY)), None);
        assert!(said(&age, Some(DAY / 2), None).unwrap().contains("expected every 12 hours"));
        assert!(said(&age, Some(DAY), Some(30 * DAY)).unwrap().contains("not older than 30 days"));
        // Without a date in it only the look counts; what failed since does not.
        let undated = ListAge { published: None, failed: Some((NOW, "gone".to_owned())), ..age };
        assert_eq!(said(&undated, Some(DAY), Some(DAY)), None);
        let unchecked = ListAge { checked_at: None, ..undated };
        assert!(said(&unchecked, Some(7 * DAY), None).unwrap().ends_with("expected every 7 days; the last try: gone"));
        let since = overdue(&unchecked, None, Rhythm { every: Some(8 * DAY), max_age: None }, NOW).unwrap().since;
        assert_eq!(since, NOW - 20 * DAY, "ten days after the last look");
    }

    #[test]
    fn a_list_that_never_came_is_overdue_and_one_by_hand_is_not() {
        let age = ListAge { name: "cases".to_owned(), ..ListAge::default() };
        assert_eq!(said(&age, None, None), None);
        let named = |url: Option<&str>, every| ListSettings {
            name: "cases".to_owned(),
            url: url.map(str::to_owned),
            kind: None,
            format: None,
            rhythm: RhythmSettings { every, max_age: None },
            max_bytes: 1,
            skip_bad: false,
        };
        let judge = |list: ListSettings| overdue(&age, Some(&list), Rhythm::of(list.rhythm, None), NOW).is_some();
        assert!(judge(named(Some("https://a.example"), None)));
        assert!(judge(named(None, Some(Some(DAY)))));
        assert!(!judge(named(None, None)));
        let aged =
            ListSettings { rhythm: RhythmSettings { every: None, max_age: Some(Some(DAY)) }, ..named(None, None) };
        assert!(judge(aged));
        assert!(!judge(named(Some("https://a.example"), Some(None))), "never");
    }
}
