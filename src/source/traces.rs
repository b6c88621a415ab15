//! Traces at one endpoint: by which method, with which options, of a block or of single transactions.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use futures_util::StreamExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::call::CallError;
use super::capability::TraceMethod;
use super::endpoint::Endpoint;
use super::lock;
use crate::chain::MissingTrace;
use crate::chain::canonical::Link;
use crate::chain::traces::SingleTrace;

/// What an endpoint answered for the traces of a block.
pub(super) type TraceAnswer = Result<Box<RawValue>, CallError>;

/// Transactions of a block that are traced one by one; where more are missing, another endpoint is asked for all of them.
const MAX_SINGLE_TRACES: usize = 32;
/// Of these at once.
const SINGLE_TRACES_AT_ONCE: usize = 4;
/// JSON-RPC: the parameters are not understood.
const INVALID_PARAMS: i64 = -32602;

impl TraceMethod {
    const ALL: [Self; 2] = [Self::DebugTraceBlock, Self::TraceBlock];

    /// The method that traces one transaction in the same shape.
    fn of_transaction(self) -> &'static str {
        match self {
            Self::DebugTraceBlock => "debug_traceTransaction",
            Self::TraceBlock => "trace_transaction",
        }
    }
}

impl Endpoint {
    /// The traces of a block that was just named; none where they are not wanted. Nodes refuse to trace the genesis block, which has
    /// no transactions.
    pub(super) async fn first_traces(&self, want: bool, number: u64, hash: B256) -> Option<TraceAnswer> {
        if want && number > 0 { Some(self.block_traces(number, hash).await) } else { None }
    }

    /// The traces of a block, by the method that the endpoint has.
    pub(super) async fn block_traces(&self, number: u64, hash: B256) -> TraceAnswer {
        let mut failed = None;
        for method in self.trace_methods() {
            match self.traces_by(method, number, hash).await {
                Ok(traces) => {
                    let mut known = lock(&self.capability);
                    if known.of_traces(method).known() != Some(true) {
                        tracing::info!(host = %self.host, method = method.name(), "has traces");
                    }
                    known.note_traced(method, number);
                    return Ok(traces);
                }
                Err(CallError::Unsupported(_)) => {
                    let mut known = lock(&self.capability);
                    let settled = known.of_traces(method).deny(Instant::now());
                    if settled && known.traces() == Some(None) {
                        tracing::warn!(host = %self.host, "has no traces: internal transfers are not seen by it");
                    }
                }
                Err(error) => {
                    if let CallError::Pruned(_) = &error
                        && lock(&self.capability).note_pruned_state(number, Instant::now())
                    {
                        tracing::warn!(host = %self.host, block = number, %error, "no traces of this block and of older ones from here");
                    }
                    // The other method may do better where this one was never seen to work.
                    let has_worked = lock(&self.capability).of_traces(method).has_answered();
                    if has_worked {
                        return Err(error);
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| CallError::Unsupported("traces".to_owned())))
    }

    /// Traces of single transactions of a block, as many as can be had; none where there are too many.
    pub(super) async fn single_traces(&self, missing: &[MissingTrace]) -> Vec<SingleTrace> {
        if missing.len() > MAX_SINGLE_TRACES {
            return Vec::new();
        }
        let one = |missing: &MissingTrace| {
            let (index, hash) = (missing.index, missing.hash);
            async move {
                for method in self.trace_methods() {
                    match self.single_trace(method, hash).await {
                        Ok(answer) => return Some(SingleTrace { index, hash, answer }),
                        Err(error) => {
                            tracing::debug!(host = %self.host, %hash, %error, "no trace of this transaction from here");
                        }
                    }
                }
                None
            }
        };
        let asked: Vec<_> = missing.iter().map(one).collect();
        let answers: Vec<_> = futures_util::stream::iter(asked).buffered(SINGLE_TRACES_AT_ONCE).collect().await;
        answers.into_iter().flatten().collect()
    }

    /// Finds out whether it has traces, on its newest block.
    pub(super) async fn probe_traces(&self, head: Link) {
        for method in TraceMethod::ALL {
            let ask = || async move { self.traces_by(method, head.number, head.hash).await.map(drop) };
            match self.settle(|known| known.of_traces(method), ask).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(host = %self.host, %error, "whether it has traces could not be found out");
                }
            }
        }
    }

    /// Whether there is any use in asking for the traces of that block.
    pub(super) fn may_trace(&self, number: u64) -> bool {
        !self.trace_methods().is_empty() && !lock(&self.capability).has_pruned_state(number, Instant::now())
    }

    /// What is known of its traces, without asking.
    pub(super) fn known_traces(&self) -> Option<&'static str> {
        lock(&self.capability).traces().map(|known| known.map_or("none", TraceMethod::name))
    }

    /// Methods that are worth asking, those that work first.
    fn trace_methods(&self) -> Vec<TraceMethod> {
        let now = Instant::now();
        let mut known = lock(&self.capability);
        let mut methods: Vec<_> =
            TraceMethod::ALL.into_iter().filter(|method| known.of_traces(*method).is_worth_asking(now)).collect();
        methods.sort_by_key(|method| known.of_traces(*method).known() != Some(true));
        methods
    }

    async fn traces_by(&self, method: TraceMethod, number: u64, hash: B256) -> TraceAnswer {
        match method {
            TraceMethod::DebugTraceBlock => self.call_tracer(method.name(), hash).await,
            TraceMethod::TraceBlock => self.call(method.name(), (format!("{number:#x}"),)).await,
        }
    }

    async fn single_trace(&self, method: TraceMethod, hash: B256) -> TraceAnswer {
        match method {
            TraceMethod::DebugTraceBlock => self.call_tracer(method.of_transaction(), hash).await,
            TraceMethod::TraceBlock => self.call(method.of_transaction(), (hash,)).await,
        }
    }

    /// A debug method with callTracer. The tracer is told to give up shortly before the request does: then it says which transaction
    /// took too long, and the others keep their traces.
    async fn call_tracer(&self, method: &'static str, hash: B256) -> TraceAnswer {
        let refuses_timeout = lock(&self.capability).no_tracer_timeout;
        let plain = tracer_options(None);
        if refuses_timeout {
            return self.call(method, (hash, plain)).await;
        }
        let options = tracer_options(Some(self.shared.timeout * 9 / 10));
        match self.call(method, (hash, options)).await {
            Err(CallError::Rpc { code: INVALID_PARAMS, .. }) => {
                let traces = self.call(method, (hash, plain)).await?;
                lock(&self.capability).no_tracer_timeout = true;
                Ok(traces)
            }
            other => other,
        }
    }
}

fn tracer_options(timeout: Option<Duration>) -> Value {
    let mut options = json!({"tracer": "callTracer"});
    if let Some(timeout) = timeout {
        options["timeout"] = json!(format!("{}ms", timeout.as_millis()));
    }
    options
}
