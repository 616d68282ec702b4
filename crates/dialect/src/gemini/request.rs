//! A Gemini request: parsed from a client, encoded for an upstream ([`encode_request`]). The model
//! and the method are in its path.

mod write;

pub(super) use write::encode_request;

mod camel_case;
mod config;
mod contents;

use bytes::Bytes;
use serde_json::{Map, Value};

use self::camel_case::camel_case;
use self::config::{json_schema, parse_generation_config};
use self::contents::{UnansweredCalls, parse_contents, parse_parts};
use crate::failure::Failure;
use crate::json;
use crate::request::{Message, Operation, Request, Role, Tool, ToolChoice};

/// Parses a client's request; `call` is `model:method`.
pub(super) fn parse_request(bytes: Bytes, call: &str) -> Result<Request, Failure> {
    let (model, operation, stream) = parse_call(call)?;
    let model = percent_encoding::percent_decode_str(model)
        .decode_utf8_lossy()
        .into_owned();
    let fields: Map<String, Value> = json::parse_body(&bytes)?;
    let mut body = Value::Object(fields);
    camel_case(&mut body);
    let mut request = Request {
        operation,
        model: Some(model),
        stream,
        include_usage: true,
        n: 1,
        ..Request::default()
    };
    let mut take = |name: &str| body.get_mut(name).map(Value::take).unwrap_or_default();
    let system = take("systemInstruction");
    if !system.is_null() {
        let parts = parse_parts(
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
    if operation == Operation::Generate || !contents.is_null() {
        parse_contents(&mut request, &contents)?;
    }
    let tools = list(take("tools"), "tools", "a list of tools")?;
    for (at, tool) in tools.iter().enumerate() {
        parse_tool(&mut request, &format!("tools[{at}]"), tool);
    }
    parse_tool_choice(&mut request, &take("toolConfig"));
    parse_generation_config(&mut request, &take("generationConfig"))?;
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

fn parse_tool_choice(request: &mut Request, config: &Value) {
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

fn parse_tool(request: &mut Request, name: &str, tool: &Value) {
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
                parameters: schema.map(json_schema).unwrap_or_default().into(),
                strict: None,
            });
        }
    }
}
