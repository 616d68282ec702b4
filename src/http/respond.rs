//! From a request to a generation's response: what all families of handlers do in the same way.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::Shared;
use super::asked::Asked;
use super::error::Refused;
use crate::dialect::{Answering, Dialect};
use crate::failure::Failure;
use crate::generation::{Generation, Record, Start};
use crate::id::random_hex;
use crate::request::Request;
use crate::transport::sse::{self, SseBody};

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
    let mut generation = Generation::start(Start {
        record: Record::new(asked.id, route, &model, asked.left),
        request,
        target,
        dialect,
        answering: answering.clone(),
        headers: asked.headers,
        comments: asked.manner.comments,
        timeouts: shared.timeouts,
        cutoff: shared.cutoff.clone(),
    });
    if stream {
        // Until the upstream has accepted, its refusal still gets a status; but no client is left without a head for long.
        let headers = match tokio::time::timeout(shared.commit_after, generation.opened()).await {
            Ok(Ok(headers)) => headers,
            Ok(Err(failure)) => return Err(Refused::generation(failure, generation)),
            Err(_elapsed) => HeaderMap::new(),
        };
        generation.answered(200);
        let mut response = Response::new(Body::new(SseBody::new(
            generation,
            asked.manner.heartbeat(shared.heartbeat),
            dialect.client.heartbeat(),
        )));
        *response.headers_mut() = headers;
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

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
