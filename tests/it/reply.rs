//! What goes back over the connection: the node's answer, or what a sin makes of it.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::proxy::Upstream;
use crate::sins::{Asked, Sin};

/// What goes back.
pub(crate) enum Reply {
    Whole {
        status: &'static str,
        head: &'static str,
        body: Vec<u8>,
    },
    /// So many bytes less than promised.
    Cut(Vec<u8>, usize),
    /// Half of it, and the connection reset.
    Reset(Vec<u8>),
    /// One byte at a time.
    Drip(Vec<u8>),
    HangUp,
    Hang,
    Huge,
}

pub(crate) fn ok(body: Vec<u8>) -> Reply {
    Reply::Whole { status: "200 OK", head: "", body }
}

const HANG: Duration = Duration::from_secs(30);
const HUGE: usize = 300 << 20;

/// The sinful reply; none where there is nothing in the answer to sin with.
pub(crate) fn commit(
    sin: Sin,
    upstream: &mut Upstream,
    asked: Asked,
    mut answer: Value,
    body: Vec<u8>,
) -> Option<Reply> {
    let html = || b"<html><body><h1>Something is wrong</h1></body></html>".to_vec();
    let status = |status, head| Reply::Whole { status, head, body: html() };
    let error = |code: i64, message: &str| {
        ok(json!({"jsonrpc": "2.0", "id": answer["id"], "error": {"code": code, "message": message}})
            .to_string()
            .into_bytes())
    };
    Some(match sin {
        Sin::ErrorInside => error(-32000, "something broke"),
        Sin::ThrottledInside => error(-32005, "limit exceeded"),
        Sin::BatchRefused => error(-32600, "no batches here"),
        Sin::EmptyBody => ok(Vec::new()),
        Sin::HtmlWith200 => status("200 OK", ""),
        Sin::HtmlWith502 => status("502 Bad Gateway", ""),
        Sin::Status429 => status("429 Too Many Requests", ""),
        Sin::Status429WithRetryAfter => status("429 Too Many Requests", "Retry-After: 1\r\n"),
        Sin::Status500 => status("500 Internal Server Error", ""),
        Sin::Status503 => status("503 Service Unavailable", ""),
        Sin::Status504 => status("504 Gateway Timeout", ""),
        Sin::CutBody => Reply::Cut(body, 7),
        Sin::CutJson => ok(body[..body.len() - 7].to_vec()),
        Sin::NoUtf8 => ok([b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":\"\xff\xfe\"}".as_slice()].concat()),
        Sin::DeepJson => {
            let nest = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
            ok(format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{nest}}}", answer["id"]).into_bytes())
        }
        Sin::Hang => Reply::Hang,
        Sin::Drip => Reply::Drip(body),
        Sin::HangUp => Reply::HangUp,
        Sin::ResetMidBody => Reply::Reset(body),
        Sin::HugeBody => Reply::Huge,
        Sin::WrongId | Sin::BatchWithWrongIds => {
            let each = answer.as_array_mut().map_or_else(Vec::new, |all| all.iter_mut().collect());
            for one in each {
                one["id"] = json!(one["id"].as_u64()? + 1_000_000);
            }
            if let Some(id) = answer.get("id").and_then(Value::as_u64) {
                answer["id"] = json!(id + 1_000_000);
            }
            ok(answer.to_string().into_bytes())
        }
        Sin::BatchWithAMissingAnswer => {
            answer.as_array_mut().filter(|all| all.len() > 1)?.pop();
            ok(answer.to_string().into_bytes())
        }
        Sin::BatchShuffled => {
            answer.as_array_mut().filter(|all| all.len() > 1)?.reverse();
            ok(answer.to_string().into_bytes())
        }
        _ => {
            let mut fetch = |method: &str, params: Value| upstream.ask(method, params);
            if let Some(answers) = answer.as_array_mut() {
                // A batch of receipts reads like those of the block.
                let mut results = answers.iter_mut().map(|one| one["result"].take()).collect();
                sin.twist(asked, &mut results, &mut fetch)?;
                let results = results.as_array().filter(|results| results.len() == answers.len())?;
                for (one, result) in answers.iter_mut().zip(results) {
                    one["result"] = result.clone();
                }
            } else {
                sin.twist(asked, &mut answer["result"], &mut fetch)?;
            }
            ok(answer.to_string().into_bytes())
        }
    })
}

/// None where the connection is over.
pub(crate) fn send(stream: &mut TcpStream, reply: Reply) -> Option<()> {
    let head = |length: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    match reply {
        Reply::Whole { status, head, body } => {
            let kind = if body.starts_with(b"<") { "text/html" } else { "application/json" };
            let length = body.len();
            let mut answer =
                format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{head}\r\n")
                    .into_bytes();
            answer.extend(body);
            stream.write_all(&answer).ok()
        }
        Reply::Cut(body, less) => {
            stream.write_all(&head(body.len())).ok()?;
            stream.write_all(&body[..body.len().saturating_sub(less)]).ok()?;
            None
        }
        Reply::Drip(body) => {
            stream.write_all(&head(body.len())).ok()?;
            for byte in body {
                stream.write_all(&[byte]).ok()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Some(())
        }
        Reply::HangUp | Reply::Reset(_) => None,
        Reply::Hang => {
            std::thread::sleep(HANG);
            None
        }
        Reply::Huge => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
            stream.write_all(b"28\r\n{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":[{\"a\":\"\r\n").ok()?;
            let chunk = [b"10000\r\n".as_slice(), &[b'a'; 0x10000], b"\r\n"].concat();
            for _ in 0..HUGE / 0x10000 {
                stream.write_all(&chunk).ok()?;
            }
            None
        }
    }
}
