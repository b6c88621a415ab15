//! Beacon chain withdrawals ([EIP-4895](https://eips.ethereum.org/EIPS/eip-4895)): no transaction and no log shows them.

use alloy::primitives::{Address, U256, address};

use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use super::{DecodeOptions, Decoded};
use crate::chain::VerifiedBlock;

/// What a chain pays withdrawals in where that is not its own currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithdrawalToken {
    /// The token, which counts 18 decimals.
    pub contract: Address,
    /// The block counts this many times the Gwei of the token that are paid.
    pub divisor: u64,
}

impl WithdrawalToken {
    /// Gnosis and Chiado pay in GNO: their deposit contract divides by 32, since a validator stakes 1 GNO where the beacon chain counts 32
    /// (`executeSystemWithdrawals` in <https://github.com/gnosischain/deposit-contract>).
    pub fn of_chain(chain_id: u64) -> Option<Self> {
        match chain_id {
            100 => Some(Self { contract: address!("9C58BAcC331c9aa871AFD802DB6379a98e80CEdb"), divisor: 32 }),
            10200 => Some(Self { contract: address!("19C653Da7c37c66208fbfbE8908A5051B57b4C70"), divisor: 32 }),
            _ => None,
        }
    }
}

pub(super) fn decode(block: &VerifiedBlock, options: &DecodeOptions, out: &mut Decoded) {
    let (asset, divisor) = match options.withdrawal_token {
        None => (Asset::Native, U256::ONE),
        Some(token) => (Asset::Erc20(token.contract), U256::from(token.divisor)),
    };
    for (sub_index, withdrawal) in (0u32..).zip(block.withdrawals()) {
        out.activities.push(Activity {
            kind: ActivityKind::Withdrawal,
            location: Location { tx_index: None, plane: Plane::Withdrawals, position: Position::Whole, sub_index },
            from: None,
            to: Some(withdrawal.address),
            asset,
            // The block counts Gwei.
            amount: withdrawal.amount_wei() / divisor,
            token_id: None,
            frame: None,
            operator: None,
        });
    }
}
