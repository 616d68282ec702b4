//! The relay: from the source of a stream to frames in the client's dialect.
//!
//! Its kind is chosen once, when the upstream opens. The same dialect on both sides passes bytes
//! through, another one is translated, and a model in this process is written from its events. An
//! answer that may be continued is translated in any case: one writer then writes all of it.
//! A *tap* sees the events of each kind beside the frames.

mod classify;
mod client;
mod fold;
mod in_process;
mod pass_through;
mod splice;
mod step;
mod translate;
mod upstream_id;

#[cfg(test)]
mod tests;

use std::fmt;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use dialect::EventSink;

use super::meter::Meter;
use crate::provider::{StreamSource, UpstreamFrames};
use in_process::InProcess;
use pass_through::PassThrough;
use translate::Translate;

pub(super) use client::ClientWriter;
pub(super) use fold::{FinishedFold, FoldedAnswer};
pub(super) use step::{RelayStep, StreamEnd};

/// An open upstream, and the way from it to the client.
pub(super) enum Relay {
    PassThrough(UpstreamFrames, PassThrough),
    Translate(UpstreamFrames, Translate),
    InProcess(InProcess),
}

impl Relay {
    /// Chooses the way from a source to a client.
    pub(super) fn new(source: StreamSource, client: &ClientWriter) -> Self {
        match source {
            StreamSource::Events(events) => Self::InProcess(InProcess::new(events)),
            StreamSource::Frames(frames, dialect, reader) => {
                let is_same = *dialect == *client.dialect;
                if is_same && !client.keeps_transcript() {
                    return Self::PassThrough(frames, PassThrough::new(reader, client));
                }
                let takes_id = is_same && dialect.retrieves_by_id && client.is_first_attempt();
                Self::Translate(frames, Translate::new(reader, takes_id))
            }
        }
    }

    /// Polls for the next frames.
    #[inline]
    pub(super) fn poll_step(
        &mut self,
        client: &mut ClientWriter,
        meter: &mut Meter,
        tap: EventSink<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<RelayStep> {
        Poll::Ready(match self {
            Self::PassThrough(frames, relay) => match ready!(frames.poll_next(cx)) {
                Some(Ok(run)) => relay.relay_run(run, frames.is_ended(), meter, tap),
                Some(Err(failure)) => RelayStep::ended(StreamEnd::failed(failure)),
                None => relay.finish(tap),
            },
            Self::Translate(frames, relay) => match ready!(frames.poll_next(cx)) {
                Some(Ok(run)) => relay.relay_run(&run, frames.is_ended(), client, meter, tap),
                Some(Err(failure)) => RelayStep::ended(StreamEnd::failed(failure)),
                None => relay.finish(client, tap),
            },
            Self::InProcess(relay) => return relay.poll_step(client, meter, tap, cx),
        })
    }

    /// Returns `bytes` and the frames that end the stream.
    pub(super) fn append_end(
        &self,
        client: &mut ClientWriter,
        bytes: Bytes,
        end: &StreamEnd,
        request_id: &str,
    ) -> Bytes {
        if let Self::PassThrough(_, relay) = self {
            client.resume_at(relay.position());
        }
        client.append_end(bytes, end, request_id)
    }

    /// Returns the response id chosen by the upstream, once, where the client sees that one.
    pub(super) fn take_upstream_id(&mut self) -> Option<String> {
        match self {
            Self::PassThrough(_, relay) => relay.take_upstream_id(),
            Self::Translate(_, relay) => relay.take_upstream_id(),
            Self::InProcess(_) => None,
        }
    }

    /// Returns whether the upstream can be asked again for the rest of a stream that broke.
    pub(super) fn is_resumable(&self) -> bool {
        self.frames().is_some_and(UpstreamFrames::is_resumable)
    }

    /// Returns whether the upstream was asked again, and nothing has come since.
    pub(super) fn is_reopening(&self) -> bool {
        self.frames().is_some_and(UpstreamFrames::is_reopening)
    }

    /// Asks the upstream again for the rest. Returns false if it can't be asked.
    pub(super) fn reopen(&mut self) -> bool {
        match self {
            Self::PassThrough(frames, _) | Self::Translate(frames, _) => frames.reopen(),
            Self::InProcess(_) => false,
        }
    }

    fn frames(&self) -> Option<&UpstreamFrames> {
        match self {
            Self::PassThrough(frames, _) | Self::Translate(frames, _) => Some(frames),
            Self::InProcess(_) => None,
        }
    }

    /// Closes the upstream of a complete answer, so that its connection is kept. Dropping it
    /// instead cancels it.
    pub(super) fn close(self) {
        match self {
            Self::PassThrough(frames, _) | Self::Translate(frames, _) => frames.close(),
            Self::InProcess(_) => {}
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PassThrough(..) => "PassThrough",
            Self::Translate(..) => "Translate",
            Self::InProcess(_) => "InProcess",
        })
    }
}
