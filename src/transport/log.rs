//! A stream that was written over HTTP, as an HTTP body of Server-Sent Events: as Durable Streams tells it, or as a feed
//! of plain messages, which a browser's `onmessage` reads.
//!
//! The body polls its reader, and hyper polls the body only when the client has taken what came before; a client that
//! leaves drops both.

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use serde_json::json;

use super::sse::{Heartbeat, PIECE};
use crate::sse;
use crate::stream::{Form, Next, Offset, Reader, Run, StreamId};

/// A comment: it may stand between whole events alone.
const BEAT: &[u8] = b": heartbeat\n\n";
/// How soon a feed's reader comes back, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// How a stream is told.
#[derive(Debug)]
pub enum Telling {
    /// `event: data`, and `event: control` after each, per Durable Streams.
    Durable {
        /// How the data is written.
        form: Form,
        /// What answers are told apart by in caches.
        cursor: Cursor,
    },
    /// A message per record, and its id.
    Feed {
        /// Which stream's.
        id: StreamId,
        /// Whether the records are messages in JSON.
        form: Form,
    },
}

/// Numbers intervals of time, so that answers which are alike but for it are not one in a cache.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    /// Never below this one: a client has been told a lower one.
    pub least: u64,
    /// The number of now.
    pub now: fn() -> u64,
}

impl Cursor {
    /// The number to tell.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.least.max((self.now)())
    }
}

/// How much there is beyond what is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    More,
    UpToDate,
    Ended,
}

impl Telling {
    fn begin(&self, out: &mut BytesMut) {
        if matches!(self, Telling::Feed { .. }) {
            out.put_slice(RETRY);
        }
    }

    fn run(&self, out: &mut BytesMut, run: &Run, next: Offset, standing: Standing) {
        match self {
            Telling::Durable { form, .. } => {
                let data = match form {
                    Form::Text => run.clone().into_bytes(),
                    Form::Json => json_array(run),
                    Form::Binary => STANDARD.encode(run.clone().into_bytes()).into(),
                };
                sse::write_tight(out, Some("data"), Some(&next), &data);
                self.control(out, next, standing);
            }
            Telling::Feed { id, form } => {
                let first = next.position - run.count();
                for (at, record) in (first + 1..).zip(run.records()) {
                    let offset = Offset { position: at, ..next };
                    let record = if *form == Form::Json { without_comma(&record) } else { &record };
                    sse::write_tight(out, None, Some(&EventId(id, offset)), record);
                }
            }
        }
    }

    /// Says how things stand, where a client waits for it.
    fn control(&self, out: &mut BytesMut, next: Offset, standing: Standing) {
        let Telling::Durable { cursor, .. } = self else { return };
        let mut control = json!({ "streamNextOffset": next.to_string() });
        if standing == Standing::Ended {
            control["streamClosed"] = true.into();
        } else {
            control["streamCursor"] = cursor.next().to_string().into();
        }
        if standing != Standing::More {
            control["upToDate"] = true.into();
        }
        sse::write_tight(out, Some("control"), None, control.to_string().as_bytes());
    }
}

struct EventId<'a>(&'a StreamId, Offset);

impl fmt::Display for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Records of JSON as an array: each ends in a comma.
fn json_array(run: &Run) -> Bytes {
    let records = run.clone().into_bytes();
    let mut array = BytesMut::with_capacity(records.len() + 1);
    array.put_u8(b'[');
    array.put_slice(without_comma(&records));
    array.put_u8(b']');
    array.freeze()
}

fn without_comma(record: &[u8]) -> &[u8] {
    record.strip_suffix(b",").unwrap_or(record)
}

/// The body of one SSE response.
pub struct LogBody {
    reader: Reader,
    telling: Telling,
    /// Where the client is.
    at: Offset,
    /// What was read to know whether there is more.
    ahead: Option<(Run, Offset)>,
    begun: bool,
    ended: bool,
    /// What hyper has not taken yet.
    rest: Bytes,
    /// When the client is to come again.
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    heartbeat: Option<Heartbeat>,
}

impl Debug for LogBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBody").field("telling", &self.telling).field("at", &self.at).finish_non_exhaustive()
    }
}

impl LogBody {
    /// Tells what that reader reads, which begins `at` that place, and ends with the stream or when `until` is ready.
    #[must_use]
    pub fn new(
        reader: Reader,
        at: Offset,
        telling: Telling,
        until: impl Future<Output = ()> + Send + 'static,
        heartbeat: Option<Duration>,
    ) -> Self {
        Self {
            reader,
            telling,
            at,
            ahead: None,
            begun: false,
            ended: false,
            rest: Bytes::new(),
            until: Box::pin(until),
            heartbeat: heartbeat.map(Heartbeat::new),
        }
    }

    /// Writes what there is to tell.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut out = BytesMut::new();
        let begins = !std::mem::replace(&mut self.begun, true);
        if begins {
            self.telling.begin(&mut out);
        }
        let mut next = match self.ahead.take() {
            Some((run, offset)) => Poll::Ready(Next::Run(run, offset)),
            None => self.reader.poll_next(cx),
        };
        let from = self.at;
        // One look ahead tells whether there is more.
        while let Poll::Ready(Next::Run(run, offset)) = next {
            next = self.reader.poll_next(cx);
            let standing = match &next {
                Poll::Pending if self.reader.is_behind() => Standing::More,
                Poll::Pending => Standing::UpToDate,
                Poll::Ready(Next::End(_)) => Standing::Ended,
                Poll::Ready(Next::Run(..) | Next::Gone) => Standing::More,
            };
            self.telling.run(&mut out, &run, offset, standing);
            self.at = offset;
            if let Poll::Ready(Next::Run(run, offset)) = &next
                && out.len() >= PIECE
            {
                self.ahead = Some((run.clone(), *offset));
                break;
            }
            self.ended = standing == Standing::Ended;
        }
        match next {
            Poll::Ready(Next::End(_)) if !self.ended => {
                self.telling.control(&mut out, self.at, Standing::Ended);
                self.ended = true;
            }
            Poll::Ready(Next::Gone) => self.ended = true,
            Poll::Pending if begins && self.at == from => {
                self.telling.control(&mut out, self.at, Standing::UpToDate);
            }
            _ => {}
        }
        if out.is_empty() && !self.ended {
            return Poll::Pending;
        }
        self.rest = out.freeze();
        Poll::Ready(())
    }
}

impl Body for LogBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            // What there was at the start is told in any case: who only ever asks a server that ends gets on.
            if this.ended || (this.begun && this.until.as_mut().poll(cx).is_ready()) {
                this.ended = true;
                return Poll::Ready(None);
            }
            if this.poll_rest(cx).is_pending() {
                match &mut this.heartbeat {
                    Some(heartbeat) => {
                        ready!(heartbeat.poll(cx));
                        this.rest = Bytes::from_static(BEAT);
                    }
                    None => return Poll::Pending,
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        if let Some(heartbeat) = &mut this.heartbeat {
            heartbeat.wrote();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.ended
    }
}
