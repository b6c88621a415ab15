//! What each sin of data does to the JSON of an answer.

use alloy::consensus::Header;
use alloy::primitives::{Bloom, BloomInput, hex};
use serde_json::{Value, json};

use crate::sins::{Asked, Sin};

impl Sin {
    /// Changes an answer; none where there is nothing in it that could be changed so. `fetch` asks the node for something else.
    pub(crate) fn twist(
        self,
        asked: Asked,
        result: &mut Value,
        fetch: &mut dyn FnMut(&str, Value) -> Option<Value>,
    ) -> Option<()> {
        match asked {
            Asked::Receipts | Asked::Batch => self.twist_receipts(result, fetch),
            Asked::Block => self.twist_block(true, result, fetch),
            Asked::Header => self.twist_block(false, result, fetch),
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

    fn twist_block(
        self,
        full: bool,
        block: &mut Value,
        fetch: &mut dyn FnMut(&str, Value) -> Option<Value>,
    ) -> Option<()> {
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
            // With another hash: else the members and the hash tell the type.
            Self::UnknownTransactionType => {
                let tx = block["transactions"].get_mut(0)?;
                tx["type"] = json!("0x7d");
                flip(&mut tx["hash"])?;
            }
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
            Self::BlockOfAnotherFork | Self::HeaderOfAnotherFork => {
                block["extraData"] = json!("0x626f6c6f");
                // Would tell before its hash does.
                block.as_object_mut()?.remove("size");
                let header: Header = serde_json::from_value(block.clone()).ok()?;
                block["hash"] = json!(header.hash_slow());
            }
            Self::AnotherBlock => *block = fetch("eth_getBlockByNumber", before(true)?)?,
            Self::HeaderOfAnotherNumber => *block = fetch("eth_getBlockByNumber", before(full)?)?,
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
