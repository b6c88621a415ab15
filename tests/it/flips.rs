//! One changed byte anywhere in a block or its receipts is refused.

use alloy::primitives::Bytes;
use bolo::chain::lean::Reader;
use bolo::chain::verify::verify_but_senders;
use bolo::chain::{BlockBundle, Expected, RawBlock, VerifiedBlock};
use bolo::decode::{DecodeOptions, decode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::common::shared;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    block: &'a RawValue,
    #[serde(borrow)]
    receipts: &'a RawValue,
}

/// By the way that blocks really go; whatever it makes of them, the typed path alone makes the same.
fn proven(block: &str, receipts: &str) -> Option<VerifiedBlock> {
    let expected = Expected { hash: None, chain_id: 1 };
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let raw = RawBlock::Json { block: bytes(block), receipts: bytes(receipts) };
    let taken =
        Reader::new().take(&raw, None, expected, false).map(|(block, _)| block).map_err(|error| error.to_string());
    let typed = match BlockBundle::parse(block.as_bytes(), receipts.as_bytes(), None) {
        Ok(bundle) => verify_but_senders(bundle, expected).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(format!("{taken:?}"), format!("{typed:?}"));
    let mut block = taken.ok()?;
    block.recover_all(1).ok()?;
    Some(block)
}

/// The field in whose value that byte is, or in whose name (then with a mark).
fn field(text: &str, at: usize) -> String {
    let mut name = String::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find("\":") {
        let end = rest + found;
        let start = text[..end].rfind('"').map_or(0, |quote| quote + 1);
        if start > at {
            break;
        }
        name = if at < end { format!("name of {}", &text[start..end]) } else { text[start..end].to_owned() };
        rest = end + 2;
    }
    name
}

/// Tries the flips; returns the fields in which one went unnoticed although the block says something else by it.
fn unnoticed(
    text: &str,
    positions: impl Iterator<Item = usize>,
    proves: impl Fn(&str) -> Option<VerifiedBlock>,
) -> Vec<String> {
    let before = proves(text).expect("the block itself is proven");
    let facts = |block: &VerifiedBlock| format!("{block:?}{:?}", decode(block, &DecodeOptions::default()));
    let truth = facts(&before);
    let mut missed = Vec::new();
    for at in positions {
        let mut bytes = text.as_bytes().to_vec();
        // The lowest bit: another digit for a digit, another letter for a letter.
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        if let Some(block) = proves(&changed) {
            assert_eq!(facts(&block), truth, "a changed {} changed what is taken for proven", field(text, at));
            missed.push(field(text, at));
        }
    }
    missed.sort();
    missed.dedup();
    missed
}

/// Values that no hash covers and nothing here depends on: README says so. `gasUsed` is that of a receipt.
const UNCOVERED: [&str; 3] = ["totalDifficulty", "uncles", "gasUsed"];

/// Fields that nodes may leave out: with another name they are left out, which says nothing wrong.
const OPTIONAL: [&str; 13] = [
    "totalDifficulty",
    "gasUsed",
    "uncles",
    "size",
    "type",
    "chainId",
    "gasPrice",
    "v",
    "yParity",
    "blockTimestamp",
    "contractAddress",
    "effectiveGasPrice",
    "removed",
];

fn check(missed: &[String]) {
    for field in missed {
        let known = match field.strip_prefix("name of ") {
            Some(name) => OPTIONAL.contains(&name),
            None => UNCOVERED.contains(&field.as_str()),
        };
        assert!(known, "a changed {field} went unnoticed");
    }
}

#[test]
fn every_flipped_byte_of_small_real_blocks_is_refused() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    let mut tried = 0;
    for text in blocks.lines().take(3) {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get(), line.receipts.get());
        check(&unnoticed(block, 0..block.len(), |changed| proven(changed, receipts)));
        check(&unnoticed(receipts, 0..receipts.len(), |changed| proven(block, changed)));
        tried += block.len() + receipts.len();
    }
    assert!(tried > 20_000, "{tried}");
}

#[test]
fn sampled_flips_of_real_blocks_of_every_era_are_refused() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    for (place, text) in blocks.lines().enumerate() {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get(), line.receipts.get());
        // Some thirty places of each, other ones in each block.
        let sample = |length: usize| (0..30).map(move |step| (place * 7919 + step * length / 30 + step * 31) % length);
        check(&unnoticed(block, sample(block.len()), |changed| proven(changed, receipts)));
        check(&unnoticed(receipts, sample(receipts.len()), |changed| proven(block, changed)));
    }
}

#[test]
fn a_wrong_sender_that_block_and_receipts_agree_on_is_refused() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    for text in blocks.lines() {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get(), line.receipts.get());
        let start = receipts.find("\"from\":\"0x").unwrap() + 8;
        let sender = &receipts[start..start + 42];
        let other = "0x00000000000000000000000000000000000000aa";
        // In any case of letters: the block may have it with its checksum.
        let swap = |text: &str| {
            let mut text = text.to_owned();
            let places: Vec<_> = text
                .to_lowercase()
                .match_indices(&format!("\"from\":\"{}\"", sender.to_lowercase()))
                .map(|(at, _)| at + 8)
                .collect();
            for at in places {
                text.replace_range(at..at + 42, other);
            }
            text
        };
        assert_ne!(swap(block), block, "the block has that sender");
        assert!(proven(block, receipts).is_some());
        assert!(proven(&swap(block), &swap(receipts)).is_none(), "{sender}");
    }
}

/// The text with, after each value of the field `name`, the same value again under `other`.
fn doubled(text: &str, name: &str, other: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let key = format!("\"{name}\":\"");
    while let Some(at) = rest.find(&key) {
        let end = at + key.len() + rest[at + key.len()..].find('"').unwrap() + 1;
        out += &rest[..end];
        out += &format!(",\"{other}\":{}", &rest[at + key.len() - 1..end]);
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn what_older_nodes_say_twice_is_taken_where_it_agrees() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    for text in blocks.lines().take(6) {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get(), line.receipts.get());
        // Old Nethermind: the input under both names, and a status beside the state root before Byzantium.
        let twice = doubled(block, "input", "data");
        assert!(proven(&twice, receipts).is_some());
        let odd = twice.replacen("\"data\":\"0x", "\"data\":\"0x00", 1);
        assert!(proven(&odd, receipts).is_none(), "two inputs that differ");
        if receipts.contains("\"root\":\"0x") {
            let both = doubled(receipts, "root", "x").replace("\"x\":\"0x", "\"status\":\"0x1\",\"x\":\"0x");
            let block = proven(block, &both).expect("the header tells which of the two counts");
            assert!(block.transactions().iter().all(|tx| tx.success.is_none()));
        }
    }
}
