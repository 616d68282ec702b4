//! Responses over a WebSocket, as OpenAI's clients speak it: each `response.create` is a request
//! as it comes over HTTP, and each event of its answer a message.
//!
//! Requests with the same `stream_id` are answered one after the other, others at once. The last
//! response of each is kept, so that the next request need not repeat what came before: where the
//! upstream does not know it, it is sent again from here.

mod error;
mod turn;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::HeaderValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::error::{StreamError, error_message};
use self::turn::{Host, KeptTurn, Turn};
use super::session::Protocol;
use super::subscription::SocketOutput;
use crate::http::azure::Deployment;
use crate::http::context::RequestHead;
use crate::memory::MemoryPermit;
use crate::service::{self, RequestContext, Service};
use dialect::failure::Failure;
use dialect::openai_responses::DIALECT;
use dialect::openai_responses::socket::{
    Origin, ResponseCreate, SocketMessage, UnreadableMessage, parse_socket_message,
};

/// The most different `stream_id`s on one socket.
const MAX_STREAM_IDS: usize = 32;
/// The header in which a client asks for the protocol of a socket: no upstream over HTTP knows it.
const BETA_HEADER: &str = "openai-beta";
const BETA_OF_SOCKETS: &[u8] = b"responses_websockets";

type Reading =
    Pin<Box<dyn Future<Output = Result<Option<WaitingCreate>, UnreadableMessage>> + Send>>;

/// All that runs on a socket.
pub(super) struct Responses {
    host: Host,
    lanes: Vec<Lane>,
    /// The index of the lane whose turn it is.
    turn: usize,
    /// Messages that are not read yet.
    unread: VecDeque<(Utf8Bytes, MemoryPermit)>,
    /// The message that is being read, and its size.
    reading: Option<(Reading, usize)>,
}

/// The requests with one `stream_id`.
struct Lane {
    stream_id: Option<String>,
    waiting: VecDeque<WaitingCreate>,
    running: Option<Turn>,
    /// The last response.
    last: Option<KeptTurn>,
}

/// A request whose turn has not come, and the permit for its memory.
struct WaitingCreate {
    create: ResponseCreate,
    permit: MemoryPermit,
}

impl Protocol for Responses {
    fn take_message(&mut self, text: Utf8Bytes) -> Option<String> {
        let service = &self.host.service;
        let most = service.websocket.max_running.get();
        let mut permit = service.memory.permit();
        let (waiting, size) = self.waiting();
        let has_room = waiting == 0 || (waiting < most && size + text.len() <= service.max_body);
        let taken = match has_room {
            true => permit.try_grow_to(text.len()),
            false => Err(Failure::too_many_running(most)),
        };
        match taken {
            Ok(()) => {
                self.unread.push_back((text, permit));
                None
            }
            Err(failure) => Some(error_message(StreamError::new(failure, None))),
        }
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        if let Some(text) = self.poll_unread(cx) {
            return Poll::Ready(text);
        }
        let mut silent = 0;
        while silent < self.lanes.len() {
            if self.turn >= self.lanes.len() {
                self.turn = 0;
            }
            match self.poll_lane(self.turn, cx) {
                Poll::Ready(Some(text)) => {
                    self.turn += 1;
                    return Poll::Ready(text);
                }
                // The next of this lane may begin.
                Poll::Ready(None) => silent = 0,
                Poll::Pending => {
                    silent += 1;
                    self.turn += 1;
                }
            }
        }
        Poll::Pending
    }

    fn is_idle(&self) -> bool {
        self.waiting().0 == 0 && self.running() == 0
    }
}

impl Responses {
    pub(super) fn new(service: Arc<Service>, head: RequestHead) -> Self {
        let RequestHead {
            mut context,
            deployment,
            ..
        } = head;
        remove_beta_of_sockets(&mut context);
        Self {
            host: Host {
                service,
                handshake: context,
                model: deployment.map(|Deployment(model)| model),
            },
            lanes: Vec::new(),
            turn: 0,
            unread: VecDeque::new(),
            reading: None,
        }
    }

    /// Returns the number of requests whose turn has not come, and the size of their messages.
    fn waiting(&self) -> (usize, usize) {
        let unread = self.unread.iter().map(|(text, _)| text.len());
        let reading = self.reading.iter().map(|(_, size)| *size);
        let lanes = self.lanes.iter().flat_map(|lane| &lane.waiting);
        let all = unread.chain(reading);
        let all = all.chain(lanes.map(|waiting| waiting.create.size()));
        all.fold((0, 0), |(count, total), size| (count + 1, total + size))
    }

    fn running(&self) -> usize {
        let running = self.lanes.iter().filter(|lane| lane.running.is_some());
        running.count()
    }

    /// Reads the messages that have come, in their order; returns what is to be said of one.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Option<String> {
        loop {
            let (mut reading, size) = match self.reading.take() {
                Some(reading) => reading,
                None => {
                    let (text, permit) = self.unread.pop_front()?;
                    let size = text.len();
                    (read(self.host.service.clone(), text, permit), size)
                }
            };
            let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                self.reading = Some((reading, size));
                return None;
            };
            let refused = match read {
                Ok(None) => continue,
                Ok(Some(waiting)) => self.enqueue(waiting).err(),
                Err(UnreadableMessage { failure, stream_id }) => {
                    Some(StreamError::new(failure, stream_id))
                }
            };
            if let Some(refused) = refused {
                return Some(error_message(refused));
            }
        }
    }

    /// Puts a request into the lane of its stream.
    fn enqueue(&mut self, waiting: WaitingCreate) -> Result<(), StreamError> {
        let stream_id = &waiting.create.stream_id;
        let at = self.lanes.iter().position(|it| it.stream_id == *stream_id);
        let lane = match at {
            Some(at) => &mut self.lanes[at],
            None => {
                let named = self.lanes.iter().filter(|lane| lane.stream_id.is_some());
                if stream_id.is_some() && named.count() >= MAX_STREAM_IDS {
                    let failure = Failure::too_many_stream_ids(MAX_STREAM_IDS);
                    return Err(StreamError::new(failure, stream_id.clone()));
                }
                self.lanes.push(Lane::new(stream_id.clone()));
                let last = self.lanes.len() - 1;
                &mut self.lanes[last]
            }
        };
        lane.waiting.push_back(waiting);
        Ok(())
    }

    /// Polls what runs in a lane, or lets the next request begin; ready with nothing if it has just
    /// ended without a word more.
    fn poll_lane(&mut self, at: usize, cx: &mut Context<'_>) -> Poll<Option<String>> {
        if self.lanes[at].running.is_none() {
            let most = self.host.service.websocket.max_running.get();
            if self.running() >= most {
                return Poll::Pending;
            }
            let Some(waiting) = self.lanes[at].waiting.pop_front() else {
                return Poll::Pending;
            };
            match self.begin(waiting) {
                Ok(turn) => self.lanes[at].running = Some(turn),
                Err(refused) => return Poll::Ready(Some(error_message(refused))),
            }
        }
        let lane = &mut self.lanes[at];
        let Some(running) = &mut lane.running else {
            return Poll::Pending;
        };
        match std::task::ready!(running.poll(cx)) {
            SocketOutput::More(text) => Poll::Ready(Some(text)),
            SocketOutput::Last(text) => {
                let ended = lane.running.take();
                let kept = ended.and_then(Turn::into_kept);
                // A client may ask once more for what has failed.
                lane.last = kept.or(lane.last.take());
                Poll::Ready(text)
            }
        }
    }

    fn begin(&self, waiting: WaitingCreate) -> Result<Turn, StreamError> {
        let WaitingCreate { create, permit } = waiting;
        let stream_id = create.stream_id.clone();
        let begun = self
            .origin(&create)
            .and_then(|origin| Turn::begin(&self.host, create, origin, permit));
        begun.map_err(|failure| StreamError::new(failure, stream_id))
    }

    /// Returns the beginning of the conversation that a request goes on with.
    fn origin(&self, create: &ResponseCreate) -> Result<Origin, Failure> {
        let Some(id) = &create.previous_response_id else {
            return Ok(Origin::Start);
        };
        let model = self.host.model_of(create);
        let lasts = self.lanes.iter().filter_map(|lane| lane.last.as_ref());
        let known = lasts.into_iter().find(|last| last.id == *id);
        let speaks = || service::is_spoken_upstream(&self.host.service, model, &DIALECT);
        match known {
            Some(known) if known.is_stored && known.model.as_deref() == model => {
                Ok(Origin::Upstream(known.items.clone()))
            }
            Some(KeptTurn {
                items: Some(items), ..
            }) => Ok(Origin::Replay {
                items: items.clone(),
                needs_encrypted_reasoning: speaks(),
            }),
            _ if create.store && speaks() => Ok(Origin::Upstream(None)),
            _ => Err(Failure::previous_response_not_found(id)),
        }
    }
}

impl Lane {
    fn new(stream_id: Option<String>) -> Self {
        Self {
            stream_id,
            waiting: VecDeque::new(),
            running: None,
            last: None,
        }
    }
}

/// Reads a message; none if nothing follows from it.
fn read(service: Arc<Service>, text: Utf8Bytes, permit: MemoryPermit) -> Reading {
    Box::pin(async move {
        let size = text.len();
        let parse = move || parse_socket_message(text.into());
        match service.compute.run(size, parse).await {
            Ok(Ok(SocketMessage::Create(create))) => Ok(Some(WaitingCreate { create, permit })),
            Ok(Ok(SocketMessage::Acknowledgement)) => Ok(None),
            Ok(Err(unreadable)) => Err(unreadable),
            Err(failure) => Err(UnreadableMessage {
                failure,
                stream_id: None,
            }),
        }
    })
}

/// Leaves the version of the socket's protocol out of the headers that are passed on.
fn remove_beta_of_sockets(context: &mut RequestContext) {
    let values = context.headers.get_all(BETA_HEADER).iter();
    let kept: Vec<HeaderValue> = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|beta| !beta.starts_with(BETA_OF_SOCKETS))
        .filter_map(|beta| HeaderValue::from_bytes(beta).ok())
        .collect();
    context.headers.remove(BETA_HEADER);
    for value in kept {
        context.headers.append(BETA_HEADER, value);
    }
}
