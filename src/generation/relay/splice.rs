//! A run of frames with pieces cut out or put in.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

/// An edited run. While nothing is changed it stays the slice that it is.
pub(super) struct Splice<'a> {
    run: &'a Bytes,
    from: usize,
    end: usize,
    kept: BytesMut,
}

/// The field of a payload that names its event.
#[derive(Deserialize)]
struct TypedPayload<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

impl<'a> Splice<'a> {
    pub(super) fn new(run: &'a Bytes) -> Self {
        Self {
            run,
            from: 0,
            end: run.len(),
            kept: BytesMut::new(),
        }
    }

    /// Puts the event's name, which its payload says, in front of a frame that lacks it.
    pub(super) fn insert_event_name(&mut self, range: &Range<usize>, data: &[u8]) {
        let Ok(TypedPayload { kind }) = serde_json::from_slice(data) else {
            return;
        };
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        if !kind.is_empty() && kind.bytes().all(is_name_byte) {
            self.keep_until(range.start);
            self.kept.extend_from_slice(b"event: ");
            self.kept.extend_from_slice(kind.as_bytes());
            self.kept.extend_from_slice(b"\n");
            self.from = range.start;
        }
    }

    /// Removes a frame, or a piece of one.
    pub(super) fn remove(&mut self, range: &Range<usize>) {
        self.keep_until(range.start);
        self.from = range.end;
    }

    /// Removes everything from `at` on.
    pub(super) fn truncate(&mut self, at: usize) {
        self.end = at;
    }

    /// Returns the edited run; `None` if it is the whole run, unchanged.
    pub(super) fn finish(mut self) -> Option<Bytes> {
        let from = self.from.min(self.end);
        if self.kept.is_empty() {
            let is_whole = from == 0 && self.end == self.run.len();
            return (!is_whole).then(|| self.run.slice(from..self.end));
        }
        self.kept.extend_from_slice(&self.run[from..self.end]);
        Some(self.kept.freeze())
    }

    fn keep_until(&mut self, at: usize) {
        self.kept.extend_from_slice(&self.run[self.from..at]);
    }
}
