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
mod reader;
mod request;
mod writer;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Answer, ClientSide, Dialect, EventSink, FinishRule, PayloadInfo, ResponseMeta, UpstreamPayload,
    UpstreamSide,
};
use crate::event::{Citation, FinishReason, ReasoningState, StateOrigin, Usage};
use crate::failure::{Failure, FailureKind};
use crate::request::{Operation, Request};

/// Anthropic Messages.
pub static DIALECT: Dialect = Dialect {
    name: "anthropic",
    client: &Anthropic,
    upstream: Some(&Anthropic),
    endpoints: &[MESSAGES, COUNT_TOKENS],
    retrieves_by_id: false,
    names_events: true,
    ends_without_mark: false,
    // Some agents take silence for a dead connection, whatever comments arrive.
    heartbeat: b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
};

/// Request path, the same on this server and on an upstream.
const MESSAGES: &str = "/v1/messages";
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

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
            meta.model,
        ))
    }

    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8> {
        answer::encode_answer(answer, &answer_id(meta), &meta.model)
            .to_string()
            .into_bytes()
    }

    fn error_body(&self, failure: &Failure, _status: u16, request_id: &str) -> Vec<u8> {
        let error = json!({ "type": error_type(failure), "message": failure.to_string() });
        json!({ "type": "error", "error": error, "request_id": request_id })
            .to_string()
            .into_bytes()
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

    fn encode_request(&self, request: &Request, model: &str) -> Result<UpstreamPayload, Failure> {
        request::encode_request(request, model)
    }

    fn event_reader(&self, _rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(reader::AnthropicEventReader::default())
    }

    fn parse_answer(&self, body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
        answer::parse_answer(body, sink)
    }
}

fn answer_id(meta: &ResponseMeta) -> String {
    format!("msg_{}", meta.id)
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

fn finish_reason(reason: &str, called: bool) -> FinishReason {
    match reason {
        "stop_sequence" => FinishReason::StopSequence,
        // A paused turn is incomplete as well: only the same upstream could continue it.
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ if called => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
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
    fn update(&mut self, usage: &Value) {
        let replace = |count: &mut u64, name: &str| *count = usage[name].as_u64().unwrap_or(*count);
        replace(&mut self.input, "input_tokens");
        replace(&mut self.output, "output_tokens");
        self.cached = usage["cache_read_input_tokens"].as_u64().or(self.cached);
        self.cache_written = usage["cache_creation_input_tokens"]
            .as_u64()
            .or(self.cache_written);
        self.reasoning = usage["output_tokens_details"]["thinking_tokens"]
            .as_u64()
            .or(self.reasoning);
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
