//! Characters that look like others or like nothing. Lists are copied from PDF files, pages and chats: what a person reads as an
//! address may be other bytes.

/// Nothing to see: zero-width and formatting characters, and control characters (NUL) but for line ends and tabs.
pub(super) fn invisible(c: char) -> bool {
    crate::text::is_hidden(c) && !matches!(c, '\n' | '\r' | '\t')
}

/// The ASCII character that this one looks like, where it is another letter or digit (Cyrillic, Greek, full-width, Roman numerals).
fn ascii(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'Ь' => 'b',
        'с' | 'ϲ' | 'ⅽ' => 'c',
        'С' | 'Ϲ' | 'Ⅽ' => 'C',
        'ԁ' | 'ⅾ' => 'd',
        'Ⅾ' => 'D',
        'е' | 'ҽ' => 'e',
        'Е' | 'Ε' => 'E',
        'Ϝ' => 'F',
        'һ' => 'h',
        'Н' | 'Η' => 'H',
        'і' => 'i',
        'ј' => 'j',
        'Ј' => 'J',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'о' | 'ο' => 'o',
        'О' | 'Ο' => 'O',
        'р' | 'ρ' => 'p',
        'Р' | 'Ρ' => 'P',
        'ѕ' => 's',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'х' => 'x',
        'Х' | 'Χ' => 'X',
        'у' => 'y',
        'У' | 'Υ' => 'Y',
        'Ζ' => 'Z',
        '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => {
            char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c)
        }
        other => other,
    }
}

/// The hex digit that a character is or looks like.
pub(super) fn hex_digit(c: char) -> Option<char> {
    match ascii(c) {
        'o' | 'O' => Some('0'),
        'l' | 'I' => Some('1'),
        folded if folded.is_ascii_hexdigit() => Some(folded),
        _ => None,
    }
}

/// Whether the text begins with what is or looks like `0x`; the rest of it then.
pub(super) fn after_prefix(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    let zero = chars.next().and_then(hex_digit) == Some('0');
    let x = chars.next().is_some_and(|c| matches!(ascii(c), 'x' | 'X'));
    (zero && x).then_some(chars.as_str())
}

/// What a person would have copied, and what had to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// Without white space and invisible characters.
    pub(super) text: String,
    /// Of that, letters of other scripts as the ASCII letters that they look like.
    pub(super) letters: String,
    /// Invisible characters were left out.
    pub(super) invisible: bool,
    /// White space inside was left out.
    pub(super) split: bool,
}

/// Folds a text that should be one address.
pub(super) fn fold(raw: &str) -> Folded {
    let seen = |c: char| !c.is_whitespace() && !invisible(c);
    let trimmed = raw.trim_matches(|c: char| !seen(c));
    let text: String = trimmed.chars().filter(|c| seen(*c)).collect();
    let letters = text.chars().map(ascii).collect();
    Folded { invisible: trimmed.chars().any(invisible), split: trimmed.chars().any(char::is_whitespace), text, letters }
}
