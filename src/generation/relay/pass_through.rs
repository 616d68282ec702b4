//! The relay between two sides of the same dialect: runs of frames go on as the upstream's own
//! bytes, untouched and uncopied. Each payload is read only for what must be known. Frames that say
//! nothing to a client are cut out.

use std::ops::Range;

use bytes::Bytes;

use dialect::event::Event;
use dialect::sse;
use dialect::{EventReader, EventSink, PassThroughPosition, UnaskedUsage, UpstreamSide};

use super::classify::{FrameKind, PayloadVerdict, classify_frame, judge_payload};
use super::client::ClientWriter;
use super::splice::Splice;
use super::step::{RelayStep, StreamEnd};
use super::upstream_id::UpstreamId;
use crate::generation::meter::Meter;

/// The relay of a stream whose frames are passed through.
#[derive(Debug)]
pub(in crate::generation) struct PassThrough {
    reader: Box<dyn EventReader>,
    upstream_id: UpstreamId,
    keeps_comments: bool,
    /// Set if frames of this dialect have an `event:` field.
    names_events: bool,
    /// Set if a complete stream of this dialect ends without a mark.
    ends_without_mark: bool,
    /// Set if this server has asked for the usage, and the client has not.
    hides_usage: bool,
    upstream: Option<&'static dyn UpstreamSide>,
}

impl PassThrough {
    pub(super) fn new(reader: Box<dyn EventReader>, client: &ClientWriter) -> Self {
        let dialect = client.dialect;
        Self {
            reader,
            upstream_id: UpstreamId::new(dialect.retrieves_by_id),
            keeps_comments: client.keeps_comments,
            names_events: dialect.names_events,
            ends_without_mark: dialect.ends_without_mark,
            hides_usage: client.hides_usage,
            upstream: dialect.upstream,
        }
    }

    /// Relays one run. `is_cut` says that the upstream's body ended with it, perhaps within an
    /// event; `tap` sees the events beside the bytes.
    #[inline]
    pub(super) fn relay_run(
        &mut self,
        run: Bytes,
        is_cut: bool,
        meter: &mut Meter,
        mut tap: EventSink<'_>,
    ) -> RelayStep {
        let mut splice = Splice::new(&run);
        let mut has_payload = false;
        let mut end = None;
        for frame in sse::frames(&run) {
            let range = frame.range.clone();
            let data = match classify_frame(&frame, &run[range.clone()], &*self.reader) {
                FrameKind::Payload(data) => data,
                FrameKind::Blank => continue,
                FrameKind::Comment if self.keeps_comments => continue,
                FrameKind::Comment | FrameKind::NoData => {
                    splice.remove(&range);
                    continue;
                }
                FrameKind::Error(failure) => {
                    splice.truncate(range.start);
                    end = Some(StreamEnd::failed(failure));
                    break;
                }
            };
            has_payload = true;
            let verdict = self.read_payload(&frame, data, is_cut, meter, &mut tap);
            if let PayloadVerdict::Broken(failure) | PayloadVerdict::Unpaid(failure) = verdict {
                splice.truncate(range.start);
                end = Some(StreamEnd::failed(failure));
                break;
            }
            if self.names_events && frame.event.is_none() {
                splice.insert_event_name(&range, data);
            }
            end = match verdict {
                PayloadVerdict::Continue if self.hides_usage => {
                    self.hide_usage(&mut splice, &run, &range, data);
                    continue;
                }
                PayloadVerdict::Continue
                | PayloadVerdict::Broken(_)
                | PayloadVerdict::Unpaid(_) => continue,
                PayloadVerdict::Ended => Some(StreamEnd::Complete { already_sent: true }),
                PayloadVerdict::Reported { failure, is_native } => Some(StreamEnd::Failed {
                    failure,
                    already_sent: is_native,
                }),
            };
            splice.truncate(range.end);
            break;
        }
        self.upstream_id.notice(&*self.reader);
        let edited = splice.finish();
        RelayStep {
            // Moved, not sliced: a second handle on the same bytes would cost an allocation.
            bytes: edited.unwrap_or(run),
            has_payload,
            end,
        }
    }

    /// Cuts out of a frame what only came because this server asked for the usage.
    fn hide_usage(&self, splice: &mut Splice<'_>, run: &Bytes, frame: &Range<usize>, data: &[u8]) {
        let found = self.upstream.map(|side| side.unasked_usage(data));
        match found {
            None | Some(UnaskedUsage::None) => {}
            Some(UnaskedUsage::Whole) => splice.remove(frame),
            Some(UnaskedUsage::Field(field)) => {
                // Data of one line are a slice of the run.
                let start = (data.as_ptr() as usize).wrapping_sub(run.as_ptr() as usize);
                if frame.contains(&start) && start + data.len() <= frame.end {
                    splice.remove(&(start + field.start..start + field.end));
                }
            }
        }
    }

    /// Reads a payload for what must be known of it. An end mark that comes too early is broken.
    fn read_payload(
        &mut self,
        frame: &sse::Frame<'_>,
        data: &[u8],
        is_cut: bool,
        meter: &mut Meter,
        tap: &mut EventSink<'_>,
    ) -> PayloadVerdict {
        let read = self.reader.read_payload(data, reborrow(tap));
        let verdict = judge_payload(read, frame, data, &*self.reader, is_cut, meter);
        match verdict {
            PayloadVerdict::Ended => match self.reader.finish_stream(reborrow(tap)) {
                Ok(()) => PayloadVerdict::Ended,
                Err(failure) => PayloadVerdict::Broken(failure),
            },
            verdict => verdict,
        }
    }

    /// Ends a stream whose body ended without an end mark.
    pub(super) fn finish(&mut self, tap: EventSink<'_>) -> RelayStep {
        RelayStep::ended(match self.reader.finish_stream(tap) {
            // Without a mark, the frames that were passed through are all there is of a whole
            // stream.
            Ok(()) => StreamEnd::Complete {
                already_sent: self.ends_without_mark,
            },
            Err(failure) => StreamEnd::failed(failure),
        })
    }

    /// Returns the position after the frames that were passed through.
    pub(super) fn position(&self) -> PassThroughPosition<'_> {
        self.reader.position()
    }

    /// Returns the response id chosen by the upstream, once.
    pub(super) fn take_upstream_id(&mut self) -> Option<String> {
        self.upstream_id.take()
    }
}

/// Lends a sink for one call.
fn reborrow<'a>(sink: &'a mut EventSink<'_>) -> EventSink<'a> {
    match sink {
        Some(sink) => Some(&mut **sink as &mut dyn FnMut(Event<'_>)),
        None => None,
    }
}
