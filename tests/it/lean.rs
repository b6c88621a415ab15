//! The lean path takes nothing that the typed path does not take with the same outcome, and it takes what real nodes write.

use std::time::{Duration, Instant};

use alloy::primitives::Bytes;
use bolo::chain::lean::{Path, Reader};
use bolo::chain::trusted::trust;
use bolo::chain::verify::verify_but_senders;
use bolo::chain::{BlockBundle, Expected, Part, RawBlock, VerifiedBlock, VerifyError};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::common::shared;
use crate::mutant::{Random, mutate};
use crate::rich::Chain;
use crate::seal::{Sealed, mini};

#[derive(Deserialize)]
pub(crate) struct Line<'a> {
    #[serde(borrow)]
    pub block: &'a RawValue,
    #[serde(borrow)]
    pub receipts: &'a RawValue,
}

const MAINNET: Expected = Expected { hash: None, chain_id: 1 };

/// What the two paths make of the same bytes: whether the lean one took them, proven and trusted.
struct Compared {
    lean: [Result<(), &'static str>; 2],
    typed: [bool; 2],
}

/// Holds the law.
fn compare(reader: &mut Reader, block: &[u8], receipts: &[u8], expected: Expected) -> Compared {
    let proven = BlockBundle::parse(block, receipts, None).ok().and_then(|b| verify_but_senders(b, expected).ok());
    let typed: [Option<VerifiedBlock>; 2] = [proven, trust(block, receipts, None, expected).ok()];
    let lean = [reader.prove(block, receipts, expected), reader.trust(block, receipts, expected)];
    for (lean, typed) in lean.iter().zip(&typed) {
        if let Ok(lean) = lean {
            let text = || format!("{}\n{}", String::from_utf8_lossy(block), String::from_utf8_lossy(receipts));
            let Some(typed) = typed else { panic!("the lean path took what the typed one refuses: {}", text()) };
            assert!(format!("{lean:?}") == format!("{typed:?}"), "the two paths differ: {}", text());
        }
    }
    Compared { lean: lean.map(|lean| lean.map(|_| ()).map_err(|odd| odd.0)), typed: typed.map(|typed| typed.is_some()) }
}

#[test]
fn real_blocks_of_every_era_go_the_lean_way_and_come_out_the_same() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    let mut reader = Reader::new();
    for text in blocks.lines() {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get().as_bytes(), line.receipts.get().as_bytes());
        let compared = compare(&mut reader, block, receipts, MAINNET);
        assert_eq!(compared.typed, [true; 2]);
        assert_eq!(compared.lean, [Ok(()); 2], "{}", &text[..60]);
    }
    let Some(refused) = shared("mainnet/refused.jsonl.zst") else { return };
    for text in refused.lines() {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let (block, receipts) = (line.block.get().as_bytes(), line.receipts.get().as_bytes());
        assert!(compare(&mut reader, block, receipts, MAINNET).lean[0].is_err());
    }
}

#[test]
fn a_reader_says_which_way_a_block_went_and_refuses_as_the_typed_path() {
    let Some(blocks) = shared("mainnet/blocks.jsonl.zst") else { return };
    let text = blocks.lines().next().unwrap();
    let line: Line<'_> = serde_json::from_str(text).unwrap();
    let raw = |block: &str| RawBlock::Json {
        block: Bytes::copy_from_slice(block.as_bytes()),
        receipts: Bytes::copy_from_slice(line.receipts.get().as_bytes()),
    };
    let mut reader = Reader::new();
    let block = line.block.get();
    let (_, path) = reader.take(&raw(block), None, MAINNET, false).unwrap();
    assert_eq!(path, Path::Lean);
    // An older node's second name for the gas.
    let older = block.replacen("\"gas\":", "\"gasLimit\":\"0x5208\",\"gas\":", 1);
    let odd = reader.take(&raw(&older), None, MAINNET, false);
    let bundle = BlockBundle::parse(older.as_bytes(), line.receipts.get().as_bytes(), None).unwrap();
    match (odd, verify_but_senders(bundle, MAINNET)) {
        (Ok((lean, path)), Ok(typed)) => {
            assert!(matches!(path, Path::Typed(_)), "{path:?}");
            assert_eq!(format!("{lean:?}"), format!("{typed:?}"));
        }
        (Err(lean), Err(typed)) => assert_eq!(lean.to_string(), typed.to_string()),
        (lean, typed) => panic!("{lean:?} but {typed:?}"),
    }
    let wrong = block.replacen("\"nonce\":\"0x0\"", "\"nonce\":\"0x1\"", 1);
    assert_ne!(wrong, block);
    let error = reader.take(&raw(&wrong), None, MAINNET, false).unwrap_err();
    let bundle = BlockBundle::parse(wrong.as_bytes(), line.receipts.get().as_bytes(), None).unwrap();
    assert_eq!(error.to_string(), verify_but_senders(bundle, MAINNET).unwrap_err().to_string());
}

#[test]
fn blocks_of_a_real_node_go_the_lean_way() {
    let chain = Chain::shared();
    let mut reader = Reader::new();
    let mut logs = 0;
    for number in chain.rich - 12..chain.rich + 60 {
        let block = chain.node.rpc("eth_getBlockByNumber", json!([format!("{number:#x}"), true]));
        let receipts = chain.node.rpc("eth_getBlockReceipts", json!([format!("{number:#x}")]));
        logs += receipts.as_array().unwrap().iter().map(|r| r["logs"].as_array().unwrap().len()).sum::<usize>();
        let (block, receipts) = (block.to_string(), receipts.to_string());
        let expected = Expected { hash: None, chain_id: 31337 };
        let compared = compare(&mut reader, block.as_bytes(), receipts.as_bytes(), expected);
        assert_eq!(compared.lean, [Ok(()); 2], "{block}");
    }
    assert!(logs > 50, "{logs}");
}

/// Small blocks of every type of transaction, sealed anew, so that they prove.
fn seeds(random: &mut Random) -> Option<Vec<Sealed>> {
    let blocks = shared("mainnet/blocks.jsonl.zst")?;
    let mut seeds = Vec::new();
    for text in blocks.lines() {
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        let read = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).unwrap();
        let (block, receipts) = (read(line.block), read(line.receipts));
        for kind in ["0x0", "0x1", "0x2", "0x3", "0x4"] {
            seeds.extend(mini(&block, &receipts, kind, random));
        }
    }
    Some(seeds)
}

#[test]
fn only_false_blooms_that_hash_right_tell_the_two_ways_apart() {
    let mut random = Random::new(3);
    let Some(seeds) = seeds(&mut random) else { return };
    for seed in seeds.iter().step_by(9) {
        let (block, receipts) = seed.with_false_blooms().unwrap().text();
        let bundle = BlockBundle::parse(block.as_bytes(), receipts.as_bytes(), None).unwrap();
        let error = verify_but_senders(bundle, MAINNET).unwrap_err();
        assert!(matches!(error, VerifyError::Mismatch { part: Part::ReceiptsRoot, .. }), "{error}");
        assert!(error.to_string().contains("receipt.logsBloom"), "{error}");
        assert!(Reader::new().prove(block.as_bytes(), receipts.as_bytes(), MAINNET).is_ok());
        // Blooms that the root does not hold are refused either way.
        let (_, honest) = seed.text();
        assert!(Reader::new().prove(block.as_bytes(), honest.as_bytes(), MAINNET).is_err());
    }
}

/// How long to try; a long run sets it.
fn seconds() -> Duration {
    let seconds = std::env::var("BOLO_FUZZ_SECONDS").ok().map_or(3, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

#[test]
fn fuzzed_blocks_are_taken_only_where_the_typed_path_takes_them() {
    let seed = std::env::var("BOLO_FUZZ_SEED").ok().map_or(1, |text| text.parse().unwrap());
    let mut random = Random::new(seed);
    let Some(seeds) = seeds(&mut random) else { return };
    assert!(seeds.len() > 30, "{}", seeds.len());
    let mut reader = Reader::new();
    let (mut tried, mut lean, mut typed, mut resealed) = (0u64, [0u64; 2], [0u64; 2], 0u64);
    let mut kinds = [0u64; 5];
    for seed in &seeds {
        let (block, receipts) = seed.text();
        let compared = compare(&mut reader, block.as_bytes(), receipts.as_bytes(), MAINNET);
        assert_eq!((compared.lean, compared.typed), ([Ok(()); 2], [true; 2]), "{block}\n{receipts}");
        kinds[seed.kind()] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
    let (start, limit) = (Instant::now(), seconds());
    let mut said = start;
    while start.elapsed() < limit {
        let mut seed = random.pick(&seeds).clone();
        if random.chance(30)
            && let Some(other) = seed.changed(&mut random)
        {
            seed = other;
            resealed += 1;
        }
        let (mut block, mut receipts) = if random.chance(20) { seed.shuffled(&mut random) } else { seed.text() };
        for _ in 0..random.below(4) {
            if random.chance(50) { mutate(&mut block, &mut random) } else { mutate(&mut receipts, &mut random) }
        }
        let compared = compare(&mut reader, block.as_bytes(), receipts.as_bytes(), MAINNET);
        tried += 1;
        for twin in 0..2 {
            lean[twin] += u64::from(compared.lean[twin].is_ok());
            typed[twin] += u64::from(compared.typed[twin]);
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            eprintln!(
                "{} s: {tried} tried, {resealed} sealed anew, lean {lean:?}, typed {typed:?}, 0 differences",
                start.elapsed().as_secs()
            );
        }
    }
    eprintln!(
        "{} s: {tried} tried, {resealed} sealed anew, lean {lean:?}, typed {typed:?}, 0 differences",
        start.elapsed().as_secs()
    );
    assert!(lean[0] > 0 && lean[1] > lean[0] && lean[1] < tried, "{lean:?} of {tried}");
}
