//! The client's side of a stream: frames in its dialect.

use bytes::{Bytes, BytesMut};

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{Answering, Dialect, EventReader, EventWriter, Position};

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
        answering: Answering,
        keeps_comments: bool,
    ) -> Self {
        Self {
            dialect,
            keeps_comments,
            writer: dialect.client.writer(answering),
        }
    }

    /// Writes an event as frames.
    pub(super) fn write_event(
        &mut self,
        event: &Event<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        self.writer
            .write(event, &mut |name, data| sse::write(out, name, data))
    }

    /// Writes the events that a reader held back until the end of its stream.
    pub(super) fn write_rest(
        &mut self,
        reader: &mut dyn EventReader,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        let mut written = Ok(());
        let ended = reader.end(Some(&mut |event| {
            if written.is_ok() {
                written = self.write_event(&event, out);
            }
        }));
        written.and(ended)
    }

    /// Continues after frames of the upstream's own.
    pub(super) fn resume_at(&mut self, position: Position<'_>) {
        self.writer.follow(position);
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
                .done(&mut |event, data| sse::write(&mut out, event, data)),
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
        self.writer.error(failure, request_id, &mut |event, data| {
            sse::write(out, event, data);
        });
    }
}
