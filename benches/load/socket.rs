//! A WebSocket ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)) that answers as HTTP does and rings at each new head.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::chain::FIRST;
use crate::http::note;
use crate::rpc::Node;

pub(crate) fn converse(mut stream: TcpStream, key: &str, node: &Arc<Node>, latency: Duration) -> Option<()> {
    let accept = base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()));
    let lines =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    stream.write_all(format!("{lines}{accept}\r\n\r\n").as_bytes()).ok()?;
    let writer = Arc::new(Mutex::new(stream.try_clone().ok()?));
    loop {
        let (opcode, message) = read_frame(&mut stream)?;
        match opcode {
            8 => return None,
            9 => write_frame(&writer, 10, &message)?,
            1 if message.windows(13).any(|window| window == b"eth_subscribe") => {
                let id = serde_json::from_slice::<serde_json::Value>(&message).ok()?["id"].clone();
                let answer = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": "0x1"});
                write_frame(&writer, 1, answer.to_string().as_bytes())?;
                let (writer, node) = (writer.clone(), node.clone());
                std::thread::spawn(move || ring(&writer, &node));
            }
            1 => {
                std::thread::sleep(latency);
                let mut out = Vec::new();
                let blocks = node.answer(&message, &mut out);
                write_frame(&writer, 1, &out)?;
                note(node, &blocks);
            }
            _ => {}
        }
    }
}

/// Tells of each head as it comes.
fn ring(writer: &Mutex<TcpStream>, node: &Node) -> Option<()> {
    let mut known = node.head.load(Ordering::Relaxed);
    loop {
        std::thread::sleep(Duration::from_millis(1));
        let head = node.head.load(Ordering::Relaxed);
        if head == known {
            continue;
        }
        known = head;
        let mut header = serde_json::to_value(node.chain.header(head.max(FIRST))).ok()?;
        header["hash"] = serde_json::to_value(node.chain.hash(head)?).ok()?;
        let params = serde_json::json!({"subscription": "0x1", "result": header});
        let message = serde_json::json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params});
        write_frame(writer, 1, message.to_string().as_bytes())?;
    }
}

fn write_frame(writer: &Mutex<TcpStream>, opcode: u8, payload: &[u8]) -> Option<()> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(u8::try_from(short).ok()?),
        middle @ 126..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(middle).ok()?.to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&u64::try_from(long).ok()?.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    writer.lock().ok()?.write_all(&frame).ok()
}

/// Opcode and message; clients' messages here are short, so they come in one frame.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut more = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let head = more(2)?;
    let length = match head[1] & 0x7f {
        126 => usize::from(u16::from_be_bytes(more(2)?.try_into().ok()?)),
        127 => usize::try_from(u64::from_be_bytes(more(8)?.try_into().ok()?)).ok()?,
        short => usize::from(short),
    };
    let mask = if head[1] & 0x80 == 0 { vec![0; 4] } else { more(4)? };
    let mut payload = more(length)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some((head[0] & 0x0f, payload))
}

/// The handshake asks for it; nothing is secured by it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().unwrap());
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let place = usize::try_from(bits >> (18 - 6 * digit) & 0x3f).unwrap();
            text.push(if digit <= group.len() { char::from(DIGITS[place]) } else { '=' });
        }
    }
    text
}
