//! From a request to a generation that runs, whatever will carry its frames.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use tokio::runtime::Handle;

use super::Shared;
use super::asked::Asked;
use super::error::Refused;
use super::{caller, linger, resume};
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

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Order {
    /// Where it would be asked for by HTTP.
    pub(super) route: &'static str,
    /// In which it is asked for, and answered.
    pub(super) dialect: &'static Dialect,
    pub(super) request: Request,
}

/// What a client reads.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) frames: Frames,
    pub(super) dialect: &'static Dialect,
    /// The stream that they come from, if they come from one.
    pub(super) stream: Option<StreamId>,
    /// The upstream's headers that the client may see.
    pub(super) headers: HeaderMap,
}

/// What came of a request whose answer is asked for later.
#[derive(Debug)]
pub(super) enum Queued {
    /// It runs.
    New { id: StreamId, body: Vec<u8> },
    /// It has been asked before, under the same key.
    Old(StreamId),
}

/// Begins a generation that streams; comes back once its upstream has accepted it, or after `sse.commit_after`.
pub(super) async fn begin(shared: &Shared, order: Order, asked: &Asked) -> Result<Source, Refused> {
    let prepared = Prepared::new(shared, order)?;
    let linger = if prepared.request.background {
        Linger::UNLIMITED
    } else {
        linger::of(asked, shared)?
    };
    let log = match linger.is_none() {
        true => None,
        false => match log(shared, &prepared, asked).await? {
            Log::New(writer) => Some(writer),
            Log::Old(id) => return resume::join(shared, &id, asked).await,
        },
    };
    let dialect = prepared.dialect;
    let generation = Generation::start(prepared.params(shared, asked, log.as_ref()));
    let mut begun = Begun {
        shared,
        linger,
        it: Some((generation, log)),
    };
    // Until the upstream has accepted, its refusal still gets a status; but no client is left without a head for long.
    let opened = tokio::time::timeout(shared.commit_after, begun.opened()).await;
    let Some((mut generation, log)) = begun.it.take() else {
        return Err(Failure::internal("a generation that was begun is gone".into()).into());
    };
    let headers = match opened {
        Ok(Ok(headers)) => headers,
        Ok(Err(failure)) => return Err(Refused::generation(failure, generation.into())),
        Err(_elapsed) => HeaderMap::new(),
    };
    generation.set_status(200);
    let Some(writer) = log else {
        return Ok(Source {
            frames: Frames::Generation(Box::new(generation)),
            dialect,
            stream: None,
            headers,
        });
    };
    let start = writer.log().head().at(0);
    let reader = Reader::attach(writer.log().clone(), start).map_err(resume::failure)?;
    go_on(shared, generation, writer, linger);
    Ok(Source {
        headers,
        ..resume::follow(shared, reader, dialect, asked)
    })
}

/// A generation that is not answered yet, and the stream that it is to write, if any. Its client may leave before that, and
/// then it ends; but not if others who asked for the same under the same key read that stream.
struct Begun<'a> {
    shared: &'a Shared,
    linger: Linger,
    it: Option<(Generation, Option<Writer>)>,
}

impl Begun<'_> {
    /// Waits until the upstream has accepted.
    async fn opened(&mut self) -> Result<HeaderMap, Failure> {
        match &mut self.it {
            Some((generation, _)) => generation.opened().await,
            None => Ok(HeaderMap::new()),
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some((generation, Some(writer))) = self.it.take()
            && writer.log().readers() > 0
            && Handle::try_current().is_ok()
        {
            go_on(self.shared, generation, writer, self.linger);
        }
    }
}

/// Begins a generation that nobody waits for: whatever comes of it is told to who asks for it.
pub(super) async fn queue(shared: &Shared, order: Order, asked: &Asked) -> Result<Queued, Refused> {
    let prepared = Prepared::new(shared, order)?;
    let writer = match log(shared, &prepared, asked).await? {
        Log::New(writer) => writer,
        Log::Old(id) => return Ok(Queued::Old(id)),
    };
    let (dialect, id) = (prepared.dialect, writer.log().id().clone());
    let params = prepared.params(shared, asked, Some(&writer));
    let body = dialect.client.encode_queued(&params.meta);
    let mut generation = Generation::start(params);
    generation.set_status(200);
    go_on(shared, generation, writer, Linger::UNLIMITED);
    Ok(Queued::New { id, body })
}

/// Lets a generation write its stream, whoever reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "a generation that outlives its client is ended by its linger, or by the shutdown"
)]
fn go_on(shared: &Shared, generation: Generation, writer: Writer, linger: Linger) {
    let detached = DetachedGeneration::new(
        generation,
        writer,
        shared.streams.clone(),
        linger,
        shared.draining.clone(),
    );
    shared.tasks.spawn(detached.run());
}

/// A request whose target is known: nothing has been sent yet.
pub(super) struct Prepared {
    route: &'static str,
    dialect: &'static Dialect,
    request: Request,
    model: String,
    plan: Plan,
}

impl Prepared {
    pub(super) fn new(shared: &Shared, order: Order) -> Result<Self, Failure> {
        if shared.draining.is_begun() {
            return Err(Failure::draining());
        }
        let Order {
            route,
            dialect,
            request,
        } = order;
        let model = match &request.model {
            Some(model) => model.clone(),
            None => shared.routes.default_model()?.to_owned(),
        };
        let plan = shared.routes.plan(&model)?;
        Ok(Self {
            route,
            dialect,
            request,
            model,
            plan,
        })
    }

    /// Returns the parameters of the generation; `log` is the stream that it writes.
    pub(super) fn params(
        self,
        shared: &Shared,
        asked: &Asked,
        log: Option<&Writer>,
    ) -> GenerationParams {
        let Self {
            route,
            dialect,
            mut request,
            model,
            plan,
        } = self;
        // What is written into a log is a stream, however its client reads it.
        request.stream |= log.is_some();
        let request = Arc::new(request);
        let meta = ResponseMeta {
            id: match log {
                Some(writer) if dialect.retrieves_by_id => {
                    writer.log().id().random_part().to_owned()
                }
                _ => random_hex(),
            },
            created: unix_time(),
            model,
            request: request.clone(),
            encoding: asked.manner.encoding,
        };
        let route = asked.via.unwrap_or(route);
        GenerationParams {
            request_id: asked.id.clone(),
            route,
            caller: None,
            request,
            plan,
            dialect,
            meta,
            headers: asked.headers.clone(),
            comments: asked.manner.comments,
            timeouts: shared.timeouts,
            abort: shared.abort.clone(),
            disconnect: asked.disconnect.clone(),
            observers: shared.observers.clone(),
        }
    }
}

/// The stream of a generation.
enum Log {
    New(Writer),
    /// Its client asks again under the same key: it has been written, or is being.
    Old(StreamId),
}

async fn log(shared: &Shared, prepared: &Prepared, asked: &Asked) -> Result<Log, Failure> {
    let Prepared {
        route,
        dialect,
        request,
        model,
        ..
    } = prepared;
    let mut head = Head::new(sse::MEDIA_TYPE, Lifetime::Idle(shared.streaming.ttl));
    head.dialect = Some(dialect.name.to_owned());
    head.model = Some(model.clone());
    head.background = request.background;
    head.owner = caller::owner(&asked.headers);
    let id = StreamId::random();
    let Some(key) = asked.headers.get(IDEMPOTENCY_KEY) else {
        return shared
            .streams
            .write(&id, head)
            .map(Log::New)
            .map_err(resume::failure);
    };
    let owner = head.owner.as_ref().map_or("", Owner::as_str);
    let key = caller::digest(&[owner.as_bytes(), route.as_bytes(), key.as_bytes()]);
    // A request that was read from a query or a template has no body: then it is what was made of it.
    let said = format!("{request:?}{:?}", asked.manner.encoding);
    let asked = caller::digest(&[said.as_bytes()]);
    match shared
        .streams
        .write_once(&id, head, IdempotencyKey { key, asked })
        .await
        .map_err(resume::failure)?
    {
        IdempotentCreate::Created(writer) => Ok(Log::New(writer)),
        IdempotentCreate::Duplicate(id) => Ok(Log::Old(id)),
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
