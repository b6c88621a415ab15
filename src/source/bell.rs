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
/// For a push that is on its way: a quarter of a slot, but no longer than that.
const LONGEST_GRACE: Duration = Duration::from_secs(1);
/// It is looked for silent deaths that often in a slot, within these bounds.
const LOOKS_A_SLOT: u32 = 8;
const SHORTEST_TICK: Duration = Duration::from_millis(100);
const LONGEST_TICK: Duration = Duration::from_millis(500);
/// Before a subscription that ended is made anew: a slot, within these bounds.
const RESUBSCRIBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
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
    /// Since when it has looked mute: the push may be on its way.
    suspect: Option<Instant>,
}

impl Bell {
    fn opened(&mut self, height: Option<u64>) {
        self.heard_at = height;
        self.suspect = None;
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

    /// Whether it is mute, at a tick: it missed heads, and pushed nothing for another `grace`. True once it is to be dropped.
    fn ticks(&mut self, height: Option<u64>, grace: Duration, now: Instant) -> bool {
        let Some(height) = height else { return false };
        if height < *self.heard_at.get_or_insert(height) + MUTE_AFTER {
            self.suspect = None;
            return false;
        }
        let drop = now.saturating_duration_since(*self.suspect.get_or_insert(now)) >= grace;
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
            let pause = self.slot().clamp(RESUBSCRIBE.0, RESUBSCRIBE.1);
            tokio::time::sleep(spread(pause, chance())).await;
        }
    }

    /// Subscribes and rings until the subscription ends or is mute.
    async fn hear(&self, endpoint: &Endpoint, wake: &Notify) -> Result<(), CallError> {
        // As a head's: on a socket that is dead from the beginning nothing would be known before.
        let allowed = self.head_timeout();
        let subscription = endpoint.exchange(allowed, true, async {
            let provider = endpoint.provider().await?;
            provider.subscribe_blocks().await.map_err(|error| endpoint.alloy_error(error, "eth_subscribe"))
        });
        let mut heads = Box::pin(subscription).await?.into_raw();
        lock(&endpoint.bell).opened(self.highest(Instant::now()));
        let mut tick = tokio::time::interval(self.look_every());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let grace = (self.slot() / 4).min(LONGEST_GRACE);
        loop {
            tokio::select! {
                // What was pushed is heard before it is judged that nothing was.
                biased;
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
                    let now = Instant::now();
                    if lock(&endpoint.bell).ticks(self.highest(now), grace, now) {
                        endpoint.disconnect().await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// How often it is looked for silent deaths: three slots are promised, so the looks are a small part of one.
    pub fn look_every(&self) -> Duration {
        (self.slot() / LOOKS_A_SLOT).clamp(SHORTEST_TICK, LONGEST_TICK)
    }

    /// Says when a problem begins and when it is over.
    async fn look_out(&self) {
        let mut tick = tokio::time::interval(self.look_every());
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

    const GRACE: Duration = Duration::from_millis(250);

    #[test]
    fn a_bell_that_misses_two_heads_is_mute_until_it_rings() {
        let now = Instant::now();
        let later = now + GRACE;
        let mut bell = Bell::default();
        bell.opened(None);
        assert!(![None, Some(10), Some(11)].into_iter().any(|height| bell.ticks(height, GRACE, now)));
        assert!(!bell.ticks(Some(12), GRACE, now) && !bell.ticks(Some(12), GRACE, now), "it may be on its way");
        assert!(bell.ticks(Some(12), GRACE, later) && bell.mute);
        bell.lost = true;
        bell.opened(Some(13));
        assert!(bell.lost, "one that is closed at once each time is not said to be over");
        assert!(bell.mute && !bell.ticks(Some(14), GRACE, later), "an open socket is no proof");
        bell.rang(Some(15), Some(14));
        assert!(!bell.lost && !bell.mute && !bell.ticks(Some(16), GRACE, now) && !bell.ticks(Some(16), GRACE, later));
        assert!(!bell.ticks(Some(17), GRACE, now) && bell.ticks(Some(17), GRACE, later));
    }

    #[test]
    fn a_push_that_was_on_its_way_clears_the_suspicion() {
        let now = Instant::now();
        let mut bell = Bell::default();
        bell.opened(Some(10));
        assert!(!bell.ticks(Some(12), GRACE, now));
        bell.rang(Some(12), Some(12));
        assert!(!bell.ticks(Some(14), GRACE, now + GRACE), "counted from when it was missed anew");
        assert!(bell.ticks(Some(14), GRACE, now + 2 * GRACE));
    }

    #[test]
    fn a_height_that_is_made_up_does_not_keep_a_bell_alive() {
        let now = Instant::now();
        for pushed in [None, Some(0), Some(u64::MAX)] {
            let mut bell = Bell::default();
            bell.rang(pushed, Some(10));
            assert!(!bell.ticks(Some(13), GRACE, now) && bell.ticks(Some(13), GRACE, now + GRACE), "{pushed:?}");
        }
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(number_of(&raw("{\"number\":\"0x1b4\",\"x\":1}")), Some(436));
        assert_eq!(number_of(&raw("[]")), None);
    }
}
