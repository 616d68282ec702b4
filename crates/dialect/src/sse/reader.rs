//! From bytes to whole events.
//!
//! [`FrameSplitter`] finds the ends of events and keeps an unfinished one, up to the limit of
//! [`FrameSplitter::new`]. [`frames`] then reads the events of such a run one by one.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr2, memchr2_iter};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// An event longer than the limit; reading on would mean buffering without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Splits a byte stream into runs of whole events.
///
/// ```
/// use bytes::Bytes;
/// use dialect::sse::{FrameSplitter, frames};
///
/// let mut splitter = FrameSplitter::new(1024);
/// let run = splitter.push(Bytes::from("data: one\n\ndata: tw"))?;
/// assert_eq!(&run[..], b"data: one\n\n");
/// let run = splitter.push(Bytes::from("o\n\n"))?;
/// let frame = frames(&run).next().unwrap();
/// assert_eq!(frame.data.as_deref(), Some(&b"two"[..]));
/// # Ok::<(), dialect::sse::EventTooLarge>(())
/// ```
#[derive(Debug)]
pub struct FrameSplitter {
    /// The start of an unfinished event. Empty, and without an allocation, between events.
    tail: BytesMut,
    /// The first three bytes are not complete yet; they might be a byte order mark.
    at_start: bool,
    limit: usize,
}

impl FrameSplitter {
    /// Returns a splitter that buffers at most `limit` bytes of an unfinished event.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            tail: BytesMut::new(),
            at_start: true,
            limit,
        }
    }

    /// Adds a chunk and returns all events that are now complete, in one piece: a slice of the
    /// chunk itself, unless an event began in an earlier chunk. Empty if no event ended.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] when the unfinished event exceeds the limit.
    #[inline]
    pub fn push(&mut self, mut chunk: Bytes) -> Result<Bytes, EventTooLarge> {
        if self.at_start {
            chunk = match self.skip_bom(chunk) {
                Some(chunk) => chunk,
                None => return Ok(Bytes::new()),
            };
        }
        let whole = if self.tail.is_empty() {
            let end = last_boundary(&chunk, 0);
            if end == chunk.len() {
                return Ok(chunk);
            }
            let whole = chunk.split_to(end);
            self.tail.extend_from_slice(&chunk);
            whole
        } else {
            // Old bytes hold no boundary, unless the last of them was taken for half of a CRLF.
            let from = self.tail.len().saturating_sub(1);
            self.tail.extend_from_slice(&chunk);
            let end = last_boundary(&self.tail, from);
            let whole = self.tail.split_to(end).freeze();
            if self.tail.is_empty() {
                // An idle stream holds no buffer.
                self.tail = BytesMut::new();
            }
            whole
        };
        // The events before it are given out first.
        if self.tail.len() > self.limit && whole.is_empty() {
            Err(EventTooLarge { limit: self.limit })
        } else {
            Ok(whole)
        }
    }

    /// Returns the rest at the end of the stream, closed as if its blank line had come: a server
    /// that ends without one still meant the event.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let mut rest = std::mem::take(&mut self.tail);
        if !rest.is_empty() {
            rest.extend_from_slice(b"\n\n");
        }
        rest.freeze()
    }

    fn skip_bom(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        if !self.tail.is_empty() {
            self.tail.extend_from_slice(&chunk);
            chunk = std::mem::take(&mut self.tail).freeze();
        }
        if chunk.len() < BOM.len() && BOM.starts_with(&chunk) {
            self.tail.extend_from_slice(&chunk);
            return None;
        }
        self.at_start = false;
        if chunk.starts_with(BOM) {
            let _ = chunk.split_to(BOM.len());
        }
        Some(chunk)
    }
}

/// Returns the end of the last empty line that ends at or after `from`, or 0. An empty line ends an
/// event.
#[inline]
fn last_boundary(bytes: &[u8], from: usize) -> usize {
    if bytes.ends_with(b"\n\n") {
        return bytes.len(); // nearly always: an upstream flushes whole events
    }
    find_last_boundary(bytes, from)
}

fn find_last_boundary(bytes: &[u8], from: usize) -> usize {
    for i in memchr2_iter(b'\n', b'\r', &bytes[from..])
        .rev()
        .map(|i| i + from)
    {
        if bytes[i] == b'\r' && i + 1 == bytes.len() && bytes[..i].ends_with(b"\n") {
            // Half of the CRLF that ends a CRLF stream's event. Passed on alone, it would split the
            // event's end in two.
            continue;
        }
        let line_end = if bytes[i] == b'\n' && i > 0 && bytes[i - 1] == b'\r' {
            i - 1
        } else {
            i
        };
        if line_end > 0 && matches!(bytes[line_end - 1], b'\n' | b'\r') {
            // "\r\n" ends one line: the '\n' before a line ends its predecessor only if it isn't
            // half of ours.
            return i + 1;
        }
    }
    0
}

/// One event, read in place.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Range in the run, including the blank line.
    pub range: Range<usize>,
    /// The last `event:` field.
    pub event: Option<&'a [u8]>,
    /// The `id` field.
    pub id: Option<&'a [u8]>,
    /// The `data:` fields, joined by line feeds. `None` if there was none.
    pub data: Option<Cow<'a, [u8]>>,
    /// An `error:` field: not part of the standard, but sent by some servers at the end (llama-box,
    /// old llama.cpp).
    pub error: Option<&'a [u8]>,
    /// The event holds a comment.
    pub comment: bool,
}

/// Returns the events of a run of whole events, as [`FrameSplitter::push`] returns it.
#[must_use]
pub fn frames(run: &[u8]) -> FrameIter<'_> {
    FrameIter { run, at: 0 }
}

/// Iterator over the events of a run; see [`frames`].
#[derive(Debug)]
pub struct FrameIter<'a> {
    run: &'a [u8],
    at: usize,
}

impl<'a> Iterator for FrameIter<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let start = self.at;
        if start >= self.run.len() {
            return None;
        }
        let mut frame = Frame {
            range: start..start,
            event: None,
            id: None,
            data: None,
            error: None,
            comment: false,
        };
        while self.at < self.run.len() {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = field(line);
            match name {
                b"data" => {
                    frame.data = Some(match frame.data.take() {
                        None => Cow::Borrowed(value),
                        Some(data) => {
                            let mut data = data.into_owned();
                            data.push(b'\n');
                            data.extend_from_slice(value);
                            Cow::Owned(data)
                        }
                    });
                }
                b"event" => frame.event = Some(value),
                b"id" => frame.id = Some(value),
                b"error" => frame.error = Some(value),
                b"" => frame.comment = true,
                _ => {}
            }
        }
        frame.range.end = self.at;
        Some(frame)
    }
}

impl<'a> FrameIter<'a> {
    /// Returns the next line without its end, which is LF, CRLF or CR.
    fn line(&mut self) -> &'a [u8] {
        let rest = &self.run[self.at..];
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        let skip = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        self.at = (self.at + end + skip).min(self.run.len());
        line
    }
}

/// Splits a line into name and value; one space after the colon belongs to neither.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&b| b == b':') {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}
