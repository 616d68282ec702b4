//! The transcript of an answer that may be continued: its text so far, what else came, and the
//! tokens of all attempts together. It joins what further attempts say.
//!
//! Not for: asking further attempts, which is the generation's.

mod seam;
mod usage;

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::request::Request;

use seam::Seam;
pub(super) use usage::EarlierUsage;

/// The longest text with which another model is to go on, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The transcript of an answer.
#[derive(Debug)]
pub(super) struct Transcript {
    /// The text that the client has.
    text: String,
    /// Set once something came that no other model can go on with.
    is_sealed: bool,
    has_reasoning: bool,
    is_finished: bool,
    /// Set if content came since the last payload was noted.
    has_new_content: bool,
    /// Sequences that end the answer.
    stop: Vec<String>,
    /// Set until the text of another attempt is joined.
    seam: Option<Seam>,
    /// Text of an earlier attempt that was never shown, since it was not known to be new.
    unshown: String,
    /// Set if another attempt began its answer again, in other words.
    is_rejected: bool,
    attempts: u32,
    earlier: EarlierUsage,
}

impl Transcript {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            text: String::new(),
            is_sealed: false,
            has_reasoning: false,
            is_finished: false,
            has_new_content: false,
            stop: request.stop.clone(),
            seam: None,
            unshown: String::new(),
            is_rejected: false,
            attempts: 1,
            earlier: EarlierUsage::default(),
        }
    }

    /// Returns the text with which another attempt may go on; it is blank if none has come.
    pub(super) fn continuable_text(&self) -> Option<&str> {
        let is_blank = self.text.trim_end().is_empty();
        let is_stopping = || self.stop.iter().any(|stop| begins_at_end(&self.text, stop));
        let is_thought_alone = is_blank && self.has_reasoning;
        let is_bound = self.is_sealed || self.is_finished || is_thought_alone || is_stopping();
        (!is_bound).then_some(&self.text)
    }

    /// Returns the transcript of another attempt to give the same answer, which has said nothing.
    pub(super) fn begin_anew(&self) -> Self {
        Self {
            stop: self.stop.clone(),
            ..Self::new(&Request::default())
        }
    }

    /// Returns whether nothing of another attempt came before.
    pub(super) fn is_first_attempt(&self) -> bool {
        self.attempts == 1
    }

    /// Begins the text of another attempt. `earlier` is what the attempts before it cost.
    pub(super) fn begin_attempt(&mut self, is_prefill: bool, earlier: EarlierUsage) {
        self.keep_unshown();
        self.seam = Some(Seam::new(&self.text, is_prefill));
        self.is_rejected = false;
        self.attempts += 1;
        self.earlier = earlier;
    }

    /// Returns whether the current attempt began the answer again, in other words.
    pub(super) fn is_rejected(&self) -> bool {
        self.is_rejected
    }

    /// Takes an event of the current attempt. Those that the client is to see are written.
    ///
    /// # Errors
    ///
    /// When an event can't be written, or does not go on with the answer.
    pub(super) fn relay(
        &mut self,
        event: &Event<'_>,
        write: &mut dyn FnMut(&Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.has_new_content |= event.has_content();
        match event {
            Event::Text(text) if text.is_empty() => write(event),
            Event::Text(text) => match &mut self.seam {
                None => {
                    self.keep(text);
                    write(event)
                }
                Some(seam) => {
                    let joined = seam.push(&self.text, text);
                    self.join(joined, write)
                }
            },
            // It was thought about before, and signed by another.
            Event::Reasoning(_) | Event::State(_) if self.attempts > 1 => Ok(()),
            Event::Reasoning(_) | Event::State(_) => {
                self.has_reasoning = true;
                write(event)
            }
            // They come before their text, of answers that are not continued.
            Event::Logprobs(_) => write(event),
            Event::Usage(usage) => write(&Event::Usage(self.earlier.plus(*usage))),
            Event::Refusal(text) if text.is_empty() => write(event),
            Event::Refusal(_) if self.seam.is_some() => {
                self.is_rejected = true;
                let message = "the model refused to go on with the answer";
                Err(Failure::upstream_error(message))
            }
            Event::Finish(_) => {
                self.settle(write)?;
                self.is_finished = true;
                write(event)
            }
            Event::Refusal(_)
            | Event::Citation(_)
            | Event::ToolCall { .. }
            | Event::ToolArguments { .. }
            | Event::ToolEnd { .. }
            | Event::Image(_)
            | Event::Unsupported(_) => {
                self.settle(write)?;
                self.is_sealed = true;
                write(event)
            }
        }
    }

    /// Takes note of a payload that was read. Content that is still held back, such as the
    /// beginning of a call, is nothing that another model can go on with.
    pub(super) fn note_payload(&mut self, has_content: bool) {
        let is_held = has_content && !self.has_new_content;
        self.is_sealed |= is_held;
        self.has_new_content = false;
    }

    /// Writes the text that is held, since no more will come before something else.
    ///
    /// # Errors
    ///
    /// When it can't be written, or does not go on with the answer.
    pub(super) fn settle(
        &mut self,
        write: &mut dyn FnMut(&Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(seam) = &mut self.seam else {
            return Ok(());
        };
        let joined = seam.settle(&self.text).map(Some);
        self.join(joined, write)
    }

    /// Writes the text that is held of an answer with which nobody goes on.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn give_up(
        &mut self,
        write: &mut dyn FnMut(&Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.keep_unshown();
        match std::mem::take(&mut self.unshown) {
            text if text.is_empty() => Ok(()),
            text => write(&Event::Text(text.into())),
        }
    }

    /// Keeps the text that is held of an attempt that has ended.
    fn keep_unshown(&mut self) {
        let seam = self.seam.take().filter(|_| !self.is_rejected);
        let held = seam.and_then(|mut seam| seam.settle(&self.text).ok());
        if let Some(held) = held.filter(|held| !held.is_empty()) {
            self.unshown = held;
        }
    }

    fn join(
        &mut self,
        joined: Result<Option<String>, Failure>,
        write: &mut dyn FnMut(&Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match joined {
            Ok(None) => Ok(()),
            Ok(Some(new)) => {
                self.seam = None;
                if new.is_empty() {
                    return Ok(());
                }
                self.unshown = String::new();
                self.keep(&new);
                write(&Event::Text(new.into()))
            }
            Err(failure) => {
                self.is_rejected = true;
                Err(failure)
            }
        }
    }

    fn keep(&mut self, text: &str) {
        if self.is_sealed {
            return;
        }
        self.text.push_str(text);
        if self.text.len() > MAX_TEXT_BYTES {
            self.text = String::new();
            self.is_sealed = true;
        }
    }
}

/// Returns whether a text ends with the beginning of a sequence.
fn begins_at_end(text: &str, sequence: &str) -> bool {
    let mut beginnings = sequence
        .char_indices()
        .skip(1)
        .map(|(at, _)| &sequence[..at]);
    beginnings.any(|beginning| text.ends_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_sequence_that_has_begun_is_not_split() {
        assert!(begins_at_end("One\n", "\n\n"));
        assert!(begins_at_end("One <e", "<end>"));
        assert!(!begins_at_end("One", "\n"));
        assert!(!begins_at_end("One <x", "<end>"));
    }
}
