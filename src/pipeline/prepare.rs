//! The part of the pipeline that costs CPU time and needs no store: parse, prove, decode, screen. Off the async threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use alloy::primitives::{Address, B256};

use super::now_ms;
use super::paths::Paths;
use super::stages::Stages;
use crate::chain::canonical::Link;
use crate::chain::lean::{Path, Reader, TakeError};
use crate::chain::proof::Wanted;
use crate::chain::{Expected, Part, Proof, VerifiedBlock, VerifyError, check_storable};
use crate::decode::{Activity, ActivityKind, DecodeOptions, Decoded, Plane, decode};
use crate::screen::{Alert, Watchlist, lookback, screen};
use crate::source::{NoTraces, ProofError, RawBundle};
use crate::store::{BlockRecord, MissingTraces, PackedProof, Progress, TransactionFacts};

/// Whose senders are recovered from their signatures, which costs more than all the rest of the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Senders {
    /// Those of all transactions.
    #[default]
    All,
    /// Those of transactions that an alert belongs to. That a watched address sent nothing else is then as true as what the
    /// endpoint says of who sent it.
    Matched,
}

/// The watchlist that blocks are screened against, shared by the workers and by whoever commits, who brings it up to date.
#[derive(Debug, Clone, Default)]
pub(super) struct InForce(Arc<RwLock<Arc<Watchlist>>>);

impl InForce {
    pub(super) fn new(watchlist: Watchlist) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(watchlist))))
    }

    pub(super) fn get(&self) -> Arc<Watchlist> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn put(&self, watchlist: Watchlist) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(watchlist);
    }
}

/// Readers that are not in use: each remembers how the last block was written.
#[derive(Debug, Clone, Default)]
struct Readers(Arc<Mutex<Vec<Reader>>>);

impl Readers {
    fn take(&self) -> Reader {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, reader: Reader) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }
}

/// A block that is proven, decoded and screened.
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
    /// Which senders are proven.
    pub senders: Senders,
    /// What came of screening it, against which state of the watchlist.
    alerts: Vec<Alert>,
    /// What proves those for ever.
    evidence: Option<PackedProof>,
    watch_revision: i64,
    /// Which addresses it can touch, where that is to be kept.
    lookback: Option<Vec<u8>>,
    options: Arc<DecodeOptions>,
    /// Why an endpoint gave no traces, where that may pass.
    no_traces: Option<NoTraces>,
    /// The traces that it lacks and that may be had later.
    missing_traces: Option<MissingTraces>,
    require_traces: bool,
}

impl Prepared {
    /// Screens it, unless it was screened against that state of the watchlist. The senders of what is found are proven; where one
    /// is another than the endpoint stated, those of the whole block, which is then decoded and screened once more.
    ///
    /// # Errors
    /// [`VerifyError`] where a signature names no sender.
    pub(super) fn screen(&mut self, chain_id: u64, watchlist: &Watchlist) -> Result<(), VerifyError> {
        if self.watch_revision == watchlist.revision() {
            return Ok(());
        }
        let mut alerts = screen(chain_id, &self.block, &self.decoded.activities, watchlist);
        let found = alerts.iter().filter_map(|alert| alert.activity.location.tx_index);
        if self.block.recover(found.map(|index| index as usize))? {
            self.senders = Senders::All;
            self.decoded = decode(&self.block, &self.options);
            self.lookback = self.lookback.as_ref().map(|_| lookback::index(&self.decoded.activities));
            // Frames that only fit the false sender are gone by now.
            self.missing_traces = missing_traces(&self.block, self.no_traces.as_ref());
            has_required_traces(&self.block, self.require_traces)?;
            alerts = screen(chain_id, &self.block, &self.decoded.activities, watchlist);
        }
        self.evidence = self.evidence_of(&alerts);
        self.alerts = alerts;
        self.watch_revision = watchlist.revision();
        Ok(())
    }

    /// What the store is to keep of it.
    pub(super) fn record(&self, chain_id: u64, progress: Progress) -> BlockRecord {
        BlockRecord {
            chain_id,
            link: self.link(),
            timestamp: self.block.header().timestamp,
            proof: self.block.proof(),
            traces: self.block.has_all_traces(),
            native_logs: self.block.logs_native_transfers(),
            // Not what happens to be proven of this one: a range is to say one thing.
            senders: self.senders == Senders::All && self.block.proof() == Proof::Proven,
            watch_revision: self.watch_revision,
            endpoint: self.endpoint.clone(),
            seen_at_ms: now_ms(),
            transactions: self.facts_of(&self.alerts),
            evidence: self.evidence.clone(),
            alerts: self.alerts.clone(),
            undecoded: self.decoded.undecoded.clone(),
            named: self.decoded.named.clone(),
            beneficiary: self.block.header().beneficiary,
            decoder: self.decoder,
            lookback: self.lookback.clone(),
            differences: self.block.differences().clone(),
            missing_traces: self.missing_traces.clone(),
            progress,
        }
    }

    /// Every endpoint that could trace it has pruned the state it starts from.
    pub(super) fn lacks_state(&self) -> bool {
        self.missing_traces.as_ref().is_some_and(|missing| missing.pruned)
    }

    /// How many alerts came of it.
    pub(super) fn alerts(&self) -> usize {
        self.alerts.len()
    }

    /// The tokens that its alerts are about.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Address> {
        self.alerts.iter().filter_map(|alert| alert.activity.asset.contract())
    }

    /// Its place in the chain.
    pub fn link(&self) -> Link {
        let header = self.block.header();
        Link { number: header.number, hash: self.block.hash(), parent_hash: header.parent_hash }
    }

    /// What proves those alerts for ever; none where there are none, or the block was taken on trust.
    fn evidence_of(&self, alerts: &[Alert]) -> Option<PackedProof> {
        if alerts.is_empty() {
            return None;
        }
        self.block.prove(&wanted_by(alerts.iter().map(|alert| &alert.activity))).as_ref().map(PackedProof::new)
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

/// The traces that a block lacks: because nobody could give them just now, or because those of an archive are broken.
/// Refuses a block without frames where they are required.
fn has_required_traces(block: &VerifiedBlock, required: bool) -> Result<(), VerifyError> {
    if !required || block.frames().is_some() {
        return Ok(());
    }
    let missing = || VerifyError::Mismatch {
        part: Part::Traces,
        index: None,
        found: "none".to_owned(),
        expected: "a trace of each transaction (--traces require)".to_owned(),
    };
    Err(block.traces_refused().cloned().unwrap_or_else(missing))
}

fn missing_traces(block: &VerifiedBlock, no_traces: Option<&NoTraces>) -> Option<MissingTraces> {
    let missing = block.missing_traces();
    let why = match (no_traces, missing.first(), block.traces_refused()) {
        (Some(why), ..) => why.clone(),
        (None, Some(first), _) => NoTraces { detail: first.detail.clone(), pruned: false },
        (None, None, Some(refused)) => NoTraces { detail: refused.to_string(), pruned: false },
        (None, None, None) => return None,
    };
    let transactions = missing.iter().map(|missing| missing.index).collect();
    Some(MissingTraces { transactions, detail: why.detail, pruned: why.pruned })
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

/// No state of the watchlist: nothing was screened yet.
const UNSCREENED: i64 = -1;

/// How answers are judged: cheap to clone, shared by all workers.
#[derive(Debug, Clone)]
pub struct Judge {
    pub(super) chain_id: u64,
    pub(super) trust: bool,
    require_traces: bool,
    senders: Senders,
    indexes: bool,
    /// For the signatures of one block.
    threads: usize,
    options: Arc<DecodeOptions>,
    lists: InForce,
    readers: Readers,
    paths: Paths,
    /// Of a replay; elsewhere blocks come one by one.
    stages: Option<Stages>,
}

impl Judge {
    /// `trust` takes answers without proof.
    pub fn new(chain_id: u64, trust: bool, options: DecodeOptions) -> Self {
        let (senders, lists) = (Senders::All, InForce::default());
        Self {
            chain_id,
            trust,
            require_traces: false,
            senders,
            indexes: false,
            threads: 1,
            options: Arc::new(options),
            lists,
            readers: Readers::default(),
            paths: Paths::default(),
            stages: None,
        }
    }

    /// Whose senders are proven.
    #[must_use]
    pub fn proving(self, senders: Senders) -> Self {
        Self { senders, ..self }
    }

    /// Whether an index of the addresses of each proven block is kept, for looking back.
    #[must_use]
    pub fn indexing(self, indexes: bool) -> Self {
        Self { indexes, ..self }
    }

    /// Whether it does so.
    pub(super) fn indexes(&self) -> bool {
        self.indexes
    }

    /// Screens against that list, as it is when a block's turn comes.
    #[must_use]
    pub(super) fn screening(&self, lists: &InForce) -> Self {
        Self { lists: lists.clone(), ..self.clone() }
    }

    /// Asks and judges within those limits.
    #[must_use]
    pub(super) fn staged(self, stages: &Stages) -> Self {
        Self { stages: Some(stages.clone()), ..self }
    }

    /// Those limits.
    pub(super) fn stages(&self) -> Option<&Stages> {
        self.stages.as_ref()
    }

    /// The same, sharing out the signatures of one block over so many threads.
    pub(super) fn on_threads(&self, threads: usize) -> Self {
        Self { threads, ..self.clone() }
    }

    /// Says how blocks were read.
    pub(super) fn say_paths(&self) {
        self.paths.say();
    }

    /// Whether it proves every sender.
    pub(super) fn proves_senders(&self) -> bool {
        self.senders == Senders::All
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

    /// Parses, proves, decodes and screens an answer; `hash` is what was asked for, none for a block of an archive.
    ///
    /// # Errors
    /// [`ProofError`] naming what did not fit.
    pub fn judge(&self, raw: &RawBundle, hash: Option<B256>) -> Result<Prepared, ProofError> {
        let expected = Expected { hash, chain_id: self.chain_id };
        let (mut block, path) = self.read(raw, expected)?;
        self.paths.note(&path, &raw.endpoint, block.number());
        check_storable(block.number(), block.header().timestamp)?;
        if self.require_traces {
            block.expect_no_frames();
        }
        has_required_traces(&block, self.require_traces)?;
        let takes_part = raw.no_traces.is_some() || hash.is_none();
        if !block.missing_traces().is_empty() && (self.require_traces || !takes_part) {
            return Err(VerifyError::NotTraced(block.missing_traces().to_vec()).into());
        }
        if let Some(reason) = block.traces_refused() {
            if hash.is_some() {
                return Err(reason.clone().into());
            }
            let left = match block.logs_native_transfers() {
                true => "traces refused: logs prove the internal transfers of this block, without their frames",
                false => "traces refused: internal transfers of this block are not seen",
            };
            tracing::warn!(source = %raw.endpoint, block = block.number(), %reason, "{left}");
        }
        let senders = if self.senders == Senders::All || block.has_wrong_sender() {
            block.recover_all(self.threads)?;
            Senders::All
        } else {
            Senders::Matched
        };
        let decoded = decode(&block, &self.options);
        if let Some(location) = decoded.repeated() {
            let part = if location.plane == Plane::Traces { Part::Traces } else { Part::Position };
            let (found, index) =
                (format!("two activities at {:?}", location.position), location.tx_index.map(u64::from));
            return Err(VerifyError::Mismatch { part, index, found, expected: "one".to_owned() }.into());
        }
        let keeps = self.indexes && block.proof() == Proof::Proven;
        let mut prepared = Prepared {
            missing_traces: missing_traces(&block, raw.no_traces.as_ref()),
            no_traces: raw.no_traces.clone(),
            require_traces: self.require_traces,
            lookback: keeps.then(|| lookback::index(&decoded.activities)),
            decoded,
            block,
            endpoint: raw.endpoint.clone(),
            decoder: self.decoder(),
            senders,
            alerts: Vec::new(),
            evidence: None,
            watch_revision: UNSCREENED,
            options: self.options.clone(),
        };
        prepared.screen(self.chain_id, &self.lists.get())?;
        self.paths.note_differences(&prepared.block, &raw.endpoint);
        Ok(prepared)
    }

    /// Traces are nobody's proof. Those of an archive that cannot be read, or contradict the block, are left out, and said to be; an
    /// endpoint is told so, and others may have better ones.
    fn read(&self, raw: &RawBundle, expected: Expected) -> Result<(VerifiedBlock, Path), TakeError> {
        let mut reader = self.readers.take();
        let taken = match reader.take(&raw.block, raw.traces.as_deref(), expected, self.trust) {
            Err(TakeError::Unreadable(error)) if error.what == "traces" && expected.hash.is_none() => {
                tracing::warn!(source = %raw.endpoint, %error, "traces left out: internal transfers of this block are not seen");
                reader.take(&raw.block, None, expected, self.trust)
            }
            other => other,
        };
        self.readers.give_back(reader);
        taken
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// As [`judge`](Self::judge); a worker that died, as unreadable.
    pub async fn judge_apart(&self, raw: RawBundle, hash: Option<B256>) -> Result<Prepared, ProofError> {
        let _turn = match &self.stages {
            Some(stages) => stages.judge().await,
            None => None,
        };
        let judge = self.clone();
        let worker = tokio::task::spawn_blocking(move || judge.judge(&raw, hash));
        worker.await.unwrap_or_else(|error| {
            Err(ProofError::Unreadable(crate::chain::BundleError { what: "block", detail: error.to_string() }))
        })
    }
}

mod tests;
