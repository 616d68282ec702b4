//! The client's side of a stream: frames in its dialect.

use bytes::{Bytes, BytesMut};

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{
    ContinuedNote, Dialect, EventReader, EventSink, EventWriter, PassThroughPosition, ResponseMeta,
};

use super::step::StreamEnd;
use crate::generation::omitted::log_omitted;
use crate::generation::transcript::Transcript;

/// The writer of a client's stream.
#[derive(Debug)]
pub(in crate::generation) struct ClientWriter {
    pub(super) dialect: &'static Dialect,
    /// Passes an upstream's comments on, if set.
    pub(super) keeps_comments: bool,
    writer: Box<dyn EventWriter>,
    /// Kept of an answer that may be continued.
    transcript: Option<Box<Transcript>>,
    /// Set if this server has asked for the usage, and the client has not.
    pub(super) hides_usage: bool,
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
            hides_usage: meta.request.counts_usage && !meta.request.include_usage,
            writer: dialect.client.event_writer(meta),
            transcript: None,
        }
    }

    /// Keeps a transcript from now on.
    pub(in crate::generation) fn keep_transcript(&mut self, transcript: Transcript) {
        self.transcript = Some(Box::new(transcript));
    }

    /// Returns the transcript, if one is kept.
    pub(in crate::generation) fn transcript(&mut self) -> Option<&mut Transcript> {
        self.transcript.as_deref_mut()
    }

    /// Returns whether the client takes comments of our own.
    pub(in crate::generation) fn takes_comments(&self) -> bool {
        // Google's own clients take one for an event, so theirs are kept open by blank lines.
        self.keeps_comments && self.dialect.heartbeat != b"\n"
    }

    pub(super) fn keeps_transcript(&self) -> bool {
        self.transcript.is_some()
    }

    /// Returns whether nothing of another attempt came before.
    pub(super) fn is_first_attempt(&self) -> bool {
        let transcript = self.transcript.as_ref();
        transcript.is_none_or(|transcript| transcript.is_first_attempt())
    }

    /// Takes the id that the upstream gave the response.
    pub(super) fn set_response_id(&mut self, id: &str) {
        self.writer.set_response_id(id);
    }

    /// Returns the writer of another attempt to give the same answer, which has written nothing.
    pub(in crate::generation) fn begin_anew(&self, meta: ResponseMeta) -> Self {
        let transcript = self.transcript.as_ref();
        Self {
            writer: self.dialect.client.event_writer(meta),
            transcript: transcript.map(|transcript| Box::new(transcript.begin_anew())),
            ..*self
        }
    }

    /// Writes an event as frames.
    pub(super) fn write_event(
        &mut self,
        event: &Event<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        let (dialect, writer) = (self.dialect, &mut *self.writer);
        let mut write = |event: &Event<'_>| {
            log_omitted(dialect, event);
            writer.write_event(event, &mut |name, data| sse::write_frame(out, name, data))
        };
        match &mut self.transcript {
            None => write(event),
            Some(transcript) => transcript.relay(event, &mut write),
        }
    }

    /// Writes what the transcript holds of a stream that has ended.
    fn write_held(&mut self, out: &mut BytesMut) -> Result<(), Failure> {
        let Some(transcript) = &mut self.transcript else {
            return Ok(());
        };
        let writer = &mut *self.writer;
        transcript.settle(&mut |event| {
            writer.write_event(event, &mut |name, data| sse::write_frame(out, name, data))
        })
    }

    /// Takes note that the answer was continued, before its end is written.
    pub(in crate::generation) fn note_continued(&mut self, note: ContinuedNote) {
        self.writer.note_continued(note);
    }

    /// Writes an event that no upstream sent.
    pub(in crate::generation) fn write_own(&mut self, event: &Event<'_>) -> Result<Bytes, Failure> {
        let mut out = BytesMut::new();
        self.write_event(event, &mut out)?;
        Ok(out.freeze())
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
        written.and(ended).and_then(|()| self.write_held(out))
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
        let writer = &mut *self.writer;
        if let Some(transcript) = &mut self.transcript {
            // A model said it, and nothing follows that could show it to be a repetition. If it
            // can't be written, the error below is still told.
            let _ = transcript.give_up(&mut |event| {
                writer.write_event(event, &mut |name, data| sse::write_frame(out, name, data))
            });
        }
        self.writer
            .write_error(failure, request_id, &mut |event, data| {
                sse::write_frame(out, event, data);
            });
    }
}
