//! Call frames, from either of the two shapes that nodes speak, as one flat list per transaction.
//!
//! No root covers traces: they are the endpoint's word. What can be checked is checked: a trace belongs to a transaction of the
//! block, no transaction has two, its frames make one tree, its top frame is that transaction (signer, recipient, value), and it
//! failed exactly if the receipt says so. A transaction that the endpoint could not trace is missing, which is no contradiction:
//! the others keep their frames.

mod flat;
mod json;
mod nested;
mod splice;

use std::collections::HashMap;

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use self::flat::{Broken, FlatTrace};
use self::nested::{NestedFrame, NestedTrace};
use super::bundle::BundleError;
use super::error::{Part, VerifyError};
use super::verified::VerifiedTransaction;

pub use splice::{SingleTrace, splice};

/// Calls nest at most 1024 deep in the EVM; each level is an object within an array. Anything deeper is no trace.
const MAX_JSON_DEPTH: usize = 2 * 1024 + 64;

/// Whether traces say that they are of another block than that. Nodes are asked by number where they do not take hashes.
pub fn is_of_other_block(traces: &RawValue, block: B256) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        block_hash: Option<B256>,
    }
    let items: Vec<&RawValue> = serde_json::from_str(traces.get()).unwrap_or_default();
    let named = items.first().and_then(|first| json::deep::<Named>(first.get()).ok());
    named.and_then(|named| named.block_hash).is_some_and(|hash| hash != block)
}

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
    /// A type that this build does not know: whether the value that it shows moves is unknown.
    Unknown,
}

impl FrameKind {
    /// From a frame's type or call type, in whatever case. Names of [EIP-7069](https://eips.ethereum.org/EIPS/eip-7069) (`EXTCALL`)
    /// and [EIP-7620](https://eips.ethereum.org/EIPS/eip-7620) (`EOFCREATE`) do what their older namesakes do.
    fn of(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "CALL" | "EXTCALL" => Self::Call,
            "CREATE" | "CREATE2" | "EOFCREATE" => Self::Create,
            "SELFDESTRUCT" | "SUICIDE" => Self::SelfDestruct,
            "DELEGATECALL" | "CALLCODE" | "STATICCALL" | "EXTDELEGATECALL" | "EXTSTATICCALL" => Self::NoValue,
            _ => Self::Unknown,
        }
    }
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

/// A transaction without a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingTrace {
    /// Index in the block.
    pub index: u64,
    /// Transaction hash.
    pub hash: B256,
    /// Why, as far as the endpoint says.
    pub detail: String,
    /// The answer has traces that name no transaction, and its order does not tell whose they are.
    pub unordered: bool,
}

/// The frames of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockFrames {
    /// For each transaction its frames, top frame first, each before those below it; none where the trace is missing.
    pub frames: Vec<Vec<Frame>>,
    /// Transactions without a trace, in order.
    pub missing: Vec<MissingTrace>,
}

impl BlockFrames {
    /// Holds the top frame of each transaction against what is proven of it, and its sender, which may only be claimed yet.
    pub(super) fn check_tops(&self, transactions: &[VerifiedTransaction]) -> Result<(), VerifyError> {
        let is_missing = |tx: &VerifiedTransaction| self.missing.iter().any(|missing| missing.index == tx.index);
        let mut traced = transactions.iter().zip(&self.frames).filter(|(tx, _)| !is_missing(tx));
        traced.try_for_each(|(tx, frames)| check_top(tx, frames.first()))
    }
}

/// Traces of a block as answered: the items of `debug_traceBlockByHash` with callTracer (a nested frame for each transaction) or of
/// `trace_block` (a flat list over all transactions, block rewards among them).
#[derive(Debug, Clone)]
pub struct Traces(Vec<Item>);

#[derive(Debug, Clone)]
enum Item {
    Nested(NestedTrace),
    Flat(Box<FlatTrace>),
    /// One frame of a flat list that cannot be read, and of which transaction it is.
    UnreadableFrame(B256, String),
}

/// What the items say of one transaction.
#[derive(Debug, Default)]
struct Slot {
    nested: Option<NestedFrame>,
    flat: Vec<FlatTrace>,
    failed: Option<String>,
}

impl Traces {
    /// Reads either shape, told apart item by item.
    ///
    /// # Errors
    /// [`BundleError`] where it is no list, nests deeper than calls can, or has a frame of which not even the transaction can be read.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let error = |detail: String| BundleError { what: "traces", detail };
        if json::depth(text) > MAX_JSON_DEPTH {
            return Err(error("nested deeper than calls can be".into()));
        }
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| error(e.to_string()))?;
        let items = items.into_iter().map(|raw| {
            if !is_flat(raw) {
                return Ok(Item::Nested(NestedTrace::parse(raw.get())));
            }
            match FlatTrace::parse(raw.get()) {
                Ok(trace) => Ok(Item::Flat(Box::new(trace))),
                Err((Some(hash), unreadable)) => Ok(Item::UnreadableFrame(hash, unreadable)),
                Err((None, unreadable)) => Err(error(unreadable)),
            }
        });
        items.collect::<Result<_, _>>().map(Self)
    }

    /// The frames of each transaction, and which have none. Whether the top ones fit is for [`BlockFrames::check_tops`] to say.
    ///
    /// # Errors
    /// [`VerifyError`] with [`Part::Traces`] where they contradict the transactions or each other.
    pub fn frames(self, block: B256, transactions: &[VerifiedTransaction]) -> Result<BlockFrames, VerifyError> {
        let mut found = BlockFrames::default();
        let (slots, unordered) = self.by_transaction(block, transactions)?;
        for (tx, slot) in transactions.iter().zip(slots) {
            let frames = match slot.frames() {
                Err(Broken::Invalid(said)) => return Err(refused(Some(tx.index), said, "frames that make one tree")),
                Err(Broken::Incomplete(detail)) => {
                    found.missing.push(MissingTrace { index: tx.index, hash: tx.hash, detail, unordered });
                    Vec::new()
                }
                Ok(frames) => frames,
            };
            found.frames.push(frames);
        }
        Ok(found)
    }

    /// Gives each transaction its items: by hash, else by place where the items are in the order of the block. Also says whether there
    /// are items that belong to no transaction for certain.
    fn by_transaction(
        self,
        block: B256,
        transactions: &[VerifiedTransaction],
    ) -> Result<(Vec<Slot>, bool), VerifyError> {
        let places: HashMap<B256, usize> =
            transactions.iter().enumerate().map(|(place, tx)| (tx.hash, place)).collect();
        let unknown = |hash: B256| refused(None, format!("a trace of {hash}"), "traces of the block's transactions");
        let place_of = |hash: B256| places.get(&hash).copied().ok_or_else(|| unknown(hash));
        let mut slots: Vec<Slot> = std::iter::repeat_with(Slot::default).take(transactions.len()).collect();
        let count = self.0.len();
        // Items that name no transaction are in the order of the block, where there are as many and none that names one contradicts it.
        let fits = |(item, tx): (&Item, &VerifiedTransaction)| match item {
            Item::Nested(trace) => trace.hash.is_none_or(|hash| hash == tx.hash),
            Item::Flat(_) | Item::UnreadableFrame(..) => false,
        };
        let in_order = count == transactions.len() && self.0.iter().zip(transactions).all(fits);
        let mut unnamed = false;
        for (index, item) in self.0.into_iter().enumerate() {
            match item {
                Item::UnreadableFrame(hash, unreadable) => slots[place_of(hash)?].failed = Some(unreadable),
                Item::Nested(NestedTrace { hash, top }) => {
                    let place = match hash {
                        Some(hash) => place_of(hash)?,
                        None if in_order => index,
                        None => {
                            unnamed = true;
                            continue;
                        }
                    };
                    match top {
                        Ok(_) if slots[place].nested.is_some() => {
                            return Err(refused(Some(place as u64), "two traces", "one for each transaction"));
                        }
                        Ok(top) => slots[place].nested = Some(top),
                        Err(said) => slots[place].failed = Some(said),
                    }
                }
                Item::Flat(trace) => {
                    // Asked for by number, since nodes differ on hashes there: it may be of another fork.
                    if trace.block_hash.is_some_and(|hash| hash != block) {
                        return Err(refused(None, "traces of another block", block.to_string()));
                    }
                    let position = trace.position();
                    let place = match (trace.transaction_hash, position.map(usize::try_from)) {
                        (Some(hash), _) => place_of(hash)?,
                        (None, _) if trace.is_reward() => continue,
                        (None, Some(Ok(place))) if place < slots.len() => place,
                        (None, _) if !trace.has_value() => continue,
                        (None, _) => return Err(refused(None, "a frame of no transaction", "its transaction's hash")),
                    };
                    if position.is_some_and(|position| position != place as u64) {
                        let said = format!("transaction position {}", position.unwrap_or_default());
                        return Err(refused(Some(place as u64), said, place.to_string()));
                    }
                    slots[place].flat.push(*trace);
                }
            }
        }
        if unnamed {
            let why = format!("{count} traces for {} transactions, some without a hash", transactions.len());
            for slot in &mut slots {
                slot.failed.get_or_insert_with(|| why.clone());
            }
        }
        Ok((slots, unnamed))
    }
}

impl Slot {
    fn frames(self) -> Result<Vec<Frame>, Broken> {
        match (self.nested, self.flat.is_empty(), self.failed) {
            (Some(_), false, _) => Err(Broken::Invalid("two traces of one transaction".to_owned())),
            (Some(top), true, _) => Ok(top.flatten()),
            (None, false, None) => flat::frames(self.flat),
            (None, _, Some(said)) => Err(Broken::Incomplete(said)),
            (None, true, None) => Err(Broken::Incomplete("no trace of it in the answer".to_owned())),
        }
    }
}

/// Whether an item is one of a flat list: only these have an action.
fn is_flat(item: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        action: Option<IgnoredAny>,
    }
    // Few nested frames have the word: the others need no second parse.
    memchr::memmem::find(item.get().as_bytes(), b"\"action\"").is_some()
        && json::deep::<Peek>(item.get()).is_ok_and(|peek| peek.action.is_some())
}

fn refused(index: Option<u64>, found: impl Into<String>, expected: impl Into<String>) -> VerifyError {
    VerifyError::Mismatch { part: Part::Traces, index, found: found.into(), expected: expected.into() }
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
mod tests;
