//! The complete answer of a model, for a client that did not ask for a stream.

use crate::event::{Citation, Event, FinishReason, Usage};
use crate::logprobs;
use crate::request::Part;

/// A complete answer: the content of its events, in order.
///
/// ```
/// use dialect::{Answer, event::Event};
///
/// let mut answer = Answer::default();
/// for text in ["Hel", "lo"] {
///     answer.add(&Event::Text(text.into()));
/// }
/// assert_eq!(answer.text(), "Hello");
/// ```
#[derive(Debug, Default)]
pub struct Answer {
    /// Text, reasoning, refusals, images and tool calls, in the model's order.
    pub parts: Vec<Part>,
    /// Log probabilities of the text's tokens, if they were asked for: elements of a JSON list,
    /// with commas between.
    pub logprobs: String,
    /// Sources of the text.
    pub citations: Vec<Citation>,
    /// Tokens spent, if the upstream reported them.
    pub usage: Option<Usage>,
    /// The finish reason, if one was given.
    pub finish: Option<FinishReason>,
    /// The last reasoning part may still grow: no event has ended its block.
    open: bool,
}

impl Answer {
    /// Adds the next event.
    pub fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text)
                if text.is_empty() => {}
            Event::Text(text) => match self.parts.last_mut() {
                Some(Part::Text(said)) => said.push_str(text),
                _ => self.parts.push(Part::Text(text.as_ref().into())),
            },
            Event::Refusal(text) => match self.parts.last_mut() {
                Some(Part::Refusal(said)) => said.push_str(text),
                _ => self.parts.push(Part::Refusal(text.as_ref().into())),
            },
            Event::Reasoning(text) => match self.parts.last_mut() {
                Some(Part::Reasoning { text: said, .. }) if self.open => said.push_str(text),
                _ => self.parts.push(Part::Reasoning {
                    text: text.as_ref().into(),
                    state: None,
                }),
            },
            Event::State(state) => {
                let Event::State(state) = Event::State(state.clone()).into_owned() else {
                    return;
                };
                match self.parts.last_mut() {
                    Some(Part::Reasoning {
                        state: none @ None, ..
                    }) if self.open => *none = Some(state),
                    _ => self.parts.push(Part::Reasoning {
                        text: String::new(),
                        state: Some(state),
                    }),
                }
            }
            Event::Logprobs(tokens) => logprobs::append(&mut self.logprobs, tokens),
            Event::Citation(citation) => self.citations.push(citation.clone()),
            Event::ToolCall { id, name, .. } => self.parts.push(Part::ToolCall {
                id: id.as_ref().into(),
                name: name.as_ref().into(),
                arguments: String::new(),
            }),
            Event::ToolArguments { index, fragment } => {
                let calls = self.parts.iter_mut().filter_map(|part| match part {
                    Part::ToolCall { arguments, .. } => Some(arguments),
                    _ => None,
                });
                if let Some(arguments) = calls.into_iter().nth(*index as usize) {
                    arguments.push_str(fragment);
                }
            }
            Event::Image(image) => self.parts.push(Part::Image(image.clone(), None)),
            Event::ToolEnd { .. } | Event::Unsupported(_) => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish(reason) => self.finish = Some(*reason),
        }
        match event {
            Event::Reasoning(text) if !text.is_empty() => self.open = true,
            Event::State(_) => self.open = false,
            _ => {}
        }
    }

    /// Returns all its text.
    #[must_use]
    pub fn text(&self) -> String {
        crate::request::text_of(&self.parts)
    }

    /// Returns true if the answer calls tools.
    #[must_use]
    pub fn calls(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::ToolCall { .. }))
    }

    /// Returns the finish reason; [`FinishReason::Stop`] if none was given.
    #[must_use]
    pub fn finish(&self) -> FinishReason {
        self.finish.unwrap_or(FinishReason::Stop)
    }
}
