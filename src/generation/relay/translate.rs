//! The relay between two dialects: an upstream's payloads are read as events, and these are written
//! anew.

use bytes::{Bytes, BytesMut};

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{EventReader, EventSink, PayloadInfo};

use super::classify::{FrameKind, PayloadVerdict, classify_frame, judge_payload};
use super::client::ClientWriter;
use super::step::{RelayStep, StreamEnd};
use super::upstream_id::UpstreamId;
use crate::generation::meter::Meter;

/// The relay of a stream that is translated.
#[derive(Debug)]
pub(in crate::generation) struct Translate {
    reader: Box<dyn EventReader>,
    upstream_id: UpstreamId,
}

impl Translate {
    /// Returns a relay of what `reader` reads. `takes_id` says that the client's response gets the
    /// upstream's id.
    pub(super) fn new(reader: Box<dyn EventReader>, takes_id: bool) -> Self {
        Self {
            reader,
            upstream_id: UpstreamId::new(takes_id),
        }
    }

    /// Returns the response id chosen by the upstream, once, where the client's response got it.
    pub(super) fn take_upstream_id(&mut self) -> Option<String> {
        self.upstream_id.take()
    }

    /// Relays one run. `is_cut` says that the upstream's body ended with it, perhaps within an
    /// event; `tap` sees the events beside the client's writer.
    #[inline]
    pub(super) fn relay_run(
        &mut self,
        run: &Bytes,
        is_cut: bool,
        client: &mut ClientWriter,
        meter: &mut Meter,
        mut tap: EventSink<'_>,
    ) -> RelayStep {
        let mut out = BytesMut::new();
        let mut has_payload = false;
        let mut end = None;
        for frame in sse::frames(run) {
            let raw = &run[frame.range.clone()];
            let data = match classify_frame(&frame, raw, &*self.reader) {
                FrameKind::Payload(data) => data,
                FrameKind::Error(failure) => {
                    end = Some(StreamEnd::failed(failure));
                    break;
                }
                FrameKind::Comment | FrameKind::Blank | FrameKind::NoData => continue,
            };
            has_payload = true;
            let written = out.len();
            let read = match self.write_payload(data, client, &mut out, &mut tap) {
                Ok(read) => read,
                Err(full) => {
                    end = Some(StreamEnd::failed(full));
                    break;
                }
            };
            if let (Some(transcript), Ok(seen)) = (client.transcript(), &read) {
                transcript.note_payload(seen.has_content);
            }
            if let Some(id) = self.upstream_id.notice(&*self.reader) {
                client.set_response_id(id);
            }
            end = match judge_payload(read, &frame, data, &*self.reader, is_cut, meter) {
                PayloadVerdict::Continue => continue,
                PayloadVerdict::Reported { failure, .. } | PayloadVerdict::Broken(failure) => {
                    Some(StreamEnd::failed(failure))
                }
                PayloadVerdict::Unpaid(failure) => {
                    out.truncate(written);
                    Some(StreamEnd::failed(failure))
                }
                PayloadVerdict::Ended => {
                    let ended = client.write_rest(&mut *self.reader, &mut out, &mut tap);
                    Some(ended.into())
                }
            };
            break;
        }
        RelayStep {
            bytes: out.freeze(),
            has_payload,
            end,
        }
    }

    /// Ends a stream whose body ended without an end mark.
    pub(super) fn finish(
        &mut self,
        client: &mut ClientWriter,
        mut tap: EventSink<'_>,
    ) -> RelayStep {
        let mut out = BytesMut::new();
        let end = client
            .write_rest(&mut *self.reader, &mut out, &mut tap)
            .into();
        RelayStep {
            bytes: out.freeze(),
            has_payload: false,
            end: Some(end),
        }
    }

    /// Writes the events of a payload. The inner result is the reader's, the outer one the
    /// writer's.
    fn write_payload(
        &mut self,
        data: &[u8],
        client: &mut ClientWriter,
        out: &mut BytesMut,
        tap: &mut EventSink<'_>,
    ) -> Result<Result<PayloadInfo, Failure>, Failure> {
        let mut written = Ok(());
        let read = self.reader.read_payload(
            data,
            Some(&mut |event: Event<'_>| {
                if written.is_ok() {
                    written = client.write_event(&event, out);
                }
                if let Some(tap) = tap {
                    tap(event);
                }
            }),
        );
        written.map(|()| read)
    }
}
