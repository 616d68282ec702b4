//! A body of JSON values as Server-Sent Events, one for each value.

use bytes::{Bytes, BytesMut};
use dialect::failure::Failure;
use dialect::{JsonValues, write_json_frame};

use super::event_form::EventForm;
use crate::memory::MemoryPermit;

/// Bytes that are given out at once of events that are there already.
const SLICE: usize = 64 * 1024;

/// A body of JSON values, read as events.
#[derive(Debug)]
pub(in crate::provider) struct JsonEvents {
    /// Splits the rest of the body.
    pub(in crate::provider) values: JsonValues,
    /// Bytes of the body that have been read and not been split.
    pub(in crate::provider) unsplit: Bytes,
    /// Events that are there already.
    pub(in crate::provider) ready: Bytes,
    /// Longest value.
    pub(in crate::provider) max_event: usize,
    /// For the memory of an answer that came whole.
    pub(in crate::provider) permit: Option<MemoryPermit>,
}

impl EventForm for JsonEvents {
    fn push(&mut self, bytes: Bytes) {
        self.unsplit = bytes;
    }

    fn write_events(&mut self, out: &mut BytesMut) -> Result<(), Failure> {
        if !self.ready.is_empty() {
            out.extend_from_slice(&self.ready.split_to(self.ready.len().min(SLICE)));
            return Ok(());
        }
        self.permit = None;
        while !self.unsplit.is_empty() {
            if let Some(value) = self.values.next_value(&mut self.unsplit, self.max_event)? {
                write_json_frame(out, &value);
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        if self.values.is_within_value() {
            return Err(Failure::upstream_truncated(
                "it broke off within a JSON object",
            ));
        }
        Ok(())
    }
}
