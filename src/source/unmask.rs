//! Lies that no single answer shows: a block that nobody has, named under a number; a chain that leaves out what is final.

use std::time::Instant;

use alloy::eips::BlockNumHash;
use alloy::primitives::{B256, keccak256};

use super::SourceError;
use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::{Asked, Evidence, Miss};
use super::pool::Pool;
use crate::chain::canonical::Link;
use crate::chain::{Part, VerifyError};

impl Pool {
    /// Looks for endpoints that go on naming a block at its number and do not have it themselves: each is benched. One that names
    /// another by now has had a reorg, which is no lie. Returns who was found out last, as the failure it is.
    pub async fn unmask(&self, link: Link) -> Option<SourceError> {
        let allowed = self.shared.timeout;
        let look = async |endpoint: &Endpoint| {
            let begun = Instant::now();
            let missing =
                matches!(endpoint.link(Asked::Hash(link.hash), allowed).await, Err(Miss::Call(CallError::NotFound)));
            let names = endpoint.link(Asked::Number(link.number), allowed).await;
            if !missing || !names.is_ok_and(|named| named.hash == link.hash) {
                return None;
            }
            let request = format!("eth_getBlockByNumber [\"{:#x}\",false]", link.number);
            let reason = disown(endpoint, link, request, Part::BlockHash, "a block that it has itself", begun);
            let (block, host) = (link.number.to_string(), endpoint.host.clone());
            Some(SourceError::Unproven { rules_of: self.rules_of(), block, host, reason: Box::new(reason.into()) })
        };
        let looks = futures_util::future::join_all(self.endpoints.iter().map(|endpoint| look(endpoint))).await;
        looks.into_iter().flatten().last()
    }

    /// Where an endpoint has that block, which is known to be right, those that have another one of its number are wrong: they are
    /// benched, as what does not fit in that `part`, and true returned.
    pub async fn bench_those_without(&self, block: BlockNumHash, part: Part) -> bool {
        let begun = Instant::now();
        let found = self.links_of(block.number).await;
        let vouched = found.iter().flatten().any(|link| link.hash == block.hash);
        if vouched {
            for (endpoint, link) in self.endpoints.iter().zip(found) {
                if let Some(link) = link.filter(|link| link.hash != block.hash) {
                    let request = format!("eth_getBlockByNumber [\"{:#x}\",false]", block.number);
                    disown(endpoint, link, request, part, &block.hash.to_string(), begun);
                }
            }
        }
        vouched
    }

    /// A block of that endpoint cannot be a block, as showed when it was stored: the endpoint is benched.
    pub fn note_invalid(&self, host: &str, link: Link, detail: String) -> SourceError {
        let expected = "what a block can hold".to_owned();
        let reason = VerifyError::Mismatch { part: Part::Position, index: None, found: detail, expected };
        let request = format!("eth_getBlockByHash [\"{}\",true]", link.hash);
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.host == host) {
            blame(endpoint, link, request.clone(), reason.clone(), Instant::now());
        }
        let (block, host) = (link.number.to_string(), host.to_owned());
        SourceError::Unproven { rules_of: self.rules_of(), block, host, reason: Box::new(reason.into()) }
    }

    /// The hash of the block of that number that an endpoint has which has `block` as well.
    pub async fn beside(&self, block: BlockNumHash, number: u64) -> Option<B256> {
        let (vouching, found) = tokio::join!(self.links_of(block.number), self.links_of(number));
        let has = |vouching: Option<Link>| vouching.is_some_and(|link| link.hash == block.hash);
        vouching
            .into_iter()
            .zip(found)
            .find_map(|(vouching, link)| link.filter(|_| has(vouching)))
            .map(|link| link.hash)
    }

    /// What each endpoint has of that number, in their order.
    async fn links_of(&self, number: u64) -> Vec<Option<Link>> {
        let allowed = self.shared.timeout;
        let look = async |endpoint: &Endpoint| endpoint.link(Asked::Number(number), allowed).await.ok();
        futures_util::future::join_all(self.endpoints.iter().map(|endpoint| look(endpoint))).await
    }
}

/// Notes that an endpoint named a block wrongly: it is benched, and the answer kept.
pub(super) fn disown(
    endpoint: &Endpoint,
    link: Link,
    request: String,
    part: Part,
    expected: &str,
    begun: Instant,
) -> VerifyError {
    let reason =
        VerifyError::Mismatch { part, index: None, found: link.hash.to_string(), expected: expected.to_owned() };
    blame(endpoint, link, request, reason.clone(), begun);
    reason
}

/// Benches an endpoint for what it said of a block, and keeps that.
fn blame(endpoint: &Endpoint, link: Link, request: String, reason: VerifyError, begun: Instant) {
    let evidence = Evidence {
        request,
        number: Some(link.number),
        hash: Some(link.hash),
        keccak: keccak256(link.hash),
        bytes: 32,
        traces_from: None,
    };
    endpoint.note_miss(&Miss::Proof(reason.into(), Box::new(evidence)), &link.number.to_string(), begun);
}
