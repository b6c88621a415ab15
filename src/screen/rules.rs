//! How much an alert matters: a pure function of what was found, so that the same chain, lists and rules give the same severity
//! on any machine.

use super::alert::{Designation, Severity, TriageClass};
use super::watchlist::ListKind;

/// What lists an activity touches, on both of its sides together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touches {
    /// One of the user's own wallets.
    pub own: bool,
    /// The strictest of all other kinds; none where there is none.
    pub other: Option<ListKind>,
}

impl Touches {
    /// From the kinds of all entries that an activity matched.
    pub fn of(kinds: impl Iterator<Item = ListKind>) -> Self {
        kinds.fold(Self::default(), |sum, kind| match kind {
            ListKind::Own => Self { own: true, ..sum },
            other => Self { other: Some(sum.other.map_or(other, |known| known.min(other))), ..sum },
        })
    }

    /// Nothing but own wallets: no alert.
    pub fn own_alone(self) -> bool {
        self.own && self.other.is_none()
    }
}

/// A matched entry, as far as severity depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryFacts {
    /// Kind of its list.
    pub kind: ListKind,
    /// How the block's time relates to the listing.
    pub designation: Designation,
}

/// What severity depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The entries of the watched address, strictest first.
    pub entries: &'a [EntryFacts],
    /// What both sides are listed on.
    pub touches: Touches,
    /// Noise or not.
    pub triage: TriageClass,
}

/// The severity of an alert.
pub fn rate(facts: &Facts<'_>) -> Severity {
    by_default(facts)
}

/// Own wallets and blocked ones at once is severe on both sides; else the strictest list of the watched address tells, and what is no
/// value is low. An own wallet takes the severity of the other side: by itself it has none.
fn by_default(facts: &Facts<'_>) -> Severity {
    if facts.triage != TriageClass::Value {
        return Severity::Low;
    }
    if facts.touches.own && facts.touches.other == Some(ListKind::Blocking) {
        return Severity::Severe;
    }
    let strictest = facts.entries.first().map(|entry| entry.kind).filter(|kind| *kind != ListKind::Own);
    match strictest.or(facts.touches.other) {
        Some(ListKind::Blocking) => Severity::High,
        Some(ListKind::IssuerFreeze | ListKind::Advisory | ListKind::Internal) => Severity::Medium,
        Some(ListKind::Own) | None => Severity::Low,
    }
}
