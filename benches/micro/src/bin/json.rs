//! Reading one payload's text and usage: the dialect readers beside serde_json, sonic-rs and jiter.
//!
//! Each alternative reads the fields that the dialect's own reader looks at, and no more, into slices of
//! the payload. None of them emits an event or refuses a repeated field, as the readers do. A binary of its own: the allocation
//! profiler of the other measurements costs more than some of these parsers.

use std::borrow::Cow;

use dialect::event::Event;
use divan::{Bencher, black_box};
use jiter::{Jiter, Peek};
use serde::Deserialize;
use serde_json::value::RawValue;
use sonic_rs::JsonValueTrait;

#[path = "../payloads.rs"]
mod payloads;

use crate::payloads::{NAMES, reader, token};

fn main() {
    divan::main();
}

/// The text and the prompt's tokens, where the payload has them.
type TextAndCount = (usize, u64);

#[divan::bench(args = NAMES)]
fn json_dialect_reader(bencher: Bencher<'_, '_>, name: &str) {
    let (data, mut reader) = (token(name), reader(name));
    bencher.bench_local(|| {
        let mut length = 0;
        let mut sink = |event: Event<'_>| {
            if let Event::Text(text) = event {
                length += text.len();
            }
        };
        reader
            .read_payload(black_box(data.as_bytes()), Some(&mut sink))
            .expect("a payload");
        length
    });
}

/// Like the first, but no payload is like the one before: the template of a Chat reader never fits.
#[divan::bench(args = NAMES)]
fn json_dialect_reader_alternating(bencher: Bencher<'_, '_>, name: &str) {
    let mut reader = reader(name);
    let data = token(name);
    let other = format!(" {data}");
    let mut turn = false;
    bencher.bench_local(|| {
        turn = !turn;
        let data = if turn { &data } else { &other };
        let mut length = 0;
        let mut sink = |event: Event<'_>| {
            if let Event::Text(text) = event {
                length += text.len();
            }
        };
        reader
            .read_payload(black_box(data.as_bytes()), Some(&mut sink))
            .expect("a payload");
        length
    });
}

fn measure(bencher: Bencher<'_, '_>, name: &str, read: fn(&[u8]) -> Option<TextAndCount>) {
    let data = token(name);
    assert_eq!(read(data.as_bytes()).expect("a payload").0, " stream".len());
    bencher.bench_local(|| read(black_box(data.as_bytes())));
}

#[divan::bench(args = NAMES)]
fn json_serde(bencher: Bencher<'_, '_>, name: &str) {
    measure(
        bencher,
        name,
        match name {
            "openai-chat" => serde_chat,
            "openai-responses" => serde_responses,
            "anthropic" => serde_anthropic,
            _ => serde_gemini,
        },
    );
}

#[divan::bench(args = NAMES)]
fn json_sonic(bencher: Bencher<'_, '_>, name: &str) {
    measure(
        bencher,
        name,
        match name {
            "openai-chat" => |data| sonic(data, &["choices", "0", "delta", "content"]),
            "gemini" => |data| sonic(data, &["candidates", "0", "content", "parts", "0", "text"]),
            "anthropic" => |data| sonic(data, &["delta", "text"]),
            _ => |data| sonic(data, &["delta"]),
        },
    );
}

#[divan::bench(args = NAMES)]
fn json_jiter(bencher: Bencher<'_, '_>, name: &str) {
    measure(
        bencher,
        name,
        match name {
            "openai-chat" => |data| jiter(data, &["choices", "0", "delta", "content"]),
            "gemini" => |data| jiter(data, &["candidates", "0", "content", "parts", "0", "text"]),
            "anthropic" => |data| jiter(data, &["delta", "text"]),
            _ => |data| jiter(data, &["delta"]),
        },
    );
}

/// A string that borrows where it has no escapes; a bare `Option<Cow<str>>` always allocates.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: u32,
    #[serde(borrow)]
    delta: ChatDelta<'a>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChatDelta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

fn serde_chat(data: &[u8]) -> Option<TextAndCount> {
    let chunk: Chat<'_> = serde_json::from_slice(data).ok()?;
    let choice = chunk.choices.first()?;
    black_box((choice.index, choice.finish_reason, chunk.usage, chunk.error));
    black_box((choice.delta.reasoning_content, choice.delta.tool_calls));
    let text: Text<'_> = serde_json::from_str(choice.delta.content?.get()).ok()?;
    Some((text.0.len(), 0))
}

#[derive(Deserialize)]
struct Responses<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    sequence_number: u64,
    output_index: u64,
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

fn serde_responses(data: &[u8]) -> Option<TextAndCount> {
    let event: Responses<'_> = serde_json::from_slice(data).ok()?;
    black_box((
        event.kind.0.len(),
        event.sequence_number,
        event.output_index,
    ));
    black_box((event.item_id, event.item, event.response));
    let text: Text<'_> = serde_json::from_str(event.delta?.get()).ok()?;
    Some((text.0.len(), 0))
}

#[derive(Deserialize)]
struct Anthropic<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    index: u64,
    #[serde(borrow)]
    delta: Option<AnthropicDelta<'a>>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AnthropicDelta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
}

fn serde_anthropic(data: &[u8]) -> Option<TextAndCount> {
    let event: Anthropic<'_> = serde_json::from_slice(data).ok()?;
    black_box((event.kind.0.len(), event.index, event.content_block));
    black_box((event.message, event.usage));
    let delta = event.delta?;
    black_box((delta.thinking.is_some(), delta.partial_json.is_some()));
    Some((delta.text?.0.len(), 0))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gemini<'a> {
    #[serde(borrow)]
    candidates: Vec<Candidate<'a>>,
    usage_metadata: Option<GeminiUsage>,
    #[serde(borrow)]
    prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    grounding_metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    thought: Option<bool>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    thought_signature: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeminiUsage {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
}

fn serde_gemini(data: &[u8]) -> Option<TextAndCount> {
    let payload: Gemini<'_> = serde_json::from_slice(data).ok()?;
    let candidate = payload.candidates.first()?;
    black_box((candidate.finish_reason, candidate.grounding_metadata));
    black_box((payload.prompt_feedback, payload.error));
    let part = candidate.content.as_ref()?.parts.first()?;
    black_box((part.thought, part.function_call, part.thought_signature));
    let usage = payload.usage_metadata?;
    black_box((
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.cached_content_token_count,
    ));
    Some((part.text.as_ref()?.0.len(), usage.prompt_token_count?))
}

/// Walks the fields lazily, as the cursor does; `path` leads to the text.
fn sonic(data: &[u8], path: &[&str]) -> Option<TextAndCount> {
    let (mut text, mut count) = (0, 0);
    for field in sonic_rs::to_object_iter(data) {
        let (name, value) = field.ok()?;
        if name == path[0] {
            text = match &path[1..] {
                [] => value.as_str()?.len(),
                rest => sonic_at(value.as_raw_str(), rest)?,
            };
        } else if name == "usageMetadata" {
            for field in sonic_rs::to_object_iter(value.as_raw_str()) {
                let (name, value) = field.ok()?;
                if name == "promptTokenCount" {
                    count = value.as_u64()?;
                }
            }
        }
    }
    Some((text, count))
}

fn sonic_at(json: &str, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let mut found = None;
    if *first == "0" {
        for value in sonic_rs::to_array_iter(json) {
            let value = value.ok()?;
            found = found.or(sonic_at(value.as_raw_str(), rest));
        }
        return found;
    }
    for field in sonic_rs::to_object_iter(json) {
        let (name, value) = field.ok()?;
        if name == *first {
            found = match rest {
                [] => Some(value.as_str()?.len()),
                rest => sonic_at(value.as_raw_str(), rest),
            };
        }
    }
    found
}

/// Walks the fields with jiter's iterator; what is not wanted is skipped, and so checked.
fn jiter(data: &[u8], path: &[&str]) -> Option<TextAndCount> {
    let mut jiter = Jiter::new(data);
    let (mut text, mut count) = (0, 0);
    let mut next = jiter.next_object().ok()?.map(str::to_owned);
    while let Some(name) = next {
        if name == path[0] {
            text = jiter_at(&mut jiter, &path[1..])?;
        } else if name == "usageMetadata" {
            let mut next = jiter
                .next_object()
                .ok()?
                .map(|name| name == "promptTokenCount");
            while let Some(is_count) = next {
                if is_count {
                    let peek = jiter.peek().ok()?;
                    count = match jiter.known_int(peek).ok()? {
                        jiter::NumberInt::Int(n) => u64::try_from(n).ok()?,
                        jiter::NumberInt::BigInt(_) => return None,
                    };
                } else {
                    jiter.next_skip().ok()?;
                }
                next = jiter
                    .next_key()
                    .ok()?
                    .map(|name| name == "promptTokenCount");
            }
        } else {
            jiter.next_skip().ok()?;
        }
        next = jiter.next_key().ok()?.map(str::to_owned);
    }
    jiter.finish().ok()?;
    Some((text, count))
}

fn jiter_at(jiter: &mut Jiter<'_>, path: &[&str]) -> Option<usize> {
    let Some((first, rest)) = path.split_first() else {
        return Some(jiter.next_str().ok()?.len());
    };
    let mut found = 0;
    if *first == "0" {
        let mut next: Option<Peek> = jiter.next_array().ok()?;
        while next.is_some() {
            found = jiter_at(jiter, rest)?;
            next = jiter.array_step().ok()?;
        }
        return Some(found);
    }
    let mut next = jiter.next_object().ok()?.map(|name| name == *first);
    while let Some(is_wanted) = next {
        if is_wanted {
            found = jiter_at(jiter, rest)?;
        } else {
            jiter.next_skip().ok()?;
        }
        next = jiter.next_key().ok()?.map(|name| name == *first);
    }
    Some(found)
}
