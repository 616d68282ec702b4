//! A Gemini request: parsed from a client, encoded for an upstream ([`encode_request`]). The model
//! and the method are in its path.

mod write;

pub(crate) use write::PLACEHOLDER_SIGNATURE;
pub(super) use write::encode_request;

mod camel_case;
mod config;
mod contents;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;

pub(super) use self::camel_case::camel_case;
use self::camel_case::field;
use self::config::{json_schema, parse_generation_config};
use self::contents::{UnansweredCalls, parse_contents, parse_parts};
use crate::Continuation;
use crate::failure::Failure;
use crate::json::{self, Json};
use crate::request::{JsonText, MAX_STRINGS, Message, Operation, Request, Role, Tool, ToolChoice};

/// The fields of a request that are parsed here.
const FIELDS: &[&str] = &[
    "systemInstruction",
    "contents",
    "tools",
    "toolConfig",
    "generationConfig",
    "model",
];

/// Parses a client's request; `call` is `model:method`.
pub(super) fn parse_request(bytes: Bytes, call: &str) -> Result<Request, Failure> {
    let (model, operation, stream) = parse_call(call)?;
    let model = percent_encoding::percent_decode_str(model)
        .decode_utf8_lossy()
        .into_owned();
    let body = Json::from(json::parse_body::<&RawValue>(&bytes)?);
    if !body.is_object() {
        return Err(Failure::invalid_request(
            "the request's body has the wrong shape: it should be a JSON object".to_owned(),
        ));
    }
    let mut request = Request {
        operation,
        model: Some(model),
        stream,
        include_usage: true,
        n: 1,
        ..Request::default()
    };
    // `countTokens` may carry a whole request inside the request.
    let whole = field(body, "generateContentRequest");
    let is_inside = operation == Operation::CountTokens && whole.is_object();
    let read = parse_fields(&mut request, if is_inside { whole } else { body });
    request.keep_invalid(read);
    request.body = bytes;
    Ok(request)
}

/// Returns the client's own body, asking to go on with an answer that has begun.
pub(super) fn continued_body(body: &Bytes, continuation: &Continuation) -> Result<Bytes, Failure> {
    let content = |role: &str, text: &str| json!({ "role": role, "parts": [{ "text": text }] });
    let contents = continuation.messages("model", content);
    let body = continuation.append(body, "contents", &contents, &[])?;
    let Some(limit) = continuation.max_tokens.map(|limit| limit.to_string()) else {
        return Ok(body);
    };
    let whole = Json::parse(std::str::from_utf8(&body).unwrap_or_default()).unwrap_or(Json::NULL);
    let (mut own_name, mut config) = (String::new(), Json::NULL);
    whole.each_field(|name, value| {
        if camel_case(name) == "generationConfig" {
            (own_name, config) = (String::from_utf8_lossy(name).into_owned(), value);
        }
    });
    let mut limited = None;
    config.each_field(|name, _| {
        if camel_case(name) == "maxOutputTokens" {
            limited = Some(String::from_utf8_lossy(name).into_owned());
        }
    });
    let Some(name) = limited else {
        return Ok(body);
    };
    let config = Bytes::copy_from_slice(config.raw().as_bytes());
    let config = json::with_fields(&config, &[(&name, Some(&limit))])?;
    let config = std::str::from_utf8(&config).map_err(|error| Failure::internal(error.into()))?;
    json::with_fields(&body, &[(&own_name, Some(config))])
}

/// Parses the fields that other dialects need.
fn parse_fields(request: &mut Request, body: Json<'_>) -> Result<(), Failure> {
    let system = field(body, "systemInstruction");
    if !system.is_null() {
        let parts = parse_parts(
            request,
            &|| "systemInstruction".to_owned(),
            field(system, "parts"),
            &mut UnansweredCalls::new(),
        );
        request.messages.push(Message {
            role: Role::System,
            parts,
        });
    }
    let contents = field(body, "contents");
    if request.operation == Operation::Generate || !contents.is_null() {
        parse_contents(request, contents)?;
    }
    parse_tools(request, field(body, "tools"))?;
    parse_tool_choice(request, field(body, "toolConfig"));
    parse_generation_config(request, field(body, "generationConfig"))?;
    body.each_field(|name, value| {
        let name = camel_case(name);
        match &*name {
            _ if value.is_empty() => {}
            known if FIELDS.contains(&known) => {}
            "cachedContent" => request.require("cachedContent"),
            unknown => request.ignore(json::excerpt(unknown)),
        }
    });
    Ok(())
}

/// Splits `model:method` into the model, the operation, and true for a streamed answer.
fn parse_call(call: &str) -> Result<(&str, Operation, bool), Failure> {
    const METHODS: &str = "there are generateContent, streamGenerateContent and countTokens";
    let (model, method) = call.rsplit_once(':').ok_or_else(|| {
        Failure::not_found(format!(
            "the path names no method, as in gemini-2.5-flash:streamGenerateContent; {METHODS}"
        ))
    })?;
    match method {
        "streamGenerateContent" => Ok((model, Operation::Generate, true)),
        "generateContent" => Ok((model, Operation::Generate, false)),
        "countTokens" => Ok((model, Operation::CountTokens, false)),
        _ => {
            let method: String = method.chars().take(60).collect();
            Err(Failure::not_found(format!(
                "no method `{method}`; {METHODS}"
            )))
        }
    }
}

fn parse_tool_choice(request: &mut Request, config: Json<'_>) {
    let calling = field(config, "functionCallingConfig");
    let allowed = field(calling, "allowedFunctionNames").strings(MAX_STRINGS);
    request.tool_choice = match (field(calling, "mode").text().as_deref(), &allowed[..]) {
        (Some("AUTO"), _) => Some(ToolChoice::Auto),
        (Some("NONE"), _) => Some(ToolChoice::None),
        (Some("ANY"), [name]) => Some(ToolChoice::Named(name.clone())),
        (Some("ANY"), _) => Some(ToolChoice::Required),
        _ => None,
    };
    if allowed.len() > 1 {
        request.require("toolConfig.functionCallingConfig.allowedFunctionNames");
    }
}

/// Returns the elements of a list, or a single object as a list of one, as Google does.
fn one_or_more(value: Json<'_>) -> impl Iterator<Item = Json<'_>> {
    let only = Some(value).filter(|value| value.is_object());
    only.into_iter().chain(value.items())
}

fn parse_tools(request: &mut Request, tools: Json<'_>) -> Result<(), Failure> {
    if !(tools.is_null() || tools.is_list() || tools.is_object()) {
        let message = "`tools` should be a list of tools";
        return Err(Failure::invalid("tools", message));
    }
    for (at, tool) in one_or_more(tools).enumerate() {
        parse_tool(request, at, tool);
    }
    Ok(())
}

/// Tools that Google runs itself.
const HOSTED_TOOLS: &[&str] = &[
    "googleSearch",
    "googleSearchRetrieval",
    "googleMaps",
    "urlContext",
    "codeExecution",
    "fileSearch",
    "enterpriseWebSearch",
    "retrieval",
];

fn parse_tool(request: &mut Request, at: usize, tool: Json<'_>) {
    tool.each_field(|kind, value| {
        let kind = camel_case(kind);
        if HOSTED_TOOLS.contains(&&*kind) {
            return request.leave_out_tool(format!("tools[{at}]"), &kind);
        }
        if kind != "functionDeclarations" {
            return request.require(format!("tools[{at}].{}", json::excerpt(&kind)));
        }
        request.tools.reserve_exact(one_or_more(value).count());
        for function in one_or_more(value) {
            let schema = [
                field(function, "parametersJsonSchema"),
                field(function, "parameters"),
            ];
            let schema = schema.into_iter().find(|schema| !schema.is_null());
            request.tools.push(Tool {
                name: field(function, "name").string(),
                description: field(function, "description").text().map(Into::into),
                parameters: schema.map_or_else(JsonText::default, json_schema),
                ..Tool::default()
            });
        }
    });
}
