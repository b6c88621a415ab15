//! Blocks of 200 M gas, as Amsterdam allows, from the answer to the commit: time and bytes.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use bolo::chain::lean::{self, Reader};
use bolo::chain::{Expected, RawBlock};
use bolo::decode::{DecodeOptions, decode};
use bolo::lists::ParsedEntry;
use bolo::source::DEFAULT_MAX_ANSWER;

use crate::chain::{Chain, FIRST};
use crate::draw;
use crate::stages::{listed, record};
use crate::template::Shape;

/// Both shapes. Each block is proven with all senders, decoded, screened for one busy address, and committed by itself. With a folder,
/// the blocks are also written there as archives, whose replay tells the memory of a whole process.
pub(crate) fn run(blocks: u64, seed: u64, archives: Option<&Path>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, file, shape) in [
        ("9,500 transfers", "transfers.jsonl", Shape::Transfers),
        ("1,500 transactions with 12,000 logs", "logs.jsonl", Shape::Logs),
    ] {
        let chain = Chain::shaped(shape, blocks, blocks.min(4), seed);
        let (mut proving, mut recovering, mut rest, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut answers = (0, 0);
        let mut archive = archives.map(|folder| File::create(folder.join(file)).unwrap());
        let (_folder, mut store) = listed(&[ParsedEntry::bare(draw::holder(1_000))]);
        let watchlist = store.watchlist().unwrap();
        let mut reader = Reader::new();
        for number in FIRST..=chain.last() {
            let (block, receipts) = chain.answers(number);
            answers = (block.len(), receipts.len());
            if let Some(archive) = &mut archive {
                for part in [&b"{\"block\":"[..], &block, b",\"receipts\":", &receipts, b",\"traces\":null}\n"] {
                    archive.write_all(part).unwrap();
                }
            }
            let raw = RawBlock::Json { block: block.into(), receipts: receipts.into() };
            let begun = Instant::now();
            let expected = Expected { hash: chain.hash(number), chain_id: 1 };
            let (mut block, path) = reader.take(&raw, None, expected, false).unwrap();
            assert_eq!(path, lean::Path::Lean);
            let proven = begun.elapsed();
            block.recover_all(threads).unwrap();
            let recovered = begun.elapsed();
            let decoded = decode(&block, &DecodeOptions::default());
            store.append(&record(&block, &decoded, &watchlist)).unwrap();
            let committed = begun.elapsed();
            proving.push(proven);
            recovering.push(recovered - proven);
            rest.push(committed - recovered);
            all.push(committed);
        }
        println!("{name}, {blocks} blocks, {threads} threads:");
        println!(
            "  answers: block {} bytes, receipts {} bytes; the limit is {DEFAULT_MAX_ANSWER}",
            answers.0, answers.1
        );
        for (what, times) in [
            ("proven but for the senders", &mut proving),
            ("senders", &mut recovering),
            ("decoded, screened, committed", &mut rest),
            ("all", &mut all),
        ] {
            times.sort();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            println!("  {what}: median {:.1} ms, p95 {:.1} ms", at(50), at(95));
        }
    }
}
