//! The arguments of one tool call, as they come: in fragments, behind a placeholder, whole, or once
//! more when they are whole already.

use std::borrow::Cow;

use serde_json::Value;

use crate::event::Event;
use crate::failure::Failure;
use crate::tools::ArgumentsTracker;
use crate::{EventSink, emit};

/// Arguments that say nothing: a placeholder, if others follow.
pub(crate) const EMPTY_OBJECT: &str = "{}";

/// The arguments of a call so far.
#[derive(Debug, Default)]
pub(crate) struct CallArguments {
    text: String,
    /// Number of bytes of the text that were emitted.
    emitted: usize,
    tracker: ArgumentsTracker,
    /// Number of fragments.
    fragments: usize,
    /// The text is an empty object so far, which others would replace.
    is_placeholder: bool,
    is_whole: bool,
    is_ended: bool,
    /// The fragments that came after the arguments were whole: to be the same once more.
    echo: String,
}

impl CallArguments {
    /// Returns the text so far; none for a placeholder.
    pub(crate) fn text(&self) -> &str {
        if self.is_placeholder { "" } else { &self.text }
    }

    pub(crate) fn is_placeholder(&self) -> bool {
        self.is_placeholder
    }

    /// Returns true once an object is closed, a placeholder included.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(crate) fn fragments(&self) -> usize {
        self.fragments
    }

    /// Returns true if the text says the same as that of another call.
    pub(crate) fn is_same(&self, other: &str) -> bool {
        is_same_json(&self.text, other)
    }

    /// Adds a fragment, and emits it unless it has to wait: for the call's index, or as a
    /// placeholder. Whole arguments end the call.
    pub(crate) fn push(
        &mut self,
        index: Option<u32>,
        fragment: Cow<'_, str>,
        sink: &mut EventSink<'_>,
    ) {
        let trimmed = fragment.trim_ascii();
        if self.is_placeholder && !self.is_ended {
            if trimmed.is_empty() || is_empty_object(trimmed) {
                return;
            }
            *self = Self::default();
        }
        self.fragments += 1;
        if self.is_whole {
            self.echo.push_str(&fragment);
            return;
        }
        self.is_placeholder = self.text.is_empty() && is_empty_object(trimmed);
        self.text.push_str(&fragment);
        self.is_whole = self.tracker.push(&fragment);
        if self.is_placeholder {
            return;
        }
        match index {
            Some(index) if self.emitted + fragment.len() == self.text.len() => {
                self.emitted = self.text.len();
                emit(sink, Event::ToolArguments { index, fragment });
            }
            _ => self.emit_rest(index, sink),
        }
        if self.is_whole {
            self.end(index, sink);
        }
    }

    /// Adds the whole arguments, of which some or all may have come in fragments.
    pub(crate) fn push_whole(&mut self, index: Option<u32>, whole: &str, sink: &mut EventSink<'_>) {
        let rest = whole.strip_prefix(self.text());
        match rest {
            Some(rest) if !self.is_whole || self.is_placeholder => {
                if !rest.is_empty() {
                    self.push(index, rest.to_owned().into(), sink);
                }
            }
            _ => whole.clone_into(&mut self.echo),
        }
    }

    /// Emits what waits.
    pub(crate) fn emit_waiting(&mut self, index: Option<u32>, sink: &mut EventSink<'_>) {
        if !self.is_placeholder {
            self.emit_rest(index, sink);
            if self.is_whole {
                self.end(index, sink);
            }
        }
    }

    fn emit_rest(&mut self, index: Option<u32>, sink: &mut EventSink<'_>) {
        if let Some(index) = index.filter(|_| self.emitted < self.text.len()) {
            let fragment = self.text[self.emitted..].into();
            emit(sink, Event::ToolArguments { index, fragment });
            self.emitted = self.text.len();
        }
    }

    /// Ends the arguments of a call that was announced.
    pub(crate) fn end(&mut self, index: Option<u32>, sink: &mut EventSink<'_>) {
        let Some(known) = index.filter(|_| !self.is_ended) else {
            return;
        };
        self.emit_rest(index, sink);
        self.is_ended = true;
        emit(sink, Event::ToolEnd { index: known });
    }

    /// Checks that the arguments are one JSON text, and that what came after them was the same once
    /// more.
    ///
    /// # Errors
    ///
    /// An error of the upstream that names the tool.
    pub(crate) fn check(&self, name: &str) -> Result<(), Failure> {
        let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        let name = || crate::json::excerpt(name);
        if !self.text.trim_ascii().is_empty() && !is_json(&self.text) {
            return Err(Failure::upstream_error(format!(
                "the upstream's call of the tool `{}` has arguments that are not whole JSON",
                name()
            )));
        }
        if self.echo.trim_ascii().is_empty() || is_same_json(&self.echo, &self.text) {
            return Ok(());
        }
        Err(Failure::upstream_error(format!(
            "the upstream sent two different arguments for one call of the tool `{}`",
            name()
        )))
    }
}

/// Returns true for an object without fields, however it is spaced.
fn is_empty_object(text: &str) -> bool {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

fn is_same_json(a: &str, b: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    a == b || value(a).is_some_and(|a| value(b) == Some(a))
}
