//! One endpoint: its connection, and a single call with all that is learned from how it went.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use alloy::consensus::Header;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider, RootProvider};
use alloy::pubsub::PubSubConnect;
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::RpcSend;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use url::Url;

use super::bell::Bell;
use super::call::{CallError, host_of};
use super::capability::Capability;
use super::health::{Admission, Health, Outcome, Ticket};
use super::http::{BoundedHttp, client};
use super::lies::{Asked, Lies, Miss, read_link};
use super::pulse::Pulse;
use super::receipts::Unfinished;
use super::socket::{Ipc, WebSocket};
use super::{EndpointOptions, SourceError, bytes_of, chance, lock};
use crate::chain::canonical::Link;

/// What all endpoints of a pool have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// Headers are taken without checking that they hash to their hash.
    pub(super) trust: bool,
    /// Blocks are asked for by the raw methods where an endpoint has them.
    pub(super) raw: bool,
    /// Blocks that are known for sure.
    pub(super) checkpoints: Vec<(u64, B256)>,
    pub(super) timeout: Duration,
    /// Bytes of an answer.
    pub(super) max_answer: u64,
    /// There is no other endpoint.
    pub(super) is_alone: bool,
    pub(super) lies: Lies,
    /// Bytes of blocks and receipts that came.
    pub(super) received: Arc<AtomicU64>,
    /// Told whenever a request ends.
    pub(super) freed: Notify,
    /// The traces of the last block could not be had from anybody.
    pub(super) traces_fail: AtomicBool,
}

#[derive(Debug, Clone)]
enum Reach {
    Http(Url),
    WebSocket(Url),
    Ipc(String),
}

/// One endpoint.
pub(super) struct Endpoint {
    url: String,
    address: Reach,
    /// What may be shown of the URL.
    pub(super) host: String,
    pub(super) shared: Arc<Shared>,
    expected_chain: OnceLock<u64>,
    provider: AsyncMutex<Option<DynProvider>>,
    /// Over HTTP, the way past alloy's client for answers that are large.
    http: OnceLock<BoundedHttp>,
    next_id: AtomicU64,
    /// Its chain and the checkpoints were compared.
    checked: AtomicBool,
    /// The chain it says it is of, where that is another one.
    wrong_chain: Mutex<Option<u64>>,
    freed: Notify,
    pub(super) health: Mutex<Health>,
    pub(super) pulse: Mutex<Pulse>,
    pub(super) capability: Mutex<Capability>,
    /// Receipts that came before it asked for a pause.
    pub(super) unfinished: Mutex<Unfinished>,
    pub(super) bell: Mutex<Bell>,
    /// Held while it is found out whether it has the raw methods.
    pub(super) finding_raw: AsyncMutex<()>,
    /// The block of which it was last looked whether its logs are still there; held while it is looked.
    pub(super) looked_for_logs: AsyncMutex<Option<u64>>,
    /// A head is being asked for in the background.
    pub(super) asking_head: AtomicBool,
    /// Since when it has said nothing in votes on finality.
    pub(super) silent_since: Mutex<Option<Instant>>,
    /// What was warned of, when, and how often it happened since without being said.
    pub(super) warned: Mutex<HashMap<&'static str, (Instant, u64)>>,
    /// The last failure, when (unix seconds), and whether it was taken to be kept.
    pub(super) last_error: Mutex<Option<(String, i64, bool)>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A request in flight; one that is dropped before its end was given up.
struct Flight<'a> {
    endpoint: &'a Endpoint,
    ticket: Ticket,
    outcome: Outcome,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(&self.endpoint.health).finish(self.ticket, self.outcome, Instant::now(), chance());
        self.endpoint.freed.notify_one();
        self.endpoint.shared.freed.notify_one();
    }
}

impl Endpoint {
    /// From a URL or the path of an IPC socket. Does not connect yet.
    pub(super) fn new(options: &EndpointOptions, shared: Arc<Shared>) -> Result<Self, SourceError> {
        let address = reach(&options.url)?;
        let interval = options.rate.map(|rate| Duration::from_secs(1).div_f64(rate));
        Ok(Self {
            url: options.url.clone(),
            address,
            host: host_of(&options.url),
            shared,
            expected_chain: OnceLock::new(),
            provider: AsyncMutex::new(None),
            http: OnceLock::new(),
            next_id: AtomicU64::new(1 << 32),
            checked: AtomicBool::new(false),
            wrong_chain: Mutex::new(None),
            freed: Notify::new(),
            health: Mutex::new(Health::new(options.concurrency, interval)),
            pulse: Mutex::default(),
            capability: Mutex::default(),
            unfinished: Mutex::default(),
            bell: Mutex::default(),
            finding_raw: AsyncMutex::default(),
            looked_for_logs: AsyncMutex::default(),
            asking_head: AtomicBool::new(false),
            silent_since: Mutex::default(),
            warned: Mutex::default(),
            last_error: Mutex::new(None),
        })
    }

    /// Whether that can be an endpoint at all; nothing is asked of it.
    pub(super) fn check_url(url: &str) -> Result<(), SourceError> {
        reach(url).map(|_| ())
    }

    /// Whether it can push new heads.
    pub(super) fn can_subscribe(&self) -> bool {
        !matches!(self.address, Reach::Http(_))
    }

    async fn connect(&self) -> Result<DynProvider, CallError> {
        let max_answer = usize::try_from(self.shared.max_answer).unwrap_or(usize::MAX);
        let client = match &self.address {
            Reach::Http(url) => {
                let http = client().map_err(|e| CallError::Transport(e.to_string()))?;
                let http = BoundedHttp::new(http, url.clone(), self.shared.max_answer);
                RpcClient::new(self.http.get_or_init(|| http).clone(), false)
            }
            Reach::WebSocket(url) => self.open(WebSocket { url: url.clone(), max_answer }).await?,
            Reach::Ipc(path) => self.open(Ipc { path: path.into(), max_answer }).await?,
        };
        Ok(RootProvider::<alloy::network::Ethereum>::new(client).erased())
    }

    async fn open(&self, connect: impl PubSubConnect) -> Result<RpcClient, CallError> {
        RpcClient::connect_pubsub(connect).await.map_err(|error| self.alloy_error(error, "connect"))
    }

    pub(super) fn alloy_error(&self, error: alloy::transports::TransportError, method: &str) -> CallError {
        CallError::from_alloy(error, method, &self.url)
    }

    /// The connection, made on first use and after it was lost. Its chain and the checkpoints are compared before anything else
    /// is believed.
    pub(super) async fn provider(&self) -> Result<DynProvider, CallError> {
        let mut slot = self.provider.lock().await;
        let provider = match &*slot {
            Some(provider) => provider.clone(),
            None => slot.insert(self.connect().await?).clone(),
        };
        drop(slot);
        if let Some(expected) = self.expected_chain.get()
            && !self.checked.load(Ordering::Relaxed)
        {
            let raw = provider
                .client()
                .request_noparams::<Box<RawValue>>("eth_chainId")
                .await
                .map_err(|error| self.alloy_error(error, "eth_chainId"))?;
            let found = quantity(&raw)?;
            *lock(&self.wrong_chain) = Some(found).filter(|found| found != expected);
            if found != *expected {
                return Err(CallError::WrongChain(found));
            }
            self.check_anchors(&provider).await?;
            self.checked.store(true, Ordering::Relaxed);
        }
        Ok(provider)
    }

    /// Holds its blocks against the checkpoints. One that it does not have says nothing.
    async fn check_anchors(&self, provider: &DynProvider) -> Result<(), CallError> {
        for (number, expected) in &self.shared.checkpoints {
            let call = ("eth_getBlockByNumber", (format!("{number:#x}"), false));
            let answer = provider.client().request::<_, Box<RawValue>>(call.0, call.1).await;
            let raw = match answer.map_err(|error| self.alloy_error(error, call.0)) {
                Ok(raw) if raw.get() == "null" => continue,
                Ok(raw) => raw,
                Err(CallError::NotFound | CallError::Rpc { .. } | CallError::Unsupported(_)) => continue,
                Err(other) => return Err(other),
            };
            let asked = Instant::now();
            let (trust, known) = (self.shared.trust, &self.shared.checkpoints);
            if let Err(miss) = read_link(&raw, Asked::Number(*number), trust, known) {
                self.note_miss(&miss, &number.to_string(), asked);
                let found = read_link(&raw, Asked::Number(*number), true, &[]).map_or(B256::ZERO, |link| link.hash);
                return Err(CallError::WrongCheckpoint { number: *number, found, expected: *expected });
            }
        }
        Ok(())
    }

    /// From now on nothing is believed of this endpoint before it has said that it is of this chain.
    pub(super) fn expect_chain(&self, chain_id: u64) {
        let _ = self.expected_chain.set(chain_id);
    }

    /// The chain that it says it is of, where that is another one.
    pub(super) fn other_chain(&self) -> Option<u64> {
        *lock(&self.wrong_chain)
    }

    /// `eth_chainId`.
    pub(super) async fn chain_id(&self) -> Result<u64, CallError> {
        quantity(&self.call("eth_chainId", ()).await?)
    }

    /// Waits until it may be asked: no more at once than it stands, no more a second than is configured.
    async fn enter(&self, allowed: Duration, urgent: bool) -> Flight<'_> {
        loop {
            let freed = self.freed.notified();
            let admission = lock(&self.health).admit(allowed, urgent, Instant::now());
            match admission {
                Admission::Go(ticket) => return Flight { endpoint: self, ticket, outcome: Outcome::Abandoned },
                // Woken by whoever ends; looks again by itself, should the wake have gone to one that was given up.
                Admission::Full => {
                    let _ = tokio::time::timeout(Duration::from_millis(250), freed).await;
                }
                Admission::After(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Runs one exchange, bounded in time, and learns from how it went.
    pub(super) async fn exchange<T>(
        &self,
        allowed: Duration,
        urgent: bool,
        exchange: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let mut flight = self.enter(allowed, urgent).await;
        let outcome = match tokio::time::timeout(allowed, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Timeout(allowed)),
        };
        flight.outcome = match &outcome {
            Err(CallError::Timeout(_)) => Outcome::TimedOut,
            Err(CallError::Throttled(after)) => Outcome::Throttled(*after),
            Err(CallError::Transport(_) | CallError::Gone | CallError::BadAnswer(_)) => Outcome::Failed,
            Err(CallError::WrongChain(_) | CallError::WrongCheckpoint { .. }) => Outcome::Failed,
            Err(CallError::Refused(_)) => Outcome::Refused,
            Err(
                CallError::Unsupported(_)
                | CallError::Rpc { .. }
                | CallError::Pruned(_)
                | CallError::NotFound
                | CallError::TooLarge(_)
                | CallError::TooWide(_),
            )
            | Ok(_) => Outcome::Answered,
        };
        drop(flight);
        if let Err(CallError::TooLarge(limit)) = &outcome {
            lock(&self.capability).note_too_large(*limit);
        }
        let lost = match &outcome {
            Err(CallError::Gone) => true,
            Err(CallError::Timeout(_)) => self.can_subscribe(),
            _ => false,
        };
        if lost {
            self.disconnect().await;
        }
        outcome
    }

    /// The connection is made anew next time, and compared anew.
    pub(super) async fn disconnect(&self) {
        *self.provider.lock().await = None;
        self.checked.store(false, Ordering::Relaxed);
    }

    /// One call; null is [`CallError::NotFound`].
    pub(super) async fn call<P: RpcSend>(&self, method: &'static str, params: P) -> Result<Box<RawValue>, CallError> {
        self.call_within(self.shared.timeout, false, method, params).await
    }

    /// One call that may take so long; an urgent one does not queue behind those that can wait.
    pub(super) async fn call_within<P: RpcSend>(
        &self,
        allowed: Duration,
        urgent: bool,
        method: &'static str,
        params: P,
    ) -> Result<Box<RawValue>, CallError> {
        // On the heap: what waits for an answer is large, and many wait at once.
        let outcome = Box::pin(self.exchange(allowed, urgent, async {
            let provider = self.provider().await?;
            tracing::trace!(host = %self.host, method, "request");
            let answer = provider.client().request::<P, Box<RawValue>>(method, params).await;
            answer.map_err(|error| self.alloy_error(error, method))
        }))
        .await;
        match outcome {
            Ok(raw) if raw.get() == "null" => Err(CallError::NotFound),
            other => other,
        }
    }

    /// One call for a block or its receipts, whose answer is large: over HTTP its result is taken as it came.
    pub(super) async fn call_large<P: RpcSend>(
        &self,
        urgent: bool,
        method: &'static str,
        params: P,
    ) -> Result<Bytes, CallError> {
        if self.can_subscribe() {
            let answer = self.call_within(self.shared.timeout, urgent, method, params).await.map(bytes_of)?;
            self.shared.received.fetch_add(answer.len() as u64, Ordering::Relaxed);
            return Ok(answer);
        }
        Box::pin(self.exchange(self.shared.timeout, urgent, async {
            // Compares the chain and the checkpoints first, where that was not done yet.
            self.provider().await?;
            let Some(http) = self.http.get() else { return Err(CallError::Gone) };
            tracing::trace!(host = %self.host, method, "request");
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let answer = http.call_raw(id, method, params).await.map_err(|error| self.alloy_error(error, method))?;
            self.shared.received.fetch_add(answer.len() as u64, Ordering::Relaxed);
            if answer.as_ref() == b"null" { Err(CallError::NotFound) } else { Ok(answer) }
        }))
        .await
    }

    /// A header's place in the chain; checked as far as a header can be.
    pub(super) async fn link(&self, asked: Asked<'_>, allowed: Duration) -> Result<Link, Miss> {
        let raw = match asked {
            Asked::Tag(tag) => self.call_within(allowed, true, "eth_getBlockByNumber", (tag, false)).await?,
            Asked::Number(number) => {
                self.call_within(allowed, false, "eth_getBlockByNumber", (format!("{number:#x}"), false)).await?
            }
            Asked::Hash(hash) => self.call_within(allowed, false, "eth_getBlockByHash", (hash, false)).await?,
        };
        read_link(&raw, asked, self.shared.trust, &self.shared.checkpoints)
    }

    /// The header of a number.
    pub(super) async fn header(&self, number: u64) -> Result<Header, Miss> {
        let raw = self.call("eth_getBlockByNumber", (format!("{number:#x}"), false)).await?;
        read_link(&raw, Asked::Number(number), self.shared.trust, &self.shared.checkpoints)?;
        Ok(serde_json::from_str(raw.get()).map_err(|error| CallError::BadAnswer(error.to_string()))?)
    }

    /// The newest block, as it says, which is remembered.
    pub(super) async fn head(&self, allowed: Duration) -> Result<Link, Miss> {
        let link = self.link(Asked::Tag("latest"), allowed).await?;
        lock(&self.pulse).hear(link, Instant::now());
        Ok(link)
    }

    /// `eth_call` at a block, by its hash ([EIP-1898](https://eips.ethereum.org/EIPS/eip-1898)), or at the latest one.
    pub(super) async fn eth_call(&self, to: Address, data: &[u8], block: Option<B256>) -> Result<Bytes, CallError> {
        let block = block.map_or_else(|| json!("latest"), |hash| json!({"blockHash": hash}));
        let call = json!({"to": to, "data": Bytes::copy_from_slice(data)});
        let raw = self.call("eth_call", (call, block)).await?;
        serde_json::from_str(raw.get()).map_err(|error| CallError::BadAnswer(error.to_string()))
    }
}

fn reach(url: &str) -> Result<Reach, SourceError> {
    crate::redact::register_url(url);
    let host = host_of(url);
    match Url::parse(url) {
        Ok(parsed) => match parsed.scheme() {
            "http" | "https" => Ok(Reach::Http(parsed)),
            "ws" | "wss" => Ok(Reach::WebSocket(parsed)),
            // `user:password@host`: what looks like a scheme is a name.
            _ if !parsed.has_host() => Err(SourceError::BadUrl(format!(
                "the endpoint {host:?} has no scheme: write http://, https://, ws:// or wss:// before it"
            ))),
            other => Err(SourceError::BadUrl(format!(
                "an endpoint at {host} has the scheme {other:?}: use http, https, ws, wss or the path of an IPC socket"
            ))),
        },
        Err(_) if url.contains("://") => Err(SourceError::BadUrl(format!("{host:?} is no URL of an endpoint"))),
        Err(_) if std::path::Path::new(url).exists() => Ok(Reach::Ipc(url.to_owned())),
        Err(_) => Err(SourceError::BadUrl(format!(
            "the endpoint {host:?} is neither a URL (http, https, ws, wss) nor the path of an IPC socket that exists"
        ))),
    }
}

/// A JSON-RPC quantity.
fn quantity(raw: &RawValue) -> Result<u64, CallError> {
    serde_json::from_str::<alloy::primitives::U64>(raw.get())
        .map(|value| value.to())
        .map_err(|error| CallError::BadAnswer(error.to_string()))
}
