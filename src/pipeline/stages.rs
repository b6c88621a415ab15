//! A replay's stages, each with a limit of its own: so many blocks are asked for at once, and so many judged as there are cores. A block
//! that waits for its turn to be judged, or for one before it, takes up no request: what is asked for next comes meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Blocks that wait between the stages, for each core.
const WAITING: usize = 4;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The limits, shared by all blocks of a replay.
#[derive(Debug, Clone)]
pub(super) struct Stages {
    asking: Arc<Semaphore>,
    judging: Arc<Semaphore>,
    in_hand: usize,
}

impl Stages {
    /// For that many blocks being asked for at once.
    pub(super) fn new(concurrency: usize) -> Self {
        let asking = concurrency.max(1);
        Self {
            asking: Arc::new(Semaphore::new(asking)),
            judging: Arc::new(Semaphore::new(cores())),
            in_hand: asking + WAITING * cores(),
        }
    }

    /// Blocks that are begun and not committed, in whatever stage.
    pub(super) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Waits for its turn to ask.
    pub(super) async fn ask(&self) -> Asking {
        Asking(Mutex::new(self.asking.clone().acquire_owned().await.ok()))
    }

    /// Waits for its turn to be judged, which lasts as long as what is returned.
    pub(super) async fn judge(&self) -> Option<OwnedSemaphorePermit> {
        self.judging.clone().acquire_owned().await.ok()
    }
}

/// A block's turn to ask.
#[derive(Debug)]
pub(super) struct Asking(Mutex<Option<OwnedSemaphorePermit>>);

impl Asking {
    /// It was answered: the next one may ask. Asking anew, of another endpoint, waits for no other turn.
    pub(super) fn answered(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
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
}
