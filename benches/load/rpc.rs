//! JSON-RPC over the chain: the methods that indexers use, from texts that are ready in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, hex};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chain::{Chain, FIRST, Placed};
use crate::text::Text;

/// What is served, and what was.
pub(crate) struct Node {
    pub(crate) chain: Chain,
    /// Number of the block that is the latest now.
    pub(crate) head: AtomicU64,
    /// Whether `debug_getRawBlock` and `debug_getRawReceipts` are there.
    pub(crate) raw: bool,
    /// Calls by method.
    calls: Mutex<BTreeMap<String, u64>>,
    /// For each block, when the last byte of its transactions and receipts was written: microseconds since 1970.
    pub(crate) answered: Mutex<BTreeMap<u64, u64>>,
    /// When it became the head; of those only that the head came by while it was served.
    appeared: Mutex<BTreeMap<u64, u64>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: String,
    #[serde(default)]
    params: Value,
}

/// Refused: code and message.
type Refusal = (i32, String);

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

impl Node {
    pub(crate) fn new(chain: Chain, head: u64, raw: bool) -> Self {
        let head = AtomicU64::new(head);
        Self { chain, head, raw, calls: Mutex::default(), answered: Mutex::default(), appeared: Mutex::default() }
    }

    /// Makes that block the head.
    pub(crate) fn advance(&self, number: u64) {
        self.appeared.lock().unwrap().insert(number, micros());
        self.head.store(number, Ordering::Relaxed);
    }

    fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    /// Answers a call or a batch of them. Gives the numbers of the blocks whose transactions or receipts went out.
    pub(crate) fn answer(&self, request: &[u8], out: &mut Vec<u8>) -> Vec<u64> {
        let mut blocks = Vec::new();
        if request.trim_ascii_start().starts_with(b"[") {
            let Ok(all) = serde_json::from_slice::<Vec<Request<'_>>>(request) else { return unreadable(out) };
            out.push(b'[');
            for (index, one) in all.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self.answer_one(one, out, &mut blocks);
            }
            out.push(b']');
        } else {
            let Ok(one) = serde_json::from_slice::<Request<'_>>(request) else { return unreadable(out) };
            self.answer_one(&one, out, &mut blocks);
        }
        blocks
    }

    fn answer_one(&self, request: &Request<'_>, out: &mut Vec<u8>, blocks: &mut Vec<u64>) {
        *self.calls.lock().unwrap().entry(request.method.clone()).or_default() += 1;
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        out.extend_from_slice(request.id.map_or("null", RawValue::get).as_bytes());
        let begin = out.len();
        out.extend_from_slice(b",\"result\":");
        if let Err((code, message)) = self.result(&request.method, &request.params, out, blocks) {
            out.truncate(begin);
            let error = serde_json::json!({"code": code, "message": message});
            out.extend_from_slice(format!(",\"error\":{error}").as_bytes());
        }
        out.push(b'}');
    }

    fn result(&self, method: &str, params: &Value, out: &mut Vec<u8>, blocks: &mut Vec<u64>) -> Result<(), Refusal> {
        let mut say = |text: &str| out.extend_from_slice(text.as_bytes());
        match method {
            "eth_chainId" => say("\"0x1\""),
            "net_version" => say("\"1\""),
            "web3_clientVersion" => say("\"Geth/v1.16.0-bench\""),
            "eth_syncing" => say("false"),
            "eth_blockNumber" => say(&format!("\"{:#x}\"", self.head())),
            "eth_call" => say(symbol_or_decimals(params)),
            "eth_getBlockByNumber" | "eth_getBlockByHash" => {
                let Some(block) = self.block(&params[0])? else {
                    say("null");
                    return Ok(());
                };
                let whole = params[1].as_bool().unwrap_or_default();
                write(if whole { &block.1.template.full } else { &block.1.template.hashes }, block.1, out);
                blocks.extend(whole.then_some(block.0));
            }
            "eth_getBlockReceipts" => {
                let Some((number, block)) = self.block(&params[0])? else {
                    say("null");
                    return Ok(());
                };
                write(&block.template.receipts, block, out);
                blocks.push(number);
            }
            "eth_getTransactionReceipt" => self.receipt(params, out)?,
            "eth_getLogs" => self.logs(&params[0], out)?,
            // Word for word: ethereum-etl goes on with eth_getLogs by this text.
            "eth_newFilter" => {
                return Err((-32000, "the method is currently not implemented: eth_newFilter".to_owned()));
            }
            "debug_getRawBlock" | "debug_getRawReceipts" | "debug_getRawHeader" if self.raw => {
                self.raw_answer(method, params, out, blocks)?;
            }
            "bench_stats" => say(&self.stats()),
            _ => return Err((-32601, format!("the method {method} does not exist/is not available"))),
        }
        Ok(())
    }

    /// The block that a number, a tag, a hash, or an object with one of them names; none where it is not there (yet).
    fn block(&self, named: &Value) -> Result<Option<(u64, Placed<'_>)>, Refusal> {
        let named = named.get("blockHash").or_else(|| named.get("blockNumber")).unwrap_or(named);
        let name = named.as_str().ok_or_else(|| (-32602, "no block is named".to_owned()))?;
        let number = if name.len() == 66 { self.chain.number(&parse(name)?) } else { Some(self.height(name)?) };
        let number = number.filter(|number| *number <= self.head());
        Ok(number.and_then(|number| Some((number, self.chain.block(number)?))))
    }

    fn height(&self, name: &str) -> Result<u64, Refusal> {
        match name {
            "latest" | "pending" => Ok(self.head()),
            "safe" => Ok(self.head().saturating_sub(32).max(FIRST)),
            "finalized" => Ok(self.head().saturating_sub(64).max(FIRST)),
            "earliest" => Ok(0),
            _ => u64::from_str_radix(name.trim_start_matches("0x"), 16).map_err(|error| (-32602, error.to_string())),
        }
    }

    /// Looks through the whole chain: a peer that asks like this is not measured by its speed.
    fn receipt(&self, params: &Value, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let wanted: B256 = parse(params[0].as_str().unwrap_or_default())?;
        for number in FIRST..=self.head().min(self.chain.last()) {
            let Some(block) = self.chain.block(number) else { break };
            if let Some((_, part)) = block.template.transactions.iter().find(|(hash, _)| *hash == wanted) {
                block.template.receipts.render(part.clone(), block.place, out);
                return Ok(());
            }
        }
        out.extend_from_slice(b"null");
        Ok(())
    }

    fn logs(&self, filter: &Value, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let named = |key: &str, default: u64| match filter[key].as_str() {
            Some(name) => self.height(name),
            None => Ok(default),
        };
        let (from, to) = match filter["blockHash"].as_str() {
            Some(hash) => {
                let number = self.chain.number(&parse(hash)?).ok_or_else(|| (-32000, "unknown block".to_owned()))?;
                (number, number)
            }
            None => (named("fromBlock", self.head())?, named("toBlock", self.head())?),
        };
        let addresses: Vec<Address> = any_of(&filter["address"])?;
        let topics = filter["topics"].as_array().map_or(&[][..], Vec::as_slice);
        let topics = topics.iter().map(any_of::<B256>).collect::<Result<Vec<_>, _>>()?;
        out.push(b'[');
        let begin = out.len();
        for number in from.max(FIRST)..=to.min(self.head()) {
            let Some(block) = self.chain.block(number) else { break };
            for log in &block.template.logs {
                let by_topics = topics.iter().enumerate().all(|(at, wanted)| {
                    wanted.is_empty() || log.topics.get(at).is_some_and(|topic| wanted.contains(topic))
                });
                if by_topics && (addresses.is_empty() || addresses.contains(&log.address)) {
                    if out.len() > begin {
                        out.push(b',');
                    }
                    block.template.receipts.render(log.text.clone(), block.place, out);
                }
            }
        }
        out.push(b']');
        Ok(())
    }

    fn raw_answer(
        &self,
        method: &str,
        params: &Value,
        out: &mut Vec<u8>,
        blocks: &mut Vec<u64>,
    ) -> Result<(), Refusal> {
        let (number, block) = self.block(&params[0])?.ok_or_else(|| (-32000, "block not found".to_owned()))?;
        let quoted = |bytes: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"0x");
            out.extend_from_slice(hex::encode(bytes).as_bytes());
            out.push(b'"');
        };
        match method {
            "debug_getRawHeader" => quoted(&alloy::rlp::encode(self.chain.header(number)), out),
            "debug_getRawBlock" => quoted(&self.chain.raw_block(number), out),
            _ => {
                out.push(b'[');
                for (index, receipt) in block.template.encoded_receipts.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    quoted(receipt, out);
                }
                out.push(b']');
                blocks.push(number);
            }
        }
        Ok(())
    }

    /// What the server did itself: its own CPU time is not the client's.
    fn stats(&self) -> String {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // After the name in brackets; user and system time are the 12th and 13th from there, in hundredths of a second.
        let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let (calls, answered) = (self.calls.lock().unwrap(), self.answered.lock().unwrap());
        serde_json::json!({
            "cpu_ms": ticks * 10,
            "head": self.head(),
            "calls": *calls,
            "answered_us": *answered,
            "appeared_us": *self.appeared.lock().unwrap(),
        })
        .to_string()
    }
}

fn unreadable(out: &mut Vec<u8>) -> Vec<u64> {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"parse error\"}}");
    Vec::new()
}

fn write(text: &Text, block: Placed<'_>, out: &mut Vec<u8>) {
    text.render(0..text.len(), block.place, out);
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| (-32602, error.to_string()))
}

/// Null, one or a list.
fn any_of<T: std::str::FromStr<Err: std::fmt::Display>>(value: &Value) -> Result<Vec<T>, Refusal> {
    match value {
        Value::String(one) => Ok(vec![parse(one)?]),
        Value::Array(all) => all.iter().map(|one| parse(one.as_str().unwrap_or_default())).collect(),
        _ => Ok(Vec::new()),
    }
}

/// Every token is called BENCH and has 18 decimals.
fn symbol_or_decimals(params: &Value) -> &'static str {
    let call = params[0]["input"].as_str().or_else(|| params[0]["data"].as_str()).unwrap_or_default();
    if call.starts_with("0x313ce567") {
        "\"0x0000000000000000000000000000000000000000000000000000000000000012\""
    } else {
        concat!(
            "\"0x0000000000000000000000000000000000000000000000000000000000000020",
            "0000000000000000000000000000000000000000000000000000000000000005",
            "42454e4348000000000000000000000000000000000000000000000000000000\""
        )
    }
}
