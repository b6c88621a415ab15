//! `bolo status --coverage`: the ledger, plane by plane.

use std::fmt::Write;

use serde_json::json;

use super::Failure;
use super::args::StatusFormat;
use super::completeness::{as_json, in_words};
use super::present::clean;
use crate::pipeline::unseen_kinds;
use crate::store::{CoverageRange, FilteredSpan, Store};

/// What a plane's state is in a range.
type Span = (u64, u64, &'static str);
type State = fn(&CoverageRange) -> &'static str;

/// The planes, each with its state in a range of blocks that were taken.
const PLANES: [(&str, State); 4] = [
    ("transactions", rooted),
    ("logs", rooted),
    ("withdrawals", rooted),
    // No root covers traces: seen is the most that they can be.
    ("traces", |range| if range.traces { "unproven" } else { "missing" }),
];

/// What nothing proves of a block whose senders were recovered for alerts only (`--senders matched`): the address of a new contract
/// depends on who made it.
pub(super) const CLAIMED_OF_MATCHED: &str =
    "that a watched address sent nothing else, and that no contract creation paid it";

/// How true it is who sent each transaction: of all, of those that alerted only, or nothing but claimed.
pub(super) fn senders(range: &CoverageRange) -> &'static str {
    match (range.proven, range.senders) {
        (true, true) => "all",
        (true, false) => "matched",
        (false, _) => "claimed",
    }
}

/// What is known of the ETH that moved within transactions.
pub(super) fn internal_eth(range: &CoverageRange) -> &'static str {
    range.internal_eth().name()
}

fn rooted(range: &CoverageRange) -> &'static str {
    if range.proven { "proven" } else { "unproven" }
}

/// What is missing between the first block that was taken, filtered or dropped by a revert and the last.
pub(super) fn holes(
    coverage: &[CoverageRange],
    filtered: &[(FilteredSpan, u64)],
    reverted: Option<(u64, u64)>,
) -> Vec<(u64, u64)> {
    let held = coverage.iter().map(|range| (range.from, range.to));
    let Some((mut next, last)) = held
        .clone()
        .chain(filtered.iter().map(|(span, _)| (span.from, span.to)))
        .chain(reverted)
        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    else {
        return Vec::new();
    };
    let mut holes = Vec::new();
    for (from, to) in held.chain([(last + 1, last + 1)]) {
        if next < from {
            holes.push((next, from - 1));
        }
        next = to + 1;
    }
    holes
}

/// A plane's spans from the first block held to the last, without a gap: what was not taken is missing.
fn spans(coverage: &[CoverageRange], state: State) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut add = |from: u64, to: u64, state: &'static str| match spans.last_mut() {
        Some((_, end, held)) if *held == state && *end + 1 == from => *end = to,
        _ => spans.push((from, to, state)),
    };
    let mut next = None;
    for range in coverage {
        if let Some(next) = next.filter(|next| *next < range.from) {
            add(next, range.from - 1, "missing");
        }
        add(range.from, range.to, state(range));
        next = Some(range.to + 1);
    }
    spans
}

/// What was only filtered, for programs: `blocks` of each span are not held, and no plane of these was seen.
pub(super) fn filtered_json(filtered: &[(FilteredSpan, u64)]) -> serde_json::Value {
    let spans = filtered.iter().map(|(span, missing)| {
        let frames = if span.frames { "unproven" } else { "missing" };
        json!({
            "from": span.from, "to": span.to, "blocks": missing, "state": "unproven", "endpoints": span.hosts,
            "asked": {"logs": "unproven", "transactions": frames, "traces": frames, "withdrawals": "missing"},
            "not_seen": unseen_kinds(span.frames, span.native_logs).collect::<Vec<_>>(),
            "watch_revision": span.watch_revision,
        })
    });
    spans.collect()
}

/// The same for people, a line for each span; none where nothing is.
pub(super) fn filtered_lines(filtered: &[(FilteredSpan, u64)]) -> Vec<String> {
    let line = |(span, missing): &(FilteredSpan, u64)| {
        let hosts: Vec<_> = span.hosts.iter().map(|host| clean(host, 60)).collect();
        format!(
            "{} to {}: {missing} blocks not read, unproven: that they do not touch the list is the word of {}. Not seen: {}, tokens that \
             index no address",
            span.from,
            span.to,
            hosts.join(", "),
            unseen_kinds(span.frames, span.native_logs).collect::<Vec<_>>().join(", ")
        )
    };
    filtered.iter().map(line).collect()
}

/// The ranges of blocks next to each other that are held, however well.
pub(super) fn runs(coverage: &[CoverageRange]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for range in coverage {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == range.from => *last = range.to,
            _ => runs.push((range.from, range.to)),
        }
    }
    runs
}

/// What was not decoded in a range of blocks, by reason.
pub(super) type UndecodedSpan = (u64, u64, Vec<(String, u64)>);

/// Of each range that is held, those without any left out.
pub(super) fn undecoded(store: &Store, coverage: &[CoverageRange]) -> Result<Vec<UndecodedSpan>, Failure> {
    let mut spans = Vec::new();
    for (from, to) in runs(coverage) {
        let counts = store.undecoded_in(from, to)?;
        if !counts.is_empty() {
            spans.push((from, to, counts));
        }
    }
    Ok(spans)
}

pub(super) fn text(
    coverage: &[CoverageRange],
    filtered: &[(FilteredSpan, u64)],
    undecoded: &[UndecodedSpan],
    reverted: Option<(u64, u64)>,
    format: StatusFormat,
) -> String {
    let holes = holes(coverage, filtered, reverted);
    if format == StatusFormat::Json {
        let listed = |state: State| -> serde_json::Value {
            let spans = spans(coverage, state).into_iter();
            spans.map(|(from, to, state)| json!({"from": from, "to": to, "state": state})).collect()
        };
        let planes: serde_json::Map<_, _> =
            PLANES.iter().map(|(name, state)| ((*name).to_owned(), listed(*state))).collect();
        let holes: Vec<_> = holes.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
        return format!(
            "{}\n",
            json!({"planes": planes, "senders": listed(senders), "internal_eth": listed(internal_eth), "holes": holes, "undecoded": undecoded.iter().map(|(from, to, counts)| json!({"from": from, "to": to, "reasons": as_json(counts)})).collect::<Vec<_>>(), "filtered": filtered_json(filtered)})
        );
    }
    let mut out = String::new();
    for (name, state) in PLANES.into_iter().chain([("senders", senders as State), ("internal ETH", internal_eth)]) {
        for (place, (from, to, state)) in spans(coverage, state).into_iter().enumerate() {
            let name = if place == 0 { name } else { "" };
            let _ = writeln!(out, "{name:<14}{from} to {to}: {state} ({} blocks)", to - from + 1);
        }
    }
    if coverage.is_empty() {
        out += "no block was taken yet\n";
    }
    if coverage.iter().any(|range| senders(range) == "matched") {
        let _ = writeln!(out, "{:<14}matched: {CLAIMED_OF_MATCHED}, is the endpoint's word", "");
    }
    for (place, (from, to)) in holes.iter().enumerate() {
        let name = if place == 0 { "holes" } else { "" };
        let _ = writeln!(out, "{name:<14}{from} to {to} ({} blocks): `bolo replay --holes` fills them", to - from + 1);
    }
    if holes.is_empty() && !coverage.is_empty() {
        out += "holes         none\n";
    }
    for (place, (from, to, counts)) in undecoded.iter().enumerate() {
        let name = if place == 0 { "undecoded" } else { "" };
        let _ = writeln!(out, "{name:<14}{from} to {to}: {}", in_words(counts).unwrap_or_default());
    }
    for (place, line) in filtered_lines(filtered).into_iter().enumerate() {
        let _ = writeln!(out, "{:<14}{line}", if place == 0 { "filtered" } else { "" });
    }
    out
}
