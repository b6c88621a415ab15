//! The plane of transactions: one activity for each, and the block's fees to its beneficiary.

use alloy::primitives::U256;

use super::Decoded;
use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use crate::chain::VerifiedBlock;
use crate::chain::transaction::{beneficiary_gas_price, fee};

pub(super) fn decode(block: &VerifiedBlock, out: &mut Decoded) {
    let base_fee = block.header().base_fee_per_gas;
    let mut fees = U256::ZERO;
    for tx in block.transactions() {
        fees += fee(tx.gas_used, beneficiary_gas_price(tx.effective_gas_price, base_fee));
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
        });
    }
    if block.is_whole() && !fees.is_zero() {
        out.activities.push(Activity {
            kind: ActivityKind::FeeRecipient,
            location: whole(None),
            from: None,
            to: Some(block.header().beneficiary),
            asset: Asset::Native,
            amount: fees,
            token_id: None,
        });
    }
}

fn whole(tx_index: Option<u32>) -> Location {
    Location { tx_index, plane: Plane::Transactions, position: Position::Whole, sub_index: 0 }
}
