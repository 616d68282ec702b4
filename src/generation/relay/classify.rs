//! The meaning of an upstream's frames: payload, comment, or one of the many shapes of an error;
//! and the meaning of a payload for the course of its stream.

use dialect::failure::Failure;
use dialect::sse::Frame;
use dialect::{EventReader, PayloadInfo};

use crate::generation::meter::Meter;

/// The kind of a frame.
pub(super) enum FrameKind<'a> {
    /// Data for the dialect's reader.
    Payload(&'a [u8]),
    /// A comment.
    Comment,
    /// Blank lines.
    Blank,
    /// Fields without data. Some SDKs choke on them.
    NoData,
    /// An error outside of any payload.
    Error(Failure),
}

/// Returns the kind of a frame whose bytes are `raw`.
#[inline]
pub(super) fn classify_frame<'a>(
    frame: &'a Frame<'_>,
    raw: &[u8],
    reader: &dyn EventReader,
) -> FrameKind<'a> {
    match (&frame.data, frame.error) {
        (Some(data), _) if !is_nothing(data) => return FrameKind::Payload(data),
        (_, Some(error)) => {
            return FrameKind::Error(reader.read_error(error).unwrap_or_else(unnamed_error));
        }
        _ => {}
    }
    // Bare lines of JSON in the middle of a stream are an error that lost its frame.
    let is_bare = matches!(raw.first(), Some(b'{' | b'['));
    if let Some(failure) = is_bare.then(|| reader.read_error(raw)).flatten() {
        return FrameKind::Error(failure);
    }
    if frame.event == Some(b"error") {
        return FrameKind::Error(unnamed_error());
    }
    if raw.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
        FrameKind::Blank
    } else if frame.comment {
        FrameKind::Comment
    } else {
        FrameKind::NoData
    }
}

/// Returns true for data that say nothing: some servers keep a stream alive with `null`.
#[inline]
fn is_nothing(data: &[u8]) -> bool {
    data.is_empty() || data.len() < 8 && data.trim_ascii() == b"null"
}

/// The meaning of a payload for the course of its stream.
pub(super) enum PayloadVerdict {
    /// The stream goes on.
    Continue,
    /// The payload is the upstream's own end mark.
    Ended,
    /// The payload is an error. `is_native` says that clients of the same dialect understand it.
    Reported { failure: Failure, is_native: bool },
    /// The payload is not to be shown: it can't be parsed, or it is an error by its name alone.
    Broken(Failure),
    /// The payload is not to be shown: the money for the answer is spent.
    Unpaid(Failure),
}

/// Counts a payload, and returns its meaning. `is_cut` says that the upstream's body ended within
/// or after the last frame of this run.
#[inline]
pub(super) fn judge_payload(
    read: Result<PayloadInfo, Failure>,
    frame: &Frame<'_>,
    data: &[u8],
    reader: &dyn EventReader,
    is_cut: bool,
    meter: &mut Meter,
) -> PayloadVerdict {
    let seen = match read {
        Ok(seen) => seen,
        Err(failure) => {
            return PayloadVerdict::Broken(match named_error(frame, data, reader) {
                Some(error) => error,
                None if !is_json(data) => reader.read_error(data).unwrap_or(failure),
                None if is_cut => Failure::upstream_truncated("it broke off within an event"),
                None => failure,
            });
        }
    };
    meter.on_usage(seen.usage);
    if seen.has_content
        && let Some(failure) = meter.on_content(data.len())
    {
        return PayloadVerdict::Unpaid(failure);
    }
    if let Some(failure) = seen.error {
        // An error in no shape that clients know is told in theirs alone, unless it comes with a
        // part of the answer.
        return match (seen.error_is_native, seen.has_content) {
            (false, false) => PayloadVerdict::Broken(failure),
            (is_native, _) => PayloadVerdict::Reported { failure, is_native },
        };
    }
    if !seen.is_typed
        && let Some(failure) = named_error(frame, data, reader)
    {
        return PayloadVerdict::Broken(failure);
    }
    if seen.is_end {
        PayloadVerdict::Ended
    } else {
        PayloadVerdict::Continue
    }
}

/// Returns the error of a frame that is named `error`, whatever its payload looks like.
#[inline]
fn named_error(frame: &Frame<'_>, data: &[u8], reader: &dyn EventReader) -> Option<Failure> {
    (frame.event == Some(b"error")).then(|| reader.read_error(data).unwrap_or_else(unnamed_error))
}

/// Returns whether data begins as JSON does. Anything else in its place is an upstream's words.
fn is_json(data: &[u8]) -> bool {
    let first = data.trim_ascii_start().first();
    first.is_some_and(|byte| matches!(byte, b'{' | b'['))
}

fn unnamed_error() -> Failure {
    Failure::upstream_error("the upstream reported an error")
}
