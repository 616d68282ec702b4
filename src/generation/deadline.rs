//! The deadlines of a generation, with one timer that is seldom moved.
//!
//! Per token only a deadline changes, not the timer: it fires at the earliest deadline it once
//! knew, looks again, and goes back to sleep. Time counts only while we wait for the upstream,
//! never while the client keeps us from reading.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use base::wake_flag::WakeFlag;
use dialect::failure::Failure;

use crate::config::GenerationTimeouts;
use crate::shutdown::AbortSignal;

/// The deadlines of one generation, and the abort: the server's, or its key's.
#[derive(Debug)]
pub(super) struct Deadlines {
    timeouts: GenerationTimeouts,
    /// The time limit of the current target's first token, where it has one of its own.
    first_token: Option<Duration>,
    /// Set if tokens are awaited one by one. A complete answer is bounded by the total alone.
    stream: bool,
    started: Instant,
    /// The time from then within which something of the answer must have come.
    patience: Duration,
    /// The start of the current attempt.
    attempted: Instant,
    /// The time since when we have been waiting for the upstream; `None` while it talks.
    waiting: Option<Instant>,
    /// Set once the timer knows that tokens have come.
    is_set: bool,
    timer: Pin<Box<Sleep>>,
    abort: AbortSignal,
    aborted: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set by the timer or the abort signal, so that neither is polled for every token.
    wake_flag: WakeFlag,
}

/// A deadline and the failure of a generation that misses it.
struct Deadline {
    at: Instant,
    limit: Duration,
    failure: fn(Duration) -> Failure,
}

impl Deadlines {
    /// Starts the time now.
    #[must_use]
    pub(super) fn start(timeouts: GenerationTimeouts, stream: bool, abort: AbortSignal) -> Self {
        let started = Instant::now();
        let mut deadlines = Self {
            timeouts,
            first_token: None,
            stream,
            started,
            patience: timeouts.total,
            attempted: started,
            waiting: None,
            is_set: false,
            timer: Box::pin(tokio::time::sleep_until(started)),
            aborted: Box::pin(abort.aborted()),
            abort,
            wake_flag: WakeFlag::new(),
        };
        let next = deadlines.next(false);
        deadlines.timer.as_mut().reset(next.at);
        deadlines
    }

    /// Starts the time of an attempt, at a target whose first token may have a limit of its own.
    pub(super) fn begin_attempt(&mut self, first_token: Option<Duration>) {
        self.attempted = Instant::now();
        self.first_token = first_token;
        self.waiting = None;
        let next = self.next(false);
        self.timer.as_mut().reset(next.at);
    }

    /// Returns the deadlines of another attempt at the same time, which begins now.
    #[must_use]
    pub(super) fn begin_beside(&self, first_token: Option<Duration>) -> Self {
        let mut deadlines = Self::start(self.timeouts, self.stream, self.abort.clone());
        deadlines.started = self.started;
        deadlines.patience = self.patience;
        deadlines.begin_attempt(first_token);
        deadlines
    }

    /// Takes note that the next attempt goes on with an answer that the client has seen a part of.
    pub(super) fn begin_continuation(&mut self) {
        self.patience = self.timeouts.total;
        self.is_set = false;
    }

    /// Takes note that the rest of an answer is asked for: the silence begins anew.
    pub(super) fn begin_resume(&mut self) {
        self.waiting = None;
        let next = self.next(true);
        self.timer.as_mut().reset(next.at);
        self.wake_flag.wake();
    }

    /// Sets the time within which something of the answer must have come.
    pub(super) fn begin_within(&mut self, patience: Duration) {
        self.patience = self.patience.min(patience);
        let next = self.next(false);
        self.timer.as_mut().reset(next.at);
    }

    /// Returns the time after which no attempt may begin.
    pub(super) fn latest(&self) -> Instant {
        self.started + self.patience
    }

    /// Returns the failure of a generation that must end now.
    pub(super) fn aborted(&self) -> Option<Failure> {
        self.abort.is_aborted().then(|| self.abort.failure())
    }

    /// Returns the time since when the upstream is waited for, if it is.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting
    }

    /// Takes note of a payload. Returns the failure if it must be the last: an upstream that never
    /// pauses is never silent, so the total and the abort are checked here too.
    pub(super) fn on_payload(&mut self) -> Option<Failure> {
        self.waiting = None;
        if self.abort.is_aborted() {
            return Some(self.abort.failure());
        }
        let total = self.timeouts.total;
        // The timer is never later than that.
        (self.wake_flag.is_set() && self.started.elapsed() >= total)
            .then(|| Failure::total_timeout(total))
    }

    /// Polls while the upstream is silent. Ready with the failure once a deadline has passed, or
    /// the server must end now. `has_content` says whether a token has come.
    #[inline]
    pub(super) fn poll_expired(
        &mut self,
        has_content: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Failure> {
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
            // Only the first token brings the deadline nearer; from then on it moves away.
            if has_content && !self.is_set {
                self.is_set = true;
                let next = self.next(has_content);
                if next.at < self.timer.deadline() {
                    self.timer.as_mut().reset(next.at);
                }
            }
        }
        if self.abort.is_aborted() {
            return Poll::Ready(self.abort.failure());
        }
        let Some(waker) = self.wake_flag.take_waker(cx) else {
            return Poll::Pending;
        };
        let mut cx = Context::from_waker(&waker);
        if self.aborted.as_mut().poll(&mut cx).is_ready() {
            return Poll::Ready(self.abort.failure());
        }
        while self.timer.as_mut().poll(&mut cx).is_ready() {
            let next = self.next(has_content);
            if next.at <= Instant::now() {
                return Poll::Ready((next.failure)(next.limit));
            }
            self.timer.as_mut().reset(next.at);
        }
        Poll::Pending
    }

    fn next(&self, has_content: bool) -> Deadline {
        let GenerationTimeouts {
            first_token,
            between_tokens,
            total,
        } = self.timeouts;
        let first_token = self.first_token.unwrap_or(first_token);
        let total = if has_content { total } else { self.patience };
        let total = Deadline {
            at: self.started + total,
            limit: total,
            failure: Failure::total_timeout,
        };
        let silence = match (self.stream, has_content) {
            (false, _) => return total,
            (true, false) => Deadline {
                at: self.attempted + first_token,
                limit: first_token,
                failure: Failure::first_token_timeout,
            },
            (true, true) => Deadline {
                at: self.waiting.unwrap_or(self.started) + between_tokens,
                limit: between_tokens,
                failure: Failure::between_tokens_timeout,
            },
        };
        if silence.at < total.at {
            silence
        } else {
            total
        }
    }
}
