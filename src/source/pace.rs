//! How fast an endpoint is asked: no faster than is configured, slower after it throttled, faster again with its answers. Pure.

use std::time::{Duration, Instant};

/// Requests that may go at once after a pause.
pub(super) const BURST: u32 = 2;
/// A token bucket as one point in time, when the bucket will be full again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Between two requests, where a rate is set.
    configured: Option<Duration>,
    /// Between two requests, as the endpoint seems to want it: longer with each burst that is throttled, shorter with each answer.
    learned: Option<Duration>,
    full_at: Option<Instant>,
}

/// Between two requests after the first burst that was throttled: fifty a second.
const FIRST_PACE: Duration = Duration::from_millis(20);
const LONGEST_PACE: Duration = Duration::from_secs(2);
/// Below that there is nothing left to wait for.
const SHORTEST_PACE: Duration = Duration::from_millis(2);

impl Pace {
    pub(super) fn new(configured: Option<Duration>) -> Self {
        Self { configured, ..Self::default() }
    }

    /// Counts a request that goes now, or says how long it has to wait.
    pub(super) fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval() else { return Ok(()) };
        let full_at = self.full_at.unwrap_or(now).max(now);
        let ahead = full_at.saturating_duration_since(now);
        let room = interval * (BURST - 1);
        if ahead > room {
            return Err(ahead - room);
        }
        self.full_at = Some(full_at + interval);
        Ok(())
    }

    pub(super) fn interval(&self) -> Option<Duration> {
        self.configured.max(self.learned)
    }

    /// A burst was throttled.
    pub(super) fn throttled(&mut self) {
        self.learned = Some(self.learned.map_or(FIRST_PACE, |pace| (pace * 2).min(LONGEST_PACE)));
    }

    /// A request was answered.
    pub(super) fn answered(&mut self) {
        self.learned = self.learned.map(|pace| pace * 7 / 8).filter(|pace| *pace >= SHORTEST_PACE);
    }
}
