//! WebSockets through the proxy: passed on byte for byte, but for the messages of the node that are held back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::proxy::{Ill, Socket, State, say_another_chain};

/// Passes both ways until one side ends. `head` bytes of the request for an upgrade are still unread.
pub(crate) fn tunnel(mut client: TcpStream, head: usize, state: &State) -> Option<()> {
    let mut node = TcpStream::connect(&state.target).ok()?;
    let mut upgrade = vec![0; head];
    client.read_exact(&mut upgrade).ok()?;
    node.write_all(&upgrade).ok()?;
    let (mut from_client, mut to_node) = (client.try_clone().ok()?, node.try_clone().ok()?);
    std::thread::scope(|both| {
        both.spawn(move || {
            while let Some(frame) = Frame::read(&mut from_client) {
                state.heard(&frame.payload);
                if to_node.write_all(&frame.raw).is_err() {
                    break;
                }
            }
            let _ = to_node.shutdown(Shutdown::Both);
        });
        let _ = to_client(&mut node, &mut client, state);
        let _ = node.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
    Some(())
}

fn to_client(node: &mut TcpStream, client: &mut TcpStream, state: &State) -> Option<()> {
    // The answer to the upgrade.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        node.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    client.write_all(&head).ok()?;
    let (mut heads, mut messages) = (0, 0);
    while let Some(mut frame) = Frame::read(node) {
        if state.ill() == Ill::Gone {
            return None;
        }
        messages += 1;
        let is_head = String::from_utf8_lossy(&frame.payload).contains("\"eth_subscription\"");
        heads += u64::from(is_head);
        let held = match state.socket() {
            Socket::Honest => false,
            Socket::DropsEveryNthHead(n) => is_head && heads % n == 0,
            Socket::MuteAfterHeads(n) => is_head && heads > n,
            Socket::DeadAfterMessages(n) => messages > n,
            Socket::ClosedAfterHeads(n) if is_head && heads > n => {
                *state.held_back.lock().unwrap() += 1;
                return None;
            }
            Socket::ClosedAfterHeads(_) => false,
        };
        if state.ill() == Ill::OtherChain && say_another_chain(&mut frame.raw) {
            *state.held_back.lock().unwrap() += 1;
        }
        if held {
            *state.held_back.lock().unwrap() += 1;
        } else {
            client.write_all(&frame.raw).ok()?;
        }
    }
    None
}

/// A frame of [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455#section-5.2), as it came and what it says.
struct Frame {
    raw: Vec<u8>,
    payload: Vec<u8>,
}

impl Frame {
    /// None where the connection is over.
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut raw = Vec::new();
        let mut more = |count: usize| {
            let begin = raw.len();
            raw.resize(begin + count, 0);
            stream.read_exact(&mut raw[begin..]).ok().map(|()| raw[begin..].to_vec())
        };
        let second = more(2)?[1];
        let length = match second & 0x7f {
            126 => usize::from(u16::from_be_bytes(more(2)?.try_into().ok()?)),
            127 => usize::try_from(u64::from_be_bytes(more(8)?.try_into().ok()?)).ok()?,
            short => usize::from(short),
        };
        let mask = if second & 0x80 == 0 { vec![0; 4] } else { more(4)? };
        let mut payload = more(length)?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Some(Self { raw, payload })
    }
}
