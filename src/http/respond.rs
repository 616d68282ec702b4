//! From a request to a generation's response: what all families of handlers do in the same way.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use tokio::runtime::Handle;

use super::Shared;
use super::asked::Asked;
use super::error::Refused;
use super::{caller, linger, resume};
use crate::dialect::{Answering, Dialect};
use crate::failure::Failure;
use crate::generation::{Generation, Linger, Lingering, Record, Start};
use crate::id::random_hex;
use crate::request::Request;
use crate::stream::{Head, Lifetime, Once, OnceKey, Owner, Reader, StreamId, Writer};
use crate::transport::sse::{self, Frames, SseBody};

/// Under which a client may send a request again without asking again, per
/// [the IETF's draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Answers a request, as a stream or whole, as it asks.
pub(super) async fn respond(
    shared: &Shared,
    route: &'static str,
    dialect: &'static Dialect,
    request: Request,
    asked: Asked,
) -> Result<Response, Refused> {
    if shared.draining.is_begun() {
        return Err(Failure::Draining.into());
    }
    let model = match &request.model {
        Some(model) => model.clone(),
        None => shared.routes.default_model()?.to_owned(),
    };
    let target = shared.routes.find(&model)?;
    let (stream, request) = (request.stream, Arc::new(request));
    let answering = Answering {
        id: random_hex(),
        created: unix_time(),
        model: model.clone(),
        request: request.clone(),
        encoding: asked.manner.encoding,
    };
    let linger = if stream { linger::of(&asked, shared)? } else { Linger::new(Duration::ZERO) };
    let log = match linger.is_none() {
        true => None,
        false => match log(shared, route, dialect, &request, &asked).await? {
            Once::Made(writer) => Some(writer),
            Once::Same(id) => return resume::join(shared, &id, &asked).await,
            Once::Other => {
                let message = "this idempotency-key has been used for another request".to_owned();
                return Err(Failure::Conflict { message }.into());
            }
        },
    };
    let mut generation = Generation::start(Start {
        record: Record::new(asked.id.clone(), route, &model, asked.left.clone()),
        request,
        target,
        dialect,
        answering: answering.clone(),
        headers: asked.headers.clone(),
        comments: asked.manner.comments,
        timeouts: shared.timeouts,
        cutoff: shared.cutoff.clone(),
    });
    if stream {
        let mut begun = Begun { shared, linger, it: Some((generation, log)) };
        // Until the upstream has accepted, its refusal still gets a status; but no client is left without a head for long.
        let opened = tokio::time::timeout(shared.commit_after, begun.opened()).await;
        let Some((mut generation, log)) = begun.it.take() else {
            return Err(Failure::Internal("a generation that was begun is gone".into()).into());
        };
        let headers = match opened {
            Ok(Ok(headers)) => headers,
            Ok(Err(failure)) => return Err(Refused::generation(failure, generation)),
            Err(_elapsed) => HeaderMap::new(),
        };
        generation.answered(200);
        let mut response = match log {
            None => {
                let heartbeat = asked.manner.heartbeat(shared.heartbeat);
                let frames = Frames::Generation(Box::new(generation));
                Response::new(Body::new(SseBody::new(frames, heartbeat, dialect.client.heartbeat())))
            }
            Some(writer) => {
                let id = writer.log().id().clone();
                let start = writer.log().head().at(0);
                let reader = Reader::attach(writer.log().clone(), start).map_err(resume::failure)?;
                let lingering = Lingering::new(generation, writer, linger, shared.draining.clone());
                shared.tasks.spawn(lingering.run());
                resume::follow(shared, &id, reader, dialect, &asked)
            }
        };
        response.headers_mut().extend(headers);
        sse::head(response.headers_mut());
        Ok(response)
    } else {
        match generation.whole(&answering).await {
            Ok(body) => {
                generation.answered(200);
                let mut response = Response::new(Body::from(body));
                *response.headers_mut() = generation.headers().clone();
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
                Ok(response)
            }
            Err(failure) => Err(Refused::generation(failure, generation)),
        }
    }
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
            && let Ok(runtime) = Handle::try_current()
        {
            let lingering = Lingering::new(generation, writer, self.linger, self.shared.draining.clone());
            self.shared.tasks.spawn_on(lingering.run(), &runtime);
        }
    }
}

/// The stream that a generation will write; the one that it has written, if its client asks again under the same key.
async fn log(
    shared: &Shared,
    route: &str,
    dialect: &Dialect,
    request: &Request,
    asked: &Asked,
) -> Result<Once, Failure> {
    let mut head = Head::new(sse::MEDIA_TYPE, Lifetime::Idle(shared.streaming.ttl));
    head.dialect = Some(dialect.name.to_owned());
    head.owner = caller::owner(&asked.headers);
    let id = StreamId::random();
    let made = match asked.headers.get(IDEMPOTENCY_KEY) {
        Some(key) => {
            let owner = head.owner.as_ref().map_or("", Owner::as_str);
            let key = caller::digest(&[owner.as_bytes(), route.as_bytes(), key.as_bytes()]);
            // A request that was read from a query or a template has no body: then it is what was made of it.
            let said = format!("{request:?}{:?}", asked.manner.encoding);
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
