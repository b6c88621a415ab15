//! `bolo watch`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::alert_json::{AlertJson, ChainWords};
use super::args::WatchArgs;
use super::explain::adopt_rules;
use super::progress::Progress;
use super::sources::{BlockArg, SourceSettings, announce};
use super::{Context, Failure};
use crate::chain::canonical::Link;
use crate::config::{chain_facts, parse_seconds};
use crate::ops::Shutdown;
use crate::pipeline::{Engine, Observer, PipelineError, WatchOptions, watch};
use crate::screen::TriageClass;
use crate::store::{Access, AlertFilter, Committed, Order, Store};

/// Where blocks come faster, silence is measured by this all the same.
const SHORTEST_SLOT: Duration = Duration::from_secs(1);
/// Ethereum's.
const USUAL_SLOT: Duration = Duration::from_secs(12);
/// Rounds over the endpoints for one thing before the head is looked at again.
const ROUNDS: u32 = 3;

pub(super) async fn run(context: &Context, args: WatchArgs) -> Result<u8, Failure> {
    let mut settings = SourceSettings::new(context, &args.source)?;
    settings.quorum = args.quorum.or(context.config.quorum).unwrap_or(1);
    if settings.quorum == 0 {
        return Err(Failure::input("--quorum 0: write how many endpoints must agree, 1 or more"));
    }
    let from_block = args.from_block.as_deref().map(BlockArg::parse).transpose()?;
    let poll = args.poll_interval.or(context.config.poll_interval);
    let poll = poll.map(|seconds| parse_seconds("poll-interval", seconds)).transpose().map_err(Failure::input)?;
    let slot = args.slot.or(context.config.slot);
    let slot = slot.map(|seconds| parse_seconds("slot", seconds)).transpose().map_err(Failure::input)?;
    let lock = Store::lock_for_writing(&context.db)?;
    let mut store = Store::open(&context.db, Access::Write { durable: true })?;
    adopt_rules(context, &mut store)?;
    let shutdown = Shutdown::on_signals()?;
    let pool = tokio::select! {
        pool = settings.connect(ROUNDS, Some(&mut store)) => pool,
        () = shutdown.requested() => return Ok(0),
    };
    let pool = match pool {
        Ok(pool) => Arc::new(pool),
        Err(failure) => {
            // A watch that cannot begin is to be seen in `status`, not only in a log.
            store.note_stop(Some(&failure.message))?;
            return Err(failure);
        }
    };
    let chain_id = pool.chain_id();
    let slot = slot.or(chain_facts(chain_id).block_time).map(|slot| slot.max(SHORTEST_SLOT));
    if let Some(slot) = slot {
        pool.set_slot(slot);
    }
    let indexes = args.lookback_index || context.config.lookback_index == Some(true);
    let judge = settings.judge(chain_id).indexing(indexes);
    let options = WatchOptions {
        from_block: match from_block {
            Some(block) => Some(block.at(&pool).await?),
            None => None,
        },
        poll_interval: poll.unwrap_or_else(|| default_poll(chain_id, slot)),
        concurrency: settings.concurrency,
        auto_lookback: args.auto_lookback || context.config.auto_lookback == Some(true),
        slot: slot.unwrap_or(USUAL_SLOT),
        show: |state| super::endpoints::as_json(state).to_string(),
    };
    let mut printer = CommitPrinter::new(args.json, chain_id);
    let mut engine = Engine::new(store, chain_id, &mut printer)?;
    engine.store.put_checkpoints(&settings.checkpoints)?;
    announce(engine.watched(), &settings, chain_id);
    engine.store.note_stop(None)?;
    let outcome = watch(&mut engine, &pool, &judge, &options, &shutdown).await;
    if let Err(error) = &outcome
        && !matches!(error, PipelineError::Output(_))
    {
        // On a full disk even this fails, which is then said anyway.
        let _ = engine.store.note_stop(Some(&error.to_string()));
    }
    outcome?;
    drop(engine);
    printer.say_own();
    drop(lock);
    Ok(0)
}

/// Often enough to be early and to find out a silent death within three slots, seldom enough for public endpoints.
fn default_poll(chain_id: u64, slot: Option<Duration>) -> Duration {
    let block_time = chain_facts(chain_id).block_time.unwrap_or(Duration::from_millis(500));
    let in_time = slot.map_or(Duration::MAX, |slot| slot / 3);
    block_time.min(in_time).clamp(Duration::from_millis(250), Duration::from_secs(1))
}

/// Tells of commits: each new alert as a JSON line where that is wanted, a line in the log otherwise.
pub(super) struct CommitPrinter {
    json: bool,
    chain: ChainWords,
    /// Moved on at each block.
    pub(super) progress: Option<Progress>,
    /// Says nothing of single blocks.
    pub(super) quiet: bool,
    /// What touched own wallets alone: stored, and not told of one by one.
    own: usize,
}

impl CommitPrinter {
    pub(super) fn new(json: bool, chain_id: u64) -> Self {
        Self { json, chain: ChainWords::of(chain_id), progress: None, quiet: false, own: 0 }
    }

    /// Says at the end what was not told of.
    pub(super) fn say_own(&self) {
        if self.own > 0 {
            tracing::info!(
                own = self.own,
                "stored and left out: what touches own wallets alone (bolo query --triage own)"
            );
        }
    }
}

impl Observer for CommitPrinter {
    fn committed(&mut self, store: &Store, link: &Link, committed: &Committed) -> std::io::Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.block(committed.new_alerts.len());
        }
        self.own += committed.own;
        tracing::debug!(block = link.number, hash = %link.hash, alerts = committed.new_alerts.len(), "block taken");
        if committed.new_alerts.is_empty() || self.quiet {
            return Ok(());
        }
        tracing::info!(block = link.number, alerts = committed.new_alerts.len(), "new alerts");
        if !self.json {
            return Ok(());
        }
        let filter = AlertFilter {
            from_block: Some(link.number),
            to_block: Some(link.number),
            rows: Some(committed.new_alerts.clone()),
            any_status: true,
            triage: TriageClass::ALL.iter().map(|(class, _)| *class).collect(),
            order: Order::Ascending,
            ..AlertFilter::default()
        };
        let mut out = std::io::stdout().lock();
        let printed = store.each_alert::<Failure>(&filter, |row| {
            out.write_all(&AlertJson::new(&row, &self.chain).line()?)?;
            Ok(())
        });
        match printed {
            Ok(_) => out.flush(),
            Err(failure) if failure.code == 0 => Err(std::io::ErrorKind::BrokenPipe.into()),
            Err(failure) => Err(std::io::Error::other(failure.message)),
        }
    }

    fn skipped(&mut self, _number: u64) {
        if let Some(progress) = &mut self.progress {
            progress.blocks(1);
        }
    }

    fn not_read(&mut self, blocks: u64) {
        if let Some(progress) = &mut self.progress {
            progress.not_read(blocks);
        }
    }
}
