//! Reads an upstream's stream and its complete answers, which have the same shape.

use serde_json::{Value, json};

use super::piece::piece;
use super::usage::parse_usage;
use super::{arguments, decode_signature};
use crate::event::{Citation, Event, FinishReason};
use crate::failure::Failure;
use crate::{EventSink, MAX_HELD_BYTES, PayloadInfo, emit, error_report};

/// Maximum number of remembered sources; further ones may be emitted twice.
const MAX_CITATIONS: usize = 1000;

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct GeminiEventReader {
    calls: u32,
    /// A call whose arguments arrive leaf by leaf.
    partial: Option<Value>,
    /// Approximate size of those arguments, in bytes.
    held: usize,
    /// Sources emitted already: each payload repeats all so far.
    cited: Vec<Citation>,
    finished: bool,
}

/// Parses a complete answer.
pub(super) fn parse_answer(body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    use crate::EventReader as _;
    let mut reader = GeminiEventReader::default();
    let mut sink = sink;
    if sink.is_none() {
        // Clients of the same dialect read the finish reason themselves; only errors matter here.
        let payload: Value = serde_json::from_slice(body)
            .map_err(|e| Failure::bad_payload("a Gemini response", e.into()))?;
        return match error(&payload["error"]) {
            Some(failure) => Err(failure),
            None => Ok(PayloadInfo {
                is_end: true,
                usage: parse_usage(&payload["usageMetadata"]),
                ..PayloadInfo::default()
            }),
        };
    }
    let seen = match &mut sink {
        Some(sink) => reader.read_payload(body, Some(&mut **sink))?,
        None => reader.read_payload(body, None)?,
    };
    if let Some(failure) = seen.error {
        return Err(failure);
    }
    if sink.is_some() {
        reader.finish_stream(sink)?;
    }
    Ok(PayloadInfo {
        is_end: true,
        ..seen
    })
}

impl crate::EventReader for GeminiEventReader {
    fn read_payload(
        &mut self,
        data: &[u8],
        mut sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        let mut seen = PayloadInfo::default();
        if let Some(piece) = piece(data) {
            if !piece.text.is_empty() {
                seen.has_content = true;
                emit(
                    &mut sink,
                    if piece.is_thought {
                        Event::Reasoning(piece.text)
                    } else {
                        Event::Text(piece.text)
                    },
                );
            }
            if let Some(usage) = piece.usage {
                seen.usage = Some(usage);
                emit(&mut sink, Event::Usage(usage));
            }
            return Ok(seen);
        }
        let payload: Value = serde_json::from_slice(data)
            .map_err(|e| Failure::bad_payload("a Gemini response", e.into()))?;
        if !payload.is_object() {
            let source = "it is not a JSON object".into();
            return Err(Failure::bad_payload("a Gemini response", source));
        }
        if !payload["error"].is_null() {
            seen.error = error(&payload["error"]);
            seen.error_is_native = true;
            return Ok(seen);
        }
        let candidate = &payload["candidates"][0];
        for part in candidate["content"]["parts"]
            .as_array()
            .into_iter()
            .flatten()
        {
            self.part(part, &mut seen, &mut sink);
        }
        self.cite(candidate, &mut sink);
        if let Some(usage) = parse_usage(&payload["usageMetadata"]) {
            seen.usage = Some(usage);
            emit(&mut sink, Event::Usage(usage));
        }
        if payload["promptFeedback"]["blockReason"].is_string() {
            self.finished = true;
            emit(&mut sink, Event::Finish(FinishReason::ContentFilter));
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            self.finish(reason, &candidate["finishMessage"], &mut seen, &mut sink);
        }
        Ok(seen)
    }

    fn read_error(&self, data: &[u8]) -> Option<Failure> {
        // An error in the middle of a stream may be bare JSON, or a list of one.
        let value: Value = serde_json::from_slice(data).ok()?;
        let value = if value.is_array() { &value[0] } else { &value };
        error(&value["error"])
    }

    fn finish_stream(&mut self, mut sink: EventSink<'_>) -> Result<(), Failure> {
        if !self.finished {
            return Err(Failure::upstream_truncated("it has no finishReason"));
        }
        self.flush(&mut sink);
        Ok(())
    }
}

impl GeminiEventReader {
    fn part(&mut self, part: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let text = part["text"].as_str().filter(|text| !text.is_empty());
        let state = part["thoughtSignature"]
            .as_str()
            .filter(|signature| !signature.is_empty());
        let state = state.map(|signature| Event::State(decode_signature(signature)));
        if part["thought"] == true {
            if let Some(text) = text {
                seen.has_content = true;
                emit(sink, Event::Reasoning(text.into()));
            }
            if let Some(state) = state {
                emit(sink, state);
            }
            return;
        }
        // The signature belongs to the part that carries it.
        if let Some(state) = state {
            emit(sink, state);
        }
        if let Some(text) = text {
            seen.has_content = true;
            emit(sink, Event::Text(text.into()));
        }
        let call = &part["functionCall"];
        if call.is_object() {
            seen.has_content = true;
            self.call(call, seen, sink);
        }
    }

    fn call(&mut self, call: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        if let Some(name) = call["name"].as_str() {
            self.flush(sink);
            let id = call["id"]
                .as_str()
                .filter(|id| !id.is_empty())
                .map(str::to_owned);
            let id = id.unwrap_or_else(|| format!("call_{}", base::id::random_hex()));
            let index = self.calls;
            self.calls += 1;
            emit(
                sink,
                Event::ToolCall {
                    index,
                    id: id.into(),
                    name: name.into(),
                },
            );
            let arguments = if call["args"].is_object() {
                call["args"].clone()
            } else {
                json!({})
            };
            self.partial = Some(arguments);
        }
        let Some(arguments) = &mut self.partial else {
            return;
        };
        for leaf in call["partialArgs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|_| sink.is_some())
        {
            self.held += leaf["stringValue"].as_str().map_or(0, str::len)
                + leaf["jsonPath"].as_str().map_or(0, str::len);
            self.held += size_of::<Value>();
            if self.held > MAX_HELD_BYTES {
                seen.error = Some(Failure::response_too_large(MAX_HELD_BYTES));
                return;
            }
            arguments::put(arguments, leaf);
        }
        if call["willContinue"] != true {
            self.flush(sink);
        }
    }

    /// Emits the arguments of the call that is being assembled, if there is one.
    fn flush(&mut self, sink: &mut EventSink<'_>) {
        if let Some(arguments) = self.partial.take() {
            let index = self.calls.saturating_sub(1);
            emit(
                sink,
                Event::ToolArguments {
                    index,
                    fragment: arguments.to_string().into(),
                },
            );
            emit(sink, Event::ToolEnd { index });
        }
    }

    fn cite(&mut self, candidate: &Value, sink: &mut EventSink<'_>) {
        let chunks = candidate["groundingMetadata"]["groundingChunks"].as_array();
        let chunks = chunks
            .into_iter()
            .flatten()
            .map(|chunk| (&chunk["web"], None));
        let sources = candidate["citationMetadata"]["citationSources"].as_array();
        let sources = sources.into_iter().flatten().map(|source| {
            (
                source,
                source["endIndex"]
                    .as_u64()
                    .map(|end| (source["startIndex"].as_u64().unwrap_or(0), end)),
            )
        });
        for (source, span) in chunks.chain(sources) {
            let Some(url) = source["uri"].as_str() else {
                continue;
            };
            let title = source["title"].as_str().unwrap_or_default().to_owned();
            let citation = Citation {
                url: url.to_owned(),
                title,
                quote: String::new(),
                span,
            };
            if sink.is_some() && !self.cited.contains(&citation) {
                if self.cited.len() < MAX_CITATIONS {
                    self.cited.push(citation.clone());
                }
                emit(sink, Event::Citation(citation));
            }
        }
    }

    fn finish(
        &mut self,
        reason: &str,
        message: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let reason = match reason {
            "FINISH_REASON_UNSPECIFIED" | "" => return,
            "STOP" if self.calls > 0 => FinishReason::ToolCalls,
            "STOP" => FinishReason::Stop,
            "MAX_TOKENS" => FinishReason::Length,
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
            | "MODEL_ARMOR" => FinishReason::ContentFilter,
            image if image.starts_with("IMAGE_") => FinishReason::ContentFilter,
            // An error of the model, or an unknown reason: not a regular end.
            other => {
                let why = message
                    .as_str()
                    .map_or(String::new(), |why| format!(": {why}"));
                seen.error = Some(Failure::upstream_report(error_report::ErrorReport {
                    message: format!("the upstream gave up (finishReason `{other}`){why}"),
                    kind: None,
                    code: Some(other.to_owned()),
                }));
                seen.error_is_native = true;
                return;
            }
        };
        self.flush(sink);
        self.finished = true;
        emit(sink, Event::Finish(reason));
    }
}

fn error(value: &Value) -> Option<Failure> {
    let report = error_report::ErrorReport::parse(&value.to_string())?;
    Some(
        error_report::ErrorReport {
            kind: value["status"].as_str().map(str::to_owned),
            ..report
        }
        .into(),
    )
}
