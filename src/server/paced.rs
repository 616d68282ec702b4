//! Handshakes take turns with the streams of their worker.
//!
//! The signature of a handshake takes a millisecond or more of computation, and a thousand clients
//! may connect in the same second. Each handshake that computes makes the next one wait for as long
//! again, so that half of the worker's time is left to its streams.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A step of a handshake that is shorter computes nothing to speak of.
const SHORT_STEP: Duration = Duration::from_micros(100);

thread_local! {
    /// When the next handshake of this worker may compute; none has yet if `None`.
    static NEXT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A handshake that takes turns.
pub(super) struct Paced<F> {
    handshake: Pin<Box<F>>,
    turn: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Paced<F> {
    pub(super) fn new(handshake: F) -> Self {
        Self {
            handshake: Box::pin(handshake),
            turn: None,
        }
    }
}

impl<F: Future> Future for Paced<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            if let Some(turn) = &mut self.turn {
                ready!(turn.as_mut().poll(cx));
                self.turn = None;
            }
            let begun = Instant::now();
            match NEXT.get().filter(|next| *next > begun) {
                Some(next) => self.turn = Some(Box::pin(tokio::time::sleep_until(next))),
                None => {
                    let polled = self.handshake.as_mut().poll(cx);
                    let took = begun.elapsed();
                    if took > SHORT_STEP {
                        NEXT.set(Some(begun + 2 * took));
                    }
                    return polled;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handshake_waits_for_as_long_as_the_one_before_it_has_computed() {
        let compute = || async { std::thread::sleep(Duration::from_millis(20)) };
        Paced::new(compute()).await;
        let next = NEXT.get();
        let mut second = Box::pin(Paced::new(async {}));
        let first_poll = futures_util::poll!(second.as_mut());
        assert!(first_poll.is_pending(), "it is not its turn");
        second.await;
        assert!(next.is_some_and(|next| Instant::now() >= next));
    }
}
