//! One endpoint: its connection, what it can do, and the calls that a block takes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider, RootProvider};
use alloy::rpc::client::{BatchRequest, RpcClient, WsConnect};
use alloy::rpc::json_rpc::RpcSend;
use alloy::transports::http::reqwest;
use alloy::transports::ipc::IpcConnect;
use alloy::transports::ws::WebSocketConfig;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::call::{CallError, host_of};
use super::{RawBundle, SourceError};

/// Receipts that are asked for in one batch where the whole block's cannot be had.
const RECEIPTS_PER_BATCH: usize = 50;
/// A block's receipts in one WebSocket message pass the usual limits.
const MAX_MESSAGE: usize = 1 << 29;

/// How traces are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TraceMethod {
    DebugTraceBlock,
    TraceBlock,
}

impl TraceMethod {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DebugTraceBlock => "debug_traceBlockByHash",
            Self::TraceBlock => "trace_block",
        }
    }
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
    timeout: Duration,
    expected_chain: OnceLock<u64>,
    provider: Mutex<Option<DynProvider>>,
    chain_checked: AtomicBool,
    no_block_receipts: AtomicBool,
    no_batches: AtomicBool,
    traces: OnceCell<Option<TraceMethod>>,
    /// The last failure, and when (unix seconds), until it is taken to be kept.
    last_error: std::sync::Mutex<Option<(String, i64)>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// From a URL or the path of an IPC socket. Does not connect yet.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, SourceError> {
        let host = host_of(url);
        let address = match Url::parse(url) {
            Ok(parsed) => match parsed.scheme() {
                "http" | "https" => Reach::Http(parsed),
                "ws" | "wss" => Reach::WebSocket(parsed),
                other => {
                    return Err(SourceError::BadUrl(format!(
                        "an endpoint at {host} has the scheme {other:?}: use http, https, ws, wss or the path of an IPC socket"
                    )));
                }
            },
            Err(_) if url.contains("://") => {
                return Err(SourceError::BadUrl(format!("{host:?} is no URL of an endpoint")));
            }
            Err(_) if std::path::Path::new(url).exists() => Reach::Ipc(url.to_owned()),
            Err(_) => {
                return Err(SourceError::BadUrl(format!(
                    "the endpoint {host:?} is neither a URL (http, https, ws, wss) nor the path of an IPC socket that exists"
                )));
            }
        };
        Ok(Self {
            url: url.to_owned(),
            address,
            host,
            timeout,
            expected_chain: OnceLock::new(),
            provider: Mutex::new(None),
            chain_checked: AtomicBool::new(false),
            no_block_receipts: AtomicBool::new(false),
            no_batches: AtomicBool::new(false),
            traces: OnceCell::new(),
            last_error: std::sync::Mutex::new(None),
        })
    }

    /// Whether it can push new heads.
    pub(super) fn can_subscribe(&self) -> bool {
        !matches!(self.address, Reach::Http(_))
    }

    async fn connect(&self) -> Result<DynProvider, CallError> {
        let client = match &self.address {
            Reach::Http(url) => {
                let http = reqwest::Client::builder()
                    .connect_timeout(self.timeout)
                    .timeout(self.timeout)
                    .build()
                    .map_err(|error| CallError::Transport(error.to_string()))?;
                RpcClient::new_http_with_client(http, url.clone())
            }
            Reach::WebSocket(url) => {
                let config =
                    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
                let connect = WsConnect::new(url.as_str()).with_config(config).with_max_retries(1);
                RpcClient::connect_pubsub(connect).await.map_err(|e| self.alloy_error(e, "connect"))?
            }
            Reach::Ipc(path) => RpcClient::connect_pubsub(IpcConnect::new(path.clone()))
                .await
                .map_err(|e| self.alloy_error(e, "connect"))?,
        };
        Ok(RootProvider::<alloy::network::Ethereum>::new(client).erased())
    }

    fn alloy_error(&self, error: alloy::transports::TransportError, method: &str) -> CallError {
        CallError::from_alloy(error, method, &self.url)
    }

    /// The connection, made on first use and after it was lost. Its chain is checked before anything else is believed.
    async fn provider(&self) -> Result<DynProvider, CallError> {
        let mut slot = self.provider.lock().await;
        let provider = match &*slot {
            Some(provider) => provider.clone(),
            None => {
                let connected = tokio::time::timeout(self.timeout, self.connect()).await;
                let provider = connected.map_err(|_| CallError::Timeout(self.timeout))??;
                slot.insert(provider).clone()
            }
        };
        drop(slot);
        if let Some(expected) = self.expected_chain.get()
            && !self.chain_checked.load(Ordering::Relaxed)
        {
            let found = self.chain_id_of(&provider).await?;
            if found != *expected {
                return Err(CallError::WrongChain(found));
            }
            self.chain_checked.store(true, Ordering::Relaxed);
        }
        Ok(provider)
    }

    async fn chain_id_of(&self, provider: &DynProvider) -> Result<u64, CallError> {
        let raw =
            self.bounded("eth_chainId", provider.client().request_noparams::<Box<RawValue>>("eth_chainId")).await?;
        quantity(&raw)
    }

    /// From now on nothing is believed of this endpoint before it has said that it is of this chain.
    pub(super) fn expect_chain(&self, chain_id: u64) {
        let _ = self.expected_chain.set(chain_id);
    }

    /// `eth_chainId`.
    pub(super) async fn chain_id(&self) -> Result<u64, CallError> {
        let raw = self.call("eth_chainId", ()).await?;
        quantity(&raw)
    }

    async fn bounded<T>(
        &self,
        method: &str,
        call: impl IntoFuture<Output = Result<T, alloy::transports::TransportError>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(self.timeout, call.into_future()).await {
            Ok(outcome) => outcome.map_err(|error| self.alloy_error(error, method)),
            Err(_) => Err(CallError::Timeout(self.timeout)),
        }
    }

    /// A lost connection, or one that no longer answers, is made anew next time.
    async fn forget_if_gone<T>(&self, outcome: &Result<T, CallError>) {
        let lost = match outcome {
            Err(CallError::Gone) => true,
            Err(CallError::Timeout(_)) => self.can_subscribe(),
            _ => false,
        };
        if lost {
            *self.provider.lock().await = None;
        }
    }

    /// One call; null is [`CallError::NotFound`].
    async fn call<P: RpcSend>(&self, method: &'static str, params: P) -> Result<Box<RawValue>, CallError> {
        // On the heap: what waits for an answer is large, and many wait at once.
        let outcome = Box::pin(async {
            let provider = self.provider().await?;
            tracing::trace!(host = %self.host, method, "request");
            self.bounded(method, provider.client().request::<P, Box<RawValue>>(method, params)).await
        })
        .await;
        self.forget_if_gone(&outcome).await;
        match outcome {
            Ok(raw) if raw.get() == "null" => Err(CallError::NotFound),
            other => other,
        }
    }

    /// `eth_getBlockByNumber` without transactions: a number in hex, or a tag.
    pub(super) async fn header_at(&self, block: &str) -> Result<Box<RawValue>, CallError> {
        self.call("eth_getBlockByNumber", (block, false)).await
    }

    /// `eth_getBlockByHash` without transactions.
    pub(super) async fn header(&self, hash: B256) -> Result<Box<RawValue>, CallError> {
        self.call("eth_getBlockByHash", (hash, false)).await
    }

    /// Everything of a block by its hash, with traces where they are wanted and can be had here.
    pub(super) async fn bundle(&self, number: u64, hash: B256, want_traces: bool) -> Result<RawBundle, CallError> {
        let (block, receipts, traces) =
            tokio::join!(self.call("eth_getBlockByHash", (hash, true)), self.block_receipts(hash), async {
                if want_traces { self.block_traces(number, hash).await } else { None }
            });
        let block = block?;
        let receipts = match receipts? {
            Some(receipts) => receipts,
            None => self.receipts_one_by_one(&block).await?,
        };
        Ok(RawBundle { block, receipts, traces, endpoint: self.host.clone() })
    }

    /// None where the endpoint does not have the method.
    async fn block_receipts(&self, hash: B256) -> Result<Option<Box<RawValue>>, CallError> {
        if self.no_block_receipts.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.call("eth_getBlockReceipts", (hash,)).await {
            Err(CallError::Unsupported(_)) => {
                if !self.no_block_receipts.swap(true, Ordering::Relaxed) {
                    tracing::info!(host = %self.host, "has no eth_getBlockReceipts: receipts are asked for one by one");
                }
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    async fn receipts_one_by_one(&self, block: &RawValue) -> Result<Box<RawValue>, CallError> {
        #[derive(Deserialize)]
        struct Hashes {
            transactions: Vec<Hash>,
        }
        #[derive(Deserialize)]
        struct Hash {
            hash: B256,
        }
        let hashes: Hashes =
            serde_json::from_str(block.get()).map_err(|error| CallError::BadAnswer(error.to_string()))?;
        let mut receipts: Vec<Box<RawValue>> = Vec::with_capacity(hashes.transactions.len());
        for chunk in hashes.transactions.chunks(RECEIPTS_PER_BATCH) {
            receipts.extend(self.receipts_of(&chunk.iter().map(|tx| tx.hash).collect::<Vec<_>>()).await?);
        }
        if receipts.iter().any(|receipt| receipt.get() == "null") {
            return Err(CallError::NotFound);
        }
        serde_json::value::to_raw_value(&receipts).map_err(|error| CallError::BadAnswer(error.to_string()))
    }

    async fn receipts_of(&self, hashes: &[B256]) -> Result<Vec<Box<RawValue>>, CallError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        if !self.no_batches.load(Ordering::Relaxed) {
            let provider = self.provider().await?;
            let bad = |error| self.alloy_error(error, METHOD);
            let mut batch = BatchRequest::new(provider.client());
            let mut waiters = Vec::with_capacity(hashes.len());
            for hash in hashes {
                waiters.push(batch.add_call::<_, Box<RawValue>>(METHOD, &(hash,)).map_err(bad)?);
            }
            let answered = async {
                batch.send().await?;
                futures_util::future::try_join_all(waiters).await
            };
            match self.bounded(METHOD, answered).await {
                Ok(receipts) => return Ok(receipts),
                Err(error @ (CallError::Timeout(_) | CallError::Throttled(_) | CallError::Gone)) => return Err(error),
                Err(error) => {
                    tracing::info!(host = %self.host, %error, "takes no batches: each receipt is a call of its own");
                    self.no_batches.store(true, Ordering::Relaxed);
                }
            }
        }
        let mut receipts = Vec::with_capacity(hashes.len());
        for hash in hashes {
            receipts.push(self.call(METHOD, (hash,)).await?);
        }
        Ok(receipts)
    }

    /// The traces of a block; none where the endpoint has no such method or fails at it, which is said.
    pub(super) async fn block_traces(&self, number: u64, hash: B256) -> Option<Box<RawValue>> {
        let traces = async {
            match self.trace_method(number, hash).await? {
                Some(method) => self.traces_by(method, number, hash).await.map(Some),
                None => Ok(None),
            }
        };
        traces.await.unwrap_or_else(|error: CallError| {
            tracing::warn!(host = %self.host, %hash, %error, "no traces of this block from here");
            None
        })
    }

    async fn traces_by(&self, method: TraceMethod, number: u64, hash: B256) -> Result<Box<RawValue>, CallError> {
        match method {
            TraceMethod::DebugTraceBlock => {
                self.call("debug_traceBlockByHash", (hash, json!({"tracer": "callTracer"}))).await
            }
            TraceMethod::TraceBlock => self.call("trace_block", (format!("{number:#x}"),)).await,
        }
    }

    /// Which method it has, found out once, on a real block.
    async fn trace_method(&self, number: u64, hash: B256) -> Result<Option<TraceMethod>, CallError> {
        let find = async || {
            let mut failed = None;
            for method in [TraceMethod::DebugTraceBlock, TraceMethod::TraceBlock] {
                match self.traces_by(method, number, hash).await {
                    Ok(_) => {
                        tracing::info!(host = %self.host, method = method.name(), "has traces");
                        return Ok(Some(method));
                    }
                    Err(CallError::Unsupported(_)) => {}
                    // It has the method and failed at this block (no state that old, say): another block may tell.
                    Err(other) => failed = Some(other),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            tracing::warn!(host = %self.host, "has no traces: internal transfers are not seen by it");
            Ok(None)
        };
        self.traces.get_or_try_init(find).await.copied()
    }

    /// What is known of its traces, without asking.
    pub(super) fn known_traces(&self) -> Option<&'static str> {
        self.traces.get().map(|known| known.map_or("none", TraceMethod::name))
    }

    /// Keeps a failure for `status`.
    pub(super) fn note_error(&self, error: String) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Ok(mut slot) = self.last_error.lock() {
            *slot = Some((error, i64::try_from(now).unwrap_or(i64::MAX)));
        }
    }

    /// The last failure since this was last asked.
    pub(super) fn take_error(&self) -> Option<(String, i64)> {
        self.last_error.lock().ok().and_then(|mut slot| slot.take())
    }

    /// `eth_call` at a block, by its hash ([EIP-1898](https://eips.ethereum.org/EIPS/eip-1898)), or at the latest one.
    pub(super) async fn eth_call(&self, to: Address, data: &[u8], block: Option<B256>) -> Result<Bytes, CallError> {
        let block = block.map_or_else(|| json!("latest"), |hash| json!({"blockHash": hash}));
        let call = json!({"to": to, "data": Bytes::copy_from_slice(data)});
        let raw = self.call("eth_call", (call, block)).await?;
        serde_json::from_str(raw.get()).map_err(|error| CallError::BadAnswer(error.to_string()))
    }

    /// Calls `wake` at every new head until the subscription ends.
    pub(super) async fn heads(&self, wake: &tokio::sync::Notify) -> Result<(), CallError> {
        let provider = self.provider().await?;
        let subscription = self.bounded("eth_subscribe", provider.subscribe_blocks()).await?;
        let mut raw = subscription.into_raw();
        // A lagged receiver has missed heads, which does not matter to a doorbell.
        while !matches!(raw.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
            wake.notify_one();
        }
        Ok(())
    }
}

/// A JSON-RPC quantity.
fn quantity(raw: &RawValue) -> Result<u64, CallError> {
    serde_json::from_str::<alloy::primitives::U64>(raw.get())
        .map(|value| value.to())
        .map_err(|error| CallError::BadAnswer(error.to_string()))
}
