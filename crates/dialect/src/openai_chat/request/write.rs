//! Encodes a neutral request as a Chat Completions request.

use serde_json::{Value, json};

use super::reasoning::AssistantReasoning;
use crate::event::StateOrigin;
use crate::failure::Failure;
use crate::families::{Family, ReasoningHistory, ReasoningOff, SystemPlace};
use crate::gemini::PLACEHOLDER_SIGNATURE;
use crate::json::{ListWriter, ObjectWriter};
use crate::openai_chat::hosts::ChatHost;
use crate::payload_builder::PayloadBuilder;
use crate::request::{
    Effort, File, FileSource, Format, Image, ImageDetail, Part, Reasoning, Request, Role, Tool,
    ToolChoice, text_of, texts_of,
};
use crate::{UpstreamPayload, tool_schema, tools};

/// Encodes a request of another dialect, and asks for the usage.
pub(in crate::openai_chat) fn encode_request(
    request: &Request,
    model: &str,
    (host, rules): (&ChatHost, &Family),
) -> Result<UpstreamPayload, Failure> {
    let mut payload = PayloadBuilder::new(request, rules);
    payload.set("model", Some(model));
    payload.list("messages", |list, dropped| {
        write_messages(request, (host, rules), list, dropped);
    });
    payload.set("stream", Some(request.stream));
    let options = request.stream.then(|| json!({ "include_usage": true }));
    payload.set("stream_options", options);
    set_sampling(&mut payload, request, rules);
    payload.set("user", request.user.as_deref().map(|user| rules.user(user)));
    payload.set("n", (request.n > 1).then_some(request.n));
    payload.drop_present(&[
        ("top_k", request.sampling.top_k.is_some()),
        ("cache_control", request.has_cache_breakpoint()),
    ]);
    set_reasoning(&mut payload, request.reasoning, rules.off);
    if !request.tools.is_empty() {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| write_tool(tool, object));
            }
        });
        payload.set("parallel_tool_calls", request.parallel_tool_calls);
        payload.set("tool_choice", request.tool_choice.as_ref().map(choice_json));
    }
    set_format(&mut payload, request.format.as_ref());
    payload.set_openai_options(&request.openai);
    payload.set("verbosity", request.openai.verbosity.as_deref());
    Ok(payload.finish())
}

/// Writes the messages. The templates of most open models take a system message at the beginning
/// only: all of them are that one.
fn write_messages(
    request: &Request,
    (host, rules): (&ChatHost, &Family),
    messages: &mut ListWriter,
    dropped: &mut Vec<String>,
) {
    let turn = request.current_turn();
    let history = rules.reasoning_history.unwrap_or(ReasoningHistory::All);
    let mut files = Vec::new();
    let system = rules.joined_system(request);
    if let Some(system) = &system {
        messages.value(json!({ "role": "system", "content": system }));
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
                messages.value(json!({ "role": role, "content": texts_of(parts, "\n\n") }));
            }
            Role::User => write_user_message(parts, messages),
            Role::Assistant => {
                let is_last = at + 1 == request.messages.len();
                let prefill = host.prefill_field().filter(|_| is_last);
                let reasoning = match history {
                    ReasoningHistory::None => AssistantReasoning::default(),
                    ReasoningHistory::Turn if at <= turn => AssistantReasoning::default(),
                    ReasoningHistory::Required => AssistantReasoning::required(parts),
                    _ => AssistantReasoning::of(parts),
                };
                let signatures = match rules.thought_signatures {
                    Some(true) if at > turn => Signatures::Required,
                    Some(true) => Signatures::Kept,
                    _ => Signatures::Unknown,
                };
                let options = (host, prefill, signatures);
                write_assistant_message(parts, &reasoning, options, messages);
            }
            Role::Tool => write_tool_results(parts, host, messages, &mut files, dropped),
        }
    }
    write_result_files(&mut files, messages);
}

/// Sets the token limit, the sampling parameters and the stop sequences.
fn set_sampling(payload: &mut PayloadBuilder<'_>, request: &Request, rules: &Family) {
    payload.set("max_tokens", request.max_tokens);
    let sampling = &request.sampling;
    payload.set("seed", sampling.seed);
    payload.set("temperature", sampling.temperature);
    payload.set("top_p", sampling.top_p);
    payload.set("presence_penalty", sampling.presence_penalty);
    payload.set("frequency_penalty", sampling.frequency_penalty);
    payload.set_stop("stop", &request.stop, rules.max_stop);
}

fn set_reasoning(
    payload: &mut PayloadBuilder<'_>,
    reasoning: Option<Reasoning>,
    off: Option<ReasoningOff>,
) {
    let Some(reasoning) = reasoning else {
        return;
    };
    match off.filter(|_| reasoning.is_off()) {
        Some(ReasoningOff::Thinking) => {
            return payload.set("thinking", Some(json!({ "type": "disabled" })));
        }
        Some(ReasoningOff::EnableThinking) => return payload.set("enable_thinking", Some(false)),
        Some(ReasoningOff::Effort) => {
            if payload.takes("reasoning_effort") {
                let word = payload.effort(Effort::None);
                payload.set("reasoning_effort", Some(word));
            }
            return;
        }
        None => {}
    }
    let Reasoning { effort, budget, .. } = reasoning;
    match budget {
        // Few models know the effort `none`, so it is sent only if the client used that word.
        Some(0) => return payload.drop_param("the thinking budget of 0"),
        Some(_) => payload.drop_param("the thinking budget (sent as reasoning_effort)"),
        None => {}
    }
    if let Some(effort) = effort
        && payload.takes("reasoning_effort")
    {
        let word = payload.effort(effort);
        payload.set("reasoning_effort", Some(word));
    }
}

fn choice_json(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn set_format(payload: &mut PayloadBuilder<'_>, format: Option<&Format>) {
    match format {
        None => {}
        Some(Format::Json) => {
            payload.set("response_format", Some(json!({ "type": "json_object" })))
        }
        Some(Format::Schema {
            name,
            schema,
            strict,
        }) => payload.object("response_format", |format| {
            format.field("type", "json_schema");
            format.object("json_schema", |inner| {
                inner.field("name", name);
                inner.raw("schema", schema.as_str());
                if let Some(strict) = strict {
                    inner.field("strict", strict);
                }
            });
        }),
    }
}

/// Returns the format of a recording, if this API takes it.
pub(in crate::openai_chat) fn audio_format(file: &File) -> Option<&'static str> {
    match &*file.media_type {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        _ => None,
    }
}

fn file_json(file: &File) -> Value {
    match (audio_format(file), &file.source) {
        (Some(format), FileSource::Base64(data)) => {
            json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })
        }
        _ => json!({ "type": "file", "file": {
            "filename": file.name_or_default(), "file_data": file.to_url() } }),
    }
}

fn image_json(image: &Image, detail: Option<ImageDetail>) -> Value {
    let mut url = json!({ "url": image.to_url() });
    if let Some(detail) = detail {
        url["detail"] = detail.word().into();
    }
    json!({ "type": "image_url", "image_url": url })
}

fn write_user_message<'a>(
    parts: impl IntoIterator<Item = &'a Part, IntoIter: Clone>,
    messages: &mut ListWriter,
) {
    let parts = parts.into_iter();
    let parts = parts.filter(|part| !matches!(part, Part::CacheBreakpoint(_)));
    messages.object(|message| {
        message.field("role", "user");
        let mut first_two = parts.clone();
        if let (Some(Part::Text(text)), None) = (first_two.next(), first_two.next()) {
            return message.field("content", text);
        }
        message.list("content", |content| {
            for part in parts {
                match part {
                    Part::Text(text) => content.value(json!({ "type": "text", "text": text })),
                    Part::Image(image, detail) => content.value(image_json(image, *detail)),
                    Part::File(file) => content.value(file_json(file)),
                    _ => {}
                }
            }
        });
    });
}

/// Writes an assistant's message, unless this upstream could use none of it.
fn write_assistant_message(
    parts: &[Part],
    reasoning: &AssistantReasoning<'_>,
    (host, prefill, signatures): (&ChatHost, Option<&str>, Signatures),
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
        message.field("content", (!has_calls || !text.is_empty()).then_some(&text));
        if let Some(refusal) = refusal {
            message.field("refusal", refusal);
        }
        for (field, text) in &reasoning.fields {
            message.field(field, text);
        }
        if has_calls {
            message.list("tool_calls", |calls| {
                write_tool_calls(parts, host, signatures, calls);
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
    host: &ChatHost,
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
            let mut call = json!({
                "id": host.fit_id(id), "type": "function",
                "function": { "name": name, "arguments": tools::text(arguments) },
            });
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
        let id = host.fit_id(id);
        messages.value(
            json!({ "role": "tool", "tool_call_id": id, "content": texts_of(content, "\n") }),
        );
        let is_file = |part: &&Part| matches!(part, Part::Image(..) | Part::File(_));
        files.extend(content.iter().filter(is_file));
    }
}

const DROPPED_ERROR: &str = "is_error of a tool result";

/// Writes the images and files of the preceding results as a user's message.
fn write_result_files(files: &mut Vec<&Part>, messages: &mut ListWriter) {
    if !files.is_empty() {
        write_user_message(files.iter().copied(), messages);
        files.clear();
    }
}

fn write_tool(tool: &Tool, object: &mut ObjectWriter) {
    object.field("type", "function");
    object.object("function", |function| {
        function.field("name", &tool.name);
        if let Some(description) = &tool.description {
            function.field("description", description);
        }
        if !tool.parameters.is_null() {
            function.raw("parameters", tool_schema::schema(&tool.parameters).as_str());
        }
        if let Some(strict) = tool.strict {
            function.field("strict", strict);
        }
    });
}
