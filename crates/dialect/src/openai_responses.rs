//! [OpenAI Responses](https://platform.openai.com/docs/api-reference/responses).

mod answer;
mod reader;
mod request;
mod stored;
mod writer;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Answer, Answering, ClientSide, Dialect, FinishRule, Seen, Sink, UpstreamSide, Written, json,
    openai_chat, tools,
};
pub use request::{previous, with_previous};
pub use stored::{Cut, Known, Stored, sequence_number};

use crate::event::{Citation, FinishReason, Usage};
use crate::failure::Failure;
use crate::request::{Format, Request, Task, Tool, ToolChoice};

/// OpenAI Responses.
pub static DIALECT: Dialect = Dialect {
    name: "openai-responses",
    client: &Responses,
    upstream: Some(&Responses),
};

#[derive(Debug)]
struct Responses;

impl ClientSide for Responses {
    fn endpoints(&self) -> &'static [&'static str] {
        &["/v1/responses"]
    }

    fn read(&self, body: Bytes, _path: &str) -> Result<Request, Failure> {
        request::read(body)
    }

    fn writer(&self, answering: Answering) -> Box<dyn super::EventWriter> {
        Box::new(writer::EventWriter::new(answering))
    }

    fn write_answer(&self, answer: &Answer, answering: &Answering) -> Vec<u8> {
        answer::write(answer, answering).to_string().into_bytes()
    }

    fn asks_by_id(&self) -> bool {
        true
    }

    fn write_queued(&self, answering: &Answering) -> Vec<u8> {
        object(
            answering,
            &response_id(answering),
            "queued",
            Vec::new(),
            None,
        )
        .to_string()
        .into_bytes()
    }

    fn error_body(&self, failure: &Failure, _status: u16, _request_id: &str) -> Vec<u8> {
        openai_chat::error_body(failure)
    }

    fn names_events(&self) -> bool {
        true
    }
}

impl UpstreamSide for Responses {
    fn path(&self, task: Task, _model: &str, _stream: bool) -> Option<String> {
        (task == Task::Generate).then(|| "/responses".to_owned())
    }

    fn key(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn forwarded(&self) -> &'static [&'static str] {
        openai_chat::FORWARDED
    }

    fn same(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        let body = json::with_model(request, model)?;
        match request.background {
            // What goes on without its client is a stream to us, and nothing special to the upstream.
            true => json::with_fields(&body, &[("background", None), ("stream", Some("true"))]),
            false => Ok(body),
        }
    }

    fn write(&self, request: &Request, model: &str) -> Result<Written, Failure> {
        request::write(request, model)
    }

    fn reader(&self, _rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(reader::EventReader::default())
    }

    fn read_answer(&self, body: &[u8], sink: Sink<'_>) -> Result<Seen, Failure> {
        answer::read(body, sink)
    }
}

/// How an answer ended: its status, and, of one that is not whole, why.
fn status(reason: FinishReason) -> (&'static str, Value) {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => {
            ("completed", Value::Null)
        }
        FinishReason::Length => ("incomplete", json!({ "reason": "max_output_tokens" })),
        FinishReason::ContentFilter => ("incomplete", json!({ "reason": "content_filter" })),
    }
}

fn finish_reason(response: &Value, called: bool) -> FinishReason {
    match response["incomplete_details"]["reason"].as_str() {
        Some("content_filter") => FinishReason::ContentFilter,
        Some(_) => FinishReason::Length,
        None if response["status"] == "incomplete" => FinishReason::Length,
        None if called => FinishReason::ToolCalls,
        None => FinishReason::Stop,
    }
}

fn usage(value: &Value) -> Option<Usage> {
    Some(Usage {
        input: value["input_tokens"].as_u64()?,
        output: value["output_tokens"].as_u64().unwrap_or(0),
        cached: value["input_tokens_details"]["cached_tokens"].as_u64(),
        cache_written: value["input_tokens_details"]["cache_write_tokens"].as_u64(),
        reasoning: value["output_tokens_details"]["reasoning_tokens"].as_u64(),
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

/// In front of the ids of our responses.
const PREFIX: &str = "resp_";

fn response_id(answering: &Answering) -> String {
    id(&answering.id)
}

/// The id of our response that was made with that [`Answering::id`].
#[must_use]
pub fn id(answering_id: &str) -> String {
    format!("{PREFIX}{answering_id}")
}

/// The [`Answering::id`] of our response of that id; none if it is not one of ours.
#[must_use]
pub fn answering_id(response: &str) -> Option<&str> {
    response.strip_prefix(PREFIX)
}

/// The response object, which stands in the first events, in the last, and is the whole answer.
fn object(
    answering: &Answering,
    id: &str,
    status: &str,
    output: Vec<Value>,
    usage: Option<Usage>,
) -> Value {
    let request = &answering.request;
    json!({
        "id": id,
        "object": "response",
        "created_at": answering.created,
        "status": status,
        "background": request.background,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": request.max_tokens,
        "metadata": {},
        "model": answering.model,
        "output": output,
        "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
        "previous_response_id": null,
        "reasoning": { "effort": request.reasoning.map(|reasoning| reasoning.effort.word()), "summary": null },
        "store": request.background,
        "temperature": request.sampling.temperature,
        "text": { "format": format_json(request.format.as_ref()) },
        "tool_choice": request.tool_choice.as_ref().map_or("auto".into(), tool_choice_json),
        "tools": request.tools.iter().map(tool_json).collect::<Vec<_>>(),
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": usage.as_ref().map(usage_json),
        "user": request.user,
    })
}

fn format_json(format: Option<&Format>) -> Value {
    match format {
        None => json!({ "type": "text" }),
        Some(Format::Json) => json!({ "type": "json_object" }),
        Some(Format::Schema {
            name,
            schema,
            strict,
        }) => {
            let mut value = json!({ "type": "json_schema", "name": name, "schema": schema });
            if let Some(strict) = strict {
                value["strict"] = (*strict).into();
            }
            value
        }
    }
}

/// `strict` is always said: here it is on where nothing is, and another dialect's schemas need not fit it.
fn tool_json(tool: &Tool) -> Value {
    json!({
        "type": "function", "name": tool.name, "description": tool.description,
        "parameters": tools::schema(&tool.parameters),
        "strict": tool.strict.unwrap_or(false),
    })
}

fn tool_choice_json(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "name": name }),
    }
}
