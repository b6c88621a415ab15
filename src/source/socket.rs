//! WebSocket and IPC under alloy's RPC client. alloy's own transports end the connection at an answer that is written loosely, and
//! do not say with which HTTP status a server refused the handshake.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use alloy::pubsub::{ConnectionHandle, ConnectionInterface, PubSubConnect};
use alloy::transports::utils::guess_local_url;
use alloy::transports::{Authorization, TransportError, TransportErrorKind, TransportResult};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, connect_async_with_config};
use url::Url;

use super::answer;
use super::http::{excerpt, retry_after_in};

/// Silence after which a WebSocket is pinged. If nothing answers before the next ping is due, the connection is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Bytes that one read from an IPC socket may bring.
const READ_SIZE: usize = 64 << 10;

/// An endpoint at a `ws` or `wss` URL.
///
/// A connection that is lost is over. alloy would reconnect silently: nobody would learn that the subscription died, and nobody would
/// compare the chain and the checkpoints of the server that answers then.
#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) url: Url,
    /// Bytes of one message.
    pub(super) max_answer: usize,
}

/// An endpoint at the path of a Unix socket; a lost connection is over here too.
#[derive(Debug)]
pub(super) struct Ipc {
    pub(super) path: PathBuf,
    /// Bytes of one message.
    pub(super) max_answer: usize,
}

impl PubSubConnect for WebSocket {
    fn is_local(&self) -> bool {
        guess_local_url(self.url.as_str())
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        let mut request = self.url.as_str().into_client_request().map_err(TransportErrorKind::custom)?;
        if let Some(authorization) = Authorization::extract_from_url(&self.url) {
            let mut value = HeaderValue::from_str(&authorization.to_string()).map_err(TransportErrorKind::custom)?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let config =
            WebSocketConfig::default().max_message_size(Some(self.max_answer)).max_frame_size(Some(self.max_answer));
        let (socket, _) = connect_async_with_config(request, Some(config), false).await.map_err(handshake_failed)?;
        let (handle, interface) = ConnectionHandle::new();
        tokio::spawn(run_websocket(socket, interface));
        Ok(handle.with_max_retries(1))
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::backend_gone())
    }
}

impl PubSubConnect for Ipc {
    fn is_local(&self) -> bool {
        true
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        let socket = UnixStream::connect(&self.path).await.map_err(TransportErrorKind::custom)?;
        let (handle, interface) = ConnectionHandle::new();
        tokio::spawn(run_ipc(socket, interface, self.max_answer));
        Ok(handle.with_max_retries(1))
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::backend_gone())
    }
}

/// Keeps the HTTP status of a refused handshake, which tells a wrong key from a server that is down.
fn handshake_failed(error: tungstenite::Error) -> TransportError {
    match error {
        tungstenite::Error::Http(response) => {
            let said = excerpt(response.body().as_deref().unwrap_or_default());
            let retry_after = retry_after_in(response.headers());
            TransportErrorKind::http_error_with_retry_after(response.status().as_u16(), said, retry_after)
        }
        other => TransportErrorKind::custom(other),
    }
}

async fn run_websocket<S>(mut socket: WebSocketStream<S>, mut interface: ConnectionInterface)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut is_pinged = false;
    let mut keepalive = pin!(tokio::time::sleep(KEEPALIVE));
    let why = loop {
        tokio::select! {
            // Requests first: a ping is due only where nothing else was sent.
            biased;
            request = interface.recv_from_frontend() => {
                // The client is gone: nobody waits for anything more.
                let Some(request) = request else { return };
                keepalive.set(tokio::time::sleep(KEEPALIVE));
                if let Err(error) = socket.send(Message::text(request.get())).await {
                    break error.to_string();
                }
            }
            () = &mut keepalive => {
                if is_pinged {
                    break format!("no answer to a ping within {KEEPALIVE:?}");
                }
                is_pinged = true;
                keepalive.set(tokio::time::sleep(KEEPALIVE));
                if let Err(error) = socket.send(Message::Ping(Default::default())).await {
                    break error.to_string();
                }
            }
            message = socket.next() => {
                let delivered = match &message {
                    Some(Ok(Message::Text(text))) => deliver(&interface, text.as_bytes()),
                    Some(Ok(Message::Binary(bytes))) => deliver(&interface, bytes),
                    Some(Ok(Message::Pong(_))) => {
                        is_pinged = false;
                        Ok(())
                    }
                    Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(()),
                    Some(Ok(Message::Close(_))) | None => Err("the server closed it".to_owned()),
                    Some(Err(error)) => Err(error.to_string()),
                };
                if let Err(why) = delivered {
                    break why;
                }
            }
        }
    };
    tracing::debug!(why, "a WebSocket ended");
    interface.close_with_error();
}

async fn run_ipc(mut socket: UnixStream, mut interface: ConnectionInterface, max_answer: usize) {
    let (mut read, mut write) = socket.split();
    let mut messages = Messages::default();
    let why = loop {
        messages.received.reserve(READ_SIZE);
        tokio::select! {
            biased;
            request = interface.recv_from_frontend() => {
                let Some(request) = request else { return };
                if let Err(error) = write.write_all(request.get().as_bytes()).await {
                    break error.to_string();
                }
            }
            count = read.read_buf(&mut messages.received) => {
                let delivered = match count {
                    Ok(0) => Err("the node closed it".to_owned()),
                    Ok(_) => messages.deliver_to(&interface, max_answer),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(why) = delivered {
                    break why;
                }
            }
        }
    };
    tracing::debug!(why, "an IPC connection ended");
    interface.close_with_error();
}

/// Hands what a message holds to alloy's client.
///
/// # Errors
/// Why the connection is of no more use.
fn deliver(interface: &ConnectionInterface, message: &[u8]) -> Result<(), String> {
    for item in answer::read_pushed(message)? {
        interface.send_to_frontend(item).map_err(|_| "nobody reads from it".to_owned())?;
    }
    Ok(())
}

/// Splits the bytes of an IPC socket into messages: JSON objects or arrays that nothing but their brackets divides.
#[derive(Debug, Default)]
struct Messages {
    received: Vec<u8>,
    /// Bytes that were looked at.
    scanned: usize,
    depth: usize,
    in_string: bool,
}

impl Messages {
    fn deliver_to(&mut self, interface: &ConnectionInterface, max_answer: usize) -> Result<(), String> {
        while let Some(message) = self.next()? {
            deliver(interface, &message)?;
        }
        let length = self.received.len();
        if length > max_answer {
            return Err(format!("an answer of {length} bytes or more, of which {max_answer} are read"));
        }
        Ok(())
    }

    /// The next whole message. Each byte is looked at once, however the message comes in pieces.
    fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        while let Some(rest) = self.received.get(self.scanned..).filter(|rest| !rest.is_empty()) {
            if self.in_string {
                match memchr::memchr2(b'"', b'\\', rest) {
                    None => self.scanned += rest.len(),
                    Some(at) if rest[at] == b'"' => {
                        self.in_string = false;
                        self.scanned += at + 1;
                    }
                    Some(at) if at + 1 < rest.len() => self.scanned += at + 2,
                    // What the backslash escapes has not come yet.
                    Some(at) => {
                        self.scanned += at;
                        return Ok(None);
                    }
                }
                continue;
            }
            let byte = rest[0];
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => self.depth -= 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                // A byte order mark.
                0xef | 0xbb | 0xbf if self.depth == 0 => {}
                _ if self.depth == 0 => return Err(format!("no JSON-RPC answer: {}", excerpt(rest))),
                b'"' => self.in_string = true,
                _ => {}
            }
            self.scanned += 1;
            if self.depth == 0 && matches!(byte, b'}' | b']') {
                let rest = self.received.split_off(self.scanned);
                self.scanned = 0;
                return Ok(Some(std::mem::replace(&mut self.received, rest)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that come of bytes in pieces of that size.
    fn split(bytes: &[u8], size: usize) -> Result<Vec<String>, String> {
        let (mut messages, mut found) = (Messages::default(), Vec::new());
        for piece in bytes.chunks(size) {
            messages.received.extend_from_slice(piece);
            while let Some(message) = messages.next()? {
                found.push(String::from_utf8(message).unwrap().trim_start_matches(['\u{feff}', '\n']).to_owned());
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_of_an_ipc_socket_are_told_apart_however_they_come() {
        let texts = [
            r#"{"id":1,"result":"0x1"}"#,
            r#"[{"id":1,"result":[1,[2]]},{"id":2,"result":{}}]"#,
            r#"{"id":1,"result":"a } in \" a string [ \\"}"#,
            r#"{"":{"\\":[]}}"#,
            r#"{"id":1,"result":"\u005d é"}"#,
        ];
        for between in ["", "\n", "\u{feff}", "\n\u{feff}"] {
            let bytes: String = texts.iter().map(|text| format!("{between}{text}")).collect();
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(split(bytes.as_bytes(), size).unwrap(), texts, "{between:?} in pieces of {size}");
            }
        }
        for bytes in ["too many requests", "1", "\"text\"", "{}}", "<html>{}"] {
            assert!(split(bytes.as_bytes(), 1000).is_err(), "{bytes}");
        }
        assert_eq!(split(br#"{"id":1,"result":"0x"#, 3), Ok(Vec::new()), "what is cut is no message");
    }

    #[tokio::test]
    async fn a_secure_websocket_to_a_server_without_tls_fails_with_a_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap()).parse().unwrap();
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let error = WebSocket { url, max_answer: 1 << 20 }.connect().await.unwrap_err();
        assert!(!error.to_string().is_empty(), "{error}");
    }
}
