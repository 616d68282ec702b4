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

use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::http::json::json;
use crate::http::sse::{set_stream_id, sse_response};
use crate::service::{
    self, BackgroundStart, GenerationRequest, RequestContext, Service, stream_failure,
};
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
    owner: Option<&'a Owner>,
}

/// `GET /v1/responses/{id}`: the response as it is now or, with `stream`, its events after
/// `starting_after`.
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    mut head: RequestHead,
) -> Result<Response, Rejection> {
    let (context, query) = (&head.context, &mut head.query);
    let found = find(&service, &id, context).await?;
    match query.take("stream").as_deref() {
        Some("true") => {}
        Some("false") | None => return Ok(json(&object(&service, &found).await?)),
        Some(_) => {
            return Err(Failure::invalid("stream", "`stream` should be true or false").into());
        }
    }
    let from = match query.take("starting_after").map(|after| after.parse()) {
        None => None,
        Some(Ok(after)) => Some(place_after(&service, &found, after).await?),
        Some(Err(_)) => {
            let message = "`starting_after` should be the sequence_number of an event";
            return Err(Failure::invalid("starting_after", message).into());
        }
    };
    let attached = service
        .streams
        .attach(&found.stream, context.caller.owner(), from);
    let reader = attached.await.map_err(stream_failure)?;
    let subscription = service::follow(&service, reader, &DIALECT, context);
    Ok(sse_response(&service, subscription, context))
}

/// `POST /v1/responses/{id}/cancel`: ends one in the background; of one that has ended, says how.
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    RequestHead { context, .. }: RequestHead,
) -> Result<Response, Rejection> {
    let mut found = find(&service, &id, &context).await?;
    if !found.head.background {
        let message = "only a response that was asked for with `background` can be cancelled; any other ends when its \
                       client leaves";
        return Err(Failure::invalid("response_id", message).into());
    }
    found.head = service::cancel(&service, &found.stream, context.caller.owner()).await?;
    Ok(json(&object(&service, &found).await?))
}

/// `DELETE /v1/responses/{id}`: forgets it; if it is not complete, it never will be.
pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    RequestHead { context, .. }: RequestHead,
) -> Result<Response, Rejection> {
    let found = find(&service, &id, &context).await?;
    let deleted = service
        .streams
        .delete(&found.stream, context.caller.owner());
    deleted.await.map_err(stream_failure)?;
    Ok(json(
        &json!({ "id": found.id, "object": "response.deleted", "deleted": true }),
    ))
}

/// Starts a response in the background, and answers that it will be there; or as it is now, if the
/// client has asked for it before.
pub(super) async fn start_in_background(
    service: &Service,
    request: GenerationRequest,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let (mut response, stream) =
        match service::start_in_background(service, request, context).await? {
            BackgroundStart::New { id, body } => {
                let mut response = Response::new(Body::from(body));
                response
                    .headers_mut()
                    .insert("content-type", HeaderValue::from_static("application/json"));
                (response, id)
            }
            BackgroundStart::Old(stream) => {
                let head = service::find(service, &stream, context).await?;
                let id = openai_responses::response_id_of(stream.random_part());
                let found = Found {
                    id: &id,
                    stream,
                    head,
                    owner: context.caller.owner(),
                };
                (json(&object(service, &found).await?), found.stream)
            }
        };
    set_stream_id(&mut response, &stream);
    Ok(response)
}

/// Returns a request's body. If it goes on from a response by our id, the id that the upstream gave
/// that response takes its place.
pub(super) async fn replace_previous_id(
    service: &Service,
    body: Bytes,
    context: &RequestContext,
) -> Result<Bytes, Failure> {
    let size = body.len();
    let read_id = {
        let body = body.clone();
        move || openai_responses::previous_response_id(&body)
    };
    let id = service.compute.run(size, read_id).await?;
    let Some(id) = id.filter(|id| meta_id(id).is_some()) else {
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
        Some(theirs) if theirs != id => {
            let theirs = theirs.to_owned();
            let replace = move || openai_responses::with_previous_response_id(&body, &theirs);
            service.compute.run(size, replace).await?
        }
        _ => Ok(body),
    }
}

async fn find<'a>(
    service: &Service,
    id: &'a str,
    context: &'a RequestContext,
) -> Result<Found<'a>, Failure> {
    let owner = context.caller.owner();
    let ours = meta_id(id).and_then(StreamId::of_random_part);
    let named = service.streams.named(id, owner).await;
    for stream in named.into_iter().chain(ours) {
        match service.streams.head(&stream, owner).await {
            Ok(head) if head.dialect.as_deref() == Some(DIALECT.name) => {
                return Ok(Found {
                    id,
                    stream,
                    head,
                    owner,
                });
            }
            Ok(_) | Err(StreamError::Unknown | StreamError::Gone(_)) => {}
            Err(error) => return Err(stream_failure(error)),
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
        // Others have their turn between two chunks.
        tokio::task::yield_now().await;
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
        .read(&found.stream, found.owner, from, most)
        .await
        .map_err(stream_failure)
}

fn record_number(record: &Bytes) -> Option<u64> {
    sequence_number(&payload(record)?)
}

/// Returns the payload of a frame.
fn payload(record: &Bytes) -> Option<std::borrow::Cow<'_, [u8]>> {
    sse::frames(record).next()?.data
}
