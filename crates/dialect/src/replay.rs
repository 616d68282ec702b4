//! JSON where events were due: a whole answer is played as the stream that it would have been, and
//! an error is found.
//!
//! The stream is one of the upstream's own dialect, so a client of the same dialect misses nothing
//! of the answer. Not for: splitting a body into values, which [`JsonValues`] does.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use crate::error_report::ErrorReport;
use crate::event::Event;
use crate::failure::Failure;
use crate::{FinishRule, FrameSink, JsonValues, PayloadInfo, UpstreamSide, sse};

/// The shape of a JSON object that is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonShape {
    /// A whole answer.
    Answer,
    /// A payload of a stream.
    Payload,
    /// Neither.
    Unknown,
}

/// A JSON value that an upstream sent first, where events were due.
#[derive(Debug)]
pub enum JsonReply {
    /// A whole answer, as the events of a stream.
    Answer(Bytes),
    /// A payload of a stream.
    Payload,
    /// An object that means nothing in this dialect.
    Unknown,
}

/// Reads the first JSON value of a body that is not a stream of events.
///
/// # Errors
///
/// The error that it reports, or [`Failure::bad_payload`] for malformed JSON.
pub fn read_json_reply(side: &dyn UpstreamSide, body: &[u8]) -> Result<JsonReply, Failure> {
    let value: Value =
        serde_json::from_slice(body).map_err(|e| Failure::bad_payload("JSON", e.into()))?;
    if let Some(report) = ErrorReport::of(&value["error"]) {
        return Err(report.into());
    }
    match side.json_shape(&value) {
        JsonShape::Payload => Ok(JsonReply::Payload),
        JsonShape::Answer => {
            let mut out = BytesMut::with_capacity(2 * body.len());
            side.replay_answer(value, &mut |name, data| {
                sse::write_frame(&mut out, name, data);
            });
            Ok(JsonReply::Answer(out.freeze()))
        }
        JsonShape::Unknown => match side.error_report(body) {
            Some(report) => Err(report.into()),
            None => Ok(JsonReply::Unknown),
        },
    }
}

/// Reads a whole body that is made of a stream's payloads instead of an answer; `None` if it is
/// not. Its events go to `sink`.
///
/// # Errors
///
/// The error that a payload reports, and that of a stream that is not complete.
pub fn read_json_payloads(
    (side, rule): (&dyn UpstreamSide, FinishRule),
    body: &Bytes,
    sink: &mut dyn FnMut(Event<'_>),
) -> Result<Option<PayloadInfo>, Failure> {
    let (mut values, mut rest) = (JsonValues::new(), body.clone());
    let mut reader = side.event_reader(rule);
    let (mut all, mut is_first) = (PayloadInfo::default(), true);
    while let Ok(Some(value)) = values.next_value(&mut rest, body.len()) {
        if std::mem::take(&mut is_first)
            && !matches!(read_json_reply(side, &value)?, JsonReply::Payload)
        {
            return Ok(None);
        }
        let read = reader.read_payload(&value, Some(&mut *sink))?;
        if let Some(failure) = read.error {
            return Err(failure);
        }
        all.usage = read.usage.or(all.usage);
        if read.is_end {
            break;
        }
    }
    if is_first {
        return Ok(None);
    }
    reader.finish_stream(Some(sink))?;
    Ok(Some(all))
}

/// Writes a JSON value as the payload of a frame.
pub fn write_json_frame(out: &mut BytesMut, value: &[u8]) {
    out.extend_from_slice(b"data: ");
    // A line end in a value stands between two tokens, never within one.
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    for line in value.split(is_end).filter(|line| !line.is_empty()) {
        out.extend_from_slice(line);
        out.extend_from_slice(b" ");
    }
    out.truncate(out.len().saturating_sub(1));
    out.extend_from_slice(b"\n\n");
}

/// Writes a payload as a frame named by its type.
pub(crate) fn write_typed(out: FrameSink<'_>, payload: &Value) {
    let name = payload["type"].as_str();
    out(name, payload.to_string().as_bytes());
}
