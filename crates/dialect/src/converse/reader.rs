//! Reads an upstream's events, and its whole answers.

use serde_json::Value;

use crate::block_calls::BlockCalls;
use crate::counts;
use crate::error_report::ErrorReport;
use crate::event::{Citation, Event, FinishReason, ReasoningState, StateOrigin, Usage};
use crate::failure::Failure;
use crate::json::excerpt;
use crate::{EventSink, PayloadInfo, emit, finish};

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct ConverseReader {
    /// The blocks that are tool calls, in order.
    blocks: Vec<u64>,
    calls: BlockCalls,
    finish: Option<FinishReason>,
}

/// Parses a whole answer.
pub(super) fn parse_answer(body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    use crate::EventReader as _;
    let mut reader = ConverseReader::default();
    let seen = reader.read_payload(body, sink)?;
    if let Some(failure) = seen.error {
        return Err(failure);
    }
    reader.finish_stream(None)?;
    Ok(seen)
}

impl crate::EventReader for ConverseReader {
    fn read_payload(
        &mut self,
        data: &[u8],
        mut sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        let bad = |source| Failure::bad_payload("an event of Converse", source);
        let payload: Value = serde_json::from_slice(data).map_err(|error| bad(error.into()))?;
        let mut seen = PayloadInfo::default();
        if let Some(report) = ErrorReport::in_field(&payload) {
            seen.error = Some(report.into());
            return Ok(seen);
        }
        let Some(fields) = payload.as_object() else {
            return Err(bad("it is not a JSON object".into()));
        };
        if payload["output"].is_object() {
            self.read_whole(&payload, &mut seen, &mut sink)?;
            return Ok(seen);
        }
        for (kind, event) in fields {
            match kind.as_str() {
                "contentBlockStart" => self.start(event, &mut seen, &mut sink)?,
                "contentBlockDelta" => self.delta(event, &mut seen, &mut sink)?,
                "contentBlockStop" => self.stop(event, &mut sink),
                "messageStop" => self.end(&event["stopReason"], &mut seen, &mut sink)?,
                "metadata" => {
                    seen.is_end = true;
                    report_usage(&event["usage"], &mut seen, &mut sink);
                }
                _ => {}
            }
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, _sink: EventSink<'_>) -> Result<(), Failure> {
        match self.finish {
            Some(_) => Ok(()),
            None => Err(Failure::upstream_truncated("it has no messageStop")),
        }
    }
}

impl ConverseReader {
    fn start(
        &mut self,
        event: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        self.stop(event, sink);
        for (kind, start) in fields_of(&event["start"]) {
            match kind {
                "toolUse" => self.begin_call(block_of(event), start, seen, sink)?,
                kind => omit("block", kind, sink),
            }
        }
        Ok(())
    }

    fn begin_call(
        &mut self,
        block: u64,
        call: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        seen.has_content = true;
        let text = |name: &str| call[name].as_str().unwrap_or_default();
        let named = (text("toolUseId"), text("name"));
        self.calls.start(named, &call["input"], sink)?;
        self.blocks.push(block);
        Ok(())
    }

    fn delta(
        &mut self,
        event: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        for (kind, delta) in fields_of(&event["delta"]) {
            if kind != "toolUse" {
                read_content(kind, delta, seen, sink);
                continue;
            }
            let fragment = match &delta["input"] {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                // Some send the object itself instead of its text.
                input => input.to_string(),
            };
            seen.has_content = true;
            let Some(index) = self.call_of(event) else {
                let message = "the upstream sent arguments of a tool call that did not begin";
                return Err(Failure::upstream_error(message));
            };
            self.calls.read_fragment(index, fragment.into(), sink)?;
        }
        Ok(())
    }

    /// Returns the index of the call that is an event's block.
    fn call_of(&self, event: &Value) -> Option<u32> {
        let block = block_of(event);
        let index = self.blocks.iter().rposition(|known| *known == block)?;
        u32::try_from(index).ok()
    }

    fn stop(&mut self, event: &Value, sink: &mut EventSink<'_>) {
        if let Some(index) = self.call_of(event) {
            self.calls.end(index, sink);
        }
    }

    fn end(
        &mut self,
        reason: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let reason = reason.as_str().unwrap_or_default();
        let reason = match finish::CONVERSE.read(reason, self.calls.len() > 0, "") {
            Ok(Some(reason)) => reason,
            Ok(None) => return Ok(()),
            Err(failure) => {
                seen.error = Some(failure);
                return Ok(());
            }
        };
        let is_cut = matches!(reason, FinishReason::Length | FinishReason::ContentFilter);
        self.calls.close(is_cut, sink)?;
        self.finish = Some(reason);
        emit(sink, Event::Finish(reason));
        Ok(())
    }

    /// Reads a whole answer.
    fn read_whole(
        &mut self,
        answer: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let blocks = answer["output"]["message"]["content"].as_array();
        for (block, content) in (0_u64..).zip(blocks.into_iter().flatten()) {
            for (kind, content) in fields_of(content) {
                match kind {
                    "toolUse" => self.begin_call(block, content, seen, sink)?,
                    kind => read_content(kind, content, seen, sink),
                }
            }
        }
        seen.is_end = true;
        report_usage(&answer["usage"], seen, sink);
        self.end(&answer["stopReason"], seen, sink)
    }
}

fn block_of(event: &Value) -> u64 {
    event["contentBlockIndex"].as_u64().unwrap_or(0)
}

/// Returns the fields of an object that have a value: only one, as the API has it.
fn fields_of(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(_, value)| !value.is_null())
}

/// Emits the kind of content that has no event.
fn omit(what: &str, kind: &str, sink: &mut EventSink<'_>) {
    let kind = format!("{what} `{}`", excerpt(kind));
    emit(sink, Event::Unsupported(kind.into()));
}

/// Reads a whole block, or a piece of one, that is no tool call.
fn read_content(kind: &str, content: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
    match kind {
        "text" => read_text(content, seen, sink),
        "reasoningContent" => read_reasoning(content, seen, sink),
        "citation" => read_citation(content, sink),
        "citationsContent" => {
            for part in content["content"].as_array().into_iter().flatten() {
                for (kind, part) in fields_of(part) {
                    match kind {
                        "text" => read_text(part, seen, sink),
                        kind => omit("content", kind, sink),
                    }
                }
            }
            let cited = content["citations"].as_array().into_iter().flatten();
            cited.for_each(|citation| read_citation(citation, sink));
        }
        kind => omit("block", kind, sink),
    }
}

fn read_text(text: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
    if let Some(text) = text.as_str().filter(|text| !text.is_empty()) {
        seen.has_content = true;
        emit(sink, Event::Text(text.into()));
    }
}

/// Reads a source of the text. Only one on the web has an event.
fn read_citation(citation: &Value, sink: &mut EventSink<'_>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let quoted = citation["sourceContent"].as_array().into_iter().flatten();
    let source = citation["source"].as_str();
    let source = source.filter(|source| source.starts_with("https://"));
    match citation["location"]["web"]["url"].as_str().or(source) {
        Some(url) => emit(
            sink,
            Event::Citation(Citation {
                url: url.to_owned(),
                title: text(&citation["title"]),
                quote: quoted.map(|part| text(&part["text"])).collect(),
                span: None,
            }),
        ),
        None => emit(sink, Event::Unsupported("citation of a document".into())),
    }
}

/// Reads reasoning, whole or a piece of it, or what must be sent back for it.
fn read_reasoning(told: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
    for told in [&told["reasoningText"], told] {
        let text = |name: &str| told[name].as_str().filter(|text| !text.is_empty());
        if let Some(text) = text("text") {
            seen.has_content = true;
            emit(sink, Event::Reasoning(text.into()));
        }
        if let Some(signature) = text("signature") {
            let state = ReasoningState::decode(signature, StateOrigin::Anthropic);
            emit(sink, Event::State(state));
        }
        if let Some(data) = text("redactedContent") {
            let state = ReasoningState {
                origin: StateOrigin::AnthropicRedacted,
                value: data.into(),
            };
            emit(sink, Event::State(state));
        }
    }
    const KNOWN: [&str; 4] = ["reasoningText", "text", "signature", "redactedContent"];
    for (kind, _) in fields_of(told).filter(|(kind, _)| !KNOWN.contains(kind)) {
        omit("reasoning", kind, sink);
    }
}

fn report_usage(usage: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
    let count = |name: &str| counts::count(&usage[name]);
    let Some(output) = count("outputTokens") else {
        return;
    };
    // The cached tokens are not among the input's.
    let (read, written) = (
        count("cacheReadInputTokens"),
        count("cacheWriteInputTokens"),
    );
    let beside = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
    let usage = Usage {
        input: count("inputTokens").unwrap_or(0).saturating_add(beside),
        output,
        cached: read,
        cache_written: written,
        ..Usage::default()
    };
    seen.usage = Some(usage);
    emit(sink, Event::Usage(usage));
}
