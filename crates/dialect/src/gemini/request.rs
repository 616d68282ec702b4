//! A Gemini request: parsed from a client, encoded for an upstream ([`encode_request`]). The model
//! and the method are in its path.

mod write;

pub(super) use write::encode_request;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::unseal;
use crate::failure::Failure;
use crate::request::{
    Effort, Format, Image, Message, Operation, Part, Reasoning, Request, Role, Tool, ToolChoice,
};
use crate::{json, tools};

/// Parses a client's request; `call` is `model:method`.
pub(super) fn parse_request(bytes: Bytes, call: &str) -> Result<Request, Failure> {
    const METHODS: &str = "there are generateContent, streamGenerateContent and countTokens";
    let (model, method) = call.rsplit_once(':').ok_or_else(|| {
        Failure::not_found(format!(
            "the path names no method, as in gemini-2.5-flash:streamGenerateContent; {METHODS}"
        ))
    })?;
    let (task, stream) = match method {
        "streamGenerateContent" => (Operation::Generate, true),
        "generateContent" => (Operation::Generate, false),
        "countTokens" => (Operation::CountTokens, false),
        _ => {
            let method: String = method.chars().take(60).collect();
            return Err(Failure::not_found(format!(
                "no method `{method}`; {METHODS}"
            )));
        }
    };
    let model = percent_encoding::percent_decode_str(model)
        .decode_utf8_lossy()
        .into_owned();
    let fields: Map<String, Value> = json::parse_body(&bytes)?;
    let mut body = Value::Object(fields);
    camel_case(&mut body);
    let mut request = Request {
        operation: task,
        model: Some(model),
        stream,
        include_usage: true,
        n: 1,
        ..Request::default()
    };
    let mut take = |name: &str| body.get_mut(name).map(Value::take).unwrap_or_default();
    let system = take("systemInstruction");
    if !system.is_null() {
        let parts = parts(
            &mut request,
            "systemInstruction",
            &system["parts"],
            &mut UnansweredCalls::new(),
        );
        request.messages.push(Message {
            role: Role::System,
            parts,
        });
    }
    let contents = take("contents");
    // `countTokens` may carry a whole request inside the request instead.
    if task == Operation::Generate || !contents.is_null() {
        contents_of(&mut request, &contents)?;
    }
    let tools = list(take("tools"), "tools", "a list of tools")?;
    for (at, tool) in tools.iter().enumerate() {
        tools_of(&mut request, &format!("tools[{at}]"), tool);
    }
    let config = take("toolConfig");
    let calling = &config["functionCallingConfig"];
    let allowed = json::strings(&calling["allowedFunctionNames"]);
    request.tool_choice = match (calling["mode"].as_str(), &allowed[..]) {
        (Some("AUTO"), _) => Some(ToolChoice::Auto),
        (Some("NONE"), _) => Some(ToolChoice::None),
        (Some("ANY"), [name]) => Some(ToolChoice::Named(name.clone())),
        (Some("ANY"), _) => Some(ToolChoice::Required),
        _ => None,
    };
    if allowed.len() > 1 {
        request.require("toolConfig.functionCallingConfig.allowedFunctionNames");
    }
    generation(&mut request, &take("generationConfig"))?;
    for (name, value) in body.as_object().into_iter().flatten() {
        match name.as_str() {
            _ if json::is_empty_value(value) => {}
            "model" => {}
            "cachedContent" => request.require("cachedContent"),
            name => request.ignore(name),
        }
    }
    request.body = bytes;
    Ok(request)
}

/// Renames all fields to camel case: Google accepts both spellings, and its own clients mix them.
fn camel_case(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(camel_case),
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                let mut words = name.split('_').filter(|word| !word.is_empty());
                let mut camel = words.next().unwrap_or_default().to_owned();
                for word in words {
                    let mut letters = word.chars();
                    camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                    camel.push_str(letters.as_str());
                }
                // The contents of these are the client's own.
                if !matches!(
                    camel.as_str(),
                    "args"
                        | "response"
                        | "parameters"
                        | "parametersJsonSchema"
                        | "responseSchema"
                        | "responseJsonSchema"
                ) {
                    camel_case(&mut value);
                }
                fields.insert(camel, value);
            }
        }
        _ => {}
    }
}

/// Returns a list, or a single object as a list of one, as Google does.
fn one_or_more(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        Value::Object(_) => std::slice::from_ref(value),
        _ => &[],
    }
}

fn list(value: Value, name: &str, want: &str) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => Ok(list),
        one @ Value::Object(_) => Ok(vec![one]),
        _ => Err(Failure::invalid(name, format!("`{name}` should be {want}"))),
    }
}

fn generation(request: &mut Request, config: &Value) -> Result<(), Failure> {
    if !matches!(config, Value::Null | Value::Object(_)) {
        return Err(Failure::invalid(
            "generationConfig",
            "`generationConfig` should be an object",
        ));
    }
    for (name, value) in config.as_object().into_iter().flatten() {
        match name.as_str() {
            "maxOutputTokens" => {
                let limit = value
                    .as_u64()
                    .and_then(|n| u32::try_from(n).ok())
                    .filter(|n| *n > 0);
                if limit.is_none() && !value.is_null() {
                    let name = "generationConfig.maxOutputTokens";
                    return Err(Failure::invalid(
                        name,
                        format!("`{name}` should be a whole number from 1 on"),
                    ));
                }
                request.max_tokens = limit;
            }
            "stopSequences" => request.stop = json::strings(value),
            "candidateCount" => {
                request.n = value
                    .as_u64()
                    .and_then(|n| u32::try_from(n).ok())
                    .unwrap_or(1)
            }
            "temperature" => request.sampling.temperature = value.as_f64(),
            "topP" => request.sampling.top_p = value.as_f64(),
            // Some clients send a float.
            "topK" => request.sampling.top_k = value.as_f64().map(|k| k.clamp(0.0, 1e9) as u64),
            "seed" => request.sampling.seed = value.as_i64(),
            "presencePenalty" => request.sampling.presence_penalty = value.as_f64(),
            "frequencyPenalty" => request.sampling.frequency_penalty = value.as_f64(),
            "responseMimeType" | "responseJsonSchema" | "responseSchema" => {}
            "thinkingConfig" => request.reasoning = Some(thinking(value)),
            _ if matches!(value, Value::Null | Value::Bool(false)) => {}
            "responseModalities"
                if value
                    .as_array()
                    .is_some_and(|list| list.iter().all(|mode| mode == "TEXT")) => {}
            "responseModalities" => request.require("generationConfig.responseModalities"),
            _ => request.ignore(format!("generationConfig.{name}")),
        }
    }
    let schema = [&config["responseJsonSchema"], &config["responseSchema"]]
        .into_iter()
        .find(|v| !v.is_null());
    request.format = match (config["responseMimeType"].as_str(), schema) {
        (_, Some(schema)) => Some(Format::Schema {
            name: "answer".to_owned(),
            schema: json_schema(schema),
            strict: None,
        }),
        (Some("application/json"), None) => Some(Format::Json),
        _ => None,
    };
    Ok(())
}

fn thinking(value: &Value) -> Reasoning {
    let budget = value["thinkingBudget"]
        .as_i64()
        .and_then(|tokens| u32::try_from(tokens).ok());
    let level = value["thinkingLevel"]
        .as_str()
        .and_then(|level| Effort::from_word(&level.to_ascii_lowercase()));
    let effort = level
        .or(budget.map(Effort::from_budget))
        .unwrap_or(Effort::Medium);
    Reasoning {
        effort,
        budget,
        shown: Some(value["includeThoughts"] == true),
    }
}

/// Ids of the calls that have no result yet, by function name.
type UnansweredCalls = HashMap<String, VecDeque<String>>;

fn contents_of(request: &mut Request, contents: &Value) -> Result<(), Failure> {
    const WANT: &str = "`contents` is missing or empty; it should be a list, as in [{\"role\": \"user\", \"parts\": \
                        [{\"text\": \"Hello\"}]}]";
    let list = one_or_more(contents);
    if list.is_empty() || !list.iter().all(|content| content.is_object()) {
        return Err(Failure::invalid("contents", WANT));
    }
    // Results name the function, not the call: each answers the first unanswered call of that name.
    let mut calls = UnansweredCalls::new();
    for (at, content) in list.iter().enumerate() {
        let role = if content["role"] == "model" {
            Role::Assistant
        } else {
            Role::User
        };
        let parts = parts(
            request,
            &format!("contents[{at}].parts"),
            &content["parts"],
            &mut calls,
        );
        let (results, parts): (Vec<Part>, Vec<Part>) = parts
            .into_iter()
            .partition(|part| matches!(part, Part::ToolResult { .. }));
        let was_results = !results.is_empty();
        if was_results {
            request.messages.push(Message {
                role: Role::Tool,
                parts: results,
            });
        }
        if !(was_results && parts.is_empty()) {
            request.messages.push(Message { role, parts });
        }
    }
    Ok(())
}

fn parts(
    request: &mut Request,
    name: &str,
    list: &Value,
    calls: &mut UnansweredCalls,
) -> Vec<Part> {
    let mut parts = Vec::new();
    if !matches!(list, Value::Null | Value::Array(_) | Value::Object(_)) {
        request.require(name);
    }
    for (at, part) in one_or_more(list).iter().enumerate() {
        let text = part["text"].as_str();
        let state = part["thoughtSignature"]
            .as_str()
            .filter(|seal| !seal.is_empty())
            .map(unseal);
        if part["thought"] == true {
            parts.push(Part::Reasoning {
                text: text.unwrap_or_default().to_owned(),
                state,
            });
            continue;
        }
        if let Some(state) = state {
            // It signs the preceding thoughts, which come back in pieces as they were streamed.
            let thoughts = parts
                .iter()
                .rev()
                .take_while(|part| matches!(part, Part::Reasoning { state: None, .. }))
                .count();
            let thoughts = parts.drain(parts.len() - thoughts..);
            let text = thoughts.filter_map(|part| match part {
                Part::Reasoning { text, .. } => Some(text),
                _ => None,
            });
            let text = text.collect();
            parts.push(Part::Reasoning {
                text,
                state: Some(state),
            });
        }
        let (inline, file) = (&part["inlineData"], &part["fileData"]);
        let is_image = |data: &Value| {
            data["mimeType"]
                .as_str()
                .is_some_and(|mime| mime.starts_with("image/"))
        };
        let (call, result) = (&part["functionCall"], &part["functionResponse"]);
        if let Some(text) = text {
            // Google's own client sends back the last part, which is empty.
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
        } else if let Some(image) = image(inline) {
            parts.push(Part::Image(image));
        } else if let (true, Some(uri)) = (is_image(file), file["fileUri"].as_str()) {
            parts.push(Part::Image(Image::Url(uri.to_owned())));
        } else if let Some(function) = call["name"].as_str() {
            let id = call["id"]
                .as_str()
                .map_or_else(|| format!("call_{name}_{at}"), str::to_owned);
            let id = tools::fit_id(&id, 64).into_owned();
            calls
                .entry(function.to_owned())
                .or_default()
                .push_back(id.clone());
            let arguments = if call["args"].is_null() {
                "{}".to_owned()
            } else {
                call["args"].to_string()
            };
            parts.push(Part::ToolCall {
                id,
                name: function.to_owned(),
                arguments,
            });
        } else if let Some(function) = result["name"].as_str() {
            parts.push(tool_result(
                request,
                &format!("{name}[{at}]"),
                function,
                result,
                calls,
            ));
        } else {
            request.require(format!("{name}[{at}]"));
        }
    }
    parts
}

/// Parses an inline image.
fn image(inline: &Value) -> Option<Image> {
    let media_type = inline["mimeType"]
        .as_str()
        .filter(|mime| mime.starts_with("image/"))?
        .to_owned();
    Some(Image::Data {
        media_type,
        base64: inline["data"].as_str()?.to_owned(),
    })
}

fn tool_result(
    request: &mut Request,
    name: &str,
    function: &str,
    result: &Value,
    calls: &mut UnansweredCalls,
) -> Part {
    let called = calls.get_mut(function).and_then(VecDeque::pop_front);
    let id = result["id"]
        .as_str()
        .map(|id| tools::fit_id(id, 64).into_owned())
        .or(called);
    let response = &result["response"];
    let only = response.as_object().filter(|fields| fields.len() == 1);
    let (error, said) = match only.and_then(|fields| fields.iter().next()) {
        Some((key, value)) if matches!(key.as_str(), "output" | "result" | "error") => {
            (key == "error", value)
        }
        _ => (false, response),
    };
    let text = said
        .as_str()
        .map_or_else(|| said.to_string(), str::to_owned);
    let mut content = vec![Part::Text(text)];
    for (at, part) in one_or_more(&result["parts"]).iter().enumerate() {
        match image(&part["inlineData"]) {
            Some(image) => content.push(Part::Image(image)),
            None => request.require(format!("{name}.functionResponse.parts[{at}]")),
        }
    }
    Part::ToolResult {
        id: id.unwrap_or_else(|| function.to_owned()),
        content,
        error,
    }
}

fn tools_of(request: &mut Request, name: &str, tool: &Value) {
    for (kind, value) in tool.as_object().into_iter().flatten() {
        if kind != "functionDeclarations" {
            request.require(format!("{name}.{kind}"));
            continue;
        }
        for function in one_or_more(value) {
            let schema = [&function["parametersJsonSchema"], &function["parameters"]];
            let schema = schema.into_iter().find(|schema| !schema.is_null());
            request.tools.push(Tool {
                name: function["name"].as_str().unwrap_or_default().to_owned(),
                description: function["description"].as_str().map(str::to_owned),
                parameters: schema.map(json_schema).unwrap_or_default(),
                strict: None,
            });
        }
    }
}

/// Converts a schema to JSON Schema: Gemini's own has upper-case types.
fn json_schema(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("type", Value::String(kind))
                    if fields.get("nullable") == Some(&Value::Bool(true)) =>
                {
                    (
                        name.clone(),
                        serde_json::json!([kind.to_ascii_lowercase(), "null"]),
                    )
                }
                ("type", Value::String(kind)) => (name.clone(), kind.to_ascii_lowercase().into()),
                // 64-bit integers are strings in Google's JSON.
                (
                    "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties"
                    | "maxProperties",
                    value,
                ) => {
                    let number = value
                        .as_str()
                        .and_then(|text| text.parse::<u64>().ok())
                        .map(Value::from);
                    (name.clone(), number.unwrap_or_else(|| value.clone()))
                }
                ("enum" | "required" | "default" | "const" | "examples", value) => {
                    (name.clone(), value.clone())
                }
                (_, value) => (name.clone(), json_schema(value)),
            };
            fields
                .iter()
                .filter(|(name, _)| *name != "nullable")
                .map(field)
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(list) => list.iter().map(json_schema).collect(),
        other => other.clone(),
    }
}
