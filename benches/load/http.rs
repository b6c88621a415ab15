//! The least HTTP/1.1 that clients need: keep-alive, a thread for each connection, answers written in one piece.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::rpc::{Node, micros};
use crate::socket;

/// Serves for ever. `latency` is waited before each answer, on its own connection only.
pub(crate) fn serve(listener: &TcpListener, node: &Arc<Node>, latency: Duration) {
    for stream in listener.incoming().flatten() {
        let node = node.clone();
        std::thread::spawn(move || {
            let _ = stream.set_nodelay(true);
            converse(stream, &node, latency);
        });
    }
}

/// What a request says, as far as it matters.
#[derive(Default)]
struct Head {
    length: usize,
    close: bool,
    /// The key of a WebSocket's handshake.
    socket: Option<String>,
}

fn converse(mut stream: TcpStream, node: &Arc<Node>, latency: Duration) -> Option<()> {
    let mut input: Vec<u8> = Vec::new();
    let mut out: Vec<u8> = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let body = loop {
            if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
            input.extend_from_slice(&chunk[..count]);
        };
        let head = read_head(&String::from_utf8_lossy(&input[..body]));
        if let Some(key) = head.socket {
            return socket::converse(stream, &key, node, latency);
        }
        while input.len() < body + head.length {
            let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
            input.extend_from_slice(&chunk[..count]);
        }
        // Room for the head of the answer, whose length is known last.
        const ROOM: usize = 128;
        out.clear();
        out.resize(ROOM, 0);
        let blocks = node.answer(&input[body..body + head.length], &mut out);
        input.drain(..body + head.length);
        let connection = if head.close { "close" } else { "keep-alive" };
        let lines = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n",
            out.len() - ROOM
        );
        let begin = ROOM - lines.len();
        out[begin..ROOM].copy_from_slice(lines.as_bytes());
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        stream.write_all(&out[begin..]).ok()?;
        note(node, &blocks);
        if head.close {
            return None;
        }
    }
}

/// Remembers when those blocks were out.
pub(crate) fn note(node: &Node, blocks: &[u64]) {
    if !blocks.is_empty() {
        let now = micros();
        node.answered.lock().unwrap().extend(blocks.iter().map(|number| (*number, now)));
    }
}

fn read_head(text: &str) -> Head {
    let mut head = Head::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.parse().unwrap_or_default(),
            "connection" => head.close = value.eq_ignore_ascii_case("close"),
            "sec-websocket-key" => head.socket = Some(value.to_owned()),
            _ => {}
        }
    }
    head
}
