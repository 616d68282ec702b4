//! Parses the options of a Gemini request: generation, thinking and schemas.

use super::camel_case::{camel_case, field};
use crate::failure::Failure;
use crate::json::{Json, MAX_SCHEMA_NESTING, ObjectWriter, excerpt, max_tokens_of};
use crate::request::{Effort, Format, JsonText, Logprobs, MAX_STRINGS, Reasoning, Request};

pub(super) fn parse_generation_config(
    request: &mut Request,
    config: Json<'_>,
) -> Result<(), Failure> {
    if !config.is_null() && !config.is_object() {
        return Err(Failure::invalid(
            "generationConfig",
            "`generationConfig` should be an object",
        ));
    }
    let mut wrong = None;
    config.each_field(|name, value| match &*camel_case(name) {
        "maxOutputTokens" => match max_tokens_of("generationConfig.maxOutputTokens", value) {
            Ok(limit) => request.max_tokens = limit,
            Err(failure) => wrong = Some(failure),
        },
        "stopSequences" => request.stop = value.strings(MAX_STRINGS),
        "candidateCount" => request.n = value.number().unwrap_or(1),
        "temperature" => request.sampling.temperature = value.number(),
        "topP" => request.sampling.top_p = value.number(),
        // Some clients send a float.
        "topK" => {
            let k = value.number::<f64>();
            request.sampling.top_k = k.map(|k| k.clamp(0.0, 1e9) as u64);
        }
        "seed" => request.sampling.seed = value.number(),
        "presencePenalty" => request.sampling.presence_penalty = value.number(),
        "frequencyPenalty" => request.sampling.frequency_penalty = value.number(),
        "responseMimeType" | "responseJsonSchema" | "responseSchema" => {}
        "thinkingConfig" => request.reasoning = Some(parse_thinking(value)),
        _ if value.is_null() || value.as_bool() == Some(false) => {}
        "responseLogprobs" | "logprobs" => {
            let asked = request.logprobs.get_or_insert(Logprobs {
                alternatives: 0,
                param: None,
            });
            asked.alternatives = value.number().unwrap_or(asked.alternatives);
        }
        "responseModalities" => {
            if !value.is_list() || value.items().any(|mode| !mode.is("TEXT")) {
                request.require("generationConfig.responseModalities");
            }
        }
        name => request.ignore(format!("generationConfig.{}", excerpt(name))),
    });
    request.format = parse_format(config);
    wrong.map_or(Ok(()), Err)
}

fn parse_format(config: Json<'_>) -> Option<Format> {
    let schema = [
        field(config, "responseJsonSchema"),
        field(config, "responseSchema"),
    ];
    let schema = schema.into_iter().find(|schema| !schema.is_null());
    match schema {
        Some(schema) => Some(Format::Schema {
            name: "answer".to_owned(),
            schema: json_schema(schema),
            strict: None,
        }),
        None => field(config, "responseMimeType")
            .is("application/json")
            .then_some(Format::Json),
    }
}

fn parse_thinking(value: Json<'_>) -> Reasoning {
    let budget = field(value, "thinkingBudget").number::<i64>();
    let budget = budget.and_then(|tokens| u32::try_from(tokens).ok());
    let level = field(value, "thinkingLevel")
        .text()
        .and_then(|level| Effort::from_word(&level.to_ascii_lowercase()));
    Reasoning {
        effort: level.or(budget.map(Effort::from_budget)),
        budget,
        shown: Some(field(value, "includeThoughts").as_bool() == Some(true)),
    }
}

/// Converts a schema to JSON Schema: Gemini's own has upper-case types.
pub(super) fn json_schema(schema: Json<'_>) -> JsonText {
    let mut out = Vec::with_capacity(schema.raw().len());
    write_json_schema(schema, 0, &mut out);
    JsonText::of_valid(out)
}

/// Writes a schema as JSON Schema.
fn write_json_schema(schema: Json<'_>, depth: usize, out: &mut Vec<u8>) {
    if depth > MAX_SCHEMA_NESTING {
        return out.extend_from_slice(schema.raw().as_bytes());
    }
    if schema.is_list() {
        out.push(b'[');
        for (at, item) in schema.items().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json_schema(item, depth + 1, out);
        }
        return out.push(b']');
    }
    if !schema.is_object() {
        return out.extend_from_slice(schema.raw().as_bytes());
    }
    let is_nullable = schema.get("nullable").as_bool() == Some(true);
    let mut object = ObjectWriter::new();
    schema.each_field(|name, value| match (name, value.text()) {
        (b"nullable", _) => {}
        (b"type", Some(kind)) if is_nullable => {
            object.field("type", [&*kind.to_ascii_lowercase(), "null"]);
        }
        (b"type", Some(kind)) => object.field("type", kind.to_ascii_lowercase()),
        // 64-bit integers are strings in Google's JSON.
        (
            b"minLength" | b"maxLength" | b"minItems" | b"maxItems" | b"minProperties"
            | b"maxProperties",
            Some(text),
        ) if text.parse::<u64>().is_ok() => {
            let number: u64 = text.parse().unwrap_or_default();
            object.raw_bytes(name, number.to_string().as_bytes());
        }
        (b"enum" | b"required" | b"default" | b"const" | b"examples", _) => {
            object.raw_bytes(name, value.raw().as_bytes());
        }
        // Only objects have anything to convert.
        _ if !value.raw().contains('{') => object.raw_bytes(name, value.raw().as_bytes()),
        _ => {
            let mut converted = Vec::new();
            write_json_schema(value, depth + 1, &mut converted);
            object.raw_bytes(name, &converted);
        }
    });
    out.append(&mut object.finish());
}
