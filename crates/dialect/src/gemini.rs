//! [Gemini](https://ai.google.dev/api/generate-content): `generateContent` and
//! `streamGenerateContent?alt=sse`.
//!
//! Every event is a whole response with a piece of the answer, and a complete answer is one such
//! event. No mark ends a stream: it has a finish reason and a clean end.
//!
//! ```
//! use dialect::request::Operation;
//!
//! let upstream = dialect::gemini::DIALECT.upstream.unwrap();
//! let path = upstream.request_path(Operation::Generate, "gemini-2.5-flash", true);
//! assert_eq!(
//!     path.as_deref(),
//!     Some("/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
//! );
//! ```

mod arguments;
mod calls;
mod logprobs;
mod piece;
mod reader;
mod request;
mod usage;
mod writer;

pub(crate) use request::PLACEHOLDER_SIGNATURE;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD as STANDARD, BASE64_URL_SAFE as URL_SAFE};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Answer, ClientSide, Continuation, Dialect, EventSink, FinishRule, FrameSink, JsonShape,
    PayloadInfo, ResponseMeta, UpstreamPayload, UpstreamSide, json,
};
use crate::event::{FinishReason, ReasoningState, StateOrigin};
use crate::failure::{Failure, FailureKind, classes};
use crate::families::Family;
use crate::request::{File, Image, Operation, Request};
use crate::tool_names::ToolNameRule;

/// The Gemini dialect.
pub static DIALECT: Dialect = Dialect {
    name: "gemini",
    client: &Gemini,
    upstream: Some(&Gemini),
    endpoints: &["/v1beta/models/{*id}", "/v1/models/{*id}"],
    retrieves_by_id: false,
    names_events: false,
    ends_without_mark: true,
    // Google's own client takes every line that does not begin with `data: ` for JSON, comments
    // included; it skips empty lines.
    // Google's own JavaScript clients before 2.0 pass over one in an event.
    repeats_errors_bare: true,
    heartbeat: b"\n",
};

#[derive(Debug)]
struct Gemini;

/// Characters percent-encoded in a model's path segment: all but the unreserved ones and `/`.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Path prefixes of models: some clients know only one of the two.
const MODELS: &[&str] = &["/v1beta/models/", "/v1/models/"];

impl ClientSide for Gemini {
    fn encode_token_count(&self, tokens: u64) -> Option<Vec<u8>> {
        Some(json!({ "totalTokens": tokens }).to_string().into_bytes())
    }

    fn parse_request(&self, body: Bytes, path: &str) -> Result<Request, Failure> {
        request::parse_request(
            body,
            MODELS
                .iter()
                .find_map(|models| path.strip_prefix(models))
                .unwrap_or_default(),
        )
    }

    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn super::EventWriter> {
        let has_logprobs = meta.request.logprobs.is_some();
        let writer = writer::GeminiEventWriter::new(&meta.id, &meta.model, has_logprobs);
        Box::new(writer)
    }

    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8> {
        writer::encode_answer(answer, meta).to_string().into_bytes()
    }

    fn has_place_for(&self, _image: &Image) -> bool {
        true
    }

    fn error_body(&self, failure: &Failure, status: u16, _request_id: &str) -> Vec<u8> {
        error_json(failure, Some(status)).to_string().into_bytes()
    }
}

impl UpstreamSide for Gemini {
    fn request_path(&self, task: Operation, model: &str, stream: bool) -> Option<String> {
        let model = utf8_percent_encode(model, PATH);
        let method = match (task, stream) {
            (Operation::CountTokens, _) => "countTokens",
            (Operation::Generate, true) => "streamGenerateContent?alt=sse",
            (Operation::Generate, false) => "generateContent",
        };
        Some(format!("/models/{model}:{method}"))
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("x-goog-api-key", key.to_owned())
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        // Not `x-goog-user-project`, which chooses whose account pays.
        &["x-goog-request-params"]
    }

    /// The model is named in the path, not in the body.
    fn pass_through_body(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        check_model(model)?;
        // Base64 of the start of the mark.
        let foreign = |signature: &str| decode_signature(signature).0.origin != StateOrigin::Gemini;
        Ok(json::without_foreign_signatures(
            &request.body,
            "dG9rZW5yaWxs",
            &foreign,
        ))
    }

    fn continued_body(&self, body: &Bytes, continuation: &Continuation) -> Result<Bytes, Failure> {
        request::continued_body(body, continuation)
    }

    fn takes_logprobs(&self) -> bool {
        true
    }

    fn takes_file(&self, file: &File) -> bool {
        !file.is_stored()
    }

    fn tool_name_rule(&self) -> ToolNameRule {
        ToolNameRule {
            max_length: 64,
            more_chars: ".:",
            begins_with_letter: true,
        }
    }

    fn encode_request(
        &self,
        request: &Request,
        model: &str,
        rules: &Family,
    ) -> Result<UpstreamPayload, Failure> {
        request::encode_request(request, model, rules)
    }

    fn count_body(&self, body: Bytes, model: &str) -> Result<Bytes, Failure> {
        // `contents` alone would leave out the instructions and the tools.
        let model = Value::from(format!("models/{model}")).to_string();
        let whole = json::with_fields(&body, &[("model", Some(&model))])?;
        let whole = String::from_utf8_lossy(&whole);
        Ok(json::object([("generateContentRequest", &*whole)]))
    }

    fn event_reader(&self, _rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(reader::GeminiEventReader::default())
    }

    fn parse_answer(
        &self,
        body: &[u8],
        _rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        reader::parse_answer(body, sink)
    }

    /// A whole answer is an event like those of a stream.
    fn json_shape(&self, value: &Value) -> JsonShape {
        let fields = ["candidates", "promptFeedback", "usageMetadata"];
        if fields.iter().any(|field| !value[field].is_null()) {
            JsonShape::Payload
        } else {
            JsonShape::Unknown
        }
    }

    fn replay_answer(&self, answer: Value, out: FrameSink<'_>) {
        out(None, answer.to_string().as_bytes());
    }
}

/// Rejects model names that would change the path of the upstream's address.
fn check_model(model: &str) -> Result<(), Failure> {
    if model
        .split('/')
        .any(|segment| matches!(segment, "" | "." | ".."))
    {
        return Err(Failure::invalid(
            "model",
            "`model` can't have an empty part, `.` or `..` between its slashes",
        ));
    }
    Ok(())
}

/// Returns the signature in the form in which clients of this dialect see it: Google's SDK requires
/// base64. Other upstreams want the signed thought back, which these clients leave out, so it is in
/// there too.
fn encode_signature(state: &ReasoningState<'_>, thought: &str) -> String {
    match (state.origin, thought) {
        (StateOrigin::Gemini, _) => state.value.to_string(),
        (_, "") => STANDARD.encode(state.encode()),
        _ => STANDARD.encode(format!("{}\0{thought}", state.encode())),
    }
}

/// Decodes a signature, and the thought that is in it. It may come back in either alphabet of
/// base64.
fn decode_signature(text: &str) -> (ReasoningState<'static>, String) {
    let decoded = STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok();
    let packed = decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let (seal, thought) = packed.split_once('\0').unwrap_or((&packed, ""));
    let ReasoningState { origin, value } = ReasoningState::decode(seal, StateOrigin::Gemini);
    let (value, thought) = match origin {
        StateOrigin::Gemini => (text.to_owned(), ""),
        _ => (value.into_owned(), thought),
    };
    let value = value.into();
    (ReasoningState { origin, value }, thought.to_owned())
}

/// Returns the error body: `{"error": {"code", "message", "status"}}`.
fn error_json(failure: &Failure, told: Option<u16>) -> Value {
    let (code, status) = match failure.kind() {
        _ if failure.is(&classes::BUDGET_EXCEEDED) => (429, "RESOURCE_EXHAUSTED"),
        FailureKind::InvalidRequest | FailureKind::TooLarge => (400, "INVALID_ARGUMENT"),
        FailureKind::Authentication => (401, "UNAUTHENTICATED"),
        FailureKind::Billing | FailureKind::Permission => (403, "PERMISSION_DENIED"),
        FailureKind::NotFound => (404, "NOT_FOUND"),
        FailureKind::RateLimit => (429, "RESOURCE_EXHAUSTED"),
        FailureKind::Overloaded => (503, "UNAVAILABLE"),
        FailureKind::Timeout => (504, "DEADLINE_EXCEEDED"),
        FailureKind::Server => (500, "INTERNAL"),
    };
    let code = told.unwrap_or(code);
    let mut error = json!({ "code": code, "message": failure.to_string(), "status": status });
    if failure.is(&classes::RATE_LIMITED)
        && let Some(after) = failure.retry_after()
    {
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", after.as_secs()),
        }]);
    }
    json!({ "error": error })
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::ContentFilter => "SAFETY",
    }
}
