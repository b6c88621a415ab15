//! `bolo replay`.

use std::sync::Arc;

use super::args::{ReplayArgs, SendersArg};
use super::explain::adopt_rules;
use super::live::{CommitPrinter, OUTPUT_CLOSED, run_with_reader};
use super::progress::Progress;
use super::range_end::{self, RangeEnd};
use super::sources::{BlockArg, SourceSettings, announce, in_order, is_there};
use super::{Context, Failure};
use crate::chain::Proof;
use crate::ops::{Shutdown, StopReason};
use crate::pipeline::{
    Engine, FilteredOutcome, Judge, LookbackOutcome, ReplayOptions, ReplayOutcome, filterable, look_back,
    look_back_in_archive, replay_archive, replay_endpoints, replay_filtered, replay_missing_traces,
};
use crate::source::TraceMode;
use crate::source::archive::Archive;
use crate::store::{Store, TraceBacklog};

/// Rounds over the endpoints for one thing before giving up: about 30 seconds.
const ROUNDS: u32 = 7;

pub(super) async fn run(context: &Context, args: ReplayArgs, shutdown: &Shutdown) -> Result<u8, Failure> {
    let json = args.json;
    run_with_reader(&context.db, "replay", json, shutdown, replay(context, args, shutdown)).await
}

/// The exit code of a replay that reached its end, or was stopped before.
fn code(stopped: bool, shutdown: &Shutdown) -> u8 {
    shutdown.reason().filter(|_| stopped).map_or(0, StopReason::exit_code)
}

async fn replay(context: &Context, args: ReplayArgs, shutdown: &Shutdown) -> Result<u8, Failure> {
    let settings = SourceSettings { raw: true, ..SourceSettings::new(context, &args.source)? };
    let from = args.from_block.as_deref().map(RangeEnd::parse).transpose()?;
    let to = args.to_block.as_deref().map(RangeEnd::parse).transpose()?;
    let options = ReplayOptions { concurrency: settings.concurrency, traces: settings.traces };
    if args.filtered {
        may_filter(&args)?;
    }
    let senders = args.senders.unwrap_or(SendersArg::All);
    let indexes = args.lookback_index || context.config.lookback_index == Some(true);
    if let Some(path) = &args.archive {
        refuse_endpoints(&args.source.rpc_url)?;
        let archive = Archive::open(path)?;
        if let [first, ..] = archive.left_out() {
            let first = first.display().to_string();
            tracing::warn!(
                files = archive.left_out().len(),
                first,
                "left out of the folder: no archives by their names"
            );
        }
        let chain_id = match settings.chain_id {
            Some(chain_id) => Some(chain_id),
            None => Archive::open(path)?.chain_id()?,
        };
        let range = range_end::range_of_archive(path, from, to)?;
        let (lock, store) = open(context, shutdown)?;
        let chain_id = chain_id.or(store.chain_id()?).unwrap_or_else(|| {
            tracing::warn!(
                "the archive does not tell its chain: taken for Ethereum's mainnet (--chain says otherwise)"
            );
            1
        });
        let mut printer = CommitPrinter::new(args.json, chain_id);
        printer.quiet = true;
        printer.progress = Some(Progress::new(None, archive.received()));
        let mut engine = Engine::new(store, chain_id, &mut printer)?;
        engine.store.vouch(&settings.checkpoints)?;
        announce(engine.watched(), &settings, chain_id);
        let judge = settings.judge(chain_id).proving(senders.into()).indexing(indexes);
        let whole = (range.0.unwrap_or(0), range.1.unwrap_or(i64::MAX as u64));
        say_kept(&engine.store, &judge, whole)?;
        if args.new_entries {
            let before = engine.store.block_coverage(whole.0, whole.1)?.traces;
            let outcome = look_back_in_archive(&mut engine, archive, &judge, whole, options, shutdown).await?;
            engine.store.put_checkpoints(&settings.checkpoints)?;
            say_lost_traces(&engine.store, whole, before)?;
            finish_looking_back(&mut printer, outcome);
            drop(lock);
            return Ok(code(outcome.stopped, shutdown));
        }
        let outcome = replay_archive(&mut engine, archive, &judge, range, options, shutdown).await?;
        // Not before: there is no endpoint that would have shown a mistaken one.
        engine.store.put_checkpoints(&settings.checkpoints)?;
        finish(&mut printer, outcome);
        drop(lock);
        if outcome.taken + outcome.skipped == 0 && !outcome.stopped {
            let lacks = if outcome.outside > 0 { "no block of this range" } else { "no block" };
            return Err(Failure::input(format!("{} holds {lacks}: nothing was read", path.display())));
        }
        if outcome.holes > 0 {
            tracing::warn!(blocks = outcome.holes, "not in the archive, and not seen by this replay");
        }
        return Ok(code(outcome.stopped, shutdown));
    }
    let whole_range = !args.holes && !args.new_entries;
    if whole_range && from.is_none() {
        return Err(Failure::input("replay needs --from-block, --holes, --new-entries, or --archive FILE"));
    }
    // What may still be replaced is for a watch.
    let to = to.or(whole_range.then_some(RangeEnd::Block(BlockArg::Tag("finalized"))));
    if let (Some(from), Some(to)) = (from.and_then(RangeEnd::number), to.and_then(RangeEnd::number)) {
        in_order(from, to)?;
    }
    let (lock, mut store) = open(context, shutdown)?;
    let addresses = match args.filtered {
        true => Some(filterable(&store.watchlist()?).map_err(Failure::input)?),
        false => None,
    };
    let extent = store.extent()?;
    // What was reverted is missing as well.
    let reverted = if args.holes { store.reverted()? } else { None };
    let extent = extent.into_iter().chain(reverted).reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
    let (Some(from), Some(to)) = (
        from.or(extent.map(|(first, _)| RangeEnd::Block(BlockArg::Number(first)))),
        to.or(extent.map(|(_, last)| RangeEnd::Block(BlockArg::Number(last)))),
    ) else {
        return Err(Failure::input(
            "the database holds no block yet, so it has no holes and nothing to look back at: name --from-block and --to-block",
        ));
    };
    let pool = tokio::select! {
        pool = settings.connect(ROUNDS, Some(&mut store)) => Arc::new(pool?),
        () = shutdown.requested() => return Ok(code(true, shutdown)),
    };
    let range = range_end::range(&pool, from, to).await?;
    // What is held above the head of an endpoint that lags waits.
    let range = match (args.new_entries || args.holes) && args.to_block.is_none() {
        true => (range.0, range.1.min(pool.head().await?.link.number)),
        false => range,
    };
    is_there(&pool, range.1).await?;
    let chain_id = pool.chain_id();
    let spans = match (args.holes, args.new_entries) {
        (true, _) => holes(&store, range, settings.traces)?,
        (_, true) => {
            let behind = store.screened_otherwise(range.0, range.1)?;
            behind.iter().map(|ledger| (ledger.range.from, ledger.range.to)).collect()
        }
        _ => vec![range],
    };
    let mut printer = CommitPrinter::new(args.json, chain_id);
    printer.quiet = true;
    let blocks = spans.iter().map(|(from, to)| to - from + 1).sum();
    printer.progress = Some(Progress::new(Some(blocks), pool.received()));
    let mut engine = Engine::new(store, chain_id, &mut printer)?;
    engine.store.put_checkpoints(&settings.checkpoints)?;
    announce(engine.watched(), &settings, chain_id);
    let judge = settings.judge(chain_id).proving(senders.into()).indexing(indexes);
    say_kept(&engine.store, &judge, range)?;
    if context.config.quorum.is_some_and(|quorum| quorum > 1) {
        tracing::info!(
            "quorum is for the head that `watch` follows: a replay asks one endpoint, and proves what it says"
        );
    }
    if args.holes {
        tracing::info!(holes = spans.len(), from = range.0, to = range.1, "filling the holes of the ledger");
    }
    if let Some(addresses) = addresses {
        tracing::warn!(
            addresses = addresses.len(),
            endpoints = settings.endpoints.len(),
            "--filtered: your watchlist is disclosed to the endpoints, which are asked for its addresses"
        );
        let outcome = replay_filtered(&mut engine, &pool, &judge, &addresses, range, options, shutdown).await?;
        finish_filtered(&mut printer, outcome);
        drop(lock);
        return Ok(code(outcome.replayed.stopped, shutdown));
    }
    if args.new_entries {
        let before = engine.store.block_coverage(range.0, range.1)?.traces;
        let outcome = look_back(&mut engine, &pool, &judge, range, options, shutdown).await?;
        say_lost_traces(&engine.store, range, before)?;
        finish_looking_back(&mut printer, outcome);
        drop(lock);
        return Ok(code(outcome.stopped, shutdown));
    }
    let mut sum = ReplayOutcome::default();
    for span in spans {
        let outcome = replay_endpoints(&mut engine, &pool, &judge, span, options, shutdown).await?;
        sum.add(outcome);
        if outcome.stopped {
            break;
        }
    }
    if !sum.stopped {
        let again = replay_missing_traces(&mut engine, &pool, &judge, range, options, shutdown).await?;
        sum.stopped |= again.stopped;
    }
    say_missing_traces(&engine.store)?;
    finish(&mut printer, sum);
    drop(lock);
    Ok(code(sum.stopped, shutdown))
}

/// Warns of blocks that had traces and were read again without. What their traces showed was screened by the older lists only.
fn say_lost_traces(store: &Store, (from, to): (u64, u64), before: u64) -> Result<(), Failure> {
    let lost = before.saturating_sub(store.block_coverage(from, to)?.traces);
    if lost > 0 {
        tracing::warn!(
            blocks = lost,
            "read again without the traces that they had: their internal transfers count as not seen by the present lists; \
             `bolo replay --holes --traces require` brings the traces back from an endpoint that has them"
        );
    }
    Ok(())
}

/// Blocks of a range that are not held, or lack traces that are wanted: with `--traces require` every block without, else those of
/// the backlog.
fn holes(store: &Store, (from, to): (u64, u64), traces: TraceMode) -> Result<Vec<(u64, u64)>, Failure> {
    let mut spans = store.holes(from, to)?;
    match traces {
        TraceMode::Off => {}
        TraceMode::Auto => spans.extend(store.backlog_spans(from, to, true)?),
        TraceMode::Require => spans.extend(store.without_traces(from, to)?),
    }
    spans.sort_unstable();
    Ok(spans)
}

/// Says that blocks are held without their traces.
fn say_missing_traces(store: &Store) -> Result<(), Failure> {
    if let Some(TraceBacklog { blocks, first, last, pruned, detail, .. }) = store.trace_backlog()? {
        tracing::warn!(
            blocks,
            first,
            last,
            pruned,
            last_reason = detail,
            "traces are missing: internal transfers of these blocks may be. `bolo watch` asks again, `bolo replay --holes --traces require` \
             asks now"
        );
    }
    Ok(())
}

/// What a filter cannot be together with.
fn may_filter(args: &ReplayArgs) -> Result<(), Failure> {
    let with = [
        (args.archive.is_some(), "--archive: an archive is read, there is nobody to ask"),
        (args.holes, "--holes: what is filtered is still a hole, so that none would be filled"),
        (args.senders.is_some(), "--senders: of the blocks that are read, all senders are proven"),
    ];
    match with.into_iter().find(|(given, _)| *given) {
        Some((_, other)) => Err(Failure::input(format!("--filtered does not go with {other}"))),
        None => Ok(()),
    }
}

fn open(context: &Context, shutdown: &Shutdown) -> Result<(crate::store::WriterLock, Store), Failure> {
    super::say_where_new(context);
    let lock = Store::lock_for_writing(&context.db)?;
    let mut store = Store::open_locked(&context.db, false, &lock)?;
    store.give_up_when(shutdown.flag());
    // Of an earlier replay: this one has a reader again, or needs none.
    store.forget_stop(OUTPUT_CLOSED, "replay")?;
    adopt_rules(context, &mut store)?;
    Ok((lock, store))
}

/// An archive is read without asking anybody. Endpoints of the environment or of bolo.toml are left alone; one that is named with it
/// would be without effect.
fn refuse_endpoints(given: &[String]) -> Result<(), Failure> {
    let of_environment = std::env::var("ETH_RPC_URL").unwrap_or_default();
    if given.iter().all(String::is_empty) || given.join(",") == of_environment {
        return Ok(());
    }
    Err(Failure::input("--archive reads recorded blocks and asks no endpoint: leave out --rpc-url, or --archive"))
}

/// What is proven does not give way to what is taken on trust: then it stays screened as it was, which is said.
fn say_kept(store: &Store, judge: &Judge, (from, to): (u64, u64)) -> Result<(), Failure> {
    if judge.proof() == Proof::Proven {
        return Ok(());
    }
    let now = (store.watch_revision()?, judge.decoder());
    let ledger = store.ledger(from, to)?;
    let kept = ledger.iter().filter(|held| held.range.proven && (held.watch_revision, held.decoder) != now);
    let blocks: u64 = kept.map(|held| held.range.to - held.range.from + 1).sum();
    if blocks > 0 {
        tracing::warn!(
            blocks,
            "held proven, by other lists or another decoder: they stay as they are, and are not screened again on trust (a replay without \
             --trust-rpc does)"
        );
    }
    Ok(())
}

fn finish_looking_back(printer: &mut CommitPrinter, outcome: LookbackOutcome) {
    if let Some(progress) = printer.progress.take() {
        progress.finish();
    }
    let LookbackOutcome { held, behind, ruled_out, read, alerts, left, stopped } = outcome;
    let begin = if stopped { "look-back stopped before its end: run it again to go on" } else { "look-back done" };
    let found = if alerts == 0 { "no new alerts".to_owned() } else { printer.summary() };
    tracing::info!(
        "{begin}; of {held} {} held, {behind} were screened by older lists: {ruled_out} ruled out by their time, alerts or index, {read} read again, \
         {left} left; {found}",
        blocks(held)
    );
    if left > 0 && !stopped {
        tracing::warn!(
            left,
            "these blocks were not to be had, or are held proven and not read on trust: they are still screened by older lists only"
        );
    }
}

fn finish_filtered(printer: &mut CommitPrinter, outcome: FilteredOutcome) {
    let FilteredOutcome { replayed, passed_over, filtered_before, unanswered } = outcome;
    finish(printer, ReplayOutcome { holes: passed_over + filtered_before, ..replayed });
    if unanswered > 0 {
        tracing::info!(blocks = unanswered, "read whole, since too much was in them for the filter");
    }
    if passed_over + filtered_before > 0 {
        tracing::warn!(
            passed_over,
            filtered_before,
            "the blocks passed over are unproven, and missing in the ledger (bolo status --coverage): by the endpoints' word nothing in \
             them touches the list, as far as a filter sees"
        );
    }
}

fn finish(printer: &mut CommitPrinter, outcome: ReplayOutcome) {
    if let Some(progress) = printer.progress.take() {
        progress.finish();
    }
    printer.say_own();
    let ReplayOutcome { taken, skipped, outside, holes, stopped } = outcome;
    let mut parts = vec![format!("{taken} {} committed", blocks(taken)), format!("{skipped} already held")];
    for (count, what) in [(outside, "outside the range"), (holes, "missing")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let parts = parts.join(", ");
    let begin = if stopped { "replay stopped before its end: run it again to go on" } else { "replay done" };
    tracing::info!("{begin}; {parts}; {}", printer.summary());
}

fn blocks(count: u64) -> &'static str {
    if count == 1 { "block" } else { "blocks" }
}
