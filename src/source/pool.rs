//! Several endpoints as one source. Each thing is asked of the endpoint that is expected to answer best, and whatever fails there
//! is asked of the others; nobody has to trust any of them.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::eips::BlockNumHash;
use alloy::primitives::B256;

use super::call::CallError;
use super::endpoint::{Endpoint, Shared};
use super::lies::{Asked, Lie, Lies};
use super::race::Work;
use super::state::Known;
use super::{SourceError, TraceMode};
use crate::chain::canonical::Link;

/// One endpoint and how much may be asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointOptions {
    /// http, https, ws, wss, or the path of an IPC socket.
    pub url: String,
    /// Requests a second, more than 0; none: as many as it stands.
    pub rate: Option<f64>,
    /// Most requests in flight at once.
    pub concurrency: u32,
}

/// How the pool is made.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Endpoints, the preferred one first.
    pub endpoints: Vec<EndpointOptions>,
    /// For every single call.
    pub timeout: Duration,
    /// Bytes of one answer; a larger one is not read.
    pub max_answer: u64,
    /// The chain they all must be of; none takes the chain of the first that answers.
    pub chain_id: Option<u64>,
    /// Whether traces are wanted.
    pub traces: TraceMode,
    /// How often all of them are asked before giving up; none never gives up (watching).
    pub rounds: Option<u32>,
    /// Take headers without checking that they hash to their hash.
    pub trust: bool,
    /// Ask for blocks by `debug_getRawBlock` and `debug_getRawReceipts` where an endpoint has them; never on trust, since RLP names no
    /// senders.
    pub raw: bool,
    /// How many endpoints must have the same block at the head; 1 asks for none but the first.
    pub quorum: usize,
    /// Blocks that are known for sure: an endpoint that has another one there is not believed.
    pub checkpoints: Vec<BlockNumHash>,
}

/// The newest block of an endpoint.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its place in the chain.
    pub link: Link,
    /// Who told.
    pub host: String,
    /// Another endpoint has it, or one near it, or it is near what is held: blocks below it may be left for later. With a single
    /// endpoint there is nobody else to ask.
    pub may_jump: bool,
}

/// The endpoints.
#[derive(Debug)]
pub struct Pool {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) shared: Arc<Shared>,
    pub(super) chain_id: u64,
    pub(super) traces: TraceMode,
    pub(super) rounds: Option<u32>,
    pub(super) quorum: usize,
    pub(super) slot: Mutex<Option<Duration>>,
    pub(super) known: Mutex<Known>,
    /// The highest block that is held, or that more than one endpoint has.
    pub(super) anchor: Mutex<Option<u64>>,
    /// What is wrong with finality: a problem's code, and what it is.
    pub(super) finality_problem: Mutex<Option<(&'static str, String)>>,
}

/// Rounds over all endpoints at start before it is said that none can be reached.
const ROUNDS_AT_START: u32 = 4;
/// For the others at start, once one has answered: what is slow is checked when it is first used.
const GRACE_AT_START: Duration = Duration::from_secs(3);

impl Pool {
    fn new(options: &PoolOptions) -> Result<Self, SourceError> {
        if options.quorum > options.endpoints.len() {
            return Err(SourceError::BadUrl(format!(
                "a quorum of {} needs that many endpoints: there are {}",
                options.quorum,
                options.endpoints.len()
            )));
        }
        let shared = Arc::new(Shared {
            trust: options.trust,
            raw: options.raw && !options.trust,
            checkpoints: options.checkpoints.iter().map(|block| (block.number, block.hash)).collect(),
            timeout: options.timeout,
            max_answer: options.max_answer,
            is_alone: options.endpoints.len() == 1,
            lies: Lies::default(),
            received: Arc::default(),
            freed: tokio::sync::Notify::new(),
            traces_fail: std::sync::atomic::AtomicBool::new(false),
        });
        let endpoint = |options| Endpoint::new(options, shared.clone()).map(Arc::new);
        Ok(Self {
            endpoints: options.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
            shared,
            chain_id: options.chain_id.unwrap_or_default(),
            traces: options.traces,
            rounds: Some(ROUNDS_AT_START),
            quorum: options.quorum.max(1),
            slot: Mutex::new(None),
            known: Mutex::default(),
            anchor: Mutex::default(),
            finality_problem: Mutex::default(),
        })
    }

    /// Makes sure that at least one endpoint answers and that all that do are of one chain, and have the blocks of the checkpoints.
    ///
    /// # Errors
    /// [`SourceError::BadUrl`], [`SourceError::WrongChain`], [`SourceError::Unreachable`]; [`SourceError::Unproven`] where all that
    /// answer have another block at a checkpoint.
    pub async fn connect(options: PoolOptions) -> Result<Self, SourceError> {
        Self::connect_or_lies(options).await.map_err(|(error, _)| error)
    }

    /// The same; where no pool comes of it, what endpoints lied about is handed out with the reason.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_or_lies(options: PoolOptions) -> Result<Self, (SourceError, Vec<Lie>)> {
        let mut pool = Self::new(&options).map_err(|error| (error, Vec::new()))?;
        match pool.start(&options).await {
            Ok(()) => Ok(pool),
            Err(error) => Err((error, pool.take_lies().0)),
        }
    }

    async fn start(&mut self, options: &PoolOptions) -> Result<(), SourceError> {
        let pool = self;
        if options.chain_id.is_none() {
            let work = Work::plain("eth_chainId");
            pool.chain_id = pool.race(work, |endpoint| async move { Ok(endpoint.chain_id().await?) }).await?;
        }
        let mut answered = false;
        for (endpoint, answer) in pool.ask_all(Endpoint::chain_id).await {
            match answer {
                Some(Ok(found)) if found != pool.chain_id => {
                    return Err(SourceError::WrongChain {
                        host: endpoint.host.clone(),
                        found,
                        expected: pool.chain_id,
                    });
                }
                Some(Ok(_)) => answered = true,
                Some(Err(error)) => tracing::warn!(host = %endpoint.host, %error, "endpoint does not answer yet"),
                None => tracing::warn!(host = %endpoint.host, "endpoint does not answer yet"),
            }
            endpoint.expect_chain(pool.chain_id);
        }
        // From here on each call compares chain and checkpoints first.
        if !answered || !options.checkpoints.is_empty() {
            let work = Work::plain("eth_chainId");
            pool.race(work, |endpoint| async move { Ok(endpoint.chain_id().await?) }).await?;
            pool.ask_all(Endpoint::chain_id).await;
        }
        for endpoint in &pool.endpoints {
            let endpoint = endpoint.clone();
            tokio::spawn(async move { endpoint.probe_client().await });
        }
        pool.rounds = options.rounds;
        Ok(())
    }

    /// Finds out all about the endpoints, whether they can be used or not, for [`states`](Self::states).
    ///
    /// # Errors
    /// [`SourceError::BadUrl`].
    pub async fn survey(options: PoolOptions) -> Result<Self, SourceError> {
        let mut pool = Self::new(&options)?;
        let answers = pool.ask_all(Endpoint::chain_id).await;
        let first = answers.iter().find_map(|(_, answer)| answer.as_ref()?.as_ref().ok().copied());
        let chain_id = options.chain_id.or(first);
        for (endpoint, answer) in answers {
            if let Some(Err(error)) = answer {
                endpoint.note_error(error.to_string());
            }
            if let Some(chain_id) = chain_id {
                endpoint.expect_chain(chain_id);
            }
        }
        pool.chain_id = chain_id.unwrap_or_default();
        pool.probe_all().await;
        Ok(pool)
    }

    /// Asks all endpoints at once; those that take much longer than the first have no answer.
    async fn ask_all<T>(
        &self,
        ask: impl AsyncFn(&Endpoint) -> Result<T, CallError>,
    ) -> Vec<(&Arc<Endpoint>, Option<Result<T, CallError>>)> {
        let answered = tokio::sync::Notify::new();
        let one = async |endpoint: &Arc<Endpoint>| {
            let asking = ask(endpoint);
            tokio::pin!(asking);
            let late = async {
                answered.notified().await;
                // For the next that waits.
                answered.notify_one();
                tokio::time::sleep(GRACE_AT_START).await;
            };
            tokio::select! {
                answer = &mut asking => {
                    if answer.is_ok() {
                        answered.notify_one();
                    }
                    Some(answer)
                }
                () = late => None,
            }
        };
        let answers = futures_util::future::join_all(self.endpoints.iter().map(one)).await;
        self.endpoints.iter().zip(answers).collect()
    }

    /// The chain of all endpoints.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The chain whose rules blocks are held against; none where endpoints are taken at their word.
    pub(super) fn rules_of(&self) -> Option<u64> {
        (!self.shared.trust).then_some(self.chain_id)
    }

    /// Counts the bytes of blocks and receipts that came.
    pub fn received(&self) -> Arc<AtomicU64> {
        self.shared.received.clone()
    }

    /// Whether more than one endpoint must say which block a height has.
    pub fn wants_quorum(&self) -> bool {
        self.quorum > 1
    }

    /// Hosts of the endpoints with what is known of their traces.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, Option<&'static str>)> {
        self.endpoints.iter().map(|endpoint| (endpoint.host.as_str(), endpoint.known_traces()))
    }

    /// The block of that number, as the endpoint sees the chain now; with a quorum, as that many see it.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn link_at(&self, number: u64) -> Result<Link, SourceError> {
        if self.quorum > 1 {
            return self.link_by_quorum(number).await;
        }
        let timeout = self.shared.timeout;
        let what = number.to_string();
        let ask = |endpoint: Arc<Endpoint>| async move { endpoint.link(Asked::Number(number), timeout).await };
        self.race(Work::block(&what, number), ask).await
    }

    /// The block of that hash.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn link(&self, hash: B256) -> Result<Link, SourceError> {
        let timeout = self.shared.timeout;
        let what = hash.to_string();
        self.race(Work::plain(&what), |endpoint| async move { endpoint.link(Asked::Hash(hash), timeout).await }).await
    }

    /// Number of the block that a tag (`earliest`, `safe`, `finalized`, `latest`) stands for.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn tagged(&self, tag: &str) -> Result<u64, SourceError> {
        let timeout = self.shared.timeout;
        let ask = |endpoint: Arc<Endpoint>| async move { endpoint.link(Asked::Tag(tag), timeout).await };
        Ok(self.race(Work::plain(tag), ask).await?.number)
    }

    /// Whether traces are wanted.
    pub fn wants_traces(&self) -> bool {
        self.traces != TraceMode::Off
    }

    /// Whether traces are wanted and some endpoint may have them.
    pub fn may_have_traces(&self) -> bool {
        self.traces != TraceMode::Off && self.endpoints.iter().any(|e| e.known_traces() != Some("none"))
    }

    /// Whether all of these can be endpoints at all; nothing is asked of them.
    ///
    /// # Errors
    /// [`SourceError::BadUrl`].
    pub fn check_urls(urls: &[String]) -> Result<(), SourceError> {
        urls.iter().try_for_each(|url| Endpoint::check_url(url))
    }

    /// Failures of endpoints since this was last asked: host, what it was, when (unix seconds).
    pub fn take_errors(&self) -> impl Iterator<Item = (&str, String, i64)> {
        self.endpoints.iter().filter_map(|e| e.take_error().map(|(error, at)| (e.host.as_str(), error, at)))
    }

    /// Answers that could not be true since this was last asked, and how many more there were than are kept.
    pub fn take_lies(&self) -> (Vec<Lie>, u64) {
        self.shared.lies.take()
    }
}
