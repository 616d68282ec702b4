//! Writes the messages of a Chat Completions request.

use serde_json::json;

use super::content::{MarkedPart, has_mark, is_content, is_text, marked, part_json};
use super::reasoning::AssistantReasoning;
use crate::event::StateOrigin;
use crate::families::{Family, ReasoningHistory, SystemPlace};
use crate::gemini::PLACEHOLDER_SIGNATURE;
use crate::json::{ListWriter, ObjectWriter};
use crate::openai_chat::hosts::ChatHost;
use crate::request::{CustomNames, Part, Request, Role, text_of, texts_of};
use crate::tools;

/// Writes the messages. The templates of most open models take a system message at the beginning
/// only: all of them are that one.
pub(super) fn write_messages(
    request: &Request,
    (host, rules, custom): (&ChatHost, &Family, &CustomNames<'_>),
    messages: &mut ListWriter,
    dropped: &mut Vec<String>,
) {
    let turn = request.current_turn();
    let history = rules.reasoning_history.unwrap_or(ReasoningHistory::All);
    let mut files = Vec::new();
    let system = rules.joined_system(request);
    if let Some(system) = &system {
        let all = request.messages.iter();
        let all = all.filter(|message| message.role == Role::System);
        let parts = all.flat_map(|message| &message.parts);
        write_texts("system", &marked(parts, host, is_text), system, messages);
    }
    for (at, message) in request.messages.iter().enumerate() {
        let parts = &message.parts;
        if message.role != Role::Tool {
            write_result_files(&mut files, messages);
        }
        match message.role {
            Role::System if system.is_some() => {}
            Role::System => {
                let is_user = at > 0 && rules.system == Some(SystemPlace::User);
                let role = if is_user { "user" } else { "system" };
                let texts = marked(parts.iter(), host, is_text);
                write_texts(role, &texts, &texts_of(parts, "\n\n"), messages);
            }
            Role::User => write_user_message(&marked(parts.iter(), host, is_content), messages),
            Role::Assistant => {
                let is_last = at + 1 == request.messages.len();
                let prefill = host.prefill_field().filter(|_| is_last);
                let reasoning = match history {
                    ReasoningHistory::None => AssistantReasoning::default(),
                    ReasoningHistory::Turn if at <= turn => AssistantReasoning::default(),
                    ReasoningHistory::Required => AssistantReasoning::required(parts, host),
                    _ => AssistantReasoning::of(parts, host),
                };
                let signatures = match rules.thought_signatures {
                    Some(true) if at > turn => Signatures::Required,
                    Some(true) => Signatures::Kept,
                    _ => Signatures::Unknown,
                };
                let options = (host, prefill, signatures, custom);
                write_assistant_message(parts, &reasoning, options, messages);
            }
            Role::Tool => write_tool_results(parts, host, messages, &mut files, dropped),
        }
    }
    write_result_files(&mut files, messages);
}

/// Writes a message of texts: as one text, or one by one if any has a mark.
fn write_texts(role: &str, texts: &[MarkedPart<'_>], joined: &str, messages: &mut ListWriter) {
    messages.object(|message| {
        message.field("role", role);
        write_content(texts, Some(joined), message);
    });
}

/// Writes the content of a message: as one text, or as a list of parts if any has a mark.
fn write_content(texts: &[MarkedPart<'_>], joined: Option<&str>, message: &mut ObjectWriter) {
    match has_mark(texts) {
        false => message.field("content", joined),
        true => message.list("content", |content| {
            texts.iter().for_each(|part| content.value(part_json(part)));
        }),
    }
}

fn write_user_message(said: &[MarkedPart<'_>], messages: &mut ListWriter) {
    messages.object(|message| {
        message.field("role", "user");
        match said {
            [(Part::Text(text), None)] => message.field("content", text),
            said => message.list("content", |content| {
                said.iter().for_each(|part| content.value(part_json(part)));
            }),
        }
    });
}

/// Writes an assistant's message, unless this upstream could use none of it.
fn write_assistant_message(
    parts: &[Part],
    reasoning: &AssistantReasoning<'_>,
    (host, prefill, signatures, custom): (&ChatHost, Option<&str>, Signatures, &CustomNames<'_>),
    messages: &mut ListWriter,
) {
    let text = text_of(parts);
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
        let joined = (!has_calls || !text.is_empty()).then_some(&*text);
        let texts = marked(parts.iter(), host, is_text);
        match reasoning.is_in_content() {
            false => write_content(&texts, joined, message),
            true => message.list("content", |content| {
                reasoning.write_parts(content);
                texts.iter().for_each(|part| content.value(part_json(part)));
            }),
        }
        if let Some(refusal) = refusal {
            message.field("refusal", refusal);
        }
        for (field, text) in &reasoning.fields {
            message.field(field, text);
        }
        if has_calls {
            message.list("tool_calls", |calls| {
                write_tool_calls(parts, (host, custom), signatures, calls);
            });
        } else if let Some(field) = prefill {
            message.field(field, true);
        }
        reasoning.write_lists(message);
    });
}

/// The signatures of thoughts that Google's models want back with their calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signatures {
    /// Others' models refuse the field.
    Unknown,
    /// Each call has its own, if it has one.
    Kept,
    /// The first call must have one.
    Required,
}

fn write_tool_calls(
    parts: &[Part],
    (host, custom): (&ChatHost, &CustomNames<'_>),
    signatures: Signatures,
    calls: &mut ListWriter,
) {
    let mut signature = None;
    let mut placeholder = (signatures == Signatures::Required).then_some(PLACEHOLDER_SIGNATURE);
    for part in parts {
        if let Part::Reasoning {
            state: Some(state), ..
        } = part
            && state.origin == StateOrigin::Gemini
            && signatures != Signatures::Unknown
        {
            signature = Some(&*state.value);
        }
        if let Part::ToolCall {
            id,
            name,
            arguments,
        } = part
        {
            let id = host.fit_id(id);
            let mut call = match custom.contains(name) {
                true => json!({ "id": id, "type": "custom",
                    "custom": { "name": name, "input": tools::custom_input(arguments) } }),
                false => json!({ "id": id, "type": "function",
                    "function": { "name": name, "arguments": tools::text(arguments) } }),
            };
            if let Some(signature) = signature.take().or(placeholder.take()) {
                call["extra_content"] = json!({ "google": { "thought_signature": signature } });
            }
            placeholder = None;
            calls.value(call);
        }
    }
}

/// Writes a message for each result. Images and files, which tool messages can't hold, are
/// collected for a later user message.
fn write_tool_results<'a>(
    parts: &'a [Part],
    host: &ChatHost,
    messages: &mut ListWriter,
    files: &mut Vec<&'a Part>,
    dropped: &mut Vec<String>,
) {
    for part in parts {
        let Part::ToolResult { id, content, error } = part else {
            continue;
        };
        if *error && !dropped.iter().any(|known| known == DROPPED_ERROR) {
            dropped.push(DROPPED_ERROR.to_owned());
        }
        messages.object(|message| {
            message.field("role", "tool");
            message.field("tool_call_id", host.fit_id(id));
            let texts = marked(content.iter(), host, is_text);
            write_content(&texts, Some(&texts_of(content, "\n")), message);
        });
        let is_file = |part: &&Part| matches!(part, Part::Image(..) | Part::File(_));
        files.extend(content.iter().filter(is_file));
    }
}

const DROPPED_ERROR: &str = "is_error of a tool result";

/// Writes the images and files of the preceding results as a user's message.
fn write_result_files(files: &mut Vec<&Part>, messages: &mut ListWriter) {
    if !files.is_empty() {
        let said: Vec<MarkedPart<'_>> = files.iter().map(|file| (*file, None)).collect();
        write_user_message(&said, messages);
        files.clear();
    }
}
