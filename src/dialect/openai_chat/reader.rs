//! Reads an upstream's Chat Completions stream.
//!
//! A payload is parsed once, borrowed, and leniently: thirty providers disagree on nearly every field, so a field of an
//! unexpected type says nothing rather than breaking the stream. Only what is no JSON object at all is an error.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{DONE, FinishRule, Seen, Sink};
use crate::event::{Event, FinishReason, Usage};
use crate::failure::Failure;

/// The state of one stream: which answers (`n` of them) began and which have ended.
#[derive(Debug, Default)]
pub struct EventReader {
    rule: FinishRule,
    begun: u128,
    finished: u128,
    done: bool,
    /// The usage came by itself, as it does at the end only; some count along with every token.
    counted: bool,
    /// Tool calls that were announced, by index: a fragment of another is no event.
    calls: Vec<u32>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
}

impl EventReader {
    /// A reader for an upstream that keeps that rule.
    #[must_use]
    pub fn new(rule: FinishRule) -> Self {
        Self { rule, ..Self::default() }
    }

    /// Reads one payload.
    ///
    /// # Errors
    ///
    /// [`Failure::BadPayload`] for what is no JSON object.
    pub fn read(&mut self, data: &[u8], mut sink: Sink<'_>) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        if data.trim_ascii() == DONE {
            self.done = true;
            seen.done = true;
            return Ok(seen);
        }
        let chunk: Chunk<'_> = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            Err(_) if data.contains(&b'\n') => return self.read_lines(data, sink),
            Err(error) => {
                let source = error.into();
                return Err(Failure::BadPayload { expected: "a Chat Completions chunk", source });
            }
        };
        for choice in chunk.choices.into_iter().flatten() {
            self.choice(&choice, &mut seen, &mut sink);
        }
        if let Some(usage) = chunk.usage.and_then(usage) {
            seen.usage = Some(usage);
            self.counted |= !seen.said;
            emit(&mut sink, Event::Usage(usage));
        }
        if let Some(failure) = chunk.error.and_then(|raw| error(raw.get())) {
            seen.error = Some(failure);
            seen.told = true;
        }
        Ok(seen)
    }

    /// Payloads that lack the blank line between them: vLLM ends a refused request with an error and `[DONE]` so. No
    /// client could read them as they are.
    fn read_lines(&mut self, data: &[u8], mut sink: Sink<'_>) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        for line in data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let line = match &mut sink {
                Some(sink) => self.read(line, Some(&mut **sink))?,
                None => self.read(line, None)?,
            };
            seen.said |= line.said;
            seen.done |= line.done;
            seen.usage = line.usage.or(seen.usage);
            seen.error = seen.error.or(line.error);
        }
        Ok(seen)
    }

    /// The stream ended, by `[DONE]` or by its body's end: was every answer finished?
    ///
    /// # Errors
    ///
    /// [`Failure::UpstreamTruncated`] when one was not.
    pub fn end(&self) -> Result<(), Failure> {
        let finished = self.begun != 0 && self.begun == self.finished;
        if finished || (self.done && (self.counted || self.rule == FinishRule::Optional)) {
            return Ok(());
        }
        let missing = if self.done {
            "it says [DONE] but has no finish_reason (if this provider never sends one, set its \
             `finish_reason = \"optional\"`)"
        } else {
            "it has no finish_reason and no [DONE]"
        };
        Err(Failure::UpstreamTruncated { missing })
    }

    fn choice(&mut self, choice: &Choice<'_>, seen: &mut Seen, sink: &mut Sink<'_>) {
        let index = choice.index.and_then(|raw| raw.get().parse::<u32>().ok()).unwrap_or(0);
        let bit = 1_u128.checked_shl(index).unwrap_or(0);
        if let Some(delta) = &choice.delta {
            self.begun |= bit;
            self.delta(delta, seen, sink);
        }
        let reason = choice.finish_reason.and_then(string);
        if let Some(reason) = reason.filter(|r| !r.is_empty()) {
            self.begun |= bit;
            self.finished |= bit;
            match &*reason {
                // OpenRouter's `error` and vLLM's `abort` are no ends but breaks.
                "error" | "abort" => {
                    seen.error = Some(Failure::UpstreamError {
                        message: format!("the upstream gave up (finish_reason `{reason}`)"),
                        kind: None,
                        code: None,
                    });
                }
                _ => emit(sink, Event::Finish(finish(&reason, !self.calls.is_empty()))),
            }
        }
    }

    fn delta(&mut self, delta: &Delta<'_>, seen: &mut Seen, sink: &mut Sink<'_>) {
        // One source of reasoning: some send the same text in both fields.
        let reasoning = delta.reasoning_content.filter(|raw| says(raw)).or(delta.reasoning);
        for (raw, kind) in [
            (reasoning, Event::Reasoning as fn(_) -> _),
            (delta.content, Event::Text as fn(_) -> _),
            (delta.refusal, Event::Refusal as fn(_) -> _),
        ] {
            let Some(raw) = raw.filter(|raw| says(raw)) else {
                continue;
            };
            seen.said = true;
            if sink.is_some() {
                if let Some(text) = string(raw) {
                    emit(sink, kind(text));
                } else {
                    parts(raw, sink);
                }
            }
        }
        if let Some(raw) = delta.tool_calls.filter(|raw| says(raw)) {
            seen.said = true;
            self.tool_calls(raw, sink);
        }
    }

    fn tool_calls(&mut self, raw: &RawValue, sink: &mut Sink<'_>) {
        let Ok(calls) = serde_json::from_str::<Vec<ToolCall<'_>>>(raw.get()) else {
            return;
        };
        for (at, call) in (0_u32..).zip(calls) {
            let index = call.index.unwrap_or(at);
            let function = call.function.unwrap_or(Function { name: None, arguments: None });
            if !self.calls.contains(&index) {
                let Some(name) = function.name.filter(|name| !name.is_empty()) else {
                    continue;
                };
                self.calls.push(index);
                emit(sink, Event::ToolCall { index, id: call.id.unwrap_or_default(), name });
            }
            if let Some(fragment) = function.arguments.filter(|a| !a.is_empty()) {
                emit(sink, Event::ToolArguments { index, fragment });
            }
        }
    }
}

fn emit(sink: &mut Sink<'_>, event: Event<'_>) {
    if let Some(sink) = sink {
        sink(event);
    }
}

/// Whether a field holds anything, found without reading it.
fn says(raw: &RawValue) -> bool {
    !matches!(raw.get(), "null" | "\"\"" | "[]")
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    raw.get().starts_with('"').then(|| serde_json::from_str::<Text<'_>>(raw.get()).ok()).flatten().map(|t| t.0)
}

/// Mistral's content: a list of text and thinking parts.
fn parts(raw: &RawValue, sink: &mut Sink<'_>) {
    let Ok(parts) = serde_json::from_str::<Vec<serde_json::Value>>(raw.get()) else {
        return;
    };
    for part in &parts {
        if let Some(text) = part["text"].as_str() {
            emit(sink, Event::Text(text.into()));
        }
        for thought in part["thinking"].as_array().into_iter().flatten() {
            if let Some(text) = thought["text"].as_str() {
                emit(sink, Event::Reasoning(text.into()));
            }
        }
    }
}

fn finish(reason: &str, called: bool) -> FinishReason {
    match reason {
        "length" | "max_tokens" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        // `stop` after a tool call: OpenAI says so when `tool_choice` named the tool.
        _ if called => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}

/// Reads usage, from a chunk or a whole answer.
pub(super) fn usage(raw: &RawValue) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Counts {
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
        prompt_tokens_details: Option<Details>,
        completion_tokens_details: Option<Details>,
    }
    #[derive(Deserialize)]
    struct Details {
        cached_tokens: Option<u64>,
        reasoning_tokens: Option<u64>,
    }
    if raw.get() == "null" {
        return None;
    }
    let counts: Counts = serde_json::from_str(raw.get()).ok()?;
    Some(Usage {
        input: counts.prompt_tokens?,
        output: counts.completion_tokens.unwrap_or(0),
        cached: counts.prompt_tokens_details.and_then(|d| d.cached_tokens),
        reasoning: counts.completion_tokens_details.and_then(|d| d.reasoning_tokens),
    })
}

/// Reads an error, which providers spell as an object, a string, or worse. `null`, `{}`, `""` and `false` are none.
pub(super) fn error(json: &str) -> Option<Failure> {
    use serde_json::Value;
    let value: Value = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()));
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let none = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if none {
        return None;
    }
    let inner = if value["error"].is_object() { &value["error"] } else { &value };
    Some(Failure::UpstreamError {
        message: text(&inner["message"])
            .or_else(|| text(inner))
            .unwrap_or_else(|| "the upstream reported an error".to_owned()),
        kind: text(&inner["type"]),
        code: text(&inner["code"]),
    })
}
