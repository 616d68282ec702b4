//! Puts the tool calls of an answer together that are blocks of its content. The input comes in
//! fragments, at once when its block starts, or both.

use std::borrow::Cow;

use serde_json::Value;

use crate::call_arguments::CallArguments;
use crate::event::Event;
use crate::failure::Failure;
use crate::{EventSink, MAX_CALLS, MAX_HELD_BYTES, emit, too_many_error};

/// The tool calls of one answer, in the order of their indexes.
#[derive(Debug, Default)]
pub(super) struct BlockCalls {
    calls: Vec<BlockCall>,
    /// Size of what is held of all calls, in bytes.
    held: usize,
}

/// A tool call, which is a block of the content.
#[derive(Debug)]
struct BlockCall {
    id: String,
    name: String,
    /// Input that came with the start of the block. Fragments replace it.
    input: String,
    arguments: CallArguments,
}

impl BlockCalls {
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Starts the call of a block, of that id and name; returns its index.
    ///
    /// # Errors
    ///
    /// When all calls together are too many, or too large.
    pub(super) fn start(
        &mut self,
        (id, name): (&str, &str),
        input: &Value,
        sink: &mut EventSink<'_>,
    ) -> Result<u32, Failure> {
        if self.calls.len() == MAX_CALLS {
            return Err(too_many_error("tool calls"));
        }
        let index = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        let id: Cow<'_, str> = if id.is_empty() || self.calls.iter().any(|call| call.id == id) {
            format!("call_{}", base::id::random_hex()).into()
        } else {
            id.into()
        };
        let (event_id, event_name) = (id.as_ref().into(), name.into());
        let event = Event::ToolCall {
            index,
            id: event_id,
            name: event_name,
        };
        emit(sink, event);
        let input = match input {
            // Usually empty at first; a gateway may send the whole input at once.
            Value::Object(fields) if fields.is_empty() => String::new(),
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            input => input.to_string(),
        };
        self.held += id.len() + name.len() + input.len();
        if self.held > MAX_HELD_BYTES {
            return Err(Failure::response_too_large(MAX_HELD_BYTES));
        }
        self.calls.push(BlockCall {
            id: id.into_owned(),
            name: name.to_owned(),
            input,
            arguments: CallArguments::default(),
        });
        Ok(index)
    }

    /// Reads a fragment of a call's input.
    pub(super) fn read_fragment(
        &mut self,
        index: u32,
        fragment: Cow<'_, str>,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        self.held += fragment.len();
        if self.held > MAX_HELD_BYTES {
            return Err(Failure::response_too_large(MAX_HELD_BYTES));
        }
        if let Some(call) = self.calls.get_mut(index as usize) {
            call.arguments.push(Some(index), fragment, sink);
        }
        Ok(())
    }

    /// Ends a call whose block has stopped.
    pub(super) fn end(&mut self, index: u32, sink: &mut EventSink<'_>) {
        let Some(call) = self.calls.get_mut(index as usize) else {
            return;
        };
        let input = std::mem::take(&mut call.input);
        if call.arguments.text().is_empty() && !input.is_empty() {
            call.arguments.push_whole(Some(index), &input, sink);
        }
        call.arguments.end(Some(index), sink);
    }

    /// Ends all calls. `cut` says that the answer was cut off, and its last call perhaps with it.
    ///
    /// # Errors
    ///
    /// A call without a name, or with input that is not one JSON text.
    pub(super) fn close(&mut self, cut: bool, sink: &mut EventSink<'_>) -> Result<(), Failure> {
        for index in 0..self.calls.len() {
            self.end(u32::try_from(index).unwrap_or(u32::MAX), sink);
            let call = &self.calls[index];
            if cut {
                continue;
            }
            if call.name.is_empty() {
                let message = "the upstream sent a tool call without a name";
                return Err(Failure::upstream_error(message));
            }
            call.arguments.check(&call.name)?;
        }
        Ok(())
    }
}
