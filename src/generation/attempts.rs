//! The attempts of one generation: its plan, and the request that is sent to each target.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base::id::RequestId;
use dialect::failure::Failure;
use dialect::request::{Loss, Request, Unsupported};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::continuing::{Continuing, speaks_of_prefill};
use crate::provider::UpstreamRequest;
use crate::routing::{Judged, Next, Plan, Target};

/// The header of a response whose answer may be continued by another target.
const MAY_CONTINUE: HeaderName = HeaderName::from_static("x-tokenrill-may-continue");
/// The header of a request that forbids that: `never`.
const CONTINUE: HeaderName = HeaderName::from_static("x-tokenrill-continue");

/// The attempts of one generation.
#[derive(Debug)]
pub(super) struct Attempts {
    plan: Plan,
    /// The request for the next target; `None` once nobody else can be asked.
    request: Option<UpstreamRequest>,
    request_id: RequestId,
    /// The end of the generation's time.
    latest: Instant,
    /// Set if a second target may be asked beside a slow one.
    is_hedgeable: bool,
    /// Set if the answer may be continued by another attempt.
    is_continuable: bool,
    /// Set once the answer broke.
    continuing: Option<Continuing>,
}

impl Attempts {
    pub(super) fn new(
        mut plan: Plan,
        request: UpstreamRequest,
        request_id: RequestId,
        latest: Instant,
    ) -> Self {
        plan.prefer_by(&request.request, &request.headers);
        let never = request.headers.get(CONTINUE);
        let never = never.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"never"));
        let may_continue = !never && request.request.may_be_continued();
        Self {
            is_hedgeable: is_hedgeable(&request.request),
            is_continuable: may_continue && plan.continuation().is_some(),
            continuing: None,
            plan,
            request: Some(request),
            request_id,
            latest,
        }
    }

    /// Returns what to do first.
    pub(super) fn begin(&mut self) -> Next {
        self.plan.begin(self.latest)
    }

    /// Returns what to do after a wait.
    pub(super) fn go_on(&mut self) -> Next {
        self.plan.next(self.latest)
    }

    /// Returns what to do after a failure of the current attempt, of which the client has seen
    /// nothing.
    ///
    /// # Errors
    ///
    /// The failure, if the client must be told.
    pub(super) fn next_after(&mut self, failure: Failure) -> Result<Next, Failure> {
        let details = failure.log_message();
        let (judged, outcome) = self.plan.judge(failure);
        log_failed_attempt(self.request_id.as_str(), &self.plan, judged, &details);
        outcome?;
        Ok(self.plan.next(self.latest))
    }

    /// Returns the time after which a second target may be asked beside the current one.
    pub(super) fn hedge_delay(&self) -> Option<Duration> {
        self.plan.hedge_delay().filter(|_| self.is_hedgeable)
    }

    /// Begins an attempt beside the current one, which it takes the place of. Returns its target,
    /// and the request for it; `None` if there can't be one.
    pub(super) fn begin_hedge(&mut self) -> Option<(&Target, UpstreamRequest)> {
        if self.request.is_none() || !self.plan.begin_hedge(self.latest) {
            return None;
        }
        self.log(self.plan.current(), "attempt hedged");
        let (target, request) = self.current();
        Some((target, request?))
    }

    /// Exchanges the current attempt and the one beside it.
    pub(super) fn swap_rival(&mut self) {
        self.plan.swap_rival();
    }

    /// Judges the failure of the current attempt, beside which there is another one.
    pub(super) fn judge_beside(&mut self, failure: &Failure) -> Judged {
        let judged = self.plan.judge_beside(failure);
        let id = self.request_id.as_str();
        log_failed_attempt(id, &self.plan, judged, &failure.log_message());
        judged
    }

    /// Returns the target that is asked, and the request for it.
    pub(super) fn current(&mut self) -> (&Target, Option<UpstreamRequest>) {
        let request = match self.plan.may_go_on() {
            true => self.request.clone(),
            false => self.request.take(),
        };
        let target = self.plan.current();
        let foreign_seals = self.plan.foreign_seals(target);
        let request = request.map(|mut request| {
            request.model.clone_from(&target.upstream_model);
            request.parameters.clone_from(&target.parameters);
            request.sizes = target.sizes.answer;
            request.resume = target.resume;
            request.foreign_seals = foreign_seals;
            if let (Some(continuing), Some(rules)) =
                (&mut self.continuing, self.plan.continuation())
            {
                continuing.ask(target, &rules.turn, &mut request);
            }
            request
        });
        (target, request)
    }

    /// Polls for a place at a target, while the plan waits.
    pub(super) fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.plan.poll_place(cx)
    }

    /// Waits as the plan says.
    pub(super) async fn wait_until(&mut self, time: Instant) {
        wait_for_plan(&mut self.plan, time).await;
    }

    /// Gives back what the current attempt holds: it has ended, and says nothing of its target.
    pub(super) fn release(&mut self) {
        self.plan.release();
    }

    /// Adds the header that tells that the answer may be continued.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        if self.is_continuable {
            headers.insert(MAY_CONTINUE, HeaderValue::from_static("text"));
        }
    }

    /// Returns whether the answer may be continued by another attempt, if it breaks.
    pub(super) fn is_continuable(&self) -> bool {
        self.is_continuable
    }

    /// Returns the limit of the tokens that are left after so many; `None` if nothing is left.
    pub(super) fn tokens_left(&self, said: u64) -> Option<Option<u32>> {
        let request = &self.request.as_ref()?.request;
        let Some(limit) = request.max_tokens else {
            return Some(None);
        };
        let left = u64::from(limit).saturating_sub(said);
        (left > 0).then(|| u32::try_from(left).ok())
    }

    /// Returns what to do after the answer broke: `text` is what the client has of it.
    pub(super) fn continue_after(
        &mut self,
        failure: &Failure,
        (text, max_tokens): (String, Option<u32>),
        latest: Instant,
    ) -> Next {
        self.plan.broke(failure);
        let from = self.plan.current().provider.name().to_owned();
        tracing::debug!(
            request_id = %self.request_id,
            attempt = self.plan.attempts(),
            provider = from,
            error = failure.log_message(),
            at = text.len(),
            "answer broke"
        );
        self.plan.begin_continuation();
        self.continuing = Some(Continuing {
            text,
            max_tokens,
            from,
            reason: failure.code(),
            uses_turns: self.continuing.take().is_some_and(|it| it.uses_turns),
            is_prefill: false,
            mark: None,
        });
        self.latest = latest;
        self.plan.next(latest)
    }

    /// Returns what to do after an attempt did not go on with the answer but began it anew.
    pub(super) fn continue_elsewhere(&mut self, latest: Instant) -> Next {
        self.plan.reject_continuation();
        self.latest = latest;
        self.plan.next(latest)
    }

    /// Returns what to do after the failure of an attempt that was to go on and said nothing.
    /// `None` if nobody else can be asked.
    pub(super) fn next_continuation(&mut self, failure: &Failure) -> Option<Next> {
        let continuing = self.continuing.as_mut()?;
        let refusal = failure.refusal();
        let is_wrong = refusal.is_some_and(|refusal| matches!(refusal.status, 400 | 422));
        let by_prefill = continuing.is_prefill && is_wrong;
        if by_prefill {
            continuing.uses_turns = true;
            if speaks_of_prefill(failure) {
                self.plan.current().health.set_refuses_prefill();
            }
        }
        let (judged, may_follow) = self.plan.judge_continuation(failure, by_prefill);
        log_failed_attempt(
            self.request_id.as_str(),
            &self.plan,
            judged,
            &failure.log_message(),
        );
        if !may_follow {
            return None;
        }
        match self.plan.next(self.latest) {
            Next::Fail(_) => None,
            next => Some(next),
        }
    }

    /// Begins to ask the current target for the rest of its answer, which broke. Returns false if
    /// it can't be asked again.
    pub(super) fn begin_resume(&mut self, failure: &Failure) -> bool {
        if !self.plan.begin_resume() {
            return false;
        }
        let target = self.plan.current();
        tracing::debug!(
            request_id = %self.request_id,
            attempts = self.plan.attempts(),
            provider = target.provider.name(),
            upstream_model = target.upstream_model,
            error = failure.log_message(),
            "answer resumed"
        );
        true
    }

    /// Returns whether the current attempt was given the beginning of its answer.
    pub(super) fn is_prefill(&self) -> bool {
        let continuing = self.continuing.as_ref();
        continuing.is_some_and(|continuing| continuing.is_prefill)
    }

    /// Returns the comment that tells the client of the seam, once.
    pub(super) fn take_mark(&mut self) -> Option<String> {
        self.continuing.as_mut()?.mark.take()
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Forgets the attempt beside the current one, which has failed.
    pub(super) fn drop_rival(&mut self) {
        self.plan.drop_rival();
    }

    /// Takes note that the current attempt is the first to say something. One beside it is dropped.
    pub(super) fn on_first_token(&mut self) {
        self.plan.note_first_token();
        if let Some(target) = self.plan.rival() {
            self.log(target, "attempt dropped");
        }
        self.plan.drop_rival();
    }

    fn log(&self, target: &Target, message: &str) {
        tracing::debug!(
            request_id = %self.request_id,
            attempts = self.plan.attempts(),
            provider = target.provider.name(),
            upstream_model = target.upstream_model,
            "{message}"
        );
    }

    /// Takes note that the current target has begun to answer.
    pub(super) fn on_answer(&mut self) {
        self.plan.answered();
        if !self.is_continuable {
            self.request = None;
        }
    }

    /// Takes note that the answer is whole.
    pub(super) fn on_complete(&mut self) {
        self.plan.completed();
    }

    /// Takes note of the end of an answer of which the client has seen something.
    pub(super) fn on_broken(&mut self, failure: &Failure) {
        self.plan.broke(failure);
    }
}

/// Returns whether a request may be sent to two targets at a time: not if it depends on what only
/// one of them has, or has tools that they would run themselves.
fn is_hedgeable(request: &Request) -> bool {
    let is_small = |part: &Unsupported| part.loss == Loss::Small;
    request.unnamed_unsupported == 0 && request.unsupported.iter().all(is_small)
}

/// Waits until that time, or until the plan has found a place.
pub(super) async fn wait_for_plan(plan: &mut Plan, time: Instant) {
    let mut sleep = pin!(tokio::time::sleep_until(time));
    poll_fn(|cx| match plan.poll_place(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => sleep.as_mut().poll(cx),
    })
    .await;
}

/// Logs the failure of a plan's current attempt, of which the client has seen nothing.
pub(super) fn log_failed_attempt(request_id: &str, plan: &Plan, judged: Judged, details: &str) {
    let target = plan.current();
    tracing::debug!(
        request_id,
        attempt = plan.attempts(),
        provider = target.provider.name(),
        upstream_model = target.upstream_model,
        verdict = judged.verdict.word(),
        sent = judged.sent.word(),
        error = details,
        "attempt failed"
    );
}
