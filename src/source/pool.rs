//! Several endpoints as one source: the one that answered last goes first, and whatever fails there is asked of the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy::consensus::Header;
use alloy::primitives::{Address, B256, U64};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::call::CallError;
use super::endpoint::Endpoint;
use super::{ProofError, RawBundle, SourceError, TraceMode, token};
use crate::chain::canonical::Link;

/// How the pool is made.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Endpoints, the preferred one first.
    pub urls: Vec<String>,
    /// For every single call.
    pub timeout: Duration,
    /// The chain they all must be of; none takes the chain of the first that answers.
    pub chain_id: Option<u64>,
    /// Whether traces are wanted.
    pub traces: TraceMode,
    /// How often all of them are asked before giving up; none never gives up (watching).
    pub rounds: Option<u32>,
    /// Take headers without checking that they hash to their hash.
    pub trust: bool,
}

/// The newest block of an endpoint.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its place in the chain.
    pub link: Link,
    /// Who told.
    pub host: String,
}

/// Heights of the endpoint's `safe` and `finalized` blocks; none where it has no such tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tags {
    /// Height of `safe`.
    pub safe: Option<u64>,
    /// Height of `finalized`.
    pub finalized: Option<u64>,
}

/// The endpoints.
#[derive(Debug)]
pub struct Pool {
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
    chain_id: u64,
    traces: TraceMode,
    rounds: Option<u32>,
    trust: bool,
}

/// Why an endpoint's answer was of no use.
enum Miss {
    Call(CallError),
    Proof(ProofError),
}

impl From<CallError> for Miss {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// Rounds over all endpoints at start before it is said that none can be reached.
const ROUNDS_AT_START: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An endpoint may not put us off for longer than that.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// For all that is asked of the tokens of a block.
const TOKEN_BUDGET: Duration = Duration::from_secs(2);

impl Pool {
    /// Makes sure that at least one endpoint answers and that all that do are of one chain.
    ///
    /// # Errors
    /// [`SourceError::BadUrl`], [`SourceError::WrongChain`], [`SourceError::Unreachable`].
    pub async fn connect(options: PoolOptions) -> Result<Self, SourceError> {
        let endpoints =
            options.urls.iter().map(|url| Endpoint::new(url, options.timeout)).collect::<Result<Vec<_>, _>>()?;
        let mut pool = Self {
            endpoints,
            preferred: AtomicUsize::new(0),
            chain_id: 0,
            traces: options.traces,
            rounds: Some(ROUNDS_AT_START),
            trust: options.trust,
        };
        pool.chain_id = match options.chain_id {
            Some(chain_id) => chain_id,
            None => pool.each("eth_chainId", async |endpoint| Ok(endpoint.chain_id().await?)).await?,
        };
        let answers = futures_util::future::join_all(pool.endpoints.iter().map(Endpoint::chain_id)).await;
        for (endpoint, answer) in pool.endpoints.iter().zip(&answers) {
            match answer {
                Ok(found) if *found != pool.chain_id => {
                    return Err(SourceError::WrongChain {
                        host: endpoint.host.clone(),
                        found: *found,
                        expected: pool.chain_id,
                    });
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(host = %endpoint.host, %error, "endpoint does not answer yet"),
            }
            endpoint.expect_chain(pool.chain_id);
        }
        if answers.iter().all(Result::is_err) {
            pool.each("eth_chainId", async |endpoint| Ok(endpoint.chain_id().await?)).await?;
        }
        pool.rounds = options.rounds;
        Ok(pool)
    }

    /// The chain of all endpoints.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Hosts of the endpoints with what is known of their traces.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, Option<&'static str>)> {
        self.endpoints.iter().map(|endpoint| (endpoint.host.as_str(), endpoint.known_traces()))
    }

    /// Asks one endpoint after the other, the last that did well first, in rounds with growing pauses.
    async fn each<T>(&self, what: &str, ask: impl AsyncFn(&Endpoint) -> Result<T, Miss>) -> Result<T, SourceError> {
        let count = self.endpoints.len();
        let mut pause = FIRST_PAUSE;
        let mut round = 0;
        loop {
            let first = self.preferred.load(Ordering::Relaxed);
            let mut unproven = None;
            let mut unknown = false;
            let mut unsupported = 0;
            let mut unreachable = String::new();
            let mut wait: Option<Duration> = None;
            for step in 0..count {
                let place = (first + step) % count;
                let endpoint = &self.endpoints[place];
                let host = &endpoint.host;
                match ask(endpoint).await {
                    Ok(value) => {
                        self.preferred.store(place, Ordering::Relaxed);
                        return Ok(value);
                    }
                    Err(Miss::Proof(reason)) => {
                        tracing::warn!(%host, what, %reason, "endpoint gave what cannot be proven: asking another");
                        endpoint.note_error(format!("block {what}: {reason}"));
                        unproven = Some((host.clone(), reason));
                    }
                    Err(Miss::Call(CallError::NotFound)) => {
                        tracing::debug!(%host, what, "endpoint does not have it (yet)");
                        unknown = true;
                    }
                    Err(Miss::Call(CallError::WrongChain(found))) => {
                        return Err(SourceError::WrongChain { host: host.clone(), found, expected: self.chain_id });
                    }
                    Err(Miss::Call(error)) => {
                        tracing::warn!(%host, what, %error, "endpoint failed");
                        endpoint.note_error(error.to_string());
                        match &error {
                            CallError::Throttled(Some(after)) => wait = Some(wait.map_or(*after, |w| w.min(*after))),
                            CallError::Unsupported(_) => unsupported += 1,
                            _ => {}
                        }
                        unreachable = format!("{host}: {error}");
                    }
                }
            }
            round += 1;
            if unsupported == count {
                return Err(if self.traces == TraceMode::Require {
                    SourceError::NoTraces
                } else {
                    SourceError::Unreachable(unreachable)
                });
            }
            if self.rounds.is_some_and(|rounds| round >= rounds) {
                return Err(match (unproven, unknown) {
                    (Some((host, reason)), _) => {
                        SourceError::Unproven { block: what.to_owned(), host, reason: Box::new(reason) }
                    }
                    (None, true) => SourceError::Unknown(what.to_owned()),
                    (None, false) => SourceError::Unreachable(unreachable),
                });
            }
            let pause_now = wait.map_or(pause, |after| after.min(LONGEST_RETRY_AFTER).max(pause));
            tokio::time::sleep(jittered(pause_now)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The newest block.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn head(&self) -> Result<Head, SourceError> {
        self.each("the latest block", async |endpoint| {
            let link = self.read_link(&endpoint.header_at("latest").await?)?;
            Ok(Head { link, host: endpoint.host.clone() })
        })
        .await
    }

    /// The block of that number, as the endpoint sees the chain now.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn link_at(&self, number: u64) -> Result<Link, SourceError> {
        self.each(&number.to_string(), async |endpoint| {
            let link = self.read_link(&endpoint.header_at(&format!("{number:#x}")).await?)?;
            if link.number != number {
                return Err(CallError::BadAnswer(format!("asked for block {number}, got {}", link.number)).into());
            }
            Ok(link)
        })
        .await
    }

    /// The block of that hash.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn link(&self, hash: B256) -> Result<Link, SourceError> {
        self.each(&hash.to_string(), async |endpoint| {
            let link = self.read_link(&endpoint.header(hash).await?)?;
            if link.hash != hash {
                return Err(CallError::BadAnswer(format!("asked for block {hash}, got {}", link.hash)).into());
            }
            Ok(link)
        })
        .await
    }

    /// Number of the block that a tag (`earliest`, `safe`, `finalized`, `latest`) stands for.
    ///
    /// # Errors
    /// [`SourceError`] once the rounds are used up.
    pub async fn tagged(&self, tag: &str) -> Result<u64, SourceError> {
        self.each(tag, async |endpoint| Ok(self.read_link(&endpoint.header_at(tag).await?)?.number)).await
    }

    /// Everything of a block, by its hash, as soon as `judge` takes an endpoint's answer.
    ///
    /// # Errors
    /// [`SourceError::Unproven`] where `judge` took none; others once the rounds are used up.
    pub async fn bundle<T>(
        &self,
        number: u64,
        hash: B256,
        judge: impl AsyncFn(RawBundle) -> Result<T, ProofError>,
    ) -> Result<T, SourceError> {
        let want_traces = self.traces != TraceMode::Off;
        self.each(&number.to_string(), async |endpoint| {
            let mut raw = endpoint.bundle(number, hash, want_traces).await?;
            if want_traces && raw.traces.is_none() {
                raw.traces = self.traces_elsewhere(endpoint, number, hash).await;
            }
            if self.traces == TraceMode::Require && raw.traces.is_none() {
                return Err(if self.may_have_traces() {
                    CallError::Transport("no traces of this block just now".into()).into()
                } else {
                    CallError::Unsupported("traces".into()).into()
                });
            }
            judge(raw).await.map_err(Miss::Proof)
        })
        .await
    }

    /// Whether traces are wanted and some endpoint may have them.
    pub fn may_have_traces(&self) -> bool {
        self.traces != TraceMode::Off && self.endpoints.iter().any(|e| e.known_traces() != Some("none"))
    }

    /// Traces of a block from any endpoint but that one.
    async fn traces_elsewhere(&self, but: &Endpoint, number: u64, hash: B256) -> Option<Box<RawValue>> {
        for endpoint in self.endpoints.iter().filter(|endpoint| !std::ptr::eq(*endpoint, but)) {
            if endpoint.known_traces() == Some("none") {
                continue;
            }
            if let Some(traces) = endpoint.block_traces(number, hash).await {
                return Some(traces);
            }
        }
        None
    }

    /// Whether all of these can be endpoints at all; nothing is asked of them.
    ///
    /// # Errors
    /// [`SourceError::BadUrl`].
    pub fn check_urls(urls: &[String]) -> Result<(), SourceError> {
        urls.iter().try_for_each(|url| Endpoint::new(url, Duration::ZERO).map(|_| ()))
    }

    /// Failures of endpoints since this was last asked: host, what it was, when (unix seconds).
    pub fn take_errors(&self) -> impl Iterator<Item = (&str, String, i64)> {
        self.endpoints.iter().filter_map(|e| e.take_error().map(|(error, at)| (e.host.as_str(), error, at)))
    }

    /// What the endpoint that told of a head says of finality; none where it cannot be had just now.
    pub async fn tags(&self, host: &str) -> Option<Tags> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.host == host)?;
        let tag = async |tag: &str| match endpoint.header_at(tag).await {
            Ok(raw) => self.read_link(&raw).map(|link| Some(link.number)).map_err(|_| ()),
            // An internal error says nothing of the tag.
            Err(CallError::Rpc { code: -32603, .. }) => Err(()),
            Err(CallError::Unsupported(_) | CallError::Rpc { .. } | CallError::NotFound) => Ok(None),
            Err(_) => Err(()),
        };
        let (safe, finalized) = tokio::join!(tag("safe"), tag("finalized"));
        Some(Tags { safe: safe.ok()?, finalized: finalized.ok()? })
    }

    /// What tokens say of themselves at a block: those that could be asked. A token without such methods answers with nothing; an
    /// endpoint that cannot say (no state for that block) is asked for the latest state, and left out if that fails too.
    pub async fn tokens(&self, tokens: &[Address], block: Option<B256>) -> Vec<(Address, Option<String>, Option<u8>)> {
        let endpoint = &self.endpoints[self.preferred.load(Ordering::Relaxed) % self.endpoints.len()];
        let ask = async |token: Address| {
            let both = async {
                tokio::join!(
                    asked(endpoint, token, token::symbol_call(), block),
                    asked(endpoint, token, token::decimals_call(), block)
                )
            };
            let (symbol, decimals) = tokio::time::timeout(TOKEN_BUDGET, both).await.ok()?;
            Some((token, token::read_symbol(&symbol?), token::read_decimals(&decimals?)))
        };
        let answers = futures_util::future::join_all(tokens.iter().map(|token| ask(*token))).await;
        answers.into_iter().flatten().collect()
    }

    /// Wakes whenever an endpoint that can push says there is a new head. Never ends; polling must be enough without it.
    pub async fn ring(&self, wake: &Notify) {
        let listen = async |endpoint: &Endpoint| {
            loop {
                match endpoint.heads(wake).await {
                    Ok(()) => tracing::debug!(host = %endpoint.host, "subscription ended: made anew"),
                    Err(error) => tracing::debug!(host = %endpoint.host, %error, "no subscription: polling goes on"),
                }
                tokio::time::sleep(jittered(Duration::from_secs(5))).await;
            }
        };
        let pushing = self.endpoints.iter().filter(|endpoint| endpoint.can_subscribe());
        futures_util::future::join_all(pushing.map(listen)).await;
        std::future::pending::<()>().await;
    }

    fn read_link(&self, raw: &RawValue) -> Result<Link, Miss> {
        #[derive(Deserialize)]
        struct Hashed {
            hash: B256,
            number: U64,
            #[serde(rename = "parentHash")]
            parent_hash: B256,
        }
        let unreadable = |error: serde_json::Error| CallError::BadAnswer(error.to_string());
        let claimed: Hashed = serde_json::from_str(raw.get()).map_err(unreadable)?;
        let link = Link { number: claimed.number.to(), hash: claimed.hash, parent_hash: claimed.parent_hash };
        if !self.trust {
            let header: Header = serde_json::from_str(raw.get()).map_err(unreadable)?;
            let hash = header.hash_slow();
            if hash != link.hash {
                return Err(Miss::Proof(ProofError::Refused(crate::chain::VerifyError::Mismatch {
                    part: crate::chain::Part::HeaderHash,
                    index: None,
                    found: link.hash.to_string(),
                    expected: hash.to_string(),
                })));
            }
        }
        Ok(link)
    }
}

/// The bytes that a token's method returns; empty where it has none or fails. None where the endpoint could not say.
async fn asked(endpoint: &Endpoint, token: Address, call: Vec<u8>, block: Option<B256>) -> Option<Vec<u8>> {
    // The token ran and failed, in the words of one client or another: it has no such method.
    let failed = |error: &CallError| match error {
        CallError::Rpc { code, message } => {
            let lower = message.to_lowercase();
            let words = [
                "revert",
                "invalid opcode",
                "invalid jump",
                "out of gas",
                "stack",
                "write protection",
                "evm error",
                "vm execution",
                "bad instruction",
            ];
            *code == 3 || words.iter().any(|word| lower.contains(word))
        }
        _ => false,
    };
    let mut error = match endpoint.eth_call(token, &call, block).await {
        Ok(bytes) => return Some(bytes.to_vec()),
        Err(error) => error,
    };
    if block.is_some() && !failed(&error) {
        match endpoint.eth_call(token, &call, None).await {
            Ok(bytes) => return Some(bytes.to_vec()),
            Err(again) => error = again,
        }
    }
    failed(&error).then(Vec::new)
}

/// Between half and all of a pause, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    pause / 2 + pause / 2 * (nanos % 1000) / 1000
}
