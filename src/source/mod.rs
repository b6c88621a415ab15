//! Where blocks come from: endpoints that nobody has to trust, and archives of what they once answered. The only room that
//! knows alloy's providers and transports. Answers leave it as they came; whether they are true is for `chain` to say.

pub mod archive;
mod call;
mod endpoint;
mod pool;
mod token;

use serde_json::value::RawValue;

use crate::chain::VerifyError;

pub use call::CallError;
pub use pool::{Head, Pool, PoolOptions, Tags};

/// What no setting may bring into a log: spans of the HTTP transport bear whole URLs, and with them keys.
pub const NEVER_LOGGED: &str = "alloy_transport_http=off";

/// Left out of the usual log: a library's word that a socket died and is not tried again is not ours, another connection is made.
pub const SELDOM_LOGGED: &str = "alloy_pubsub=off,alloy_transport_ws=off";

/// A block as it was answered, with the name of who answered.
#[derive(Debug, Clone)]
pub struct RawBundle {
    /// `eth_getBlockByHash` with full transactions.
    pub block: Box<RawValue>,
    /// `eth_getBlockReceipts`.
    pub receipts: Box<RawValue>,
    /// `debug_traceBlockByHash` with callTracer, or `trace_block`.
    pub traces: Option<Box<RawValue>>,
    /// Host of the endpoint, or name of the archive file.
    pub endpoint: String,
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
    #[error("block {block} could not be proven: {host}: {reason}")]
    Unproven {
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
    /// Traces are required and no endpoint has them.
    #[error("there are no traces to be had (debug_traceBlockByHash or trace_block), which --traces require asks for")]
    NoTraces,
    /// An address that is no URL or path of an endpoint.
    #[error("{0}")]
    BadUrl(String),
    /// An archive cannot be read.
    #[error("{0}")]
    Archive(String),
}

impl SourceError {
    /// Whether it may be another time: then what was asked for is asked for again.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::WrongChain { .. } | Self::NoTraces | Self::BadUrl(_) | Self::Archive(_))
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
