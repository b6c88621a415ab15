//! What a token says of itself: `symbol()` and `decimals()`, in the shapes that real tokens answer. Written by strangers: cleaned,
//! cut, and never trusted.

use alloy::primitives::U256;
use alloy::sol;
use alloy::sol_types::{SolCall, SolValue};

sol! {
    function symbol() external view returns (string);
    function decimals() external view returns (uint8);
}

/// Longest symbol that is kept, in characters.
const LONGEST: usize = 32;

pub(super) fn symbol_call() -> Vec<u8> {
    symbolCall {}.abi_encode()
}

pub(super) fn decimals_call() -> Vec<u8> {
    decimalsCall {}.abi_encode()
}

/// A string, or a bytes32 as tokens of 2017 have it.
pub(super) fn read_symbol(answer: &[u8]) -> Option<String> {
    let text = match String::abi_decode(answer) {
        Ok(text) => text,
        Err(_) if answer.len() == 32 => {
            let end = answer.iter().rposition(|byte| *byte != 0)? + 1;
            std::str::from_utf8(&answer[..end]).ok()?.to_owned()
        }
        Err(_) => return None,
    };
    clean(&text)
}

pub(super) fn read_decimals(answer: &[u8]) -> Option<u8> {
    let word: [u8; 32] = answer.get(..32)?.try_into().ok()?;
    u8::try_from(U256::from_be_bytes(word)).ok()
}

/// Without control characters and those that turn the direction of text or take no room; cut to a readable length.
fn clean(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'))
        .collect();
    let cut: String = kept.trim().chars().take(LONGEST).collect();
    (!cut.is_empty()).then_some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_and_bytes32_are_read_and_nonsense_is_not() {
        assert_eq!(read_symbol(&"USDC".to_owned().abi_encode()).as_deref(), Some("USDC"));
        let mut mkr = [0u8; 32];
        mkr[..3].copy_from_slice(b"MKR");
        assert_eq!(read_symbol(&mkr).as_deref(), Some("MKR"));
        assert_eq!(read_symbol(&[0; 32]), None);
        assert_eq!(read_symbol(&[]), None);
        assert_eq!(read_decimals(&U256::from(18).to_be_bytes::<32>()), Some(18));
        assert_eq!(read_decimals(&[0xff; 32]), None);
        assert_eq!(read_decimals(&[1, 2]), None);
    }

    #[test]
    fn hostile_symbols_are_cleaned_and_cut() {
        let hostile = format!("\u{1b}[31mUS\u{202e}DC\n\0{}", "x".repeat(500));
        let symbol = read_symbol(&hostile.abi_encode()).unwrap();
        assert!(symbol.chars().count() <= LONGEST && !symbol.chars().any(char::is_control), "{symbol:?}");
        assert!(symbol.starts_with("[31mUSDC"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_symbol(&answer);
            let _ = read_decimals(&answer);
        }
    }
}
