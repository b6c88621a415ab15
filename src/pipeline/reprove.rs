//! Proving again, with no network: everything in the store, or one bundle. The proof is opened, what it shows is decoded anew, and
//! each alert is held against that.

use std::collections::BTreeMap;
use std::path::Path;

use crate::chain::proof::{BlockProof, Claimed, Wanted};
use crate::chain::{VerifiedBlock, VerifiedTransaction};
use crate::decode::{Activity, ActivityKind, AssetStandard, DecodeOptions, Plane, decode};
use crate::evidence::{Bundle, Claim, check_seal, not_proven, read};
use crate::screen::{Direction, alert_id};
use crate::store::{AlertFilter, AlertRow, Order, ProvenRow, Store, StoreError};

/// What was proven again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reproven {
    /// Blocks whose proofs were opened.
    pub blocks: u64,
    /// Alerts that are proven.
    pub proven: u64,
    /// Alerts of the plane of traces whose transaction is proven.
    pub transactions: u64,
    /// Alerts that were taken on trust: there is nothing to prove them by.
    pub on_trust: u64,
    /// Alerts of proven blocks of which an older bolo kept no proof.
    pub without_proof: u64,
    /// Bytes of all proofs, as they are stored.
    pub proof_bytes: u64,
    /// What does not fit, in words, at most [`MOST_FAULTS`].
    pub faults: Vec<String>,
    /// Number of faults.
    pub faulty: u64,
}

/// Faults that are told one by one.
pub const MOST_FAULTS: usize = 100;

impl Reproven {
    fn fault(&mut self, text: String) {
        self.faulty += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(text);
        }
    }
}

/// What a bundle proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The movement itself.
    Movement,
    /// The transaction; the movement within it is the endpoint's word.
    Transaction,
}

/// A bundle that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it claims.
    pub claim: Claim,
    /// What is proven of it.
    pub shown: Shown,
    /// Fields that nothing in it proves.
    pub not_proven: Vec<&'static str>,
}

/// Proves everything in the store again.
///
/// # Errors
/// Of SQLite; what does not fit is no error but a fault in the answer.
pub fn reprove(store: &Store) -> Result<Reproven, StoreError> {
    let mut sum = Reproven { proof_bytes: store.proof_bytes()?, ..Reproven::default() };
    for (from, to) in store.ledger_differences()? {
        sum.fault(format!("the ledger of coverage and the blocks themselves disagree at {from} to {to}"));
    }
    for (number, hash) in store.broken_links()? {
        sum.fault(format!("block {number} ({hash}) does not link to the block held before it"));
    }
    for (number, hash, held) in store.broken_checkpoints()? {
        sum.fault(format!("block {number} is {held}, and the checkpoint says {hash}"));
    }
    let Some(chain_id) = store.chain_id()? else { return Ok(sum) };
    store.each_proof::<StoreError>(|row| reprove_block(store, chain_id, &row, &mut sum))?;
    Ok(sum)
}

fn reprove_block(store: &Store, chain_id: u64, row: &ProvenRow, sum: &mut Reproven) -> Result<(), StoreError> {
    let block = format!("block {} ({})", row.number, row.hash);
    let proof = match &row.proof {
        None if row.proven => {
            sum.without_proof += row.alerts;
            return Ok(());
        }
        None => {
            sum.on_trust += row.alerts;
            return Ok(());
        }
        Some(Err(error)) => {
            sum.fault(format!("{block}: its stored proof {error}"));
            return Ok(());
        }
        Some(Ok(proof)) => proof,
    };
    let claims = claims_of(store, chain_id, row)?;
    let first_log_index = store.first_log_indices(row.block_id)?;
    let opened = proof.open(Claimed { hash: row.hash, chain_id, first_log_index: &first_log_index });
    let proven = match opened {
        Ok(proven) => proven,
        Err(error) => {
            sum.fault(format!("{block}: {error}"));
            return Ok(());
        }
    };
    sum.blocks += 1;
    let header = proven.header();
    if (header.number, Ok(header.timestamp)) != (row.number, u64::try_from(row.timestamp))
        || header.parent_hash != row.parent_hash
    {
        sum.fault(format!("{block}: its number, time or parent is not that of its header"));
    }
    let activities = decoded(&proven, &claims);
    for claim in &claims {
        match held_against(&proven, &activities, claim) {
            Ok(Shown::Movement) => sum.proven += 1,
            Ok(Shown::Transaction) => sum.transactions += 1,
            Err(reason) => sum.fault(format!("alert {} of {block}: {reason}", claim.id)),
        }
    }
    Ok(())
}

fn claims_of(store: &Store, chain_id: u64, row: &ProvenRow) -> Result<Vec<Claim>, StoreError> {
    let filter = AlertFilter {
        from_block: Some(row.number),
        to_block: Some(row.number),
        any_status: true,
        any_triage: true,
        order: Order::Ascending,
        ..AlertFilter::default()
    };
    let mut claims = Vec::new();
    store.each_alert::<StoreError>(&filter, |alert: AlertRow| {
        if alert.block_hash == row.hash {
            claims.push(Claim::of_row(&alert, chain_id).map_err(StoreError::Proof)?);
        }
        Ok(())
    })?;
    Ok(claims)
}

/// What happened in the proven part of a block. Which contracts wrap the native currency is a setting, not a fact of the chain: it
/// is taken from the claims.
fn decoded(block: &VerifiedBlock, claims: &[Claim]) -> Vec<Activity> {
    let wraps = |claim: &&Claim| matches!(claim.kind, ActivityKind::Wrap | ActivityKind::Unwrap);
    let wrapped_native = claims.iter().filter(wraps).filter_map(|claim| claim.contract).collect();
    let chain_id = claims.first().map_or(0, |claim| claim.chain_id);
    decode(block, &DecodeOptions::of_chain(chain_id, wrapped_native)).activities
}

/// Holds a claim against what is proven.
fn held_against(block: &VerifiedBlock, activities: &[Activity], claim: &Claim) -> Result<Shown, String> {
    let header = block.header();
    same("block number", &claim.block_number, &header.number)?;
    same("block time", &i128::from(claim.timestamp), &i128::from(header.timestamp))?;
    let id = alert_id(claim.chain_id, claim.block_hash, &claim.location, claim.watched);
    same("id", &claim.id, &id)?;
    match (&claim.tx, claim.location.tx_index) {
        (Some(stated), Some(index)) => {
            let tx = block.transactions().iter().find(|tx| tx.index == u64::from(index));
            let tx = tx.ok_or_else(|| format!("transaction {index} is not in the proof"))?;
            same("transaction hash", &stated.hash, &tx.hash)?;
            same("signer", &stated.signer, &tx.signer)?;
            if stated.to != tx.to {
                return Err("the transaction's recipient is another".to_owned());
            }
            if stated.success != tx.success {
                return Err("whether the transaction succeeded is said otherwise by its receipt".to_owned());
            }
        }
        (None, None) => {}
        _ => return Err("the transaction and its index do not fit".to_owned()),
    }
    let is_watched = match claim.direction {
        Direction::Out => claim.from == Some(claim.watched) && claim.to != Some(claim.watched),
        Direction::In => claim.to == Some(claim.watched) && claim.from != Some(claim.watched),
        Direction::Own => claim.from == Some(claim.watched) && claim.to == Some(claim.watched),
        Direction::Party => claim.named_otherwise(),
    };
    if !is_watched {
        return Err("the watched address is not on the side that the direction says".to_owned());
    }
    if claim.location.plane == Plane::Traces {
        let inner = matches!(claim.kind, ActivityKind::InternalTransfer | ActivityKind::SelfDestruct);
        if !inner
            || claim.proven
            || claim.contract.is_some()
            || claim.standard != AssetStandard::Native
            || claim.operator.is_some()
            || claim.tx.is_none()
        {
            return Err("no alert of the plane of traces says so".to_owned());
        }
        if claim.token_id.is_some() || claim.location.sub_index != 0 {
            return Err("no movement of a call frame is of that form".to_owned());
        }
        if block.logs_native_transfers() && claim.from != claim.to {
            return Err(
                "logs show what moved to another account in this block, and no call frame alone does".to_owned()
            );
        }
        return Ok(Shown::Transaction);
    }
    if !claim.proven {
        return Err("it says unproven, and is not".to_owned());
    }
    let found = activities.iter().find(|activity| activity.location == claim.location);
    let found = found.ok_or("nothing of that place is in the proof")?;
    same("kind", &claim.kind.name(), &found.kind.name())?;
    same("amount", &claim.amount, &found.amount)?;
    if (claim.from, claim.to) != (found.from, found.to) {
        return Err("the two sides are others".to_owned());
    }
    if claim.token_id != found.token_id {
        return Err("the token id is another".to_owned());
    }
    if claim.operator != found.operator {
        return Err("the operator is another".to_owned());
    }
    same("standard of the asset", &claim.standard.name(), &found.asset.standard().name())?;
    if claim.contract != found.asset.contract() {
        return Err("the contract is another".to_owned());
    }
    Ok(Shown::Movement)
}

fn same<T: PartialEq + std::fmt::Display>(what: &str, claimed: &T, proven: &T) -> Result<(), String> {
    if claimed == proven { Ok(()) } else { Err(format!("the {what} is {proven}, and the claim says {claimed}")) }
}

/// Proves a bundle.
///
/// # Errors
/// One line: why it is refused.
pub fn check_bundle(dir: &Path) -> Result<Checked, String> {
    check_files(&read(dir)?)
}

/// Proves the files of a bundle: what they claim first, the seal last.
///
/// # Errors
/// One line: why they are refused.
pub fn check_files(files: &crate::evidence::Files) -> Result<Checked, String> {
    let proven = check_claims(files)?;
    check_seal(files)?;
    Ok(proven)
}

/// Proves what the files of a bundle claim, whatever the seal says.
///
/// # Errors
/// One line: why they are refused.
pub fn check_claims(files: &crate::evidence::Files) -> Result<Checked, String> {
    let Bundle { claim, proof, first_log_index, proves_movement, not_proven: said } = Bundle::open(files)?;
    let index = claim.location.tx_index.map(u64::from);
    let first_log_index: BTreeMap<u64, u64> = index.zip(first_log_index).into_iter().collect();
    let claimed = Claimed { hash: claim.block_hash, chain_id: claim.chain_id, first_log_index: &first_log_index };
    let block = proof.open(claimed).map_err(|error| error.to_string())?;
    let beyond = |tx: &VerifiedTransaction| tx.first_log_index + tx.logs.len() as u64 > u64::from(u32::MAX);
    if block.transactions().iter().any(beyond) {
        return Err("no block has so many logs".to_owned());
    }
    let is_minimal = match (index, claim.kind) {
        (Some(_), _) => block.transactions().len() == 1 && proof.withdrawals.is_empty(),
        (None, ActivityKind::Withdrawal) => proof.transactions.is_empty() && proof.receipts.is_empty(),
        (None, _) => block.is_whole() && proof.withdrawals.is_empty(),
    };
    if !is_minimal {
        return Err("the nodes show more or less than the alert needs".to_owned());
    }
    let activities = decoded(&block, std::slice::from_ref(&claim));
    let shown = held_against(&block, &activities, &claim)?;
    if proves_movement != (shown == Shown::Movement) {
        return Err("it does not prove what it says it proves".to_owned());
    }
    let chain_id_signed = proof.signs_chain_id().map_err(|error| error.to_string())?;
    let not_proven = not_proven(&claim, chain_id_signed);
    if said != not_proven {
        return Err("not_proven does not name just what the bundle does not prove".to_owned());
    }
    Ok(Checked { claim, shown, not_proven })
}

/// What of a block's proof an alert needs.
fn wanted_of(claim: &Claim) -> Wanted {
    super::prepare::wanted_by_kind(claim.kind, claim.location.tx_index)
}

/// The part of a proof that one alert needs.
///
/// # Errors
/// One line where the stored proof is broken.
pub fn proof_of(proof: &BlockProof, claim: &Claim) -> Result<BlockProof, String> {
    proof.only(&wanted_of(claim)).map_err(|error| error.to_string())
}
