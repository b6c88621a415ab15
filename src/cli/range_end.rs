//! An end of the range of blocks that `replay`, `record` and `watch` read: a block, or a time that picks one.

use std::path::Path;

use super::Failure;
use super::moments::parse_span;
use super::sources::{BlockArg, in_order};
use crate::lists::show_date;
use crate::source::archive::Archive;
use crate::source::{BlockTime, PickedBlock, Pool};

/// A block, or the first and the last second of the time that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeEnd {
    Block(BlockArg),
    Time(i64, i64),
}

impl RangeEnd {
    /// What [`BlockArg`] takes, RFC 3339, a date (the whole day in UTC), or an age. Where a text is both, it is a block: `30m` is
    /// 30 million.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let no_block = match BlockArg::parse(text) {
            Ok(block) => return Ok(Self::Block(block)),
            Err(failure) => failure,
        };
        match parse_span(text) {
            Ok((first, last)) => Ok(Self::Time(first, last)),
            Err(_) if no_block.message.contains("too high") => Err(no_block),
            Err(_) => Err(Failure::input(format!(
                "{}; or a time: 2025-02-21, 2025-02-21T14:00:00Z, 12h, 7d",
                no_block.message
            ))),
        }
    }

    /// The number, where one was named.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Block(BlockArg::Number(number)) => Some(number),
            Self::Block(BlockArg::Tag(_)) | Self::Time(..) => None,
        }
    }

    /// As the first block of a range: where it is a time, the first block that is not before it.
    pub(super) async fn first(self, pool: &Pool) -> Result<u64, Failure> {
        let time = match self {
            Self::Block(block) => return block.at(pool).await,
            Self::Time(first, _) => first,
        };
        match pool.first_block_since(time).await? {
            PickedBlock::Found(block) => Ok(say_first(block)),
            PickedBlock::Nearest(newest) => Err(Failure::input(format!(
                "--from-block {}: no block is of that time yet; the newest is {}",
                show_date(time),
                shown(newest)
            ))),
        }
    }

    /// As the last block of a range: where it is a time, the last block that is not after it, or the newest.
    pub(super) async fn last(self, pool: &Pool) -> Result<u64, Failure> {
        let time = match self {
            Self::Block(block) => return block.at(pool).await,
            Self::Time(_, last) => last,
        };
        match pool.last_block_until(time).await? {
            PickedBlock::Found(block) => Ok(say_last(block)),
            PickedBlock::Nearest(first) if first.seconds() > time => Err(Failure::input(format!(
                "--to-block {}: no block is that old; the first is {}",
                show_date(time),
                shown(first)
            ))),
            PickedBlock::Nearest(newest) => {
                tracing::warn!(
                    "the chain does not reach the end of the time that --to-block names ({}): what comes later is not replayed or recorded",
                    show_date(time)
                );
                Ok(say_last(newest))
            }
        }
    }
}

/// Both ends of a range, as the endpoints see the chain now.
pub(super) async fn range(pool: &Pool, from: RangeEnd, to: RangeEnd) -> Result<(u64, u64), Failure> {
    ordered((from, to), from.first(pool).await?, to.last(pool).await?)
}

/// Both ends of the range of an archive; none where all of it is meant. Times pick among its blocks, for which it is read once more.
pub(super) fn range_of_archive(
    path: &Path,
    from: Option<RangeEnd>,
    to: Option<RangeEnd>,
) -> Result<(Option<u64>, Option<u64>), Failure> {
    let time = |end: Option<RangeEnd>| match end {
        Some(RangeEnd::Time(first, last)) => Some((first, last)),
        _ => None,
    };
    let (since, until) = (time(from).map(|(first, _)| first), time(to).map(|(_, last)| last));
    let picked = match since.or(until) {
        Some(_) => Archive::open(path)?.blocks_of_time(since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX))?,
        None => Default::default(),
    };
    let none = |side: &str, time: i64| {
        let (path, time) = (path.display(), show_date(time));
        Failure::input(format!("{path} holds no block {side} {time}: name another time, or another archive"))
    };
    let first = match from {
        Some(RangeEnd::Time(first, _)) => Some(say_first(picked.first.ok_or_else(|| none("since", first))?)),
        Some(RangeEnd::Block(block)) => archive_end(block, "earliest")?,
        None => None,
    };
    let last = match to {
        Some(RangeEnd::Time(_, last)) => Some(say_last(picked.last.ok_or_else(|| none("until", last))?)),
        Some(RangeEnd::Block(block)) => archive_end(block, "latest")?,
        None => None,
    };
    if let (Some(from), Some(to)) = (from, to) {
        ordered((from, to), first.unwrap_or(0), last.unwrap_or(u64::MAX))?;
    }
    Ok((first, last))
}

/// Two blocks in order. Those that times picked are not where no block is between the times.
fn ordered(ends: (RangeEnd, RangeEnd), first: u64, last: u64) -> Result<(u64, u64), Failure> {
    match ends {
        (RangeEnd::Time(since, _), RangeEnd::Time(_, until)) if since > until => {
            let (since, until) = (show_date(since), show_date(until));
            Err(Failure::input(format!("--from-block {since} is after --to-block {until}")))
        }
        (RangeEnd::Time(since, _), RangeEnd::Time(_, until)) if first > last => {
            let (since, until) = (show_date(since), show_date(until));
            Err(Failure::input(format!("no block is of the time from {since} to {until}: name a longer one")))
        }
        _ => in_order(first, last),
    }
}

/// An end of the range of an archive: a number, or none and its own `end`, which mean all of it.
fn archive_end(block: BlockArg, end: &str) -> Result<Option<u64>, Failure> {
    match block {
        BlockArg::Tag(tag) if tag == end => Ok(None),
        BlockArg::Number(number) => Ok(Some(number)),
        BlockArg::Tag(tag) => {
            Err(Failure::input(format!("an archive has no {tag} block there: write a number, a time, or {end}")))
        }
    }
}

fn shown(block: BlockTime) -> String {
    format!("block {} of {}", block.number, show_date(block.seconds()))
}

fn say_first(block: BlockTime) -> u64 {
    tracing::info!("--from-block: the range begins with {}", shown(block));
    block.number
}

fn say_last(block: BlockTime) -> u64 {
    tracing::info!("--to-block: the range ends with {}", shown(block));
    block.number
}
