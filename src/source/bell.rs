//! What goes on beside the work while watching: subscriptions that ring when there is a new head, probes from time to time, and
//! the look-out for endpoints that die silently. A subscription is a doorbell and never the data: sockets stay open and mute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::U64;
use alloy::providers::Provider;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::pauses::spread;
use super::pool::Pool;
use super::{TraceMode, chance, lock};

/// New heads of the pool that a subscription has missed when it counts as mute: within the three slots that are promised.
const MUTE_AFTER: u64 = 2;
const TICK: Duration = Duration::from_secs(1);
/// Before a subscription that ended is made anew.
const RESUBSCRIBE: Duration = Duration::from_secs(5);
/// What endpoints can do is found out again that often, the first time soon after the start.
const PROBE_EVERY: Duration = Duration::from_secs(600);
const PROBE_FIRST: Duration = Duration::from_secs(30);

/// State of an endpoint's subscription.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bell {
    /// It was open, and ended; nothing was pushed since.
    pub(super) lost: bool,
    /// It was open and pushed nothing while the head rose; nothing was pushed since.
    pub(super) mute: bool,
    /// Height of what it pushed last, or of the pool's head where that was higher.
    heard_at: Option<u64>,
    /// It looked mute at the last tick already: the push may have been on its way.
    suspect: bool,
}

impl Bell {
    fn opened(&mut self, height: Option<u64>) {
        self.heard_at = height;
        self.suspect = false;
    }

    /// It pushed a head of that number while the pool's was at `height`, which is asked for only now. It may be ahead by one and
    /// no more: one that makes up a height must not be taken for alive for ever.
    fn rang(&mut self, pushed: Option<u64>, height: Option<u64>) {
        let heard_at = match (pushed, height) {
            (Some(pushed), Some(height)) => Some(pushed.clamp(height, height.saturating_add(1))),
            (_, height) => height,
        };
        *self = Self { heard_at, ..Self::default() };
    }

    /// Whether it is mute, at a tick; true once it is to be dropped.
    fn ticks(&mut self, height: Option<u64>) -> bool {
        let Some(height) = height else { return false };
        let silent = height >= *self.heard_at.get_or_insert(height) + MUTE_AFTER;
        let drop = silent && std::mem::replace(&mut self.suspect, silent);
        self.mute |= drop;
        drop
    }
}

/// The number of a head that was pushed.
fn number_of(head: &RawValue) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        number: U64,
    }
    serde_json::from_str::<Numbered>(head.get()).ok().map(|head| head.number.to())
}

impl Pool {
    /// Wakes whenever an endpoint that can push says there is a new head; probes, and looks out for silent deaths. Never ends;
    /// polling must be enough without it.
    pub async fn ring(&self, wake: &Notify) {
        let pushing = self.endpoints.iter().filter(|endpoint| endpoint.can_subscribe());
        tokio::join!(
            futures_util::future::join_all(pushing.map(|endpoint| self.listen(endpoint, wake))),
            self.look_out(),
            self.probe_now_and_then(),
            std::future::pending::<()>(),
        );
    }

    async fn listen(&self, endpoint: &Arc<Endpoint>, wake: &Notify) {
        loop {
            match self.hear(endpoint, wake).await {
                Ok(()) => tracing::debug!(host = %endpoint.host, "subscription ended: made anew"),
                Err(error) => tracing::debug!(host = %endpoint.host, %error, "no subscription: polling goes on"),
            }
            tokio::time::sleep(spread(RESUBSCRIBE, chance())).await;
        }
    }

    /// Subscribes and rings until the subscription ends or is mute.
    async fn hear(&self, endpoint: &Endpoint, wake: &Notify) -> Result<(), CallError> {
        let allowed = self.shared.timeout;
        let subscription = endpoint.exchange(allowed, true, async {
            let provider = endpoint.provider().await?;
            provider.subscribe_blocks().await.map_err(|error| endpoint.alloy_error(error, "eth_subscribe"))
        });
        let mut heads = Box::pin(subscription).await?.into_raw();
        lock(&endpoint.bell).opened(self.highest(Instant::now()));
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                head = heads.recv() => {
                    if matches!(head, Err(RecvError::Closed)) {
                        lock(&endpoint.bell).lost = true;
                        endpoint.disconnect().await;
                        return Ok(());
                    }
                    // A lagged receiver has missed heads, which does not matter to a doorbell.
                    let pushed = head.ok().and_then(|head| number_of(&head));
                    lock(&endpoint.bell).rang(pushed, self.highest(Instant::now()));
                    wake.notify_one();
                }
                _ = tick.tick() => {
                    if lock(&endpoint.bell).ticks(self.highest(Instant::now())) {
                        endpoint.disconnect().await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Says when a problem begins and when it is over.
    async fn look_out(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look_around();
            self.problems();
        }
    }

    async fn probe_now_and_then(&self) {
        tokio::time::sleep(PROBE_FIRST).await;
        loop {
            self.probe_all().await;
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    /// Finds out anew what the endpoints can do, all of them at once.
    pub async fn probe_all(&self) {
        let want_traces = self.traces != TraceMode::Off;
        futures_util::future::join_all(self.endpoints.iter().map(|endpoint| endpoint.probe(want_traces))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_that_misses_two_heads_is_mute_until_it_rings() {
        let mut bell = Bell::default();
        bell.opened(None);
        assert!(!bell.ticks(None) && !bell.ticks(Some(10)) && !bell.ticks(Some(11)));
        assert!(!bell.ticks(Some(12)), "it may be on its way");
        assert!(bell.ticks(Some(12)) && bell.mute);
        bell.lost = true;
        bell.opened(Some(13));
        assert!(bell.lost, "one that is closed at once each time is not said to be over");
        assert!(bell.mute && !bell.ticks(Some(14)), "an open socket is no proof");
        bell.rang(Some(15), Some(14));
        assert!(!bell.lost && !bell.mute && !bell.ticks(Some(16)) && !bell.ticks(Some(16)));
        assert!(!bell.ticks(Some(17)) && bell.ticks(Some(17)));
    }

    #[test]
    fn a_height_that_is_made_up_does_not_keep_a_bell_alive() {
        for pushed in [None, Some(0), Some(u64::MAX)] {
            let mut bell = Bell::default();
            bell.rang(pushed, Some(10));
            assert!(!bell.ticks(Some(13)) && bell.ticks(Some(13)), "{pushed:?}");
        }
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(number_of(&raw("{\"number\":\"0x1b4\",\"x\":1}")), Some(436));
        assert_eq!(number_of(&raw("[]")), None);
    }
}
