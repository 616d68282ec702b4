//! Encodes a neutral request as a Responses request.

use serde_json::{Value, json};

use super::super::options::{tool_choice_json, write_format, write_tool};
use super::LOGPROBS;
use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::families::{Family, ReasoningOff, SystemPlace};
use crate::json::ListWriter;
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{
    CustomCalls, CustomNames, Effort, FileSource, ImageDetail, Message, Part, Reasoning, Request,
    Role, texts_of,
};
use crate::{UpstreamPayload, tools};

/// Encodes a request of another dialect.
pub(in crate::openai_responses) fn encode_request(
    request: &Request,
    model: &str,
    (rules, custom): (&Family, &CustomNames<'_>),
) -> Result<UpstreamPayload, Failure> {
    let (_, alone) = request.system();
    let joined = rules.joined_system(request).filter(|_| !alone);
    let mut leading = request
        .messages
        .iter()
        .take_while(|message| message.role == Role::System)
        .count();
    if leading == request.messages.len() {
        // The API requires input, so a request of system messages alone sends them as input.
        leading = 0;
    }
    let (system, rest) = request.messages.split_at(leading);
    let mut payload = PayloadBuilder::new(request, rules);
    payload.set("model", Some(model));
    let mut calls = CustomCalls::new(custom);
    payload.list("input", |items, dropped| {
        for message in rest {
            match (message.role, rules.system) {
                (Role::System, _) if joined.is_some() => {}
                (Role::System, Some(SystemPlace::User)) => {
                    let said: Vec<&Part> =
                        message.parts.iter().filter(|part| is_said(part)).collect();
                    write_said(Role::User, &said, items);
                }
                _ => write_items(message, &mut calls, items, dropped),
            }
        }
    });
    payload.set("stream", Some(request.stream));
    payload.set("store", Some(false));
    let system: Vec<String> = system
        .iter()
        .map(|message| texts_of(&message.parts, "\n\n"))
        .collect();
    payload.set(
        "instructions",
        joined
            .clone()
            .or_else(|| (!system.is_empty()).then(|| system.join("\n\n"))),
    );
    set_sampling(&mut payload, request);
    payload.set("user", request.user.as_deref().map(|user| rules.user(user)));
    set_tools(&mut payload, request, custom);
    set_text_options(&mut payload, request);
    payload.set_openai_options(&request.openai);
    payload.drop_present(&[("cache_control", request.has_cache_breakpoint())]);
    let mut include = Vec::new();
    set_reasoning(&mut payload, request.reasoning, rules.off, &mut include);
    if let Some(asked) = request.logprobs.filter(|_| payload.takes("top_logprobs")) {
        include.push(LOGPROBS);
        let alternatives = Some(asked.alternatives).filter(|count| *count > 0);
        payload.set("top_logprobs", alternatives);
    }
    payload.set("include", (!include.is_empty()).then_some(include));
    Ok(payload.finish())
}

fn set_tools(payload: &mut PayloadBuilder<'_>, request: &Request, custom: &CustomNames<'_>) {
    if request.tools.is_empty() {
        return;
    }
    payload.list("tools", |list, _| {
        for tool in &request.tools {
            let is_custom = custom.contains(&tool.name);
            list.object(|object| write_tool(tool, is_custom, object));
        }
    });
    payload.set("parallel_tool_calls", request.parallel_tool_calls);
    let choice = request.tool_choice.as_ref();
    let choice = choice.map(|choice| tool_choice_json(choice, |name| custom.contains(name)));
    payload.set("tool_choice", choice);
}

/// Sets the format and the verbosity of the answer.
fn set_text_options(payload: &mut PayloadBuilder<'_>, request: &Request) {
    let verbosity = request.openai.verbosity.as_deref();
    if request.format.is_none() && verbosity.is_none() {
        return;
    }
    payload.object("text", |text| {
        if let Some(format) = &request.format {
            text.object("format", |object| write_format(format, object));
        }
        if let Some(verbosity) = verbosity {
            text.field("verbosity", verbosity);
        }
    });
}

/// Sets the token limit and the two sampling parameters that this API has.
fn set_sampling(payload: &mut PayloadBuilder<'_>, request: &Request) {
    if let Some(limit) = request
        .max_tokens
        .filter(|limit| *limit < MIN_OUTPUT_TOKENS)
    {
        payload.drop_param(format!(
            "max_tokens {limit} (sent as {MIN_OUTPUT_TOKENS}, the minimum)"
        ));
    }
    let limit = request.max_tokens.map(|limit| limit.max(MIN_OUTPUT_TOKENS));
    payload.set("max_output_tokens", limit);
    let sampling = &request.sampling;
    payload.set("temperature", sampling.temperature);
    payload.set("top_p", sampling.top_p);
    payload.drop_present(&[
        ("top_k", sampling.top_k.is_some()),
        ("seed", sampling.seed.is_some()),
        ("presence_penalty", has_effect(sampling.presence_penalty)),
        ("frequency_penalty", has_effect(sampling.frequency_penalty)),
        ("stop", !request.stop.is_empty()),
    ]);
}

fn set_reasoning(
    payload: &mut PayloadBuilder<'_>,
    reasoning: Option<Reasoning>,
    off: Option<ReasoningOff>,
    include: &mut Vec<&'static str>,
) {
    let Some(reasoning) = reasoning else {
        return;
    };
    let Reasoning {
        effort,
        budget,
        shown,
    } = reasoning;
    if reasoning.is_off() && off == Some(ReasoningOff::Effort) {
        if payload.takes("reasoning") {
            let word = payload.effort(Effort::None);
            payload.set("reasoning", Some(json!({ "effort": word })));
        }
        return;
    }
    if budget == Some(0) {
        return payload.drop_param("the thinking budget of 0");
    }
    // Summaries require a verified account, so they are requested only if the client did.
    let summary = (shown == Some(true)).then_some("auto");
    if !payload.takes("reasoning") {
        return;
    }
    let effort = effort.map(|effort| payload.effort(effort));
    if effort.is_some() || summary.is_some() {
        let reasoning = json!({ "effort": effort, "summary": summary });
        payload.set("reasoning", Some(reasoning));
    }
    if budget.is_some() {
        payload.drop_param("the thinking budget (sent as reasoning.effort)");
    }
    // Nothing is stored, so the reasoning must be returned to be sent back.
    include.push("reasoning.encrypted_content");
}

/// Smallest accepted token limit.
const MIN_OUTPUT_TOKENS: u32 = 16;

/// Writes the items of a message: what it says, between its calls, results and reasoning.
fn write_items<'a>(
    message: &'a Message,
    calls: &mut CustomCalls<'a>,
    items: &mut ListWriter,
    dropped: &mut Vec<String>,
) {
    let mut said: Vec<&Part> = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        if is_said(part) {
            said.push(part);
        } else if is_sent(part) {
            write_said(message.role, &said, items);
            said.clear();
            write_item(part, calls, items, dropped);
        }
    }
    write_said(message.role, &said, items);
}

/// Returns true for the content of a message; other parts are items of their own.
fn is_said(part: &Part) -> bool {
    match part {
        Part::Text(text) => !text.is_empty(),
        Part::Image(..) | Part::File(_) | Part::Refusal(_) => true,
        _ => false,
    }
}

/// Returns true for a part that is an item of its own. Reasoning of other upstreams can't be sent
/// back here.
fn is_sent(part: &Part) -> bool {
    match part {
        Part::Reasoning { state, .. } => state
            .as_ref()
            .is_some_and(|state| state.origin == StateOrigin::OpenAiResponses),
        Part::ToolCall { .. } | Part::ToolResult { .. } => true,
        Part::Text(_)
        | Part::Image(..)
        | Part::File(_)
        | Part::Refusal(_)
        | Part::CacheBreakpoint(_) => false,
    }
}

fn write_item<'a>(
    part: &'a Part,
    calls: &mut CustomCalls<'a>,
    items: &mut ListWriter,
    dropped: &mut Vec<String>,
) {
    match part {
        Part::Reasoning {
            text,
            state: Some(ReasoningState { value, .. }),
        } => {
            let (id, encrypted) = value.split_once(' ').unwrap_or(("", value));
            items.value(reasoning_item(id, text, encrypted));
        }
        Part::ToolCall {
            id,
            name,
            arguments,
        } if calls.begin(id, name) => items.value(json!({
            "type": "custom_tool_call", "call_id": tools::fit_id(id, 64), "name": name,
            "input": tools::custom_input(arguments),
        })),
        Part::ToolCall {
            id,
            name,
            arguments,
        } => items.value(json!({
            "type": "function_call", "call_id": tools::fit_id(id, 64), "name": name,
            "arguments": tools::text(arguments),
        })),
        Part::ToolResult { id, content, error } => {
            if *error && !dropped.iter().any(|known| known == DROPPED_ERROR) {
                dropped.push(DROPPED_ERROR.to_owned());
            }
            items.object(|item| {
                let kind = match calls.has_called(id) {
                    true => "custom_tool_call_output",
                    false => "function_call_output",
                };
                item.field("type", kind);
                item.field("call_id", tools::fit_id(id, 64));
                if content.iter().all(|part| matches!(part, Part::Text(_))) {
                    return item.field("output", texts_of(content, "\n"));
                }
                item.list("output", |output| {
                    for part in content {
                        write_part(part, "input_text", output);
                    }
                });
            });
        }
        _ => {}
    }
}

const DROPPED_ERROR: &str = "is_error of a tool result";

fn write_said(role: Role, said: &[&Part], items: &mut ListWriter) {
    let (role, kind) = match role {
        Role::System => ("system", "input_text"),
        Role::User | Role::Tool => ("user", "input_text"),
        Role::Assistant => ("assistant", "output_text"),
    };
    match said {
        [] => {}
        [Part::Text(text)] => items.value(json!({ "role": role, "content": text })),
        parts => items.object(|item| {
            item.field("role", role);
            item.list("content", |content| {
                for part in parts {
                    write_part(part, kind, content);
                }
            });
        }),
    }
}

fn write_part(part: &Part, kind: &str, content: &mut ListWriter) {
    match part {
        Part::Text(text) => content.value(json!({ "type": kind, "text": text })),
        Part::Image(image, detail) => {
            let detail = detail.map_or("auto", ImageDetail::word);
            content.value(json!({
                "type": "input_image", "image_url": image.to_url(), "detail": detail,
            }));
        }
        Part::File(file) => content.value(match &file.source {
            FileSource::Url(url) => json!({ "type": "input_file", "file_url": url }),
            FileSource::Stored(id) => json!({ "type": "input_file", "file_id": id }),
            FileSource::Base64(_) => json!({
                "type": "input_file", "filename": file.name_or_default(),
                "file_data": file.to_url(),
            }),
        }),
        Part::Refusal(text) => content.value(json!({ "type": "refusal", "refusal": text })),
        _ => {}
    }
}

fn reasoning_item(id: &str, text: &str, encrypted: &str) -> Value {
    let summary = if text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": text }])
    };
    let mut item =
        json!({ "type": "reasoning", "summary": summary, "encrypted_content": encrypted });
    if !id.is_empty() {
        item["id"] = id.into();
    }
    item
}
