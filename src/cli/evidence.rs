//! `bolo evidence` and `bolo verify`: proof that lasts, written out and checked again.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::alert_json::{AlertJson, ChainWords};
use super::present::{clean, json_text, print};
use super::short_id::{alert_id, transaction_hash};
use super::words::Words;
use super::{Context, Failure};
use crate::evidence::{Claim, Contents, Files, Side, write, write_zip};
use crate::pipeline::{Checked, MOST_FAULTS, Reproven, Shown, check_bundle, check_files, proof_of, reprove};
use crate::screen::AlertStatus;
use crate::store::{Access, AlertFilter, AlertRow, Order, Store};

/// `bolo evidence`.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// The alert's id, as `bolo query` prints it: whole, or short. Several give one bundle each
    #[arg(required_unless_present = "tx", value_name = "ID")]
    ids: Vec<String>,
    /// Every alert of that transaction; repeatable
    #[arg(long, value_name = "HASH")]
    tx: Vec<String>,
    /// Folder for the bundle: new, or empty. Several bundles go into folders in it, named by the alerts' ids
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write each bundle as one zip file: --out names it; several go into the folder that --out names
    #[arg(long)]
    zip: bool,
}

/// `bolo verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Check the bundle in this folder or zip file instead of the database, or all bundles in this folder; repeatable
    #[arg(long, value_name = "DIR|FILE")]
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
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let rows = wanted(context, &store, args)?;
    // All are made before any is written: what would be refused is not handed out, nor are some of several.
    let bundles = rows.iter().map(|row| bundle(&store, row)).collect::<Result<Vec<_>, Failure>>()?;
    let several = bundles.len() > 1;
    if several {
        std::fs::create_dir_all(&args.out)
            .map_err(|error| Failure::input(format!("cannot make the folder {}: {error}", args.out.display())))?;
    }
    for (row, files) in rows.iter().zip(&bundles) {
        let path = match (several, args.zip) {
            (false, _) => args.out.clone(),
            (true, false) => args.out.join(row.id.to_string()),
            (true, true) => args.out.join(format!("{}.zip", row.id)),
        };
        if args.zip { write_zip(&path, files) } else { write(&path, files) }.map_err(Failure::input)?;
        let bytes: usize = files.values().map(Vec::len).sum();
        tracing::info!(files = files.len(), bytes, out = %path.display(), "evidence written");
        if !row.proven {
            tracing::warn!(
                "it proves the transaction; the movement within it is the endpoint's word, since no root covers traces"
            );
        }
    }
    Ok(0)
}

/// The alerts that are asked for, each once.
fn wanted(context: &Context, store: &Store, args: &EvidenceArgs) -> Result<Vec<AlertRow>, Failure> {
    let any = || AlertFilter { any_status: true, any_triage: true, order: Order::Ascending, ..AlertFilter::default() };
    let mut filters = Vec::new();
    for text in &args.ids {
        let id = alert_id(store, text)?;
        let none = format!("there is no alert {id} in {}", context.db.display());
        filters.push((AlertFilter { id: Some(id), ..any() }, none));
    }
    for text in &args.tx {
        let tx = transaction_hash(store, text)?;
        let none = format!("no alert in {} is of the transaction {tx}", context.db.display());
        filters.push((AlertFilter { tx: Some(tx), ..any() }, none));
    }
    let mut rows: Vec<AlertRow> = Vec::new();
    for (filter, none) in filters {
        let found = store.each_alert::<Failure>(&filter, |row| {
            if rows.iter().all(|other| other.id != row.id) {
                rows.push(row);
            }
            Ok(())
        })?;
        if found == 0 {
            return Err(Failure::input(none));
        }
    }
    Ok(rows)
}

/// The files of the bundle of an alert.
fn bundle(store: &Store, row: &AlertRow) -> Result<Files, Failure> {
    let id = row.id;
    let unproven = |message: String| Failure::new(UNPROVEN, message);
    let chain_id = store.chain_id()?.unwrap_or(1);
    let claim = Claim::of_row(row, chain_id).map_err(Failure::input)?;
    let again = format!("bolo replay --from-block {0} --to-block {0}", row.block_number);
    let proof = store.proof(row.block_hash)?.ok_or_else(|| {
        Failure::input(format!(
            "there is nothing to prove alert {id} by: its block was taken on trust, or by an older bolo; `{again}` proves it"
        ))
    })?;
    let screening = store.screening(id)?.ok_or_else(|| Failure::input(format!("there is no alert {id}")))?;
    let proof = proof_of(&proof, &claim).map_err(unproven)?;
    let chain_id_signed = proof.signs_chain_id().map_err(|error| unproven(error.to_string()))?;
    let mut sides = Vec::new();
    for (role, address) in [("from", row.from), ("to", row.to), ("operator", row.operator)] {
        if let Some(address) = address {
            sides.push(Side { role, address, entries: store.side_entries(id, address)? });
        }
    }
    let alert = AlertJson::new(row, &ChainWords::of(chain_id));
    let orphaned = row.status == AlertStatus::Orphaned;
    let contents =
        Contents { alert: &alert, claim: &claim, orphaned, proof: &proof, screening, sides: &sides, chain_id_signed };
    let files = contents.files().map_err(Failure::input)?;
    check_files(&files).map_err(|error| {
        unproven(format!("the stored proof does not prove alert {id}: {error}; `{again}` takes the block again"))
    })?;
    Ok(files)
}

pub(super) fn verify(context: &Context, args: &VerifyArgs) -> Result<u8, Failure> {
    let as_json = args.format == super::args::StatusFormat::Json;
    if !args.bundle.is_empty() {
        return bundles(&args.bundle, as_json);
    }
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let sum = reprove(&store)?;
    let held: u64 = store.coverage()?.iter().map(|range| range.to - range.from + 1).sum();
    if as_json {
        print(&(json_text(&sum_json(&sum))? + "\n"))?;
    } else {
        print(&for_people(&sum, held))?;
    }
    Ok(match sum {
        Reproven { faulty: 1.., .. } => UNPROVEN,
        Reproven { without_proof: 1.., .. } | Reproven { on_trust: 1.., .. } => INCOMPLETE,
        _ => 0,
    })
}

fn bundles(paths: &[PathBuf], as_json: bool) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(bundles_at(path)?);
    }
    let mut code = 0;
    for path in &all {
        let name = path.display().to_string();
        let outcome = check_bundle(path);
        if outcome.is_err() {
            code = UNPROVEN;
        }
        let line = match (outcome, as_json) {
            (Ok(Checked { claim, shown, not_proven }), true) => {
                let shown = if shown == Shown::Movement { "movement" } else { "transaction" };
                json!({
                    "bundle": name, "proven": true, "proves": shown, "alert": claim.id.to_string(), "not_proven": not_proven,
                })
                .to_string()
            }
            (Err(reason), true) => json!({"bundle": name, "proven": false, "reason": reason}).to_string(),
            (Ok(Checked { claim, shown, not_proven }), false) => {
                let chain = if not_proven.contains(&"alert.chain_id") { "; nothing proves its chain id" } else { "" };
                let (kind, number, hash) = (claim.kind.name(), claim.block_number, claim.block_hash);
                let name = clean(&name, 400);
                match shown {
                    Shown::Movement => format!("{name}: proven: {kind} in block {number} ({hash}){chain}"),
                    Shown::Transaction => format!(
                        "{name}: the transaction is proven, in block {number} ({hash}); the {kind} within it is the endpoint's word{chain}"
                    ),
                }
            }
            (Err(reason), false) => format!("{}: REFUSED: {}", clean(&name, 400), clean(&reason, 400)),
        };
        print(&format!("{}\n", if as_json { crate::text::json(&line) } else { line.as_str().into() }))?;
    }
    Ok(code)
}

/// The bundle at a path, or those in the folder at it.
fn bundles_at(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::input(format!("cannot read {}: {error}", path.display()));
    if !path.is_dir() {
        return match path.is_file() {
            true => Ok(vec![path.to_owned()]),
            false => Err(Failure::input(format!("there is no folder or zip file {}", path.display()))),
        };
    }
    let mut within = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        within.push(entry.map_err(failed)?.path());
    }
    within.sort();
    let is_bundle =
        |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    let holds_bundles = !within.is_empty() && within.iter().all(is_bundle);
    Ok(if holds_bundles { within } else { vec![path.to_owned()] })
}

fn sum_json(sum: &Reproven) -> serde_json::Value {
    json!({
        "blocks": sum.blocks, "alerts_proven": sum.proven, "alerts_whose_transaction_is_proven": sum.transactions,
        "alerts_on_trust": sum.on_trust, "alerts_without_proof": sum.without_proof, "proof_bytes": sum.proof_bytes,
        "faulty": sum.faulty, "faults": sum.faults,
    })
}

fn for_people(sum: &Reproven, held: u64) -> String {
    let mut out = format!(
        "{} blocks with alerts proven again, of {} blocks held: {} alerts proven; of {} more the transaction is proven, the movement in it is the endpoint's word\n",
        sum.blocks, held, sum.proven, sum.transactions
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
