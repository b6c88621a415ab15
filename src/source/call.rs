//! What can go wrong in one call, told apart by what is to be done about it. Nothing here ever shows a URL's path or user,
//! where providers put their keys.

use std::time::Duration;

use alloy::primitives::B256;
use alloy::transports::{RpcError, TransportError, TransportErrorKind};
use url::Url;

use super::http::HttpFault;
use super::ranges;

/// Why a call brought no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Too many requests; try again after that long, where it says so.
    #[error("throttled{}", .0.map(|after| format!(", asks to wait {after:?}")).unwrap_or_default())]
    Throttled(Option<Duration>),
    /// The connection or the HTTP layer failed.
    #[error("{0}")]
    Transport(String),
    /// It is there, and refuses whatever is asked at this URL or with this key: asking again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// The connection is gone and has to be made anew.
    #[error("the connection is gone")]
    Gone,
    /// The endpoint does not have this method.
    #[error("does not have {0}")]
    Unsupported(String),
    /// An error inside the answer.
    #[error("error {code}: {message}")]
    Rpc {
        /// JSON-RPC code.
        code: i64,
        /// What it says.
        message: String,
    },
    /// It has pruned the state that a trace of the block starts from; in its own words.
    #[error("no longer has the state of the block: {0}")]
    Pruned(String),
    /// It does not know the block: it lags, or has pruned it.
    #[error("does not know the block")]
    NotFound,
    /// An answer of another shape.
    #[error("answered what cannot be read: {0}")]
    BadAnswer(String),
    /// More than it gives, or than is taken; of how many bytes, where that is known.
    #[error("the answer is too large{}", .0.map(|limit| format!(" (limit {limit} bytes)")).unwrap_or_default())]
    TooLarge(Option<u64>),
    /// More blocks, or more of what was asked for, than it goes through at once; in its own words.
    #[error("{0}")]
    TooWide(String),
    /// The endpoint is of another chain.
    #[error("is of chain {0}")]
    WrongChain(u64),
    /// Its block at a checkpoint is another one.
    #[error("its block {number} is {found}, the checkpoint says {expected}")]
    WrongCheckpoint {
        /// Number of the checkpoint.
        number: u64,
        /// What the endpoint has there.
        found: B256,
        /// What the checkpoint says.
        expected: B256,
    },
}

impl CallError {
    pub(super) fn from_alloy(error: TransportError, method: &str, url: &str) -> Self {
        match error {
            RpcError::ErrorResp(payload) => from_payload(payload.code, &redact(&payload.message, url), method),
            RpcError::NullResp => Self::NotFound,
            RpcError::DeserError { err, .. } => Self::BadAnswer(redact(&err.to_string(), url)),
            RpcError::Transport(kind) => match kind {
                TransportErrorKind::BackendGone => Self::Gone,
                TransportErrorKind::HttpErrorWithRetryAfter { retry_after, .. } => Self::Throttled(Some(retry_after)),
                TransportErrorKind::HttpError(error) if error.status == 429 => Self::Throttled(None),
                // Of a method that only some plans have, it says nothing of the others.
                TransportErrorKind::HttpError(error)
                    if matches!(error.status, 401..=405 | 410) && !EVERYONE_HAS.contains(&method) =>
                {
                    Self::Unsupported(method.to_owned())
                }
                TransportErrorKind::HttpError(error) if let Some(advice) = refusal(error.status) => {
                    let said = shorten(&error.body);
                    Self::Refused(redact(&format!("reached, but HTTP status {} ({advice}): {said}", error.status), url))
                }
                TransportErrorKind::HttpError(error) => {
                    Self::Transport(redact(&format!("HTTP status {}: {}", error.status, shorten(&error.body)), url))
                }
                TransportErrorKind::MissingBatchResponse(id) => {
                    Self::BadAnswer(format!("a batch's answer lacks the one to request {id}"))
                }
                TransportErrorKind::Custom(error) if error.is::<HttpFault>() => {
                    match error.downcast_ref::<HttpFault>() {
                        Some(HttpFault::TooLarge(limit)) => Self::TooLarge(Some(*limit)),
                        Some(HttpFault::Unreadable(why)) => Self::BadAnswer(redact(why, url)),
                        None => Self::Transport(redact(&error.to_string(), url)),
                    }
                }
                other => Self::Transport(redact(&chain_of(&other), url)),
            },
            other => Self::Transport(redact(&other.to_string(), url)),
        }
    }
}

/// How clients say that they cannot trace a block since its state is gone: geth, erigon, reth, nethermind, besu and their kin.
const PRUNED_STATE: [&str; 14] = [
    "missing trie node",
    "historical state",
    "state is not available",
    "state not available",
    "state unavailable",
    "no state available",
    "state is pruned",
    "state has been pruned",
    "pruned state",
    "pruned history",
    "due to pruning",
    "world state unavailable",
    "maximum proof window",
    "archive node",
];

/// Whether a method runs transactions again, for which it needs the state before them.
fn is_trace_method(method: &str) -> bool {
    method.starts_with("debug_trace") || method.starts_with("trace_")
}

/// Methods that an endpoint without them is none of.
const EVERYONE_HAS: [&str; 5] =
    ["eth_chainId", "eth_getBlockByNumber", "eth_getBlockByHash", "eth_getTransactionReceipt", "connect"];

/// What to do about a status that another try does not change.
fn refusal(status: u16) -> Option<&'static str> {
    match status {
        401..=403 => Some("its key is missing, wrong or not allowed this: check the key in the URL"),
        404 | 410 => Some("there is no JSON-RPC endpoint at this path: check the URL"),
        400 | 405 => Some("this is no JSON-RPC endpoint, or it needs a key: check the URL"),
        // Of a handshake: an HTTP server that does not know the upgrade, or knows no other way.
        200..=299 => Some("this server does not speak WebSocket at this path: check the URL, or try http or https"),
        426 => Some("this server speaks another protocol at this path: check the URL, or try ws or wss"),
        _ => None,
    }
}

fn from_payload(code: i64, message: &str, method: &str) -> CallError {
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // Before all else: a limit on blocks or results comes with the code of a limit on requests, and waiting would not help.
    if ranges::is_range_method(method) && ranges::says_too_wide(&lower) {
        return CallError::TooWide(cut(message, 1000));
    }
    let too_large = ["too large", "response size", "size exceed", "exceeds limit", "exceeds the limit", "too big"];
    if says(&too_large) && !says(&["block range"]) {
        return CallError::TooLarge(number_in(&lower));
    }
    if [429, -32005, -32007].contains(&code) || says(&["rate limit", "too many requests", "exceeded the quota"]) {
        return CallError::Throttled(None);
    }
    if is_trace_method(method) && says(&PRUNED_STATE) {
        return CallError::Pruned(shorten(message));
    }
    let no_method = says(&[
        "method not found",
        "does not exist",
        "not supported",
        "unsupported",
        "not available",
        "not whitelisted",
        "not allowed",
    ]);
    if code == -32601 || (no_method && !says(&["block", "header", "state"])) {
        return CallError::Unsupported(method.to_owned());
    }
    if says(&["not found", "unknown block", "header not found"]) {
        return CallError::NotFound;
    }
    CallError::Rpc { code, message: shorten(message) }
}

/// The first number of a text that can be a size in bytes.
fn number_in(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).find(|size| *size >= 1000)
}

/// An error with what caused it, in one line.
pub(super) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    shorten(&text)
}

fn shorten(text: &str) -> String {
    cut(text, 300)
}

/// In one line of so many characters at most.
fn cut(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A text about that URL, which is registered, without its secrets. Before it is cut: a part of a secret is harder to find.
pub(super) fn redact(text: &str, url: &str) -> String {
    crate::redact::redacted(&text.replace(url, &host_of(url))).into_owned()
}

/// The part of an endpoint's address that may be shown: host and port, or the file name of an IPC path.
pub(super) fn host_of(url: &str) -> String {
    match Url::parse(url) {
        Ok(parsed) if parsed.has_host() => {
            let host = parsed.host_str().unwrap_or_default();
            parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        }
        _ if std::path::Path::new(url).exists() => {
            std::path::Path::new(url).file_name().map_or_else(|| "ipc".to_owned(), |n| n.to_string_lossy().into_owned())
        }
        // A forgotten scheme: what follows the first slash or question mark may be a key, and what precedes an @ a password.
        _ => {
            let host = url.trim().trim_start_matches('/').split(['/', '?', '#', '\\']).next().unwrap_or_default();
            host.rsplit('@').next().unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_urls_are_never_shown() {
        let url = "https://user:hunter22@rpc.example.com:8545/v3/abcdef123456?token=zzzz";
        assert_eq!(host_of(url), "rpc.example.com:8545");
        crate::redact::register_url(url);
        let shown = redact(&format!("error for url ({url}) and /v3/abcdef123456 token=zzzz hunter22"), url);
        for secret in ["abcdef123456", "zzzz", "hunter22"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(host_of("eth.example.com:443/v2/SECRETKEY1234"), "eth.example.com:443");
        assert_eq!(host_of("eth.example.com/v2/SECRETKEY1234"), "eth.example.com");
        for user in ["bob:hunter22@", "hunter22@", "bob:hunt@er22@", "//bob:hunter22@"] {
            for rest in ["", "/v2/SECRETKEY1234", "?key=SECRETKEY1234", "#SECRETKEY1234"] {
                assert_eq!(host_of(&format!("{user}eth.example.com{rest}")), "eth.example.com", "{user}{rest}");
            }
        }
    }

    #[test]
    fn a_status_that_refuses_is_told_from_one_that_may_pass() {
        let of = |status, method| {
            let error = TransportErrorKind::http_error(status, "<h1>No</h1>".to_owned());
            CallError::from_alloy(error, method, "http://h.example/KEY12345")
        };
        for (status, words) in [
            (401, "key"),
            (403, "key"),
            (404, "check the URL"),
            (410, "check the URL"),
            (405, "no JSON-RPC endpoint"),
            (400, "no JSON-RPC endpoint"),
        ] {
            match of(status, "eth_chainId") {
                CallError::Refused(why) => assert!(why.contains(words) && why.contains(&status.to_string()), "{why}"),
                other => panic!("{status}: {other:?}"),
            }
        }
        // One method that a plan does not include.
        assert_eq!(of(403, "debug_traceBlockByHash"), CallError::Unsupported("debug_traceBlockByHash".into()));
        for status in [408, 500, 502, 503, 504] {
            assert!(matches!(of(status, "eth_chainId"), CallError::Transport(_)), "{status}");
        }
        assert_eq!(of(429, "eth_chainId"), CallError::Throttled(None));
    }

    #[test]
    fn errors_inside_answers_are_told_apart() {
        assert_eq!(from_payload(-32601, "the method x does not exist", "x"), CallError::Unsupported("x".into()));
        assert_eq!(from_payload(-32005, "limit", "x"), CallError::Throttled(None));
        assert_eq!(from_payload(-32000, "header not found", "x"), CallError::NotFound);
        assert!(matches!(from_payload(-32000, "missing trie node", "x"), CallError::Rpc { .. }));
        // With the code of a limit on requests, and yet no reason to wait.
        let wide = "query returned more than 10000 results";
        assert_eq!(from_payload(-32005, wide, "eth_getLogs"), CallError::TooWide(wide.into()));
        assert_eq!(from_payload(-32005, wide, "x"), CallError::Throttled(None));
        assert_eq!(from_payload(-32005, "rate limit exceeded", "eth_getLogs"), CallError::Throttled(None));
        let size = "Response size exceeded the limit of 10485760 bytes";
        assert_eq!(from_payload(-32005, size, "x"), CallError::TooLarge(Some(10_485_760)));
    }
}
