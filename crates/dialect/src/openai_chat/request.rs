//! A Chat Completions request: parsed from a client, encoded for an upstream.
//!
//! An upstream of the same dialect gets the client's own bytes with another model name. Parsed here
//! are the fields that routing, the mock and other dialects need; all others are recorded.

mod content;
mod messages;
mod options;
mod reasoning;
mod tools;
mod write;

pub(super) use content::audio_format;
use options::{parse_logprobs, parse_openai_options, parse_reasoning_options};
pub(super) use reasoning::{CONTENT_THOUGHT, THOUGHT_FIELDS, opaque_state};
use reasoning::{ReasoningPlaces, parse_reasoning, thinking_part};
use tools::{parse_legacy_call, parse_tool_calls, parse_tools};
pub(super) use write::encode_request;

use bytes::Bytes;

use crate::failure::Failure;
use crate::json::{self, Json};
use crate::request::{
    CacheTtl, File, Format, Image, ImageDetail, MAX_STRINGS, Message, Part, Request, Role, Sampling,
};

/// Maximum `n`, as OpenAI has it.
const MAX_ANSWERS: u32 = 128;
/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &["audio", "web_search_options"];
/// Fields without meaning for another dialect.
const INERT_FIELDS: &[&str] = &["stream_options", "store"];

/// Parses a client's request.
///
/// # Errors
///
/// A 400 that names the field.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let options = body.json("stream_options");
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: options.get("include_usage").as_bool() == Some(true),
        n: 1,
        ..Request::default()
    };
    let read = parse_fields(&mut request, body, options);
    request.keep_invalid(read);
    request.body = bytes;
    Ok(request)
}

/// Parses the fields that other dialects need.
fn parse_fields(
    request: &mut Request,
    mut body: json::RequestFields<'_>,
    stream_options: Json<'_>,
) -> Result<(), Failure> {
    request.n = parse_n(&mut body)?;
    if !stream_options.is_object() && !stream_options.is_null() {
        return Err(Failure::invalid(
            "stream_options",
            "`stream_options` should be an object",
        ));
    }
    let limit = json::max_tokens("max_completion_tokens", body.raw("max_completion_tokens"))?;
    let older_limit = json::max_tokens("max_tokens", body.raw("max_tokens"))?;
    request.max_tokens = limit.or(older_limit);
    request.parallel_tool_calls = body.json("parallel_tool_calls").as_bool();
    request.sampling = Sampling {
        temperature: json::temperature(body.raw("temperature"))?,
        top_p: body.json("top_p").number(),
        top_k: body.json("top_k").number(),
        seed: body.json("seed").number(),
        presence_penalty: body.json("presence_penalty").number(),
        frequency_penalty: body.json("frequency_penalty").number(),
    };
    request.stop = body.json("stop").strings(MAX_STRINGS);
    // The names of calls in messages depend on the tools.
    parse_tools(request, &mut body)?;
    parse_messages(request, body.list("messages", WANTED_MESSAGES)?)?;
    request.tool_forms.finish();
    let user = [body.json("user"), body.json("safety_identifier")];
    request.user = user.into_iter().find_map(Json::text).map(Into::into);
    parse_format(request, body.json("response_format"));
    request.reasoning = parse_reasoning_options(request, &mut body);
    request.logprobs = parse_logprobs(&mut body);
    request.openai = parse_openai_options(&mut body);
    // Anthropic's own name for the last part of a request.
    request.mark_end(body.json("cache_control"));
    if body.json("modalities").items().any(|mode| !mode.is("text")) {
        request.require("modalities");
    }
    body.record_rest(request, INERT_FIELDS, ESSENTIAL_FIELDS);
    Ok(())
}

/// Takes the number of answers.
fn parse_n(body: &mut json::RequestFields<'_>) -> Result<u32, Failure> {
    let n = body
        .take::<f64>("n", "a whole number from 1 to 128")?
        .unwrap_or(1.0);
    if (0.0..=f64::from(MAX_ANSWERS)).contains(&n) && n.fract() == 0.0 {
        return Ok(n as u32);
    }
    let message = format!("`n` should be a whole number from 1 to 128, not {n}");
    Err(Failure::invalid("n", message))
}

const WANTED_MESSAGES: &str =
    "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";

fn parse_messages(request: &mut Request, list: Json<'_>) -> Result<(), Failure> {
    request.messages.reserve_exact(list.len());
    let mut legacy = None;
    for (at, message) in list.items().enumerate() {
        let message = parse_message(request, at, message, &mut legacy)?;
        request.messages.push(message);
    }
    if request.messages.is_empty() {
        return Err(Failure::invalid(
            "messages",
            format!("`messages` is missing or empty; it should be {WANTED_MESSAGES}"),
        ));
    }
    Ok(())
}

/// Parses a message. `legacy` is the id of the last call in the form that Chat had before there
/// were tools, until its result comes.
fn parse_message(
    request: &mut Request,
    at: usize,
    message: Json<'_>,
    legacy: &mut Option<String>,
) -> Result<Message, Failure> {
    let name = || format!("messages[{at}]");
    let Some(role) = message.get("role").text() else {
        let name = format!("{}.role", name());
        let message = format!("`{name}` should be a string such as \"user\"");
        return Err(Failure::invalid(&name, message));
    };
    let mut parts = Vec::new();
    let mut places = ReasoningPlaces::default();
    let role = match &*role {
        "system" | "developer" => Role::System,
        "assistant" => {
            places = parse_reasoning(message, &mut parts);
            Role::Assistant
        }
        "tool" | "function" => Role::Tool,
        _ => Role::User,
    };
    parse_content(request, &name, message.get("content"), &mut parts);
    if let Some(text) = message.get("refusal").text() {
        parts.push(Part::Refusal(text.into()));
    }
    parse_tool_calls(request, &name, message.get("tool_calls"), &mut parts);
    if let Some((id, call)) = parse_legacy_call(request, at, message.get("function_call")) {
        parts.push(call);
        *legacy = Some(id);
    }
    places.restore(&mut parts);
    if !message.get("audio").is_null() {
        request.require(name());
    }
    let images = "messages[].images";
    let is_known = |request: &Request| request.unsupported.iter().any(|it| it.param == images);
    if !message.get("images").is_empty() && !is_known(request) {
        request.ignore(images);
    }
    if let Some(ttl) = CacheTtl::parse(message.get("cache_control")) {
        parts.push(Part::CacheBreakpoint(ttl));
    }
    if matches!(role, Role::System | Role::User | Role::Assistant) && !message.get("name").is_null()
    {
        request.ignore_kind("messages[].name");
    }
    if role == Role::Tool {
        parts = vec![Part::ToolResult {
            id: match message.get("tool_call_id").text() {
                Some(id) => id.into(),
                None => legacy.take().unwrap_or_default(),
            },
            content: parts,
            error: false,
        }];
    }
    Ok(Message { role, parts })
}

fn parse_content(
    request: &mut Request,
    name: &impl Fn() -> String,
    content: Json<'_>,
    parts: &mut Vec<Part>,
) {
    if let Some(text) = content.text() {
        parts.reserve_exact(1);
        parts.push(Part::Text(text.into()));
    } else if content.is_list() {
        parts.reserve_exact(content.len());
        for (at, part) in content.items().enumerate() {
            let name = || format!("{}.content[{at}]", name());
            match parse_content_part(&name, part) {
                Some(part) => parts.push(part),
                None => request.require_kind(name(), part.get("type").text().as_deref()),
            }
            let mark = CacheTtl::parse(part.get("cache_control"));
            parts.extend(mark.map(Part::CacheBreakpoint));
        }
    } else if !content.is_null() {
        request.require(format!("{}.content", name()));
    }
}

fn parse_content_part(name: &dyn Fn() -> String, part: Json<'_>) -> Option<Part> {
    let kind = part.get("type").text();
    if kind.as_deref() == Some("file") {
        let file = part.get("file");
        let title = file.get("filename").text().map(String::from);
        let Some(data) = file.get("file_data").text() else {
            let id = file.get("file_id").text()?;
            return Some(File::stored(name(), title, &id));
        };
        // As OpenRouter takes it.
        let is_linked = ["https://", "http://"]
            .iter()
            .any(|scheme| data.starts_with(scheme));
        return Some(match is_linked {
            true => File::linked(name(), title, None, &data),
            false => File::inline(name(), title, None, &data),
        });
    }
    if kind.as_deref() == Some("input_audio") {
        return File::recording(name(), part.get("input_audio"));
    }
    let image = part.get("image_url");
    if kind.as_deref() == Some("image_url")
        && let Some(url) = image.get("url").text().or_else(|| image.text())
    {
        if url.starts_with("data:") && !url.starts_with("data:image/") {
            return Some(File::inline(name(), None, None, &url));
        }
        let detail = image.get("detail").text();
        let detail = detail.and_then(|word| ImageDetail::from_word(&word));
        return Some(Part::Image(Image::from_url(&url), detail));
    }
    if matches!(kind.as_deref(), Some("thinking" | "reasoning")) {
        return Some(thinking_part(part));
    }
    if kind.as_deref() == Some("refusal") {
        return Some(Part::Refusal(part.get("refusal").string()));
    }
    part.get("text").text().map(|text| Part::Text(text.into()))
}

fn parse_format(request: &mut Request, value: Json<'_>) {
    match value.get("type").text().as_deref() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        // A schema is optional there.
        Some("json_schema") if value.get("json_schema").get("schema").is_null() => {
            request.format = Some(Format::Json);
        }
        Some("json_schema") => {
            let inner = value.get("json_schema");
            request.format = Some(Format::Schema {
                name: inner
                    .get("name")
                    .text()
                    .map_or_else(|| "answer".to_owned(), Into::into),
                schema: inner.get("schema").into(),
                strict: inner.get("strict").as_bool(),
            });
        }
        Some(_) => request.require("response_format"),
    }
}
