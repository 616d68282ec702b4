//! A WebSocket's client that sees every message, and can misbehave below them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client::client_with_config};

use crate::support::*;

/// An open socket.
pub(crate) struct Ws {
    pub(crate) inner: WebSocket<TcpStream>,
}

impl Ws {
    pub(crate) fn open(server: &Server) -> Self {
        Self::open_with(server, &[])
    }

    pub(crate) fn open_with(server: &Server, headers: &[(&'static str, &str)]) -> Self {
        Self::open_at(server, "/v1/ws", headers)
    }

    pub(crate) fn open_at(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("nodelay");
        let mut request = format!("ws://{}{path}", server.address)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header"));
        }
        // Read by small pieces: what this client has not asked for lies in the kernel.
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let (inner, _response) =
            client_with_config(request, stream, Some(config)).expect("the socket opens");
        Self { inner }
    }

    pub(crate) fn say(&mut self, message: Value) {
        self.inner
            .send(Message::text(message.to_string()))
            .expect("it is sent");
    }

    /// Asks for an answer, and waits for its first event.
    pub(crate) fn begin(&mut self, message: Value) {
        self.say(message);
        assert_eq!(self.hear()["type"], "started");
        assert_eq!(self.hear()["type"], "event");
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Value {
        loop {
            match self.inner.read().expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not a text: {other:?}"),
            }
        }
    }

    /// All messages up to the last of that id, of that id alone; the others are dropped.
    pub(crate) fn hear_all(&mut self, id: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let message = self.hear();
            if message["id"] == id {
                let last = matches!(message["type"].as_str(), Some("end" | "error"));
                heard.push(message);
                if last {
                    return heard;
                }
            }
        }
    }

    /// The code and reason with which the server closes; whatever comes before is dropped.
    pub(crate) fn hear_close(&mut self) -> (u16, String) {
        loop {
            match self.inner.read() {
                Ok(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Ok(Message::Close(None)) => panic!("closed without a code"),
                Ok(_) => {}
                Err(error) => panic!("not closed, but broken: {error}"),
            }
        }
    }

    /// Waits until the connection ends, in whatever way.
    pub(crate) fn wait_end(&mut self) {
        loop {
            match self.inner.read() {
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("it does not end")
                }
                Err(_) => return,
            }
        }
    }

    /// Sends bytes as they are; whether they were taken.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.inner.get_mut().write_all(bytes).is_ok()
    }

    /// Reads bytes as they are, and answers nothing, to the end.
    pub(crate) fn raw_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.inner.get_mut().read(&mut buffer) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("it does not end: {error}"),
            }
        }
    }
}

/// A client's frame, masked with zeros: its payload is as it was.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).expect("small")),
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Asks for a plain answer of that model.
pub(crate) fn start(id: &str, model: &str, prompt: &str) -> Value {
    json!({ "type": "start", "id": id, "path": "/stream", "body": { "prompt": prompt, "model": model } })
}

/// The data of all events, in order.
pub(crate) fn data(messages: &[Value]) -> Vec<String> {
    let events = messages.iter().filter(|message| message["type"] == "event");
    events
        .map(|event| event["data"].as_str().expect("data").to_owned())
        .collect()
}

/// How it ended.
pub(crate) fn status(messages: &[Value]) -> String {
    let last = messages.last().expect("a message");
    last["status"]
        .as_str()
        .unwrap_or_else(|| panic!("no end: {last}"))
        .to_owned()
}
