//! The one SQLite file in which everything ends up, and the only room that speaks SQL.
//!
//! A block and all that came of it is one transaction; a revert is its twin. Progress is a block's number *and* hash, committed
//! with the rows it stands for. Writing the chain is for one process at a time ([`WriterLock`]); lists may be changed meanwhile.

mod addresses;
mod alerts;
mod anchors;
mod blocks;
mod check;
mod checkpoint;
mod coverage;
mod entries;
mod filing;
mod filter;
mod filtered;
mod finality;
mod functions;
mod health;
mod held;
mod lists;
mod lookback;
mod migrate;
mod owed;
mod plan;
mod proofs;
mod query;
mod range;
mod severity;
mod short_ids;
mod sources;
mod status;
mod tests;
mod tokens;
mod versions;
mod watch_spans;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::B256;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

pub use blocks::{BlockRecord, Committed, Progress, TransactionFacts};
pub use check::StandingAlerts;
pub use coverage::{CoverageRange, InternalEth, LedgerRange, RangeCoverage};
pub use entries::{EntryRow, EntryState, ListRow};
pub use filter::{AlertFilter, AmountFilter, AssetFilter, Order};
pub use filtered::FilteredSpan;
pub use finality::Settled;
pub use health::{LieRow, ProblemRow, Running};
pub use lists::{EntryChange, ImportCounts, ListFile, ManualEntry};
pub use lookback::BlockBehind;
pub use proofs::{PackedProof, ProvenRow};
pub use query::{AlertRow, AssetRow, LeftOut, MatchedEntry, TxRow};
pub use range::{BlockRange, NamedRange};
pub use severity::{Adopted, Explained};
pub use short_ids::HashRange;
pub use sources::{ListAge, ListSource};
pub use status::{AlertCount, EndpointRow, Status};
pub use tokens::TokenFacts;
pub use versions::{EntryVersions, Screening, VersionRow};
pub use watch_spans::Gain;

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

/// Result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What a process wants of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read what is there; the file must exist.
    Read,
    /// Write lists or blocks; the file is made where it does not exist. `durable` syncs at each commit (watching): otherwise the
    /// last commits may be lost with the power, in order, and are made again by the replay.
    Write {
        /// Sync at each commit.
        durable: bool,
    },
}

/// Held by the one process that writes blocks, for as long as it lives; the system lets go of it at a crash.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    /// Of a watch: closed before the connection, which then removes the log.
    checkpointer: Option<checkpoint::Checkpointer>,
    conn: Connection,
    path: PathBuf,
    /// Commits are to be synced to the disk, but for those that are made again after a power cut.
    durable: bool,
    /// Whether the next commit is.
    syncing: bool,
    /// Blocks whose hash the user vouches for: another block of such a number is not taken.
    vouched: BTreeMap<u64, B256>,
}

impl Store {
    /// Opens the file, makes or migrates its schema where it may be written.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NewerSchema`], [`StoreError::Unusable`].
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let flags = match access {
            Access::Read if !path.exists() => return Err(StoreError::Missing(path.to_owned())),
            // Reading a WAL database may have to make its index file, so it is opened for writing where that is possible.
            Access::Read => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Write { .. } => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        if path.is_dir() {
            return Err(StoreError::Unusable { path: path.to_owned(), detail: "it is a folder".to_owned() });
        }
        let open = |name: &std::ffi::OsStr, flags: OpenFlags| -> Result<Self> {
            let conn = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            // A large list being imported is one transaction: who writes waits for it rather than stop.
            conn.busy_timeout(Duration::from_secs(if access == Access::Read { 10 } else { 60 }))?;
            let mut store = Self {
                checkpointer: None,
                conn,
                path: path.to_owned(),
                durable: false,
                syncing: false,
                vouched: BTreeMap::new(),
            };
            store.prepare(access)?;
            Ok(store)
        };
        let opened = match open(path.as_os_str(), flags) {
            // On a read-only file system no index of the log can be made. Closed in good order, there is no log either.
            Err(StoreError::Sqlite(error)) if access == Access::Read && cannot_open(&error) && !has_log(path) => {
                let immutable = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                open(&immutable_uri(path), immutable)
            }
            other => other,
        };
        opened.map_err(|error| match error {
            StoreError::Sqlite(error) => error_at(path, error),
            other => other,
        })
    }

    /// All that is read from here on is of one moment, whatever a watch writes meanwhile: what is said of the tip, of what is owed and
    /// of what is covered then fits together. Nothing can be written over this connection.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn at_one_moment(self) -> Result<Self> {
        self.conn.execute_batch("BEGIN")?;
        Ok(self)
    }

    fn prepare(&mut self, access: Access) -> Result<()> {
        self.conn.pragma_update(None, "foreign_keys", true)?;
        self.conn.set_prepared_statement_cache_capacity(128);
        // A statement is planned once: else SQLite plans some anew for each value bound, which took a quarter of a commit's time.
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        functions::add_functions(&self.conn)?;
        match access {
            Access::Read => migrate::check(&self.conn, &self.path),
            Access::Write { durable } => {
                if self.conn.is_readonly(rusqlite::MAIN_DB)? {
                    return Err(self.unusable("it is read-only"));
                }
                migrate::check_kind(&self.conn, &self.path)?;
                self.conn.pragma_update(None, "journal_mode", "wal")?;
                self.conn.pragma_update(None, "synchronous", "normal")?;
                self.durable = durable;
                self.sync(durable)?;
                migrate::migrate(&mut self.conn, &self.path)?;
                self.vouched = self.checkpoints()?.into_iter().map(|kept| (kept.number, kept.hash)).collect();
                Ok(())
            }
        }
    }

    /// Whether commits from now on are synced to the disk. What is not synced is lost with the power only in order, from the end.
    fn sync(&mut self, wanted: bool) -> Result<()> {
        if self.syncing != wanted {
            self.conn.pragma_update(None, "synchronous", if wanted { "full" } else { "normal" })?;
            self.syncing = wanted;
        }
        Ok(())
    }

    /// Waits no longer than that for another process that writes; then it is [`StoreError::Busy`].
    ///
    /// # Errors
    /// Of SQLite.
    pub fn wait_at_most(&self, patience: Duration) -> Result<()> {
        Ok(self.conn.busy_timeout(patience)?)
    }

    fn unusable(&self, detail: &str) -> StoreError {
        StoreError::Unusable { path: self.path.clone(), detail: detail.to_owned() }
    }

    /// Makes this process the one that writes blocks.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where another is.
    pub fn lock_for_writing(path: &Path) -> Result<WriterLock> {
        let lock_path = beside(path, ".lock");
        let failed = |error: std::io::Error| StoreError::Unusable {
            path: path.to_owned(),
            detail: format!("{}: {error}", lock_path.display()),
        };
        let file = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(WriterLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says what SQLite's error means for this file.
    fn explain(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Sqlite(error) => error_at(&self.path, error),
            other => other,
        }
    }

    /// Runs `work` in one transaction that takes the write lock at once.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let outcome = (|| {
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        })();
        outcome.map_err(|error| self.explain(error))
    }

    /// The chain of this database, once one is bound.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn chain_id(&self) -> Result<Option<u64>> {
        Ok(meta(&self.conn, "chain_id")?.and_then(|text| text.parse().ok()))
    }

    /// Makes sure that the database is of that chain, or of none yet: the first block that it takes binds it for good.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`] where it is bound to another.
    pub fn expect_chain(&self, chain_id: u64) -> Result<()> {
        check_chain(&self.conn, chain_id).map(|_| ())
    }
}

/// Whether the database is bound to that chain already.
fn check_chain(conn: &Connection, chain_id: u64) -> Result<bool> {
    match meta(conn, "chain_id")?.and_then(|text| text.parse().ok()) {
        Some(found) if found != chain_id => Err(StoreError::OtherChain { found, expected: chain_id }),
        found => Ok(found.is_some()),
    }
}

fn cannot_open(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

/// Whether a write-ahead log with something in it lies beside the file.
fn has_log(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The file as one that nobody changes.
fn immutable_uri(path: &Path) -> std::ffi::OsString {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?immutable=1").into()
}

/// A file next to that one, whose name goes on with `suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn error_at(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly};
    let detail = match error.sqlite_error_code() {
        Some(DiskFull) => return StoreError::DiskFull(path.to_owned()),
        Some(NotADatabase) => "it is no SQLite database".to_owned(),
        Some(DatabaseCorrupt) => "it is damaged; restore a copy, or replay into a new file".to_owned(),
        Some(ReadOnly) => "it is read-only".to_owned(),
        Some(CannotOpen) => "it cannot be opened here (folder missing, or no permission)".to_owned(),
        Some(DatabaseBusy) => return StoreError::Busy(path.to_owned()),
        Some(rusqlite::ErrorCode::SystemIoFailure) if disk_is_full(path) => {
            return StoreError::DiskFull(path.to_owned());
        }
        _ => return StoreError::Sqlite(error),
    };
    StoreError::Unusable { path: path.to_owned(), detail }
}

/// SQLite tells a full disk as an I/O failure where it cannot grow its shared-memory file: try to write a few pages beside it.
fn disk_is_full(path: &Path) -> bool {
    let probe = beside(path, ".probe");
    let full = std::fs::write(&probe, [0u8; 65536]).is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull);
    let _ = std::fs::remove_file(&probe);
    full
}

fn meta(conn: &Connection, key: &str) -> Result<Option<String>> {
    Ok(conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()?)
}

fn set_meta(conn: &Connection, key: &str, value: &str) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])?;
    Ok(())
}

/// Blobs of a fixed length out of a row.
fn bytes<const N: usize>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    let blob = row.get_ref(column)?.as_blob()?;
    blob.try_into().map_err(|_| {
        rusqlite::Error::InvalidColumnType(column, format!("blob of {} bytes", blob.len()), rusqlite::types::Type::Blob)
    })
}

fn maybe_bytes<const N: usize>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<[u8; N]>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => bytes(row, column).map(Some),
    }
}

/// The highest number of a block: SQLite's integers have 63 bits, and the number after it must fit too.
pub const HIGHEST_BLOCK: u64 = i64::MAX as u64 - 1;

/// Numbers of the chain fit: SQLite has 63 bits.
fn sql_int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn chain_int(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
