//! The ledger of coverage as ranges: which blocks were taken, how well proven, with which planes. Kept in the same transactions
//! that take and orphan blocks, so that what it says is so.

use rusqlite::{Connection, OptionalExtension, params};

use super::{BlockRecord, Result, Store, chain_int, sql_int};
use crate::chain::Proof;

/// The bit of the plane of traces.
pub(super) const TRACES: i64 = 1 << 2;
/// The bits of the planes that come with every block: transactions, logs and withdrawals are in its roots. What is not decoded yet
/// (authorizations) is not claimed.
pub(super) const ALWAYS: i64 = 1 | 1 << 1 | 1 << 3;
/// No plane, but beside them: every sender of a proven block was recovered from its signature. Without it, who sent is proven of
/// what alerted and is the endpoint's word of all else, so that a transfer out may have been missed.
pub(super) const SENDERS: i64 = 1 << 5;

/// No plane either: the block's logs show every movement of the chain's own currency (EIP-7708), known by its header.
pub(super) const NATIVE_LOGS: i64 = 1 << 6;

/// How a block was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) proof: i64,
    pub(super) planes: i64,
    pub(super) watch_revision: i64,
    pub(super) decoder: i64,
}

impl Taken {
    /// How a block is taken now.
    pub(super) fn of(record: &BlockRecord) -> Self {
        let proof = proof_code(record.proof);
        let traces = if record.traces { TRACES } else { 0 };
        let senders = if record.senders && proof == 1 { SENDERS } else { 0 };
        let native_logs = if record.native_logs { NATIVE_LOGS } else { 0 };
        let planes = ALWAYS | traces | senders | native_logs;
        Self { proof, planes, watch_revision: record.watch_revision, decoder: record.decoder }
    }

    /// From four columns of a row, in the order of the fields.
    pub(super) fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            proof: row.get(at)?,
            planes: row.get(at + 1)?,
            watch_revision: row.get(at + 2)?,
            decoder: row.get(at + 3)?,
        })
    }

    /// What holds of a block that was taken so and is taken once more: it gains what it lacked. What it had counts only for the
    /// lists and the decoder that it was looked at with: against others, only this time counts.
    pub(super) fn again(self, now: Self) -> Self {
        // What was found on trust is forgotten where the block is proven.
        if !self.looked_for_the_same(now) || self.proof < now.proof {
            return now;
        }
        Self { proof: self.proof, planes: self.planes | now.planes, ..now }
    }

    /// The same decoder looked for the same entries.
    pub(super) fn looked_for_the_same(self, other: Self) -> bool {
        (self.watch_revision, self.decoder) == (other.watch_revision, other.decoder)
    }

    fn range(self, from: u64, to: u64) -> CoverageRange {
        CoverageRange {
            from,
            to,
            proven: self.proof == 1,
            traces: self.planes & TRACES != 0,
            senders: self.planes & SENDERS != 0,
            native_logs: self.planes & NATIVE_LOGS != 0,
        }
    }
}

/// Blocks next to each other that were taken in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoverageRange {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// All proven: the planes of transactions, logs and withdrawals.
    pub proven: bool,
    /// All with the plane of traces, which no root covers.
    pub traces: bool,
    /// Every sender of every block was recovered from its signature; never where they are not proven.
    pub senders: bool,
    /// The logs of every block show its movements of the chain's own currency (EIP-7708).
    pub native_logs: bool,
}

/// What is known of the chain's own currency that moved within transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InternalEth {
    /// Logs prove it, under EIP-7708.
    Proven,
    /// An endpoint claims it: by traces, or by a block that was taken on trust.
    Claimed,
    /// Nothing shows it.
    NotSeen,
}

impl InternalEth {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Claimed => "claimed",
            Self::NotSeen => "not_seen",
        }
    }
}

impl CoverageRange {
    /// What is known of internal ETH in its blocks.
    pub fn internal_eth(&self) -> InternalEth {
        match (self.native_logs, self.proven, self.traces) {
            (true, true, _) => InternalEth::Proven,
            (true, false, _) | (false, _, true) => InternalEth::Claimed,
            (false, _, false) => InternalEth::NotSeen,
        }
    }
}

/// A range of the ledger with all it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRange {
    /// What is covered.
    pub range: CoverageRange,
    /// The state of the lists that its blocks were screened against.
    pub watch_revision: i64,
    /// The decoder that took them.
    pub decoder: i64,
}

/// How much of a range is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeCoverage {
    /// First block of the range.
    pub from: u64,
    /// Last block of the range.
    pub to: u64,
    /// Proven blocks in it.
    pub proven: u64,
    /// Unproven blocks in it.
    pub unproven: u64,
    /// Proven blocks in it of which every sender was recovered: in the others a transfer out may have been missed.
    pub senders: u64,
    /// Blocks with traces in it.
    pub traces: u64,
    /// Blocks in it whose logs prove the ETH that moved within transactions (EIP-7708).
    pub internal_proven: u64,
    /// Blocks in it where an endpoint claims it, by traces or as a block taken on trust.
    pub internal_claimed: u64,
    /// Of the blocks that were not seen, those that an endpoint's filter was asked for (`replay --filtered`): its word is all there is.
    pub filtered: u64,
    /// Blocks screened before the watchlist gained entries that match blocks of their time: these may have a past there.
    pub screened_before: u64,
    /// Nothing is known to lie between the range's ends in time and the blocks that stand for them.
    pub ends_known: bool,
}

impl RangeCoverage {
    /// Blocks that were not seen.
    pub fn missing(&self) -> u64 {
        (self.to - self.from + 1).saturating_sub(self.proven + self.unproven)
    }

    /// Blocks that were seen, and of which nothing shows the ETH that moved within transactions.
    pub fn internal_not_seen(&self) -> u64 {
        (self.proven + self.unproven).saturating_sub(self.internal_proven + self.internal_claimed)
    }

    /// Every block is proven, with all its senders.
    pub fn is_complete(&self) -> bool {
        self.ends_known && self.missing() == 0 && self.unproven == 0 && self.senders == self.proven
    }
}

type Row = (i64, i64, Taken);

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok((row.get(0)?, row.get(1)?, Taken::read(row, 2)?))
}

/// The range that holds the block or ends nearest below it.
fn at_or_below(conn: &Connection, number: i64) -> Result<Option<Row>> {
    Ok(conn
        .prepare_cached(
            "SELECT first, last, proof, planes, watch_revision, decoder FROM coverage WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
        )?
        .query_row([number], row)
        .optional()?)
}

fn insert(conn: &Connection, (first, last, taken): Row) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO coverage (first, last, proof, planes, watch_revision, decoder) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![first, last, taken.proof, taken.planes, taken.watch_revision, taken.decoder])?;
    Ok(())
}

fn delete(conn: &Connection, first: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM coverage WHERE first = ?1")?.execute([first])?;
    Ok(())
}

/// Enters a block, joined to its neighbours where they were taken in the same way.
pub(super) fn cover(conn: &Connection, number: u64, taken: Taken) -> Result<()> {
    match at_or_below(conn, sql_int(number))? {
        Some((_, last, held)) if last >= sql_int(number) && held == taken => Ok(()),
        Some((_, last, _)) if last >= sql_int(number) => cover_all(conn, number, number, taken),
        _ => join(conn, sql_int(number), sql_int(number), taken),
    }
}

/// Enters blocks next to each other that were taken in the same way, whatever the ledger says of them.
pub(super) fn cover_all(conn: &Connection, from: u64, to: u64, taken: Taken) -> Result<()> {
    let (from, to) = (sql_int(from), sql_int(to));
    uncover(conn, from, to)?;
    join(conn, from, to, taken)
}

/// Enters blocks of which the ledger has none.
fn join(conn: &Connection, from: i64, to: i64, taken: Taken) -> Result<()> {
    let mut last = to;
    if let Some((right, end, held)) = at_or_below(conn, to + 1)?
        && right == to + 1
        && held == taken
    {
        delete(conn, right)?;
        last = end;
    }
    if let Some((left, end, held)) = at_or_below(conn, from)?
        && end == from - 1
        && held == taken
    {
        conn.prepare_cached("UPDATE coverage SET last = ?2 WHERE first = ?1")?.execute([left, last])?;
        return Ok(());
    }
    insert(conn, (from, last, taken))
}

/// Strikes out blocks, both ends included.
pub(super) fn uncover(conn: &Connection, from: i64, to: i64) -> Result<()> {
    let overlapping: Vec<Row> = conn
        .prepare_cached(
            "SELECT first, last, proof, planes, watch_revision, decoder FROM coverage \
             WHERE first >= coalesce((SELECT max(first) FROM coverage WHERE first <= ?1), ?1) AND first <= ?2 AND last >= ?1",
        )?
        .query_map([from, to], row)?
        .collect::<rusqlite::Result<_>>()?;
    for (first, last, taken) in overlapping {
        delete(conn, first)?;
        if first < from {
            insert(conn, (first, from - 1, taken))?;
        }
        if last > to {
            insert(conn, (to + 1, last, taken))?;
        }
    }
    Ok(())
}

impl Store {
    /// The ledger between two blocks, clipped to them, in order.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn ledger(&self, from: u64, to: u64) -> Result<Vec<LedgerRange>> {
        let (from, to) = (sql_int(from), sql_int(to));
        let mut statement = self.conn.prepare_cached(
            "SELECT max(first, ?1), min(last, ?2), proof, planes, watch_revision, decoder FROM coverage \
             WHERE first >= coalesce((SELECT max(first) FROM coverage WHERE first <= ?1), ?1) AND first <= ?2 AND last >= ?1 \
             ORDER BY first",
        )?;
        let rows = statement.query_map([from, to], |found| {
            let (first, last, taken) = row(found)?;
            Ok(LedgerRange {
                range: taken.range(chain_int(first), chain_int(last)),
                watch_revision: taken.watch_revision,
                decoder: taken.decoder,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Canonical blocks as ranges, whatever lists they were screened against.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn coverage(&self) -> Result<Vec<CoverageRange>> {
        let mut ranges: Vec<CoverageRange> = Vec::new();
        for LedgerRange { range, .. } in self.ledger(0, i64::MAX as u64)? {
            match ranges.last_mut() {
                Some(last)
                    if last.to + 1 == range.from
                        && CoverageRange { from: last.from, to: last.to, ..range } == *last =>
                {
                    last.to = range.to;
                }
                _ => ranges.push(range),
            }
        }
        Ok(ranges)
    }

    /// What is missing between two blocks, in order.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn holes(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>> {
        let mut holes = Vec::new();
        let mut next = from;
        for LedgerRange { range, .. } in self.ledger(from, to)? {
            if range.from > next {
                holes.push((next, range.from - 1));
            }
            next = range.to + 1;
        }
        if next <= to {
            holes.push((next, to));
        }
        Ok(holes)
    }

    /// How much of a range of blocks is there.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn block_coverage(&self, from: u64, to: u64) -> Result<RangeCoverage> {
        let ledger = self.ledger(from, to)?;
        let none = RangeCoverage {
            from,
            to,
            proven: 0,
            unproven: 0,
            senders: 0,
            traces: 0,
            internal_proven: 0,
            internal_claimed: 0,
            filtered: self.filtered(from, to)?.iter().map(|(_, missing)| missing).sum(),
            screened_before: self.lacking_entries(&ledger)?,
            ends_known: true,
        };
        Ok(ledger.iter().fold(none, |sum, ledger| {
            let CoverageRange { from, to, proven, traces, senders, .. } = ledger.range;
            let internal = ledger.range.internal_eth();
            let count = |is: bool| if is { to - from + 1 } else { 0 };
            RangeCoverage {
                proven: sum.proven + count(proven),
                unproven: sum.unproven + count(!proven),
                senders: sum.senders + count(senders),
                traces: sum.traces + count(traces),
                internal_proven: sum.internal_proven + count(internal == InternalEth::Proven),
                internal_claimed: sum.internal_claimed + count(internal == InternalEth::Claimed),
                ..sum
            }
        }))
    }

    /// What the ledger says otherwise than the blocks themselves: empty where it is as it should be.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn ledger_differences(&self) -> Result<Vec<(u64, u64)>> {
        let mut statement = self.conn.prepare_cached(
            "WITH counted AS ( \
               SELECT min(number) AS first, max(number) AS last, proof, planes, watch_revision, decoder FROM ( \
                 SELECT *, number - row_number() OVER (PARTITION BY proof, planes, watch_revision, decoder ORDER BY number) AS run \
                 FROM blocks WHERE status <> 3) GROUP BY proof, planes, watch_revision, decoder, run), \
             kept AS (SELECT first, last, proof, planes, watch_revision, decoder FROM coverage) \
             SELECT first, last FROM (SELECT * FROM counted EXCEPT SELECT * FROM kept) \
             UNION SELECT first, last FROM (SELECT * FROM kept EXCEPT SELECT * FROM counted) ORDER BY 1",
        )?;
        let rows = statement.query_map([], |row| Ok((chain_int(row.get(0)?), chain_int(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// The first or the last canonical block of a span of time; only of proven blocks where ?3.
pub(super) fn end_in_time(order: &str) -> String {
    format!(
        "SELECT number FROM blocks INDEXED BY blocks_by_time WHERE status <> 3 AND timestamp BETWEEN ?1 AND ?2 AND proof >= ?3 \
         ORDER BY timestamp {order}, number {order} LIMIT 1"
    )
}

/// The code in the store of how well a block is proven.
pub(super) fn proof_code(proof: Proof) -> i64 {
    i64::from(proof == Proof::Proven)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn taken(which: u8) -> Taken {
        Taken {
            proof: i64::from(which & 1),
            planes: i64::from(which >> 1 & 1) << 2 | ALWAYS,
            watch_revision: 1,
            decoder: 1,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Whatever is entered and struck out, the ranges say of each block what was said last, and none could be joined.
        #[test]
        fn ranges_say_what_was_entered(steps in proptest::collection::vec((0u64..40, 0u64..12, 0u8..5), 1..60)) {
            let conn = Connection::open_in_memory().unwrap();
            let schema = include_str!("../../schema.sql");
            conn.execute_batch(schema).unwrap();
            let mut model: BTreeMap<u64, Taken> = BTreeMap::new();
            for (number, width, what) in steps {
                if what == 4 {
                    uncover(&conn, sql_int(number), sql_int(number + width)).unwrap();
                    model.retain(|held, _| *held < number || *held > number + width);
                } else {
                    // One by one, or all at once.
                    if width % 2 == 0 {
                        (number..=number + width).for_each(|number| cover(&conn, number, taken(what)).unwrap());
                    } else {
                        cover_all(&conn, number, number + width, taken(what)).unwrap();
                    }
                    model.extend((number..=number + width).map(|number| (number, taken(what))));
                }
                let rows: Vec<Row> = conn
                    .prepare("SELECT first, last, proof, planes, watch_revision, decoder FROM coverage ORDER BY first").unwrap()
                    .query_map([], row).unwrap().map(|row| row.unwrap()).collect();
                let said: BTreeMap<u64, Taken> =
                    rows.iter().flat_map(|(first, last, taken)| (*first..=*last).map(|n| (chain_int(n), *taken))).collect();
                prop_assert_eq!(&said, &model);
                for pair in rows.windows(2) {
                    prop_assert!(pair[0].1 < pair[1].0);
                    prop_assert!(pair[0].1 + 1 < pair[1].0 || pair[0].2 != pair[1].2, "two ranges that are one");
                }
            }
        }
    }
}
