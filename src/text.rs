//! Text that somebody else wrote (labels, symbols, list names, arguments), made safe at the output boundary: a terminal, a log, a
//! spreadsheet and a JSON reader see every character that is there, and none that acts on them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is invisible or changes how the text around it is shown: controls (C0, DEL, C1), bidirectional controls,
/// line and paragraph separators, zero-width characters, fillers, soft hyphens, variation selectors and tags.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The text with each hidden character written out, as in `\u{202e}` or `\n`.
pub fn visible(text: &str) -> Cow<'_, str> {
    written_out(text, is_hidden)
}

/// The same for text of several lines that bolo laid out itself: line feeds stay.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    written_out(text, |c| is_hidden(c) && c != '\n')
}

fn written_out(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The text as searches compare it: in lower case, without hidden characters, with a plain space for each white space. What a person
/// types finds what looks the same.
pub fn folded(text: &str) -> String {
    let seen = text.chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some(' '),
        c if is_hidden(c) => None,
        c => Some(c),
    });
    seen.collect::<String>().to_lowercase()
}

/// The text for one cell: hidden characters are written out, and text of more than `longest` characters is cut.
pub fn cell(text: &str, longest: usize) -> String {
    let shown = visible(text);
    match shown.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

/// The text for a field of CSV. A spreadsheet runs a field that begins with one of these signs, whatever white space precedes it,
/// as a formula: it gets an apostrophe, which makes it text.
pub fn csv_field(text: &str) -> String {
    let shown = visible(text);
    let is_formula = shown.trim_start().starts_with(|c| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\u{fe62}' | '\u{fe63}' | '\u{fe66}' | '\u{fe6b}'
        )
    });
    // A tab or carriage return at the beginning is written out by now; it was there to be skipped.
    let begins_hidden = text.starts_with(['\t', '\r', '\n']);
    if is_formula || begins_hidden { format!("'{shown}") } else { shown.into_owned() }
}

/// Serialized JSON with each hidden character as `\uXXXX`: it means the same. Control characters below U+0020 stand in JSON only
/// between values, since the serializer escapes them within strings.
pub fn json(serialized: &str) -> Cow<'_, str> {
    let hidden = |c: char| is_hidden(c) && c >= ' ';
    if !serialized.chars().any(hidden) {
        return Cow::Borrowed(serialized);
    }
    let mut out = String::with_capacity(serialized.len() + 16);
    for c in serialized.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A line of the log. It stays one line, whatever is in it; of the escape sequences only colours stay, where the log has colours.
pub fn log_line(line: &str, colors: bool) -> String {
    let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
    let mut out = String::with_capacity(line.len());
    let mut rest = body;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&visible(&rest[..at]));
        let color = colors.then(|| color(&rest[at..])).flatten();
        let taken = color.unwrap_or(1);
        match color {
            Some(_) => out.push_str(&rest[at..at + taken]),
            None => out.push_str(&visible(&rest[at..=at])),
        }
        rest = &rest[at + taken..];
    }
    out.push_str(&visible(rest));
    out.push_str(end);
    out
}

/// Length of the escape sequence for a colour (SGR) that the text begins with.
fn color(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..].starts_with('m').then_some(end + 3)
}

/// Base units as a decimal number of units.
pub fn in_units(amount: &str, decimals: u8) -> String {
    let places = usize::from(decimals);
    let padded = format!("{amount:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One of each kind, and others of its kind.
    const HIDDEN: [char; 30] = [
        '\0',
        '\u{7}',
        '\u{1b}',
        '\r',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0001}',
        '\u{e0041}',
        '\u{e007f}',
        '\u{e0100}',
    ];

    #[test]
    fn hidden_characters_are_written_out_everywhere() {
        for c in HIDDEN {
            let text = format!("a{c}b");
            for shown in
                [visible(&text).into_owned(), visible_lines(&text).into_owned(), cell(&text, 99), csv_field(&text)]
            {
                assert_eq!(shown, format!("a{}b", c.escape_default()));
            }
            assert!(!log_line(&text, true).contains(c), "{c:?}");
            let serialized = serde_json::to_string(&text).unwrap();
            let shown = json(&serialized);
            assert!(!shown.contains(c), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
        assert_eq!(visible("naïve Ωμέγα 日本 🦀"), "naïve Ωμέγα 日本 🦀");
        assert_eq!(visible_lines("one\ntwo\t"), "one\ntwo\\t");
        assert_eq!(cell("abcdef", 3), "abc…");
    }

    #[test]
    fn texts_that_look_the_same_are_folded_to_the_same() {
        for c in HIDDEN.into_iter().filter(|c| !c.is_whitespace()) {
            assert_eq!(folded(&format!("{c}La{c}zarus Group{c}")), "lazarus group", "{c:?}");
        }
        for space in [' ', '\t', '\n', '\u{a0}', '\u{2003}', '\u{3000}'] {
            assert_eq!(folded(&format!("Lazarus{space}Group")), "lazarus group", "{space:?}");
        }
        assert_eq!(folded("ΩMÉGA"), "ωméga");
        assert_eq!(folded("\u{200b}"), "");
    }

    #[test]
    fn fields_that_spreadsheets_would_run_get_an_apostrophe() {
        for text in ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "＝1", "＋1", "－1", "＠x", " =1", "\u{3000}=1", "﹦1"]
        {
            assert_eq!(csv_field(text), format!("'{text}"));
        }
        assert_eq!(csv_field("\t=1"), "'\\t=1");
        assert_eq!(csv_field("\rx"), "'\\rx");
        for text in ["USDC", "a=b", "0x-1", "", "é"] {
            assert_eq!(csv_field(text), text);
        }
    }

    #[test]
    fn a_log_line_stays_one_line_and_keeps_only_colours() {
        assert_eq!(log_line("\u{1b}[33m WARN\u{1b}[0m a\nb\n", true), "\u{1b}[33m WARN\u{1b}[0m a\\nb\n");
        assert_eq!(log_line("\u{1b}[33m WARN", false), "\\u{1b}[33m WARN");
        for sequence in ["\u{1b}]0;title\u{7}", "\u{1b}[2J", "\u{1b}[1;3H", "\u{1b}c", "\u{1b}["] {
            assert!(!log_line(sequence, true).contains('\u{1b}'), "{sequence:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_json_means_the_same(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_hidden));
            prop_assert!(!csv_field(&text).chars().any(is_hidden));
            prop_assert!(!log_line(&text, false).trim_end_matches('\n').chars().any(is_hidden));
            let serialized = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json(&serialized)).unwrap(), text);
        }
    }
}
