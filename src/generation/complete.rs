//! A generation whose client did not ask for a stream: its answer is one body.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::request::Operation;
use dialect::{Answer, Dialect, FinishRule, ResponseMeta, SealKey, ToolNames, openai_responses};

use super::attempts::Attempts;
use super::deadline::Deadlines;
use super::meter::{AnswerCounts, Meter, RefusedGeneration};
use super::omitted::{log_empty, log_omitted};
use super::params::GenerationParams;
use super::relay::{FinishedFold, FoldedAnswer};
use crate::compute::ComputePool;
use crate::memory::MemoryPermit;
use crate::provider::{CompleteSource, Events, Opened, StreamedAnswer, WholeBody, poll_event};
use crate::routing::Next;

/// The status of a complete answer.
const OK: u16 = 200;

/// A generation that answers with one body. Dropping it cancels its upstream.
pub struct CompleteGeneration {
    dialect: &'static Dialect,
    task: Operation,
    meta: ResponseMeta,
    attempts: Attempts,
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
        let meter = params.start_meter();
        let mut timeouts = params.timeouts;
        if let Some(timeout) = params.client_timeout {
            timeouts.total = timeouts.total.min(timeout);
        }
        let deadlines = Deadlines::start(timeouts, false, params.abort.clone());
        let request = params.upstream_request();
        let (id, latest) = (params.request_id.clone(), deadlines.latest());
        Self {
            dialect: params.dialect,
            task: params.request.operation,
            meta: params.meta,
            attempts: Attempts::new(params.plan, request, id, latest),
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
            mut attempts,
            compute,
            mut deadlines,
            mut meter,
        } = self;
        let mut next = attempts.begin();
        let result = loop {
            next = match next {
                Next::Fail(failure) => break Err(failure),
                Next::Wait(until) => {
                    match bounded(&mut deadlines, attempts.wait_until(until)).await {
                        Ok(()) => attempts.go_on(),
                        Err(failure) => break Err(failure),
                    }
                }
                Next::Ask => {
                    let exchange = Exchange {
                        client: dialect,
                        task,
                        meta: meta.clone(),
                        compute: &compute,
                        deadlines: &mut deadlines,
                        meter: &mut meter,
                    };
                    match exchange.answer(&mut attempts).await {
                        Ok(answer) => break Ok(answer),
                        Err(failure) => {
                            let class = failure.class();
                            match attempts.next_after(failure) {
                                Ok(next) => {
                                    meter.on_attempt_failure(class);
                                    next
                                }
                                Err(failure) => break Err(failure),
                            }
                        }
                    }
                }
            }
        };
        match result {
            Ok(mut answer) => {
                attempts.on_answer();
                attempts.on_complete();
                meter.add_headers(&mut answer.headers);
                meter.set_status(OK);
                meter.on_complete();
                Ok(answer)
            }
            Err(failure) => Err((failure, RefusedGeneration(meter))),
        }
    }
}

/// One exchange with one target.
struct Exchange<'a> {
    client: &'static Dialect,
    task: Operation,
    meta: ResponseMeta,
    compute: &'a ComputePool,
    deadlines: &'a mut Deadlines,
    meter: &'a mut Meter,
}

impl Exchange<'_> {
    /// Sends the request to the current target, and waits for its answer.
    async fn answer(self, attempts: &mut Attempts) -> Result<CompleteAnswer, Failure> {
        let Self {
            client,
            task,
            meta,
            compute,
            deadlines,
            meter,
        } = self;
        let (target, request) = attempts.current();
        let Some(request) = request else {
            return Err(Failure::internal("the request was given away".into()));
        };
        meter.on_attempt(target);
        let is_same = target.provider.dialect().is_some_and(|it| *it == *client);
        let opening = target.provider.open_complete(request);
        let Opened { headers, source } = bounded(deadlines, opening).await??;
        let (body, permit) = match source {
            CompleteSource::Body(whole, upstream) => {
                let WholeBody {
                    bytes,
                    permit,
                    names,
                    finish_rule,
                } = whole;
                let size = bytes.len();
                let notes_seals = attempts.plan().notes_seals();
                let answer = move || {
                    let upstream = (upstream, &names, finish_rule);
                    let (body, mut counts) =
                        client_answer(bytes.clone(), upstream, task, (client, &meta))?;
                    if notes_seals && is_same {
                        counts.seals = seals_of(&bytes, (upstream.0, finish_rule));
                    }
                    Ok::<_, Failure>((body, counts))
                };
                let answer = compute.run(size, answer);
                let (body, counts) = bounded(deadlines, answer).await???;
                meter.on_whole_answer(&counts);
                note_seals(attempts, &counts.seals);
                (body, permit)
            }
            CompleteSource::Frames(streamed) => {
                let folded = fold_stream(streamed, (client, &meta), deadlines, meter).await?;
                let ((answer, own), size, permit) = folded;
                note_seals(attempts, &answer.seals());
                let encode = move || {
                    let encoded = client.client.encode_answer(&answer, &meta);
                    match own {
                        Some(own) => own.complete(encoded),
                        None => encoded.into(),
                    }
                };
                (compute.run(size, encode).await?, Some(permit))
            }
            CompleteSource::Events(events) => {
                let answer = collect_events(events, deadlines, meter).await?;
                (client.client.encode_answer(&answer, &meta).into(), None)
            }
        };
        if is_same && client.retrieves_by_id && task == Operation::Generate {
            let made = body.clone();
            let find_id = move || openai_responses::response_id_in(&made);
            if let Some(id) = compute.run(body.len(), find_id).await? {
                attempts.plan().note_response(&id);
            }
        }
        Ok(CompleteAnswer {
            headers,
            body,
            permit,
        })
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
pub(super) async fn bounded<F: Future>(
    deadlines: &mut Deadlines,
    future: F,
) -> Result<F::Output, Failure> {
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
    (upstream, names, rule): (&Dialect, &ToolNames, FinishRule),
    task: Operation,
    (client, meta): (&Dialect, &ResponseMeta),
) -> Result<(Bytes, AnswerCounts), Failure> {
    let is_same = *upstream == *client;
    let side = match (task, upstream.upstream) {
        (Operation::Generate, Some(side)) => side,
        (Operation::CountTokens, _) if !is_same => {
            return Ok((client_count(&body, client)?, AnswerCounts::default()));
        }
        _ => return Ok((body, AnswerCounts::default())),
    };
    let mut gathered = GatheredAnswer::default();
    let mut gather = |event: Event<'_>| gathered.add(&names.restore(event), client);
    let parsed = side.parse_answer(&body, rule, if is_same { None } else { Some(&mut gather) });
    // Payloads of a stream, a line each, or one alone.
    let has_deltas = || memchr::memmem::find(&body, b"\"delta\"").is_some();
    if parsed.is_err() || has_deltas() {
        let mut gathered = GatheredAnswer::default();
        let mut gather = |event: Event<'_>| gathered.add(&names.restore(event), client);
        match dialect::read_json_payloads((side, rule), &body, &mut gather) {
            Ok(Some(_)) => {
                refuse_many(meta)?;
                return Ok(gathered.encode(client, meta));
            }
            Err(failure) if parsed.is_err() => return Err(failure),
            Ok(None) | Err(_) => {}
        }
    }
    let usage = parsed?.usage;
    if is_same {
        gathered.counts.usage = usage;
        return Ok((body, gathered.counts));
    }
    Ok(gathered.encode(client, meta))
}

/// Returns the sealed thoughts of an answer that is passed on as it is.
fn seals_of(body: &[u8], (upstream, rule): (&Dialect, FinishRule)) -> Vec<SealKey> {
    let mut counts = AnswerCounts::default();
    let mut count = |event: Event<'_>| counts.add(&event);
    if let Some(side) = upstream.upstream {
        // It was read before; what can't be read seals nothing.
        let _ = side.parse_answer(body, rule, Some(&mut count));
    }
    counts.seals
}

/// Takes note of the thoughts that the current target has sealed.
fn note_seals(attempts: &Attempts, seals: &[SealKey]) {
    let plan = attempts.plan();
    if plan.notes_seals() {
        seals.iter().for_each(|seal| plan.note_seal(*seal));
    }
}

/// Returns an upstream's count of tokens in the client's dialect.
fn client_count(body: &[u8], client: &Dialect) -> Result<Bytes, Failure> {
    let tokens = dialect::token_count(body)
        .ok_or_else(|| Failure::bad_payload("a count of tokens", "there is none".into()))?;
    client.encode_token_count(tokens)
}

/// The events of a whole answer.
#[derive(Debug, Default)]
struct GatheredAnswer {
    answer: Answer,
    counts: AnswerCounts,
}

impl GatheredAnswer {
    fn add(&mut self, event: &Event<'_>, client: &Dialect) {
        log_omitted(client, event);
        self.counts.add(event);
        self.answer.add(event);
    }

    fn encode(self, client: &Dialect, meta: &ResponseMeta) -> (Bytes, AnswerCounts) {
        if self.counts.payloads == 0 {
            log_empty(&meta.model);
        }
        let body = client.client.encode_answer(&self.answer, meta);
        (body.into(), self.counts)
    }
}

/// Refuses to put several answers together that were streamed at once.
fn refuse_many(meta: &ResponseMeta) -> Result<(), Failure> {
    if meta.request.n > 1 {
        let message = "the upstream streamed several answers, which were asked for in one piece";
        return Err(Failure::upstream_error(message));
    }
    Ok(())
}

/// Puts a stream together.
async fn fold_stream(
    streamed: StreamedAnswer,
    (client, meta): (&'static Dialect, &ResponseMeta),
    deadlines: &mut Deadlines,
    meter: &mut Meter,
) -> Result<(FinishedFold, usize, MemoryPermit), Failure> {
    let StreamedAnswer {
        mut frames,
        reader,
        dialect,
        max_bytes,
        mut permit,
    } = streamed;
    let mut folded = FoldedAnswer::new(reader, (client, dialect), max_bytes);
    if !folded.keeps_all() {
        refuse_many(meta)?;
    }
    while let Some(run) = bounded(deadlines, poll_fn(|cx| frames.poll_next(cx))).await? {
        if folded.add_run(&run?, frames.is_ended(), meter)? {
            break;
        }
        bounded(deadlines, permit.grow_to(folded.size())).await??;
    }
    let size = folded.size();
    let answer = folded.finish()?;
    frames.close();
    Ok((answer, size, permit))
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
        if let Some(failure) = meter.on_event(&event) {
            return Err(failure);
        }
        answer.add(&event);
    }
    Ok(answer)
}
