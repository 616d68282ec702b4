//! Streams in the frames of AWS (`application/vnd.amazon.eventstream`) as SSE events.
//!
//! A frame's payload is an event of the model's dialect in base64, under `bytes`, or one of
//! Converse, whose type is a header of the frame. Frames are read by AWS's own crate; an exception
//! becomes an error event.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::Message;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use dialect::converse;
use dialect::failure::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::event_form::EventForm;

/// Length of what a frame has before its headers: its lengths and their checksum.
const PRELUDE: usize = 12;

/// Reads frames, each of at most `max_frame` bytes.
#[derive(Debug)]
pub(in crate::provider) struct AwsEvents {
    decoder: MessageFrameDecoder,
    held: BytesMut,
    max_frame: usize,
}

/// The payload of a frame.
#[derive(Deserialize)]
struct ChunkPayload<'a> {
    #[serde(borrow)]
    bytes: std::borrow::Cow<'a, str>,
}

impl AwsEvents {
    pub(in crate::provider) fn new(max_frame: usize) -> Self {
        Self {
            decoder: MessageFrameDecoder::new(),
            held: BytesMut::new(),
            max_frame,
        }
    }

    /// Returns the length of the next frame, once it is known.
    fn frame_length(&self) -> Result<Option<usize>, Failure> {
        if self.held.len() < PRELUDE {
            return Ok(None);
        }
        let length = (&self.held[..4]).get_u32() as usize;
        if length > self.max_frame {
            return Err(Failure::event_too_large(self.max_frame));
        }
        // Anything shorter is no frame; the decoder says so.
        Ok(Some(length.max(PRELUDE)))
    }
}

impl EventForm for AwsEvents {
    fn push(&mut self, bytes: Bytes) {
        self.held.extend_from_slice(&bytes);
    }

    fn write_events(&mut self, out: &mut BytesMut) -> Result<(), Failure> {
        while let Some(length) = self.frame_length()? {
            if self.held.len() < length {
                break;
            }
            let mut frame = self.held.split_to(length).freeze();
            let decoded = self.decoder.decode_frame(&mut frame);
            let decoded =
                decoded.map_err(|error| Failure::bad_payload("a frame of AWS", error.into()))?;
            if let DecodedFrame::Complete(message) = decoded {
                write_event(&message, out)?;
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        if self.held.is_empty() {
            return Ok(());
        }
        let error = "the body ended within a frame";
        Err(Failure::upstream_reset(error.into()))
    }
}

fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    let mut headers = message.headers().iter();
    let header = headers.find(|header| header.name().as_str() == name);
    let value = header.and_then(|header| header.value().as_string().ok());
    value.map_or("", |value| value.as_str())
}

fn write_event(message: &Message, out: &mut BytesMut) -> Result<(), Failure> {
    match header(message, ":message-type") {
        "event" => {}
        "exception" => {
            let told: Value = serde_json::from_slice(message.payload()).unwrap_or_default();
            let text = told["message"].as_str().unwrap_or_default();
            write_error(header(message, ":exception-type"), text, out);
            return Ok(());
        }
        _ => {
            let text = header(message, ":error-message");
            write_error(header(message, ":error-code"), text, out);
            return Ok(());
        }
    }
    let kind = header(message, ":event-type");
    if converse::EVENT_TYPES.contains(&kind) {
        write_line(
            &[b"{\"", kind.as_bytes(), b"\":", message.payload(), b"}"],
            out,
        );
        return Ok(());
    }
    if kind != "chunk" {
        return Ok(());
    }
    let bad = |error| Failure::bad_payload("a chunk of Bedrock", error);
    let chunk: ChunkPayload<'_> =
        serde_json::from_slice(message.payload()).map_err(|error| bad(error.into()))?;
    let event = BASE64_STANDARD
        .decode(chunk.bytes.as_bytes())
        .map_err(|error| bad(error.into()))?;
    write_line(&[&event], out);
    Ok(())
}

/// Writes an event of some pieces as one line, as SSE has it: JSON may have line ends between its
/// values.
fn write_line(pieces: &[&[u8]], out: &mut BytesMut) {
    out.extend_from_slice(b"data: ");
    for piece in pieces {
        out.extend(piece.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    }
    out.extend_from_slice(b"\n\n");
}

fn write_error(kind: &str, text: &str, out: &mut BytesMut) {
    let kind = match kind {
        "throttlingException" => "rate_limit_error",
        "serviceUnavailableException" => "overloaded_error",
        "modelTimeoutException" => "timeout_error",
        "validationException" => "invalid_request_error",
        "" => "api_error",
        kind => kind,
    };
    let text = if text.is_empty() { kind } else { text };
    let error = json!({ "type": "error", "error": { "type": kind, "message": text } });
    out.extend_from_slice(format!("event: error\ndata: {error}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};

    use super::*;

    fn frame(headers: &[(&'static str, &'static str)], payload: Value) -> Vec<u8> {
        let mut message = Message::new(payload.to_string().into_bytes());
        for (name, value) in headers {
            let value = HeaderValue::String((*value).into());
            message = message.add_header(Header::new(*name, value));
        }
        let mut out = Vec::new();
        write_message_to(&message, &mut out).unwrap();
        out
    }

    fn chunk(event: &str) -> Vec<u8> {
        frame(
            &[(":message-type", "event"), (":event-type", "chunk")],
            json!({ "bytes": BASE64_STANDARD.encode(event), "p": "abc" }),
        )
    }

    fn read(body: &[u8], piece: usize) -> Result<String, Failure> {
        let mut events = AwsEvents::new(1 << 20);
        let mut out = BytesMut::new();
        for piece in body.chunks(piece) {
            events.push(Bytes::copy_from_slice(piece));
            events.write_events(&mut out)?;
        }
        events.end()?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn what_comes_before_a_broken_frame_is_written() {
        let mut broken = chunk("{}");
        *broken.last_mut().unwrap() ^= 1;
        let mut events = AwsEvents::new(1 << 20);
        events.push([chunk("{\"a\":1}"), broken].concat().into());
        let mut out = BytesMut::new();
        assert!(events.write_events(&mut out).is_err());
        assert_eq!(&out[..], b"data: {\"a\":1}\n\n");
    }

    #[test]
    fn chunks_are_events_however_they_arrive() {
        let body = [chunk("{\"type\": \"ping\"}"), chunk("{\"a\":\n 1}")].concat();
        let wanted = "data: {\"type\": \"ping\"}\n\ndata: {\"a\": 1}\n\n";
        for piece in [1, 7, body.len()] {
            assert_eq!(read(&body, piece).unwrap(), wanted);
        }
    }

    #[test]
    fn an_exception_is_an_error_of_the_dialect() {
        let headers = [
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ];
        let body = frame(&headers, json!({ "message": "Too many tokens" }));
        let event = read(&body, body.len()).unwrap();
        assert!(event.starts_with("event: error\ndata: "), "{event}");
        assert!(event.contains("rate_limit_error") && event.contains("Too many tokens"));
    }

    #[test]
    fn a_broken_or_cut_frame_is_an_error() {
        let whole = chunk("{}");
        assert!(read(&whole[..whole.len() - 1], 5).is_err());
        let mut broken = whole.clone();
        *broken.last_mut().unwrap() ^= 1;
        assert!(read(&broken, 9).is_err());
        let mut huge = whole;
        huge[0] = 0x7f;
        assert!(read(&huge, 9).is_err());
        assert!(read(b"no frame at all, but some text", 30).is_err());
    }
}
