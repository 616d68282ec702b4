//! What a client says to a proxy, and how it reads an answer.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Tokens that have come in this process.
pub static TOKENS: AtomicU64 = AtomicU64::new(0);

/// What a client says, and what ends its answer.
#[derive(Debug, Clone)]
pub struct Client {
    path: &'static str,
    headers: String,
    more: &'static str,
    end: &'static [u8],
}

impl Client {
    /// By its name: a dialect, and what its header says after a `+`.
    pub fn of(name: &str) -> Self {
        let (name, header) = name.split_once('+').unwrap_or((name, ""));
        let headers = if header.is_empty() {
            String::new()
        } else {
            format!("{}\r\n", header.replace('+', "\r\n"))
        };
        match name {
            "openai-chat" => Self {
                path: "/v1/chat/completions",
                headers,
                more: "",
                end: b"data: [DONE]",
            },
            "anthropic" => Self {
                path: "/v1/messages",
                headers,
                more: ",\"max_tokens\":9999",
                end: b"event: message_stop",
            },
            other => panic!("no client {other}"),
        }
    }

    /// A request with that prompt.
    pub fn request(&self, prompt: &str) -> Vec<u8> {
        let body = format!(
            "{{\"model\":\"gpt\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]{}}}",
            self.more
        );
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: arena\r\ncontent-type: application/json\r\n{}content-length: {}\r\n\r\n",
            self.path,
            self.headers,
            body.len()
        );
        (head + &body).into_bytes()
    }

    /// Asks, and reads the answer to its end: how long each token was under way, and how long the
    /// first was awaited, go where they belong.
    pub async fn read(
        &self,
        stream: &mut TcpStream,
        prompt: &str,
        delays: &mut Vec<u64>,
        first: &mut Vec<u64>,
    ) -> std::io::Result<()> {
        let asked = crate::now();
        stream.write_all(&self.request(prompt)).await?;
        let (mut raw, mut body) = (Vec::with_capacity(16 * 1024), Vec::with_capacity(16 * 1024));
        let (mut head, mut waiting) = (true, true);
        loop {
            if stream.read_buf(&mut raw).await? == 0 {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::UnexpectedEof,
                    "it was closed before its end",
                ));
            }
            let now = crate::now();
            if head {
                let Some(end) = find(&raw, b"\r\n\r\n") else {
                    continue;
                };
                if !raw.starts_with(b"HTTP/1.1 200") {
                    return Err(std::io::Error::other(
                        String::from_utf8_lossy(&raw).into_owned(),
                    ));
                }
                raw.drain(..end + 4);
                head = false;
            }
            let ended = unchunk(&mut raw, &mut body)?;
            let before = delays.len();
            let from = stamps(&body, |stamp| delays.push(now.saturating_sub(stamp)))?;
            let tokens = delays.len() - before;
            if tokens > 0 {
                TOKENS.fetch_add(tokens as u64, Ordering::Relaxed);
                if std::mem::take(&mut waiting) {
                    first.push(now - asked);
                    STREAMS.fetch_add(1, Ordering::Relaxed);
                }
            }
            if ended {
                let whole = find(&body, self.end).is_some();
                let cut = || {
                    std::io::Error::new(
                        std::io::ErrorKind::UnexpectedEof,
                        "its last event is missing",
                    )
                };
                return if whole { Ok(()) } else { Err(cut()) };
            }
            body.drain(..from);
        }
    }
}

/// Streams whose first token has come.
pub static STREAMS: AtomicU64 = AtomicU64::new(0);

/// A connection to this machine.
pub async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Moves whole chunks; whether the last one was among them.
fn unchunk(raw: &mut Vec<u8>, body: &mut Vec<u8>) -> std::io::Result<bool> {
    let bad = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not chunked");
    let mut at = 0;
    let ended = loop {
        let Some(line) = memchr::memchr(b'\n', &raw[at..]) else {
            break false;
        };
        let digits = raw[at..at + line]
            .strip_suffix(b"\r")
            .filter(|digits| !digits.is_empty())
            .ok_or_else(bad)?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as usize);
        let length = digits
            .iter()
            .try_fold(0, |length, byte| Some(length * 16 + digit(byte)?))
            .ok_or_else(bad)?;
        let start = at + line + 1;
        let end = start + length;
        if raw.len() < end + 2 {
            break false;
        }
        body.extend_from_slice(&raw[start..end]);
        at = end + 2;
        if start == end {
            break true;
        }
    };
    raw.drain(..at);
    Ok(ended)
}

/// Hands out whole stamps, each of which stands between two @; where the last of them ends.
fn stamps(body: &[u8], mut each: impl FnMut(u64)) -> std::io::Result<usize> {
    let mut from = 0;
    while let Some(start) = memchr::memchr(b'@', &body[from..]).map(|at| at + from + 1) {
        let Some(end) = memchr::memchr(b'@', &body[start..]).map(|at| at + start) else {
            break;
        };
        let stamp = std::str::from_utf8(&body[start..end])
            .ok()
            .and_then(|digits| digits.parse().ok());
        each(stamp.ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::InvalidData, "a token has no stamp")
        })?);
        from = end + 1;
    }
    Ok(from)
}

/// Where a needle begins.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, needle)
}
