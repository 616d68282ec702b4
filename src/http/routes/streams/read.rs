//! `GET`: what a stream holds, page by page, with or without waiting for more, or live.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::sse::{CacheCursor, LogBody, SseFormat};
use super::{
    NO_STORE, STREAM_CLOSED, STREAM_CURSOR, STREAM_UP_TO_DATE, TRUE, describe, insert, number,
    page, refused, stream_id,
};
use crate::http::accept::wants_events;
use crate::http::context::{Query, RequestHead, last_event_id};
use crate::http::error::Rejection;
use crate::http::resume::read_after;
use crate::http::sse::set_sse_headers;
use crate::service::{RequestContext, Service};
use crate::shutdown::AbortSignal;
use base::id::random_bits;
use dialect::failure::Failure;
use stream::{ContentKind, Head, Offset, Owner, ReadPage, StreamId};

/// About how much one page holds. It ends behind an append, however large that was.
const PAGE: usize = 1024 * 1024;
/// The time after which a live reader is told to reconnect, so that caches can let many share one
/// response.
const LIVE_FOR: Duration = Duration::from_secs(60);

const SSE_DATA_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");

/// The place to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartAt {
    Start,
    Tail,
    At(Offset),
}

impl StartAt {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "-1" => Ok(StartAt::Start),
            "now" => Ok(StartAt::Tail),
            offset => match offset.parse() {
                Ok(offset) => Ok(StartAt::At(offset)),
                Err(_) => {
                    let message = "`offset` should be `-1`, `now`, or an offset that this stream has given out";
                    Err(Failure::invalid("offset", message))
                }
            },
        }
    }

    fn of(self, head: &Head) -> Offset {
        match self {
            StartAt::Start => head.at(0),
            StartAt::Tail => head.tail(),
            StartAt::At(offset) => offset,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Live {
    LongPoll,
    Sse,
}

/// The query of a read.
#[derive(Debug)]
struct ReadQuery {
    place: Option<StartAt>,
    live: Option<Live>,
    cursor: Option<u64>,
}

impl ReadQuery {
    fn parse(mut query: Query, id: &StreamId, last: Option<&str>) -> Result<Self, Failure> {
        let place = query
            .take("offset")
            .map(|text| StartAt::parse(&text))
            .transpose()?;
        if query.take("offset").is_some() {
            return Err(Failure::invalid("offset", "`offset` is given twice"));
        }
        let live = match query.take("live").as_deref() {
            None => None,
            Some("long-poll") => Some(Live::LongPoll),
            Some("sse") => Some(Live::Sse),
            Some(_) => {
                return Err(Failure::invalid(
                    "live",
                    "`live` should be `long-poll` or `sse`",
                ));
            }
        };
        // What is no number was never a cursor of ours.
        let cursor = query
            .take("cursor")
            .filter(|text| text.len() <= 15)
            .and_then(|text| text.parse().ok());
        let place = match last {
            Some(last) => Some(StartAt::At(last_offset(last, id)?)),
            None => place,
        };
        if live.is_some() && place.is_none() {
            return Err(Failure::invalid(
                "offset",
                "a live read says where it begins: `offset` is missing",
            ));
        }
        Ok(Self {
            place,
            live,
            cursor,
        })
    }
}

/// The place after the last event that a client has: as the event says it, with or without the
/// stream's id.
fn last_offset(last: &str, id: &StreamId) -> Result<Offset, Failure> {
    let offset = match StreamId::of_event(last) {
        Some((of, offset)) => (of == *id).then_some(offset),
        None => last.parse().ok(),
    };
    offset.ok_or_else(|| {
        Failure::invalid(
            "last-event-id",
            "`last-event-id` is no id of an event of this stream",
        )
    })
}

/// `GET`: one page; or, with `live`, what comes.
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    RequestHead { context, query, .. }: RequestHead,
    request: Request,
) -> Result<Response, Rejection> {
    let id = stream_id(path)?;
    let head = service
        .streams
        .status(&id, context.caller.owner())
        .await
        .map_err(refused)?;
    let events = wants_events(&context.headers);
    let last = last_event_id(&context.headers, request.uri().query());
    if events && head.dialect.is_some() && !query.0.iter().any(|(name, _)| name == "live") {
        // A generation's frames, as they were said.
        return read_after(&service, &id, last.as_deref(), &context).await;
    }
    let query = ReadQuery::parse(query, &id, last.as_deref())?;
    let read = ReadRequest {
        service: &service,
        id: &id,
        owner: context.caller.owner(),
        context: &context,
        head,
    };
    match (query.live, events) {
        (None, false) => read.page(query.place.unwrap_or(StartAt::Start)).await,
        (None, true) => read.feed(query.place.unwrap_or(StartAt::Start)).await,
        (Some(Live::LongPoll), _) => read.long_poll(&query).await,
        (Some(Live::Sse), _) => read.sse(&query).await,
    }
}

/// One read.
struct ReadRequest<'a> {
    service: &'a Service,
    id: &'a StreamId,
    owner: Option<&'a Owner>,
    context: &'a RequestContext,
    head: Head,
}

impl ReadRequest<'_> {
    async fn batch(&self, from: Offset, most: usize) -> Result<ReadPage, Rejection> {
        let batch = self
            .service
            .streams
            .read(self.id, self.owner, from, most)
            .await;
        let batch = batch.map_err(|error| refused(error.into()))?;
        if most > 0 {
            self.service.streams.paged(self.id, self.owner, from);
        }
        Ok(batch)
    }

    /// Answers with the records that exist.
    async fn page(&self, place: StartAt) -> Result<Response, Rejection> {
        let from = place.of(&self.head);
        if place == StartAt::Tail {
            // It is a read, though of nothing: an idle lifetime begins anew.
            let ReadPage { head, .. } = self.batch(from, 0).await?;
            let batch = ReadPage {
                runs: Vec::new(),
                next: head.tail(),
                head,
            };
            let mut response = self.answer(StatusCode::OK, batch);
            response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
            return Ok(response);
        }
        let batch = self.batch(from, PAGE).await?;
        let end = if batch.is_end() { ":c" } else { "" };
        let tag = format!(
            "\"{}:{:x}:{:x}:{:x}{end}\"",
            self.id, batch.head.made, from.position, batch.next.position
        );
        let caching = caching(&batch);
        let mut response = if is_known(&self.context.headers, &tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.answer(StatusCode::OK, batch)
        };
        insert(response.headers_mut(), ETAG, &tag);
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        Ok(response)
    }

    /// Answers with the records that exist, or waits a while for some.
    async fn long_poll(&self, query: &ReadQuery) -> Result<Response, Rejection> {
        let from = query.place.unwrap_or(StartAt::Start).of(&self.head);
        let mut batch = self.batch(from, PAGE).await?;
        if batch.runs.is_empty() && !batch.is_end() {
            let attached = self
                .service
                .streams
                .attach(self.id, self.owner, Some(from))
                .await;
            let mut reader = attached.map_err(|error| refused(error.into()))?;
            tokio::select! {
                _next = std::future::poll_fn(|cx| reader.poll_next(cx)) => {}
                () = tokio::time::sleep(self.service.streaming.long_poll) => {}
                () = self.service.draining.begun() => {}
                () = self.abort().aborted() => {}
            }
            drop(reader);
            self.context.caller.check()?;
            batch = self.batch(from, PAGE).await?;
        }
        let is_end = batch.is_end();
        let status = if batch.runs.is_empty() {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::OK
        };
        let mut response = self.answer(status, batch);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE);
        if !is_end {
            headers.insert(STREAM_CURSOR, number(cursor(query.cursor).next()));
        }
        Ok(response)
    }

    /// Answers with existing and coming records as Durable Streams events.
    async fn sse(&self, query: &ReadQuery) -> Result<Response, Rejection> {
        let form = ContentKind::of(&self.head.content_type);
        let telling = SseFormat::Durable {
            form,
            cursor: cursor(query.cursor),
        };
        let from = query.place.unwrap_or(StartAt::Start).of(&self.head);
        let mut response = self.live(from, telling, Some(LIVE_FOR)).await?;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        if form == ContentKind::Binary {
            headers.insert(SSE_DATA_ENCODING, HeaderValue::from_static("base64"));
        }
        Ok(response)
    }

    /// Answers with existing and coming records as messages for a browser's `onmessage`.
    async fn feed(&self, place: StartAt) -> Result<Response, Rejection> {
        let form = ContentKind::of(&self.head.content_type);
        if form == ContentKind::Binary {
            let message = format!(
                "a feed has text or JSON, and this stream holds `{}`; `live=sse` gives it in base64",
                self.head.content_type
            );
            return Err(Failure::not_acceptable(message).into());
        }
        let from = place.of(&self.head);
        if self.head.end.is_some() && from == self.head.tail() {
            // How an EventSource is told not to come again.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        self.live(
            from,
            SseFormat::Feed {
                id: self.id.clone(),
                form,
            },
            None,
        )
        .await
    }

    /// Returns the signal that ends what runs for the caller.
    fn abort(&self) -> AbortSignal {
        self.context.caller.abort(&self.service.abort)
    }

    async fn live(
        &self,
        from: Offset,
        telling: SseFormat,
        most: Option<Duration>,
    ) -> Result<Response, Rejection> {
        let attached = self
            .service
            .streams
            .attach(self.id, self.owner, Some(from))
            .await;
        let reader = attached.map_err(|error| refused(error.into()))?;
        let (draining, aborted) = (self.service.draining.begun(), self.abort().aborted());
        let draining = async move {
            tokio::select! {
                () = draining => {}
                // Its client comes again, and is told that its key is not good any more.
                () = aborted => {}
            }
        };
        let until = async move {
            match most {
                Some(most) => drop(tokio::time::timeout(most, draining).await),
                None => draining.await,
            }
        };
        let heartbeat = self.context.preferences.heartbeat(self.service.heartbeat);
        let mut response = Response::new(Body::new(LogBody::new(
            reader, from, telling, until, heartbeat,
        )));
        set_sse_headers(response.headers_mut());
        Ok(response)
    }

    fn answer(&self, status: StatusCode, batch: ReadPage) -> Response {
        let (up_to_date, is_end) = (batch.is_up_to_date(), batch.is_end());
        let ReadPage { runs, head, next } = batch;
        let mut response = if status == StatusCode::NO_CONTENT {
            StatusCode::NO_CONTENT.into_response()
        } else {
            Response::new(page::body(ContentKind::of(&head.content_type), runs))
        };
        let headers = response.headers_mut();
        describe(headers, &head, next);
        if up_to_date {
            headers.insert(STREAM_UP_TO_DATE, TRUE);
        }
        if is_end {
            headers.insert(STREAM_CLOSED, TRUE);
        }
        response
    }
}

/// Returns the `cache-control` of a page. Its content is fixed unless it reaches the tail of a
/// stream that goes on.
fn caching(batch: &ReadPage) -> &'static str {
    match (batch.is_up_to_date() && !batch.is_end(), &batch.head.owner) {
        (true, _) => "no-cache",
        (false, Some(_)) => "private, max-age=60, stale-while-revalidate=300",
        (false, None) => "public, max-age=60, stale-while-revalidate=300",
    }
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let is_it = |known: &str| matches!(known.trim().trim_start_matches("W/"), known if known == tag || known == "*");
    let values = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(is_it)
}

/// The cursor that follows a client's: at or past ours, it is one strictly above its own, by
/// chance, so that clients which were given the same one part.
fn cursor(clients: Option<u64>) -> CacheCursor {
    let least = clients
        .filter(|theirs| *theirs >= interval())
        .map_or(0, |theirs| {
            let [chance, ..] = random_bits();
            theirs + 1 + u64::from(chance) % 180
        });
    CacheCursor {
        least,
        now: interval,
    }
}

/// The number of now: intervals of 20 seconds since 2024-10-09.
fn interval() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    since.saturating_sub(1_728_432_000) / 20
}
