//! The proof of receipts: number, root, blooms, gas; and what nodes state of them besides.

use std::collections::HashMap;

use alloy::consensus::constants::EMPTY_ROOT_HASH;
use alloy::consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxReceipt as _, TxType,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bloom, Bytes, Log, LogData, U64, U128};
use alloy::trie::root::ordered_trie_root_encoded;

use super::blob_price::is_blob_price;
use super::bundle::{RpcLog, RpcReceipt, RpcTransaction};
use super::claim::{Claim, Differences};
use super::error::{Part, VerifyError, mismatch, same};
use super::transaction::{Envelope, Hashed, effective_gas_price};
use super::verified::VerifiedTransaction;

/// Gas of one blob ([EIP-4844](https://eips.ethereum.org/EIPS/eip-4844)).
pub(super) const GAS_PER_BLOB: u64 = 131_072;

/// Whether the header is of a fork that counts a block's gas otherwise than its receipts do (EIP-7778, EIP-8037): known by the
/// fields that came with the same fork.
pub(super) fn counts_gas_apart(header: &Header) -> bool {
    header.block_access_list_hash.is_some() || header.slot_number.is_some()
}

/// What is known of the senders once the roots fit.
pub(super) enum Senders {
    /// All are stated, and nothing contradicts them.
    Consistent,
    /// One is missing or contradicted: all are to be recovered, and compared with these.
    Doubtful(Vec<SenderClaims>),
}

/// Everything that an answer states of one sender.
pub(super) struct SenderClaims {
    from: Claim<Address>,
    receipt_from: Claim<Address>,
    /// Only of a creation, like the next one.
    contract: Claim<Address>,
    creates: Claim<Address>,
}

impl SenderClaims {
    fn are_consistent(&self, nonce: u64) -> bool {
        self.from.value().is_some_and(|from| {
            let created = from.create(nonce);
            self.receipt_from.fits(from) && self.contract.fits(&created) && self.creates.fits(&created)
        })
    }

    /// Compares them with the sender that was recovered.
    pub(super) fn compare(&self, tx: &VerifiedTransaction, differences: &mut Differences) {
        let (at, created) = (Some(tx.index), tx.signer.create(tx.nonce));
        differences.compare("transaction.from", at, &self.from, &tx.signer);
        differences.compare("receipt.from", at, &self.receipt_from, &tx.signer);
        differences.compare("receipt.contractAddress", at, &self.contract, &created);
        differences.compare("transaction.creates", at, &self.creates, &created);
    }
}

/// Which of two statements of the same thing is read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The state root, and not the status.
    post_state: bool,
    /// The gas before a receipt plus what it used, and not its cumulative gas.
    summed_gas: bool,
}

/// Proves the receipts of transactions that are proven: `hashed` has these as they are hashed.
pub(super) fn verify_receipts(
    header: &Header,
    (hash, chain_id): (B256, u64),
    transactions: &[RpcTransaction],
    hashed: &[Hashed],
    receipts: Vec<RpcReceipt>,
    differences: &mut Differences,
) -> Result<(Vec<VerifiedTransaction>, Vec<Bytes>, Senders), VerifyError> {
    let receipts = in_order(header, receipts, hashed, differences)?;
    // Kept apart, for the hint at what is wrong where the root does not fit.
    let mut own = Differences::default();
    let (consensus, encoded) = hashed_receipts(header, hashed, &receipts, &mut own).map_err(|error| {
        for ((index, receipt), tx) in (0..).zip(&receipts).zip(hashed) {
            own.compare("receipt.transactionHash", Some(index), &receipt.transaction_hash, &tx.hash);
        }
        match error {
            VerifyError::Mismatch { part, index, found, expected } => {
                VerifyError::Mismatch { part, index, found: format!("{found}{}", own.hint()), expected }
            }
            other => other,
        }
    })?;
    let mut verified = Vec::with_capacity(hashed.len());
    let mut claims = Vec::with_capacity(hashed.len());
    let (mut first_log_index, mut gas_before, mut consistent) = (0, 0, true);
    for ((index, receipt), (tx, Hashed { envelope, hash: tx_hash, .. })) in
        (0u64..).zip(consensus).zip(transactions.iter().zip(hashed))
    {
        let stated = &receipts[verified.len()];
        let success = match receipt.status_or_post_state() {
            Eip658Value::Eip658(status) => Some(status),
            Eip658Value::PostState(_) => None,
        };
        let cumulative = receipt.cumulative_gas_used();
        let proven = VerifiedTransaction {
            index,
            hash: *tx_hash,
            signer: tx.from.value().copied().unwrap_or_default(),
            recovered: false,
            to: tx.to,
            value: tx.value,
            nonce: envelope.nonce(),
            success,
            gas_used: cumulative.saturating_sub(gas_before),
            effective_gas_price: effective_gas_price(envelope, header.base_fee_per_gas),
            logs: receipt.into_logs(),
            first_log_index,
            authorizations: envelope.authorization_list().map(<[_]>::to_vec).unwrap_or_default(),
        };
        compare_receipt(header, (hash, chain_id), envelope, stated, &proven, differences);
        let mut sender = SenderClaims {
            from: tx.from.clone(),
            receipt_from: stated.from.clone(),
            contract: stated.contract_address.clone(),
            creates: tx.creates.clone(),
        };
        if tx.to.is_some() {
            for (field, claim) in
                [("receipt.contractAddress", &mut sender.contract), ("transaction.creates", &mut sender.creates)]
            {
                if !std::mem::take(claim).is_absent() {
                    differences.note(field, Some(index), "an address", "none");
                }
            }
        }
        consistent &= sender.are_consistent(proven.nonce);
        claims.push(sender);
        first_log_index += proven.logs.len() as u64;
        gas_before = cumulative;
        verified.push(proven);
    }
    differences.append(own);
    let senders = if consistent { Senders::Consistent } else { Senders::Doubtful(claims) };
    Ok((verified, encoded, senders))
}

/// The receipts in the order of the transactions, one for each. What a header that shows none is answered with is left out.
fn in_order(
    header: &Header,
    mut receipts: Vec<RpcReceipt>,
    hashed: &[Hashed],
    differences: &mut Differences,
) -> Result<Vec<RpcReceipt>, VerifyError> {
    if hashed.is_empty() && header.receipts_root == EMPTY_ROOT_HASH && !receipts.is_empty() {
        differences.note("block.receipts", None, receipts.len(), "none");
        receipts.clear();
    }
    same(Part::ReceiptCount, None, receipts.len(), hashed.len())?;
    let own = |(index, receipt): (usize, &RpcReceipt)| receipt.transaction_hash.fits(&hashed[index].hash);
    if !receipts.iter().enumerate().all(own) {
        let known: HashMap<B256, usize> = hashed.iter().map(|tx| tx.hash).zip(0..).collect();
        let place = |receipt: &RpcReceipt| known.get(receipt.transaction_hash.value()?).copied();
        let places: Vec<Option<usize>> = receipts.iter().map(place).collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        if sorted.iter().enumerate().all(|(index, place)| *place == Some(index)) {
            differences.note("block.receipts", None, "receipts in another order", "the order of the transactions");
            let mut ordered: Vec<(Option<usize>, RpcReceipt)> = places.into_iter().zip(receipts).collect();
            ordered.sort_by_key(|(place, _)| *place);
            receipts = ordered.into_iter().map(|(_, receipt)| receipt).collect();
        }
    }
    Ok(receipts)
}

/// The receipts as they hash to the header's root, and the bytes of each. Where something is stated twice and only one of the two
/// fits, that one is taken.
fn hashed_receipts(
    header: &Header,
    hashed: &[Hashed],
    receipts: &[RpcReceipt],
    differences: &mut Differences,
) -> Result<(Vec<ReceiptEnvelope>, Vec<Bytes>), VerifyError> {
    let stated = Reading { post_state: false, summed_gas: false };
    // Old Nethermind states both a root and a status before Byzantium, old anvil after it: the header tells which counts.
    let states = !receipts.is_empty() && receipts.iter().all(|receipt| !receipt.root.is_absent());
    let sums = receipts.iter().all(|receipt| receipt.gas_used.value().is_some());
    let others = [(true, false), (false, true), (true, true)]
        .map(|(post_state, summed_gas)| Reading { post_state, summed_gas })
        .into_iter()
        .filter(|reading| (states || !reading.post_state) && (sums || !reading.summed_gas));
    let mut refused = None;
    for reading in std::iter::once(stated).chain(others) {
        match read_receipts(header, hashed, receipts, reading) {
            Ok((consensus, encoded, bloom)) => {
                same(Part::LogsBloom, None, header.logs_bloom, bloom)?;
                let mut gas_before = 0;
                for ((index, receipt), stated) in (0..).zip(&consensus).zip(receipts) {
                    gas_paid(index, receipt.cumulative_gas_used(), gas_before)?;
                    gas_before = receipt.cumulative_gas_used();
                    compare_hashed(index, receipt, stated, differences);
                }
                if !counts_gas_apart(header) {
                    same(Part::GasUsed, None, gas_before, header.gas_used)?;
                }
                return Ok((consensus, encoded));
            }
            Err(error) if refused.is_none() => {
                // What does not fit within the receipts is a hint at what is wrong with them.
                if let VerifyError::Mismatch { part: Part::ReceiptsRoot, .. } = error {
                    for (index, receipt) in (0..).zip(receipts) {
                        let bloom = consensus_receipt(receipt, stated, 0, index)?.logs_bloom;
                        differences.compare("receipt.logsBloom", Some(index), &receipt.logs_bloom, &bloom);
                    }
                }
                refused = Some(error);
            }
            Err(_) => {}
        }
    }
    refused.map_or_else(|| Ok(Default::default()), Err)
}

type Consensus = (Vec<ReceiptEnvelope>, Vec<Bytes>, Bloom);

fn read_receipts(
    header: &Header,
    hashed: &[Hashed],
    receipts: &[RpcReceipt],
    reading: Reading,
) -> Result<Consensus, VerifyError> {
    let mut consensus = Vec::with_capacity(receipts.len());
    let (mut bloom, mut gas_before) = (Bloom::ZERO, 0);
    for ((index, receipt), tx) in (0u64..).zip(receipts).zip(hashed) {
        let with_bloom = consensus_receipt(receipt, reading, gas_before, index)?;
        gas_before = with_bloom.receipt.cumulative_gas_used;
        bloom.accrue_bloom(&with_bloom.logs_bloom);
        consensus.push(enveloped(tx.envelope.tx_type(), with_bloom));
    }
    // The bytes that are hashed: EIP-2718.
    let encoded: Vec<Bytes> = consensus.iter().map(|receipt| receipt.encoded_2718().into()).collect();
    same(Part::ReceiptsRoot, None, ordered_trie_root_encoded(&encoded), header.receipts_root)?;
    Ok((consensus, encoded, bloom))
}

/// What a receipt states of what it is hashed from.
fn compare_hashed(index: u64, proven: &ReceiptEnvelope, stated: &RpcReceipt, differences: &mut Differences) {
    let at = Some(index);
    // Both may be stated; only the one that is hashed is held against anything.
    match proven.status_or_post_state() {
        Eip658Value::Eip658(status) => {
            differences.compare("receipt.status", at, &stated.status, &U64::from(u8::from(status)));
        }
        Eip658Value::PostState(root) => {
            differences.compare("receipt.root", at, &stated.root, &Bytes::from(root.0));
        }
    }
    let cumulative = U64::from(proven.cumulative_gas_used());
    differences.compare("receipt.cumulativeGasUsed", at, &stated.cumulative_gas_used, &cumulative);
    differences.compare("receipt.logsBloom", at, &stated.logs_bloom, proven.logs_bloom());
}

/// What a receipt and its logs state besides, but for the sender.
fn compare_receipt(
    header: &Header,
    (hash, chain_id): (B256, u64),
    envelope: &Envelope,
    stated: &RpcReceipt,
    proven: &VerifiedTransaction,
    differences: &mut Differences,
) {
    let (at, index) = (Some(proven.index), U64::from(proven.index));
    let (number, timestamp) = (U64::from(header.number), U64::from(header.timestamp));
    differences.compare("receipt.transactionHash", at, &stated.transaction_hash, &proven.hash);
    differences.compare("receipt.transactionIndex", at, &stated.transaction_index, &index);
    differences.compare("receipt.blockHash", at, &stated.block_hash, &hash);
    differences.compare("receipt.blockNumber", at, &stated.block_number, &number);
    differences.compare("receipt.blockTimestamp", at, &stated.block_timestamp, &timestamp);
    differences.compare("receipt.type", at, &stated.tx_type, &U64::from(envelope.tx_type() as u8));
    match proven.to {
        Some(to) => differences.compare("receipt.to", at, &stated.to, &to),
        None if stated.to.is_absent() => {}
        None => differences.note("receipt.to", at, "an address", "none"),
    }
    differences.compare("receipt.gasUsed", at, &stated.gas_used, &U64::from(proven.gas_used));
    let price = U128::from(proven.effective_gas_price);
    differences.compare("receipt.effectiveGasPrice", at, &stated.effective_gas_price, &price);
    let blobs = envelope.blob_versioned_hashes().map_or(0, |hashes| hashes.len() as u64);
    differences.compare("receipt.blobGasUsed", at, &stated.blob_gas_used, &U64::from(blobs * GAS_PER_BLOB));
    let blob_price = stated.blob_gas_price.value().map(|price| price.to::<u128>());
    if !stated.blob_gas_price.is_absent()
        && !blob_price.is_some_and(|price| is_blob_price(header, chain_id, blobs > 0, price))
    {
        let stated = blob_price.map_or_else(|| "unreadable".to_owned(), |price| price.to_string());
        differences.note("receipt.blobGasPrice", at, stated, "the price that follows from the header");
    }
    for (log_index, log) in (proven.first_log_index..).zip(&stated.logs) {
        differences.compare("log.blockHash", at, &log.block_hash, &hash);
        differences.compare("log.blockNumber", at, &log.block_number, &number);
        differences.compare("log.blockTimestamp", at, &log.block_timestamp, &timestamp);
        differences.compare("log.transactionHash", at, &log.transaction_hash, &proven.hash);
        differences.compare("log.transactionIndex", at, &log.transaction_index, &index);
        differences.compare("log.logIndex", at, &log.log_index, &U64::from(log_index));
        differences.compare("log.removed", at, &log.removed, &false);
    }
}

/// The gas that a transaction paid for: the difference of the cumulative gas, which the receipts root proves, in every fork. A receipt's
/// own `gasUsed` is in no root.
pub(super) fn gas_paid(index: u64, cumulative: u64, before: u64) -> Result<u64, VerifyError> {
    cumulative.checked_sub(before).ok_or_else(|| mismatch(Part::GasUsed, Some(index), cumulative, before))
}

/// The same of a block that is taken on trust: some chains count no cumulative gas, and there the receipt's own word is all there is.
pub(super) fn gas_claimed(cumulative: u64, before: u64, stated: Option<u64>) -> u64 {
    cumulative.checked_sub(before).filter(|gas| *gas > 0).or(stated).unwrap_or_default()
}

/// A receipt of a transaction of that type.
pub(super) fn enveloped(tx_type: TxType, receipt: ReceiptWithBloom<Receipt<Log>>) -> ReceiptEnvelope {
    match tx_type {
        TxType::Legacy => ReceiptEnvelope::Legacy(receipt),
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        TxType::Eip4844 => ReceiptEnvelope::Eip4844(receipt),
        TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
    }
}

/// The receipt as it is hashed, its bloom computed from its logs.
fn consensus_receipt(
    receipt: &RpcReceipt,
    reading: Reading,
    gas_before: u64,
    index: u64,
) -> Result<ReceiptWithBloom<Receipt<Log>>, VerifyError> {
    let malformed = |detail: &str| VerifyError::Malformed { index, detail: detail.to_owned() };
    let root = || receipt.root.value().map(|root| B256::try_from(root.as_ref()));
    let status = match (reading.post_state, receipt.status.value().map(|status| status.to::<u64>())) {
        (false, Some(0)) => Eip658Value::Eip658(false),
        (false, Some(1)) => Eip658Value::Eip658(true),
        (false, Some(_)) => return Err(malformed("receipt status is neither 0 nor 1")),
        (_, _) => match root() {
            Some(Ok(root)) => Eip658Value::PostState(root),
            Some(Err(_)) => return Err(malformed("receipt root is not 32 bytes")),
            None => return Err(malformed("receipt has neither status nor root")),
        },
    };
    let used = receipt.gas_used.value().and_then(|used| gas_before.checked_add(used.to()));
    let cumulative = receipt.cumulative_gas_used.value().filter(|_| !reading.summed_gas).map(|gas| gas.to());
    let cumulative_gas_used = cumulative.or(used).ok_or_else(|| malformed("receipt has no cumulativeGasUsed"))?;
    let logs = receipt
        .logs
        .iter()
        .map(consensus_log)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|detail| VerifyError::Malformed { index, detail })?;
    Ok(Receipt { status, cumulative_gas_used, logs }.with_bloom())
}

pub(super) fn consensus_log(log: &RpcLog) -> Result<Log, String> {
    let data = LogData::new(log.topics.clone(), log.data.clone())
        .ok_or_else(|| format!("a log has {} topics; the EVM allows 4", log.topics.len()))?;
    Ok(Log { address: log.address, data })
}
