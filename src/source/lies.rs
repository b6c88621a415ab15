//! Answers that cannot be true, kept with enough to hold them against whoever gave them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use alloy::consensus::Header;
use alloy::primitives::{B256, Keccak256, U64};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::{ProofError, RawBundle, lock, unix_now};
use crate::chain::canonical::Link;
use crate::chain::fork::{name_unknown_members, unknown_members};
use crate::chain::rlp::{RlpBlock, RlpReceipts};
use crate::chain::{BundleError, Part, RawBlock, VerifyError, check_storable};

/// Warnings of one kind of an endpoint are at least that far apart; what happens between them is counted.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);
/// Lies that wait to be taken; what comes on top of that is counted.
const MOST: usize = 1000;

/// An answer that did not fit what it must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lie {
    /// Host of the endpoint.
    pub host: String,
    /// When, in unix seconds.
    pub at: i64,
    /// Number of the block, where it was known.
    pub number: Option<u64>,
    /// Hash of the block that was asked for, where one was.
    pub hash: Option<B256>,
    /// Methods and parameters, without the URL.
    pub request: String,
    /// keccak256 of the answer's `result` as it came; of a block: of its `block`, `receipts` and, where that is what was refused,
    /// `traces`, one after the other; of raw methods: of the bytes that their hex stands for.
    pub answer_keccak: B256,
    /// Its length in bytes.
    pub answer_bytes: u64,
    /// What did not fit.
    pub reason: String,
}

/// Lies until they are taken.
#[derive(Debug, Default)]
pub(super) struct Lies {
    kept: Mutex<(Vec<Lie>, u64)>,
}

impl Lies {
    pub(super) fn push(&self, lie: Lie) {
        let mut kept = lock(&self.kept);
        if kept.0.len() < MOST {
            kept.0.push(lie);
        } else {
            kept.1 += 1;
        }
    }

    /// Those kept, and how many came on top.
    pub(super) fn take(&self) -> (Vec<Lie>, u64) {
        std::mem::take(&mut *lock(&self.kept))
    }
}

/// What was asked, and the answer's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) request: String,
    pub(super) number: Option<u64>,
    pub(super) hash: Option<B256>,
    pub(super) keccak: B256,
    pub(super) bytes: u64,
    /// Host of the endpoint that gave the traces, where those are what was refused and they came from another one.
    pub(super) traces_from: Option<String>,
}

/// Why an endpoint's answer was of no use.
#[derive(Debug)]
pub(super) enum Miss {
    /// There was none.
    Call(CallError),
    /// It cannot be true.
    Proof(ProofError, Box<Evidence>),
}

impl From<CallError> for Miss {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

fn fingerprint(answers: &[&[u8]]) -> (B256, u64) {
    let mut hasher = Keccak256::new();
    let mut bytes = 0;
    for answer in answers {
        hasher.update(answer);
        bytes += answer.len() as u64;
    }
    (hasher.finalize(), bytes)
}

/// The bytes of a block that was answered in RLP.
fn raw_answers<'a>(block: &'a RlpBlock, receipts: &'a RlpReceipts) -> Vec<&'a [u8]> {
    let mut answers: Vec<&[u8]> = match block {
        RlpBlock::Whole(block) => vec![block],
        RlpBlock::Parts { header, body } => vec![header, body],
    };
    match receipts {
        RlpReceipts::List(list) | RlpReceipts::Slim(list) => answers.push(list),
        RlpReceipts::Each(each) => answers.extend(each.iter().map(|receipt| &receipt[..])),
    }
    answers
}

/// A block that was refused.
pub(super) fn refused_bundle(
    raw: &RawBundle,
    number: u64,
    hash: B256,
    reason: ProofError,
    traces_from: Option<String>,
) -> Miss {
    let of_traces = reason.is_of_traces();
    let (mut answers, methods): (Vec<&[u8]>, _) = match &raw.block {
        RawBlock::Json { block, receipts } => (
            vec![block, receipts],
            [format!("eth_getBlockByHash [\"{hash}\",true]"), "eth_getBlockReceipts".to_owned()],
        ),
        RawBlock::Rlp { block, receipts } => (
            raw_answers(block, receipts),
            [format!("debug_getRawBlock [\"{hash}\"]"), "debug_getRawReceipts".to_owned()],
        ),
    };
    answers.extend(raw.traces.as_deref().filter(|_| of_traces).map(|traces| traces.get().as_bytes()));
    let (keccak, bytes) = fingerprint(&answers);
    let [of_block, of_receipts] = methods;
    let request = format!("{of_block} + {of_receipts} [\"{hash}\"]");
    let traces_from = traces_from.filter(|_| of_traces);
    Miss::Proof(
        reason,
        Box::new(Evidence { request, number: Some(number), hash: Some(hash), keccak, bytes, traces_from }),
    )
}

/// What a header was asked by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// A tag such as `latest`.
    Tag(&'a str),
    Number(u64),
    Hash(B256),
}

impl Asked<'_> {
    fn request(self) -> String {
        match self {
            Self::Tag(tag) => format!("eth_getBlockByNumber [\"{tag}\",false]"),
            Self::Number(number) => format!("eth_getBlockByNumber [\"{number:#x}\",false]"),
            Self::Hash(hash) => format!("eth_getBlockByHash [\"{hash}\",false]"),
        }
    }
}

/// A header's place in the chain, if it is the one that was asked for and hashes to its hash (unless `trust`) and is the one of
/// a checkpoint, where it is of a checkpoint's number.
pub(super) fn read_link(
    raw: &RawValue,
    asked: Asked<'_>,
    trust: bool,
    checkpoints: &[(u64, B256)],
) -> Result<Link, Miss> {
    let claim = link_of(raw, asked, trust, checkpoints);
    claim.map_err(|reason| {
        let (keccak, bytes) = fingerprint(&[raw.get().as_bytes()]);
        let (number, hash) = match asked {
            Asked::Tag(_) => (None, None),
            Asked::Number(number) => (Some(number), None),
            Asked::Hash(hash) => (None, Some(hash)),
        };
        Miss::Proof(
            reason,
            Box::new(Evidence { request: asked.request(), number, hash, keccak, bytes, traces_from: None }),
        )
    })
}

fn link_of(raw: &RawValue, asked: Asked<'_>, trust: bool, checkpoints: &[(u64, B256)]) -> Result<Link, ProofError> {
    #[derive(Deserialize)]
    struct Hashed {
        hash: B256,
        number: U64,
        #[serde(rename = "parentHash")]
        parent_hash: B256,
    }
    let unreadable = |error: serde_json::Error| BundleError { what: "block", detail: error.to_string() };
    let claimed: Hashed = serde_json::from_str(raw.get()).map_err(unreadable)?;
    let link = Link { number: claimed.number.to(), hash: claimed.hash, parent_hash: claimed.parent_hash };
    check_storable(link.number, 0)?;
    if !trust {
        let header: Header = serde_json::from_str(raw.get()).map_err(unreadable)?;
        same(Part::HeaderHash, link.hash, header.hash_slow()).map_err(|error| match error {
            ProofError::Refused(error) => {
                ProofError::Refused(name_unknown_members(error, &unknown_members(raw.get().as_bytes())))
            }
            other => other,
        })?;
    }
    match asked {
        Asked::Tag(_) => {}
        Asked::Number(number) => same(Part::BlockNumber, link.number, number)?,
        Asked::Hash(hash) => same(Part::BlockHash, link.hash, hash)?,
    }
    anchored(link.number, link.hash, checkpoints)?;
    Ok(link)
}

/// The hash is that of the checkpoint of that number, where there is one.
pub(super) fn anchored(number: u64, hash: B256, checkpoints: &[(u64, B256)]) -> Result<(), ProofError> {
    match checkpoints.iter().find(|(at, _)| *at == number) {
        Some((_, expected)) => same(Part::Checkpoint, hash, *expected),
        None => Ok(()),
    }
}

fn same<T: PartialEq + Copy + std::fmt::Display>(part: Part, found: T, expected: T) -> Result<(), ProofError> {
    if found == expected {
        return Ok(());
    }
    Err(VerifyError::Mismatch { part, index: None, found: found.to_string(), expected: expected.to_string() }.into())
}

impl Endpoint {
    /// Keeps and says what went wrong with `what`, asked for at `asked`; a lie is kept as such, and benches.
    pub(super) fn note_miss(&self, miss: &Miss, what: &str, asked: Instant) {
        let host = &self.host;
        match miss {
            Miss::Call(CallError::NotFound) => tracing::debug!(%host, what, "endpoint does not have it (yet)"),
            // Said where it was found.
            Miss::Call(CallError::WrongCheckpoint { .. }) => {}
            Miss::Call(error) => {
                match self.to_be_warned("failed") {
                    Some(0) => tracing::warn!(%host, what, %error, "endpoint failed"),
                    Some(more) => {
                        tracing::warn!(%host, what, %error, more, "endpoint failed, and before that again and again");
                    }
                    None => tracing::debug!(%host, what, %error, "endpoint failed"),
                }
                self.note_error(error.to_string());
            }
            // It says itself that it has none.
            Miss::Proof(reason @ ProofError::Refused(VerifyError::NotTraced(_)), _) => {
                tracing::debug!(%host, what, %reason, "no traces of this block from here");
                self.note_error(format!("block {what}: {reason}"));
            }
            Miss::Proof(reason, evidence) => {
                let liar = evidence.traces_from.as_ref().unwrap_or(host);
                let next = if self.shared.is_alone { "" } else { ": asking another" };
                match self.to_be_warned("refused") {
                    Some(0) => tracing::warn!(host = %liar, what, %reason, "endpoint gave what cannot be proven{next}"),
                    Some(more) => {
                        tracing::warn!(host = %liar, what, %reason, more, "endpoint goes on giving what cannot be proven{next}");
                    }
                    None => tracing::debug!(host = %liar, what, %reason, "endpoint gave what cannot be proven{next}"),
                }
                if liar == host {
                    self.note_error(format!("block {what}: {reason}"));
                }
                // What this build cannot prove is nobody's lie.
                if reason.is_unknown_fork() {
                    return;
                }
                self.shared.lies.push(Lie {
                    host: liar.clone(),
                    at: unix_now(),
                    number: evidence.number,
                    hash: evidence.hash,
                    request: evidence.request.clone(),
                    answer_keccak: evidence.keccak,
                    answer_bytes: evidence.bytes,
                    reason: reason.to_string(),
                });
                if evidence.traces_from.is_none() {
                    lock(&self.health).lied(asked, Instant::now());
                }
            }
        }
    }

    /// Whether to warn of something of that kind now, and how often it happened since the last warning: one in a while is enough.
    pub(super) fn to_be_warned(&self, kind: &'static str) -> Option<u64> {
        let (mut warned, now) = (lock(&self.warned), Instant::now());
        match warned.get_mut(kind) {
            Some((last, unsaid)) if now.saturating_duration_since(*last) < BETWEEN_WARNINGS => {
                *unsaid += 1;
                None
            }
            _ => Some(warned.insert(kind, (now, 0)).map_or(0, |(_, unsaid)| unsaid)),
        }
    }

    /// Keeps a failure for `status`.
    pub(super) fn note_error(&self, error: String) {
        *lock(&self.last_error) = Some((error, unix_now(), false));
    }

    /// The last failure since this was last asked.
    pub(super) fn take_error(&self) -> Option<(String, i64)> {
        let mut slot = lock(&self.last_error);
        let (error, at, taken) = slot.as_mut()?;
        (!std::mem::replace(taken, true)).then(|| (error.clone(), *at))
    }

    /// The last failure ever.
    pub(super) fn last_error(&self) -> Option<(String, i64)> {
        lock(&self.last_error).as_ref().map(|(error, at, _)| (error.clone(), *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_are_bounded_and_what_is_dropped_is_counted() {
        let lies = Lies::default();
        let lie = Lie {
            host: "h".into(),
            at: 1,
            number: Some(1),
            hash: None,
            request: "r".into(),
            answer_keccak: B256::ZERO,
            answer_bytes: 2,
            reason: "x".into(),
        };
        for _ in 0..MOST + 7 {
            lies.push(lie.clone());
        }
        let (kept, dropped) = lies.take();
        assert_eq!((kept.len(), dropped), (MOST, 7));
        assert_eq!(lies.take(), (Vec::new(), 0));
    }

    #[test]
    fn a_header_that_is_not_the_one_of_the_checkpoint_is_refused_with_its_fingerprint() {
        let header = Header { number: 5, ..Header::default() };
        let hash = header.hash_slow();
        let mut json = serde_json::to_value(&header).unwrap();
        json["hash"] = serde_json::json!(hash);
        let raw = RawValue::from_string(json.to_string()).unwrap();
        let other = B256::repeat_byte(7);
        assert!(read_link(&raw, Asked::Number(5), false, &[(5, hash), (6, other)]).is_ok());
        let wrong = |asked, checkpoints: &[(u64, B256)]| match read_link(&raw, asked, false, checkpoints) {
            Err(Miss::Proof(reason, evidence)) => {
                assert_eq!(evidence.keccak, alloy::primitives::keccak256(raw.get()));
                (reason.to_string(), evidence.request)
            }
            _ => panic!("taken"),
        };
        let (reason, request) = wrong(Asked::Number(5), &[(5, other)]);
        assert!(reason.starts_with("checkpoint does not fit"), "{reason}");
        assert_eq!(request, "eth_getBlockByNumber [\"0x5\",false]");
        assert!(wrong(Asked::Number(6), &[]).0.starts_with("block number"));
        assert!(wrong(Asked::Hash(other), &[]).0.starts_with("block hash"));
    }
}
