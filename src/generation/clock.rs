//! How long a generation may take, with one timer that is seldom moved.
//!
//! Per token only a deadline changes, not the timer: it fires at the earliest deadline it once knew, looks again, and
//! goes back to sleep. Time counts only while we wait for the upstream, never while the client keeps us from reading.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use base::wake_flag::WakeFlag;
use dialect::failure::Failure;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the request to the first token.
    pub first_token: Duration,
    /// From one payload to the next, once a token has come. Comments don't count.
    pub between_tokens: Duration,
    /// From the request to the end.
    pub total: Duration,
}

/// Ends all generations at once, each with an error.
#[derive(Debug, Clone, Default)]
pub struct Cutoff {
    /// Asked per token, so it must cost nothing: the token's own answer takes a lock.
    cut: Arc<AtomicBool>,
    wake: CancellationToken,
}

impl Cutoff {
    /// Ends them now.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake.cancel();
    }
}

/// Whether the server is shutting down.
#[derive(Debug, Clone, Default)]
pub struct Draining(CancellationToken);

impl Draining {
    /// From now on it is.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether it is.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Ready as soon as it is.
    pub fn begun(&self) -> WaitForCancellationFutureOwned {
        self.0.clone().cancelled_owned()
    }
}

/// A generation's clock.
#[derive(Debug)]
pub struct Clock {
    timeouts: Timeouts,
    /// Whether tokens are awaited one by one. A whole answer is bounded by the total alone.
    stream: bool,
    started: Instant,
    /// Since when we have been waiting for the upstream; none while it talks.
    waiting: Option<Instant>,
    /// Whether the alarm knows that tokens have come.
    is_set: bool,
    alarm: Pin<Box<Sleep>>,
    cut: Arc<AtomicBool>,
    wake: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Rung by the alarm and by the cutoff: neither is polled for each token.
    wake_flag: WakeFlag,
}

impl Clock {
    /// Starts the clock now.
    #[must_use]
    pub fn start(timeouts: Timeouts, stream: bool, cutoff: Cutoff) -> Self {
        let started = Instant::now();
        let mut clock = Self {
            timeouts,
            stream,
            started,
            waiting: None,
            is_set: false,
            alarm: Box::pin(tokio::time::sleep_until(started)),
            cut: cutoff.cut,
            wake: Box::pin(cutoff.wake.cancelled_owned()),
            wake_flag: WakeFlag::new(),
        };
        let (deadline, _) = clock.deadline(false);
        clock.alarm.as_mut().reset(deadline);
        clock
    }

    /// Whether the server must end now.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// A payload came: if too late, or after the cutoff, this is why it is the last. An upstream that never pauses is
    /// never silent, so it is asked here too.
    pub fn heard(&mut self) -> Option<Failure> {
        self.waiting = None;
        if self.cut.load(Ordering::Acquire) {
            return Some(Failure::draining());
        }
        let total = self.timeouts.total;
        // The alarm is never later than that.
        (self.wake_flag.is_set() && self.started.elapsed() >= total)
            .then(|| Failure::total_timeout(total))
    }

    /// Called when the upstream is silent: ready when it has been so for too long, or the server must end now.
    pub fn poll_silence(&mut self, said: bool, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
            // Only the first token brings the deadline nearer; from then on it moves away.
            if said && !self.is_set {
                self.is_set = true;
                let (deadline, _) = self.deadline(said);
                if deadline < self.alarm.deadline() {
                    self.alarm.as_mut().reset(deadline);
                }
            }
        }
        if self.cut.load(Ordering::Acquire) {
            return Poll::Ready(Failure::draining());
        }
        let Some(waker) = self.wake_flag.take_waker(cx) else {
            return Poll::Pending;
        };
        let mut cx = Context::from_waker(&waker);
        if self.wake.as_mut().poll(&mut cx).is_ready() {
            return Poll::Ready(Failure::draining());
        }
        while self.alarm.as_mut().poll(&mut cx).is_ready() {
            let (deadline, failure) = self.deadline(said);
            if deadline <= Instant::now() {
                return Poll::Ready(failure());
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Returns the next deadline, and the failure of a generation that misses it.
    fn deadline(&self, said: bool) -> (Instant, impl FnOnce() -> Failure + use<>) {
        let Timeouts {
            first_token,
            between_tokens,
            total,
        } = self.timeouts;
        type Missed = fn(Duration) -> Failure;
        let whole: (Instant, Duration, Missed) =
            (self.started + total, total, Failure::total_timeout);
        let silent: (Instant, Duration, Missed) = match (self.stream, said) {
            (false, _) => whole,
            (true, false) => (
                self.started + first_token,
                first_token,
                Failure::first_token_timeout,
            ),
            (true, true) => (
                self.waiting.unwrap_or(self.started) + between_tokens,
                between_tokens,
                Failure::between_tokens_timeout,
            ),
        };
        let (deadline, limit, missed) = if silent.0 < whole.0 { silent } else { whole };
        (deadline, move || missed(limit))
    }
}
