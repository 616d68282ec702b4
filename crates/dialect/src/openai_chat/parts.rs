//! The parts of a message's content, and its images.

use std::borrow::Cow;

use serde_json::Value;

use crate::event::Event;
use crate::json::{RawJson, excerpt};
use crate::request::Image;
use crate::{EventSink, PayloadInfo, emit};

/// Emits a field of text, or of parts.
pub(super) fn emit_field<'a>(
    raw: RawJson<'a>,
    kind: fn(Cow<'a, str>) -> Event<'a>,
    seen: &mut PayloadInfo,
    sink: &mut EventSink<'_>,
) {
    seen.has_content = true;
    if sink.is_some() {
        match raw.text() {
            Some(text) => emit(sink, kind(text)),
            None => emit_parts(raw, sink),
        }
    }
}

/// Emits reasoning that is no string: an object or a list of parts.
pub(super) fn emit_thoughts(raw: RawJson<'_>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
    let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let parts = match &value {
        Value::Array(parts) => parts.as_slice(),
        part => std::slice::from_ref(part),
    };
    for part in parts {
        let fields =
            ["text", "thinking", "reasoning", "summary", "content"].map(|name| &part[name]);
        let said = part.as_str().into_iter();
        for text in said.chain(fields.into_iter().flat_map(texts)) {
            seen.has_content = true;
            emit(sink, Event::Reasoning(text.into()));
        }
    }
}

/// Emits content that is no string.
pub(super) fn emit_parts(raw: RawJson<'_>, sink: &mut EventSink<'_>) {
    let content: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    match parts_of(&content) {
        Some(parts) => parts.iter().for_each(|part| emit_part(part, sink)),
        None => emit(sink, Event::Text(raw.get().into())),
    }
}

/// Returns the parts of content: Mistral's list of text and thinking parts, a list of strings, or a
/// single part; `None` for the very value that the model wrote as JSON.
pub(super) fn parts_of(content: &Value) -> Option<&[Value]> {
    let is_part = |name: &str| content.get(name).is_some();
    match content {
        Value::Array(parts) => Some(parts),
        Value::Object(_) if ["type", "text"].into_iter().any(is_part) => {
            Some(std::slice::from_ref(content))
        }
        _ => None,
    }
}

/// Emits a part of content.
pub(super) fn emit_part(part: &Value, sink: &mut EventSink<'_>) {
    if let Some(text) = part.as_str() {
        return emit(sink, Event::Text(text.into()));
    }
    let kind = part["type"].as_str().unwrap_or_default();
    if let Some(image) = image(part).filter(|_| kind.contains("image")) {
        return emit(sink, Event::Image(image));
    }
    if let Some(refusal) = part["refusal"].as_str() {
        return emit(sink, Event::Refusal(refusal.into()));
    }
    let thinks = matches!(kind, "thinking" | "reasoning");
    let fields = ["text", "thinking", "reasoning", "summary"].map(|name| &part[name]);
    let mut is_empty = true;
    for text in fields.into_iter().flat_map(texts) {
        is_empty = false;
        emit(
            sink,
            if thinks {
                Event::Reasoning(text.into())
            } else {
                Event::Text(text.into())
            },
        );
    }
    if is_empty && !matches!(kind, "" | "text" | "thinking" | "reasoning") {
        let kind = excerpt(kind);
        emit(sink, Event::Unsupported(format!("content `{kind}`").into()));
    }
}

/// Returns the texts of a field: a string, or a list of objects with a text each.
fn texts(field: &Value) -> impl Iterator<Item = &str> {
    let parts = field.as_array().into_iter().flatten();
    let inner = parts.filter_map(|part| part["text"].as_str().or(part.as_str()));
    field.as_str().into_iter().chain(inner)
}

/// Emits the images that a model made.
pub(super) fn emit_images(raw: RawJson<'_>, sink: &mut EventSink<'_>) {
    let images: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    for entry in images.as_array().into_iter().flatten() {
        match image(entry) {
            Some(image) => emit(sink, Event::Image(image)),
            None => emit(
                sink,
                Event::Unsupported("an image of an unknown shape".into()),
            ),
        }
    }
}

/// Parses an image: OpenRouter's `{"image_url": {"url"}}`, and what others have in its place.
fn image(entry: &Value) -> Option<Image> {
    let places = [
        &entry["image_url"]["url"],
        &entry["image_url"],
        &entry["url"],
        entry,
    ];
    let url = places.into_iter().find_map(Value::as_str);
    if let Some(url) = url.filter(|url| !url.is_empty()) {
        return Some(Image::from_url(url));
    }
    let base64 = [&entry["b64_json"], &entry["base64"], &entry["data"]]
        .into_iter()
        .find_map(Value::as_str)?;
    let media_type = entry["mime_type"].as_str().or(entry["media_type"].as_str());
    Some(Image::Data {
        media_type: media_type.unwrap_or("image/png").to_owned(),
        base64: base64.to_owned(),
    })
}
