//! Recording: blocks of a range into an archive, as the endpoint answered, proven before they are written.

use std::sync::Arc;

use futures_util::StreamExt;

use super::fetch::numbered;
use super::{Judge, PipelineError};
use crate::chain::canonical::Link;
use crate::ops::Shutdown;
use crate::source::Pool;
use crate::source::archive::ArchiveWriter;

/// Writes the blocks of a range, both ends included; `each` is told of every one. Returns how many there are; none where it was
/// told to stop, and then there is no file.
///
/// # Errors
/// [`PipelineError`]; the file appears only when it is whole.
pub async fn record(
    pool: &Arc<Pool>,
    judge: &Judge,
    (from, to): (u64, u64),
    mut writer: ArchiveWriter,
    concurrency: usize,
    shutdown: &Shutdown,
    mut each: impl FnMut(u64),
) -> Result<Option<u64>, PipelineError> {
    let fetches = (from..=to).map(|number| {
        numbered(pool, number, async move |link| {
            let raw = pool
                .bundle(number, link.hash, async |raw| {
                    judge.judge_apart(raw.clone(), Some(link.hash)).await.map(|_| raw)
                })
                .await?;
            Ok::<_, PipelineError>((link, raw))
        })
    });
    let mut blocks = futures_util::stream::iter(fetches).buffered(concurrency.max(1));
    let mut before: Option<Link> = None;
    let mut count = 0;
    loop {
        let fetched = tokio::select! {
            fetched = blocks.next() => fetched,
            () = shutdown.requested() => return Ok(None),
        };
        let Some(fetched) = fetched else { break };
        let (link, raw) = fetched?;
        if before.is_some_and(|before| before.hash != link.parent_hash) {
            return Err(PipelineError::NotLinked { number: link.number, hash: link.hash });
        }
        writer.write(&raw)?;
        before = Some(link);
        count += 1;
        each(link.number);
    }
    writer.finish()?;
    Ok(Some(count))
}
