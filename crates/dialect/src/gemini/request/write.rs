//! Encodes a neutral request as a Gemini request.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::families::Family;
use crate::json::{ListWriter, ObjectWriter};
use crate::payload_builder::PayloadBuilder;
use crate::request::{
    Effort, FileSource, Format, Image, Message, Part, Request, Role, Tool, ToolChoice, texts_of,
};
use crate::{UpstreamPayload, tool_schema, tools};

/// Encodes a request for an upstream.
pub(in crate::gemini) fn encode_request(
    request: &Request,
    model: &str,
    rules: &Family,
) -> Result<UpstreamPayload, Failure> {
    super::super::check_model(model)?;
    let (system, alone) = request.system();
    let mut payload = PayloadBuilder::new(request, rules);
    payload.list("contents", |contents, _| match &system {
        // The API requires contents, so a request of system messages alone sends them as one.
        Some(system) if alone => {
            contents.value(json!({ "role": "user", "parts": [{ "text": system }] }));
        }
        _ => write_contents(request, rules, contents),
    });
    if let Some(system) = system.filter(|_| !alone) {
        payload.set(
            "systemInstruction",
            Some(json!({ "parts": [{ "text": system }] })),
        );
    }
    if !request.tools.is_empty() {
        payload.list("tools", |tools, _| {
            tools.object(|object| {
                object.list("functionDeclarations", |functions| {
                    for tool in &request.tools {
                        functions.object(|object| write_tool(tool, object));
                    }
                });
            });
        });
        payload.set("toolConfig", request.tool_choice.as_ref().map(tool_config));
        if request.parallel_tool_calls == Some(false) {
            payload.drop_param("parallel_tool_calls");
        }
    }
    payload.drop_present(&[
        ("user", request.user.is_some()),
        ("cache_control", request.has_cache_breakpoint()),
        ("detail of an image", request.has_image_detail()),
    ]);
    payload.drop_present(&request.openai.present());
    let config = config_fields(request, rules, payload.dropped());
    if !config.is_empty() || request.format.is_some() {
        payload.object("generationConfig", |object| {
            for (name, value) in config {
                object.field(name, value);
            }
            if let Some(format) = &request.format {
                object.field("responseMimeType", "application/json");
                if let Format::Schema { schema, .. } = format {
                    object.raw("responseJsonSchema", schema.as_str());
                }
            }
        });
    }
    Ok(payload.finish())
}

fn tool_config(choice: &ToolChoice) -> Value {
    let calling = match choice {
        ToolChoice::Auto => json!({ "mode": "AUTO" }),
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    };
    json!({ "functionCallingConfig": calling })
}

/// Largest thinking budget that every model accepts.
const MAX_THINKING_TOKENS: u32 = 24_576;

/// Returns the fields of the generation's configuration, all but its format.
fn config_fields(
    request: &Request,
    rules: &Family,
    dropped: &mut Vec<String>,
) -> Vec<(&'static str, Value)> {
    let sampling = &request.sampling;
    let seed = sampling.seed.filter(|seed| i32::try_from(*seed).is_ok());
    if seed != sampling.seed {
        dropped.push("seed (of more than 32 bits)".to_owned());
    }
    if let Some(budget) = request
        .reasoning
        .and_then(|reasoning| reasoning.budget)
        .filter(|tokens| *tokens > MAX_THINKING_TOKENS)
    {
        dropped.push(format!(
            "the thinking budget {budget} (sent as {MAX_THINKING_TOKENS})"
        ));
    }
    let thinking = request.reasoning.map(|reasoning| {
        let budget = reasoning.budget.or(reasoning.effort.map(Effort::budget));
        let budget = budget.map(|tokens| {
            let least = rules.min_thinking.unwrap_or(0);
            tokens.max(least).min(MAX_THINKING_TOKENS)
        });
        let is_shown = reasoning.shown != Some(false) && !reasoning.is_off();
        match budget {
            Some(budget) => json!({ "thinkingBudget": budget, "includeThoughts": is_shown }),
            None => json!({ "includeThoughts": is_shown }),
        }
    });
    let most = rules.max_stop.unwrap_or(usize::MAX).min(request.stop.len());
    if most < request.stop.len() {
        dropped.push(format!("stop (more than {most})"));
    }
    let stop = (most > 0).then(|| json!(request.stop[..most]));
    let logprobs = request.logprobs;
    let alternatives = logprobs.map_or(0, |asked| asked.alternatives);
    let fields = [
        ("responseLogprobs", logprobs.map(|_| true.into())),
        ("logprobs", (alternatives > 0).then(|| alternatives.into())),
        ("maxOutputTokens", request.max_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("topK", sampling.top_k.map(Value::from)),
        ("seed", seed.map(Value::from)),
        (
            "presencePenalty",
            sampling.presence_penalty.map(Value::from),
        ),
        (
            "frequencyPenalty",
            sampling.frequency_penalty.map(Value::from),
        ),
        ("stopSequences", stop),
        ("thinkingConfig", thinking),
    ];
    let given = fields.into_iter();
    let mut given: Vec<(&str, Value)> = given
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    given.retain(|(name, _)| {
        let is_dropped = rules.drops(name);
        if is_dropped {
            dropped.push((*name).to_owned());
        }
        !is_dropped
    });
    given
}

/// Signature that Gemini accepts for tool calls of other models; without one it rejects them.
pub(crate) const PLACEHOLDER_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes the messages as alternating turns: adjacent messages of one side are merged.
fn write_contents(request: &Request, rules: &Family, contents: &mut ListWriter) {
    let turn = request.current_turn();
    // Results name the function, not the call.
    let calls = request.messages.iter().flat_map(|message| &message.parts);
    let names: HashMap<&str, &str> = calls
        .filter_map(|part| match part {
            Part::ToolCall { id, name, .. } => Some((id.as_str(), name.as_str())),
            _ => None,
        })
        .collect();
    let said: Vec<(usize, &Message)> = request
        .messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message.role != Role::System)
        .collect();
    for messages in said.chunk_by(|(_, a), (_, b)| side(a) == side(b)) {
        let parts = messages.iter().flat_map(|(_, message)| &message.parts);
        let Some((_, first)) = messages.first().filter(|_| parts.clone().any(says)) else {
            continue;
        };
        contents.object(|content| {
            content.field("role", side(first));
            content.list("parts", |parts| {
                for (at, message) in messages {
                    let needs_signature = *at > turn && rules.thought_signatures != Some(false);
                    write_parts(&message.parts, &names, needs_signature, parts);
                }
            });
        });
    }
}

fn side(message: &Message) -> &'static str {
    match message.role {
        Role::Assistant => "model",
        Role::System | Role::User | Role::Tool => "user",
    }
}

/// Returns true if something is written for the part. Thoughts are not sent back as text.
fn says(part: &Part) -> bool {
    match part {
        Part::Text(text) | Part::Refusal(text) => !text.is_empty(),
        Part::Reasoning { state, .. } => state
            .as_ref()
            .is_some_and(|state| state.origin == StateOrigin::Gemini),
        Part::Image(..) | Part::File(_) | Part::ToolCall { .. } | Part::ToolResult { .. } => true,
        Part::CacheBreakpoint(_) => false,
    }
}

fn write_parts(
    parts: &[Part],
    names: &HashMap<&str, &str>,
    needs_signature: bool,
    out: &mut ListWriter,
) {
    // A signature before a part belongs to the part that follows.
    let mut signature: Option<&str> = None;
    let mut is_signed = !needs_signature;
    for part in parts.iter().filter(|part| says(part)) {
        match part {
            Part::Text(_) | Part::Refusal(_) | Part::Image(..) | Part::File(_) => {
                out.object(|object| {
                    write_content(part, object);
                    write_signature(signature.take(), object);
                });
            }
            Part::Reasoning { state, .. } => {
                signature = state.as_ref().map(|ReasoningState { value, .. }| &**value);
            }
            Part::ToolCall {
                name, arguments, ..
            } => out.object(|object| {
                object.object("functionCall", |call| {
                    call.field("name", name);
                    call.raw("args", tools::object(arguments).as_str());
                });
                let placeholder =
                    (!std::mem::replace(&mut is_signed, true)).then_some(PLACEHOLDER_SIGNATURE);
                write_signature(signature.take().or(placeholder), object);
            }),
            Part::CacheBreakpoint(_) => {}
            Part::ToolResult { id, content, error } => {
                let key = if *error { "error" } else { "output" };
                let name = names.get(id.as_str()).copied().unwrap_or(id);
                let response = json!({ key: texts_of(content, "\n") });
                out.value(json!({ "functionResponse": { "name": name, "response": response } }));
                let is_file = |part: &&Part| matches!(part, Part::Image(..) | Part::File(_));
                for file in content.iter().filter(is_file) {
                    out.object(|object| write_content(file, object));
                }
            }
        }
    }
    if let Some(signature) = signature {
        out.value(json!({ "text": "", "thoughtSignature": signature }));
    }
}

fn write_signature(signature: Option<&str>, object: &mut ObjectWriter) {
    if let Some(signature) = signature {
        object.field("thoughtSignature", signature);
    }
}

/// Writes the field of a text, an image or a file.
fn write_content(part: &Part, object: &mut ObjectWriter) {
    match part {
        Part::Text(text) | Part::Refusal(text) => object.field("text", text),
        Part::Image(Image::Data { media_type, base64 }, _) => object.field(
            "inlineData",
            json!({ "mimeType": media_type, "data": base64 }),
        ),
        Part::Image(Image::Url(url), _) => object.field(
            "fileData",
            json!({ "fileUri": url, "mimeType": media_type(url) }),
        ),
        Part::File(file) => match &file.source {
            FileSource::Url(url) | FileSource::Stored(url) => object.field(
                "fileData",
                json!({ "fileUri": url, "mimeType": file.media_type }),
            ),
            FileSource::Base64(data) => object.field(
                "inlineData",
                json!({ "mimeType": file.media_type, "data": data }),
            ),
        },
        _ => {}
    }
}

fn media_type(url: &str) -> &'static str {
    let path = url
        .split(['?', '#'])
        .next()
        .unwrap_or(url)
        .to_ascii_lowercase();
    match path.rsplit('.').next() {
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("heic") => "image/heic",
        _ => "image/jpeg",
    }
}

fn write_tool(tool: &Tool, object: &mut ObjectWriter) {
    object.field("name", &tool.name);
    if let Some(description) = &tool.description {
        object.field("description", description);
    }
    if !tool.parameters.is_null() {
        let schema = tool_schema::repaired(&tool.parameters);
        object.raw("parametersJsonSchema", schema.as_str());
    }
}
