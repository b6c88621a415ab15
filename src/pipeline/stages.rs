//! A replay's stages, each with a limit of its own: so many blocks are asked for at once, and so many judged as there are cores. A block
//! that waits for its turn to be judged, or for one before it, takes up no request: what is asked for next comes meanwhile.
//!
//! How many are asked for follows the endpoint: as many as keep the cores busy, up to what is allowed. More would only lie in memory
//! until they are no longer in the cache.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Blocks that wait between the stages, for each core.
const WAITING: usize = 4;
/// More that wait to be judged, for each core, are more than keep it busy.
const ENOUGH: usize = 2;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The limits, shared by all blocks of a replay.
#[derive(Debug, Clone)]
pub(super) struct Stages {
    asking: Arc<Semaphore>,
    judging: Arc<Semaphore>,
    in_hand: usize,
    pace: Arc<Pace>,
}

/// How many blocks are asked for at once, between one and what is allowed.
#[derive(Debug)]
struct Pace {
    most: usize,
    /// Answered, and not yet judged.
    waiting: AtomicUsize,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    limit: usize,
    /// Answers since it was last lowered: those were asked for before.
    answers: usize,
}

impl Stages {
    /// For that many blocks being asked for at once.
    pub(super) fn new(concurrency: usize) -> Self {
        let asking = concurrency.max(1);
        Self {
            asking: Arc::new(Semaphore::new(asking)),
            judging: Arc::new(Semaphore::new(cores())),
            in_hand: asking + WAITING * cores(),
            pace: Arc::new(Pace {
                most: asking,
                waiting: AtomicUsize::new(0),
                now: Mutex::new(Now { limit: asking, answers: 0 }),
            }),
        }
    }

    /// Blocks that are begun and not committed, in whatever stage.
    pub(super) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Waits for its turn to ask.
    pub(super) async fn ask(&self) -> Asking {
        Asking { stages: self.clone(), turn: Mutex::new(self.asking.clone().acquire_owned().await.ok()) }
    }

    /// Waits for its turn to be judged, which lasts as long as what is returned.
    pub(super) async fn judge(&self) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::new(&self.pace.waiting);
        self.judging.clone().acquire_owned().await.ok()
    }

    /// A block was answered: how many may be asked for from now on follows from whether it has to wait.
    fn answered(&self, turn: OwnedSemaphorePermit) {
        let mut now = self.pace.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.answers += 1;
        let waiting = self.pace.waiting.load(Ordering::Relaxed);
        if waiting == 0 && self.judging.available_permits() > 0 {
            if now.limit < self.pace.most {
                now.limit += 1;
                self.asking.add_permits(1);
            }
        } else if waiting > ENOUGH * cores() && now.limit > 1 && now.answers > now.limit {
            *now = Now { limit: now.limit - 1, answers: 0 };
            turn.forget();
        }
    }
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A block's turn to ask.
#[derive(Debug)]
pub(super) struct Asking {
    stages: Stages,
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Asking {
    /// It was answered: the next one may ask. Asking anew, of another endpoint, waits for no other turn.
    pub(super) fn answered(&self) {
        if let Some(turn) = self.turn.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.stages.answered(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_block_that_was_answered_takes_up_no_request() {
        let stages = Stages::new(2);
        let (first, second) = (stages.ask().await, stages.ask().await);
        let third = stages.ask();
        let mut third = std::pin::pin!(third);
        assert!(futures_util::poll!(&mut third).is_pending(), "two are asked for");
        first.answered();
        first.answered();
        let third = third.await;
        assert!(futures_util::poll!(std::pin::pin!(stages.ask())).is_pending(), "one turn was given back once");
        drop((second, third));
        assert!(futures_util::poll!(std::pin::pin!(stages.ask())).is_ready());
    }

    #[tokio::test]
    async fn as_many_are_asked_for_as_keep_the_cores_busy() {
        let most = 8;
        let stages = Stages::new(most);
        let limit = || stages.pace.now.lock().unwrap().limit;
        let answer = async || stages.ask().await.answered();
        let mut busy = Vec::new();
        for _ in 0..cores() {
            busy.push(stages.judge().await);
        }
        let mut waiting: Vec<_> = (0..=ENOUGH * cores()).map(|_| Box::pin(stages.judge())).collect();
        for waits in &mut waiting {
            assert!(futures_util::poll!(waits).is_pending());
        }
        for _ in 0..most {
            answer().await;
        }
        assert_eq!(limit(), most, "what comes now was asked for before");
        for _ in 0..100 {
            answer().await;
        }
        assert_eq!((limit(), stages.asking.available_permits()), (1, 1), "one goes on");
        // One fewer waits: that is as many as should.
        waiting.pop();
        answer().await;
        assert_eq!(limit(), 1);
        // The cores have nothing to do.
        drop((waiting, busy));
        for _ in 0..100 {
            answer().await;
        }
        assert_eq!((limit(), stages.asking.available_permits()), (most, most));
    }
}
