//! `bolo record`.

use std::path::Path;
use std::sync::Arc;

use super::args::RecordArgs;
use super::progress::Progress;
use super::sources::{BlockArg, SourceSettings, in_order, is_there};
use super::{Context, Failure};
use crate::ops::{Shutdown, StopReason};
use crate::pipeline::record;
use crate::source::archive::ArchiveWriter;

const ROUNDS: u32 = 7;

pub(super) async fn run(context: &Context, args: RecordArgs, shutdown: &Shutdown) -> Result<u8, Failure> {
    let settings = SourceSettings::new(context, &args.source)?;
    let (from, to) = (BlockArg::parse(&args.from_block)?, BlockArg::parse(&args.to_block)?);
    if let (BlockArg::Number(from), BlockArg::Number(to)) = (from, to) {
        in_order(from, to)?;
    }
    let to_stdout = args.out == Path::new("-");
    if args.out.is_dir() {
        return Err(Failure::input(format!("--out {} is a folder: name a file in it", args.out.display())));
    }
    // Before anything is asked of anybody.
    if !to_stdout && !args.force && args.out.symlink_metadata().is_ok() {
        let out = args.out.display();
        return Err(Failure::input(format!("{out} is there already: name another file, or replace it with --force")));
    }
    let stopped = || shutdown.reason().map_or(0, StopReason::exit_code);
    let pool = tokio::select! {
        pool = settings.connect(ROUNDS, None) => Arc::new(pool?),
        () = shutdown.requested() => return Ok(stopped()),
    };
    let range = in_order(from.at(&pool).await?, to.at(&pool).await?)?;
    is_there(&pool, range.1).await?;
    let judge = settings.judge(pool.chain_id());
    let writer = match to_stdout {
        true => ArchiveWriter::to_stream(Box::new(std::io::stdout())),
        false => ArchiveWriter::create(&args.out, args.force)?,
    };
    let mut progress = Progress::new(Some(range.1 - range.0 + 1), pool.received());
    let recorded = record(&pool, &judge, range, writer, settings.concurrency, shutdown, |_| progress.block(0)).await?;
    progress.finish();
    match recorded {
        Some(blocks) => tracing::info!(blocks, file = %args.out.display(), "recorded"),
        None => {
            tracing::warn!("stopped before the end: the recording is not whole");
            return Ok(stopped());
        }
    }
    Ok(0)
}
