//! The plain dialect: a prompt in, and each frame's data is the token's text itself, ending in `data: [DONE]`.
//!
//! What a client reads back is the text, exactly, but for one thing that SSE can't carry: `\r\n` and `\r` arrive as
//! `\n`. Where that matters, [`Encoding::Json`] sends every token as a JSON string.

pub mod request;

use bytes::Bytes;
use serde_json::json;

use super::{Answer, Answering, ClientSide, DONE, Dialect, Out};
use crate::event::Event;
use crate::failure::Failure;
use crate::request::{Part, Request};

/// The plain dialect. Spoken by clients only.
pub static DIALECT: Dialect = Dialect {
    name: "plain",
    client: &Plain,
    upstream: None,
};

#[derive(Debug)]
struct Plain;

impl ClientSide for Plain {
    fn endpoints(&self) -> &'static [&'static str] {
        &[]
    }

    fn read(&self, body: Bytes, _path: &str) -> Result<Request, Failure> {
        request::from_json(&body)
    }

    fn writer(&self, answering: Answering) -> Box<dyn super::EventWriter> {
        Box::new(EventWriter::new(answering.encoding))
    }

    /// The text alone, in JSON. Plain requests are always streamed; this is for whoever builds one that isn't.
    fn write_answer(&self, answer: &Answer, _answering: &Answering) -> Vec<u8> {
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

/// How text goes into `data:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As it is.
    #[default]
    Text,
    /// As a JSON string, which keeps every line end as it was.
    Json,
}

/// Writes a client's stream.
#[derive(Debug, Default)]
pub struct EventWriter {
    encoding: Encoding,
    /// The last token ended in CR. Should the next begin with LF, the two are one line end, cut in half.
    after_cr: bool,
}

impl EventWriter {
    /// A writer of that encoding.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            after_cr: false,
        }
    }

    fn text(&mut self, mut text: &str, out: Out<'_>) {
        if self.after_cr && !text.is_empty() {
            text = text.strip_prefix('\n').unwrap_or(text);
            self.after_cr = false;
        }
        if text.is_empty() {
            return;
        }
        self.after_cr = text.ends_with('\r');
        if text.as_bytes() == DONE {
            // The model said the end mark itself. In two frames it is only text.
            let (head, tail) = text.split_at(3);
            out(None, head.as_bytes());
            out(None, tail.as_bytes());
        } else {
            out(None, text.as_bytes());
        }
    }
}

impl super::EventWriter for EventWriter {
    /// Text and refusals are written; this dialect has no place for reasoning, tool calls and usage.
    fn write(&mut self, event: &Event<'_>, out: Out<'_>) -> Result<(), Failure> {
        if let Event::Text(text) | Event::Refusal(text) = event {
            match self.encoding {
                Encoding::Text => self.text(text, out),
                Encoding::Json if text.is_empty() => {}
                Encoding::Json => out(None, json!(text).to_string().as_bytes()),
            }
        }
        Ok(())
    }

    fn done(&mut self, out: Out<'_>) {
        out(None, DONE);
    }

    fn error(&mut self, failure: &Failure, request_id: &str, out: Out<'_>) {
        out(Some("error"), &error_body(failure, request_id));
    }
}

/// The error body: `{"error": {"message", "type", "code", "param"?, "request_id"}}`.
fn error_body(failure: &Failure, request_id: &str) -> Vec<u8> {
    let mut error = json!({
        "message": failure.to_string(),
        "type": super::openai_chat::error_type(failure),
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

    fn frames(tokens: &[&str], encoding: Encoding) -> Vec<String> {
        let mut writer = EventWriter::new(encoding);
        let mut frames = Vec::new();
        for token in tokens {
            let mut out = |_: Option<&str>, data: &[u8]| {
                frames.push(String::from_utf8_lossy(data).into_owned())
            };
            writer
                .write(&Event::Text((*token).into()), &mut out)
                .unwrap();
        }
        frames
    }

    #[test]
    fn the_end_mark_as_a_token_is_sent_in_two() {
        assert_eq!(frames(&["[DONE]"], Encoding::Text), ["[DO", "NE]"]);
        // … also when it only becomes one by dropping the second half of a line end.
        assert_eq!(
            frames(&["a\r", "\n[DONE]"], Encoding::Text),
            ["a\r", "[DO", "NE]"]
        );
        assert_eq!(frames(&["[DONE]"], Encoding::Json), ["\"[DONE]\""]);
    }

    #[test]
    fn a_line_end_cut_in_half_stays_one() {
        assert_eq!(frames(&["a\r", "\nb"], Encoding::Text), ["a\r", "b"]);
        assert_eq!(
            frames(&["a\r", "\n", "\nb"], Encoding::Text),
            ["a\r", "\nb"]
        );
        assert_eq!(frames(&["a\r", "", "\nb"], Encoding::Text), ["a\r", "b"]);
        assert_eq!(frames(&["a\r", "\r\nb"], Encoding::Text), ["a\r", "\r\nb"]);
    }
}
