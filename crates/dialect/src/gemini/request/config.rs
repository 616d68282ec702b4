//! Parses the options of a Gemini request: generation, thinking and schemas.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::json;
use crate::request::{Effort, Format, Reasoning, Request};

pub(super) fn parse_generation_config(
    request: &mut Request,
    config: &Value,
) -> Result<(), Failure> {
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
                        format!("`{name}` should be a whole number of at least 1"),
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
            "thinkingConfig" => request.reasoning = Some(parse_thinking(value)),
            _ if matches!(value, Value::Null | Value::Bool(false)) => {}
            "responseModalities"
                if value
                    .as_array()
                    .is_some_and(|list| list.iter().all(|mode| mode == "TEXT")) => {}
            "responseModalities" => request.require("generationConfig.responseModalities"),
            _ => request.ignore(format!("generationConfig.{name}")),
        }
    }
    request.format = parse_format(config);
    Ok(())
}

fn parse_format(config: &Value) -> Option<Format> {
    let schema = [&config["responseJsonSchema"], &config["responseSchema"]]
        .into_iter()
        .find(|v| !v.is_null());
    match (config["responseMimeType"].as_str(), schema) {
        (_, Some(schema)) => Some(Format::Schema {
            name: "answer".to_owned(),
            schema: json_schema(schema).into(),
            strict: None,
        }),
        (Some("application/json"), None) => Some(Format::Json),
        _ => None,
    }
}

pub(super) fn parse_thinking(value: &Value) -> Reasoning {
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

/// Converts a schema to JSON Schema: Gemini's own has upper-case types.
pub(super) fn json_schema(schema: &Value) -> Value {
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
