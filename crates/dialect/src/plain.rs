//! The plain dialect: a prompt in, and the token's text itself as each frame's data, up to `data:
//! [DONE]`.
//!
//! Clients receive the exact text, with one exception that SSE can't carry: `\r\n` and `\r` arrive
//! as `\n`. Where that matters, [`TextEncoding::Json`] sends every token as a JSON string.
//!
//! ```
//! use dialect::event::Event;
//! use dialect::plain::{PlainEventWriter, TextEncoding};
//! use dialect::{EventWriter as _, sse};
//!
//! let mut wire = bytes::BytesMut::new();
//! let mut writer = PlainEventWriter::new(TextEncoding::Text);
//! writer.write_event(&Event::Text("Hello".into()), &mut |name, data| {
//!     sse::write_frame(&mut wire, name, data)
//! })?;
//! writer.write_end(&mut |name, data| sse::write_frame(&mut wire, name, data));
//! assert_eq!(&wire[..], b"data: Hello\n\ndata: [DONE]\n\n");
//! # Ok::<(), dialect::failure::Failure>(())
//! ```

pub mod request;

use bytes::Bytes;
use serde_json::json;

use super::{Answer, COMMENT_HEARTBEAT, ClientSide, DONE, Dialect, FrameSink, ResponseMeta};
pub use crate::codec::TextEncoding;
use crate::event::Event;
use crate::failure::Failure;
use crate::request::{Part, Request};

/// The plain dialect, spoken by clients only.
pub static DIALECT: Dialect = Dialect {
    name: "plain",
    client: &Plain,
    upstream: None,
    endpoints: &[],
    retrieves_by_id: false,
    names_events: false,
    ends_without_mark: false,
    repeats_errors_bare: false,
    heartbeat: COMMENT_HEARTBEAT,
};

#[derive(Debug)]
struct Plain;

impl ClientSide for Plain {
    fn parse_request(&self, body: Bytes, _path: &str) -> Result<Request, Failure> {
        request::from_json(&body)
    }

    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn super::EventWriter> {
        Box::new(PlainEventWriter::new(meta.encoding))
    }

    /// Encodes the text alone, as JSON. Plain requests always stream; this serves callers that
    /// build one which does not.
    fn encode_answer(&self, answer: &Answer, _answering: &ResponseMeta) -> Vec<u8> {
        let said = |part: &Part| match part {
            Part::Text(text) | Part::Refusal(text) => Some(text.clone()),
            _ => None,
        };
        json!({ "text": answer.parts.iter().filter_map(said).collect::<String>() })
            .to_string()
            .into_bytes()
    }

    fn error_body(&self, failure: &Failure, _status: u16, request_id: &str) -> Vec<u8> {
        error_body(failure, request_id)
    }
}

/// Writer of one client stream.
#[derive(Debug, Default)]
pub struct PlainEventWriter {
    encoding: TextEncoding,
    /// The last token ended in CR. If the next begins with LF, the two are one line end that was
    /// cut in half.
    after_cr: bool,
}

impl PlainEventWriter {
    /// Returns a writer for that encoding.
    #[must_use]
    pub fn new(encoding: TextEncoding) -> Self {
        Self {
            encoding,
            after_cr: false,
        }
    }

    fn text(&mut self, mut text: &str, out: FrameSink<'_>) {
        if self.after_cr && !text.is_empty() {
            text = text.strip_prefix('\n').unwrap_or(text);
            self.after_cr = false;
        }
        if text.is_empty() {
            return;
        }
        self.after_cr = text.ends_with('\r');
        if text.as_bytes() == DONE {
            // The model generated the end mark as text. In two frames it stays text.
            let (head, tail) = text.split_at(3);
            out(None, head.as_bytes());
            out(None, tail.as_bytes());
        } else {
            out(None, text.as_bytes());
        }
    }
}

impl super::EventWriter for PlainEventWriter {
    /// Writes text and refusals; reasoning, tool calls and usage have no place in this dialect.
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure> {
        if let Event::Text(text) | Event::Refusal(text) = event {
            match self.encoding {
                TextEncoding::Text => self.text(text, out),
                TextEncoding::Json if text.is_empty() => {}
                TextEncoding::Json => out(None, json!(text).to_string().as_bytes()),
            }
        }
        Ok(())
    }

    fn write_end(&mut self, out: FrameSink<'_>) {
        out(None, DONE);
    }

    fn write_error(&mut self, failure: &Failure, request_id: &str, out: FrameSink<'_>) {
        out(Some("error"), &error_body(failure, request_id));
    }
}

/// Returns the error body: `{"error": {"message", "type", "code", "param"?, "request_id"}}`.
fn error_body(failure: &Failure, request_id: &str) -> Vec<u8> {
    let mut error = json!({
        "message": failure.to_string(),
        "type": crate::openai::error_type(failure),
        "code": failure.code(),
        "request_id": request_id,
    });
    if let Some(param) = failure.param() {
        error["param"] = param.into();
    }
    json!({ "error": error }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::EventWriter as _;

    fn frames(tokens: &[&str], encoding: TextEncoding) -> Vec<String> {
        let mut writer = PlainEventWriter::new(encoding);
        let mut frames = Vec::new();
        for token in tokens {
            let mut out = |_: Option<&str>, data: &[u8]| {
                frames.push(String::from_utf8_lossy(data).into_owned())
            };
            writer
                .write_event(&Event::Text((*token).into()), &mut out)
                .unwrap();
        }
        frames
    }

    #[test]
    fn the_end_mark_as_a_token_is_sent_in_two() {
        assert_eq!(frames(&["[DONE]"], TextEncoding::Text), ["[DO", "NE]"]);
        // … also when it only becomes one by dropping the second half of a line end.
        assert_eq!(
            frames(&["a\r", "\n[DONE]"], TextEncoding::Text),
            ["a\r", "[DO", "NE]"]
        );
        assert_eq!(frames(&["[DONE]"], TextEncoding::Json), ["\"[DONE]\""]);
    }

    #[test]
    fn a_line_end_cut_in_half_stays_one() {
        assert_eq!(frames(&["a\r", "\nb"], TextEncoding::Text), ["a\r", "b"]);
        assert_eq!(
            frames(&["a\r", "\n", "\nb"], TextEncoding::Text),
            ["a\r", "\nb"]
        );
        assert_eq!(
            frames(&["a\r", "", "\nb"], TextEncoding::Text),
            ["a\r", "b"]
        );
        assert_eq!(
            frames(&["a\r", "\r\nb"], TextEncoding::Text),
            ["a\r", "\r\nb"]
        );
    }
}
