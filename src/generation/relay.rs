//! From what an upstream says to frames in the client's dialect.
//!
//! **Same dialect on both sides**: a run of events is passed on as the upstream's own bytes, untouched and uncopied; each
//! payload is read only for what must be known. What says nothing to a client (fields without data, which some SDKs
//! choke on) is cut out. **Another dialect, or the mock**: events are read one by one and written anew.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::provider::{Events, Upstream, poll_event};
use dialect::event::Event;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{Answering, Dialect, EventReader, EventWriter, Seen};

use super::meter::Meter;

/// How much of what is ready is written at once, when a model in this process speaks faster than it is read.
const RUN: usize = 8 * 1024;

/// How a stream ended, and whether the client has already been already_sent by what was passed on.
#[derive(Debug)]
pub(super) enum StreamEnd {
    Complete {
        already_sent: bool,
    },
    Failed {
        failure: Failure,
        already_sent: bool,
    },
}

/// One step of a stream.
#[derive(Debug)]
pub(super) struct RelayStep {
    /// Whole frames for the client; may be empty.
    pub(super) bytes: Bytes,
    /// Whether the upstream sent a payload; comments are none.
    pub(super) heard: bool,
    /// Boxed: a stream has one of it, and a step for every token.
    pub(super) end: Option<Box<StreamEnd>>,
}

impl RelayStep {
    pub(super) fn ended(end: StreamEnd) -> Self {
        Self {
            bytes: Bytes::new(),
            heard: false,
            end: Some(Box::new(end)),
        }
    }

    fn of(result: Result<(), Failure>) -> Self {
        Self::ended(match result {
            Ok(()) => StreamEnd::Complete {
                already_sent: false,
            },
            Err(failure) => StreamEnd::Failed {
                failure,
                already_sent: false,
            },
        })
    }
}

#[derive(Debug)]
pub(super) struct Relay {
    dialect: &'static Dialect,
    writer: Box<dyn EventWriter>,
    comments: bool,
    /// Whether an in-process model has finished.
    finished: bool,
}

impl Relay {
    pub(super) fn new(dialect: &'static Dialect, answering: Answering, comments: bool) -> Self {
        Self {
            dialect,
            writer: dialect.client.writer(answering),
            comments,
            finished: false,
        }
    }

    /// The next step of that upstream.
    pub(super) fn poll(
        &mut self,
        upstream: &mut Upstream,
        meter: &mut Meter,
        cx: &mut Context<'_>,
    ) -> Poll<RelayStep> {
        match upstream {
            Upstream::Frames(frames, dialect, reader) => {
                let run = match std::task::ready!(frames.poll_next(cx)) {
                    Some(Ok(run)) => run,
                    Some(Err(failure)) => return Poll::Ready(RelayStep::of(Err(failure))),
                    None => return Poll::Ready(self.end(reader, *dialect == self.dialect)),
                };
                let same = *dialect == self.dialect;
                Poll::Ready(self.run(run, same, reader, meter, frames.is_ended()))
            }
            Upstream::Events(events) => self.poll_events(events, meter, cx),
            Upstream::Whole(..) => Poll::Ready(RelayStep::of(Err(Failure::internal(
                "a whole answer came where a stream was asked for".into(),
            )))),
        }
    }

    /// One run of an upstream's events; `cut` if its body ended in the middle of the last.
    fn run(
        &mut self,
        run: Bytes,
        same: bool,
        reader: &mut Box<dyn EventReader>,
        meter: &mut Meter,
        cut: bool,
    ) -> RelayStep {
        let mut lane = if same {
            Output::PassThrough(Splice::new(&run))
        } else {
            Output::Rewritten(BytesMut::new())
        };
        let mut heard = false;
        let mut end = None;
        for frame in sse::frames(&run) {
            let data = match (&frame.data, frame.error) {
                (Some(data), _) if !data.is_empty() => data,
                (_, Some(error)) => {
                    let failure = reader.error(error).unwrap_or_else(unnamed_error);
                    end = Some(StreamEnd::Failed {
                        failure,
                        already_sent: false,
                    });
                    lane.stop(frame.range.start);
                    break;
                }
                _ => {
                    let raw = &run[frame.range.clone()];
                    let blank = raw.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
                    // Bare lines of JSON, in the middle of a stream: an error that lost its frame.
                    let bare = raw
                        .first()
                        .is_some_and(|first| matches!(first, b'{' | b'['));
                    let named = (frame.event == Some(b"error")).then(unnamed_error);
                    if let Some(failure) = bare.then(|| reader.error(raw)).flatten().or(named) {
                        end = Some(StreamEnd::Failed {
                            failure,
                            already_sent: false,
                        });
                        lane.stop(frame.range.start);
                        break;
                    }
                    if !(blank || frame.comment && self.comments) {
                        lane.leave_out(frame.range);
                    }
                    continue;
                }
            };
            heard = true;
            let seen = match &mut lane {
                Output::PassThrough(_) => reader.read(data, None),
                Output::Rewritten(out) => {
                    let (writer, mut full) = (&mut self.writer, Ok(()));
                    let seen = reader.read(
                        data,
                        Some(&mut |event| {
                            if full.is_ok() {
                                full = write(&mut **writer, &event, out);
                            }
                        }),
                    );
                    match full {
                        Ok(()) => seen,
                        Err(failure) => {
                            end = Some(StreamEnd::Failed {
                                failure,
                                already_sent: false,
                            });
                            break;
                        }
                    }
                }
            };
            let Seen {
                said,
                usage,
                done,
                error,
                told: already_sent,
                known,
            } = match seen {
                Ok(seen) => seen,
                Err(failure) => {
                    let failure = match named_error(frame.event, &**reader, data) {
                        Some(error) => error,
                        None if cut => Failure::upstream_truncated("it broke off within an event"),
                        None => failure,
                    };
                    end = Some(StreamEnd::Failed {
                        failure,
                        already_sent: false,
                    });
                    lane.stop(frame.range.start);
                    break;
                }
            };
            if let Output::PassThrough(cut) = &mut lane
                && self.dialect.client.names_events()
                && frame.event.is_none()
            {
                cut.name(&frame.range, data);
            }
            if said {
                meter.on_content();
            }
            meter.on_usage(usage);
            if let Some(failure) = error {
                let already_sent = lane.pass(frame.range.end) && already_sent;
                end = Some(StreamEnd::Failed {
                    failure,
                    already_sent,
                });
                break;
            }
            if let Some(failure) = named_error(frame.event, &**reader, data).filter(|_| !known) {
                end = Some(StreamEnd::Failed {
                    failure,
                    already_sent: false,
                });
                lane.stop(frame.range.start);
                break;
            }
            if done {
                let ended = match &mut lane {
                    Output::PassThrough(_) => reader.end(None),
                    Output::Rewritten(out) => finish(&mut **reader, &mut *self.writer, out),
                };
                end = Some(match ended {
                    Ok(()) => StreamEnd::Complete {
                        already_sent: lane.pass(frame.range.end),
                    },
                    Err(failure) => {
                        lane.stop(frame.range.start);
                        StreamEnd::Failed {
                            failure,
                            already_sent: false,
                        }
                    }
                });
                break;
            }
        }
        // Moved, not sliced: a second handle on the same bytes would cost an allocation.
        let bytes = if lane.is_whole() {
            None
        } else {
            Some(lane.finish())
        };
        RelayStep {
            bytes: bytes.unwrap_or(run),
            heard,
            end: end.map(Box::new),
        }
    }

    /// The upstream's answer ended, with no mark of its own.
    fn end(&mut self, reader: &mut Box<dyn EventReader>, same: bool) -> RelayStep {
        let mut out = BytesMut::new();
        let ended = if same {
            reader.end(None)
        } else {
            finish(&mut **reader, &mut *self.writer, &mut out)
        };
        // Without a mark, the frames that were passed on are all there is of a whole stream.
        let already_sent = same && self.dialect.client.ends_unmarked();
        let end = match ended {
            Ok(()) => StreamEnd::Complete { already_sent },
            Err(failure) => StreamEnd::Failed {
                failure,
                already_sent: false,
            },
        };
        RelayStep {
            bytes: out.freeze(),
            heard: false,
            end: Some(Box::new(end)),
        }
    }

    fn poll_events(
        &mut self,
        events: &mut Events,
        meter: &mut Meter,
        cx: &mut Context<'_>,
    ) -> Poll<RelayStep> {
        let mut out = BytesMut::new();
        let end = loop {
            if out.len() >= RUN {
                break None;
            }
            match poll_event(events, cx) {
                Poll::Ready(Some(Ok(event))) => {
                    meter.on_event(&event);
                    self.finished |= matches!(event, Event::Finish(_));
                    if let Err(failure) = write(&mut *self.writer, &event, &mut out) {
                        break Some(StreamEnd::Failed {
                            failure,
                            already_sent: false,
                        });
                    }
                }
                Poll::Ready(Some(Err(failure))) => {
                    break Some(StreamEnd::Failed {
                        failure,
                        already_sent: false,
                    });
                }
                Poll::Ready(None) if self.finished => {
                    break Some(StreamEnd::Complete {
                        already_sent: false,
                    });
                }
                Poll::Ready(None) => {
                    let failure = Failure::upstream_truncated("the model did not finish");
                    break Some(StreamEnd::Failed {
                        failure,
                        already_sent: false,
                    });
                }
                Poll::Pending if out.is_empty() => return Poll::Pending,
                // The waker is registered: what comes next wakes us again.
                Poll::Pending => break None,
            }
        };
        Poll::Ready(RelayStep {
            bytes: out.freeze(),
            heard: true,
            end: end.map(Box::new),
        })
    }

    /// The frames that end a stream, after those of its last run.
    pub(super) fn append_end(
        &mut self,
        bytes: Bytes,
        end: &StreamEnd,
        upstream: &Upstream,
        request_id: &str,
    ) -> Bytes {
        let mut out = BytesMut::new();
        if let Upstream::Frames(_, dialect, reader) = upstream
            && *dialect == self.dialect
        {
            self.writer.follow(reader.position());
        }
        match end {
            StreamEnd::Complete { already_sent: true }
            | StreamEnd::Failed {
                already_sent: true, ..
            } => return bytes,
            StreamEnd::Complete {
                already_sent: false,
            } => self
                .writer
                .done(&mut |event, data| sse::write(&mut out, event, data)),
            StreamEnd::Failed {
                failure,
                already_sent: false,
            } => {
                self.writer.error(failure, request_id, &mut |event, data| {
                    sse::write(&mut out, event, data)
                });
            }
        }
        if bytes.is_empty() {
            out.freeze()
        } else {
            [bytes, out.freeze()].concat().into()
        }
    }

    /// The frame of an error that came before anything else.
    pub(super) fn error(&mut self, failure: &Failure, request_id: &str) -> Bytes {
        let mut out = BytesMut::new();
        self.writer.error(failure, request_id, &mut |event, data| {
            sse::write(&mut out, event, data)
        });
        out.freeze()
    }
}

fn write(
    writer: &mut dyn EventWriter,
    event: &Event<'_>,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    writer.write(event, &mut |name, data| sse::write(out, name, data))
}

/// The end of a stream that is read as events: what its reader held back comes now.
fn finish(
    reader: &mut dyn EventReader,
    writer: &mut dyn EventWriter,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    let mut full = Ok(());
    let ended = reader.end(Some(&mut |event| {
        if full.is_ok() {
            full = write(writer, &event, out);
        }
    }));
    full.and(ended)
}

/// An event named `error` is one, whatever its payload looks like.
fn named_error(event: Option<&[u8]>, reader: &dyn EventReader, data: &[u8]) -> Option<Failure> {
    (event == Some(b"error")).then(|| reader.error(data).unwrap_or_else(unnamed_error))
}

fn unnamed_error() -> Failure {
    Failure::upstream_error("the upstream reported an error".to_owned())
}

/// Where a run's frames go.
enum Output<'a> {
    PassThrough(Splice<'a>),
    Rewritten(BytesMut),
}

impl Output<'_> {
    fn leave_out(&mut self, range: std::ops::Range<usize>) {
        if let Output::PassThrough(cut) = self {
            cut.leave_out(range);
        }
    }

    /// Nothing from here on is passed on.
    fn stop(&mut self, at: usize) {
        if let Output::PassThrough(cut) = self {
            cut.end = at;
        }
    }

    /// Everything up to here is passed on, and nothing after; whether the client sees it as it is.
    fn pass(&mut self, to: usize) -> bool {
        self.stop(to);
        matches!(self, Output::PassThrough(_))
    }

    /// Whether all of the run is passed on as it is.
    fn is_whole(&self) -> bool {
        matches!(self, Output::PassThrough(cut) if cut.from == 0 && cut.end == cut.run.len() && cut.kept.is_empty())
    }

    fn finish(self) -> Bytes {
        match self {
            Output::PassThrough(cut) => cut.finish(),
            Output::Rewritten(out) => out.freeze(),
        }
    }
}

/// A run with pieces cut out: as long as none is, it stays the slice that it is.
struct Splice<'a> {
    run: &'a Bytes,
    from: usize,
    end: usize,
    kept: BytesMut,
}

impl<'a> Splice<'a> {
    fn new(run: &'a Bytes) -> Self {
        Self {
            run,
            from: 0,
            end: run.len(),
            kept: BytesMut::new(),
        }
    }

    /// Puts the event's name, which its payload says, in front of a frame that lacks it.
    fn name(&mut self, range: &std::ops::Range<usize>, data: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Named<'a> {
            #[serde(borrow, rename = "type")]
            kind: std::borrow::Cow<'a, str>,
        }
        let Ok(Named { kind }) = serde_json::from_slice(data) else {
            return;
        };
        if !kind.is_empty()
            && kind
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
        {
            self.kept
                .extend_from_slice(&self.run[self.from..range.start]);
            self.kept.extend_from_slice(b"event: ");
            self.kept.extend_from_slice(kind.as_bytes());
            self.kept.extend_from_slice(b"\n");
            self.from = range.start;
        }
    }

    fn leave_out(&mut self, range: std::ops::Range<usize>) {
        self.kept
            .extend_from_slice(&self.run[self.from..range.start]);
        self.from = range.end;
    }

    fn finish(mut self) -> Bytes {
        let from = self.from.min(self.end);
        if self.kept.is_empty() {
            return self.run.slice(from..self.end);
        }
        self.kept.extend_from_slice(&self.run[from..self.end]);
        self.kept.freeze()
    }
}
