//! What goes on beside the work while watching: subscriptions that ring when there is a new head, probes from time to time, and
//! the look-out for endpoints that die silently. A subscription is a doorbell and never the data: sockets stay open and mute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::providers::Provider;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::pauses::spread;
use super::pool::Pool;
use super::{TraceMode, chance, lock};

/// New heads of the pool that a subscription may miss before it counts as mute.
const MUTE_AFTER: u64 = 3;
const TICK: Duration = Duration::from_secs(1);
/// Before a subscription that ended is made anew.
const RESUBSCRIBE: Duration = Duration::from_secs(5);
/// What endpoints can do is found out again that often, the first time soon after the start.
const PROBE_EVERY: Duration = Duration::from_secs(600);
const PROBE_FIRST: Duration = Duration::from_secs(30);

/// State of an endpoint's subscription.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bell {
    /// It was open, and ended; not open again yet.
    pub(super) lost: bool,
    /// It was open and pushed nothing while the head rose; nothing was pushed since.
    pub(super) mute: bool,
    /// Height of the pool's head when it last pushed something.
    heard_at: Option<u64>,
    /// It looked mute at the last tick already: the push may have been on its way.
    suspect: bool,
}

impl Bell {
    fn opened(&mut self, height: Option<u64>) {
        self.lost = false;
        self.heard_at = height;
        self.suspect = false;
    }

    fn rang(&mut self, height: Option<u64>) {
        *self = Self { heard_at: height, ..Self::default() };
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
                        return Ok(());
                    }
                    // A lagged receiver has missed heads, which does not matter to a doorbell.
                    lock(&endpoint.bell).rang(self.highest(Instant::now()));
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
    fn a_bell_that_misses_three_heads_is_mute_until_it_rings() {
        let mut bell = Bell::default();
        bell.opened(None);
        assert!(!bell.ticks(None) && !bell.ticks(Some(10)) && !bell.ticks(Some(12)));
        assert!(!bell.ticks(Some(13)), "it may be on its way");
        assert!(bell.ticks(Some(13)) && bell.mute);
        bell.opened(Some(13));
        assert!(bell.mute && !bell.ticks(Some(15)), "an open socket is no proof");
        bell.rang(Some(15));
        assert!(!bell.mute && !bell.ticks(Some(17)) && !bell.ticks(Some(18)));
    }
}
