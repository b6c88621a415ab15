//! The only code that knows the order of the stages: fetch → prove → decode → screen → store. `watch` and `replay` drive the
//! same stages; only where blocks come from and when it stops differ.

mod apart;
mod archived;
mod backfill;
mod background;
mod batch;
mod behind;
mod fetch;
mod filtered;
mod finality;
mod lookback;
mod missing_traces;
mod paths;
mod prepare;
mod record;
mod replay;
mod reported;
mod reprove;
mod resume;
mod stages;
mod vitals;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::eips::BlockNumHash;
use alloy::primitives::Address;

pub use archived::{Ends, replay_archive};
pub use filtered::{FilteredOutcome, MOST_FILTERED, filterable, replay_filtered, unseen_kinds};
use finality::{Finality, RULE_TAGS};
#[cfg(test)]
pub(crate) use lookback::Scan;
pub use lookback::{LookbackOutcome, look_back, look_back_in_archive};
use prepare::InForce;
pub use prepare::{Judge, Prepared, Senders};
pub use record::record;
pub use replay::{ReplayOptions, ReplayOutcome, replay_endpoints, replay_missing_traces};
use reported::ReportedHeads;
pub use reprove::{Checked, MOST_FAULTS, Reproven, Shown, check_bundle, check_claims, check_files, proof_of, reprove};
pub use vitals::connect;
pub use watch::{WatchOptions, watch};

use crate::chain::Part;
use crate::chain::canonical::{Canonical, Link, Step};
use crate::source::{Head, Pool, SourceError};
use crate::store::{Committed, Progress, Store, StoreError, TokenFacts};

/// How often a token that gives no answer is asked in one run.
const TOKEN_TRIES: u8 = 5;
/// Why the pipeline stopped.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A reorg goes further back than what is final or held.
    #[error(
        "block {number} ({hash}) is on a chain that departs from ours below block {floor}, which is final: stopped, nothing was \
         changed. Either the endpoint is wrong, or this database is of another chain"
    )]
    TooDeep {
        /// Number of the block.
        number: u64,
        /// Its hash.
        hash: alloy::primitives::B256,
        /// What is final.
        floor: u64,
    },
    /// A block does not link to the one before it.
    #[error("block {number} ({hash}) does not link to the block before it: stopped at it")]
    NotLinked {
        /// Number of the block.
        number: u64,
        /// Its hash.
        hash: alloy::primitives::B256,
    },
    /// Printing what was committed failed (a closed pipe).
    #[error("output failed: {0}")]
    Output(#[source] std::io::Error),
    /// A worker died.
    #[error("a worker failed: {0}")]
    Worker(String),
}

/// What is told of a commit or a revert as it happens.
pub trait Observer {
    /// A block was committed.
    ///
    /// # Errors
    /// Of the output.
    fn committed(&mut self, store: &Store, link: &Link, committed: &Committed) -> std::io::Result<()>;

    /// A block was there already.
    fn skipped(&mut self, _number: u64) {}

    /// So many blocks were not read: by an endpoint's word they do not touch the list, or an archive does not have them.
    fn not_read(&mut self, _blocks: u64) {}
}

/// One chain going into one store.
pub struct Engine<'a> {
    /// The store, of which this process is the writer.
    pub store: Store,
    /// Told of every commit.
    pub observer: &'a mut dyn Observer,
    chain_id: u64,
    lists: InForce,
    finality: Finality,
    reported: ReportedHeads,
    /// How often tokens could not be asked: some never answer.
    token_failures: HashMap<Address, u8>,
    /// New alerts so far.
    found: u64,
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl<'a> Engine<'a> {
    /// Reads the store's watchlist; the store must be of that chain, or of none yet.
    ///
    /// # Errors
    /// [`StoreError::OtherChain`], or of SQLite.
    pub fn new(store: Store, chain_id: u64, observer: &'a mut dyn Observer) -> Result<Self, StoreError> {
        store.expect_chain(chain_id)?;
        let lists = InForce::new(store.watchlist()?);
        let finality = Finality::new(store.finality_rule()?.as_deref() == Some(RULE_TAGS));
        let (reported, token_failures) = (ReportedHeads::default(), HashMap::new());
        Ok(Self { store, observer, chain_id, lists, finality, reported, token_failures, found: 0 })
    }

    /// Number of entries that blocks are screened against.
    pub fn watched(&self) -> usize {
        self.lists.get().len()
    }

    /// Brings the lists in force up to date; which state they are in.
    fn read_lists(&mut self) -> Result<i64, StoreError> {
        if self.store.watch_revision()? != self.lists.get().revision() {
            let watchlist = self.store.watchlist()?;
            tracing::info!(entries = watchlist.len(), "watchlist changed: read anew");
            self.lists.put(watchlist);
        }
        Ok(self.lists.get().revision())
    }

    /// Notes the heads that endpoints report, and the one that was chosen of them, if one was.
    async fn note_heads(&mut self, pool: &Pool, chosen: Option<&Head>) -> Result<(), PipelineError> {
        Ok(self.reported.note(&mut self.store, pool, chosen).await?)
    }

    /// Stores a block with all that came of it.
    async fn commit(
        &mut self,
        prepared: Prepared,
        pool: Option<&Pool>,
        progress: Progress,
    ) -> Result<(), PipelineError> {
        self.commit_all(&mut [prepared], pool, progress).await
    }

    /// Stores blocks with all that came of them, all at once; those that were screened against another state of the watchlist are
    /// screened anew.
    async fn commit_all(
        &mut self,
        batch: &mut [Prepared],
        pool: Option<&Pool>,
        progress: Progress,
    ) -> Result<(), PipelineError> {
        let Some(last) = batch.last() else { return Ok(()) };
        let last = last.link();
        let committed = loop {
            let watchlist = self.lists.get();
            for prepared in &mut *batch {
                prepared.screen(self.chain_id, &watchlist).map_err(|reason| SourceError::Unproven {
                    rules_of: Some(self.chain_id),
                    block: prepared.link().number.to_string(),
                    host: prepared.endpoint.clone(),
                    reason: Box::new(reason.into()),
                })?;
            }
            if let Some(pool) = pool {
                self.ask_tokens(pool, batch.iter().flat_map(Prepared::tokens).collect(), Some(last.hash)).await?;
            }
            let records: Vec<_> = batch.iter().map(|prepared| prepared.record(self.chain_id, progress)).collect();
            match self.store.append_all(&records) {
                Err(StoreError::StaleWatchlist) => {
                    self.read_lists()?;
                }
                Err(StoreError::InvalidBlock { number, found, detail }) => {
                    let bad = batch.iter().find(|prepared| prepared.link().hash == found);
                    return Err(match bad.zip(pool) {
                        Some((bad, pool)) => pool.note_invalid(&bad.endpoint, bad.link(), detail).into(),
                        None => StoreError::InvalidBlock { number, found, detail }.into(),
                    });
                }
                other => break other?,
            }
        };
        for (prepared, committed) in batch.iter().zip(&committed) {
            self.found += committed.new_alerts.len() as u64;
            self.observer.committed(&self.store, &prepared.link(), committed).map_err(PipelineError::Output)?;
        }
        Ok(())
    }

    /// Asks what unknown tokens say of themselves, and keeps it. What cannot be asked now is asked later.
    async fn ask_tokens(
        &mut self,
        pool: &Pool,
        mut tokens: Vec<Address>,
        block: Option<alloy::primitives::B256>,
    ) -> Result<(), PipelineError> {
        tokens.sort();
        tokens.dedup();
        let mut unknown = Vec::new();
        for token in tokens {
            if !self.store.knows_token(token)? {
                unknown.push(token);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.retain(|token| self.token_failures.get(token).is_none_or(|times| *times < TOKEN_TRIES));
        let answers = pool.tokens(&unknown, block).await;
        for token in unknown.iter().filter(|token| !answers.iter().any(|(answered, ..)| answered == *token)) {
            *self.token_failures.entry(*token).or_default() += 1;
        }
        for (token, symbol, decimals) in answers {
            self.store.put_token(token, &TokenFacts { symbol, decimals }, now_ms() / 1000)?;
        }
        Ok(())
    }

    /// Orphans what a reorg to that block replaces. What is final does not give way: [`PipelineError::TooDeep`], and nothing changes.
    fn revert(
        &mut self,
        chain: &mut Canonical,
        above: u64,
        progress: Progress,
        link: &Link,
    ) -> Result<(), PipelineError> {
        let (blocks, alerts) = match self.store.revert(above, progress) {
            // An earlier run stored it, so that the chain in hand does not know of it.
            Err(StoreError::Contradiction { number: floor, .. }) => {
                return Err(PipelineError::TooDeep { number: link.number, hash: link.hash, floor });
            }
            other => other?,
        };
        chain.revert_to(above);
        tracing::warn!(above, blocks, alerts, "reorg: blocks orphaned");
        Ok(())
    }

    /// Orphans stored blocks that the block contradicts: another one of its number, or a child of another one. What is final does
    /// not give way.
    fn give_way(&mut self, chain: &mut Canonical, link: &Link, progress: Progress) -> Result<(), PipelineError> {
        while let Some(number) = self.store.conflicting(link)? {
            self.revert(chain, number.saturating_sub(1), progress, link)?;
        }
        Ok(())
    }

    /// A chain was shown that leaves out the block of that number. Where it is final here and an endpoint still has it, those that have
    /// another one there are wrong: they are benched, and true returned.
    async fn is_false_chain(&self, pool: &Pool, floor: u64) -> Result<bool, PipelineError> {
        let Some(hash) = self.store.final_hash(floor)? else { return Ok(false) };
        let vouched = pool.bench_those_without(BlockNumHash { number: floor, hash }, Part::FinalizedBlock).await;
        tracing::error!(floor, vouched, "a chain was shown that leaves out what is final");
        Ok(vouched)
    }

    /// Settles what is stored: `confirmed` is a held block that is known to be on the chain of the head that finality is known of.
    fn settle(&mut self, chain: &mut Canonical, confirmed: BlockNumHash) -> Result<(), PipelineError> {
        let Some((settled, rule)) = self.finality.settled(&self.store, confirmed)? else { return Ok(()) };
        self.store.settle(settled, rule)?;
        if let Some(finalized) = settled.finalized
            && self.store.final_hash(finalized.number)? == Some(finalized.hash)
        {
            chain.finalize(finalized.number);
        }
        Ok(())
    }

    /// Takes a block that is next in line, following the reorg that it may reveal: then the blocks of the new chain from the common
    /// ancestor up to it are taken first, found by their hashes. Returns how many blocks were taken.
    async fn follow(
        &mut self,
        pool: &Arc<Pool>,
        judge: &Judge,
        chain: &mut Canonical,
        target: Link,
        mut ready: Option<Prepared>,
        progress: Progress,
    ) -> Result<u64, PipelineError> {
        let mut todo = vec![target];
        let mut taken = 0;
        while let Some(link) = todo.last().copied() {
            match chain.step(&link) {
                Step::Append => {
                    let prepared = match ready.take() {
                        Some(prepared) if prepared.link().hash == link.hash => prepared,
                        _ if progress == Progress::Head => judge.fetch_at_head(pool, &link).await?,
                        _ => judge.fetch(pool, &link).await?,
                    };
                    // What was stored of another fork by an earlier replay gives way, unless it is final.
                    self.give_way(chain, &link, progress)?;
                    self.commit(prepared, Some(pool), progress).await?;
                    chain.push(link);
                    taken += 1;
                    todo.pop();
                }
                Step::Behind => {
                    todo.pop();
                }
                Step::Revert { above } => {
                    // Nothing is orphaned for a block that cannot be proven.
                    if ready.as_ref().is_none_or(|prepared| prepared.link().hash != link.hash) {
                        ready = Some(judge.fetch(pool, &link).await?);
                    }
                    self.revert(chain, above, progress, &link)?;
                }
                Step::NeedParent(hash) => {
                    let parent = pool.link(hash).await?;
                    if parent.number + 1 != link.number {
                        return Err(PipelineError::NotLinked { number: link.number, hash: link.hash });
                    }
                    todo.push(parent);
                }
                // The chain moved on while its fork was being followed: what is between is for the next round.
                Step::Gap { .. } => break,
                Step::TooDeep { floor } => {
                    return Err(PipelineError::TooDeep { number: link.number, hash: link.hash, floor });
                }
            }
        }
        Ok(taken)
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis().try_into().unwrap_or(i64::MAX)
}
