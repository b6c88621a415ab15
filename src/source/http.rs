//! HTTP under alloy's RPC client. Its own transport reads a body of any size into memory, and does not compare the id of a single
//! answer; both matter where the other side may be broken or hostile.

use std::collections::HashSet;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::primitives::Bytes;
use alloy::rpc::json_rpc::{
    Id, Request, RequestPacket, Response, ResponsePacket, ResponsePayload, RpcSend, SerializedRequest,
};
use alloy::transports::http::reqwest;
use alloy::transports::{TransportError, TransportErrorKind, TransportFut, TransportResult};
use url::Url;

use super::answer::{self, without_mark};
use super::bytes_of;

/// Why an HTTP answer is no JSON-RPC answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpFault {
    /// The body is larger than this many bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// It came, and is not what was asked for.
    #[error("{0}")]
    Unreadable(String),
}

/// Redirects that are followed: from `http` to `https`, to a path of the same server.
const MAX_REDIRECTS: usize = 3;

/// The client of an endpoint. It follows a redirect only to the same server and without giving up TLS, and never changes a request
/// into another: whoever answers elsewhere is not whom the user named, and the URL holds the user's key.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    // Each exchange is bounded in time as a whole; a second clock here would only hide why it ended.
    client_builder().redirect(reqwest::redirect::Policy::custom(follow)).referer(false).build()
}

/// A builder of HTTP clients whose TLS uses ring: aws-lc, the usual default, takes minutes to compile.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    // The one error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

fn follow(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last();
    match from.and_then(|from| refusal(from, attempt.url(), attempt.status().as_u16(), attempt.previous().len())) {
        Some(why) => attempt.error(why),
        None => attempt.follow(),
    }
}

/// Why a redirect is not followed.
fn refusal(from: &Url, to: &Url, status: u16, followed: usize) -> Option<String> {
    let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    // The standard ports of one host belong together; any other port may be anybody's.
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && from.port().is_none() && to.port().is_none();
    if host(from) != host(to) || !(same_port || upgraded) {
        let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = crate::redact::redacted(&format!("{}{port}", host(to))).into_owned();
        Some(format!("it redirects to another server ({shown}), which is not followed: name that one if you trust it"))
    } else if from.scheme() == "https" && to.scheme() != "https" {
        Some("it redirects from https to http, which is not followed".to_owned())
    } else if !matches!(status, 307 | 308) {
        Some(format!("it redirects with status {status}, which would drop the request: write the URL that it leads to"))
    } else if followed > MAX_REDIRECTS {
        Some(format!("it redirects more than {MAX_REDIRECTS} times"))
    } else {
        None
    }
}

/// How much of a body that is no JSON is shown.
const EXCERPT: usize = 120;

/// One HTTP endpoint.
#[derive(Debug, Clone)]
pub(super) struct BoundedHttp {
    client: reqwest::Client,
    url: Url,
    /// Bytes of a body, after decompression.
    max_answer: u64,
}

impl BoundedHttp {
    pub(super) fn new(client: reqwest::Client, url: Url, max_answer: u64) -> Self {
        Self { client, url, max_answer }
    }

    async fn exchange(self, request: RequestPacket) -> TransportResult<ResponsePacket> {
        let received = self.receive(&request).await?;
        received.into_packet(&request)
    }

    /// One call whose result is taken as it came, without a parse of its own: whoever reads it parses it once.
    pub(super) async fn call_raw(&self, id: u64, method: &'static str, params: impl RpcSend) -> TransportResult<Bytes> {
        let request = Request::new(method, Id::Number(id), params);
        let request: SerializedRequest = request.try_into().map_err(TransportErrorKind::custom)?;
        let request = RequestPacket::Single(request);
        let received = self.receive(&request).await?;
        if received.status.is_success()
            && let Some(range) = result_of(&received.body, id)
        {
            return Ok(Bytes::from(received.body).slice(range));
        }
        match received.into_packet(&request)? {
            ResponsePacket::Single(Response { payload: ResponsePayload::Success(result), .. }) => Ok(bytes_of(result)),
            ResponsePacket::Single(Response { payload: ResponsePayload::Failure(error), .. }) => {
                Err(TransportError::ErrorResp(error))
            }
            // Ids and number of answers were compared.
            ResponsePacket::Batch(_) => Err(TransportError::NullResp),
        }
    }

    async fn receive(&self, request: &RequestPacket) -> TransportResult<Received> {
        let mut response = self
            .client
            .post(self.url.clone())
            .json(request)
            .send()
            .await
            .map_err(|error| TransportErrorKind::custom(error.without_url()))?;
        let status = response.status();
        let retry_after = retry_after_in(response.headers());
        let mut received = Received { status, retry_after, body: Vec::new() };
        // What a server says of its size is believed where it is too much, and makes room only up to what is usual.
        if let Some(length) = response.content_length() {
            if length > self.max_answer {
                return Err(TransportErrorKind::custom(HttpFault::TooLarge(self.max_answer)));
            }
            received.body.reserve(usize::try_from(length).unwrap_or_default().min(USUAL_ANSWER));
        }
        loop {
            let length = received.body.len();
            match response.chunk().await {
                Ok(None) => return Ok(received),
                Ok(Some(chunk)) if length as u64 + chunk.len() as u64 > self.max_answer => {
                    return Err(TransportErrorKind::custom(HttpFault::TooLarge(self.max_answer)));
                }
                Ok(Some(chunk)) => received.body.extend_from_slice(&chunk),
                Err(_) if !status.is_success() => return Err(received.failed("its body cannot be read".to_owned())),
                Err(error) => {
                    let why = format!("the answer ended after {length} bytes: {}", error.without_url());
                    return Err(TransportErrorKind::custom(HttpFault::Unreadable(why)));
                }
            }
        }
    }
}

/// Bytes that an answer may make room for before they come.
const USUAL_ANSWER: usize = 4 << 20;

/// What came over HTTP.
struct Received {
    status: reqwest::StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Received {
    fn failed(&self, why: String) -> TransportError {
        TransportErrorKind::http_error_with_retry_after(self.status.as_u16(), why, self.retry_after)
    }

    fn into_packet(self, request: &RequestPacket) -> TransportResult<ResponsePacket> {
        let parsed = answer::read(&self.body);
        if !self.status.is_success() {
            // Some answer a JSON-RPC error with a status of its own. That of a throttle, of a wrong key or of a wrong path outranks what
            // the error says: its code is anything.
            return match parsed {
                Ok(packet) if packet.is_error() && !matches!(self.status.as_u16(), 401..=404 | 410 | 429) => {
                    matched(request, packet)
                }
                _ => Err(self.failed(excerpt(&self.body))),
            };
        }
        match parsed {
            Ok(packet) => matched(request, packet),
            Err(error) => {
                let page = without_mark(&self.body).trim_ascii_start().starts_with(b"<");
                let what = if page { "a web page; is this the URL of a JSON-RPC endpoint?" } else { &error };
                let why = format!("no JSON-RPC answer ({what}): {}", excerpt(&self.body));
                Err(TransportErrorKind::custom(HttpFault::Unreadable(why)))
            }
        }
    }
}

/// Where the result lies in an answer to that request, if it is put together as nodes do it: an object or array as the last or, before
/// the id, the last but one of the three members. Whether it is one value is for its reader to see; anything else is parsed.
fn result_of(body: &[u8], id: u64) -> Option<Range<usize>> {
    let text = without_mark(body).trim_ascii();
    let before = text.as_ptr() as usize - body.as_ptr() as usize;
    let id = id.to_string();
    let ids_first =
        [format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#), format!(r#"{{"id":{id},"jsonrpc":"2.0","result":"#)];
    let starts = |start: &String| text.starts_with(start.as_bytes()).then_some(start.len());
    let (start, end) = match ids_first.iter().find_map(starts) {
        Some(start) => (start, text.len().checked_sub(1)?),
        None => {
            let end = format!(r#","id":{id}}}"#);
            let start = r#"{"jsonrpc":"2.0","result":"#;
            (text.starts_with(start.as_bytes()) && text.ends_with(end.as_bytes()))
                .then(|| (start.len(), text.len() - end.len()))?
        }
    };
    let closes = |open: u8, close: u8| text.get(start) == Some(&open) && text.get(end.wrapping_sub(1)) == Some(&close);
    let fits = text.last() == Some(&b'}') && end > start + 1 && (closes(b'{', b'}') || closes(b'[', b']'));
    fits.then(|| before + start..before + end)
}

impl tower_service::Service<RequestPacket> for BoundedHttp {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

/// The answer, if its ids are those of the request: exactly the one of a single call, none twice and none unknown in a batch.
/// What is missing in a batch is found missing by whoever waits for it.
fn matched(request: &RequestPacket, answer: ResponsePacket) -> TransportResult<ResponsePacket> {
    let refuse = |why: String| Err(TransportErrorKind::custom(HttpFault::Unreadable(why)));
    match (request, answer) {
        (RequestPacket::Single(asked), ResponsePacket::Single(mut answer)) => {
            // An error about a request that could not be read bears no id.
            if answer.id == Id::None && answer.is_error() {
                answer.id = asked.id().clone();
            }
            if answer.id != *asked.id() {
                return refuse(format!("the answer is to request {}, asked was {}", answer.id, asked.id()));
            }
            Ok(ResponsePacket::Single(answer))
        }
        (RequestPacket::Single(_), ResponsePacket::Batch(answers)) => {
            refuse(format!("{} answers to a single request", answers.len()))
        }
        (RequestPacket::Batch(asked), ResponsePacket::Single(answer)) => match answer.payload.as_error() {
            // Refused as a whole: each call of it has that error.
            Some(error) => Ok(ResponsePacket::Batch(
                asked
                    .iter()
                    .map(|call| Response { id: call.id().clone(), payload: ResponsePayload::Failure(error.clone()) })
                    .collect(),
            )),
            None => refuse("a single answer to a batch".to_owned()),
        },
        (RequestPacket::Batch(asked), ResponsePacket::Batch(answers)) => {
            let mut open: HashSet<&Id> = asked.iter().map(SerializedRequest::id).collect();
            for answer in &answers {
                if !open.remove(&answer.id) {
                    return refuse(format!("a batch answers {}, which was not asked or is there twice", answer.id));
                }
            }
            Ok(ResponsePacket::Batch(answers))
        }
    }
}

/// How long the headers of an answer ask to wait.
pub(super) fn retry_after_in(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    retry_after(value, jiff::Timestamp::now())
}

/// Seconds or an HTTP date ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#field.retry-after)).
fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The beginning of a body as text in one line, without markup.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    // Before it is cut: a part of a secret would not be found any more.
    let text = crate::redact::redacted(&text);
    let mut inside = false;
    let plain: String = text
        .chars()
        .filter_map(|c| match c {
            '<' => {
                inside = true;
                Some(' ')
            }
            '>' if inside => {
                inside = false;
                None
            }
            _ if inside => None,
            c if c.is_control() => Some(' '),
            c => Some(c),
        })
        .collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    match (line.is_empty(), line.char_indices().nth(EXCERPT)) {
        (true, _) if body.is_empty() => "an empty body".to_owned(),
        (true, _) => format!("{} bytes without text", body.len()),
        (false, Some((end, _))) => format!("{}…", &line[..end]),
        (false, None) => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn call(id: u64) -> SerializedRequest {
        Request::new("eth_chainId", Id::Number(id), ()).try_into().unwrap()
    }

    fn check(ids: &[u64], batch: bool, answer: Value) -> Result<usize, String> {
        let request = if batch {
            RequestPacket::Batch(ids.iter().map(|id| call(*id)).collect())
        } else {
            RequestPacket::Single(call(ids[0]))
        };
        let packet: ResponsePacket = serde_json::from_value(answer).unwrap();
        matched(&request, packet).map(|packet| packet.responses().len()).map_err(|error| error.to_string())
    }

    fn ok(id: u64) -> Value {
        json!({"jsonrpc": "2.0", "id": id, "result": "0x1"})
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        assert_eq!(check(&[3], false, ok(3)), Ok(1));
        assert!(check(&[3], false, ok(4)).unwrap_err().contains("answer is to request 4"));
        assert!(check(&[3], false, json!({"jsonrpc": "2.0", "id": null, "result": "0x1"})).is_err());
        let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "parse"}});
        assert_eq!(check(&[3], false, error.clone()), Ok(1));
        assert!(check(&[3], false, json!([ok(3)])).is_err());
        // Batches: shuffled and short ones pass, each call finds its own; twice or unknown does not.
        assert_eq!(check(&[1, 2, 3], true, json!([ok(3), ok(1), ok(2)])), Ok(3));
        assert_eq!(check(&[1, 2, 3], true, json!([ok(3), ok(1)])), Ok(2));
        assert!(check(&[1, 2, 3], true, json!([ok(3), ok(3), ok(2)])).unwrap_err().contains("twice"));
        assert!(check(&[1, 2], true, json!([ok(1), ok(9)])).is_err());
        assert!(check(&[1, 2], true, ok(1)).is_err());
        assert_eq!(check(&[1, 2], true, error), Ok(2), "an error for all");
    }

    #[test]
    fn a_result_is_found_without_a_parse_where_it_stands_as_nodes_put_it() {
        let found = |text: &str| result_of(text.as_bytes(), 7).map(|range| text[range].to_owned());
        for result in [r#"{"a":"b"}"#, r#"[{"a":1},{}]"#, "{}"] {
            let some = Some(result.to_owned());
            assert_eq!(found(&format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#)), some);
            assert_eq!(found(&format!(" {{\"id\":7,\"jsonrpc\":\"2.0\",\"result\":{result}}}\r\n")), some);
            assert_eq!(found(&format!(r#"{{"jsonrpc":"2.0","result":{result},"id":7}}"#)), some);
            assert_eq!(found(&format!(r#"{{"jsonrpc":"2.0","id":8,"result":{result}}}"#)), None, "another id");
            assert_eq!(found(&format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}"#)), None, "cut");
            assert_eq!(found(&format!(r#"{{"jsonrpc":"2.0","result":{result}}}"#)), None, "no id");
        }
        let others = [
            r#"{"jsonrpc":"2.0","id":7,"result":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":"0x1"}"#,
            "",
            "{",
            "}",
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":1},"more":1}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":"#,
        ];
        for other in others {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn a_redirect_is_followed_only_to_the_same_server_with_the_same_request() {
        let why = |from: &str, to: &str, status| {
            refusal(&from.parse().unwrap(), &to.parse().unwrap(), status, 1).unwrap_or_default()
        };
        for (from, to) in [
            ("http://a.example/KEY", "http://a.example/v2/KEY"),
            ("http://a.example/KEY", "https://a.example/KEY"),
            ("https://a.example/KEY", "https://a.example:443/KEY/"),
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545/rpc"),
        ] {
            for status in [307, 308] {
                assert_eq!(why(from, to, status), "", "{from} to {to}");
            }
            for status in [301, 302, 303] {
                assert!(why(from, to, status).contains("drop the request"), "{from} to {to}");
            }
        }
        for (from, to) in [
            ("https://a.example/KEY", "https://b.example/KEY"),
            ("https://a.example/KEY", "https://evil.a.example/KEY"),
            ("https://a.example/KEY", "https://a.example:8443/KEY"),
            ("http://127.0.0.1:8545/KEY", "http://127.0.0.1:8546/KEY"),
            ("http://127.0.0.1:8545/KEY", "https://127.0.0.1:8546/KEY"),
            ("http://127.0.0.1/KEY", "http://localhost/KEY"),
            ("https://a.example/KEY", "http://a.example/KEY"),
        ] {
            for status in [301, 307, 308] {
                let why = why(from, to, status);
                assert!(why.contains("another server") && !why.contains("KEY"), "{from} to {to}: {why:?}");
            }
        }
        let downgrade = why("https://a.example:80/KEY", "http://a.example/KEY", 307);
        assert!(downgrade.contains("https to http"), "{downgrade}");
        let (from, to) = ("http://a.example".parse().unwrap(), "http://a.example/b".parse().unwrap());
        assert!(refusal(&from, &to, 307, MAX_REDIRECTS + 1).is_some());
    }

    #[test]
    fn waiting_is_asked_for_in_seconds_or_as_a_date() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Fri, 02 Jan 2026 03:04:35 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Fri, 02 Jan 2026 03:00:00 GMT", now), Some(Duration::ZERO), "past");
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_page_is_shown_as_a_short_line_of_text() {
        let page = b"<html><head><title>502 Bad\x1b[31m Gateway</title></head>\r\n<body>nginx</body></html>";
        assert_eq!(excerpt(page), "502 Bad [31m Gateway nginx");
        assert_eq!(excerpt(b""), "an empty body");
        assert!(excerpt("é".repeat(4000).as_bytes()).chars().count() <= EXCERPT + 1);
    }
}
