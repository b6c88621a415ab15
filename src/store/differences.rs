//! Fields of endpoints' answers that differed from what is proven, counted by endpoint and field.

use rusqlite::{Connection, params};

use super::blocks::BlockRecord;
use super::{Result, Store, chain_int, sql_int};

/// How often a field of an endpoint's answers differed from what is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "schema.sql says what each field means")]
pub struct FieldDifferences {
    pub host: String,
    pub field: String,
    pub differences: u64,
    pub blocks: u64,
    pub last_block: u64,
    pub found: String,
    pub proven: String,
}

/// Counts those of a block, in its transaction.
pub(super) fn put_differences(conn: &Connection, record: &BlockRecord) -> Result<()> {
    if record.differences.is_empty() {
        return Ok(());
    }
    let endpoint = super::blocks::endpoint_id(conn, &record.endpoint)?;
    for (field, difference) in record.differences.iter() {
        conn.prepare_cached(
            "INSERT INTO field_differences (endpoint_id, field, differences, blocks, last_block, found, proven) \
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6) ON CONFLICT (endpoint_id, field) DO UPDATE SET \
             differences = differences + excluded.differences, blocks = blocks + 1, last_block = excluded.last_block, \
             found = excluded.found, proven = excluded.proven",
        )?
        .execute(params![
            endpoint,
            field,
            sql_int(difference.count),
            sql_int(record.link.number),
            difference.found,
            difference.proven
        ])?;
    }
    Ok(())
}

impl Store {
    /// How often which field of whose answers differed from what is proven, by endpoint and field.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn field_differences(&self) -> Result<Vec<FieldDifferences>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT e.host, d.field, d.differences, d.blocks, d.last_block, d.found, d.proven \
             FROM field_differences d JOIN endpoints e ON e.id = d.endpoint_id ORDER BY d.endpoint_id, d.field",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(FieldDifferences {
                host: row.get(0)?,
                field: row.get(1)?,
                differences: chain_int(row.get(2)?),
                blocks: chain_int(row.get(3)?),
                last_block: chain_int(row.get(4)?),
                found: row.get(5)?,
                proven: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
