//! One of those that run on a socket: from the message that began it to its last.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::HeaderValue;
use axum::http::uri::PathAndQuery;
use bytes::Bytes;
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;

use super::message::{self, ClientMessage, ServerMessage, require_field};
use crate::disconnect::Disconnect;
use crate::http::context::{Query, parse_query};
use crate::http::error::Rejection;
use crate::http::linger;
use crate::http::routes::{apis, plain, prompts};
use crate::service::{
    self, Caller, Frames, GenerationRequest, RequestContext, Service, Subscription,
};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{DIALECTS, Dialect};
use stream::{End, Offset, StreamId};

/// The context in which a socket's generations and readers begin.
pub(super) struct SocketContext<'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) handshake: &'a RequestContext,
}

type PendingSubscription = Pin<Box<dyn Future<Output = Result<Subscription, Rejection>> + Send>>;

enum Phase {
    Starting(PendingSubscription),
    Open(Box<Subscription>),
}

/// A generation, or a reader of a stream.
pub(super) struct SocketSubscription {
    pub(super) id: String,
    request_id: RequestId,
    disconnect: Disconnect,
    caller: Caller,
    /// In which it is refused.
    dialect: &'static Dialect,
    phase: Phase,
    /// Frames that came and are not told yet.
    rest: Bytes,
    /// The signal that ends its stream.
    cancelling: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    cancelled: bool,
}

/// The next output of a subscription.
pub(super) enum SocketOutput {
    /// A message; more may follow.
    More(String),
    /// The last message.
    Last(String),
}

impl SocketSubscription {
    /// Asks for an answer.
    pub(super) fn start(
        id: String,
        message: ClientMessage<'_>,
        host: &SocketContext<'_>,
    ) -> Result<Self, Failure> {
        let path: PathAndQuery = require_field("path", message.path)?.parse().map_err(|_| {
            Failure::invalid(
                "path",
                "`path` should be that of an endpoint, such as \"/stream\" or \"/prompts/NAME\"",
            )
        })?;
        let body = Bytes::from(require_field("body", message.body)?.get().to_owned());
        let mut permit = host.service.memory.permit();
        permit.try_grow_to(body.len())?;
        if body.len() > host.service.max_body {
            return Err(Failure::body_too_large(host.service.max_body));
        }
        let linger = message.linger.as_ref().map(linger::of_json).transpose()?;
        let key = message.idempotency_key.map(|key| {
            let value = HeaderValue::try_from(key);
            value.map_err(|_| {
                Failure::invalid(
                    "idempotency_key",
                    "`idempotency_key` should fit into a header",
                )
            })
        });
        let (mut context, mut query) = context(path.query(), host)?;
        if let Some(key) = key.transpose()? {
            context.headers.insert("idempotency-key", key);
        }
        let service = host.service.clone();
        let dialect = dialect::dialect_for_path(path.path());
        Ok(Self::new(id, dialect, context, |mut context| async move {
            let mut generation_request =
                generation_request(&service, path.path(), &mut query, body, &mut context).await?;
            if !generation_request.request.stream {
                let message = "every answer is a stream here: say `\"stream\": true`";
                return Err(Failure::invalid("stream", message).into());
            }
            context.linger = linger.or(context.linger);
            generation_request.permit = Some(permit);
            Ok(service::start(&service, generation_request, &context).await?)
        }))
    }

    /// Reads a stream, from its start or from after an event.
    pub(super) fn attach(
        id: String,
        message: ClientMessage<'_>,
        host: &SocketContext<'_>,
    ) -> Result<Self, Failure> {
        let stream = service::parse_stream_id(&require_field("stream", message.stream)?)?;
        let after = message
            .after
            .map(|after| place(&stream, &after))
            .transpose()?;
        let service = host.service.clone();
        Ok(Self::new(
            id,
            &dialect::plain::DIALECT,
            context(None, host)?.0,
            move |context| async move {
                let head = service::find(&service, &stream, &context).await?;
                Ok(service::attach(&service, &stream, &head, after, &context).await?)
            },
        ))
    }

    fn new<F>(
        id: String,
        dialect: &'static Dialect,
        context: RequestContext,
        begin: impl FnOnce(RequestContext) -> F,
    ) -> Self
    where
        F: Future<Output = Result<Subscription, Rejection>> + Send + 'static,
    {
        let (request_id, disconnect, caller) = (
            context.id.clone(),
            context.disconnect.clone(),
            context.caller.clone(),
        );
        // A panic ends what it happened in, and no other on the socket.
        let beginning = AssertUnwindSafe(begin(context)).catch_unwind();
        let beginning = Box::pin(beginning.map(|begun| {
            begun.unwrap_or_else(|_| Err(Failure::internal("a panic".into()).into()))
        }));
        let phase = Phase::Starting(beginning);
        Self {
            id,
            request_id,
            disconnect,
            caller,
            dialect,
            phase,
            rest: Bytes::new(),
            cancelling: None,
            cancelled: false,
        }
    }

    /// Polls for the next output.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SocketOutput> {
        loop {
            if let Some(cancelling) = &mut self.cancelling
                && cancelling.as_mut().poll(cx).is_ready()
            {
                self.cancelling = None;
            }
            match &mut self.phase {
                Phase::Starting(beginning) => match ready!(beginning.as_mut().poll(cx)) {
                    Ok(source) => {
                        let stream = source.stream.as_ref().map(StreamId::as_str);
                        let request_id = self.request_id.as_str();
                        let told = ServerMessage::Started {
                            id: &self.id,
                            stream,
                            dialect: source.dialect.name,
                            request_id,
                        };
                        let told = told.write();
                        self.phase = Phase::Open(Box::new(source));
                        return Poll::Ready(SocketOutput::More(told));
                    }
                    Err(refused) => {
                        return Poll::Ready(SocketOutput::Last(self.refused(refused)));
                    }
                },
                Phase::Open(source) => {
                    let numbered = source.stream.is_some();
                    if let Some(told) = next(&self.id, &mut self.rest, numbered) {
                        return Poll::Ready(SocketOutput::More(told));
                    }
                    match ready!(source.frames.poll(cx)) {
                        Some(frames) => self.rest = frames,
                        None => {
                            let end = if self.cancelled {
                                End::Cancelled
                            } else {
                                source.frames.end()
                            };
                            return Poll::Ready(SocketOutput::Last(
                                ServerMessage::End {
                                    id: &self.id,
                                    status: end.as_str(),
                                }
                                .write(),
                            ));
                        }
                    }
                }
            }
        }
    }

    /// Ends it, at its client's word. What is still to be said comes with the next poll; the last
    /// word, if there is none.
    pub(super) fn cancel(&mut self, service: &Arc<Service>) -> Option<String> {
        self.disconnect.set_cancelled();
        let source = match &mut self.phase {
            Phase::Starting(_) => {
                return Some(
                    ServerMessage::End {
                        id: &self.id,
                        status: End::Cancelled.as_str(),
                    }
                    .write(),
                );
            }
            Phase::Open(source) => source,
        };
        match (&mut source.frames, &source.stream) {
            (Frames::Generation(generation), _) => {
                // What it had said before and is not told yet stays before its last frame.
                if !generation.is_ended() {
                    let last = generation.stop(Failure::cancelled());
                    self.rest = [&self.rest[..], &last[..]].concat().into();
                    self.cancelled = true;
                }
            }
            (Frames::Stream(_), Some(id)) => {
                let (service, id, caller) = (service.clone(), id.clone(), self.caller.clone());
                self.cancelling = Some(Box::pin(async move {
                    // A stream that can't be found is gone, which its reader says.
                    let _ = service.streams.cancel(&id, caller.owner()).await;
                }));
            }
            (Frames::Stream(_), None) => {}
        }
        None
    }

    fn refused(&self, refused: Rejection) -> String {
        message::refused(Some(&self.id), refused, self.dialect, &self.request_id)
    }
}

/// The next frame that says something, as a message. What others see of a stream's ids is only ours
/// to give out.
fn next(id: &str, rest: &mut Bytes, numbered: bool) -> Option<String> {
    while !rest.is_empty() {
        let frame = sse::frames(rest).next()?;
        let (end, data) = (
            frame.range.end,
            frame.data.as_deref().map(String::from_utf8_lossy),
        );
        let told = data.map(|data| {
            let event_id = frame
                .id
                .filter(|_| numbered)
                .and_then(|id| std::str::from_utf8(id).ok());
            let event = frame
                .event
                .and_then(|event| std::str::from_utf8(event).ok());
            ServerMessage::Event {
                id,
                event_id,
                event,
                data: &data,
            }
            .write()
        });
        let _told = rest.split_to(end);
        if told.is_some() {
            return told;
        }
    }
    None
}

/// Returns the context of a request that arrived over a socket, and the rest of its query.
fn context(
    query: Option<&str>,
    host: &SocketContext<'_>,
) -> Result<(RequestContext, Query), Failure> {
    let handshake = host.handshake;
    let (mut options, query) = parse_query(query, &handshake.headers)?;
    // What keeps a silent connection open here is a ping of the socket's own.
    options.preferences.comments = false;
    let context = RequestContext {
        id: RequestId::random(),
        caller: handshake.caller.clone(),
        headers: handshake.headers.clone(),
        preferences: options.preferences,
        linger: options.linger,
        is_event_source: false,
        via: Some(super::ROUTE),
        disconnect: handshake.disconnect.for_request(),
    };
    Ok((context, query))
}

/// Parses a request as its endpoint does.
async fn generation_request(
    service: &Arc<Service>,
    path: &str,
    query: &mut Query,
    body: Bytes,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    if path == plain::ROUTE {
        return plain::parse_body(service, body, query, context).await;
    }
    if let Some(name) = path.strip_prefix("/prompts/") {
        let name = percent_decode_str(name).decode_utf8_lossy();
        return prompts::parse_body(service, &name, body, query, context).await;
    }
    let endpoints = DIALECTS
        .iter()
        .flat_map(|dialect| dialect.endpoints.iter().map(move |at| (*dialect, *at)));
    let found = endpoints
        .into_iter()
        .find(|(_, endpoint)| match endpoint.split_once('{') {
            Some((prefix, _)) => path.starts_with(prefix),
            None => path == *endpoint,
        });
    let Some(endpoint) = found else {
        let path: String = path.chars().take(80).collect();
        return Err(Failure::not_found(format!(
            "nothing that could be started is at {path}"
        )));
    };
    apis::parse_body(service, endpoint, path, body, context).await
}

/// A place in a stream: an event id, or only its offset.
fn place(stream: &StreamId, after: &str) -> Result<Offset, Failure> {
    if let Ok(offset) = after.parse() {
        return Ok(offset);
    }
    match StreamId::of_event(after) {
        Some((of, offset)) if of == *stream => Ok(offset),
        _ => Err(Failure::invalid(
            "after",
            format!("`after` should be the id of an event of `{stream}`"),
        )),
    }
}
