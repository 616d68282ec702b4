//! Encodes a neutral request as a Chat Completions request.

use serde_json::{Value, json};

use crate::event::StateOrigin;
use crate::failure::Failure;
use crate::json::{Json, ListWriter, ObjectWriter};
use crate::payload_builder::PayloadBuilder;
use crate::request::{Format, Part, Reasoning, Request, Role, Tool, ToolChoice, text_of, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request of another dialect, and asks for the usage.
pub(in crate::openai_chat) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let mut payload = PayloadBuilder::new(request);
    payload.set("model", Some(model));
    payload.list("messages", |list, dropped| {
        write_messages(request, list, dropped);
    });
    payload.set("stream", Some(request.stream));
    let options = request.stream.then(|| json!({ "include_usage": true }));
    payload.set("stream_options", options);
    set_sampling(&mut payload, request, is_newer(model));
    payload.set("user", request.user.as_deref());
    payload.set("n", (request.n > 1).then_some(request.n));
    payload.drop_present(&[("top_k", request.sampling.top_k.is_some())]);
    set_reasoning(&mut payload, request.reasoning);
    if !request.tools.is_empty() {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| write_tool(tool, object));
            }
        });
        payload.set("parallel_tool_calls", request.parallel_tool_calls);
        payload.set("tool_choice", request.tool_choice.as_ref().map(choice_json));
    }
    set_format(&mut payload, request.format.as_ref());
    Ok(payload.finish())
}

fn write_messages(request: &Request, messages: &mut ListWriter, dropped: &mut Vec<String>) {
    // Upstreams want their reasoning back only within the current turn.
    let turn = request.current_turn();
    let mut images = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        let parts = &message.parts;
        if message.role != Role::Tool {
            write_result_images(&mut images, messages);
        }
        match message.role {
            Role::System => {
                messages.value(json!({ "role": "system", "content": texts_of(parts, "\n\n") }));
            }
            Role::User => write_user_message(parts, messages),
            Role::Assistant => write_assistant_message(parts, at > turn, messages),
            Role::Tool => write_tool_results(parts, messages, &mut images, dropped),
        }
    }
    write_result_images(&mut images, messages);
}

/// Sets the token limit, the sampling parameters and the stop sequences.
fn set_sampling(payload: &mut PayloadBuilder, request: &Request, is_newer: bool) {
    let limit = if is_newer {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    payload.set(limit, request.max_tokens);
    let sampling = &request.sampling;
    payload.set("seed", sampling.seed);
    let stop = (!request.stop.is_empty())
        .then(|| json!(&request.stop[..request.stop.len().min(MAX_STOP_SEQUENCES)]));
    if request.stop.len() > MAX_STOP_SEQUENCES {
        payload.drop_param(format!("stop (more than {MAX_STOP_SEQUENCES})"));
    }
    for (name, value) in [
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        (
            "presence_penalty",
            sampling.presence_penalty.map(Value::from),
        ),
        (
            "frequency_penalty",
            sampling.frequency_penalty.map(Value::from),
        ),
        ("stop", stop),
    ] {
        match value {
            // These models reject them.
            Some(_) if is_newer => payload.drop_param(name),
            value => payload.set(name, value),
        }
    }
}

fn set_reasoning(payload: &mut PayloadBuilder, reasoning: Option<Reasoning>) {
    let Some(Reasoning { effort, budget, .. }) = reasoning else {
        return;
    };
    match budget {
        // Few models know the effort `none`, so it is sent only if the client used that word.
        Some(0) => return payload.drop_param("the thinking budget of 0"),
        Some(_) => payload.drop_param("the thinking budget (sent as reasoning_effort)"),
        None => {}
    }
    payload.set("reasoning_effort", Some(effort.word()));
}

fn choice_json(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn set_format(payload: &mut PayloadBuilder, format: Option<&Format>) {
    match format {
        None => {}
        Some(Format::Json) => {
            payload.set("response_format", Some(json!({ "type": "json_object" })))
        }
        Some(Format::Schema {
            name,
            schema,
            strict,
        }) => payload.object("response_format", |format| {
            format.field("type", "json_schema");
            format.object("json_schema", |inner| {
                inner.field("name", name);
                inner.raw("schema", schema.as_str());
                if let Some(strict) = strict {
                    inner.field("strict", strict);
                }
            });
        }),
    }
}

/// Maximum number of stop sequences, as OpenAI has it.
const MAX_STOP_SEQUENCES: usize = 4;

/// Returns true for OpenAI's newer models, which reject `max_tokens`, the field that others
/// require, and all sampling parameters.
fn is_newer(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let digit =
        |rest: &str, from: char| rest.starts_with(|c: char| c.is_ascii_digit() && c >= from);
    name.strip_prefix('o').is_some_and(|rest| digit(rest, '1'))
        || name
            .strip_prefix("gpt-")
            .is_some_and(|rest| digit(rest, '5'))
}

fn write_user_message<'a>(
    parts: impl IntoIterator<Item = &'a Part, IntoIter: Clone>,
    messages: &mut ListWriter,
) {
    let parts = parts.into_iter();
    messages.object(|message| {
        message.field("role", "user");
        let mut first_two = parts.clone();
        if let (Some(Part::Text(text)), None) = (first_two.next(), first_two.next()) {
            return message.field("content", text);
        }
        message.list("content", |content| {
            for part in parts {
                match part {
                    Part::Text(text) => content.value(json!({ "type": "text", "text": text })),
                    Part::Image(image) => content.value(
                        json!({ "type": "image_url", "image_url": { "url": image.to_url() } }),
                    ),
                    _ => {}
                }
            }
        });
    });
}

/// Writes an assistant's message, unless this upstream could use none of it.
fn write_assistant_message(parts: &[Part], is_current: bool, messages: &mut ListWriter) {
    let text = text_of(parts);
    let reasoning = match is_current {
        true => AssistantReasoning::of(parts),
        false => AssistantReasoning::default(),
    };
    let refusal = parts.iter().rev().find_map(|part| match part {
        Part::Refusal(text) => Some(text),
        _ => None,
    });
    let has_calls = parts
        .iter()
        .any(|part| matches!(part, Part::ToolCall { .. }));
    if text.is_empty() && refusal.is_none() && !has_calls && reasoning.is_empty() {
        return;
    }
    messages.object(|message| {
        message.field("role", "assistant");
        message.field("content", (!has_calls || !text.is_empty()).then_some(&text));
        if let Some(refusal) = refusal {
            message.field("refusal", refusal);
        }
        for (field, text) in &reasoning.fields {
            message.field(field, text);
        }
        if has_calls {
            message.list("tool_calls", |calls| write_tool_calls(parts, calls));
        }
        if !reasoning.details.is_empty() {
            message.list("reasoning_details", |list| {
                for (detail, text) in &reasoning.details {
                    list.object(|object| write_detail(*detail, text, object));
                }
            });
        }
    });
}

fn write_tool_calls(parts: &[Part], calls: &mut ListWriter) {
    for part in parts {
        if let Part::ToolCall {
            id,
            name,
            arguments,
        } = part
        {
            calls.value(json!({
                "id": tools::fit_id(id, 40), "type": "function",
                "function": { "name": name, "arguments": tools::text(arguments) },
            }));
        }
    }
}

/// The reasoning of an assistant's message that this kind of upstream takes back.
#[derive(Default)]
struct AssistantReasoning<'a> {
    /// Fields of text, each only back to where it came from: other upstreams reject unknown fields.
    fields: Vec<(&'static str, String)>,
    /// Details, and the text of each.
    details: Vec<(Json<'a>, &'a str)>,
}

impl<'a> AssistantReasoning<'a> {
    /// Reasoning of other kinds of upstreams can't be sent back here.
    fn of(parts: &'a [Part]) -> Self {
        let mut found = Self::default();
        for part in parts {
            let Part::Reasoning {
                text,
                state: Some(state),
            } = part
            else {
                continue;
            };
            if state.origin != StateOrigin::OpenAiChat {
                continue;
            }
            let field = ["reasoning_content", "reasoning"]
                .into_iter()
                .find(|field| *field == state.value);
            if let Some(field) = field {
                match found.fields.iter_mut().find(|(name, _)| *name == field) {
                    Some((_, before)) => before.push_str(text),
                    None => found.fields.push((field, text.clone())),
                }
            } else if let Some(detail) = Json::parse(&state.value).filter(|json| json.is_object()) {
                found.details.push((detail, text));
            }
        }
        found
    }

    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.details.is_empty()
    }
}

fn write_detail(detail: Json<'_>, text: &str, object: &mut ObjectWriter) {
    let has_text = detail.get("type").is("reasoning.text");
    detail.each_field(|name, value| {
        if !(has_text && name == b"text") {
            object.raw(&String::from_utf8_lossy(name), value.raw());
        }
    });
    if has_text {
        object.field("text", text);
    }
}

/// Writes a message for each result. Images, which tool messages can't hold, are collected for a
/// later user message.
fn write_tool_results<'a>(
    parts: &'a [Part],
    messages: &mut ListWriter,
    images: &mut Vec<&'a Part>,
    dropped: &mut Vec<String>,
) {
    for part in parts {
        let Part::ToolResult { id, content, error } = part else {
            continue;
        };
        if *error && !dropped.iter().any(|known| known == DROPPED_ERROR) {
            dropped.push(DROPPED_ERROR.to_owned());
        }
        let id = tools::fit_id(id, 40);
        messages.value(
            json!({ "role": "tool", "tool_call_id": id, "content": texts_of(content, "\n") }),
        );
        images.extend(content.iter().filter(|part| matches!(part, Part::Image(_))));
    }
}

const DROPPED_ERROR: &str = "is_error of a tool result";

/// Writes the images of the preceding results as a user's message.
fn write_result_images(images: &mut Vec<&Part>, messages: &mut ListWriter) {
    if !images.is_empty() {
        write_user_message(images.iter().copied(), messages);
        images.clear();
    }
}

fn write_tool(tool: &Tool, object: &mut ObjectWriter) {
    object.field("type", "function");
    object.object("function", |function| {
        function.field("name", &tool.name);
        if let Some(description) = &tool.description {
            function.field("description", description);
        }
        if !tool.parameters.is_null() {
            function.raw("parameters", tools::schema(&tool.parameters).as_str());
        }
        if let Some(strict) = tool.strict {
            function.field("strict", strict);
        }
    });
}
