//! The relay of a model in this process, which speaks events.

use std::task::{Context, Poll};

use bytes::BytesMut;

use dialect::EventSink;
use dialect::event::Event;
use dialect::failure::Failure;

use super::client::ClientWriter;
use super::step::{RelayStep, StreamEnd};
use crate::generation::meter::Meter;
use crate::provider::{Events, poll_event};

/// The most bytes written per poll for a model that is always ready.
const MAX_BATCH_BYTES: usize = 8 * 1024;

/// The relay of a stream of events.
pub(in crate::generation) struct InProcess {
    events: Events,
    /// Set once the model has named the reason for which it finished.
    is_finished: bool,
}

impl InProcess {
    pub(super) fn new(events: Events) -> Self {
        Self {
            events,
            is_finished: false,
        }
    }

    /// Polls for the next frames.
    pub(super) fn poll_step(
        &mut self,
        client: &mut ClientWriter,
        meter: &mut Meter,
        mut tap: EventSink<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<RelayStep> {
        let mut out = BytesMut::new();
        let end = loop {
            if out.len() >= MAX_BATCH_BYTES {
                break None;
            }
            match poll_event(&mut self.events, cx) {
                Poll::Ready(Some(Ok(event))) => {
                    if let Some(failure) = meter.on_event(&event) {
                        break Some(StreamEnd::failed(failure));
                    }
                    self.is_finished |= matches!(event, Event::Finish(_));
                    if let Err(failure) = client.write_event(&event, &mut out) {
                        break Some(StreamEnd::failed(failure));
                    }
                    if let Some(tap) = &mut tap {
                        tap(event);
                    }
                }
                Poll::Ready(Some(Err(failure))) => break Some(StreamEnd::failed(failure)),
                Poll::Ready(None) if self.is_finished => {
                    break Some(StreamEnd::Complete {
                        already_sent: false,
                    });
                }
                Poll::Ready(None) => {
                    let failure = Failure::upstream_truncated("the model did not finish");
                    break Some(StreamEnd::failed(failure));
                }
                Poll::Pending if out.is_empty() => return Poll::Pending,
                // The waker is registered: the next event wakes us again.
                Poll::Pending => break None,
            }
        };
        Poll::Ready(RelayStep {
            bytes: out.freeze(),
            has_payload: true,
            end,
        })
    }
}
