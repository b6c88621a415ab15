//! Whether a running watch can be relied upon: part of `bolo status`, and of its exit code.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Failure;
use super::list_age::{Ages, Overdue};
use super::present::clean;
use super::status::age;
use crate::lists::show_date;
use crate::store::{LieRow, ProblemRow, Running, Status, Store, TraceBacklog};

/// Problems of one endpoint that another makes up for: shown, and no reason to call the watch unhealthy.
const MADE_UP_FOR: [&str; 2] = ["benched", "throttled"];
/// No sign of life for that long, at least, is a dead watch.
const SILENT_MS: i64 = 10_000;
/// There should be news of a list.
const OVERDUE: &str = "list_overdue";
/// Lies that are shown.
const LIES: u64 = 20;

/// What is known of the watch that runs.
pub(super) struct Health {
    running: Option<Running>,
    problems: Vec<ProblemRow>,
    lies: Vec<LieRow>,
    lie_count: u64,
    states: Vec<(String, Value, i64)>,
    overdue: Vec<Overdue>,
}

/// What is said of blocks that are held without all of their traces.
fn missing_traces(backlog: &TraceBacklog) -> String {
    let TraceBacklog { blocks, first, last, pruned, detail, .. } = backlog;
    let state = match pruned {
        0 => String::new(),
        pruned => format!("; of {pruned} no endpoint has the state any more, which an archive node keeps"),
    };
    format!(
        "{blocks} blocks from {first} to {last} lack traces: internal transfers there may be missing. `bolo watch` asks again, \
         `bolo replay --holes --traces require` asks now{state} ({detail})"
    )
}

impl Health {
    pub(super) fn of(store: &Store, status: &Status, ages: &Ages) -> Result<Self, Failure> {
        let running = store.running()?;
        let now = Timestamp::now();
        let mut problems = Vec::new();
        let problem =
            |code: &str, since: i64, detail: String| ProblemRow { code: code.to_owned(), host: None, since, detail };
        if let Some(running) = &running {
            let silent = now.as_millisecond() - running.heartbeat_ms;
            let patience = SILENT_MS.max(3 * i64::try_from(running.slot_ms).unwrap_or(i64::MAX / 4));
            if silent > patience {
                // What it said was wrong then says nothing of now.
                let detail = "the watch gives no sign of life: it died or hangs, so nothing new is seen".to_owned();
                problems.push(problem("watch_silent", running.heartbeat_ms / 1000, detail));
            } else {
                problems.extend(running.problems.iter().cloned());
            }
        }
        if let Some(reason) = &status.stopped {
            let code = status.stopped_code.as_deref().unwrap_or("stopped");
            problems.push(problem(code, status.stopped_at.unwrap_or(now.as_second()), reason.clone()));
        }
        if status.lists.iter().all(|list| list.entries == 0) {
            let detail = "the watchlist is empty, so nothing can alert: bolo watchlist import FILE".to_owned();
            problems.push(problem("no_list", now.as_second(), detail));
        }
        if let Some(backlog) = &status.trace_backlog {
            problems.push(problem("traces_missing", backlog.since, missing_traces(backlog)));
        }
        let (lies, lie_count) = store.lies(LIES)?;
        let states = store
            .endpoint_states()?
            .into_iter()
            .map(|(host, state, at)| (host, serde_json::from_str(&state).unwrap_or(Value::Null), at));
        Ok(Self {
            running,
            problems,
            lies,
            lie_count,
            states: states.collect(),
            overdue: ages.overdue().cloned().collect(),
        })
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.overdue.is_empty() && self.problems.iter().all(|problem| MADE_UP_FOR.contains(&problem.code.as_str()))
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "healthy": self.is_healthy(),
            "watching": self.running.is_some(),
            "watching_since": self.running.as_ref().map(|running| show_date(running.since)),
            "heartbeat": self.running.as_ref().map(|running| show_date(running.heartbeat_ms / 1000)),
            "problems": self.problems.iter().map(|problem| json!({
                "code": problem.code, "host": problem.host, "since": show_date(problem.since), "detail": problem.detail,
            })).chain(self.overdue.iter().map(|overdue| json!({
                "code": OVERDUE, "host": null, "list": overdue.list, "since": show_date(overdue.since), "detail": overdue.detail,
            }))).collect::<Vec<_>>(),
        })
    }

    pub(super) fn lies_json(&self) -> Value {
        json!({
            "count": self.lie_count,
            "last": self.lies.iter().map(|lie| json!({
                "host": lie.host, "at": show_date(lie.at), "number": lie.number,
                "hash": lie.hash.map(|hash| hash.to_string()), "request": lie.request,
                "answer_keccak": lie.answer_keccak.to_string(), "answer_bytes": lie.answer_bytes, "reason": lie.reason,
            })).collect::<Vec<_>>(),
        })
    }

    /// Adds to an endpoint what the watch last found out of it.
    pub(super) fn describe(&self, endpoint: &mut Value) {
        let found = self.states.iter().find(|(host, ..)| endpoint["host"] == host.as_str());
        endpoint["state"] = found.map_or(Value::Null, |(_, state, _)| state.clone());
        endpoint["state_at"] = found.map_or(Value::Null, |(_, _, at)| json!(show_date(*at)));
    }

    /// What matters of an endpoint, for a line.
    pub(super) fn in_short(&self, host: &str) -> String {
        let Some((_, state, _)) = self.states.iter().find(|(known, ..)| known == host) else { return String::new() };
        let word = state["state"].as_str().map(|word| format!(", {}", clean(word, 20))).unwrap_or_default();
        let part = |field: &str, unit: &str| {
            state[field].as_u64().map(|value| format!(", {}{value}{unit}", if unit.is_empty() { "head " } else { "" }))
        };
        [Some(word), part("head", ""), part("latency_ms", " ms")].into_iter().flatten().collect()
    }

    pub(super) fn for_people(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<14}{value}");
        };
        let nothing = self.problems.is_empty() && self.overdue.is_empty();
        match &self.running {
            Some(running) if nothing => {
                line("health", format!("good; last sign of life {}", age(running.heartbeat_ms / 1000)));
            }
            None if self.problems.is_empty() => line("health", "no watch is running".to_owned()),
            _ => {}
        }
        for problem in &self.problems {
            let name = if MADE_UP_FOR.contains(&problem.code.as_str()) { "health" } else { "UNHEALTHY" };
            let host = problem.host.as_ref().map(|host| format!(" {}", clean(host, 60))).unwrap_or_default();
            line(name, format!("{}{host}: {} ({})", problem.code, clean(&problem.detail, 400), age(problem.since)));
        }
        for overdue in &self.overdue {
            line("UNHEALTHY", format!("{OVERDUE} {} (since {})", clean(&overdue.detail, 300), age(overdue.since)));
        }
        if let (Some(lie), count) = (self.lies.first(), self.lie_count) {
            let last = format!("{} {}: {}", clean(&lie.host, 60), age(lie.at), clean(&lie.reason, 120));
            line("lies", format!("{count} wrong answers are kept as evidence, the last by {last}"));
        }
        out
    }
}
