//! The meter of a running generation. Dropping it hands the [`Outcome`] to the observers, whatever
//! came before.

use std::time::{Duration, Instant};

use base::id::RequestId;
use dialect::event::{Event, Usage};
use dialect::failure::Failure;

use crate::disconnect::Disconnect;
use crate::outcome::{AttemptOutcome, GenerationEnd, Observers, Outcome};
use crate::routing::Target;
use crate::shutdown::AbortSignal;

/// The status of a client that left before its response began (nginx's number for it).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The facts of a generation that are known when it starts.
#[derive(Debug)]
pub(super) struct GenerationIdentity {
    pub(super) request_id: RequestId,
    pub(super) route: &'static str,
    pub(super) model: String,
}

/// The counts and times of one generation.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    disconnect: Disconnect,
    abort: AbortSignal,
    observers: Observers,
    outcome: Outcome,
    is_ended: bool,
}

impl Meter {
    /// Starts to count, when the request has been accepted.
    pub(super) fn start(
        identity: GenerationIdentity,
        disconnect: Disconnect,
        abort: AbortSignal,
        observers: Observers,
    ) -> Self {
        let GenerationIdentity {
            request_id,
            route,
            model,
        } = identity;
        Self {
            started: Instant::now(),
            disconnect,
            abort,
            observers,
            outcome: Outcome {
                request_id,
                route,
                model,
                attempts: Vec::new(),
                status: CLIENT_CLOSED_REQUEST,
                time_to_first_token: None,
                duration: Duration::ZERO,
                payloads: 0,
                usage: None,
                end: GenerationEnd::ClientLeft,
            },
            is_ended: false,
        }
    }

    /// Records that another attempt began.
    pub(super) fn on_attempt(&mut self, target: &Target) {
        self.outcome.attempts.push(AttemptOutcome {
            provider: target.provider.name().to_owned(),
            upstream_model: target.upstream_model.clone(),
            failure: None,
        });
    }

    pub(super) fn request_id(&self) -> &str {
        self.outcome.request_id.as_str()
    }

    pub(super) fn set_status(&mut self, status: u16) {
        self.outcome.status = status;
    }

    /// Returns whether the upstream has sent content.
    pub(super) fn has_content(&self) -> bool {
        self.outcome.time_to_first_token.is_some()
    }

    /// Counts one payload with content.
    pub(super) fn on_content(&mut self) {
        self.outcome.payloads += 1;
        if self.outcome.time_to_first_token.is_none() {
            self.outcome.time_to_first_token = Some(self.started.elapsed());
        }
    }

    /// Takes a report of usage. Reports are cumulative: the last one counts.
    pub(super) fn on_usage(&mut self, usage: Option<Usage>) {
        if usage.is_some() {
            self.outcome.usage = usage;
        }
    }

    /// Takes what was counted in a whole answer.
    pub(super) fn on_whole_answer(&mut self, counts: &AnswerCounts) {
        if counts.payloads > 0 {
            self.on_content();
            self.outcome.payloads += counts.payloads - 1;
        }
        self.on_usage(counts.usage);
    }

    /// Counts an event of an in-process model.
    pub(super) fn on_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.outcome.usage = Some(*usage),
            event if event.has_content() => self.on_content(),
            _ => {}
        }
    }

    pub(super) fn on_complete(&mut self) {
        self.is_ended = true;
        self.outcome.end = GenerationEnd::Complete;
    }

    pub(super) fn on_failure(&mut self, failure: &Failure) {
        self.is_ended = true;
        self.outcome.end = failure.into();
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.failure = Some(failure.class());
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_ended && matches!(self.outcome.end, GenerationEnd::Complete)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.outcome.duration = self.started.elapsed();
        if !self.is_ended {
            self.outcome.end = end_by_drop(&self.disconnect, &self.abort);
        }
        self.observers.notify(&self.outcome);
    }
}

/// Returns the end of a generation that was dropped before it ended by itself.
fn end_by_drop(disconnect: &Disconnect, abort: &AbortSignal) -> GenerationEnd {
    if disconnect.is_cancelled() {
        GenerationEnd::Cancelled
    } else if disconnect.is_stalled() {
        GenerationEnd::ClientStalled
    } else if abort.is_aborted() {
        GenerationEnd::Aborted
    } else {
        GenerationEnd::ClientLeft
    }
}

/// The counts of a whole answer.
#[derive(Debug, Default)]
pub(super) struct AnswerCounts {
    /// Events with content.
    pub(super) payloads: u64,
    /// The usage, if the answer reports it.
    pub(super) usage: Option<Usage>,
}

impl AnswerCounts {
    /// Counts an event.
    pub(super) fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            event if event.has_content() => self.payloads += 1,
            _ => {}
        }
    }
}

/// A generation that failed before its response began. It records the failure once the status of
/// the response is known.
#[derive(Debug)]
pub struct RefusedGeneration(pub(super) Meter);

impl RefusedGeneration {
    /// Records the failure, and the status with which the client is told.
    pub fn record(mut self, failure: &Failure, status: u16) {
        self.0.set_status(status);
        self.0.on_failure(failure);
    }
}
