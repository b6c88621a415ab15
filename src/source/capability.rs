//! What an endpoint can do, found out by asking: at start, again over time, and whole for `bolo endpoints`. What it cannot do is
//! said once and not asked for again until the next probe.

use std::time::{Duration, Instant};

use alloy::consensus::constants::EMPTY_ROOT_HASH;
use alloy::primitives::{B256, U64};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ability::Ability;
use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::{Asked, Miss};
use super::lock;
use crate::chain::canonical::Link;

/// How traces are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TraceMethod {
    DebugTraceBlock,
    TraceBlock,
}

impl TraceMethod {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DebugTraceBlock => "debug_traceBlockByHash",
            Self::TraceBlock => "trace_block",
        }
    }
}

/// What is known of an endpoint; none: not known yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Capability {
    /// What it says it is.
    pub(super) client: Option<String>,
    /// `eth_getBlockReceipts`.
    pub(super) block_receipts: Ability,
    /// `debug_traceBlockByHash`.
    pub(super) debug_trace_block: Ability,
    /// `trace_block`.
    pub(super) trace_block: Ability,
    /// Tracers that are sent a time-out are refused.
    pub(super) no_tracer_timeout: bool,
    /// The state of blocks that traces start from, up to `pruned_up_to`.
    pub(super) old_state: Ability,
    /// Highest block whose state it said is pruned.
    pub(super) pruned_up_to: u64,
    /// `debug_getRawBlock` and `debug_getRawReceipts`, where they are wanted.
    pub(super) raw: Ability,
    /// `safe` and `finalized`.
    pub(super) tags: Option<bool>,
    /// Calls in one batch that work, as far as tried.
    pub(super) batch: Option<usize>,
    /// Oldest block that it serves.
    pub(super) oldest_block: Option<u64>,
    /// Oldest block whose receipts it serves.
    pub(super) oldest_receipts: Option<u64>,
    /// `trace_filter`.
    pub(super) trace_filter: Ability,
    /// Bytes above which it gave no answer.
    pub(super) max_answer: Option<u64>,
}

impl Capability {
    /// It does not serve that block, as far as is known.
    pub(super) fn lacks(&self, number: u64) -> bool {
        self.oldest_block.is_some_and(|oldest| number < oldest)
            || self.oldest_receipts.is_some_and(|oldest| number < oldest)
    }

    /// What is known of a method of traces.
    pub(super) fn of_traces(&mut self, method: TraceMethod) -> &mut Ability {
        match method {
            TraceMethod::DebugTraceBlock => &mut self.debug_trace_block,
            TraceMethod::TraceBlock => &mut self.trace_block,
        }
    }

    /// The method by which traces are had; inside none: not at all; none while that is open.
    pub(super) fn traces(&self) -> Option<Option<TraceMethod>> {
        match (self.debug_trace_block.known(), self.trace_block.known()) {
            (Some(true), _) => Some(Some(TraceMethod::DebugTraceBlock)),
            (_, Some(true)) => Some(Some(TraceMethod::TraceBlock)),
            (Some(false), Some(false)) => Some(None),
            _ => None,
        }
    }

    /// Several answers say that it has no traces, and none ever said otherwise.
    pub(super) fn never_had_traces(&self) -> bool {
        let never = |ability: Ability| ability.known() == Some(false) && !ability.has_answered();
        never(self.debug_trace_block) && never(self.trace_block)
    }

    /// Its state of that block was pruned, as several answers said not long ago.
    pub(super) fn has_pruned_state(&self, number: u64, now: Instant) -> bool {
        number <= self.pruned_up_to && !self.old_state.is_worth_asking(now)
    }

    /// It answered that the state of that block is pruned. Whether that is settled from this answer on.
    pub(super) fn note_pruned_state(&mut self, number: u64, now: Instant) -> bool {
        self.pruned_up_to = self.pruned_up_to.max(number);
        self.old_state.deny(now)
    }

    /// It traced that block.
    pub(super) fn note_traced(&mut self, method: TraceMethod, number: u64) {
        self.of_traces(method).confirm();
        if number <= self.pruned_up_to {
            self.pruned_up_to = 0;
            self.old_state.confirm();
        }
    }

    pub(super) fn note_too_large(&mut self, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.max_answer = Some(self.max_answer.map_or(limit, |known| known.min(limit)));
        }
    }
}

/// Sizes of batches that are tried.
const BATCHES: [usize; 2] = [100, 10];
/// Parts of the chain, from its beginning, at which it is looked whether receipts are there: an early block without transactions
/// tells nothing, an endpoint that pruned answers such a one rightly.
const LADDER: [u64; 6] = [1, 2, 4, 8, 16, 64];
/// Neighbours that are tried where a block has no transactions.
const NEIGHBOURS: u64 = 3;
/// Between two looks at whether a method is there.
const BETWEEN_LOOKS: Duration = Duration::from_millis(150);

impl Endpoint {
    /// The little that is asked at start: who it is.
    pub(super) async fn probe_client(&self) {
        if let Ok(raw) = self.call("web3_clientVersion", ()).await
            && let Ok(client) = serde_json::from_str::<String>(raw.get())
        {
            lock(&self.capability).client = Some(client.chars().filter(|c| !c.is_control()).take(80).collect());
        }
    }

    /// Everything. What fails for another reason than that the endpoint cannot do it stays as it was known.
    pub(super) async fn probe(&self, want_traces: bool) {
        self.probe_client().await;
        let asked = Instant::now();
        let head = match self.head(self.shared.timeout).await {
            Ok(head) => head,
            Err(miss) => return self.note_miss(&miss, "the latest block", asked),
        };
        let ask_receipts = || async {
            match self.call("eth_getBlockReceipts", (head.hash,)).await {
                Err(CallError::TooLarge(_)) => Ok(()),
                other => other.map(drop),
            }
        };
        let receipts = self.settle(|known| &mut known.block_receipts, ask_receipts).await.ok();
        let tags = match self.call("eth_getBlockByNumber", ("finalized", false)).await {
            Ok(_) => Some(true),
            Err(CallError::NotFound | CallError::Unsupported(_)) => Some(false),
            Err(CallError::Rpc { code, .. }) if code != -32603 => Some(false),
            Err(_) => None,
        };
        // A hundred calls are asked for once; only what failed is tried again.
        let known_batch = lock(&self.capability).batch;
        let batch = if known_batch == Some(BATCHES[0]) { known_batch } else { self.largest_batch().await };
        {
            let mut known = lock(&self.capability);
            known.tags = tags.or(known.tags);
            known.batch = batch.or(known.batch);
            // It may have been set up meanwhile.
            known.debug_trace_block.look_again();
            known.trace_block.look_again();
        }
        if want_traces {
            self.probe_traces(head).await;
        }
        if let Ok(oldest) = self.oldest_block(head).await {
            lock(&self.capability).oldest_block = Some(oldest);
            if receipts == Some(true)
                && let Ok(receipts) = self.oldest_receipts(oldest, head.number).await
            {
                lock(&self.capability).oldest_receipts = Some(receipts);
            }
        }
    }

    /// Asks until the method answers or counts as missing; whether it is there.
    pub(super) async fn settle<F: Future<Output = Result<(), CallError>>>(
        &self,
        ability: impl Fn(&mut Capability) -> &mut Ability,
        ask: impl Fn() -> F,
    ) -> Result<bool, CallError> {
        loop {
            let outcome = ask().await;
            {
                let mut known = lock(&self.capability);
                let ability = ability(&mut known);
                match outcome {
                    Ok(()) => {
                        ability.confirm();
                        return Ok(true);
                    }
                    Err(CallError::Unsupported(_)) => drop(ability.deny(Instant::now())),
                    Err(other) => return Err(other),
                }
                if ability.known() == Some(false) {
                    return Ok(false);
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn largest_batch(&self) -> Option<usize> {
        for size in BATCHES {
            match self.batch("eth_chainId", &vec![(); size]).await {
                Ok(_) => return Some(size),
                Err(CallError::Timeout(_) | CallError::Throttled(_) | CallError::Gone) => return None,
                Err(_) => {}
            }
        }
        Some(1)
    }

    async fn oldest_block(&self, head: Link) -> Result<u64, CallError> {
        let has = async |number| match self.link(Asked::Number(number), self.shared.timeout).await {
            Ok(_) => Ok(true),
            Err(Miss::Call(CallError::NotFound | CallError::Rpc { .. })) => Ok(false),
            Err(Miss::Call(other)) => Err(other),
            Err(Miss::Proof(..)) => Err(CallError::BadAnswer("another block".to_owned())),
        };
        if head.number < 2 || has(1).await? {
            return Ok(0);
        }
        // What was missing before is still missing: endpoints forget, and seldom remember.
        let known = lock(&self.capability).oldest_block.unwrap_or_default();
        oldest(known.saturating_sub(1).max(1).min(head.number - 1), head.number, has).await
    }

    async fn oldest_receipts(&self, first: u64, head: u64) -> Result<u64, CallError> {
        let span = head.saturating_sub(first);
        let has = async |number| self.has_receipts(number, head).await;
        let mut present = head;
        for part in LADDER {
            let number = first + span / part;
            if !has(number).await? {
                return oldest(number, present, has).await;
            }
            present = number;
        }
        Ok(first)
    }

    /// Whether it serves the receipts of a block; one without transactions says nothing, so its neighbours are asked.
    pub(super) async fn has_receipts(&self, number: u64, head: u64) -> Result<bool, CallError> {
        #[derive(Deserialize)]
        struct Rooted {
            hash: B256,
            #[serde(rename = "receiptsRoot")]
            receipts_root: B256,
        }
        for number in number..=(number + NEIGHBOURS).min(head) {
            let header = match self.call("eth_getBlockByNumber", (U64::from(number), false)).await {
                Err(CallError::NotFound | CallError::Rpc { .. }) => return Ok(false),
                other => other?,
            };
            let header: Rooted =
                serde_json::from_str(header.get()).map_err(|error| CallError::BadAnswer(error.to_string()))?;
            if header.receipts_root == EMPTY_ROOT_HASH {
                continue;
            }
            return match self.call("eth_getBlockReceipts", (header.hash,)).await {
                Ok(receipts) => Ok(!is_empty_array(&receipts)),
                Err(CallError::TooLarge(_)) => Ok(true),
                Err(CallError::NotFound | CallError::Rpc { .. }) => Ok(false),
                Err(other) => Err(other),
            };
        }
        Ok(true)
    }
}

fn is_empty_array(raw: &RawValue) -> bool {
    raw.get().bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"[]")
}

/// The oldest that is there, between one that is missing and one that is there.
async fn oldest<E>(missing: u64, present: u64, has: impl AsyncFn(u64) -> Result<bool, E>) -> Result<u64, E> {
    let (mut missing, mut present) = (missing, present);
    while present.saturating_sub(missing) > 1 {
        let middle = missing + (present - missing) / 2;
        if has(middle).await? {
            present = middle;
        } else {
            missing = middle;
        }
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_block_is_found_in_few_steps() {
        for first in [2u64, 3, 17, 15_537_394, 24_999_999] {
            let asked = std::cell::Cell::new(0);
            let found = oldest(1, 25_000_000, async |number| {
                asked.set(asked.get() + 1);
                Ok::<_, ()>(number >= first)
            });
            assert_eq!(found.await, Ok(first));
            assert!(asked.get() <= 25, "{}", asked.get());
        }
    }

    #[test]
    fn what_is_older_than_the_oldest_is_known_to_be_lacking() {
        let known = Capability { oldest_block: Some(5), oldest_receipts: Some(9), ..Capability::default() };
        assert!(known.lacks(4) && known.lacks(8) && !known.lacks(9));
        assert!(!Capability::default().lacks(0));
        let mut known = known;
        for limit in [Some(500), None, Some(900)] {
            known.note_too_large(limit);
        }
        assert_eq!(known.max_answer, Some(500));
        assert!(is_empty_array(&RawValue::from_string("[ ]".into()).unwrap()));
    }
}
