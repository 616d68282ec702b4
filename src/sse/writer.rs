//! Payloads in, frames out.

use std::fmt::{self, Write as _};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// Writes one frame: `data` as it is, or, where it holds line ends, as one `data:` line each, so that no content can
/// forge a frame. A reader joins them with `\n`: of `\r\n` and `\r` only the line's end arrives, not its spelling.
///
/// `event` is one of a dialect's own names, never foreign text: it must hold no line end.
pub fn write(out: &mut BytesMut, event: Option<&str>, data: &[u8]) {
    if let Some(event) = event {
        out.put_slice(b"event: ");
        out.put_slice(event.as_bytes());
        out.put_u8(b'\n');
    }
    lines(data, |line| {
        // Always the space: a reader strips one, so a text that begins with a space keeps its own.
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_u8(b'\n');
    });
    out.put_u8(b'\n');
}

/// Writes a frame as [`write()`] does, with an id, and with a space behind the colon only where the data begins with one:
/// so Durable Streams are written.
pub fn write_tight(out: &mut BytesMut, event: Option<&str>, id: Option<&dyn fmt::Display>, data: &[u8]) {
    // Infallible: a BytesMut grows.
    if let Some(event) = event {
        let _ = writeln!(out, "event: {event}");
    }
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    lines(data, |line| {
        out.put_slice(if line.starts_with(b" ") { b"data: " } else { b"data:" });
        out.put_slice(line);
        out.put_u8(b'\n');
    });
    out.put_u8(b'\n');
}

/// After which a client whose connection broke comes back, told once.
pub const RETRY: Duration = Duration::from_secs(1);

/// A block that says only when to come again. It stands at a stream's end or nowhere: SDKs, unlike browsers, choke on it.
#[must_use]
pub fn come_again() -> Bytes {
    format!("retry: {}\n\n", RETRY.as_millis()).into()
}

/// Writes a frame that someone else wrote, under an id of ours, which is put in front of it, into the same block: some
/// SDKs choke on a block without data. Its own `id` and `retry` are left out, since the last one of a block counts.
pub fn write_numbered(out: &mut BytesMut, id: impl fmt::Display, retry: Option<Duration>, frame: &[u8]) {
    // Infallible: a BytesMut grows.
    let _ = writeln!(out, "id: {id}");
    if let Some(retry) = retry {
        let _ = writeln!(out, "retry: {}", retry.as_millis());
    }
    let mut rest = frame;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let next = (end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }).min(rest.len());
        let name = rest[..end].split(|byte| *byte == b':').next().unwrap_or_default();
        if !matches!(name, b"id" | b"retry") {
            out.put_slice(&rest[..next]);
        }
        rest = &rest[next..];
    }
}

/// What lies between line ends.
fn lines(data: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = data;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        each(&rest[..end]);
        rest = &rest[end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
    }
    each(rest);
}
