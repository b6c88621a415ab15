//! Receipts: each object read once, its EIP-2718 bytes written from it, logs first and what comes before them last.

use std::ops::Range;

use alloy::consensus::Header;
use alloy::primitives::{Address, B256, Bloom, Bytes, Log, LogData};
use alloy::rlp::{Encodable, Header as RlpHeader};

use super::arena::{Arena, Place, hex_length, list_length};
use super::claims::Claims;
use super::keys::{Key as _, LogKey, Order, ReceiptKey};
use super::scan::{Cursor, Read};
use super::transaction::Tx;
use super::{Odd, lacks};
use crate::chain::blob_price::is_blob_price;
use crate::chain::receipts::GAS_PER_BLOB;

/// Room for the type byte and the headers (10), status or state root (33), gas (9), bloom (259) and the header of the logs (9).
const ROOM: usize = 320;

/// Where a log is in the buffer.
#[derive(Debug)]
pub(super) struct LogPlace {
    /// Its address; its topics follow.
    address: usize,
    topics: usize,
    data: Place,
}

impl LogPlace {
    pub(super) fn log(&self, bytes: &Bytes) -> Log {
        // Address and topics have a byte of header each, the list of topics one, or two beyond one topic.
        let header = if self.topics > 1 { 2 } else { 1 };
        let topics = bytes[self.address + 20 + header..].chunks_exact(33).take(self.topics);
        let topics = topics.map(|topic| B256::from_slice(&topic[1..])).collect();
        let address = Address::from_slice(&bytes[self.address..self.address + 20]);
        Log { address, data: LogData::new_unchecked(topics, bytes.slice(self.data.clone())) }
    }
}

/// What is kept of a receipt, beside its bytes.
#[derive(Debug, Default)]
pub(super) struct ReceiptParts {
    pub(super) cumulative: u64,
    pub(super) gas_used: Option<u64>,
    pub(super) price: Option<u128>,
    pub(super) contract: Option<Address>,
    pub(super) success: Option<bool>,
    pub(super) blob_gas: Option<u64>,
    pub(super) blob_price: Option<u128>,
    status: Option<u64>,
    root: Option<[u8; 32]>,
    kind: Option<u64>,
    /// Its logs among all of the block.
    pub(super) logs: Range<usize>,
    /// Its bytes in the buffer.
    pub(super) encoded: Place,
}

/// What one receipt after another is read with.
#[derive(Debug, Default)]
pub(super) struct ReceiptReader {
    order: Order<ReceiptKey>,
    log_order: Order<LogKey>,
    prefix: Vec<u8>,
}

/// Where the logs go.
#[derive(Debug)]
pub(super) struct Out<'b> {
    pub(super) arena: &'b mut Arena,
    pub(super) logs: &'b mut Vec<LogPlace>,
    /// All blooms so far.
    pub(super) bloom: &'b mut Bloom,
}

impl ReceiptReader {
    /// Reads the receipt of a transaction. Where nothing is to be proven, only its logs are written, and a claim may be missing.
    pub(super) fn read<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        (index, tx): (u64, &Tx<'_>),
        claims: &mut Claims<'a>,
        prove: bool,
        out: &mut Out<'_>,
    ) -> Read<ReceiptParts> {
        let mut receipt = ReceiptParts::default();
        let (mut from, mut to) = (None, None);
        let mut bloom = [0u8; 256];
        let payload = out.arena.open(ROOM);
        let first_log = out.logs.len();
        let Self { order, log_order, prefix } = self;
        let stated = cursor.members(order, |cursor, key| {
            match key {
                ReceiptKey::TransactionHash => same(Some(cursor.hash_text()?), tx.hash_text)?,
                ReceiptKey::TransactionIndex => same(cursor.u64()?, index)?,
                ReceiptKey::BlockHash => claims.hash.hold(cursor.hash_text()?)?,
                ReceiptKey::BlockNumber => claims.number.hold_digits(cursor)?,
                ReceiptKey::BlockTimestamp if cursor.peek() == Some(b'"') => claims.timestamp.hold_digits(cursor)?,
                ReceiptKey::BlockTimestamp => claims.seconds.hold(cursor.number())?,
                ReceiptKey::From => from = Some(Address::from(cursor.bytes::<20>()?)),
                ReceiptKey::To => to = Some(Address::from(cursor.bytes::<20>()?)),
                ReceiptKey::Type => receipt.kind = Some(cursor.u64()?),
                ReceiptKey::CumulativeGasUsed => receipt.cumulative = cursor.u64()?,
                ReceiptKey::GasUsed => receipt.gas_used = Some(cursor.u64()?),
                ReceiptKey::EffectiveGasPrice => receipt.price = Some(cursor.u128()?),
                ReceiptKey::BlobGasUsed => receipt.blob_gas = Some(cursor.u64()?),
                ReceiptKey::BlobGasPrice => receipt.blob_price = Some(cursor.u128()?),
                ReceiptKey::ContractAddress => receipt.contract = Some(cursor.bytes::<20>()?.into()),
                ReceiptKey::Status => receipt.status = Some(cursor.u64()?),
                ReceiptKey::Root => receipt.root = Some(cursor.bytes()?),
                ReceiptKey::LogsBloom => bloom = cursor.bytes()?,
                ReceiptKey::Logs => cursor.elements(|cursor| {
                    let at = (index, out.logs.len() as u64);
                    let log = read_log(cursor, log_order, at, tx, claims, out.arena)?;
                    out.logs.push(log);
                    Ok(())
                })?,
            }
            Ok(())
        })?;
        receipt.logs = first_log..out.logs.len();
        let always = ReceiptKey::TransactionHash.bit() | ReceiptKey::CumulativeGasUsed.bit() | ReceiptKey::Logs.bit();
        lacks(stated, always, "a receipt's field")?;
        receipt.success = receipt.status.map(|status| status != 0);
        if !prove {
            return Ok(receipt);
        }
        // It is hashed as it is stated.
        lacks(stated, ReceiptKey::LogsBloom.bit(), "a receipt's bloom")?;
        if from.is_some_and(|from| from != tx.from) || to.is_some_and(|to| Some(to) != tx.to) {
            return Err(Odd("a receipt of another sender or recipient"));
        }
        if receipt.kind.is_some_and(|stated| stated != tx.kind) {
            return Err(Odd("a receipt of another type"));
        }
        receipt.encode(tx.kind, &bloom, payload, prefix, out.arena)?;
        out.bloom.iter_mut().zip(bloom).for_each(|(all, own)| *all |= own);
        Ok(receipt)
    }
}

impl ReceiptParts {
    fn encode(
        &mut self,
        kind: u64,
        bloom: &[u8; 256],
        payload: usize,
        first: &mut Vec<u8>,
        arena: &mut Arena,
    ) -> Read<()> {
        let logs = arena.len() - payload;
        let logs_header = RlpHeader { list: true, payload_length: logs };
        let outcome = match (self.status, &self.root) {
            (Some(status @ (0 | 1)), None) => Ok(status),
            (None, Some(root)) => Err(root),
            _ => return Err(Odd("a receipt with another status, or with a state root beside it")),
        };
        let outcome_length = outcome.map_or(33, |_| 1);
        let length = outcome_length + self.cumulative.length() + 259 + logs_header.length() + logs;
        first.clear();
        if kind > 0 {
            first.push(kind as u8);
        }
        RlpHeader { list: true, payload_length: length }.encode(first);
        match outcome {
            Ok(status) => (status == 1).encode(first),
            Err(root) => root[..].encode(first),
        }
        self.cumulative.encode(first);
        bloom[..].encode(first);
        logs_header.encode(first);
        self.encoded = arena.close(payload, first);
        Ok(())
    }

    /// What the typed path checks of a receipt beside its bytes; returns what it used alone.
    pub(super) fn check(&self, tx: &Tx<'_>, header: &Header, chain_id: u64, gas_before: u64) -> Read<u64> {
        let Some(alone) = self.cumulative.checked_sub(gas_before) else { return Err(Odd("gas that does not add up")) };
        if self.gas_used.is_some_and(|stated| stated != alone) {
            return Err(Odd("gas that does not add up"));
        }
        if self.price.is_some_and(|stated| stated != tx.paid(header.base_fee_per_gas)) {
            return Err(Odd("a price that was not paid"));
        }
        if self.blob_gas.is_some_and(|stated| Some(stated) != tx.blobs.checked_mul(GAS_PER_BLOB)) {
            return Err(Odd("gas of another number of blobs"));
        }
        if self.blob_price.is_some_and(|price| !is_blob_price(header, chain_id, tx.blobs > 0, price)) {
            return Err(Odd("a price of blobs"));
        }
        let created = tx.to.is_none().then(|| tx.from.create(tx.nonce));
        match self.contract {
            Some(stated) if Some(stated) != created => Err(Odd("another contract than was created")),
            _ => Ok(alone),
        }
    }
}

fn read_log<'a>(
    cursor: &mut Cursor<'a>,
    order: &mut Order<LogKey>,
    (index, log_index): (u64, u64),
    tx: &Tx<'_>,
    claims: &mut Claims<'a>,
    arena: &mut Arena,
) -> Read<LogPlace> {
    let mut address = [0u8; 20];
    let mut topics = [[0u8; 32]; 4];
    let mut count = 0;
    let mut data: &[u8] = &[];
    let stated = cursor.members(order, |cursor, key| {
        match key {
            LogKey::Address => address = cursor.bytes()?,
            LogKey::Topics => cursor.elements(|cursor| {
                *topics.get_mut(count).ok_or(Odd("a log of more than four topics"))? = cursor.bytes()?;
                count += 1;
                Ok(())
            })?,
            LogKey::Data => data = cursor.digits()?,
            LogKey::BlockHash => claims.hash.hold(cursor.hash_text()?)?,
            LogKey::BlockNumber => claims.number.hold_digits(cursor)?,
            LogKey::BlockTimestamp => claims.timestamp.hold_digits(cursor)?,
            LogKey::TransactionHash => same(Some(cursor.hash_text()?), tx.hash_text)?,
            LogKey::TransactionIndex => same(cursor.u64()?, index)?,
            LogKey::LogIndex => same(cursor.u64()?, log_index)?,
            LogKey::Removed => same(cursor.bool()?, false)?,
        }
        Ok(())
    })?;
    let always = LogKey::Address.bit() | LogKey::Topics.bit() | LogKey::Data.bit();
    lacks(stated, always, "a log's field")?;
    arena.list(21 + list_length(33 * count) + hex_length(data)?);
    arena.short(&address);
    let address = arena.len() - 20;
    arena.list(33 * count);
    topics.iter().take(count).for_each(|topic| arena.short(topic));
    Ok(LogPlace { address, topics: count, data: arena.hex(data)? })
}

fn same<T: PartialEq + Copy>(found: T, expected: T) -> Read<()> {
    if found == expected { Ok(()) } else { Err(Odd("a claim of another place")) }
}
