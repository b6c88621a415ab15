//! What a token says of itself: `symbol()` and `decimals()`, in the shapes that real tokens answer. Written by strangers: cleaned,
//! cut, and never trusted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use alloy::sol;
use alloy::sol_types::{SolCall, SolValue};

use super::call::CallError;
use super::choice::{Pick, choose};
use super::endpoint::Endpoint;
use super::pool::Pool;
use super::race::Work;

sol! {
    function symbol() external view returns (string);
    function decimals() external view returns (uint8);
}

/// For all that is asked of the tokens of a block.
const TOKEN_BUDGET: Duration = Duration::from_secs(2);
/// Longest symbol that is kept, in characters.
const LONGEST: usize = 32;

impl Pool {
    /// The endpoint that is expected to answer best just now.
    fn preferred(&self) -> Option<&Arc<Endpoint>> {
        let now = Instant::now();
        let candidates = self.candidates(&Work::plain(""), &vec![false; self.endpoints.len()], now);
        match choose(&candidates, true, now) {
            Pick::Ask(place) => self.endpoints.get(place),
            Pick::Wait | Pick::Nobody(_) => self.endpoints.first(),
        }
    }

    /// What tokens say of themselves at a block: those that could be asked. A token without such methods answers with nothing; an
    /// endpoint that cannot say (no state for that block) is asked for the latest state, and left out if that fails too.
    pub async fn tokens(&self, tokens: &[Address], block: Option<B256>) -> Vec<(Address, Option<String>, Option<u8>)> {
        let Some(endpoint) = self.preferred() else { return Vec::new() };
        let ask = async |token: Address| {
            let both = async {
                tokio::join!(
                    asked(endpoint, token, symbol_call(), block),
                    asked(endpoint, token, decimals_call(), block)
                )
            };
            let (symbol, decimals) = tokio::time::timeout(TOKEN_BUDGET, both).await.ok()?;
            Some((token, read_symbol(&symbol?), read_decimals(&decimals?)))
        };
        let answers = futures_util::future::join_all(tokens.iter().map(|token| ask(*token))).await;
        answers.into_iter().flatten().collect()
    }
}

/// The bytes that a token's method returns; empty where it has none or fails. None where the endpoint could not say.
async fn asked(endpoint: &Endpoint, token: Address, call: Vec<u8>, block: Option<B256>) -> Option<Vec<u8>> {
    // The token ran and failed, in the words of one client or another: it has no such method.
    let failed = |error: &CallError| match error {
        CallError::Rpc { code, message } => {
            let lower = message.to_lowercase();
            let words = [
                "revert",
                "invalid opcode",
                "invalid jump",
                "out of gas",
                "stack",
                "write protection",
                "evm error",
                "vm execution",
                "bad instruction",
            ];
            *code == 3 || words.iter().any(|word| lower.contains(word))
        }
        _ => false,
    };
    let mut error = match endpoint.eth_call(token, &call, block).await {
        Ok(bytes) => return Some(bytes.to_vec()),
        Err(error) => error,
    };
    if block.is_some() && !failed(&error) {
        match endpoint.eth_call(token, &call, None).await {
            Ok(bytes) => return Some(bytes.to_vec()),
            Err(again) => error = again,
        }
    }
    failed(&error).then(Vec::new)
}

fn symbol_call() -> Vec<u8> {
    symbolCall {}.abi_encode()
}

fn decimals_call() -> Vec<u8> {
    decimalsCall {}.abi_encode()
}

/// A string, or a bytes32 as tokens of 2017 have it.
fn read_symbol(answer: &[u8]) -> Option<String> {
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

fn read_decimals(answer: &[u8]) -> Option<u8> {
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
