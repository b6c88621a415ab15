//! Why a call of the store failed.

use std::path::PathBuf;

use alloy::primitives::B256;

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file, and the command does not make one.
    #[error("there is no database at {}: run `bolo watch`, `bolo replay` or `bolo watchlist import` first, or name another with --db", .0.display())]
    Missing(PathBuf),
    /// The file cannot be opened or written at all.
    #[error("the database {} cannot be used: {detail}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Made by a newer bolo.
    #[error("the database {} has schema version {found}, this bolo knows up to {known}: use the newer bolo", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this build knows.
        known: i64,
    },
    /// Another process writes the chain.
    #[error("the database {} is in use by another `bolo watch` or `bolo replay`: stop that one first, or use another --db", .0.display())]
    Locked(PathBuf),
    /// Another process is writing, a list say, and does not end.
    #[error("the database {} is being written by another process for longer than can be waited for", .0.display())]
    Busy(PathBuf),
    /// The database holds another chain.
    #[error("the database holds chain {found}, not chain {expected}: name another file with --db")]
    OtherChain {
        /// The chain of the database.
        found: u64,
        /// The chain that was asked for.
        expected: u64,
    },
    /// A block contradicts one that is final, or that may not be replaced.
    #[error("block {number} ({found}) contradicts what is stored and final, or vouched for: {held}")]
    Contradiction {
        /// Number of the block.
        number: u64,
        /// Hash of the block that was to be stored.
        found: B256,
        /// The stored block that it contradicts.
        held: String,
    },
    /// A revert that would drop what a checkpoint vouches for.
    #[error(
        "blocks above {above} are not dropped: the user vouches for block {checkpoint} (--checkpoint); name a number of {checkpoint} or more"
    )]
    Vouched {
        /// The highest block that was to be left.
        above: u64,
        /// Number of the checkpoint.
        checkpoint: u64,
    },
    /// A block that no true chain has: two activities of it have one place, or its hash is that of another number.
    #[error("block {number} ({found}) cannot be a block: {detail}")]
    InvalidBlock {
        /// Number of the block.
        number: u64,
        /// Its hash.
        found: B256,
        /// What is wrong with it.
        detail: String,
    },
    /// The watchlist changed since the block was screened: screen it again.
    #[error("the watchlist changed meanwhile")]
    StaleWatchlist,
    /// A list file that is older than what the list has already.
    #[error("{0}")]
    List(String),
    /// A stored proof is damaged, or cannot be kept.
    #[error("the stored proof {0}")]
    Proof(String),
    /// The severity rules that the database was rated by are of a newer bolo.
    #[error("the severity rules in the database cannot be read: {0}")]
    Rules(String),
    /// There is no such alert.
    #[error("there is no alert {0} in this database")]
    NoAlert(B256),
    /// The disk is full: the block in hand was not stored, all before it was.
    #[error("the disk is full at {}: nothing is lost or half written; make room and start again", .0.display())]
    DiskFull(PathBuf),
    /// The file, or its log, is not the one any more that was opened.
    #[error(
        "the database {} was deleted or replaced while it was in use: stopped. What was committed is in the file that was there; start \
         again with the right file in its place",
        .0.display()
    )]
    Replaced(PathBuf),
    /// Anything else that SQLite says.
    #[error("the database failed: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// Whether the file itself is of no use (exit code 5), rather than what was asked of it.
    pub fn is_unusable(&self) -> bool {
        matches!(
            self,
            Self::Unusable { .. }
                | Self::NewerSchema { .. }
                | Self::Locked(_)
                | Self::Busy(_)
                | Self::Replaced(_)
                | Self::DiskFull(_)
                | Self::Sqlite(_)
        )
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
