//! The proof of receipts: number, order, gas, blooms, root.

use alloy::consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxReceipt as _, TxType,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bloom, Bytes, Log, LogData};
use alloy::trie::root::ordered_trie_root_encoded;

use super::bundle::{RpcBody, RpcLog, RpcReceipt, RpcTransaction};
use super::error::{Part, VerifyError, mismatch, same, same_if_stated, same_stated, shown};
use super::transaction::{Envelope, effective_gas_price};
use super::verified::VerifiedTransaction;

/// Gas of one blob ([EIP-4844](https://eips.ethereum.org/EIPS/eip-4844)).
pub(super) const GAS_PER_BLOB: u64 = 131_072;

/// Whether the header is of a fork that counts a block's gas otherwise than its receipts do (EIP-7778, EIP-8037): known by the
/// fields that came with the same fork.
pub(super) fn counts_gas_apart(header: &Header) -> bool {
    header.block_access_list_hash.is_some() || header.slot_number.is_some()
}

pub(super) fn verify_receipts(
    header: &Header,
    hash: B256,
    body: &RpcBody,
    envelopes: &[Envelope],
    receipts: &[RpcReceipt],
) -> Result<(Vec<VerifiedTransaction>, Vec<Bytes>), VerifyError> {
    same(Part::ReceiptCount, None, receipts.len(), envelopes.len())?;
    let mut consensus = Vec::with_capacity(receipts.len());
    let mut bloom = Bloom::ZERO;
    let mut log_index = 0u64;
    let mut gas_before = 0u64;
    for ((index, receipt), (tx, envelope)) in (0u64..).zip(receipts).zip(body.transactions.iter().zip(envelopes)) {
        let at = Some(index);
        same(Part::ReceiptOrder, at, receipt.transaction_hash, tx.hash)?;
        same(Part::ReceiptOrder, at, receipt.transaction_index.to(), index)?;
        same_stated(Part::BlockHash, at, receipt.block_hash, hash)?;
        same_stated(Part::BlockNumber, at, receipt.block_number.map(|n| n.to()), header.number)?;
        same_if_stated(Part::Timestamp, at, receipt.block_timestamp.map(|n| n.to()), header.timestamp)?;
        // Nodes from before typed transactions state no type, those from before London no price.
        let tx_type = receipt.tx_type.map(|t| t.to());
        match u64::from(envelope.tx_type() as u8) {
            0 => same_if_stated(Part::ReceiptType, at, tx_type, 0)?,
            expected => same_stated(Part::ReceiptType, at, tx_type, expected)?,
        }
        same_stated(Part::Sender, at, receipt.from, tx.from)?;
        if receipt.to != tx.to {
            return Err(mismatch(Part::Recipient, at, shown(receipt.to), shown(tx.to)));
        }
        let cumulative: u64 = receipt.cumulative_gas_used.to();
        // What the receipt itself says of the gas it used is in no root.
        gas_paid(index, cumulative, gas_before)?;
        gas_before = cumulative;
        let paid = effective_gas_price(envelope, header.base_fee_per_gas);
        let price = receipt.effective_gas_price.map(|p| p.to());
        match header.base_fee_per_gas {
            None => same_if_stated(Part::GasPrice, at, price, paid)?,
            Some(_) => same_stated(Part::GasPrice, at, price, paid)?,
        }
        verify_blob_gas(receipt, envelope, receipts, index)?;
        log_index = verify_log_positions(receipt, tx, header, hash, index, log_index)?;
        let with_bloom = consensus_receipt(receipt, index)?;
        same_stated(Part::LogsBloom, at, receipt.logs_bloom, with_bloom.logs_bloom)?;
        bloom.accrue_bloom(&with_bloom.logs_bloom);
        consensus.push(enveloped(envelope.tx_type(), with_bloom));
    }
    let mut encoded = encode(&consensus);
    let mut root = ordered_trie_root_encoded(&encoded);
    if root != header.receipts_root
        && let Some(states) = post_states(receipts)
    {
        // Old Nethermind states both a root and a status before Byzantium, old anvil after it: the header tells which counts.
        for (receipt, state) in consensus.iter_mut().zip(states) {
            if let ReceiptEnvelope::Legacy(legacy) = receipt {
                legacy.receipt.status = Eip658Value::PostState(state);
            }
        }
        encoded = encode(&consensus);
        root = ordered_trie_root_encoded(&encoded);
    }
    same(Part::ReceiptsRoot, None, root, header.receipts_root)?;
    same(Part::LogsBloom, None, header.logs_bloom, bloom)?;
    if !counts_gas_apart(header) {
        same(Part::GasUsed, None, gas_before, header.gas_used)?;
    }
    let mut first_log_index = 0;
    let mut gas_before = 0;
    let mut verified = Vec::with_capacity(envelopes.len());
    for ((index, receipt), (tx, envelope)) in (0u64..).zip(consensus).zip(body.transactions.iter().zip(envelopes)) {
        let claimed = &receipts[verified.len()];
        verify_created(tx, claimed, tx.from, index)?;
        let success = match receipt.status_or_post_state() {
            Eip658Value::Eip658(status) => Some(status),
            Eip658Value::PostState(_) => None,
        };
        let cumulative = receipt.cumulative_gas_used();
        let logs = receipt.into_logs();
        let count = logs.len() as u64;
        verified.push(VerifiedTransaction {
            index,
            hash: tx.hash,
            signer: tx.from,
            recovered: false,
            to: tx.to,
            value: tx.value,
            nonce: envelope.nonce(),
            success,
            gas_used: gas_paid(index, cumulative, gas_before)?,
            effective_gas_price: effective_gas_price(envelope, header.base_fee_per_gas),
            logs,
            first_log_index,
            authorizations: tx.authorization_list.clone().unwrap_or_default(),
        });
        first_log_index += count;
        gas_before = cumulative;
    }
    Ok((verified, encoded))
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

/// The bytes that are hashed: [EIP-2718](https://eips.ethereum.org/EIPS/eip-2718).
fn encode(receipts: &[ReceiptEnvelope]) -> Vec<Bytes> {
    receipts.iter().map(|receipt| receipt.encoded_2718().into()).collect()
}

/// The blob price is not in any root and nothing here depends on it; what can be checked is: all of a block pay the same, none
/// more than its maximum, and the gas is that of its blobs. Nodes state it for blob transactions only, or as 0 for others.
fn verify_blob_gas(
    receipt: &RpcReceipt,
    envelope: &Envelope,
    all: &[RpcReceipt],
    index: u64,
) -> Result<(), VerifyError> {
    let at = Some(index);
    let blobs = envelope.blob_versioned_hashes().map_or(0, |hashes| hashes.len() as u64);
    same_if_stated(Part::BlobGas, at, receipt.blob_gas_used.map(|g| g.to()), blobs * GAS_PER_BLOB)?;
    let Some(price) = receipt.blob_gas_price.map(|p| p.to::<u128>()) else { return Ok(()) };
    match envelope.max_fee_per_blob_gas() {
        Some(max) if price > max || price == 0 => Err(mismatch(Part::BlobGas, at, price, format!("1 to {max}"))),
        Some(_) => {
            let first =
                all.iter().filter(|r| r.blob_gas_used.is_some_and(|g| !g.is_zero())).find_map(|r| r.blob_gas_price);
            first.map_or(Ok(()), |first| same(Part::BlobGas, at, price, first.to()))
        }
        None => Ok(()),
    }
}

/// What each log says of its place; returns the index in the block of the next one.
fn verify_log_positions(
    receipt: &RpcReceipt,
    tx: &RpcTransaction,
    header: &Header,
    hash: B256,
    index: u64,
    mut log_index: u64,
) -> Result<u64, VerifyError> {
    let at = Some(index);
    for log in &receipt.logs {
        same_stated(Part::BlockHash, at, log.block_hash, hash)?;
        same_stated(Part::BlockNumber, at, log.block_number.map(|n| n.to()), header.number)?;
        same_if_stated(Part::Timestamp, at, log.block_timestamp.map(|n| n.to()), header.timestamp)?;
        same_stated(Part::LogPosition, at, log.transaction_hash, tx.hash)?;
        same_stated(Part::LogPosition, at, log.transaction_index.map(|n| n.to()), index)?;
        same_stated(Part::LogPosition, at, log.log_index.map(|n| n.to()), log_index)?;
        if log.removed == Some(true) {
            return Err(mismatch(Part::LogPosition, at, "a log marked as removed", "a log of this block"));
        }
        log_index += 1;
    }
    Ok(log_index)
}

/// The state roots of all receipts, where all have one.
fn post_states(receipts: &[RpcReceipt]) -> Option<Vec<B256>> {
    receipts.iter().map(|receipt| B256::try_from(receipt.root.as_ref()?.as_ref()).ok()).collect()
}

/// The receipt as it is hashed, its bloom computed from its logs.
fn consensus_receipt(receipt: &RpcReceipt, index: u64) -> Result<ReceiptWithBloom<Receipt<Log>>, VerifyError> {
    let malformed = |detail: String| VerifyError::Malformed { index, detail };
    let status = match (receipt.status.map(|s| s.to::<u64>()), &receipt.root) {
        (Some(0), _) => Eip658Value::Eip658(false),
        (Some(1), _) => Eip658Value::Eip658(true),
        (Some(other), _) => return Err(malformed(format!("receipt status {other} is neither 0 nor 1"))),
        (None, Some(root)) => Eip658Value::PostState(
            B256::try_from(root.as_ref()).map_err(|_| malformed("receipt root is not 32 bytes".into()))?,
        ),
        (None, None) => return Err(malformed("receipt has neither status nor root".into())),
    };
    let logs = receipt.logs.iter().map(consensus_log).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    Ok(Receipt { status, cumulative_gas_used: receipt.cumulative_gas_used.to(), logs }.with_bloom())
}

pub(super) fn consensus_log(log: &RpcLog) -> Result<Log, String> {
    let data = LogData::new(log.topics.clone(), log.data.clone())
        .ok_or_else(|| format!("a log has {} topics; the EVM allows 4", log.topics.len()))?;
    Ok(Log { address: log.address, data })
}

/// The address of a created contract follows from signer and nonce. Nodes differ on failed creations, where some say null.
fn verify_created(tx: &RpcTransaction, receipt: &RpcReceipt, signer: Address, index: u64) -> Result<(), VerifyError> {
    let expected = tx.to.is_none().then(|| signer.create(tx.nonce.to()));
    let odd = |stated: Option<Address>| mismatch(Part::ContractAddress, Some(index), shown(stated), shown(expected));
    let succeeded = receipt.status.is_some_and(|status| !status.is_zero());
    match receipt.contract_address {
        Some(stated) if Some(stated) != expected => return Err(odd(Some(stated))),
        None if expected.is_some() && succeeded => return Err(odd(None)),
        _ => {}
    }
    match tx.creates {
        Some(stated) if Some(stated) != expected => Err(odd(Some(stated))),
        _ => Ok(()),
    }
}
