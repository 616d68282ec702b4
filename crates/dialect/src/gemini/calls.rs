//! Puts the function calls of an answer together: whole ones, and those whose arguments arrive leaf
//! by leaf.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::arguments;
use crate::event::Event;
use crate::failure::Failure;
use crate::{EventSink, MAX_CALLS, MAX_HELD_BYTES, emit, too_many_error};

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct PartialCalls {
    /// Number of calls that were announced.
    count: u32,
    current: Option<PartialCall>,
    /// Ids of the calls so far: clients take two calls of one id for one.
    ids: HashSet<String>,
    /// Approximate size of what is held of all calls, in bytes.
    held: usize,
}

/// A call that is not complete.
#[derive(Debug)]
struct PartialCall {
    id: Option<String>,
    name: String,
    arguments: Value,
    /// More was announced.
    continues: bool,
}

impl PartialCalls {
    /// Returns true if no call has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Reads the call of a part: a whole one, or a piece of one.
    pub(super) fn read_call(
        &mut self,
        call: &Value,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let text = |name: &str| call[name].as_str().filter(|text| !text.is_empty());
        let (id, name) = (text("id"), text("name"));
        let is_same = self.current.as_ref().is_some_and(|current| {
            current.continues
                && name.is_none_or(|name| name == current.name)
                && (id.is_none() || current.id.is_none() || id == current.id.as_deref())
        });
        match name {
            _ if is_same => {}
            Some(name) => self.begin(id, name, sink)?,
            // The end of a call that has ended.
            None if is_empty(&call["args"]) && is_empty(&call["partialArgs"]) => return Ok(()),
            None => {
                let message = "the upstream sent a function call without a name";
                return Err(Failure::upstream_error(message));
            }
        }
        if sink.is_some() {
            self.read_arguments(call)?;
        }
        let continues = call["willContinue"] == true;
        if let Some(current) = &mut self.current {
            current.continues = continues;
        }
        if !continues {
            self.flush(sink);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        id: Option<&str>,
        name: &str,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        self.flush(sink);
        if self.count as usize == MAX_CALLS {
            return Err(too_many_error("function calls"));
        }
        self.hold(name.len() + id.map_or(0, str::len))?;
        let index = self.count;
        self.count += 1;
        let own = || format!("call_{}", base::id::random_hex());
        let known = id;
        let id = id.filter(|id| self.ids.insert((*id).to_owned()));
        let event = Event::ToolCall {
            index,
            id: id.map_or_else(own, str::to_owned).into(),
            name: name.into(),
        };
        emit(sink, event);
        self.current = Some(PartialCall {
            id: known.map(str::to_owned),
            name: name.to_owned(),
            arguments: json!({}),
            continues: false,
        });
        Ok(())
    }

    fn read_arguments(&mut self, call: &Value) -> Result<(), Failure> {
        let leaves = call["partialArgs"].as_array().into_iter().flatten();
        for leaf in leaves.clone() {
            let size = |name: &str| leaf[name].as_str().map_or(0, str::len);
            self.hold(size("stringValue") + size("jsonPath") + size_of::<Value>())?;
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        match &call["args"] {
            args if is_empty(args) => {}
            Value::Object(_) => current.arguments = call["args"].clone(),
            // Some send the text of the object.
            Value::String(text) => match serde_json::from_str(text) {
                Ok(value @ Value::Object(_)) => current.arguments = value,
                _ => return Err(unreadable(&current.name)),
            },
            _ => return Err(unreadable(&current.name)),
        }
        let taken = leaves.map(|leaf| arguments::put(&mut current.arguments, leaf));
        let taken = taken.sum();
        self.hold(taken)
    }

    /// Counts what is held of the calls.
    fn hold(&mut self, size: usize) -> Result<(), Failure> {
        self.held += size;
        match self.held > MAX_HELD_BYTES {
            true => Err(Failure::response_too_large(MAX_HELD_BYTES)),
            false => Ok(()),
        }
    }

    /// Emits the arguments of the current call, if there is one.
    fn flush(&mut self, sink: &mut EventSink<'_>) {
        if let Some(current) = self.current.take() {
            self.emit_arguments(current.arguments.to_string(), sink);
        }
    }

    /// Ends the current call, if there is one. `cut` says that the answer was cut off: a call that
    /// was to continue gets arguments that can't be mistaken for whole ones.
    pub(super) fn close(&mut self, cut: bool, sink: &mut EventSink<'_>) {
        let Some(current) = self.current.take() else {
            return;
        };
        let mut arguments = current.arguments.to_string();
        if cut && current.continues {
            arguments.pop();
        }
        self.emit_arguments(arguments, sink);
    }

    fn emit_arguments(&self, arguments: String, sink: &mut EventSink<'_>) {
        let index = self.count.saturating_sub(1);
        let fragment = arguments.into();
        emit(sink, Event::ToolArguments { index, fragment });
        emit(sink, Event::ToolEnd { index });
    }
}

/// Returns true for a value that says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn unreadable(name: &str) -> Failure {
    let name = crate::json::excerpt(name);
    Failure::upstream_error(format!(
        "the upstream's call of the tool `{name}` has arguments that are no JSON object"
    ))
}
