//! Agreement: with a quorum of N, a block counts at a height only where N endpoints have the same hash there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::endpoint::Endpoint;
use super::health::Standing;
use super::lies::{Asked, Miss};
use super::pauses::spread;
use super::pool::{Head, Pool};
use super::{CallError, SourceError, chance, lock};
use crate::chain::canonical::Link;

/// How far below the highest common height agreement is looked for: tips differ for a moment, ancestors do not.
const DEPTH: u64 = 4;
/// For the others, once as many answered as must agree.
const GRACE: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What one endpoint has at a height, or why it did not say.
type Vote = (usize, Result<Link, Miss>);

impl Pool {
    /// At least as many endpoints as the quorum have that block at its height. Always so without a quorum.
    ///
    /// # Errors
    /// [`SourceError::NoQuorum`] where too few have it once the rounds are used up.
    pub async fn confirm(&self, link: Link) -> Result<(), SourceError> {
        if self.quorum <= 1 {
            return Ok(());
        }
        let (agreed, votes) = self.vote(link.number).await?;
        if agreed.hash == link.hash {
            return Ok(());
        }
        Err(self.no_quorum(link.number, votes))
    }

    /// The block of that number that enough endpoints have.
    pub(super) async fn link_by_quorum(&self, number: u64) -> Result<Link, SourceError> {
        Ok(self.vote(number).await?.0)
    }

    async fn vote(&self, number: u64) -> Result<(Link, Vec<Vote>), SourceError> {
        self.in_rounds(|| async move {
            let timeout = self.shared.timeout;
            let voters = self.voters();
            let votes = self
                .gather(&voters, number, |endpoint| async move { endpoint.link(Asked::Number(number), timeout).await });
            let votes = votes.await;
            match agreed(&links(&votes), self.quorum) {
                Some(link) => Ok((link, votes)),
                None => Err(self.no_quorum(number, votes)),
            }
        })
        .await
    }

    /// The highest block that enough endpoints have.
    pub(super) async fn head_by_quorum(&self) -> Result<Head, SourceError> {
        self.in_rounds(|| async move {
            let timeout = self.head_timeout();
            let voters = self.voters();
            let heads = self.gather(&voters, 0, |endpoint| async move { endpoint.head(timeout).await }).await;
            let told = links(&heads);
            let mut heights: Vec<u64> = told.iter().map(|(_, link)| link.number).collect();
            heights.sort_unstable_by(|a, b| b.cmp(a));
            let Some(top) = heights.get(self.quorum - 1).copied() else { return Err(self.no_quorum(0, heads)) };
            let mut first_votes = None;
            for number in (top.saturating_sub(DEPTH)..=top).rev() {
                let mut votes: Vec<Vote> = told
                    .iter()
                    .filter(|(_, link)| link.number == number)
                    .map(|(place, link)| (*place, Ok(*link)))
                    .collect();
                let higher: Vec<usize> =
                    told.iter().filter(|(_, link)| link.number > number).map(|(p, _)| *p).collect();
                let ask = |endpoint: Arc<Endpoint>| async move { endpoint.link(Asked::Number(number), timeout).await };
                votes.extend(self.gather(&higher, number, ask).await);
                if let Some(link) = agreed(&links(&votes), self.quorum) {
                    let host = links(&votes).into_iter().find(|(_, voted)| voted.hash == link.hash);
                    let host = host.map(|(place, _)| self.endpoints[place].host.clone()).unwrap_or_default();
                    return Ok(Head { link, host, may_jump: true });
                }
                first_votes.get_or_insert(votes);
            }
            Err(self.no_quorum(top, first_votes.unwrap_or_default()))
        })
        .await
    }

    /// Those who may vote: not benched, not failing, unless they are too few without.
    fn voters(&self) -> Vec<usize> {
        let now = Instant::now();
        let good = |endpoint: &Arc<Endpoint>| {
            matches!(lock(&endpoint.health).standing(now), Standing::Good | Standing::HalfOpen)
        };
        let voters: Vec<usize> = (0..self.endpoints.len()).filter(|place| good(&self.endpoints[*place])).collect();
        if voters.len() < self.quorum { (0..self.endpoints.len()).collect() } else { voters }
    }

    /// Asks all of them at once; once enough agree nobody else is waited for, once enough answered not for long.
    async fn gather<F: Future<Output = Result<Link, Miss>>>(
        &self,
        places: &[usize],
        number: u64,
        ask: impl Fn(Arc<Endpoint>) -> F,
    ) -> Vec<Vote> {
        let ask = &ask;
        let mut running: FuturesUnordered<_> = places
            .iter()
            .map(|place| async move {
                let begun = Instant::now();
                (*place, begun, ask(self.endpoints[*place].clone()).await)
            })
            .collect();
        let mut votes: Vec<Vote> = Vec::new();
        loop {
            let good = votes.iter().filter(|(_, vote)| vote.is_ok()).count();
            let next = if good >= self.quorum {
                tokio::time::timeout(GRACE, running.next()).await.ok().flatten()
            } else {
                running.next().await
            };
            let Some((place, begun, vote)) = next else { return votes };
            let endpoint = &self.endpoints[place];
            match &vote {
                Ok(_) => lock(&endpoint.health).bench.proved(),
                Err(miss) => endpoint.note_miss(miss, &number.to_string(), begun),
            }
            votes.push((place, vote));
            if number > 0 && agreed(&links(&votes), self.quorum).is_some() {
                return votes;
            }
        }
    }

    /// Too few agree, or nobody said anything.
    fn no_quorum(&self, number: u64, votes: Vec<Vote>) -> SourceError {
        let mut by_hash: BTreeMap<B256, Vec<String>> = BTreeMap::new();
        for (place, link) in links(&votes) {
            by_hash.entry(link.hash).or_default().push(self.endpoints[place].host.clone());
        }
        if by_hash.is_empty() {
            if let Some(error) = self.all_of_another_chain() {
                return error;
            }
            let failures = votes.into_iter().filter_map(|(place, vote)| match vote {
                Err(Miss::Call(error)) => Some((place, error)),
                _ => None,
            });
            let failures: Vec<_> = failures.collect();
            let Some((place, error)) = failures.last() else {
                return SourceError::NoQuorum { number, wanted: self.quorum, votes: Vec::new() };
            };
            if failures.iter().any(|(_, error)| *error == CallError::NotFound) {
                return SourceError::Unknown(number.to_string());
            }
            return SourceError::Unreachable(format!("{}: {error}", self.endpoints[*place].host));
        }
        SourceError::NoQuorum { number, wanted: self.quorum, votes: by_hash.into_iter().collect() }
    }

    /// The same again until it succeeds or the rounds are used up.
    async fn in_rounds<T, F: Future<Output = Result<T, SourceError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, SourceError> {
        let mut pause = FIRST_PAUSE;
        let mut round = 0;
        loop {
            round += 1;
            match attempt().await {
                Err(error @ SourceError::WrongChain { .. }) => return Err(error),
                Err(error) if self.rounds.is_some_and(|rounds| round >= rounds) => return Err(error),
                Err(error) => tracing::debug!(%error, "asked again"),
                Ok(value) => return Ok(value),
            }
            tokio::time::sleep(spread(pause, chance())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn links(votes: &[Vote]) -> Vec<(usize, Link)> {
    votes.iter().filter_map(|(place, vote)| vote.as_ref().ok().map(|link| (*place, *link))).collect()
}

/// The block that at least so many have.
fn agreed(votes: &[(usize, Link)], wanted: usize) -> Option<Link> {
    votes
        .iter()
        .map(|(_, link)| link)
        .find(|link| votes.iter().filter(|(_, other)| other.hash == link.hash).count() >= wanted)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_wanted_must_have_the_same_hash() {
        let link = |hash| Link { number: 1, hash: B256::repeat_byte(hash), parent_hash: B256::ZERO };
        let votes = [(0, link(1)), (1, link(2)), (2, link(2))];
        assert_eq!(agreed(&votes, 2), Some(link(2)));
        assert_eq!(agreed(&votes, 3), None);
        assert_eq!(agreed(&votes[..2], 2), None);
        assert_eq!(agreed(&[], 1), None);
    }
}
