//! What `watch` jumped over to follow the head at once, and still has to take: spans of blocks, worked off in order. What is owed
//! is on the disk before the head goes on, so that no crash forgets it.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Result, Store, chain_int, set_meta, sql_int};

/// A block of what is owed was taken.
pub(super) fn take(conn: &Connection, number: u64) -> Result<()> {
    let number = sql_int(number);
    let span: Option<i64> = conn
        .prepare_cached("SELECT last FROM owed WHERE first = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    let Some(last) = span else { return Ok(()) };
    conn.prepare_cached("DELETE FROM owed WHERE first = ?1")?.execute([number])?;
    if number < last {
        put(conn, number + 1, last)?;
    }
    Ok(())
}

/// The last block of the span that is worked off above that number.
pub(super) fn end(conn: &Connection, above: u64) -> Result<Option<u64>> {
    Ok(conn
        .prepare_cached("SELECT last FROM owed WHERE last > ?1 ORDER BY first LIMIT 1")?
        .query_row([sql_int(above)], |row| row.get(0).map(chain_int))
        .optional()?)
}

/// Blocks from `first` to `orphaned`, up to what is owed anyway, were orphaned: they are owed again.
pub(super) fn give_back(conn: &Connection, first: u64, orphaned: u64) -> Result<()> {
    let (first, orphaned) = (sql_int(first), sql_int(orphaned));
    let span: Option<(i64, i64)> = conn
        .prepare_cached("SELECT first, last FROM owed WHERE last >= ?1 ORDER BY first LIMIT 1")?
        .query_row([first], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match span {
        // What a replay left within the span gave way: it was owed all the time.
        Some((begin, _)) if begin <= first => Ok(()),
        Some((begin, last)) => {
            conn.prepare_cached("DELETE FROM owed WHERE first = ?1")?.execute([begin])?;
            put(conn, first, last)
        }
        // Nothing is owed above: then what was orphaned is, so that no hole is left.
        None if orphaned >= first => put(conn, first, orphaned),
        None => Ok(()),
    }
}

/// Blocks above that number were dropped, from the top: nothing above is owed. Where `watch` would go on with a block whose parent is
/// owed and was jumped over, the jump is taken back. Returns the block that `watch` takes next.
pub(super) fn cut(conn: &Connection, above: u64, next: u64) -> Result<u64> {
    let last = sql_int(above);
    conn.execute("DELETE FROM owed WHERE first > ?1", [last])?;
    conn.execute("UPDATE owed SET last = ?1 WHERE last > ?1", [last])?;
    let mut next = next.min(above + 1);
    loop {
        let span: Option<i64> = conn
            .prepare_cached("SELECT first FROM owed WHERE first < ?1 AND last >= ?1 - 1")?
            .query_row([sql_int(next)], |row| row.get(0))
            .optional()?;
        let Some(first) = span else { return Ok(next) };
        conn.execute("DELETE FROM owed WHERE first = ?1", [first])?;
        next = chain_int(first);
    }
}

fn put(conn: &Connection, first: i64, last: i64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO owed (first, last) VALUES (?1, ?2) ON CONFLICT (first) DO UPDATE SET last = max(last, excluded.last)",
    )?
    .execute(params![first, last])?;
    Ok(())
}

impl Store {
    /// Jumps to the head: everything from the block that `watch` would take next up to just below `head` is owed.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn jump(&mut self, next: u64, head: u64) -> Result<()> {
        self.sync(self.durable)?;
        self.write(|tx| {
            if next < head {
                put(tx, sql_int(next), sql_int(head - 1))?;
            }
            set_meta(tx, "watch_next", &head.to_string())
        })
    }

    /// Takes back a jump: the run above the lowest span gives way, nothing is owed any more, and `watch` goes on at what was. Returns
    /// that block and how many were orphaned.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`](super::StoreError::Contradiction) where a block of that run is final.
    pub fn start_over(&mut self) -> Result<(u64, u64)> {
        let Some((first, last)) = self.owed()?.first().copied() else {
            return Ok((self.watch_next()?.unwrap_or_default(), 0));
        };
        self.sync(self.durable)?;
        self.write(|tx| {
            let (blocks, _) = super::blocks::orphan(tx, last, None)?;
            tx.prepare_cached("DELETE FROM owed")?.execute([])?;
            set_meta(tx, "watch_next", &first.to_string())?;
            // The head that was jumped to is not of this chain; the next one that an endpoint tells of counts.
            tx.execute("DELETE FROM meta WHERE key = 'head'", [])?;
            Ok((first, blocks))
        })
    }

    /// Whether that block is owed.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn is_owed(&self, number: u64) -> Result<bool> {
        let mut statement = self.conn.prepare_cached("SELECT 1 FROM owed WHERE first <= ?1 AND last >= ?1")?;
        Ok(statement.exists([sql_int(number)])?)
    }

    /// The spans that are owed, lowest first, both ends included.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn owed(&self) -> Result<Vec<(u64, u64)>> {
        let mut statement = self.conn.prepare_cached("SELECT first, last FROM owed ORDER BY first")?;
        let rows = statement.query_map([], |row| Ok((chain_int(row.get(0)?), chain_int(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gave_way_is_owed_whatever_is_owed_above_it() {
        let owed_after = |owed: &[(i64, i64)], first: u64, orphaned: u64| -> Vec<(i64, i64)> {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch(include_str!("../../schema.sql")).unwrap();
            for (first, last) in owed {
                put(&conn, *first, *last).unwrap();
            }
            give_back(&conn, first, orphaned).unwrap();
            let mut rows = conn.prepare("SELECT first, last FROM owed ORDER BY first").unwrap();
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(|row| row.unwrap()).collect()
        };
        assert_eq!(owed_after(&[(10, 20), (30, 40)], 7, 9), [(7, 20), (30, 40)], "below a span: it begins earlier");
        for first in [10, 15, 20] {
            assert_eq!(owed_after(&[(10, 20), (30, 40)], first, first + 3), [(10, 20), (30, 40)], "owed all the time");
        }
        assert_eq!(owed_after(&[(10, 20), (30, 40)], 25, 29), [(10, 20), (25, 40)]);
        assert_eq!(owed_after(&[(10, 20)], 25, 29), [(10, 20), (25, 29)], "no hole is left");
        assert_eq!(owed_after(&[(10, 20)], 25, 24), [(10, 20)], "nothing gave way");
    }
}
