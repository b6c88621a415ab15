//! The load that bolo is measured under: a generator of modern blocks, a server for them, and benches of the single stages.
//!
//! `cargo bench` measures the stages; `cargo bench -- serve` is the endpoint that benches/replay.py puts before bolo and its peers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    missing_docs,
    reason = "a bench may fail loudly, and prints what it is for"
)]

mod chain;
mod commits;
mod draw;
mod floors;
mod http;
mod large;
mod logs;
mod rpc;
mod socket;
mod stages;
mod subject;
mod template;
mod text;

use std::io::{BufWriter, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use crate::chain::{Chain, FIRST};
use crate::rpc::Node;

#[derive(Parser)]
#[command(about = "Generated modern blocks: served, screened for, measured")]
enum Args {
    /// Serves a generated chain as a node would.
    Serve {
        #[arg(long, default_value = "127.0.0.1:18545")]
        listen: String,
        /// Blocks of the chain; the first has number 22000000.
        #[arg(long, default_value_t = 1_000)]
        blocks: u64,
        /// Blocks of different contents; after as many they come again under new headers.
        #[arg(long, default_value_t = 200)]
        distinct: u64,
        #[arg(long, default_value_t = 4)]
        seed: u64,
        /// Milliseconds that each answer is held back.
        #[arg(long, default_value_t = 0)]
        latency: u64,
        /// Has debug_getRawBlock and debug_getRawReceipts.
        #[arg(long)]
        raw: bool,
        /// The head begins at the first block and goes on by one every so many milliseconds; 0: all blocks are there.
        #[arg(long, default_value_t = 0)]
        every: u64,
    },
    /// Prints what each stage costs, and how that has changed since the last time.
    Stages {
        /// Of those stages alone whose name this is a part of (a regular expression).
        filter: Option<String>,
        /// Blocks that are gone through: more than caches hold.
        #[arg(long, default_value_t = 100)]
        blocks: u64,
        #[arg(long, default_value_t = 4)]
        seed: u64,
    },
    /// Prints what a proven block cannot cost less than, in CPU milliseconds, as JSON.
    Floors {
        #[arg(long, default_value_t = 60)]
        blocks: u64,
        #[arg(long, default_value_t = 4)]
        seed: u64,
    },
    /// Prints what blocks of 200 M gas cost from the answer to the commit, in wall milliseconds, with all senders.
    Large {
        /// Blocks of each shape.
        #[arg(long, default_value_t = 20)]
        blocks: u64,
        #[arg(long, default_value_t = 4)]
        seed: u64,
        /// Writes the blocks to archives in that folder.
        #[arg(long)]
        archives: Option<PathBuf>,
    },
    /// Appends blocks to a database of benches/alerts.py, one in a commit and synced, as watching does: prints what each costs.
    Commits {
        #[arg(long)]
        database: PathBuf,
        /// Of blocks with no alert, with one and with twenty, so many each; ten more of each come first and are not counted.
        #[arg(long, default_value_t = 200)]
        commits: usize,
        /// Milliseconds between two blocks.
        #[arg(long, default_value_t = 100)]
        every: u64,
    },
    /// Prints a watchlist: addresses of the chain by rank (low ones are busy), and others that no block has.
    Watchlist {
        #[arg(long, default_value_t = 1)]
        count: u64,
        /// Of these, so many that blocks do have.
        #[arg(long, default_value_t = 1)]
        hits: u64,
        /// Rank of the first of those.
        #[arg(long, default_value_t = 1_000)]
        from_rank: u64,
    },
}

/// CPU time of this thread, in nanoseconds, as the kernel counts it; what other processes take does not count.
fn cpu() -> u64 {
    // The file is as of the last switch or tick: giving way brings it up to date.
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn main() {
    // `cargo bench` adds this flag for harnesses, and asks for nothing else: then it is the stages.
    let mut asked: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    if asked.len() == 1 {
        asked.push("stages".to_owned());
    }
    match Args::parse_from(asked) {
        Args::Serve { listen, blocks, distinct, seed, latency, raw, every } => {
            let chain = Chain::new(blocks, distinct, seed);
            let last = chain.last();
            let node = Arc::new(Node::new(chain, if every == 0 { last } else { FIRST }, raw));
            let listener = TcpListener::bind(&listen).unwrap();
            if every > 0 {
                let node = node.clone();
                std::thread::spawn(move || {
                    for number in FIRST..=last {
                        node.advance(number);
                        std::thread::sleep(Duration::from_millis(every));
                    }
                });
            }
            println!("serving {FIRST} to {last} at http://{}", listener.local_addr().unwrap());
            http::serve(&listener, &node, Duration::from_millis(latency));
        }
        Args::Stages { filter, blocks, seed } => stages::run(blocks, seed, filter),
        Args::Floors { blocks, seed } => println!("{}", floors::to_json(Chain::new(blocks, blocks, seed))),
        Args::Large { blocks, seed, archives } => large::run(blocks, seed, archives.as_deref()),
        Args::Commits { database, commits, every } => {
            commits::run(&database, commits + commits::UNCOUNTED, Duration::from_millis(every));
        }
        Args::Watchlist { count, hits, from_rank } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            for rank in from_rank..from_rank + hits.min(count) {
                writeln!(out, "{:#x}", draw::holder(rank)).unwrap();
            }
            for index in 0..count.saturating_sub(hits) {
                writeln!(out, "{:#x}", draw::never_seen(index)).unwrap();
            }
        }
    }
}
