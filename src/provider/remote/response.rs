//! An upstream's answer: a stream of frames, a whole body, or a refusal.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{Response, header};
use http_body_util::BodyExt;
use tokio_util::task::TaskTracker;
use tower::BoxError;

use super::client::UpstreamBody;
use super::h1::ResponseBody;
use super::{RemoteOptions, headers};
use dialect::failure::{Failure, Refusal};
use dialect::sse;

/// The most that is read of an error's body.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// The longest that an error's body is waited for.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to end its answer after `[DONE]` before it is closed rather than kept.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of an unexpected body the log shows.
const MAX_EXCERPT: usize = 200;

/// What the body of a stream comes from.
pub(super) enum BodySource {
    /// Read by its reader, with nothing between.
    Http1(ResponseBody),
    /// Read ahead, within bounds.
    Http2(Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>),
}

impl BodySource {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        match self {
            BodySource::Http1(answer) => answer.poll_bytes(cx).map_err(Into::into),
            BodySource::Http2(bytes) => bytes.poll_next_unpin(cx).map_err(Into::into),
        }
    }
}

/// An upstream's stream, as runs of whole SSE events.
pub struct UpstreamFrames {
    incoming: BodySource,
    reader: sse::Reader,
    max_event: usize,
    ended: bool,
    tasks: TaskTracker,
}

impl fmt::Debug for UpstreamFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamFrames")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl UpstreamFrames {
    pub(super) fn new(incoming: BodySource, max_event: usize, tasks: TaskTracker) -> Self {
        Self {
            incoming,
            reader: sse::Reader::new(max_event),
            max_event,
            ended: false,
            tasks,
        }
    }

    /// The next run of whole events; `None` when the upstream's answer ended cleanly.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        while !self.ended {
            let run = match std::task::ready!(self.incoming.poll_next(cx)) {
                Some(Ok(chunk)) => match self.reader.push(chunk) {
                    Ok(run) => run,
                    Err(error) => {
                        return Poll::Ready(Some(Err(Failure::EventTooLarge {
                            limit: error.limit,
                        })));
                    }
                },
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(Failure::UpstreamReset(error))));
                }
                None => {
                    self.ended = true;
                    self.reader.finish()
                }
            };
            if run.len() > self.max_event
                && sse::frames(&run).any(|frame| frame.range.len() > self.max_event)
            {
                return Poll::Ready(Some(Err(Failure::EventTooLarge {
                    limit: self.max_event,
                })));
            }
            if !run.is_empty() {
                return Poll::Ready(Some(Ok(run)));
            }
        }
        Poll::Ready(None)
    }

    /// Whether the upstream's body has ended: what came last may be an event without its end.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Ends the answer after its `[DONE]`. An upstream that ends its body too, at once or within a moment, has its
    /// connection kept for the next request; one that says more has it closed.
    pub fn close(mut self) {
        if self.ended
            || self
                .incoming
                .poll_next(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        {
            return;
        }
        self.tasks.spawn(async move {
            // Either way the connection is given up by dropping it.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, poll_fn(|cx| self.incoming.poll_next(cx)))
                .await;
        });
    }
}

/// Whether the answer is of that media type and not encoded; if not, what it is.
pub(super) fn expect(response: &Response<UpstreamBody>, media_type: &str) -> Result<(), String> {
    let found = headers::media_type(response.headers());
    let encoding = headers::text(response.headers(), header::CONTENT_ENCODING).unwrap_or_default();
    match encoding.as_str() {
        "" | "identity" if found == media_type => Ok(()),
        "" | "identity" if found.is_empty() => Err("no content-type".to_owned()),
        "" | "identity" => Err(found),
        encoding => Err(format!("{found} in {encoding}")),
    }
}

/// The failure for an answer of another media type.
pub(super) async fn unexpected(
    response: Response<UpstreamBody>,
    options: &RemoteOptions,
    found: String,
    expected: &'static str,
) -> Failure {
    let body = redact_credentials(excerpt_of(response).await, &options.headers);
    let excerpt = String::from_utf8_lossy(&body[..body.len().min(MAX_EXCERPT)]).into_owned();
    Failure::NotAStream {
        provider: options.name.clone(),
        found,
        expected,
        excerpt,
    }
}

/// The failure for an answer that is no 200.
pub(super) async fn refusal(response: Response<UpstreamBody>, options: &RemoteOptions) -> Failure {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        // A redirect is never followed: it would carry the key along.
        return unexpected(
            response,
            options,
            format!("status {}", status.as_u16()),
            "200",
        )
        .await;
    }
    let retry_after = headers::retry_after(response.headers());
    let headers = headers::client_visible(response.headers());
    let body = redact_credentials(excerpt_of(response).await, &options.headers);
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let message = options.side.error_message(&body);
    Failure::UpstreamRefused(Box::new(Refusal {
        provider: options.name.clone(),
        dialect: options.dialect.name,
        status: status.as_u16(),
        message: message.unwrap_or_else(|| "it gave no reason".to_owned()),
        reply: if is_json { body } else { Bytes::new() },
        retry_after,
        headers,
    }))
}

/// A whole body, at most `limit` bytes of it.
pub(super) async fn whole(
    response: Response<UpstreamBody>,
    limit: usize,
) -> Result<Bytes, Failure> {
    let mut body = response.into_body();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failure::UpstreamReset)?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit {
                return Err(Failure::ResponseTooLarge { limit });
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// What came of an error's body, within bounds of size and time. It may be cut: the status is what matters.
async fn excerpt_of(response: Response<UpstreamBody>) -> Bytes {
    let mut body = response.into_body();
    let mut excerpt = BytesMut::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                let room = MAX_ERROR_BODY - excerpt.len();
                excerpt.extend_from_slice(&data[..data.len().min(room)]);
                if excerpt.len() == MAX_ERROR_BODY {
                    return;
                }
            }
        }
    };
    let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, read).await;
    excerpt.freeze()
}

/// Some upstreams repeat the key that they refuse.
fn redact_credentials(body: Bytes, sent: &header::HeaderMap) -> Bytes {
    let mut text = String::from_utf8_lossy(&body).into_owned();
    let mut found = false;
    for value in sent.values().filter(|value| value.is_sensitive()) {
        let key = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let key = key.strip_prefix("Bearer ").unwrap_or(&key);
        if key.len() >= 8 && text.contains(key) {
            text = text.replace(key, "***");
            found = true;
        }
    }
    if found { text.into() } else { body }
}
