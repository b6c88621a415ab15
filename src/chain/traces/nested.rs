//! Frames of callTracer: each holds those that it called.

use alloy::primitives::{Address, B256, U256};
use serde::Deserialize;
use serde_json::Value;

use super::json;
use super::{Frame, FrameKind};

/// One item of `debug_traceBlockByHash`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    /// Older nodes leave it out.
    #[serde(default, alias = "transactionHash")]
    tx_hash: Option<B256>,
    #[serde(default)]
    result: Option<NestedFrame>,
    #[serde(default)]
    error: Option<Value>,
}

/// The same without its frames, where these cannot be read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default, alias = "transactionHash")]
    tx_hash: Option<B256>,
    #[serde(default)]
    error: Option<Value>,
}

/// A call frame as callTracer writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NestedFrame {
    #[serde(rename = "type")]
    kind: String,
    from: Address,
    #[serde(default, deserialize_with = "json::address")]
    to: Option<Address>,
    #[serde(default, deserialize_with = "json::wei")]
    value: Option<U256>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    revert_reason: Option<Value>,
    #[serde(default)]
    calls: Option<Vec<NestedFrame>>,
}

/// What an item says of one transaction: its top frame, or why there is none.
#[derive(Debug, Clone)]
pub(super) struct NestedTrace {
    /// Hash of the transaction, where the item names it.
    pub(super) hash: Option<B256>,
    pub(super) top: Result<NestedFrame, String>,
}

impl NestedTrace {
    /// Reads any JSON value: what is no trace is a transaction without one.
    pub(super) fn parse(text: &str) -> Self {
        match json::deep::<Option<Item>>(text) {
            Ok(Some(Item { tx_hash: hash, result, error })) => {
                let top = match (json::error_text(error.as_ref()), result) {
                    (Some(error), _) => Err(error),
                    (None, Some(top)) => Ok(top),
                    (None, None) => Err("no result".to_owned()),
                };
                Self { hash, top }
            }
            Ok(None) => Self { hash: None, top: Err("null instead of a trace".to_owned()) },
            Err(unreadable) => {
                let Envelope { tx_hash, error } = json::deep(text).unwrap_or_default();
                let said = json::error_text(error.as_ref());
                Self { hash: tx_hash, top: Err(said.unwrap_or_else(|| json::cut(&unreadable))) }
            }
        }
    }
}

impl NestedFrame {
    /// This frame and those below it, each before its children.
    pub(super) fn flatten(self) -> Vec<Frame> {
        let mut frames = Vec::new();
        // An explicit stack: depth is the sender's choice.
        let mut todo = vec![(self, Vec::new(), false)];
        while let Some((frame, trace_address, above)) = todo.pop() {
            let failed = json::error_text(frame.error.as_ref()).is_some();
            let reverted = above || failed || json::is_revert_reason(frame.revert_reason.as_ref());
            for (place, child) in frame.calls.unwrap_or_default().into_iter().enumerate().rev() {
                let mut path = trace_address.clone();
                path.push(place as u32);
                todo.push((child, path, reverted));
            }
            let kind = FrameKind::of(&frame.kind);
            let value = frame.value.unwrap_or_default();
            frames.push(Frame { trace_address, kind, from: frame.from, to: frame.to, value, reverted });
        }
        frames
    }
}
