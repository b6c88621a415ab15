//! Moves what the log holds into the file, beside the commits of a watch. SQLite does it within a commit, once the log has a thousand
//! pages: that commit then takes as long as tens of others, and the alerts in it wait. Nothing of it makes a commit less durable:
//! a commit is in the log, and synced, before it returns.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::Result;

/// So long after a commit: its alerts are read back and printed first, and commits that follow each other are moved together.
const PAUSE: Duration = Duration::from_millis(700);

/// Pages (of 4 KB) in the log at which a commit moves them itself after all: the thread is dead then, or far behind.
const AFTER_ALL: i64 = 16_384;

/// A thread with a connection of its own; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Begins, and has the commits over `writer` leave the log alone.
    pub(super) fn start(path: &Path, writer: &Connection) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.pragma_update(None, "synchronous", "normal")?;
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || run(&conn, &woken));
        if thread.is_ok() {
            writer.pragma_update(None, "wal_autocheckpoint", AFTER_ALL)?;
        }
        // Without a thread commits go on moving the log themselves.
        Ok(Self { wake: Some(wake), thread: thread.ok() })
    }

    /// There is something in the log.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Where there is a call already, it is for this as well.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        // The last connection that closes removes the log: it must not be this one, after the process is thought to be done.
        drop(self.wake.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(conn: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let due = Instant::now() + PAUSE;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            match woken.recv_timeout(left) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        // Passive: it waits for nobody, and nobody for it. What it cannot move now it moves next time.
        let moved = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?])
        });
        match moved {
            Ok([_, pages, done]) => tracing::trace!(pages, done, "log moved into the file"),
            Err(error) => tracing::debug!(%error, "the log could not be moved into the file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_commit_leaves_in_the_log_is_moved_into_the_file_soon_after() {
        let place = tempfile::TempDir::new().unwrap();
        let path = place.path().join("bolo.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "wal").unwrap();
        writer.execute_batch("CREATE TABLE t (a)").unwrap();
        let checkpointer = Checkpointer::start(&path, &writer).unwrap();
        let own: i64 = writer.query_row("PRAGMA wal_autocheckpoint", [], |row| row.get(0)).unwrap();
        assert_eq!(own, AFTER_ALL);
        // More than the thousand pages after which SQLite would move the log within the commit.
        writer.execute("INSERT INTO t VALUES (randomblob(8000000))", []).unwrap();
        let size = || std::fs::metadata(&path).unwrap().len();
        assert!(size() < 1_000_000, "the commit left it in the log");
        checkpointer.wake();
        let begin = Instant::now();
        while size() < 8_000_000 {
            assert!(begin.elapsed() < Duration::from_secs(30), "the log was not moved");
            std::thread::sleep(Duration::from_millis(20));
        }
        checkpointer.wake();
        let begin = Instant::now();
        drop(checkpointer);
        assert!(begin.elapsed() < PAUSE, "it does not wait for its time when the store is closed");
    }
}
