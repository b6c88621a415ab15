//! Blocks in their own encoding, RLP: of era archives, and of endpoints that answer `debug_getRawBlock` and
//! `debug_getRawReceipts`.
//!
//! Nothing is claimed here beside the data itself, so there is less to compare than in JSON, and more that can be proven: the hash
//! of the ommers is computed from their headers, and every sender is recovered, since none is named. What was hashed are slices of
//! the input, which are not copied. Total: any bytes give a block or an error.

mod list;
mod receipts;

use alloy::consensus::{Header, ReceiptEnvelope, TxType};
use alloy::eips::eip2718::Decodable2718;
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{B256, Bloom, Bytes, keccak256, logs_bloom};
use alloy::rlp::{Decodable, Error, Header as RlpHeader};
use serde_json::value::RawValue;

use self::list::{encodings, items, next, payload};
use self::receipts::read_receipts;
use super::bundle::BundleError;
use super::claim::Differences;
use super::error::{Part, VerifyError, same};
use super::fork::HEADER_FIELDS;
use super::proof::{Encoded, opened};
use super::receipts::{counts_gas_apart, gas_paid};
use super::traces::Traces;
use super::trie::ordered_root;
use super::verified::{Proof, ProvenParts, VerifiedBlock, VerifiedTransaction};
use super::verify::{Expected, verify_withdrawals};

/// A block without its receipts.
#[derive(Debug, Clone)]
pub enum RlpBlock {
    /// `[header, [transaction …], [ommer …], [withdrawal …]?]`, as `debug_getRawBlock` answers it.
    Whole(Bytes),
    /// The header, and the list of the others, as archives keep them.
    Parts {
        /// The header.
        header: Bytes,
        /// `[[transaction …], [ommer …], [withdrawal …]?]`.
        body: Bytes,
    },
}

/// Receipts of a block, in the order of its transactions.
#[derive(Debug, Clone)]
pub enum RlpReceipts {
    /// A list of them with their blooms, those of typed transactions each a string of its
    /// [EIP-2718](https://eips.ethereum.org/EIPS/eip-2718) encoding: as era1 files have it.
    List(Bytes),
    /// The EIP-2718 encoding of each: the answer of `debug_getRawReceipts`.
    Each(Vec<Bytes>),
    /// A list of `[tx-type, post-state-or-status, cumulative-gas, logs]`, without blooms: as ere and erae files and the wire
    /// protocol eth/69 ([EIP-7642](https://eips.ethereum.org/EIPS/eip-7642)) have it.
    Slim(Bytes),
}

/// A block that could be read. Proves nothing yet.
#[derive(Debug)]
pub struct RlpBundle {
    header: Header,
    /// Fields of the header beyond those that this build knows.
    unknown_fields: usize,
    hash: B256,
    /// EIP-2718 encodings.
    transactions: Vec<Bytes>,
    /// The list of ommers, whole.
    ommers: Bytes,
    withdrawals: Option<Vec<Withdrawal>>,
    /// EIP-2718 encodings.
    receipts: Vec<Bytes>,
    consensus: Vec<ReceiptEnvelope>,
    traces: Option<Traces>,
}

impl RlpBundle {
    /// Reads a block with its receipts and, if had, the answer of `debug_traceBlockByHash` (callTracer) or `trace_block`.
    ///
    /// # Errors
    /// [`BundleError`] naming the part that could not be read.
    pub fn read(block: &RlpBlock, receipts: &RlpReceipts, traces: Option<&RawValue>) -> Result<Self, BundleError> {
        let of_block = |error: Error| BundleError { what: "block", detail: format!("RLP: {error}") };
        let (source, header, body) = match block {
            RlpBlock::Whole(block) => {
                let (header, body) = apart(block).map_err(of_block)?;
                (block, header, body)
            }
            RlpBlock::Parts { header, body } => (body, &header[..], payload(body).map_err(of_block)?),
        };
        let (transactions, ommers, withdrawals) = read_body(source, body).map_err(of_block)?;
        // Receipts of a transaction of an unknown type may be of any form; the transaction is what the block is refused for.
        let all_known = (0..).zip(&transactions).all(|(index, tx)| known_type(index, tx).is_ok());
        let (receipts, consensus) = match all_known {
            true => read_receipts(receipts).map_err(|detail| BundleError { what: "receipts", detail })?,
            false => Default::default(),
        };
        Ok(Self {
            hash: keccak256(header),
            unknown_fields: fields_of(header).map_err(of_block)?.saturating_sub(HEADER_FIELDS),
            header: read_header(header).map_err(of_block)?,
            transactions,
            ommers,
            withdrawals,
            receipts,
            consensus,
            traces: traces.map(|raw| Traces::parse(raw.get())).transpose()?,
        })
    }

    /// Number of the block, as its header says.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// Proves the block, with the senders of all its transactions: none is claimed, so none can be proven later.
    ///
    /// Its hash is that of its header.
    ///
    /// # Errors
    /// The first that does not fit, cheap things first, signatures last.
    pub fn verify(self, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
        let Self { header, unknown_fields, hash, transactions, ommers, withdrawals, receipts, consensus, traces } =
            self;
        if let Some(asked) = expected.hash {
            same(Part::BlockHash, None, hash, asked)?;
        }
        // What is stored as proof is encoded from the fields.
        if unknown_fields > 0 {
            let fields = format!("{unknown_fields} after the {HEADER_FIELDS} that it knows");
            return Err(VerifyError::UnknownHeaderFields { fields });
        }
        same(Part::HeaderHash, None, hash, header.hash_slow())?;
        same(Part::OmmersHash, None, keccak256(&ommers), header.ommers_hash)?;
        let mut differences = Differences::default();
        let withdrawals = verify_withdrawals(&header, &withdrawals.into(), &mut differences)?;
        for (index, tx) in (0..).zip(&transactions) {
            known_type(index, tx)?;
        }
        same(Part::ReceiptCount, None, receipts.len(), transactions.len())?;
        same(Part::TransactionsRoot, None, ordered_root(&transactions), header.transactions_root)?;
        same(Part::ReceiptsRoot, None, ordered_root(&receipts), header.receipts_root)?;
        verify_blooms(&header, &consensus)?;
        let proven = open(&header, &transactions, consensus, expected.chain_id)?;
        let mut block = VerifiedBlock::new(ProvenParts {
            hash,
            header,
            transactions: proven,
            withdrawals,
            proof: Proof::Proven,
            encoded: Some(Encoded { transactions, receipts }),
            whole: true,
            differences,
        });
        block.accept_traces(traces)?;
        Ok(block)
    }
}

/// Whether a block lists no transactions.
pub(super) fn lists_no_transactions(block: &RlpBlock) -> bool {
    let body = match block {
        RlpBlock::Whole(block) => apart(block).map(|(_, body)| body),
        RlpBlock::Parts { body, .. } => payload(body),
    };
    body.and_then(|mut body| next(&mut body))
        .is_ok_and(|transactions| transactions.list && transactions.payload.is_empty())
}

/// The block's hash, which is its header's; none where there is no header to be found.
pub fn hash_of(block: &RlpBlock) -> Option<B256> {
    match block {
        RlpBlock::Whole(block) => apart(block).ok().map(|(header, _)| keccak256(header)),
        RlpBlock::Parts { header, .. } => Some(keccak256(header)),
    }
}

/// The block's number alone; none where even that cannot be read.
pub fn number_of(block: &RlpBlock) -> Option<u64> {
    let header = match block {
        RlpBlock::Whole(block) => apart(block).ok()?.0,
        RlpBlock::Parts { header, .. } => header,
    };
    read_header(header).ok().map(|header| header.number)
}

/// Number of a header's fields.
fn fields_of(header: &[u8]) -> alloy::rlp::Result<usize> {
    Ok(items(payload(header)?)?.len())
}

/// The header, as far as its fields are known: what a later fork adds comes after them.
fn read_header(header: &[u8]) -> alloy::rlp::Result<Header> {
    let fields = items(payload(header)?)?;
    let known: usize = fields.iter().take(HEADER_FIELDS).map(|field| field.whole.len()).sum();
    if fields.len() <= HEADER_FIELDS {
        return alloy::rlp::decode_exact(header);
    }
    let mut cut = Vec::with_capacity(header.len());
    RlpHeader { list: true, payload_length: known }.encode(&mut cut);
    fields.iter().take(HEADER_FIELDS).for_each(|field| cut.extend_from_slice(field.whole));
    alloy::rlp::decode_exact(&cut)
}

/// The chain that the transactions were signed for: that of the first which says so. None where there is none, or where they
/// cannot be read.
pub fn chain_id_of(block: &RlpBlock) -> Option<u64> {
    use alloy::consensus::Transaction as _;
    let (source, body) = match block {
        RlpBlock::Whole(block) => (block, apart(block).ok()?.1),
        RlpBlock::Parts { body, .. } => (body, payload(body).ok()?),
    };
    let (transactions, ..) = read_body(source, body).ok()?;
    transactions.iter().find_map(|tx| super::transaction::Envelope::decode_2718_exact(tx).ok()?.chain_id())
}

/// The header of a whole block, and the payload of its body.
fn apart(block: &[u8]) -> alloy::rlp::Result<(&[u8], &[u8])> {
    let mut body = payload(block)?;
    let header = next(&mut body)?;
    Ok((header.whole, body))
}

type Body = (Vec<Bytes>, Bytes, Option<Vec<Withdrawal>>);

/// Transactions, the list of ommers, withdrawals.
fn read_body(source: &Bytes, body: &[u8]) -> alloy::rlp::Result<Body> {
    let mut rest = body;
    let (transactions, ommers) = (next(&mut rest)?, next(&mut rest)?);
    if !transactions.list || !ommers.list {
        return Err(Error::UnexpectedString);
    }
    let withdrawals = match rest {
        [] => None,
        _ => Some(Vec::decode(&mut rest)?),
    };
    if !rest.is_empty() {
        return Err(Error::Custom("the body has more parts than transactions, ommers and withdrawals"));
    }
    Ok((encodings(source, transactions.payload)?, source.slice_ref(ommers.whole), withdrawals))
}

/// A transaction of a type that this build knows.
fn known_type(index: u64, encoded: &[u8]) -> Result<(), VerifyError> {
    match encoded.first() {
        Some(&tx_type @ 1..=0x7f) if TxType::try_from(tx_type).is_err() => {
            Err(VerifyError::UnknownTransactionType { index, tx_type: tx_type.into() })
        }
        _ => Ok(()),
    }
}

/// The bloom of each receipt is that of its logs, the header's is all of them.
fn verify_blooms(header: &Header, receipts: &[ReceiptEnvelope]) -> Result<(), VerifyError> {
    let mut sum = Bloom::ZERO;
    for (index, receipt) in (0..).zip(receipts) {
        let bloom = logs_bloom(receipt.logs());
        same(Part::LogsBloom, Some(index), *receipt.logs_bloom(), bloom)?;
        sum.accrue_bloom(&bloom);
    }
    same(Part::LogsBloom, None, header.logs_bloom, sum)
}

/// The transactions with their receipts.
fn open(
    header: &Header,
    transactions: &[Bytes],
    receipts: Vec<ReceiptEnvelope>,
    chain_id: u64,
) -> Result<Vec<VerifiedTransaction>, VerifyError> {
    let apart = counts_gas_apart(header);
    // Gas first: recovery is what costs.
    let mut gas_before = 0;
    for (index, receipt) in (0..).zip(&receipts) {
        let cumulative = receipt.cumulative_gas_used();
        gas_paid(index, cumulative, gas_before)?;
        gas_before = cumulative;
    }
    if !apart {
        same(Part::GasUsed, None, gas_before, header.gas_used)?;
    }
    let mut proven = Vec::with_capacity(transactions.len());
    let (mut gas_before, mut first_log_index) = (0, 0);
    for ((index, tx), receipt) in (0..).zip(transactions).zip(receipts) {
        let (mut tx, cumulative) = opened(index, tx, receipt, chain_id, header.base_fee_per_gas)?;
        tx.gas_used = gas_paid(index, cumulative, gas_before)?;
        tx.first_log_index = first_log_index;
        gas_before = cumulative;
        first_log_index += tx.logs.len() as u64;
        proven.push(tx);
    }
    Ok(proven)
}

#[cfg(test)]
mod tests;
