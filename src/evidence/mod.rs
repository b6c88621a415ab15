//! Bundles that a third party can check offline: one alert, with the bytes that prove it. docs/evidence.md is the format, to the
//! byte. This room reads and writes the files; what they prove is for the pipeline to say, which alone decodes.

mod archive;
mod claim;
mod files;
mod limits;
mod readme;
mod record;

use alloy::primitives::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use claim::{Claim, TxClaim};
pub use files::{Files, check_seal, read, write, write_zip};
pub use limits::not_proven;
pub use record::Side;

use crate::chain::proof::BlockProof;
use crate::lists::show_date;
use crate::store::{Screening, VersionRow};
use files::{HEADER, JSON, README, RECEIPTS, SUMS, TOOLS, TRANSACTIONS, WITHDRAWALS, sums};

/// The format's name.
pub const FORMAT: &str = "bolo-evidence-1";

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
    /// What it says that it does not prove.
    pub not_proven: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceIn {
    format: String,
    proves: String,
    alert: Box<RawValue>,
    first_log_index: Option<u32>,
    sides: Box<RawValue>,
    not_proven: Vec<String>,
    #[serde(rename = "screening")]
    _screening: Box<RawValue>,
    #[serde(rename = "made_by")]
    _made_by: String,
}

#[derive(Serialize)]
struct EvidenceOut<'a, A> {
    format: &'static str,
    proves: &'static str,
    alert: &'a A,
    first_log_index: Option<u64>,
    sides: Vec<serde_json::Value>,
    not_proven: Vec<&'static str>,
    screening: serde_json::Value,
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
    /// Both sides of the movement with their list entries.
    pub sides: &'a [Side],
    /// A transaction that the proof shows was signed for the chain id.
    pub chain_id_signed: bool,
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
            sides: self.sides.iter().map(Side::json).collect(),
            not_proven: not_proven(self.claim, self.chain_id_signed),
            screening: serde_json::json!({
                "watch_revision": self.screening.watch_revision, "decoder": self.screening.decoder.to_string(),
            }),
            made_by: format!("bolo {}", env!("CARGO_PKG_VERSION")),
        };
        let json = serde_json::to_string_pretty(&evidence).map_err(|error| error.to_string())?;
        let alert = serde_json::to_value(self.alert).map_err(|error| error.to_string())?;
        let mut files = Files::new();
        files.insert(README.to_owned(), readme::text(self, &alert).into_bytes());
        files.insert(JSON.to_owned(), format!("{}\n", crate::text::json(&json)).into_bytes());
        files.extend(TOOLS.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
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
        record::check(&evidence.alert, &evidence.sides, &claim).map_err(|error| format!("{JSON}: {error}"))?;
        Ok(Self {
            claim,
            proof,
            first_log_index: evidence.first_log_index.map(u64::from),
            proves_movement,
            not_proven: evidence.not_proven,
        })
    }
}
