//! Where blocks come from: endpoints that nobody has to trust, and archives of what they once answered; and list files by URL. The only
//! room that knows alloy's providers and transports. Answers leave it as they came; whether they are true is for `chain` to say.

mod ability;
mod answer;
pub mod archive;
mod bell;
mod block_time;
mod bundles;
mod call;
mod capability;
mod choice;
mod doubt;
mod download;
mod endpoint;
mod fetch;
mod filtered;
mod finality;
mod heads;
mod health;
mod http;
mod lies;
mod pace;
mod pauses;
mod pool;
mod pulse;
mod quorum;
mod race;
mod ranges;
mod raw;
mod receipts;
mod socket;
mod state;
mod token;
mod traces;
mod unmask;
mod voters;
mod with_traces;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{B256, Bytes};
use serde_json::value::RawValue;

use crate::chain::fork::is_ethereum;
use crate::chain::{Part, RawBlock, VerifyError};

pub use block_time::{BlockTime, PickedBlock};
pub use call::CallError;
pub use doubt::FAR;
pub use download::{DownloadError, Fetched, FetchedFile, Wanted, check_list_url, download, shown_host};
pub use filtered::{Filter, Found};
pub use finality::{FINAL_DEPTH, FinalityVote, SAFE_DEPTH, Tags};
pub use lies::Lie;
pub use pool::{EndpointOptions, Head, Pool, PoolOptions};
pub use state::{EndpointState, Problem};

/// Bytes of one answer, unless it is said otherwise.
pub const DEFAULT_MAX_ANSWER: u64 = 256 << 20;

/// What no setting may bring into a log: spans of the HTTP transport bear whole URLs, and with them keys.
pub const NEVER_LOGGED: &str = "alloy_transport_http=off";

/// Left out of the usual log: a library's word that a socket died and is not tried again is not ours, another connection is made.
pub const SELDOM_LOGGED: &str = "alloy_pubsub=off";

/// A block as it was answered, with the name of who answered.
#[derive(Debug, Clone)]
pub struct RawBundle {
    /// The block with its receipts.
    pub block: RawBlock,
    /// `debug_traceBlockByHash` with callTracer, or `trace_block`.
    pub traces: Option<Box<RawValue>>,
    /// Host of the endpoint, or name of the archive file.
    pub endpoint: String,
    /// Why there are no traces, or not those of every transaction, where somebody may have them later. With none, traces have to be
    /// whole or are not expected at all.
    pub no_traces: Option<NoTraces>,
}

impl RawBundle {
    /// What an endpoint or archive of that name answered.
    pub fn new(block: RawBlock, traces: Option<Box<RawValue>>, endpoint: &str) -> Self {
        Self { block, traces, endpoint: endpoint.to_owned(), no_traces: None }
    }
}

/// Why a block comes without all of its traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTraces {
    /// What the last endpoint said.
    pub detail: String,
    /// Every endpoint that has traces says that it no longer has the state of the block: asking again soon is of no use.
    pub pruned: bool,
}

/// Whether traces are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceMode {
    /// Where an endpoint has them.
    #[default]
    Auto,
    /// A block without them is not taken.
    Require,
    /// Never asked for.
    Off,
}

/// Why no block came.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No endpoint answered.
    #[error("no endpoint can be reached: {0}")]
    Unreachable(String),
    /// Every endpoint is reached and refuses: the URL or its key is wrong.
    #[error("every endpoint refuses: {0}")]
    Refused(String),
    /// An endpoint is of another chain.
    #[error("{host} is of chain {found}, not of chain {expected}")]
    WrongChain {
        /// Host of the endpoint.
        host: String,
        /// What it says.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// Every endpoint that answered gave something that cannot be the block.
    #[error("block {block} could not be proven: {host}: {reason}{}", .reason.advice(*.rules_of))]
    Unproven {
        /// The chain whose rules it was held against; none where endpoints are taken at their word.
        rules_of: Option<u64>,
        /// Number or hash of the block.
        block: String,
        /// Who answered last.
        host: String,
        /// What did not fit.
        reason: Box<ProofError>,
    },
    /// No endpoint knows the block.
    #[error("no endpoint has block {0}")]
    Unknown(String),
    /// Too few endpoints have the same block at a height.
    #[error("block {number}: fewer than {wanted} endpoints agree ({})", show_votes(.votes))]
    NoQuorum {
        /// The height.
        number: u64,
        /// How many must agree.
        wanted: usize,
        /// Each hash with the hosts that have it there.
        votes: Vec<(B256, Vec<String>)>,
    },
    /// Traces are required and no endpoint has them.
    #[error("there are no traces to be had (debug_traceBlockByHash or trace_block), which --traces require asks for")]
    NoTraces,
    /// A filter needs to know which blocks are final.
    #[error(
        "which block is final is not known: the endpoints do not agree on it, or cannot tell. --filtered passes over final blocks only: try \
         again, leave out the endpoint that is wrong (`bolo endpoints` shows what each has), or replay without --filtered"
    )]
    NoFinality,
    /// `trace_filter` is needed and no endpoint has it.
    #[error("no endpoint has trace_filter, which --filtered with --traces require asks for")]
    NoTraceFilter,
    /// A single block that no endpoint could look through for addresses.
    #[error(
        "block {block} could not be looked through by filter: {reason}; stopped, nothing after it was taken (without --filtered it is \
         read whole)"
    )]
    NotFiltered {
        /// Number of the block.
        block: u64,
        /// What was answered last.
        reason: String,
    },
    /// An address that is no URL or path of an endpoint.
    #[error("{0}")]
    BadUrl(String),
    /// An archive cannot be read.
    #[error("{0}")]
    Archive(String),
}

impl SourceError {
    /// Whether the block has something that this build does not know, so that only an update helps.
    pub fn is_unknown_fork(&self) -> bool {
        matches!(self, Self::Unproven { reason, .. } if reason.is_unknown_fork())
    }

    /// Whether it may be another time: then what was asked for is asked for again.
    pub fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::WrongChain { .. } | Self::NoTraces | Self::NoTraceFilter | Self::BadUrl(_) | Self::Archive(_)
        )
    }
}

/// Why an answer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] crate::chain::BundleError),
    /// It does not fit.
    #[error(transparent)]
    Refused(#[from] VerifyError),
}

impl From<crate::chain::lean::TakeError> for ProofError {
    fn from(error: crate::chain::lean::TakeError) -> Self {
        match error {
            crate::chain::lean::TakeError::Unreadable(error) => Self::Unreadable(error),
            crate::chain::lean::TakeError::Refused(error) => Self::Refused(error),
        }
    }
}

impl ProofError {
    /// Whether it is only that there are too few or too many receipts: the block without them may be good.
    pub fn is_of_receipts(&self) -> bool {
        match self {
            Self::Refused(VerifyError::Mismatch { part, .. }) => *part == Part::ReceiptCount,
            Self::Unreadable(_) | Self::Refused(_) => false,
        }
    }

    /// Whether the block has something that this build does not know.
    pub fn is_unknown_fork(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_unknown_fork())
    }

    /// What to do where the chain's blocks may not be hashed as Ethereum's are. Of an Ethereum chain a wrong root is a false answer, and
    /// to trust it would be the worst thing to do.
    fn advice(&self, rules_of: Option<u64>) -> &'static str {
        let Some(chain_id) = rules_of else { return "" };
        let foreign = match self {
            Self::Unreadable(error) if error.what == "block" => true,
            Self::Refused(VerifyError::Mismatch { part: Part::HeaderHash, .. }) => true,
            Self::Unreadable(error) => error.what != "traces" && !is_ethereum(chain_id),
            Self::Refused(VerifyError::Mismatch { part, .. }) => part.follows_rules() && !is_ethereum(chain_id),
            Self::Refused(VerifyError::Malformed { .. }) => !is_ethereum(chain_id),
            Self::Refused(_) => false,
        };
        if foreign {
            "; a chain whose blocks cannot be proven is read with --trust-rpc, at the endpoint's word"
        } else {
            ""
        }
    }

    /// Whether the receipts are no list, or not as many as there are transactions: asked for one by one they may be good.
    pub fn is_short_of_receipts(&self) -> bool {
        self.is_of_receipts() || matches!(self, Self::Unreadable(error) if error.what == "receipts")
    }

    /// Whether it is only the traces that were refused: the block itself may be good.
    pub fn is_of_traces(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.what == "traces",
            Self::Refused(VerifyError::Mismatch { part, .. }) => *part == Part::Traces,
            Self::Refused(VerifyError::NotTraced(_)) => true,
            Self::Refused(_) => false,
        }
    }
}

fn show_votes(votes: &[(B256, Vec<String>)]) -> String {
    if votes.is_empty() {
        return "none answered".to_owned();
    }
    votes.iter().map(|(hash, hosts)| format!("{hash}: {}", hosts.join(", "))).collect::<Vec<_>>().join("; ")
}

/// The bytes of an answer, which are not copied.
fn bytes_of(answer: Box<RawValue>) -> Bytes {
    String::from(Box::<str>::from(answer)).into_bytes().into()
}

/// A lock that a panic elsewhere does not take away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix seconds.
fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// A number from 0 to 1000 that spreads pauses, so that many clients do not come back at once.
fn chance() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos()) / 1000 % 1001
}
