//! The backlog of traces: blocks that are held without all of their traces, because whoever has them failed. A row is written in the
//! transaction that takes the block so, and goes in the one that takes it with all of them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::blocks::BlockRecord;
use super::coverage::{TRACES, Taken};
use super::{Result, Store, chain_int, sql_int};
use crate::chain::canonical::Link;

/// Pause before the traces of a block are asked for again, twice as long after each failure.
const FIRST_RETRY_SECONDS: i64 = 4;
const LONGEST_RETRY_SECONDS: i64 = 900;

/// The traces that a block lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingTraces {
    /// Indexes of the transactions without a trace; empty: none of the block has one.
    pub transactions: Vec<u64>,
    /// What the last endpoint said.
    pub detail: String,
    /// Every endpoint with traces says that it no longer has the state of the block: asking again soon is of no use.
    pub pruned: bool,
}

/// The backlog in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceBacklog {
    /// Canonical blocks without all of their traces.
    pub blocks: u64,
    /// The lowest of them.
    pub first: u64,
    /// The highest of them.
    pub last: u64,
    /// Of these, blocks whose state every endpoint has pruned.
    pub pruned: u64,
    /// Since when the oldest row is there, unix seconds.
    pub since: i64,
    /// What was said of the highest of them.
    pub detail: String,
}

/// Enters or strikes out a block that was just taken, which is held as `taken` now.
pub(super) fn note_traces(conn: &Connection, block_id: i64, taken: Taken, record: &BlockRecord) -> Result<()> {
    if taken.planes & TRACES != 0 {
        conn.prepare_cached("DELETE FROM missing_traces WHERE block_id = ?1")?.execute([block_id])?;
        return Ok(());
    }
    // There logs prove what moved.
    let Some(missing) = record.missing_traces.as_ref().filter(|_| !record.native_logs) else { return Ok(()) };
    let tries: i64 = conn
        .prepare_cached("SELECT tries FROM missing_traces WHERE block_id = ?1")?
        .query_row([block_id], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    let now = record.seen_at_ms / 1000;
    let doublings = u32::try_from(tries).unwrap_or(u32::MAX).min(16);
    let pause = FIRST_RETRY_SECONDS.saturating_mul(1 << doublings).min(LONGEST_RETRY_SECONDS);
    let transactions = serde_json::to_string(&missing.transactions).ok().filter(|_| !missing.transactions.is_empty());
    conn.prepare_cached(
        "INSERT INTO missing_traces (block_id, since, tries, retry_at, pruned, transactions, detail) \
         VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6) ON CONFLICT (block_id) DO UPDATE SET tries = tries + 1, \
         retry_at = excluded.retry_at, pruned = excluded.pruned, transactions = excluded.transactions, detail = excluded.detail",
    )?
    .execute(params![block_id, now, now + pause, missing.pruned, transactions, missing.detail])?;
    Ok(())
}

impl Store {
    /// The backlog of traces; none where it is empty.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn trace_backlog(&self) -> Result<Option<TraceBacklog>> {
        let found = self.conn.prepare_cached(
            "SELECT count(*), min(b.number), max(b.number), sum(t.pruned), min(t.since), \
             (SELECT t.detail FROM missing_traces t JOIN blocks b ON b.id = t.block_id AND b.status <> 3 ORDER BY b.number DESC LIMIT 1) \
             FROM missing_traces t JOIN blocks b ON b.id = t.block_id AND b.status <> 3",
        )?
        .query_row([], |row| {
            let blocks = chain_int(row.get(0)?);
            if blocks == 0 {
                return Ok(None);
            }
            Ok(Some(TraceBacklog {
                blocks,
                first: chain_int(row.get(1)?),
                last: chain_int(row.get(2)?),
                pruned: chain_int(row.get(3)?),
                since: row.get(4)?,
                detail: row.get(5)?,
            }))
        })?;
        Ok(found)
    }

    /// Blocks of the backlog whose time has come, lowest first; of those whose state was pruned only where `pruned`, highest first,
    /// since nodes prune the oldest.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn due_traces(&self, now: i64, pruned: bool, limit: usize) -> Result<Vec<Link>> {
        let link = |row: &Row<'_>| {
            let hash = |at: usize| row.get::<_, [u8; 32]>(at).map(alloy::primitives::B256::from);
            Ok(Link { number: chain_int(row.get(0)?), hash: hash(1)?, parent_hash: hash(2)? })
        };
        let (due, order) =
            if pruned { ("t.pruned = 1 AND ?1 > 0", "DESC") } else { ("t.pruned = 0 AND t.retry_at <= ?1", "ASC") };
        let sql = format!(
            "SELECT b.number, b.hash, b.parent_hash FROM missing_traces t JOIN blocks b ON b.id = t.block_id AND b.status <> 3 \
             WHERE {due} ORDER BY b.number {order} LIMIT ?2"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params![now, sql_int(limit as u64)], link)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Traces can be had again: whatever waits for its time is due now.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn retry_traces_now(&mut self) -> Result<()> {
        self.write(|tx| {
            tx.execute("UPDATE missing_traces SET retry_at = 0 WHERE pruned = 0", [])?;
            Ok(())
        })
    }

    /// Spans of blocks between two ends, both included, that were taken without all of their traces, for whatever reason.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn without_traces(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>> {
        let ledger = self.ledger(from, to)?;
        Ok(ledger.iter().filter(|held| !held.range.traces).map(|held| (held.range.from, held.range.to)).collect())
    }

    /// Those of the backlog; where their state was pruned only with `pruned`.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn backlog_spans(&self, from: u64, to: u64, pruned: bool) -> Result<Vec<(u64, u64)>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT b.number FROM missing_traces t JOIN blocks b ON b.id = t.block_id AND b.status <> 3 \
             WHERE b.number BETWEEN ?1 AND ?2 AND t.pruned <= ?3 ORDER BY b.number",
        )?;
        let numbers =
            statement.query_map(params![sql_int(from), sql_int(to), pruned], |row| row.get(0).map(chain_int))?;
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            let number = number?;
            match spans.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => spans.push((number, number)),
            }
        }
        Ok(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::tests::{hash, open, record};
    use alloy::primitives::U256;

    fn without_traces(store: &Store, number: u64, pruned: bool) -> BlockRecord {
        let missing = MissingTraces { transactions: vec![1], detail: "execution timeout".to_owned(), pruned };
        BlockRecord { missing_traces: Some(missing), ..record(store, number, true) }
    }

    fn numbers(links: &[Link]) -> Vec<u64> {
        links.iter().map(|link| link.number).collect()
    }

    #[test]
    fn a_block_is_in_the_backlog_until_it_is_taken_with_its_traces() {
        let (_place, mut store) = open();
        assert_eq!(store.trace_backlog().unwrap(), None);
        let blocks: Vec<_> = (0..5).map(|number| without_traces(&store, number, number < 2)).collect();
        store.append_all(&blocks).unwrap();
        let backlog = store.trace_backlog().unwrap().unwrap();
        assert_eq!((backlog.blocks, backlog.first, backlog.last, backlog.pruned), (5, 0, 4, 2));
        // Not at once, and of what was pruned only where that is asked for, the newest first.
        assert_eq!(numbers(&store.due_traces(0, false, 10).unwrap()), [0u64; 0]);
        assert_eq!(numbers(&store.due_traces(FIRST_RETRY_SECONDS, false, 10).unwrap()), [2, 3, 4]);
        assert_eq!(numbers(&store.due_traces(FIRST_RETRY_SECONDS, true, 10).unwrap()), [1, 0]);
        assert_eq!(store.backlog_spans(0, 9, true).unwrap(), [(0, 4)]);
        assert_eq!(store.backlog_spans(0, 9, false).unwrap(), [(2, 4)]);
        // Each failure doubles the pause.
        store.append(&blocks[2]).unwrap();
        assert_eq!(numbers(&store.due_traces(FIRST_RETRY_SECONDS, false, 10).unwrap()), [3, 4]);
        assert_eq!(numbers(&store.due_traces(2 * FIRST_RETRY_SECONDS, false, 10).unwrap()), [2, 3, 4]);
        store.retry_traces_now().unwrap();
        assert_eq!(numbers(&store.due_traces(0, false, 10).unwrap()), [2, 3, 4]);
        for (number, left) in [(3, 4), (0, 3), (4, 2)] {
            store.append(&BlockRecord { traces: true, ..record(&store, number, true) }).unwrap();
            assert_eq!(store.trace_backlog().unwrap().unwrap().blocks, left);
        }
        assert_eq!(store.without_traces(0, 9).unwrap(), [(1, 2)]);
        // What a reorg orphans is missing to nobody.
        store.revert(0, crate::store::Progress::Replay).unwrap();
        assert_eq!(store.trace_backlog().unwrap(), None);
    }

    #[test]
    fn rows_that_the_schema_does_not_allow_are_an_invalid_block() {
        let (_place, mut store) = open();
        store.append(&record(&store, 0, true)).unwrap();
        let good = record(&store, 1, true);
        let twice = BlockRecord { alerts: vec![good.alerts[0].clone(), good.alerts[0].clone()], ..good.clone() };
        let mut other_facts = good.clone();
        other_facts.alerts[1].activity.location = good.alerts[0].activity.location.clone();
        other_facts.alerts[1].activity.amount = U256::from(99);
        let mut same_hash = record(&store, 1, true);
        same_hash.link = Link { hash: hash(0), number: 1, parent_hash: hash(0) };
        let mut other_id = other_facts.clone();
        other_id.alerts[1].id = good.alerts[0].id;
        for bad in [twice, other_facts, same_hash, other_id] {
            let refused = store.append(&bad);
            assert!(matches!(&refused, Err(StoreError::InvalidBlock { number: 1, .. })), "{refused:?}");
            assert!(!refused.unwrap_err().is_unusable(), "exit 4, not 5");
        }
        assert_eq!(store.ledger(0, 9).unwrap().len(), 1, "nothing of them is stored");
        store.append(&good).unwrap();
    }
}
