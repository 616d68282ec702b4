//! The first frames of an answer: until it says something each failure may lead to another target.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dialect::failure::Failure;
use http::HeaderMap;

use super::Generation;
use super::relay::StreamEnd;
use super::stage::AnswerStage;

impl Generation {
    /// Polls for the first frames of an answer that says something, or has ended. Until then each
    /// failure may lead to another target, and a second one may be asked beside it. Comments are
    /// passed on where that is asked for.
    #[cold]
    pub(super) fn poll_first_frames(
        &mut self,
        passes_comments: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Failure>> {
        let polled = self.poll_attempt(passes_comments, cx);
        if polled.is_ready() || !self.take_turns(cx) {
            return polled;
        }
        let polled = self.poll_attempt(passes_comments, cx);
        if polled.is_pending() {
            // The first one's turn.
            self.swap_contenders();
        }
        polled
    }

    /// Polls the current attempt, and those that follow its failures.
    fn poll_attempt(
        &mut self,
        passes_comments: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Failure>> {
        loop {
            ready!(self.poll_opened(cx))?;
            if self.stage.is_shown() {
                return Poll::Ready(Ok(Bytes::new()));
            }
            let Some(step) = ready!(self.poll_step(cx)) else {
                self.stage = AnswerStage::Shown;
                return Poll::Ready(Ok(Bytes::new()));
            };
            let has_said = self.meter.has_content();
            match step.end {
                Some(StreamEnd::Failed { failure, .. }) if !has_said => {
                    self.attempt.cancel();
                    self.retry(failure)?;
                    continue;
                }
                None if !has_said && !step.has_payload && self.stage.is_racing() => {
                    // It is not known yet whose comments belong to the answer. It is the other
                    // one's turn, however many there are.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None if !has_said && !step.has_payload && passes_comments => {
                    if !step.bytes.is_empty() {
                        return Poll::Ready(Ok(step.bytes));
                    }
                    continue;
                }
                None if !has_said => {
                    if self.stage.hold(&step.bytes) {
                        continue;
                    }
                    // It is in the hold already.
                    return Poll::Ready(Ok(self.commit(Bytes::new())));
                }
                None => return Poll::Ready(Ok(self.commit(step.bytes))),
                Some(end) => {
                    let bytes = self.commit(step.bytes);
                    return Poll::Ready(Ok(self.end_attempt(bytes, end)));
                }
            }
        }
    }

    /// From here on the client sees the answer. Returns its first frames.
    fn commit(&mut self, run: Bytes) -> Bytes {
        self.attempts.on_first_token();
        self.attempts.on_answer();
        match std::mem::take(&mut self.stage) {
            AnswerStage::Unsaid(answer) => answer.hold.release(run),
            AnswerStage::Joining | AnswerStage::Shown => run,
        }
    }

    /// Judges the failure of an attempt of which the client has seen nothing, and follows the plan.
    ///
    /// # Errors
    ///
    /// The failure, if the client must be told.
    pub(super) fn retry(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.stage.is_joining() {
            return self.retry_continuation(failure);
        }
        if self.stage.is_racing() {
            return self.go_on_alone(failure);
        }
        let class = failure.class();
        let next = self.attempts.next_after(failure)?;
        self.meter.on_attempt_failure(class);
        self.headers = HeaderMap::new();
        if let AnswerStage::Unsaid(answer) = &mut self.stage {
            answer.hold.clear();
            self.client = self.client.begin_anew(answer.meta.clone());
        }
        self.follow(next)
    }
}
