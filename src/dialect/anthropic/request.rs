//! A Messages request, read from a client and written to an upstream.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::{Written, json, tools};
use crate::event::{Origin, State};
use crate::failure::Failure;
use crate::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice, text_of,
};

/// What another answer would come of without it.
const MATTERS: &[&str] = &["container", "mcp_servers"];

/// Reads a client's request.
pub(super) fn read(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::Fields::read(&bytes)?;
    let model: Option<String> = body.take("model", "a string")?;
    if model.as_ref().is_none_or(String::is_empty) {
        return Err(Failure::invalid("model", "`model` is missing: name one of GET /v1/models"));
    }
    let mut request = Request {
        model,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: true,
        max_tokens: json::max_tokens("max_tokens", body.raw("max_tokens"))?,
        sampling: Sampling {
            temperature: json::temperature(body.raw("temperature"))?,
            top_p: body.value("top_p").as_f64(),
            top_k: body.value("top_k").as_u64(),
            ..Sampling::default()
        },
        stop: json::strings(&body.value("stop_sequences")),
        user: body.value("metadata")["user_id"].as_str().map(str::to_owned),
        n: 1,
        ..Request::default()
    };
    let system = body.value("system");
    if !system.is_null() {
        let parts = blocks(&mut request, "system", &system)?;
        request.messages.push(Message { role: Role::System, parts });
    }
    messages(&mut request, body.take("messages", WANT)?.unwrap_or_default())?;
    let tools: Vec<Value> = body.take("tools", "a list of tools")?.unwrap_or_default();
    for (at, tool) in tools.iter().enumerate() {
        match (tool["name"].as_str(), tool["type"].as_str()) {
            (Some(name), None | Some("custom")) => request.tools.push(Tool {
                name: name.to_owned(),
                description: tool["description"].as_str().map(str::to_owned),
                parameters: tool["input_schema"].clone(),
                strict: tool["strict"].as_bool(),
            }),
            // A tool that Anthropic runs itself.
            _ => request.needs(format!("tools[{at}]")),
        }
    }
    let choice = body.value("tool_choice");
    request.tool_choice = match choice["type"].as_str() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        Some("any") => Some(ToolChoice::Required),
        Some("tool") => choice["name"].as_str().map(|name| ToolChoice::Named(name.to_owned())),
        _ => None,
    };
    request.parallel_tool_calls = choice["disable_parallel_tool_use"].as_bool().map(|off| !off);
    let output = body.value("output_config");
    let effort = output["effort"].as_str().and_then(Effort::from_word);
    request.reasoning = thinking(&body.value("thinking"), effort);
    for format in [&output["format"], &body.value("output_format")] {
        if format["type"] == "json_schema" {
            let schema = format["schema"].clone();
            request.format = Some(Format::Schema { name: "answer".to_owned(), schema, strict: Some(true) });
        }
    }
    if memchr::memmem::find(&bytes, b"\"cache_control\":").is_some() {
        request.drops("cache_control");
    }
    body.rest(&mut request, &["cache_control"], MATTERS);
    request.body = bytes;
    Ok(request)
}

const WANT: &str = "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";

fn thinking(value: &Value, effort: Option<Effort>) -> Option<Reasoning> {
    match value["type"].as_str() {
        Some("enabled") => {
            let budget = value["budget_tokens"].as_u64().and_then(|tokens| u32::try_from(tokens).ok());
            let effort = effort.or(budget.map(Effort::from_budget)).unwrap_or(Effort::Medium);
            Some(Reasoning { effort, budget, shown: true })
        }
        Some("adaptive") => Some(Reasoning {
            effort: effort.unwrap_or(Effort::High),
            budget: None,
            shown: value["display"] != "omitted",
        }),
        _ => effort.map(|effort| Reasoning { effort, budget: None, shown: false }),
    }
}

fn messages(request: &mut Request, list: Vec<Value>) -> Result<(), Failure> {
    if list.is_empty() {
        return Err(Failure::invalid("messages", format!("`messages` is missing or empty; it should be {WANT}")));
    }
    for (at, message) in list.iter().enumerate() {
        let name = format!("messages[{at}]");
        let role = match message["role"].as_str() {
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("user") => Role::User,
            _ => {
                let name = format!("{name}.role");
                return Err(Failure::invalid(&name, format!("`{name}` should be \"user\" or \"assistant\"")));
            }
        };
        let parts = blocks(request, &format!("{name}.content"), &message["content"])?;
        // Results come first in their message, and stand in one of their own here.
        let (results, parts): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| matches!(part, Part::ToolResult { .. }));
        if !results.is_empty() {
            request.messages.push(Message { role: Role::Tool, parts: results });
            if parts.is_empty() {
                continue;
            }
        }
        request.messages.push(Message { role, parts });
    }
    Ok(())
}

fn blocks(request: &mut Request, name: &str, content: &Value) -> Result<Vec<Part>, Failure> {
    let list = match content {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![Part::Text(text.clone())]),
        Value::Array(list) => list,
        _ => {
            request.needs(name);
            return Ok(Vec::new());
        }
    };
    let mut parts = Vec::new();
    for (at, block) in list.iter().enumerate() {
        let text = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
        let name = format!("{name}[{at}]");
        match block["type"].as_str() {
            Some("text") => match block["text"].as_str() {
                Some(text) => parts.push(Part::Text(text.to_owned())),
                None => {
                    let name = format!("{name}.text");
                    return Err(Failure::invalid(&name, format!("`{name}` should be a string")));
                }
            },
            Some("image") => match image(&block["source"]) {
                Some(image) => parts.push(Part::Image(image)),
                None => request.needs(format!("{name}.source")),
            },
            Some("thinking") => {
                let seal = text("signature");
                let state = (!seal.is_empty()).then(|| State {
                    origin: State::unpack(&seal, Origin::Anthropic).origin,
                    value: State::unpack(&seal, Origin::Anthropic).value.into_owned().into(),
                });
                parts.push(Part::Reasoning { text: text("thinking"), state });
            }
            Some("redacted_thinking") => {
                let state = State { origin: Origin::AnthropicRedacted, value: text("data").into() };
                parts.push(Part::Reasoning { text: String::new(), state: Some(state) });
            }
            Some("tool_use") => {
                let arguments = if block["input"].is_null() { "{}".to_owned() } else { block["input"].to_string() };
                parts.push(Part::ToolCall { id: text("id"), name: text("name"), arguments });
            }
            Some("tool_result") => {
                let content = blocks(request, &format!("{name}.content"), &block["content"])?;
                let error = block["is_error"] == true;
                parts.push(Part::ToolResult { id: text("tool_use_id"), content, error });
            }
            _ => request.needs(name),
        }
    }
    Ok(parts)
}

fn image(source: &Value) -> Option<Image> {
    match source["type"].as_str()? {
        "url" => Some(Image::from_url(source["url"].as_str()?)),
        "base64" => Some(Image::Data {
            media_type: source["media_type"].as_str()?.to_owned(),
            base64: source["data"].as_str()?.to_owned(),
        }),
        _ => None,
    }
}

/// What is asked for when the client sets no limit: this dialect must have one.
const MAX_TOKENS: u32 = 32_000;
/// What of that is left for the answer when the model thinks.
const ANSWER_TOKENS: u32 = 8_000;
/// Less than this can't be thought with.
const LEAST_BUDGET: u32 = 1024;

/// A request of another dialect, in this one.
pub(super) fn write(request: &Request, model: &str) -> Result<Written, Failure> {
    let mut dropped = Vec::new();
    let (system, alone) = request.system();
    let mut messages = messages_json(request);
    if alone {
        // There must be a message: then they are it.
        messages.push(json!({ "role": "user", "content": system }));
    }
    let budget = thinking_budget(request, &mut dropped);
    let limit = request.max_tokens.unwrap_or(MAX_TOKENS);
    let mut body = json!({
        "model": model, "max_tokens": limit, "messages": messages, "stream": request.stream,
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    set("system", system.filter(|_| !alone).map(Value::from));
    set("thinking", budget.map(|tokens| json!({ "type": "enabled", "budget_tokens": tokens })));
    let sampling = &request.sampling;
    let temperature = match sampling.temperature {
        Some(t) if budget.is_some() && t < 1.0 => {
            dropped.push(format!("temperature {t} (with thinking it is 1)"));
            None
        }
        Some(t) if t > 1.0 => {
            dropped.push(format!("temperature {t} (sent as 1, the most there is)"));
            Some(1.0)
        }
        t => t,
    };
    set("temperature", temperature.map(Value::from));
    match sampling.top_p {
        Some(p) if budget.is_some() && p < 0.95 => dropped.push(format!("top_p {p} (with thinking it is 0.95 to 1)")),
        Some(_) if temperature.is_some() => dropped.push("top_p (beside a temperature)".to_owned()),
        p => set("top_p", p.map(Value::from)),
    }
    if budget.is_none() {
        set("top_k", sampling.top_k.map(Value::from));
    } else if sampling.top_k.is_some() {
        dropped.push("top_k (with thinking there is none)".to_owned());
    }
    for (name, there) in [
        ("seed", sampling.seed.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
    ] {
        if there {
            dropped.push(name.to_owned());
        }
    }
    let (stop, blank): (Vec<&String>, Vec<&String>) = request.stop.iter().partition(|stop| !stop.trim().is_empty());
    set("stop_sequences", (!stop.is_empty()).then(|| json!(stop)));
    if !blank.is_empty() {
        dropped.push("stop (of nothing but white space)".to_owned());
    }
    set("metadata", request.user.as_ref().map(|user| json!({ "user_id": user })));
    if !request.tools.is_empty() {
        set("tools", Some(request.tools.iter().map(tool_json).collect()));
        set("tool_choice", tool_choice(request));
    }
    match &request.format {
        None => {}
        Some(Format::Json) => {
            let message = "a `json_object` answer can't be asked of an Anthropic model; give a `json_schema`";
            return Err(Failure::invalid("response_format", message));
        }
        Some(Format::Schema { schema, .. }) => {
            let mut schema = schema.clone();
            let mut left_out = Vec::new();
            strict(&mut schema, &mut left_out);
            if !left_out.is_empty() {
                left_out.sort_unstable();
                left_out.dedup();
                dropped.push(format!("of the schema: {}", left_out.join(", ")));
            }
            set("output_config", Some(json!({ "format": { "type": "json_schema", "schema": schema } })));
        }
    }
    Ok(Written { body: body.to_string().into(), dropped })
}

/// What these models' schemas don't know.
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

/// A schema as these models want one for their answers: no object may have more than it says.
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
                fields.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            for (name, value) in fields {
                match (name.as_str(), value) {
                    // Names of the client's own, each with a schema.
                    ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                        named.values_mut().for_each(|schema| strict(schema, left_out));
                    }
                    ("items" | "anyOf" | "allOf" | "oneOf" | "prefixItems", value) => strict(value, left_out),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// How many tokens may be thought with, if any may.
fn thinking_budget(request: &Request, dropped: &mut Vec<String>) -> Option<u32> {
    let reasoning = request.reasoning.filter(|reasoning| reasoning.effort != Effort::None)?;
    let mut refuse = |why: &str| {
        dropped.push(format!("reasoning ({why})"));
        None
    };
    if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
        return refuse("a tool is demanded, and these models don't think then");
    }
    // A turn that began without thinking can't take it up in the middle.
    let turn = request.turn();
    let unsealed = |message: &Message| {
        message.role == Role::Assistant
            && message.parts.iter().any(|part| matches!(part, Part::ToolCall { .. }))
            && !message.parts.iter().any(|part| thought_json(part).is_some())
    };
    if request.messages[turn..].iter().any(unsealed) {
        return refuse("this turn's tool calls came back without the thinking that led to them");
    }
    let budget = reasoning.budget.unwrap_or_else(|| reasoning.effort.budget()).max(LEAST_BUDGET);
    match request.max_tokens {
        Some(limit) if limit <= LEAST_BUDGET => refuse("the limit on tokens leaves no room for it"),
        Some(limit) => Some(budget.min(limit - 1).max(LEAST_BUDGET)),
        None => Some(budget.min(MAX_TOKENS - ANSWER_TOKENS)),
    }
}

fn thought_json(part: &Part) -> Option<Value> {
    let Part::Reasoning { text, state: Some(state) } = part else { return None };
    match state.origin {
        Origin::Anthropic => Some(json!({ "type": "thinking", "thinking": text, "signature": state.value })),
        Origin::AnthropicRedacted => Some(json!({ "type": "redacted_thinking", "data": state.value })),
        // What another kind of upstream thought is nothing to this one.
        _ => None,
    }
}

/// Turns: what several messages of one side say stands in one.
fn messages_json(request: &Request) -> Vec<Value> {
    // Of each: whose it is, the results in it, which stand before everything else, and what else is in it.
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
        Part::Image(Image::Url(url)) => json!({ "type": "image", "source": { "type": "url", "url": url } }),
        Part::Image(Image::Data { media_type, base64 }) => json!({
            "type": "image", "source": { "type": "base64", "media_type": media_type, "data": base64 },
        }),
        Part::Reasoning { .. } => return thought_json(part),
        Part::ToolCall { id, name, arguments } => json!({
            "type": "tool_use", "id": tools::fit_id(id, 64), "name": name, "input": tools::object(arguments),
        }),
        Part::ToolResult { id, content, error } => {
            let said: Value = if content.iter().all(|part| matches!(part, Part::Text(_))) {
                text_of(content).into()
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
