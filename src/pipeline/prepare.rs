//! The part of the pipeline that costs CPU time and needs no store: parse, prove, decode. Off the async threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PipelineError;
use super::apart::apart;
use crate::chain::canonical::Link;
use crate::chain::lean::{Path, Reader, TakeError};
use crate::chain::proof::{BlockProof, Wanted};
use crate::chain::{Expected, Part, Proof, VerifiedBlock, VerifyError};
use crate::decode::{Activity, ActivityKind, DecodeOptions, Decoded, decode};
use crate::screen::Alert;
use crate::source::{Pool, ProofError, RawBundle, SourceError};
use crate::store::TransactionFacts;

/// A block that is proven and decoded.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The block.
    pub block: VerifiedBlock,
    /// What happened in it.
    pub decoded: Decoded,
    /// Who answered.
    pub endpoint: String,
    /// Which decoder, with which wrapped-native contracts.
    pub decoder: i64,
}

impl Prepared {
    /// Its place in the chain.
    pub fn link(&self) -> Link {
        let header = self.block.header();
        Link { number: header.number, hash: self.block.hash(), parent_hash: header.parent_hash }
    }

    /// What proves those alerts for ever; none where there are none, or the block was taken on trust.
    pub(super) fn evidence_of(&self, alerts: &[Alert]) -> Option<BlockProof> {
        if alerts.is_empty() {
            return None;
        }
        self.block.prove(&wanted_by(alerts.iter().map(|alert| &alert.activity)))
    }

    /// What the store keeps of the transactions that those alerts belong to.
    pub(super) fn facts_of(&self, alerts: &[Alert]) -> BTreeMap<u32, TransactionFacts> {
        let transactions = self.block.transactions();
        alerts
            .iter()
            .filter_map(|alert| alert.activity.location.tx_index)
            .filter_map(|index| {
                let tx = transactions.get(index as usize)?;
                let facts = TransactionFacts {
                    hash: tx.hash,
                    signer: tx.signer,
                    to: tx.to,
                    success: tx.success,
                    first_log_index: tx.first_log_index,
                };
                Some((index, facts))
            })
            .collect()
    }
}

/// How often a number is looked up again whose block nobody has.
const LOOK_UPS: u32 = 4;

/// Looks up which block has a number, and takes it. A block that nobody has was replaced by a reorg meanwhile, or never was: the
/// number is looked up again, and whoever names what it does not have is found out.
pub(super) async fn numbered<T>(
    pool: &Arc<Pool>,
    number: u64,
    take: impl AsyncFn(Link) -> Result<T, PipelineError>,
) -> Result<T, PipelineError> {
    let mut look_ups = 1;
    let mut found_out = None;
    loop {
        let asked = pool.clone();
        let link = apart(async move { asked.link_at(number).await }).await??;
        match take(link).await {
            Err(PipelineError::Source(SourceError::Unknown(_))) if look_ups < LOOK_UPS => {
                look_ups += 1;
                let asked = pool.clone();
                found_out = apart(async move { asked.unmask(link).await }).await?.or(found_out);
                tracing::debug!(number, hash = %link.hash, "nobody has the block that was named: looked up again");
            }
            Err(PipelineError::Source(SourceError::Unknown(block))) => {
                return Err(found_out.unwrap_or(SourceError::Unknown(block)).into());
            }
            other => return other,
        }
    }
}

/// What of a block proves those movements.
fn wanted_by<'a>(activities: impl Iterator<Item = &'a Activity>) -> Wanted {
    activities.map(|activity| wanted_by_kind(activity.kind, activity.location.tx_index)).fold(
        Wanted::default(),
        |mut sum, wanted| {
            sum.whole |= wanted.whole;
            sum.withdrawals |= wanted.withdrawals;
            sum.transactions.extend(wanted.transactions);
            sum
        },
    )
}

/// What of a block proves a movement of that kind.
pub(super) fn wanted_by_kind(kind: ActivityKind, tx_index: Option<u32>) -> Wanted {
    Wanted {
        // Fees add up from all of the block's transactions and receipts.
        whole: kind == ActivityKind::FeeRecipient,
        withdrawals: kind == ActivityKind::Withdrawal,
        transactions: tx_index.map(u64::from).into_iter().collect(),
    }
}

/// How answers are judged: cheap to clone, shared by all workers.
#[derive(Debug, Clone)]
pub struct Judge {
    chain_id: u64,
    trust: bool,
    require_traces: bool,
    options: Arc<DecodeOptions>,
}

impl Judge {
    /// `trust` takes answers without proof.
    pub fn new(chain_id: u64, trust: bool, options: DecodeOptions) -> Self {
        Self { chain_id, trust, require_traces: false, options: Arc::new(options) }
    }

    /// A block whose traces are missing, or are refused, is not taken.
    #[must_use]
    pub fn requiring_traces(self, require_traces: bool) -> Self {
        Self { require_traces, ..self }
    }

    /// Which decoder this is: another version, or other wrapped-native contracts, finds other things in the same block.
    pub fn decoder(&self) -> i64 {
        self.options.fingerprint()
    }

    /// What a block that it takes is worth.
    pub fn proof(&self) -> Proof {
        if self.trust { Proof::Unproven } else { Proof::Proven }
    }

    /// Parses, proves and decodes an answer; `hash` is what was asked for, none for a block of an archive.
    ///
    /// # Errors
    /// [`ProofError`] naming what did not fit.
    pub fn judge(&self, raw: &RawBundle, hash: Option<alloy::primitives::B256>) -> Result<Prepared, ProofError> {
        // Traces are nobody's proof. Those of an archive that cannot be read, or contradict the block, are left out, and said to
        // be; an endpoint is told so, and others may have better ones.
        let expected = Expected { hash, chain_id: self.chain_id };
        let mut reader = Reader::new();
        let (mut block, path) = match reader.take(&raw.block, raw.traces.as_deref(), expected, self.trust) {
            Err(TakeError::Unreadable(error)) if error.what == "traces" && hash.is_none() => {
                tracing::warn!(source = %raw.endpoint, %error, "traces left out: internal transfers of this block are not seen");
                reader.take(&raw.block, None, expected, self.trust)?
            }
            other => other?,
        };
        if let Path::Typed(reason) = path {
            tracing::debug!(source = %raw.endpoint, block = block.number(), %reason, "read by the slower, typed path");
        }
        if !self.trust {
            block.recover_all(1)?;
        }
        if self.require_traces && block.frames().is_none() {
            let missing = || VerifyError::Mismatch {
                part: Part::Traces,
                index: None,
                found: "none".to_owned(),
                expected: "a trace of each transaction (--traces require)".to_owned(),
            };
            return Err(block.traces_refused().cloned().unwrap_or_else(missing).into());
        }
        if let Some(reason) = block.traces_refused() {
            if hash.is_some() {
                return Err(reason.clone().into());
            }
            tracing::warn!(source = %raw.endpoint, block = block.number(), %reason, "traces refused: internal transfers of this block are not seen");
        }
        let decoded = decode(&block, &self.options);
        Ok(Prepared { block, decoded, endpoint: raw.endpoint.clone(), decoder: self.decoder() })
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// As [`judge`](Self::judge); a worker that died, as unreadable.
    pub async fn judge_apart(
        &self,
        raw: RawBundle,
        hash: Option<alloy::primitives::B256>,
    ) -> Result<Prepared, ProofError> {
        let judge = self.clone();
        let worker = tokio::task::spawn_blocking(move || judge.judge(&raw, hash));
        worker.await.unwrap_or_else(|error| {
            Err(ProofError::Unreadable(crate::chain::BundleError { what: "block", detail: error.to_string() }))
        })
    }

    /// Fetches a block by its hash and judges what comes, asking another endpoint where it is not what was asked for.
    pub(super) async fn fetch(&self, pool: &Arc<Pool>, link: &Link) -> Result<Prepared, PipelineError> {
        let (judge, pool, link) = (self.clone(), pool.clone(), *link);
        let work =
            async move { pool.bundle(link.number, link.hash, |raw| judge.judge_apart(raw, Some(link.hash))).await };
        Ok(apart(work).await??)
    }

    /// The same at the head, where time counts.
    pub(super) async fn fetch_at_head(&self, pool: &Arc<Pool>, link: &Link) -> Result<Prepared, PipelineError> {
        Ok(pool.head_bundle(link.number, link.hash, |raw| self.judge_apart(raw, Some(link.hash))).await?)
    }

    /// Fetches the block of a number.
    pub(super) async fn fetch_number(&self, pool: &Arc<Pool>, number: u64) -> Result<(Link, Prepared), PipelineError> {
        numbered(pool, number, async |link| Ok((link, self.fetch(pool, &link).await?))).await
    }
}
