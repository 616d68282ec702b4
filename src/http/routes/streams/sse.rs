//! A stream that was written over HTTP, as an HTTP body of Server-Sent Events: as Durable Streams
//! tells it, or as a feed of plain messages, which a browser's `onmessage` reads.
//!
//! The body polls its reader, and is itself polled only when the client has taken what came before;
//! a client that leaves drops both.

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use serde_json::json;

use crate::http::sse::Heartbeat;
use dialect::sse::{self, DataWriter};
use stream::{ContentKind, Offset, Reader, ReaderEvent, RecordBatch, StreamId};

/// The bytes gathered for one piece.
const MAX_PIECE_BYTES: usize = 8 * 1024;
/// A comment: it may stand between whole events alone.
const HEARTBEAT: &[u8] = b": heartbeat\n\n";
/// The `retry:` field of a feed, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// The SSE format of a stream.
#[derive(Debug)]
pub(super) enum SseFormat {
    /// `event: data`, and `event: control` after each, per Durable Streams.
    Durable {
        /// The encoding of the data.
        form: ContentKind,
        /// The cursor that tells responses apart in caches.
        cursor: CacheCursor,
    },
    /// A message per record, and its id.
    Feed {
        /// The stream.
        id: StreamId,
        /// Set if the records are JSON messages.
        form: ContentKind,
    },
}

/// Numbers intervals of time, so that answers which are alike but for it are not one in a cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheCursor {
    /// Never below this one: a client has been told a lower one.
    pub(super) least: u64,
    /// The number of now.
    pub(super) now: fn() -> u64,
}

impl CacheCursor {
    /// The number to tell.
    pub(super) fn next(&self) -> u64 {
        self.least.max((self.now)())
    }
}

/// The position of the tail relative to what has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TailState {
    More,
    UpToDate,
    Ended,
}

impl SseFormat {
    fn begin(&self, out: &mut BytesMut) {
        if matches!(self, SseFormat::Feed { .. }) {
            out.put_slice(RETRY);
        }
    }

    /// The first frame of a run that is to be told.
    fn frame(&self, out: &mut BytesMut, run: &RecordBatch, next: Offset) -> DataWriter {
        match self {
            SseFormat::Durable { form, .. } => {
                sse::write_frame_head(out, Some("data"), Some(&next));
                let bytes = run.clone().into_bytes();
                match form {
                    ContentKind::Text => DataWriter::new([bytes]),
                    // Each record ends in a comma.
                    ContentKind::Json => DataWriter::new([
                        Bytes::from_static(b"["),
                        without_comma(bytes),
                        Bytes::from_static(b"]"),
                    ]),
                    ContentKind::Binary => DataWriter::base64(bytes),
                }
            }
            SseFormat::Feed { .. } => self
                .record(out, run, next, 0)
                .unwrap_or_else(|| DataWriter::new([])),
        }
    }

    /// A record of a run, where each has a frame of its own.
    fn record(
        &self,
        out: &mut BytesMut,
        run: &RecordBatch,
        next: Offset,
        index: usize,
    ) -> Option<DataWriter> {
        let SseFormat::Feed { id, form } = self else {
            return None;
        };
        let record = run.record(index)?;
        let position = next.position - run.count() + index as u64 + 1;
        sse::write_frame_head(out, None, Some(&EventId(id, Offset { position, ..next })));
        Some(DataWriter::new([if *form == ContentKind::Json {
            without_comma(record)
        } else {
            record
        }]))
    }

    /// Says how things stand, where a client waits for it.
    fn control(&self, out: &mut BytesMut, next: Offset, standing: TailState) {
        let SseFormat::Durable { cursor, .. } = self else {
            return;
        };
        let mut control = json!({ "streamNextOffset": next.to_string() });
        if standing == TailState::Ended {
            control["streamClosed"] = true.into();
        } else {
            control["streamCursor"] = cursor.next().to_string().into();
        }
        if standing != TailState::More {
            control["upToDate"] = true.into();
        }
        sse::write_frame_head(out, Some("control"), None);
        DataWriter::new([control.to_string().into()]).write_up_to(out, usize::MAX);
    }
}

struct EventId<'a>(&'a StreamId, Offset);

impl fmt::Display for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

fn without_comma(mut record: Bytes) -> Bytes {
    if record.ends_with(b",") {
        record.truncate(record.len() - 1);
    }
    record
}

/// A run that is being told.
struct InFlight {
    run: RecordBatch,
    /// The place after it.
    next: Offset,
    /// The current record, where each has a frame of its own.
    index: usize,
    data: DataWriter,
}

/// The body of one SSE response.
pub(super) struct LogBody {
    reader: Reader,
    telling: SseFormat,
    /// The client's position.
    at: Offset,
    /// The batch that is partly sent.
    now: Option<InFlight>,
    /// The event read ahead to know whether there is more.
    ahead: Option<ReaderEvent>,
    begun: bool,
    ended: bool,
    /// The time at which the client is to reconnect.
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    heartbeat: Option<Heartbeat>,
}

impl Debug for LogBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBody")
            .field("telling", &self.telling)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl LogBody {
    /// Tells what that reader reads, which begins `at` that place, and ends with the stream or when
    /// `until` is ready.
    pub(super) fn new(
        reader: Reader,
        at: Offset,
        telling: SseFormat,
        until: impl Future<Output = ()> + Send + 'static,
        heartbeat: Option<Duration>,
    ) -> Self {
        Self {
            reader,
            telling,
            at,
            now: None,
            ahead: None,
            begun: false,
            ended: false,
            until: Box::pin(until),
            heartbeat: heartbeat.map(Heartbeat::new),
        }
    }

    /// Polls for the next piece to send.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let mut out = BytesMut::new();
        let begins = !std::mem::replace(&mut self.begun, true);
        if begins {
            self.telling.begin(&mut out);
        }
        let from = self.at;
        while !self.ended && out.len() < MAX_PIECE_BYTES {
            if let Some(told) = &mut self.now {
                if !told.data.write_up_to(&mut out, MAX_PIECE_BYTES) {
                    break;
                }
                told.index += 1;
                if let Some(data) = self
                    .telling
                    .record(&mut out, &told.run, told.next, told.index)
                {
                    told.data = data;
                    continue;
                }
                self.at = told.next;
                self.now = None;
                // One look ahead tells whether there is more.
                let ahead = self.reader.poll_next(cx);
                let standing = match &ahead {
                    Poll::Pending if self.reader.is_behind() => TailState::More,
                    Poll::Pending => TailState::UpToDate,
                    Poll::Ready(ReaderEvent::End(_)) => TailState::Ended,
                    Poll::Ready(ReaderEvent::Records(..) | ReaderEvent::Gone) => TailState::More,
                };
                self.telling.control(&mut out, self.at, standing);
                self.ended = standing == TailState::Ended;
                match ahead {
                    Poll::Ready(next) => self.ahead = Some(next),
                    Poll::Pending => break,
                }
                continue;
            }
            match self
                .ahead
                .take()
                .map_or_else(|| self.reader.poll_next(cx), Poll::Ready)
            {
                Poll::Ready(ReaderEvent::Records(run, next)) => {
                    let data = self.telling.frame(&mut out, &run, next);
                    self.now = Some(InFlight {
                        run,
                        next,
                        index: 0,
                        data,
                    });
                }
                Poll::Ready(ReaderEvent::End(_)) => {
                    self.telling.control(&mut out, self.at, TailState::Ended);
                    self.ended = true;
                }
                Poll::Ready(ReaderEvent::Gone) => self.ended = true,
                Poll::Pending => {
                    if begins && self.at == from {
                        self.telling.control(&mut out, self.at, TailState::UpToDate);
                    }
                    break;
                }
            }
        }
        if out.is_empty() && !self.ended {
            return Poll::Pending;
        }
        Poll::Ready(out.freeze())
    }
}

impl Body for LogBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            // What there was at the start is told in any case: who only ever asks a server that
            // ends gets on. And no frame is left half told.
            if this.ended
                || (this.begun && this.now.is_none() && this.until.as_mut().poll(cx).is_ready())
            {
                this.ended = true;
                return Poll::Ready(None);
            }
            let piece = match (this.poll_piece(cx), &mut this.heartbeat) {
                (Poll::Ready(piece), _) => piece,
                (Poll::Pending, Some(heartbeat)) => {
                    ready!(heartbeat.poll(cx));
                    Bytes::from_static(HEARTBEAT)
                }
                (Poll::Pending, None) => return Poll::Pending,
            };
            if piece.is_empty() {
                continue;
            }
            if let Some(heartbeat) = &mut this.heartbeat {
                heartbeat.wrote();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
