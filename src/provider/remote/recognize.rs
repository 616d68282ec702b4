//! The recognition of an answer by its first bytes, whatever its label says.
//!
//! A stream of events is read as one. JSON in its place is a whole answer, payloads without frames,
//! or an error; anything else is a failure that has its first words.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dialect::failure::Failure;
use dialect::{BodyKind, JsonReply, JsonValues, read_json_reply, write_json_frame};
use http::{HeaderMap, Response};

use super::headers;
use super::options::RemoteOptions;
use super::response::{grow, read_error_body};
use crate::config::AnswerLimits;
use crate::provider::credentials::Credentials;
use crate::provider::upstream::{Coding, JsonEvents, RecognizedBody, UpstreamBody, read_failure};

/// Blanks that may stand before an answer, in bytes.
const MAX_BLANKS: usize = 64 * 1024;
/// Codings of one body that are undone by its label, and as many again by its bytes.
const MAX_CODINGS: usize = 2;

/// The upstream whose answer is recognized.
#[derive(Debug, Clone)]
pub(super) struct AnswerSource {
    pub(super) options: Arc<RemoteOptions>,
    pub(super) credentials: Arc<Credentials>,
    /// The largest sizes of the answer.
    pub(super) limits: AnswerLimits,
}

/// Undoes the codings that a response names, of those that are known.
pub(super) fn decode(response: Response<UpstreamBody>) -> Response<UpstreamBody> {
    let codings = headers::codings(response.headers());
    let known = codings.iter().rev().filter_map(|name| Coding::named(name));
    let known: Vec<_> = known.take(MAX_CODINGS).collect();
    response.map(|body| known.into_iter().fold(body, UpstreamBody::decoded))
}

impl AnswerSource {
    /// Returns a response's body as a stream of events. Where that is its label, nothing of it is
    /// awaited.
    pub(super) async fn stream_body(
        self,
        headers: &HeaderMap,
        body: UpstreamBody,
    ) -> Result<UpstreamBody, Failure> {
        // A stream has no length: this is something else, and soon there.
        let is_stream = headers::content_length(headers).is_none();
        if headers::is_labelled_events(headers) && is_stream {
            let recognize = |body| -> RecognizedBody { Box::pin(self.recognize(body, true)) };
            return Ok(body.labelled(Box::new(recognize)));
        }
        Box::pin(self.recognize(body, false)).await
    }

    /// Recognizes a body, and returns it as a stream of events. One that says so and is empty is
    /// one that broke off.
    async fn recognize(
        self,
        body: UpstreamBody,
        is_labelled: bool,
    ) -> Result<UpstreamBody, Failure> {
        match self.read_start(body).await? {
            (BodyKind::Events, body) => Ok(body),
            (BodyKind::Empty, body) if is_labelled => Ok(body),
            (BodyKind::Json | BodyKind::JsonList, body) => self.read_json(body).await,
            (BodyKind::Other | BodyKind::Empty, body) => {
                Err(self.unexpected(body, "a stream").await)
            }
        }
    }

    /// Reads a body until its first bytes tell its kind, and returns that and the whole body.
    pub(super) async fn read_start(
        &self,
        mut body: UpstreamBody,
    ) -> Result<(BodyKind, UpstreamBody), Failure> {
        let mut start = BytesMut::new();
        let mut decoded = 0;
        loop {
            let bytes = body.next_bytes().await.transpose().map_err(read_failure)?;
            let is_whole = bytes.is_none();
            // One piece is not copied.
            start = match bytes {
                Some(bytes) if start.is_empty() => bytes.into(),
                Some(bytes) => {
                    start.extend_from_slice(&bytes);
                    start
                }
                None => start,
            };
            let kind = match BodyKind::of(&start, is_whole) {
                None if start.len() > MAX_BLANKS => BodyKind::Other,
                None => continue,
                Some(kind) => kind,
            };
            body = body.preceded_by(start.split().freeze());
            match Coding::of(&first_bytes(&body)) {
                // A coding that no label names.
                Some(coding) if decoded < MAX_CODINGS => body = body.decoded(coding),
                _ => return Ok((kind, body)),
            }
            decoded += 1;
        }
    }

    /// Reads the first JSON value of a body, and returns the body as a stream of events.
    async fn read_json(self, mut body: UpstreamBody) -> Result<UpstreamBody, Failure> {
        let Self {
            options,
            credentials,
            limits,
        } = &self;
        let mut permit = options.memory.permit();
        let mut values = JsonValues::new();
        let mut unsplit = Bytes::new();
        let first = loop {
            if let Some(value) = values.next_value(&mut unsplit, limits.response)? {
                break value;
            }
            grow(&mut permit, values.held_bytes()).await?;
            match body.next_bytes().await.transpose().map_err(read_failure)? {
                Some(bytes) => unsplit = bytes,
                None if values.is_within_value() => {
                    return Err(Failure::upstream_truncated(
                        "it broke off within a JSON object",
                    ));
                }
                None => return Err(self.not_an_answer("an empty list", "a stream", &[])),
            }
        };
        let (side, credentials) = (options.side, credentials.clone());
        let read = move || {
            let first = credentials.redact(first);
            let reply = match read_json_reply(side, &first) {
                Err(_) => read_json_reply(side, &credentials.redact_error(first.clone())),
                reply => reply,
            };
            (reply, first)
        };
        let (reply, first) = options.compute.run(values.held_bytes(), read).await?;
        let ready = match reply? {
            JsonReply::Answer(events) => events,
            JsonReply::Payload => {
                let mut frame = BytesMut::with_capacity(first.len() + 8);
                write_json_frame(&mut frame, &first);
                frame.freeze()
            }
            JsonReply::Unknown => {
                return Err(self.not_an_answer("another JSON object", "a stream", &first));
            }
        };
        Ok(body.json_events(JsonEvents {
            values,
            unsplit,
            ready,
            max_event: limits.event,
            permit: Some(permit),
        }))
    }

    /// Returns the failure for a body that is no answer of any kind.
    pub(super) async fn unexpected(&self, body: UpstreamBody, expected: &'static str) -> Failure {
        let body = self.credentials.redact_error(read_error_body(body).await);
        let found = match dialect::skip_blanks(&body) {
            [] => "an empty body",
            [b'<', ..] => "a page",
            b"null" => "null",
            start if std::str::from_utf8(start).is_ok() => "a text",
            _ => "bytes of an unknown kind",
        };
        self.not_an_answer(found, expected, &body)
    }

    fn not_an_answer(&self, found: &str, expected: &str, body: &[u8]) -> Failure {
        let options = &self.options;
        let report = options.side.error_report(body);
        Failure::not_an_answer(&options.name, found, expected, report.as_ref(), body.len())
    }
}

/// Returns the bytes that stand before a body.
fn first_bytes(body: &UpstreamBody) -> Bytes {
    match body {
        UpstreamBody::Preceded(bytes, _) => bytes.clone(),
        _ => Bytes::new(),
    }
}
