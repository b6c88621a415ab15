//! What an endpoint can do wrong, one kind at a time: which answers it touches, and what bolo has to make of it.

use serde_json::Value;

/// A kind of fault. Sins of data change what is said, those of transport how it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Sin {
    // Receipts and logs.
    DropFirstLog,
    DropLastLog,
    DropLogAndMendBloom,
    DropLogsAndZeroBlooms,
    DropReceipt,
    DropLastReceipts,
    EmptyReceipts,
    SwapReceipts,
    SwapLogs,
    SwapContentsOfLogs,
    DoubleLogIndex,
    FlipTopic,
    FlipTopicAndMendBloom,
    FlipLogData,
    FlipLogAddress,
    MarkLogRemoved,
    LogOfAnotherBlock,
    FlipStatus,
    RaiseCumulativeGas,
    RaiseGasThroughout,
    RaiseGasPrice,
    OtherReceiptType,
    OtherRecipient,
    OtherCreatedContract,
    ReceiptsOfAnotherBlock,
    ReceiptsWithoutLogs,
    // Blocks and transactions.
    FlipValue,
    FlipInput,
    FlipSignature,
    WrongFrom,
    WrongFromInBoth,
    UnknownTransactionType,
    DropTransaction,
    TransactionsOfAnotherBlock,
    AddWithdrawal,
    OtherSize,
    OtherStateRoot,
    BlockOfAnotherFork,
    HeaderOfAnotherFork,
    AnotherBlock,
    HeaderThatIsNotItsHash,
    // Traces.
    TraceOfAnotherTransaction,
    OtherValueInTrace,
    // What is answered, but not with what was asked for.
    NullReceipts,
    NullBlock,
    NullHeader,
    HeaderOfAnotherNumber,
    StaleHead,
    HeadGoingBackwards,
    ErrorInside,
    ThrottledInside,
    WrongId,
    BatchWithAMissingAnswer,
    BatchShuffled,
    BatchWithWrongIds,
    BatchRefused,
    // How it is answered.
    CutBody,
    CutJson,
    EmptyBody,
    NoUtf8,
    DeepJson,
    HtmlWith200,
    HtmlWith502,
    Status429,
    Status429WithRetryAfter,
    Status500,
    Status503,
    Status504,
    Hang,
    Drip,
    HangUp,
    ResetMidBody,
    HugeBody,
}

/// What bolo is to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused, with one of these reasons; alone: exit 4.
    Data(&'static [&'static str]),
    /// A field that says something else than what is proven: nothing else comes of it, and it is counted under one of these names.
    Difference(&'static [&'static str]),
    /// Asked again, here or elsewhere; alone and lasting: exit 75.
    Transport,
    /// Nothing false is in it: it may be taken or not.
    Odd,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// The newest block.
    Head,
    /// A block without its transactions.
    Header,
    /// A block with all of them.
    Block,
    Receipts,
    /// The receipt of one transaction.
    Receipt,
    Traces,
    /// Several at once.
    Batch,
    Other,
}

impl Asked {
    pub(crate) fn of(request: &Value) -> Self {
        if request.is_array() {
            return Self::Batch;
        }
        let (first, full) = (request["params"][0].as_str().unwrap_or_default(), request["params"][1] == true);
        match request["method"].as_str().unwrap_or_default() {
            "eth_getBlockByNumber" if first == "latest" => Self::Head,
            "eth_getBlockByNumber" if !first.starts_with("0x") => Self::Other,
            "eth_getBlockByNumber" | "eth_getBlockByHash" if full => Self::Block,
            "eth_getBlockByNumber" | "eth_getBlockByHash" => Self::Header,
            "eth_getBlockReceipts" => Self::Receipts,
            "eth_getTransactionReceipt" => Self::Receipt,
            "debug_traceBlockByHash" | "debug_traceBlockByNumber" | "trace_block" => Self::Traces,
            _ => Self::Other,
        }
    }
}

use Fault::{Data, Difference, Odd, Transport};

const ROOT: Fault = Data(&["receipts root does not fit"]);
const TRANSACTIONS: Fault = Data(&["transactions root does not fit"]);
const BLOCK_HASH: Fault = Data(&["block hash does not fit"]);
const HEADER_HASH: Fault = Data(&["header hash does not fit"]);
const TRACES: Fault = Data(&["traces does not fit"]);

/// Every kind, what it touches, and what is to come of it.
#[rustfmt::skip]
const KINDS: &[(Sin, &[Asked], Fault)] = {
    use Asked::{Batch, Block, Head, Header, Receipt, Receipts, Traces};
    const RECEIPTS: &[Asked] = &[Receipts, Batch];
    const HEADERS: &[Asked] = &[Header, Block];
    // Asked for by its hash, or by its number.
    const ANOTHER: Fault = Data(&["block hash does not fit", "block number does not fit"]);
    const ANY: &[Asked] = &[Header, Block, Receipts, Receipt, Traces, Batch];
    &[
        (Sin::DropFirstLog, RECEIPTS, ROOT),
        (Sin::DropLastLog, RECEIPTS, ROOT),
        (Sin::DropLogAndMendBloom, RECEIPTS, ROOT),
        (Sin::DropLogsAndZeroBlooms, RECEIPTS, ROOT),
        (Sin::DropReceipt, RECEIPTS, Odd),
        (Sin::DropLastReceipts, RECEIPTS, Odd),
        (Sin::EmptyReceipts, RECEIPTS, Odd),
        (Sin::SwapReceipts, RECEIPTS, Difference(&["block.receipts"])),
        (Sin::SwapLogs, RECEIPTS, ROOT),
        (Sin::SwapContentsOfLogs, RECEIPTS, ROOT),
        (Sin::DoubleLogIndex, RECEIPTS, Difference(&["log.logIndex"])),
        (Sin::FlipTopic, RECEIPTS, ROOT),
        (Sin::FlipTopicAndMendBloom, RECEIPTS, ROOT),
        (Sin::FlipLogData, RECEIPTS, ROOT),
        (Sin::FlipLogAddress, RECEIPTS, ROOT),
        (Sin::MarkLogRemoved, RECEIPTS, Difference(&["log.removed"])),
        (Sin::LogOfAnotherBlock, RECEIPTS, Difference(&["log.blockHash"])),
        (Sin::FlipStatus, RECEIPTS, ROOT),
        (Sin::RaiseCumulativeGas, RECEIPTS, Difference(&["receipt.cumulativeGasUsed"])),
        (Sin::RaiseGasThroughout, RECEIPTS, ROOT),
        (Sin::RaiseGasPrice, RECEIPTS, Difference(&["receipt.effectiveGasPrice"])),
        (Sin::OtherReceiptType, RECEIPTS, Difference(&["receipt.type"])),
        (Sin::OtherRecipient, RECEIPTS, Difference(&["receipt.to"])),
        (Sin::OtherCreatedContract, RECEIPTS, Difference(&["receipt.contractAddress"])),
        (Sin::ReceiptsOfAnotherBlock, RECEIPTS, Data(&["number of receipts does not fit", "receipts root does not fit"])),
        (Sin::ReceiptsWithoutLogs, RECEIPTS, Data(&["receipts cannot be read"])),
        (Sin::FlipValue, &[Block], TRANSACTIONS),
        (Sin::FlipInput, &[Block], TRANSACTIONS),
        (Sin::FlipSignature, &[Block], TRANSACTIONS),
        (Sin::WrongFrom, &[Block], Difference(&["transaction.from"])),
        (Sin::WrongFromInBoth, &[Block, Receipts, Batch], Difference(&["transaction.from", "receipt.from"])),
        (Sin::UnknownTransactionType, &[Block], Data(&["is of unknown type 0x7d"])),
        (Sin::DropTransaction, &[Block], TRANSACTIONS),
        (Sin::TransactionsOfAnotherBlock, &[Block], TRANSACTIONS),
        (Sin::AddWithdrawal, &[Block], Difference(&["block.withdrawals"])),
        (Sin::OtherSize, &[Block], Difference(&["block.size"])),
        (Sin::OtherStateRoot, &[Block], HEADER_HASH),
        (Sin::BlockOfAnotherFork, &[Block], BLOCK_HASH),
        (Sin::AnotherBlock, &[Block], ANOTHER),
        (Sin::HeaderThatIsNotItsHash, HEADERS, HEADER_HASH),
        (Sin::TraceOfAnotherTransaction, &[Traces], TRACES),
        (Sin::OtherValueInTrace, &[Traces], TRACES),
        (Sin::NullReceipts, &[Receipts], Odd),
        (Sin::NullBlock, &[Block], Transport),
        (Sin::NullHeader, HEADERS, Transport),
        (Sin::HeaderOfAnotherNumber, HEADERS, ANOTHER),
        (Sin::HeaderOfAnotherFork, HEADERS, BLOCK_HASH),
        (Sin::StaleHead, &[Head], Odd),
        (Sin::HeadGoingBackwards, &[Head], Odd),
        (Sin::ErrorInside, ANY, Transport),
        (Sin::ThrottledInside, ANY, Transport),
        (Sin::WrongId, ANY, Odd),
        (Sin::BatchWithAMissingAnswer, &[Batch], Odd),
        (Sin::BatchShuffled, &[Batch], Odd),
        (Sin::BatchWithWrongIds, &[Batch], Odd),
        (Sin::BatchRefused, &[Batch], Odd),
        (Sin::CutBody, ANY, Transport),
        (Sin::CutJson, ANY, Transport),
        (Sin::EmptyBody, ANY, Transport),
        (Sin::NoUtf8, ANY, Transport),
        (Sin::DeepJson, ANY, Data(&["cannot be read"])),
        (Sin::HtmlWith200, ANY, Transport),
        (Sin::HtmlWith502, ANY, Transport),
        (Sin::Status429, ANY, Transport),
        (Sin::Status429WithRetryAfter, ANY, Transport),
        (Sin::Status500, ANY, Transport),
        (Sin::Status503, ANY, Transport),
        (Sin::Status504, ANY, Transport),
        (Sin::Hang, ANY, Transport),
        (Sin::Drip, ANY, Transport),
        (Sin::HangUp, ANY, Transport),
        (Sin::ResetMidBody, ANY, Transport),
        (Sin::HugeBody, &[Receipts, Batch], Odd),
    ]
};

impl Sin {
    pub(crate) fn all() -> Vec<Self> {
        KINDS.iter().map(|(sin, ..)| *sin).collect()
    }

    fn kind(self) -> &'static (Self, &'static [Asked], Fault) {
        KINDS.iter().find(|(sin, ..)| *sin == self).expect("every kind is in the table")
    }

    pub(crate) fn fault(self) -> Fault {
        self.kind().2
    }

    pub(crate) fn touches(self, asked: Asked) -> bool {
        self.kind().1.contains(&asked)
    }

    /// Only an endpoint that has no receipts of whole blocks is asked what it touches.
    pub(crate) fn needs_batches(self) -> bool {
        self.kind().1 == [Asked::Batch]
    }
}

#[test]
fn every_kind_is_in_the_table_once() {
    let all = Sin::all();
    let unique: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len());
    // The last one declared: so many were declared before it.
    assert_eq!(all.len(), Sin::HugeBody as usize + 1);
    assert!(all.len() >= 24);
}
