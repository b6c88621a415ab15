//! Waiting for another process that writes the database or changes the lists. The import of a large file that is older than its list is
//! one transaction, which may take minutes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long SQLite waits by itself before it is looked whether to go on.
pub(super) const STEP: Duration = Duration::from_millis(250);
/// Waiting is told of after so long, and again as often.
const TELL_AFTER: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Once a stop was asked for: the contract allows five seconds for all of it.
const AFTER_STOP: Duration = Duration::from_secs(1);

/// How long a store waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    /// Without end, where there is none.
    pub(super) at_most: Option<Duration>,
    /// Set when the command is to stop.
    pub(super) stop: Option<Arc<AtomicBool>>,
}

/// One wait.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    patience: &'a Patience,
    path: &'a Path,
    begun: Instant,
    told: Option<Instant>,
    stopped: Option<Instant>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(patience: &'a Patience, path: &'a Path) -> Self {
        Self { patience, path, begun: Instant::now(), told: None, stopped: None }
    }

    /// The database was busy once more: whether to go on waiting.
    pub(super) fn goes_on(&mut self) -> bool {
        let waited = self.begun.elapsed();
        if self.patience.at_most.is_some_and(|most| waited >= most) {
            return false;
        }
        if self.patience.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return self.stopped.get_or_insert_with(Instant::now).elapsed() < AFTER_STOP;
        }
        if waited >= TELL_AFTER && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            let (database, seconds) = (self.path.display(), waited.as_secs());
            tracing::warn!(%database, seconds, "waiting for another process that writes the database; nothing is lost");
        }
        true
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.told.is_some() {
            tracing::info!(seconds = self.begun.elapsed().as_secs(), "the wait for the other process is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::store::{Access, Store, StoreError};

    #[test]
    fn a_writer_waits_for_another_as_long_as_it_takes_and_stops_when_it_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("bolo.db");
        let mut store = Store::open(&db, Access::Write { durable: false }).unwrap();
        let hold = |seconds: f64| {
            let (begun, is_begun) = mpsc::channel();
            let path = db.clone();
            let thread = std::thread::spawn(move || {
                let conn = rusqlite::Connection::open(path).unwrap();
                conn.execute_batch("BEGIN IMMEDIATE").unwrap();
                begun.send(()).unwrap();
                std::thread::sleep(Duration::from_secs_f64(seconds));
                conn.execute_batch("COMMIT").unwrap();
            });
            is_begun.recv().unwrap();
            thread
        };
        // Several steps long.
        let other = hold(1.2);
        store.note_stop(Some(("stopped", "watch", "after it"))).unwrap();
        other.join().unwrap();
        assert_eq!(store.status().unwrap().stopped.as_deref(), Some("after it"));
        // With an end of its patience, and told to stop.
        let stop = Arc::new(AtomicBool::new(false));
        store.give_up_when(stop.clone());
        let other = hold(4.0);
        let busy = |store: &mut Store| {
            let begun = Instant::now();
            let error = store.note_stop(Some(("stopped", "watch", "never"))).unwrap_err();
            assert!(matches!(error, StoreError::Busy(_)), "{error}");
            begun.elapsed()
        };
        store.wait_at_most(Some(Duration::from_millis(300))).unwrap();
        assert!(busy(&mut store) < Duration::from_secs(2));
        store.wait_at_most(None).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(busy(&mut store) < Duration::from_secs(3));
        other.join().unwrap();
    }
}
