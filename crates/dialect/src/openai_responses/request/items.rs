//! Parses the items of a request's input: messages, calls of tools and their results.

use super::tools::parse_tools;
use super::{WANTED_INPUT, answer};
use crate::failure::Failure;
use crate::json::Json;
use crate::request::{File, Image, ImageDetail, Message, Part, Request, Role};
use crate::tools;

/// Calls of OpenAI's own tools: another upstream neither knows them nor needs them.
const HOSTED_CALLS: &[&str] = &[
    "web_search_call",
    "file_search_call",
    "image_generation_call",
    "code_interpreter_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "compaction_trigger",
];

/// Parses one input item as parts of a message; an unknown one is recorded as unsupported.
pub(super) fn parse_item(request: &mut Request, at: usize, item: Json<'_>) -> Result<(), Failure> {
    let kind = item.get("type").text();
    let name = || format!("input[{at}].content");
    match kind.as_deref() {
        None | Some("message") => {
            let role = parse_role(at, item.get("role"))?;
            let parts = parse_content(request, &name, item.get("content"));
            add_parts(request, role, parts);
        }
        // Of one agent to another.
        Some("agent_message") if !item.get("content").is_null() => {
            let parts = parse_content(request, &name, item.get("content"));
            add_parts(request, Role::User, parts);
        }
        Some("reasoning") => {
            add_parts(request, Role::Assistant, vec![parse_reasoning_item(item)]);
        }
        Some("additional_tools") => {
            parse_tools(request, &format!("input[{at}].tools"), item.get("tools"));
        }
        Some(kind) => {
            let call = parse_call(request, kind, item);
            let result = parse_result(request, at, kind, item);
            if call.is_none() && result.is_none() {
                leave_out(request, at, kind);
            }
            if let Some(call) = call {
                add_parts(request, Role::Assistant, vec![call]);
            }
            if let Some(result) = result {
                add_parts(request, Role::Tool, vec![result]);
            }
        }
    }
    Ok(())
}

/// Adds parts of a message: items of the assistant, or of tools, form one elsewhere; a user's stay
/// separate.
fn add_parts(request: &mut Request, role: Role, parts: Vec<Part>) {
    match request.messages.last_mut() {
        Some(last) if last.role == role && matches!(role, Role::Assistant | Role::Tool) => {
            last.parts.extend(parts);
        }
        _ => request.messages.push(Message { role, parts }),
    }
}

/// Records an item that has no equivalent elsewhere.
fn leave_out(request: &mut Request, at: usize, kind: &str) {
    match HOSTED_CALLS.iter().find(|known| **known == kind) {
        Some(kind) => request.ignore_kind(&format!("input[] of type {kind}")),
        // Only what the upstream itself ran has no id.
        None if matches!(kind, "tool_search_call" | "tool_search_output") => {}
        None => request.require_kind(format!("input[{at}]"), Some(kind)),
    }
}

/// Returns the id of a call, which some items have under another name.
fn call_id(item: Json<'_>) -> String {
    let ids = [item.get("call_id"), item.get("id")];
    ids.into_iter()
        .find_map(Json::text)
        .unwrap_or_default()
        .into()
}

/// Parses a call of a tool that the client runs.
fn parse_call(request: &Request, kind: &str, item: Json<'_>) -> Option<Part> {
    let namespace = item.get("namespace").string();
    let own = |name: &str| request.tool_forms.upstream_name(&namespace, name);
    let (name, arguments) = match kind {
        "function_call" => {
            let arguments = item.get("arguments");
            let arguments = arguments
                .text()
                .map_or_else(|| object(arguments), Into::into);
            (own(&item.get("name").string()), arguments)
        }
        "custom_tool_call" => {
            let input = item.get("input").string();
            (
                own(&item.get("name").string()),
                tools::custom_arguments(&input),
            )
        }
        "local_shell_call" => (own("local_shell"), object(item.get("action"))),
        "shell_call" => (own("shell"), object(item.get("action"))),
        "apply_patch_call" => (own("apply_patch"), object(item.get("operation"))),
        "tool_search_call" if !item.get("call_id").is_null() => {
            let arguments = item.get("arguments");
            let arguments = arguments
                .text()
                .map_or_else(|| object(arguments), Into::into);
            (own("tool_search"), arguments)
        }
        "mcp_call" => (
            own(&item.get("name").string()),
            item.get("arguments").string(),
        ),
        _ => return None,
    };
    let id = call_id(item);
    Some(Part::ToolCall {
        id,
        name,
        arguments,
    })
}

/// Returns an object as JSON text.
fn object(value: Json<'_>) -> String {
    match value.is_null() {
        true => String::new(),
        false => value.compact(),
    }
}

/// Parses the result of a tool that the client ran.
fn parse_result(request: &mut Request, at: usize, kind: &str, item: Json<'_>) -> Option<Part> {
    let id = call_id(item);
    let name = || format!("input[{at}].output");
    let (output, failed) = (item.get("output"), item.get("error"));
    let content = match kind {
        "tool_search_output" if !item.get("call_id").is_null() || !item.get("tools").is_empty() => {
            let tools = item.get("tools");
            parse_tools(request, &format!("input[{at}].tools"), tools);
            if item.get("call_id").is_null() {
                return None;
            }
            let names = tools.items().filter_map(|tool| tool.get("name").text());
            let names: Vec<_> = names.collect();
            vec![Part::Text(format!(
                "Tools that are available now: {}",
                names.join(", ")
            ))]
        }
        // Its call has the result, or the reason for which there is none.
        "mcp_call" if !output.is_null() => match output.text() {
            Some(text) => vec![Part::Text(text.into())],
            None => vec![Part::Text(output.compact())],
        },
        "mcp_call" if !failed.is_null() => {
            vec![Part::Text(
                failed.text().map_or_else(|| failed.compact(), Into::into),
            )]
        }
        "shell_call_output" if output.text().is_none() => vec![Part::Text(output.compact())],
        "apply_patch_call_output" if output.is_null() => {
            vec![Part::Text(item.get("status").string())]
        }
        "function_call_output"
        | "custom_tool_call_output"
        | "local_shell_call_output"
        | "shell_call_output"
        | "apply_patch_call_output" => parse_content(request, &name, output),
        _ => return None,
    };
    let status = item.get("status");
    let is_failed = kind == "mcp_call" && !failed.is_null();
    let error = status.is("incomplete") || status.is("failed") || is_failed;
    Some(Part::ToolResult { id, content, error })
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
        let name = || format!("{}[{at}]", name());
        match parse_content_part(&name, part) {
            Some(part) => parts.push(part),
            None => {
                // No other API takes an image by its id.
                let field = match part.get("file_id").is_null() {
                    true => "",
                    false => ".file_id",
                };
                let kind = part.get("type").text();
                request.require_kind(format!("{}{field}", name()), kind.as_deref());
            }
        }
    }
    parts
}

fn parse_content_part(name: &dyn Fn() -> String, part: Json<'_>) -> Option<Part> {
    let text = |field: &str| part.get(field).text();
    match text("type").as_deref() {
        Some("input_image") => {
            let detail = text("detail").and_then(|word| ImageDetail::from_word(&word));
            return text("image_url").map(|url| Part::Image(Image::from_url(&url), detail));
        }
        Some("input_file") => {
            let title = text("filename").map(String::from);
            return match (text("file_data"), text("file_url")) {
                (Some(data), _) => Some(File::inline(name(), title, None, &data)),
                (None, Some(url)) => Some(File::linked(name(), title, None, &url)),
                (None, None) => text("file_id").map(|id| File::stored(name(), title, &id)),
            };
        }
        Some("input_audio") => return File::recording(name(), part.get("input_audio")),
        Some("refusal") => return Some(Part::Refusal(part.get("refusal").string())),
        _ => {}
    }
    text("text").map(|text| Part::Text(text.into()))
}
