//! From a transaction as answered to the consensus type whose encoding is hashed and whose signature names the sender.

use alloy::consensus::{EthereumTxEnvelope, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy::primitives::{B256, Signature, TxKind, U64, U128, U256};

use super::bundle::RpcTransaction;
use super::error::VerifyError;

/// A transaction of any type that Ethereum's mainnet knows; blobs without their sidecar, as blocks carry them.
pub type Envelope = EthereumTxEnvelope<TxEip4844>;

impl RpcTransaction {
    /// The type byte of [EIP-2718](https://eips.ethereum.org/EIPS/eip-2718); 0 where the node gives none (older nodes).
    ///
    /// # Errors
    /// [`VerifyError::UnknownTransactionType`] where it does not fit in a byte.
    pub fn type_byte(&self, index: u64) -> Result<u8, VerifyError> {
        let value = self.tx_type.unwrap_or(U64::ZERO);
        u8::try_from(value.to::<u64>()).map_err(|_| VerifyError::UnknownTransactionType { index, tx_type: value.to() })
    }

    /// The consensus form. The hash is the claimed one and is yet to be compared with the computed one.
    ///
    /// # Errors
    /// [`VerifyError::UnknownTransactionType`], or [`VerifyError::Malformed`] where a field of its type is missing.
    pub fn to_envelope(&self, index: u64) -> Result<Envelope, VerifyError> {
        let missing =
            |what: &'static str| VerifyError::Malformed { index, detail: format!("transaction without {what}") };
        let kind = self.to.map_or(TxKind::Create, TxKind::Call);
        let nonce = self.nonce.to();
        // Some nodes give a field by its old name, or by both names, which must then agree.
        let gas_limit = either(&self.gas, &self.gas_limit).ok_or_else(|| missing("one gas"))?.to();
        let input = either(&self.input, &self.data).ok_or_else(|| missing("one input"))?;
        let gas_price = || self.gas_price.map(|p| p.to::<u128>()).ok_or_else(|| missing("gasPrice"));
        let fee = |value: Option<U128>, what| value.map(|p| p.to::<u128>()).ok_or_else(|| missing(what));
        let chain_id = || self.chain_id.map(|id| id.to::<u64>()).ok_or_else(|| missing("chainId"));
        let access_list = || self.access_list.clone().ok_or_else(|| missing("accessList"));
        let call_target = || self.to.ok_or_else(|| missing("to"));
        let tx_type = self.type_byte(index)?;
        let (signature, legacy_chain_id) = self.signature(index, tx_type)?;

        Ok(match tx_type {
            0 => seal(
                TxLegacy {
                    chain_id: legacy_chain_id,
                    nonce,
                    gas_price: gas_price()?,
                    gas_limit,
                    to: kind,
                    value: self.value,
                    input: input.clone(),
                },
                signature,
                self.hash,
            ),
            1 => seal(
                TxEip2930 {
                    chain_id: chain_id()?,
                    nonce,
                    gas_price: gas_price()?,
                    gas_limit,
                    to: kind,
                    value: self.value,
                    access_list: access_list()?,
                    input: input.clone(),
                },
                signature,
                self.hash,
            ),
            2 => seal(
                TxEip1559 {
                    chain_id: chain_id()?,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: fee(self.max_fee_per_gas, "maxFeePerGas")?,
                    max_priority_fee_per_gas: fee(self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
                    to: kind,
                    value: self.value,
                    access_list: access_list()?,
                    input: input.clone(),
                },
                signature,
                self.hash,
            ),
            3 => seal(
                TxEip4844 {
                    chain_id: chain_id()?,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: fee(self.max_fee_per_gas, "maxFeePerGas")?,
                    max_priority_fee_per_gas: fee(self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
                    to: call_target()?,
                    value: self.value,
                    access_list: access_list()?,
                    blob_versioned_hashes: self
                        .blob_versioned_hashes
                        .clone()
                        .ok_or_else(|| missing("blobVersionedHashes"))?,
                    max_fee_per_blob_gas: fee(self.max_fee_per_blob_gas, "maxFeePerBlobGas")?,
                    input: input.clone(),
                },
                signature,
                self.hash,
            ),
            4 => seal(
                TxEip7702 {
                    chain_id: chain_id()?,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: fee(self.max_fee_per_gas, "maxFeePerGas")?,
                    max_priority_fee_per_gas: fee(self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
                    to: call_target()?,
                    value: self.value,
                    access_list: access_list()?,
                    authorization_list: self.authorization_list.clone().ok_or_else(|| missing("authorizationList"))?,
                    input: input.clone(),
                },
                signature,
                self.hash,
            ),
            other => return Err(VerifyError::UnknownTransactionType { index, tx_type: other.into() }),
        })
    }

    /// The signature, and for a legacy transaction the chain id that [EIP-155](https://eips.ethereum.org/EIPS/eip-155) hides
    /// in `v`. `v` and `yParity` must agree where both are given.
    fn signature(&self, index: u64, tx_type: u8) -> Result<(Signature, Option<u64>), VerifyError> {
        let bad = |detail: String| VerifyError::Malformed { index, detail };
        let (Some(r), Some(s)) = (self.r, self.s) else { return Err(bad("transaction without a signature".into())) };
        let v = self.v.map(u64::try_from).transpose().map_err(|_| bad("signature v is out of range".into()))?;
        let stated = self.y_parity.map(|p| p.to::<u64>());
        let (parity, chain_id) = if tx_type == 0 {
            match v {
                Some(v @ (27 | 28)) => (v - 27, None),
                Some(v) if v >= 35 => ((v - 35) % 2, Some((v - 35) / 2)),
                Some(v) => return Err(bad(format!("legacy signature v {v} is neither 27, 28 nor of EIP-155"))),
                None => return Err(bad("legacy transaction without v".into())),
            }
        } else {
            match v.or(stated) {
                Some(v @ (0 | 1)) => (v, None),
                Some(v) => return Err(bad(format!("signature parity {v} is neither 0 nor 1"))),
                None => return Err(bad("transaction without v or yParity".into())),
            }
        };
        if stated.is_some_and(|stated| stated != parity) {
            return Err(bad("v and yParity disagree".into()));
        }
        Ok((Signature::new(r, s, parity == 1), chain_id))
    }
}

/// The field under either of its names; none where it is missing or the two differ.
fn either<'a, T: PartialEq>(one: &'a Option<T>, other: &'a Option<T>) -> Option<&'a T> {
    match (one, other) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.as_ref().or(other.as_ref()),
    }
}

fn seal<T>(tx: T, signature: Signature, hash: B256) -> Envelope
where
    Envelope: From<Signed<T>>,
{
    Signed::new_unchecked(tx, signature, hash).into()
}

/// Price per gas that is really paid, in wei: the legacy price, or base fee plus priority fee within the maximum
/// ([EIP-1559](https://eips.ethereum.org/EIPS/eip-1559)). With no base fee (before London) it is the legacy price.
pub fn effective_gas_price(tx: &Envelope, base_fee: Option<u64>) -> u128 {
    use alloy::consensus::Transaction as _;
    tx.effective_gas_price(base_fee)
}

/// Part of the price that goes to the block's beneficiary, in wei per gas: all of it before London.
pub fn beneficiary_gas_price(effective: u128, base_fee: Option<u64>) -> u128 {
    effective.saturating_sub(base_fee.map_or(0, u128::from))
}

/// `amount` of gas at `price` in wei, which cannot overflow 256 bits.
pub fn fee(gas_used: u64, price: u128) -> U256 {
    U256::from(gas_used) * U256::from(price)
}
