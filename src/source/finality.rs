//! What endpoints say of finality, as blocks and not as heights. With several endpoints one word is not enough where another one
//! answers: a block is final where two of them have it and call it or a later one final. One that has fallen silent still counts for
//! a while (see [`voters`](super::voters)). With a quorum as many must as that says, however few can be reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::eips::BlockNumHash;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::health::Standing;
use super::lies::{Asked, Miss};
use super::lock;
use super::pool::{Head, Pool};
use crate::chain::canonical::Link;

/// Depth at which a block counts as safe where no endpoint has such a tag.
pub const SAFE_DEPTH: u64 = 12;
/// Depth at which a block counts as final where no endpoint has such a tag.
pub const FINAL_DEPTH: u64 = 64;
/// Fewest endpoints that must agree, where there are as many.
const AGREE: usize = 2;
/// For the others, once as many answered as must agree.
const GRACE: Duration = Duration::from_millis(250);
/// Pauses before each time that an endpoint is asked for a block. A throttle usually passes within them.
const BUSY_PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// The blocks that are `safe` and `finalized`; `None` where too few endpoints agree on one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tags {
    /// The highest safe block.
    pub safe: Option<BlockNumHash>,
    /// The highest final block.
    pub finalized: Option<BlockNumHash>,
}

/// What the endpoints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalityVote {
    /// By their tags.
    Tags(Tags),
    /// They have no such tags. With several endpoints: the blocks at [`SAFE_DEPTH`] and [`FINAL_DEPTH`] below their heads.
    NoTags(Option<Tags>),
}

/// What an endpoint has at the number of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// That block.
    Here,
    /// Another one, or none yet.
    Another,
    /// It answers, and cannot say.
    NotSaid,
    /// It does not answer.
    Silent,
}

/// What one endpoint says.
#[derive(Debug, Clone, Copy)]
struct Said {
    place: usize,
    has_tags: bool,
    safe: Option<Link>,
    finalized: Option<Link>,
}

impl Pool {
    /// What the endpoints say of finality; `None` where too few can be asked just now. With a single endpoint its word counts.
    pub async fn finality(&self, head: &Head) -> Option<FinalityVote> {
        if let [only] = &self.endpoints[..] {
            let said = self.said(0, only, head.link.number).await?;
            return Some(match (said.has_tags, said.safe, said.finalized) {
                (true, Some(safe), Some(finalized)) => {
                    FinalityVote::Tags(Tags { safe: Some(safe.id()), finalized: Some(finalized.id()) })
                }
                _ => FinalityVote::NoTags(None),
            });
        }
        let said = self.all_say().await;
        let places: Vec<usize> = said.iter().map(|said| said.place).collect();
        self.note_votes(&places, self.agreeing(self.endpoints.len()), Instant::now());
        if said.is_empty() {
            return None;
        }
        let tags = Tags {
            safe: self.agreed_on(&said, |said| said.safe).await,
            finalized: self.agreed_on(&said, |said| said.finalized).await,
        };
        let has_tags = said.iter().any(|said| said.has_tags);
        Some(if has_tags { FinalityVote::Tags(tags) } else { FinalityVote::NoTags(Some(tags)) })
    }

    /// Whether there is but one endpoint, whose word is all there is.
    pub fn is_single(&self) -> bool {
        self.endpoints.len() == 1
    }

    /// Whether enough endpoints have that block at its number for it to count as final.
    pub async fn corroborates(&self, block: BlockNumHash) -> bool {
        if self.is_single() {
            return true;
        }
        let asked = self.endpoints.iter().map(|endpoint| self.has_at(endpoint, block));
        let answers = futures_util::future::join_all(asked).await;
        let now = Instant::now();
        let counts = |(endpoint, answer): (&Arc<Endpoint>, &Presence)| match answer {
            Presence::Here | Presence::Another => true,
            Presence::NotSaid => false,
            Presence::Silent => self.counts_though_silent(endpoint, now),
        };
        let voters = self.endpoints.iter().zip(&answers).filter(|pair| counts(*pair)).count();
        let have = answers.iter().filter(|answer| **answer == Presence::Here).count();
        have >= self.agreeing(voters)
    }

    /// Whether an endpoint has that block at its number. One that is busy is asked again: what it would say must not be lost.
    async fn has_at(&self, endpoint: &Endpoint, block: BlockNumHash) -> Presence {
        for pause in BUSY_PAUSES {
            tokio::time::sleep(pause).await;
            let miss = match self.presence_at(endpoint, block).await {
                Ok(presence) => return presence,
                Err(miss) => miss,
            };
            if pause.is_zero() && endpoint.head(self.head_timeout()).await.is_err() {
                return Presence::Silent;
            }
            if matches!(miss, Miss::Call(CallError::Timeout(_))) {
                break;
            }
        }
        // One that still tells of its head is there, and only fails at this block.
        Presence::NotSaid
    }

    /// The same, asked once; fails where the endpoint does not answer. One that names another block there, which it does not have
    /// itself, or fails, is asked for the hash.
    async fn presence_at(&self, endpoint: &Endpoint, block: BlockNumHash) -> Result<Presence, Miss> {
        let mut silence = None;
        match self.link_of(endpoint, Asked::Number(block.number)).await {
            Ok(link) if link.hash == block.hash => return Ok(Presence::Here),
            Ok(link) if self.link_of(endpoint, Asked::Hash(link.hash)).await.is_ok() => return Ok(Presence::Another),
            Err(Miss::Call(CallError::NotFound)) => {
                let head = lock(&endpoint.pulse).head;
                if head.is_some_and(|head| head.number < block.number) {
                    return Ok(Presence::Another);
                }
            }
            Ok(_) => {}
            Err(miss) => silence = Some(miss).filter(Miss::is_silence),
        }
        match (self.link_of(endpoint, Asked::Hash(block.hash)).await, silence) {
            (Ok(_), _) => Ok(Presence::Here),
            (Err(miss), _) if miss.is_silence() => Err(miss),
            (Err(_), Some(silence)) => Err(silence),
            (Err(_), None) => Ok(Presence::NotSaid),
        }
    }

    /// What an endpoint has; a wrong answer is noted.
    async fn link_of(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Link, Miss> {
        let begun = Instant::now();
        let answer = endpoint.link(asked, self.shared.timeout).await;
        if let Err(miss @ Miss::Proof(..)) = &answer {
            endpoint.note_miss(miss, "what is final", begun);
        }
        answer
    }

    /// How many endpoints must agree, of so many that answered. A quorum does not shrink because others cannot be reached.
    fn agreeing(&self, answered: usize) -> usize {
        if self.quorum > 1 { self.quorum } else { AGREE.min(answered).max(1) }
    }

    /// Asks all that are not benched and do not fail.
    async fn all_say(&self) -> Vec<Said> {
        let now = Instant::now();
        let may = |endpoint: &Arc<Endpoint>| {
            matches!(lock(&endpoint.health).standing(now), Standing::Good | Standing::HalfOpen)
        };
        let mut asked: FuturesUnordered<_> = self
            .endpoints
            .iter()
            .enumerate()
            .filter(|(_, endpoint)| may(endpoint))
            .map(|(place, endpoint)| async move {
                let known = lock(&endpoint.pulse).head.map(|head| head.number);
                let head = match known {
                    Some(head) => head,
                    None => endpoint.head(self.head_timeout()).await.ok()?.number,
                };
                self.said(place, endpoint, head).await
            })
            .collect();
        let mut said = Vec::new();
        loop {
            let next = if said.len() >= self.agreeing(self.endpoints.len()) {
                tokio::time::timeout(GRACE, asked.next()).await.ok().flatten()
            } else {
                asked.next().await
            };
            match next {
                Some(answer) => said.extend(answer),
                None => return said,
            }
        }
    }

    /// The highest block that enough of them name, or name a descendant of: the lowest of the highest so many, as each of these has it.
    async fn agreed_on(&self, said: &[Said], of: impl Fn(&Said) -> Option<Link>) -> Option<BlockNumHash> {
        let mut named: Vec<(usize, Link)> =
            said.iter().filter_map(|said| of(said).map(|link| (said.place, link))).collect();
        named.sort_unstable_by_key(|(_, link)| std::cmp::Reverse(link.number));
        // One that answered and then fails still counts, within this vote and for a while after: its silence must not leave the
        // decision to the others.
        let places: Vec<usize> = said.iter().map(|said| said.place).collect();
        let mut voters = said.len() + self.silent_voters(&places, Instant::now()).count();
        let number = named.get(self.agreeing(voters) - 1)?.1.number;
        let at_number = named.into_iter().filter(|(_, link)| link.number >= number).map(|(place, link)| async move {
            if link.number == number {
                return Some((place, link));
            }
            Some((place, self.link_of(&self.endpoints[place], Asked::Number(number)).await.ok()?))
        });
        let links: Vec<_> = futures_util::future::join_all(at_number).await.into_iter().flatten().collect();
        if let Some(block) = same_block(&links, self.agreeing(voters)) {
            return Some(block);
        }
        // An endpoint that names a block and does not have it has no vote.
        let has = links.iter().map(|(place, link)| async move {
            (*place, *link, self.link_of(&self.endpoints[*place], Asked::Hash(link.hash)).await)
        });
        let mut known = Vec::new();
        for (place, link, answer) in futures_util::future::join_all(has).await {
            match answer {
                Ok(_) => known.push((place, link)),
                Err(Miss::Call(CallError::NotFound)) => voters -= 1,
                Err(_) => {}
            }
        }
        same_block(&known, self.agreeing(voters))
    }

    /// What one endpoint says; where it has no tags, the blocks below its head. `None` where it could not say.
    async fn said(&self, place: usize, endpoint: &Endpoint, head: u64) -> Option<Said> {
        let (safe, finalized) = tokio::join!(self.tag(endpoint, "safe"), self.tag(endpoint, "finalized"));
        let (safe, finalized) = (safe?, finalized?);
        lock(&endpoint.capability).tags = Some(finalized.is_some());
        if safe.is_some() && finalized.is_some() {
            return Some(Said { place, has_tags: true, safe, finalized });
        }
        if self.is_single() {
            return Some(Said { place, has_tags: false, safe: None, finalized: None });
        }
        let deep = async |depth: u64| match head.checked_sub(depth) {
            Some(number) => self.link_of(endpoint, Asked::Number(number)).await.ok(),
            None => None,
        };
        let (safe, finalized) = tokio::join!(deep(SAFE_DEPTH), deep(FINAL_DEPTH));
        Some(Said { place, has_tags: false, safe, finalized })
    }

    /// The block of a tag, inside `None` where the endpoint has no such tag; `None` where it could not say.
    async fn tag(&self, endpoint: &Endpoint, tag: &str) -> Option<Option<Link>> {
        match self.link_of(endpoint, Asked::Tag(tag)).await {
            Ok(link) => Some(Some(link)),
            // An internal error says nothing of the tag.
            Err(Miss::Call(CallError::Rpc { code: -32603, .. })) => None,
            Err(Miss::Call(CallError::Unsupported(_) | CallError::Rpc { .. } | CallError::NotFound)) => Some(None),
            Err(_) => None,
        }
    }
}

/// The block that as many of them name as are wanted.
fn same_block(links: &[(usize, Link)], wanted: usize) -> Option<BlockNumHash> {
    let count = |hash| links.iter().filter(|(_, other)| other.hash == hash).count();
    links.iter().find(|(_, link)| count(link.hash) >= wanted).map(|(_, link)| link.id())
}
