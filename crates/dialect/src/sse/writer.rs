//! From payloads to frames.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a frame's data taken at once: whole groups of base64.
const ENCODE_STEP: usize = 3 * 1024;

/// Writes one frame: `data` as it is, or, if it holds line ends, one `data:` line for each, so that
/// no content can forge a frame. A reader joins them with `\n`: the spelling of `\r\n` and `\r` is
/// lost.
///
/// `event` is one of a dialect's own names, never foreign text: it must hold no line end.
///
/// ```
/// let mut wire = bytes::BytesMut::new();
/// dialect::sse::write_frame(&mut wire, Some("note"), b"two\nlines");
/// assert_eq!(&wire[..], b"event: note\ndata: two\ndata: lines\n\n");
/// ```
pub fn write_frame(out: &mut BytesMut, event: Option<&str>, data: &[u8]) {
    // Once for all of a frame of one line: its parts are small, and each would grow the buffer.
    let event_length = event.map_or(0, |event| "event: \n".len() + event.len());
    out.reserve(event_length + "data: \n\n".len() + data.len());
    if let Some(event) = event {
        for part in ["event: ", event, "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    lines(data, |line| {
        // Always the space: a reader strips one, so text that begins with a space keeps its own.
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
    });
    out.extend_from_slice(b"\n");
}

/// Writes the fields of a frame that come before its [`DataWriter`].
pub fn write_frame_head(out: &mut BytesMut, event: Option<&str>, id: Option<&dyn fmt::Display>) {
    // A BytesMut grows, so this can't fail.
    if let Some(event) = event {
        let _ = writeln!(out, "event: {event}");
    }
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
}

/// Writes a frame's data piece by piece: as a whole, a long frame would be in memory once for each
/// reader. The space after the colon is written only if the data begins with one, as in Durable
/// Streams.
#[derive(Debug)]
pub struct DataWriter {
    rest: VecDeque<Bytes>,
    base64: bool,
    /// A line has begun.
    within: bool,
}

impl DataWriter {
    /// Returns a writer of text in pieces, each of whole lines or within one.
    #[must_use]
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let rest = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        Self {
            rest,
            base64: false,
            within: false,
        }
    }

    /// Returns a writer of binary data, as base64.
    #[must_use]
    pub fn base64(bytes: Bytes) -> Self {
        Self {
            base64: true,
            ..Self::new([bytes])
        }
    }

    /// Writes until `out` holds about `most` bytes; returns true when the frame is complete.
    pub fn write_up_to(&mut self, out: &mut BytesMut, most: usize) -> bool {
        while out.len() < most {
            if !self.within {
                let space = !self.base64
                    && self
                        .rest
                        .front()
                        .is_some_and(|piece| piece.starts_with(b" "));
                out.put_slice(if space { b"data: " } else { b"data:" });
                self.within = true;
            }
            let Some(piece) = self.rest.front_mut() else {
                out.put_slice(b"\n\n");
                return true;
            };
            let window = &piece[..piece.len().min(ENCODE_STEP)];
            let taken = if self.base64 {
                out.put_slice(STANDARD.encode(window).as_bytes());
                window.len()
            } else if let Some(end) = memchr::memchr2(b'\n', b'\r', window) {
                out.put_slice(&window[..end]);
                out.put_u8(b'\n');
                self.within = false;
                end + if piece[end..].starts_with(b"\r\n") {
                    2
                } else {
                    1
                }
            } else {
                out.put_slice(window);
                window.len()
            };
            piece.advance(taken);
            if piece.is_empty() {
                self.rest.pop_front();
            }
        }
        false
    }
}

/// Delay before a client reconnects, sent once.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Returns a block that only sets the reconnection delay. It stands at a stream's end or nowhere:
/// some SDKs, unlike browsers, fail on it.
#[must_use]
pub fn retry_frame() -> Bytes {
    format!("retry: {}\n\n", RETRY_INTERVAL.as_millis()).into()
}

/// Writes a frame from elsewhere under an id of ours, in the same block: some SDKs fail on a block
/// without data. Its own `id` and `retry` fields are left out, since the last one of a block wins.
pub fn write_frame_with_id(out: &mut BytesMut, id: &[u8], retry: Option<Duration>, frame: &[u8]) {
    for part in [b"id: ".as_slice(), id, b"\n"] {
        out.extend_from_slice(part);
    }
    if let Some(retry) = retry {
        // A BytesMut grows, so this can't fail.
        let _ = writeln!(out, "retry: {}", retry.as_millis());
    }
    write_without_ids(out, frame);
}

/// Writes frames without their `id` and `retry` fields; all else stays byte for byte the same.
///
/// ```
/// let mut wire = bytes::BytesMut::new();
/// dialect::sse::write_without_ids(&mut wire, b"id: 7\nretry: 1000\ndata: one\n\n");
/// assert_eq!(&wire[..], b"data: one\n\n");
/// ```
pub fn write_without_ids(out: &mut BytesMut, frames: &[u8]) {
    let mut rest = frames;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let next = (end
            + if rest[end..].starts_with(b"\r\n") {
                2
            } else {
                1
            })
        .min(rest.len());
        let name = rest[..end]
            .split(|byte| *byte == b':')
            .next()
            .unwrap_or_default();
        if !matches!(name, b"id" | b"retry") {
            out.extend_from_slice(&rest[..next]);
        }
        rest = &rest[next..];
    }
}

/// Calls `each` with the text between line ends.
fn lines(data: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = data;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        each(&rest[..end]);
        rest = &rest[end
            + if rest[end..].starts_with(b"\r\n") {
                2
            } else {
                1
            }..];
    }
    each(rest);
}
