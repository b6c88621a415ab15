//! `bolo record`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::RecordArgs;
use super::progress::Progress;
use super::range_end::{self, RangeEnd};
use super::sources::{SourceSettings, in_order, is_there};
use super::{Context, Failure};
use crate::ops::{Shutdown, StopReason};
use crate::pipeline::record;
use crate::source::archive::ArchiveWriter;
use crate::store::is_of_database;

const ROUNDS: u32 = 7;

/// Standard output, which remembers that its reader went away.
struct Stdout {
    closed: Arc<AtomicBool>,
}

impl Stdout {
    fn noting<T>(&self, outcome: std::io::Result<T>) -> std::io::Result<T> {
        outcome.inspect_err(|error| {
            self.closed.fetch_or(error.kind() == std::io::ErrorKind::BrokenPipe, Ordering::Relaxed);
        })
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.noting(std::io::stdout().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.noting(std::io::stdout().flush())
    }
}

pub(super) async fn run(context: &Context, args: RecordArgs, shutdown: &Shutdown) -> Result<u8, Failure> {
    let settings = SourceSettings::new(context, &args.source)?;
    let (from, to) = (RangeEnd::parse(&args.from_block)?, RangeEnd::parse(&args.to_block)?);
    if let (Some(from), Some(to)) = (from.number(), to.number()) {
        in_order(from, to)?;
    }
    let to_stdout = args.out == Path::new("-");
    let there = std::fs::metadata(&args.out).ok();
    if is_of_database(&args.out, &context.db) {
        return Err(Failure::input(format!("--out {} is of the database: name another file", args.out.display())));
    }
    if there.is_some_and(|there| !there.is_file() && !there.is_dir()) {
        let out = args.out.display();
        return Err(Failure::input(format!(
            "--out {out} is no regular file: name another file, or - for standard output"
        )));
    }
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
    let range = range_end::range(&pool, from, to).await?;
    is_there(&pool, range.1).await?;
    let judge = settings.judge(pool.chain_id());
    let closed = Arc::new(AtomicBool::new(false));
    let writer = match to_stdout {
        true => ArchiveWriter::to_stream(Box::new(Stdout { closed: closed.clone() })),
        false => ArchiveWriter::create(&args.out, args.force)?,
    };
    let mut progress = Progress::new(Some(range.1 - range.0 + 1), pool.received());
    let recorded = record(&pool, &judge, range, writer, settings.concurrency, shutdown, |_| progress.block(0)).await;
    progress.finish();
    let recorded = match recorded {
        // A reader that has enough is no error.
        Err(_) if closed.load(Ordering::Relaxed) => return Ok(0),
        other => other?,
    };
    match recorded {
        Some(blocks) => tracing::info!(blocks, file = %args.out.display(), "recorded"),
        None => {
            tracing::warn!("stopped before the end: the recording is not whole");
            return Ok(stopped());
        }
    }
    Ok(0)
}
