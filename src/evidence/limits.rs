//! What a bundle does not prove. Each bundle names it in `not_proven`, and the checkers refuse a bundle that names less or more.

use super::Claim;
use crate::decode::{ActivityKind, Plane};

/// Of every bundle: what bolo recorded. The chain knows nothing of lists, severities and endpoints.
const RECORDED: [&str; 18] = [
    "README.txt",
    "alert.endpoint",
    "alert.replaces",
    "alert.retroactive",
    "alert.seen_at",
    "alert.severity",
    "alert.status",
    "alert.triage",
    "alert.watched.designation",
    "alert.watched.entity",
    "alert.watched.kind",
    "alert.watched.label",
    "alert.watched.list",
    "alert.watched.programs",
    "alert.watched.version",
    "made_by",
    "screening",
    "sides.entries",
];
/// What a token says of itself.
const TOKEN: [&str; 3] = ["alert.amount_display", "alert.asset.decimals", "alert.asset.symbol"];
/// Of a movement within a transaction: no root covers it.
const TRACED: [&str; 9] = [
    "alert.amount",
    "alert.amount_display",
    "alert.counterparty",
    "alert.from",
    "alert.kind",
    "alert.to",
    "alert.trace_address",
    "alert.watched.address",
    "alert.watched.direction",
];

/// The fields of evidence.json (and README.txt) that nothing in the bundle proves, sorted. `chain_id_signed`: a transaction that the
/// nodes show was signed for the chain id.
pub fn not_proven(claim: &Claim, chain_id_signed: bool) -> Vec<&'static str> {
    let mut names: Vec<&str> = RECORDED.to_vec();
    if !chain_id_signed {
        names.push("alert.chain_id");
    }
    if claim.contract.is_some() {
        names.extend(TOKEN);
    } else {
        names.push("alert.asset.symbol");
    }
    if claim.location.plane == Plane::Traces {
        names.extend(TRACED);
    }
    // The log of a native transfer does not say which call frame made it.
    if claim.location.plane == Plane::Logs && claim.kind == ActivityKind::InternalTransfer {
        names.extend(["alert.detail", "alert.trace_address"]);
    }
    if matches!(claim.kind, ActivityKind::Wrap | ActivityKind::Unwrap) {
        names.push("alert.kind");
    }
    // Only the receipts before it would show how many logs come before those of the transaction.
    if claim.location.tx_index.is_some_and(|index| index > 0) {
        names.push("first_log_index");
        if claim.location.plane == Plane::Logs {
            names.push("alert.log_index");
        }
    }
    names.sort_unstable();
    names
}
