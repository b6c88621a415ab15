//! What is left of a block once it is proven: facts, with nothing of what proved them.

use alloy::consensus::Header;
use alloy::eips::eip4895::Withdrawal;
use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::{Address, B256, Log, U256};

use super::error::VerifyError;
use super::proof::Encoded;
use super::traces::Frame;

/// Whether the data was proven or is the endpoint's word (`--trust-rpc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Every hash, root and signature fits.
    Proven,
    /// Taken as answered.
    Unproven,
}

/// A transaction with what became of it. Facts only: what was needed to prove them is gone.
#[derive(Debug, Clone)]
pub struct VerifiedTransaction {
    /// Index in the block.
    pub index: u64,
    /// Transaction hash.
    pub hash: B256,
    /// Who signed it.
    pub signer: Address,
    /// Whom it called; none for a creation.
    pub to: Option<Address>,
    /// Value in wei.
    pub value: U256,
    /// Nonce of the signer.
    pub nonce: u64,
    /// Status of the receipt; none before Byzantium ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)).
    pub success: Option<bool>,
    /// Gas used by it alone.
    pub gas_used: u64,
    /// Wei per gas that it paid.
    pub effective_gas_price: u128,
    /// Its logs, in order.
    pub logs: Vec<Log>,
    /// Index in the block of its first log.
    pub first_log_index: u64,
    /// Authorizations of [EIP-7702](https://eips.ethereum.org/EIPS/eip-7702), as signed.
    pub authorizations: Vec<SignedAuthorization>,
}

impl VerifiedTransaction {
    /// Whether value moved as far as the receipt tells: before Byzantium it is taken to have moved, since only a trace could
    /// prove that it did not.
    pub fn moved(&self) -> bool {
        self.success != Some(false)
    }
}

/// A block whose every part was proven, or taken on trust with [`Proof::Unproven`] where the user asked for that.
/// There is no other way to make one than [`verify`](super::verify::verify) and [`trust`](super::verify::trust).
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    pub(super) hash: B256,
    pub(super) header: Header,
    pub(super) transactions: Vec<VerifiedTransaction>,
    pub(super) withdrawals: Vec<Withdrawal>,
    pub(super) frames: Option<Vec<Vec<Frame>>>,
    pub(super) traces_refused: Option<VerifyError>,
    pub(super) proof: Proof,
    /// What its transactions and receipts were hashed from; none where nothing was proven, or where only a part is at hand.
    pub(super) encoded: Option<Encoded>,
    pub(super) whole: bool,
}

impl VerifiedBlock {
    /// The block's hash.
    pub fn hash(&self) -> B256 {
        self.hash
    }
    /// Its number.
    pub fn number(&self) -> u64 {
        self.header.number
    }
    /// The whole header.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// Whether all of its transactions are here; not so where it was opened from a proof of some of them.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
    /// Transactions in order.
    pub fn transactions(&self) -> &[VerifiedTransaction] {
        &self.transactions
    }
    /// Withdrawals in order.
    pub fn withdrawals(&self) -> &[Withdrawal] {
        &self.withdrawals
    }
    /// The call frames of each transaction, where there were any and they do not contradict what is proven.
    pub fn frames(&self) -> Option<&[Vec<Frame>]> {
        self.frames.as_deref()
    }
    /// Why the traces that came with the block were not taken.
    pub fn traces_refused(&self) -> Option<&VerifyError> {
        self.traces_refused.as_ref()
    }
    /// Proven or not.
    pub fn proof(&self) -> Proof {
        self.proof
    }
}
