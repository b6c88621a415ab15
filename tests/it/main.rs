//! The integration tests, in one binary. They run the real program against a real node (anvil, pinned) and real blocks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    missing_docs,
    reason = "tests may fail loudly, and JSON made in place reads best as an argument"
)]

mod amsterdam;
mod bombs;
mod bundle_zips;
mod check;
mod common;
mod crash;
mod demo;
mod dependencies;
mod derived;
mod docs;
mod doubt;
mod downtime;
mod era;
mod evidence;
mod faults;
mod filtered;
mod finality;
mod flips;
mod follow;
mod forgeries;
mod forks;
mod heads;
mod health;
mod importers;
mod importers_long;
mod importers_made;
mod lean;
mod lenient;
mod liars;
mod lists;
mod lookback;
mod loose_sockets;
mod mainnet;
mod mutant;
mod output;
mod pool;
mod proxy;
mod query;
mod range_times;
mod ranges;
mod refusals;
mod reorg;
mod replay;
mod reply;
mod rich;
mod rlp;
mod rooms;
mod screened;
mod seal;
mod secrets;
mod senders;
mod served;
mod severity;
mod sins;
mod socket;
mod standards;
mod stopping;
mod traces;
mod trusted;
mod twist;
mod unknown_fork;
mod update;
mod watchlist;
mod wire;
mod withdrawals;
mod writers;
