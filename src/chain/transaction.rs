//! From a transaction as answered to the consensus type whose encoding is hashed and whose signature names the sender.

use alloy::consensus::{
    EthereumTxEnvelope, Signed, Transaction as _, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip2930::AccessList;
use alloy::primitives::{B256, Bytes, Signature, TxKind, U64, U128, U256, keccak256};

use super::bundle::RpcTransaction;
use super::claim::{Claim, Differences};
use super::error::VerifyError;

/// A transaction of any type that Ethereum's mainnet knows; blobs without their sidecar, as blocks carry them.
pub type Envelope = EthereumTxEnvelope<TxEip4844>;

/// How the members of a transaction are read that a node may leave out, state twice, or state wrongly: the hash tells which
/// reading is right, and in the end the root.
#[derive(Debug, Clone)]
struct Reading<'a> {
    tx_type: u64,
    parity: bool,
    /// Of a typed transaction, or what [EIP-155](https://eips.ethereum.org/EIPS/eip-155) hides in `v`.
    chain_id: Option<u64>,
    gas: u64,
    input: &'a Bytes,
}

/// A transaction as it is hashed.
pub(super) struct Hashed {
    pub(super) envelope: Envelope,
    /// Its EIP-2718 bytes.
    pub(super) encoded: Bytes,
    pub(super) hash: B256,
}

impl RpcTransaction {
    /// The transaction as it is stated, whatever it hashes to.
    ///
    /// # Errors
    /// [`VerifyError::UnknownTransactionType`], or [`VerifyError::Malformed`] where a member of its type is missing.
    pub fn to_envelope(&self, index: u64) -> Result<Envelope, VerifyError> {
        let readings = self.readings(self.chain_id.value().map_or(0, |id| id.to()));
        let stated = readings.first().ok_or_else(|| incomplete(index))?;
        self.envelope(stated, index)
    }

    /// The transaction as it is hashed. Where it does not hash to what it is said to hash to, other readings are tried, in which
    /// one member is another one than is stated. What then differs from what is stated is counted.
    ///
    /// # Errors
    /// [`VerifyError::UnknownTransactionType`], or [`VerifyError::Malformed`] where no reading gives a transaction.
    pub(super) fn hashed(
        &self,
        index: u64,
        chain_id: u64,
        differences: &mut Differences,
    ) -> Result<Hashed, VerifyError> {
        let mut first = Err(incomplete(index));
        for (place, reading) in self.readings(chain_id).into_iter().enumerate() {
            match self.read(&reading, index) {
                Ok(hashed) if self.hash.fits(&hashed.hash) => {
                    self.note_differences(&reading, index, chain_id, differences);
                    return Ok(hashed);
                }
                outcome if place == 0 => first = outcome.map(|hashed| (hashed, reading)),
                _ => {}
            }
        }
        // None hashes to what is stated: the root tells whether only that is wrong.
        let (hashed, reading) = first?;
        differences.compare("transaction.hash", Some(index), &self.hash, &hashed.hash);
        self.note_differences(&reading, index, chain_id, differences);
        Ok(hashed)
    }

    /// The type that the members suggest, where none is stated (older nodes, and chains that state none).
    fn suggested_type(&self) -> u64 {
        if !self.authorization_list.is_absent() {
            4
        } else if !self.blob_versioned_hashes.is_absent() {
            3
        } else if !self.max_fee_per_gas.is_absent() {
            2
        } else if !self.access_list.is_absent() {
            1
        } else {
            0
        }
    }

    /// As stated first; then with another type, signature, chain, gas or input, one at a time.
    fn readings(&self, chain_id: u64) -> Vec<Reading<'_>> {
        let both = |one: &Claim<U64>, other: &Claim<U64>| -> Vec<u64> {
            [one, other].into_iter().filter_map(|claim| claim.value().map(|gas| gas.to())).collect()
        };
        let gases = both(&self.gas, &self.gas_limit);
        let inputs: Vec<&Bytes> = [&self.input, &self.data].into_iter().filter_map(Claim::value).collect();
        let (Some(gas), Some(input)) = (gases.first().copied(), inputs.first().copied()) else { return Vec::new() };
        let stated_chain = self.chain_id.value().map(|id| id.to::<u64>());
        let mut readings: Vec<Reading<'_>> = Vec::new();
        let stated_type = self.tx_type.value().map(|tx_type| tx_type.to::<u64>());
        let mut types: Vec<u64> = Vec::new();
        for tx_type in stated_type.into_iter().chain([self.suggested_type(), 0, 1, 2, 3, 4]) {
            if !types.contains(&tx_type) {
                types.push(tx_type);
            }
        }
        for (place, tx_type) in types.into_iter().enumerate() {
            let chain = stated_chain.unwrap_or(chain_id);
            for (parity, chain_id) in self.signatures(tx_type, chain).into_iter().take(if place == 0 { 9 } else { 1 }) {
                readings.push(Reading { tx_type, parity, chain_id, gas, input });
            }
        }
        let Some(stated) = readings.first().cloned() else { return readings };
        if stated.tx_type > 0 && stated_chain.is_some_and(|stated| stated != chain_id) {
            readings.push(Reading { chain_id: Some(chain_id), ..stated.clone() });
        }
        readings.extend(
            gases.iter().skip(1).filter(|other| **other != gas).map(|gas| Reading { gas: *gas, ..stated.clone() }),
        );
        let others = inputs.iter().skip(1).filter(|other| **other != input);
        readings.extend(others.map(|input| Reading { input, ..stated.clone() }));
        readings
    }

    /// Parity and chain of the signature as stated, if they can be, and all others that are possible.
    fn signatures(&self, tx_type: u64, chain_id: u64) -> Vec<(bool, Option<u64>)> {
        let v = self.v.value().and_then(|v| u64::try_from(*v).ok());
        let stated = self.y_parity.value().map(|parity| parity.to::<u64>());
        let of_v = match (tx_type, v) {
            (0, Some(v @ (27 | 28))) => Some((v == 28, None)),
            (0, Some(v)) if v >= 35 => Some(((v - 35) % 2 == 1, Some((v - 35) / 2))),
            (1.., Some(v @ (0 | 1))) => Some((v == 1, Some(chain_id))),
            _ => None,
        };
        let mut all: Vec<(bool, Option<u64>)> = Vec::new();
        let parities = stated.filter(|parity| *parity < 2).map(|parity| parity == 1).into_iter().chain([false, true]);
        let others = parities.flat_map(|parity| {
            let unprotected = (tx_type == 0).then_some((parity, None));
            [Some((parity, Some(chain_id))), unprotected].into_iter().flatten()
        });
        for signature in of_v.into_iter().chain(others) {
            if !all.contains(&signature) {
                all.push(signature);
            }
        }
        all
    }

    fn read(&self, reading: &Reading<'_>, index: u64) -> Result<Hashed, VerifyError> {
        let envelope = self.envelope(reading, index)?;
        let mut encoded = Vec::with_capacity(envelope.encode_2718_len());
        envelope.encode_2718(&mut encoded);
        let hash = keccak256(&encoded);
        Ok(Hashed { envelope, encoded: encoded.into(), hash })
    }

    fn envelope(&self, reading: &Reading<'_>, index: u64) -> Result<Envelope, VerifyError> {
        let missing =
            |what: &'static str| VerifyError::Malformed { index, detail: format!("transaction without {what}") };
        let Reading { tx_type, parity, gas: gas_limit, .. } = *reading;
        let (Some(r), Some(s)) = (self.r, self.s) else { return Err(missing("a signature")) };
        let signature = Signature::new(r, s, parity);
        let kind = self.to.map_or(TxKind::Create, TxKind::Call);
        let (nonce, value, input) = (self.nonce.to(), self.value, reading.input.clone());
        let fee = |claim: &Claim<U128>, what| claim.value().map(|fee| fee.to::<u128>()).ok_or_else(|| missing(what));
        let chain_id = reading.chain_id.unwrap_or_default();
        // Nodes and chains that have none leave it out.
        let access_list = || match &self.access_list {
            Claim::Absent => Ok(AccessList::default()),
            Claim::Value(list) => Ok(list.clone()),
            Claim::Unreadable(_) => Err(missing("an accessList that can be read")),
        };
        let call_target = || self.to.ok_or_else(|| missing("to"));
        Ok(match tx_type {
            0 => {
                let gas_price = fee(&self.gas_price, "gasPrice")?;
                seal(
                    TxLegacy { chain_id: reading.chain_id, nonce, gas_price, gas_limit, to: kind, value, input },
                    signature,
                )
            }
            1 => {
                let (gas_price, access_list) = (fee(&self.gas_price, "gasPrice")?, access_list()?);
                seal(
                    TxEip2930 { chain_id, nonce, gas_price, gas_limit, to: kind, value, access_list, input },
                    signature,
                )
            }
            2 => seal(
                TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: fee(&self.max_fee_per_gas, "maxFeePerGas")?,
                    max_priority_fee_per_gas: fee(&self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
                    to: kind,
                    value,
                    access_list: access_list()?,
                    input,
                },
                signature,
            ),
            3 => seal(
                TxEip4844 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: fee(&self.max_fee_per_gas, "maxFeePerGas")?,
                    max_priority_fee_per_gas: fee(&self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
                    to: call_target()?,
                    value,
                    access_list: access_list()?,
                    blob_versioned_hashes: self
                        .blob_versioned_hashes
                        .value()
                        .cloned()
                        .ok_or_else(|| missing("blobVersionedHashes"))?,
                    max_fee_per_blob_gas: fee(&self.max_fee_per_blob_gas, "maxFeePerBlobGas")?,
                    input,
                },
                signature,
            ),
            4 => seal(
                TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: fee(&self.max_fee_per_gas, "maxFeePerGas")?,
                    max_priority_fee_per_gas: fee(&self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?,
                    to: call_target()?,
                    value,
                    access_list: access_list()?,
                    authorization_list: self
                        .authorization_list
                        .value()
                        .cloned()
                        .ok_or_else(|| missing("authorizationList"))?,
                    input,
                },
                signature,
            ),
            other => return Err(VerifyError::UnknownTransactionType { index, tx_type: other }),
        })
    }

    /// What the transaction states and the hash does not cover, or covers in another reading.
    fn note_differences(&self, reading: &Reading<'_>, index: u64, chain_id: u64, differences: &mut Differences) {
        let at = Some(index);
        differences.compare("transaction.type", at, &self.tx_type, &U64::from(reading.tx_type));
        let parity = U64::from(u8::from(reading.parity));
        let v = match (reading.tx_type, reading.chain_id) {
            (0, Some(chain)) => U256::from(chain) * U256::from(2) + U256::from(35 + u8::from(reading.parity)),
            (0, None) => U256::from(27 + u8::from(reading.parity)),
            _ => U256::from(parity),
        };
        differences.compare("transaction.v", at, &self.v, &v);
        differences.compare("transaction.yParity", at, &self.y_parity, &parity);
        match reading.chain_id {
            Some(signed) => differences.compare("transaction.chainId", at, &self.chain_id, &U64::from(signed)),
            // Signed before EIP-155, for every chain: nodes state null, 0, or the chain's own.
            None if self.chain_id.fits(&U64::ZERO) => {}
            None => differences.compare("transaction.chainId", at, &self.chain_id, &U64::from(chain_id)),
        }
        differences.compare("transaction.gas", at, &self.gas, &U64::from(reading.gas));
        differences.compare("transaction.gasLimit", at, &self.gas_limit, &U64::from(reading.gas));
        differences.compare("transaction.input", at, &self.input, reading.input);
        differences.compare("transaction.data", at, &self.data, reading.input);
        let lists = [
            ("transaction.accessList", reading.tx_type == 0, self.access_list.fits(&AccessList::default())),
            ("transaction.blobVersionedHashes", reading.tx_type != 3, self.blob_versioned_hashes.fits(&Vec::new())),
            ("transaction.authorizationList", reading.tx_type != 4, self.authorization_list.fits(&Vec::new())),
        ];
        for (field, foreign, empty) in lists {
            if foreign && !empty {
                differences.note(field, at, "a list", "none");
            }
        }
    }
}

fn incomplete(index: u64) -> VerifyError {
    VerifyError::Malformed { index, detail: "transaction without gas or input".to_owned() }
}

/// The hash is computed from the encoding, and not by alloy once more.
fn seal<T>(tx: T, signature: Signature) -> Envelope
where
    Envelope: From<Signed<T>>,
{
    Signed::new_unchecked(tx, signature, B256::ZERO).into()
}

/// Price per gas that is really paid, in wei: the legacy price, or base fee plus priority fee within the maximum
/// ([EIP-1559](https://eips.ethereum.org/EIPS/eip-1559)). With no base fee (before London) it is the legacy price.
pub fn effective_gas_price(tx: &Envelope, base_fee: Option<u64>) -> u128 {
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
