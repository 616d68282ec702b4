//! Encodes a neutral request for Converse. The model and whether a stream is wanted are said by
//! the address, not by the body.

use serde_json::{Value, json};

use crate::anthropic;
use crate::event::StateOrigin;
use crate::failure::Failure;
use crate::families::Family;
use crate::json::{ListWriter, ObjectWriter};
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{
    CacheTtl, File, FileSource, Format, Image, Message, Part, Request, Role, Tool, ToolChoice,
    texts_of, with_marks,
};
use crate::{UpstreamPayload, tool_schema, tools};

/// The longest id of a tool call.
const MAX_ID: usize = 64;

/// Encodes a request of another dialect.
pub(super) fn encode_request(
    request: &Request,
    model: &str,
    rules: &Family,
) -> Result<UpstreamPayload, Failure> {
    let mut payload = PayloadBuilder::new(request, rules);
    let mut failure = None;
    payload.list("messages", |messages, _| {
        failure = write_messages(request, messages).err();
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    set_system(&mut payload, request);
    set_sampling(&mut payload, request, rules);
    set_tools(&mut payload, request);
    let is_claude = model.contains("claude");
    let mut own = Vec::new();
    if is_claude {
        own = anthropic::thinking_options(request, model, payload.dropped());
    } else if request
        .reasoning
        .is_some_and(|reasoning| !reasoning.is_off())
    {
        payload.drop_param("reasoning");
    }
    match request.sampling.top_k {
        Some(top_k) if is_claude && own.is_empty() => own.push(("top_k", top_k.into())),
        Some(_) => payload.drop_param("top_k"),
        None => {}
    }
    if !own.is_empty() {
        payload.object("additionalModelRequestFields", |fields| {
            for (name, value) in &own {
                fields.field(name, value);
            }
        });
    }
    payload.drop_present(&request.openai.present());
    let sampling = &request.sampling;
    payload.drop_present(&[
        ("user", request.user.is_some()),
        ("detail of an image", request.has_image_detail()),
        ("seed", sampling.seed.is_some()),
        ("presence_penalty", has_effect(sampling.presence_penalty)),
        ("frequency_penalty", has_effect(sampling.frequency_penalty)),
        (
            "parallel_tool_calls",
            request.parallel_tool_calls == Some(false),
        ),
    ]);
    Ok(payload.finish())
}

/// Sets the system prompt. A format that is asked for is said there: this API has no other place
/// that all models take.
fn set_system(payload: &mut PayloadBuilder<'_>, request: &Request) {
    let instruction = match &request.format {
        None => None,
        Some(Format::Json) => Some("Answer with one JSON object and nothing else.".to_owned()),
        Some(Format::Schema { schema, .. }) => Some(format!(
            "Answer with JSON that fits this JSON schema, and nothing else: {}",
            schema.as_str()
        )),
    };
    if instruction.is_some() {
        payload.drop_param("response_format (sent as an instruction)");
    }
    let parts = request.messages.iter();
    let parts = parts.filter(|message| message.role == Role::System);
    let parts = parts.flat_map(|message| &message.parts);
    let says = |part: &Part| matches!(part, Part::Text(text) if !text.trim().is_empty());
    let mut blocks: Vec<Value> = Vec::new();
    for (part, mark) in with_marks(parts, says) {
        if let Part::Text(text) = part {
            blocks.push(json!({ "text": text }));
        }
        blocks.extend(mark.map(cache_point));
    }
    blocks.extend(instruction.map(|text| json!({ "text": text })));
    payload.set("system", (!blocks.is_empty()).then_some(blocks));
}

fn cache_point(ttl: CacheTtl) -> Value {
    match ttl {
        CacheTtl::Default => json!({ "cachePoint": { "type": "default" } }),
        CacheTtl::Hour => json!({ "cachePoint": { "type": "default", "ttl": "1h" } }),
    }
}

fn set_sampling(payload: &mut PayloadBuilder<'_>, request: &Request, rules: &Family) {
    let sampling = &request.sampling;
    let stop: Vec<&String> = request
        .stop
        .iter()
        .filter(|stop| !stop.is_empty())
        .collect();
    let fields = [
        ("maxTokens", request.max_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("stopSequences", (!stop.is_empty()).then(|| json!(stop))),
    ];
    let given = fields.into_iter();
    let given = given.filter_map(|(name, value)| Some((name, value?)));
    let (dropped, given): (Vec<_>, Vec<_>) = given.partition(|(name, _)| rules.drops(name));
    payload.drop_present(
        &dropped
            .iter()
            .map(|(name, _)| (*name, true))
            .collect::<Vec<_>>(),
    );
    if !given.is_empty() {
        payload.object("inferenceConfig", |config| {
            for (name, value) in &given {
                config.field(name, value);
            }
        });
    }
}

fn set_tools(payload: &mut PayloadBuilder<'_>, request: &Request) {
    // A conversation with calls must have the tools, though no more of them may be called.
    let calls = |message: &Message| message.role == Role::Tool;
    let is_off = request.tool_choice == Some(ToolChoice::None);
    if request.tools.is_empty() || (is_off && !request.messages.iter().any(calls)) {
        return;
    }
    if is_off {
        payload.drop_param("tool_choice none");
    }
    let choice = match &request.tool_choice {
        None | Some(ToolChoice::None) => None,
        Some(ToolChoice::Auto) => Some(json!({ "auto": {} })),
        Some(ToolChoice::Required) => Some(json!({ "any": {} })),
        Some(ToolChoice::Named(name)) => Some(json!({ "tool": { "name": name } })),
    };
    payload.object("toolConfig", |config| {
        config.list("tools", |list| {
            for tool in &request.tools {
                list.object(|object| {
                    object.object("toolSpec", |spec| write_tool(tool, spec));
                });
                if let Some(ttl) = tool.cache {
                    list.value(cache_point(ttl));
                }
            }
        });
        if let Some(choice) = choice {
            config.field("toolChoice", choice);
        }
    });
}

fn write_tool(tool: &Tool, spec: &mut ObjectWriter) {
    spec.field("name", &tool.name);
    if let Some(description) = tool.description.as_deref().filter(|text| !text.is_empty()) {
        spec.field("description", description);
    }
    spec.object("inputSchema", |schema| {
        schema.raw("json", tool_schema::schema(&tool.parameters).as_str());
    });
}

/// Writes the messages as alternating turns: adjacent messages of one side are merged.
fn write_messages(request: &Request, messages: &mut ListWriter) -> Result<(), Failure> {
    let said: Vec<&Message> = request
        .messages
        .iter()
        .filter(|message| message.role != Role::System)
        .collect();
    let mut documents = 0;
    let mut failure = None;
    for turn in said.chunk_by(|a, b| side(a) == side(b)) {
        let parts = turn.iter().flat_map(|message| &message.parts);
        let parts = with_marks(parts, says);
        let (Some(first), false) = (turn.first(), parts.is_empty()) else {
            continue;
        };
        let is_last = turn.last().map(|message| std::ptr::from_ref(*message))
            == said.last().map(|message| std::ptr::from_ref(*message));
        messages.object(|message| {
            message.field("role", side(first));
            message.list("content", |content| {
                for (at, (part, mark)) in parts.iter().enumerate() {
                    // White space at the end of an answer that has begun is refused.
                    let at_end = is_last && side(first) == "assistant" && at + 1 == parts.len();
                    let written = write_block(part, at_end, &mut documents, content);
                    failure = failure.take().or(written.err());
                    if let Some(ttl) = mark {
                        content.value(cache_point(*ttl));
                    }
                }
            });
        });
    }
    failure.map_or(Ok(()), Err)
}

fn side(message: &Message) -> &'static str {
    match message.role {
        Role::Assistant => "assistant",
        Role::System | Role::User | Role::Tool => "user",
    }
}

/// Returns true if this API has a block for the part.
fn says(part: &Part) -> bool {
    match part {
        Part::Text(text) | Part::Refusal(text) => !text.trim().is_empty(),
        Part::Reasoning { state, .. } => state.as_ref().is_some_and(|state| {
            matches!(
                state.origin,
                StateOrigin::Anthropic | StateOrigin::AnthropicRedacted
            )
        }),
        Part::Image(..) | Part::File(_) | Part::ToolCall { .. } | Part::ToolResult { .. } => true,
        Part::CacheBreakpoint(_) => false,
    }
}

/// Writes the block of a part that [`says`] something.
fn write_block(
    part: &Part,
    at_end: bool,
    documents: &mut usize,
    content: &mut ListWriter,
) -> Result<(), Failure> {
    match part {
        Part::Text(text) | Part::Refusal(text) => {
            let text = if at_end { text.trim_end() } else { text };
            content.value(json!({ "text": text }));
        }
        Part::Image(image, _) => content.value(image_block(image)?),
        Part::File(file) => content.value(document_block(file, documents)?),
        Part::Reasoning {
            text,
            state: Some(state),
        } => content.value(match state.origin {
            StateOrigin::AnthropicRedacted => {
                json!({ "reasoningContent": { "redactedContent": state.value } })
            }
            _ => json!({ "reasoningContent": {
                "reasoningText": { "text": text, "signature": state.value } } }),
        }),
        Part::Reasoning { state: None, .. } | Part::CacheBreakpoint(_) => {}
        Part::ToolCall {
            id,
            name,
            arguments,
        } => content.object(|block| {
            block.object("toolUse", |call| {
                call.field("toolUseId", tools::fit_id(id, MAX_ID));
                call.field("name", name);
                call.raw("input", tools::object(arguments).as_str());
            });
        }),
        Part::ToolResult {
            id,
            content: result,
            error,
        } => {
            let blocks = result_blocks(result, documents)?;
            let mut result = json!({ "toolUseId": tools::fit_id(id, MAX_ID), "content": blocks });
            if *error {
                result["status"] = "error".into();
            }
            content.value(json!({ "toolResult": result }));
        }
    }
    Ok(())
}

/// Returns the blocks of a tool's result: its texts as one, then its images and files.
fn result_blocks(content: &[Part], documents: &mut usize) -> Result<Vec<Value>, Failure> {
    let mut blocks = Vec::new();
    let text = texts_of(content, "\n");
    if !text.is_empty() {
        blocks.push(json!({ "text": text }));
    }
    for part in content {
        match part {
            Part::Image(image, _) => blocks.push(image_block(image)?),
            Part::File(file) => blocks.push(document_block(file, documents)?),
            _ => {}
        }
    }
    if blocks.is_empty() {
        // A result without content is refused.
        blocks.push(json!({ "text": "(no output)" }));
    }
    Ok(blocks)
}

fn image_block(image: &Image) -> Result<Value, Failure> {
    let Image::Data { media_type, base64 } = image else {
        return Err(not_fetched("images"));
    };
    let format = media_type.strip_prefix("image/").unwrap_or(media_type);
    let format = if format == "jpg" { "jpeg" } else { format };
    Ok(json!({ "image": { "format": format, "source": { "bytes": base64 } } }))
}

/// The formats of documents, by their media types.
const FORMATS: &[(&str, &str)] = &[
    ("application/pdf", "pdf"),
    ("text/plain", "txt"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("application/msword", "doc"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
];

/// Returns whether this API has a format for the file.
pub(super) fn takes_file(file: &File) -> bool {
    format_of(file).is_some()
}

fn format_of(file: &File) -> Option<&'static str> {
    let mut formats = FORMATS.iter();
    let found = formats.find(|(media_type, _)| *media_type == file.media_type);
    found.map(|(_, format)| *format)
}

/// Returns a document. Its name must be unlike the others', and has few characters; models take it
/// for a part of the prompt, so it is a neutral one.
fn document_block(file: &File, documents: &mut usize) -> Result<Value, Failure> {
    let FileSource::Base64(bytes) = &file.source else {
        return Err(not_fetched("documents"));
    };
    *documents += 1;
    Ok(json!({ "document": {
        "format": format_of(file).unwrap_or("txt"), "name": format!("document {documents}"),
        "source": { "bytes": bytes } } }))
}

fn not_fetched(what: &str) -> Failure {
    let message = format!(
        "the provider of this model (bedrock-converse) takes {what} as `data:` URLs, and fetches none"
    );
    Failure::invalid("messages", message)
}
