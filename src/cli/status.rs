//! `bolo status`.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::json;

use super::args::{StatusArgs, StatusFormat};
use super::coverage::{self, CLAIMED_OF_MATCHED, holes, senders};
use super::health::Health;
use super::list_age::Ages;
use super::present::{clean, json_text, print};
use super::{Context, Failure};
use crate::lists::show_date;
use crate::redact::{redact_json, redacted};
use crate::screen::{AlertStatus, Severity};
use crate::store::{Access, CoverageRange, FieldDifferences, InternalEth, RevertRow, Status, Store};

/// Ranges that are printed for people; JSON has all.
const SHOWN: usize = 12;

pub(super) fn run(context: &Context, args: &StatusArgs) -> Result<u8, Failure> {
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    if args.digest {
        let digest = if args.lists { store.list_digest()? } else { store.digest()? };
        print(&format!("{}\n", alloy::primitives::hex::encode(digest)))?;
        return Ok(0);
    }
    if args.coverage {
        let held = store.coverage()?;
        let undecoded = coverage::undecoded(&store, &held)?;
        let text =
            coverage::text(&held, &store.filtered(0, i64::MAX as u64)?, &undecoded, store.reverted()?, args.format);
        print(&text)?;
        return Ok(0);
    }
    let status = store.status()?;
    let ages = Ages::of(&store, &context.lists, Timestamp::now().as_second())?;
    let health = Health::of(&store, &status, &ages)?;
    let text = match args.format {
        StatusFormat::Table => {
            let text = health.for_people() + &for_people(&status, &health, &ages, &context.db.display().to_string());
            redacted(&text).into_owned()
        }
        StatusFormat::Json => {
            let mut json = as_json(&status);
            json["health"] = health.as_json();
            json["lies"] = health.lies_json();
            json["lists"].as_array_mut().into_iter().flatten().for_each(|list| ages.describe(list));
            json["endpoints"].as_array_mut().into_iter().flatten().for_each(|endpoint| health.describe(endpoint));
            redact_json(&mut json);
            json_text(&json)? + "\n"
        }
    };
    print(&text)?;
    Ok(if health.is_healthy() { 0 } else { UNHEALTHY })
}

/// The answer is incomplete: what is at the head may be missing.
const UNHEALTHY: u8 = 3;

fn lag(status: &Status) -> Option<u64> {
    let held = status.watch_tip.or(status.tip).map(|block| block.number);
    match (held, status.reverted) {
        (Some(held), _) => Some(status.head?.saturating_sub(held)),
        // All that was held was dropped.
        (None, Some((first, last))) => Some(last - first + 1),
        (None, None) => None,
    }
}

fn as_json(status: &Status) -> serde_json::Value {
    let block = |block: Option<alloy::eips::BlockNumHash>| {
        block.map(|block| json!({"number": block.number, "hash": block.hash.to_string()}))
    };
    json!({
        "chain_id": status.chain_id,
        "tip": block(status.tip),
        "tip_timestamp": status.tip_timestamp.map(show_date),
        "watch_tip": block(status.watch_tip),
        "head": status.head,
        "reported_head": status.reported_head.map(|head| json!({"number": head.number, "hash": head.hash.to_string()})),
        "lag": lag(status),
        "stopped": status.stopped,
        "traces_missing": status.trace_backlog.as_ref().map(|backlog| json!({
            "blocks": backlog.blocks, "first": backlog.first, "last": backlog.last, "pruned": backlog.pruned,
        })),
        "finality_rule": status.finality_rule,
        "finalized": status.finalized.map(|block| block.number),
        "finalized_hash": status.finalized.map(|block| block.hash.to_string()),
        "blocks": status.blocks,
        "orphaned_blocks": status.orphaned_blocks,
        "alerts": as_object(by_status(status)),
        "alerts_by_severity": as_object(by_severity(status)),
        "coverage": status.coverage.iter().map(|range| json!({
            "from": range.from, "to": range.to, "proof": proof(range), "traces": range.traces,
            "senders": senders(range), "internal_eth": coverage::internal_eth(range),
        })).collect::<Vec<_>>(),
        "filtered": coverage::filtered_json(&status.filtered),
        "owed": status.owed.iter().map(|(from, to)| json!({"from": from, "to": to})).collect::<Vec<_>>(),
        "checkpoints": status.checkpoints.iter().map(|c| block(Some(*c))).collect::<Vec<_>>(),
        "reverts": status.reverts.iter().map(revert_json).collect::<Vec<_>>(),
        "holes": holes(&status.coverage, &status.filtered, status.reverted).iter().map(|(from, to)| json!({"from": from, "to": to})).collect::<Vec<_>>(),
        "undecoded": status.undecoded.iter().map(|(r, n)| (r.clone(), json!(n))).collect::<serde_json::Map<_, _>>(),
        "endpoints": status.endpoints.iter().map(|e| json!({
            "host": e.host, "head": e.head, "traces": e.traces, "blocks": e.blocks, "last_error": e.last_error,
            "error_at": e.error_at.map(show_date), "seen_at": e.seen_at.map(show_date),
            "differences": differences(status, &e.host).map(|d| json!({
                "field": d.field, "differences": d.differences, "blocks": d.blocks, "last_block": d.last_block,
                "found": d.found, "proven": d.proven,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "lists": status.lists.iter().map(|l| json!({
            "name": l.name, "kind": l.kind.name(), "entries": l.entries,
            "published": show_date(l.published), "imported_at": show_date(l.imported_at),
        })).collect::<Vec<_>>(),
        "tokens_not_asked_yet": status.unasked_tokens,
        "blocks_screened_before_last_addition": status.screened_before,
        "auto_lookback": status.auto_lookback,
        "undelivered_notices": 0,
    })
}

/// Alerts of each status.
fn by_status(status: &Status) -> Vec<(&'static str, u64)> {
    sums(AlertStatus::ALL.iter().copied(), |wanted| {
        status.alerts.iter().filter(move |count| count.status == wanted).map(|count| count.alerts).sum()
    })
}

/// Alerts of each severity, the gravest first, without those of orphaned blocks.
fn by_severity(status: &Status) -> Vec<(&'static str, u64)> {
    let standing = || status.alerts.iter().filter(|count| count.status != AlertStatus::Orphaned);
    sums(Severity::ALL.iter().rev().copied(), |wanted| {
        standing().filter(|count| count.severity == wanted).map(|count| count.alerts).sum()
    })
}

/// What there is of each word; words of which there is nothing are left out.
fn sums<T>(words: impl Iterator<Item = (T, &'static str)>, sum: impl Fn(T) -> u64) -> Vec<(&'static str, u64)> {
    words.map(|(value, word)| (word, sum(value))).filter(|(_, sum)| *sum > 0).collect()
}

fn as_object(counts: Vec<(&'static str, u64)>) -> serde_json::Map<String, serde_json::Value> {
    counts.into_iter().map(|(word, count)| (word.to_owned(), json!(count))).collect()
}

fn in_words(counts: &[(&'static str, u64)]) -> String {
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// Fields of that endpoint's answers that differed from what is proven.
fn differences<'a>(status: &'a Status, host: &'a str) -> impl Iterator<Item = &'a FieldDifferences> {
    status.differences.iter().filter(move |difference| difference.host == host)
}

fn revert_json(revert: &RevertRow) -> serde_json::Value {
    json!({
        "at": show_date(revert.at), "above": revert.above, "reason": revert.reason, "blocks": revert.blocks,
        "final_blocks": revert.final_blocks, "alerts": revert.alerts, "filtered": revert.filtered,
        "from": revert.range.map(|(from, _)| from), "to": revert.range.map(|(_, to)| to),
    })
}

fn proof(range: &CoverageRange) -> &'static str {
    if range.proven { "proven" } else { "unproven" }
}

pub(super) fn age(seconds: i64) -> String {
    let age = (Timestamp::now().as_second() - seconds).max(0);
    match age {
        0..120 => format!("{age} s ago"),
        120..7200 => format!("{} min ago", age / 60),
        7200..172_800 => format!("{} h ago", age / 3600),
        _ => format!("{} days ago", age / 86_400),
    }
}

fn for_people(status: &Status, health: &Health, ages: &Ages, path: &str) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    line("database", path.to_owned());
    line("chain", status.chain_id.map_or_else(|| "none yet".to_owned(), |id| id.to_string()));
    line(
        "tip",
        match (status.tip, status.tip_timestamp) {
            (Some(tip), Some(time)) => format!("{} {} ({})", tip.number, tip.hash, show_date(time)),
            _ => "no block yet".to_owned(),
        },
    );
    if let Some(head) = status.head {
        line("head", format!("{head} when last seen, lag {} blocks", lag(status).unwrap_or_default()));
    }
    if let Some(head) = status.reported_head {
        line(
            "reported",
            format!(
                "block {}, by an endpoint; no block here leads to it, and no other endpoint disproves it",
                head.number
            ),
        );
    }
    line(
        "finality",
        match (&status.finality_rule, status.finalized) {
            (Some(rule), Some(block)) => format!("by {rule}; final up to {} {}", block.number, block.hash),
            (Some(rule), None) => format!("by {rule}; nothing final yet"),
            _ => "unknown yet".to_owned(),
        },
    );
    line("blocks", format!("{} canonical, {} orphaned", status.blocks, status.orphaned_blocks));
    let alerts = in_words(&by_status(status));
    line("alerts", if alerts.is_empty() { "none".to_owned() } else { alerts });
    let severities = in_words(&by_severity(status));
    if !severities.is_empty() {
        line("severity", severities);
    }
    for (place, range) in status.coverage.iter().take(SHOWN).enumerate() {
        let traces = match (range.internal_eth(), range.traces) {
            (InternalEth::Proven, true) => "internal transfers proven by logs, traces seen",
            (InternalEth::Proven, false) => "internal transfers proven by logs",
            (InternalEth::Claimed, true) => "traces seen",
            (InternalEth::Claimed, false) => "internal transfers by logs that were taken on trust",
            (InternalEth::NotSeen, _) => "no traces: internal transfers not seen",
        };
        let name = if place == 0 { "coverage" } else { "" };
        let matched = if senders(range) == "matched" {
            format!(", senders proven of alerts only ({CLAIMED_OF_MATCHED}, is the endpoint's word)")
        } else {
            String::new()
        };
        line(name, format!("{} to {}: {}{matched}, {traces}", range.from, range.to, proof(range)));
    }
    if status.coverage.len() > SHOWN {
        line("", format!("… and {} more ranges (--format json)", status.coverage.len() - SHOWN));
    }
    let holes = holes(&status.coverage, &status.filtered, status.reverted);
    let missing: u64 = holes.iter().map(|(from, to)| to - from + 1).sum();
    line("holes", if holes.is_empty() { "none".to_owned() } else { format!("{} ({missing} blocks)", holes.len()) });
    for (place, filtered) in coverage::filtered_lines(&status.filtered).into_iter().take(SHOWN).enumerate() {
        line(if place == 0 { "filtered" } else { "" }, filtered);
    }
    if let (Some((from, _)), Some((_, to))) = (status.owed.first(), status.owed.last()) {
        let blocks: u64 = status.owed.iter().map(|(from, to)| to - from + 1).sum();
        line(
            "catching up",
            format!("{blocks} blocks of {from} to {to} are still to be taken, in order, beside the head"),
        );
    }
    for checkpoint in &status.checkpoints {
        line("checkpoint", format!("{} {}", checkpoint.number, checkpoint.hash));
    }
    for revert in status.reverts.iter().take(SHOWN) {
        line(
            "reverted",
            format!(
                "blocks above {}, {}: {} ({} of them final), {} alerts orphaned: {}",
                revert.above,
                age(revert.at),
                revert.blocks,
                revert.final_blocks,
                revert.alerts,
                clean(&revert.reason, 200)
            ),
        );
    }
    let undecoded: Vec<_> = status.undecoded.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    line("undecoded", if undecoded.is_empty() { "none".to_owned() } else { undecoded.join(", ") });
    for (place, e) in status.endpoints.iter().enumerate() {
        let seen = e.seen_at.map(|at| format!(", answered {}", age(at))).unwrap_or_default();
        let traces = e.traces.as_ref().map(|traces| format!(", traces: {traces}")).unwrap_or_default();
        let error = match (&e.last_error, e.error_at) {
            (Some(error), Some(at)) => format!(", failed {}: {}", age(at), clean(error, 100)),
            _ => String::new(),
        };
        let name = if place == 0 { "sources" } else { "" };
        let state = health.in_short(&e.host);
        line(name, format!("{}: {} blocks{state}{seen}{traces}{error}", clean(&e.host, 60), e.blocks));
        let fields: Vec<_> = differences(status, &e.host).map(|d| format!("{} {}", d.field, d.differences)).collect();
        if !fields.is_empty() {
            line("", format!("  fields that differed from what is proven, which counts: {}", fields.join(", ")));
        }
    }
    for (place, l) in status.lists.iter().enumerate() {
        let name = if place == 0 { "lists" } else { "" };
        let (listed, published, more) = (clean(&l.name, 40), age(l.published), ages.in_short(&l.name));
        line(name, format!("{listed} ({}): {} entries, published {published}{more}", l.kind.name(), l.entries));
    }
    if status.lists.is_empty() {
        line("lists", "none: nothing can alert (bolo watchlist import FILE)".to_owned());
    }
    if status.screened_before > 0 {
        let who = if status.auto_lookback { "the watch" } else { "`bolo replay --new-entries`" };
        line(
            "list changed",
            format!(
                "{} blocks were screened before the lists gained entries: {who} looks there again",
                status.screened_before
            ),
        );
    }
    if status.unasked_tokens > 0 {
        line("tokens", format!("{} could not be asked for symbol and decimals yet", status.unasked_tokens));
    }
    line("notices", "0 undelivered (no receiver is configured)".to_owned());
    out
}
