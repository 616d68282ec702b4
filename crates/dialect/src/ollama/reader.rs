//! Reads an upstream's lines, and its whole answers, which have the shape of the last line.

use serde_json::Value;

use crate::call_arguments::CallArguments;
use crate::error_report::ErrorReport;
use crate::event::{Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::{EventSink, MAX_CALLS, PayloadInfo, emit, finish, too_many_error};

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct OllamaReader {
    calls: u32,
    finish: Option<FinishReason>,
}

/// Parses a whole answer.
pub(super) fn parse_answer(body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    use crate::EventReader as _;
    let mut reader = OllamaReader::default();
    let seen = reader.read_payload(body, sink)?;
    if let Some(failure) = seen.error {
        return Err(failure);
    }
    reader.finish_stream(None)?;
    Ok(seen)
}

impl crate::EventReader for OllamaReader {
    fn read_payload(
        &mut self,
        data: &[u8],
        mut sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        let bad = |source| Failure::bad_payload("a line of Ollama", source);
        let payload: Value = serde_json::from_slice(data).map_err(|error| bad(error.into()))?;
        if !payload.is_object() {
            return Err(bad("it is not a JSON object".into()));
        }
        let mut seen = PayloadInfo::default();
        if let Some(report) = ErrorReport::in_field(&payload) {
            seen.error = Some(report.into());
            return Ok(seen);
        }
        let message = &payload["message"];
        for (text, event) in [
            (&message["thinking"], Event::Reasoning as fn(_) -> _),
            (&message["content"], Event::Text as fn(_) -> _),
        ] {
            if let Some(text) = text.as_str().filter(|text| !text.is_empty()) {
                seen.has_content = true;
                emit(&mut sink, event(text.to_owned().into()));
            }
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            seen.has_content = true;
            self.call(call, &mut sink)?;
        }
        if payload["done"] == true {
            seen.is_end = true;
            self.end(&payload, &mut seen, &mut sink);
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, _sink: EventSink<'_>) -> Result<(), Failure> {
        match self.finish {
            Some(_) => Ok(()),
            None => Err(Failure::upstream_truncated("it has no done_reason")),
        }
    }
}

impl OllamaReader {
    /// Reads a call, which comes whole, its arguments as an object.
    fn call(&mut self, call: &Value, sink: &mut EventSink<'_>) -> Result<(), Failure> {
        let index = self.calls;
        self.calls += 1;
        if self.calls as usize > MAX_CALLS {
            return Err(too_many_error("tool calls"));
        }
        let function = &call["function"];
        let id = match call["id"].as_str() {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("call_{}", base::id::random_hex()),
        };
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() {
            let message = "the upstream sent a tool call without a name";
            return Err(Failure::upstream_error(message));
        }
        let fragment = match &function["arguments"] {
            Value::Null => "{}".to_owned(),
            Value::String(text) => text.clone(),
            object => object.to_string(),
        };
        emit(
            sink,
            Event::ToolCall {
                index,
                id: id.into(),
                name: name.as_str().into(),
            },
        );
        let mut arguments = CallArguments::default();
        arguments.push(Some(index), fragment.into(), sink);
        arguments.end(Some(index), sink);
        arguments.check(&name)
    }

    fn end(&mut self, payload: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let count = |name: &str| payload[name].as_u64();
        // A prompt that is known already is not evaluated, and not counted.
        if let Some(output) = count("eval_count") {
            let usage = Usage {
                input: count("prompt_eval_count").unwrap_or(0),
                output,
                ..Usage::default()
            };
            seen.usage = Some(usage);
            emit(sink, Event::Usage(usage));
        }
        let reason = payload["done_reason"].as_str().unwrap_or_default();
        match finish::CHAT.read(reason, self.calls > 0, "") {
            Ok(Some(reason)) => {
                self.finish = Some(reason);
                emit(sink, Event::Finish(reason));
            }
            Ok(None) => {}
            Err(failure) => seen.error = Some(failure),
        }
    }
}
