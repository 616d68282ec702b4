//! The body of an upstream's response, of either version of HTTP, and of whatever coding.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use dialect::failure::Failure;
use dialect::{BodyKind, skip_blanks};
use http_body::Body;
use http1::client::ResponseBody;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use tower::BoxError;

use super::aws_events::AwsEvents;
use super::decoded::BodyDecoder;
use super::event_form::EventForm;
use super::inflate::Coding;
use super::json_events::JsonEvents;
use super::read_ahead::ReadAhead;
use super::socket::UpstreamSocket;

/// Slices that are decoded before others have their turn: a few bytes may decode to many.
const MAX_SLICES_IN_TURN: u32 = 16;

#[cfg(test)]
impl UpstreamBody {
    /// Returns a body of those bytes, after which it ends, or waits for that end.
    pub(in crate::provider) fn scripted(bytes: Bytes, end: Option<RecognizedBody>) -> Self {
        UpstreamBody::Recognizing(Recognition(end)).preceded_by(bytes)
    }
}

/// The body of an upstream's response. Dropping it before its end cancels the response.
#[derive(Debug)]
pub(in crate::provider) enum UpstreamBody {
    /// Read from its connection by whoever polls it.
    Http1(ResponseBody<UpstreamSocket>),
    /// Read from the connection's task, within the stream's window.
    Http2(Incoming),
    /// Read ahead of whoever polls it, within a bound.
    Http2ReadAhead(ReadAhead),
    /// Decoded as it arrives.
    Decoded(Box<DecodedBody>),
    /// Bytes that have been looked at, and the body after them.
    Preceded(Bytes, Box<UpstreamBody>),
    /// JSON values as events.
    JsonEvents(Box<Reframed<JsonEvents>>),
    /// Frames of AWS as events.
    AwsEvents(Box<Reframed<AwsEvents>>),
    /// A body that is a stream of events by its label, until its first bytes tell.
    Labelled(Box<LabelledBody>),
    /// A body that is not what its label says.
    Recognizing(Recognition),
}

/// A compressed body, and its decoder.
#[derive(Debug)]
pub(in crate::provider) struct DecodedBody {
    body: UpstreamBody,
    decoder: BodyDecoder,
    /// Slices in a row.
    slices: u32,
}

/// The body that a recognition finds.
pub(in crate::provider) type RecognizedBody =
    Pin<Box<dyn Future<Output = Result<UpstreamBody, Failure>> + Send>>;

/// Finds out what a body is, and returns it as a stream of events.
pub(in crate::provider) type Recognize = Box<dyn FnOnce(UpstreamBody) -> RecognizedBody + Send>;

/// A body whose first bytes are awaited.
pub(in crate::provider) struct LabelledBody {
    body: UpstreamBody,
    recognize: Recognize,
}

/// A recognition under way; none once it has failed.
pub(in crate::provider) struct Recognition(Option<RecognizedBody>);

impl fmt::Debug for LabelledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

impl fmt::Debug for Recognition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recognition")
    }
}

impl UpstreamBody {
    /// Prepares the body to be streamed at a client's pace.
    pub(in crate::provider) fn streamed(self, tasks: &TaskTracker) -> Self {
        match self {
            UpstreamBody::Http2(body) => {
                UpstreamBody::Http2ReadAhead(ReadAhead::spawn(body, tasks))
            }
            UpstreamBody::Decoded(mut decoded) => {
                decoded.body = decoded.body.streamed(tasks);
                UpstreamBody::Decoded(decoded)
            }
            UpstreamBody::Preceded(bytes, body) => body.streamed(tasks).preceded_by(bytes),
            UpstreamBody::AwsEvents(framed) => {
                let Reframed { body, form, .. } = *framed;
                UpstreamBody::AwsEvents(Box::new(Reframed::new(body.streamed(tasks), form)))
            }
            body => body,
        }
    }

    /// Returns the body as it is before that coding.
    pub(in crate::provider) fn decoded(self, coding: Coding) -> Self {
        UpstreamBody::Decoded(Box::new(DecodedBody {
            body: self,
            decoder: BodyDecoder::new(coding),
            slices: 0,
        }))
    }

    /// Returns the body as events, some of which are there already.
    pub(in crate::provider) fn json_events(self, events: JsonEvents) -> Self {
        UpstreamBody::JsonEvents(Box::new(Reframed::new(self, events)))
    }

    /// Returns a body in frames of AWS as events; a frame has at most so many bytes.
    pub(in crate::provider) fn aws_events(self, max_frame: usize) -> Self {
        UpstreamBody::AwsEvents(Box::new(Reframed::new(self, AwsEvents::new(max_frame))))
    }

    /// Returns the body with those bytes of it before the rest.
    pub(in crate::provider) fn preceded_by(self, bytes: Bytes) -> Self {
        UpstreamBody::Preceded(bytes, Box::new(self))
    }

    /// Returns a stream of events by its label. Should its first bytes be none, `recognize` finds
    /// out what it is.
    pub(in crate::provider) fn labelled(self, recognize: Recognize) -> Self {
        UpstreamBody::Labelled(Box::new(LabelledBody {
            body: self,
            recognize,
        }))
    }

    /// Returns the body that is awaited, with its bytes as they come.
    pub(in crate::provider) fn awaited(body: RecognizedBody) -> Self {
        UpstreamBody::Recognizing(Recognition(Some(body)))
    }

    /// Returns a body without any bytes.
    pub(in crate::provider) fn empty() -> Self {
        UpstreamBody::Recognizing(Recognition(None))
    }

    /// Polls for the next bytes, `None` after the end.
    #[inline]
    pub(in crate::provider) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BoxError>>> {
        match self {
            UpstreamBody::Http1(body) => body.poll_bytes(cx).map_err(Into::into),
            UpstreamBody::Http2(body) => poll_data(body, cx).map_err(Into::into),
            UpstreamBody::Http2ReadAhead(body) => body.poll_bytes(cx).map_err(Into::into),
            UpstreamBody::Decoded(body) => body.poll_bytes(cx),
            UpstreamBody::JsonEvents(body) => body.poll_bytes(cx),
            UpstreamBody::AwsEvents(body) => body.poll_bytes(cx),
            UpstreamBody::Preceded(..)
            | UpstreamBody::Labelled(_)
            | UpstreamBody::Recognizing(_) => self.poll_first_bytes(cx),
        }
    }

    /// Polls for the first bytes, after which the body is of another kind.
    fn poll_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        match self {
            UpstreamBody::Preceded(bytes, body) => {
                let bytes = std::mem::take(bytes);
                *self = std::mem::replace(body, UpstreamBody::Recognizing(Recognition(None)));
                if bytes.is_empty() {
                    return self.poll_bytes(cx);
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            UpstreamBody::Labelled(labelled) => {
                let first = match ready!(labelled.body.poll_bytes(cx)) {
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(bytes)) => bytes,
                    None => Bytes::new(),
                };
                let none = UpstreamBody::Recognizing(Recognition(None));
                let UpstreamBody::Labelled(labelled) = std::mem::replace(self, none) else {
                    return Poll::Ready(None);
                };
                let LabelledBody { body, recognize } = *labelled;
                if BodyKind::of(&first, false) == Some(BodyKind::Events)
                    && skip_blanks(&first).len() == first.len()
                {
                    *self = body;
                    return Poll::Ready(Some(Ok(first)));
                }
                let recognized = recognize(body.preceded_by(first));
                *self = UpstreamBody::Recognizing(Recognition(Some(recognized)));
                self.poll_bytes(cx)
            }
            UpstreamBody::Recognizing(Recognition(Some(recognition))) => {
                let recognized = ready!(recognition.as_mut().poll(cx));
                match recognized {
                    Ok(body) => {
                        *self = body;
                        self.poll_bytes(cx)
                    }
                    Err(failure) => {
                        *self = UpstreamBody::Recognizing(Recognition(None));
                        Poll::Ready(Some(Err(failure.into())))
                    }
                }
            }
            _ => Poll::Ready(None),
        }
    }

    /// Waits for the next bytes, `None` after the end.
    pub(in crate::provider) async fn next_bytes(&mut self) -> Option<Result<Bytes, BoxError>> {
        std::future::poll_fn(|cx| self.poll_bytes(cx)).await
    }
}

impl DecodedBody {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            if self.slices == MAX_SLICES_IN_TURN {
                self.slices = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.decoder.decode() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    self.slices += 1;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            let polled = self.body.poll_bytes(cx);
            if polled.is_pending() {
                self.slices = 0;
            }
            match ready!(polled) {
                Some(Ok(bytes)) => self.decoder.push(bytes),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => match self.decoder.end() {
                    Ok(bytes) if bytes.is_empty() => return Poll::Ready(None),
                    Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                },
            }
        }
    }
}

/// A body that has its events in another form.
#[derive(Debug)]
pub(in crate::provider) struct Reframed<F> {
    body: UpstreamBody,
    form: F,
    /// The failure behind events that were given out.
    failure: Option<Failure>,
}

impl<F: EventForm> Reframed<F> {
    fn new(body: UpstreamBody, form: F) -> Self {
        Self {
            body,
            form,
            failure: None,
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Poll::Ready(Some(Err(failure.into())));
            }
            let mut out = BytesMut::new();
            self.failure = self.form.write_events(&mut out).err();
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(out.freeze())));
            }
            if self.failure.is_some() {
                continue;
            }
            match ready!(self.body.poll_bytes(cx)) {
                Some(Ok(bytes)) => self.form.push(bytes),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let end = self.form.end().err();
                    return Poll::Ready(end.map(|failure| Err(failure.into())));
                }
            }
        }
    }
}

/// Returns the failure of a body that can't be read.
pub(in crate::provider) fn read_failure(error: BoxError) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => *failure,
        Err(error) => Failure::upstream_reset(error),
    }
}

/// Polls for the next data frame; trailers are skipped.
fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}
