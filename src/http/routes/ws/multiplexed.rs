//! The protocol of `/v1/ws`: what the client's messages begin and end, and what it is told of it,
//! each under an id of the client's own.
//!
//! Those that run have turns: one message each, then the next.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::uri::PathAndQuery;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::message::{self, ClientMessage, ServerMessage, require_field};
use super::session::Protocol;
use super::subscription::{Progress, SocketOutput, SocketSubscription, request_context};
use crate::access::Caller;
use crate::http::context::{Query, parse_query};
use crate::http::error::Rejection;
use crate::http::linger;
use crate::http::routes::{apis, plain, prompts};
use crate::service::{self, GenerationRequest, RequestContext, Service, Subscription};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::{DIALECTS, Dialect};
use stream::{End, Offset, StreamId};

/// All that runs on a socket.
pub(super) struct Multiplexed {
    service: Arc<Service>,
    handshake: RequestContext,
    running: Vec<Running>,
    /// The index of the subscription whose turn it is.
    turn: usize,
    /// Set once a message has arrived.
    heard: bool,
}

/// A generation, or a reader of a stream, and its id.
struct Running {
    id: String,
    request_id: RequestId,
    /// In which it is refused.
    dialect: &'static Dialect,
    subscription: SocketSubscription,
}

impl Protocol for Multiplexed {
    fn take_message(&mut self, text: Utf8Bytes) -> Option<String> {
        let first = !std::mem::replace(&mut self.heard, true);
        let said = message::parse_message(&text)
            .map_err(|failure| (None, failure))
            .and_then(|message| self.dispatch(message, first));
        said.unwrap_or_else(|(id, failure)| {
            let (id, request_id) = (id.as_deref(), RequestId::random());
            let dialect = &dialect::plain::DIALECT;
            Some(message::refused(id, failure.into(), dialect, &request_id))
        })
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        for _ in 0..self.running.len() {
            if self.turn >= self.running.len() {
                self.turn = 0;
            }
            match self.running[self.turn].poll(cx) {
                Poll::Pending => self.turn += 1,
                Poll::Ready(SocketOutput::More(text)) => {
                    self.turn += 1;
                    return Poll::Ready(text);
                }
                Poll::Ready(SocketOutput::Last(text)) => {
                    self.running.remove(self.turn);
                    if let Some(text) = text {
                        return Poll::Ready(text);
                    }
                }
            }
        }
        Poll::Pending
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty()
    }
}

impl Multiplexed {
    pub(super) fn new(service: Arc<Service>, handshake: RequestContext) -> Self {
        Self {
            service,
            handshake,
            running: Vec::new(),
            turn: 0,
            heard: false,
        }
    }

    /// Does what a message says; an error that has an id is that id's last message.
    fn dispatch(
        &mut self,
        mut message: ClientMessage<'_>,
        first: bool,
    ) -> Result<Option<String>, (Option<String>, Failure)> {
        let nobody = |failure| (None, failure);
        if message.kind == "auth" {
            return self.auth(message, first).map_err(nobody);
        }
        let id = message.id().map_err(nobody)?;
        let at = self.running.iter().position(|running| running.id == id);
        match (message.kind.as_str(), at) {
            ("start" | "attach", Some(_)) => {
                let message = "this id is that of one that runs; give each one of its own";
                Err(nobody(Failure::invalid("id", message)))
            }
            ("start" | "attach", None) => {
                let begun = self.begin(id.clone(), message);
                let running = begun.map_err(|failure| (Some(id), failure))?;
                self.running.push(running);
                Ok(None)
            }
            ("cancel", Some(at)) => {
                let is_over = self.running[at].subscription.cancel(&self.service);
                Ok(is_over.then(|| {
                    self.running.remove(at);
                    end(&id, End::Cancelled.as_str())
                }))
            }
            ("leave", Some(at)) => {
                self.running.remove(at);
                Ok(Some(end(&id, "left")))
            }
            ("cancel" | "leave", None) => {
                let message = "nothing runs under this id; it may just have ended".to_owned();
                Err(nobody(Failure::not_found(message)))
            }
            _ => {
                let message = "`type` should be `start`, `attach`, `cancel`, `leave` or `auth`";
                Err(nobody(Failure::invalid("type", message)))
            }
        }
    }

    fn begin(&self, id: String, message: ClientMessage<'_>) -> Result<Running, Failure> {
        let most = self.service.websocket.max_running.get();
        if self.running.len() >= most {
            return Err(Failure::too_many_running(most));
        }
        match message.kind == "start" {
            true => self.start(id, message),
            false => self.attach(id, message),
        }
    }

    /// Asks for an answer.
    fn start(&self, id: String, message: ClientMessage<'_>) -> Result<Running, Failure> {
        let path: PathAndQuery = require_field("path", message.path)?.parse().map_err(|_| {
            Failure::invalid(
                "path",
                "`path` should be that of an endpoint, such as \"/stream\" or \"/prompts/NAME\"",
            )
        })?;
        let body = Bytes::from(require_field("body", message.body)?.get().to_owned());
        let mut permit = self.service.memory.permit();
        permit.try_grow_to(body.len())?;
        if body.len() > self.service.max_body {
            return Err(Failure::body_too_large(self.service.max_body));
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
        let (mut context, mut query) = self.context(path.query())?;
        if let Some(key) = key.transpose()? {
            context.headers.insert("idempotency-key", key);
        }
        let service = self.service.clone();
        let dialect = dialect::dialect_for_path(path.path());
        Ok(Running::new(
            id,
            dialect,
            context,
            |mut context| async move {
                let mut generation_request =
                    generation_request(&service, path.path(), &mut query, body, &mut context)
                        .await?;
                if !generation_request.request.stream {
                    let message = "every answer is a stream here: say `\"stream\": true`";
                    return Err(Failure::invalid("stream", message).into());
                }
                context.linger = linger.or(context.linger);
                generation_request.permit = Some(permit);
                Ok(service::start(&service, generation_request, &context).await?)
            },
        ))
    }

    /// Reads a stream, from its start or from after an event.
    fn attach(&self, id: String, message: ClientMessage<'_>) -> Result<Running, Failure> {
        let stream = service::parse_stream_id(&require_field("stream", message.stream)?)?;
        let after = message
            .after
            .map(|after| place(&stream, &after))
            .transpose()?;
        let service = self.service.clone();
        let (context, _) = self.context(None)?;
        let dialect = &dialect::plain::DIALECT;
        Ok(Running::new(id, dialect, context, |context| async move {
            let head = service::find(&service, &stream, &context).await?;
            Ok(service::attach(&service, &stream, &head, after, &context).await?)
        }))
    }

    /// Returns the context of a request, and the rest of its query.
    fn context(&self, query: Option<&str>) -> Result<(RequestContext, Query), Failure> {
        let (options, query) = parse_query(query, &self.handshake.headers)?;
        let context = request_context(&self.handshake, options, super::ROUTE);
        Ok((context, query))
    }

    /// Says who the client is, for one that can send no headers: a browser. It holds for all that
    /// follows, so it comes before it.
    fn auth(&mut self, message: ClientMessage<'_>, first: bool) -> Result<Option<String>, Failure> {
        if !first {
            return Err(Failure::invalid(
                "type",
                "`auth` should be the first message",
            ));
        }
        if self.service.access.wants_keys() {
            let message = "the key of this socket is known already";
            return Err(Failure::invalid("type", message));
        }
        let value = match message.token {
            Some(token) => format!("Bearer {token}"),
            None => require_field("authorization", message.authorization)?,
        };
        let value = HeaderValue::try_from(value);
        let mut value = value.map_err(|_| {
            Failure::invalid("authorization", "`authorization` should fit into a header")
        })?;
        value.set_sensitive(true);
        self.handshake.headers.insert(AUTHORIZATION, value);
        self.handshake.caller = Caller::of_headers(&self.handshake.headers);
        Ok(None)
    }
}

impl Running {
    fn new<F>(
        id: String,
        dialect: &'static Dialect,
        context: RequestContext,
        begin: impl FnOnce(RequestContext) -> F,
    ) -> Self
    where
        F: Future<Output = Result<Subscription, Rejection>> + Send + 'static,
    {
        Self {
            id,
            request_id: context.id.clone(),
            dialect,
            subscription: SocketSubscription::new(context, begin),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SocketOutput> {
        let Self {
            id,
            request_id,
            dialect,
            subscription,
        } = self;
        subscription.poll(cx, |progress| match progress {
            Progress::Begun(source) => Some(
                ServerMessage::Started {
                    id,
                    stream: source.stream.as_ref().map(StreamId::as_str),
                    dialect: source.dialect.name,
                    request_id: request_id.as_str(),
                }
                .write(),
            ),
            Progress::Frame(frame, stream) => {
                // What others see of a stream's ids is only ours to give out.
                let event_id = frame.id.filter(|_| stream.is_some());
                Some(
                    ServerMessage::Event {
                        id,
                        event_id: event_id.and_then(|id| std::str::from_utf8(id).ok()),
                        event: frame.event.and_then(|name| std::str::from_utf8(name).ok()),
                        data: &String::from_utf8_lossy(&frame.data.unwrap_or_default()),
                    }
                    .write(),
                )
            }
            Progress::Ended(how) => Some(end(id, how.as_str())),
            Progress::Refused(refused) => {
                Some(message::refused(Some(id), refused, dialect, request_id))
            }
        })
    }
}

fn end(id: &str, status: &str) -> String {
    ServerMessage::End { id, status }.write()
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
