//! Hedging: a second target is asked beside one that is slow to say something. The first of the two
//! that says something is shown, and the other one is dropped, which cancels it.
//!
//! Both are polled by whoever polls the generation: one after the other takes the place of its
//! attempt, so that there is one way to poll, to hold and to judge.

use std::mem::{replace, swap, take};
use std::task::Context;

use dialect::failure::Failure;

use super::Generation;
use super::attempt::Attempt;
use super::contender::{Contender, Hedge};
use super::stage::AnswerStage;
use crate::routing::{Sent, Verdict};

impl Generation {
    /// Sets the time at which a second target is asked, if its model is hedged.
    pub(super) fn schedule_hedge(&mut self) {
        if let AnswerStage::Unsaid(answer) = &mut self.stage {
            let is_asked = matches!(self.attempt, Attempt::Opening(_));
            let delay = self.attempts.hedge_delay().filter(|_| is_asked);
            answer.hedge = delay.map_or(Hedge::None, |delay| {
                Hedge::Due(Box::pin(tokio::time::sleep(delay)))
            });
        }
    }

    /// Makes the other attempt the current one, or begins it when it is due. Returns false if
    /// there is none to be polled.
    pub(super) fn take_turns(&mut self, cx: &mut Context<'_>) -> bool {
        let AnswerStage::Unsaid(answer) = &mut self.stage else {
            return false;
        };
        match &mut answer.hedge {
            Hedge::None => false,
            Hedge::Due(sleep) => sleep.as_mut().poll(cx).is_ready() && self.begin_hedge(),
            Hedge::Racing(_) => {
                self.swap_contenders();
                true
            }
        }
    }

    /// Begins an attempt at a second target, which becomes the current one.
    fn begin_hedge(&mut self) -> bool {
        let AnswerStage::Unsaid(answer) = &mut self.stage else {
            return false;
        };
        answer.hedge = Hedge::None;
        let Some((target, request)) = self.attempts.begin_hedge() else {
            return false;
        };
        let deadlines = self.deadlines.begin_beside(target.first_token);
        let client = self.client.begin_anew(answer.meta.clone());
        let usage = self.meter.on_hedge(target);
        let attempt = Attempt::new(target, request);
        answer.hedge = Hedge::Racing(Box::new(Contender {
            attempt: replace(&mut self.attempt, attempt),
            client: replace(&mut self.client, client),
            deadlines: replace(&mut self.deadlines, deadlines),
            headers: take(&mut self.headers),
            hold: take(&mut answer.hold),
            usage,
        }));
        true
    }

    /// Exchanges the attempt that is polled and the one beside it, if there is one.
    pub(super) fn swap_contenders(&mut self) {
        let AnswerStage::Unsaid(answer) = &mut self.stage else {
            return;
        };
        let Hedge::Racing(other) = &mut answer.hedge else {
            return;
        };
        swap(&mut self.attempt, &mut other.attempt);
        swap(&mut self.client, &mut other.client);
        swap(&mut self.deadlines, &mut other.deadlines);
        swap(&mut self.headers, &mut other.headers);
        swap(&mut answer.hold, &mut other.hold);
        self.meter.swap_attempts(&mut other.usage);
        self.attempts.swap_rival();
    }

    /// Ends the current attempt, which has failed, so that the one beside it goes on alone.
    ///
    /// # Errors
    ///
    /// The failure, if it ends both: by the generation's own end, or by a request that the first
    /// target rejects as it would have without a second.
    pub(super) fn go_on_alone(&mut self, failure: Failure) -> Result<(), Failure> {
        let judged = self.attempts.judge_beside(&failure);
        let is_own_end = judged.sent == Sent::Uncertain;
        if judged.verdict == Verdict::Final && (is_own_end || !self.meter.is_hedge()) {
            return Err(failure);
        }
        self.meter.on_attempt_failure(failure.class());
        self.swap_contenders();
        self.attempts.drop_rival();
        if let AnswerStage::Unsaid(answer) = &mut self.stage {
            answer.hedge = Hedge::None;
        }
        Ok(())
    }
}
