//! The signs of life of a watch: what is wrong with its endpoints, its clock or itself is written down within a second, whatever the
//! loop at the head waits for. So `bolo status` can tell a quiet chain from a dead watch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::{PipelineError, now_ms};
use crate::ops::ClockWatch;
use crate::source::{EndpointState, Lie, Pool, PoolOptions, Problem, SourceError};
use crate::store::{LieRow, ProblemRow, Store, StoreError};

/// A sign of life at least that often.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// What the loop at the head says of itself.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Why no block can be taken just now, and since when.
    waiting: Mutex<Option<(i64, String)>>,
    /// What it waits for has something that this build does not know.
    unknown_fork: AtomicBool,
    /// Why what is owed cannot be taken just now, and since when.
    backfill: Mutex<Option<(i64, String)>>,
}

impl Condition {
    /// It has to wait; none: it goes on.
    pub(super) fn waits(&self, reason: Option<&SourceError>) {
        self.unknown_fork.store(reason.is_some_and(SourceError::is_unknown_fork), Ordering::Relaxed);
        note(&self.waiting, reason.map(SourceError::to_string));
    }

    /// It has to wait for the chain; none: it goes on.
    pub(super) fn waits_for(&self, reason: Option<String>) {
        self.unknown_fork.store(false, Ordering::Relaxed);
        note(&self.waiting, reason);
    }

    /// What is owed has to wait; none: it goes on.
    pub(super) fn backfill_waits(&self, reason: Option<&str>) {
        note(&self.backfill, reason.map(str::to_owned));
    }

    fn problems(&self) -> impl Iterator<Item = ProblemRow> {
        let of = |code: &str, slot: &Mutex<Option<(i64, String)>>| {
            let (since, detail) = slot.lock().ok()?.clone()?;
            Some(ProblemRow { code: code.to_owned(), host: None, since, detail })
        };
        let waiting = if self.unknown_fork.load(Ordering::Relaxed) { "unknown_fork_field" } else { "waiting" };
        [of(waiting, &self.waiting), of("catching_up_waits", &self.backfill)].into_iter().flatten()
    }
}

/// Keeps a reason, since the first of those that follow each other.
fn note(slot: &Mutex<Option<(i64, String)>>, reason: Option<String>) {
    if let Ok(mut slot) = slot.lock() {
        let since = slot.take().map_or_else(|| now_ms() / 1000, |(since, _)| since);
        *slot = reason.map(|reason| (since, reason));
    }
}

/// Writes signs of life until the watch ends. `show` makes JSON of an endpoint's state.
///
/// # Errors
/// Of the store; never ends otherwise.
pub(super) async fn live(
    store: &mut Store,
    pool: &Pool,
    condition: &Condition,
    slot: Duration,
    show: fn(&EndpointState) -> String,
) -> Result<(), PipelineError> {
    let patience = (slot * 3).max(Duration::from_secs(3));
    let mut clock = ClockWatch::new(patience, Instant::now(), SystemTime::now());
    let mut beaten = None::<Instant>;
    let mut told = Vec::new();
    let mut lies = Vec::new();
    // It shares its thread with the loop at the head: better a sign of life too late than that loop held up.
    store.wait_at_most(Some(Duration::from_millis(100)))?;
    loop {
        let mut problems: Vec<ProblemRow> = pool.problems().into_iter().map(of_problem).collect();
        problems.extend(condition.problems());
        if let Some(jump) = clock.look(Instant::now(), SystemTime::now()) {
            let detail = format!("the clock jumped by {} ms, or the machine slept", jump.by_ms);
            if !told.iter().any(|problem: &ProblemRow| problem.code == "clock_jump") {
                tracing::warn!(by_ms = jump.by_ms, "the clock jumped, or the machine slept");
            }
            problems.push(ProblemRow { code: "clock_jump".to_owned(), host: None, since: jump.at, detail });
        }
        if problems != told || beaten.is_none_or(|at| at.elapsed() >= BEAT_EVERY) {
            let states: Vec<_> = pool.states().iter().map(|state| (state.host.clone(), show(state))).collect();
            match store.note_health(now_ms(), &problems, &states) {
                // A list is being imported: the next look will do.
                Err(StoreError::Busy(_)) => {}
                other => {
                    other?;
                    told = problems;
                    beaten = Some(Instant::now());
                }
            }
        }
        lies.extend(lies_of(pool));
        match store.put_lies(&lies) {
            Err(StoreError::Busy(_)) => {}
            other => {
                other?;
                lies.clear();
            }
        }
        tokio::time::sleep(pool.look_every()).await;
    }
}

fn of_problem(problem: Problem) -> ProblemRow {
    let Problem { code, host, detail, since } = problem;
    ProblemRow { code: code.to_owned(), host, detail, since }
}

/// Connects to the endpoints; what they lied about is kept even where none can be used.
///
/// # Errors
/// As [`Pool::connect`], or of the store.
pub async fn connect(store: &mut Store, options: PoolOptions) -> Result<Pool, PipelineError> {
    match Pool::connect_or_lies(options).await {
        Ok(pool) => Ok(pool),
        Err((error, lies)) => {
            store.put_lies(&lies.into_iter().map(row_of).collect::<Vec<_>>())?;
            Err(error.into())
        }
    }
}

/// Keeps what endpoints lied about.
pub(super) fn keep_lies(store: &mut Store, pool: &Pool) -> Result<(), PipelineError> {
    Ok(store.put_lies(&lies_of(pool))?)
}

fn lies_of(pool: &Pool) -> Vec<LieRow> {
    let (lies, dropped) = pool.take_lies();
    if dropped > 0 {
        tracing::warn!(dropped, "more wrong answers than are kept");
    }
    lies.into_iter().map(row_of).collect()
}

fn row_of(lie: Lie) -> LieRow {
    LieRow {
        host: lie.host,
        at: lie.at,
        number: lie.number,
        hash: lie.hash,
        request: lie.request,
        answer_keccak: lie.answer_keccak,
        answer_bytes: lie.answer_bytes,
        reason: lie.reason,
    }
}
