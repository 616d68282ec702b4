//! A Messages request: parsed from a client, encoded for an upstream ([`encode_request`]).

mod thinking;
mod write;

pub(super) use write::encode_request;

use bytes::Bytes;
use serde_json::Value;

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json;
use crate::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice,
};

/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &["container", "mcp_servers"];

/// Parses a client's request.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let mut request = Request {
        model: body.model()?,
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
        user: body.value("metadata")["user_id"]
            .as_str()
            .map(str::to_owned),
        n: 1,
        ..Request::default()
    };
    let system = body.value("system");
    if !system.is_null() {
        let parts = parse_blocks(&mut request, "system", &system)?;
        request.messages.push(Message {
            role: Role::System,
            parts,
        });
    }
    parse_messages(
        &mut request,
        body.take("messages", WANT)?.unwrap_or_default(),
    )?;
    let tools: Vec<Value> = body.take("tools", "a list of tools")?.unwrap_or_default();
    for (at, tool) in tools.iter().enumerate() {
        parse_tool(&mut request, at, tool);
    }
    let choice = body.value("tool_choice");
    request.tool_choice = parse_tool_choice(&choice);
    request.parallel_tool_calls = choice["disable_parallel_tool_use"]
        .as_bool()
        .map(|off| !off);
    let output = body.value("output_config");
    let effort = output["effort"].as_str().and_then(Effort::from_word);
    request.reasoning = parse_reasoning(&body.value("thinking"), effort);
    for format in [&output["format"], &body.value("output_format")] {
        if format["type"] == "json_schema" {
            let schema = format["schema"].clone();
            let strict = all_required(&schema).then_some(true);
            request.format = Some(Format::Schema {
                name: "answer".to_owned(),
                schema: schema.into(),
                strict,
            });
        }
    }
    if memchr::memmem::find(&bytes, b"\"cache_control\":").is_some() {
        request.ignore("cache_control");
    }
    body.record_rest(&mut request, &["cache_control"], ESSENTIAL_FIELDS);
    request.body = bytes;
    Ok(request)
}

fn parse_tool(request: &mut Request, at: usize, tool: &Value) {
    match (tool["name"].as_str(), tool["type"].as_str()) {
        (Some(name), None | Some("custom")) => request.tools.push(Tool {
            name: name.to_owned(),
            description: tool["description"].as_str().map(str::to_owned),
            parameters: tool["input_schema"].clone().into(),
            // Other dialects require every property of a strict schema; Anthropic does not.
            strict: tool["strict"]
                .as_bool()
                .filter(|_| all_required(&tool["input_schema"])),
        }),
        // A tool that Anthropic runs itself.
        _ => request.require(format!("tools[{at}]")),
    }
}

fn parse_tool_choice(choice: &Value) -> Option<ToolChoice> {
    match choice["type"].as_str()? {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "any" => Some(ToolChoice::Required),
        "tool" => choice["name"]
            .as_str()
            .map(|name| ToolChoice::Named(name.to_owned())),
        _ => None,
    }
}

/// Returns true if every property of every object in the schema is required.
fn all_required(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            let names = fields.get("properties").and_then(Value::as_object);
            let required = json::strings(&schema["required"]);
            names.is_none_or(|names| names.keys().all(|name| required.contains(name)))
                && fields.values().all(all_required)
        }
        Value::Array(list) => list.iter().all(all_required),
        _ => true,
    }
}

const WANT: &str = "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";

fn parse_reasoning(value: &Value, effort: Option<Effort>) -> Option<Reasoning> {
    match value["type"].as_str() {
        Some("enabled") => {
            let budget = value["budget_tokens"]
                .as_u64()
                .and_then(|tokens| u32::try_from(tokens).ok());
            let effort = effort
                .or(budget.map(Effort::from_budget))
                .unwrap_or(Effort::Medium);
            Some(Reasoning {
                effort,
                budget,
                shown: Some(true),
            })
        }
        Some("adaptive") => Some(Reasoning {
            effort: effort.unwrap_or(Effort::High),
            budget: None,
            shown: Some(value["display"] != "omitted"),
        }),
        _ => effort.map(|effort| Reasoning {
            effort,
            budget: None,
            shown: None,
        }),
    }
}

fn parse_messages(request: &mut Request, list: Vec<Value>) -> Result<(), Failure> {
    if list.is_empty() {
        return Err(Failure::invalid(
            "messages",
            format!("`messages` is missing or empty; it should be {WANT}"),
        ));
    }
    for (at, message) in list.iter().enumerate() {
        let name = format!("messages[{at}]");
        let role = match message["role"].as_str() {
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("user") => Role::User,
            _ => {
                let name = format!("{name}.role");
                return Err(Failure::invalid(
                    &name,
                    format!("`{name}` should be \"user\" or \"assistant\""),
                ));
            }
        };
        let parts = parse_blocks(request, &format!("{name}.content"), &message["content"])?;
        // Tool results come first in their message; the neutral form keeps them in a message of
        // their own.
        let (results, parts): (Vec<Part>, Vec<Part>) = parts
            .into_iter()
            .partition(|part| matches!(part, Part::ToolResult { .. }));
        if !results.is_empty() {
            request.messages.push(Message {
                role: Role::Tool,
                parts: results,
            });
            if parts.is_empty() {
                continue;
            }
        }
        request.messages.push(Message { role, parts });
    }
    Ok(())
}

fn parse_blocks(request: &mut Request, name: &str, content: &Value) -> Result<Vec<Part>, Failure> {
    let list = match content {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![Part::Text(text.clone())]),
        Value::Array(list) => list,
        _ => {
            request.require(name);
            return Ok(Vec::new());
        }
    };
    let mut parts = Vec::new();
    for (at, block) in list.iter().enumerate() {
        parts.extend(parse_block(request, &format!("{name}[{at}]"), block)?);
    }
    Ok(parts)
}

/// Parses one content block; an unknown one is recorded as unsupported.
fn parse_block(request: &mut Request, name: &str, block: &Value) -> Result<Option<Part>, Failure> {
    let text = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
    Ok(Some(match block["type"].as_str() {
        Some("text") => match block["text"].as_str() {
            Some(text) => Part::Text(text.to_owned()),
            None => {
                let name = format!("{name}.text");
                let message = format!("`{name}` should be a string");
                return Err(Failure::invalid(&name, message));
            }
        },
        Some("image") => match image(&block["source"]) {
            Some(image) => Part::Image(image),
            None => {
                request.require(format!("{name}.source"));
                return Ok(None);
            }
        },
        Some("thinking") => {
            let signature = text("signature");
            let state = (!signature.is_empty()).then(|| {
                let ReasoningState { origin, value } =
                    ReasoningState::decode(&signature, StateOrigin::Anthropic);
                let value = value.into_owned().into();
                ReasoningState { origin, value }
            });
            let text = text("thinking");
            Part::Reasoning { text, state }
        }
        Some("redacted_thinking") => Part::Reasoning {
            text: String::new(),
            state: Some(ReasoningState {
                origin: StateOrigin::AnthropicRedacted,
                value: text("data").into(),
            }),
        },
        Some("tool_use") => Part::ToolCall {
            id: text("id"),
            name: text("name"),
            arguments: match &block["input"] {
                Value::Null => "{}".to_owned(),
                input => input.to_string(),
            },
        },
        Some("tool_result") => Part::ToolResult {
            id: text("tool_use_id"),
            content: parse_blocks(request, &format!("{name}.content"), &block["content"])?,
            error: block["is_error"] == true,
        },
        _ => {
            request.require(name);
            return Ok(None);
        }
    }))
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
