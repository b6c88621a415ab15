//! `bolo watch`.

use std::sync::Arc;
use std::time::Duration;

use super::args::WatchArgs;
use super::explain::adopt_rules;
use super::live::{CommitPrinter, run_with_reader};
use super::range_end::RangeEnd;
use super::sources::{SourceSettings, announce};
use super::{Context, Failure};
use crate::config::{chain_facts, parse_seconds};
use crate::ops::Shutdown;
use crate::pipeline::{Engine, PipelineError, WatchOptions, watch};
use crate::store::Store;

/// The problem of a watch that ended by itself.
const STOPPED: &str = "stopped";
/// Where blocks come faster, silence is measured by this all the same.
const SHORTEST_SLOT: Duration = Duration::from_secs(1);
/// Ethereum's.
const USUAL_SLOT: Duration = Duration::from_secs(12);
/// Rounds over the endpoints for one thing before the head is looked at again.
const ROUNDS: u32 = 3;

pub(super) async fn run(context: &Context, args: WatchArgs, shutdown: &Shutdown) -> Result<u8, Failure> {
    let json = args.json;
    run_with_reader(&context.db, "watch", json, shutdown, follow(context, args, shutdown)).await
}

async fn follow(context: &Context, args: WatchArgs, shutdown: &Shutdown) -> Result<u8, Failure> {
    let mut settings = SourceSettings::new(context, &args.source)?;
    settings.quorum = args.quorum.or(context.config.quorum).unwrap_or(1);
    if settings.quorum == 0 {
        return Err(Failure::input("--quorum 0: write how many endpoints must agree, 1 or more"));
    }
    let from_block = args.from_block.as_deref().map(RangeEnd::parse).transpose()?;
    let poll = args.poll_interval.or(context.config.poll_interval);
    let poll = poll.map(|seconds| parse_seconds("poll-interval", seconds)).transpose().map_err(Failure::input)?;
    let slot = args.slot.or(context.config.slot);
    let slot = slot.map(|seconds| parse_seconds("slot", seconds)).transpose().map_err(Failure::input)?;
    super::say_where_new(context);
    let lock = Store::lock_for_writing(&context.db)?;
    let mut store = Store::open_locked(&context.db, true, &lock)?;
    store.give_up_when(shutdown.flag());
    adopt_rules(context, &mut store)?;
    let pool = tokio::select! {
        pool = settings.connect(ROUNDS, Some(&mut store)) => pool,
        () = shutdown.requested() => return Ok(0),
    };
    let pool = match pool {
        Ok(pool) => Arc::new(pool),
        Err(failure) => {
            // A watch that cannot begin is to be seen in `status`, not only in a log.
            store.note_stop(Some((STOPPED, "watch", &failure.message)))?;
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
            // A watch that goes on begins with the block after its last one, whatever the time.
            Some(RangeEnd::Time(..)) if store.watch_tip()?.is_some() => None,
            Some(block) => Some(block.first(&pool).await?),
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
    let outcome = watch(&mut engine, &pool, &judge, &options, shutdown).await;
    if let Err(error) = &outcome
        && !matches!(error, PipelineError::Output(_))
    {
        // On a full disk even this fails, which is then said anyway.
        let _ = engine.store.note_stop(Some((STOPPED, "watch", &error.to_string())));
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
