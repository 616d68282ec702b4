//! The plain dialect: a prompt in, and each frame's data is the token's text itself, ending in `data: [DONE]`.
//!
//! What a client reads back is the text, exactly, but for one thing that SSE can't carry: `\r\n` and `\r` arrive as
//! `\n`. Where that matters, [`Encoding::Json`] sends every token as a JSON string.

pub mod request;

use serde_json::json;

use super::{DONE, Out};
use crate::event::Event;
use crate::failure::Failure;

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
        Self { encoding, after_cr: false }
    }

    /// Text and refusals are written; this dialect has no place for reasoning, tool calls and usage.
    pub(super) fn write(&mut self, event: &Event<'_>, out: Out<'_>) {
        let (Event::Text(text) | Event::Refusal(text)) = event else {
            return;
        };
        match self.encoding {
            Encoding::Text => self.text(text, out),
            Encoding::Json if text.is_empty() => {}
            Encoding::Json => out(None, json!(text).to_string().as_bytes()),
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

/// The error body: `{"error": {"message", "type", "code", "param"?, "request_id"}}`.
pub(super) fn error_body(failure: &Failure, request_id: &str) -> Vec<u8> {
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
    use super::*;

    fn frames(tokens: &[&str], encoding: Encoding) -> Vec<String> {
        let mut writer = EventWriter::new(encoding);
        let mut frames = Vec::new();
        for token in tokens {
            writer.write(&Event::Text((*token).into()), &mut |_, data| {
                frames.push(String::from_utf8_lossy(data).into_owned());
            });
        }
        frames
    }

    #[test]
    fn the_end_mark_as_a_token_is_sent_in_two() {
        assert_eq!(frames(&["[DONE]"], Encoding::Text), ["[DO", "NE]"]);
        // … also when it only becomes one by dropping the second half of a line end.
        assert_eq!(frames(&["a\r", "\n[DONE]"], Encoding::Text), ["a\r", "[DO", "NE]"]);
        assert_eq!(frames(&["[DONE]"], Encoding::Json), ["\"[DONE]\""]);
    }

    #[test]
    fn a_line_end_cut_in_half_stays_one() {
        assert_eq!(frames(&["a\r", "\nb"], Encoding::Text), ["a\r", "b"]);
        assert_eq!(frames(&["a\r", "\n", "\nb"], Encoding::Text), ["a\r", "\nb"]);
        assert_eq!(frames(&["a\r", "", "\nb"], Encoding::Text), ["a\r", "b"]);
        assert_eq!(frames(&["a\r", "\r\nb"], Encoding::Text), ["a\r", "\r\nb"]);
    }
}
