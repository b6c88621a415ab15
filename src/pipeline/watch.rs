//! Following the head: catch up from the last block that was taken, then take each new one, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use alloy::eips::BlockNumHash;
use futures_util::StreamExt;
use tokio::sync::Notify;

use super::apart::{Task, apart, begin as begin_task};
use super::backfill::{Backfill, JUMP, Progressed};
use super::background::Background;
use super::behind::{Behind, Outlook};
use super::missing_traces::MissingTraces;
use super::resume::begin;
use super::vitals::{Condition, keep_lies, live};
use super::{Engine, Judge, PipelineError, Prepared, now_ms};
use crate::chain::Part;
use crate::chain::canonical::{Canonical, Link, Step};
use crate::ops::Shutdown;
use crate::source::{EndpointState, FinalityVote, Head, Pool, SourceError};
use crate::store::{Access, Progress, Store};

/// How to watch.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Where to begin where nothing was watched yet; none: at the head.
    pub from_block: Option<u64>,
    /// How often to ask for the head.
    pub poll_interval: Duration,
    /// Blocks in flight while catching up.
    pub concurrency: usize,
    /// Screen again what is held when the lists gain entries.
    pub auto_lookback: bool,
    /// How long a block takes, for what counts as late.
    pub slot: Duration,
    /// Makes JSON of an endpoint's state, for the store.
    pub show: fn(&EndpointState) -> String,
}

/// Tokens that could not be asked before, asked again in a quiet moment.
const TOKENS_AT_ONCE: u32 = 16;
/// How often, in milliseconds, unanswered tokens are looked for.
const TOKENS_EVERY_MS: i64 = 30_000;
/// Pause after a failure, once more for each one in a row, up to ten times.
pub(super) const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Watches until `shutdown`; the block in hand is finished first.
///
/// # Errors
/// [`PipelineError`]; an endpoint that fails is no error here: it is tried again, with the lag showing.
pub async fn watch(
    engine: &mut Engine<'_>,
    pool: &Arc<Pool>,
    judge: &Judge,
    options: &WatchOptions,
    shutdown: &Shutdown,
) -> Result<(), PipelineError> {
    let wake = Notify::new();
    let condition = Condition::default();
    // Signs of life have a connection of their own, so that they do not wait for what the loop at the head waits for.
    let mut vitals = Store::open(engine.store.path(), Access::Write { durable: false })?;
    vitals.note_auto_lookback(options.auto_lookback)?;
    vitals.note_running(Some((now_ms() / 1000, u64::try_from(options.slot.as_millis()).unwrap_or(u64::MAX))))?;
    let judge = &judge.screening(&engine.lists);
    let outcome = {
        let follow = async {
            let Some(chain) = begin(engine, pool, options, shutdown).await? else { return Ok(()) };
            let backfill = Backfill::new(pool.clone(), judge.clone(), options.concurrency);
            let background = Background::new(pool.clone(), judge.clone(), options.auto_lookback);
            let traces = MissingTraces::new(pool.clone(), judge.clone(), pool.wants_traces());
            let condition = &condition;
            let mut follower = Follower {
                engine,
                pool,
                judge,
                options,
                shutdown,
                condition,
                chain,
                backfill,
                background,
                traces,
                followed: None,
                vote: None,
                behind: Behind::default(),
            };
            follower.run(&wake).await
        };
        tokio::select! {
            outcome = follow => outcome,
            outcome = live(&mut vitals, pool, &condition, options.slot, options.show) => outcome,
            () = pool.ring(&wake) => Ok(()),
        }
    };
    vitals.wait_at_most(Some(Duration::from_secs(3)))?;
    let farewell = keep_lies(&mut vitals, pool).and_then(|()| {
        vitals.note_auto_lookback(false)?;
        Ok(vitals.note_running(None)?)
    });
    outcome.and(farewell)
}

/// The loop at the head, with what is caught up beside it.
struct Follower<'f, 'e> {
    engine: &'f mut Engine<'e>,
    pool: &'f Arc<Pool>,
    judge: &'f Judge,
    options: &'f WatchOptions,
    shutdown: &'f Shutdown,
    condition: &'f Condition,
    chain: Canonical,
    backfill: Backfill,
    background: Background,
    traces: MissingTraces,
    /// The head that was followed to its end.
    followed: Option<BlockNumHash>,
    /// Several endpoints are being asked what is final, which no alert waits for.
    vote: Option<Task<Option<FinalityVote>>>,
    behind: Behind,
}

impl Follower<'_, '_> {
    async fn run(&mut self, wake: &Notify) -> Result<(), PipelineError> {
        let mut noted = 0;
        let mut asked_tokens = 0;
        let mut failures = 0u32;
        loop {
            let open = self.engine.finality.is_open();
            self.pool.set_anchor(self.chain.tip().map(|tip| tip.number));
            let (pool, followed) = (self.pool.clone(), self.followed);
            let round = async move {
                let head = pool.head().await?;
                let news = followed != Some(head.link.id());
                let ask = (news || open) && pool.is_single();
                let vote = if ask { pool.finality(&head).await } else { None };
                Ok::<_, SourceError>((head, news, vote))
            };
            let Some(outcome) = self.meanwhile(apart(round)).await? else { return Ok(()) };
            let outcome = outcome?;
            let mut wait = None;
            let outcome = match outcome {
                Ok((head, news, vote)) => {
                    self.engine.finality.learn(head.link.number, vote);
                    self.bench_the_doubted().await?;
                    wait = self.look_behind(&head.link).await?;
                    self.engine.note_heads(self.pool, Some(&head)).await?;
                    let outcome = if news {
                        let outcome = self.catch_up(&head).await;
                        self.doubt(outcome, &head).await
                    } else if now_ms() - asked_tokens > TOKENS_EVERY_MS {
                        asked_tokens = now_ms();
                        let tokens = self.engine.store.unasked_tokens(TOKENS_AT_ONCE)?;
                        self.engine.ask_tokens(self.pool, tokens, None).await
                    } else {
                        Ok(())
                    };
                    // Only a head that we hold vouches for what is below it; otherwise it is asked for again.
                    self.followed =
                        (self.chain.hash_at(head.link.number) == Some(head.link.hash)).then_some(head.link.id());
                    self.settle()?;
                    if now_ms() - noted > 10_000 {
                        noted = now_ms();
                        note_endpoints(self.engine, self.pool, &head.host, head.link.number)?;
                    }
                    if (news || open) && self.vote.is_none() && !self.pool.is_single() {
                        let pool = self.pool.clone();
                        self.vote = Some(begin_task(async move { pool.finality(&head).await }));
                    }
                    outcome
                }
                Err(error) => {
                    self.engine.note_heads(self.pool, None).await?;
                    Err(PipelineError::from(error))
                }
            };
            failures = match outcome {
                Ok(()) => {
                    self.condition.waits_for(wait);
                    0
                }
                Err(PipelineError::Source(error)) => {
                    self.condition.waits(Some(&error));
                    wait_for_better(error, self.pool, self.engine)?;
                    failures + 1
                }
                Err(other) => return Err(other),
            };
            // After failures the pauses grow, so that endpoints and the log are spared; a new head does not cut these short.
            let pause = self.options.poll_interval.max(PAUSE_AFTER_FAILURE * failures.min(10));
            let rest = tokio::time::Instant::now() + pause;
            loop {
                let mut vote = self.vote.take();
                let rested = async {
                    tokio::select! {
                        answer = ended(&mut vote) => Some(answer),
                        () = wake.notified(), if failures == 0 => None,
                        () = tokio::time::sleep_until(rest) => None,
                    }
                };
                match self.meanwhile(rested).await? {
                    None => return Ok(()),
                    Some(None) => {
                        self.vote = vote;
                        break;
                    }
                    Some(Some(answer)) => {
                        if let Some(followed) = self.followed {
                            self.engine.finality.learn(followed.number, answer?);
                        }
                        self.settle()?;
                    }
                }
            }
        }
    }

    /// Raises statuses by what is known of finality, on the chain of the head that was followed to its end.
    fn settle(&mut self) -> Result<(), PipelineError> {
        match self.followed {
            Some(followed) => self.engine.settle(&mut self.chain, followed),
            None => Ok(()),
        }
    }

    /// An endpoint whose head is doubted since now is benched where it lacks what is final here.
    async fn bench_the_doubted(&self) -> Result<(), PipelineError> {
        if self.pool.take_new_doubt()
            && let Some(block) = self.engine.store.finalized_block()?
        {
            self.pool.bench_those_without(block, Part::FinalizedBlock).await;
        }
        Ok(())
    }

    /// Why the watch waits, where the head is below the block to take next; takes back a jump to a block that no endpoint has.
    async fn look_behind(&mut self, head: &Link) -> Result<Option<String>, PipelineError> {
        let (store, slot) = (&self.engine.store, self.options.slot);
        match self.behind.look(store, self.pool, &self.chain, head, slot).await? {
            Outlook::Good => Ok(None),
            Outlook::Wait(reason) => Ok(Some(reason)),
            Outlook::GiveUpJump => self.start_over().map(|()| None),
        }
    }

    /// Takes what is owed while something else is waited for. None where it was told to stop.
    async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> Result<Option<T>, PipelineError> {
        let mut other = std::pin::pin!(other);
        loop {
            let fetched = tokio::select! {
                biased;
                () = self.shutdown.requested() => return Ok(None),
                // The head goes first.
                outcome = &mut other => return Ok(Some(outcome)),
                fetched = self.backfill.next(&self.engine.store) => fetched?,
                fetched = self.traces.next(&self.engine.store), if self.backfill.is_idle() => {
                    self.traces.take(self.engine, fetched?).await?;
                    continue;
                }
                work = self.background.next(&self.engine.store), if self.backfill.is_idle() => {
                    self.background.take(self.engine, work?).await?;
                    continue;
                }
            };
            match self.backfill.take(self.engine, fetched).await {
                Ok(Progressed::Going) => {}
                Ok(Progressed::SpanDone) => {
                    // What is below the head's run is known now, and linked to it.
                    if let Some(tip) = self.chain.tip() {
                        self.chain = self.engine.store.canonical_window(tip.number)?;
                    }
                    self.followed = None;
                }
                Ok(Progressed::StartOver) => self.start_over()?,
                // Not from what is final: that the two sides differ says nothing of which of them is wrong.
                Err(PipelineError::TooDeep { number, hash, floor })
                    if self.engine.store.final_hash(floor)?.is_none() =>
                {
                    self.backfill.set_back(self.engine, BlockNumHash { number, hash }, floor).await?;
                }
                // The head that was jumped to, or what is owed, is of a chain that leaves out what is final.
                Err(PipelineError::TooDeep { number, hash, floor }) => {
                    if !self.engine.is_false_chain(self.pool, floor).await? {
                        return Err(PipelineError::TooDeep { number, hash, floor });
                    }
                    self.start_over()?;
                }
                Err(other) => return Err(other),
            }
            self.condition.backfill_waits(self.backfill.waits_for());
        }
    }

    /// Takes every block up to the head, in order, many in flight; jumps where the head is far, and owes what is between.
    async fn catch_up(&mut self, head: &Head) -> Result<(), PipelineError> {
        let (may_jump, head) = (head.may_jump, head.link);
        loop {
            if self.shutdown.is_requested() {
                return Ok(());
            }
            let next = match self.chain.step(&head) {
                Step::Gap { next } if may_jump && head.number - next >= JUMP => {
                    self.jump(next, head)?;
                    continue;
                }
                Step::Gap { next } => next,
                Step::Behind => return Ok(()),
                // Next in line, or the head of another fork.
                _ => return self.follow(head, None).await,
            };
            // Blocks up to just below the head, by number; each is proven apart and linked when its turn comes.
            let (pool, judge, shutdown) = (self.pool, self.judge, self.shutdown);
            let fetches = (next..head.number).map(|number| judge.fetch_near_head(pool, number));
            let mut blocks = futures_util::stream::iter(fetches).buffered(self.options.concurrency.max(1));
            loop {
                let fetched = tokio::select! {
                    fetched = blocks.next() => fetched,
                    () = shutdown.requested() => return Ok(()),
                };
                let (link, prepared) = match fetched {
                    Some(fetched) => fetched?,
                    None => break,
                };
                let expected = link.number;
                self.follow(link, Some(prepared)).await?;
                if self.chain.tip().map(|tip| tip.number) != Some(expected) {
                    // A reorg changed what comes next: what is in flight may be of the other fork.
                    break;
                }
            }
        }
    }

    /// Takes back a jump: the run that it began gives way, and what is owed is what comes next again.
    fn start_over(&mut self) -> Result<(), PipelineError> {
        let (next, blocks) = self.engine.store.start_over()?;
        tracing::warn!(
            next,
            orphaned = blocks,
            "what was jumped to is not of this chain: starting over from what is owed"
        );
        self.chain = match next.checked_sub(1) {
            Some(before) => self.engine.store.canonical_window(before)?,
            None => Canonical::default(),
        };
        if self.chain.tip().is_none() {
            self.chain = Canonical::starting_at(next);
        }
        self.followed = None;
        self.backfill.forget();
        Ok(())
    }

    /// A chain that leaves out what is final is an alarm and a stop, unless whoever told of it stands alone.
    async fn doubt(&self, outcome: Result<(), PipelineError>, head: &Head) -> Result<(), PipelineError> {
        let Err(PipelineError::TooDeep { number, hash, floor }) = outcome else { return outcome };
        if self.engine.store.final_hash(floor)?.is_none() {
            let host = &head.host;
            let reason = format!(
                "{host} shows a chain that departs from ours below block {floor}: further back than can be followed, and nothing \
                 there is final that would tell who is wrong"
            );
            return Err(SourceError::Unreachable(reason).into());
        }
        if self.engine.is_false_chain(self.pool, floor).await? {
            let reason = format!("{} shows a chain without our final block {floor}", head.host);
            return Err(SourceError::Unreachable(reason).into());
        }
        Err(PipelineError::TooDeep { number, hash, floor })
    }

    async fn follow(&mut self, link: Link, ready: Option<Prepared>) -> Result<(), PipelineError> {
        self.engine.follow(self.pool, self.judge, &mut self.chain, link, ready, Progress::Head).await.map(|_| ())
    }

    /// Alerts at the head do not wait for the past: what is between is owed, and taken in order beside it.
    fn jump(&mut self, next: u64, head: Link) -> Result<(), PipelineError> {
        tracing::info!(
            from = next,
            to = head.number - 1,
            "far behind the head: following it at once, catching up beside it"
        );
        self.engine.store.jump(next, head.number)?;
        // Blocks that a replay left just below are linked to; otherwise nothing is held there yet.
        let window = self.engine.store.canonical_window(head.number - 1)?;
        self.chain = if window.tip().is_some() { window } else { Canonical::starting_at(head.number) };
        self.backfill.wake();
        Ok(())
    }
}

/// What came of a task; never, where there is none.
async fn ended<T>(task: &mut Option<Task<T>>) -> Result<T, PipelineError> {
    let Some(running) = task else { return std::future::pending().await };
    let outcome = running.ended().await;
    *task = None;
    outcome
}

/// Endpoints that fail are tried again, and the failure is kept for `status`; an endpoint of another chain does not get better.
fn wait_for_better(error: SourceError, pool: &Pool, engine: &mut Engine<'_>) -> Result<(), PipelineError> {
    if !error.may_pass() {
        return Err(error.into());
    }
    tracing::warn!(%error, "waiting: nothing is skipped");
    for (host, error, at) in pool.take_errors() {
        engine.store.note_endpoint(host, None, None, Some(&error), at)?;
    }
    Ok(())
}

fn note_endpoints(engine: &mut Engine<'_>, pool: &Pool, host: &str, head: u64) -> Result<(), PipelineError> {
    for (name, error, at) in pool.take_errors() {
        engine.store.note_endpoint(name, None, None, Some(&error), at)?;
    }
    for (name, traces) in pool.hosts() {
        let head = (name == host).then_some(head);
        if head.is_some() || traces.is_some() {
            engine.store.note_endpoint(name, head, traces, None, now_ms() / 1000)?;
        }
    }
    Ok(())
}
