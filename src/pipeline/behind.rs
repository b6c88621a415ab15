//! A head that is below the block to take next: said once where it lasts. Where the run at the head was jumped to and no endpoint has
//! it any more, the jump is to be taken back: one endpoint named a head that was never so.

use std::time::{Duration, Instant};

use crate::chain::canonical::{Canonical, Link};
use crate::source::Pool;
use crate::store::{Result, Store};

/// Looks in a row at a lower head before it counts: one may be another node behind the same name.
const LOOKS: u32 = 2;

/// What has been seen of it.
#[derive(Debug, Default)]
pub(super) struct Behind {
    looks: u32,
    said: Option<u64>,
    lost_since: Option<Instant>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nothing: the head is not below, or not for long.
    Good,
    /// To wait, for that reason.
    Wait(String),
    /// To take back the jump.
    GiveUpJump,
}

impl Behind {
    /// Looks at a head. `patience` is for how long no endpoint may have the block that was jumped to.
    pub(super) async fn look(
        &mut self,
        store: &Store,
        pool: &Pool,
        chain: &Canonical,
        head: &Link,
        patience: Duration,
    ) -> Result<Outlook> {
        let Some(lowest) = chain.lowest() else { return Ok(Outlook::Good) };
        let tip = chain.tip().map(|tip| tip.number);
        let awaited = tip.unwrap_or(lowest);
        if head.number >= awaited {
            *self = Self::default();
            return Ok(Outlook::Good);
        }
        self.looks += 1;
        if self.looks < LOOKS {
            return Ok(Outlook::Good);
        }
        if head.number < lowest && store.is_owed(lowest - 1)? {
            let had = match store.hash_of(lowest)? {
                Some(hash) => pool.has(hash).await,
                None => Some(false),
            };
            if had == Some(false) {
                let since = *self.lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= patience {
                    *self = Self::default();
                    return Ok(Outlook::GiveUpJump);
                }
            } else {
                self.lost_since = None;
            }
            let reason = format!("the chain is at block {}, and block {lowest} was jumped to", head.number);
            self.say(lowest, &reason);
            return Ok(Outlook::Wait(reason));
        }
        match tip {
            Some(tip) => {
                self.say(tip, &format!("the chain is at block {}, below block {tip}, the last one taken", head.number));
                Ok(Outlook::Good)
            }
            None => {
                let reason = format!("block {lowest} is not there yet: the chain is at block {}", head.number);
                self.say(lowest, &reason);
                Ok(Outlook::Wait(reason))
            }
        }
    }

    fn say(&mut self, awaited: u64, reason: &str) {
        if self.said != Some(awaited) {
            self.said = Some(awaited);
            tracing::warn!("waiting: {reason}");
        }
    }
}
