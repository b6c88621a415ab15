//! The calls that a whole block takes at one endpoint, and the ways around what it lacks.

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
        let receipts = self.receipts_for(hash, &block, receipts).await?;
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
                        | CallError::TooWide(_)
                        | CallError::BadAnswer(_)
                        | CallError::Transport(_),
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
        let (receipts, known) = match self.receipts_for(hash, &block, receipts).await {
            Err(CallError::NotFound) => (Bytes::from_static(b"[]"), false),
            other => (other?, true),
        };
        let raw = RawBundle::new(RawBlock::Json { block, receipts }, None, &self.host);
        Ok(AtHeight { hash, raw, traces, known })
    }

    /// Several calls of one method in one exchange, answers in their order.
    pub(super) async fn batch<P: alloy::rpc::json_rpc::RpcSend>(
        &self,
        method: &'static str,
        params: &[P],
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        match self.batch_of(method, params).await {
            (answers, None) => Ok(answers.into_iter().flatten().collect()),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same; with the answers that came where others failed, and why the first of these did.
    pub(super) async fn batch_of<P: alloy::rpc::json_rpc::RpcSend>(
        &self,
        method: &'static str,
        params: &[P],
    ) -> (Vec<Option<Box<RawValue>>>, Option<CallError>) {
        // A server that takes no batches may say so by a status that refuses everything.
        let failed = |error| match self.alloy_error(error, method) {
            CallError::Refused(why) => CallError::Transport(why),
            other => other,
        };
        let mut answers = Vec::new();
        let outcome = Box::pin(self.exchange(self.shared.timeout, false, async {
            let provider = self.provider().await?;
            let mut batch = BatchRequest::new(provider.client());
            let mut waiters = Vec::with_capacity(params.len());
            for params in params {
                waiters.push(batch.add_call::<_, Box<RawValue>>(method, params).map_err(failed)?);
            }
            tracing::trace!(host = %self.host, method, calls = params.len(), "batch");
            batch.send().await.map_err(failed)?;
            let mut first = Ok(());
            for answer in futures_util::future::join_all(waiters).await {
                match answer.map_err(failed) {
                    Ok(answer) => answers.push(Some(answer)),
                    Err(error) => {
                        answers.push(None);
                        first = first.and(Err(error));
                    }
                }
            }
            first
        }))
        .await;
        (answers, outcome.err())
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
