//! Reads an upstream's stream and its complete answers, which have the same shape.

use serde_json::Value;

use super::calls::PartialCalls;
use super::decode_signature;
use super::logprobs;
use super::piece::piece;
use super::request::camel_case;
use super::usage::parse_usage;
use crate::error_report::ErrorReport;
use crate::event::{Citation, Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::finish;
use crate::json::excerpt;
use crate::request::Image;
use crate::{EventSink, PayloadInfo, emit};

/// Maximum number of remembered sources; further ones may be emitted twice.
const MAX_CITATIONS: usize = 1000;

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct GeminiEventReader {
    calls: PartialCalls,
    usage: Usage,
    /// Sources emitted already: each payload repeats all so far.
    cited: Vec<Citation>,
    finish: Option<FinishReason>,
}

/// Parses a complete answer.
pub(super) fn parse_answer(body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    use crate::EventReader as _;
    let mut reader = GeminiEventReader::default();
    let mut sink = sink;
    let seen = match &mut sink {
        Some(sink) => reader.read_payload(body, Some(&mut **sink))?,
        None => reader.read_payload(body, None)?,
    };
    if let Some(failure) = seen.error {
        return Err(failure);
    }
    reader.finish_stream(sink)?;
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
            // First, so that who begins a response with it knows it.
            self.count(piece.usage, &mut seen, &mut sink);
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
            return Ok(seen);
        }
        let mut payload: Value = serde_json::from_slice(data)
            .map_err(|e| Failure::bad_payload("a Gemini response", e.into()))?;
        // As it came: the fields of errors are those of any host.
        if !payload["candidates"].is_array()
            && let Some(failure) = payload_error(&payload)
        {
            // The SDKs know an object under `error`.
            seen.error_is_native = payload["error"]["message"].is_string();
            seen.error = Some(failure);
            return Ok(seen);
        }
        if !payload.is_object() {
            let source = "it is not a JSON object".into();
            return Err(Failure::bad_payload("a Gemini response", source));
        }
        respell(&mut payload, 0);
        let usage = parse_usage(&payload["usageMetadata"]);
        self.count(usage, &mut seen, &mut sink);
        let candidate = &payload["candidates"][0];
        if let Some(tokens) = logprobs::read(&candidate["logprobsResult"]) {
            emit(&mut sink, Event::Logprobs(tokens.into()));
        }
        let parts = match &candidate["content"]["parts"] {
            Value::Array(parts) => parts.as_slice(),
            Value::Null => &[],
            part => std::slice::from_ref(part),
        };
        for part in parts {
            // What is only passed on is not judged.
            if let (Err(failure), true) = (self.part(part, &mut seen, &mut sink), sink.is_some()) {
                seen.error.get_or_insert(failure);
            }
        }
        self.cite(candidate, &mut sink);
        let blocked = payload["promptFeedback"]["blockReason"].as_str();
        if blocked.is_some_and(|reason| !reason.is_empty() && !reason.ends_with("UNSPECIFIED")) {
            self.finish = Some(FinishReason::ContentFilter);
            emit(&mut sink, Event::Finish(FinishReason::ContentFilter));
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            let why = candidate["finishMessage"].as_str().unwrap_or_default();
            match finish::GEMINI.read(reason, !self.calls.is_empty(), why) {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    self.finish = Some(reason);
                    emit(&mut sink, Event::Finish(reason));
                }
                Err(failure) => seen.error = Some(failure),
            }
        }
        if !payload["error"].is_null() {
            seen.error = payload_error(&payload).or(seen.error);
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, mut sink: EventSink<'_>) -> Result<(), Failure> {
        let Some(finish) = self.finish else {
            return Err(Failure::upstream_truncated("it has no finishReason"));
        };
        // A call may follow the finish reason.
        let cut = matches!(finish, FinishReason::Length | FinishReason::ContentFilter);
        self.calls.close(cut, &mut sink);
        if finish == FinishReason::Stop && !self.calls.is_empty() {
            emit(&mut sink, Event::Finish(FinishReason::ToolCalls));
        }
        Ok(())
    }
}

impl GeminiEventReader {
    fn count(&mut self, usage: Option<Usage>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        if let Some(usage) = usage {
            self.usage = self.usage.updated(usage);
            seen.usage = Some(self.usage);
            emit(sink, Event::Usage(self.usage));
        }
    }

    fn part(
        &mut self,
        part: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let text = part["text"].as_str().filter(|text| !text.is_empty());
        let state = part["thoughtSignature"]
            .as_str()
            .filter(|signature| !signature.is_empty());
        let state = state.map(|signature| Event::State(decode_signature(signature).0));
        if part["thought"] == true {
            if let Some(text) = text {
                seen.has_content = true;
                emit(sink, Event::Reasoning(text.into()));
            }
            if let Some(state) = state {
                emit(sink, state);
            }
            // An image among the thoughts is a draft.
            omit_other(part, sink);
            return Ok(());
        }
        // The signature belongs to the part that carries it.
        if let Some(state) = state {
            emit(sink, state);
        }
        if let Some(text) = text {
            seen.has_content = true;
            emit(sink, Event::Text(text.into()));
        }
        if let Some(image) = image(part) {
            seen.has_content = true;
            emit(sink, Event::Image(image));
        } else {
            omit_other(part, sink);
        }
        let call = &part["functionCall"];
        if call.is_object() {
            seen.has_content = true;
            self.calls.read_call(call, sink)?;
        }
        Ok(())
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
}

/// Fields whose values are a model's or a client's own, not Google's.
const FOREIGN: [&str; 4] = ["args", "response", "partialArgs", "error"];
/// The deepest object whose fields are Google's.
const MAX_RESPELLED: usize = 8;

/// Respells field names in camel case, as this API has them: gateways and Google's own libraries
/// write them with underscores, too.
fn respell(value: &mut Value, depth: usize) {
    match value {
        Value::Array(items) if depth < MAX_RESPELLED => {
            items.iter_mut().for_each(|item| respell(item, depth + 1));
        }
        Value::Object(fields) if depth < MAX_RESPELLED => {
            let names = fields.keys().filter(|name| name.contains('_')).cloned();
            for name in names.collect::<Vec<_>>() {
                let camel = camel_case(name.as_bytes()).into_owned();
                if !fields.contains_key(&camel)
                    && let Some(value) = fields.remove(&name)
                {
                    fields.insert(camel, value);
                }
            }
            for (name, value) in fields.iter_mut() {
                if !FOREIGN.contains(&name.as_str()) {
                    respell(value, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// Returns the image of a part.
fn image(part: &Value) -> Option<Image> {
    let media_type = |media: &Value| {
        let media_type = media["mimeType"].as_str()?;
        media_type
            .starts_with("image/")
            .then(|| media_type.to_owned())
    };
    let (data, file) = (&part["inlineData"], &part["fileData"]);
    if let Some(media_type) = media_type(data) {
        return Some(Image::Data {
            media_type,
            base64: data["data"].as_str()?.to_owned(),
        });
    }
    media_type(file)?;
    file["fileUri"]
        .as_str()
        .map(|uri| Image::Url(uri.to_owned()))
}

/// Emits the kind of content that has no event: sound, video, code that ran.
fn omit_other(part: &Value, sink: &mut EventSink<'_>) {
    const KNOWN: [&str; 5] = [
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "partMetadata",
    ];
    let fields = part.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
        let kind = match value["mimeType"].as_str() {
            Some(media_type) => format!("part `{}` ({})", excerpt(name), excerpt(media_type)),
            None => format!("part `{}`", excerpt(name)),
        };
        emit(sink, Event::Unsupported(kind.into()));
    }
}

/// Returns the error of a payload. A list of one is how Google sends it outside of a stream.
fn payload_error(payload: &Value) -> Option<Failure> {
    ErrorReport::in_payload(payload).map(|report| {
        let payload = if payload.is_array() {
            &payload[0]
        } else {
            payload
        };
        let status = payload["error"]["status"].as_str().map(str::to_owned);
        ErrorReport {
            kind: status.or(report.kind),
            ..report
        }
        .into()
    })
}
