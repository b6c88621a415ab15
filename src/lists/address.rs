//! One text that should be an address: what it is. The shape decides, not the ticker that stands beside it.

use alloy::primitives::Address;
use sha2::{Digest, Sha256};

use super::candidate::Class;
use super::fold::{Folded, after_prefix, fold, hex_digit};

/// What a candidate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An EVM address, and what had to be done to read it.
    Evm(Address, Option<&'static str>),
    /// A Tron address: the EVM address of the same key, and the form that it was in.
    Tron(Address, String),
    /// No address that can be watched here.
    Reject(Class, String),
}

/// An address with or without `0x`, in lower or upper case, or in mixed case with the right checksum (EIP-55).
///
/// # Errors
/// Why it is none.
pub fn parse_address(text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("is not an address of 40 hex digits".to_owned());
    }
    let address: Address = digits.parse().map_err(|_| "is not an address".to_owned())?;
    let checksum = address.to_checksum(None);
    if mixed(digits) && digits != &checksum[2..] {
        return Err(format!("has a wrong checksum: a letter may be mistyped (by its digits it would be {checksum})"));
    }
    Ok(address)
}

/// An address as [`parse_address`] takes it, or in Tron's form (`T…`): the 20 bytes are those of the same key.
///
/// # Errors
/// Why it is none.
pub fn parse_any_form(text: &str) -> Result<Address, String> {
    match parse_address(text) {
        Ok(address) => Ok(address),
        Err(reason) if text.len() != 34 || !text.starts_with('T') => Err(reason),
        Err(_) => tron(text).ok_or_else(|| "looks like a Tron address and has a wrong checksum".to_owned()),
    }
}

fn mixed(digits: &str) -> bool {
    digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase())
}

fn broken(reason: impl Into<String>) -> Verdict {
    Verdict::Reject(Class::Broken, reason.into())
}

fn foreign(what: &str) -> Verdict {
    Verdict::Reject(Class::OtherChain, format!("is {what}: another chain"))
}

/// Judges a field that is to hold one address. `crypto` says that the list calls it an address of some currency: then whatever has
/// the shape of one is another chain's, and not a mistake.
pub(super) fn judge(raw: &str, crypto: bool) -> Verdict {
    let folded = fold(without_chain(raw));
    if let Some(verdict) = hex(&folded) {
        return verdict;
    }
    let folded = fold(raw);
    for text in [&folded.text, &folded.letters] {
        if let Some(address) = tron(text) {
            return Verdict::Tron(address, text.clone());
        }
        if base58check(text).is_some() {
            return foreign("an address with a base58 checksum (Bitcoin and the like)");
        }
    }
    let text = folded.text.as_str();
    if text.len() == 34 && text.starts_with('T') && is_base58(text) {
        return broken("looks like a Tron address and has a wrong checksum");
    }
    if is_bech32(text) {
        return foreign("a bech32 address");
    }
    if let Some(what) = mistyped(text) {
        return broken(what);
    }
    if crypto && text.len() >= 25 && (is_base58(text) || is_foreign(text)) {
        return foreign("the address of another chain by its shape");
    }
    broken("is not an address of 40 hex digits")
}

/// What is meant as an address that bolo watches, and has a mistake in it: whatever the list calls it, somebody should look at it.
fn mistyped(text: &str) -> Option<&'static str> {
    let count = text.chars().count();
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    if text.contains("0x") || text.contains("0X") || (36..=46).contains(&count) && count - digits <= 4 {
        return Some("looks like an address of 40 hex digits and is none");
    }
    let tron =
        text.starts_with(['T', 't']) && (33..=35).contains(&count) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    // Zcash's begin with a t and a 1 or 3.
    (tron && !text.starts_with("t1") && !text.starts_with("t3")).then_some("looks like a Tron address and is none")
}

/// Without the chain that some write before an address: `eip155:1:0x…`, `eth:0x…`, `ronin:…`, `xdc…`. The key is the same on all.
fn without_chain(raw: &str) -> &str {
    let body = raw.rsplit(':').next().unwrap_or(raw).trim();
    let bare = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(digits) = body.strip_prefix("xdc").filter(|digits| bare(digits)) {
        return digits;
    }
    if after_prefix(body).is_some() || bare(body) { body } else { raw }
}

/// A text of hex digits, or one that looks like it: then only the checksum can say that it is right.
fn hex(folded: &Folded) -> Option<Verdict> {
    let prefixed = after_prefix(&folded.text);
    let digits = prefixed.unwrap_or(&folded.text);
    let read: String = digits.chars().map(hex_digit).collect::<Option<_>>()?;
    let count = read.len();
    if count != 40 {
        let known = prefixed.is_some() || (count >= 32 && read == digits);
        return known.then(|| match count {
            64 => broken("has 64 hex digits: the hash of a transaction or a block"),
            42 if read.starts_with("41") => {
                broken("has 42 hex digits, as a Tron address in hex has: write its T… form")
            }
            _ => broken(format!("has {count} hex digits and not 40")),
        });
    }
    let altered = read != digits
        || prefixed.is_some_and(|_| !folded.text.starts_with(['0']))
        || prefixed.is_some() && !matches!(folded.text.as_bytes().get(1), Some(b'x' | b'X'));
    let note = match (altered, folded.split, folded.invisible) {
        (true, ..) => Some("letters of another script that look alike were folded; the checksum is right"),
        (false, true, _) => Some("white space inside was left out; the checksum is right"),
        (false, false, true) => Some("invisible characters were left out"),
        (false, false, false) => None,
    };
    Some(match parse_address(&read) {
        Ok(address) if !altered && !folded.split || mixed(&read) => Verdict::Evm(address, note),
        Ok(address) if altered => broken(format!(
            "has letters that only look like hex digits, and no checksum that could tell (it might be {address})"
        )),
        Ok(address) => broken(format!("is split, and has no checksum that could tell (it might be {address})")),
        Err(reason) => broken(reason),
    })
}

fn is_base58(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() && !b"0OIl".contains(&b))
}

/// Version byte and 20 bytes of a text in base58 with a right checksum.
fn base58check(text: &str) -> Option<[u8; 21]> {
    if !(25..=36).contains(&text.len()) || !is_base58(text) {
        return None;
    }
    let bytes = bs58::decode(text).into_vec().ok()?;
    let (payload, sum) = bytes.split_last_chunk::<4>()?;
    (Sha256::digest(Sha256::digest(payload))[..4] == sum[..]).then_some(())?;
    // Zcash's transparent addresses have two bytes of version.
    payload.last_chunk::<21>().copied()
}

/// The EVM address of a Tron address: the same 20 bytes.
fn tron(text: &str) -> Option<Address> {
    if text.len() != 34 || !text.starts_with('T') {
        return None;
    }
    let bytes = base58check(text)?;
    (bytes[0] == 0x41).then(|| Address::from_slice(&bytes[1..]))
}

/// A human-readable part, the digit 1, and bech32's letters.
fn is_bech32(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some((human, data)) = lower.split_once('1') else { return false };
    let known = ["bc", "tb", "ltc", "bnb", "cosmos", "addr", "stake", "osmo", "thor", "terra", "zs", "xpla", "erd"];
    known.contains(&human)
        && data.len() >= 32
        && data.bytes().all(|b| b.is_ascii_alphanumeric() && !b"1bio".contains(&b))
        && (text == lower || text == text.to_ascii_uppercase())
}

/// Letters and digits as other chains write addresses: Bitcoin Cash with its prefix, Stellar, Polkadot, XDC.
fn is_foreign(text: &str) -> bool {
    let body = text.split_once(':').map_or(text, |(_, body)| body);
    body.len() <= 120
        && body.bytes().all(|b| b.is_ascii_alphanumeric())
        && body.bytes().any(|b| b.is_ascii_digit())
        && body.bytes().any(|b| b.is_ascii_alphabetic())
}

/// What a word in free text is that has no `0x`, where its own checksum or form tells that it is an address.
pub(super) fn spot(word: &str) -> Option<Verdict> {
    let hex = word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    if hex {
        let proven = mixed(word).then(|| parse_address(word).ok()).flatten();
        return Some(proven.map_or_else(
            || broken("has 40 hex digits, no 0x and no right checksum: it may be any hash"),
            |address| Verdict::Evm(address, None),
        ));
    }
    if word.len() == 42 && word.starts_with("41") && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(judge(word, false));
    }
    let tron_like = word.len() == 34 && word.starts_with('T') && is_base58(word);
    let mixed_up = word.bytes().any(|b| b.is_ascii_digit()) && mixed(word);
    (tron_like && mixed_up || base58check(word).is_some() || is_bech32(word)).then(|| judge(word, true))
}
