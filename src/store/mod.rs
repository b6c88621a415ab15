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
mod differences;
mod entries;
mod error;
mod file;
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
mod missing_traces;
mod owed;
mod plan;
mod proofs;
mod query;
mod range;
mod revert;
mod severity;
mod short_ids;
mod sources;
mod staging;
mod status;
mod tests;
mod tokens;
mod undecoded;
mod versions;
mod wait;
mod watch_spans;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use alloy::primitives::B256;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use file::{Handle, error_at, has_log, immutable_uri};
use wait::{Patience, Waiting};

pub use blocks::{BlockRecord, Committed, Progress, TransactionFacts};
pub use check::StandingAlerts;
pub use coverage::{CoverageRange, InternalEth, LedgerRange, RangeCoverage};
pub use differences::FieldDifferences;
pub use entries::{EntryRow, EntryState, ListRow};
pub use error::StoreError;
pub use file::{WriterLock, is_of_database};
pub use filter::{AlertFilter, AmountFilter, AssetFilter, Order};
pub use filtered::FilteredSpan;
pub use finality::Settled;
pub use health::{LieRow, ProblemRow, Running};
pub use lists::{EntryChange, ImportCounts, ListFile, ManualEntry};
pub use lookback::BlockBehind;
pub use missing_traces::{MissingTraces, TraceBacklog};
pub use proofs::{PackedProof, ProvenRow};
pub use query::{AlertRow, AssetRow, LeftOut, MatchedEntry, TxRow};
pub use range::{BlockRange, NamedRange, PRESENT};
pub use revert::RevertRow;
pub use severity::{Adopted, Explained};
pub use short_ids::HashRange;
pub use sources::{ListAge, ListSource};
pub use status::{AlertCount, EndpointRow, Status};
pub use tokens::{TokenFacts, UnknownTokens};
pub use undecoded::UndecodedNames;
pub use versions::{EntryVersions, Screening, VersionRow};
pub use watch_spans::Gain;

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

/// An open database.
#[derive(Debug)]
pub struct Store {
    /// Of a watch: closed before the connection, which then removes the log.
    checkpointer: Option<checkpoint::Checkpointer>,
    conn: Connection,
    path: PathBuf,
    /// Outlives the connection: see [`file`].
    handle: Handle,
    /// The write-ahead log, once it was seen.
    log: Option<(u64, u64)>,
    patience: Patience,
    /// Commits are to be synced to the disk, but for those that are made again after a power cut.
    durable: bool,
    /// Whether the next commit is.
    syncing: bool,
    /// Blocks whose hash the user vouches for: another block of such a number is not taken.
    vouched: BTreeMap<u64, B256>,
    /// Held while this process changes the lists.
    lists_lock: Option<std::fs::File>,
    /// Changes of an import in one transaction.
    import_part: usize,
    /// Pause after each such transaction, in which the database is not locked.
    import_pause: Duration,
    /// Of a store in memory, which stands for a file all the same.
    #[cfg(test)]
    #[expect(dead_code, reason = "kept for as long as the store")]
    folder: Option<tempfile::TempDir>,
}

impl Store {
    /// Opens the file, makes or migrates its schema where it may be written.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NewerSchema`], [`StoreError::Unusable`].
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        // The file's one descriptor is opened before SQLite's, and closed after it: see `file`.
        let _opening = Handle::open(path, access != Access::Read)?;
        let flags = match access {
            // Reading a WAL database may have to make its index file, so it is opened for writing where that is possible.
            Access::Read => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Write { .. } => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        let open = |name: &std::ffi::OsStr, flags: OpenFlags| -> Result<Self> {
            let conn = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            conn.busy_timeout(Duration::from_secs(if access == Access::Read { 10 } else { 60 }))?;
            // Before SQLite reads anything. Each store has a handle of its own.
            let handle = Handle::open(path, access != Access::Read)?;
            handle.check_names(path)?;
            let mut store = Self {
                checkpointer: None,
                conn,
                path: path.to_owned(),
                handle,
                log: None,
                patience: Patience::default(),
                durable: false,
                syncing: false,
                vouched: BTreeMap::new(),
                lists_lock: None,
                import_part: staging::PART,
                import_pause: staging::PAUSE,
                #[cfg(test)]
                folder: None,
            };
            store.prepare(access)?;
            if !store.handle.is_in_place() {
                return Err(StoreError::Replaced(path.to_owned()));
            }
            if access != Access::Read {
                // From here on waiting is in the hands of `write`.
                store.conn.busy_timeout(wait::STEP)?;
            }
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

    /// Waits no longer than that for another process that writes; then it is [`StoreError::Busy`]. None: for as long as it takes.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn wait_at_most(&mut self, patience: Option<Duration>) -> Result<()> {
        self.patience.at_most = patience;
        Ok(self.conn.busy_timeout(patience.map_or(wait::STEP, |most| most.min(wait::STEP)))?)
    }

    /// Waits for another process no longer than a second once that is set.
    pub fn give_up_when(&mut self, stop: Arc<AtomicBool>) {
        self.patience.stop = Some(stop);
    }

    /// Refuses to go on with a file that is not at its place any more: what is written to it, nobody would find.
    fn check_in_place(&mut self) -> Result<()> {
        let log = file::log_of(&self.handle);
        if !self.handle.is_in_place() || self.log.is_some_and(|seen| log != Some(seen)) {
            return Err(StoreError::Replaced(self.path.clone()));
        }
        self.log = log;
        Ok(())
    }

    fn unusable(&self, detail: &str) -> StoreError {
        StoreError::Unusable { path: self.path.clone(), detail: detail.to_owned() }
    }

    /// Makes this process the one that writes blocks.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where another is.
    pub fn lock_for_writing(path: &Path) -> Result<WriterLock> {
        WriterLock::take(path)
    }

    /// Opens the file whose blocks this process writes.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::Replaced`] where another file has taken the place of the one that is locked.
    pub fn open_locked(path: &Path, durable: bool, lock: &WriterLock) -> Result<Self> {
        let store = Self::open(path, Access::Write { durable })?;
        if lock.is_for(&store.handle) { Ok(store) } else { Err(StoreError::Replaced(path.to_owned())) }
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
            self.check_in_place()?;
            let mut waiting = Waiting::new(&self.patience, &self.path);
            let tx = loop {
                match self.conn.transaction_with_behavior(TransactionBehavior::Immediate) {
                    Err(error) if is_busy(&error) && waiting.goes_on() => {}
                    other => break other?,
                }
            };
            drop(waiting);
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

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
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

/// Numbers of the chain fit: SQLite has 63 bits, and a block with a larger number or time is refused before it comes here
/// ([`crate::chain::check_storable`]). What only bounds a search may be larger, and means all of it.
fn sql_int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn chain_int(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
