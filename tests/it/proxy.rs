//! An endpoint between bolo and a real node that sins as it is told to, by the seed: whether it does, and how, follows from the seed
//! and the block that is asked for, so a run can be repeated. It keeps what was really committed, and all that was said to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::Bytes;
use serde_json::{Value, json};

use crate::common::Node;
use crate::filtered::Limits;
use crate::reply::{Reply, commit, ok, send};
use crate::rlp::Coded;
use crate::sins::{Asked, Sin};
use crate::socket;
use crate::twist::quantity;
use crate::wire::listen;

/// What becomes of WebSockets. Requests over HTTP are not touched by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Honest,
    /// Every n-th new head is not pushed.
    DropsEveryNthHead(u64),
    /// Stays open and pushes nothing more after so many heads.
    MuteAfterHeads(u64),
    /// Stays open and says nothing at all any more after so many messages.
    DeadAfterMessages(u64),
    /// Closed after so many heads.
    ClosedAfterHeads(u64),
}

/// What becomes of the whole endpoint, whatever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ill {
    Well,
    /// The newest block it has is that one; what is above is still served by number and hash.
    StandsAt(u64),
    /// Over HTTP it takes requests, and does not answer them.
    Hangs,
    /// It closes each connection, open ones too, and serves none.
    Gone,
    /// It says that it is of another chain, and serves its blocks as before.
    OtherChain,
}

/// How an endpoint with raw methods has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    Good,
    /// From that block on they fail, in a hundred blocks.
    FailsFrom(u64),
    /// From that block on the receipts are those of another block, in a hundred blocks.
    LiesFrom(u64),
}

/// The kinds that were committed, with the blocks.
pub(crate) type Committed = BTreeMap<Sin, BTreeSet<u64>>;

/// How to sin.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub seed: u64,
    /// Of a hundred blocks, how many are sinned with.
    pub percent: u64,
    /// One of these for each block.
    pub sins: Vec<Sin>,
    pub blocks: RangeInclusive<u64>,
    /// In answers to questions of that kind; none for all that the sin touches.
    pub only: Option<Asked>,
    /// How often for each question of a block; none for always.
    pub times: Option<u32>,
    /// It has no receipts of whole blocks: they are asked for in batches.
    pub bare: bool,
    /// It has the raw methods, which the node has not: what they answer is encoded here from the node's JSON.
    pub raw: Option<Raw>,
    /// What its filters stand; none for what the node's stand.
    pub filter: Option<Limits>,
    /// Before each answer.
    pub delay: Duration,
    pub socket: Socket,
    pub ill: Ill,
}

impl Plan {
    /// No sin at all, and a little slower than a sinner: else nobody would ask the sinner.
    pub(crate) fn honest() -> Self {
        Self {
            seed: 0,
            percent: 0,
            sins: Vec::new(),
            blocks: 0..=u64::MAX,
            only: None,
            times: None,
            bare: false,
            raw: None,
            filter: None,
            delay: Duration::from_millis(3),
            socket: Socket::Honest,
            ill: Ill::Well,
        }
    }

    /// That one, always, from that block on.
    pub(crate) fn always(sin: Sin, from: u64) -> Self {
        let bare = sin.needs_batches();
        Self { percent: 100, sins: vec![sin], blocks: from..=u64::MAX, bare, delay: Duration::ZERO, ..Self::honest() }
    }

    /// Any of these, in so many blocks of a hundred.
    pub(crate) fn mix(seed: u64, percent: u64, sins: Vec<Sin>) -> Self {
        Self { seed, percent, sins, delay: Duration::ZERO, ..Self::honest() }
    }
}

/// A number that follows from two (splitmix64).
pub(crate) fn dice(seed: u64, at: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A running proxy. Its threads live as long as the tests.
pub(crate) struct Proxy {
    pub url: String,
    state: Arc<State>,
}

/// What all its connections share.
pub(crate) struct State {
    /// Host and port of the node.
    pub target: String,
    plan: Mutex<Plan>,
    committed: Mutex<Committed>,
    /// How often each question of a block was sinned with.
    times: Mutex<HashMap<(u64, Asked), u32>>,
    /// Numbers of blocks by their hashes.
    numbers: Mutex<HashMap<String, u64>>,
    wire: Mutex<Vec<u8>>,
    /// Heads that a WebSocket held back, and sockets that it closed or silenced.
    pub held_back: Mutex<u64>,
}

impl Proxy {
    pub(crate) fn new(node: &Node, plan: Plan) -> Self {
        let state = Arc::new(State {
            target: node.url.trim_start_matches("http://").to_owned(),
            plan: Mutex::new(plan),
            committed: Mutex::default(),
            times: Mutex::default(),
            numbers: Mutex::default(),
            wire: Mutex::default(),
            held_back: Mutex::default(),
        });
        let shared = state.clone();
        let url = format!("http://{}", listen(move |stream| serve(stream, &shared)));
        Self { url, state }
    }

    pub(crate) fn ws(&self) -> String {
        self.url.replace("http://", "ws://")
    }

    /// From now on it sins otherwise, on connections that are open too.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.state.plan.lock().unwrap());
    }

    /// As it stands in bolo's log.
    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// What was committed since this was last asked.
    pub(crate) fn take_committed(&self) -> Committed {
        std::mem::take(&mut *self.state.committed.lock().unwrap())
    }

    pub(crate) fn held_back(&self) -> u64 {
        *self.state.held_back.lock().unwrap()
    }

    /// All that was ever said to it: heads and bodies of requests, and the messages of WebSockets, unmasked.
    pub(crate) fn wire(&self) -> Vec<u8> {
        self.state.wire.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, state: &State) -> Option<()> {
    let mut upstream = Upstream::new(&state.target);
    stream.set_nodelay(true).ok()?;
    loop {
        let (head, request) = peek_request(&stream)?;
        if state.ill() == Ill::Gone {
            return None;
        }
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            state.heard(head.as_bytes());
            return socket::tunnel(stream, head.len(), state);
        }
        // The last byte stays unread for now: closing with it there resets the connection.
        let mut taken = vec![0; head.len() + request.len() - 1];
        stream.read_exact(&mut taken).ok()?;
        state.heard(head.as_bytes());
        state.heard(&request);
        while state.ill() == Ill::Hangs {
            std::thread::sleep(Duration::from_millis(20));
        }
        let reply = state.reply(&mut upstream, &request)?;
        if let Reply::Reset(body) = reply {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).ok()?;
            return stream.write_all(&body[..body.len() / 2]).ok();
        }
        stream.read_exact(&mut [0]).ok()?;
        send(&mut stream, reply)?;
    }
}

/// Where anvil's chain id is the answer, another one of the same length is put in its place; whether it was.
pub(crate) fn say_another_chain(answer: &mut [u8]) -> bool {
    let own = br#""result":"0x7a69""#;
    let Some(at) = answer.windows(own.len()).position(|window| window == own) else { return false };
    answer[at..at + own.len()].copy_from_slice(br#""result":"0x7a6a""#);
    true
}

/// Head and body of the next request, which stay unread. None where the other side went away.
fn peek_request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = stream.peek(&mut buffer).ok().filter(|read| *read > 0)?;
        if let Some(end) = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end + 4].to_vec()).ok()?;
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            if read >= whole {
                return Some((head, buffer[end + 4..whole].to_vec()));
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl State {
    pub(crate) fn heard(&self, bytes: &[u8]) {
        let mut wire = self.wire.lock().unwrap();
        wire.extend(bytes);
        wire.push(b'\n');
    }

    pub(crate) fn socket(&self) -> Socket {
        self.plan.lock().unwrap().socket
    }

    pub(crate) fn ill(&self) -> Ill {
        self.plan.lock().unwrap().ill
    }

    /// None where the node itself is gone.
    fn reply(&self, upstream: &mut Upstream, request: &[u8]) -> Option<Reply> {
        let plan = self.plan.lock().unwrap().clone();
        std::thread::sleep(plan.delay);
        let mut question: Value = serde_json::from_slice(request).ok()?;
        let asked = Asked::of(&question);
        if let (Ill::StandsAt(height), Asked::Head) = (plan.ill, asked) {
            question["params"][0] = json!(format!("{height:#x}"));
            return Some(ok(upstream.post(question.to_string().as_bytes())?));
        }
        if let (Some(raw), Some(method)) =
            (plan.raw, question["method"].as_str().filter(|method| method.starts_with("debug_getRaw")))
        {
            return Some(ok(raw.answer(upstream, method, &question)?.to_string().into_bytes()));
        }
        if let Some(reply) = plan.filter.and_then(|limits| limits.answer(upstream, &question)) {
            return Some(reply);
        }
        let mut body = upstream.post(request)?;
        if plan.ill == Ill::OtherChain {
            say_another_chain(&mut body);
        }
        if plan.bare && asked == Asked::Receipts {
            let error = json!({"code": -32601, "message": "the method does not exist"});
            return Some(ok(json!({"jsonrpc": "2.0", "id": question["id"], "error": error}).to_string().into_bytes()));
        }
        if plan.percent == 0 {
            return Some(ok(body));
        }
        let answer: Value = serde_json::from_slice(&body).ok()?;
        let Some(block) = self.block_of(upstream, asked, &question, &answer) else { return Some(ok(body)) };
        let Some(sin) = self.chosen(&plan, asked, block) else { return Some(ok(body)) };
        let Some(reply) = commit(sin, upstream, asked, answer, body.clone()) else { return Some(ok(body)) };
        *self.times.lock().unwrap().entry((block, asked)).or_default() += 1;
        self.committed.lock().unwrap().entry(sin).or_default().insert(block);
        Some(reply)
    }

    /// The sin of that block, if this question is to be sinned with.
    fn chosen(&self, plan: &Plan, asked: Asked, block: u64) -> Option<Sin> {
        let roll = dice(plan.seed, block);
        let sin = plan.sins[usize::try_from((roll >> 20) % plan.sins.len() as u64).ok()?];
        let meant = plan.only.is_none_or(|only| only == asked);
        let due = meant && plan.blocks.contains(&block) && roll % 100 < plan.percent && sin.touches(asked);
        let done = self.times.lock().unwrap().get(&(block, asked)).copied().unwrap_or(0);
        (due && plan.times.is_none_or(|times| done < times)).then_some(sin)
    }

    /// Number of the block that is asked for; none for questions that are not of a block.
    fn block_of(&self, upstream: &mut Upstream, asked: Asked, question: &Value, answer: &Value) -> Option<u64> {
        match asked {
            Asked::Other => return None,
            Asked::Batch => return quantity(&answer[0]["result"]["blockNumber"]),
            Asked::Receipt => return quantity(&answer["result"]["blockNumber"]),
            Asked::Head => return quantity(&answer["result"]["number"]),
            _ => {}
        }
        let name = question["params"][0].as_str()?;
        if name.len() < 60 {
            return quantity(&question["params"][0]);
        }
        if let Some(number) = self.numbers.lock().unwrap().get(name) {
            return Some(*number);
        }
        let number = quantity(&upstream.ask("eth_getBlockByHash", json!([name, false]))?["number"])?;
        self.numbers.lock().unwrap().insert(name.to_owned(), number);
        Some(number)
    }
}

impl Raw {
    fn answer(self, upstream: &mut Upstream, method: &str, question: &Value) -> Option<Value> {
        let asked = &question["params"][0];
        let by_hash = asked.as_str()?.len() > 60;
        let by = |what: &str| format!("eth_getBlockBy{what}");
        let mut block = upstream.ask(&by(if by_hash { "Hash" } else { "Number" }), json!([asked, true]))?;
        let number = quantity(&block["number"])?;
        let id = &question["id"];
        match self {
            Self::FailsFrom(from) if (from..from + 100).contains(&number) => {
                return Some(
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "no such table"}}),
                );
            }
            Self::LiesFrom(from) if (from..from + 100).contains(&number) && method == "debug_getRawReceipts" => {
                block = upstream.ask(&by("Number"), json!([format!("{:#x}", number - 1), true]))?;
            }
            _ => {}
        }
        let receipts = upstream.ask("eth_getBlockReceipts", json!([block["hash"]]))?;
        let coded = Coded::of(&block, &receipts)?;
        let result = match method {
            "debug_getRawBlock" => json!(Bytes::from(coded.whole())),
            _ => json!(coded.each),
        };
        Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }
}

/// A connection to the node, made anew when it is lost.
pub(crate) struct Upstream {
    target: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Upstream {
    pub(crate) fn new(target: &str) -> Self {
        Self { target: target.trim_start_matches("http://").to_owned(), stream: None }
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut answer: Value = serde_json::from_slice(&self.post(body.as_bytes())?).ok()?;
        Some(answer["result"].take())
    }

    /// The body of the answer.
    pub(crate) fn post(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let reused = self.stream.is_some();
        let answer = self.try_post(body);
        if answer.is_none() {
            self.stream = None;
            // A node may close a connection that was idle.
            return if reused { self.try_post(body) } else { None };
        }
        answer
    }

    fn try_post(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.target).ok()?;
            stream.set_nodelay(true).ok()?;
            self.stream = Some(BufReader::new(stream));
        }
        let reader = self.stream.as_mut()?;
        let mut request = format!(
            "POST / HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        reader.get_mut().write_all(&request).ok()?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}

#[test]
fn the_same_seed_sins_alike_and_another_one_otherwise() {
    let node = Node::start(&[]);
    node.mine(60);
    let committed = |seed| {
        let sins = vec![Sin::Status500, Sin::HtmlWith200, Sin::NullHeader, Sin::HeaderOfAnotherNumber, Sin::EmptyBody];
        let proxy = Proxy::new(&node, Plan::mix(seed, 50, sins));
        let mut asking = Upstream::new(&proxy.url);
        for number in 0..60 {
            asking.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
        }
        proxy.take_committed()
    };
    let first = committed(1);
    let blocks = first.values().map(BTreeSet::len).sum::<usize>();
    assert!(first.len() == 5 && (15..45).contains(&blocks), "{first:?}");
    assert_eq!(first, committed(1));
    assert_ne!(first, committed(2));
}

#[test]
fn what_goes_wrong_on_the_way_really_does() {
    let node = Node::start(&[]);
    let answer = |sin| {
        let proxy = Proxy::new(&node, Plan::always(sin, 0));
        let mut stream = TcpStream::connect(proxy.host()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let body = r#"{"jsonrpc":"2.0","id":7,"method":"eth_getBlockByNumber","params":["0x0",false]}"#;
        write!(stream, "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        // To the end, or until a client would have lost its patience.
        let begin = std::time::Instant::now();
        let end = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => answer.extend(&buffer[..read]),
                Err(error) => break Err(error.kind()),
            }
            if begin.elapsed() > Duration::from_secs(1) {
                break Err(std::io::ErrorKind::TimedOut);
            }
        };
        assert!(proxy.take_committed().contains_key(&sin), "{sin:?}");
        (String::from_utf8_lossy(&answer).into_owned(), end.is_ok(), end.err())
    };
    let reset = answer(Sin::ResetMidBody);
    assert_eq!(reset.2, Some(std::io::ErrorKind::ConnectionReset), "{reset:?}");
    let cut = answer(Sin::CutBody);
    assert!(cut.1 && cut.0.contains("Content-Length") && !cut.0.ends_with('}'), "{cut:?}");
    let nothing = (String::new(), true, None);
    assert_eq!(answer(Sin::HangUp), nothing);
    let hang = answer(Sin::Hang);
    assert!(hang.0.is_empty() && !hang.1, "{hang:?}");
    let drip = answer(Sin::Drip);
    assert!(drip.0.contains("200 OK") && !drip.0.ends_with('}') && !drip.1, "{drip:?}");
    assert!(answer(Sin::Status429WithRetryAfter).0.contains("429 Too Many Requests\r\n"));
    assert!(answer(Sin::WrongId).0.contains("\"id\":1000007"));
}
