//! A response that its upstream makes in the background: each event has a number, and whoever names
//! the last one gets what follows. To its client it is a response as any.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dialect::failure::Failure;
use dialect::openai_responses::{event_place, in_foreground};
use dialect::request::Operation;
use dialect::sse;
use http::Method;
use tokio::sync::oneshot;

use super::asking::{Asking, path_segment, without_ids};
use crate::provider::upstream::{
    Cancellation, RecognizedBody, Resumption, UpstreamBody, read_failure,
};
use crate::provider::{Opened, StreamSource};

/// The time that an upstream has to name a response whose client has left, so that it can be
/// cancelled.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(10);

/// A response that its upstream makes in the background.
#[derive(Debug)]
pub(super) struct BackgroundResponse {
    asking: Asking,
    /// The address of the response, and the query of all addresses there.
    url: String,
    query: String,
    /// The number of the event that comes next; `None` before the first.
    next: Option<u64>,
    /// Set until an event has come of those that were asked for again.
    is_catching_up: bool,
    /// Set if the client asked for a background response itself.
    is_shown: bool,
    has_ended: bool,
}

impl BackgroundResponse {
    /// Returns the response of that id.
    pub(super) fn new(asking: Asking, id: &str, is_shown: bool) -> Option<Self> {
        let options = &asking.options;
        let path = options
            .addressing
            .path(options.side, Operation::Generate, "", true)?;
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let url = format!("{}{path}/{}", options.base_url, path_segment(id)?);
        Some(Self {
            url,
            query: query.to_owned(),
            asking,
            next: None,
            is_catching_up: false,
            is_shown,
            has_ended: false,
        })
    }

    /// Takes note of an event. Returns false if it was read before.
    fn note_event(&mut self, data: &[u8]) -> Result<bool, Failure> {
        let Some(place) = event_place(data) else {
            return Ok(true);
        };
        if let Some(next) = self.next.filter(|_| self.is_catching_up) {
            if place.number < next {
                return Ok(false);
            }
            if place.number > next {
                return Err(Failure::upstream_truncated(
                    "events of its rest are missing",
                ));
            }
        }
        self.is_catching_up = false;
        self.next = Some(place.number + 1);
        self.has_ended |= place.is_last;
        Ok(true)
    }

    fn address(&self, path: &str, query: &str) -> String {
        let (url, own) = (&self.url, &self.query);
        let separator = if own.is_empty() || query.is_empty() {
            ""
        } else {
            "&"
        };
        let mark = if own.is_empty() && query.is_empty() {
            ""
        } else {
            "?"
        };
        format!("{url}{path}{mark}{own}{separator}{query}")
    }
}

impl Resumption for BackgroundResponse {
    fn note(&mut self, run: Bytes) -> Result<Bytes, Failure> {
        let (mut shown, mut from, mut has_ids) = (BytesMut::new(), 0, false);
        for frame in sse::frames(&run) {
            has_ids |= frame.id.is_some();
            let Some(data) = &frame.data else {
                continue;
            };
            let own = match self.note_event(data)? {
                true if self.is_shown => None,
                true => in_foreground(data),
                false => Some(Bytes::new()),
            };
            let Some(own) = own else {
                continue;
            };
            shown.extend_from_slice(&run[from..frame.range.start]);
            from = frame.range.end;
            if !own.is_empty() {
                let name = frame.event.and_then(|name| std::str::from_utf8(name).ok());
                sse::write_frame(&mut shown, name, &own);
            }
        }
        let run = if from == 0 {
            run
        } else {
            shown.extend_from_slice(&run[from..]);
            shown.freeze()
        };
        Ok(if has_ids { without_ids(&run) } else { run })
    }

    fn reopen(&mut self, pause: Duration) -> Option<RecognizedBody> {
        let last = self.next?.checked_sub(1)?;
        self.is_catching_up = true;
        let url = self.address("", &format!("stream=true&starting_after={last}"));
        let asking = self.asking.clone();
        Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            asking.stream(url, None).await
        }))
    }

    fn cancel(&mut self) -> Option<Cancellation> {
        if self.has_ended {
            return None;
        }
        let url = self.address("/cancel", "");
        Some(Box::pin(self.asking.clone().tell(Method::POST, url)))
    }
}

/// Reads a body up to its first event. Returns the id of the response, if that tells it, and the
/// whole body.
pub(super) async fn read_response_id(
    mut body: UpstreamBody,
    max_event: usize,
) -> Result<(Option<String>, UpstreamBody), Failure> {
    let mut start = BytesMut::new();
    let mut splitter = sse::FrameSplitter::new(max_event);
    while let Some(bytes) = body.next_bytes().await.transpose().map_err(read_failure)? {
        start.extend_from_slice(&bytes);
        let run = splitter
            .push(bytes)
            .map_err(|error| Failure::event_too_large(error.limit))?;
        let first = sse::frames(&run).find_map(|frame| frame.data);
        if let Some(data) = first {
            let id = event_place(&data).and_then(|place| place.response_id);
            let id = id.map(std::borrow::Cow::into_owned);
            return Ok((id, body.preceded_by(start.freeze())));
        }
    }
    Ok((None, UpstreamBody::empty().preceded_by(start.freeze())))
}

/// Waits for a response that is asked for in the background. If its client leaves meanwhile, it is
/// still awaited, since only then it can be cancelled.
pub(super) async fn open_or_cancel(
    asking: &Asking,
    opening: impl Future<Output = Result<Opened<StreamSource>, Failure>> + Send + 'static,
) -> Result<Opened<StreamSource>, Failure> {
    let (mut client, opened) = oneshot::channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the opening, or ORPHAN_TIMEOUT after its client has left"
    )]
    asking.client.tasks().spawn(async move {
        let orphaned = async {
            client.closed().await;
            tokio::time::sleep(ORPHAN_TIMEOUT).await;
        };
        let opened = tokio::select! {
            opened = opening => opened,
            () = orphaned => return,
        };
        // Without a client it is dropped, which cancels it.
        let _ = client.send(opened);
    });
    let ended = |_| {
        Err(Failure::internal(
            "the task of a request ended without an answer".into(),
        ))
    };
    opened.await.unwrap_or_else(ended)
}
