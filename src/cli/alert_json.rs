//! An alert to the letter of CONTRACT: JSON, and the same fields as CSV.

use alloy::primitives::Address;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::Failure;
use super::present::{csv_record, json_text};
use crate::chain::NativeCurrency;
use crate::decode::{AssetStandard, Position};
use crate::lists::show_date;
use crate::screen::{Designation, Direction, ListKind};
use crate::store::{AlertRow, AssetRow, MatchedEntry};
pub(super) use crate::text::in_units;

/// An alert as CONTRACT has it.
#[derive(Debug, Serialize)]
pub(super) struct AlertJson {
    id: String,
    status: &'static str,
    severity: &'static str,
    chain_id: u64,
    block: BlockJson,
    tx: Option<TxJson>,
    kind: &'static str,
    plane: &'static str,
    log_index: Option<u32>,
    trace_address: Option<Vec<u32>>,
    sub_index: u32,
    from: Option<String>,
    to: Option<String>,
    asset: AssetJson,
    amount: String,
    amount_display: Option<String>,
    token_id: Option<String>,
    detail: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parties: Vec<PartyJson>,
    watched: WatchedJson,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    watched_all: Vec<WatchedJson>,
    counterparty: Option<String>,
    triage: TriageJson,
    proof: &'static str,
    endpoint: String,
    seen_at: String,
    retroactive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
}

/// An address that the activity names, and as what.
#[derive(Debug, Serialize)]
struct PartyJson {
    role: &'static str,
    address: String,
}

#[derive(Debug, Serialize)]
struct BlockJson {
    number: u64,
    hash: String,
    timestamp: String,
}

#[derive(Debug, Serialize)]
struct TxJson {
    hash: String,
    index: u64,
    from: String,
    to: Option<String>,
    success: Option<bool>,
}

#[derive(Debug, Serialize)]
struct AssetJson {
    id: String,
    contract: Option<String>,
    symbol: Option<String>,
    decimals: Option<u8>,
}

#[derive(Debug, Serialize)]
struct WatchedJson {
    address: String,
    direction: &'static str,
    label: Option<String>,
    list: String,
    kind: &'static str,
    entity: Option<String>,
    programs: Vec<String>,
    designation: &'static str,
    version: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct TriageJson {
    class: &'static str,
    reasons: Vec<String>,
}

/// Which chain it is, and its own currency.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainWords {
    pub(super) chain_id: u64,
    pub(super) currency: NativeCurrency,
}

impl ChainWords {
    pub(super) fn of(chain_id: u64) -> Self {
        Self { chain_id, currency: NativeCurrency::of_chain(chain_id) }
    }

    /// Symbol and decimals of an asset, as far as they are known.
    pub(super) fn symbol_and_decimals(&self, asset: &AssetRow) -> (Option<String>, Option<u8>) {
        match asset.contract {
            None => (self.currency.symbol.map(str::to_owned), Some(self.currency.decimals)),
            Some(_) => (asset.symbol.clone(), asset.decimals),
        }
    }
}

/// EIP-55.
pub(super) fn checksum(address: Address) -> String {
    address.to_checksum(None)
}

pub(super) fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

impl AlertJson {
    pub(super) fn new(row: &AlertRow, chain: &ChainWords) -> Self {
        let (symbol, decimals) = chain.symbol_and_decimals(&row.asset);
        let fungible = matches!(row.asset.standard, AssetStandard::Native | AssetStandard::Erc20);
        let party = |role: &'static str, address: Option<Address>| {
            address.map(|address| PartyJson { role, address: checksum(address) })
        };
        let (log_index, trace_address) = match &row.location.position {
            Position::Whole => (None, None),
            Position::Log(index) => (Some(*index), row.frame.as_ref().map(|frame| frame.trace_address.clone())),
            Position::Trace(path) => (None, Some(path.clone())),
        };
        let watched = |entry: &MatchedEntry| WatchedJson {
            address: checksum(row.watched),
            direction: row.direction.name(),
            label: entry.label.clone(),
            list: entry.list.clone(),
            kind: entry.list_kind.name(),
            entity: entry.entity.clone(),
            programs: entry.programs.clone(),
            designation: entry.designation.name(),
            version: Some(json!({
                "published": entry.version.published_given.then(|| show_date(entry.version.published)),
                "sha256": entry.version.sha256.map(alloy::primitives::hex::encode),
                "source": entry.version.source,
            })),
        };
        let nothing = || WatchedJson {
            address: checksum(row.watched),
            direction: row.direction.name(),
            label: None,
            list: String::new(),
            kind: ListKind::Internal.name(),
            entity: None,
            programs: Vec::new(),
            designation: Designation::Unknown.name(),
            version: None,
        };
        Self {
            id: row.id.to_string(),
            status: row.status.name(),
            severity: row.severity.name(),
            chain_id: chain.chain_id,
            block: BlockJson {
                number: row.block_number,
                hash: row.block_hash.to_string(),
                timestamp: moment(row.timestamp),
            },
            tx: row.tx.as_ref().map(|tx| TxJson {
                hash: tx.hash.to_string(),
                index: tx.index,
                from: checksum(tx.signer),
                to: tx.to.map(checksum),
                success: tx.success,
            }),
            kind: row.kind.name(),
            plane: row.location.plane.name(),
            log_index,
            trace_address,
            sub_index: row.location.sub_index,
            from: row.from.map(checksum),
            to: row.to.map(checksum),
            asset: AssetJson {
                id: row.asset.contract.map_or_else(
                    || chain.currency.caip19(chain.chain_id),
                    |contract| {
                        format!("eip155:{}/{}:{}", chain.chain_id, row.asset.standard.name(), checksum(contract))
                    },
                ),
                contract: row.asset.contract.map(checksum),
                symbol,
                decimals,
            },
            amount: row.amount.clone(),
            amount_display: decimals.filter(|_| fungible).map(|decimals| in_units(&row.amount, decimals)),
            token_id: row.token_id.clone(),
            detail: row.frame.as_ref().map(|frame| frame.call_type.name()),
            // Only where they say more than `from` and `to`.
            parties: [("from", row.from), ("to", row.to), ("operator", row.operator)]
                .into_iter()
                .filter(|_| row.operator.is_some())
                .filter_map(|(role, address)| party(role, address))
                .collect(),
            watched: row.entries.first().map_or_else(nothing, watched),
            watched_all: if row.entries.len() > 1 { row.entries.iter().map(watched).collect() } else { Vec::new() },
            counterparty: counterparty(row).map(checksum),
            triage: TriageJson { class: row.triage.name(), reasons: row.triage_reasons.clone() },
            proof: if row.proven { "proven" } else { "unproven" },
            endpoint: row.endpoint.clone(),
            seen_at: Timestamp::from_millisecond(row.seen_at_ms)
                .map_or_else(|_| row.seen_at_ms.to_string(), |time| format!("{time:.3}")),
            retroactive: row.retroactive,
            replaces: row.replaces.map(|id| id.to_string()),
        }
    }

    /// One line, with its end.
    pub(super) fn line(&self) -> Result<Vec<u8>, Failure> {
        Ok((json_text(self)? + "\n").into_bytes())
    }
}

pub(super) fn counterparty(row: &AlertRow) -> Option<Address> {
    match row.direction {
        Direction::Out => row.to,
        Direction::In => row.from,
        Direction::Own | Direction::Party => None,
    }
}

pub(super) fn csv_line(alert: &AlertJson) -> Result<Vec<u8>, Failure> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let tx = |part: fn(&TxJson) -> Option<String>| alert.tx.as_ref().and_then(part).unwrap_or_default();
    let path = alert.trace_address.as_ref().map(|path| path.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
    let fields = [
        alert.id.clone(),
        alert.status.to_owned(),
        alert.severity.to_owned(),
        alert.chain_id.to_string(),
        alert.block.number.to_string(),
        alert.block.hash.clone(),
        alert.block.timestamp.clone(),
        tx(|tx| Some(tx.hash.clone())),
        tx(|tx| Some(tx.index.to_string())),
        tx(|tx| Some(tx.from.clone())),
        tx(|tx| tx.to.clone()),
        tx(|tx| tx.success.map(|success| success.to_string())),
        alert.kind.to_owned(),
        alert.plane.to_owned(),
        alert.log_index.map(|index| index.to_string()).unwrap_or_default(),
        text(&path),
        alert.sub_index.to_string(),
        text(&alert.from),
        text(&alert.to),
        alert.asset.id.clone(),
        text(&alert.asset.contract),
        alert.asset.symbol.clone().unwrap_or_default(),
        alert.asset.decimals.map(|d| d.to_string()).unwrap_or_default(),
        alert.amount.clone(),
        text(&alert.amount_display),
        text(&alert.token_id),
        alert.watched.address.clone(),
        alert.watched.direction.to_owned(),
        text(&alert.watched.label),
        alert.watched.list.clone(),
        text(&alert.watched.entity),
        alert.watched.programs.join(";"),
        alert.watched.designation.to_owned(),
        text(&alert.counterparty),
        alert.triage.class.to_owned(),
        alert.triage.reasons.join(";"),
        alert.proof.to_owned(),
        alert.endpoint.clone(),
        alert.seen_at.clone(),
        text(&alert.replaces),
        alert.retroactive.to_string(),
        alert.detail.unwrap_or_default().to_owned(),
    ];
    csv_record(&fields)
}
