//! A Responses request: parsed from a client, encoded for an upstream.

mod write;

pub(super) use write::encode_request;

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

use super::answer;
use crate::failure::Failure;
use crate::json::{self, Json};
use crate::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice,
};

/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &[
    "previous_response_id",
    "conversation",
    "prompt",
    "top_logprobs",
    "context_management",
];
/// Fields without meaning for another dialect.
const INERT_FIELDS: &[&str] = &[
    "include",
    "store",
    "stream_options",
    "prompt_cache_key",
    "truncation",
];

/// Parses a client's request.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: true,
        parallel_tool_calls: body.json("parallel_tool_calls").as_bool(),
        max_tokens: json::max_tokens("max_output_tokens", body.raw("max_output_tokens"))?,
        sampling: Sampling {
            temperature: json::temperature(body.raw("temperature"))?,
            top_p: body.json("top_p").number(),
            ..Sampling::default()
        },
        n: 1,
        ..Request::default()
    };
    request.background = body.take("background", "true or false")?.unwrap_or(false);
    if request.background && body.json("store").as_bool() == Some(false) {
        return Err(Failure::invalid(
            "store",
            "`background` requires `store`: the response is kept until it is retrieved",
        ));
    }
    if let Some(text) = body.take::<String>("instructions", "a string")? {
        request.messages.push(Message::text(Role::System, text));
    }
    parse_input(&mut request, body.json("input"))?;
    let user = [body.json("user"), body.json("safety_identifier")];
    request.user = user.into_iter().find_map(Json::text).map(Into::into);
    let tools = body.list("tools", "a list of tools")?;
    request.tools.reserve_exact(tools.len());
    for (at, tool) in tools.items().enumerate() {
        parse_tool(&mut request, at, tool);
    }
    let choice = body.json("tool_choice");
    request.tool_choice = parse_tool_choice(choice);
    if request.tool_choice.is_none() && !choice.is_null() {
        request.require("tool_choice");
    }
    parse_text_options(&mut request, body.json("text"));
    request.reasoning = parse_reasoning(body.json("reasoning"));
    body.record_rest(&mut request, INERT_FIELDS, ESSENTIAL_FIELDS);
    request.body = bytes;
    Ok(request)
}

fn parse_tool(request: &mut Request, at: usize, tool: Json<'_>) {
    let name = tool.get("name").text();
    match name.filter(|_| tool.get("type").is("function")) {
        Some(name) => request.tools.push(Tool {
            name: name.into(),
            description: tool.get("description").text().map(Into::into),
            parameters: tool.get("parameters").into(),
            strict: tool.get("strict").as_bool(),
        }),
        // A tool that OpenAI runs itself, or a custom tool whose arguments are not JSON.
        None => request.require(format!("tools[{at}]")),
    }
}

fn parse_tool_choice(choice: Json<'_>) -> Option<ToolChoice> {
    match choice.text().as_deref() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        Some("required") => Some(ToolChoice::Required),
        _ if choice.get("type").is("function") => choice
            .get("name")
            .text()
            .map(|name| ToolChoice::Named(name.into())),
        _ => None,
    }
}

/// Parses the reasoning options; a summary alone asks for medium effort.
fn parse_reasoning(reasoning: Json<'_>) -> Option<Reasoning> {
    let shown = (!reasoning.get("summary").is_null()).then_some(true);
    let effort = reasoning.get("effort").text();
    let effort = effort.and_then(|word| Effort::from_word(&word));
    let effort = effort.or(shown.map(|_| Effort::Medium))?;
    Some(Reasoning {
        effort,
        budget: None,
        shown,
    })
}

/// Returns the id of the response that a request continues.
#[must_use]
pub fn previous_response_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Asked {
        previous_response_id: String,
    }
    memmem::find(body, b"\"previous_response_id\"")?;
    // A malformed body is rejected when the whole of it is parsed.
    serde_json::from_slice::<Asked>(body)
        .ok()
        .map(|asked| asked.previous_response_id)
}

/// Returns the body with another `previous_response_id`.
///
/// # Errors
///
/// Never for a body that has a [`previous_response_id`].
pub fn with_previous_response_id(body: &Bytes, id: &str) -> Result<Bytes, Failure> {
    json::with_fields(
        body,
        &[("previous_response_id", Some(&Value::from(id).to_string()))],
    )
}

fn parse_text_options(request: &mut Request, text: Json<'_>) {
    let format = text.get("format");
    match format.get("type").text().as_deref() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        Some("json_schema") => {
            request.format = Some(Format::Schema {
                name: format
                    .get("name")
                    .text()
                    .map_or_else(|| "answer".to_owned(), Cow::into_owned),
                schema: format.get("schema").into(),
                strict: format.get("strict").as_bool(),
            });
        }
        Some(_) => request.require("text.format"),
    }
    if !matches!(
        text.get("verbosity").text().as_deref(),
        None | Some("medium")
    ) {
        request.ignore("text.verbosity");
    }
}

fn parse_input(request: &mut Request, input: Json<'_>) -> Result<(), Failure> {
    if let Some(text) = input.text() {
        request.messages.push(Message::text(Role::User, text));
        return Ok(());
    }
    if input.is_null() {
        // A stored prompt or conversation may be the only input; only its upstream knows it.
        request.require("input");
        return Ok(());
    }
    if !input.is_list() {
        return Err(Failure::invalid("input", WANTED_INPUT));
    }
    for (at, item) in input.items().enumerate() {
        let Some((role, parts)) = parse_item(request, at, item)? else {
            continue;
        };
        // Items of the assistant, or of tools, form one message elsewhere; a user's stay separate.
        match request.messages.last_mut() {
            Some(last) if last.role == role && matches!(role, Role::Assistant | Role::Tool) => {
                last.parts.extend(parts)
            }
            _ => request.messages.push(Message { role, parts }),
        }
    }
    Ok(())
}

const WANTED_INPUT: &str = "`input` should be a string, or a list of items, as in \
                            [{\"role\": \"user\", \"content\": \"Hello\"}]";

/// Parses one input item; an unknown one is recorded as unsupported.
fn parse_item(
    request: &mut Request,
    at: usize,
    item: Json<'_>,
) -> Result<Option<(Role, Vec<Part>)>, Failure> {
    let text = |field: &str| item.get(field).string();
    Ok(Some(match item.get("type").text().as_deref() {
        None | Some("message") => {
            let role = parse_role(at, item.get("role"))?;
            let name = || format!("input[{at}].content");
            (role, parse_content(request, &name, item.get("content")))
        }
        Some("reasoning") => (Role::Assistant, vec![parse_reasoning_item(item)]),
        Some("function_call") => {
            let call = Part::ToolCall {
                id: text("call_id"),
                name: text("name"),
                arguments: text("arguments"),
            };
            (Role::Assistant, vec![call])
        }
        Some("function_call_output") => {
            let name = || format!("input[{at}].output");
            let result = Part::ToolResult {
                id: text("call_id"),
                content: parse_content(request, &name, item.get("output")),
                error: item.get("status").is("incomplete"),
            };
            (Role::Tool, vec![result])
        }
        Some(_) => {
            request.require(format!("input[{at}]"));
            return Ok(None);
        }
    }))
}

/// Parses a reasoning item that a client sends back.
fn parse_reasoning_item(item: Json<'_>) -> Part {
    let texts = |list: Json<'_>| {
        let texts = list.items().filter_map(|part| part.get("text").text());
        texts.collect::<Vec<_>>().join("\n\n")
    };
    let summary = texts(item.get("summary"));
    let encrypted = item.get("encrypted_content").text();
    Part::Reasoning {
        text: match summary.is_empty() {
            true => texts(item.get("content")),
            false => summary,
        },
        state: encrypted
            .filter(|encrypted| !encrypted.is_empty())
            .map(|encrypted| answer::decode_state(&encrypted, &item.get("id").string())),
    }
}

fn parse_role(at: usize, role: Json<'_>) -> Result<Role, Failure> {
    match role.text().as_deref() {
        Some("system" | "developer") => Ok(Role::System),
        Some("assistant") => Ok(Role::Assistant),
        Some("user") => Ok(Role::User),
        Some(_) => {
            let name = format!("input[{at}].role");
            let message = format!("`{name}` should be user, assistant, system or developer");
            Err(Failure::invalid(&name, message))
        }
        None => {
            let name = format!("input[{at}]");
            let message = format!("`{name}` has no role and no type. {WANTED_INPUT}");
            Err(Failure::invalid(&name, message))
        }
    }
}

/// Parses a text, or a list of content parts; `name` makes the name of the list for errors.
fn parse_content(request: &mut Request, name: &dyn Fn() -> String, content: Json<'_>) -> Vec<Part> {
    if let Some(text) = content.text() {
        return vec![Part::Text(text.into())];
    }
    if !content.is_list() && !content.is_null() {
        request.require(name());
    }
    let mut parts = Vec::with_capacity(content.len());
    for (at, part) in content.items().enumerate() {
        match parse_content_part(part) {
            Some(part) => parts.push(part),
            None => request.require(format!("{}[{at}]", name())),
        }
    }
    parts
}

fn parse_content_part(part: Json<'_>) -> Option<Part> {
    let kind = part.get("type").text();
    if kind.as_deref() == Some("input_image")
        && let Some(url) = part.get("image_url").text()
    {
        return Some(Part::Image(Image::from_url(&url)));
    }
    if kind.as_deref() == Some("refusal") {
        return Some(Part::Refusal(part.get("refusal").string()));
    }
    part.get("text").text().map(|text| Part::Text(text.into()))
}
