//! One request on a socket, and the response to it.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::super::subscription::{Progress, SocketOutput, SocketSubscription, request_context};
use super::error::{StreamError, error_message, last_error};
use crate::http::context::parse_query;
use crate::http::error::Rejection;
use crate::http::routes::apis;
use crate::memory::MemoryPermit;
use crate::service::{self, RequestContext, Service, Subscription};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::openai_responses::DIALECT;
use dialect::openai_responses::socket::{
    EquivalentRequest, EventKind, ItemLists, Origin, ResponseCapture, ResponseCreate,
};
use dialect::sse::Frame;

/// The route of the equivalent request over HTTP.
const ROUTE: &str = "/v1/responses";
/// The route of the socket.
const SOCKET_ROUTE: &str = "GET /v1/responses";

/// The context in which the requests of a socket are answered.
pub(super) struct Host {
    pub(super) service: Arc<Service>,
    pub(super) handshake: RequestContext,
    /// The model that the path names, where it is one of Azure's.
    pub(super) model: Option<String>,
}

impl Host {
    /// Returns the name of the model that a request is for.
    pub(super) fn model_of<'a>(&'a self, create: &'a ResponseCreate) -> Option<&'a str> {
        self.model.as_deref().or(create.model.as_deref())
    }
}

/// A request that is being answered.
pub(super) struct Turn {
    stream_id: Option<String>,
    request_id: RequestId,
    model: Option<String>,
    max_kept: usize,
    /// For the memory of what is kept.
    permit: MemoryPermit,
    subscription: SocketSubscription,
    /// The input, once the request has been sent.
    input: oneshot::Receiver<Option<ItemLists>>,
    capture: Option<ResponseCapture>,
    /// An error that came before the last event.
    error: Option<String>,
    /// Set once the last event has been told.
    is_over: bool,
}

/// A response that the next request can go on from.
pub(super) struct KeptTurn {
    pub(super) id: String,
    pub(super) model: Option<String>,
    pub(super) items: Option<ItemLists>,
    /// Set if the upstream has it, too.
    pub(super) is_stored: bool,
    /// For the memory of the items.
    _permit: MemoryPermit,
}

impl Turn {
    /// Begins to answer a request; the permit is that for its message.
    pub(super) fn begin(
        host: &Host,
        create: ResponseCreate,
        origin: Origin,
        mut permit: MemoryPermit,
    ) -> Result<Self, Failure> {
        let service = host.service.clone();
        let replayed = match &origin {
            Origin::Replay { items, .. } => items.size(),
            Origin::Start | Origin::Upstream(_) => 0,
        };
        let size = create.size().saturating_add(replayed);
        if size > service.max_body {
            return Err(Failure::body_too_large(service.max_body));
        }
        permit.try_grow_to(size)?;
        let (options, _query) = parse_query(None, &host.handshake.headers)?;
        let context = request_context(&host.handshake, options, SOCKET_ROUTE);
        let (stream_id, request_id) = (create.stream_id.clone(), context.id.clone());
        let model = host.model_of(&create).map(str::to_owned);
        let (max_kept, path_model) = (service.max_body, host.model.clone());
        let (told, input) = oneshot::channel();
        let kept_permit = service.kept_memory.permit();
        let subscription = SocketSubscription::new(context, |context| async move {
            let generates = create.generate;
            let convert = move || create.into_request(origin, path_model.as_deref());
            let request = service.compute.run(size, convert).await??;
            let EquivalentRequest { body, input } = request;
            // It is of no use once the socket is gone.
            let _ = told.send(input);
            start(&service, context, body, permit, generates).await
        });
        Ok(Self {
            stream_id,
            request_id,
            model,
            max_kept,
            permit: kept_permit,
            subscription,
            input,
            capture: None,
            error: None,
            is_over: false,
        })
    }

    /// Polls for the next message.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SocketOutput> {
        let Self {
            stream_id,
            request_id,
            max_kept,
            permit,
            subscription,
            input,
            capture,
            error,
            is_over,
            ..
        } = self;
        subscription.poll(cx, |progress| match progress {
            Progress::Begun(_) => {
                let input = input.try_recv().ok().flatten();
                let mut begun = ResponseCapture::new(input, *max_kept);
                begun.keep_within(|size| permit.try_grow_to(size).is_ok());
                *capture = Some(begun);
                None
            }
            Progress::Frame(frame, _) => {
                let kind = read_event(capture, permit, &frame);
                let data = frame.data.unwrap_or_default();
                // An end mark is no event.
                if *is_over || !data.starts_with(b"{") {
                    return None;
                }
                let text = message(stream_id.as_deref(), String::from_utf8_lossy(&data).into());
                match kind {
                    EventKind::Part => Some(text),
                    EventKind::Error => {
                        *error = Some(text);
                        None
                    }
                    EventKind::End => {
                        *is_over = true;
                        Some(text)
                    }
                }
            }
            Progress::Ended(_) => error.take().filter(|_| !*is_over).map(|it| last_error(&it)),
            Progress::Refused(refused) => Some(error_message(StreamError {
                refused,
                stream_id: stream_id.take(),
                request_id: request_id.clone(),
            })),
        })
    }

    /// Returns the response, if another one can go on from it.
    pub(super) fn into_kept(self) -> Option<KeptTurn> {
        let kept = self.capture?.into_kept()?;
        Some(KeptTurn {
            id: kept.id,
            model: self.model,
            items: kept.items,
            is_stored: kept.is_stored,
            _permit: self.permit,
        })
    }
}

/// Starts a generation as its endpoint does.
async fn start(
    service: &Arc<Service>,
    mut context: RequestContext,
    body: bytes::Bytes,
    permit: MemoryPermit,
    generates: bool,
) -> Result<Subscription, Rejection> {
    let mut request =
        apis::parse_body(service, (&DIALECT, ROUTE), ROUTE, body, &mut context).await?;
    request.permit = Some(permit);
    Ok(match generates {
        true => service::start(service, request, &context).await?,
        false => service::warm_up(service, request, &context)?,
    })
}

/// Reads an event, and keeps of it what there is memory for.
fn read_event(
    capture: &mut Option<ResponseCapture>,
    permit: &mut MemoryPermit,
    frame: &Frame<'_>,
) -> EventKind {
    let (Some(capture), Some(data)) = (capture, &frame.data) else {
        return EventKind::Part;
    };
    let kind = capture.read_event(frame.event, data);
    capture.keep_within(|size| permit.try_grow_to(size).is_ok());
    kind
}

/// Returns an event as a message of its stream.
fn message(stream_id: Option<&str>, event: String) -> String {
    match (stream_id, event.strip_prefix('{')) {
        (Some(id), Some(fields)) => {
            let comma = if fields.trim_start().starts_with('}') {
                ""
            } else {
                ","
            };
            format!(r#"{{"stream_id":"{id}"{comma}{fields}"#)
        }
        _ => event,
    }
}
