//! `[[list]]` in bolo.toml: where a list is fetched from, and how often there is to be news of it.

use serde::Deserialize;

use crate::lists::Format;
use crate::screen::ListKind;
use crate::source::check_list_url;

/// A file from a URL is refused beyond that, in MB of 1,000,000 bytes, unless it is said otherwise.
const DEFAULT_MAX_MB: u64 = 512;
const DAY: i64 = 86_400;

/// A list as bolo.toml has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// Its name.
    pub name: String,
    /// Where `bolo watchlist update` fetches it.
    pub url: Option<String>,
    /// Its kind.
    pub kind: Option<String>,
    /// Form of the file.
    pub format: Option<String>,
    /// How often it is to be looked for: `24h`, `7d`, `never`.
    pub every: Option<String>,
    /// How old its publication may be.
    pub max_age: Option<String>,
    /// Megabytes that the file may have.
    pub max_mb: Option<u64>,
    /// Whether bad lines are left out, and told, instead of refusing the file.
    #[serde(default)]
    pub skip_bad: bool,
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSettings {
    /// Its name.
    pub name: String,
    /// Where it is fetched from; it may hold a key.
    pub url: Option<String>,
    /// Its kind, where that is set here.
    pub kind: Option<ListKind>,
    /// Form of the file; none: recognised.
    pub format: Option<Format>,
    /// What is expected of it; what is not said is by its format.
    pub rhythm: RhythmSettings,
    /// Bytes that the file may have.
    pub max_bytes: u64,
    /// Whether bad lines are left out.
    pub skip_bad: bool,
}

/// What bolo.toml says of a list's rhythm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RhythmSettings {
    /// Seconds within which it is to be looked for; none within: never. None: not said.
    pub every: Option<Option<i64>>,
    /// Seconds that its publication may be old, likewise.
    pub max_age: Option<Option<i64>>,
}

/// How often there is to be news of a list, in seconds; none: no matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// From one look for a newer version to the next.
    pub every: Option<i64>,
    /// How old the newest version may be by the date that it says.
    pub max_age: Option<i64>,
}

impl Rhythm {
    /// What bolo.toml says, else what is usual for lists of that format. Formats that people write themselves, and tag packs and
    /// feeds that come when they come, have none.
    pub fn of(settings: RhythmSettings, format: Option<Format>) -> Self {
        let (every, max_age) = match format {
            Some(
                Format::OfacCsv
                | Format::OfacEnhanced
                | Format::OfacAdvanced
                | Format::OfacSdn
                | Format::OfacDelta
                | Format::OfacComments
                | Format::Uk
                | Format::Eu,
            ) => (Some(7 * DAY), Some(45 * DAY)),
            // Its newest date is of the last run of the crawler, which is daily.
            Some(Format::OpenSanctions | Format::OpenSanctionsCsv) => (Some(7 * DAY), Some(14 * DAY)),
            Some(Format::Text | Format::Csv | Format::Json | Format::TagPack | Format::Stix | Format::Misp) | None => {
                (None, None)
            }
        };
        Self { every: settings.every.unwrap_or(every), max_age: settings.max_age.unwrap_or(max_age) }
    }
}

/// Longer than any list is called.
const MAX_NAME_BYTES: usize = 200;

/// Refuses what is no name for a list.
///
/// # Errors
/// Why it is none.
pub fn check_list_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.trim() != name {
        return Err("it begins or ends with white space".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("it is longer than {MAX_NAME_BYTES} bytes"));
    }
    if name.contains(crate::text::is_hidden) {
        return Err("it has control characters or invisible ones in it".to_owned());
    }
    if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        return Err("it looks like a path".to_owned());
    }
    Ok(())
}

/// Checks what bolo.toml says of lists.
///
/// # Errors
/// One line that names the list.
pub fn list_settings(lists: &[ListConfig]) -> Result<Vec<ListSettings>, String> {
    let mut all: Vec<ListSettings> = Vec::with_capacity(lists.len());
    for list in lists {
        let name = list.name.trim();
        let bad = |what: String| format!("[[list]] {name:?} in the config file: {what}");
        if name.is_empty() {
            return Err("[[list]] in the config file: a list needs a name".to_owned());
        }
        check_list_name(name).map_err(&bad)?;
        if all.iter().any(|other| other.name == name) {
            return Err(bad("is there twice".to_owned()));
        }
        if let Some(url) = &list.url {
            check_list_url(url).map_err(|error| bad(error.to_string()))?;
        }
        let kind = list.kind.as_deref().map(|kind| {
            ListKind::from_name(kind).ok_or_else(|| {
                let known: Vec<_> = ListKind::ALL.iter().map(|(_, name)| *name).collect();
                bad(format!("kind = {kind:?}: write one of {}", known.join(", ")))
            })
        });
        let format = list.format.as_deref().map(|format| {
            Format::from_name(format).ok_or_else(|| bad(format!("format = {format:?} is none that bolo reads")))
        });
        let span = |key: &str, text: Option<&String>| {
            text.map(|text| {
                parse_span(text)
                    .ok_or_else(|| bad(format!("{key} = {text:?}: write a time like 30m, 24h, 7d, or never")))
            })
            .transpose()
        };
        let max_mb = list.max_mb.unwrap_or(DEFAULT_MAX_MB);
        if !(1..=4096).contains(&max_mb) {
            return Err(bad(format!("max_mb = {max_mb}: write a number from 1 to 4096")));
        }
        all.push(ListSettings {
            name: name.to_owned(),
            url: list.url.clone(),
            kind: kind.transpose()?,
            format: format.transpose()?,
            rhythm: RhythmSettings {
                every: span("every", list.every.as_ref())?,
                max_age: span("max_age", list.max_age.as_ref())?,
            },
            max_bytes: max_mb * 1_000_000,
            skip_bad: list.skip_bad,
        });
    }
    Ok(all)
}

/// Seconds of a time like `24h`; `never` is none.
fn parse_span(text: &str) -> Option<Option<i64>> {
    let text = text.trim();
    if text == "never" {
        return Some(None);
    }
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => DAY,
        b'w' => 7 * DAY,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let number: i64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    number.checked_mul(unit).filter(|seconds| (1..=3650 * DAY).contains(seconds)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<ListSettings>, String> {
        #[derive(Deserialize)]
        struct File {
            list: Vec<ListConfig>,
        }
        list_settings(&toml::from_str::<File>(text).map_err(|error| error.to_string())?.list)
    }

    #[test]
    fn a_list_is_checked_at_the_start() {
        let text = "[[list]]\nname = \"ofac\"\nurl = \"https://a.example/x?key=SECRET\"\nkind = \"blocking\"\nformat = \"ofac-sdn\"\n\
                    every = \"24h\"\nmax_age = \"never\"\nmax_mb = 3\n[[list]]\nname = \"cases\"\n";
        let lists = list(text).unwrap();
        assert_eq!((lists[0].kind, lists[0].format), (Some(ListKind::Blocking), Some(Format::OfacSdn)));
        assert_eq!((lists[0].max_bytes, lists[1].max_bytes), (3_000_000, 512_000_000));
        let rhythm = |list: &ListSettings, format| Rhythm::of(list.rhythm, format);
        assert_eq!(rhythm(&lists[0], Some(Format::OfacSdn)), Rhythm { every: Some(DAY), max_age: None });
        assert_eq!(rhythm(&lists[1], Some(Format::Uk)), Rhythm { every: Some(7 * DAY), max_age: Some(45 * DAY) });
        assert_eq!(rhythm(&lists[1], Some(Format::Csv)), Rhythm { every: None, max_age: None });
        for (wrong, why) in [
            ("name = \"\"", "needs a name"),
            ("name = \"a\"\n[[list]]\nname = \"a\"", "twice"),
            ("name = \"a\"\nurl = \"ftp://a/SECRET\"", "\"a\" in the config file: a is no URL"),
            ("name = \"a\"\nkind = \"black\"", "write one of blocking"),
            ("name = \"a\"\nformat = \"pdf\"", "none that bolo reads"),
            ("name = \"a\"\nevery = \"daily\"", "every = \"daily\": write a time like"),
            ("name = \"a\"\nevery = \"0h\"", "write a time like"),
            ("name = \"a\"\nevery = \"99999999999999999d\"", "write a time like"),
            ("name = \"a\"\nmax_mb = 0", "from 1 to 4096"),
            ("name = \"a\"\nurls = \"x\"", "unknown field"),
        ] {
            let error = list(&format!("[[list]]\n{wrong}\n")).unwrap_err();
            assert!(error.contains(why) && !error.contains("SECRET"), "{wrong}: {error}");
        }
    }
}
