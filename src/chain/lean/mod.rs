//! The same proof as [`verify`], without types between the bytes of an answer and the bytes that are hashed.
//!
//! A scanner reads both answers once, compares what nodes repeat as text, and writes the RLP of each transaction and receipt
//! into one buffer. It only ever accepts: whatever it does not expect is [`Odd`], and the typed path decides and says what is
//! wrong. The law: what is accepted here, the typed path accepts with an equal block. Differential tests and a fuzzer hold it.

mod arena;
mod block;
mod claims;
mod keys;
mod receipt;
mod scan;
mod transaction;

use alloy::consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{B256, Bloom, Bytes, U64};
use serde_json::value::RawValue;

use self::arena::Arena;
use self::block::Block;
use self::claims::Claims;
use self::receipt::{LogPlace, Out, ReceiptParts, ReceiptReader};
use self::scan::{Cursor, Read};
use self::transaction::{Tx, TxReader};
pub use super::bundle::TakeError;
use super::bundle::{BlockBundle, RawBlock};
use super::claim::{Claim, Differences};
use super::fork::unknown_transaction_type;
use super::keccak::{Message, keccak_all};
use super::proof::Encoded;
use super::receipts::{counts_gas_apart, gas_claimed};
use super::rlp::RlpBundle;
use super::traces::Traces;
use super::trie::ordered_root;
use super::trusted;
use super::verified::{Proof, ProvenParts, VerifiedBlock, VerifiedTransaction};
use super::verify::{self, Expected, sizes, verify_withdrawals};

/// Something that the lean path does not expect, in words: the typed path decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Odd(pub &'static str);

/// Which way a block was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The lean one.
    Lean,
    /// From RLP, which names nothing twice.
    Rlp,
    /// The typed one, and why.
    Typed(Odd),
}

/// Reads one block after another, and gets faster by remembering how the last one was written. One for each worker.
#[derive(Debug, Default)]
pub struct Reader {
    transactions: TxReader,
    receipts: ReceiptReader,
    logs: Vec<LogPlace>,
    /// Most transactions of a block so far.
    count: usize,
}

impl Reader {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a block in the lean way, or else in the typed one: proven but for its senders, or (`trust`) at its endpoint's word.
    /// Says which way it was.
    ///
    /// # Errors
    /// As the typed path says it: [`BlockBundle::parse`], [`verify::verify_but_senders`] and [`trusted::trust`].
    pub fn take(
        &mut self,
        raw: &RawBlock,
        traces: Option<&RawValue>,
        expected: Expected,
        trust: bool,
    ) -> Result<(VerifiedBlock, Path), TakeError> {
        let (block, receipts) = match raw {
            RawBlock::Json { block, receipts } => (block, receipts),
            // It names no sender, so that there is nothing to take at anybody's word: always proven.
            RawBlock::Rlp { block, receipts } => {
                return Ok((RlpBundle::read(block, receipts, traces)?.verify(expected)?, Path::Rlp));
            }
        };
        let lean = if trust { self.trust(block, receipts, expected) } else { self.prove(block, receipts, expected) };
        match lean {
            Ok(mut block) => {
                let traces = traces.map(|raw| Traces::parse(raw.get())).transpose()?;
                block.accept_traces(traces)?;
                Ok((block, Path::Lean))
            }
            Err(odd) => {
                let block = if trust {
                    trusted::trust(block, receipts, traces, expected)?
                } else {
                    let bundle = BlockBundle::parse(block, receipts, traces)
                        .map_err(|error| unknown_transaction_type(block).map_or(error.into(), TakeError::Refused))?;
                    verify::verify_but_senders(bundle, expected)?
                };
                Ok((block, Path::Typed(odd)))
            }
        }
    }

    /// Proves a block but for its senders, without traces, from the results of `eth_getBlockByHash` (full transactions) and
    /// `eth_getBlockReceipts`.
    ///
    /// The claimed blooms are hashed as part of the receipts and not computed again: a root that fits holds them to be those
    /// that the chain agreed on.
    ///
    /// # Errors
    /// [`Odd`] where anything is not as expected, which may or may not be wrong.
    pub fn prove(&mut self, block: &[u8], receipts: &[u8], expected: Expected) -> Result<VerifiedBlock, Odd> {
        let mut arena = Arena::for_text(block);
        let block = Block::read(block, &mut self.transactions, self.count, Some(&mut arena))?;
        let (header, body) = (&block.header, &block.body);
        let hash = header.hash_slow();
        if body.hash.value().is_none_or(|stated| *stated != hash)
            || expected.hash.is_some_and(|expected| expected != hash)
        {
            return Err(Odd("a block of another hash"));
        }
        if !body.uncles.is_absent()
            && body.uncles.value().map(Vec::is_empty) != Some(header.ommers_hash == EMPTY_OMMER_ROOT_HASH)
        {
            return Err(Odd("ommers of another block"));
        }
        block.claims.check(hash, header)?;
        let mut differences = Differences::default();
        let withdrawals = verify_withdrawals(header, &body.withdrawals, &mut differences)
            .map_err(|_| Odd("withdrawals that do not fit"))?;
        if !differences.is_empty() {
            return Err(Odd("withdrawals that do not fit"));
        }
        if let Some(sizes) = sizes(header, &withdrawals, block.transactions.iter().map(Tx::length_in_block).sum())
            && !sizes.iter().any(|size| body.size.fits(&U64::from(*size)))
        {
            return Err(Odd("a size that does not fit"));
        }
        for tx in &block.transactions {
            tx.check(expected.chain_id, header.base_fee_per_gas)?;
        }
        let messages: Vec<Message<'_>> =
            block.transactions.iter().map(|tx| Message { head: &[], body: arena.get(tx.encoded.clone()) }).collect();
        if !keccak_all(&messages).into_iter().eq(block.transactions.iter().map(|tx| tx.hash)) {
            return Err(Odd("a transaction's hash"));
        }
        let bytes = arena.freeze();
        let transactions: Vec<Bytes> = block.transactions.iter().map(|tx| bytes.slice(tx.encoded.clone())).collect();
        if ordered_root(&transactions) != header.transactions_root {
            return Err(Odd("another root of transactions"));
        }
        let (read, arena, bloom) = self.read_receipts(receipts, &block, true, hash)?;
        let header = &block.header;
        let gas_apart = counts_gas_apart(header);
        let used = read.last().map_or(0, |receipt| receipt.cumulative);
        if bloom != header.logs_bloom || (!gas_apart && used != header.gas_used) {
            return Err(Odd("blooms or gas that do not add up"));
        }
        let bytes = arena.freeze();
        let receipts: Vec<Bytes> = read.iter().map(|receipt| bytes.slice(receipt.encoded.clone())).collect();
        if ordered_root(&receipts) != header.receipts_root {
            return Err(Odd("another root of receipts"));
        }
        let mut gas_before = 0;
        let mut verified = Vec::with_capacity(read.len());
        for (tx, receipt) in block.transactions.into_iter().zip(read) {
            let gas_used = receipt.check(&tx, header, expected.chain_id, gas_before)?;
            gas_before = receipt.cumulative;
            let price = tx.paid(header.base_fee_per_gas);
            verified.push(self.transaction(verified.len(), tx, &receipt, (gas_used, price), &bytes));
        }
        let encoded = Some(Encoded { transactions, receipts });
        Ok(whole(hash, block.header, verified, withdrawals, Proof::Proven, encoded))
    }

    /// Takes a block at its endpoint's word, without traces.
    ///
    /// # Errors
    /// [`Odd`] where anything is not as expected, which may or may not be wrong.
    pub fn trust(&mut self, block: &[u8], receipts: &[u8], expected: Expected) -> Result<VerifiedBlock, Odd> {
        let block = Block::read(block, &mut self.transactions, self.count, None)?;
        let hash = *block.body.hash.value().ok_or(Odd("a block without its hash"))?;
        if expected.hash.is_some_and(|expected| expected != hash) {
            return Err(Odd("a block of another hash"));
        }
        block.claims.check(hash, &block.header)?;
        let (read, arena, _) = self.read_receipts(receipts, &block, false, hash)?;
        let bytes = arena.freeze();
        let base_fee = block.header.base_fee_per_gas;
        let mut gas_before = 0;
        let mut verified = Vec::with_capacity(read.len());
        for (tx, receipt) in block.transactions.into_iter().zip(read) {
            let gas_used = gas_claimed(receipt.cumulative, gas_before, receipt.gas_used);
            gas_before = receipt.cumulative;
            let price = receipt.price.unwrap_or_else(|| tx.paid_as_said(base_fee));
            verified.push(self.transaction(verified.len(), tx, &receipt, (gas_used, price), &bytes));
        }
        let withdrawals = match block.body.withdrawals {
            Claim::Absent => Vec::new(),
            Claim::Value(withdrawals) => withdrawals,
            Claim::Unreadable(_) => return Err(Odd("withdrawals that cannot be read")),
        };
        Ok(whole(hash, block.header, verified, withdrawals, Proof::Unproven, None))
    }

    /// The receipts, one for each transaction, with the buffer and all blooms together.
    fn read_receipts(
        &mut self,
        text: &[u8],
        block: &Block<'_>,
        prove: bool,
        hash: B256,
    ) -> Read<(Vec<ReceiptParts>, Arena, Bloom)> {
        let transactions = &block.transactions;
        let mut arena = Arena::for_text(text);
        let mut bloom = Bloom::ZERO;
        let mut receipts = Vec::with_capacity(transactions.len());
        let mut claims = Claims::default();
        let mut cursor = Cursor::new(text);
        self.logs.clear();
        let mut out = Out { arena: &mut arena, logs: &mut self.logs, bloom: &mut bloom };
        cursor.elements(|cursor| {
            let tx = transactions.get(receipts.len()).ok_or(Odd("more receipts than transactions"))?;
            receipts.push(self.receipts.read(cursor, (receipts.len() as u64, tx), &mut claims, prove, &mut out)?);
            Ok(())
        })?;
        cursor.end()?;
        if receipts.len() != transactions.len() {
            return Err(Odd("fewer receipts than transactions"));
        }
        claims.check(hash, &block.header)?;
        self.count = self.count.max(receipts.len());
        Ok((receipts, arena, bloom))
    }

    fn transaction(
        &self,
        index: usize,
        tx: Tx<'_>,
        receipt: &ReceiptParts,
        (gas_used, effective_gas_price): (u64, u128),
        bytes: &Bytes,
    ) -> VerifiedTransaction {
        let logs = self.logs.get(receipt.logs.clone()).unwrap_or_default();
        VerifiedTransaction {
            index: index as u64,
            hash: tx.hash,
            signer: tx.from,
            recovered: false,
            to: tx.to,
            value: tx.value,
            nonce: tx.nonce,
            success: receipt.success,
            gas_used,
            effective_gas_price,
            logs: logs.iter().map(|log| log.log(bytes)).collect(),
            first_log_index: receipt.logs.start as u64,
            authorizations: tx.authorizations,
        }
    }
}

fn whole(
    hash: B256,
    header: Header,
    transactions: Vec<VerifiedTransaction>,
    withdrawals: Vec<Withdrawal>,
    proof: Proof,
    encoded: Option<Encoded>,
) -> VerifiedBlock {
    VerifiedBlock::new(ProvenParts {
        hash,
        header,
        transactions,
        withdrawals,
        proof,
        encoded,
        whole: true,
        differences: Differences::default(),
    })
}

/// Odd where one of the bits that are needed is missing.
fn lacks(stated: u64, needed: u64, what: &'static str) -> Read<()> {
    if stated & needed == needed { Ok(()) } else { Err(Odd(what)) }
}
