//! The block's own object: its transactions are read here, the little that is left by the typed path's own types.

use alloy::consensus::Header;

use super::Odd;
use super::arena::Arena;
use super::claims::Claims;
use super::scan::{Cursor, Read};
use super::transaction::{Tx, TxReader};
use crate::chain::bundle::RpcBody;

/// A block as it was answered.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) header: Header,
    /// Without its transactions.
    pub(super) body: RpcBody,
    pub(super) transactions: Vec<Tx<'a>>,
    /// What the transactions say of the block.
    pub(super) claims: Claims<'a>,
}

impl<'a> Block<'a> {
    /// Reads it; `count` transactions are expected, and written into the buffer where there is one.
    pub(super) fn read(
        text: &'a [u8],
        reader: &mut TxReader,
        count: usize,
        mut arena: Option<&mut Arena>,
    ) -> Read<Self> {
        let mut cursor = Cursor::new(text);
        let mut claims = Claims::default();
        let mut transactions: Option<(Vec<Tx<'a>>, &'a [u8], usize)> = None;
        cursor.demand(b'{')?;
        loop {
            let key = cursor.plain_string()?;
            cursor.demand(b':')?;
            if key == b"transactions" {
                if transactions.is_some() {
                    return Err(Odd("a key that comes twice"));
                }
                let before = cursor.since(0);
                let mut all = Vec::with_capacity(count);
                cursor.elements(|cursor| {
                    let tx = reader.read(cursor, all.len() as u64, &mut claims, arena.as_deref_mut())?;
                    all.push(tx);
                    Ok(())
                })?;
                transactions = Some((all, before, cursor.at()));
            } else {
                cursor.skip()?;
            }
            if !cursor.take(b',') {
                cursor.demand(b'}')?;
                break;
            }
        }
        cursor.end()?;
        let (transactions, before, after) = transactions.ok_or(Odd("a block without transactions"))?;
        // With no transactions inside it is some two kilobytes: types that know every fork's fields are cheap here.
        let rest = [before, b"[]", cursor.since(after)].concat();
        let odd = |_| Odd("a block that cannot be read");
        let header = serde_json::from_slice(&rest).map_err(odd)?;
        let body = serde_json::from_slice(&rest).map_err(odd)?;
        Ok(Self { header, body, transactions, claims })
    }
}
