//! Addresses, once each: every other table refers to them by a small number.

use std::collections::HashMap;

use alloy::primitives::Address;
use rusqlite::{Connection, OptionalExtension};

use super::Result;

/// The id of an address, which is added where it is new.
pub(super) fn address_id(conn: &Connection, address: Address) -> Result<i64> {
    let found = find_address(conn, address)?;
    if let Some(id) = found {
        return Ok(id);
    }
    conn.prepare_cached("INSERT INTO addresses (address) VALUES (?1)")?.execute([address.as_slice()])?;
    Ok(conn.last_insert_rowid())
}

pub(super) fn find_address(conn: &Connection, address: Address) -> Result<Option<i64>> {
    Ok(conn
        .prepare_cached("SELECT id FROM addresses WHERE address = ?1")?
        .query_row([address.as_slice()], |row| row.get(0))
        .optional()?)
}

/// Ids met in one transaction: few addresses make up most of the rows. It must not outlive the transaction, whose rollback would
/// take the ids back.
#[derive(Default)]
pub(super) struct AddressIds(HashMap<Address, i64>);

impl AddressIds {
    /// The id of an address, which is added where it is new.
    pub(super) fn of(&mut self, conn: &Connection, address: Address) -> Result<i64> {
        if let Some(id) = self.0.get(&address) {
            return Ok(*id);
        }
        let id = address_id(conn, address)?;
        self.0.insert(address, id);
        Ok(id)
    }
}
