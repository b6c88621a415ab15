//! The database as a file: who may write it, whether it is still the one that was opened, and why it cannot be opened.
//!
//! The right to write blocks belongs to the file, whatever it is called: a lock on the file itself, so that symbolic and hard links and
//! a deleted lock file cannot give it twice. SQLite holds POSIX locks on the file, and the system drops all of them when *any*
//! descriptor of it is closed in the same process. So there is one descriptor of each file for all its users in this process. It is
//! opened before SQLite opens the file, and closed after the last of them is.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Result, StoreError};

/// What a database and what lies beside it may be read and written by: its owner. It tells who is watched.
const PRIVATE: u32 = 0o600;

/// Device and inode.
type FileId = (u64, u64);

/// The files that are open in this process.
static OPEN: Mutex<BTreeMap<FileId, OpenFile>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct OpenFile {
    /// The first is the one that bears the lock. More come only of a file that was moved while it was opened.
    descriptors: Vec<File>,
    users: usize,
    /// This process has the right to write blocks.
    locked: bool,
}

/// The use of a file. Its descriptor stays open for as long.
#[derive(Debug)]
pub(super) struct Handle {
    id: FileId,
    /// The path without symbolic links: SQLite names the log after it.
    real: PathBuf,
}

/// Held by the one process that writes blocks, for as long as it lives; the system lets go of it at a crash.
#[derive(Debug)]
pub struct WriterLock {
    handle: Handle,
    /// Beside the database: tells under which name it is in use.
    _named: File,
    /// Where the file itself cannot be locked.
    _by_inode: Option<File>,
}

fn id_of(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

fn unusable(path: &Path, detail: impl Into<String>) -> StoreError {
    StoreError::Unusable { path: path.to_owned(), detail: detail.into() }
}

fn with_open<T>(then: impl FnOnce(&mut BTreeMap<FileId, OpenFile>) -> T) -> T {
    then(&mut OPEN.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Handle {
    /// Opens the file; makes it where that is wanted, readable by its owner only.
    pub(super) fn open(path: &Path, create: bool) -> Result<Self> {
        if path == Path::new(":memory:") || path.as_os_str().is_empty() {
            return Err(unusable(path, "it would be gone with the program: name a file"));
        }
        if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
            return Err(unusable(path, "it is a URI: name a file by its path, such as ./bolo.db"));
        }
        let held = std::fs::metadata(path);
        match &held {
            Ok(metadata) if metadata.is_dir() => return Err(unusable(path, "it is a folder")),
            Ok(metadata) if !metadata.is_file() => return Err(unusable(path, "it is no database: no regular file")),
            Err(error) if error.kind() == ErrorKind::NotFound && !create => {
                return Err(StoreError::Missing(path.to_owned()));
            }
            _ => {}
        }
        with_open(|open| {
            let known = held.ok().map(|metadata| id_of(&metadata)).filter(|id| open.contains_key(id));
            let id = match known {
                Some(id) => id,
                None => {
                    let file =
                        open_private(path, create).map_err(|error| unusable(path, why_not_opened(path, &error)))?;
                    let metadata = file.metadata().map_err(|error| unusable(path, error.to_string()))?;
                    let id = id_of(&metadata);
                    let entry = open.entry(id).or_insert(OpenFile { descriptors: Vec::new(), users: 0, locked: false });
                    entry.descriptors.push(file);
                    id
                }
            };
            let real = path.canonicalize();
            if let Some(entry) = open.get_mut(&id) {
                entry.users += 1;
            }
            let handle = Self { id, real: real.unwrap_or_else(|_| path.to_owned()) };
            Ok(handle)
        })
    }

    /// Path without symbolic links.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// Whether the file at its path is still the one that was opened.
    pub(super) fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.real).is_ok_and(|metadata| id_of(&metadata) == self.id)
    }

    /// Refuses a file that another process uses under another name: each name has a write-ahead log of its own, and neither knows what
    /// is in the other.
    pub(super) fn check_names(&self, path: &Path) -> Result<()> {
        let names = std::fs::metadata(&self.real).map_or(1, |metadata| metadata.nlink());
        if names < 2 || self.has_the_lock() || !locks_are_apart() {
            return Ok(());
        }
        let used = with_open(|open| match open.get(&self.id).and_then(|entry| entry.descriptors.first()) {
            Some(file) => {
                let free = file.try_lock_shared();
                let _ = if free.is_ok() { file.unlock() } else { Ok(()) };
                matches!(free, Err(TryLockError::WouldBlock))
            }
            None => false,
        });
        if used && !is_locked(&beside(&self.real, ".lock")) {
            return Err(unusable(path, format!("it has {names} names (hard links) and is in use under another one")));
        }
        Ok(())
    }

    fn has_the_lock(&self) -> bool {
        with_open(|open| open.get(&self.id).is_some_and(|entry| entry.locked))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Closed while nobody else can begin to use it.
        with_open(|open| {
            if let Some(entry) = open.get_mut(&self.id) {
                entry.users -= 1;
                if entry.users == 0 {
                    open.remove(&self.id);
                }
            }
        });
    }
}

impl WriterLock {
    /// Makes this process the one that writes blocks.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where another is.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let handle = Handle::open(path, true)?;
        let named = lock_side_file(handle.real(), WRITER_LOCK).map_err(|error| match error {
            // Under the name that the user gave.
            StoreError::Locked(_) => StoreError::Locked(path.to_owned()),
            other => other,
        })?;
        let by_inode = if locks_are_apart() { None } else { Some(lock_by_inode(path, handle.id)?) };
        with_open(|open| {
            let Some(entry) = open.get_mut(&handle.id) else { return Ok(()) };
            if entry.locked {
                return Err(StoreError::Locked(path.to_owned()));
            }
            if let (Some(file), true) = (entry.descriptors.first(), locks_are_apart()) {
                locked(path, path, file.try_lock())?;
            }
            entry.locked = true;
            Ok(())
        })?;
        let lock = Self { handle, _named: named, _by_inode: by_inode };
        if lock.handle.is_in_place() { Ok(lock) } else { Err(StoreError::Replaced(path.to_owned())) }
    }

    /// Whether it is for that file.
    pub(super) fn is_for(&self, handle: &Handle) -> bool {
        self.handle.id == handle.id
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        with_open(|open| {
            if let Some(entry) = open.get_mut(&self.handle.id) {
                entry.locked = false;
                // Others may go on using the descriptor.
                let _ = entry.descriptors.first().map(File::unlock);
            }
        });
    }
}

/// Whether locks of whole files (flock) and SQLite's locks of ranges do not see each other. On macOS and the BSDs they do, and a lock on
/// the file would shut SQLite out: there the lock is on a file that is named by the database's device and inode.
const fn locks_are_apart() -> bool {
    cfg!(target_os = "linux")
}

/// Suffix of the file that shows under which name the database is written.
const WRITER_LOCK: &str = ".lock";
/// Suffix of the file that is locked while a process changes the lists.
pub(super) const LISTS_LOCK: &str = ".lists.lock";

/// A folder for all users, where every process looks whatever its environment says.
const SHARED_FOLDER: &str = "/var/tmp";

/// Locks a file that has the same name for all names of a database.
fn lock_by_inode(path: &Path, id: FileId) -> Result<File> {
    lock_file(path, &inode_lock_path(id))
}

fn inode_lock_path((device, inode): FileId) -> PathBuf {
    Path::new(SHARED_FOLDER).join(format!("bolo-{device:x}-{inode:x}.lock"))
}

/// Locks a file next to the database, which is made where there is none.
pub(super) fn lock_side_file(path: &Path, suffix: &str) -> Result<File> {
    lock_file(path, &beside(path, suffix))
}

fn lock_file(database: &Path, lock: &Path) -> Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(PRIVATE).custom_flags(no_link);
    let file = options.open(lock).map_err(|error| unusable(database, format!("{}: {error}", lock.display())))?;
    locked(database, lock, file.try_lock())?;
    Ok(file)
}

fn locked(database: &Path, lock: &Path, outcome: std::result::Result<(), TryLockError>) -> Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(database.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(database, format!("{}: {error}", lock.display()))),
    }
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn open_private(path: &Path, create: bool) -> std::io::Result<File> {
    if create {
        match OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE).open(path) {
            Ok(file) => {
                // Whatever the umask takes away.
                file.set_permissions(std::fs::Permissions::from_mode(PRIVATE))?;
                return Ok(file);
            }
            // Also a link to a file that is not there yet, which is made where it leads.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let writable = OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(PRIVATE).open(path);
    match writable {
        // Enough to be locked; SQLite says what else is wrong.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            File::open(path)
        }
        other => other,
    }
}

/// Why the system does not open or make a database there.
fn why_not_opened(path: &Path, error: &std::io::Error) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = folder.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory if !folder.is_dir() => {
            format!("its folder {shown} does not exist: make it, or name another file with --db")
        }
        ErrorKind::PermissionDenied if path.exists() => "this user has no permission to read it".to_owned(),
        ErrorKind::PermissionDenied => format!("this user has no permission to make files in {shown}"),
        ErrorKind::ReadOnlyFilesystem => format!("{shown} is on a file system that is read-only"),
        _ => format!("it cannot be opened: {error}"),
    }
}

/// Why SQLite cannot open a file that is there: its log and index lie beside it. The file itself is not opened here, since closing it
/// again would drop SQLite's locks; a [`Handle`] that was opened before showed that it can be read.
fn why_no_log(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (std::fs::metadata(path), probe(path, 1)) {
        (Err(error), _) => why_not_opened(path, &error),
        (Ok(_), Ok(())) => "SQLite cannot open it".to_owned(),
        (Ok(_), Err(error)) => format!("SQLite needs to make files beside it, in {}: {error}", folder.display()),
    }
}

/// A file next to that one, whose name goes on with `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a path is the database or one of the files beside it, under whatever name: to write there would destroy it.
pub fn is_of_database(path: &Path, database: &Path) -> bool {
    let real = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(folder.canonicalize().ok()?.join(path.file_name()?))
        })
    };
    let (Some(path), Some(database)) = (real(path), real(database)) else { return false };
    let id = |path: &Path| std::fs::metadata(path).ok().map(|metadata| id_of(&metadata));
    let found = id(&path);
    ["", "-wal", "-shm", "-journal", WRITER_LOCK, LISTS_LOCK].iter().any(|suffix| {
        let file = beside(&database, suffix);
        path == file || (found.is_some() && found == id(&file))
    })
}

/// Device and inode of the write-ahead log, where there is one.
pub(super) fn log_of(handle: &Handle) -> Option<FileId> {
    std::fs::metadata(beside(&handle.real, "-wal")).ok().map(|metadata| id_of(&metadata))
}

/// Whether a write-ahead log with something in it lies beside the file.
pub(super) fn has_log(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The file as one that nobody changes.
pub(super) fn immutable_uri(path: &Path) -> std::ffi::OsString {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?immutable=1").into()
}

/// What SQLite's error means for that file.
pub(super) fn error_at(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly};
    let detail = match error.sqlite_error_code() {
        Some(DiskFull) => return StoreError::DiskFull(path.to_owned()),
        Some(NotADatabase) => "it is no SQLite database".to_owned(),
        Some(DatabaseCorrupt) => "it is damaged; restore a copy, or replay into a new file".to_owned(),
        Some(ReadOnly) => "it is read-only".to_owned(),
        Some(CannotOpen) => why_no_log(path),
        Some(DatabaseBusy) => return StoreError::Busy(path.to_owned()),
        Some(rusqlite::ErrorCode::SystemIoFailure) if disk_is_full(path) => {
            return StoreError::DiskFull(path.to_owned());
        }
        _ => return StoreError::Sqlite(error),
    };
    unusable(path, detail)
}

/// SQLite tells a full disk as an I/O failure where it cannot grow its shared-memory file.
fn disk_is_full(path: &Path) -> bool {
    probe(path, 65_536).is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

/// Tries to write so many bytes beside the file. The name is new: nothing that lies there is written to, nor what it links to.
fn probe(path: &Path, bytes: usize) -> std::io::Result<()> {
    let name = beside(path, &format!(".{}.probe", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&name)?;
    let written = std::io::Write::write_all(&mut file, &vec![0; bytes]);
    let _ = std::fs::remove_file(&name);
    written
}

#[cfg(test)]
mod tests;
