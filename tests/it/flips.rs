//! One changed byte anywhere in a block or its receipts is refused, or changes nothing that is taken for proven and is counted.

use std::collections::BTreeSet;

use alloy::primitives::{B256, Bytes};
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

/// By the way that blocks really go; whatever it makes of them, the typed path alone makes the same. `hash` is what an endpoint was
/// asked for; none for a block of an archive.
fn taken(block: &str, receipts: &str, hash: Option<B256>) -> Result<VerifiedBlock, String> {
    taken_of(1, block, receipts, hash)
}

pub(crate) fn taken_of(
    chain_id: u64,
    block: &str,
    receipts: &str,
    hash: Option<B256>,
) -> Result<VerifiedBlock, String> {
    let expected = Expected { hash, chain_id };
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let raw = RawBlock::Json { block: bytes(block), receipts: bytes(receipts) };
    let taken =
        Reader::new().take(&raw, None, expected, false).map(|(block, _)| block).map_err(|error| error.to_string());
    let typed = match BlockBundle::parse(block.as_bytes(), receipts.as_bytes(), None) {
        Ok(bundle) => verify_but_senders(bundle, expected).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    assert!(format!("{taken:?}") == format!("{typed:?}"), "the two paths differ: {block}\n{receipts}");
    let mut block = taken?;
    block.recover_all(1).map_err(|error| error.to_string())?;
    Ok(block)
}

fn proven(block: &str, receipts: &str) -> Option<VerifiedBlock> {
    taken(block, receipts, None).ok()
}

/// Everything that is taken for proven of a block, and the fields that differed from it.
pub(crate) fn facts(mut block: VerifiedBlock) -> (String, Vec<&'static str>) {
    let differences = block.take_differences();
    let fields = differences.iter().map(|(field, _)| field).collect();
    (format!("{block:?}{:?}", decode(&block, &DecodeOptions::default())), fields)
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

/// What came of the flips.
#[derive(Default)]
struct Flipped {
    /// Fields in which a flip changed nothing that is taken for proven, and was counted.
    counted: BTreeSet<String>,
    /// Fields in which one was not even counted.
    unnoticed: BTreeSet<String>,
}

/// Tries the flips: each is refused, or changes nothing that is taken for proven.
fn flip(
    text: &str,
    positions: impl Iterator<Item = usize>,
    proves: impl Fn(&str) -> Option<VerifiedBlock>,
    flipped: &mut Flipped,
) {
    let (truth, none) = facts(proves(text).expect("the block itself is proven"));
    assert!(none.is_empty(), "{none:?}");
    for at in positions {
        let mut bytes = text.as_bytes().to_vec();
        // The lowest bit: another digit for a digit, another letter for a letter.
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        if let Some(block) = proves(&changed) {
            let (facts, differences) = facts(block);
            let field = field(text, at);
            assert!(facts == truth, "a changed {field} changed what is taken for proven: {differences:?}");
            let which = if differences.is_empty() { &mut flipped.unnoticed } else { &mut flipped.counted };
            which.insert(field);
        }
    }
}

/// Values that no hash covers and nothing here reads: README says so. Of the ommers it is seen whether there are some.
const UNCOVERED: [&str; 2] = ["totalDifficulty", "uncles"];

/// Members that may be absent, since they follow from others: with another name they are.
const COMPUTED: [&str; 32] = [
    "accessList",
    "blobGasPrice",
    "blobGasUsed",
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "chainId",
    "contractAddress",
    "cumulativeGasUsed",
    "effectiveGasPrice",
    "from",
    "gasPrice",
    "gasUsed",
    "hash",
    "logIndex",
    "logsBloom",
    "mint",
    "removed",
    "requestsHash",
    "root",
    "size",
    "status",
    "to",
    "totalDifficulty",
    "transactionHash",
    "transactionIndex",
    "transactions",
    "type",
    "uncles",
    "v",
    "withdrawals",
    "yParity",
];

impl Flipped {
    fn check(&self) {
        for field in &self.unnoticed {
            let known = match field.strip_prefix("name of ") {
                Some(name) => COMPUTED.contains(&name),
                None => UNCOVERED.contains(&field.as_str()),
            };
            assert!(known, "a changed {field} went unnoticed");
        }
    }
}

#[test]
fn every_flipped_byte_of_small_real_blocks_is_refused_or_changes_nothing_and_is_counted() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    let (mut tried, mut flipped) = (0, Flipped::default());
    for text in blocks.lines().take(3) {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get(), line.receipts.get());
        let hash = Some(proven(block, receipts).unwrap().hash());
        flip(block, 0..block.len(), |changed| taken(changed, receipts, hash).ok(), &mut flipped);
        flip(receipts, 0..receipts.len(), |changed| taken(block, changed, hash).ok(), &mut flipped);
        tried += block.len() + receipts.len();
    }
    assert!(tried > 20_000, "{tried}");
    flipped.check();
    let counted: Vec<_> = flipped.counted.iter().filter(|field| !field.starts_with("name of")).collect();
    let expected = [
        "blockHash",
        "blockNumber",
        "cumulativeGasUsed",
        "effectiveGasPrice",
        "from",
        "gasUsed",
        "hash",
        "logIndex",
        "logsBloom",
        "size",
        "to",
        "transactionHash",
        "transactionIndex",
        "type",
        "v",
    ];
    for field in expected {
        assert!(counted.iter().any(|counted| *counted == field), "a changed {field} is refused: {counted:?}");
    }
}

#[test]
fn sampled_flips_of_real_blocks_of_every_era_are_refused_or_counted() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    let mut flipped = Flipped::default();
    for (place, text) in blocks.lines().enumerate() {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get(), line.receipts.get());
        // Some thirty places of each, other ones in each block.
        let sample = |length: usize| (0..30).map(move |step| (place * 7919 + step * length / 30 + step * 31) % length);
        flip(block, sample(block.len()), |changed| proven(changed, receipts), &mut flipped);
        flip(receipts, sample(receipts.len()), |changed| proven(block, changed), &mut flipped);
    }
    flipped.check();
    assert!(flipped.counted.len() > 3, "{:?}", flipped.counted);
}

#[test]
fn a_wrong_sender_that_block_and_receipts_agree_on_is_corrected_and_counted() {
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
        let (truth, _) = facts(proven(block, receipts).unwrap());
        let (corrected, differences) = facts(proven(&swap(block), &swap(receipts)).unwrap());
        assert!(corrected == truth && differences.contains(&"transaction.from"), "{sender}: {differences:?}");
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
        let (truth, _) = facts(proven(block, receipts).unwrap());
        for field in ["input", "data"] {
            let odd = twice.replacen(&format!("\"{field}\":\"0x"), &format!("\"{field}\":\"0x00"), 1);
            let (corrected, differences) =
                facts(proven(&odd, receipts).expect("the hash tells which of the two counts"));
            assert!(corrected == truth && differences == [format!("transaction.{field}")], "{differences:?}");
        }
        if receipts.contains("\"root\":\"0x") {
            let both = doubled(receipts, "root", "x").replace("\"x\":\"0x", "\"status\":\"0x1\",\"x\":\"0x");
            let block = proven(block, &both).expect("the header tells which of the two counts");
            assert!(block.transactions().iter().all(|tx| tx.success.is_none()));
        }
    }
}
