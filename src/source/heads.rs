//! The head: the highest that an endpoint which is not benched tells of. The preferred one is asked often and hedged, the others
//! in a slower rhythm, so that one that stands still, lags or goes backwards is found out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::doubt::ASK_AGAIN;
use super::endpoint::Endpoint;
use super::health::Standing;
use super::lies::Miss;
use super::pool::{Head, Pool};
use super::race::Work;
use super::{SourceError, lock};
use crate::chain::canonical::Link;

/// Shortest wait before another endpoint is asked for the head too.
const HEDGE: Duration = Duration::from_millis(50);
/// What an endpoint said that long ago is believed without asking again.
const JUST_NOW: Duration = Duration::from_millis(500);
/// For those that are said to be ahead to say so again.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// How often in a slot an endpoint is asked for its head that is not asked for the head anyway: what it has is known late by as much,
/// and three slots are promised for finding out that it died.
const LOOKS_A_SLOT: u32 = 4;
const SHORTEST_RHYTHM: Duration = Duration::from_millis(250);
/// How often an endpoint that failed is looked at.
const RETRY: Duration = Duration::from_secs(1);

impl Pool {
    /// The newest block. With a quorum: the highest at which that many endpoints have the same hash.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up; [`SourceError::NoQuorum`] where too few agree.
    pub async fn head(&self) -> Result<Head, SourceError> {
        if self.quorum > 1 {
            return self.head_by_quorum().await;
        }
        self.review_doubts();
        self.look_around();
        let allowed = self.head_timeout();
        let work = Work::plain("the latest block").hedged(HEDGE);
        let first = self
            .race(work, |endpoint| async move {
                let link = endpoint.head(allowed).await?;
                Ok(Head { link, host: endpoint.host.clone(), may_jump: true })
            })
            .await?;
        let head = self.ahead_of(&first).await.unwrap_or(first);
        Ok(self.supported(head).await)
    }

    /// A head call may take so long: a hung one must not cost more than a slot.
    pub(super) fn head_timeout(&self) -> Duration {
        self.shared.timeout.min(self.slot().max(Duration::from_secs(2)))
    }

    /// The highest head that was told of lately by an endpoint that is not benched.
    pub(super) fn highest(&self, now: Instant) -> Option<u64> {
        let age = self.slot() * 2;
        let heads = self.endpoints.iter().filter(|endpoint| lock(&endpoint.health).bench.until(now).is_none());
        heads.filter_map(|endpoint| lock(&endpoint.pulse).believed(age, now)).map(|link| link.number).max()
    }

    /// A higher head than that, from an endpoint that says so now: the first was behind, or went backwards.
    async fn ahead_of(&self, first: &Head) -> Option<Head> {
        let now = Instant::now();
        let age = self.slot() * 2;
        let ahead = |endpoint: &&Arc<Endpoint>| {
            let standing = lock(&endpoint.health).standing(now);
            let known = lock(&endpoint.pulse).worth_asking(age, ASK_AGAIN, now);
            matches!(standing, Standing::Good) && known.is_some_and(|link| link.number > first.link.number)
        };
        let mut answers: FuturesUnordered<_> = self
            .endpoints
            .iter()
            .filter(ahead)
            .map(|endpoint| async move {
                let just_now = lock(&endpoint.pulse).fresh(JUST_NOW, now);
                let link = match just_now {
                    Some(link) => link,
                    None => look_at(endpoint, self.head_timeout()).await?,
                };
                Some(Head { link, host: endpoint.host.clone(), may_jump: true })
            })
            .collect();
        let deadline = tokio::time::Instant::now() + SECOND_LOOK;
        let mut best: Option<Head> = None;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            let height = best.as_ref().map_or(first.link.number, |best| best.link.number);
            best = answer.filter(|head| head.link.number > height).or(best);
        }
        best
    }

    /// Asks those endpoints for their head, apart, that were not asked for a while.
    pub(super) fn look_around(&self) {
        if self.endpoints.len() < 2 {
            return;
        }
        let now = Instant::now();
        for endpoint in &self.endpoints {
            let (standing, failing) = {
                let health = lock(&endpoint.health);
                (health.standing(now), health.breaker.failures_in_row > 0)
            };
            let told: Option<Instant> = lock(&endpoint.pulse).told;
            let rhythm = if failing { RETRY } else { (self.slot() / LOOKS_A_SLOT).max(SHORTEST_RHYTHM) };
            let due = told.is_none_or(|told| now.saturating_duration_since(told) >= rhythm);
            let may = !matches!(standing, Standing::Open(_) | Standing::Resting(_));
            if !due || !may || endpoint.asking_head.swap(true, Ordering::AcqRel) {
                continue;
            }
            let probes = standing == Standing::HalfOpen && lock(&endpoint.health).breaker.begin_probe(now);
            let (endpoint, allowed) = (endpoint.clone(), self.head_timeout());
            tokio::spawn(async move {
                look_at(&endpoint, allowed).await;
                if probes {
                    lock(&endpoint.health).breaker.release_probe();
                }
                endpoint.asking_head.store(false, Ordering::Release);
            });
        }
    }

    /// Where a slot is known from the chain: how long a block takes. Said before watching begins.
    pub fn set_slot(&self, slot: Duration) {
        *lock(&self.slot) = Some(slot.max(Duration::from_millis(100)));
    }

    /// How long a block takes; that of Ethereum's mainnet where nothing was said.
    pub(super) fn slot(&self) -> Duration {
        self.known_slot().unwrap_or(Duration::from_secs(12))
    }

    pub(super) fn known_slot(&self) -> Option<Duration> {
        *lock(&self.slot)
    }
}

/// An endpoint's head; what goes wrong is noted and nothing else.
async fn look_at(endpoint: &Endpoint, allowed: Duration) -> Option<Link> {
    let asked = Instant::now();
    match endpoint.head(allowed).await {
        Ok(link) => Some(link),
        Err(miss @ Miss::Proof(..)) => {
            endpoint.note_miss(&miss, "the latest block", asked);
            None
        }
        Err(Miss::Call(error)) => {
            tracing::debug!(host = %endpoint.host, %error, "no head from here");
            endpoint.note_error(error.to_string());
            None
        }
    }
}
