//! Heads that endpoints report: the highest of them is where a range with an open end ends, be it that bolo cannot follow it. One that
//! is disproved no longer counts: the other endpoints were asked and do not have it, or nobody has it any more.

use std::time::{Duration, Instant};

use alloy::eips::BlockNumHash;

use super::now_ms;
use crate::source::{FAR, Head, Pool};
use crate::store::{Result, Store};

/// How often endpoints are asked whether a head is still there that is not followed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct ReportedHeads {
    looked: Option<Instant>,
}

impl ReportedHeads {
    /// Notes the head that the pool chose, if it chose one, and the highest that any endpoint reports besides.
    pub(super) async fn note(&mut self, store: &mut Store, pool: &Pool, chosen: Option<&Head>) -> Result<()> {
        if let Some(head) = chosen {
            store.note_head_seen(now_ms() / 1000)?;
            // One that nothing links to and no other endpoint has may yet turn out to be made up.
            if head.may_jump {
                store.note_head(head.link.number)?;
            }
        }
        let followed = store.head()?;
        let is_above = |number: u64| followed.is_none_or(|followed| number > followed);
        let mut reported = pool.reported_head();
        let mut kept = store.reported_head()?.filter(|kept| is_above(kept.number));
        let unconfirmed = reported.is_some_and(|head| is_above(head.number)) || kept.is_some();
        if unconfirmed && self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            let chosen = chosen.map(|head| head.link);
            if let Some(head) = reported
                && chosen.is_some_and(|chosen| head.number > chosen.number.saturating_add(FAR))
            {
                pool.weigh(head).await;
                reported = pool.reported_head();
            }
            // No endpoint names it as its head any more: it was replaced, or given up, or the endpoint that named it is silent.
            if let Some(head) = kept
                && reported.is_none_or(|reported| reported.hash != head.hash)
                && pool.has(head.hash).await == Some(false)
            {
                kept = None;
            }
        }
        let kept = kept.filter(|head| !pool.is_in_doubt(head.hash));
        let reported = reported.filter(|head| is_above(head.number)).map(|head| head.id());
        let highest: Option<BlockNumHash> = reported.into_iter().chain(kept).max_by_key(|head| head.number);
        store.note_reported_head(highest)
    }
}
