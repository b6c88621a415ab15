//! The proof: from what an endpoint claims to a block in which nothing is left to its word.
//!
//! The header must hash to the block's hash; transactions, receipts and withdrawals must hash to the roots in that header;
//! every sender is recovered from its signature. What a node states besides (block hash, index, sender, gas of each receipt …)
//! follows from what was proven: where it is absent or differs, the proven value counts, and the difference is counted
//! ([`Differences`]). Cheap things first, signatures last. What no hash covers is listed in the README: `totalDifficulty`, the
//! hashes of ommers, and traces.

use alloy::consensus::constants::EMPTY_ROOT_HASH;
use alloy::consensus::proofs::calculate_withdrawals_root;
use alloy::consensus::{EMPTY_OMMER_ROOT_HASH, Header, Transaction as _};
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{B256, Bytes, U64, U128};
use alloy::rlp::{Encodable, Header as RlpHeader};
use alloy::trie::root::ordered_trie_root_encoded;

use super::bundle::{BlockBundle, RpcBody, RpcTransaction};
use super::canonical::HIGHEST_BLOCK;
use super::claim::{Claim, Differences};
use super::error::{Part, VerifyError, mismatch, same};
use super::fork::name_unknown_members;
use super::proof::Encoded;
use super::receipts::{Senders, verify_receipts};
use super::transaction::{Hashed, effective_gas_price};
use super::verified::{Proof, ProvenParts, VerifiedBlock};

/// What we asked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The hash by which the block was asked for; none for a block of an archive, which proves itself.
    pub hash: Option<B256>,
    /// The chain's id: a transaction signed for another one does not belong here.
    pub chain_id: u64,
}

/// Refuses a block whose number or time no store can hold: it would be kept as another one.
///
/// # Errors
/// [`VerifyError::Mismatch`] that names which.
pub fn check_storable(number: u64, timestamp: u64) -> Result<(), VerifyError> {
    for (part, found, most) in
        [(Part::BlockNumber, number, HIGHEST_BLOCK), (Part::Timestamp, timestamp, i64::MAX.unsigned_abs())]
    {
        if found > most {
            return Err(mismatch(part, None, found, format!("at most {most}")));
        }
    }
    Ok(())
}

/// Proves a block, with the senders of all its transactions.
///
/// # Errors
/// The first part that does not fit, cheap ones first.
pub fn verify(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let mut block = verify_but_senders(bundle, expected)?;
    block.recover_all(1)?;
    Ok(block)
}

/// Proves a block but for its senders, whose recovery costs more than all the rest: they are claims until
/// [`VerifiedBlock::recover`] has been asked for them. Where a sender is not stated, or the answer contradicts itself about one,
/// all senders of the block are recovered here.
///
/// # Errors
/// The first part that does not fit, cheap ones first.
pub fn verify_but_senders(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let BlockBundle { header, unknown_members, body, receipts, traces } = bundle;
    let mut differences = Differences::default();
    let hash = verify_hash(&header, &body, expected.hash, &mut differences)
        .map_err(|error| name_unknown_members(error, &unknown_members))?;
    // keccak of an RLP list is computed from headers that we do not have; but none and some can be told apart.
    let ommers = header.ommers_hash != EMPTY_OMMER_ROOT_HASH;
    let stated = body.uncles.value().map(|uncles| !uncles.is_empty());
    if !body.uncles.is_absent() && stated != Some(ommers) {
        differences.note("block.uncles", None, stated.map_or("unreadable", some_or_none), some_or_none(ommers));
    }
    let withdrawals = verify_withdrawals(&header, &body.withdrawals, &mut differences)?;
    let transactions = match body.transactions.as_deref() {
        Some(transactions) => transactions,
        None if header.transactions_root == EMPTY_ROOT_HASH => &[],
        None => return Err(mismatch(Part::TransactionsRoot, None, "no transactions", header.transactions_root)),
    };
    let hashed = verify_transactions(&header, hash, transactions, expected.chain_id, &mut differences)?;
    if let Some(sizes) = sizes(&header, &withdrawals, hashed.iter().map(|tx| tx.envelope.length()).sum())
        && !sizes.iter().any(|size| body.size.fits(&U64::from(*size)))
    {
        differences.compare("block.size", None, &body.size, &U64::from(sizes[1]));
    }
    let (verified, receipts, senders) =
        verify_receipts(&header, (hash, expected.chain_id), transactions, &hashed, receipts, &mut differences)?;
    let encoded = Encoded { transactions: hashed.into_iter().map(|tx| tx.encoded).collect(), receipts };
    let mut block = VerifiedBlock::new(ProvenParts {
        hash,
        header,
        transactions: verified,
        withdrawals,
        proof: Proof::Proven,
        encoded: Some(encoded),
        whole: true,
        differences,
    });
    if let Senders::Doubtful(claims) = senders {
        block.settle_senders(&claims)?;
    }
    block.accept_traces(traces)?;
    Ok(block)
}

fn some_or_none(some: bool) -> &'static str {
    if some { "some" } else { "none" }
}

/// The block's hash, which is its header's. Where it is known which one was asked for, the hash that is stated says nothing more.
fn verify_hash(
    header: &Header,
    body: &RpcBody,
    asked: Option<B256>,
    differences: &mut Differences,
) -> Result<B256, VerifyError> {
    let hash = header.hash_slow();
    match (asked, &body.hash) {
        (Some(asked), stated) if asked == hash => differences.compare("block.hash", None, stated, &hash),
        (Some(asked), Claim::Value(stated)) if *stated != asked => {
            return Err(mismatch(Part::BlockHash, None, stated, asked));
        }
        (_, Claim::Value(stated)) => same(Part::HeaderHash, None, *stated, hash)?,
        (Some(asked), _) => return Err(mismatch(Part::HeaderHash, None, hash, asked)),
        (None, _) => return Err(mismatch(Part::HeaderHash, None, "no hash", hash)),
    }
    Ok(hash)
}

/// The withdrawals that hash to the header's root. A header that shows that there are none needs no list.
pub(super) fn verify_withdrawals(
    header: &Header,
    withdrawals: &Claim<Vec<Withdrawal>>,
    differences: &mut Differences,
) -> Result<Vec<Withdrawal>, VerifyError> {
    // Nodes before Shanghai leave the field out, or say null, or give an empty list.
    let Some(root) = header.withdrawals_root.filter(|root| *root != EMPTY_ROOT_HASH) else {
        if !withdrawals.fits(&Vec::new()) {
            differences.note("block.withdrawals", None, "some", "none");
        }
        return Ok(Vec::new());
    };
    match withdrawals.value() {
        Some(list) => {
            same(Part::WithdrawalsRoot, None, calculate_withdrawals_root(list), root)?;
            Ok(list.clone())
        }
        None => Err(mismatch(Part::WithdrawalsRoot, None, "no withdrawals that can be read", root)),
    }
}

/// The transactions as they are hashed; senders come later.
fn verify_transactions(
    header: &Header,
    hash: B256,
    transactions: &[RpcTransaction],
    chain_id: u64,
    differences: &mut Differences,
) -> Result<Vec<Hashed>, VerifyError> {
    let mut all = Vec::with_capacity(transactions.len());
    // Kept apart, for the hint at what is wrong where the root does not fit.
    let mut own = Differences::default();
    for (index, tx) in (0u64..).zip(transactions) {
        let at = Some(index);
        let hashed = tx.hashed(index, chain_id, &mut own)?;
        if let Some(signed) = hashed.envelope.chain_id() {
            same(Part::ChainId, at, signed, chain_id)?;
        }
        own.compare("transaction.blockHash", at, &tx.block_hash, &hash);
        own.compare("transaction.blockNumber", at, &tx.block_number, &U64::from(header.number));
        own.compare("transaction.blockTimestamp", at, &tx.block_timestamp, &U64::from(header.timestamp));
        own.compare("transaction.transactionIndex", at, &tx.transaction_index, &U64::from(index));
        // What is signed is a maximum: the price paid, or that maximum as some nodes have it.
        let paid = U128::from(effective_gas_price(&hashed.envelope, header.base_fee_per_gas));
        if !tx.gas_price.fits(&U128::from(hashed.envelope.max_fee_per_gas())) {
            own.compare("transaction.gasPrice", at, &tx.gas_price, &paid);
        }
        all.push(hashed);
    }
    let encoded: Vec<&Bytes> = all.iter().map(|hashed| &hashed.encoded).collect();
    let root = ordered_trie_root_encoded(&encoded);
    if root != header.transactions_root {
        let found = format!("{root}{}", own.hint());
        return Err(mismatch(Part::TransactionsRoot, None, found, header.transactions_root));
    }
    differences.append(own);
    Ok(all)
}

/// Lengths of the block's RLP, of which one should be stated: some nodes leave out the list of withdrawals (anvil, and reth once).
/// With ommers it cannot be computed from their hashes. `transactions` is the length of all of them, in the block's RLP.
pub(super) fn sizes(header: &Header, withdrawals: &[Withdrawal], transactions: usize) -> Option<[usize; 2]> {
    if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
        return None;
    }
    let list = |payload: usize| RlpHeader { list: true, payload_length: payload }.length() + payload;
    let withdrawals = header.withdrawals_root.map(|_| list(withdrawals.iter().map(Encodable::length).sum()));
    let rest = header.length() + list(transactions) + list(0);
    Some([list(rest), list(rest + withdrawals.unwrap_or_default())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_whose_number_or_time_cannot_be_stored_is_refused() {
        for number in [0, 1, HIGHEST_BLOCK] {
            assert_eq!(check_storable(number, i64::MAX.unsigned_abs()), Ok(()));
        }
        for (number, timestamp, part) in [
            (1 << 63, 1, Part::BlockNumber),
            (i64::MAX.unsigned_abs(), 1, Part::BlockNumber),
            (u64::MAX, u64::MAX, Part::BlockNumber),
            (1, 1 << 63, Part::Timestamp),
            (1, u64::MAX, Part::Timestamp),
        ] {
            let refused = check_storable(number, timestamp);
            assert!(
                matches!(&refused, Err(VerifyError::Mismatch { part: found, .. }) if *found == part),
                "{refused:?}"
            );
        }
    }
}
