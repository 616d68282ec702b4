//! Plain requests: from a query, from JSON, or from a text that is the prompt.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json;
use crate::request::{Message, Request, Role};

const FIELDS: &[&str] = &["prompt", "model", "system", "max_tokens", "temperature"];

/// Parses `{"prompt", "model"?, "system"?, "max_tokens"?, "temperature"?}`.
///
/// # Errors
///
/// A 400 that names the field.
pub fn from_json(body: &[u8]) -> Result<Request, Failure> {
    let place = |name: &str| FIELDS.iter().position(|field| *field == name);
    let mut fields: [Option<&RawValue>; FIELDS.len()] = [None; FIELDS.len()];
    json::read_fields(body, |name, value| {
        let at = place(name).ok_or_else(|| json::unknown_name("field", name, FIELDS))?;
        fields[at] = Some(value);
        Ok(())
    })?;
    let get = |name: &str| place(name).and_then(|at| fields[at]);
    let prompt: Option<String> = json::parse_field("prompt", get("prompt"), "a string")?;
    let mut request = Request::prompt(asked(prompt)?);
    prepend_system(
        &mut request,
        json::parse_field("system", get("system"), "a string")?,
    );
    request.model = json::parse_field("model", get("model"), "a string")?;
    request.max_tokens = json::max_tokens("max_tokens", get("max_tokens"))?;
    request.sampling.temperature = json::temperature(get("temperature"))?;
    Ok(request)
}

/// Parses query parameters, given decoded.
///
/// # Errors
///
/// A 400 that names the parameter.
pub fn from_query(pairs: &[(String, String)]) -> Result<Request, Failure> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in pairs {
        if !FIELDS.contains(&name.as_str()) {
            return Err(json::unknown_name("query parameter", name, FIELDS));
        }
        if fields.insert(name, value).is_some() {
            return Err(Failure::invalid(name, format!("`{name}` is given twice")));
        }
    }
    let get = |name: &str| fields.get(name).map(|&value| value.to_owned());
    // A number in a query is parsed as in JSON; anything else becomes a string there, with its
    // error.
    let raw = |name: &str| fields.get(name).map(|&value| raw(value));
    let mut request = Request::prompt(asked(get("prompt"))?);
    prepend_system(&mut request, get("system"));
    request.model = get("model");
    request.max_tokens = json::max_tokens("max_tokens", raw("max_tokens").as_deref())?;
    request.sampling.temperature = json::temperature(raw("temperature").as_deref())?;
    Ok(request)
}

/// Inserts a system prompt at the front.
pub fn prepend_system(request: &mut Request, text: Option<String>) {
    if let Some(text) = text {
        request
            .messages
            .insert(0, Message::text(Role::System, text));
    }
}

fn asked(prompt: Option<String>) -> Result<String, Failure> {
    prompt.filter(|p| !p.is_empty()).ok_or_else(|| {
        Failure::invalid(
            "prompt",
            "`prompt` is missing: give one, as in ?prompt=Hello",
        )
    })
}

fn raw(value: &str) -> Box<RawValue> {
    RawValue::from_string(value.to_owned())
        .or_else(|_| serde_json::value::to_raw_value(value))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}
