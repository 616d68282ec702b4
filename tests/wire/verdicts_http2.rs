//! The verdicts on frames of HTTP/2, in `verdicts/frames.toml`, which says how they are written.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::*;
use crate::verdicts::{Case, bytes, check_table, is_timeout, repeat};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TYPES: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];
const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];
/// The ping that shows that a connection lives.
const PING: [u8; 8] = *b"are you?";

/// Writes a frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a length")
        .to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Writes all the frames of a case.
fn frames(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for step in text.split("; ").filter(|step| !step.is_empty()) {
        let repeated = step.split_once("× ").and_then(|(count, step)| {
            let count: u32 = count.parse().ok()?;
            Some((count, step))
        });
        let (count, step) = repeated.unwrap_or((1, step));
        for number in 0..count {
            for one in step.split(", ") {
                all.extend(one_frame(one, number * 2 + 1));
            }
        }
    }
    all
}

/// Writes one frame; `@` is that stream.
fn one_frame(text: &str, next_stream: u32) -> Vec<u8> {
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let kind = word();
    if kind == "raw" {
        return hex(text.trim_start_matches("raw "));
    }
    let kind = TYPES.iter().position(|name| *name == kind).map_or_else(
        || u8::from_str_radix(kind, 16).expect("a type"),
        |at| u8::try_from(at).expect("a type"),
    );
    let flags = u8::from_str_radix(word(), 16).expect("flags");
    let stream = match word() {
        "@" => next_stream,
        number => number.parse().expect("a stream"),
    };
    let (prefix, block) = match word() {
        payload if payload.ends_with('}') => payload.split_once('{').expect("a block"),
        payload => (payload, ""),
    };
    let payload = [hex(prefix), fields(block.trim_end_matches('}'))].concat();
    frame(kind, flags, stream, &payload)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b' ')
        .map(|byte| char::from(byte).to_digit(16).expect("hex"))
        .map(|digit| u8::try_from(digit).expect("a digit"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Writes a block of fields, each as a literal that is not indexed.
fn fields(block: &str) -> Vec<u8> {
    let mut items = block.split('|');
    let first = items.next().unwrap_or_default();
    let (kind, more) = first.split_once(' ').unwrap_or((first, ""));
    let standard: &[&str] = match kind {
        "get" => &[
            ":method: GET",
            ":scheme: http",
            ":path: /healthz",
            ":authority: t",
        ],
        "nowhere" => &[
            ":method: POST",
            ":scheme: http",
            ":path: /nowhere",
            ":authority: t",
        ],
        "stalled" => &[
            ":method: GET",
            ":scheme: http",
            ":path: /stream?model=mock-stall&prompt=hi",
            ":authority: t",
        ],
        "post" => &[
            ":method: POST",
            ":scheme: http",
            ":path: /stream?model=mock-echo",
            ":authority: t",
            "content-type: text/plain",
        ],
        _ => &[],
    };
    let added = Some(more)
        .filter(|more| !more.is_empty())
        .into_iter()
        .chain(items);
    let mut encoded = Vec::new();
    for item in standard.iter().copied().chain(added) {
        // A name may begin with a colon, or be empty.
        let at = item.rfind(": ").expect("a field");
        encoded.push(0);
        for text in [&item[..at], &item[at + 2..]] {
            let text = bytes(text);
            encode_length(text.len(), &mut encoded);
            encoded.extend(text);
        }
    }
    encoded
}

/// Writes a length of a text (RFC 7541, section 5.1).
fn encode_length(length: usize, encoded: &mut Vec<u8>) {
    if length < 127 {
        encoded.push(u8::try_from(length).expect("a byte"));
        return;
    }
    encoded.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        encoded.push(u8::try_from(rest % 128).expect("a byte") | 128);
        rest /= 128;
    }
    encoded.push(u8::try_from(rest).expect("a byte"));
}

/// The client's side of a connection, with what has been told on it.
struct Connection {
    client: Client,
    /// Bytes of `client.received` that have been read.
    used: usize,
    told: Vec<String>,
    is_alive: bool,
}

impl Connection {
    /// Reads a frame. Returns `None` if the connection has ended.
    fn read_frame(&mut self) -> Option<()> {
        loop {
            let rest = &self.client.received[self.used..];
            if let [a, b, c, kind, _, stream @ ..] = rest
                && let Some((stream, payload)) = stream.split_first_chunk()
            {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if let Some(payload) = payload.get(..length) {
                    let (kind, stream) = (*kind, u32::from_be_bytes(*stream) & (u32::MAX >> 1));
                    let payload = payload.to_vec();
                    self.used += 9 + length;
                    self.note(kind, stream, &payload);
                    return Some(());
                }
            }
            let mut buffer = [0; 65536];
            match self.client.stream.read(&mut buffer) {
                Ok(n @ 1..) => self.client.received.extend_from_slice(&buffer[..n]),
                Ok(_) => return None,
                Err(error) => {
                    if is_timeout(&error) {
                        self.told.push("nothing more".to_owned());
                    }
                    return None;
                }
            }
        }
    }

    fn note(&mut self, kind: u8, stream: u32, payload: &[u8]) {
        let error = |payload: &[u8]| {
            let code: [u8; 4] = payload.try_into().expect("a code");
            ERRORS[u32::from_be_bytes(code) as usize]
        };
        match TYPES[usize::from(kind)] {
            "HEADERS" => self.told.push(format!("{stream}: {}", status(payload))),
            "RST_STREAM" => self
                .told
                .push(format!("{stream}: reset {}", error(payload))),
            "GOAWAY" => self.told.push(format!("goaway {}", error(&payload[4..8]))),
            "PING" => self.is_alive |= payload == PING,
            _ => {}
        }
    }
}

/// Returns the status of a block of fields that begins with it, as every response's does.
fn status(block: &[u8]) -> String {
    // The server may say first how large its table is.
    let at = block
        .iter()
        .take_while(|byte| **byte & 0xe0 == 0x20)
        .count();
    match &block[at..] {
        [0x88, ..] => "200".to_owned(),
        [0x8c, ..] => "400".to_owned(),
        [0x8d, ..] => "404".to_owned(),
        [0x8e, ..] => "500".to_owned(),
        // A literal with the name of index 8; three digits in Huffman's code fit into two or three
        // bytes.
        [_, length, text @ ..] => huffman_digits(&text[..usize::from(length & 0x7f)]),
        _ => "none".to_owned(),
    }
}

/// Reads decimal digits in the code of RFC 7541: five bits for 0 to 2, six for the others.
fn huffman_digits(text: &[u8]) -> String {
    let bits: Vec<u8> = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let number = |bits: &[u8]| {
        bits.iter()
            .fold(0, |number, bit| number << 1 | u32::from(*bit))
    };
    let (mut rest, mut digits) = (&bits[..], String::new());
    while rest.len() >= 5 && digits.len() < 3 {
        let (digit, used) = match number(&rest[..5]) {
            short @ 0..=2 => (short, 5),
            _ => (number(&rest[..rest.len().min(6)]) - 0x19 + 3, 6),
        };
        digits += &digit.to_string();
        rest = &rest[used.min(rest.len())..];
    }
    digits
}

/// Sends the frames and returns the verdict.
fn judge(address: SocketAddr, case: &Case) -> String {
    let mut connection = Connection {
        client: Client::connect(address),
        used: 0,
        told: Vec::new(),
        is_alive: false,
    };
    let mut sent = frames(&repeat(&case.send));
    if !case.bare {
        sent = [PREFACE, &frame(4, 0, 0, &[]), &sent].concat();
    }
    // Met only where a verdict has changed.
    let timeout = Some(Duration::from_secs(5));
    let stream = &connection.client.stream;
    stream.set_read_timeout(timeout).expect("a timeout");
    // Written beside the reading: a flood gets answers, which would fill both sides otherwise.
    let mut writer = connection.client.stream.try_clone().expect("a socket");
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&sent);
    });
    let due = case.verdict.split(", ").count() - 1;
    let mut is_open = true;
    while is_open && connection.told.len() < due {
        is_open = connection.read_frame().is_some();
    }
    if is_open && case.verdict.ends_with("open") {
        writing.join().expect("written");
        let _ = connection.client.stream.write_all(&frame(6, 0, 0, &PING));
        while is_open && !connection.is_alive {
            is_open = connection.read_frame().is_some();
        }
    }
    while is_open && case.verdict.ends_with("closed") {
        is_open = connection.read_frame().is_some();
    }
    let state = if is_open { "open" } else { "closed" };
    connection.told.push(state.to_owned());
    connection.told.join(", ")
}

#[test]
fn frames_of_http2() {
    let server = Server::mock();
    check_table("frames.toml", 30, |case| judge(server.address, case));
}
