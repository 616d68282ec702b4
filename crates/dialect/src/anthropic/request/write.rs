//! Encodes a neutral request as a Messages request.

use serde_json::{Map, Value, json};

use super::thinking::{
    DEFAULT_MAX_TOKENS, NO_SAMPLING, ThinkingMode, thinking, thought_json, version,
};
use crate::failure::Failure;
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{Format, Image, Part, Request, Role, Sampling, Tool, ToolChoice, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request for an upstream.
pub(in crate::anthropic) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let mut dropped = Vec::new();
    let (system, alone) = request.system();
    let mut messages = messages_json(request);
    if alone {
        // The API requires a message, so a request of system messages alone sends them as one.
        messages.push(json!({ "role": "user", "content": system }));
    }
    let version = version(model);
    let thinking = thinking(request, version, &mut dropped);
    let limit = request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    let mut payload = PayloadBuilder::of_tree(
        json!({
            "model": model, "max_tokens": limit, "messages": messages, "stream": request.stream,
        }),
        dropped,
    );
    payload.set("system", system.filter(|_| !alone));
    payload.set("thinking", thinking.as_ref().map(ThinkingMode::json));
    set_sampling(&mut payload, &request.sampling, version, thinking.is_some());
    set_stop_sequences(&mut payload, &request.stop);
    set_user(&mut payload, request.user.as_deref());
    if !request.tools.is_empty() {
        let tools: Vec<Value> = request.tools.iter().map(tool_json).collect();
        payload.set("tools", Some(tools));
        payload.set("tool_choice", tool_choice(request));
    }
    let mut output = Map::new();
    if let Some(ThinkingMode::Adaptive { effort, .. }) = thinking {
        output.insert("effort".to_owned(), effort.into());
    }
    if let Some(format) = answer_format(&mut payload, request.format.as_ref())? {
        output.insert("format".to_owned(), format);
    }
    payload.set("output_config", (!output.is_empty()).then_some(output));
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

/// Returns the answer's format as this API has it.
fn answer_format(
    payload: &mut PayloadBuilder,
    format: Option<&Format>,
) -> Result<Option<Value>, Failure> {
    match format {
        None => Ok(None),
        Some(Format::Json) => Err(Failure::invalid(
            "response_format",
            "a `json_object` answer is not available from an Anthropic model; use a `json_schema`",
        )),
        Some(Format::Schema { schema, .. }) => {
            let mut schema = schema.view().to_tree();
            let mut left_out = Vec::new();
            strict(&mut schema, &mut left_out);
            if !left_out.is_empty() {
                left_out.sort_unstable();
                left_out.dedup();
                payload.drop_param(format!("of the schema: {}", left_out.join(", ")));
            }
            Ok(Some(json!({ "type": "json_schema", "schema": schema })))
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

/// Rewrites a schema for structured outputs: unsupported keywords go, objects become closed.
fn strict(schema: &mut Value, left_out: &mut Vec<&'static str>) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(|schema| strict(schema, left_out)),
        Value::Object(fields) => {
            for name in NOT_IN_SCHEMAS {
                if fields.remove(*name).is_some() {
                    left_out.push(name);
                }
            }
            if fields.contains_key("properties") {
                fields
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
            for (name, value) in fields {
                match (name.as_str(), value) {
                    // Property names are the client's own; each has a schema.
                    ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                        named
                            .values_mut()
                            .for_each(|schema| strict(schema, left_out));
                    }
                    ("items" | "anyOf" | "allOf" | "oneOf" | "prefixItems", value) => {
                        strict(value, left_out)
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Encodes the messages as alternating turns: adjacent messages of one side are merged.
fn messages_json(request: &Request) -> Vec<Value> {
    // Per turn: its role, its tool results (which must come first), and its other content.
    let mut turns: Vec<(&str, Vec<Value>, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let role = match message.role {
            Role::System => continue,
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        if turns.last().is_none_or(|(last, ..)| *last != role) {
            turns.push((role, Vec::new(), Vec::new()));
        }
        let content = message.parts.iter().filter_map(block_json);
        match turns.last_mut() {
            Some((_, results, _)) if message.role == Role::Tool => results.extend(content),
            Some((.., others)) => others.extend(content),
            None => {}
        }
    }
    turns
        .into_iter()
        .map(|(role, mut results, others)| {
            results.extend(others);
            (role, results)
        })
        .filter(|(_, content)| !content.is_empty())
        .map(|(role, content)| match &content[..] {
            [only] if only["type"] == "text" => json!({ "role": role, "content": only["text"] }),
            _ => json!({ "role": role, "content": content }),
        })
        .collect()
}

fn block_json(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) if text.trim().is_empty() => return None,
        Part::Text(text) | Part::Refusal(text) => json!({ "type": "text", "text": text }),
        Part::Image(Image::Url(url)) => {
            json!({ "type": "image", "source": { "type": "url", "url": url } })
        }
        Part::Image(Image::Data { media_type, base64 }) => json!({
            "type": "image", "source": { "type": "base64", "media_type": media_type, "data": base64 },
        }),
        Part::Reasoning { .. } => return thought_json(part),
        Part::ToolCall {
            id,
            name,
            arguments,
        } => json!({
            "type": "tool_use", "id": tools::fit_id(id, 64), "name": name, "input": tools::object(arguments),
        }),
        Part::ToolResult { id, content, error } => {
            let said: Value = if content.iter().all(|part| matches!(part, Part::Text(_))) {
                texts_of(content, "\n").into()
            } else {
                content.iter().filter_map(block_json).collect()
            };
            let mut result = json!({ "type": "tool_result", "tool_use_id": tools::fit_id(id, 64), "content": said });
            if *error {
                result["is_error"] = true.into();
            }
            result
        }
    })
}

fn tool_json(tool: &Tool) -> Value {
    let mut value = json!({ "name": tool.name, "input_schema": tools::schema(&tool.parameters) });
    if let Some(description) = &tool.description {
        value["description"] = description.as_str().into();
    }
    if tool.strict == Some(true) {
        value["strict"] = true.into();
    }
    value
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
