//! Noise is kept and tagged, never dropped, and never mixed with value. Only what the block itself proves to be noise is called
//! so: a doubtful case is value, because a touch that nobody sees is worse than one too many.

use alloy::primitives::Address;

use super::alert::{Severity, TriageClass};
use super::watchlist::ListKind;
use crate::decode::{Activity, ActivityKind};

/// The class of an alert and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triage {
    /// The class.
    pub class: TriageClass,
    /// What it was told by, in words for JSON.
    pub reasons: Vec<&'static str>,
}

/// Classes an activity; `signer` is who signed its transaction.
pub(super) fn triage(activity: &Activity, signer: Option<Address>) -> Triage {
    let bystander = signer.is_some_and(|s| Some(s) != activity.from && Some(s) != activity.to);
    if activity.kind == ActivityKind::Erc20Transfer && activity.amount.is_zero() && bystander {
        return Triage { class: TriageClass::ZeroValue, reasons: vec!["amount_is_zero", "signer_is_neither_side"] };
    }
    Triage { class: TriageClass::Value, reasons: vec![] }
}

/// How much an alert matters: by the strictest list; noise is low.
pub(super) fn severity(kind: ListKind, class: TriageClass) -> Severity {
    match (class, kind) {
        (TriageClass::Value, ListKind::Blocking) => Severity::High,
        (TriageClass::Value, ListKind::IssuerFreeze | ListKind::Advisory | ListKind::Internal) => Severity::Medium,
        _ => Severity::Low,
    }
}
