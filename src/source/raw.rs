//! Blocks by the raw methods, where an endpoint has them: a third of the bytes of the same block in JSON, and nothing to parse. Used in
//! replays, where bytes are what counts. A block for which they fail is requested in JSON. Where they keep failing, hang or give what is
//! false, the endpoint is asked in JSON for a while, and that is said.

use std::time::Instant;

use alloy::primitives::{B256, Bytes};

use super::call::CallError;
use super::endpoint::Endpoint;
use super::fetch::AtHeight;
use super::{RawBundle, lock};
use crate::chain::RawBlock;
use crate::chain::rlp::{self, RlpBlock, RlpReceipts};

const BLOCK: &str = "debug_getRawBlock";
const RECEIPTS: &str = "debug_getRawReceipts";

impl Endpoint {
    /// Whether it has both methods, found out on its latest block, and again from time to time where it does not.
    async fn has_raw(&self) -> bool {
        if !self.shared.raw {
            return false;
        }
        let known = || {
            let raw = lock(&self.capability).raw;
            raw.known().filter(|has| *has || !raw.is_worth_asking(Instant::now()))
        };
        if let Some(known) = known() {
            return known;
        }
        let _finding = self.finding_raw.lock().await;
        if let Some(known) = known() {
            return known;
        }
        let latest = || async {
            self.call_large(false, BLOCK, ("latest",)).await?;
            self.call_large(false, RECEIPTS, ("latest",)).await.map(drop)
        };
        match self.settle(|known| &mut known.raw, latest).await {
            Ok(true) => {
                tracing::info!(host = %self.host, "has {BLOCK} and {RECEIPTS}: blocks are asked for in RLP");
                true
            }
            Ok(false) => {
                tracing::debug!(host = %self.host, "has no {BLOCK} and {RECEIPTS}: blocks are asked for in JSON");
                false
            }
            // What fails for another reason may work with the next block. Every block waits for this probe, so it must come to an end.
            Err(reason) => {
                self.note_raw_failure(&reason);
                tracing::debug!(host = %self.host, %reason, "this block is asked for in JSON");
                false
            }
        }
    }

    /// Everything of a block by its hash; none where it is to be asked for in JSON.
    pub(super) async fn raw_bundle(&self, hash: B256, urgent: bool) -> Result<Option<RawBundle>, CallError> {
        if !self.has_raw().await {
            return Ok(None);
        }
        let (block, receipts) = tokio::join!(
            self.raw_answer::<Bytes>(urgent, BLOCK, hash.to_string()),
            self.raw_answer::<Vec<Bytes>>(urgent, RECEIPTS, hash.to_string()),
        );
        let (Some(block), Some(receipts)) = (block?, receipts?) else { return Ok(None) };
        self.confirm_raw();
        Ok(Some(self.in_rlp(RlpBlock::Whole(block), receipts)))
    }

    /// Everything of the block that it has at that height; none where it is to be asked for in JSON.
    pub(super) async fn raw_bundle_at(&self, number: u64, want_traces: bool) -> Result<Option<AtHeight>, CallError> {
        if !self.has_raw().await {
            return Ok(None);
        }
        let Some(block) = self.raw_answer::<Bytes>(false, BLOCK, format!("{number:#x}")).await? else {
            return Ok(None);
        };
        let block = RlpBlock::Whole(block);
        let Some(hash) = rlp::hash_of(&block) else {
            self.no_more_raw(&"the block cannot be read");
            return Ok(None);
        };
        let (receipts, traces) = tokio::join!(
            self.raw_answer::<Vec<Bytes>>(false, RECEIPTS, hash.to_string()),
            self.first_traces(want_traces, number, hash),
        );
        let (receipts, known) = match receipts {
            Err(CallError::NotFound) => (Vec::new(), false),
            other => match other? {
                Some(receipts) => {
                    self.confirm_raw();
                    (receipts, true)
                }
                None => return Ok(None),
            },
        };
        Ok(Some(AtHeight { hash, raw: self.in_rlp(block, receipts), traces, known }))
    }

    fn in_rlp(&self, block: RlpBlock, receipts: Vec<Bytes>) -> RawBundle {
        RawBundle::new(RawBlock::Rlp { block, receipts: RlpReceipts::Each(receipts) }, None, &self.host)
    }

    /// The bytes that the hex of an answer stands for; none where the method failed in a way that JSON may not.
    async fn raw_answer<T: serde::de::DeserializeOwned>(
        &self,
        urgent: bool,
        method: &'static str,
        block: String,
    ) -> Result<Option<T>, CallError> {
        let answer = self.call_large(urgent, method, (block,)).await;
        let read = answer.and_then(|answer| {
            serde_json::from_slice(&answer).map_err(|error| CallError::BadAnswer(error.to_string()))
        });
        match read {
            Err(reason) if is_of_method(&reason) => {
                // Nodes behind one URL differ: this block is asked for in JSON, the next one in RLP again.
                if self.note_raw_failure(&reason) {
                    self.say_no_raw(&reason);
                } else {
                    tracing::debug!(host = %self.host, method, %reason, "this block is asked for in JSON");
                }
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Both methods answered for one block.
    fn confirm_raw(&self) {
        lock(&self.capability).raw.confirm();
    }

    /// Counts a failure of these methods. One that took all the time of a request is enough: JSON does as well. Whether they count as
    /// missing from now on.
    fn note_raw_failure(&self, reason: &CallError) -> bool {
        let raw = &mut lock(&self.capability).raw;
        match reason {
            CallError::Timeout(_) => raw.give_up(Instant::now()),
            _ => raw.deny(Instant::now()),
        }
    }

    /// What it gave was refused: where that was RLP, it is asked in JSON from now on.
    pub(super) fn refused_raw(&self, raw: &RawBundle, reason: &dyn std::fmt::Display) {
        if matches!(raw.block, RawBlock::Rlp { .. }) {
            self.no_more_raw(reason);
        }
    }

    fn no_more_raw(&self, reason: &dyn std::fmt::Display) {
        if lock(&self.capability).raw.give_up(Instant::now()) {
            self.say_no_raw(reason);
        }
    }

    fn say_no_raw(&self, reason: &dyn std::fmt::Display) {
        tracing::warn!(host = %self.host, %reason, "{BLOCK} or {RECEIPTS} is of no use: blocks are asked for in JSON from now on, and tried again later");
    }
}

/// A failure that may be of the method alone, so that JSON may do better.
fn is_of_method(reason: &CallError) -> bool {
    matches!(
        reason,
        CallError::Unsupported(_)
            | CallError::Rpc { .. }
            | CallError::BadAnswer(_)
            | CallError::TooLarge(_)
            | CallError::Timeout(_)
            | CallError::Transport(_)
    )
}
