//! Encodes a neutral request for Ollama's own API.

use serde_json::json;

use crate::event::StateOrigin;
use crate::failure::Failure;
use crate::families::Family;
use crate::json::{ListWriter, ObjectWriter};
use crate::payload_builder::PayloadBuilder;
use crate::request::{
    Effort, Format, Image, Part, Reasoning, Request, Role, Tool, ToolChoice, text_of, texts_of,
};
use crate::{UpstreamPayload, tool_schema, tools};

/// Encodes a request of another dialect.
pub(super) fn encode_request(
    request: &Request,
    model: &str,
    rules: &Family,
) -> Result<UpstreamPayload, Failure> {
    let mut payload = PayloadBuilder::new(request, rules);
    payload.set("model", Some(model));
    let mut failure = None;
    payload.list("messages", |list, dropped| {
        failure = write_messages(request, list, dropped).err();
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    payload.set("stream", Some(request.stream));
    let reasoning = request.reasoning;
    payload.set("think", reasoning.map(|reasoning| think(reasoning, model)));
    match &request.format {
        None => {}
        Some(Format::Json) => payload.set("format", Some("json")),
        Some(Format::Schema { schema, .. }) => payload.set("format", Some(schema)),
    }
    let choice = request.tool_choice.as_ref();
    if !request.tools.is_empty() && choice != Some(&ToolChoice::None) {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| write_tool(tool, object));
            }
        });
        if matches!(choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            payload.drop_param("tool_choice");
        }
    }
    set_options(&mut payload, request);
    payload.drop_present(&request.openai.present());
    payload.drop_present(&[
        ("user", request.user.is_some()),
        ("cache_control", request.has_cache_breakpoint()),
        ("detail of an image", request.has_image_detail()),
        (
            "parallel_tool_calls",
            request.parallel_tool_calls == Some(false),
        ),
    ]);
    Ok(payload.finish())
}

/// Returns the value of `think`: a switch, or a level for the models that have some. Others refuse
/// one.
fn think(reasoning: Reasoning, model: &str) -> serde_json::Value {
    if reasoning.is_off() {
        return false.into();
    }
    if !model.contains("gpt-oss") {
        return true.into();
    }
    match reasoning.effort_or_medium() {
        Effort::Minimal | Effort::Low => "low".into(),
        Effort::Medium | Effort::None => "medium".into(),
        Effort::High | Effort::Highest => "high".into(),
    }
}

fn set_options(payload: &mut PayloadBuilder, request: &Request) {
    let sampling = &request.sampling;
    payload.object("options", |options| {
        if let Some(limit) = request.max_tokens {
            options.field("num_predict", limit);
        }
        if !request.stop.is_empty() {
            options.field("stop", &request.stop);
        }
        for (name, value) in [
            ("temperature", sampling.temperature),
            ("top_p", sampling.top_p),
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        ] {
            if let Some(value) = value {
                options.field(name, value);
            }
        }
        if let Some(top_k) = sampling.top_k {
            options.field("top_k", top_k);
        }
        if let Some(seed) = sampling.seed {
            options.field("seed", seed);
        }
    });
}

fn write_messages(
    request: &Request,
    messages: &mut ListWriter,
    dropped: &mut Vec<String>,
) -> Result<(), Failure> {
    // A result names its tool here, and not the call.
    let mut names: Vec<(&str, &str)> = Vec::new();
    for message in &request.messages {
        let parts = &message.parts;
        match message.role {
            Role::System => {
                messages.value(json!({ "role": "system", "content": texts_of(parts, "\n\n") }));
            }
            Role::User => write_user(parts, messages)?,
            Role::Assistant => {
                for part in parts {
                    if let Part::ToolCall { id, name, .. } = part {
                        names.push((id, name));
                    }
                }
                write_assistant(parts, messages);
            }
            Role::Tool => {
                for part in parts {
                    write_result(part, &names, messages, dropped)?;
                }
            }
        }
    }
    Ok(())
}

fn write_user(parts: &[Part], messages: &mut ListWriter) -> Result<(), Failure> {
    let images = images(parts)?;
    messages.object(|message| {
        message.field("role", "user");
        message.field("content", text_of(parts));
        if !images.is_empty() {
            message.field("images", images);
        }
    });
    Ok(())
}

/// Returns images in base64. Ollama fetches none.
fn images(parts: &[Part]) -> Result<Vec<&str>, Failure> {
    let images = parts.iter().filter_map(|part| match part {
        Part::Image(Image::Data { base64, .. }, _) => Some(Ok(base64.as_str())),
        Part::Image(Image::Url(_), _) => Some(Err(Failure::invalid(
            "messages",
            "the provider of this model (ollama) takes images as `data:` URLs, and fetches none",
        ))),
        _ => None,
    });
    images.collect()
}

fn write_assistant(parts: &[Part], messages: &mut ListWriter) {
    let text = text_of(parts);
    let thinking: String = parts
        .iter()
        .filter_map(|part| match part {
            Part::Reasoning { text, state } => {
                let is_own = state
                    .as_ref()
                    .is_none_or(|state| state.origin == StateOrigin::OpenAiChat);
                is_own.then_some(text.as_str())
            }
            _ => None,
        })
        .collect();
    let has_calls = parts
        .iter()
        .any(|part| matches!(part, Part::ToolCall { .. }));
    if text.is_empty() && thinking.is_empty() && !has_calls {
        return;
    }
    messages.object(|message| {
        message.field("role", "assistant");
        message.field("content", text);
        if !thinking.is_empty() {
            message.field("thinking", thinking);
        }
        if has_calls {
            message.list("tool_calls", |calls| {
                for part in parts {
                    if let Part::ToolCall {
                        id,
                        name,
                        arguments,
                    } = part
                    {
                        calls.object(|call| {
                            call.field("id", id);
                            call.object("function", |function| {
                                function.field("name", name);
                                function.raw("arguments", tools::object(arguments).as_str());
                            });
                        });
                    }
                }
            });
        }
    });
}

fn write_result(
    part: &Part,
    names: &[(&str, &str)],
    messages: &mut ListWriter,
    dropped: &mut Vec<String>,
) -> Result<(), Failure> {
    let Part::ToolResult { id, content, error } = part else {
        return Ok(());
    };
    const DROPPED_ERROR: &str = "is_error of a tool result";
    if *error && !dropped.iter().any(|known| known == DROPPED_ERROR) {
        dropped.push(DROPPED_ERROR.to_owned());
    }
    let images = images(content)?;
    let name = names.iter().rev().find(|(known, _)| known == id);
    messages.object(|message| {
        message.field("role", "tool");
        message.field("content", texts_of(content, "\n"));
        if let Some((_, name)) = name {
            message.field("tool_name", name);
        }
        message.field("tool_call_id", id);
        if !images.is_empty() {
            message.field("images", images);
        }
    });
    Ok(())
}

fn write_tool(tool: &Tool, object: &mut ObjectWriter) {
    object.field("type", "function");
    object.object("function", |function| {
        function.field("name", &tool.name);
        if let Some(description) = &tool.description {
            function.field("description", description);
        }
        function.raw("parameters", tool_schema::schema(&tool.parameters).as_str());
    });
}
