//! What bolo recorded of an alert, as a bundle carries it: both sides of the movement with their list entries. Nothing on the chain
//! proves it, but it must not contradict the alert, its time or itself.

use alloy::primitives::Address;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::claim::{Written, nullable};
use super::{Claim, version_json};
use crate::chain::NativeCurrency;
use crate::decode::AssetStandard;
use crate::lists::{parse_date, show_date};
use crate::screen::{AlertStatus, Designation, ListKind, Severity};
use crate::store::EntryVersions;
use crate::text::in_units;

/// A side of the movement with what the lists say of it.
#[derive(Debug, Clone)]
pub struct Side {
    /// `from`, `to` or `operator`.
    pub role: &'static str,
    /// Its address.
    pub address: Address,
    /// Its entries, strictest first.
    pub entries: Vec<EntryVersions>,
}

impl Side {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "role": self.role, "address": self.address.to_checksum(None),
            "entries": self.entries.iter().map(entry_json).collect::<Vec<_>>(),
        })
    }
}

fn entry_json(entry: &EntryVersions) -> serde_json::Value {
    serde_json::json!({
        "list": entry.list, "kind": entry.kind.name(), "label": entry.label, "entity": entry.entity,
        "programs": entry.programs, "matched": entry.matched, "designation": entry.designation.name(),
        "listed_from": entry.listed_from.map(show_date), "delisted_on": entry.delisted_on.map(show_date),
        "brought_by": version_json(&entry.brought_by), "in_force": entry.in_force.as_ref().map(version_json),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SideIn {
    role: String,
    address: Written<Address>,
    entries: Vec<EntryIn>,
}

#[derive(Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct EntryIn {
    list: String,
    kind: String,
    #[serde(deserialize_with = "nullable")]
    label: Option<String>,
    #[serde(deserialize_with = "nullable")]
    entity: Option<String>,
    programs: Vec<String>,
    matched: bool,
    designation: String,
    #[serde(deserialize_with = "nullable")]
    listed_from: Option<String>,
    #[serde(deserialize_with = "nullable")]
    delisted_on: Option<String>,
    brought_by: VersionIn,
    #[serde(deserialize_with = "nullable")]
    in_force: Option<VersionIn>,
}

#[derive(Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct VersionIn {
    published: String,
    published_given: bool,
    imported_at: String,
    source: String,
    format: String,
    #[serde(deserialize_with = "nullable")]
    sha256: Option<String>,
}

/// What the alert says that bolo recorded.
#[derive(Deserialize)]
struct AlertIn {
    status: String,
    severity: String,
    asset: AssetIn,
    amount: String,
    #[serde(deserialize_with = "nullable")]
    amount_display: Option<String>,
    watched: WatchedIn,
    watched_all: Option<Vec<WatchedIn>>,
}

#[derive(Deserialize)]
struct AssetIn {
    #[serde(deserialize_with = "nullable", rename = "symbol")]
    _symbol: Option<String>,
    #[serde(deserialize_with = "nullable")]
    decimals: Option<u8>,
}

#[derive(Deserialize)]
struct WatchedIn {
    #[serde(deserialize_with = "nullable")]
    label: Option<String>,
    list: String,
    kind: String,
    #[serde(deserialize_with = "nullable")]
    entity: Option<String>,
    programs: Vec<String>,
    designation: String,
    version: WatchedVersionIn,
}

#[derive(Deserialize)]
struct WatchedVersionIn {
    #[serde(deserialize_with = "nullable")]
    published: Option<String>,
    source: String,
    #[serde(deserialize_with = "nullable")]
    sha256: Option<String>,
}

impl WatchedIn {
    fn is(&self, entry: &EntryIn) -> bool {
        let by = &entry.brought_by;
        let published = by.published_given.then_some(&by.published);
        self.label == entry.label
            && (&self.list, &self.kind) == (&entry.list, &entry.kind)
            && self.entity == entry.entity
            && self.programs == entry.programs
            && self.designation == entry.designation
            && self.version.published.as_ref() == published
            && (&self.version.source, &self.version.sha256) == (&by.source, &by.sha256)
    }
}

/// Refuses a record that contradicts the claim, its time or itself.
///
/// # Errors
/// One line: what does not fit.
pub(super) fn check(alert: &RawValue, sides: &RawValue, claim: &Claim) -> Result<(), String> {
    let alert: AlertIn = serde_json::from_str(alert.get()).map_err(|error| format!("the alert: {error}"))?;
    let sides: Vec<SideIn> = serde_json::from_str(sides.get()).map_err(|error| format!("the sides: {error}"))?;
    if AlertStatus::from_name(&alert.status).is_none() {
        return Err(format!("{:?} is no status", alert.status));
    }
    if Severity::from_name(&alert.severity).is_none() {
        return Err(format!("{:?} is no severity", alert.severity));
    }
    check_units(&alert, claim)?;
    let expected = [("from", claim.from), ("to", claim.to), ("operator", claim.operator)]
        .into_iter()
        .filter_map(|(role, side)| Some((role, side?)));
    if !sides.iter().map(|side| (side.role.as_str(), side.address.0)).eq(expected) {
        return Err("the sides are not those of the movement".to_owned());
    }
    for side in &sides {
        for entry in &side.entries {
            check_entry(entry, claim.timestamp).map_err(|reason| format!("an entry of {}: {reason}", side.role))?;
        }
    }
    for side in sides.iter().filter(|side| side.address.0 == claim.watched) {
        let [first, rest @ ..] = side.entries.as_slice() else {
            return Err("the watched side has no list entry".to_owned());
        };
        let all = match (&alert.watched_all, rest) {
            (None, []) => true,
            (Some(all), [_, ..]) => {
                all.len() == side.entries.len() && all.iter().zip(&side.entries).all(|(said, entry)| said.is(entry))
            }
            _ => false,
        };
        if !alert.watched.is(first) || !all || side.entries.iter().any(|entry| !entry.matched) {
            return Err("the entries of the watched side are not those of the alert".to_owned());
        }
    }
    Ok(())
}

/// The amount in units is the amount in base units, by the decimals that are said.
fn check_units(alert: &AlertIn, claim: &Claim) -> Result<(), String> {
    let decimals = alert.asset.decimals;
    if claim.contract.is_none() && decimals != Some(NativeCurrency::of_chain(claim.chain_id).decimals) {
        return Err("the decimals are not those of the chain's own currency".to_owned());
    }
    let is_fungible = claim.contract.is_none() || claim.standard == AssetStandard::Erc20;
    let expected = decimals.filter(|_| is_fungible).map(|decimals| in_units(&alert.amount, decimals));
    if alert.amount_display == expected { Ok(()) } else { Err("amount_display is not the amount".to_owned()) }
}

fn check_entry(entry: &EntryIn, block_time: i64) -> Result<(), String> {
    if ListKind::from_name(&entry.kind).is_none() {
        return Err(format!("{:?} is no kind of a list", entry.kind));
    }
    for version in std::iter::once(&entry.brought_by).chain(&entry.in_force) {
        let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if version.sha256.as_ref().is_some_and(|text| !is_hash(text)) {
            return Err("a version's sha256 is no SHA-256".to_owned());
        }
        date(&version.published)?;
        date(&version.imported_at)?;
    }
    let (from, until) = (entry.listed_from.as_deref(), entry.delisted_on.as_deref());
    let (from, until) = (from.map(date).transpose()?, until.map(date).transpose()?);
    let fitting: &[Designation] = match (from, until) {
        (Some(from), _) if block_time < from => &[Designation::Before],
        (_, Some(until)) if block_time >= until => &[Designation::After],
        (Some(_), _) => &[Designation::Listed],
        // It goes by the version that was known when the block was screened.
        (None, _) => &[Designation::Listed, Designation::Unknown],
    };
    if fitting.iter().any(|designation| designation.name() == entry.designation) {
        Ok(())
    } else {
        Err(format!("the designation {:?} does not fit its dates and the block's time", entry.designation))
    }
}

/// A date just as bolo writes it.
fn date(text: &str) -> Result<i64, String> {
    let seconds = parse_date(text)?;
    if show_date(seconds) == text && text >= "0001" {
        Ok(seconds)
    } else {
        Err(format!("{text:?} is no date as bolo writes it"))
    }
}
