//! A Responses request: parsed from a client, encoded for an upstream.

mod items;
mod tools;
mod write;

pub(super) use write::encode_request;

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

use self::items::parse_item;
use self::tools::{check_tool_choice, parse_tool_choice, parse_tools};
use super::answer;
use crate::failure::Failure;
use crate::json::{self, Json};
use crate::request::{Effort, Format, Logprobs, Message, Reasoning, Request, Role, Sampling};

/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &[
    "previous_response_id",
    "conversation",
    "prompt",
    "context_management",
];
/// Fields without meaning for another dialect.
const INERT_FIELDS: &[&str] = &["store", "stream_options", "truncation", "client_metadata"];

/// The name under which log probabilities are included.
const LOGPROBS: &str = "message.output_text.logprobs";

/// Parses a client's request.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: true,
        n: 1,
        ..Request::default()
    };
    request.background = body.take("background", "true or false")?.unwrap_or(false);
    if request.background && body.json("store").as_bool() == Some(false) {
        return Err(Failure::invalid(
            "store",
            "`background` requires `store`: the response is kept until it is retrieved",
        ));
    }
    let read = parse_fields(&mut request, body);
    request.keep_invalid(read);
    request.body = bytes;
    Ok(request)
}

/// Parses the fields that other dialects need.
fn parse_fields(request: &mut Request, mut body: json::RequestFields<'_>) -> Result<(), Failure> {
    request.max_tokens = json::max_tokens("max_output_tokens", body.raw("max_output_tokens"))?;
    request.parallel_tool_calls = body.json("parallel_tool_calls").as_bool();
    request.sampling = Sampling {
        temperature: json::temperature(body.raw("temperature"))?,
        top_p: body.json("top_p").number(),
        ..Sampling::default()
    };
    let instructions = body.json("instructions");
    match instructions.text() {
        Some(text) => request.messages.push(Message::text(Role::System, text)),
        None if instructions.is_null() => {}
        None => {
            let found = json::excerpt(instructions.raw());
            let message = format!("`instructions` should be a string, not {found}");
            return Err(Failure::invalid("instructions", message));
        }
    }
    let user = [body.json("user"), body.json("safety_identifier")];
    request.user = user.into_iter().find_map(Json::text).map(Into::into);
    // The names of calls in the input depend on the tools.
    parse_tools(request, "tools", body.list("tools", "a list of tools")?);
    parse_input(request, body.json("input"))?;
    parse_tool_choice(request, body.json("tool_choice"));
    check_tool_choice(request);
    request.tool_forms.finish();
    parse_text_options(request, body.json("text"));
    request.reasoning = parse_reasoning(body.json("reasoning"));
    request.logprobs = parse_logprobs(body.json("include"), body.json("top_logprobs"));
    let stored = ["previous_response_id", "conversation"].map(|name| body.peek(name));
    request.stored_context = stored.into_iter().find_map(|context| {
        let id = context.text().or_else(|| context.get("id").text())?;
        Some(id.into_owned())
    });
    let text = |json: Json<'_>| json.text().map(Into::into);
    request.openai.metadata = body.json("metadata").into();
    request.openai.service_tier = text(body.json("service_tier"));
    request.openai.prompt_cache_key = text(body.json("prompt_cache_key"));
    request.openai.prompt_cache_retention = text(body.json("prompt_cache_retention"));
    body.record_rest(request, INERT_FIELDS, ESSENTIAL_FIELDS);
    Ok(())
}

/// Parses what is asked about log probabilities. An answer is one without those that are only to be
/// included.
fn parse_logprobs(include: Json<'_>, top: Json<'_>) -> Option<Logprobs> {
    let alternatives = top.number().unwrap_or(0);
    let is_included = include.items().any(|name| name.is(LOGPROBS));
    (is_included || alternatives > 0).then_some(Logprobs {
        alternatives,
        param: (alternatives > 0).then_some("top_logprobs"),
    })
}

/// Parses the reasoning options; a summary alone leaves the effort to the model.
fn parse_reasoning(reasoning: Json<'_>) -> Option<Reasoning> {
    let shown = (!reasoning.get("summary").is_null()).then_some(true);
    let effort = reasoning.get("effort").text();
    let effort = effort.and_then(|word| Effort::from_word(&word));
    (effort.is_some() || shown.is_some()).then_some(Reasoning {
        effort,
        budget: None,
        shown,
    })
}

/// Returns the id of the response that a request continues.
#[must_use]
pub fn previous_response_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Asked {
        previous_response_id: String,
    }
    memmem::find(body, b"\"previous_response_id\"")?;
    // A malformed body is rejected when the whole of it is parsed.
    serde_json::from_slice::<Asked>(body)
        .ok()
        .map(|asked| asked.previous_response_id)
}

/// Returns the id of a response object.
#[must_use]
pub fn response_id_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    serde_json::from_slice::<Made>(body)
        .ok()
        .map(|made| made.id)
}

/// Returns the body with another `previous_response_id`.
///
/// # Errors
///
/// Never for a body that has a [`previous_response_id`].
pub fn with_previous_response_id(body: &Bytes, id: &str) -> Result<Bytes, Failure> {
    json::with_fields(
        body,
        &[("previous_response_id", Some(&Value::from(id).to_string()))],
    )
}

fn parse_text_options(request: &mut Request, text: Json<'_>) {
    let format = text.get("format");
    match format.get("type").text().as_deref() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        // A schema is optional in the other of OpenAI's dialects.
        Some("json_schema") if format.get("schema").is_null() => {
            request.format = Some(Format::Json);
        }
        Some("json_schema") => {
            request.format = Some(Format::Schema {
                name: format
                    .get("name")
                    .text()
                    .map_or_else(|| "answer".to_owned(), Cow::into_owned),
                schema: format.get("schema").into(),
                strict: format.get("strict").as_bool(),
            });
        }
        Some(_) => request.require("text.format"),
    }
    request.openai.verbosity = text.get("verbosity").text().map(Into::into);
}

fn parse_input(request: &mut Request, input: Json<'_>) -> Result<(), Failure> {
    if let Some(text) = input.text() {
        request.messages.push(Message::text(Role::User, text));
        return Ok(());
    }
    if input.is_null() {
        // A stored prompt or conversation may be the only input; only its upstream knows it.
        request.require("input");
        return Ok(());
    }
    if !input.is_list() {
        return Err(Failure::invalid("input", WANTED_INPUT));
    }
    for (at, item) in input.items().enumerate() {
        parse_item(request, at, item)?;
    }
    Ok(())
}

const WANTED_INPUT: &str = "`input` should be a string, or a list of items, as in \
                            [{\"role\": \"user\", \"content\": \"Hello\"}]";
