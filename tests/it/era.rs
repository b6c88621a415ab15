//! Era files, written here in the published formats from the blocks of a real node and of the main chain, and every way in which
//! one can be damaged.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use alloy::consensus::Header;
use alloy::primitives::{B256, U256};
use bolo::chain::rlp::RlpBundle;
use bolo::chain::{Expected, RawBlock};
use bolo::source::archive::Archive;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Place, shared, stderr, timeless_all};
use crate::rich::Chain;
use crate::rlp::{Coded, mainnet};

type Entry = ([u8; 2], Vec<u8>);

const VERSION: [u8; 2] = [0x65, 0x32];
const HEADER: [u8; 2] = [3, 0];
const BODY: [u8; 2] = [4, 0];
const RECEIPTS: [u8; 2] = [5, 0];
const DIFFICULTY: [u8; 2] = [6, 0];
const ACCUMULATOR: [u8; 2] = [7, 0];
const SLIM: [u8; 2] = [10, 0];
const PROOF: [u8; 2] = [11, 0];
const INDEX: [u8; 2] = [0x66, 0x32];
const DYNAMIC_INDEX: [u8; 2] = [0x67, 0x32];

fn packed(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.into_inner().unwrap()
}

fn entry(kind: [u8; 2], data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_vec();
    out.extend((data.len() as u32).to_le_bytes());
    out.extend([0, 0]);
    out.extend(data);
    out
}

fn sha(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    Sha256::digest([left, right].concat()).into()
}

/// The root of a tree of so many levels over these leaves, the rest of them zero.
fn tree(leaves: &[[u8; 32]], levels: u32) -> [u8; 32] {
    match (levels, leaves) {
        (0, []) => [0; 32],
        (0, _) => leaves[0],
        _ => {
            let (left, right) = leaves.split_at(leaves.len().min(1 << (levels - 1)));
            sha(tree(left, levels - 1), tree(right, levels - 1))
        }
    }
}

fn header(block: &Coded) -> Header {
    alloy::rlp::decode_exact(&block.header).unwrap()
}

/// Each block's total difficulty, where the parent of the first has none, as 32 bytes, the least first.
fn totals(blocks: &[Coded]) -> Vec<[u8; 32]> {
    let mut total = U256::ZERO;
    let mut add = |block: &Coded| {
        total += header(block).difficulty;
        total.to_le_bytes()
    };
    blocks.iter().map(&mut add).collect()
}

fn accumulator(blocks: &[Coded], totals: &[[u8; 32]]) -> [u8; 32] {
    let records: Vec<_> = blocks.iter().zip(totals).map(|(block, total)| sha(block.hash.0, *total)).collect();
    let mut length = [0; 32];
    length[..8].copy_from_slice(&(records.len() as u64).to_le_bytes());
    sha(tree(&records, 13), length)
}

/// Puts entries one after the other, behind them the index of those of each block.
fn file(entries: &[Entry], of_blocks: &[Vec<usize>], start: u64, index: [u8; 2]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = Vec::new();
    for (kind, data) in entries {
        at.push(out.len() as u64);
        out.extend(entry(*kind, data));
    }
    let base = out.len() as u64;
    let mut words = vec![start];
    for parts in of_blocks {
        words.extend(parts.iter().map(|part| at[*part].wrapping_sub(base)));
    }
    if index == DYNAMIC_INDEX {
        words.push(of_blocks[0].len() as u64);
    }
    words.push(of_blocks.len() as u64);
    let words: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    out.extend(entry(index, &words));
    out
}

pub(crate) fn era1(blocks: &[Coded]) -> Vec<u8> {
    era1_of(blocks, accumulator(blocks, &totals(blocks)))
}

fn era1_of(blocks: &[Coded], root: [u8; 32]) -> Vec<u8> {
    let mut entries = vec![(VERSION, Vec::new())];
    let mut index = Vec::new();
    for (block, total) in blocks.iter().zip(totals(blocks)) {
        index.push(vec![entries.len()]);
        entries.push((HEADER, packed(&block.header)));
        entries.push((BODY, packed(&block.body)));
        entries.push((RECEIPTS, packed(&block.receipts)));
        entries.push((DIFFICULTY, total.to_vec()));
    }
    entries.push((ACCUMULATOR, root.to_vec()));
    file(&entries, &index, blocks[0].number, INDEX)
}

/// With total difficulties and an accumulator where its blocks were worked for, and with proofs, which nobody here reads.
pub(crate) fn ere(blocks: &[Coded], proofs: bool) -> Vec<u8> {
    let worked = !header(&blocks[0]).difficulty.is_zero();
    let mut entries = vec![(VERSION, Vec::new())];
    let mut index = vec![Vec::new(); blocks.len()];
    let mut section = |kind, all: Vec<Vec<u8>>| {
        for (index, data) in index.iter_mut().zip(all) {
            index.push(entries.len());
            entries.push((kind, data));
        }
    };
    section(HEADER, blocks.iter().map(|block| packed(&block.header)).collect());
    section(BODY, blocks.iter().map(|block| packed(&block.body)).collect());
    section(SLIM, blocks.iter().map(|block| packed(&block.slim)).collect());
    if proofs {
        section(PROOF, blocks.iter().map(|_| packed(&[0xc2, 0x80, 0x80])).collect());
    }
    if worked {
        section(DIFFICULTY, totals(blocks).iter().map(|total| total.to_vec()).collect());
        entries.push((ACCUMULATOR, accumulator(blocks, &totals(blocks)).to_vec()));
    }
    file(&entries, &index, blocks[0].number, DYNAMIC_INDEX)
}

/// The blocks of a chain in RLP.
fn coded(chain: &Chain, blocks: std::ops::RangeInclusive<u64>) -> Vec<Coded> {
    blocks
        .map(|number| {
            let number = format!("{number:#x}");
            let block = chain.node.rpc("eth_getBlockByNumber", json!([number, true]));
            Coded::of(&block, &chain.node.rpc("eth_getBlockReceipts", json!([number]))).unwrap()
        })
        .collect()
}

/// Alerts without what an archive cannot tell: how final they are, and the names of tokens.
fn bare(place: &Place) -> Vec<Value> {
    let mut alerts = timeless_all(&place.alerts(&["--status", "all", "--triage", "all"]));
    for alert in &mut alerts {
        alert["status"].take();
        alert["amount_display"].take();
        alert["asset"].take();
    }
    alerts
}

#[test]
fn a_replay_from_era_files_is_the_replay_from_the_endpoint() {
    let chain = Chain::shared();
    let truth = chain.place();
    let (from, to) = (0.to_string(), chain.head.to_string());
    let range = ["replay", "-r", &chain.node.url, "--from-block", &from, "--to-block", &to, "--traces", "off"];
    truth.ok(&range);
    let truth = bare(&truth);
    assert!(truth.len() > 1_000, "{}", truth.len());
    let blocks = coded(&chain, 0..=chain.head);
    let (one, two) = blocks.split_at(600);
    type Form<'a> = (&'a str, Box<dyn Fn(&[Coded]) -> Vec<u8>>);
    let forms: [Form; 3] = [
        ("era1", Box::new(era1)),
        ("ere", Box::new(|blocks| ere(blocks, true))),
        ("erae", Box::new(|blocks| ere(blocks, false))),
    ];
    for (ending, write) in forms {
        let place = chain.place();
        let dir = place.dir.path().join("era");
        std::fs::create_dir(&dir).unwrap();
        for (number, blocks) in [one, two].into_iter().enumerate() {
            std::fs::write(dir.join(format!("anvil-{number:05}-00000000.{ending}")), write(blocks)).unwrap();
        }
        // The folder tells its chain by itself, and neither needs nor has a network.
        let out = place.run(&["replay", "--archive", dir.to_str().unwrap()]);
        assert!(out.status.success(), "{}", stderr(&out));
        assert_eq!(bare(&place), truth, "{ending}");
        assert_eq!(place.status()["blocks"], json!(chain.head + 1));
        assert_eq!(place.status()["chain_id"], json!(31_337));
        let verified = place.run(&["verify"]);
        assert!(verified.status.success(), "{}", stderr(&verified));
    }
}

#[test]
fn real_blocks_from_era_files_give_what_they_give_from_recorded_answers() {
    let (Some(blocks), Some(truth)) = (mainnet(), crate::mainnet::replayed("off")) else { return };
    let place = Place::new();
    std::fs::write(place.dir.path().join("watch.txt"), shared("mainnet/watch.txt").unwrap()).unwrap();
    place.ok(&["watchlist", "import", "watch.txt"]);
    let dir = place.dir.path().join("era");
    std::fs::create_dir(&dir).unwrap();
    for (place, (_, block)) in blocks.iter().enumerate() {
        let name = format!("mainnet-{:05}-{}", block.number / 8192, &block.hash.to_string()[2..10]);
        let alone = std::slice::from_ref(block);
        // Before the Merge one form and the other by turns.
        let old = !header(block).difficulty.is_zero() && place % 2 == 0;
        let (ending, bytes) = if old { ("era1", era1(alone)) } else { ("ere", ere(alone, false)) };
        std::fs::write(dir.join(format!("{name}.{ending}")), bytes).unwrap();
    }
    place.ok(&["replay", "--archive", dir.to_str().unwrap()]);
    let numbers: Vec<_> = blocks.iter().map(|(_, block)| json!(block.number)).collect();
    let mut expected = bare(&truth);
    expected.retain(|alert| numbers.contains(&alert["block"]["number"]));
    assert!(expected.len() > 10_000);
    assert_eq!(bare(&place), expected);
}

#[test]
fn era_files_outside_the_range_are_not_looked_into() {
    let chain = Chain::shared();
    let blocks = coded(&chain, chain.rich..=chain.rich + 11);
    let first = chain.rich;
    for (ending, write) in [("era1", era1 as fn(&[Coded]) -> Vec<u8>), ("ere", |blocks| ere(blocks, false))] {
        let place = chain.place();
        let dir = place.dir.path().join("era");
        std::fs::create_dir(&dir).unwrap();
        for (number, blocks) in blocks.chunks(4).enumerate() {
            let mut bytes = write(blocks);
            // The first and the last are damaged where nobody has to look.
            if number != 1 {
                bytes[20] ^= 1;
            }
            std::fs::write(dir.join(format!("anvil-{number:05}-00000000.{ending}")), bytes).unwrap();
        }
        let (from, to) = ((first + 5).to_string(), (first + 6).to_string());
        let range = ["--from-block", &from, "--to-block", &to, "--chain", "31337"];
        let out = place.run(&[&["replay", "--archive", dir.to_str().unwrap()], &range[..]].concat());
        assert!(out.status.success(), "{}", stderr(&out));
        assert!(stderr(&out).contains("2 blocks committed, 0 already held, 10 outside the range"), "{}", stderr(&out));
        assert_eq!(place.status()["blocks"], 2);
        // With the block before them the damaged file is in the range.
        let out = place.run(&["replay", "--archive", dir.to_str().unwrap(), "--to-block", &to, "--chain", "31337"]);
        assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    }
}

#[test]
fn times_pick_the_same_blocks_of_era_files_as_of_recorded_answers() {
    let chain = Chain::shared();
    let blocks = coded(&chain, chain.rich..=chain.rich + 11);
    let time = |block: &Coded| header(block).timestamp as i64;
    let place = Place::new();
    let (from, to) = (chain.rich.to_string(), (chain.rich + 11).to_string());
    let range = ["--from-block", &from, "--to-block", &to];
    place.ok(&[&["record", "-r", &chain.node.url, "--out", "all.jsonl"], &range[..]].concat());
    let recorded = place.dir.path().join("all.jsonl");
    for (ending, write) in [("era1", era1 as fn(&[Coded]) -> Vec<u8>), ("ere", |blocks| ere(blocks, false))] {
        let dir = place.dir.path().join(ending);
        std::fs::create_dir(&dir).unwrap();
        for (number, blocks) in blocks.chunks(5).enumerate() {
            std::fs::write(dir.join(format!("anvil-{number:05}-00000000.{ending}")), write(blocks)).unwrap();
        }
        for (since, until) in [
            (i64::MIN, i64::MAX),
            (time(&blocks[3]), time(&blocks[8])),
            (time(&blocks[4]) + 1, time(&blocks[5]) - 1),
            (0, time(&blocks[0]) - 1),
            (time(&blocks[11]) + 1, i64::MAX),
        ] {
            let found =
                [&dir, &recorded].map(|path| Archive::open(path).unwrap().blocks_of_time(since, until).unwrap());
            assert_eq!(found[0], found[1], "{ending} {since} {until}");
            let first = blocks.iter().find(|block| time(block) >= since).map(|block| block.number);
            let last = blocks.iter().rfind(|block| time(block) <= until).map(|block| block.number);
            let [found, _] = found;
            assert_eq!(
                (found.first.map(|b| b.number), found.last.map(|b| b.number)),
                (first, last),
                "{ending} {since}"
            );
        }
        // Which blocks are of a time is not known where a file is damaged.
        let file = dir.join(format!("anvil-00001-00000000.{ending}"));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let out = place.run(&["replay", "--archive", dir.to_str().unwrap(), "--to-block", "2000-01-01"]);
        assert!(out.status.code() == Some(1) && stderr(&out).contains("anvil-00001"), "{}", stderr(&out));
    }
}

#[test]
fn the_blocks_that_an_archive_lacks_in_its_middle_are_counted() {
    let chain = Chain::shared();
    let blocks = coded(&chain, chain.rich..=chain.rich + 11);
    let place = chain.place();
    let dir = place.dir.path().join("era");
    std::fs::create_dir(&dir).unwrap();
    for (number, blocks) in blocks.chunks(4).enumerate().filter(|(number, _)| *number != 1) {
        std::fs::write(dir.join(format!("anvil-{number:05}-00000000.era1")), era1(blocks)).unwrap();
    }
    let out = place.run(&["replay", "--archive", dir.to_str().unwrap(), "--chain", "31337"]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("8 blocks committed, 0 already held, 4 missing"), "{}", stderr(&out));
    let ledger: Value = serde_json::from_str(&place.ok(&["-q", "status", "--coverage", "--format", "json"])).unwrap();
    assert_eq!(ledger["holes"], json!([{"from": chain.rich + 4, "to": chain.rich + 7}]));
}

/// What a file gives: numbers of blocks, each proven to be the true one, and what ends it.
fn read(dir: &Path, bytes: &[u8], ending: &str, truth: &BTreeMap<u64, B256>) -> (Vec<u64>, Option<String>) {
    let path = dir.join(format!("file.{ending}"));
    std::fs::write(&path, bytes).unwrap();
    read_file(&path, truth)
}

fn read_file(path: &Path, truth: &BTreeMap<u64, B256>) -> (Vec<u64>, Option<String>) {
    let mut numbers = Vec::new();
    for block in Archive::open(path).unwrap() {
        let (number, raw) = match block {
            Ok(block) => block,
            Err(error) => return (numbers, Some(error.to_string())),
        };
        let RawBlock::Rlp { block, receipts } = &raw.block else { panic!("not RLP") };
        let proven = RlpBundle::read(block, receipts, None)
            .map_err(|error| error.to_string())
            .and_then(|bundle| bundle.verify(Expected { hash: None, chain_id: 31_337 }).map_err(|e| e.to_string()));
        match proven {
            // Whatever is proven is the block that it should be.
            Ok(proven) => assert_eq!(proven.hash(), truth[&number], "a false block {number}"),
            Err(error) => return (numbers, Some(error)),
        }
        numbers.push(number);
    }
    (numbers, None)
}

struct Sample {
    dir: tempfile::TempDir,
    blocks: Vec<Coded>,
    truth: BTreeMap<u64, B256>,
}

impl Sample {
    fn new(blocks: u64) -> Self {
        let chain = Chain::shared();
        let blocks = coded(&chain, chain.rich..=chain.rich + blocks - 1);
        let truth = blocks.iter().map(|block| (block.number, block.hash)).collect();
        Self { dir: tempfile::tempdir().unwrap(), blocks, truth }
    }

    fn read(&self, bytes: &[u8], ending: &str) -> (Vec<u64>, Option<String>) {
        read(self.dir.path(), bytes, ending, &self.truth)
    }

    fn refused(&self, bytes: &[u8], ending: &str, before: usize, words: &str) {
        let (numbers, error) = self.read(bytes, ending);
        let error = error.unwrap_or_else(|| panic!("taken: {words}"));
        assert!(error.contains(words) && !error.contains('\n'), "{error} instead of {words}");
        let expected: Vec<_> = self.truth.keys().copied().take(before).collect();
        assert_eq!(numbers, expected, "{error}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_an_era_file_is_refused_and_gives_no_false_block() {
    let sample = Sample::new(3);
    for (ending, bytes) in [("era1", era1(&sample.blocks)), ("ere", ere(&sample.blocks, false))] {
        assert_eq!(sample.read(&bytes, ending), (sample.truth.keys().copied().collect(), None));
        let mut harmless = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let (numbers, error) = sample.read(&flipped, ending);
            // A copy of zeros from elsewhere is the same zeros: snappy has more than one way to say it.
            if error.is_none() {
                assert_eq!(numbers.len(), 3, "{ending}: byte {at}");
                harmless += 1;
            }
        }
        assert!(harmless < bytes.len() / 50, "{ending}: {harmless} of {}", bytes.len());
    }
}

#[test]
fn an_era_file_that_is_cut_off_gives_what_is_whole_before() {
    let sample = Sample::new(3);
    for (ending, bytes) in [("era1", era1(&sample.blocks)), ("ere", ere(&sample.blocks, true))] {
        let mut most = 0;
        for length in 0..bytes.len() {
            let (numbers, error) = sample.read(&bytes[..length], ending);
            let error = error.unwrap_or_else(|| panic!("{ending}: {length} bytes taken for whole"));
            let words = if length == 0 { "is empty" } else { "cut off" };
            assert!(error.contains(words), "{error}");
            assert!(numbers.iter().eq(sample.truth.keys().take(numbers.len())));
            assert!(numbers.len() >= most, "{length}");
            most = numbers.len();
        }
        assert_eq!(most, 3, "all of them before the index");
    }
}

#[test]
fn what_is_put_together_wrongly_is_refused_and_said() {
    let sample = Sample::new(4);
    let blocks = &sample.blocks;
    let (era1_bytes, ere_bytes) = (era1(blocks), ere(blocks, false));
    let start = blocks[0].number;

    let with = |prefix: Vec<u8>, bytes: &[u8]| [prefix, bytes.to_vec()].concat();
    for (ending, bytes) in [("era1", &era1_bytes), ("ere", &ere_bytes)] {
        sample.refused(&with(entry(VERSION, &[1]), &bytes[8..]), ending, 0, "does not start with the entry of version");
        sample.refused(&with(entry([0x65, 0x33], &[]), &bytes[8..]), ending, 0, "does not start with the entry of");
        sample.refused(b"{\"block\":{}}\n", ending, 0, "is no era file: ");
        sample.refused(&with(bytes.to_vec(), &[0]), ending, 4, "cut off");
        sample.refused(&with(bytes.to_vec(), bytes), ending, 4, "has bytes after its block index");
        let mut reserved = bytes.clone();
        reserved[14] = 1;
        sample.refused(&reserved, ending, 0, "reserved bytes");
        // Four gigabytes, by a head of eight bytes.
        let mut huge = bytes.clone();
        huge[10..14].copy_from_slice(&[255; 4]);
        sample.refused(&huge, ending, 0, "has 4294967295 bytes by its head");
    }
    // The other form under this name.
    sample.refused(&ere_bytes, "era1", 0, "has no place there");
    sample.refused(&era1_bytes, "ere", 0, "has no place there");

    // Headers packed anew, so that only what they say is wrong: no link, and in the last of them no accumulator.
    let twisted = |place: usize| {
        let mut blocks = blocks.clone();
        let twisted = Header { timestamp: 1, ..header(&blocks[place]) };
        blocks[place].header = alloy::rlp::encode(twisted);
        blocks
    };
    let root = accumulator(blocks, &totals(blocks));
    sample.refused(&era1_of(&twisted(1), root), "era1", 1, "does not link to the block before it");
    sample.refused(&ere(&twisted(1), false), "ere", 1, "does not link to the block before it");
    sample.refused(&era1_of(&twisted(3), root), "era1", 0, "the accumulator does not fit the headers");
    sample.refused(&era1_of(&[&blocks[..2], &blocks[3..]].concat(), root), "era1", 1, "does not link");
    // Bodies and receipts of another block.
    let mut swapped = blocks.clone();
    (swapped[1].body, swapped[2].body) = (swapped[2].body.clone(), swapped[1].body.clone());
    sample.refused(&era1(&swapped), "era1", 1, "root does not fit");
    let mut swapped = blocks.clone();
    swapped[2].slim = list_without_last(&swapped[2].slim);
    sample.refused(&ere(&swapped, false), "ere", 2, "number of receipts does not fit");

    // The index.
    let word = |bytes: &[u8], from_end: usize, value: u64| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() - 8 * from_end;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    sample.refused(&word(&era1_bytes, 1, 5), "era1", 4, "it ends with [5], not [4]");
    sample.refused(&word(&era1_bytes, 6, start + 1), "era1", 4, &format!("it starts with block {}", start + 1));
    sample.refused(&word(&era1_bytes, 4, 0), "era1", 4, &format!("block {} is elsewhere", start + 1));
    sample.refused(&word(&ere_bytes, 2, 4), "ere", 4, "it ends with [4, 4], not [3, 4]");
    sample.refused(&word(&ere_bytes, 3, 0), "ere", 4, &format!("block {} is elsewhere", start + 3));

    // Parts missing, or in a place where there are none.
    let headers: Vec<Entry> = blocks.iter().map(|block| (HEADER, packed(&block.header))).collect();
    let bodies: Vec<Entry> = blocks.iter().map(|block| (BODY, packed(&block.body))).collect();
    let version = vec![(VERSION, Vec::new())];
    let index: Vec<_> = (1..=4).map(|place| vec![place, place + 4]).collect();
    let bare = file(&[version.clone(), headers.clone(), bodies.clone()].concat(), &index, start, DYNAMIC_INDEX);
    sample.refused(&bare, "ere", 0, "has no receipts (the noreceipts profile)");
    let odd = file(&[version.clone(), headers[..1].to_vec(), bodies].concat(), &index[..1], start, DYNAMIC_INDEX);
    sample.refused(&odd, "ere", 0, "has no receipts");
    let foreign = file(&[version, vec![([0x99, 0], vec![1])], headers].concat(), &index[..1], start, DYNAMIC_INDEX);
    sample.refused(&foreign, "ere", 0, "(type 9900) has no place there");
}

fn list_without_last(list: &[u8]) -> Vec<u8> {
    let mut rest = list;
    let all = match alloy::rlp::Header::decode_raw(&mut rest).unwrap() {
        alloy::rlp::PayloadView::List(all) => all,
        alloy::rlp::PayloadView::String(_) => panic!("no list"),
    };
    crate::rlp::list(&all[..all.len() - 1].iter().map(|item| item.to_vec()).collect::<Vec<_>>())
}

#[test]
fn other_entries_behind_the_blocks_are_skipped() {
    let sample = Sample::new(2);
    let mut entries = vec![(VERSION, Vec::new())];
    let mut index = Vec::new();
    for (block, total) in sample.blocks.iter().zip(totals(&sample.blocks)) {
        index.push(vec![entries.len()]);
        entries.push((HEADER, packed(&block.header)));
        entries.push((BODY, packed(&block.body)));
        entries.push((RECEIPTS, packed(&block.receipts)));
        entries.push((DIFFICULTY, total.to_vec()));
    }
    entries.push(([0x80, 7], b"of some vendor".to_vec()));
    entries.push((ACCUMULATOR, accumulator(&sample.blocks, &totals(&sample.blocks)).to_vec()));
    let bytes = file(&entries, &index, sample.blocks[0].number, INDEX);
    assert_eq!(sample.read(&bytes, "era1"), (sample.truth.keys().copied().collect(), None));
}

#[test]
fn bombs_are_not_unpacked() {
    let sample = Sample::new(2);
    let zeros = vec![0; (64 << 20) + 1];
    let mut bomb = sample.blocks.clone();
    bomb[1].body.clone_from(&zeros);
    let bytes = era1(&bomb);
    assert!(bytes.len() < 8 << 20);
    sample.refused(&bytes, "era1", 1, "unpacks to more than 67108864 bytes");
    let mut bomb = sample.blocks.clone();
    bomb[1].slim = zeros;
    sample.refused(&ere(&bomb, false), "ere", 1, "unpacks to more than 67108864 bytes");
    let mut headers = vec![(VERSION, Vec::new()), (HEADER, packed(&vec![0; 1 << 20]))];
    headers.push((BODY, packed(&sample.blocks[0].body)));
    headers.push((SLIM, packed(&sample.blocks[0].slim)));
    sample.refused(&file(&headers, &[vec![1, 2, 3]], 0, DYNAMIC_INDEX), "ere", 0, "unpacks to more than 65536 bytes");
    // An entry of three gigabytes that are there, as a hole in the file.
    let path = sample.dir.path().join("hole.era1");
    let mut bytes = entry(VERSION, &[]);
    bytes.extend([3, 0, 0, 0, 0, 0xc0, 0, 0]);
    std::fs::write(&path, &bytes).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(16 + 0xc000_0000).unwrap();
    let (numbers, error) = read_file(&path, &sample.truth);
    assert!(numbers.is_empty() && error.unwrap().contains("cannot be unpacked"));
    // More blocks than an accumulator has room for.
    let mut many = vec![(VERSION, Vec::new())];
    many.extend(std::iter::repeat_n((HEADER, Vec::new()), 8193));
    sample.refused(&file(&many, &[vec![1]], 0, DYNAMIC_INDEX), "ere", 0, "");
}

#[test]
fn a_damaged_file_is_said_in_one_line_and_what_was_taken_before_is_true() {
    let chain = Chain::shared();
    let sample = Sample::new(6);
    let place = chain.place();
    let mut bytes = era1(&sample.blocks);
    bytes.truncate(bytes.len() - 100);
    let path = place.dir.path().join("cut.era1");
    std::fs::write(&path, bytes).unwrap();
    let out = place.run(&["replay", "--archive", path.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(
        stderr(&out).lines().any(|line| line.contains("cut.era1: ") && line.contains("cut off")),
        "{}",
        stderr(&out)
    );
    let last = chain.rich + 5;
    let mut truth = chain.truth(chain.rich..=last);
    truth.retain(|alert| alert["plane"] != "traces");
    let found: Vec<Value> = place.alerts(&["--triage", "all"]);
    let ids = |alerts: &[Value]| alerts.iter().map(|alert| alert["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&truth));
    assert_eq!(place.status()["blocks"], 6);

    // Damage in the middle: nothing from there on.
    let mut swapped = sample.blocks;
    swapped[3].receipts = swapped[2].receipts.clone();
    std::fs::write(&path, era1(&swapped)).unwrap();
    let place = chain.place();
    let out = place.run(&["replay", "--archive", path.to_str().unwrap(), "--chain", "31337"]);
    assert_eq!(out.status.code(), Some(4), "{}", stderr(&out));
    assert!(
        stderr(&out).contains(&format!("block {} could not be proven: cut.era1", chain.rich + 3)),
        "{}",
        stderr(&out)
    );
    assert_eq!(place.status()["blocks"], 3);
}
