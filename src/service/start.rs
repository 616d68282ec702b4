//! Starting a generation: streamed, in the background, or whole.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::Service;
use super::accounting::{self, Admission, Asked};
use super::attach;
use super::context::RequestContext;
use super::detach::{detach, open_detached};
use super::error::StartError;
use super::idempotency::{StreamSlot, open_stream};
use super::linger::effective_linger;
use super::plan::plan_of;
use super::subscription::{Frames, Subscription};
use super::timeouts::{client_timeout, generation_timeouts, is_client_retry};
use crate::generation::{CompleteAnswer, CompleteGeneration, Generation, GenerationParams, Linger};
use crate::memory::MemoryPermit;
use crate::routing::{Plan, Target};
use base::id::random_hex;
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{Dialect, ResponseMeta, sse};
use stream::{StreamId, Writer};

/// A request for a generation.
#[derive(Debug)]
pub struct GenerationRequest {
    /// The route of the equivalent HTTP request.
    pub route: &'static str,
    /// The dialect of the request and of the answer.
    pub dialect: &'static Dialect,
    /// The request.
    pub request: Request,
    /// The request's parts as the client sent them, without `linger`: two requests under one
    /// idempotency key are the same if these are.
    pub as_sent: Vec<Bytes>,
    /// The permit for the memory of the request, which it holds until the upstream has it.
    pub permit: Option<MemoryPermit>,
}

/// The start of a generation whose answer is asked for later.
#[derive(Debug)]
pub enum BackgroundStart {
    /// It runs.
    New {
        /// The stream that it writes.
        id: StreamId,
        /// The body that tells the client so.
        body: Vec<u8>,
    },
    /// A request under the same idempotency key has started it before.
    Old(StreamId),
}

/// Starts a generation that streams; returns once its upstream has accepted it, or after
/// `sse.commit_after`. Dropping the future cancels it, unless others read its stream by then.
///
/// # Errors
///
/// When the request can't be served, or the upstream refuses it.
pub async fn start(
    service: &Service,
    request: GenerationRequest,
    context: &RequestContext,
) -> Result<Subscription, StartError> {
    let routed = RoutedRequest::new(service, request, context)?;
    let linger = if routed.request.background {
        Linger::UNLIMITED
    } else {
        effective_linger(context, service)?
    };
    if !linger.is_none() {
        return match open_stream(service, &routed, context).await? {
            StreamSlot::New(writer) => {
                let slot = service.linger_slots.take(context.caller.owner())?;
                let dialect = routed.dialect;
                let (params, limits) = routed.admit(service, context, Some(&writer))?;
                let generation = Generation::start(params);
                let opened = open_detached(service, generation, writer, linger, slot).await;
                let (reader, mut headers) = opened.map_err(|it| it.with_headers(limits.clone()))?;
                headers.extend(limits);
                let subscription = attach::follow(service, reader, dialect, context);
                Ok(Subscription {
                    headers,
                    ..subscription
                })
            }
            StreamSlot::Old(id) => Ok(attach::join(service, &id, context).await?),
        };
    }
    let dialect = routed.dialect;
    let (params, limits) = routed.admit(service, context, None)?;
    let mut generation = Generation::start(params);
    // Until the upstream has accepted, its refusal still gets a status; but no client is left
    // without a head for long.
    let mut headers = match tokio::time::timeout(service.commit_after, generation.opened()).await {
        Ok(Ok(headers)) => headers,
        Ok(Err(failure)) => {
            let error = StartError::of_generation(failure, generation.into());
            return Err(error.with_headers(limits));
        }
        Err(_elapsed) => HeaderMap::new(),
    };
    headers.extend(limits);
    generation.set_status(200);
    Ok(Subscription {
        frames: Frames::Generation(Box::new(generation)),
        dialect,
        stream: None,
        headers,
    })
}

/// Starts a generation that nobody waits for: its answer, or its failure, is told to whoever asks
/// for it later.
///
/// # Errors
///
/// When the request can't be served.
pub async fn start_in_background(
    service: &Service,
    request: GenerationRequest,
    context: &RequestContext,
) -> Result<BackgroundStart, StartError> {
    let routed = RoutedRequest::new(service, request, context)?;
    let writer = match open_stream(service, &routed, context).await? {
        StreamSlot::New(writer) => writer,
        StreamSlot::Old(id) => return Ok(BackgroundStart::Old(id)),
    };
    let slot = service.linger_slots.take(context.caller.owner())?;
    let (dialect, id) = (routed.dialect, writer.log().id().clone());
    let (params, _) = routed.admit(service, context, Some(&writer))?;
    let body = dialect.client.encode_queued(&params.meta);
    let mut generation = Generation::start(params);
    generation.set_status(200);
    detach(service, generation, writer, Linger::UNLIMITED, slot);
    service.streams.announce(&id).await;
    Ok(BackgroundStart::New { id, body })
}

/// Runs a generation to its end and returns its answer as one body.
///
/// # Errors
///
/// When the request can't be served, or the answer does not become whole.
pub async fn complete(
    service: &Service,
    request: GenerationRequest,
    context: &RequestContext,
) -> Result<CompleteAnswer, StartError> {
    let routed = RoutedRequest::new(service, request, context)?;
    let (params, limits) = routed.admit(service, context, None)?;
    match CompleteGeneration::start(params).answer().await {
        Ok(mut answer) => {
            answer.headers.extend(limits);
            Ok(answer)
        }
        Err((failure, generation)) => {
            Err(StartError::of_generation(failure, generation).with_headers(limits))
        }
    }
}

/// Checks a request as [`start`] does, sends nothing upstream, and returns the complete answer of a
/// model that says nothing.
///
/// # Errors
///
/// When the request can't be served.
pub fn warm_up(
    service: &Service,
    request: GenerationRequest,
    context: &RequestContext,
) -> Result<Subscription, StartError> {
    let routed = RoutedRequest::new(service, request, context)?;
    let params = routed.into_params(service, context, None, Admission::default());
    let mut frames = BytesMut::new();
    let mut writer = params.dialect.client.event_writer(params.meta);
    writer.write_end(&mut |event, data| sse::write_frame(&mut frames, event, data));
    Ok(Subscription {
        frames: Frames::Ready(Some(frames.freeze())),
        dialect: params.dialect,
        stream: None,
        headers: HeaderMap::new(),
    })
}

/// Returns whether a provider of a model speaks that dialect.
#[must_use]
pub fn is_spoken_upstream(service: &Service, model: Option<&str>, dialect: &Dialect) -> bool {
    let model = model.map_or_else(|| service.routes.default_model(), Ok);
    let plan = model.and_then(|model| service.routes.plan(model));
    plan.is_ok_and(|plan| speaks(&plan, dialect))
}

fn speaks(plan: &Plan, dialect: &Dialect) -> bool {
    let speaks = |target: &Target| target.provider.dialect().is_some_and(|it| *it == *dialect);
    plan.targets().iter().any(speaks)
}

/// A request whose targets are known: nothing has been sent yet.
pub(super) struct RoutedRequest {
    pub(super) route: &'static str,
    pub(super) dialect: &'static Dialect,
    pub(super) request: Request,
    pub(super) as_sent: Vec<Bytes>,
    pub(super) model: String,
    plan: Plan,
    permit: Option<MemoryPermit>,
}

impl RoutedRequest {
    fn new(
        service: &Service,
        request: GenerationRequest,
        context: &RequestContext,
    ) -> Result<Self, Failure> {
        if service.draining.is_begun() {
            return Err(Failure::draining());
        }
        let GenerationRequest {
            route,
            dialect,
            request,
            as_sent,
            permit,
        } = request;
        let model = match &request.model {
            Some(model) => model.clone(),
            None => service.routes.default_model()?.to_owned(),
        };
        let mut plan = plan_of(service, &model, &context.caller)?;
        plan.current()
            .check_body(as_sent.iter().map(Bytes::len).max().unwrap_or(0))?;
        if let Some(id) = &request.stored_context {
            plan.bind(id)?;
        }
        plan.prefer_sealer(&request);
        // An upstream of the client's dialect judges the request itself; where there is none the
        // client is told before anything begins.
        if !speaks(&plan, dialect) {
            request.check()?;
        }
        Ok(Self {
            route,
            dialect,
            request,
            as_sent,
            model,
            plan,
            permit,
        })
    }

    /// Admits the request. Returns the parameters of the generation, and the headers that tell of
    /// the limits; `writer` is that of the stream it writes.
    fn admit(
        self,
        service: &Service,
        context: &RequestContext,
        writer: Option<&Writer>,
    ) -> Result<(GenerationParams, HeaderMap), StartError> {
        let asked = Asked::of_request(self.dialect, &self.model, &self.plan, &self.request);
        let mut admission = accounting::admit(service, context, &asked)?;
        let headers = std::mem::take(&mut admission.headers);
        Ok((
            self.into_params(service, context, writer, admission),
            headers,
        ))
    }

    fn into_params(
        self,
        service: &Service,
        context: &RequestContext,
        writer: Option<&Writer>,
        admission: Admission,
    ) -> GenerationParams {
        let Self {
            route,
            dialect,
            mut request,
            model,
            mut plan,
            permit,
            ..
        } = self;
        // What is written into a log is a stream, however its client reads it.
        request.stream |= writer.is_some();
        request.counts_usage = admission.wants_usage;
        let meta = ResponseMeta {
            id: match writer {
                Some(writer) if dialect.retrieves_by_id => {
                    writer.log().id().random_part().to_owned()
                }
                _ => random_hex(),
            },
            created: unix_time(),
            model,
            request: Arc::new(request.without_content()),
            encoding: context.preferences.encoding,
        };
        let timeouts = generation_timeouts(service, &request, &plan);
        if is_client_retry(&context.headers) {
            plan.count_client_retry();
        }
        GenerationParams {
            request_id: context.id.clone(),
            route: context.via.unwrap_or(route),
            request: Arc::new(request),
            permit,
            plan,
            dialect,
            meta,
            compute: service.compute.clone(),
            headers: context.headers.clone(),
            comments: context.preferences.comments,
            timeouts,
            client_timeout: client_timeout(&context.headers),
            abort: context.caller.abort(&service.abort),
            disconnect: context.disconnect.clone(),
            observers: service.observers.clone(),
            account: admission.account,
        }
    }
}

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
