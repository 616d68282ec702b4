//! A generation whose client did not ask for a stream: its answer is one body.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;

use dialect::failure::Failure;
use dialect::request::Operation;
use dialect::{Answer, Dialect, ResponseMeta};

use super::deadline::Deadlines;
use super::meter::{AnswerCounts, Meter, RefusedGeneration};
use super::params::GenerationParams;
use crate::compute::ComputePool;
use crate::memory::MemoryPermit;
use crate::provider::{CompleteSource, Events, OpenFuture, Opened, WholeBody, poll_event};

/// The status of a complete answer.
const OK: u16 = 200;

/// A generation that answers with one body. Dropping it cancels its upstream.
pub struct CompleteGeneration {
    dialect: &'static Dialect,
    task: Operation,
    meta: ResponseMeta,
    opening: OpenFuture<CompleteSource>,
    compute: ComputePool,
    deadlines: Deadlines,
    meter: Meter,
}

/// A complete answer.
#[derive(Debug)]
pub struct CompleteAnswer {
    /// The upstream's headers that the client may see.
    pub headers: HeaderMap,
    /// The body in the client's dialect.
    pub body: Bytes,
    /// The permit for the memory of an upstream's answer.
    pub permit: Option<MemoryPermit>,
}

impl CompleteGeneration {
    /// Prepares the request. Nothing is sent until the answer is polled.
    #[must_use]
    pub fn start(mut params: GenerationParams) -> Self {
        let mut meter = params.start_meter();
        let deadlines = Deadlines::start(params.timeouts, false, params.abort.clone());
        let request = params.first_request();
        let target = params.plan.first();
        meter.on_attempt(target);
        let opening = target.provider.open_complete(request);
        Self {
            dialect: params.dialect,
            task: params.request.operation,
            meta: params.meta,
            opening,
            compute: params.compute,
            deadlines,
            meter,
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// The failure, and the generation, which records it once the status is known.
    pub async fn answer(self) -> Result<CompleteAnswer, (Failure, RefusedGeneration)> {
        let Self {
            dialect,
            task,
            meta,
            opening,
            compute,
            mut deadlines,
            mut meter,
        } = self;
        let result = async {
            let Opened { headers, source } = bounded(&mut deadlines, opening).await??;
            let (body, permit) = match source {
                CompleteSource::Body(WholeBody { bytes, permit }, upstream) => {
                    let size = bytes.len();
                    let answer = move || client_answer(bytes, upstream, task, (dialect, &meta));
                    let answer = compute.run(size, answer);
                    let (body, counts) = bounded(&mut deadlines, answer).await???;
                    meter.on_whole_answer(&counts);
                    (body, permit)
                }
                CompleteSource::Events(events) => {
                    let answer = collect_events(events, &mut deadlines, &mut meter).await?;
                    (dialect.client.encode_answer(&answer, &meta).into(), None)
                }
            };
            Ok(CompleteAnswer {
                headers,
                body,
                permit,
            })
        };
        match result.await {
            Ok(answer) => {
                meter.set_status(OK);
                meter.on_complete();
                Ok(answer)
            }
            Err(failure) => Err((failure, RefusedGeneration(meter))),
        }
    }
}

impl fmt::Debug for CompleteGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteGeneration")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// Waits for a future until a deadline passes.
async fn bounded<F: Future>(deadlines: &mut Deadlines, future: F) -> Result<F::Output, Failure> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => deadlines.poll_expired(false, cx).map(Err),
    })
    .await
}

/// Returns an upstream's whole answer in the client's dialect, and the counts of what it holds.
fn client_answer(
    body: Bytes,
    upstream: &Dialect,
    task: Operation,
    (client, meta): (&Dialect, &ResponseMeta),
) -> Result<(Bytes, AnswerCounts), Failure> {
    let mut counts = AnswerCounts::default();
    // Token counts are returned as they are: they never cross dialects.
    let side = upstream.upstream.filter(|_| task == Operation::Generate);
    let Some(side) = side else {
        return Ok((body, counts));
    };
    if *upstream == *client {
        counts.usage = side.parse_answer(&body, None)?.usage;
        return Ok((body, counts));
    }
    let mut answer = Answer::default();
    side.parse_answer(
        &body,
        Some(&mut |event| {
            counts.add(&event);
            answer.add(&event);
        }),
    )?;
    Ok((client.client.encode_answer(&answer, meta).into(), counts))
}

/// Collects the events of an in-process model.
async fn collect_events(
    mut events: Events,
    deadlines: &mut Deadlines,
    meter: &mut Meter,
) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    while let Some(event) = bounded(deadlines, poll_fn(|cx| poll_event(&mut events, cx))).await? {
        let event = event?;
        meter.on_event(&event);
        answer.add(&event);
    }
    Ok(answer)
}
