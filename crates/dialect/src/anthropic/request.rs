//! A Messages request: parsed from a client, encoded for an upstream ([`encode_request`]).

mod blocks;
mod server_tools;
mod thinking;
mod write;

pub(super) use thinking::takes_prefill;
pub(crate) use thinking::thinking_options;
pub(super) use write::encode_request;

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::{self, Json};
use crate::request::{
    CacheTtl, Effort, Format, Image, MAX_STRINGS, Message, Part, Reasoning, Request, Role,
    Sampling, Tool, ToolChoice, take_results,
};
use crate::tools;

/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &["container", "mcp_servers"];

/// Parses a client's request.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: true,
        n: 1,
        ..Request::default()
    };
    let read = parse_fields(&mut request, body);
    request.keep_invalid(read);
    request.body = bytes;
    Ok(request)
}

/// Parses the fields that other dialects need.
fn parse_fields(request: &mut Request, mut body: json::RequestFields<'_>) -> Result<(), Failure> {
    request.max_tokens = json::max_tokens("max_tokens", body.raw("max_tokens"))?;
    request.sampling = Sampling {
        temperature: json::temperature(body.raw("temperature"))?,
        top_p: body.json("top_p").number(),
        top_k: body.json("top_k").number(),
        ..Sampling::default()
    };
    request.stop = body.json("stop_sequences").strings(MAX_STRINGS);
    request.user = body.json("metadata").get("user_id").text().map(Into::into);
    let system = body.json("system");
    if !system.is_null() {
        let mut parts = parse_blocks(request, &|| "system".to_owned(), system, 0)?;
        leave_out_billing(request, &mut parts);
        request.messages.push(Message {
            role: Role::System,
            parts,
        });
    }
    parse_messages(request, body.list("messages", WANT)?)?;
    request.mark_end(body.json("cache_control"));
    let tools = body.list("tools", "a list of tools")?;
    request.tools.reserve_exact(tools.len());
    for (at, tool) in tools.items().enumerate() {
        parse_tool(request, at, tool);
    }
    let choice = body.json("tool_choice");
    request.tool_choice = parse_tool_choice(choice);
    request.parallel_tool_calls = choice
        .get("disable_parallel_tool_use")
        .as_bool()
        .map(|off| !off);
    let output = body.json("output_config");
    let effort = output.get("effort").text();
    let effort = effort.and_then(|word| Effort::from_word(&word));
    request.reasoning = parse_reasoning(body.json("thinking"), effort);
    for format in [output.get("format"), body.json("output_format")] {
        if format.get("type").is("json_schema") {
            let schema = format.get("schema");
            request.format = Some(Format::Schema {
                name: "answer".to_owned(),
                strict: all_required(schema).then_some(true),
                schema: schema.into(),
            });
        }
    }
    body.record_rest(request, &[], ESSENTIAL_FIELDS);
    Ok(())
}

/// The beginning of the line that Claude Code's system prompt begins with, for its own upstream.
const BILLING: &str = "x-anthropic-billing-header:";

/// Leaves out the line that is for Anthropic's billing: it is another one in each request, so that
/// no other upstream would find the rest in its cache.
fn leave_out_billing(request: &mut Request, parts: &mut Vec<Part>) {
    for part in &mut *parts {
        if let Part::Text(text) = part
            && text.starts_with(BILLING)
        {
            let end = text.find('\n').map_or(text.len(), |end| end + 1);
            text.drain(..end);
            request.ignore_kind("x-anthropic-billing-header");
        }
    }
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
}

fn parse_tool(request: &mut Request, at: usize, tool: Json<'_>) {
    let kind = tool.get("type").text();
    let cache = CacheTtl::parse(tool.get("cache_control"));
    match (tool.get("name").text(), kind.as_deref()) {
        (Some(name), None | Some("custom")) => {
            let schema = tool.get("input_schema");
            request.tools.push(Tool {
                name: name.into(),
                description: tool.get("description").text().map(Into::into),
                parameters: schema.into(),
                // Other dialects require every property of a strict schema; Anthropic does not.
                strict: tool
                    .get("strict")
                    .as_bool()
                    .filter(|_| all_required(schema)),
                cache,
                custom: None,
            });
        }
        (Some(name), Some(kind)) if let Some(tool) = server_tools::client_tool(kind, &name) => {
            request.tools.push(Tool { cache, ..tool });
        }
        (_, Some(kind)) if server_tools::is_hosted_tool(kind) => {
            request.leave_out_tool(format!("tools[{at}]"), kind);
        }
        (_, kind) => request.require_kind(format!("tools[{at}]"), kind),
    }
}

fn parse_tool_choice(choice: Json<'_>) -> Option<ToolChoice> {
    match &*choice.get("type").text()? {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "any" => Some(ToolChoice::Required),
        "tool" => choice
            .get("name")
            .text()
            .map(|name| ToolChoice::Named(name.into())),
        _ => None,
    }
}

/// Returns true if every property of every object in the schema is required.
fn all_required(schema: Json<'_>) -> bool {
    all_required_below(schema, 0)
}

/// One that is nested too deep is taken for one in which a property is not required.
fn all_required_below(schema: Json<'_>, depth: usize) -> bool {
    if depth > json::MAX_SCHEMA_NESTING {
        return false;
    }
    if schema.is_list() {
        return schema
            .items()
            .all(|item| all_required_below(item, depth + 1));
    }
    let (mut properties, mut required) = (Json::NULL, Json::NULL);
    let mut all = true;
    schema.each_field(|name, value| {
        match name {
            b"properties" => properties = value,
            b"required" => required = value,
            _ => {}
        }
        all = all && all_required_below(value, depth + 1);
    });
    if !all || properties.is_empty() {
        return all;
    }
    let required: HashSet<Cow<'_, str>> = match required.text() {
        Some(name) => HashSet::from([name]),
        None => required.items().filter_map(Json::text).collect(),
    };
    properties
        .each_field(|name, _| all = all && required.contains(&*String::from_utf8_lossy(name)));
    all
}

const WANT: &str = "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";

fn parse_reasoning(value: Json<'_>, effort: Option<Effort>) -> Option<Reasoning> {
    match value.get("type").text().as_deref() {
        Some("enabled") => {
            let budget = value.get("budget_tokens").number::<u64>();
            let budget = budget.and_then(|tokens| u32::try_from(tokens).ok());
            Some(Reasoning {
                effort: effort.or(budget.map(Effort::from_budget)),
                budget,
                shown: Some(true),
            })
        }
        Some("adaptive") => Some(Reasoning {
            effort,
            budget: None,
            shown: Some(!value.get("display").is("omitted")),
        }),
        Some("disabled") => Some(Reasoning {
            effort: Some(Effort::None),
            budget: Some(0),
            shown: Some(false),
        }),
        _ => effort.map(|effort| Reasoning {
            effort: Some(effort),
            budget: None,
            shown: None,
        }),
    }
}

fn parse_messages(request: &mut Request, list: Json<'_>) -> Result<(), Failure> {
    request.messages.reserve_exact(list.len());
    for (at, message) in list.items().enumerate() {
        let role = match message.get("role").text().as_deref() {
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("user") => Role::User,
            _ => {
                let name = format!("messages[{at}].role");
                let message = format!("`{name}` should be \"user\" or \"assistant\"");
                return Err(Failure::invalid(&name, message));
            }
        };
        let name = || format!("messages[{at}].content");
        let mut parts = parse_blocks(request, &name, message.get("content"), 0)?;
        let has_results = || {
            parts
                .iter()
                .any(|part| matches!(part, Part::ToolResult { .. }))
        };
        if role == Role::Assistant && has_results() {
            server_tools::push_assistant(request, parts);
            continue;
        }
        // Tool results come first in their message; the neutral form keeps them in a message of
        // their own.
        let results = take_results(&mut parts);
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
    if list.is_empty() {
        return Err(Failure::invalid(
            "messages",
            format!("`messages` is missing or empty; it should be {WANT}"),
        ));
    }
    Ok(())
}

/// Maximum nesting of tool results in tool results; the API allows none.
const MAX_RESULT_NESTING: usize = 4;

/// Parses a text, or a list of content blocks; `name` makes the name of the list for errors.
fn parse_blocks(
    request: &mut Request,
    name: &dyn Fn() -> String,
    content: Json<'_>,
    depth: usize,
) -> Result<Vec<Part>, Failure> {
    if let Some(text) = content.text() {
        return Ok(vec![Part::Text(text.into())]);
    }
    if !content.is_list() && !content.is_null() {
        request.require(name());
    }
    let mut parts = Vec::with_capacity(content.len());
    for (at, block) in content.items().enumerate() {
        let name = || format!("{}[{at}]", name());
        let mark = CacheTtl::parse(block.get("cache_control")).map(Part::CacheBreakpoint);
        match parse_block(request, &name, block, depth)? {
            // Results are moved to a message of their own, and their marks with them.
            Some(Part::ToolResult {
                id,
                mut content,
                error,
            }) => {
                content.extend(mark);
                parts.push(Part::ToolResult { id, content, error });
            }
            Some(part) => parts.extend([part].into_iter().chain(mark)),
            None => {}
        }
    }
    Ok(parts)
}

/// Parses one content block; an unknown one is recorded as unsupported.
fn parse_block(
    request: &mut Request,
    name: &dyn Fn() -> String,
    block: Json<'_>,
    depth: usize,
) -> Result<Option<Part>, Failure> {
    let text = |field: &str| block.get(field).string();
    Ok(Some(match block.get("type").text().as_deref() {
        Some("text") => match block.get("text").text() {
            Some(text) => Part::Text(text.into()),
            None => {
                let name = format!("{}.text", name());
                let message = format!("`{name}` should be a string");
                return Err(Failure::invalid(&name, message));
            }
        },
        Some("image") => match image(block.get("source")) {
            Some(image) => Part::Image(image, None),
            None => {
                request.require(format!("{}.source", name()));
                return Ok(None);
            }
        },
        Some("thinking") => Part::Reasoning {
            text: text("thinking"),
            state: decode_signature(&text("signature")),
        },
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
            arguments: tools::given(block.get("input")),
        },
        Some("tool_result") if depth < MAX_RESULT_NESTING => Part::ToolResult {
            id: text("tool_use_id"),
            content: {
                let name = || format!("{}.content", name());
                parse_blocks(request, &name, block.get("content"), depth + 1)?
            },
            error: block.get("is_error").as_bool() == Some(true),
        },
        kind => {
            let part = kind.and_then(|kind| server_tools::parse_block(name, kind, block));
            if part.is_none() {
                request.require_kind(name(), kind);
            }
            return Ok(part);
        }
    }))
}

fn decode_signature(signature: &str) -> Option<ReasoningState<'static>> {
    if signature.is_empty() {
        return None;
    }
    let ReasoningState { origin, value } =
        ReasoningState::decode(signature, StateOrigin::Anthropic);
    let value = value.into_owned().into();
    Some(ReasoningState { origin, value })
}

fn image(source: Json<'_>) -> Option<Image> {
    match &*source.get("type").text()? {
        "url" => Some(Image::from_url(&source.get("url").text()?)),
        "base64" => Some(Image::Data {
            media_type: source.get("media_type").text()?.into(),
            base64: source.get("data").text()?.into(),
        }),
        _ => None,
    }
}
