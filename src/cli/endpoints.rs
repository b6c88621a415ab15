//! `bolo endpoints`.

use serde_json::{Value, json};

use super::args::{EndpointsArgs, StatusFormat};
use super::present::{clean, plain_table, print};
use super::sources::SourceSettings;
use super::{Context, Failure};
use crate::lists::show_date;
use crate::redact::redact_json;
use crate::source::{EndpointState, Pool};

pub(super) async fn run(context: &Context, args: &EndpointsArgs) -> Result<u8, Failure> {
    let settings = SourceSettings::new(context, &args.source)?;
    let pool = Pool::survey(settings.pool_options(1, None)?).await?;
    let states = pool.states();
    let text = match args.format {
        StatusFormat::Table => for_people(&states),
        StatusFormat::Json => {
            let mut all = Value::from_iter(states.iter().map(as_json));
            redact_json(&mut all);
            format!("{}\n", crate::text::json(&format!("{all:#}")))
        }
    };
    print(&text)?;
    Ok(if states.iter().any(is_usable) { 0 } else { 75 })
}

/// Whether blocks can be had from it: an endpoint that answers and has told of no head is of no use.
fn is_usable(state: &EndpointState) -> bool {
    matches!(state.state, "ok" | "stalled" | "throttled") && state.head.is_some()
}

/// An endpoint as JSON: what `EndpointState` says, times as RFC 3339.
pub(super) fn as_json(state: &EndpointState) -> Value {
    let (error, error_at) = state.last_error.clone().unzip();
    json!({
        "host": state.host, "state": state.state, "client": state.client, "head": state.head, "lag": state.lag,
        "head_age": state.head_age, "latency_ms": state.latency_ms, "limit": state.limit, "in_flight": state.in_flight,
        "oldest_block": state.oldest_block, "oldest_receipts": state.oldest_receipts,
        "block_receipts": state.block_receipts, "traces": state.traces, "tags": state.tags, "batch": state.batch,
        "max_answer": state.max_answer, "benched_for": state.benched_for, "lies": state.lies,
        "requests": state.requests, "failures": state.failures, "last_error": error,
        "error_at": error_at.map(show_date),
    })
}

fn for_people(states: &[EndpointState]) -> String {
    let mut table = plain_table([
        "ENDPOINT",
        "STATE",
        "CLIENT",
        "HEAD",
        "LAG",
        "LATENCY",
        "BLOCKS FROM",
        "RECEIPTS FROM",
        "RECEIPTS BY",
        "TRACES",
        "TAGS",
        "BATCH",
    ]);
    let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let yes = |value: Option<bool>, yes: &str, no: &str| value.map_or("?", |is| if is { yes } else { no }).to_owned();
    for state in states {
        table.add_row([
            clean(&state.host, 40),
            state.state.to_owned(),
            state.client.as_deref().map_or_else(|| "?".to_owned(), |client| clean(client, 28)),
            number(state.head),
            number(state.lag),
            state.latency_ms.map_or_else(|| "?".to_owned(), |ms| format!("{ms} ms")),
            number(state.oldest_block),
            number(state.oldest_receipts),
            yes(state.block_receipts, "block", "transaction"),
            state.traces.unwrap_or("?").to_owned(),
            yes(state.tags, "yes", "no"),
            state.batch.map_or_else(|| "?".to_owned(), |batch| batch.to_string()),
        ]);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    for state in states.iter().filter(|state| state.state != "ok") {
        if let Some((error, _)) = &state.last_error {
            text.push_str(&format!("{}: {}\n", clean(&state.host, 40), clean(error, 200)));
        }
    }
    text
}
