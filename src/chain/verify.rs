//! The proof: from what an endpoint claims to a block in which nothing is left to its word.
//!
//! The header must hash to the block's hash; transactions, receipts and withdrawals must hash to the roots in that header;
//! every sender is recovered from its signature. All that a node repeats besides (block hash, index, sender, status of each log
//! and receipt) is compared with what was proven, so that a single wrong byte is an error which says what did not fit.
//! Cheap things first, signatures last. What no hash covers is listed in the README: `totalDifficulty`, the hashes of ommers,
//! and traces.

use alloy::consensus::proofs::calculate_withdrawals_root;
use alloy::consensus::{EMPTY_OMMER_ROOT_HASH, Header, Transaction as _};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{B256, Bytes};
use alloy::rlp::{Encodable, Header as RlpHeader};
use alloy::trie::root::ordered_trie_root_encoded;

use super::bundle::{BlockBundle, RpcBody, RpcTransaction};
use super::error::{Part, VerifyError, mismatch, same, same_if_stated, same_stated};
use super::fork::name_unknown_members;
use super::proof::Encoded;
use super::receipts::{consensus_log, gas_claimed, verify_receipts};
use super::transaction::{Envelope, effective_gas_price};
use super::verified::{Proof, VerifiedBlock, VerifiedTransaction};

/// What we asked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The hash by which the block was asked for; none for a block of an archive, which proves itself.
    pub hash: Option<B256>,
    /// The chain's id: a transaction signed for another one does not belong here.
    pub chain_id: u64,
}

/// Proves a block, with the senders of all its transactions.
///
/// # Errors
/// The first claim that does not fit, cheap ones first.
pub fn verify(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let mut block = verify_but_senders(bundle, expected)?;
    block.recover_all(1)?;
    Ok(block)
}

/// Proves a block but for its senders, whose recovery costs more than all the rest: they are claims until
/// [`VerifiedBlock::recover`] has been asked for them.
///
/// # Errors
/// The first claim that does not fit, cheap ones first.
pub fn verify_but_senders(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let BlockBundle { header, unknown_members, body, receipts, traces } = bundle;
    if let Some(hash) = expected.hash {
        same(Part::BlockHash, None, body.hash, hash)?;
    }
    let hash = header.hash_slow();
    same(Part::HeaderHash, None, body.hash, hash).map_err(|error| name_unknown_members(error, &unknown_members))?;
    // keccak of an RLP list is computed from headers that we do not have; but none and some can be told apart.
    if body.uncles.is_empty() != (header.ommers_hash == EMPTY_OMMER_ROOT_HASH) {
        let listed = format!("{} ommers listed", body.uncles.len());
        return Err(mismatch(Part::OmmersHash, None, listed, header.ommers_hash));
    }
    let withdrawals = verify_withdrawals(&header, body.withdrawals.as_ref())?;
    let (envelopes, encoded_transactions) = verify_transactions(&header, &body, expected.chain_id)?;
    verify_size(&header, &body, envelopes.iter().map(Encodable::length).sum())?;
    let (transactions, encoded_receipts) = verify_receipts(&header, hash, &body, &envelopes, &receipts)?;
    let encoded = Some(Encoded { transactions: encoded_transactions, receipts: encoded_receipts });
    let mut block = VerifiedBlock {
        hash,
        header,
        transactions,
        withdrawals,
        frames: None,
        traces_refused: None,
        proof: Proof::Proven,
        encoded,
        whole: true,
    };
    block.accept_traces(traces)?;
    Ok(block)
}

pub(super) fn verify_withdrawals(
    header: &Header,
    withdrawals: Option<&Vec<Withdrawal>>,
) -> Result<Vec<Withdrawal>, VerifyError> {
    match (withdrawals, header.withdrawals_root) {
        (Some(list), Some(root)) => {
            same(Part::WithdrawalsRoot, None, calculate_withdrawals_root(list), root)?;
            Ok(list.clone())
        }
        // Nodes before Shanghai leave the field out, or say null, or give an empty list.
        (None, None) => Ok(Vec::new()),
        (Some(list), None) if list.is_empty() => Ok(Vec::new()),
        (Some(list), None) => {
            Err(mismatch(Part::WithdrawalsRoot, None, format!("{} withdrawals", list.len()), "none in the header"))
        }
        (None, Some(root)) => Err(mismatch(Part::WithdrawalsRoot, None, "no withdrawals", root)),
    }
}

/// Roots, hashes and positions; senders come later. The transactions, and the bytes that were hashed.
fn verify_transactions(
    header: &Header,
    body: &RpcBody,
    chain_id: u64,
) -> Result<(Vec<Envelope>, Vec<Bytes>), VerifyError> {
    let mut envelopes = Vec::with_capacity(body.transactions.len());
    let mut all_encoded = Vec::with_capacity(body.transactions.len());
    for (index, tx) in (0u64..).zip(&body.transactions) {
        let at = Some(index);
        let envelope = tx.to_envelope(index)?;
        same_stated(Part::BlockHash, at, tx.block_hash, body.hash)?;
        same_stated(Part::BlockNumber, at, tx.block_number.map(|n| n.to()), header.number)?;
        same_stated(Part::Position, at, tx.transaction_index.map(|n| n.to()), index)?;
        same_if_stated(Part::Timestamp, at, tx.block_timestamp.map(|n| n.to()), header.timestamp)?;
        let mut encoded = Vec::with_capacity(envelope.encode_2718_len());
        envelope.encode_2718(&mut encoded);
        same(Part::TransactionHash, at, tx.hash, alloy::primitives::keccak256(&encoded))?;
        verify_chain_id(tx, &envelope, index, chain_id)?;
        verify_stated_price(tx, &envelope, header, index)?;
        envelopes.push(envelope);
        all_encoded.push(encoded.into());
    }
    same(Part::TransactionsRoot, None, ordered_trie_root_encoded(&all_encoded), header.transactions_root)?;
    Ok((envelopes, all_encoded))
}

fn verify_chain_id(tx: &RpcTransaction, envelope: &Envelope, index: u64, chain_id: u64) -> Result<(), VerifyError> {
    let stated = tx.chain_id.map(|id| id.to::<u64>());
    match envelope.chain_id() {
        Some(signed) => {
            same(Part::ChainId, Some(index), signed, chain_id)?;
            same_if_stated(Part::ChainId, Some(index), stated, signed)
        }
        // Signed before EIP-155, for every chain: nodes state null, 0, or the chain's own.
        None if stated.is_some_and(|s| s != 0 && s != chain_id) => {
            Err(mismatch(Part::ChainId, Some(index), stated.unwrap_or_default(), chain_id))
        }
        None => Ok(()),
    }
}

/// `gasPrice` of a transaction with a maximum fee is not signed: the price paid, or the maximum as some nodes have it.
fn verify_stated_price(
    tx: &RpcTransaction,
    envelope: &Envelope,
    header: &Header,
    index: u64,
) -> Result<(), VerifyError> {
    let paid = effective_gas_price(envelope, header.base_fee_per_gas);
    match tx.gas_price.map(|p| p.to::<u128>()) {
        Some(stated) if stated != paid && stated != envelope.max_fee_per_gas() => {
            Err(mismatch(Part::GasPrice, Some(index), stated, paid))
        }
        _ => Ok(()),
    }
}

/// The stated size is the length of the block's RLP; some nodes leave out the list of withdrawals (anvil, and reth once). With
/// ommers it cannot be computed from their hashes. `transactions` is the length of all of them, in the block's RLP.
pub(super) fn verify_size(header: &Header, body: &RpcBody, transactions: usize) -> Result<(), VerifyError> {
    let Some(stated) = body.size else { return Ok(()) };
    if !body.uncles.is_empty() {
        return Ok(());
    }
    let list = |payload: usize| RlpHeader { list: true, payload_length: payload }.length() + payload;
    let withdrawals = body.withdrawals.as_ref().filter(|_| header.withdrawals_root.is_some());
    let withdrawals = withdrawals.map(|all| list(all.iter().map(Encodable::length).sum()));
    let rest = header.length() + list(transactions) + list(0);
    let stated = stated.to::<u64>();
    if stated == list(rest) as u64 {
        return Ok(());
    }
    same(Part::BlockSize, None, stated, list(rest + withdrawals.unwrap_or_default()) as u64)
}

/// Takes a block at its endpoint's word (`--trust-rpc`), for chains whose blocks this build cannot prove. Only what later
/// stages rely on is checked: the hash that was asked for, and one receipt for each transaction, in order.
///
/// # Errors
/// Where even that does not fit.
pub fn trust(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let BlockBundle { header, body, receipts, traces, .. } = bundle;
    if let Some(hash) = expected.hash {
        same(Part::BlockHash, None, body.hash, hash)?;
    }
    same(Part::ReceiptCount, None, receipts.len(), body.transactions.len())?;
    let base_fee = header.base_fee_per_gas;
    let mut transactions = Vec::with_capacity(receipts.len());
    let (mut first_log_index, mut gas_before) = (0, 0);
    for ((index, tx), receipt) in (0u64..).zip(body.transactions).zip(receipts) {
        same(Part::ReceiptOrder, Some(index), receipt.transaction_hash, tx.hash)?;
        let logs = receipt
            .logs
            .iter()
            .map(consensus_log)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|detail| VerifyError::Malformed { index, detail })?;
        let cumulative: u64 = receipt.cumulative_gas_used.to();
        let count = logs.len() as u64;
        let max_fee = tx.max_fee_per_gas.or(tx.gas_price).map_or(0, |p| p.to());
        transactions.push(VerifiedTransaction {
            index,
            hash: tx.hash,
            signer: tx.from,
            recovered: false,
            to: tx.to,
            value: tx.value,
            nonce: tx.nonce.to(),
            success: receipt.status.map(|s| !s.is_zero()),
            gas_used: gas_claimed(cumulative, gas_before, receipt.gas_used.map(|g| g.to())),
            effective_gas_price: receipt.effective_gas_price.map_or_else(
                || match (base_fee, tx.max_priority_fee_per_gas) {
                    (Some(base), Some(tip)) => max_fee.min(u128::from(base).saturating_add(tip.to::<u128>())),
                    _ => tx.gas_price.map_or(max_fee, |p| p.to()),
                },
                |p| p.to(),
            ),
            logs,
            first_log_index,
            authorizations: tx.authorization_list.unwrap_or_default(),
        });
        first_log_index += count;
        gas_before = cumulative;
    }
    let mut block = VerifiedBlock {
        hash: body.hash,
        header,
        transactions,
        withdrawals: body.withdrawals.unwrap_or_default(),
        frames: None,
        traces_refused: None,
        proof: Proof::Unproven,
        encoded: None,
        whole: true,
    };
    block.accept_traces(traces)?;
    Ok(block)
}
