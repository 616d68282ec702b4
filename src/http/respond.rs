//! From a request to an HTTP response: what all families of handlers do in the same way.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use super::Shared;
use super::asked::Asked;
use super::begin::{Order, Prepared, Queued, Source, begin, queue};
use super::error::Refused;
use super::{responses, resume};
use crate::generation::{CompleteAnswer, CompleteGeneration};
use crate::transport::sse::{self, SseBody};
use stream::StreamId;

/// Answers a request, as a stream or whole, as it asks.
pub(super) async fn respond(
    shared: &Shared,
    order: Order,
    asked: Asked,
) -> Result<Response, Refused> {
    if order.request.stream {
        let source = begin(shared, order, &asked).await?;
        return Ok(stream(shared, source, &asked));
    }
    if order.request.background {
        return match queue(shared, order, &asked).await? {
            Queued::New { id, body } => Ok(responses::queued(body, &id)),
            Queued::Old(id) => responses::join(shared, id, &asked).await,
        };
    }
    let prepared = Prepared::new(shared, order)?;
    let params = prepared.params(shared, &asked, None);
    match CompleteGeneration::start(params).answer().await {
        Ok(CompleteAnswer { headers, body }) => {
            let mut response = Response::new(Body::from(body));
            *response.headers_mut() = headers;
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/json"));
            Ok(response)
        }
        Err((failure, generation)) => Err(Refused::generation(failure, generation)),
    }
}

/// The response of who reads that source.
pub(super) fn stream(shared: &Shared, source: Source, asked: &Asked) -> Response {
    let Source {
        frames,
        dialect,
        stream,
        headers,
    } = source;
    let heartbeat = asked.manner.heartbeat(shared.heartbeat);
    let mut response = Response::new(Body::new(SseBody::new(
        frames,
        heartbeat,
        dialect.heartbeat,
    )));
    *response.headers_mut() = headers;
    sse::head(response.headers_mut());
    if let Some(id) = stream {
        name(&mut response, &id);
    }
    response
}

/// Says which stream a response is of.
pub(super) fn name(response: &mut Response, id: &StreamId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(resume::STREAM_ID, value);
    }
}
