//! `bolo evidence` and `bolo verify`: proof that lasts, written out and checked again.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::alert_json::{AlertJson, ChainWords};
use super::present::{clean, print};
use super::sources::hash;
use super::words::Words;
use super::{Context, Failure};
use crate::evidence::{Claim, Contents, write};
use crate::pipeline::{MOST_FAULTS, Reproven, Shown, check_bundle, proof_of, reprove};
use crate::screen::AlertStatus;
use crate::store::{Access, AlertFilter, Store};

/// `bolo evidence`.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// The alert's id, as `bolo query --format json` prints it
    #[arg(value_name = "ID")]
    id: String,
    /// Folder for the bundle: new, or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `bolo verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Check the bundle in this folder instead of the database; repeatable
    #[arg(long, value_name = "DIR")]
    bundle: Vec<PathBuf>,
    /// Form of the answer
    #[arg(long, value_parser = Words::<super::args::StatusFormat>::of_enum(), default_value = "table", value_name = "FORM")]
    format: super::args::StatusFormat,
}

/// Nothing could be proven, or something is not what it should be.
const UNPROVEN: u8 = 4;
/// All that can be proven is, and some cannot.
const INCOMPLETE: u8 = 3;

pub(super) fn evidence(context: &Context, args: &EvidenceArgs) -> Result<u8, Failure> {
    let id = hash(&args.id)?;
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let filter = AlertFilter { id: Some(id), any_status: true, any_triage: true, ..AlertFilter::default() };
    let mut found = None;
    store.each_alert::<Failure>(&filter, |row| {
        found = Some(row);
        Ok(())
    })?;
    let row = found.ok_or_else(|| Failure::input(format!("there is no alert {id} in {}", context.db.display())))?;
    let chain_id = store.chain_id()?.unwrap_or(1);
    let claim = Claim::of_row(&row, chain_id).map_err(Failure::input)?;
    let again = format!("bolo replay --from-block {0} --to-block {0}", row.block_number);
    let proof = store.proof(row.block_hash)?.ok_or_else(|| {
        Failure::input(format!(
            "there is nothing to prove alert {id} by: its block was taken on trust, or by an older bolo; `{again}` proves it"
        ))
    })?;
    let screening = store.screening(id)?.ok_or_else(|| Failure::input(format!("there is no alert {id}")))?;
    let entries = store.entry_versions(id)?;
    let proof = proof_of(&proof, &claim).map_err(|error| Failure { code: UNPROVEN, message: error })?;
    let alert = AlertJson::new(&row, &ChainWords::of(chain_id));
    let orphaned = row.status == AlertStatus::Orphaned;
    let contents = Contents { alert: &alert, claim: &claim, orphaned, proof: &proof, screening, entries: &entries };
    let files = contents.files().map_err(Failure::input)?;
    // What would be refused is not handed out.
    crate::pipeline::check_files(&files).map_err(|error| Failure {
        code: UNPROVEN,
        message: format!("the stored proof does not prove alert {id}: {error}; `{again}` takes the block again"),
    })?;
    write(&args.out, &files).map_err(Failure::input)?;
    let bytes: usize = files.values().map(Vec::len).sum();
    tracing::info!(files = files.len(), bytes, dir = %args.out.display(), "evidence written");
    if !claim.proven {
        tracing::warn!(
            "it proves the transaction; the movement within it is the endpoint's word, since no root covers traces"
        );
    }
    Ok(0)
}

pub(super) fn verify(context: &Context, args: &VerifyArgs) -> Result<u8, Failure> {
    let as_json = args.format == super::args::StatusFormat::Json;
    if !args.bundle.is_empty() {
        return bundles(&args.bundle, as_json);
    }
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let sum = reprove(&store)?;
    if as_json {
        print(format!("{}\n", sum_json(&sum)).as_bytes())?;
    } else {
        print(for_people(&sum).as_bytes())?;
    }
    Ok(match sum {
        Reproven { faulty: 1.., .. } => UNPROVEN,
        Reproven { without_proof: 1.., .. } | Reproven { on_trust: 1.., .. } => INCOMPLETE,
        _ => 0,
    })
}

fn bundles(dirs: &[PathBuf], as_json: bool) -> Result<u8, Failure> {
    if let Some(missing) = dirs.iter().find(|dir| !dir.is_dir()) {
        return Err(Failure::input(format!("there is no folder {}", missing.display())));
    }
    let mut code = 0;
    for dir in dirs {
        let name = dir.display().to_string();
        let outcome = check_bundle(dir);
        if outcome.is_err() {
            code = UNPROVEN;
        }
        let line = match (outcome, as_json) {
            (Ok((claim, shown)), true) => {
                let shown = if shown == Shown::Movement { "movement" } else { "transaction" };
                json!({"bundle": name, "proven": true, "proves": shown, "alert": claim.id.to_string()}).to_string()
            }
            (Err(reason), true) => json!({"bundle": name, "proven": false, "reason": reason}).to_string(),
            (Ok((claim, Shown::Movement)), false) => {
                format!("{name}: proven: {} in block {} ({})", claim.kind.name(), claim.block_number, claim.block_hash)
            }
            (Ok((claim, Shown::Transaction)), false) => format!(
                "{name}: the transaction is proven, in block {} ({}); the {} within it is the endpoint's word",
                claim.block_number,
                claim.block_hash,
                claim.kind.name()
            ),
            (Err(reason), false) => format!("{name}: REFUSED: {}", clean(&reason, 400)),
        };
        print(format!("{line}\n").as_bytes())?;
    }
    Ok(code)
}

fn sum_json(sum: &Reproven) -> serde_json::Value {
    json!({
        "blocks": sum.blocks, "alerts_proven": sum.proven, "alerts_whose_transaction_is_proven": sum.transactions,
        "alerts_on_trust": sum.on_trust, "alerts_without_proof": sum.without_proof, "proof_bytes": sum.proof_bytes,
        "faulty": sum.faulty, "faults": sum.faults,
    })
}

fn for_people(sum: &Reproven) -> String {
    let mut out = format!(
        "{} blocks: {} alerts proven; of {} more the transaction is proven, the movement in it is the endpoint's word\n",
        sum.blocks, sum.proven, sum.transactions
    );
    let alerts = sum.proven + sum.transactions;
    if let Some(each) = sum.proof_bytes.checked_div(alerts) {
        out += &format!("the proofs take {} bytes, {each} for each alert\n", sum.proof_bytes);
    }
    if sum.on_trust > 0 {
        out +=
            &format!("{} alerts were taken on trust (--trust-rpc): there is nothing to prove them by\n", sum.on_trust);
    }
    if sum.without_proof > 0 {
        out += &format!(
            "{} alerts have no proof kept (an older bolo took them, or it was lost): `bolo replay` of their blocks keeps it\n",
            sum.without_proof
        );
    }
    for fault in &sum.faults {
        out += &format!("FAULT: {}\n", clean(fault, 400));
    }
    if sum.faulty > sum.faults.len() as u64 {
        out += &format!(
            "… and {} more faults (the first {MOST_FAULTS} are shown)\n",
            sum.faulty - sum.faults.len() as u64
        );
    }
    out += if sum.faulty == 0 {
        "no fault found\n"
    } else {
        "what is stored is not what was proven: restore a copy, or replay\n"
    };
    out
}
