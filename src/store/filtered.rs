//! What an endpoint's filter was asked for instead of reading the blocks (`replay --filtered`): its word that nothing else of a range
//! touches the list. Kept beside the ledger and never in it: a block that was only filtered is missing there, since it was not seen.

use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::{Result, Store, StoreError, meta, set_meta};

/// Where the spans are kept, as JSON: a run makes one of them, so there are few.
const KEY: &str = "filtered";

/// Blocks of which an endpoint said which ones touch the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilteredSpan {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// Whose word it is.
    pub hosts: Vec<String>,
    /// Call frames were asked for too, and not only topics of logs.
    pub frames: bool,
    /// Logs show each movement of the chain's own currency to another account in these blocks (EIP-7708), so that topics find it.
    pub native_logs: bool,
    /// The state of the lists whose addresses were asked for.
    pub watch_revision: i64,
    /// The decoder that says by which events an address is found.
    pub decoder: i64,
}

impl FilteredSpan {
    /// Says all that the other would, and maybe more: that one need not be asked for.
    fn covers(&self, other: &Self) -> bool {
        (self.watch_revision, self.decoder) == (other.watch_revision, other.decoder) && (self.frames || !other.frames)
    }

    /// Asked for the same, so that neighbours make one span.
    fn is_like(&self, other: &Self) -> bool {
        (self.frames, self.native_logs, self.watch_revision, self.decoder)
            == (other.frames, other.native_logs, other.watch_revision, other.decoder)
    }

    /// What is left of it without those blocks.
    fn without(self, from: u64, to: u64) -> impl Iterator<Item = Self> {
        let below = (self.from < from).then(|| Self { to: self.to.min(from.saturating_sub(1)), ..self.clone() });
        let above = (self.to > to).then(|| Self { from: self.from.max(to.saturating_add(1)), ..self });
        below.into_iter().chain(above)
    }
}

/// The spans with one more, which replaces what was said of its blocks before, but for what says more than it.
fn with(spans: Vec<FilteredSpan>, new: &FilteredSpan) -> Vec<FilteredSpan> {
    let mut added = vec![new.clone()];
    let mut all = Vec::new();
    for span in spans {
        if span.covers(new) && !new.covers(&span) {
            added = added.into_iter().flat_map(|part| part.without(span.from, span.to)).collect();
            all.push(span);
        } else {
            all.extend(span.without(new.from, new.to));
        }
    }
    all.extend(added);
    all.sort_by_key(|span| span.from);
    let mut joined: Vec<FilteredSpan> = Vec::new();
    for span in all {
        match joined.last_mut() {
            Some(last) if last.to + 1 == span.from && last.is_like(&span) => {
                last.to = span.to;
                last.hosts.extend(span.hosts);
                last.hosts.sort();
                last.hosts.dedup();
            }
            _ => joined.push(span),
        }
    }
    joined
}

fn spans(conn: &Connection, path: &Path) -> Result<Vec<FilteredSpan>> {
    let Some(text) = meta(conn, KEY)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| StoreError::Unusable {
        path: path.to_owned(),
        detail: format!("what was filtered cannot be read: {error}"),
    })
}

/// Drops what filters said of blocks above a number; of how many blocks that was.
pub(super) fn cut(conn: &Connection, path: &Path, above: u64) -> Result<u64> {
    let spans = spans(conn, path)?;
    let dropped = |span: &FilteredSpan| (span.to + 1).saturating_sub(span.from.max(above + 1));
    let blocks = spans.iter().map(dropped).sum();
    if blocks > 0 {
        let left: Vec<_> = spans.into_iter().flat_map(|span| span.without(above + 1, u64::MAX)).collect();
        set_meta(conn, KEY, &serde_json::json!(left).to_string())?;
    }
    Ok(blocks)
}

impl Store {
    /// The first and the last block that is held or was filtered; none where there is none.
    ///
    /// # Errors
    /// As [`filtered`](Self::filtered).
    pub fn extent(&self) -> Result<Option<(u64, u64)>> {
        let held = self.coverage()?;
        let held = held.first().zip(held.last()).map(|(first, last)| (first.from, last.to));
        let spans = self.filtered_spans()?.into_iter().map(|span| (span.from, span.to));
        Ok(held.into_iter().chain(spans).reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))))
    }

    fn filtered_spans(&self) -> Result<Vec<FilteredSpan>> {
        spans(&self.conn, &self.path)
    }

    /// Notes that blocks were filtered; to be called once those that were found are taken.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn put_filtered(&mut self, span: &FilteredSpan) -> Result<()> {
        let spans = serde_json::json!(with(self.filtered_spans()?, span)).to_string();
        self.write(|tx| set_meta(tx, KEY, &spans))
    }

    /// What of a range was filtered, in order and clipped to it, each with how many of its blocks are not held: of these nothing but
    /// the filter's word is known. Left out where all are held.
    ///
    /// # Errors
    /// Of SQLite; [`StoreError::Unusable`] where what is kept cannot be read.
    pub fn filtered(&self, from: u64, to: u64) -> Result<Vec<(FilteredSpan, u64)>> {
        let mut found = Vec::new();
        for span in self.filtered_spans()? {
            let (from, to) = (span.from.max(from), span.to.min(to));
            if from > to {
                continue;
            }
            let held: u64 = self.ledger(from, to)?.iter().map(|held| held.range.to - held.range.from + 1).sum();
            let missing = (to - from + 1).saturating_sub(held);
            if missing > 0 {
                found.push((FilteredSpan { from, to, ..span }, missing));
            }
        }
        Ok(found)
    }

    /// What of a range is still to be filtered: all but what was asked for in the same way, of one of these hosts.
    ///
    /// # Errors
    /// As [`filtered`](Self::filtered).
    pub fn unfiltered(&self, like: &FilteredSpan) -> Result<Vec<(u64, u64)>> {
        let mut left = vec![like.clone()];
        for done in self.filtered_spans()? {
            if done.covers(like) && done.hosts.iter().any(|host| like.hosts.contains(host)) {
                left = left.into_iter().flat_map(|span| span.without(done.from, done.to)).collect();
            }
        }
        Ok(left.into_iter().map(|span| (span.from, span.to)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    fn span(from: u64, to: u64, host: &str, watch_revision: i64) -> FilteredSpan {
        FilteredSpan {
            from,
            to,
            hosts: vec![host.to_owned()],
            frames: true,
            native_logs: false,
            watch_revision,
            decoder: 1,
        }
    }

    #[test]
    fn spans_are_joined_replaced_and_asked_for_again_where_something_else_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("a.db"), Access::Write { durable: false }).unwrap();
        let ends = |store: &Store| -> Vec<(u64, u64, usize, i64)> {
            let spans = store.filtered(0, u64::MAX >> 1).unwrap();
            spans
                .iter()
                .map(|(s, missing)| {
                    assert_eq!(*missing, s.to - s.from + 1);
                    (s.from, s.to, s.hosts.len(), s.watch_revision)
                })
                .collect()
        };
        assert_eq!(ends(&store), []);
        for (from, to, host) in [(0, 9, "a"), (10, 19, "b"), (30, 39, "a")] {
            store.put_filtered(&span(from, to, host, 1)).unwrap();
        }
        assert_eq!(ends(&store), [(0, 19, 2, 1), (30, 39, 1, 1)]);
        assert_eq!(store.unfiltered(&span(5, 45, "a", 1)).unwrap(), [(20, 29), (40, 45)]);
        assert_eq!(store.unfiltered(&span(0, 19, "a", 1)).unwrap(), []);
        assert_eq!(store.unfiltered(&span(5, 45, "c", 1)).unwrap(), [(5, 45)], "another endpoint's word is asked for");
        assert_eq!(store.unfiltered(&span(5, 45, "a", 2)).unwrap(), [(5, 45)], "another list");
        // Topics alone say less: nothing of it need be asked for again, nor does it take the place of what says more.
        let topics = |from, to, revision| FilteredSpan { frames: false, ..span(from, to, "a", revision) };
        assert_eq!(store.unfiltered(&topics(5, 45, 1)).unwrap(), [(20, 29), (40, 45)]);
        store.put_filtered(&topics(5, 45, 1)).unwrap();
        assert_eq!(ends(&store), [(0, 19, 2, 1), (20, 29, 1, 1), (30, 39, 1, 1), (40, 45, 1, 1)]);
        assert_eq!(store.unfiltered(&span(5, 45, "a", 1)).unwrap(), [(20, 29), (40, 45)], "with frames");
        store.put_filtered(&span(20, 29, "a", 1)).unwrap();
        assert_eq!(ends(&store), [(0, 39, 2, 1), (40, 45, 1, 1)]);
        assert_eq!(store.extent().unwrap(), Some((0, 45)));
        store.put_filtered(&span(5, 34, "a", 2)).unwrap();
        assert_eq!(ends(&store), [(0, 4, 2, 1), (5, 34, 1, 2), (35, 39, 2, 1), (40, 45, 1, 1)]);
        assert_eq!(store.filtered(10, 11).unwrap()[0].0, span(10, 11, "a", 2));
    }
}
