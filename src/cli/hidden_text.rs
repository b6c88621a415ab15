//! Hidden characters in what a list says: a name that looks like another one, or that a search would miss.

use crate::lists::ParsedEntry;
use crate::text::{cell, is_hidden};

/// So much of a text is shown.
const MAX_SHOWN: usize = 80;

/// The texts of an entry that are shown and searched.
fn texts(entry: &ParsedEntry) -> impl Iterator<Item = (&'static str, &str)> {
    let one = [("label", &entry.label), ("entity", &entry.entity), ("uid", &entry.uid)];
    let many = [("alias", &entry.aliases), ("program", &entry.programs)];
    let one = one.into_iter().filter_map(|(field, text)| Some((field, text.as_deref()?)));
    one.chain(many.into_iter().flat_map(|(field, texts)| texts.iter().map(move |text| (field, text.as_str()))))
}

/// Warns once of all texts that hold hidden characters. They are kept as they are.
pub(super) fn warn_of_hidden<'a>(entries: impl Iterator<Item = &'a ParsedEntry>) {
    if let Some(warning) = warning(entries) {
        tracing::warn!("{warning}");
    }
}

fn warning<'a>(entries: impl Iterator<Item = &'a ParsedEntry>) -> Option<String> {
    let all = entries.flat_map(|entry| texts(entry).map(move |(field, text)| (entry.address, field, text)));
    let mut hidden = all.filter(|(_, _, text)| text.chars().any(is_hidden));
    let (address, field, first) = hidden.next()?;
    let (count, have) = match hidden.count() {
        0 => ("1 text".to_owned(), "has"),
        others => (format!("{} texts", others + 1), "have"),
    };
    Some(format!(
        "{count} {have} hidden characters, first the {field} of {address}: \"{}\"; bolo keeps them, writes them out so, and searches without them",
        cell(first, MAX_SHOWN)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::Address;

    fn entry(label: &str) -> ParsedEntry {
        ParsedEntry { label: Some(label.to_owned()), ..ParsedEntry::bare(Address::ZERO) }
    }

    #[test]
    fn hidden_characters_in_any_text_of_an_entry_are_warned_of_in_one_line() {
        let bare = ParsedEntry::bare(Address::ZERO);
        for (c, shown) in [
            ('\u{200b}', "\\u{200b}"),
            ('\u{202e}', "\\u{202e}"),
            ('\u{e0041}', "\\u{e0041}"),
            ('\u{ad}', "\\u{ad}"),
            ('\u{2028}', "\\u{2028}"),
            ('\u{2066}', "\\u{2066}"),
            ('\n', "\\n"),
        ] {
            let text = || format!("Laz{c}arus");
            for (field, entry) in [
                ("label", entry(&text())),
                ("entity", ParsedEntry { entity: Some(text()), ..bare.clone() }),
                ("uid", ParsedEntry { uid: Some(text()), ..bare.clone() }),
                ("alias", ParsedEntry { aliases: vec!["Plain".to_owned(), text()], ..bare.clone() }),
                ("program", ParsedEntry { programs: vec![text()], ..bare.clone() }),
            ] {
                let warning = warning([&bare, &entry].into_iter()).unwrap();
                let begins =
                    format!("1 text has hidden characters, first the {field} of {}: \"Laz{shown}arus\"", Address::ZERO);
                assert!(warning.starts_with(&begins), "{warning}");
                assert!(!warning.chars().any(is_hidden));
            }
        }
        let many = [entry("a\u{200b}"), entry("b"), entry("c\u{feff}"), entry("d\u{200d}")];
        let warning = warning(many.iter()).unwrap();
        assert!(warning.starts_with("3 texts have hidden characters"), "{warning}");
        assert_eq!(super::warning([entry("Lazarus – Группа 朝鮮 🦀"), bare].iter()), None);
    }
}
