//! Heads that one endpoint alone names, far above all others. A header's hash proves nothing of its number: anybody can make a header
//! of block 1,000,000. Such a head is asked of the others, and followed only where nothing speaks against it; what is jumped to is not
//! final before it is linked to what was held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::B256;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::{Asked, Miss};
use super::lock;
use super::pool::{Head, Pool};
use super::unmask::disown;
use crate::chain::Part;
use crate::chain::canonical::Link;

/// A head that is not further above what is held, or above another endpoint's head, is reached block by block, each linked to the
/// one before it.
pub const FAR: u64 = 32;
/// For the others to say whether they have it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The others are asked again after so long.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(10);

impl Pool {
    /// The highest block that is held: what links to it needs no other endpoint.
    pub fn set_anchor(&self, held: Option<u64>) {
        *lock(&self.anchor) = held;
    }

    /// Whether some endpoint has the block of that hash; `None` where none can say.
    pub async fn has(&self, hash: B256) -> Option<bool> {
        let allowed = self.head_timeout();
        let asked =
            self.endpoints.iter().map(|endpoint| async move { endpoint.link(Asked::Hash(hash), allowed).await });
        let answers = futures_util::future::join_all(asked).await;
        let lacks = |answer: &Result<_, Miss>| matches!(answer, Err(Miss::Call(CallError::NotFound)));
        if answers.iter().any(Result::is_ok) {
            return Some(true);
        }
        answers.iter().any(lacks).then_some(false)
    }

    /// The highest head that an endpoint names and that is not disproved, followed or not. An endpoint that is benched is heard where it
    /// is near what the others name.
    pub fn reported_head(&self) -> Option<Link> {
        let now = Instant::now();
        let mut heads = Vec::new();
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.other_chain().is_none()) {
            let benched = lock(&endpoint.health).bench.until(now).is_some();
            let pulse = *lock(&endpoint.pulse);
            heads.extend(pulse.head.filter(|_| pulse.doubted().is_none()).map(|head| (head, benched)));
        }
        let good = heads.iter().filter(|(_, benched)| !benched).map(|(head, _)| head.number).max();
        let is_heard =
            |number: u64, benched: bool| !benched || good.is_none_or(|good| number <= good.saturating_add(FAR));
        let heard = heads.into_iter().filter(|(head, benched)| is_heard(head.number, *benched));
        heard.map(|(head, _)| head).max_by_key(|head| head.number)
    }

    /// Asks the others for a head that [`reported_head`](Self::reported_head) names, far above what is followed, and that none of them
    /// was asked for: where they are of use and lack it, it is in doubt from then on.
    pub async fn weigh(&self, head: Link) {
        let named = |endpoint: &&Arc<Endpoint>| lock(&endpoint.pulse).head.is_some_and(|named| named.hash == head.hash);
        if let Some(endpoint) = self.endpoints.iter().find(named) {
            self.supported(Head { link: head, host: endpoint.host.clone(), may_jump: true }).await;
        }
    }

    /// Whether that head was found to be in doubt: the others were asked, and lack it.
    pub fn is_in_doubt(&self, hash: B256) -> bool {
        self.endpoints.iter().any(|endpoint| lock(&endpoint.pulse).doubted().is_some_and(|head| head.hash == hash))
    }

    /// Whether an endpoint's head is in doubt since this was last asked.
    pub fn take_new_doubt(&self) -> bool {
        self.endpoints.iter().filter(|endpoint| lock(&endpoint.pulse).take_new_doubt()).count() > 0
    }

    /// That head, where something supports it; else the highest of the others' heads. Where no other endpoint can tell, the head
    /// stays, and may be reached block by block only.
    pub(super) async fn supported(&self, head: Head) -> Head {
        if self.endpoints.len() == 1 {
            return head;
        }
        let others: Vec<&Arc<Endpoint>> = self.endpoints.iter().filter(|endpoint| endpoint.host != head.host).collect();
        let near = |number: u64| number.saturating_add(FAR) >= head.link.number;
        let anchor = *lock(&self.anchor);
        let named: Vec<&Arc<Endpoint>> = self.endpoints.iter().filter(|endpoint| endpoint.host == head.host).collect();
        let age = self.slot() * 2;
        let now = Instant::now();
        let known = others.iter().filter_map(|endpoint| lock(&endpoint.pulse).believed(age, now));
        if anchor.is_some_and(near) || known.map(|link| link.number).any(near) {
            named.iter().for_each(|endpoint| lock(&endpoint.pulse).believe());
            return head;
        }
        let asked = others.iter().map(|endpoint| async {
            let (has, at) = tokio::join!(
                tokio::time::timeout(PATIENCE, endpoint.link(Asked::Hash(head.link.hash), PATIENCE)),
                tokio::time::timeout(PATIENCE, endpoint.head(PATIENCE))
            );
            (endpoint.host.clone(), matches!(has, Ok(Ok(_))), at.ok().and_then(Result::ok))
        });
        let answers = futures_util::future::join_all(asked).await;
        if answers.iter().any(|(_, has, _)| *has) {
            named.iter().for_each(|endpoint| lock(&endpoint.pulse).believe());
            self.set_anchor(Some(head.link.number));
            return head;
        }
        let best =
            answers.into_iter().filter_map(|(host, _, at)| Some((host, at?))).max_by_key(|(_, link)| link.number);
        let from = anchor.or(best.as_ref().map(|(_, link)| link.number)).unwrap_or(0);
        let plausible = self.has_more_below(&named, head.link, from).await;
        let alive = others.iter().any(|endpoint| lock(&endpoint.pulse).is_rising(self.slot() * 3, Instant::now()));
        match best {
            // Not where these stand still, or far below what is held: then they cannot tell.
            Some((host, link))
                if (alive || !plausible) && anchor.is_none_or(|anchor| link.number.saturating_add(FAR) >= anchor) =>
            {
                let now = Instant::now();
                let new = named.iter().filter(|endpoint| lock(&endpoint.pulse).doubt(head.link, now)).count();
                if new > 0 {
                    tracing::warn!(
                        host = %head.host,
                        block = head.link.number,
                        others_at = link.number,
                        "an endpoint names a head that no other endpoint has, far above theirs: not followed"
                    );
                }
                Head { link, host, may_jump: true }
            }
            _ => Head { may_jump: plausible, ..head },
        }
    }

    /// Whether whoever names a head has its parent too, and blocks between it and that number. It proves nothing; who made up a
    /// single block has none of them.
    async fn has_more_below(&self, named: &[&Arc<Endpoint>], head: Link, from: u64) -> bool {
        let Some(endpoint) = named.first() else { return false };
        let gap = head.number.saturating_sub(from);
        let at = |part: u64| endpoint.link(Asked::Number(from.saturating_add(gap / 4 * part)), PATIENCE);
        let (parent, low, high) = tokio::join!(endpoint.link(Asked::Hash(head.parent_hash), PATIENCE), at(1), at(3));
        parent.is_ok_and(|parent| parent.number.checked_add(1) == Some(head.number)) && low.is_ok() && high.is_ok()
    }

    /// An endpoint that named a head which no other one had, and gave it up, gave a wrong answer.
    pub(super) fn review_doubts(&self) {
        for endpoint in &self.endpoints {
            let given_up = lock(&endpoint.pulse).take_given_up();
            if let Some(link) = given_up {
                let request = "eth_getBlockByNumber [\"latest\",false]".to_owned();
                disown(endpoint, link, request, Part::BlockHash, "a block that another endpoint has", Instant::now());
            }
        }
    }
}
