//! Encodes a neutral request as a Messages request.

use serde_json::{Value, json};

use super::thinking::{
    DEFAULT_MAX_TOKENS, NO_SAMPLING, ThinkingMode, can_send_thought, thinking, thought_json,
    version,
};
use crate::failure::Failure;
use crate::json::{Json, ListWriter, MAX_SCHEMA_NESTING, ObjectWriter};
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{
    Format, Image, JsonText, Message, Part, Request, Role, Sampling, Tool, ToolChoice, texts_of,
};
use crate::{UpstreamPayload, tools};

/// Encodes a request for an upstream.
pub(in crate::anthropic) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let (system, alone) = request.system();
    let version = version(model);
    let mut payload = PayloadBuilder::new(request);
    payload.set("model", Some(model));
    payload.set(
        "max_tokens",
        Some(request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
    );
    payload.list("messages", |messages, _| {
        write_messages(request, messages);
        if alone {
            // The API requires a message, so a request of system messages alone sends them as one.
            messages.value(json!({ "role": "user", "content": system }));
        }
    });
    payload.set("stream", Some(request.stream));
    let thinking = thinking(request, version, payload.dropped());
    payload.set("system", system.filter(|_| !alone));
    payload.set("thinking", thinking.as_ref().map(ThinkingMode::json));
    set_sampling(&mut payload, &request.sampling, version, thinking.is_some());
    set_stop_sequences(&mut payload, &request.stop);
    set_user(&mut payload, request.user.as_deref());
    if !request.tools.is_empty() {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| write_tool(tool, object));
            }
        });
        payload.set("tool_choice", tool_choice(request));
    }
    let effort = match thinking {
        Some(ThinkingMode::Adaptive { effort, .. }) => Some(effort),
        _ => None,
    };
    let schema = answer_schema(&mut payload, request.format.as_ref())?;
    if effort.is_some() || schema.is_some() {
        payload.object("output_config", |output| {
            if let Some(effort) = effort {
                output.field("effort", effort);
            }
            if let Some(schema) = schema {
                output.object("format", |format| {
                    format.field("type", "json_schema");
                    format.raw("schema", schema.as_str());
                });
            }
        });
    }
    Ok(payload.finish())
}

/// Sets the sampling parameters that this version accepts, in the ranges that it accepts.
fn set_sampling(
    payload: &mut PayloadBuilder,
    sampling: &Sampling,
    version: (u32, u32),
    thinks: bool,
) {
    let has_sampling = version < NO_SAMPLING;
    let temperature = match sampling.temperature {
        Some(_) if !has_sampling => {
            payload.drop_param("temperature");
            None
        }
        Some(t) if thinks && t < 1.0 => {
            payload.drop_param(format!("temperature {t} (with thinking it is 1)"));
            None
        }
        Some(t) if t > 1.0 => {
            payload.drop_param(format!("temperature {t} (sent as 1, the maximum)"));
            Some(1.0)
        }
        t => t,
    };
    payload.set("temperature", temperature);
    match sampling.top_p {
        Some(_) if !has_sampling => payload.drop_param("top_p"),
        Some(p) if thinks && p < 0.95 => {
            payload.drop_param(format!("top_p {p} (with thinking it is 0.95 to 1)"));
        }
        Some(_) if temperature.is_some() => payload.drop_param("top_p (beside a temperature)"),
        p => payload.set("top_p", p),
    }
    if sampling.top_k.is_some() && (thinks || !has_sampling) {
        payload.drop_param("top_k");
    } else {
        payload.set("top_k", sampling.top_k);
    }
    payload.drop_present(&[
        ("seed", sampling.seed.is_some()),
        ("presence_penalty", has_effect(sampling.presence_penalty)),
        ("frequency_penalty", has_effect(sampling.frequency_penalty)),
    ]);
}

fn set_stop_sequences(payload: &mut PayloadBuilder, stop: &[String]) {
    let (stop, blank): (Vec<&String>, Vec<&String>) =
        stop.iter().partition(|stop| !stop.trim().is_empty());
    payload.set("stop_sequences", (!stop.is_empty()).then(|| json!(stop)));
    if !blank.is_empty() {
        payload.drop_param("stop (only white space)");
    }
}

fn set_user(payload: &mut PayloadBuilder, user: Option<&str>) {
    match user {
        // The API forbids personal data such as e-mail addresses and phone numbers here.
        Some(user) if user.contains('@') || user.starts_with('+') => {
            payload.drop_param("user (an address)");
        }
        user => payload.set("metadata", user.map(|user| json!({ "user_id": user }))),
    }
}

/// Returns the schema of the answer as this API has it, if there is one.
fn answer_schema(
    payload: &mut PayloadBuilder,
    format: Option<&Format>,
) -> Result<Option<JsonText>, Failure> {
    match format {
        None => Ok(None),
        Some(Format::Json) => Err(Failure::invalid(
            "response_format",
            "a `json_object` answer is not available from an Anthropic model; use a `json_schema`",
        )),
        Some(Format::Schema { schema, .. }) => {
            let mut left_out = Vec::new();
            let mut strict = Vec::with_capacity(schema.as_str().len());
            write_strict(schema.view(), 0, &mut left_out, &mut strict);
            if !left_out.is_empty() {
                left_out.sort_unstable();
                payload.drop_param(format!("of the schema: {}", left_out.join(", ")));
            }
            Ok(Some(JsonText::of_valid(strict)))
        }
    }
}

/// Schema keywords that structured outputs don't support.
const NOT_IN_SCHEMAS: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "nullable",
];

/// Writes a schema for structured outputs: unsupported keywords go, objects become closed.
fn write_strict(
    schema: Json<'_>,
    depth: usize,
    left_out: &mut Vec<&'static str>,
    out: &mut Vec<u8>,
) {
    if schema.is_list() {
        return write_items(schema, out, |item, out| {
            write_strict(item, depth + 1, left_out, out);
        });
    }
    if !schema.is_object() || depth > MAX_SCHEMA_NESTING {
        return out.extend_from_slice(schema.raw().as_bytes());
    }
    let (mut has_properties, mut is_closed) = (false, false);
    let mut object = ObjectWriter::new();
    schema.each_field(|name, value| {
        if let Some(keyword) = NOT_IN_SCHEMAS.iter().find(|word| word.as_bytes() == name) {
            if !left_out.contains(keyword) {
                left_out.push(keyword);
            }
            return;
        }
        has_properties |= name == b"properties";
        is_closed |= name == b"additionalProperties";
        // Only objects have anything to rewrite.
        if !value.raw().contains('{') {
            return object.raw_bytes(name, value.raw().as_bytes());
        }
        let mut rewritten = Vec::new();
        match name {
            // Property names are the client's own; each has a schema.
            b"properties" | b"$defs" | b"definitions" if value.is_object() => {
                let mut named = ObjectWriter::new();
                value.each_field(|name, schema| {
                    let mut rewritten = Vec::new();
                    write_strict(schema, depth + 1, left_out, &mut rewritten);
                    named.raw_bytes(name, &rewritten);
                });
                rewritten = named.finish();
            }
            b"items" | b"anyOf" | b"allOf" | b"oneOf" | b"prefixItems" => {
                write_strict(value, depth + 1, left_out, &mut rewritten);
            }
            _ => rewritten.extend_from_slice(value.raw().as_bytes()),
        }
        object.raw_bytes(name, &rewritten);
    });
    if has_properties && !is_closed {
        object.field("additionalProperties", false);
    }
    out.append(&mut object.finish());
}

fn write_items<'a>(
    list: Json<'a>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(Json<'a>, &mut Vec<u8>),
) {
    out.push(b'[');
    for (at, item) in list.items().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// Writes the messages as alternating turns: adjacent messages of one side are merged.
fn write_messages(request: &Request, messages: &mut ListWriter) {
    let said: Vec<&Message> = request
        .messages
        .iter()
        .filter(|message| message.role != Role::System)
        .collect();
    for turn in said.chunk_by(|a, b| side(a) == side(b)) {
        let Some(role) = turn.first().map(|message| side(message)) else {
            continue;
        };
        // The results of tools must come first.
        let (results, others): (Vec<&Message>, Vec<&Message>) =
            turn.iter().partition(|message| message.role == Role::Tool);
        let parts = results
            .iter()
            .chain(&others)
            .flat_map(|message| &message.parts);
        let mut said = parts.filter(|part| says(part));
        let (first, second) = (said.next(), said.next());
        match (first, second) {
            (None, _) => {}
            (Some(Part::Text(text) | Part::Refusal(text)), None) => {
                messages.value(json!({ "role": role, "content": text }));
            }
            (Some(first), second) => messages.object(|message| {
                message.field("role", role);
                message.list("content", |content| {
                    for part in [first].into_iter().chain(second).chain(said) {
                        write_block(part, content);
                    }
                });
            }),
        }
    }
}

fn side(message: &Message) -> &'static str {
    match message.role {
        Role::Assistant => "assistant",
        Role::System | Role::User | Role::Tool => "user",
    }
}

/// Returns true if this API has a block for the part.
fn says(part: &Part) -> bool {
    match part {
        Part::Text(text) | Part::Refusal(text) => !text.trim().is_empty(),
        Part::Reasoning { .. } => can_send_thought(part),
        Part::Image(_) | Part::ToolCall { .. } | Part::ToolResult { .. } => true,
    }
}

/// Writes the block of a part that [`says`] something.
fn write_block(part: &Part, blocks: &mut ListWriter) {
    match part {
        Part::Text(text) | Part::Refusal(text) => {
            blocks.value(json!({ "type": "text", "text": text }));
        }
        Part::Image(Image::Url(url)) => {
            blocks.value(json!({ "type": "image", "source": { "type": "url", "url": url } }));
        }
        Part::Image(Image::Data { media_type, base64 }) => blocks.value(json!({
            "type": "image", "source": { "type": "base64", "media_type": media_type, "data": base64 },
        })),
        Part::Reasoning { .. } => blocks.value(thought_json(part)),
        Part::ToolCall {
            id,
            name,
            arguments,
        } => blocks.object(|block| {
            block.field("type", "tool_use");
            block.field("id", tools::fit_id(id, 64));
            block.field("name", name);
            block.raw("input", tools::object(arguments).as_str());
        }),
        Part::ToolResult { id, content, error } => blocks.object(|block| {
            block.field("type", "tool_result");
            block.field("tool_use_id", tools::fit_id(id, 64));
            if content.iter().all(|part| matches!(part, Part::Text(_))) {
                block.field("content", texts_of(content, "\n"));
            } else {
                block.list("content", |blocks| {
                    for part in content.iter().filter(|part| says(part)) {
                        write_block(part, blocks);
                    }
                });
            }
            if *error {
                block.field("is_error", true);
            }
        }),
    }
}

fn write_tool(tool: &Tool, object: &mut ObjectWriter) {
    object.field("name", &tool.name);
    object.raw("input_schema", tools::schema(&tool.parameters).as_str());
    if let Some(description) = &tool.description {
        object.field("description", description);
    }
    if tool.strict == Some(true) {
        object.field("strict", true);
    }
}

fn tool_choice(request: &Request) -> Option<Value> {
    let one_by_one = request.parallel_tool_calls == Some(false);
    let mut choice = match &request.tool_choice {
        None if !one_by_one => return None,
        None | Some(ToolChoice::Auto) => json!({ "type": "auto" }),
        Some(ToolChoice::None) => return Some(json!({ "type": "none" })),
        Some(ToolChoice::Required) => json!({ "type": "any" }),
        Some(ToolChoice::Named(name)) => json!({ "type": "tool", "name": name }),
    };
    if one_by_one {
        choice["disable_parallel_tool_use"] = true.into();
    }
    Some(choice)
}
