//! The calls that a whole block takes at one endpoint, and the ways around what it lacks.

use std::time::Instant;

use alloy::primitives::{B256, Bytes};
use alloy::providers::Provider;
use alloy::rpc::client::BatchRequest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::traces::TraceAnswer;
use super::{RawBundle, lock};
use crate::chain::RawBlock;
use crate::chain::bundle::lists_no_transactions;

/// Receipts that are asked for in one batch where the whole block's cannot be had.
const RECEIPTS_PER_BATCH: usize = 50;

/// The block that an endpoint has at a height.
pub(super) struct AtHeight {
    /// The hash that it says the block has.
    pub(super) hash: B256,
    pub(super) raw: RawBundle,
    /// What it answered for traces, where they were asked for.
    pub(super) traces: Option<TraceAnswer>,
    /// It can be read, and the endpoint knows it by that hash, too.
    pub(super) known: bool,
}

impl Endpoint {
    /// A block with its receipts by its hash.
    pub(super) async fn bundle(&self, hash: B256, urgent: bool) -> Result<RawBundle, CallError> {
        if let Some(raw) = self.raw_bundle(hash, urgent).await? {
            return Ok(raw);
        }
        let (block, receipts) = tokio::join!(
            self.call_large(urgent, "eth_getBlockByHash", (hash, true)),
            self.block_receipts(hash, urgent),
        );
        let block = block?;
        let receipts = match receipts? {
            Some(receipts) => receipts,
            None => self.receipts_one_by_one(&block).await?,
        };
        Ok(RawBundle::new(RawBlock::Json { block, receipts }, None, &self.host))
    }

    /// Everything of the block that it has at that height: one request less than by its hash, where the hash is not known yet.
    /// Receipts are asked for at the same time, by the number too, and taken where they say that they are of the hash that the
    /// block says it has; otherwise by that hash, as traces are. Where it does not know them, there are none.
    pub(super) async fn bundle_at(&self, number: u64, want_traces: bool) -> Result<AtHeight, CallError> {
        #[derive(Deserialize)]
        struct Hashed {
            hash: B256,
        }
        if let Some(raw) = self.raw_bundle_at(number, want_traces).await? {
            return Ok(raw);
        }
        let has_receipts = lock(&self.capability).block_receipts.known() == Some(true);
        let number_text = format!("{number:#x}");
        let (block, beside) =
            tokio::join!(self.call_large(false, "eth_getBlockByNumber", (&number_text, true)), async {
                if !has_receipts {
                    return Ok(None);
                }
                match self.call_large(false, "eth_getBlockReceipts", (&number_text,)).await {
                    // It may have them by their hash all the same.
                    Err(
                        CallError::Unsupported(_)
                        | CallError::Rpc { .. }
                        | CallError::NotFound
                        | CallError::TooLarge(_)
                        | CallError::TooWide(_),
                    ) => Ok(None),
                    other => other.map(Some),
                }
            });
        let block = block?;
        let hash = match hash_of(&block) {
            Some(hash) => hash,
            // Not where or as nodes put it.
            None => match serde_json::from_slice::<Hashed>(&block) {
                Ok(hashed) => hashed.hash,
                // The proof's to refuse, as a lie that is kept: it needs no receipts for that.
                Err(_) => {
                    let block = RawBlock::Json { block, receipts: Bytes::default() };
                    let raw = RawBundle::new(block, None, &self.host);
                    return Ok(AtHeight { hash: B256::ZERO, raw, traces: None, known: false });
                }
            },
        };
        let beside = beside?.filter(|receipts| claimed_block(receipts) == Some(hash));
        let (receipts, traces) = tokio::join!(
            async {
                match beside {
                    Some(receipts) => Ok(Some(receipts)),
                    None => self.block_receipts(hash, false).await,
                }
            },
            self.first_traces(want_traces && !lists_no_transactions(&block), number, hash),
        );
        let receipts = match receipts {
            Ok(None) => self.receipts_one_by_one(&block).await,
            Ok(Some(receipts)) => Ok(receipts),
            Err(error) => Err(error),
        };
        let (receipts, known) = match receipts {
            Err(CallError::NotFound) => (Bytes::from_static(b"[]"), false),
            other => (other?, true),
        };
        let raw = RawBundle::new(RawBlock::Json { block, receipts }, None, &self.host);
        Ok(AtHeight { hash, raw, traces, known })
    }

    /// None where the endpoint does not have the method, or not for as much as this block has.
    async fn block_receipts(&self, hash: B256, urgent: bool) -> Result<Option<Bytes>, CallError> {
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
            Err(CallError::TooLarge(_)) => {
                tracing::info!(host = %self.host, %hash, "the block's receipts are too large for one answer: asked for one by one");
                Ok(None)
            }
            other => {
                let receipts = other?;
                lock(&self.capability).block_receipts.confirm();
                Ok(Some(receipts))
            }
        }
    }

    async fn receipts_one_by_one(&self, block: &[u8]) -> Result<Bytes, CallError> {
        #[derive(Deserialize)]
        struct Hashes {
            transactions: Vec<Hash>,
        }
        #[derive(Deserialize)]
        struct Hash {
            hash: B256,
        }
        // A block that cannot be read is the proof's to refuse, as a lie that is kept: it needs no receipts for that.
        let Ok(hashes) = serde_json::from_slice::<Hashes>(block) else { return Ok(Bytes::default()) };
        let hashes: Vec<B256> = hashes.transactions.iter().map(|tx| tx.hash).collect();
        let mut receipts: Vec<Box<RawValue>> = Vec::with_capacity(hashes.len());
        while receipts.len() < hashes.len() {
            let size = lock(&self.capability).batch.unwrap_or(RECEIPTS_PER_BATCH).min(RECEIPTS_PER_BATCH);
            let rest = &hashes[receipts.len()..];
            if let Some(batch) = self.receipts_of(&rest[..size.min(rest.len())]).await? {
                receipts.extend(batch);
            }
        }
        if receipts.iter().any(|receipt| receipt.get() == "null") {
            return Err(CallError::NotFound);
        }
        serde_json::to_vec(&receipts).map(Bytes::from).map_err(|error| CallError::BadAnswer(error.to_string()))
    }

    /// None where the batch was too large for it: to be tried again with a smaller one.
    async fn receipts_of(&self, hashes: &[B256]) -> Result<Option<Vec<Box<RawValue>>>, CallError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        if let [hash] = hashes {
            return Ok(Some(vec![self.call(METHOD, (hash,)).await?]));
        }
        let params: Vec<_> = hashes.iter().map(|hash| (*hash,)).collect();
        match self.batch(METHOD, &params).await {
            Ok(receipts) => Ok(Some(receipts)),
            Err(error @ (CallError::Timeout(_) | CallError::Throttled(_) | CallError::Gone)) => Err(error),
            Err(CallError::TooLarge(_)) => {
                lock(&self.capability).batch = Some(hashes.len() / 2);
                Ok(None)
            }
            Err(error) => {
                tracing::info!(host = %self.host, %error, "takes no batches: each receipt is a call of its own");
                lock(&self.capability).batch = Some(1);
                Ok(None)
            }
        }
    }

    /// Several calls of one method in one exchange, answers in their order.
    pub(super) async fn batch<P: alloy::rpc::json_rpc::RpcSend>(
        &self,
        method: &'static str,
        params: &[P],
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        Box::pin(self.exchange(self.shared.timeout, false, async {
            let provider = self.provider().await?;
            let bad = |error| self.alloy_error(error, method);
            let mut batch = BatchRequest::new(provider.client());
            let mut waiters = Vec::with_capacity(params.len());
            for params in params {
                waiters.push(batch.add_call::<_, Box<RawValue>>(method, params).map_err(bad)?);
            }
            tracing::trace!(host = %self.host, method, calls = params.len(), "batch");
            batch.send().await.map_err(bad)?;
            futures_util::future::try_join_all(waiters).await.map_err(bad)
        }))
        .await
    }
}

/// The hash that a block says it has, found without a parse: the first `"hash":"0x…"` that stands before its transactions, where
/// no other member of a block has that name. None where it stands elsewhere.
fn hash_of(block: &[u8]) -> Option<B256> {
    const KEY: &[u8] = b"\"hash\":\"0x";
    let end = memchr::memmem::find(block, b"\"transactions\"").unwrap_or(block.len());
    let at = memchr::memmem::find(&block[..end], KEY)? + KEY.len();
    digits_at(block, at)
}

/// Of which block the first of those receipts says it is: a hint, since the proof compares all.
fn claimed_block(receipts: &[u8]) -> Option<B256> {
    const KEY: &[u8] = b"\"blockHash\":\"0x";
    digits_at(receipts, memchr::memmem::find(receipts, KEY)? + KEY.len())
}

fn digits_at(text: &[u8], at: usize) -> Option<B256> {
    std::str::from_utf8(text.get(at..at + 64)?).ok()?.parse().ok()
}
