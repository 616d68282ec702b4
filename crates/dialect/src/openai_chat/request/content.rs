//! The parts of a message's content.

use serde_json::{Value, json};

use crate::openai_chat::hosts::ChatHost;
use crate::request::{File, FileSource, Image, ImageDetail, Part, with_marks};

/// A part of a message's content, and the mark behind it.
pub(super) type MarkedPart<'a> = (&'a Part, Option<Value>);

/// Returns the parts for which `says` is true, each with its mark as the host takes it.
pub(super) fn marked<'a>(
    parts: impl Iterator<Item = &'a Part>,
    host: &ChatHost,
    says: impl Fn(&Part) -> bool,
) -> Vec<MarkedPart<'a>> {
    let marked = with_marks(parts, says).into_iter();
    marked
        .map(|(part, ttl)| (part, ttl.and_then(|ttl| host.content_mark(ttl))))
        .collect()
}

/// Returns true if any part has a mark: only a list of parts has room for it.
pub(super) fn has_mark(parts: &[MarkedPart<'_>]) -> bool {
    parts.iter().any(|(_, mark)| mark.is_some())
}

/// Returns true for a text.
pub(super) fn is_text(part: &Part) -> bool {
    matches!(part, Part::Text(_))
}

/// Returns true for what a user's message may hold.
pub(super) fn is_content(part: &Part) -> bool {
    matches!(part, Part::Text(_) | Part::Image(..) | Part::File(_))
}

/// Returns a part as it is written, with its mark; null for one that has no place here.
pub(super) fn part_json((part, mark): &MarkedPart<'_>) -> Value {
    let mut value = match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image(image, detail) => image_json(image, *detail),
        Part::File(file) => file_json(file),
        _ => return Value::Null,
    };
    if let Some(mark) = mark {
        value["cache_control"] = mark.clone();
    }
    value
}

/// Returns the format of a recording, if this API takes it.
pub(in crate::openai_chat) fn audio_format(file: &File) -> Option<&'static str> {
    match &*file.media_type {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        _ => None,
    }
}

fn file_json(file: &File) -> Value {
    match (audio_format(file), &file.source) {
        (Some(format), FileSource::Base64(data)) => {
            json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })
        }
        (_, FileSource::Stored(id)) => json!({ "type": "file", "file": { "file_id": id } }),
        _ => json!({ "type": "file", "file": {
            "filename": file.name_or_default(), "file_data": file.to_url() } }),
    }
}

fn image_json(image: &Image, detail: Option<ImageDetail>) -> Value {
    let mut url = json!({ "url": image.to_url() });
    if let Some(detail) = detail {
        url["detail"] = detail.word().into();
    }
    json!({ "type": "image_url", "image_url": url })
}
