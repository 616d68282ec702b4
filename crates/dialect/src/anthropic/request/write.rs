//! Encodes a neutral request as a Messages request.

use serde_json::{Value, json};

use super::blocks::{says, write_messages};
use super::thinking::{DEFAULT_MAX_TOKENS, NO_SAMPLING, ThinkingMode, thinking, version};
use crate::failure::Failure;
use crate::families::{Family, ReasoningOff};
use crate::json::{Json, MAX_SCHEMA_NESTING, ObjectWriter};
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{
    Format, JsonText, Message, Part, Request, Role, Sampling, Tool, ToolChoice, cache_control,
};
use crate::{UpstreamPayload, tool_schema};

/// Encodes a request for an upstream.
pub(in crate::anthropic) fn encode_request(
    request: &Request,
    model: &str,
    rules: &Family,
) -> Result<UpstreamPayload, Failure> {
    let (mut system, alone) = request.system();
    if request.format == Some(Format::Json) {
        let said = system.unwrap_or_default();
        let said = format!("{said}\n\n{JSON_INSTRUCTION}");
        system = Some(said.trim_start().to_owned());
    }
    let version = version(model);
    let begins_answer = begins_answer(request);
    let mut payload = PayloadBuilder::new(request, rules);
    payload.set("model", Some(model));
    payload.set(
        "max_tokens",
        Some(request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
    );
    payload.list("messages", |messages, _| {
        write_messages(request, messages);
        if begins_answer && rules.prefill == Some(false) {
            messages.value(json!({ "role": "user", "content": CONTINUE }));
        }
        if alone {
            // The API requires a message, so a request of system messages alone sends them as one.
            messages.value(json!({ "role": "user", "content": system }));
        }
    });
    payload.set("stream", Some(request.stream));
    if begins_answer && rules.prefill == Some(false) {
        payload.drop_param("the beginning of the answer (asked to go on instead)");
    }
    let goes_on = begins_answer && rules.prefill != Some(false);
    let thinking = thinking(request, version, goes_on, payload.dropped());
    let system = system.filter(|_| !alone);
    match system_blocks(request, system.as_deref()) {
        Some(blocks) => payload.set("system", Some(blocks)),
        None => payload.set("system", system),
    }
    let is_off = request
        .reasoning
        .is_some_and(|reasoning| reasoning.is_off());
    let off = is_off && rules.off == Some(ReasoningOff::Thinking);
    let disabled = off.then(|| json!({ "type": "disabled" }));
    payload.set(
        "thinking",
        thinking.as_ref().map(ThinkingMode::json).or(disabled),
    );
    set_sampling(&mut payload, &request.sampling, version, thinking.is_some());
    set_stop_sequences(&mut payload, &request.stop);
    set_user(&mut payload, request.user.as_deref(), rules);
    if !request.tools.is_empty() {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| write_tool(tool, object));
            }
        });
        payload.set("tool_choice", tool_choice(request));
    }
    let effort = match thinking {
        Some(ThinkingMode::Adaptive { effort, .. }) => effort,
        _ => None,
    };
    let schema = answer_schema(&mut payload, request.format.as_ref());
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
    payload.drop_present(&request.openai.present());
    payload.drop_present(&[("detail of an image", request.has_image_detail())]);
    Ok(payload.finish())
}

/// Returns the system prompt as blocks if a part of it is to be cached. What belongs to no part of
/// it, such as an instruction that was added, is the last one.
fn system_blocks(request: &Request, system: Option<&str>) -> Option<Vec<Value>> {
    let messages = request.messages.iter();
    let parts = messages
        .filter(|message| message.role == Role::System)
        .flat_map(|message| &message.parts);
    let mut blocks: Vec<Value> = Vec::new();
    let (mut said, mut has_mark) = (0, false);
    for part in parts {
        match part {
            Part::Text(text) if !text.trim().is_empty() => {
                said += usize::from(said > 0) * "\n\n".len() + text.len();
                blocks.push(json!({ "type": "text", "text": text }));
            }
            Part::CacheBreakpoint(ttl) => {
                if let Some(block) = blocks.last_mut() {
                    block["cache_control"] = cache_control(*ttl);
                    has_mark = true;
                }
            }
            _ => {}
        }
    }
    let added = system.and_then(|system| system.get(said..)).map(str::trim);
    if let Some(added) = added.filter(|text| !text.is_empty()) {
        blocks.push(json!({ "type": "text", "text": added }));
    }
    has_mark.then_some(blocks)
}

/// The user's word after the beginning of an answer, for models that can't go on by themselves.
const CONTINUE: &str = "Continue exactly where you left off.";

/// Returns whether the conversation ends with the beginning of the answer.
fn begins_answer(request: &Request) -> bool {
    let said = |message: &&Message| message.role != Role::System && message.parts.iter().any(says);
    let last = request.messages.iter().rev().find(said);
    last.is_some_and(|message| {
        let calls = |part: &Part| matches!(part, Part::ToolCall { .. });
        message.role == Role::Assistant && !message.parts.iter().any(calls)
    })
}

/// Sets the sampling parameters that this version accepts, in the ranges that it accepts.
fn set_sampling(
    payload: &mut PayloadBuilder<'_>,
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

fn set_stop_sequences(payload: &mut PayloadBuilder<'_>, stop: &[String]) {
    let (stop, blank): (Vec<&String>, Vec<&String>) =
        stop.iter().partition(|stop| !stop.trim().is_empty());
    payload.set("stop_sequences", (!stop.is_empty()).then(|| json!(stop)));
    if !blank.is_empty() {
        payload.drop_param("stop (only white space)");
    }
}

fn set_user(payload: &mut PayloadBuilder<'_>, user: Option<&str>, rules: &Family) {
    match user {
        // The API forbids personal data such as e-mail addresses and phone numbers here.
        Some(user) if user.contains('@') || user.starts_with('+') => {
            payload.drop_param("user (an address)");
        }
        user => payload.set(
            "metadata",
            user.map(|user| json!({ "user_id": rules.user(user) })),
        ),
    }
}

/// The request for a JSON object, in words: this API has only schemas.
const JSON_INSTRUCTION: &str = "Answer with one JSON object and nothing else.";

/// Returns the schema of the answer as this API has it, if there is one.
fn answer_schema(payload: &mut PayloadBuilder<'_>, format: Option<&Format>) -> Option<JsonText> {
    match format {
        None => None,
        Some(Format::Json) => {
            payload.drop_param("response_format (json_object, sent as an instruction)");
            None
        }
        Some(Format::Schema { schema, .. }) => {
            let mut left_out = Vec::new();
            let mut strict = Vec::with_capacity(schema.as_str().len());
            write_strict(schema.view(), 0, &mut left_out, &mut strict);
            if !left_out.is_empty() {
                left_out.sort_unstable();
                payload.drop_param(format!("of the schema: {}", left_out.join(", ")));
            }
            Some(JsonText::of_valid(strict))
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

fn write_tool(tool: &Tool, object: &mut ObjectWriter) {
    object.field("name", &tool.name);
    object.raw(
        "input_schema",
        tool_schema::schema(&tool.parameters).as_str(),
    );
    if let Some(description) = &tool.description {
        object.field("description", description);
    }
    if tool.strict == Some(true) {
        object.field("strict", true);
    }
    if let Some(ttl) = tool.cache {
        object.field("cache_control", cache_control(ttl));
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
