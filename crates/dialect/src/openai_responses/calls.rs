//! Puts the tool calls of an answer together. Arguments may come in fragments, whole at the end of
//! the call or of its item, or only with the whole response.

use std::borrow::Cow;

use serde_json::Value;

use super::payload::ItemKey;
use crate::call_arguments::CallArguments;
use crate::event::Event;
use crate::failure::Failure;
use crate::{EventSink, MAX_CALLS, MAX_HELD_BYTES, emit, too_many_error, tools};

/// The tool calls of one answer.
#[derive(Debug, Default)]
pub(super) struct ItemCalls {
    calls: Vec<ItemCall>,
    /// Number of calls that were announced.
    announced: u32,
    /// Size of what is held of all calls, in bytes.
    held: usize,
}

/// A tool call, which is an item of the output.
#[derive(Debug)]
struct ItemCall {
    key: ItemKey,
    id: String,
    name: String,
    /// Index of the call in the answer, once it is announced.
    index: Option<u32>,
    arguments: CallArguments,
}

/// Returns true for an item that is a tool call.
pub(super) fn is_call(item: &Value) -> bool {
    matches!(
        item["type"].as_str(),
        Some("function_call" | "custom_tool_call")
    )
}

/// Returns a call's arguments; the free text of a custom tool becomes an object.
fn arguments(item: &Value) -> String {
    match item["input"].as_str() {
        Some(input) => tools::custom_arguments(input),
        None => match &item["arguments"] {
            Value::String(arguments) => arguments.clone(),
            Value::Null => String::new(),
            // Some send the object itself instead of its text.
            arguments => arguments.to_string(),
        },
    }
}

impl ItemCalls {
    /// Returns true if no call has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Reads the item of a call that begins.
    pub(super) fn begin(
        &mut self,
        key: ItemKey,
        item: &Value,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let at = self.find(key)?;
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        if self.calls[at].id.is_empty() {
            self.hold(text("call_id").len())?;
            text("call_id").clone_into(&mut self.calls[at].id);
        }
        if self.calls[at].index.is_some() || text("name").is_empty() {
            return Ok(());
        }
        self.hold(text("name").len())?;
        text("name").clone_into(&mut self.calls[at].name);
        let id = self.calls[at].id.as_str();
        let is_known = |known: &ItemCall| known.index.is_some() && known.id == id;
        let id: Cow<'_, str> = if id.is_empty() || self.calls.iter().any(is_known) {
            format!("call_{}", base::id::random_hex()).into()
        } else {
            id.into()
        };
        let index = self.announced;
        self.announced += 1;
        let name = text("name").into();
        emit(sink, Event::ToolCall { index, id, name });
        let call = &mut self.calls[at];
        call.index = Some(index);
        call.arguments.emit_waiting(call.index, sink);
        Ok(())
    }

    /// Reads the item of a call that is complete.
    pub(super) fn complete(
        &mut self,
        key: ItemKey,
        item: &Value,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        self.begin(key.clone(), item, sink)?;
        self.read_whole(key, &arguments(item), sink)
    }

    /// Reads a call of the whole response, of which some or all may have come before.
    pub(super) fn complete_last(
        &mut self,
        place: u64,
        item: &Value,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let id = item["call_id"].as_str().unwrap_or_default();
        let place = ItemKey::Place(place);
        let by_id = |call: &&ItemCall| !id.is_empty() && call.id == id;
        let by_place = |call: &&ItemCall| {
            call.key == place && (id.is_empty() || call.id.is_empty() || call.id == id)
        };
        let known = self.calls.iter().find(by_id);
        let known = known.or_else(|| self.calls.iter().find(by_place));
        let key = match known {
            Some(call) => call.key.clone(),
            None => ItemKey::Unnamed(self.calls.len()),
        };
        self.complete(key, item, sink)
    }

    /// Reads a fragment of a call's arguments.
    pub(super) fn read_fragment(
        &mut self,
        key: ItemKey,
        fragment: Cow<'_, str>,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let at = self.find(key)?;
        self.hold(fragment.len())?;
        let call = &mut self.calls[at];
        call.arguments.push(call.index, fragment, sink);
        Ok(())
    }

    /// Reads a piece of the text that a custom tool is called with.
    pub(super) fn read_custom_text(
        &mut self,
        key: ItemKey,
        text: &str,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let at = self.find(key.clone())?;
        let mut fragment = match self.calls[at].arguments.fragments() {
            0 => tools::CUSTOM_START.to_owned(),
            _ => String::new(),
        };
        tools::push_escaped(&mut fragment, text);
        self.read_fragment(key, fragment.into(), sink)
    }

    /// Reads a call's whole arguments, which may have come in fragments before.
    pub(super) fn read_whole(
        &mut self,
        key: ItemKey,
        whole: &str,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        // Some upstreams have them only in a later event.
        if matches!(whole, "" | "null") {
            return Ok(());
        }
        let at = self.find(key)?;
        // What came before is there already.
        let known = self.calls[at].arguments.text().len();
        self.hold(whole.len().saturating_sub(known))?;
        let call = &mut self.calls[at];
        call.arguments.push_whole(call.index, whole, sink);
        Ok(())
    }

    /// Ends all calls. `cut` says that the answer was cut off, and its last call perhaps with it.
    ///
    /// # Errors
    ///
    /// A call without a name, or with arguments that are not one JSON text.
    pub(super) fn close(&mut self, cut: bool, sink: &mut EventSink<'_>) -> Result<(), Failure> {
        for call in &mut self.calls {
            call.arguments.end(call.index, sink);
            if cut {
                continue;
            }
            if call.index.is_none() {
                let message = "the upstream sent a tool call without a name";
                return Err(Failure::upstream_error(message));
            }
            call.arguments.check(&call.name)?;
        }
        Ok(())
    }

    fn hold(&mut self, size: usize) -> Result<(), Failure> {
        self.held += size;
        if self.held > MAX_HELD_BYTES {
            return Err(Failure::response_too_large(MAX_HELD_BYTES));
        }
        Ok(())
    }

    /// Returns the place of the call of that key, which begins if there is none.
    fn find(&mut self, key: ItemKey) -> Result<usize, Failure> {
        if let Some(at) = self.calls.iter().position(|call| call.key == key) {
            return Ok(at);
        }
        if self.calls.len() == MAX_CALLS {
            return Err(too_many_error("items"));
        }
        self.hold(key.size())?;
        self.calls.push(ItemCall {
            key,
            id: String::new(),
            name: String::new(),
            index: None,
            arguments: CallArguments::default(),
        });
        Ok(self.calls.len() - 1)
    }
}
