//! The only code that knows the order of the stages: fetch → prove → decode → screen → store. `watch` and `replay` drive the
//! same stages; only where blocks come from and when it stops differ.

mod prepare;
mod record;
mod replay;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;

pub use prepare::{Judge, Prepared};
pub use record::record;
pub use replay::{ReplayOptions, ReplayOutcome, replay_archive, replay_endpoints};
pub use watch::{WatchOptions, watch};

use crate::chain::canonical::{Canonical, Link, Step};
use crate::screen::{Watchlist, screen};
use crate::source::{Pool, SourceError, Tags};
use crate::store::{BlockRecord, Committed, Settled, Store, StoreError, TokenFacts};

/// Depth at which a block counts as safe where the endpoint has no such tag.
pub const SAFE_DEPTH: u64 = 12;
/// Depth at which a block counts as final where the endpoint has no such tag.
pub const FINAL_DEPTH: u64 = 64;

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
}

/// One chain going into one store.
pub struct Engine<'a> {
    /// The store, of which this process is the writer.
    pub store: Store,
    /// Told of every commit.
    pub observer: &'a mut dyn Observer,
    chain_id: u64,
    watchlist: Watchlist,
    watching: bool,
    finality: Finality,
}

/// How far blocks are settled.
#[derive(Debug, Clone, Copy, Default)]
struct Finality {
    tags: Option<Tags>,
    head: Option<u64>,
}

impl Finality {
    /// By the endpoint's tags where it has both, else by depth below the head.
    fn settled(self) -> Settled {
        let clamp = |height: u64| self.head.map_or(height, |head| height.min(head));
        match self.tags {
            Some(Tags { safe: Some(safe), finalized: Some(finalized) }) => {
                Settled { safe: Some(clamp(safe)), finalized: Some(clamp(finalized)) }
            }
            _ => Settled {
                safe: self.head.and_then(|head| head.checked_sub(SAFE_DEPTH)),
                finalized: self.head.and_then(|head| head.checked_sub(FINAL_DEPTH)),
            },
        }
    }

    fn rule(self) -> &'static str {
        match self.tags {
            Some(Tags { safe: Some(_), finalized: Some(_) }) => "tags safe/finalized",
            _ => "depth 12/64",
        }
    }
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
    pub fn new(
        store: Store,
        chain_id: u64,
        watching: bool,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, StoreError> {
        store.expect_chain(chain_id)?;
        let watchlist = store.watchlist()?;
        Ok(Self { store, observer, chain_id, watchlist, watching, finality: Finality::default() })
    }

    /// Number of entries that blocks are screened against.
    pub fn watched(&self) -> usize {
        self.watchlist.len()
    }

    /// Screens a block and stores it with all that came of it.
    async fn commit(&mut self, prepared: &Prepared, pool: Option<&Pool>) -> Result<Committed, PipelineError> {
        let committed = loop {
            let alerts = screen(self.chain_id, &prepared.block, &prepared.decoded.activities, &self.watchlist);
            if let Some(pool) = pool {
                let tokens = alerts.iter().filter_map(|alert| alert.activity.asset.contract()).collect();
                self.ask_tokens(pool, tokens, Some(prepared.link().hash)).await?;
            }
            let record = BlockRecord {
                chain_id: self.chain_id,
                link: prepared.link(),
                timestamp: prepared.block.header().timestamp,
                proof: prepared.block.proof(),
                traces: prepared.block.frames().is_some(),
                watch_revision: self.watchlist.revision(),
                endpoint: prepared.endpoint.clone(),
                seen_at_ms: now_ms(),
                transactions: prepared.facts_of(&alerts),
                alerts,
                undecoded: prepared.decoded.undecoded.clone(),
                settled: self.finality.settled(),
                watching: self.watching,
            };
            match self.store.append(&record) {
                Err(StoreError::StaleWatchlist) => {
                    self.watchlist = self.store.watchlist()?;
                    tracing::info!(entries = self.watchlist.len(), "watchlist changed: read anew");
                }
                other => break other?,
            }
        };
        self.observer.committed(&self.store, &prepared.link(), &committed).map_err(PipelineError::Output)?;
        Ok(committed)
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
        for (token, symbol, decimals) in pool.tokens(&unknown, block).await {
            self.store.put_token(token, &TokenFacts { symbol, decimals }, now_ms() / 1000)?;
        }
        Ok(())
    }

    /// Orphans what a reorg replaced.
    fn revert(&mut self, chain: &mut Canonical, above: u64) -> Result<(), PipelineError> {
        let (blocks, alerts) = self.store.revert(above)?;
        chain.revert_to(above);
        tracing::warn!(above, blocks, alerts, "reorg: blocks orphaned");
        Ok(())
    }

    /// Orphans stored blocks that the block contradicts: another one of its number, or a child of another one. What is final does
    /// not give way.
    fn give_way(&mut self, chain: &mut Canonical, link: &Link) -> Result<(), PipelineError> {
        while let Some(number) = self.store.conflicting(link)? {
            self.revert(chain, number.saturating_sub(1))?;
        }
        Ok(())
    }

    /// Learns of a new head and of finality, for the blocks that are taken from now on.
    fn learn(&mut self, head: u64, tags: Option<Tags>) {
        // A head that goes back for a moment does not make final blocks less so.
        self.finality.head = Some(self.finality.head.map_or(head, |known| known.max(head)));
        if tags.is_some() {
            self.finality.tags = tags;
        }
    }

    /// Settles what is stored up to `confirmed`, a held block that is known to be on the chain of the head.
    fn settle(&mut self, chain: &mut Canonical, confirmed: u64) -> Result<(), PipelineError> {
        let settled = self.finality.settled().up_to(confirmed);
        self.store.settle(settled, self.finality.head, self.finality.rule())?;
        if let Some(finalized) = settled.finalized {
            chain.finalize(finalized);
        }
        Ok(())
    }

    /// Notes that a block was committed on top of the held ones.
    fn pushed(&self, chain: &mut Canonical, link: Link) {
        chain.push(link);
        if let Some(finalized) = self.finality.settled().up_to(link.number).finalized {
            chain.finalize(finalized);
        }
    }

    /// Takes a block that is next in line, following the reorg that it may reveal: then the blocks of the new chain from the common
    /// ancestor up to it are taken first, found by their hashes. Returns how many blocks were taken.
    async fn follow(
        &mut self,
        pool: &Pool,
        judge: &Judge,
        chain: &mut Canonical,
        target: Link,
        mut ready: Option<Prepared>,
    ) -> Result<u64, PipelineError> {
        let mut todo = vec![target];
        let mut taken = 0;
        while let Some(link) = todo.last().copied() {
            match chain.step(&link) {
                Step::Append => {
                    let prepared = match ready.take() {
                        Some(prepared) if prepared.link().hash == link.hash => prepared,
                        _ => judge.fetch(pool, &link).await?,
                    };
                    self.commit(&prepared, Some(pool)).await?;
                    self.pushed(chain, link);
                    taken += 1;
                    todo.pop();
                }
                Step::Behind => {
                    todo.pop();
                }
                Step::Revert { above } => self.revert(chain, above)?,
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
