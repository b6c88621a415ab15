//! Addresses in free text: remarks, notes, statements of reasons. They may be broken over lines or fields, and stand beside hashes
//! and addresses of other chains.

use super::address::{Verdict, judge, spot};
use super::candidate::Class;
use super::fold::{after_prefix, hex_digit, invisible};

/// A word of fewer hex digits after `0x` is no attempt at an address.
const FEWEST: usize = 20;

/// Finds what might be an address, with the text as it stands there.
pub(super) fn scan(text: &str, found: &mut dyn FnMut(&str, Verdict)) {
    // Most texts have nothing in them that is long enough.
    let words = words(text);
    let mut at = 0;
    while let Some((start, end)) = words.get(at).copied() {
        let mut start = start;
        at += 1;
        // A word that runs into it, as where a space is missing.
        let prefixed = |start: usize| text[start + 1..end].find("0x").or_else(|| text[start + 1..end].find("0X"));
        if after_prefix(&text[start..end]).is_none()
            && text.as_bytes()[start].is_ascii()
            && let Some(prefix) = prefixed(start)
        {
            start += 1 + prefix;
        }
        let raw = &text[start..end];
        let seen: String = raw.chars().filter(|c| !invisible(*c)).collect();
        let Some(rest) = after_prefix(&seen) else {
            if let Some(verdict) = spot(&seen) {
                found(raw, verdict);
            } else if let Some((_, end)) = words.get(at).copied()
                && seen.starts_with('T')
                && let whole = &text[start..end]
                && let verdict @ Verdict::Tron(..) = judge(whole, false)
            {
                found(whole, verdict);
                at += 1;
            }
            continue;
        };
        let Some(digits) = hex_count(rest) else {
            if rest.chars().count() >= 30 {
                found(raw, judge(raw, false));
            }
            continue;
        };
        // The next words may be the rest of it.
        let (mut total, mut last, mut joined) = (digits, end, at);
        while total < 40
            && let Some((next, end)) = words.get(joined).copied()
            && text[last..next].chars().all(parts)
            && let Some(more) = hex_count(&text[next..end])
            && total + more <= 40
        {
            (total, last, joined) = (total + more, end, joined + 1);
        }
        if total == 40 {
            let raw = &text[start..last];
            let verdict = match judge(raw, false) {
                Verdict::Reject(..) if raw.contains(hyphen) => mended(raw),
                verdict => verdict,
            };
            found(raw, verdict);
            at = joined;
        } else if digits >= FEWEST {
            found(raw, judge(raw, false));
        }
    }
}

/// What an address may be broken by: white space, and where a line ends also a hyphen.
fn parts(c: char) -> bool {
    c.is_whitespace() || hyphen(c)
}

fn hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{2011}')
}

/// One that hyphens break: only its checksum can say that nothing else is wrong with it.
fn mended(raw: &str) -> Verdict {
    let whole: String = raw.chars().filter(|c| !parts(*c)).collect();
    match judge(&whole, false) {
        Verdict::Evm(address, _) if address.to_checksum(None)[2..] == whole[2..] => {
            Verdict::Evm(address, Some("hyphens inside were left out; the checksum is right"))
        }
        Verdict::Evm(address, _) => Verdict::Reject(
            Class::Broken,
            format!("is broken by hyphens, and has no checksum that could tell (it might be {address})"),
        ),
        verdict => verdict,
    }
}

fn hex_count(word: &str) -> Option<usize> {
    let mut count = 0;
    for c in word.chars().filter(|c| !invisible(*c)) {
        hex_digit(c)?;
        count += 1;
    }
    Some(count)
}

/// Where the words are that could be a part of an address: letters and digits, and what is invisible between them.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices() {
        match (begin, c.is_alphanumeric() || invisible(c)) {
            (None, true) => begin = Some(at),
            (Some(start), false) => {
                words.push((start, at));
                begin = None;
            }
            _ => {}
        }
    }
    words.extend(begin.map(|start| (start, text.len())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
    const TRON: &str = "TAqg8TXo8tmpaz7TwHS669Tgt8MPSWgoxB";

    fn found(text: &str) -> Vec<(String, Verdict)> {
        let mut all = Vec::new();
        scan(text, &mut |raw, verdict| all.push((raw.to_owned(), verdict)));
        all
    }

    fn one(text: &str) -> Verdict {
        let all = found(text);
        assert_eq!(all.len(), 1, "{text:?}: {all:?}");
        all.into_iter().next().unwrap().1
    }

    fn is_a(text: &str) -> bool {
        matches!(one(text), Verdict::Evm(address, _) if address == A.parse::<alloy::primitives::Address>().unwrap())
    }

    fn refused(text: &str, class: Class, words: &str) -> bool {
        matches!(one(text), Verdict::Reject(found, reason) if found == class && reason.contains(words))
    }

    #[test]
    fn an_address_is_found_wherever_it_stands() {
        for text in [
            format!("wallet {A}."),
            format!("https://etherscan.io/address/{A}?a=1"),
            format!("({})", A.to_lowercase()),
            format!("[{}]", A.to_uppercase()),
            format!("ETH:{A};"),
            format!("ETH{A}"),
            format!("x{A}."),
        ] {
            assert!(is_a(&text), "{text}");
        }
        assert!(found("nothing 0x12 here, and 0xdeadbeef").is_empty());
    }

    #[test]
    fn what_a_reader_would_not_see_is_folded_and_the_checksum_decides() {
        for text in [
            A.replace("0x098B", "0x098\u{200b}B"),
            A.replace("0x098B", "0x\x00098B"),
            A.replace('B', "В"),
            A.replace("0x", "0х"),
            A.replace("Aaf", "Ааf"),
            A.replace("512996", "512996 "),
            A.replace("512996", "512996\r\n\t"),
            A.replace("512996", "512996-\n"),
            A.replace("512996", "512996\u{2010}"),
            A.replacen('0', "O", 1),
        ] {
            assert!(is_a(&text), "{text:?} {:?}", found(&text));
        }
        let lower = A.to_lowercase();
        assert!(is_a(&lower.replace("098b", "09\u{200b}8b")));
        assert!(refused(&lower.replace("8a", "8а"), Class::Broken, "only look like hex digits"));
        assert!(refused(&lower.replace("512996", "512996 "), Class::Broken, "is split"));
        assert!(refused(&lower.replace("512996", "512996-"), Class::Broken, "broken by hyphens"));
        assert!(refused(&A.replace("8Aaf", "8AAf"), Class::Broken, "wrong checksum"));
        assert!(refused(&A.replace("8Aaf", "8 AAf"), Class::Broken, "wrong checksum"));
    }

    #[test]
    fn what_only_looks_like_an_address_is_refused_with_the_reason() {
        assert!(refused(&format!("{A}ab"), Class::Broken, "42 hex digits"));
        assert!(refused(&A[..40], Class::Broken, "38 hex digits"));
        assert!(refused(&format!("0x{}", "ab".repeat(32)), Class::Broken, "64 hex digits"));
        assert!(refused(&"ab".repeat(20), Class::Broken, "any hash"));
        assert!(refused(&TRON.replace("TAqg", "TAqh"), Class::Broken, "wrong checksum"));
        assert!(refused("149w62rY42aZBox8fGcmqNsXUzSStKeq8C", Class::OtherChain, "another chain"));
        assert!(refused("bc1qe95l438kzjcvnsm3kn8n5augf9gpctdlhsq7f7hpnkyvlr7rc7cqupapf7", Class::OtherChain, "bech32"));
        assert!(is_a(&A[2..]), "its checksum tells");
        assert!(refused(&format!("41{}", &A[2..].to_lowercase()), Class::Broken, "a Tron address in hex"));
    }

    #[test]
    fn what_a_list_calls_an_address_and_is_mistyped_is_no_other_chain_s() {
        let lower = A.to_lowercase();
        for text in [
            A.replace("f96", "fG6"),
            format!("{A}x"),
            format!("{A}USDT"),
            format!("{A}{A}"),
            A[1..].to_owned(),
            format!("1{}", &A[1..]),
            format!("0x{A}"),
            lower.replace("f96", "fz6"),
            TRON[..33].to_owned(),
            TRON.replace('8', "0"),
            TRON.to_lowercase(),
        ] {
            assert!(matches!(judge(&text, true), Verdict::Reject(Class::Broken, _)), "{text} {:?}", judge(&text, true));
        }
        for text in [
            "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
            "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
            "rEb8TK3gBgk5auZkwc6sHnwrGVJH8DuaLh",
            "t1Ku2KLyndDPsR32jwnrTMd3yvi9tfFP8ML",
            "qpm2qsznhks23z7629mms6s5cwef74vcwvy22gdx6a",
        ] {
            assert!(
                matches!(judge(text, true), Verdict::Reject(Class::OtherChain, _)),
                "{text} {:?}",
                judge(text, true)
            );
        }
    }

    #[test]
    fn a_tron_address_has_a_twin() {
        for text in [format!("eip155:1:{A}"), A.replace("0x", "ronin:"), A.replace("0x", "xdc"), format!(" ETH: {A} ")]
        {
            assert!(matches!(judge(&text, true), Verdict::Evm(..)), "{text} {:?}", judge(&text, true));
        }
        let Verdict::Tron(address, form) = one(&format!("USDT {TRON};")) else { panic!("no twin") };
        assert_eq!((address.to_checksum(None).as_str(), form.as_str()), (A, TRON));
        let Verdict::Tron(address, form) = one(&format!("USDT {} {}; and more", &TRON[..15], &TRON[15..])) else {
            panic!("none")
        };
        assert_eq!((address.to_checksum(None).as_str(), form.as_str()), (A, TRON));
        assert!(matches!(judge(&TRON.replace('T', "Т"), false), Verdict::Tron(..)), "Cyrillic");
    }
}
