//! From a request to a generation that runs, whatever will carry its frames.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;

use super::Shared;
use super::asked::Asked;
use super::error::Refused;
use super::{caller, linger, resume};
use crate::dialect::{Answering, Dialect};
use crate::failure::Failure;
use crate::generation::{Generation, Lingering, Record, Start};
use crate::id::random_hex;
use crate::request::Request;
use crate::stream::{Head, Lifetime, Once, OnceKey, Owner, Reader, StreamId};
use crate::transport::frames::Frames;
use crate::transport::sse;

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

/// Begins a generation that streams; comes back once its upstream has accepted it, or after `sse.commit_after`.
pub(super) async fn begin(shared: &Shared, order: Order, asked: &Asked) -> Result<Source, Refused> {
    let prepared = Prepared::new(shared, order, asked)?;
    let linger = linger::of(asked, shared)?;
    let log = match linger.is_none() {
        true => None,
        false => match log(shared, &prepared, asked).await? {
            Once::Made(writer) => Some(writer),
            Once::Same(id) => return resume::join(shared, &id, asked).await,
            Once::Other => {
                let message = "this idempotency-key has been used for another request".to_owned();
                return Err(Failure::Conflict { message }.into());
            }
        },
    };
    let (dialect, mut generation) = (prepared.dialect, prepared.start(shared, asked));
    // Until the upstream has accepted, its refusal still gets a status; but no client is left without a head for long.
    let headers = match tokio::time::timeout(shared.commit_after, generation.opened()).await {
        Ok(Ok(headers)) => headers,
        Ok(Err(failure)) => return Err(Refused::generation(failure, generation)),
        Err(_elapsed) => HeaderMap::new(),
    };
    generation.answered(200);
    let Some(writer) = log else {
        return Ok(Source { frames: Frames::Generation(Box::new(generation)), dialect, stream: None, headers });
    };
    let start = writer.log().head().at(0);
    let reader = Reader::attach(writer.log().clone(), start).map_err(resume::failure)?;
    let lingering = Lingering::new(generation, writer, linger, shared.draining.clone());
    shared.tasks.spawn(lingering.run());
    Ok(Source { headers, ..resume::follow(reader, dialect, asked) })
}

/// A request whose target is known: nothing has been sent yet.
pub(super) struct Prepared {
    route: &'static str,
    dialect: &'static Dialect,
    request: Arc<Request>,
    target: crate::generation::Target,
    /// What its answer bears.
    pub(super) answering: Answering,
}

impl Prepared {
    pub(super) fn new(shared: &Shared, order: Order, asked: &Asked) -> Result<Self, Failure> {
        if shared.draining.is_begun() {
            return Err(Failure::Draining);
        }
        let Order { route, dialect, request } = order;
        let model = match &request.model {
            Some(model) => model.clone(),
            None => shared.routes.default_model()?.to_owned(),
        };
        let target = shared.routes.find(&model)?;
        let request = Arc::new(request);
        let answering = Answering {
            id: random_hex(),
            created: unix_time(),
            model,
            request: request.clone(),
            encoding: asked.manner.encoding,
        };
        Ok(Self { route, dialect, request, target, answering })
    }

    /// The generation; it sends nothing before it is polled.
    pub(super) fn start(self, shared: &Shared, asked: &Asked) -> Generation {
        let Self { route, dialect, request, target, answering } = self;
        let route = asked.via.unwrap_or(route);
        Generation::start(Start {
            record: Record::new(asked.id.clone(), route, &answering.model, asked.left.clone()),
            request,
            target,
            dialect,
            answering,
            headers: asked.headers.clone(),
            comments: asked.manner.comments,
            timeouts: shared.timeouts,
            cutoff: shared.cutoff.clone(),
        })
    }
}

/// The stream that a generation will write; the one that it has written, if its client asks again under the same key.
async fn log(shared: &Shared, prepared: &Prepared, asked: &Asked) -> Result<Once, Failure> {
    let Prepared { route, dialect, request, .. } = prepared;
    let mut head = Head::new(sse::MEDIA_TYPE, Lifetime::Idle(shared.streaming.ttl));
    head.dialect = Some(dialect.name.to_owned());
    head.owner = caller::owner(&asked.headers);
    let id = StreamId::random();
    let made = match asked.headers.get(IDEMPOTENCY_KEY) {
        Some(key) => {
            let owner = head.owner.as_ref().map_or("", Owner::as_str);
            let key = caller::digest(&[owner.as_bytes(), route.as_bytes(), key.as_bytes()]);
            // A request that was read from a query or a template has no body: then it is what was made of it.
            let said = format!("{request:?}");
            let asked = caller::digest(&[said.as_bytes()]);
            shared.streams.write_once(&id, head, OnceKey { key, asked }).await
        }
        None => shared.streams.write(&id, head).map(Once::Made),
    };
    made.map_err(resume::failure)
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
