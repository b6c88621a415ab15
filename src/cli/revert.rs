//! `bolo revert`: the operator's way out where blocks of a false chain were taken, be it that they are final here.

use alloy::eips::BlockNumHash;
use clap::Args;
use jiff::Timestamp;

use super::sources::{BlockArg, checkpoint};
use super::{Context, Failure};
use crate::store::{Store, StoreError};

/// `bolo revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    /// The highest block to keep: every block above it is dropped, final or not, unless a checkpoint vouches for one of them
    #[arg(long, value_name = "BLOCK")]
    above: String,
    /// Why, in your words: it is kept with the time, and `bolo status` shows it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(context: &Context, args: &RevertArgs) -> Result<u8, Failure> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err(Failure::input("--reason is empty: say why, for those who read `bolo status`"));
    }
    let above = BlockArg::parse(&args.above)?;
    let vouched: Vec<BlockNumHash> =
        context.config.checkpoints.iter().map(|text| checkpoint(text)).collect::<Result<_, _>>()?;
    if !context.db.exists() {
        return Err(StoreError::Missing(context.db.clone()).into());
    }
    let lock = Store::lock_for_writing(&context.db)?;
    let mut store = Store::open_locked(&context.db, true, &lock)?;
    let above = above.stored(&store)?;
    let done = store.revert_above(above, reason, &vouched, Timestamp::now().as_second())?;
    drop(lock);
    match done.range {
        None if done.filtered > 0 => tracing::warn!(
            above,
            filtered = done.filtered,
            "no block above is held: what endpoints' filters said of blocks above was dropped (`bolo replay --filtered` asks again)"
        ),
        None => tracing::info!(above, "no block above is held: nothing was dropped"),
        Some((from, to)) => tracing::warn!(
            above,
            blocks = done.blocks,
            of_them_final = done.final_blocks,
            alerts_orphaned = done.alerts,
            filtered = done.filtered,
            from,
            to,
            "blocks dropped: `bolo watch` takes what follows, `bolo replay --from-block {from} --to-block {to}` the range"
        ),
    }
    Ok(0)
}
