//! The continuation of an answer that broke in its text: another attempt goes on with it, and the
//! client sees one answer.
//!
//! What the client has seen is never taken back, and what the next attempt says is joined by the
//! [`transcript`](super::transcript). If nobody can go on, the answer ends with the failure that
//! broke it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dialect::event::{Event, FinishReason};
use dialect::failure::{Failure, classes};

use super::Generation;
use super::relay::StreamEnd;
use super::stage::AnswerStage;
use crate::routing::{Next, Verdict, judge, may_be_continued};

/// The next step of an answer that broke.
enum AfterBreak {
    /// Another attempt goes on.
    GoesOn,
    /// The limit of its tokens was reached: it is whole, with these frames.
    AtLimit(Bytes),
    /// It ends with this failure.
    Ends(Failure),
}

impl Generation {
    /// Ends an attempt of which the client has seen something: by going on with another, or with
    /// the answer. Returns `bytes` and what follows them.
    #[cold]
    pub(super) fn end_attempt(&mut self, bytes: Bytes, end: StreamEnd) -> Bytes {
        let StreamEnd::Failed {
            failure,
            already_sent: false,
        } = end
        else {
            return self.finish(bytes, end);
        };
        let failure = match self.resume(failure) {
            Ok(()) => return bytes,
            Err(failure) => failure,
        };
        match self.go_on(failure) {
            AfterBreak::GoesOn => bytes,
            AfterBreak::AtLimit(frames) => {
                let bytes = [bytes, frames].concat().into();
                let already_sent = false;
                self.finish(bytes, StreamEnd::Complete { already_sent })
            }
            AfterBreak::Ends(failure) => self.finish(bytes, StreamEnd::failed(failure)),
        }
    }

    /// Begins another attempt that goes on with the answer, if there may be one.
    fn go_on(&mut self, failure: Failure) -> AfterBreak {
        let transcript = self.client.transcript();
        let Some(transcript) = transcript else {
            return AfterBreak::Ends(failure);
        };
        let is_rejected = transcript.is_rejected();
        let text = transcript.continuable_text().map(str::to_owned);
        let told = match self.break_failure.take().filter(|_| is_rejected) {
            Some(earlier) => earlier,
            None => failure,
        };
        let Some(text) = text.filter(|_| may_be_continued(&told)) else {
            return AfterBreak::Ends(told);
        };
        if !self.attempts.plan().may_continue() {
            return AfterBreak::Ends(told);
        }
        let said = self.meter.said(!is_rejected);
        let Some(max_tokens) = self.attempts.tokens_left(said) else {
            self.attempts.on_broken(&told);
            let written = self.client.write_own(&Event::Finish(FinishReason::Length));
            return written.map_or_else(AfterBreak::Ends, AfterBreak::AtLimit);
        };
        self.deadlines.begin_continuation();
        let (latest, at) = (self.deadlines.latest(), text.len());
        let next = match is_rejected {
            true => self.attempts.continue_elsewhere(latest),
            false => self
                .attempts
                .continue_after(&told, (text, max_tokens), latest),
        };
        if let Next::Fail(_) = next {
            return AfterBreak::Ends(told);
        }
        self.meter.on_break(told.class(), at, !is_rejected);
        self.stage = AnswerStage::Joining;
        match self.follow(next) {
            Ok(()) => {
                self.break_failure = Some(told);
                AfterBreak::GoesOn
            }
            Err(failure) => AfterBreak::Ends(failure),
        }
    }

    /// Polls for frames of an answer of which the client does not see everything as it comes.
    #[cold]
    pub(super) fn poll_unshown(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failure>> {
        if !self.stage.is_joining() {
            return self.poll_first_frames(true, cx);
        }
        loop {
            if let Err(failure) = ready!(self.poll_opened(cx)) {
                return Poll::Ready(Err(self.break_failure.take().unwrap_or(failure)));
            }
            let Some(step) = ready!(self.poll_step(cx)) else {
                self.stage = AnswerStage::Shown;
                return Poll::Ready(Ok(Bytes::new()));
            };
            let has_said = self.meter.has_content();
            if has_said {
                self.attempts.on_answer();
                self.stage = AnswerStage::Shown;
            }
            let goes_on = has_said || matches!(step.end, Some(StreamEnd::Complete { .. }));
            let bytes = match goes_on && self.client.takes_comments() {
                true => {
                    let mark = self.attempts.take_mark().unwrap_or_default();
                    [mark.as_bytes(), &step.bytes].concat().into()
                }
                false => step.bytes,
            };
            match step.end {
                Some(StreamEnd::Failed { failure, .. }) if !has_said => {
                    self.attempt.cancel();
                    if let Err(failure) = self.retry_continuation(failure) {
                        let failure = self.break_failure.take().unwrap_or(failure);
                        return Poll::Ready(Err(failure));
                    }
                }
                Some(end) => {
                    self.stage = AnswerStage::Shown;
                    return Poll::Ready(Ok(self.end_attempt(bytes, end)));
                }
                None if bytes.is_empty() && !has_said => {}
                None => return Poll::Ready(Ok(bytes)),
            }
        }
    }

    /// Judges the failure of an attempt that was to go on and said nothing, and asks another.
    ///
    /// # Errors
    ///
    /// The failure that ends the answer.
    pub(super) fn retry_continuation(&mut self, failure: Failure) -> Result<(), Failure> {
        let class = failure.class();
        let next = match self.attempts.next_continuation(&failure) {
            Some(next) => next,
            None if is_own_end(&failure) => {
                self.break_failure = None;
                return Err(failure);
            }
            None => return Err(self.break_failure.take().unwrap_or(failure)),
        };
        self.meter.on_continuation_failure(class);
        self.follow(next)
    }

    /// Prepares the transcript for the text of an attempt that is to go on.
    pub(super) fn begin_joining(&mut self) {
        let (is_prefill, earlier) = (self.attempts.is_prefill(), self.meter.earlier_usage());
        if let Some(transcript) = self.client.transcript() {
            transcript.begin_attempt(is_prefill, earlier);
        }
    }
}

/// Returns whether a failure ends the generation itself and not only an attempt.
pub(super) fn is_own_end(failure: &Failure) -> bool {
    let is_reported = failure.refusal().is_some() || failure.is(&classes::UPSTREAM_ERROR);
    !is_reported && judge(failure).0 == Verdict::Final
}

#[cfg(test)]
mod tests;
