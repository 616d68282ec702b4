//! A Chat Completions request, read from a client and written to an upstream.
//!
//! To an upstream of the same dialect the client's own bytes go on: only the model's name is cut out and replaced. What
//! is read here is what routing and the mock must know; whatever else a body holds is the upstream's to judge.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::dialect::json;
use crate::failure::Failure;
use crate::request::{Message, Request, Role, Tool};

/// More answers at once than OpenAI itself allows.
const MOST_ANSWERS: u32 = 128;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
}

/// Reads a client's request.
///
/// # Errors
///
/// A 400 that names the field.
pub fn read(bytes: Bytes) -> Result<Request, Failure> {
    let body: Body<'_> = json::read(&bytes)?;
    let model: Option<String> = json::field("model", body.model, "a string")?;
    if model.as_ref().is_none_or(String::is_empty) {
        return Err(Failure::invalid("model", "`model` is missing: name one of GET /v1/models"));
    }
    let n = json::field::<u32>("n", body.n, "a whole number from 1 to 128")?.unwrap_or(1);
    if !(1..=MOST_ANSWERS).contains(&n) {
        return Err(Failure::invalid("n", format!("`n` should be a whole number from 1 to 128, not {n}")));
    }
    let limit = json::max_tokens("max_completion_tokens", body.max_completion_tokens)?;
    let older_limit = json::max_tokens("max_tokens", body.max_tokens)?;
    let options: Option<serde_json::Map<String, Value>> =
        json::field("stream_options", body.stream_options, "an object")?;
    let request = Request {
        model,
        stream: json::field("stream", body.stream, "true or false")?.unwrap_or(false),
        include_usage: options.as_ref().is_some_and(|o| o.get("include_usage") == Some(&Value::Bool(true))),
        messages: messages(body.messages)?,
        tools: tools(body.tools)?,
        max_tokens: limit.or(older_limit),
        temperature: json::temperature(body.temperature)?,
        n,
        body: Bytes::new(),
    };
    Ok(Request { body: bytes, ..request })
}

fn messages(raw: Option<&RawValue>) -> Result<Vec<Message>, Failure> {
    const WANT: &str = "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";
    let list: Vec<Value> = json::field("messages", raw, WANT)?.unwrap_or_default();
    if list.is_empty() {
        return Err(Failure::invalid("messages", format!("`messages` is missing or empty; it should be {WANT}")));
    }
    let read = |(at, message): (usize, &Value)| {
        let Some(role) = message["role"].as_str() else {
            let name = format!("messages[{at}].role");
            return Err(Failure::invalid(&name, format!("`{name}` should be a string such as \"user\"")));
        };
        let role = match role {
            "system" | "developer" => Role::System,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => Role::User,
        };
        Ok(Message { role, text: text(&message["content"]) })
    };
    list.iter().enumerate().map(read).collect()
}

/// The text of a message: a string, or the text parts of a list. Images and the like are the upstream's to see.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn tools(raw: Option<&RawValue>) -> Result<Vec<Tool>, Failure> {
    let list: Vec<Value> = json::field("tools", raw, "a list of tools")?.unwrap_or_default();
    let read = |tool: &Value| {
        let name = tool["function"]["name"].as_str()?;
        Some(Tool { name: name.to_owned(), parameters: tool["function"]["parameters"].clone() })
    };
    Ok(list.iter().filter_map(read).collect())
}

/// The client's own body, with another model's name.
///
/// # Errors
///
/// Never for a request that [`read`] made.
pub(in crate::dialect) fn with_model(request: &Request, model: &str) -> Result<Bytes, Failure> {
    #[derive(Deserialize)]
    struct Model<'a> {
        #[serde(borrow)]
        model: &'a RawValue,
    }
    if request.model.as_deref() == Some(model) {
        return Ok(request.body.clone());
    }
    let body = &request.body;
    let raw = serde_json::from_slice::<Model<'_>>(body).map_err(|e| Failure::Internal(e.into()))?.model.get();
    // The raw value is a slice of the body: where it lies there is where the new name goes.
    let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let name = json!(model).to_string();
    let mut out = BytesMut::with_capacity(body.len() + name.len());
    out.put_slice(&body[..start]);
    out.put_slice(name.as_bytes());
    out.put_slice(&body[start + raw.len()..]);
    Ok(out.freeze())
}

/// A request of another dialect, in this one. We wrote it, so we ask for the usage too.
pub(in crate::dialect) fn write(request: &Request, model: &str) -> Bytes {
    let role = |role| match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let messages: Vec<_> =
        request.messages.iter().map(|m| json!({ "role": role(m.role), "content": m.text })).collect();
    let mut body = json!({ "model": model, "messages": messages, "stream": request.stream });
    if request.stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    if let Some(n) = request.max_tokens {
        body["max_tokens"] = n.into();
    }
    if let Some(t) = request.temperature {
        body["temperature"] = t.into();
    }
    body.to_string().into()
}
