//! An estimate of a request's tokens, for upstreams that don't count them.
//!
//! It is meant to be a little too high: a client that asks wants to know whether its request fits.

use super::{Format, Message, Part, Request};

/// Quarters of a token for a character of one byte, of two, and of more: English has four letters
/// to a token, Russian two, Chinese one.
const QUARTERS_OF_ONE: u64 = 1;
const QUARTERS_OF_TWO: u64 = 2;
const QUARTERS_OF_MORE: u64 = 4;
/// The tokens of an image: about those of one as large as models look at.
const IMAGE: u64 = 1500;
/// The tokens that frame a message, a call, a result or a tool.
const FRAME: u64 = 4;
/// The bytes of base64 to a token of a document: a page of a PDF has some 60 KiB and 2000 tokens.
const FILE_BYTES_PER_TOKEN: u64 = 40;

impl Request {
    /// Returns an estimate of the tokens of its messages, tools and schema.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        let messages = self.messages.iter().map(message_tokens);
        let tools = self.tools.iter().map(|tool| {
            let description = tool.description.as_deref().unwrap_or_default();
            let texts = [&tool.name, description, tool.parameters.as_str()];
            texts.into_iter().map(text_tokens).sum::<u64>() + FRAME
        });
        let schema = match &self.format {
            Some(Format::Schema { schema, .. }) => text_tokens(schema.as_str()),
            _ => 0,
        };
        messages.sum::<u64>() + tools.sum::<u64>() + schema
    }
}

/// The size of a request's input, from which bounds and estimates of its tokens follow without
/// reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputSize {
    /// The bytes of all texts. A tokenizer makes at most one token of a byte.
    pub bytes: u64,
    /// About the tokens of all else: images, files, and what frames the texts.
    pub fixed: u64,
}

impl InputSize {
    /// Returns the most tokens that the texts can be.
    #[must_use]
    pub fn most_tokens(self) -> u64 {
        self.bytes.saturating_add(self.fixed)
    }

    /// Returns more tokens than the texts mostly are.
    #[must_use]
    pub fn likely_tokens(self) -> u64 {
        self.bytes.div_ceil(2).saturating_add(self.fixed)
    }

    /// Returns about the tokens that the texts are.
    #[must_use]
    pub fn usual_tokens(self) -> u64 {
        self.bytes.div_ceil(4).saturating_add(self.fixed)
    }

    fn add_text(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
    }

    fn add_parts(&mut self, parts: &[Part]) {
        self.fixed += FRAME;
        for part in parts {
            match part {
                Part::Text(text) | Part::Refusal(text) | Part::Reasoning { text, .. } => {
                    self.add_text(text);
                }
                Part::ToolCall {
                    name, arguments, ..
                } => {
                    self.add_text(name);
                    self.add_text(arguments);
                    self.fixed += FRAME;
                }
                Part::ToolResult { content, .. } => self.add_parts(content),
                Part::Image(..) => self.fixed += IMAGE,
                Part::File(file) => {
                    self.fixed += IMAGE + file.size() as u64 / FILE_BYTES_PER_TOKEN;
                }
                Part::CacheBreakpoint(_) => {}
            }
        }
    }
}

impl Request {
    /// Returns the size of the input: of messages, tools and schema.
    #[must_use]
    pub fn input_size(&self) -> InputSize {
        let mut size = InputSize::default();
        for message in &self.messages {
            size.add_parts(&message.parts);
        }
        for tool in &self.tools {
            size.add_text(&tool.name);
            size.add_text(tool.description.as_deref().unwrap_or_default());
            size.add_text(tool.parameters.as_str());
            size.fixed += FRAME;
        }
        if let Some(Format::Schema { schema, .. }) = &self.format {
            size.add_text(schema.as_str());
        }
        if self.invalid.is_some() {
            // Not all of it could be read.
            size.bytes = size.bytes.max(self.body.len() as u64);
        }
        size
    }
}

fn message_tokens(message: &Message) -> u64 {
    message.parts.iter().map(part_tokens).sum::<u64>() + FRAME
}

fn part_tokens(part: &Part) -> u64 {
    match part {
        Part::Text(text) | Part::Refusal(text) | Part::Reasoning { text, .. } => text_tokens(text),
        Part::ToolCall {
            name, arguments, ..
        } => text_tokens(name) + text_tokens(arguments) + FRAME,
        Part::ToolResult { content, .. } => content.iter().map(part_tokens).sum::<u64>() + FRAME,
        Part::Image(..) => IMAGE,
        Part::File(file) => IMAGE + file.size() as u64 / FILE_BYTES_PER_TOKEN,
        Part::CacheBreakpoint(_) => 0,
    }
}

fn text_tokens(text: &str) -> u64 {
    let quarters = text.bytes().map(|byte| match byte {
        0x00..0x80 => QUARTERS_OF_ONE,
        // The bytes after a character's first.
        0x80..0xc0 => 0,
        0xc0..0xe0 => QUARTERS_OF_TWO,
        0xe0.. => QUARTERS_OF_MORE,
    });
    quarters.sum::<u64>().div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Image, Role};

    #[test]
    fn texts_are_estimated_by_their_letters() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("four", 1),
            ("The quick brown fox jumps over the lazy dog.", 11),
            ("\u{421}\u{43d}\u{435}\u{433}", 2),
            ("\u{6c34}\u{6d41}", 2),
            ("\u{1f30a}", 1),
        ] {
            assert_eq!(text_tokens(text), tokens, "{text}");
        }
    }

    #[test]
    fn a_bound_is_no_less_than_an_estimate() {
        let mut request = Request::prompt("\u{6c34}\u{6d41} and some English".repeat(9));
        request.messages.push(Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult {
                id: String::new(),
                content: vec![Part::Image(Image::Url(String::new()), None)],
                error: false,
            }],
        });
        let size = request.input_size();
        assert!(size.most_tokens() >= request.estimated_tokens());
        assert!(size.most_tokens() > size.likely_tokens());
        assert!(size.likely_tokens() > size.usual_tokens());
        assert!(size.usual_tokens() > IMAGE);
    }

    #[test]
    fn all_that_a_model_reads_counts() {
        let empty = Request::prompt("").estimated_tokens();
        let more = |change: &dyn Fn(&mut Request)| {
            let mut request = Request::prompt("");
            change(&mut request);
            request.estimated_tokens() - empty
        };
        let part = |part: Part| more(&move |request| request.messages[0].parts.push(part.clone()));
        assert_eq!(part(Part::Text("x".repeat(400))), 100);
        let call = Part::ToolCall {
            id: "call_0123456789".to_owned(),
            name: "read".to_owned(),
            arguments: "{\"a\": 1}".to_owned(),
        };
        assert_eq!(part(call), 1 + 2 + FRAME);
        let result = Part::ToolResult {
            id: String::new(),
            content: vec![Part::Text("four".to_owned())],
            error: false,
        };
        assert_eq!(part(result), 1 + FRAME);
        assert_eq!(part(Part::Image(Image::Url(String::new()), None)), IMAGE);
        let system = |request: &mut Request| {
            request
                .messages
                .insert(0, Message::text(Role::System, "four"));
        };
        assert_eq!(more(&system), 1 + FRAME);
    }
}
