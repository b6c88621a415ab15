//! Noise is kept and tagged, never dropped, and never mixed with value. Only what the block itself proves to be noise is called
//! so: a doubtful case is value, because a touch that nobody sees is worse than one too many.

use alloy::primitives::Address;

use super::alert::TriageClass;
use super::rules::Touches;
use crate::decode::{Activity, ActivityKind};

/// The class of an alert and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triage {
    /// The class.
    pub class: TriageClass,
    /// What it was told by, in words for JSON.
    pub reasons: Vec<&'static str>,
}

/// Classes an activity; `signer` is who signed its transaction. What touches own wallets alone is of that class, be it noise or not.
pub(super) fn triage(activity: &Activity, signer: Option<Address>, touches: Touches) -> Triage {
    let bystander = signer.is_some_and(|s| Some(s) != activity.from && Some(s) != activity.to);
    let noise = activity.kind == ActivityKind::Erc20Transfer && activity.amount.is_zero() && bystander;
    let mut reasons = if noise { vec!["amount_is_zero", "signer_is_neither_side"] } else { vec![] };
    let class = match (touches.own_alone(), noise) {
        (true, _) => TriageClass::Own,
        (false, true) => TriageClass::ZeroValue,
        (false, false) => TriageClass::Value,
    };
    if class == TriageClass::Own {
        reasons.insert(0, "own_wallets_only");
    }
    Triage { class, reasons }
}
