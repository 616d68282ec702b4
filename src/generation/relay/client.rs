//! The client's side of a stream: frames in its dialect.

use bytes::{Bytes, BytesMut};

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{Dialect, EventReader, EventSink, EventWriter, PassThroughPosition, ResponseMeta};

use super::step::StreamEnd;

/// The writer of a client's stream.
#[derive(Debug)]
pub(in crate::generation) struct ClientWriter {
    pub(super) dialect: &'static Dialect,
    /// Passes an upstream's comments on, if set.
    pub(super) keeps_comments: bool,
    writer: Box<dyn EventWriter>,
}

impl ClientWriter {
    pub(in crate::generation) fn new(
        dialect: &'static Dialect,
        meta: ResponseMeta,
        keeps_comments: bool,
    ) -> Self {
        Self {
            dialect,
            keeps_comments,
            writer: dialect.client.event_writer(meta),
        }
    }

    /// Writes an event as frames.
    pub(super) fn write_event(
        &mut self,
        event: &Event<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        self.writer
            .write_event(event, &mut |name, data| sse::write_frame(out, name, data))
    }

    /// Writes the events that a reader held back until the end of its stream.
    pub(super) fn write_rest(
        &mut self,
        reader: &mut dyn EventReader,
        out: &mut BytesMut,
        tap: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let mut written = Ok(());
        let ended = reader.finish_stream(Some(&mut |event| {
            if written.is_ok() {
                written = self.write_event(&event, out);
            }
            if let Some(tap) = tap {
                tap(event);
            }
        }));
        written.and(ended)
    }

    /// Continues after frames of the upstream's own.
    pub(super) fn resume_at(&mut self, position: PassThroughPosition<'_>) {
        self.writer.resume_after_pass_through(position);
    }

    /// Returns `bytes` and the frames that end the stream.
    pub(super) fn append_end(&mut self, bytes: Bytes, end: &StreamEnd, request_id: &str) -> Bytes {
        let mut out = BytesMut::new();
        match end {
            StreamEnd::Complete { already_sent: true }
            | StreamEnd::Failed {
                already_sent: true, ..
            } => return bytes,
            StreamEnd::Complete { .. } => self
                .writer
                .write_end(&mut |event, data| sse::write_frame(&mut out, event, data)),
            StreamEnd::Failed { failure, .. } => self.write_error(failure, request_id, &mut out),
        }
        if bytes.is_empty() {
            out.freeze()
        } else {
            [bytes, out.freeze()].concat().into()
        }
    }

    /// Returns the frame of an error that came before anything else.
    pub(in crate::generation) fn error_frame(
        &mut self,
        failure: &Failure,
        request_id: &str,
    ) -> Bytes {
        let mut out = BytesMut::new();
        self.write_error(failure, request_id, &mut out);
        out.freeze()
    }

    fn write_error(&mut self, failure: &Failure, request_id: &str, out: &mut BytesMut) {
        self.writer
            .write_error(failure, request_id, &mut |event, data| {
                sse::write_frame(out, event, data);
            });
    }
}
