//! [Gemini](https://ai.google.dev/api/generate-content): `generateContent` and `streamGenerateContent?alt=sse`.
//!
//! Every event is a whole response with a piece of the answer in it, and a whole answer is one such event. No mark ends a
//! stream: a finish reason and a clean end do.

mod arguments;
mod piece;
mod reader;
mod request;
mod writer;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD as STANDARD, BASE64_URL_SAFE as URL_SAFE};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Answer, Answering, ClientSide, Dialect, FinishRule, Seen, Sink, UpstreamSide, Written, json,
};
use crate::event::{FinishReason, Origin, State, Usage};
use crate::failure::{Failure, FailureKind};
use crate::request::{Request, Task};

/// Gemini.
pub static DIALECT: Dialect = Dialect {
    name: "gemini",
    client: &Gemini,
    upstream: Some(&Gemini),
};

#[derive(Debug)]
struct Gemini;

/// What stands in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Where models are: some clients know only one of the two.
const MODELS: &[&str] = &["/v1beta/models/", "/v1/models/"];

impl ClientSide for Gemini {
    fn endpoints(&self) -> &'static [&'static str] {
        &["/v1beta/models/{*id}", "/v1/models/{*id}"]
    }

    /// One of its paths is also that of other dialects' models, which are only asked for.
    fn owns(&self, path: &str) -> bool {
        let method = path.rsplit_once(':').map(|(_, method)| method);
        path.starts_with("/v1beta/")
            || method.is_some_and(|method| method.ends_with("Content") || method == "countTokens")
    }

    fn write_count(&self, tokens: u64) -> Option<Vec<u8>> {
        Some(json!({ "totalTokens": tokens }).to_string().into_bytes())
    }

    fn read(&self, body: Bytes, path: &str) -> Result<Request, Failure> {
        request::read(
            body,
            MODELS
                .iter()
                .find_map(|models| path.strip_prefix(models))
                .unwrap_or_default(),
        )
    }

    fn writer(&self, answering: Answering) -> Box<dyn super::EventWriter> {
        Box::new(writer::EventWriter::new(&answering.id, &answering.model))
    }

    fn write_answer(&self, answer: &Answer, answering: &Answering) -> Vec<u8> {
        writer::answer(answer, answering).to_string().into_bytes()
    }

    fn ends_unmarked(&self) -> bool {
        true
    }

    /// Google's own client takes every line that is not `data: ` for JSON, comments too; but for an empty one.
    fn heartbeat(&self) -> &'static [u8] {
        b"\n"
    }

    fn error_body(&self, failure: &Failure, status: u16, _request_id: &str) -> Vec<u8> {
        error_json(failure, Some(status)).to_string().into_bytes()
    }
}

impl UpstreamSide for Gemini {
    fn path(&self, task: Task, model: &str, stream: bool) -> Option<String> {
        let model = utf8_percent_encode(model, PATH);
        let method = match (task, stream) {
            (Task::CountTokens, _) => "countTokens",
            (Task::Generate, true) => "streamGenerateContent?alt=sse",
            (Task::Generate, false) => "generateContent",
        };
        Some(format!("/models/{model}:{method}"))
    }

    fn key(&self, key: &str) -> (&'static str, String) {
        ("x-goog-api-key", key.to_owned())
    }

    fn forwarded(&self) -> &'static [&'static str] {
        &["x-goog-user-project", "x-goog-request-params"]
    }

    /// The model stands in the path, not in the body.
    fn same(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        check_model(model)?;
        // The mark in base64.
        let foreign = |seal: &str| unseal(seal).origin != Origin::Gemini;
        Ok(json::without_foreign_seals(
            &request.body,
            "dG9rZW5yaWxs",
            foreign,
        ))
    }

    fn write(&self, request: &Request, model: &str) -> Result<Written, Failure> {
        request::write(request, model)
    }

    fn reader(&self, _rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(reader::EventReader::default())
    }

    fn read_answer(&self, body: &[u8], sink: Sink<'_>) -> Result<Seen, Failure> {
        reader::answer(body, sink)
    }
}

/// A model's name is part of an address, and must lead nowhere else.
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

/// A seal, as this dialect's clients get to see it: in base64, and nothing else, says Google's own.
fn seal(state: &State<'_>) -> String {
    match state.origin {
        Origin::Gemini => state.value.to_string(),
        _ => STANDARD.encode(state.packed()),
    }
}

/// Reads a seal. It may come back in the other alphabet of base64.
fn unseal(text: &str) -> State<'static> {
    let decoded = STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok();
    let packed = decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let State { origin, value } = State::unpack(&packed, Origin::Gemini);
    let value = if origin == Origin::Gemini {
        text.to_owned()
    } else {
        value.into_owned()
    };
    State {
        origin,
        value: value.into(),
    }
}

/// The error body: `{"error": {"code", "message", "status"}}`.
fn error_json(failure: &Failure, told: Option<u16>) -> Value {
    let (code, status) = match failure.kind() {
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
    json!({ "error": { "code": code, "message": failure.to_string(), "status": status } })
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::ContentFilter => "SAFETY",
    }
}

fn usage_json(usage: &Usage) -> Value {
    // Part of the output; some upstreams count more of it than output.
    let reasoning = usage.reasoning.map(|reasoning| reasoning.min(usage.output));
    let mut value = json!({
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - reasoning.unwrap_or(0),
        "totalTokenCount": usage.input.saturating_add(usage.output),
    });
    if let Some(cached) = usage.cached {
        value["cachedContentTokenCount"] = cached.into();
    }
    if let Some(reasoning) = reasoning {
        value["thoughtsTokenCount"] = reasoning.into();
    }
    value
}
