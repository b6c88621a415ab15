//! Which block a time picks. Endpoints are asked for blocks by number only, so the number is found by binary search over headers.
//! The times are what an endpoint says: they pick numbers, and prove nothing.

use alloy::primitives::U64;
use serde::Deserialize;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::{Asked, Miss, read_link};
use super::race::Work;
use super::{Pool, SourceError};

/// A block and its time, both as claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockTime {
    /// Number of the block.
    pub number: u64,
    /// Its time, in unix seconds.
    pub timestamp: u64,
}

impl BlockTime {
    /// The time as other times are kept.
    pub fn seconds(self) -> i64 {
        i64::try_from(self.timestamp).unwrap_or(i64::MAX)
    }
}

/// What a time picks of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickedBlock {
    /// The block that was asked for.
    Found(BlockTime),
    /// The chain has only blocks on the other side of the time: its first or its newest block is the nearest.
    Nearest(BlockTime),
}

impl Endpoint {
    /// The time of a block, by its header; checked as far as a header can be.
    async fn time(&self, number: u64) -> Result<u64, Miss> {
        #[derive(Deserialize)]
        struct Timed {
            timestamp: U64,
        }
        let raw = self.call("eth_getBlockByNumber", (format!("{number:#x}"), false)).await?;
        read_link(&raw, Asked::Number(number), self.shared.trust, &self.shared.checkpoints)?;
        let timed: Timed = serde_json::from_str(raw.get()).map_err(|error| CallError::BadAnswer(error.to_string()))?;
        Ok(timed.timestamp.to())
    }
}

impl Pool {
    /// The first block that is not before a time (unix seconds).
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn first_block_since(&self, time: i64) -> Result<PickedBlock, SourceError> {
        let head = self.head().await?.link.number;
        first_since(head, time, async |number| self.time_at(number).await).await
    }

    /// The last block that is not after a time (unix seconds).
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn last_block_until(&self, time: i64) -> Result<PickedBlock, SourceError> {
        let head = self.head().await?.link.number;
        last_until(head, time, async |number| self.time_at(number).await).await
    }

    async fn time_at(&self, number: u64) -> Result<BlockTime, SourceError> {
        let what = number.to_string();
        let ask = |endpoint: std::sync::Arc<Endpoint>| async move { endpoint.time(number).await };
        Ok(BlockTime { number, timestamp: self.race(Work::block(&what, number), ask).await? })
    }
}

/// Expects times that never decrease along the chain. Where they do, some block is picked all the same.
async fn first_since<E>(
    head: u64,
    time: i64,
    time_at: impl AsyncFn(u64) -> Result<BlockTime, E>,
) -> Result<PickedBlock, E> {
    let mut found = time_at(head).await?;
    if found.seconds() < time {
        return Ok(PickedBlock::Nearest(found));
    }
    let mut low = 0;
    while low < found.number {
        let middle = time_at(low + (found.number - low) / 2).await?;
        if middle.seconds() >= time {
            found = middle;
        } else {
            low = middle.number + 1;
        }
    }
    Ok(PickedBlock::Found(found))
}

async fn last_until<E>(
    head: u64,
    time: i64,
    time_at: impl AsyncFn(u64) -> Result<BlockTime, E>,
) -> Result<PickedBlock, E> {
    match first_since(head, time.saturating_add(1), &time_at).await? {
        // The chain may go on within that time.
        PickedBlock::Nearest(newest) => Ok(PickedBlock::Nearest(newest)),
        PickedBlock::Found(after) => match after.number.checked_sub(1) {
            Some(before) => Ok(PickedBlock::Found(time_at(before).await?)),
            None => Ok(PickedBlock::Nearest(after)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;
    use PickedBlock::{Found, Nearest};

    /// A chain of blocks of these times, and how often it was asked.
    struct Times<'a>(&'a [u64], Cell<u32>);

    impl Times<'_> {
        fn at(&self, number: u64) -> BlockTime {
            BlockTime { number, timestamp: self.0[usize::try_from(number).unwrap()] }
        }

        async fn ask(&self, number: u64) -> Result<BlockTime, Infallible> {
            self.1.set(self.1.get() + 1);
            Ok(self.at(number))
        }
    }

    #[tokio::test]
    async fn a_time_picks_the_first_block_not_before_it_and_the_last_not_after_it() {
        let chains: [&[u64]; 5] = [
            &[0],
            &[100],
            &[0, 12, 24, 36, 48],
            &[0, 50, 50, 50, 60, 60],
            &[1_438_269_973, 1_438_269_988, 1_438_270_017],
        ];
        for times in chains {
            let head = times.len() as u64 - 1;
            let chain = Times(times, Cell::new(0));
            let near = times.iter().flat_map(|time| (*time as i64 - 2)..=(*time as i64 + 2));
            for time in near.chain([i64::MIN, -1, 0, 13, i64::MAX]) {
                let numbers = || (0..=head).map(|number| chain.at(number));
                let first = numbers().find(|block| block.seconds() >= time).map_or(Nearest(chain.at(head)), Found);
                let last = match numbers().filter(|block| block.seconds() <= time).last() {
                    Some(block) if block.number < head => Found(block),
                    Some(newest) => Nearest(newest),
                    None => Nearest(chain.at(0)),
                };
                let ask = async |number| chain.ask(number).await;
                assert_eq!(first_since(head, time, ask).await, Ok(first), "{times:?} {time}");
                assert_eq!(last_until(head, time, ask).await, Ok(last), "{times:?} {time}");
            }
        }
    }

    #[tokio::test]
    async fn a_time_among_millions_of_blocks_is_found_with_few_questions() {
        for (head, time) in [(25_000_000, 12 * 15_537_394), (25_000_000, 1), (1, 0), (u64::from(u32::MAX), 99)] {
            let asked = Cell::new(0);
            let ask = async |number| {
                asked.set(asked.get() + 1);
                Ok::<_, Infallible>(BlockTime { number, timestamp: 12 * number })
            };
            let expected = u64::try_from(time).unwrap().div_ceil(12);
            let picked = first_since(head, time, ask).await;
            assert_eq!(picked, Ok(Found(BlockTime { number: expected, timestamp: 12 * expected })));
            assert!(asked.get() <= 34, "{} questions", asked.get());
        }
    }

    #[tokio::test]
    async fn times_that_decrease_end_the_search_all_the_same() {
        for times in [[9, 1, 8, 2, 7, 3], [5, 4, 3, 2, 1, 0], [0, 9, 0, 9, 0, 9]] {
            let chain = Times(&times, Cell::new(0));
            for time in -1..11 {
                let ask = async |number| chain.ask(number).await;
                let (Ok(Found(block) | Nearest(block)), Ok(_)) =
                    (first_since(5, time, ask).await, last_until(5, time, ask).await);
                assert_eq!(block, chain.at(block.number));
            }
        }
    }
}
