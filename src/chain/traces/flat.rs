//! Frames of `trace_block` and `trace_transaction`: one list, each frame with its path from the top frame.

use alloy::primitives::{Address, B256, U256};
use serde::Deserialize;
use serde_json::Value;

use super::json;
use super::{Frame, FrameKind};

/// One item of `trace_block`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FlatTrace {
    action: FlatAction,
    #[serde(default)]
    result: Option<FlatResult>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    revert_reason: Option<Value>,
    #[serde(default)]
    trace_address: Option<Vec<u32>>,
    #[serde(default)]
    subtraces: Option<Value>,
    #[serde(default)]
    pub(super) transaction_hash: Option<B256>,
    #[serde(default)]
    transaction_position: Option<Value>,
    #[serde(default)]
    pub(super) block_hash: Option<B256>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatAction {
    #[serde(default)]
    call_type: Option<String>,
    #[serde(default, deserialize_with = "json::address")]
    from: Option<Address>,
    #[serde(default, deserialize_with = "json::address")]
    to: Option<Address>,
    #[serde(default, deserialize_with = "json::wei")]
    value: Option<U256>,
    #[serde(default, deserialize_with = "json::address")]
    address: Option<Address>,
    #[serde(default, deserialize_with = "json::address")]
    refund_address: Option<Address>,
    #[serde(default, deserialize_with = "json::wei")]
    balance: Option<U256>,
}

#[derive(Debug, Clone, Deserialize)]
struct FlatResult {
    #[serde(default, deserialize_with = "json::address")]
    address: Option<Address>,
}

/// The hash of an item that cannot be read otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    transaction_hash: Option<B256>,
}

/// Why the frames of a transaction are not those of its execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// They contradict each other: no execution has such frames.
    Invalid(String),
    /// Some are missing.
    Incomplete(String),
}

/// A frame whose children come next.
struct Open {
    depth: usize,
    children: u64,
    stated: Option<u64>,
    reverted: bool,
}

impl FlatTrace {
    /// # Errors
    /// The transaction's hash, where that at least can be read, and what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, (Option<B256>, String)> {
        json::deep(text).map_err(|unreadable| {
            let Envelope { transaction_hash } = json::deep(text).unwrap_or_default();
            (transaction_hash, json::cut(&unreadable))
        })
    }

    /// Index of the transaction, where it is stated.
    pub(super) fn position(&self) -> Option<u64> {
        json::number(self.transaction_position.as_ref())
    }

    /// A block reward belongs to no transaction.
    pub(super) fn is_reward(&self) -> bool {
        self.kind.eq_ignore_ascii_case("reward")
    }

    /// It says that value moved.
    pub(super) fn has_value(&self) -> bool {
        [self.action.value, self.action.balance].into_iter().flatten().any(|value| !value.is_zero())
    }

    fn path(&self) -> &[u32] {
        self.trace_address.as_deref().unwrap_or_default()
    }

    fn failed(&self) -> bool {
        json::error_text(self.error.as_ref()).is_some() || json::is_revert_reason(self.revert_reason.as_ref())
    }

    fn into_frame(self, reverted: bool) -> Result<Frame, Broken> {
        let action = self.action;
        let kind = match (FrameKind::of(&self.kind), &action.call_type) {
            (FrameKind::Call, Some(call_type)) => FrameKind::of(call_type),
            (kind, _) => kind,
        };
        let created = self.result.and_then(|result| result.address);
        let (from, to, value) = match kind {
            FrameKind::Create => (action.from, created, action.value),
            FrameKind::SelfDestruct => {
                (action.address.or(action.from), action.refund_address.or(action.to), action.balance.or(action.value))
            }
            FrameKind::Call | FrameKind::NoValue => (action.from, action.to, action.value),
            FrameKind::Unknown => (
                action.from.or(action.address),
                action.to.or(action.refund_address).or(created),
                action.value.or(action.balance),
            ),
        };
        let Some(from) = from else { return Err(Broken::Incomplete("a frame without its caller".to_owned())) };
        let trace_address = self.trace_address.unwrap_or_default();
        Ok(Frame { trace_address, kind, from, to, value: value.unwrap_or_default(), reverted })
    }
}

/// The frames of one transaction, in whatever order they come. Their paths must make one tree: no path twice, none without its
/// parent, as many children as the parent says.
pub(super) fn frames(mut traces: Vec<FlatTrace>) -> Result<Vec<Frame>, Broken> {
    traces.sort_by(|a, b| a.path().cmp(b.path()));
    let invalid = |said: String| Err(Broken::Invalid(said));
    let mut missing = None;
    let mut open: Vec<Open> = Vec::new();
    let mut frames: Vec<Frame> = Vec::with_capacity(traces.len());
    for trace in traces {
        let path = trace.path();
        if let Some(last) = frames.last()
            && last.trace_address == path
        {
            return invalid(format!("two frames at {path:?}"));
        }
        while let Some(closed) = open.pop_if(|above| above.depth >= path.len()) {
            missing = missing.or(closed.lacks()?);
        }
        if let Some((index, parent)) = path.split_last() {
            let parent_is_open = open.last().is_some_and(|above| above.depth == parent.len());
            let before = frames.last().map(|frame| frame.trace_address.as_slice()).unwrap_or_default();
            let Some(above) = open.last_mut().filter(|_| parent_is_open && before.starts_with(parent)) else {
                return invalid(format!("a frame at {path:?} without the one above it"));
            };
            if u64::from(*index) != above.children {
                missing = missing.or_else(|| Some(format!("the frame before {path:?} is missing")));
            }
            above.children = u64::from(*index) + 1;
        } else if !frames.is_empty() {
            return invalid("two top frames".to_owned());
        }
        let reverted = trace.failed() || open.last().is_some_and(|above| above.reverted);
        let stated = json::number(trace.subtraces.as_ref());
        open.push(Open { depth: path.len(), children: 0, stated, reverted });
        frames.push(trace.into_frame(reverted)?);
    }
    while let Some(closed) = open.pop() {
        missing = missing.or(closed.lacks()?);
    }
    match missing {
        Some(said) => Err(Broken::Incomplete(said)),
        None => Ok(frames),
    }
}

impl Open {
    /// What is missing below it, where it says how many children it has.
    fn lacks(&self) -> Result<Option<String>, Broken> {
        let children = self.children;
        match self.stated {
            Some(stated) if stated < children => {
                Err(Broken::Invalid(format!("{children} frames below one that says {stated}")))
            }
            Some(stated) if stated > children => Ok(Some(format!("{children} frames below one that says {stated}"))),
            _ => Ok(None),
        }
    }
}
