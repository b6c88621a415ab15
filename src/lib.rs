//! bolo ("be on the lookout") follows an Ethereum chain through endpoints that nobody has to trust, finds every movement that
//! touches a watched address, and keeps what it found, with its proof, in one SQLite file.
//!
//! # The way the data runs
//!
//! ```text
//! Source ──RawBundle──▶ chain ──VerifiedBlock──▶ decode ──Activity──▶ screen ──Alert──▶ store
//! (endpoints, archive)  (parse, prove)           (what moved)         (whom it touches) (one transaction per block)
//!                            ▲                                                             │
//!                       chain::canonical: Append | Revert | Behind | Gap | NeedParent | TooDeep ◀─┘ tip (number + hash)
//! ```
//!
//! One way, no back and forth. [`pipeline`] is the only code that knows the order; `watch` and `replay` drive the same stages.
//! What a query prints comes from the store alone.
//!
//! # What holds, always
//!
//! - **Unproven data does not reach decode.** Only the readers of [`chain`] can make a [`chain::VerifiedBlock`], whose fields are
//!   private, by its one constructor: header hash, roots, blooms and every sender fit, or the block is refused and another endpoint is asked. `--trust-rpc` is the one exception, and every
//!   row that comes of it says so.
//! - **A block is committed with all that came of it, or not at all.** Progress is a number and a hash in the same transaction.
//!   Killed anywhere and started again is the same as never killed.
//! - **A reorg retracts, it does not delete.** A revert needs another hash at a height that we hold; what is final is never
//!   reverted: that is a stop. Chain A, a reorg, then B gives the alerts of a fresh index of B.
//! - **The same facts give the same alert id** ([`screen::alert_id`]), whatever the list, machine or time.
//! - **Nothing is skipped in silence.** What cannot be decoded is counted by reason; which blocks and planes were seen is kept for
//!   each block; a query says what its defaults leave out.
//! - **No watched address leaves this machine**: blocks are fetched whole and screened here. `replay --filtered` is the one exception,
//!   and says so.
//!
//! # The rooms
//!
//! | room | what | knows |
//! |---|---|---|
//! | [`chain`] | a block, its proof, its place in the chain | nothing: pure |
//! | [`decode`] | what moved in a block | chain; pure, total |
//! | [`screen`] | which movements touch the watchlist | decode, chain; pure |
//! | [`lists`] | list files to entries | nothing: pure |
//! | [`source`] | endpoints, archives, list files by URL; alone knows alloy's providers | chain |
//! | [`store`] | the SQLite file; alone knows SQL | the pure rooms |
//! | [`evidence`] | bundles that a third party can check offline; never decodes | store, the pure rooms |
//! | [`pipeline`] | the order of the stages | all but cli |
//! | [`ops`] | stopping | nothing |
//! | [`redact`] | secrets of URLs, taken out of every text that leaves the program | nothing |
//! | [`text`] | strangers' text made safe to print | nothing: pure |
//! | [`config`], [`cli`] | flags, files, printing; never SQL, never RPC calls | all |
//!
//! A test (tests/it/rooms.rs) reads the sources and fails where a room knows what it may not.

pub mod chain;
pub mod cli;
pub mod config;
pub mod decode;
pub mod evidence;
pub mod lists;
mod named;
pub mod ops;
pub mod pipeline;
pub mod redact;
pub mod screen;
pub mod source;
pub mod store;
pub mod text;
