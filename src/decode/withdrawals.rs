//! Beacon chain withdrawals ([EIP-4895](https://eips.ethereum.org/EIPS/eip-4895)): no transaction and no log shows them.

use super::Decoded;
use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use crate::chain::VerifiedBlock;

pub(super) fn decode(block: &VerifiedBlock, out: &mut Decoded) {
    for (sub_index, withdrawal) in (0u32..).zip(block.withdrawals()) {
        out.activities.push(Activity {
            kind: ActivityKind::Withdrawal,
            location: Location { tx_index: None, plane: Plane::Withdrawals, position: Position::Whole, sub_index },
            from: None,
            to: Some(withdrawal.address),
            asset: Asset::Native,
            // The header counts Gwei.
            amount: withdrawal.amount_wei(),
            token_id: None,
            frame: None,
        });
    }
}
