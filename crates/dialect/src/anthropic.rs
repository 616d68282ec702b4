//! [Anthropic Messages](https://docs.anthropic.com/en/api/messages).
//!
//! ```
//! use bytes::Bytes;
//! use dialect::request::Operation;
//!
//! let body = r#"{"model": "claude-sonnet-5",
//!     "messages": [{"role": "user", "content": "Hello"}]}"#;
//! let client = dialect::anthropic::DIALECT.client;
//! let request = client.parse_request(Bytes::from(body), "/v1/messages/count_tokens")?;
//! assert_eq!(request.operation, Operation::CountTokens);
//! assert_eq!(client.encode_token_count(8).unwrap(), br#"{"input_tokens":8}"#);
//! # Ok::<(), dialect::failure::Failure>(())
//! ```

mod answer;
mod fold;
mod reader;
mod replay;
mod request;
mod writer;

pub(crate) use request::thinking_options;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Answer, AnswerFolder, ClientSide, Continuation, Dialect, EventSink, FinishRule, FrameSink,
    JsonShape, PayloadInfo, ResponseMeta, UpstreamPayload, UpstreamSide, json,
};
use crate::counts::count;
use crate::event::{Citation, FinishReason, ReasoningState, StateOrigin, Usage};
use crate::failure::{Failure, FailureKind, classes};
use crate::families::Family;
use crate::request::{File, Operation, Request};
use crate::tool_names::ToolNameRule;

/// Anthropic Messages.
pub static DIALECT: Dialect = Dialect {
    name: "anthropic",
    client: &Anthropic,
    upstream: Some(&Anthropic),
    endpoints: &[MESSAGES, COUNT_TOKENS],
    retrieves_by_id: false,
    names_events: true,
    ends_without_mark: false,
    repeats_errors_bare: false,
    // Some agents take silence for a dead connection, whatever comments arrive.
    heartbeat: b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
};

/// Request path, the same on this server and on an upstream.
const MESSAGES: &str = "/v1/messages";
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

/// The fields of a request that its tokens are counted of; any other is refused.
const COUNTED_FIELDS: &[&str] = &[
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
];

#[derive(Debug)]
struct Anthropic;

impl ClientSide for Anthropic {
    fn parse_request(&self, body: Bytes, path: &str) -> Result<Request, Failure> {
        let mut request = request::parse_request(body)?;
        if path == COUNT_TOKENS {
            (request.operation, request.stream) = (Operation::CountTokens, false);
        }
        Ok(request)
    }

    fn encode_token_count(&self, tokens: u64) -> Option<Vec<u8>> {
        Some(json!({ "input_tokens": tokens }).to_string().into_bytes())
    }

    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn super::EventWriter> {
        Box::new(writer::AnthropicEventWriter::new(
            answer_id(&meta),
            only_stop(&meta.request),
            meta.model,
        ))
    }

    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8> {
        answer::encode_answer(answer, &answer_id(meta), meta)
            .to_string()
            .into_bytes()
    }

    fn error_body(&self, failure: &Failure, _status: u16, request_id: &str) -> Vec<u8> {
        error_json(failure, request_id).to_string().into_bytes()
    }
}

impl UpstreamSide for Anthropic {
    fn request_path(&self, task: Operation, _model: &str, _stream: bool) -> Option<String> {
        Some(match task {
            Operation::Generate => MESSAGES.to_owned(),
            Operation::CountTokens => COUNT_TOKENS.to_owned(),
        })
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("x-api-key", key.to_owned())
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        &["anthropic-version", "anthropic-beta"]
    }

    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn takes_file(&self, file: &File) -> bool {
        file.is_pdf()
    }

    fn tool_name_rule(&self) -> ToolNameRule {
        ToolNameRule {
            max_length: 128,
            more_chars: "",
            begins_with_letter: false,
        }
    }

    fn continued_body(&self, body: &Bytes, continuation: &Continuation) -> Result<Bytes, Failure> {
        let message = |role: &str, text: &str| json!({ "role": role, "content": text });
        let messages = continuation.messages("assistant", message);
        continuation.append(body, "messages", &messages, &["max_tokens"])
    }

    fn takes_prefill(&self, model: &str, rules: &Family) -> bool {
        rules
            .prefill
            .unwrap_or_else(|| request::takes_prefill(model))
    }

    fn encode_request(
        &self,
        request: &Request,
        model: &str,
        rules: &Family,
    ) -> Result<UpstreamPayload, Failure> {
        request::encode_request(request, model, rules)
    }

    fn count_body(&self, body: Bytes, _model: &str) -> Result<Bytes, Failure> {
        json::with_only(&body, COUNTED_FIELDS)
    }

    fn event_reader(&self, rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(reader::AnthropicEventReader::new(rule))
    }

    fn parse_answer(
        &self,
        body: &[u8],
        rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        answer::parse_answer(body, rule, sink)
    }

    fn json_shape(&self, value: &Value) -> JsonShape {
        replay::json_shape(value)
    }

    fn answer_folder(&self) -> Option<Box<dyn AnswerFolder>> {
        Some(Box::new(fold::MessagesFolder::default()))
    }

    fn replay_answer(&self, answer: Value, out: FrameSink<'_>) {
        replay::replay_answer(answer, out);
    }
}

fn answer_id(meta: &ResponseMeta) -> String {
    format!("msg_{}", meta.id)
}

/// Words of Anthropic's for a request with too many tokens, by which clients know it.
const TOO_LONG_WORDS: &[&str] = &["prompt is too long", "exceed context limit"];

/// Returns the error body: `{"type": "error", "error": {"type", "message"}, "request_id"}`.
fn error_json(failure: &Failure, request_id: &str) -> Value {
    let mut message = failure.to_string();
    let has_words = TOO_LONG_WORDS.iter().any(|words| message.contains(words));
    if failure.is(&classes::CONTEXT_LENGTH_EXCEEDED) && !has_words {
        message = format!("{}: {message}", TOO_LONG_WORDS[0]);
    }
    let error = json!({ "type": error_type(failure), "message": message });
    json!({ "type": "error", "error": error, "request_id": request_id })
}

/// Returns Anthropic's `type` of an error.
fn error_type(failure: &Failure) -> &'static str {
    match failure.kind() {
        FailureKind::InvalidRequest => "invalid_request_error",
        FailureKind::Authentication => "authentication_error",
        FailureKind::Billing => "billing_error",
        FailureKind::Permission => "permission_error",
        FailureKind::NotFound => "not_found_error",
        FailureKind::TooLarge => "request_too_large",
        FailureKind::RateLimit => "rate_limit_error",
        FailureKind::Overloaded => "overloaded_error",
        FailureKind::Timeout => "timeout_error",
        FailureKind::Server => "api_error",
    }
}

fn stop_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
    }
}

/// Token counts in disjoint parts; a later report replaces an earlier one.
#[derive(Debug, Default, Clone, Copy)]
struct UsageCounts {
    input: u64,
    output: u64,
    cached: Option<u64>,
    cache_written: Option<u64>,
    reasoning: Option<u64>,
}

impl UsageCounts {
    /// Takes the counts of a report. Those that it lacks, or has as 0, stay; but a report that
    /// counts the input counts its parts too, also as 0.
    fn update(&mut self, usage: &Value) {
        let told = |value: &Value| count(value).filter(|count| *count > 0);
        let replace =
            |before: &mut u64, name: &str| *before = told(&usage[name]).unwrap_or(*before);
        replace(&mut self.input, "input_tokens");
        replace(&mut self.output, "output_tokens");
        let keep =
            |before: Option<u64>, value: &Value| told(value).or(before).or_else(|| count(value));
        let counts_input = told(&usage["input_tokens"]).is_some();
        let part = |before: Option<u64>, value: &Value| match count(value) {
            Some(count) if counts_input => Some(count),
            _ => keep(before, value),
        };
        self.cached = part(self.cached, &usage["cache_read_input_tokens"]);
        self.cache_written = part(self.cache_written, &usage["cache_creation_input_tokens"]);
        let thinking = &usage["output_tokens_details"]["thinking_tokens"];
        self.reasoning = keep(self.reasoning, thinking);
    }

    fn usage(self) -> Usage {
        let (cached, written) = (self.cached.unwrap_or(0), self.cache_written.unwrap_or(0));
        Usage {
            input: self.input.saturating_add(cached).saturating_add(written),
            output: self.output,
            cached: self.cached,
            cache_written: self.cache_written,
            reasoning: self.reasoning,
        }
    }
}

/// Returns the stop sequence that was met if one was: other dialects don't say which, so that it is
/// known where there is but one.
fn only_stop(request: &Request) -> Option<String> {
    match &request.stop[..] {
        [stop] => Some(stop.clone()),
        _ => None,
    }
}

fn usage_json(usage: Option<Usage>) -> Value {
    let usage = usage.unwrap_or_default();
    // Parts of a whole, although some upstreams report more cached tokens than input tokens.
    let cached = usage.cached.unwrap_or(0).min(usage.input);
    let written = usage.cache_written.unwrap_or(0).min(usage.input - cached);
    let mut value = json!({
        "input_tokens": usage.input - cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output,
    });
    if let Some(reasoning) = usage.reasoning {
        value["output_tokens_details"] = json!({ "thinking_tokens": reasoning });
    }
    value
}

/// Returns the signature in the form in which clients of this dialect see it.
fn signature(state: &ReasoningState<'_>) -> String {
    match state.origin {
        StateOrigin::Anthropic => state.value.to_string(),
        _ => state.encode(),
    }
}

/// Returns the signature for reasoning that its upstream did not sign: it names only the origin.
fn unsigned_signature() -> String {
    ReasoningState {
        origin: StateOrigin::OpenAiChat,
        value: "".into(),
    }
    .encode()
}

fn citation(value: &Value) -> Option<Citation> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Some(Citation {
        url: value["url"].as_str()?.to_owned(),
        title: text("title"),
        quote: text("cited_text"),
        span: None,
    })
}

fn citation_json(citation: &Citation) -> Value {
    json!({
        "type": "web_search_result_location", "url": citation.url, "title": citation.title,
        "cited_text": citation.quote, "encrypted_index": "",
    })
}
