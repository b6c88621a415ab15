//! Bundles that a third party can check offline: one alert, with the bytes that prove it. docs/evidence.md is the format, to the
//! byte. This room reads and writes the files; what they prove is for the pipeline to say, which alone decodes.

mod claim;
mod readme;

use std::collections::BTreeMap;
use std::path::Path;

use alloy::primitives::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use claim::{Claim, TxClaim};

use crate::chain::proof::BlockProof;
use crate::lists::show_date;
use crate::store::{EntryVersions, Screening, VersionRow};

/// The format's name.
pub const FORMAT: &str = "bolo-evidence-1";

const JSON: &str = "evidence.json";
const HEADER: &str = "header.rlp";
const TRANSACTIONS: &str = "transactions.nodes";
const RECEIPTS: &str = "receipts.nodes";
const WITHDRAWALS: &str = "withdrawals.nodes";
const README: &str = "README.txt";
const SUMS: &str = "SHA256SUMS";
/// No bundle is larger: a whole block at most.
const LARGEST: u64 = 1 << 28;

/// The files of a bundle, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A bundle as it was read; nothing of it is proven yet.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What it claims.
    pub claim: Claim,
    /// What it proves it by.
    pub proof: BlockProof,
    /// Index in the block of the first log of the transaction.
    pub first_log_index: Option<u64>,
    /// Whether it claims to prove the movement itself, rather than only the transaction.
    pub proves_movement: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceIn {
    format: String,
    proves: String,
    alert: Box<RawValue>,
    first_log_index: Option<u32>,
    #[serde(rename = "screening")]
    _screening: Box<RawValue>,
    #[serde(rename = "lists")]
    _lists: Box<RawValue>,
    #[serde(rename = "made_by")]
    _made_by: String,
}

#[derive(Serialize)]
struct EvidenceOut<'a, A> {
    format: &'static str,
    proves: &'static str,
    alert: &'a A,
    first_log_index: Option<u64>,
    screening: serde_json::Value,
    lists: Vec<serde_json::Value>,
    made_by: String,
}

/// Everything that goes into a bundle.
#[derive(Debug)]
pub struct Contents<'a, A> {
    /// The alert as the contract has it.
    pub alert: &'a A,
    /// Its claims.
    pub claim: &'a Claim,
    /// A reorg took its block out of the chain, as far as this database knows.
    pub orphaned: bool,
    /// What proves it, and nothing else.
    pub proof: &'a BlockProof,
    /// How its block was screened.
    pub screening: Screening,
    /// Its entries, strictest first.
    pub entries: &'a [EntryVersions],
}

impl<A: Serialize> Contents<'_, A> {
    /// The files.
    ///
    /// # Errors
    /// Where the alert cannot be written as JSON.
    pub fn files(&self) -> Result<Files, String> {
        let evidence = EvidenceOut {
            format: FORMAT,
            proves: if self.claim.proven { "movement" } else { "transaction" },
            alert: self.alert,
            first_log_index: self.screening.first_log_index,
            screening: serde_json::json!({
                "watch_revision": self.screening.watch_revision, "decoder": self.screening.decoder.to_string(),
            }),
            lists: self.entries.iter().map(list_json).collect(),
            made_by: format!("bolo {}", env!("CARGO_PKG_VERSION")),
        };
        let mut json = serde_json::to_vec_pretty(&evidence).map_err(|error| error.to_string())?;
        json.push(b'\n');
        let mut files = Files::new();
        files.insert(README.to_owned(), readme::text(self.claim, self.orphaned, self.entries).into_bytes());
        files.insert(JSON.to_owned(), json);
        files.insert(HEADER.to_owned(), self.proof.header.to_vec());
        for (name, nodes) in [
            (TRANSACTIONS, &self.proof.transactions),
            (RECEIPTS, &self.proof.receipts),
            (WITHDRAWALS, &self.proof.withdrawals),
        ] {
            if !nodes.is_empty() {
                files.insert(name.to_owned(), alloy::rlp::encode(nodes));
            }
        }
        files.insert(SUMS.to_owned(), sums(&files));
        Ok(files)
    }
}

/// A version of a list as it is shown everywhere.
pub fn version_json(version: &VersionRow) -> serde_json::Value {
    serde_json::json!({
        "published": show_date(version.published), "published_given": version.published_given,
        "imported_at": show_date(version.imported_at), "source": version.source, "format": version.format,
        "sha256": version.sha256.map(alloy::primitives::hex::encode),
    })
}

fn list_json(entry: &EntryVersions) -> serde_json::Value {
    serde_json::json!({
        "list": entry.list, "kind": entry.kind.name(), "label": entry.label, "entity": entry.entity,
        "programs": entry.programs, "designation": entry.designation.name(),
        "brought_by": version_json(&entry.brought_by), "in_force": entry.in_force.as_ref().map(version_json),
    })
}

/// What SHA256SUMS says of the other files.
fn sums(files: &Files) -> Vec<u8> {
    let line = |(name, bytes): (&String, &Vec<u8>)| {
        format!("{}  {name}\n", alloy::primitives::hex::encode(Sha256::digest(bytes)))
    };
    files.iter().filter(|(name, _)| *name != SUMS).map(line).collect::<String>().into_bytes()
}

/// Writes the files into a folder that is new or empty.
///
/// # Errors
/// One line: the folder holds something, or cannot be written.
pub fn write(dir: &Path, files: &Files) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write the bundle to {}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(format!("{} is not empty: name a new folder with --out", dir.display()));
    }
    // The sums come last: a bundle that was not written whole is refused.
    let (sums, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == SUMS);
    for (name, bytes) in others.into_iter().chain(sums) {
        std::fs::write(dir.join(name), bytes).map_err(failed)?;
    }
    Ok(())
}

/// Reads the files of a folder.
///
/// # Errors
/// One line: it cannot be read, or holds what is no part of a bundle.
pub fn read(dir: &Path) -> Result<Files, String> {
    let failed = |error: std::io::Error| format!("cannot read the bundle {}: {error}", dir.display());
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let facts = entry.metadata().map_err(failed)?;
        if !facts.is_file() || facts.len() > LARGEST {
            return Err(format!("{name} is no file of a bundle"));
        }
        files.insert(name, std::fs::read(entry.path()).map_err(failed)?);
    }
    Ok(files)
}

impl Bundle {
    /// Reads what the files say.
    ///
    /// # Errors
    /// One line: what is missing or cannot be read.
    pub fn open(files: &Files) -> Result<Self, String> {
        let file = |name: &str| files.get(name).ok_or_else(|| format!("{name} is missing"));
        let evidence: EvidenceIn =
            serde_json::from_slice(file(JSON)?).map_err(|error| format!("{JSON} cannot be read: {error}"))?;
        if evidence.format != FORMAT {
            return Err(format!("{JSON}: the format {:?} is not {FORMAT}", evidence.format));
        }
        let proves_movement = match evidence.proves.as_str() {
            "movement" => true,
            "transaction" => false,
            other => return Err(format!("{JSON}: it cannot prove {other:?}")),
        };
        let claim = Claim::of_json(&evidence.alert).map_err(|error| format!("{JSON}: {error}"))?;
        let nodes = |name: &str| -> Result<Vec<Bytes>, String> {
            let Some(bytes) = files.get(name) else { return Ok(Vec::new()) };
            let nodes: Vec<Bytes> = alloy::rlp::decode_exact(bytes)
                .map_err(|error| format!("{name} is no RLP list of byte strings: {error}"))?;
            if nodes.is_empty() { Err(format!("{name} holds nothing")) } else { Ok(nodes) }
        };
        let proof = BlockProof {
            header: file(HEADER)?.clone().into(),
            transactions: nodes(TRANSACTIONS)?,
            receipts: nodes(RECEIPTS)?,
            withdrawals: nodes(WITHDRAWALS)?,
        };
        if !file(JSON)?.ends_with(b"\n") {
            return Err(format!("{JSON} does not end with a line feed"));
        }
        if claim.location.tx_index == Some(0) && evidence.first_log_index != Some(0) {
            return Err(format!("{JSON}: no log of the block comes before those of its first transaction"));
        }
        if evidence.first_log_index.is_some() != claim.tx.is_some() {
            return Err(format!("{JSON}: first_log_index does not fit the alert's transaction"));
        }
        Ok(Self { claim, proof, first_log_index: evidence.first_log_index.map(u64::from), proves_movement })
    }
}

/// Holds the seal: only the known files, and SHA256SUMS just as they give it.
///
/// # Errors
/// One line: which file is another than it was.
pub fn check_seal(files: &Files) -> Result<(), String> {
    let known = [JSON, HEADER, TRANSACTIONS, RECEIPTS, WITHDRAWALS, README, SUMS];
    if let Some(name) = files.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("{name} is no file of a bundle"));
    }
    if !files.contains_key(README) {
        return Err(format!("{README} is missing"));
    }
    let stated = files.get(SUMS).ok_or_else(|| format!("{SUMS} is missing"))?;
    let computed = sums(files);
    if *stated == computed {
        return Ok(());
    }
    let text = String::from_utf8_lossy(stated).into_owned();
    let computed = String::from_utf8_lossy(&computed).into_owned();
    let odd = computed.lines().find(|line| !text.lines().any(|stated| stated == *line));
    Err(match odd.and_then(|line| line.split("  ").nth(1)) {
        Some(name) => format!("{name} does not have the SHA-256 that {SUMS} says, or is not in it"),
        None => format!("{SUMS} has more in it than the sums of the files"),
    })
}
