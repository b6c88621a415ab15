//! A block at its endpoint's word (`--trust-rpc`), for chains whose blocks this build cannot prove.
//!
//! Only what later stages rely on must be there: the block's hash, number, parent, time, beneficiary and transactions, and one
//! receipt for each of these. All else has a default, since chains leave out what they do not have (Celo: uncles and gas limit;
//! AuRa: mixHash and nonce), write it in their own way (Harmony: the nonce as a number) or add to it.

use std::collections::HashMap;

use alloy::consensus::Header;
use alloy::eips::eip4895::Withdrawal;
use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::{Address, B64, B256, Bloom, Bytes, Log, LogData, U64, U128, U256};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::bundle::{BundleError, TakeError, read};
use super::claim::{Claim, Differences};
use super::error::{Part, VerifyError, mismatch, same};
use super::receipts::gas_claimed;
use super::traces::Traces;
use super::verified::{Proof, ProvenParts, VerifiedBlock, VerifiedTransaction};
use super::verify::Expected;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrustedBody {
    hash: B256,
    #[serde(deserialize_with = "list_or_null")]
    transactions: Vec<TrustedTransaction>,
    #[serde(default)]
    withdrawals: Claim<Vec<Withdrawal>>,
}

/// A header of which only what is named first must be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrustedHeader {
    number: U64,
    parent_hash: B256,
    timestamp: U64,
    #[serde(default)]
    miner: Claim<Address>,
    #[serde(default)]
    author: Claim<Address>,
    #[serde(default)]
    coinbase: Claim<Address>,
    #[serde(default)]
    sha3_uncles: Claim<B256>,
    #[serde(default)]
    state_root: Claim<B256>,
    #[serde(default)]
    transactions_root: Claim<B256>,
    #[serde(default)]
    receipts_root: Claim<B256>,
    #[serde(default)]
    logs_bloom: Claim<Bloom>,
    #[serde(default)]
    difficulty: Claim<U256>,
    #[serde(default)]
    gas_limit: Claim<U64>,
    #[serde(default)]
    gas_used: Claim<U64>,
    #[serde(default)]
    extra_data: Claim<Bytes>,
    #[serde(default)]
    mix_hash: Claim<B256>,
    #[serde(default)]
    nonce: Claim<B64>,
    #[serde(default)]
    base_fee_per_gas: Claim<U64>,
    #[serde(default)]
    withdrawals_root: Claim<B256>,
    #[serde(default)]
    blob_gas_used: Claim<U64>,
    #[serde(default)]
    excess_blob_gas: Claim<U64>,
    #[serde(default)]
    parent_beacon_block_root: Claim<B256>,
    #[serde(default)]
    requests_hash: Claim<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrustedTransaction {
    hash: B256,
    from: Address,
    #[serde(default)]
    to: Claim<Address>,
    value: U256,
    #[serde(default)]
    nonce: Claim<U64>,
    #[serde(default)]
    gas_price: Claim<U128>,
    #[serde(default)]
    max_fee_per_gas: Claim<U128>,
    #[serde(default)]
    max_priority_fee_per_gas: Claim<U128>,
    #[serde(default)]
    authorization_list: Claim<Vec<SignedAuthorization>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrustedReceipt {
    #[serde(default)]
    transaction_hash: Claim<B256>,
    #[serde(default)]
    transaction_index: Claim<U64>,
    #[serde(default)]
    status: Claim<U64>,
    #[serde(default)]
    cumulative_gas_used: Claim<U64>,
    #[serde(default)]
    gas_used: Claim<U64>,
    #[serde(default)]
    effective_gas_price: Claim<U128>,
    #[serde(deserialize_with = "list_or_null")]
    logs: Vec<TrustedLog>,
}

#[derive(Deserialize)]
struct TrustedLog {
    address: Address,
    #[serde(deserialize_with = "list_or_null")]
    topics: Vec<Bytes>,
    #[serde(default)]
    data: Claim<Bytes>,
}

/// A list that must be there. Nodes in Go write an empty one as null.
fn list_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Takes a block as it was answered. What is checked is the hash that was asked for, and that each transaction has a receipt.
///
/// # Errors
/// [`TakeError`] where even that does not fit, or something is missing that has no default.
pub fn trust(
    block: &[u8],
    receipts: &[u8],
    traces: Option<&RawValue>,
    expected: Expected,
) -> Result<VerifiedBlock, TakeError> {
    let body: TrustedBody = read("block", block)?;
    let header = header(block)?;
    let traces = traces.map(|raw| Traces::parse(raw.get())).transpose()?;
    if let Some(hash) = expected.hash {
        same(Part::BlockHash, None, body.hash, hash)?;
    }
    let mut differences = Differences::default();
    let listed = body.transactions;
    let receipts: Option<Vec<TrustedReceipt>> = read("receipts", receipts)?;
    let receipts = in_order(receipts.unwrap_or_default(), &listed, &mut differences)?;
    let mut transactions = Vec::with_capacity(receipts.len());
    let (mut first_log_index, mut gas_before) = (0, 0);
    for ((index, tx), receipt) in (0u64..).zip(listed).zip(receipts) {
        let to = match &tx.to {
            Claim::Value(to) => Some(*to),
            Claim::Absent => None,
            // Some write a creation so.
            Claim::Unreadable(text) if is_empty(text) => None,
            Claim::Unreadable(text) => return Err(malformed(index, format!("{text:?} as its recipient"))),
        };
        if let Claim::Unreadable(text) = &tx.authorization_list {
            differences.note("transaction.authorizationList", Some(index), text, "a list that can be read");
        }
        let gas_used = receipt.gas_used.value().map(|gas| gas.to::<u64>());
        let summed = gas_used.map(|used| used.saturating_add(gas_before));
        let cumulative = receipt.cumulative_gas_used.value().map(|gas| gas.to()).or(summed).unwrap_or(gas_before);
        let effective_gas_price = match receipt.effective_gas_price.value() {
            Some(price) => price.to(),
            None => tx.likely_price(header.base_fee_per_gas),
        };
        let logs = receipt.logs.into_iter().map(|log| log.consensus(index, &mut differences));
        let logs = logs.collect::<Result<Vec<_>, _>>()?;
        let count = logs.len() as u64;
        transactions.push(VerifiedTransaction {
            index,
            hash: tx.hash,
            signer: tx.from,
            recovered: false,
            to,
            value: tx.value,
            nonce: tx.nonce.value().map_or(0, |nonce| nonce.to()),
            success: match &receipt.status {
                Claim::Value(status) => Some(!status.is_zero()),
                Claim::Unreadable(text) if text == "true" || text == "false" => Some(text == "true"),
                Claim::Absent | Claim::Unreadable(_) => None,
            },
            gas_used: gas_claimed(cumulative, gas_before, gas_used),
            effective_gas_price,
            logs,
            first_log_index,
            authorizations: tx.authorization_list.value().cloned().unwrap_or_default(),
        });
        first_log_index += count;
        gas_before = cumulative;
    }
    if let Claim::Unreadable(text) = &body.withdrawals {
        differences.note("block.withdrawals", None, text, "a list that can be read");
    }
    let mut block = VerifiedBlock::new(ProvenParts {
        hash: body.hash,
        header,
        transactions,
        withdrawals: body.withdrawals.value().cloned().unwrap_or_default(),
        proof: Proof::Unproven,
        encoded: None,
        whole: true,
        differences,
    });
    block.accept_traces(traces)?;
    Ok(block)
}

/// Whether a text stands for nothing.
fn is_empty(text: &str) -> bool {
    text.is_empty() || text == "0x"
}

fn malformed(index: u64, detail: String) -> TakeError {
    VerifyError::Malformed { index, detail }.into()
}

/// As Ethereum writes a header, or as far as it can be read.
fn header(block: &[u8]) -> Result<Header, TakeError> {
    if let Ok(header) = serde_json::from_slice(block) {
        return Ok(header);
    }
    let read: TrustedHeader = read("block", block)?;
    let names = [&read.miner, &read.author, &read.coinbase];
    // Hedera's blocks have none, and say so in an empty text.
    let is_nobody = || names.into_iter().any(|name| matches!(name, Claim::Unreadable(text) if is_empty(text)));
    let beneficiary = match names.into_iter().find_map(Claim::value) {
        Some(beneficiary) => *beneficiary,
        None if is_nobody() => Address::ZERO,
        None => {
            let detail = "it names no miner (or author, or coinbase) by an address".to_owned();
            return Err(BundleError { what: "block", detail }.into());
        }
    };
    let known = Header::default();
    let number = |claim: &Claim<U64>| claim.value().map(|value| value.to::<u64>());
    let hash = |claim: &Claim<B256>, default: B256| claim.value().copied().unwrap_or(default);
    Ok(Header {
        parent_hash: read.parent_hash,
        ommers_hash: hash(&read.sha3_uncles, known.ommers_hash),
        beneficiary,
        state_root: hash(&read.state_root, B256::ZERO),
        transactions_root: hash(&read.transactions_root, B256::ZERO),
        receipts_root: hash(&read.receipts_root, B256::ZERO),
        logs_bloom: read.logs_bloom.value().copied().unwrap_or_default(),
        difficulty: read.difficulty.value().copied().unwrap_or_default(),
        number: read.number.to(),
        gas_limit: number(&read.gas_limit).unwrap_or_default(),
        gas_used: number(&read.gas_used).unwrap_or_default(),
        timestamp: read.timestamp.to(),
        extra_data: read.extra_data.value().cloned().unwrap_or_default(),
        mix_hash: hash(&read.mix_hash, B256::ZERO),
        nonce: read.nonce.value().copied().unwrap_or_default(),
        base_fee_per_gas: number(&read.base_fee_per_gas),
        withdrawals_root: read.withdrawals_root.value().copied(),
        blob_gas_used: number(&read.blob_gas_used),
        excess_blob_gas: number(&read.excess_blob_gas),
        parent_beacon_block_root: read.parent_beacon_block_root.value().copied(),
        requests_hash: read.requests_hash.value().copied(),
        ..known
    })
}

/// One receipt for each transaction, in their order: found by hash, else by index, else by place. Receipts of what is no
/// transaction of the block are left out, and counted.
fn in_order(
    receipts: Vec<TrustedReceipt>,
    transactions: &[TrustedTransaction],
    differences: &mut Differences,
) -> Result<Vec<TrustedReceipt>, VerifyError> {
    let known: HashMap<B256, usize> = transactions.iter().map(|tx| tx.hash).zip(0..).collect();
    let mut ordered: Vec<Option<TrustedReceipt>> = std::iter::repeat_with(|| None).take(transactions.len()).collect();
    let stated = receipts.len();
    for (place, receipt) in receipts.into_iter().enumerate() {
        let by_index = || receipt.transaction_index.value().and_then(|index| usize::try_from(*index).ok());
        let place = match receipt.transaction_hash.value() {
            Some(hash) => known.get(hash).copied(),
            None => Some(by_index().unwrap_or(place)),
        };
        match place.and_then(|place| ordered.get_mut(place)) {
            Some(slot) => *slot = Some(receipt),
            None => differences.note("block.receipts", None, "a receipt of no transaction", "one for each transaction"),
        }
    }
    let found: Option<Vec<_>> = ordered.into_iter().collect();
    found.ok_or_else(|| mismatch(Part::ReceiptCount, None, stated, transactions.len()))
}

impl TrustedTransaction {
    /// Wei per gas that it paid, by what is said of it.
    fn likely_price(&self, base_fee: Option<u64>) -> u128 {
        let wei = |claim: &Claim<U128>| claim.value().map(|price| price.to::<u128>());
        let (gas_price, tip) = (wei(&self.gas_price), wei(&self.max_priority_fee_per_gas));
        let max_fee = wei(&self.max_fee_per_gas).or(gas_price).unwrap_or_default();
        match (base_fee, tip) {
            (Some(base), Some(tip)) => max_fee.min(u128::from(base).saturating_add(tip)),
            _ => gas_price.unwrap_or(max_fee),
        }
    }
}

impl TrustedLog {
    fn consensus(self, index: u64, differences: &mut Differences) -> Result<Log, TakeError> {
        let count = self.topics.len();
        let mut topics = Vec::with_capacity(count);
        for topic in &self.topics {
            if topic.len() > 32 {
                return Err(malformed(index, format!("a topic of {} bytes", topic.len())));
            }
            // Hedera leaves out the zeros of a number.
            if topic.len() < 32 {
                differences.note("log.topics", Some(index), topic, "32 bytes");
            }
            topics.push(B256::left_padding_from(topic));
        }
        let data = match self.data {
            Claim::Value(data) => data,
            Claim::Absent => Bytes::new(),
            Claim::Unreadable(text) if is_empty(&text) => Bytes::new(),
            Claim::Unreadable(text) => return Err(malformed(index, format!("{text:?} as the data of a log"))),
        };
        let data = LogData::new(topics, data)
            .ok_or_else(|| malformed(index, format!("a log has {count} topics; the EVM allows 4")))?;
        Ok(Log { address: self.address, data })
    }
}

#[cfg(test)]
mod tests;
