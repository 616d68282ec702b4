//! A request that is passed on as it is: nothing of its answer is read, but it has the deadlines,
//! the cancellation and the outcome of a generation.

use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::account::Account;
use super::attempts::{log_failed_attempt, wait_for_plan};
use super::complete::bounded;
use super::deadline::Deadlines;
use super::meter::{GenerationIdentity, Meter, RefusedGeneration};
use crate::config::GenerationTimeouts;
use crate::disconnect::Disconnect;
use crate::outcome::Observers;
use crate::provider::{ForwardedAnswer, ForwardedBody, ForwardedRequest, Opened};
use crate::routing::{Next, Plan, Target};
use crate::shutdown::AbortSignal;
use base::id::RequestId;
use dialect::failure::Failure;

/// A function that makes the request for a target, which has its own name for the model.
pub type RequestForTarget = Box<dyn Fn(&Target) -> ForwardedRequest + Send + Sync>;

/// The parameters of a request that is passed on.
pub struct ForwardParams {
    /// The id of the client's request.
    pub request_id: RequestId,
    /// The route of the client's request, for the outcome.
    pub route: &'static str,
    /// The model that the client asked for, if any.
    pub model: String,
    /// The targets that may answer.
    pub plan: Plan,
    /// Makes the request.
    pub request_for: RequestForTarget,
    /// Set if the client asks for a stream.
    pub stream: bool,
    /// The time limits.
    pub timeouts: GenerationTimeouts,
    /// The time that the client waits for the answer, or for the beginning of a streamed one.
    pub client_timeout: Option<Duration>,
    /// The signal on which every request ends.
    pub abort: AbortSignal,
    /// The reason for which the client is gone, if it is.
    pub disconnect: Disconnect,
    /// The observers of the outcome.
    pub observers: Observers,
    /// The account that it is counted on, where usage is limited or has a price.
    pub account: Option<Box<Account>>,
}

impl fmt::Debug for ForwardParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardParams")
            .field("request_id", &self.request_id)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// The answer to a request that was passed on: its head, and the bytes that follow. Dropping it
/// cancels the request.
#[derive(Debug)]
pub struct ForwardedGeneration {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream's headers that the client may see.
    pub headers: HeaderMap,
    body: ForwardedBody,
    plan: Plan,
    deadlines: Deadlines,
    meter: Meter,
    has_bytes: bool,
}

impl ForwardedGeneration {
    /// Sends the request, and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// The failure, and the generation, which records it once the status is known.
    pub async fn open(params: ForwardParams) -> Result<Self, (Failure, RefusedGeneration)> {
        let identity = GenerationIdentity {
            request_id: params.request_id,
            route: params.route,
            model: params.model,
        };
        let abort = params.abort.clone();
        let mut meter = Meter::start(identity, params.disconnect, abort, params.observers);
        meter.charge(params.account);
        let mut timeouts = params.timeouts;
        let timeout = params.client_timeout.unwrap_or(timeouts.total);
        if !params.stream {
            timeouts.total = timeouts.total.min(timeout);
        }
        let mut deadlines = Deadlines::start(timeouts, params.stream, params.abort);
        deadlines.begin_within(timeout);
        let mut plan = params.plan;
        match open_by_plan(&mut plan, &params.request_for, &mut deadlines, &mut meter).await {
            Ok(Opened {
                mut headers,
                source,
            }) => {
                let ForwardedAnswer { status, body } = source;
                plan.answered();
                meter.set_status(status.as_u16());
                meter.add_headers(&mut headers);
                Ok(Self {
                    status,
                    headers,
                    body,
                    plan,
                    deadlines,
                    meter,
                    has_bytes: false,
                })
            }
            Err(failure) => Err((failure, RefusedGeneration(meter))),
        }
    }

    /// Polls for the next bytes, `None` after the end.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let polled = match self.body.poll_bytes(cx) {
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                let failure = ready!(self.deadlines.poll_expired(self.has_bytes, cx));
                Some(Err(failure))
            }
        };
        let result = match polled {
            None => {
                self.plan.completed();
                self.meter.on_complete();
                return Poll::Ready(None);
            }
            Some(Ok(bytes)) => {
                self.has_bytes = true;
                match self.deadlines.on_payload() {
                    None => Ok(bytes),
                    Some(failure) => Err(failure),
                }
            }
            Some(Err(failure)) => Err(failure),
        };
        if let Err(failure) = &result {
            self.plan.broke(failure);
            self.meter.on_failure(failure);
        }
        Poll::Ready(Some(result))
    }
}

/// Sends the request as the plan says, until a target answers.
async fn open_by_plan(
    plan: &mut Plan,
    request_for: &RequestForTarget,
    deadlines: &mut Deadlines,
    meter: &mut Meter,
) -> Result<Opened<ForwardedAnswer>, Failure> {
    let latest = deadlines.latest();
    let mut next = plan.begin(latest);
    loop {
        next = match next {
            Next::Fail(failure) => return Err(failure),
            Next::Wait(until) => {
                bounded(deadlines, wait_for_plan(plan, until)).await?;
                plan.next(latest)
            }
            Next::Ask => {
                let target = plan.current();
                deadlines.begin_attempt(target.first_token);
                meter.on_attempt(target);
                let opening = target.provider.forward(request_for(target));
                let opened = bounded(deadlines, opening).await;
                let failure = match opened.and_then(|opened| opened) {
                    Ok(opened) => return Ok(opened),
                    Err(failure) => failure,
                };
                let (class, details) = (failure.class(), failure.log_message());
                let (judged, outcome) = plan.judge(failure);
                log_failed_attempt(meter.request_id(), plan, judged, &details);
                outcome?;
                meter.on_attempt_failure(class);
                plan.next(latest)
            }
        }
    }
}
