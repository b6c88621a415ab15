//! Takes the secrets of URLs out of every text that is logged, stored or shown. Providers put keys into the path, the query and the
//! user part of a URL, and servers echo them back in any encoding.
//!
//! Whoever reads a URL registers it ([`register_url`]); whatever lets a text out passes it through [`redacted`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use alloy::primitives::hex;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use url::Url;

/// Stands in the place of a secret.
const MASK: &str = "…";
/// Shorter values are found everywhere; they count only as a part of `user:password` or `name=value`.
const SHORTEST: usize = 4;
/// So many characters in a row of a secret give it away. Below that a chance match with a hash in the same line is too likely.
const PART: usize = 8;
/// Shorter secrets than this are found whole, not in parts.
const SHORTEST_IN_PARTS: usize = 12;
/// A server that masks a key shows a few characters of either end of it, next to its mask.
const SHOWN_END: usize = 4;
/// Encodings within each other that are undone: a URL in JSON in a URL, say.
const LAYERS: usize = 3;
/// Parts of paths that are no keys, though a text may be about them.
const PLAIN_WORDS: [&str; 25] = [
    "jsonrpc", "json-rpc", "http", "https", "mainnet", "ethereum", "sepolia", "hoodi", "holesky", "polygon",
    "arbitrum", "optimism", "base", "gnosis", "public", "archive", "node", "list", "lists", "data", "file", "files",
    "download", "index", "block",
];

static REGISTERED: RwLock<Redactor> = RwLock::new(Redactor::new());

/// From now on no secret of that URL leaves the program in a text. A forgotten scheme is put up with.
pub fn register_url(url: &str) {
    let secrets = secrets_of(url);
    let mut redactor = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().for_each(|secret| redactor.add(secret));
}

/// Registers every URL in the words of a command line or a variable of the environment.
pub fn register_urls_in(text: &str) {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '"' | '\'' | '<' | '>'));
    for word in words.filter(|word| word.contains("://") || word.contains('@')) {
        register_url(url_in(word));
    }
}

/// The URL in a word: without the option or the name of the variable that it is attached to (`--option=URL`, `-oURL`, `NAME=URL`), which
/// would make a part of a path of its host.
fn url_in(word: &str) -> &str {
    if let Some(end) = word.find("://") {
        let known = ["https", "http", "wss", "ws"].iter().find(|scheme| word[..end].ends_with(**scheme));
        let of_scheme = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '.';
        let length = known.map_or_else(|| end - word[..end].trim_end_matches(of_scheme).len(), |scheme| scheme.len());
        return &word[end - length..];
    }
    // Without a scheme: `user:password@host`, where the password may hold an equals sign.
    let value = match word.strip_prefix("--") {
        Some(option) => option.split_once('=').map(|(_, value)| value),
        None => word.strip_prefix('-').map(|option| option.get(1..).unwrap_or_default().trim_start_matches('=')),
    };
    value.unwrap_or(word)
}

/// The text without any secret of a registered URL, and without the user part of any URL.
pub fn redacted(text: &str) -> Cow<'_, str> {
    REGISTERED.read().unwrap_or_else(PoisonError::into_inner).redact(text)
}

/// The same of every text in a JSON value.
pub fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = redacted(text) {
                *text = shown;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_json),
        Value::Object(members) => members.values_mut().for_each(redact_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Finds secrets in texts.
#[derive(Debug)]
struct Redactor {
    /// Found whole, in lower case.
    whole: Vec<Vec<u8>>,
    /// Parts of secrets, in lower case.
    parts: Option<HashSet<[u8; PART]>>,
}

/// A part of a URL that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Secret {
    text: String,
    /// Also a part of it gives it away: it does not look like a word.
    in_parts: bool,
}

/// What may be a secret in a URL: all but its scheme, host and port.
fn secrets_of(url: &str) -> Vec<Secret> {
    let url = url.trim();
    let parsed = Url::parse(url).ok().filter(Url::has_host);
    let Some(parsed) = parsed.or_else(|| Url::parse(&format!("http://{}", url.trim_start_matches('/'))).ok()) else {
        return Vec::new();
    };
    let mut secrets = Vec::new();
    let mut add = |text: &str, in_parts: bool| {
        let decoded = percent_decoded(text);
        for text in [text, &decoded] {
            let secret = Secret { text: text.to_owned(), in_parts };
            if text.len() >= SHORTEST && !secrets.contains(&secret) {
                secrets.push(secret);
            }
        }
    };
    let (user, password) = (parsed.username(), parsed.password().unwrap_or_default());
    add(user, true);
    add(password, true);
    if !user.is_empty() || !password.is_empty() {
        add(&format!("{}:{}", percent_decoded(user), percent_decoded(password)), true);
    }
    for part in parsed.path_segments().into_iter().flatten() {
        let plain = PLAIN_WORDS.contains(&part.to_ascii_lowercase().as_str());
        let wordy = part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_') && part.len() < 20;
        if !plain {
            add(part, !wordy);
        }
    }
    for pair in parsed.query().into_iter().flat_map(|query| query.split('&')) {
        add(pair, true);
        add(pair.split_once('=').map_or(pair, |(_, value)| value), true);
    }
    add(parsed.fragment().unwrap_or_default(), true);
    secrets
}

fn percent_decoded(text: &str) -> String {
    let view = View::of(text).decoded(percent);
    String::from_utf8_lossy(&view.bytes).into_owned()
}

/// The forms of a secret that no decoding of the text around it brings to light, besides itself.
fn encoded_forms(secret: &str) -> Vec<String> {
    let mut forms = vec![hex::encode(secret)];
    // Within a longer text its Base64 depends on where in a group of three bytes it begins; the characters at either end depend on its
    // neighbours as well.
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(secret.as_bytes());
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for form in [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)] {
            forms.extend(form.get(from..to).filter(|form| form.len() >= SHORTEST).map(str::to_owned));
        }
    }
    forms
}

impl Redactor {
    const fn new() -> Self {
        Self { whole: Vec::new(), parts: None }
    }

    fn add(&mut self, secret: &Secret) {
        let forms = std::iter::once((secret.text.clone(), SHORTEST))
            .chain(encoded_forms(&secret.text).into_iter().map(|form| (form, PART)));
        for (form, shortest) in forms {
            let form = form.to_ascii_lowercase().into_bytes();
            if form.len() < shortest {
                continue;
            }
            if secret.in_parts && form.len() >= SHORTEST_IN_PARTS {
                let parts = form.windows(PART).filter_map(|part| <[u8; PART]>::try_from(part).ok());
                self.parts.get_or_insert_default().extend(parts);
            }
            if !self.whole.contains(&form) {
                self.whole.push(form);
            }
        }
    }

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut hidden = user_parts(text);
        if !self.whole.is_empty() {
            let mut view = View::of(text);
            for _ in 0..=LAYERS {
                self.find(&view, &mut hidden);
                let inner = view.decoded(any_escape);
                if inner.bytes.len() == view.bytes.len() {
                    break;
                }
                view = inner;
            }
        }
        if hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        hidden.sort_unstable();
        let mut shown = String::with_capacity(text.len());
        let mut at = 0;
        for (from, to) in hidden {
            let (from, to) = (text.floor_char_boundary(from).max(at), text.ceil_char_boundary(to));
            if to <= at {
                continue;
            }
            // Pieces that follow each other are one.
            if from > at || !shown.ends_with(MASK) {
                shown.push_str(&text[at..from]);
                if !shown.ends_with(MASK) {
                    shown.push_str(MASK);
                }
            }
            at = to;
        }
        shown.push_str(&text[at..]);
        Cow::Owned(shown)
    }

    /// Adds where secrets are, as ranges of the text that the view is of.
    fn find(&self, view: &View, hidden: &mut Vec<(usize, usize)>) {
        let bytes = view.bytes.to_ascii_lowercase();
        if let Some(parts) = &self.parts {
            for (at, part) in bytes.windows(PART).enumerate() {
                if <[u8; PART]>::try_from(part).is_ok_and(|part| parts.contains(&part)) {
                    hidden.push(view.range(at, at + PART));
                }
            }
        }
        for form in &self.whole {
            // A short one is one only where it is a word of its own, or it would be found within hashes.
            let bounded = |at: usize, end: usize| {
                form.len() >= PART
                    || !(at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric())
                        || bytes.get(end).is_some_and(u8::is_ascii_alphanumeric))
            };
            for at in memchr::memmem::find_iter(&bytes, form) {
                if bounded(at, at + form.len()) {
                    hidden.push(view.range(at, at + form.len()));
                }
            }
            if form.len() >= SHORTEST_IN_PARTS {
                self.find_ends(form, &bytes, view, hidden);
            }
        }
    }

    /// The ends of a secret that a server shows next to its mask, or that were left where a text was cut.
    fn find_ends(&self, form: &[u8], bytes: &[u8], view: &View, hidden: &mut Vec<(usize, usize)>) {
        for at in memchr::memmem::find_iter(bytes, &form[..SHOWN_END]) {
            let end = at + bytes[at..].iter().zip(form).take_while(|(found, known)| found == known).count();
            if starts_with_mask(&bytes[end..]) {
                hidden.push(view.range(at, end));
            }
        }
        for at in memchr::memmem::find_iter(bytes, &form[form.len() - SHOWN_END..]) {
            let end = at + SHOWN_END;
            let common =
                bytes[..end].iter().rev().zip(form.iter().rev()).take_while(|(found, known)| found == known).count();
            if ends_with_mask(&bytes[..end - common]) {
                hidden.push(view.range(end - common, end));
            }
        }
    }
}

/// What masks are made of: bytes of `…` and `•`, asterisks, full stops.
fn is_mask(bytes: &[u8]) -> bool {
    ["…", "•", "**", "..", "xxx"].iter().any(|mask| bytes == mask.as_bytes())
}

fn starts_with_mask(bytes: &[u8]) -> bool {
    [2, 3].iter().any(|length| bytes.get(..*length).is_some_and(is_mask))
}

fn ends_with_mask(bytes: &[u8]) -> bool {
    [2, 3].iter().any(|length| bytes.len().checked_sub(*length).is_some_and(|from| is_mask(&bytes[from..])))
}

/// The user parts of whatever URLs are in a text.
fn user_parts(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, scheme) in text.match_indices("://") {
        let begin = at + scheme.len();
        let rest = &text[begin..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '<' | '>' | '\\'));
        if let Some(user) = rest[..end.unwrap_or(rest.len())].rfind('@').filter(|length| *length > 0) {
            found.push((begin, begin + user));
        }
    }
    found
}

/// A text, perhaps decoded, whose bytes know where they come from.
struct View {
    bytes: Vec<u8>,
    /// Where each byte comes from in the text: first byte, and the one behind the last.
    from: Vec<(usize, usize)>,
}

/// The length of an escape at the beginning of some bytes, and what it stands for.
type Escape = fn(&[u8]) -> Option<(usize, char)>;

impl View {
    fn of(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), from: (0..text.len()).map(|at| (at, at + 1)).collect() }
    }

    fn range(&self, from: usize, to: usize) -> (usize, usize) {
        (self.from[from].0, self.from[to - 1].1)
    }

    /// With one layer of escapes undone.
    fn decoded(&self, escape: Escape) -> Self {
        let mut view = Self { bytes: Vec::new(), from: Vec::new() };
        let mut at = 0;
        while at < self.bytes.len() {
            match escape(&self.bytes[at..]) {
                Some((length, c)) => {
                    let origin = self.range(at, at + length);
                    // What a percent sign escapes is a byte; what the others do, a character.
                    if self.bytes[at] == b'%' {
                        view.bytes.push(u8::try_from(u32::from(c)).unwrap_or(b'?'));
                    } else {
                        view.bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    view.from.resize(view.bytes.len(), origin);
                    at += length;
                }
                None => {
                    view.bytes.push(self.bytes[at]);
                    view.from.push(self.from[at]);
                    at += 1;
                }
            }
        }
        view
    }
}

fn hex_digits(bytes: &[u8], count: usize) -> Option<char> {
    let digits = std::str::from_utf8(bytes.get(..count)?).ok()?;
    let valid = digits.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)).flatten()
}

fn percent(bytes: &[u8]) -> Option<(usize, char)> {
    Some((3, hex_digits(bytes.strip_prefix(b"%")?, 2)?))
}

/// Of URLs, JSON and other quoted strings, and HTML.
fn any_escape(bytes: &[u8]) -> Option<(usize, char)> {
    match bytes {
        [b'%', ..] => percent(bytes),
        [b'\\', b'u', rest @ ..] => Some((6, hex_digits(rest, 4)?)),
        [b'\\', b'x', rest @ ..] => Some((4, hex_digits(rest, 2)?)),
        [b'\\', c @ (b'/' | b'"' | b'\'' | b'\\'), ..] => Some((2, char::from(*c))),
        [b'&', b'#', b'x' | b'X', rest @ ..] => {
            let length = rest.iter().take(7).position(|b| *b == b';')?;
            Some((4 + length, hex_digits(rest, length)?))
        }
        [b'&', b'#', rest @ ..] => {
            let length = rest.iter().take(8).position(|b| *b == b';')?;
            Some((3 + length, std::str::from_utf8(&rest[..length]).ok()?.parse().ok().and_then(char::from_u32)?))
        }
        [b'&', rest @ ..] => {
            let named = [("amp;", '&'), ("lt;", '<'), ("gt;", '>'), ("quot;", '"'), ("apos;", '\'')];
            named.iter().find(|(name, _)| rest.starts_with(name.as_bytes())).map(|(name, c)| (1 + name.len(), *c))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
