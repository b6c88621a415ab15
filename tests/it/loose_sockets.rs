//! WebSocket and IPC endpoints that are honest and odd: JSON that is written loosely, and handshakes that are refused.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, accept};

use crate::common::{PATIENCE, stderr};
use crate::lenient::{LOOSE, alerts, truth};
use crate::served::{Chain, demo_place, replay_from};

type Change = fn(Value) -> Vec<u8>;

/// A WebSocket server of the demo's chain that writes each answer so; its URL.
fn web_socket(change: Change, binary: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let chain = Arc::new(Chain::demo());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let chain = chain.clone();
            std::thread::spawn(move || {
                let mut socket = accept(stream).unwrap();
                while let Ok(message) = socket.read() {
                    let Message::Text(text) = message else { continue };
                    let answer = change(chain.answer(&serde_json::from_str(&text).unwrap()));
                    let answer = match binary {
                        true => Message::binary(answer),
                        false => Message::text(String::from_utf8(answer).unwrap()),
                    };
                    if socket.send(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// The same at a Unix socket of that path.
fn ipc(path: &std::path::Path, change: Change) {
    let listener = UnixListener::bind(path).unwrap();
    let chain = Arc::new(Chain::demo());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let chain = chain.clone();
            std::thread::spawn(move || answer_each(&stream, &chain, change));
        }
    });
}

fn answer_each(stream: &UnixStream, chain: &Chain, change: Change) {
    let requests = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
    for request in requests.map_while(Result::ok) {
        let answer = change(chain.answer(&request));
        // In two pieces, of which one ends anywhere.
        let (first, second) = answer.split_at(answer.len() / 2);
        let mut out = stream;
        if [first, second].into_iter().any(|piece| out.write_all(piece).and_then(|()| out.flush()).is_err()) {
            return;
        }
    }
}

/// More ways than over HTTP.
const MORE: [(&str, Change); 3] = [
    ("a batch of one", |answer| json!([answer]).to_string().into_bytes()),
    ("unasked notifications before it", |answer| {
        let ping = r#"{"jsonrpc":"2.0","method":"keepalive","params":[1]}"#;
        format!("[{ping},{{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"note\"}},{answer}]").into_bytes()
    }),
    ("spaces around it", |answer| format!("\r\n {answer} \n").into_bytes()),
];

#[test]
fn json_that_is_written_loosely_is_understood_over_web_sockets_and_ipc() {
    let truth = truth();
    for (what, change) in LOOSE.into_iter().chain(MORE) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.ipc");
        ipc(&path, change);
        let (text, binary) = (web_socket(change, false), web_socket(change, true));
        for url in [&text, &binary, path.to_str().unwrap()] {
            let (place, out) = replay_from(url, &["--timeout", "10"]);
            assert!(out.status.success(), "{what} at {url}: {}", stderr(&out));
            assert_eq!(alerts(&place), truth, "{what} at {url}");
            assert_eq!(place.status()["lies"]["count"], 0, "{what} at {url}");
        }
    }
}

#[test]
fn what_is_no_json_over_a_socket_is_a_temporary_failure_and_not_a_hang() {
    let no_json: [Change; 3] =
        [|_| b"<html>busy</html>".to_vec(), |_| b"{\"id\":1,\"result\"".to_vec(), |_| b"{}".to_vec()];
    for change in no_json {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.ipc");
        ipc(&path, change);
        for url in [&web_socket(change, false), path.to_str().unwrap()] {
            let (_, out) = replay_from(url, &["--timeout", "1"]);
            assert_eq!(out.status.code(), Some(75), "{}", stderr(&out));
        }
    }
}

/// A server that answers each handshake so; its URL, and how often it was tried.
fn refusing(answer: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/v1/HANDSHAKEKEY0001", listener.local_addr().unwrap());
    let tried = Arc::new(AtomicUsize::new(0));
    let counter = tried.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = refuse(&mut stream, &answer);
        }
    });
    (url, tried)
}

fn refuse(stream: &mut TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    stream.write_all(answer.as_bytes())
}

#[test]
fn a_refused_handshake_is_a_wrong_url_or_key_and_not_tried_again() {
    let body = "invalid key HANDSHAKEKEY0001";
    let answer = |status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    for (status, words) in [
        ("401 Unauthorized", "key"),
        ("403 Forbidden", "key"),
        ("404 Not Found", "check the URL"),
        ("405 Method Not Allowed", "check the URL"),
        ("410 Gone", "check the URL"),
        ("400 Bad Request", "check the URL"),
        ("200 OK", "does not speak WebSocket"),
    ] {
        let (url, tried) = refusing(answer(status));
        let (_, out) = replay_from(&url, &["--timeout", "3"]);
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(1), "{status}: {said}");
        assert!(said.contains("reached, but HTTP status") && said.contains(words), "{status}: {said}");
        assert!(said.contains(&status[..3]) && !said.contains("HANDSHAKEKEY0001"), "{status}: {said}");
        let tried = tried.load(Ordering::SeqCst);
        assert!(tried <= 4, "{status}: tried {tried} times");
    }
    // These may pass.
    for status in ["429 Too Many Requests", "503 Service Unavailable", "502 Bad Gateway"] {
        let (url, tried) = refusing(answer(status));
        let (_, out) = replay_from(&url, &["--timeout", "1"]);
        assert_eq!(out.status.code(), Some(75), "{status}: {}", stderr(&out));
        assert!(tried.load(Ordering::SeqCst) > 1, "{status}: {}", stderr(&out));
        let hint = stderr(&out).contains("`rate`");
        assert_eq!(hint, status.starts_with("429"), "{status}: {}", stderr(&out));
    }
}

#[test]
fn a_watch_over_a_web_socket_follows_heads_that_are_pushed_loosely() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let chain = Arc::new(Chain::demo());
    let pushed = Arc::new(AtomicUsize::new(0));
    let counter = pushed.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (chain, counter) = (chain.clone(), counter.clone());
            std::thread::spawn(move || {
                let mut socket = accept(stream).unwrap();
                while let Ok(message) = socket.read() {
                    let Message::Text(text) = message else { continue };
                    let request: Value = serde_json::from_str(&text).unwrap();
                    let mut answers = Vec::new();
                    if request["method"] == "eth_subscribe" {
                        answers.push(json!({"id": request["id"].to_string(), "result": "0x5", "error": null}));
                        let head =
                            chain.result(&json!({"method": "eth_getBlockByNumber", "params": ["latest", false]}));
                        let params = json!({"subscription": "0x5", "result": head});
                        answers
                            .push(json!({"id": null, "method": "eth_subscription", "params": params, "error": null}));
                        counter.fetch_add(1, Ordering::SeqCst);
                    } else {
                        answers.push(chain.answer(&request));
                    }
                    for answer in answers {
                        if socket.send(Message::text(format!("\u{feff}{answer}"))).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    let place = demo_place();
    let watcher = place.watch(&url, &["--from-block", "1", "--traces", "off"]);
    let deadline = std::time::Instant::now() + PATIENCE;
    while pushed.load(Ordering::SeqCst) == 0 || place.status()["watch_tip"]["number"] != 58 {
        assert!(std::time::Instant::now() < deadline, "{}", watcher.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(pushed.load(Ordering::SeqCst), 1, "the subscription holds");
    assert_eq!(watcher.stop(), 0);
}
