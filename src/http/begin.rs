//! From a request to a generation that runs, whatever will carry its frames.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use tokio::runtime::Handle;

use super::Service;
use super::context::RequestContext;
use super::error::Rejection;
use super::subscription::Subscription;
use super::{attach, caller, linger};
use crate::generation::{DetachedGeneration, Generation, GenerationParams, Linger};
use crate::routing::Plan;
use crate::transport::frames::Frames;
use crate::transport::sse;
use base::id::random_hex;
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{Dialect, ResponseMeta};
use stream::{Head, IdempotencyKey, IdempotentCreate, Lifetime, Owner, Reader, StreamId, Writer};

/// Under which a client may send a request again without asking again, per
/// [the IETF's draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request for a generation.
#[derive(Debug)]
pub(super) struct GenerationRequest {
    /// The route of the equivalent HTTP request.
    pub(super) route: &'static str,
    /// The dialect of the request and of the answer.
    pub(super) dialect: &'static Dialect,
    pub(super) request: Request,
}

/// The start of a generation whose answer is asked for later.
#[derive(Debug)]
pub(super) enum BackgroundStart {
    /// It runs.
    New { id: StreamId, body: Vec<u8> },
    /// It has been asked before, under the same key.
    Old(StreamId),
}

/// Begins a generation that streams; comes back once its upstream has accepted it, or after
/// `sse.commit_after`.
pub(super) async fn begin(
    service: &Service,
    order: GenerationRequest,
    context: &RequestContext,
) -> Result<Subscription, Rejection> {
    let routed = RoutedRequest::new(service, order)?;
    let linger = if routed.request.background {
        Linger::UNLIMITED
    } else {
        linger::of(context, service)?
    };
    let writer = match linger.is_none() {
        true => None,
        false => match open_stream(service, &routed, context).await? {
            StreamSlot::New(writer) => Some(writer),
            StreamSlot::Old(id) => return attach::join(service, &id, context).await,
        },
    };
    let dialect = routed.dialect;
    let generation = Generation::start(routed.params(service, context, writer.as_ref()));
    let mut begun = PendingStart {
        service,
        linger,
        it: Some((generation, writer)),
    };
    // Until the upstream has accepted, its refusal still gets a status; but no client is left
    // without a head for long.
    let opened = tokio::time::timeout(service.commit_after, begun.opened()).await;
    let Some((mut generation, writer)) = begun.it.take() else {
        return Err(Failure::internal("a generation that was begun is gone".into()).into());
    };
    let headers = match opened {
        Ok(Ok(headers)) => headers,
        Ok(Err(failure)) => return Err(Rejection::generation(failure, generation.into())),
        Err(_elapsed) => HeaderMap::new(),
    };
    generation.set_status(200);
    let Some(writer) = writer else {
        return Ok(Subscription {
            frames: Frames::Generation(Box::new(generation)),
            dialect,
            stream: None,
            headers,
        });
    };
    let start = writer.log().head().at(0);
    let reader = Reader::attach(writer.log().clone(), start).map_err(attach::failure)?;
    detach(service, generation, writer, linger);
    Ok(Subscription {
        headers,
        ..attach::follow(service, reader, dialect, context)
    })
}

/// A generation whose client has not been answered, and the stream it writes, if any. If the client
/// leaves it is cancelled, unless others with the same idempotency key already read its stream.
struct PendingStart<'a> {
    service: &'a Service,
    linger: Linger,
    it: Option<(Generation, Option<Writer>)>,
}

impl PendingStart<'_> {
    /// Waits until the upstream has accepted.
    async fn opened(&mut self) -> Result<HeaderMap, Failure> {
        match &mut self.it {
            Some((generation, _)) => generation.opened().await,
            None => Ok(HeaderMap::new()),
        }
    }
}

impl Drop for PendingStart<'_> {
    fn drop(&mut self) {
        if let Some((generation, Some(writer))) = self.it.take()
            && writer.log().readers() > 0
            && Handle::try_current().is_ok()
        {
            detach(self.service, generation, writer, self.linger);
        }
    }
}

/// Begins a generation that nobody waits for: whatever comes of it is told to who asks for it.
pub(super) async fn queue(
    service: &Service,
    order: GenerationRequest,
    context: &RequestContext,
) -> Result<BackgroundStart, Rejection> {
    let routed = RoutedRequest::new(service, order)?;
    let writer = match open_stream(service, &routed, context).await? {
        StreamSlot::New(writer) => writer,
        StreamSlot::Old(id) => return Ok(BackgroundStart::Old(id)),
    };
    let (dialect, id) = (routed.dialect, writer.log().id().clone());
    let params = routed.params(service, context, Some(&writer));
    let body = dialect.client.encode_queued(&params.meta);
    let mut generation = Generation::start(params);
    generation.set_status(200);
    detach(service, generation, writer, Linger::UNLIMITED);
    Ok(BackgroundStart::New { id, body })
}

/// Lets a generation write its stream, whoever reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "a generation that outlives its client is ended by its linger, or by the shutdown"
)]
fn detach(service: &Service, generation: Generation, writer: Writer, linger: Linger) {
    let detached = DetachedGeneration::new(
        generation,
        writer,
        service.streams.clone(),
        linger,
        service.draining.clone(),
    );
    service.tasks.spawn(detached.run());
}

/// A request whose target is known: nothing has been sent yet.
pub(super) struct RoutedRequest {
    route: &'static str,
    dialect: &'static Dialect,
    request: Request,
    model: String,
    plan: Plan,
}

impl RoutedRequest {
    pub(super) fn new(service: &Service, order: GenerationRequest) -> Result<Self, Failure> {
        if service.draining.is_begun() {
            return Err(Failure::draining());
        }
        let GenerationRequest {
            route,
            dialect,
            request,
        } = order;
        let model = match &request.model {
            Some(model) => model.clone(),
            None => service.routes.default_model()?.to_owned(),
        };
        let plan = service.routes.plan(&model)?;
        Ok(Self {
            route,
            dialect,
            request,
            model,
            plan,
        })
    }

    /// Returns the parameters of the generation; `writer` is that of the stream it writes.
    pub(super) fn params(
        self,
        service: &Service,
        context: &RequestContext,
        writer: Option<&Writer>,
    ) -> GenerationParams {
        let Self {
            route,
            dialect,
            mut request,
            model,
            plan,
        } = self;
        // What is written into a log is a stream, however its client reads it.
        request.stream |= writer.is_some();
        let request = Arc::new(request);
        let meta = ResponseMeta {
            id: match writer {
                Some(writer) if dialect.retrieves_by_id => {
                    writer.log().id().random_part().to_owned()
                }
                _ => random_hex(),
            },
            created: unix_time(),
            model,
            request: request.clone(),
            encoding: context.preferences.encoding,
        };
        let route = context.via.unwrap_or(route);
        GenerationParams {
            request_id: context.id.clone(),
            route,
            caller: None,
            request,
            plan,
            dialect,
            meta,
            headers: context.headers.clone(),
            comments: context.preferences.comments,
            timeouts: service.timeouts,
            abort: service.abort.clone(),
            disconnect: context.disconnect.clone(),
            observers: service.observers.clone(),
        }
    }
}

/// The stream of a generation.
enum StreamSlot {
    New(Writer),
    /// Its client asks again under the same key: it has been written, or is being.
    Old(StreamId),
}

async fn open_stream(
    service: &Service,
    routed: &RoutedRequest,
    context: &RequestContext,
) -> Result<StreamSlot, Failure> {
    let RoutedRequest {
        route,
        dialect,
        request,
        model,
        ..
    } = routed;
    let mut head = Head::new(sse::MEDIA_TYPE, Lifetime::Idle(service.streaming.ttl));
    head.dialect = Some(dialect.name.to_owned());
    head.model = Some(model.clone());
    head.background = request.background;
    head.owner = caller::owner(&context.headers);
    let id = StreamId::random();
    let Some(key) = context.headers.get(IDEMPOTENCY_KEY) else {
        return service
            .streams
            .write(&id, head)
            .map(StreamSlot::New)
            .map_err(attach::failure);
    };
    let owner = head.owner.as_ref().map_or("", Owner::as_str);
    let key = caller::digest(&[owner.as_bytes(), route.as_bytes(), key.as_bytes()]);
    // A request that was read from a query or a template has no body: then it is what was made of
    // it.
    let said = format!("{request:?}{:?}", context.preferences.encoding);
    let request_digest = caller::digest(&[said.as_bytes()]);
    match service
        .streams
        .write_once(
            &id,
            head,
            IdempotencyKey {
                key,
                asked: request_digest,
            },
        )
        .await
        .map_err(attach::failure)?
    {
        IdempotentCreate::Created(writer) => Ok(StreamSlot::New(writer)),
        IdempotentCreate::Duplicate(id) => Ok(StreamSlot::Old(id)),
        IdempotentCreate::Conflict => {
            let message = "this idempotency-key has been used for another request".to_owned();
            Err(Failure::conflict(message))
        }
    }
}

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
