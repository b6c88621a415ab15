//! `bolo demo`: the main job in one go, with no network and no node. The recorded chain beside this file was made on a real node
//! by tests/demo/make.py; README.md there tells its story.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Deserialize;

use super::args::DemoArgs;
use super::present::print;
use super::{Cli, Command, Context, Failure};
use crate::config::ConfigFile;
use crate::decode::DecodeOptions;
use crate::ops::Shutdown;
use crate::pipeline::{Engine, Judge, ReplayOptions, replay_archive};
use crate::source::TraceMode;
use crate::source::archive::Archive;
use crate::store::{Access, Store, TokenFacts};

const CHAIN: &[u8] = include_bytes!("chain.jsonl.zst");
const WATCHLIST: &str = include_str!("watchlist.csv");
const TOKENS: &str = include_str!("tokens.json");
/// anvil's chain id.
const CHAIN_ID: u64 = 31337;
/// The recorded chain's wrapped ether.
const WRAPPED: alloy::primitives::Address = alloy::primitives::address!("6D8da4B12D658a36909ec1C75F81E54B8DB4eBf9");

/// What a person would ask next, each with what it shows.
const QUERIES: [(&str, &[&str]); 6] = [
    (
        "Who emptied the cold wallet? The transaction itself moved nothing; only a call frame shows it.",
        &["query", "--kind", "internal_transfer", "--min-amount", "100.0"],
    ),
    (
        "Where did the theft wallet's tokens go?",
        &["query", "--label", "theft wallet", "--asset", "USDM", "--direction", "out", "--order", "asc"],
    ),
    ("What reached the mixer?", &["query", "--label", "mixer", "--direction", "in", "--order", "asc"]),
    (
        "Somebody tries to poison the thief's address book. Noise is kept, and shown when asked for.",
        &["query", "--triage", "zero_value"],
    ),
    (
        "A reorg replaced two blocks: the alert in the lost one is retracted, its transaction came back in another block.",
        &[
            "query",
            "--status",
            "all",
            "--label",
            "split 8",
            "--kind",
            "native_transfer",
            "--order",
            "asc",
            "--from-block",
            "42",
        ],
    ),
    (
        "Is anything missing? Exit code 3 if a block of the range were not proven, or had a log that bolo cannot decode and that names a \
         watched address: block 32 has one.",
        &[
            "query",
            "--from-block",
            "33",
            "--to-block",
            "58",
            "--severity",
            "high",
            "--limit",
            "3",
            "--require-complete",
        ],
    ),
];

pub(super) async fn run(context: &Context, args: &DemoArgs) -> Result<u8, Failure> {
    let dir = folder(args)?;
    let db = dir.join("demo.db");
    let list = dir.join("watchlist.csv");
    std::fs::write(&list, WATCHLIST)
        .map_err(|error| Failure::input(format!("cannot write {}: {error}", list.display())))?;
    say("bolo demo: a theft on a recorded chain (chain 31337, made on a real node; every name is invented)\n")?;
    let here = Context { db: db.clone(), config: ConfigFile::default(), lists: Vec::new() };

    say("\n== The watchlist: 14 addresses ==\n")?;
    let import = format!("watchlist import {} --list demo --kind blocking", list.display());
    command(&here, &import.split(' ').collect::<Vec<_>>()).await?;

    say("\n== Replaying the recorded chain: every hash, root and signature is checked ==\n")?;
    let taken = replay(&db).await?;
    say(&format!("{taken} blocks proven and screened; 2 of them were replaced by a reorg\n"))?;
    for (question, words) in QUERIES {
        say(&format!("\n== {question} ==\n"))?;
        command(&here, words).await?;
    }
    say("\n== The state of it all ==\n")?;
    command(&here, &["status"]).await?;
    let db = db.display();
    say(&format!(
        "\nThe database is left at {db}. Ask it more:\n\n    bolo --db {db} query --limit 0 --order asc\n    bolo --db {db} query --format \
         jsonl --limit 1\n    bolo --db {db} watchlist check 0x70997970C51812dc3A010C7d01b50e0d17dc79C8\n    sqlite3 {db} 'SELECT * FROM \
         alert_report LIMIT 3'\n"
    ))?;
    let _ = context;
    Ok(0)
}

fn say(text: &str) -> Result<(), Failure> {
    print(text)
}

/// A folder of its own, so that nothing is overwritten.
fn folder(args: &DemoArgs) -> Result<PathBuf, Failure> {
    let failed = |dir: &Path, error: std::io::Error| Failure::input(format!("cannot make {}: {error}", dir.display()));
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        if dir.join("demo.db").exists() {
            return Err(Failure::input(format!("{} holds a demo already: name another --dir", dir.display())));
        }
        return Ok(dir.clone());
    }
    let base = std::env::temp_dir();
    for number in 0..10_000 {
        let dir = base.join(format!("bolo-demo-{}-{number}", std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&dir, error)),
        }
    }
    Err(Failure::input(format!("no room for a new folder in {}", base.display())))
}

/// Prints a command as one would type it, and runs it.
async fn command(context: &Context, words: &[&str]) -> Result<(), Failure> {
    let quoted: Vec<_> =
        words.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() }).collect();
    say(&format!("$ bolo {}\n", quoted.join(" ")))?;
    let cli = Cli::try_parse_from(std::iter::once("bolo").chain(words.iter().copied()))
        .map_err(|error| Failure::input(error.to_string()))?;
    match cli.command {
        Command::Query(args) => super::query::run(context, &args)?,
        Command::Watchlist(args) => super::watchlist::run(context, args).await?,
        Command::Status(args) => super::status::run(context, &args)?,
        _ => return Err(Failure::input("the demo only reads and imports")),
    };
    Ok(())
}

async fn replay(db: &Path) -> Result<u64, Failure> {
    #[derive(Deserialize)]
    struct Token {
        address: alloy::primitives::Address,
        symbol: Option<String>,
        decimals: Option<u8>,
    }
    let _lock = Store::lock_for_writing(db)?;
    let mut store = Store::open(db, Access::Write { durable: false })?;
    let tokens: Vec<Token> = serde_json::from_str(TOKENS).map_err(|error| Failure::input(error.to_string()))?;
    for Token { address, symbol, decimals } in tokens {
        store.put_token(address, &TokenFacts { symbol, decimals }, 0)?;
    }
    let mut printer = super::live::CommitPrinter::new(false, CHAIN_ID);
    printer.quiet = true;
    let mut engine = Engine::new(store, CHAIN_ID, &mut printer)?;
    let judge = Judge::new(CHAIN_ID, false, DecodeOptions::of_chain(CHAIN_ID, vec![WRAPPED])).indexing(true);
    let options = ReplayOptions { concurrency: 4, traces: TraceMode::Auto };
    let archive = Archive::from_bytes(CHAIN)?;
    let outcome = replay_archive(&mut engine, archive, &judge, (None, None), options, &Shutdown::default()).await?;
    Ok(outcome.taken)
}
