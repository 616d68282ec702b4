//! [OpenAI Responses](https://platform.openai.com/docs/api-reference/responses).
//!
//! ```
//! use dialect::openai_responses::{meta_id, response_id_of};
//!
//! assert_eq!(response_id_of("0123"), "resp_0123");
//! assert_eq!(meta_id("resp_0123"), Some("0123"));
//! assert_eq!(meta_id("chatcmpl-1"), None);
//! ```

mod answer;
mod background;
mod call_items;
mod calls;
mod options;
mod payload;
mod reader;
mod replay;
mod request;
mod said;
pub mod socket;
mod stored;
mod writer;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Answer, AnswerFolder, COMMENT_HEARTBEAT, ClientSide, Continuation, Dialect, EventSink,
    FinishRule, FrameSink, JsonShape, PayloadInfo, ResponseMeta, UpstreamPayload, UpstreamSide,
    finish, json, openai,
};
pub use background::{EventPlace, event_place, in_background, in_foreground};
use options::{repeated_options, tool_choice_json};
pub use request::{previous_response_id, response_id_in, with_previous_response_id};
pub use stored::{Interruption, StoredMeta, StoredResponse, sequence_number};

use crate::counts;
use crate::error_report::ErrorReport;
use crate::event::{Citation, FinishReason, Usage};
use crate::failure::Failure;
use crate::families::Family;
use crate::request::{CustomNames, Effort, File, Image, Operation, Request, ToolKind};

/// The OpenAI Responses dialect.
pub static DIALECT: Dialect = Dialect {
    name: "openai-responses",
    client: &Responses,
    upstream: Some(&Upstream {
        has_custom_tools: true,
    }),
    endpoints: &["/v1/responses", INPUT_TOKENS],
    retrieves_by_id: true,
    names_events: true,
    ends_without_mark: false,
    repeats_errors_bare: false,
    heartbeat: COMMENT_HEARTBEAT,
};

/// Where clients ask for the tokens of a request.
const INPUT_TOKENS: &str = "/v1/responses/input_tokens";
/// The fields of a request that its tokens are counted of.
const COUNTED_FIELDS: &[&str] = &[
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
];

#[derive(Debug)]
struct Responses;

impl ClientSide for Responses {
    fn parse_request(&self, body: Bytes, path: &str) -> Result<Request, Failure> {
        let mut request = request::parse_request(body)?;
        if path == INPUT_TOKENS {
            request.operation = Operation::CountTokens;
            (request.stream, request.background) = (false, false);
        }
        Ok(request)
    }

    fn encode_token_count(&self, tokens: u64) -> Option<Vec<u8>> {
        let count = json!({ "object": "response.input_tokens", "input_tokens": tokens });
        Some(count.to_string().into_bytes())
    }

    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn super::EventWriter> {
        Box::new(writer::ResponsesEventWriter::new(meta))
    }

    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8> {
        answer::encode_answer(answer, meta).to_string().into_bytes()
    }

    fn encode_queued(&self, meta: &ResponseMeta) -> Vec<u8> {
        object(meta, &response_id(meta), "queued", Vec::new(), None)
            .to_string()
            .into_bytes()
    }

    fn has_place_for(&self, image: &Image) -> bool {
        matches!(image, Image::Data { .. })
    }

    fn error_body(&self, failure: &Failure, _status: u16, _request_id: &str) -> Vec<u8> {
        openai::error_body(failure)
    }
}

/// An upstream of this dialect.
#[derive(Debug)]
struct Upstream {
    /// It knows custom tools, which take a text.
    has_custom_tools: bool,
}

/// A host that has taken over the API, and of the tools that clients run knows functions.
static WITH_FUNCTIONS: Upstream = Upstream {
    has_custom_tools: false,
};

/// The flavors of OpenAI itself.
const OPENAI_FLAVORS: &[&str] = &["openai", "azure"];

/// Returns the upstream side for a flavor that differs from OpenAI in its requests.
pub(crate) fn hosted(flavor: &str) -> Option<&'static dyn UpstreamSide> {
    let is_other = !flavor.is_empty() && !OPENAI_FLAVORS.contains(&flavor);
    is_other.then_some(&WITH_FUNCTIONS)
}

impl UpstreamSide for Upstream {
    fn request_path(&self, task: Operation, _model: &str, _stream: bool) -> Option<String> {
        Some(match task {
            Operation::Generate => "/responses".to_owned(),
            Operation::CountTokens => "/responses/input_tokens".to_owned(),
        })
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        openai::FORWARDED_HEADERS
    }

    fn pass_through_body(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        let body = json::with_model(request, model)?;
        match request.background {
            // A background response is an ordinary stream for the upstream: this server keeps it
            // running.
            true => json::with_fields(&body, &[("background", None), ("stream", Some("true"))]),
            false => Ok(body),
        }
    }

    fn continued_body(&self, body: &Bytes, continuation: &Continuation) -> Result<Bytes, Failure> {
        let message = |role: &str, text: &str| json!({ "role": role, "content": text });
        let messages = continuation.messages("assistant", message);
        continuation.append(body, "input", &messages, &["max_output_tokens"])
    }

    fn takes_file(&self, file: &File) -> bool {
        let mut types = ["application/", "text/"].iter();
        file.is_stored() || types.any(|start| file.media_type.starts_with(start))
    }

    fn takes_logprobs(&self) -> bool {
        true
    }

    fn encode_request(
        &self,
        request: &Request,
        model: &str,
        rules: &Family,
    ) -> Result<UpstreamPayload, Failure> {
        let custom = match self.has_custom_tools {
            true => CustomNames::of(request),
            false => CustomNames::default(),
        };
        request::encode_request(request, model, (rules, &custom))
    }

    fn count_body(&self, body: Bytes, _model: &str) -> Result<Bytes, Failure> {
        json::with_only(&body, COUNTED_FIELDS)
    }

    fn event_reader(&self, _rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(reader::ResponsesEventReader::default())
    }

    fn answer_folder(&self) -> Option<Box<dyn AnswerFolder>> {
        Some(Box::new(reader::ResponsesFolder::default()))
    }

    fn parse_answer(
        &self,
        body: &[u8],
        _rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        answer::parse_answer(body, sink)
    }

    fn json_shape(&self, value: &Value) -> JsonShape {
        replay::json_shape(value)
    }

    fn replay_answer(&self, answer: Value, out: FrameSink<'_>) {
        replay::replay_answer(answer, out);
    }
}

/// Returns the status and, for an incomplete answer, its details.
fn status(reason: FinishReason) -> (&'static str, Value) {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => {
            ("completed", Value::Null)
        }
        FinishReason::Length => ("incomplete", json!({ "reason": "max_output_tokens" })),
        FinishReason::ContentFilter => ("incomplete", json!({ "reason": "content_filter" })),
    }
}

/// Returns the reason for which a response ended: that for which it is incomplete, or its status.
/// Some upstreams leave the status out; what they end with is complete then.
fn finish_reason(response: &Value, called: bool) -> Result<FinishReason, Failure> {
    if let Some(report) = ErrorReport::of(&response["error"]) {
        return Err(report.into());
    }
    let reason = response["incomplete_details"]["reason"].as_str();
    let reason = reason.filter(|reason| !reason.is_empty());
    let reason = match (reason, response["status"].as_str()) {
        (Some(reason), status) if status != Some("completed") => reason,
        (_, status) => status.unwrap_or("completed"),
    };
    let ends = finish::RESPONSES.read(reason, called, "")?;
    ends.ok_or_else(|| Failure::upstream_truncated("its status is no end"))
}

/// Returns true if an answer was cut off by a limit or a filter, and its last call perhaps with it.
fn is_cut(response: &Value) -> bool {
    matches!(
        finish_reason(response, false),
        Ok(FinishReason::Length | FinishReason::ContentFilter)
    )
}

fn usage(value: &Value) -> Option<Usage> {
    let count = |at: &Value, name: &str| counts::count(&at[name]);
    let (input, output) = (count(value, "input_tokens"), count(value, "output_tokens"));
    let total = count(value, "total_tokens");
    let input = match (input, output.or(total)) {
        (None, None) => return None,
        (Some(input), _) => input,
        (None, _) => total.unwrap_or(0).saturating_sub(output.unwrap_or(0)),
    };
    let (of_input, of_output) = (
        &value["input_tokens_details"],
        &value["output_tokens_details"],
    );
    Some(Usage {
        input,
        output: output.unwrap_or(0),
        cached: count(of_input, "cached_tokens"),
        cache_written: count(of_input, "cache_write_tokens"),
        reasoning: count(of_output, "reasoning_tokens"),
    })
}

fn usage_json(usage: &Usage) -> Value {
    let mut value = json!({
        "input_tokens": usage.input,
        "input_tokens_details": { "cached_tokens": usage.cached.unwrap_or(0) },
        "output_tokens": usage.output,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning.unwrap_or(0) },
        "total_tokens": usage.input.saturating_add(usage.output),
    });
    if let Some(written) = usage.cache_written {
        value["input_tokens_details"]["cache_write_tokens"] = written.into();
    }
    value
}

fn citation(value: &Value) -> Option<Citation> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Some(Citation {
        url: value["url"].as_str()?.to_owned(),
        title: text("title"),
        quote: String::new(),
        span: value["start_index"]
            .as_u64()
            .zip(value["end_index"].as_u64())
            .filter(|span| *span != (0, 0)),
    })
}

fn citation_json(citation: &Citation) -> Value {
    let (start, end) = citation.span.unwrap_or_default();
    json!({
        "type": "url_citation", "url": citation.url, "title": citation.title,
        "start_index": start, "end_index": end,
    })
}

/// Prefix of the ids of our responses.
const PREFIX: &str = "resp_";

fn response_id(meta: &ResponseMeta) -> String {
    response_id_of(&meta.id)
}

/// Returns the id of the response made with that [`ResponseMeta::id`].
#[must_use]
pub fn response_id_of(meta_id: &str) -> String {
    format!("{PREFIX}{meta_id}")
}

/// Returns the [`ResponseMeta::id`] of a response id; `None` if it is not one of ours.
#[must_use]
pub fn meta_id(response: &str) -> Option<&str> {
    response.strip_prefix(PREFIX)
}

/// Encodes the response object, which is the complete answer and part of the first and last events.
fn object(
    meta: &ResponseMeta,
    id: &str,
    status: &str,
    output: Vec<Value>,
    usage: Option<Usage>,
) -> Value {
    let request = &meta.request;
    let (format, tools) = repeated_options(request);
    let is_custom = |name: &str| {
        let form = request.tool_forms.get(name);
        form.is_some_and(|form| form.kind == ToolKind::Custom)
    };
    let choice = request.tool_choice.as_ref();
    let choice = choice.map_or("auto".into(), |choice| tool_choice_json(choice, is_custom));
    let effort = request.reasoning.and_then(|reasoning| reasoning.effort);
    let effort = effort.map(Effort::word);
    json!({
        "id": id,
        "object": "response",
        "created_at": meta.created,
        "status": status,
        "background": request.background,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": request.max_tokens,
        "metadata": {},
        "model": meta.model,
        "output": output,
        "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
        "previous_response_id": null,
        "reasoning": { "effort": effort, "summary": null },
        "store": request.background,
        "temperature": request.sampling.temperature,
        "text": { "format": format },
        "tool_choice": choice,
        "tools": tools,
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": usage.as_ref().map(usage_json),
        "user": request.user,
    })
}
