//! Responses that are asked for again by their id, at OpenAI's endpoints for that: retrieved,
//! streamed from any event on, cancelled, deleted.
//!
//! There is no store of responses. One that has a stream (`background`, or a `linger`) is read from
//! its log; its id is ours, which says which stream it is, or its upstream's, which is another name
//! for that stream.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::context::RequestContext;
use super::error::Rejection;
use super::json::json;
use super::{Service, attach, caller, sse_response};
use dialect::failure::{Failure, classes};
use dialect::openai_responses::{
    self, DIALECT, Interruption, StoredMeta, StoredResponse, meta_id, sequence_number,
};
use dialect::sse;
use stream::{End, Head, Offset, Owner, ReadPage, RecordBatch, StreamError, StreamId};

/// The bytes of a log that are read at once.
const CHUNK: usize = 256 * 1024;

/// A response that is there.
struct Found<'a> {
    /// The id by which it was asked for.
    id: &'a str,
    stream: StreamId,
    head: Head,
    owner: Option<Owner>,
}

/// `GET /v1/responses/{id}`: the response as it is now or, with `stream`, its events after
/// `starting_after`.
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    mut context: RequestContext,
) -> Result<Response, Rejection> {
    let found = find(&service, &id, &context).await?;
    match context.take("stream").as_deref() {
        Some("true") => {}
        Some("false") | None => return Ok(json(&object(&service, &found).await?)),
        Some(_) => {
            return Err(Failure::invalid("stream", "`stream` should be true or false").into());
        }
    }
    let from = match context.take("starting_after").map(|after| after.parse()) {
        None => None,
        Some(Ok(after)) => Some(place_after(&service, &found, after).await?),
        Some(Err(_)) => {
            let message = "`starting_after` should be the sequence_number of an event";
            return Err(Failure::invalid("starting_after", message).into());
        }
    };
    let Found { stream, owner, .. } = found;
    let reader = service
        .streams
        .attach(&stream, owner.as_ref(), from)
        .await
        .map_err(attach::failure)?;
    Ok(sse_response::stream(
        &service,
        attach::follow(&service, reader, &DIALECT, &context),
        &context,
    ))
}

/// `POST /v1/responses/{id}/cancel`: ends one in the background; of one that has ended, says how.
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    context: RequestContext,
) -> Result<Response, Rejection> {
    let mut found = find(&service, &id, &context).await?;
    if !found.head.background {
        let message = "only a response that was asked for with `background` can be cancelled; any other ends when its \
                       client leaves";
        return Err(Failure::invalid("response_id", message).into());
    }
    let owner = found.owner.as_ref();
    service
        .streams
        .cancel(&found.stream, owner)
        .await
        .map_err(attach::failure)?;
    found.head = attach::ended(&service, &found.stream, owner).await?;
    Ok(json(&object(&service, &found).await?))
}

/// `DELETE /v1/responses/{id}`: forgets it; if it is not complete, it never will be.
pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    context: RequestContext,
) -> Result<Response, Rejection> {
    let found = find(&service, &id, &context).await?;
    service
        .streams
        .delete(&found.stream, found.owner.as_ref())
        .await
        .map_err(attach::failure)?;
    Ok(json(
        &json!({ "id": found.id, "object": "response.deleted", "deleted": true }),
    ))
}

/// The answer to a request for a response in the background: that it will be there.
pub(super) fn background_response(body: Vec<u8>, id: &StreamId) -> Response {
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    sse_response::set_stream_id(&mut response, id);
    response
}

/// A response in the background, for who has asked for it before.
pub(super) async fn join(
    service: &Service,
    stream: StreamId,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let owner = caller::owner(&context.headers);
    let head = service
        .streams
        .head(&stream, owner.as_ref())
        .await
        .map_err(attach::failure)?;
    let id = openai_responses::response_id_of(stream.random_part());
    let found = Found {
        id: &id,
        stream,
        head,
        owner,
    };
    let mut response = json(&object(service, &found).await?);
    sse_response::set_stream_id(&mut response, &found.stream);
    Ok(response)
}

/// A request's body, with the id that its upstream gave the response that it goes on from, where
/// the client has ours.
pub(super) async fn replace_previous_id(
    service: &Service,
    body: Bytes,
    context: &RequestContext,
) -> Result<Bytes, Failure> {
    let Some(id) = openai_responses::previous_response_id(&body).filter(|id| meta_id(id).is_some())
    else {
        return Ok(body);
    };
    // One that is not here may be the upstream's own.
    let Ok(found) = find(service, &id, context).await else {
        return Ok(body);
    };
    let mut stored = StoredResponse::default();
    if let (Some(_), Some(last)) = (found.head.end, found.head.next.checked_sub(1)) {
        read_records(service, &found, last, |_, payload| {
            stored.read_event(payload)
        })
        .await?;
    }
    match stored.response_id() {
        Some(theirs) if theirs != id => openai_responses::with_previous_response_id(&body, theirs),
        _ => Ok(body),
    }
}

async fn find<'a>(
    service: &Service,
    id: &'a str,
    context: &RequestContext,
) -> Result<Found<'a>, Failure> {
    let owner = caller::owner(&context.headers);
    let ours = meta_id(id).and_then(StreamId::of_random_part);
    let named = service.streams.named(id, owner.as_ref()).await;
    for stream in named.into_iter().chain(ours) {
        match service.streams.head(&stream, owner.as_ref()).await {
            Ok(head) if head.dialect.as_deref() == Some(DIALECT.name) => {
                return Ok(Found {
                    id,
                    stream,
                    head,
                    owner,
                });
            }
            Ok(_) | Err(StreamError::Unknown | StreamError::Gone(_)) => {}
            Err(error) => return Err(attach::failure(error)),
        }
    }
    Err(Failure::unknown_response(
        &id.chars().take(80).collect::<String>(),
    ))
}

/// The response as it is now. At most the whole log is read, once.
async fn object(service: &Service, found: &Found<'_>) -> Result<Value, Failure> {
    let head = &found.head;
    let mut stored = StoredResponse::default();
    if let Some(last) = head.next.checked_sub(1) {
        // The last event of a response that has ended says all; before that, each says a little.
        if head.end.is_some() {
            read_records(service, found, last, |_, payload| {
                stored.read_event(payload)
            })
            .await?;
        }
        if !stored.is_whole() {
            let mut all = StoredResponse::default();
            match read_records(service, found, 0, |_, payload| all.read_event(payload)).await {
                Ok(()) => stored = all,
                // What came first is no longer kept: then what came last is what there is.
                Err(failure) if failure.is(&classes::GONE) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(stored.into_json(&StoredMeta {
        id: found.id,
        created: head.epoch.into(),
        model: head.model.as_deref().unwrap_or_default(),
        background: head.background,
        interruption: match head.end {
            Some(End::Cancelled) => Some(Interruption::Cancelled),
            Some(End::Lost) => Some(Interruption::WriterLost),
            _ => None,
        },
    }))
}

/// The place after the event of that number.
async fn place_after(service: &Service, found: &Found<'_>, after: u64) -> Result<Offset, Failure> {
    let head = &found.head;
    // Where each event has its number since the first, it lies at its place.
    if after < head.next
        && let Some(run) = batch(service, found, after, 1).await?.runs.first()
        && run
            .records()
            .next()
            .and_then(|record| record_number(&record))
            == Some(after)
    {
        return Ok(head.at(after + 1));
    }
    let (mut place, mut heard) = (None, None);
    read_records(service, found, 0, |position, payload| {
        if let Some(number) = sequence_number(payload) {
            if number > after && place.is_none() {
                place = Some(position);
            }
            heard = heard.max(Some(number));
        }
    })
    .await?;
    match (place, heard) {
        (Some(position), _) => Ok(head.at(position)),
        (None, Some(last)) if last == after => Ok(head.tail()),
        (None, Some(_)) => Err(Failure::invalid(
            "starting_after",
            "this response has no such event yet",
        )),
        (None, None) if head.next == 0 => Err(Failure::invalid(
            "starting_after",
            "this response has no event yet: ask without `starting_after`",
        )),
        (None, None) => {
            let message = "the events of this response bear no sequence_number; use `Last-Event-ID` at /v1/stream/{id}";
            Err(Failure::invalid("starting_after", message))
        }
    }
}

/// Reads the events of a log from that position to where it ended when it was found.
async fn read_records(
    service: &Service,
    found: &Found<'_>,
    mut position: u64,
    mut event: impl FnMut(u64, &[u8]),
) -> Result<(), Failure> {
    while position < found.head.next {
        let ReadPage { runs, .. } = batch(service, found, position, CHUNK).await?;
        if runs.is_empty() {
            break;
        }
        for record in runs.iter().flat_map(RecordBatch::records) {
            if let Some(payload) = payload(&record) {
                event(position, &payload);
            }
            position += 1;
        }
    }
    Ok(())
}

async fn batch(
    service: &Service,
    found: &Found<'_>,
    position: u64,
    most: usize,
) -> Result<ReadPage, Failure> {
    let from = found.head.at(position);
    service
        .streams
        .read(&found.stream, found.owner.as_ref(), from, most)
        .await
        .map_err(attach::failure)
}

fn record_number(record: &Bytes) -> Option<u64> {
    sequence_number(&payload(record)?)
}

/// Returns the payload of a frame.
fn payload(record: &Bytes) -> Option<std::borrow::Cow<'_, [u8]>> {
    sse::frames(record).next()?.data
}
