//! Encodes a neutral request as a Gemini request.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::request::{Format, Image, Part, Request, Role, Tool, ToolChoice, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request for an upstream.
pub(in crate::gemini) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let mut dropped = Vec::new();
    super::super::check_model(model)?;
    let (system, alone) = request.system();
    let mut body = json!({ "contents": contents_json(request, model) });
    match system {
        // The API requires contents, so a request of system messages alone sends them as one.
        Some(system) if alone => {
            body["contents"] = json!([{ "role": "user", "parts": [{ "text": system }] }])
        }
        Some(system) => body["systemInstruction"] = json!({ "parts": [{ "text": system }] }),
        None => {}
    }
    if !request.tools.is_empty() {
        let functions: Vec<Value> = request.tools.iter().map(tool_json).collect();
        body["tools"] = json!([{ "functionDeclarations": functions }]);
        if let Some(choice) = &request.tool_choice {
            let calling = match choice {
                ToolChoice::Auto => json!({ "mode": "AUTO" }),
                ToolChoice::None => json!({ "mode": "NONE" }),
                ToolChoice::Required => json!({ "mode": "ANY" }),
                ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
            };
            body["toolConfig"] = json!({ "functionCallingConfig": calling });
        }
        if request.parallel_tool_calls == Some(false) {
            dropped.push("parallel_tool_calls".to_owned());
        }
    }
    if request.user.is_some() {
        dropped.push("user".to_owned());
    }
    let config = config_json(request, &mut dropped);
    if !config.is_empty() {
        body["generationConfig"] = config.into();
    }
    Ok(UpstreamPayload {
        body: body.to_string().into(),
        dropped,
    })
}

/// Largest thinking budget that every model accepts.
const MAX_THINKING_TOKENS: u32 = 24_576;

fn config_json(request: &Request, dropped: &mut Vec<String>) -> Map<String, Value> {
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
    let mut config = Map::new();
    for (name, value) in [
        ("maxOutputTokens", request.max_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("topK", sampling.top_k.map(Value::from)),
        ("seed", seed.map(Value::from)),
        ("presencePenalty", sampling.presence_penalty.map(Value::from)),
        ("frequencyPenalty", sampling.frequency_penalty.map(Value::from)),
        ("stopSequences", (!request.stop.is_empty()).then(|| json!(request.stop))),
        ("responseMimeType", request.format.as_ref().map(|_| "application/json".into())),
        (
            "responseJsonSchema",
            match &request.format {
                Some(Format::Schema { schema, .. }) => Some(schema.view().to_tree()),
                _ => None,
            },
        ),
        (
            "thinkingConfig",
            request.reasoning.map(|reasoning| {
                let budget = reasoning.budget.unwrap_or_else(|| reasoning.effort.budget()).min(MAX_THINKING_TOKENS);
                json!({ "thinkingBudget": budget, "includeThoughts": reasoning.shown != Some(false) && budget > 0 })
            }),
        ),
    ] {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    }
    config
}

/// Signature that Gemini accepts for tool calls of other models; without one it rejects them.
const PLACEHOLDER_SIGNATURE: &str = "skip_thought_signature_validator";

fn contents_json(request: &Request, model: &str) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    let turn = request.current_turn();
    // Results name the function, not the call.
    let calls = request.messages.iter().flat_map(|message| &message.parts);
    let names: HashMap<&str, &str> = calls
        .filter_map(|part| match part {
            Part::ToolCall { id, name, .. } => Some((id.as_str(), name.as_str())),
            _ => None,
        })
        .collect();
    for (at, message) in request.messages.iter().enumerate() {
        let role = match message.role {
            Role::System => continue,
            Role::User | Role::Tool => "user",
            Role::Assistant => "model",
        };
        let needs_signature = at > turn && model.contains("gemini-3");
        let parts = parts_json(&message.parts, &names, needs_signature);
        match turns.last_mut() {
            Some((last, said)) if *last == role => said.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    let turns = turns.into_iter().filter(|(_, parts)| !parts.is_empty());
    turns
        .map(|(role, parts)| json!({ "role": role, "parts": parts }))
        .collect()
}

fn parts_json(parts: &[Part], names: &HashMap<&str, &str>, needs_signature: bool) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    let mut signature: Option<&str> = None;
    let mut is_signed = !needs_signature;
    for part in parts {
        let mut value = match part {
            // A signature before it belongs to the part that follows.
            Part::Text(text) | Part::Refusal(text) if text.is_empty() => continue,
            Part::Text(text) | Part::Refusal(text) => json!({ "text": text }),
            Part::Image(Image::Data { media_type, base64 }) => {
                json!({ "inlineData": { "mimeType": media_type, "data": base64 } })
            }
            Part::Image(Image::Url(url)) => {
                json!({ "fileData": { "fileUri": url, "mimeType": media_type(url) } })
            }
            Part::Reasoning {
                state:
                    Some(ReasoningState {
                        origin: StateOrigin::Gemini,
                        value,
                    }),
                ..
            } => {
                signature = Some(value);
                continue;
            }
            // Thoughts are not sent back as text.
            Part::Reasoning { .. } => continue,
            Part::ToolCall {
                name, arguments, ..
            } => {
                let mut call =
                    json!({ "functionCall": { "name": name, "args": tools::object(arguments) } });
                if !std::mem::replace(&mut is_signed, true) && signature.is_none() {
                    call["thoughtSignature"] = PLACEHOLDER_SIGNATURE.into();
                }
                call
            }
            Part::ToolResult { id, content, error } => {
                let key = if *error { "error" } else { "output" };
                let response = json!({ key: texts_of(content, "\n") });
                out.push(json!({ "functionResponse": { "name": names.get(id.as_str()).copied().unwrap_or(id), "response": response } }));
                let images = content
                    .iter()
                    .filter(|part| matches!(part, Part::Image(_)))
                    .cloned();
                out.extend(parts_json(&images.collect::<Vec<_>>(), names, false));
                continue;
            }
        };
        if let Some(signature) = signature.take() {
            value["thoughtSignature"] = signature.into();
        }
        out.push(value);
    }
    if let Some(signature) = signature {
        out.push(json!({ "text": "", "thoughtSignature": signature }));
    }
    out
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

fn tool_json(tool: &Tool) -> Value {
    let mut value = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        value["description"] = description.as_str().into();
    }
    if !tool.parameters.is_null() {
        value["parametersJsonSchema"] = tool.parameters.view().to_tree();
    }
    value
}
