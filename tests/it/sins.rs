//! What an endpoint can do wrong, one kind at a time: which answers it touches, what becomes of them, and what bolo has to say of it.

use alloy::consensus::Header;
use alloy::primitives::{Bloom, BloomInput, hex};
use serde_json::{Value, json};

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
    AnotherBlock,
    HeaderThatIsNotItsHash,
    // Traces.
    DropTrace,
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

use Fault::{Data, Odd, Transport};

const LOG_PLACE: Fault = Data(&["position of a log does not fit"]);
const BLOOM: Fault = Data(&["logs bloom does not fit"]);
const ROOT: Fault = Data(&["receipts root does not fit"]);
const COUNT: Fault = Data(&["number of receipts does not fit"]);
const SENDER: Fault = Data(&["sender does not fit"]);
const HASH: Fault = Data(&["transaction hash does not fit"]);
const TRANSACTIONS: Fault = Data(&["transactions root does not fit"]);
const BLOCK_HASH: Fault = Data(&["block hash does not fit"]);
const HEADER_HASH: Fault = Data(&["header hash does not fit"]);
const TRACES: Fault = Data(&["traces does not fit"]);

/// Every kind, what it touches, and what is to come of it.
#[rustfmt::skip]
const KINDS: &[(Sin, &[Asked], Fault)] = {
    use Asked::{Batch, Block, Head, Header, Receipt, Receipts, Traces};
    const RECEIPTS: &[Asked] = &[Receipts, Batch];
    const ANY: &[Asked] = &[Header, Block, Receipts, Receipt, Traces, Batch];
    &[
        (Sin::DropFirstLog, RECEIPTS, LOG_PLACE),
        (Sin::DropLastLog, RECEIPTS, BLOOM),
        (Sin::DropLogAndMendBloom, RECEIPTS, ROOT),
        (Sin::DropLogsAndZeroBlooms, RECEIPTS, ROOT),
        (Sin::DropReceipt, RECEIPTS, COUNT),
        (Sin::DropLastReceipts, RECEIPTS, COUNT),
        (Sin::EmptyReceipts, RECEIPTS, COUNT),
        (Sin::SwapReceipts, RECEIPTS, Data(&["order of receipts does not fit"])),
        (Sin::SwapLogs, RECEIPTS, LOG_PLACE),
        (Sin::SwapContentsOfLogs, RECEIPTS, ROOT),
        (Sin::DoubleLogIndex, RECEIPTS, LOG_PLACE),
        (Sin::FlipTopic, RECEIPTS, BLOOM),
        (Sin::FlipTopicAndMendBloom, RECEIPTS, ROOT),
        (Sin::FlipLogData, RECEIPTS, ROOT),
        (Sin::FlipLogAddress, RECEIPTS, BLOOM),
        (Sin::MarkLogRemoved, RECEIPTS, LOG_PLACE),
        (Sin::LogOfAnotherBlock, RECEIPTS, BLOCK_HASH),
        (Sin::FlipStatus, RECEIPTS, ROOT),
        (Sin::RaiseCumulativeGas, RECEIPTS, Data(&["gas used does not fit"])),
        (Sin::RaiseGasThroughout, RECEIPTS, ROOT),
        (Sin::RaiseGasPrice, RECEIPTS, Data(&["gas price does not fit"])),
        (Sin::OtherReceiptType, RECEIPTS, Data(&["receipt type does not fit"])),
        (Sin::OtherRecipient, RECEIPTS, Data(&["recipient does not fit"])),
        (Sin::OtherCreatedContract, RECEIPTS, Data(&["contract address does not fit"])),
        (Sin::ReceiptsOfAnotherBlock, RECEIPTS, Data(&["number of receipts does not fit", "order of receipts does not fit"])),
        (Sin::ReceiptsWithoutLogs, RECEIPTS, Data(&["receipts cannot be read"])),
        (Sin::FlipValue, &[Block], HASH),
        (Sin::FlipInput, &[Block], HASH),
        (Sin::FlipSignature, &[Block], HASH),
        (Sin::WrongFrom, &[Block], SENDER),
        (Sin::WrongFromInBoth, &[Block, Receipts, Batch], SENDER),
        (Sin::UnknownTransactionType, &[Block], Data(&["is of unknown type 0x7d"])),
        (Sin::DropTransaction, &[Block], TRANSACTIONS),
        (Sin::TransactionsOfAnotherBlock, &[Block], TRANSACTIONS),
        (Sin::AddWithdrawal, &[Block], Data(&["withdrawals root does not fit"])),
        (Sin::OtherSize, &[Block], Data(&["block size does not fit"])),
        (Sin::OtherStateRoot, &[Block], HEADER_HASH),
        (Sin::BlockOfAnotherFork, &[Block], BLOCK_HASH),
        (Sin::AnotherBlock, &[Block], BLOCK_HASH),
        (Sin::HeaderThatIsNotItsHash, &[Header], HEADER_HASH),
        (Sin::DropTrace, &[Traces], TRACES),
        (Sin::TraceOfAnotherTransaction, &[Traces], TRACES),
        (Sin::OtherValueInTrace, &[Traces], TRACES),
        (Sin::NullReceipts, &[Receipts], Transport),
        (Sin::NullBlock, &[Block], Transport),
        (Sin::NullHeader, &[Header], Transport),
        (Sin::HeaderOfAnotherNumber, &[Header], Transport),
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
        (Sin::DeepJson, ANY, Transport),
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
        (Sin::HugeBody, &[Receipts, Batch], Transport),
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

    /// Changes an answer; none where there is nothing in it that could be changed so. `fetch` asks the node for something else.
    pub(crate) fn twist(
        self,
        asked: Asked,
        result: &mut Value,
        fetch: &mut dyn FnMut(&str, Value) -> Option<Value>,
    ) -> Option<()> {
        match asked {
            Asked::Receipts | Asked::Batch => self.twist_receipts(result, fetch),
            Asked::Block | Asked::Header => self.twist_block(result, fetch),
            Asked::Head => self.twist_head(result, fetch),
            Asked::Traces => self.twist_traces(result),
            Asked::Receipt | Asked::Other => None,
        }
    }

    fn twist_receipts(self, result: &mut Value, fetch: &mut dyn FnMut(&str, Value) -> Option<Value>) -> Option<()> {
        let number = quantity(&result[0]["blockNumber"]);
        let list = result.as_array_mut().filter(|list| !list.is_empty())?;
        let logged = |receipt: &Value| receipt["logs"].as_array().map_or(0, Vec::len);
        match self {
            Self::DropFirstLog => {
                // Those behind it keep their places, so there must be some.
                list.iter().map(logged).sum::<usize>().checked_sub(2)?;
                list.iter_mut().find(|r| logged(r) > 0)?["logs"].as_array_mut()?.remove(0);
            }
            Self::DropLastLog => drop(list.iter_mut().rfind(|r| logged(r) > 0)?["logs"].as_array_mut()?.pop()),
            Self::DropLogAndMendBloom => {
                let receipt = list.iter_mut().rfind(|r| logged(r) > 0)?;
                receipt["logs"].as_array_mut()?.pop();
                mend_bloom(receipt)?;
            }
            Self::DropLogsAndZeroBlooms => {
                list.iter().find(|r| logged(r) > 0)?;
                for receipt in list {
                    receipt["logs"] = json!([]);
                    mend_bloom(receipt)?;
                }
            }
            Self::DropReceipt => drop(list.remove(0)),
            Self::DropLastReceipts => list.truncate(list.len() / 2),
            Self::EmptyReceipts => list.clear(),
            Self::SwapReceipts => (list.len() > 1).then(|| list.swap(0, 1))?,
            Self::SwapLogs => list.iter_mut().find(|r| logged(r) > 1)?["logs"].as_array_mut()?.swap(0, 1),
            Self::SwapContentsOfLogs => {
                let logs = list.iter_mut().find(|r| logged(r) > 1)?["logs"].as_array_mut()?;
                let (first, rest) = logs.split_first_mut()?;
                for field in ["address", "topics", "data"] {
                    std::mem::swap(&mut first[field], &mut rest[0][field]);
                }
            }
            Self::DoubleLogIndex => {
                let logs = list.iter_mut().find(|r| logged(r) > 1)?["logs"].as_array_mut()?;
                logs[1]["logIndex"] = logs[0]["logIndex"].clone();
            }
            Self::FlipTopic => flip(list.iter_mut().find(|r| logged(r) > 0)?["logs"][0]["topics"].get_mut(1)?)?,
            Self::FlipTopicAndMendBloom => {
                let receipt = list.iter_mut().find(|r| logged(r) > 0)?;
                flip(receipt["logs"][0]["topics"].get_mut(1)?)?;
                mend_bloom(receipt)?;
            }
            Self::FlipLogData => flip(&mut list.iter_mut().find(|r| logged(r) > 0)?["logs"][0]["data"])?,
            Self::FlipLogAddress => flip(&mut list.iter_mut().find(|r| logged(r) > 0)?["logs"][0]["address"])?,
            Self::MarkLogRemoved => list.iter_mut().find(|r| logged(r) > 0)?["logs"][0]["removed"] = json!(true),
            Self::LogOfAnotherBlock => flip(&mut list.iter_mut().find(|r| logged(r) > 0)?["logs"][0]["blockHash"])?,
            Self::FlipStatus => flip(&mut list[0]["status"])?,
            Self::RaiseCumulativeGas => raise(&mut list.last_mut()?["cumulativeGasUsed"])?,
            Self::RaiseGasThroughout => {
                let receipt = list.last_mut()?;
                raise(&mut receipt["cumulativeGasUsed"])?;
                raise(&mut receipt["gasUsed"])?;
            }
            Self::RaiseGasPrice => raise(&mut list[0]["effectiveGasPrice"])?,
            Self::OtherReceiptType => flip(&mut list[0]["type"])?,
            Self::OtherRecipient => flip(&mut list.iter_mut().find(|r| r["to"].is_string())?["to"])?,
            Self::OtherCreatedContract => {
                flip(&mut list.iter_mut().find(|r| r["contractAddress"].is_string())?["contractAddress"])?;
            }
            Self::WrongFromInBoth => flip(&mut list[0]["from"])?,
            Self::ReceiptsOfAnotherBlock => {
                *result = fetch("eth_getBlockReceipts", json!([format!("{:#x}", number?.checked_sub(1)?)]))?;
            }
            Self::ReceiptsWithoutLogs => drop(list[0].as_object_mut()?.remove("logs")),
            Self::NullReceipts => *result = Value::Null,
            _ => return None,
        }
        Some(())
    }

    fn twist_block(self, block: &mut Value, fetch: &mut dyn FnMut(&str, Value) -> Option<Value>) -> Option<()> {
        let number = quantity(&block["number"])?;
        let before = |full: bool| number.checked_sub(1).map(|number| json!([format!("{number:#x}"), full]));
        match self {
            Self::FlipValue => flip(&mut block["transactions"].get_mut(0)?["value"])?,
            Self::FlipInput => {
                let called = |tx: &&mut Value| tx["input"].as_str().is_some_and(|input| input.len() > 2);
                flip(&mut block["transactions"].as_array_mut()?.iter_mut().find(called)?["input"])?;
            }
            Self::FlipSignature => flip(&mut block["transactions"].get_mut(0)?["r"])?,
            Self::WrongFrom | Self::WrongFromInBoth => flip(&mut block["transactions"].get_mut(0)?["from"])?,
            Self::UnknownTransactionType => block["transactions"].get_mut(0)?["type"] = json!("0x7d"),
            Self::DropTransaction => drop(block["transactions"].as_array_mut()?.pop()?),
            Self::TransactionsOfAnotherBlock => {
                let mut others = fetch("eth_getBlockByNumber", before(true)?)?["transactions"].take();
                for tx in others.as_array_mut().filter(|others| !others.is_empty())? {
                    tx["blockHash"] = block["hash"].clone();
                    tx["blockNumber"] = block["number"].clone();
                    if tx.get("blockTimestamp").is_some() {
                        tx["blockTimestamp"] = block["timestamp"].clone();
                    }
                }
                block["transactions"] = others;
            }
            Self::AddWithdrawal => {
                let address = block["miner"].clone();
                block["withdrawals"] =
                    json!([{"index": "0x0", "validatorIndex": "0x1", "address": address, "amount": "0x3b9aca00"}]);
            }
            // By one it would be the true one: anvil leaves out what an empty list of withdrawals takes, which bolo allows for.
            Self::OtherSize => (0..2).try_for_each(|_| raise(&mut block["size"]))?,
            Self::OtherStateRoot | Self::HeaderThatIsNotItsHash => flip(&mut block["stateRoot"])?,
            Self::BlockOfAnotherFork => {
                block["extraData"] = json!("0x626f6c6f");
                let header: Header = serde_json::from_value(block.clone()).ok()?;
                block["hash"] = json!(header.hash_slow());
            }
            Self::AnotherBlock => *block = fetch("eth_getBlockByNumber", before(true)?)?,
            Self::HeaderOfAnotherNumber => *block = fetch("eth_getBlockByNumber", before(false)?)?,
            Self::NullBlock | Self::NullHeader => *block = Value::Null,
            _ => return None,
        }
        Some(())
    }

    fn twist_head(self, head: &mut Value, fetch: &mut dyn FnMut(&str, Value) -> Option<Value>) -> Option<()> {
        let number = quantity(&head["number"])?;
        let lower = match self {
            Self::StaleHead => number.checked_sub(3)?,
            // Lower with each hash it has: some of them are lower than the one said before.
            Self::HeadGoingBackwards => {
                number.checked_sub(1 + u64::from(*head["hash"].as_str()?.as_bytes().last()?) % 6)?
            }
            _ => return None,
        };
        *head = fetch("eth_getBlockByNumber", json!([format!("{lower:#x}"), false]))?;
        Some(())
    }

    fn twist_traces(self, traces: &mut Value) -> Option<()> {
        let list = traces.as_array_mut().filter(|list| !list.is_empty())?;
        match self {
            Self::DropTrace => {
                // Flat traces have several items for a transaction: all of the last go.
                let last = list.last()?["transactionHash"].clone();
                list.pop();
                list.retain(|item| last.is_null() || item["transactionHash"] != last);
            }
            Self::TraceOfAnotherTransaction => {
                let name = if list[0].get("txHash").is_some() { "txHash" } else { "transactionHash" };
                flip(&mut list[0][name])?;
            }
            Self::OtherValueInTrace => {
                let nested = list[0].get("result").is_some_and(|result| result.get("type").is_some());
                let top = if nested { &mut list[0]["result"] } else { &mut list[0]["action"] };
                raise(&mut top["value"])?;
            }
            _ => return None,
        }
        Some(())
    }
}

pub(crate) fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Another last digit.
fn flip(hex: &mut Value) -> Option<()> {
    let text = hex.as_str()?;
    let last = text.strip_prefix("0x")?.chars().last()?.to_digit(16)? ^ 1;
    *hex = json!(format!("{}{last:x}", &text[..text.len() - 1]));
    Some(())
}

/// One more.
fn raise(hex: &mut Value) -> Option<()> {
    let value = u128::from_str_radix(hex.as_str()?.strip_prefix("0x")?, 16).ok()?;
    *hex = json!(format!("{:#x}", value + 1));
    Some(())
}

/// The bloom that the receipt's logs have now.
fn mend_bloom(receipt: &mut Value) -> Option<()> {
    let mut bloom = Bloom::ZERO;
    for log in receipt["logs"].as_array()? {
        for part in log["topics"].as_array()?.iter().chain([&log["address"]]) {
            bloom.accrue(BloomInput::Raw(&hex::decode(part.as_str()?).ok()?));
        }
    }
    receipt["logsBloom"] = json!(bloom);
    Some(())
}
