//! Call frames, from either of the two shapes that nodes speak, as one flat list per transaction.
//!
//! No root covers traces: they are the endpoint's word. What can be checked is checked: there is one trace for each
//! transaction, its top frame is that transaction (signer, recipient, value), and it failed exactly if the receipt says so.

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::bundle::BundleError;
use super::error::{Part, VerifyError};
use super::verified::VerifiedTransaction;

/// Calls nest at most 1024 deep in the EVM; each level is an object within an array. Anything deeper is no trace.
const MAX_JSON_DEPTH: usize = 2 * 1024 + 64;

/// Why a frame exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// `CALL`: its value moves.
    Call,
    /// `CREATE` or `CREATE2`: the endowment moves.
    Create,
    /// `SELFDESTRUCT`: the balance moves to the beneficiary.
    SelfDestruct,
    /// `DELEGATECALL`, `CALLCODE`, `STATICCALL`: whatever value they show, none moves.
    NoValue,
}

/// One call frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Path from the top frame, which is `[]`.
    pub trace_address: Vec<u32>,
    /// What made it.
    pub kind: FrameKind,
    /// Who called.
    pub from: Address,
    /// Who was called or created; none for a creation that failed.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    /// It or a frame above it failed, which undoes it.
    pub reverted: bool,
}

/// Traces of a block as answered.
#[derive(Debug, Clone)]
pub enum Traces {
    /// `debug_traceBlockByHash` with callTracer: a nested frame for each transaction.
    Nested(Vec<NestedTrace>),
    /// `trace_block`: a flat list over all transactions, block rewards among them.
    Flat(Vec<FlatTrace>),
}

/// One item of `debug_traceBlockByHash`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NestedTrace {
    /// Older nodes leave it out.
    #[serde(default)]
    tx_hash: Option<B256>,
    #[serde(default)]
    result: Option<NestedFrame>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct NestedFrame {
    #[serde(rename = "type")]
    kind: String,
    from: Address,
    #[serde(default)]
    to: Option<Address>,
    #[serde(default)]
    value: Option<U256>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    calls: Vec<NestedFrame>,
}

/// One item of `trace_block`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlatTrace {
    action: FlatAction,
    #[serde(default)]
    result: Option<FlatResult>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    trace_address: Vec<u32>,
    #[serde(default)]
    transaction_hash: Option<B256>,
    #[serde(default)]
    block_hash: Option<B256>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatAction {
    #[serde(default)]
    call_type: Option<String>,
    #[serde(default)]
    from: Option<Address>,
    #[serde(default)]
    to: Option<Address>,
    #[serde(default)]
    value: Option<U256>,
    #[serde(default)]
    address: Option<Address>,
    #[serde(default)]
    refund_address: Option<Address>,
    #[serde(default)]
    balance: Option<U256>,
}

#[derive(Debug, Clone, Deserialize)]
struct FlatResult {
    #[serde(default)]
    address: Option<Address>,
}

impl Traces {
    /// Reads either shape, told apart by the first item.
    ///
    /// # Errors
    /// [`BundleError`] where it is neither, or nests deeper than calls can.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Peek {
            action: Option<IgnoredAny>,
        }
        let error = |detail: String| BundleError { what: "traces", detail };
        if json_depth(text) > MAX_JSON_DEPTH {
            return Err(error("nested deeper than calls can be".into()));
        }
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| error(e.to_string()))?;
        let flat = match items.first() {
            Some(first) => deep::<Peek>(first.get()).map_err(error)?.action.is_some(),
            None => false,
        };
        if flat {
            items.iter().map(|raw| deep(raw.get())).collect::<Result<_, _>>().map(Self::Flat).map_err(error)
        } else {
            items.iter().map(|raw| deep(raw.get())).collect::<Result<_, _>>().map(Self::Nested).map_err(error)
        }
    }

    /// The frames of each transaction, top frame first, each before those below it.
    ///
    /// # Errors
    /// [`VerifyError`] with [`Part::Traces`] where they contradict the transactions.
    pub fn frames(self, block: B256, transactions: &[VerifiedTransaction]) -> Result<Vec<Vec<Frame>>, VerifyError> {
        let frames = match self {
            Self::Nested(traces) => nested(traces, transactions)?,
            Self::Flat(traces) => flat(traces, block, transactions)?,
        };
        for (tx, frames) in transactions.iter().zip(&frames) {
            check_top(tx, frames.first())?;
        }
        Ok(frames)
    }
}

/// Parses without serde_json's limit of 128 levels, which real call depths pass; the stack grows on the heap meanwhile.
fn deep<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.disable_recursion_limit();
    T::deserialize(serde_stacker::Deserializer::new(&mut json)).map_err(|err| err.to_string())
}

fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn refused(index: Option<u64>, found: impl Into<String>, expected: impl Into<String>) -> VerifyError {
    VerifyError::Mismatch { part: Part::Traces, index, found: found.into(), expected: expected.into() }
}

fn nested(traces: Vec<NestedTrace>, transactions: &[VerifiedTransaction]) -> Result<Vec<Vec<Frame>>, VerifyError> {
    if traces.len() != transactions.len() {
        let (found, expected) = (format!("{} traces", traces.len()), format!("{}", transactions.len()));
        return Err(refused(None, found, expected));
    }
    let mut all = Vec::with_capacity(traces.len());
    for (tx, trace) in transactions.iter().zip(traces) {
        if trace.tx_hash.is_some_and(|hash| hash != tx.hash) {
            return Err(refused(Some(tx.index), "a trace of another transaction", tx.hash.to_string()));
        }
        let Some(top) = trace.result else {
            let said = trace.error.unwrap_or_else(|| "no result".to_owned());
            return Err(VerifyError::NotTraced { index: tx.index, detail: said });
        };
        let mut frames = Vec::new();
        // An explicit stack: depth is the sender's choice.
        let mut todo = vec![(top, Vec::new(), false)];
        while let Some((frame, trace_address, above)) = todo.pop() {
            let reverted = above || frame.error.is_some();
            for (place, child) in frame.calls.into_iter().enumerate().rev() {
                let mut path = trace_address.clone();
                path.push(place as u32);
                todo.push((child, path, reverted));
            }
            frames.push(Frame {
                trace_address,
                kind: match frame.kind.as_str() {
                    "CALL" => FrameKind::Call,
                    "CREATE" | "CREATE2" => FrameKind::Create,
                    "SELFDESTRUCT" => FrameKind::SelfDestruct,
                    _ => FrameKind::NoValue,
                },
                from: frame.from,
                to: frame.to,
                value: frame.value.unwrap_or_default(),
                reverted,
            });
        }
        all.push(frames);
    }
    Ok(all)
}

fn flat(
    traces: Vec<FlatTrace>,
    block: B256,
    transactions: &[VerifiedTransaction],
) -> Result<Vec<Vec<Frame>>, VerifyError> {
    let mut all: Vec<Vec<Frame>> = vec![Vec::new(); transactions.len()];
    let mut at = 0;
    // Depth of each frame above the present one, and whether it was undone: frames come top down, depth first.
    let mut above: Vec<(usize, bool)> = Vec::new();
    for trace in traces {
        // Asked for by number, since nodes differ on hashes there: it may be of another fork.
        if trace.block_hash.is_some_and(|hash| hash != block) {
            return Err(refused(None, "traces of another block", block.to_string()));
        }
        // A block reward belongs to no transaction.
        let Some(hash) = trace.transaction_hash else { continue };
        while transactions.get(at).is_some_and(|tx| tx.hash != hash) {
            at += 1;
        }
        let Some(frames) = all.get_mut(at) else {
            return Err(refused(None, format!("a trace of {hash}"), "traces in the order of the transactions"));
        };
        let action = trace.action;
        let (kind, from, to, value) = match (trace.kind.as_str(), action.call_type.as_deref()) {
            ("call", Some("call") | None) => (FrameKind::Call, action.from, action.to, action.value),
            ("call", Some(_)) => (FrameKind::NoValue, action.from, action.to, action.value),
            ("create", _) => (FrameKind::Create, action.from, trace.result.and_then(|r| r.address), action.value),
            ("suicide", _) => (FrameKind::SelfDestruct, action.address, action.refund_address, action.balance),
            (other, _) => return Err(refused(Some(at as u64), format!("a trace of type {other}"), "a known type")),
        };
        let Some(from) = from else { return Err(refused(Some(at as u64), "a frame without from", "an address")) };
        let depth = trace.trace_address.len();
        while above.last().is_some_and(|(known, _)| *known >= depth) {
            above.pop();
        }
        let undone = above.last().is_some_and(|(_, undone)| *undone) || trace.error.is_some();
        above.push((depth, undone));
        frames.push(Frame {
            trace_address: trace.trace_address,
            kind,
            from,
            to,
            value: value.unwrap_or_default(),
            reverted: undone,
        });
    }
    Ok(all)
}

fn check_top(tx: &VerifiedTransaction, top: Option<&Frame>) -> Result<(), VerifyError> {
    let at = Some(tx.index);
    let Some(top) = top.filter(|f| f.trace_address.is_empty()) else {
        return Err(refused(at, "no top frame", "one for each transaction"));
    };
    if top.from != tx.signer || top.value != tx.value {
        let found = format!("top frame from {} with {} wei", top.from, top.value);
        return Err(refused(at, found, format!("{} with {} wei", tx.signer, tx.value)));
    }
    let recipient = tx.to.unwrap_or_else(|| tx.signer.create(tx.nonce));
    if top.to.is_some_and(|to| to != recipient) || (top.to.is_none() && tx.to.is_some()) {
        return Err(refused(at, format!("top frame to {:?}", top.to), recipient.to_string()));
    }
    match tx.success {
        Some(success) if success == top.reverted => {
            let said = |failed: bool| if failed { "a failed top frame" } else { "a top frame that did not fail" };
            Err(refused(at, said(top.reverted), said(!success)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_1024_deep_are_read_and_anything_deeper_is_refused() {
        let nest = |levels: usize| {
            let zero = Address::ZERO;
            let open = format!(r#"{{"type":"CALL","from":"{zero}","to":"{zero}","value":"0x1","calls":["#);
            format!("[{{\"result\":{}{}}}]", open.repeat(levels), "]}".repeat(levels))
        };
        assert!(matches!(Traces::parse(&nest(1024)), Ok(Traces::Nested(_))));
        let refused = Traces::parse(&nest(100_000)).unwrap_err();
        assert_eq!(refused.detail, "nested deeper than calls can be");
    }

    #[test]
    fn brackets_inside_strings_do_not_count_as_depth() {
        assert_eq!(json_depth(r#"["[[[\"[[[", {"a": "}"}]"#), 2);
    }
}
