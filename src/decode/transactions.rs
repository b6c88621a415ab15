//! The plane of transactions: one activity for each, and the block's fees to its beneficiary.

use alloy::primitives::U256;

use super::Decoded;
use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use crate::chain::transaction::{beneficiary_gas_price, fee};
use crate::chain::{VerifiedBlock, VerifiedTransaction};

/// Returns the fee that it paid to the beneficiary, in wei.
pub(super) fn decode(block: &VerifiedBlock, tx: &VerifiedTransaction, out: &mut Decoded) -> U256 {
    let (kind, to, amount) = match tx.to {
        None if tx.moved() => (ActivityKind::ContractCreation, Some(tx.signer.create(tx.nonce)), tx.value),
        Some(to) if tx.moved() && !tx.value.is_zero() => (ActivityKind::NativeTransfer, Some(to), tx.value),
        to => (ActivityKind::Transaction, to, U256::ZERO),
    };
    out.activities.push(Activity {
        kind,
        location: whole(Some(tx.index as u32)),
        from: Some(tx.signer),
        to,
        asset: Asset::Native,
        amount,
        token_id: None,
        frame: None,
        operator: None,
    });
    fee(tx.gas_used, beneficiary_gas_price(tx.effective_gas_price, block.header().base_fee_per_gas))
}

/// The fees of all of them.
pub(super) fn fees(block: &VerifiedBlock, fees: U256, out: &mut Decoded) {
    if block.is_whole() && !fees.is_zero() {
        out.activities.push(Activity {
            kind: ActivityKind::FeeRecipient,
            location: whole(None),
            from: None,
            to: Some(block.header().beneficiary),
            asset: Asset::Native,
            amount: fees,
            token_id: None,
            frame: None,
            operator: None,
        });
    }
}

fn whole(tx_index: Option<u32>) -> Location {
    Location { tx_index, plane: Plane::Transactions, position: Position::Whole, sub_index: 0 }
}
