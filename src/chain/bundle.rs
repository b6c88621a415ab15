//! A block as it was answered: everything needed to prove it, in the shapes of the Ethereum JSON-RPC specification.
//!
//! The header goes straight into alloy's consensus type. Transactions and receipts have flat structs of our own: alloy's RPC
//! types are untagged and flattened, which costs several times the parsing and tells neither a missing from a null field nor
//! what was wrong. Every field that a node repeats (block hash in each log, index, sender …) is kept, because each is a claim
//! that [`verify`](super::verify) holds against the proven data.

use alloy::consensus::Header;
use alloy::eips::eip2930::AccessList;
use alloy::eips::eip4895::Withdrawal;
use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::{Address, B256, Bloom, Bytes, U64, U128, U256};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::claim::Claim;
use super::error::VerifyError;
use super::fork::unknown_members;
use super::rlp::{self, RlpBlock, RlpReceipts};
use super::traces::Traces;

/// A block as it came, before anything of it is believed. Cheap to clone.
#[derive(Debug, Clone)]
pub enum RawBlock {
    /// What JSON-RPC methods answered, as it came.
    Json {
        /// The result of `eth_getBlockByHash` with full transactions.
        block: Bytes,
        /// The result of `eth_getBlockReceipts`.
        receipts: Bytes,
    },
    /// The block's own encoding: of era archives and raw methods.
    Rlp {
        /// Header and body.
        block: RlpBlock,
        /// Its receipts.
        receipts: RlpReceipts,
    },
}

impl RawBlock {
    /// Whether it lists no transactions. A hint, since only the proof says what the block holds.
    pub fn lists_no_transactions(&self) -> bool {
        match self {
            Self::Json { block, .. } => lists_no_transactions(block),
            Self::Rlp { block, .. } => rlp::lists_no_transactions(block),
        }
    }

    /// Bytes of the block and its receipts.
    pub fn size(&self) -> usize {
        match self {
            Self::Json { block, receipts } => block.len() + receipts.len(),
            Self::Rlp { block, receipts } => {
                let block = match block {
                    RlpBlock::Whole(block) => block.len(),
                    RlpBlock::Parts { header, body } => header.len() + body.len(),
                };
                block
                    + match receipts {
                        RlpReceipts::List(list) | RlpReceipts::Slim(list) => list.len(),
                        RlpReceipts::Each(each) => each.iter().map(|receipt| receipt.len()).sum(),
                    }
            }
        }
    }
}

/// Whether the JSON of a block lists no transactions. A hint, since only the proof says what the block holds.
pub fn lists_no_transactions(block: &[u8]) -> bool {
    const KEY: &[u8] = b"\"transactions\"";
    let Some(at) = memchr::memmem::find(block, KEY) else { return false };
    let mut rest = block[at + KEY.len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
    [b':', b'[', b']'].iter().all(|expected| rest.next() == Some(expected))
}

/// The answer could not be read as a block at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read: {detail}")]
pub struct BundleError {
    /// Which of the answers: `block`, `receipts` or `traces`.
    pub what: &'static str,
    /// What the parser says of it.
    pub detail: String,
}

/// Why a block was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] BundleError),
    /// It does not fit.
    #[error(transparent)]
    Refused(#[from] VerifyError),
}

/// Header, transactions, receipts and withdrawals (traces if had), all fetched by one block hash. Proves nothing yet.
#[derive(Debug, Clone)]
pub struct BlockBundle {
    /// The header, as far as its fields are known to this build.
    pub header: Header,
    /// Names of the block's members that are unknown to this build.
    pub unknown_members: Vec<String>,
    /// Everything else of the block.
    pub body: RpcBody,
    /// One for each transaction, in order.
    pub receipts: Vec<RpcReceipt>,
    /// Call frames, where the source had them. No root covers them.
    pub traces: Option<Traces>,
}

impl BlockBundle {
    /// Reads the answers of `eth_getBlockByHash` (full transactions), `eth_getBlockReceipts` and, if had, of
    /// `debug_traceBlockByHash` (callTracer) or `trace_block`.
    ///
    /// # Errors
    /// [`BundleError`] naming the answer that could not be read.
    pub fn parse(block: &[u8], receipts: &[u8], traces: Option<&RawValue>) -> Result<Self, BundleError> {
        let body: RpcBody = read("block", block)?;
        Ok(Self {
            header: read("block", block)?,
            unknown_members: unknown_members(block),
            body,
            receipts: read("receipts", receipts)?,
            traces: traces.map(|raw| Traces::parse(raw.get())).transpose()?,
        })
    }
}

pub(super) fn read<'a, T: Deserialize<'a>>(what: &'static str, text: &'a [u8]) -> Result<T, BundleError> {
    serde_json::from_slice(text).map_err(|err| BundleError { what, detail: err.to_string() })
}

/// What a block's answer holds beside the header's fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RpcBody {
    /// The hash the node says the block has.
    #[serde(default)]
    pub hash: Claim<B256>,
    /// Length of the block's RLP in bytes, as claimed.
    #[serde(default)]
    pub size: Claim<U64>,
    /// Hashes of the ommers.
    #[serde(default)]
    pub uncles: Claim<Vec<IgnoredAny>>,
    /// Full transactions, in order; a block whose header shows that it has none may leave them out.
    #[serde(default)]
    pub transactions: Option<Vec<RpcTransaction>>,
    /// Beacon chain withdrawals (EIP-4895), amounts in Gwei.
    #[serde(default)]
    pub withdrawals: Claim<Vec<Withdrawal>>,
}

/// A transaction object of the JSON-RPC API, of any type.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification, by its names")]
pub struct RpcTransaction {
    #[serde(default)]
    pub hash: Claim<B256>,
    #[serde(rename = "type", default)]
    pub tx_type: Claim<U64>,
    #[serde(default)]
    pub block_hash: Claim<B256>,
    #[serde(default)]
    pub block_number: Claim<U64>,
    #[serde(default)]
    pub transaction_index: Claim<U64>,
    #[serde(default)]
    pub block_timestamp: Claim<U64>,
    #[serde(default)]
    pub from: Claim<Address>,
    pub to: Option<Address>,
    pub nonce: U64,
    pub value: U256,
    #[serde(default)]
    pub gas: Claim<U64>,
    #[serde(default)]
    pub gas_limit: Claim<U64>,
    #[serde(default)]
    pub gas_price: Claim<U128>,
    #[serde(default)]
    pub max_fee_per_gas: Claim<U128>,
    #[serde(default)]
    pub max_priority_fee_per_gas: Claim<U128>,
    #[serde(default)]
    pub max_fee_per_blob_gas: Claim<U128>,
    #[serde(default)]
    pub input: Claim<Bytes>,
    #[serde(default)]
    pub data: Claim<Bytes>,
    #[serde(default)]
    pub chain_id: Claim<U64>,
    #[serde(default)]
    pub access_list: Claim<AccessList>,
    #[serde(default)]
    pub blob_versioned_hashes: Claim<Vec<B256>>,
    #[serde(default)]
    pub authorization_list: Claim<Vec<SignedAuthorization>>,
    #[serde(default)]
    pub creates: Claim<Address>,
    #[serde(default)]
    pub v: Claim<U256>,
    #[serde(default)]
    pub y_parity: Claim<U64>,
    #[serde(default)]
    pub r: Option<U256>,
    #[serde(default)]
    pub s: Option<U256>,
}

/// A receipt object of the JSON-RPC API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification, by its names")]
pub struct RpcReceipt {
    #[serde(default)]
    pub transaction_hash: Claim<B256>,
    #[serde(default)]
    pub transaction_index: Claim<U64>,
    #[serde(default)]
    pub block_hash: Claim<B256>,
    #[serde(default)]
    pub block_number: Claim<U64>,
    #[serde(default)]
    pub block_timestamp: Claim<U64>,
    #[serde(default)]
    pub from: Claim<Address>,
    #[serde(default)]
    pub to: Claim<Address>,
    #[serde(rename = "type", default)]
    pub tx_type: Claim<U64>,
    #[serde(default)]
    pub cumulative_gas_used: Claim<U64>,
    #[serde(default)]
    pub gas_used: Claim<U64>,
    #[serde(default)]
    pub effective_gas_price: Claim<U128>,
    #[serde(default)]
    pub blob_gas_used: Claim<U64>,
    #[serde(default)]
    pub blob_gas_price: Claim<U128>,
    #[serde(default)]
    pub contract_address: Claim<Address>,
    #[serde(default)]
    pub status: Claim<U64>,
    #[serde(default)]
    pub root: Claim<Bytes>,
    #[serde(default)]
    pub logs_bloom: Claim<Bloom>,
    pub logs: Vec<RpcLog>,
}

/// A log object of the JSON-RPC API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the Ethereum JSON-RPC specification, by its names")]
pub struct RpcLog {
    pub address: Address,
    pub topics: Vec<B256>,
    pub data: Bytes,
    #[serde(default)]
    pub block_hash: Claim<B256>,
    #[serde(default)]
    pub block_number: Claim<U64>,
    #[serde(default)]
    pub block_timestamp: Claim<U64>,
    #[serde(default)]
    pub transaction_hash: Claim<B256>,
    #[serde(default)]
    pub transaction_index: Claim<U64>,
    #[serde(default)]
    pub log_index: Claim<U64>,
    #[serde(default)]
    pub removed: Claim<bool>,
}
