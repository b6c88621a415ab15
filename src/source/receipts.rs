//! The receipts of a block at one endpoint: all at once where it can, else one by one. What came is kept when the endpoint asks for a
//! pause in the middle, so that only what is missing is asked for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bytes, U64};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::lies::{Asked, Miss};
use super::lock;
use super::unmask::disown;
use crate::chain::Part;
use crate::chain::canonical::Link;

/// Receipts that are asked for in one batch where the whole block's cannot be had.
const RECEIPTS_PER_BATCH: usize = 50;
/// Blocks of which receipts are kept until the rest comes; more are not asked for at once by far.
const MAX_UNFINISHED: usize = 64;
/// For a look at which block an endpoint has.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
const METHOD: &str = "eth_getTransactionReceipt";
/// The root of no receipts (the empty trie), as a block's answer has it.
const NO_RECEIPTS: &[u8] = b"\"receiptsRoot\":\"0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421\"";

/// Receipts that came of blocks whose others did not yet.
#[derive(Debug, Default)]
pub(super) struct Unfinished(VecDeque<(B256, Vec<Option<Box<RawValue>>>)>);

impl Unfinished {
    fn take(&mut self, block: B256, count: usize) -> Vec<Option<Box<RawValue>>> {
        let place = self.0.iter().position(|(hash, receipts)| *hash == block && receipts.len() == count);
        let known = place.and_then(|place| self.0.remove(place)).map(|(_, receipts)| receipts);
        known.unwrap_or_else(|| vec![None; count])
    }

    fn keep(&mut self, block: B256, receipts: Vec<Option<Box<RawValue>>>) {
        self.0.retain(|(hash, _)| *hash != block);
        if receipts.iter().any(Option::is_some) {
            self.0.push_back((block, receipts));
        }
        if self.0.len() > MAX_UNFINISHED {
            self.0.pop_front();
        }
    }
}

impl Endpoint {
    /// The receipts of a block whose own answer is there: those that came, or else those of each transaction. Where the block's
    /// header shows that it has none, nobody needs to be asked.
    pub(super) async fn receipts_for(
        &self,
        hash: B256,
        block: &[u8],
        came: Result<Option<Bytes>, CallError>,
    ) -> Result<Bytes, CallError> {
        let none = memchr::memmem::find(block, NO_RECEIPTS).is_some();
        match came {
            Ok(Some(receipts)) => Ok(receipts),
            _ if none => Ok(Bytes::from_static(b"[]")),
            Ok(None) => self.receipts_one_by_one(hash, block).await,
            Err(error) => Err(error),
        }
    }

    /// None where they are to be asked for one by one: the endpoint does not have the method, or not for this block.
    pub(super) async fn block_receipts(&self, hash: B256, urgent: bool) -> Result<Option<Bytes>, CallError> {
        if !lock(&self.capability).block_receipts.is_worth_asking(Instant::now()) {
            return Ok(None);
        }
        match self.call_large(urgent, "eth_getBlockReceipts", (hash,)).await {
            Err(CallError::Unsupported(_)) => {
                if lock(&self.capability).block_receipts.deny(Instant::now()) {
                    tracing::info!(host = %self.host, "has no eth_getBlockReceipts: receipts are asked for one by one");
                }
                Ok(None)
            }
            // It may have each of them all the same.
            Err(
                reason @ (CallError::TooLarge(_)
                | CallError::TooWide(_)
                | CallError::Rpc { .. }
                | CallError::NotFound
                | CallError::BadAnswer(_)
                | CallError::Transport(_)),
            ) => {
                let said = "no receipts of the whole block: asked for one by one";
                match self.to_be_warned("receipts") {
                    Some(more) => tracing::info!(host = %self.host, %hash, %reason, more, "{said}"),
                    None => tracing::debug!(host = %self.host, %hash, %reason, "{said}"),
                }
                Ok(None)
            }
            other => {
                let receipts = other?;
                lock(&self.capability).block_receipts.confirm();
                Ok(Some(receipts))
            }
        }
    }

    /// The receipt of each transaction of a block, in batches as large as the endpoint takes.
    pub(super) async fn receipts_one_by_one(&self, block_hash: B256, block: &[u8]) -> Result<Bytes, CallError> {
        #[derive(Deserialize)]
        struct Hashes {
            transactions: Vec<Hash>,
        }
        #[derive(Deserialize)]
        struct Hash {
            hash: B256,
        }
        // A block that cannot be read is the proof's to refuse, with its answer kept: it needs no receipts for that.
        let Ok(hashes) = serde_json::from_slice::<Hashes>(block) else { return Ok(Bytes::default()) };
        let hashes: Vec<B256> = hashes.transactions.iter().map(|tx| tx.hash).collect();
        let mut receipts = lock(&self.unfinished).take(block_hash, hashes.len());
        while let Some(first) = receipts.iter().position(Option::is_none) {
            let size = lock(&self.capability).batch.unwrap_or(RECEIPTS_PER_BATCH).clamp(1, RECEIPTS_PER_BATCH);
            let open: Vec<usize> =
                (first..hashes.len()).filter(|place| receipts[*place].is_none()).take(size).collect();
            if let Err(error) = self.receipts_of(&hashes, &open, &mut receipts).await {
                lock(&self.unfinished).keep(block_hash, receipts);
                return Err(error);
            }
        }
        let receipts: Vec<_> = receipts.into_iter().flatten().collect();
        // The endpoint has these transactions in another block: it does not know the one that it named.
        let mut answered = receipts.iter().zip(&hashes);
        if !receipts.is_empty() && answered.all(|(receipt, tx)| is_in_other_block(receipt, *tx, block_hash)) {
            self.disown_unknown(block_hash, block).await;
            return Err(CallError::NotFound);
        }
        serde_json::to_vec(&receipts).map(Bytes::from).map_err(|error| CallError::BadAnswer(error.to_string()))
    }

    /// Notes it as an invalid response where the endpoint still names a block at its number that it does not have by its hash. One
    /// that names another block by now has had a reorg.
    async fn disown_unknown(&self, hash: B256, block: &[u8]) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            number: U64,
            hash: B256,
            parent_hash: B256,
        }
        let Ok(Named { number, .. }) = serde_json::from_slice(block) else { return };
        let begun = Instant::now();
        let by_hash = self.link(Asked::Hash(hash), LOOK_TIMEOUT).await;
        // As before, with its transactions: an endpoint may answer otherwise where only a header is asked for.
        let by_number = self.call_within(LOOK_TIMEOUT, false, "eth_getBlockByNumber", (number, true)).await;
        if let (Err(Miss::Call(CallError::NotFound)), Ok(answer)) = (by_hash, by_number)
            && let Ok(named) = serde_json::from_str::<Named>(answer.get())
            && named.hash == hash
        {
            let request = format!("eth_getBlockByNumber [\"{number:#x}\",true]");
            let link = Link { number: number.to(), hash, parent_hash: named.parent_hash };
            disown(self, link, request, Part::BlockHash, "a block that it has itself", begun);
        }
    }

    /// Asks for the receipts of those transactions, and puts in place what comes; where a batch was too large or is not taken,
    /// nothing does, and a smaller one is next.
    async fn receipts_of(
        &self,
        hashes: &[B256],
        open: &[usize],
        receipts: &mut [Option<Box<RawValue>>],
    ) -> Result<(), CallError> {
        if let [place] = open {
            receipts[*place] = Some(self.call(METHOD, (hashes[*place],)).await?);
            return Ok(());
        }
        let params: Vec<_> = open.iter().map(|place| (hashes[*place],)).collect();
        let (came, failed) = self.batch_of(METHOD, &params).await;
        for (place, receipt) in open.iter().zip(came) {
            receipts[*place] = receipt.filter(|receipt| receipt.get() != "null");
        }
        match failed {
            None if open.iter().any(|place| receipts[*place].is_none()) => Err(CallError::NotFound),
            None => Ok(()),
            Some(CallError::TooLarge(_)) => {
                lock(&self.capability).batch = Some(open.len() / 2);
                Ok(())
            }
            Some(error @ CallError::Throttled(_)) => {
                // What is too much at once may be taken in smaller parts.
                lock(&self.capability).batch = Some((open.len() / 2).max(1));
                Err(error)
            }
            Some(error @ (CallError::Timeout(_) | CallError::Gone | CallError::NotFound)) => Err(error),
            Some(error) => {
                tracing::info!(host = %self.host, %error, "takes no batches: each receipt is a call of its own");
                lock(&self.capability).batch = Some(1);
                Ok(())
            }
        }
    }
}

/// Whether a receipt is that of the transaction, and says that it is in another block.
fn is_in_other_block(receipt: &RawValue, transaction: B256, block: B256) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Mined {
        block_hash: B256,
        transaction_hash: B256,
    }
    let mined = serde_json::from_str::<Mined>(receipt.get());
    mined.is_ok_and(|mined| mined.transaction_hash == transaction && mined.block_hash != block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipts(text: &str) -> Vec<Option<Box<RawValue>>> {
        let one = |c: char| (c != '.').then(|| RawValue::from_string(c.to_string()).unwrap());
        text.chars().map(one).collect()
    }

    fn shown(receipts: &[Option<Box<RawValue>>]) -> String {
        receipts.iter().map(|one| one.as_ref().map_or(".", |one| one.get())).collect()
    }

    #[test]
    fn receipts_that_came_before_a_pause_are_kept_until_the_others_come() {
        let mut unfinished = Unfinished::default();
        let block = B256::with_last_byte;
        unfinished.keep(block(1), receipts("1.3"));
        unfinished.keep(block(2), receipts("..."));
        assert_eq!(unfinished.0.len(), 1, "nothing is kept where nothing came");
        assert_eq!(shown(&unfinished.take(block(1), 2)), "..", "of another number of transactions: another answer");
        assert_eq!(shown(&unfinished.take(block(1), 3)), "1.3");
        assert_eq!(shown(&unfinished.take(block(1), 3)), "...", "handed out once");
        for number in 0..=255 {
            unfinished.keep(block(number), receipts("7"));
        }
        assert_eq!(unfinished.0.len(), MAX_UNFINISHED);
        assert_eq!(shown(&unfinished.take(block(255), 1)), "7");
    }
}
