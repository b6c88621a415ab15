//! A small endpoint that serves the demo's chain, with no node: what it answers, and with which status, is the test's to say.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::Place;
use crate::wire::{listen, next_body};

/// Status and body of an answer.
pub(crate) type Answer = (u16, Vec<u8>);

/// The blocks of the demo's chain with their receipts.
pub(crate) fn demo_blocks() -> Vec<(Value, Value)> {
    let bytes = std::fs::read("src/cli/demo/chain.jsonl.zst").unwrap();
    let text = String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|mut line| (line["block"].take(), line["receipts"].take())).collect()
}

/// The chain that is served.
pub(crate) struct Chain(Vec<(Value, Value)>);

impl Chain {
    /// The demo's chain without the blocks that its reorg replaced.
    pub(crate) fn demo() -> Self {
        let mut blocks = demo_blocks();
        let mut canonical = vec![blocks.pop().unwrap()];
        while let Some(block) = blocks.pop() {
            if block.0["hash"] == canonical.last().unwrap().0["parentHash"] {
                canonical.push(block);
            }
        }
        canonical.reverse();
        Self(canonical)
    }

    pub(crate) fn of(blocks: Vec<(Value, Value)>) -> Self {
        Self(blocks)
    }

    pub(crate) fn into_blocks(self) -> Vec<(Value, Value)> {
        self.0
    }

    fn block(&self, of: &Value) -> Option<&(Value, Value)> {
        if of == "latest" || of == "finalized" || of == "safe" {
            return self.0.last();
        }
        self.0.iter().find(|(block, _)| block["number"] == *of || block["hash"] == *of)
    }

    /// The result of one call, as an honest node has it; none where it has no such method.
    pub(crate) fn result(&self, request: &Value) -> Option<Value> {
        let of = &request["params"][0];
        Some(match request["method"].as_str()? {
            "eth_chainId" => json!("0x7a69"),
            "eth_getBlockByNumber" | "eth_getBlockByHash" => match self.block(of) {
                Some((block, _)) if request["params"][1] == true => block.clone(),
                Some((block, _)) => {
                    let mut block = block.clone();
                    let hashes = block["transactions"].as_array().into_iter().flatten().map(|tx| tx["hash"].clone());
                    block["transactions"] = hashes.collect();
                    block
                }
                None => Value::Null,
            },
            "eth_getBlockReceipts" => self.block(of).map_or(Value::Null, |(_, receipts)| receipts.clone()),
            "eth_getTransactionReceipt" => {
                let mut all = self.0.iter().flat_map(|(_, receipts)| receipts.as_array().into_iter().flatten());
                all.find(|receipt| receipt["transactionHash"] == *of).cloned().unwrap_or_default()
            }
            _ => return None,
        })
    }

    /// The answer to a request or a batch.
    pub(crate) fn answer(&self, request: &Value) -> Value {
        match request.as_array() {
            Some(all) => all.iter().map(|one| self.answer(one)).collect(),
            None => match self.result(request) {
                Some(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
                None => {
                    json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no such method"}})
                }
            },
        }
    }
}

/// A running endpoint. Its threads live as long as the tests.
pub(crate) struct Served {
    pub url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Served {
    pub(crate) fn new(answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let heard = asked.clone();
        let url = format!("http://{}", listen(move |stream| serve(stream, &answer, &heard)));
        Self { url, asked }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// Replays the demo's blocks from it, without traces.
    pub(crate) fn replay(&self, extra: &[&str]) -> (Place, std::process::Output) {
        replay_from(&self.url, extra)
    }
}

/// A place with the demo's watchlist.
pub(crate) fn demo_place() -> Place {
    let place = Place::new();
    place.ok(&["watchlist", "import", &format!("{}/src/cli/demo/watchlist.csv", env!("CARGO_MANIFEST_DIR"))]);
    place
}

/// Replays the demo's blocks from that endpoint, without traces.
pub(crate) fn replay_from(url: &str, extra: &[&str]) -> (Place, std::process::Output) {
    let place = demo_place();
    let range = ["replay", "-r", url, "--from-block", "1", "--to-block", "58", "--traces", "off"];
    let out = place.run(&[&range, extra].concat());
    (place, out)
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Value) -> Answer, heard: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let body = next_body(&mut reader)?;
        let request: Value = serde_json::from_slice(&body).ok()?;
        heard.lock().unwrap().push(request.clone());
        let (status, body) = answer(&request);
        write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
        stream.write_all(&body).ok()?;
    }
}
