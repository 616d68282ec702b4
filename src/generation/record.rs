//! What is counted of a generation, and its one line in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base::id::RequestId;
use dialect::event::{Event, Usage};
use dialect::failure::{Failure, classes};

use super::Target;

/// Why a connection, or one of its streams, was given up, told by the one who knows to those who ride on it.
#[derive(Debug, Clone, Default)]
pub struct Left {
    stalled: Arc<AtomicBool>,
    /// That of the connection, where it has many streams.
    connection: Option<Arc<AtomicBool>>,
    /// Set when no connection ended, but this one generation on it, at its client's word.
    cancelled: Option<Arc<AtomicBool>>,
}

impl Left {
    /// The client read nothing for too long.
    pub fn stalled(&self) {
        self.stalled.store(true, Ordering::Release);
    }

    /// One stream's, of a connection that this is of: it may be given up alone, or with the connection.
    #[must_use]
    pub fn of_stream(&self) -> Self {
        Self {
            stalled: Arc::default(),
            connection: Some(self.stalled.clone()),
            cancelled: None,
        }
    }

    /// One generation's, of a socket that this is of: its client may end it alone.
    #[must_use]
    pub fn of_message(&self) -> Self {
        Self {
            cancelled: Some(Arc::default()),
            ..self.of_stream()
        }
    }

    /// The client wants this generation no more.
    pub fn cancelled(&self) {
        if let Some(cancelled) = &self.cancelled {
            cancelled.store(true, Ordering::Release);
        }
    }

    fn reason(&self) -> &'static str {
        if self
            .cancelled
            .as_ref()
            .is_some_and(|cancelled| cancelled.load(Ordering::Acquire))
        {
            return classes::CANCELLED.code;
        }
        let mut flags = std::iter::once(&self.stalled).chain(&self.connection);
        if flags.any(|stalled| stalled.load(Ordering::Acquire)) {
            "client_stall"
        } else {
            "client_left"
        }
    }
}

/// How a generation ended.
#[derive(Debug)]
pub enum Ending {
    /// With all its tokens and its end mark.
    Complete,
    /// With an error.
    Failed(Failure),
}

/// Counts as tokens pass; writes one line when it is dropped, whatever came between.
#[derive(Debug)]
pub struct Record {
    request_id: RequestId,
    route: &'static str,
    model: String,
    provider: String,
    upstream_model: String,
    left: Left,
    started: Instant,
    first_said: Option<Duration>,
    /// Payloads that said something: what is reported where the upstream counts nothing itself.
    counted: u64,
    usage: Option<Usage>,
    status: u16,
    ended: Option<&'static str>,
    error: Option<String>,
}

/// What is logged for an answer that was whole.
const COMPLETE: &str = "complete";
/// What is logged for a client that left before it was answered (nginx's number for it).
const LEFT_BEFORE_HEAD: u16 = 499;

impl Record {
    /// Begins when the request was accepted.
    #[must_use]
    pub fn new(request_id: RequestId, route: &'static str, model: &str, left: Left) -> Self {
        Self {
            request_id,
            route,
            model: model.to_owned(),
            provider: String::new(),
            upstream_model: String::new(),
            left,
            started: Instant::now(),
            first_said: None,
            counted: 0,
            usage: None,
            status: LEFT_BEFORE_HEAD,
            ended: None,
            error: None,
        }
    }

    pub(super) fn routed(&mut self, target: &Target) {
        target.provider.name().clone_into(&mut self.provider);
        self.upstream_model.clone_from(&target.upstream_model);
    }

    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    pub(super) fn status(&mut self, status: u16) {
        self.status = status;
    }

    pub(super) fn is_first_said(&self) -> bool {
        self.first_said.is_some()
    }

    pub(super) fn said(&mut self) {
        self.counted += 1;
        if self.first_said.is_none() {
            self.first_said = Some(self.started.elapsed());
        }
    }

    pub(super) fn usage(&mut self, usage: Option<Usage>) {
        // Cumulative: the last one is the whole.
        if usage.is_some() {
            self.usage = usage;
        }
    }

    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            event if event.is_said() => self.said(),
            _ => {}
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Complete => self.ended = Some(COMPLETE),
            Ending::Failed(failure) => self.failed(&failure),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.ended == Some(COMPLETE)
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.ended = Some(failure.code());
        self.error = Some(failure.log_message());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = self.ended.unwrap_or_else(|| self.left.reason());
        let tokens = self.usage.map_or(self.counted, |usage| usage.output);
        tracing::info!(
            request_id = %self.request_id,
            route = self.route,
            model = self.model,
            provider = self.provider,
            upstream_model = self.upstream_model,
            status = self.status,
            tokens,
            ttft_ms = self.first_said.map(millis),
            duration_ms = millis(self.started.elapsed()),
            ended,
            error = self.error,
            "generation"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
