//! What an alert claims, as far as it can be held against a proof: read out of the JSON of a bundle, or out of the store.

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, Deserializer};

use crate::chain::NativeCurrency;
use crate::decode::{ActivityKind, AssetStandard, CallType, Location, Plane, Position};
use crate::screen::Direction;
use crate::store::AlertRow;

/// The claims of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The alert's id.
    pub id: B256,
    /// The chain.
    pub chain_id: u64,
    /// Number of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Time of its block, unix seconds.
    pub timestamp: i64,
    /// The transaction.
    pub tx: Option<TxClaim>,
    /// Kind of movement.
    pub kind: ActivityKind,
    /// Where in the block.
    pub location: Location,
    /// The giving side.
    pub from: Option<Address>,
    /// The receiving side.
    pub to: Option<Address>,
    /// What standard the asset follows.
    pub standard: AssetStandard,
    /// The token's contract.
    pub contract: Option<Address>,
    /// Base units.
    pub amount: U256,
    /// Id of the token.
    pub token_id: Option<U256>,
    /// Who moved it for the giving side.
    pub operator: Option<Address>,
    /// The watched address.
    pub watched: Address,
    /// Its side.
    pub direction: Direction,
    /// Whether it says that it is proven.
    pub proven: bool,
}

/// What an alert says of its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxClaim {
    /// Its hash.
    pub hash: B256,
    /// Who signed it.
    pub signer: Address,
    /// Whom it called.
    pub to: Option<Address>,
    /// Whether it succeeded.
    pub success: Option<bool>,
}

impl Claim {
    /// Out of the store.
    ///
    /// # Errors
    /// Where an amount is no number.
    pub fn of_row(row: &AlertRow, chain_id: u64) -> Result<Self, String> {
        Ok(Self {
            id: row.id,
            chain_id,
            block_number: row.block_number,
            block_hash: row.block_hash,
            timestamp: row.timestamp,
            tx: row.tx.as_ref().map(|tx| TxClaim { hash: tx.hash, signer: tx.signer, to: tx.to, success: tx.success }),
            kind: row.kind,
            location: row.location.clone(),
            from: row.from,
            to: row.to,
            standard: row.asset.standard,
            contract: row.asset.contract,
            amount: decimal(&row.amount)?,
            token_id: row.token_id.as_deref().map(decimal).transpose()?,
            operator: row.operator,
            watched: row.watched,
            direction: row.direction,
            proven: row.proven,
        })
    }

    /// Out of the JSON of an alert. What is said twice must agree.
    ///
    /// # Errors
    /// One line: what is missing, of another shape, or contradicts itself.
    pub fn of_json(alert: &serde_json::value::RawValue) -> Result<Self, String> {
        let json: AlertIn = serde_json::from_str(alert.get()).map_err(|error| format!("the alert: {error}"))?;
        let kind = ActivityKind::from_name(&json.kind).ok_or_else(|| format!("{:?} is no kind", json.kind))?;
        let plane = Plane::ALL.iter().find(|(_, name)| *name == json.plane).map(|(plane, _)| *plane);
        let plane = plane.ok_or_else(|| format!("{:?} is no plane", json.plane))?;
        let has_frame = plane == Plane::Logs && kind == ActivityKind::InternalTransfer && json.trace_address.is_some();
        let fits = |word: &str| has_frame && CallType::from_name(word).is_some();
        if !json.detail.as_deref().map_or(!has_frame, fits) {
            return Err("detail does not fit the kind, the plane or the trace_address".to_owned());
        }
        let position = match (plane, json.log_index, json.trace_address) {
            (Plane::Logs, Some(index), None) => Position::Log(index),
            // Where traces are known they add the frame of what a log proves: it is no part of the place.
            (Plane::Logs, Some(index), Some(_)) if has_frame => Position::Log(index),
            (Plane::Traces, None, Some(path)) => Position::Trace(path),
            (Plane::Transactions | Plane::Withdrawals, None, None) => Position::Whole,
            _ => return Err("log_index and trace_address do not fit the plane".to_owned()),
        };
        let tx_index = json.tx.as_ref().map(|tx| tx.index);
        let location = Location { tx_index, plane, position, sub_index: json.sub_index };
        let direction = Direction::from_name(&json.watched.direction)
            .ok_or_else(|| format!("{:?} is no direction", json.watched.direction))?;
        let timestamp: jiff::Timestamp =
            json.block.timestamp.parse().map_err(|_| "the block's timestamp is no time".to_owned())?;
        if timestamp.to_string() != json.block.timestamp || timestamp.subsec_nanosecond() != 0 {
            return Err("the block's timestamp is not in whole seconds of UTC".to_owned());
        }
        let (prefix, asset) = json.asset.id.split_once('/').ok_or("the asset's id is not CAIP-19")?;
        let (standard, reference) = asset.split_once(':').ok_or("the asset's id is not CAIP-19")?;
        let standard = match json.asset.contract {
            None if asset == NativeCurrency::of_chain(json.chain_id).reference() => AssetStandard::Native,
            Some(contract) if reference == contract.0.to_checksum(None) => AssetStandard::from_name(standard)
                .filter(|standard| *standard != AssetStandard::Native)
                .ok_or_else(|| format!("{standard:?} is no standard of tokens"))?,
            _ => return Err("the asset's id does not fit the chain or the contract".to_owned()),
        };
        if prefix != format!("eip155:{}", json.chain_id) {
            return Err("the asset's id is of another chain".to_owned());
        }
        let claim = Self {
            id: json.id.0,
            chain_id: json.chain_id,
            block_number: json.block.number,
            block_hash: json.block.hash.0,
            timestamp: timestamp.as_second(),
            tx: json.tx.map(|tx| TxClaim {
                hash: tx.hash.0,
                signer: tx.from.0,
                to: tx.to.map(|to| to.0),
                success: tx.success,
            }),
            kind,
            location,
            from: json.from.map(|from| from.0),
            to: json.to.map(|to| to.0),
            standard,
            contract: json.asset.contract.map(|contract| contract.0),
            amount: decimal(&json.amount)?,
            token_id: json.token_id.as_deref().map(decimal).transpose()?,
            operator: json.parties.iter().flatten().find(|party| party.role == "operator").map(|party| party.address.0),
            watched: json.watched.address.0,
            direction,
            proven: match json.proof.as_str() {
                "proven" => true,
                "unproven" => false,
                other => return Err(format!("proof {other:?} is neither proven nor unproven")),
            },
        };
        let parties = [("from", claim.from), ("to", claim.to), ("operator", claim.operator)];
        let expected = parties.into_iter().filter_map(|(role, address)| Some((role, address?)));
        if let Some(parties) = &json.parties
            && !parties.iter().map(|party| (party.role.as_str(), party.address.0)).eq(expected)
        {
            return Err("the parties are not the two sides and the operator".to_owned());
        }
        if json.counterparty.map(|other| other.0) != claim.counterparty() {
            return Err("the counterparty is not the other side".to_owned());
        }
        Ok(claim)
    }

    /// Whether the watched address is named by the activity, and is neither side.
    pub fn named_otherwise(&self) -> bool {
        self.operator == Some(self.watched) && ![self.from, self.to].contains(&Some(self.watched))
    }

    fn counterparty(&self) -> Option<Address> {
        match self.direction {
            Direction::Out => self.to,
            Direction::In => self.from,
            Direction::Own | Direction::Party => None,
        }
    }
}

/// A number as the contract writes it: digits, no leading zero.
fn decimal(text: &str) -> Result<U256, String> {
    let number = U256::from_str_radix(text, 10).map_err(|_| format!("{text:?} is no amount"))?;
    if number.to_string() == text { Ok(number) } else { Err(format!("{text:?} is no amount")) }
}

#[derive(Deserialize)]
struct AlertIn {
    id: Written<B256>,
    chain_id: u64,
    block: BlockIn,
    #[serde(deserialize_with = "nullable")]
    tx: Option<TxIn>,
    kind: String,
    plane: String,
    #[serde(deserialize_with = "nullable")]
    log_index: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    trace_address: Option<Vec<u32>>,
    #[serde(deserialize_with = "nullable")]
    detail: Option<String>,
    sub_index: u32,
    #[serde(deserialize_with = "nullable")]
    from: Option<Written<Address>>,
    #[serde(deserialize_with = "nullable")]
    to: Option<Written<Address>>,
    asset: AssetIn,
    amount: String,
    #[serde(deserialize_with = "nullable")]
    token_id: Option<String>,
    parties: Option<Vec<PartyIn>>,
    watched: WatchedIn,
    #[serde(deserialize_with = "nullable")]
    counterparty: Option<Written<Address>>,
    proof: String,
}

#[derive(Deserialize)]
struct BlockIn {
    number: u64,
    hash: Written<B256>,
    timestamp: String,
}

#[derive(Deserialize)]
struct TxIn {
    hash: Written<B256>,
    index: u32,
    from: Written<Address>,
    #[serde(deserialize_with = "nullable")]
    to: Option<Written<Address>>,
    #[serde(deserialize_with = "nullable")]
    success: Option<bool>,
}

#[derive(Deserialize)]
struct AssetIn {
    id: String,
    #[serde(deserialize_with = "nullable")]
    contract: Option<Written<Address>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyIn {
    role: String,
    address: Written<Address>,
}

#[derive(Deserialize)]
struct WatchedIn {
    address: Written<Address>,
    direction: String,
}

/// A hash or an address as it is printed: hashes in lower case, addresses in any, both with 0x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written<T>(pub(super) T);

impl<'de> Deserialize<'de> for Written<B256> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<B256>() {
            Ok(hash) if hash.to_string() == text => Ok(Self(hash)),
            _ => Err(serde::de::Error::custom(format!("{text:?} is no hash of 0x and 64 lower-case hex digits"))),
        }
    }
}

impl<'de> Deserialize<'de> for Written<Address> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<Address>() {
            Ok(address) if text.len() == 42 => Ok(Self(address)),
            _ => Err(serde::de::Error::custom(format!("{text:?} is no address of 0x and 40 hex digits"))),
        }
    }
}

/// Null is a value, a missing field is not: a name that was changed must not pass for null.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}
