//! What tokens say of themselves, asked once and kept.

use alloy::primitives::Address;
use rusqlite::{OptionalExtension, params};

use super::addresses::address_id;
use super::{Result, Store};
use crate::redact::redacted;

/// Symbol and decimals as the contract gave them, cleaned; none where it has no such method or answered nonsense.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenFacts {
    /// Cleaned of control characters and cut.
    pub symbol: Option<String>,
    /// Places of the decimal point.
    pub decimals: Option<u8>,
}

impl Store {
    /// Whether the token was asked before.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn knows_token(&self, token: Address) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached("SELECT 1 FROM tokens t JOIN addresses a ON a.id = t.address_id WHERE a.address = ?1")?
            .query_row([token.as_slice()], |_| Ok(()))
            .optional()?
            .is_some())
    }

    /// Keeps what a token said.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn put_token(&mut self, token: Address, facts: &TokenFacts, now: i64) -> Result<()> {
        self.write(|tx| {
            let id = address_id(tx, token)?;
            tx.prepare_cached(
                "INSERT INTO tokens (address_id, symbol, decimals, asked_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (address_id) DO NOTHING",
            )?
            .execute(params![id, facts.symbol.as_deref().map(redacted), facts.decimals, now])?;
            Ok(())
        })
    }

    /// Some tokens of alerts that could not be asked yet.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn unasked_tokens(&self, limit: u32) -> Result<Vec<Address>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT a.address FROM activities m JOIN addresses a ON a.id = m.token_address_id \
             WHERE m.token_address_id IS NOT NULL \
               AND NOT EXISTS (SELECT 1 FROM tokens t WHERE t.address_id = m.token_address_id) LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |row| super::bytes::<20>(row, 0).map(Address::from))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
