//! Why an answer is not the block that was asked for: what was compared, what was found, what was expected.

use super::traces::MissingTrace;

/// Which claim did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as in the specification")]
pub enum Part {
    BlockHash,
    BlockNumber,
    HeaderHash,
    ParentHash,
    TransactionsRoot,
    ReceiptsRoot,
    WithdrawalsRoot,
    OmmersHash,
    LogsBloom,
    ChainId,
    ReceiptCount,
    ReceiptType,
    GasUsed,
    LogPosition,
    Position,
    Timestamp,
    Traces,
    Checkpoint,
    FinalizedBlock,
}

impl Part {
    /// Whether it is computed by rules that another chain may have changed.
    pub fn follows_rules(self) -> bool {
        match self {
            Self::HeaderHash
            | Self::TransactionsRoot
            | Self::ReceiptsRoot
            | Self::WithdrawalsRoot
            | Self::OmmersHash
            | Self::LogsBloom
            | Self::ChainId
            | Self::ReceiptCount
            | Self::ReceiptType
            | Self::GasUsed => true,
            Self::BlockHash
            | Self::BlockNumber
            | Self::ParentHash
            | Self::LogPosition
            | Self::Position
            | Self::Timestamp
            | Self::Traces
            | Self::Checkpoint
            | Self::FinalizedBlock => false,
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BlockHash => "block hash",
            Self::BlockNumber => "block number",
            Self::HeaderHash => "header hash",
            Self::ParentHash => "parent hash",
            Self::TransactionsRoot => "transactions root",
            Self::ReceiptsRoot => "receipts root",
            Self::WithdrawalsRoot => "withdrawals root",
            Self::OmmersHash => "ommers hash",
            Self::LogsBloom => "logs bloom",
            Self::ChainId => "chain id",
            Self::ReceiptCount => "number of receipts",
            Self::ReceiptType => "receipt type",
            Self::GasUsed => "gas used",
            Self::LogPosition => "position of a log",
            Self::Position => "position of a transaction",
            Self::Timestamp => "timestamp",
            Self::Traces => "traces",
            Self::Checkpoint => "checkpoint",
            Self::FinalizedBlock => "finalized block",
        })
    }
}

/// Why an answer is not the block that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A claim does not fit what it should equal.
    #[error("{part} does not fit{}: found {found}, expected {expected}", at(*index))]
    Mismatch {
        /// What was compared.
        part: Part,
        /// Index of the transaction, where it belongs to one.
        index: Option<u64>,
        /// What the answer says.
        found: String,
        /// What was computed or asked for.
        expected: String,
    },
    /// A transaction type that this build cannot encode, hence not prove.
    #[error(
        "transaction {index} is of unknown type {tx_type:#x}, which this build cannot prove: update bolo, or take the endpoint's word \
         with --trust-rpc"
    )]
    UnknownTransactionType {
        /// Index of the transaction.
        index: u64,
        /// The type byte.
        tx_type: u64,
    },
    /// The header does not hash to the block's hash, and has fields that this build does not know: of a newer fork, or of a chain whose
    /// blocks are hashed otherwise.
    #[error(
        "the header has fields that this build does not know ({fields}), and does not hash to the block's hash without them: update \
         bolo, or take the endpoint's word with --trust-rpc"
    )]
    UnknownHeaderFields {
        /// Their names, or how many there are where the encoding names none.
        fields: String,
    },
    /// The endpoint could not trace some transactions (a time-out, no state that old), which contradicts nothing.
    #[error("{}", not_traced(.0))]
    NotTraced(Vec<MissingTrace>),
    /// Something a transaction or receipt of its type must have is not there or out of range.
    #[error("transaction {index}: {detail}")]
    Malformed {
        /// Index of the transaction.
        index: u64,
        /// What is wrong with it.
        detail: String,
    },
}

fn not_traced(missing: &[MissingTrace]) -> String {
    let Some(first) = missing.first() else { return "no transaction could be traced".to_owned() };
    let others = match missing.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more transactions)"),
    };
    format!("transaction {} could not be traced: {}{others}", first.index, first.detail)
}

impl VerifyError {
    /// Whether the block has something that this build does not know: it is nobody's false answer.
    pub fn is_unknown_fork(&self) -> bool {
        matches!(self, Self::UnknownTransactionType { .. } | Self::UnknownHeaderFields { .. })
    }
}

fn at(index: Option<u64>) -> String {
    index.map(|i| format!(" at transaction {i}")).unwrap_or_default()
}

pub(super) fn mismatch(
    part: Part,
    index: Option<u64>,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> VerifyError {
    VerifyError::Mismatch { part, index, found: found.to_string(), expected: expected.to_string() }
}

/// `found` must equal `expected`.
pub(super) fn same<T: PartialEq + std::fmt::Display>(
    part: Part,
    index: Option<u64>,
    found: T,
    expected: T,
) -> Result<(), VerifyError> {
    if found == expected { Ok(()) } else { Err(mismatch(part, index, found, expected)) }
}

/// Where the node states it, `found` must equal `expected`.
pub(super) fn same_if_stated<T: PartialEq + std::fmt::Display>(
    part: Part,
    index: Option<u64>,
    found: Option<T>,
    expected: T,
) -> Result<(), VerifyError> {
    found.map_or(Ok(()), |found| same(part, index, found, expected))
}
