//! Puts the tool calls of an answer together from deltas in every order and shape.
//!
//! Providers disagree on all of it: indexes are missing, the same for every call or begin at 1; ids
//! are missing, late or new with each delta; a name comes late, in pieces or each time again;
//! arguments begin with a placeholder or come once more when they are whole.

use std::borrow::Cow;

use super::chunk::{FunctionFields, ToolCallFields};
use crate::call_arguments::{CallArguments, EMPTY_OBJECT};
use crate::event::Event;
use crate::failure::Failure;
use crate::json::{RawJson, walk_raw};
use crate::{EventSink, MAX_CALLS, MAX_HELD_BYTES, emit, too_many_error, tools};

/// The tool calls of one answer.
#[derive(Debug, Default)]
pub(super) struct CallAssembler {
    calls: Vec<StreamedCall>,
    /// Number of calls that were announced.
    announced: u32,
    /// Size of what is held of all calls, in bytes.
    held: usize,
}

/// A tool call that has begun.
#[derive(Debug, Default)]
struct StreamedCall {
    /// The upstream's index of the call; not unique everywhere.
    number: Option<u32>,
    /// The upstream's id of the call; not unique everywhere.
    id: Option<String>,
    name: String,
    /// Its deltas have the name each time.
    repeats_name: bool,
    /// It calls a custom tool, whose text becomes an object.
    is_custom: bool,
    /// Index of the call in the answer, once it is announced.
    index: Option<u32>,
    arguments: CallArguments,
}

/// The place of a delta in its list.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListPlace {
    pub(super) at: usize,
    /// Length of the list.
    pub(super) count: usize,
    /// Number of calls that had begun before the list.
    pub(super) known: usize,
}

/// The fields of a call in one delta; nothing in it is empty.
struct CallDelta<'a> {
    number: Option<u32>,
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    fragment: Option<Cow<'a, str>>,
    /// The fragment is a piece of a custom tool's text.
    is_custom: bool,
}

impl<'a> CallDelta<'a> {
    /// Parses the fields of a call.
    ///
    /// # Errors
    ///
    /// When its function can't be read: without it the call would look complete.
    fn of(call: &ToolCallFields<'a>) -> Result<Self, Failure> {
        let [function, custom] =
            [call.function, call.custom].map(|raw| raw.filter(|raw| raw.get() != "null"));
        let function = match function.or(custom) {
            None => FunctionFields::default(),
            Some(raw) => walk_raw(raw, FunctionFields::parse)
                .map_err(|error| Failure::bad_payload("a tool call's function", error.into()))?,
        };
        let text = |raw: RawJson<'a>| raw.text().filter(|text| !text.is_empty());
        let id = call.id.filter(|raw| raw.get() != "null");
        // Groq sends `"null"` for none; some send the object itself instead of its text, and PHP an
        // empty list for an empty object.
        let input = function.input.and_then(text);
        let is_custom = input.is_some();
        let fragment = function
            .arguments
            .filter(|_| !is_custom)
            .and_then(|raw| match raw.get() {
                "null" => None,
                "[]" => Some(EMPTY_OBJECT.into()),
                json => Some(raw.text().unwrap_or(json.into())),
            });
        Ok(Self {
            number: call.index.and_then(number),
            id: id
                .map(|raw| raw.text().unwrap_or(raw.get().into()))
                .filter(|id| !id.is_empty()),
            name: function.name.and_then(text),
            fragment: input.or(fragment.filter(|text| !matches!(&**text, "" | "null"))),
            is_custom,
        })
    }
}

/// Parses an index, which some send as a string or a float.
fn number(raw: RawJson<'_>) -> Option<u32> {
    let digits = raw.get().trim_matches('"');
    digits.strip_suffix(".0").unwrap_or(digits).parse().ok()
}

impl CallAssembler {
    /// Returns true if no call has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Reads the delta of a call.
    pub(super) fn read_delta(
        &mut self,
        place: ListPlace,
        call: &ToolCallFields<'_>,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let delta = CallDelta::of(call)?;
        if let (None, None, None) = (&delta.id, &delta.name, &delta.fragment) {
            return Ok(());
        }
        let at = match self.find(&delta, place) {
            Some(at) => at,
            None => self.begin()?,
        };
        self.update(at, delta, sink)
    }

    /// Reads a call of a whole message, which may have come in deltas before: it is read then only
    /// for what is missing.
    pub(super) fn read_whole(
        &mut self,
        ListPlace { at, known, .. }: ListPlace,
        call: &ToolCallFields<'_>,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let mut delta = CallDelta::of(call)?;
        if at >= known {
            let at = self.begin()?;
            return self.update(at, delta, sink);
        }
        let whole = delta.fragment.take().map(|whole| match delta.is_custom {
            true => tools::custom_arguments(&whole).into(),
            false => whole,
        });
        let is_named = !self.calls[at].name.is_empty();
        delta.name = delta.name.filter(|_| !is_named);
        self.update(at, delta, sink)?;
        if let Some(whole) = whole {
            self.hold(whole.len())?;
            self.announce(at, sink);
            let call = &mut self.calls[at];
            call.arguments.push_whole(call.index, &whole, sink);
        }
        Ok(())
    }

    /// Returns the number of calls that have begun.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Ends all calls. `cut` says that the answer was cut off, and its last call perhaps with it.
    ///
    /// # Errors
    ///
    /// A call without a name, or with arguments that are not one JSON text.
    pub(super) fn close(&mut self, cut: bool, sink: &mut EventSink<'_>) -> Result<(), Failure> {
        for at in 0..self.calls.len() {
            let call = &mut self.calls[at];
            if call.name.is_empty() {
                if cut {
                    continue;
                }
                let message = "the upstream sent a tool call without a name";
                return Err(Failure::upstream_error(message));
            }
            self.announce(at, sink);
            let call = &mut self.calls[at];
            if call.is_custom && !call.arguments.is_whole() && !cut {
                call.arguments
                    .push(call.index, tools::CUSTOM_END.into(), sink);
            }
            call.arguments.end(call.index, sink);
            if !cut {
                call.arguments.check(&call.name)?;
            }
        }
        Ok(())
    }

    /// Returns the place of the call that a delta belongs to; `None` for another call.
    fn find(&self, delta: &CallDelta<'_>, list: ListPlace) -> Option<usize> {
        let same_number = |call: &StreamedCall| match (delta.number, call.number) {
            (Some(number), Some(known)) => number == known,
            _ => true,
        };
        let by_id = delta.id.as_ref().and_then(|id| {
            let is_it =
                |call: &StreamedCall| call.id.as_deref() == Some(&**id) && same_number(call);
            self.calls.iter().rposition(is_it)
        });
        let place = by_id.or_else(|| match delta.number {
            Some(number) => self
                .calls
                .iter()
                .rposition(|call| call.number == Some(number)),
            None if list.count > 1 => (list.known + list.at).checked_sub(list.count),
            None => self
                .calls
                .iter()
                .rposition(|call| !call.arguments.is_whole())
                .or(self.calls.len().checked_sub(1)),
        })?;
        // A list doesn't name a call twice.
        let is_begun_here = place >= list.known && delta.name.is_some();
        (!is_begun_here && self.calls[place].takes(delta)).then_some(place)
    }

    /// Begins another call, and returns its place.
    fn begin(&mut self) -> Result<usize, Failure> {
        if self.calls.len() == MAX_CALLS {
            return Err(too_many_error("tool calls"));
        }
        self.calls.push(StreamedCall::default());
        Ok(self.calls.len() - 1)
    }

    fn update(
        &mut self,
        at: usize,
        delta: CallDelta<'_>,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let call = &mut self.calls[at];
        call.number = call.number.or(delta.number);
        if let (None, Some(id)) = (&call.id, delta.id) {
            self.held += id.len();
            call.id = Some(id.into_owned());
        }
        if let Some(name) = delta.name {
            self.held += name.len();
            call.add_name(&name);
        }
        let Some(mut fragment) = delta.fragment else {
            return self.hold(0);
        };
        if delta.is_custom {
            let is_begun = std::mem::replace(&mut call.is_custom, true);
            let mut escaped = String::new();
            if !is_begun {
                escaped.push_str(tools::CUSTOM_START);
            }
            tools::push_escaped(&mut escaped, &fragment);
            fragment = escaped.into();
        }
        self.hold(fragment.len())?;
        self.announce(at, sink);
        let call = &mut self.calls[at];
        call.arguments.push(call.index, fragment, sink);
        if !call.arguments.is_placeholder() {
            self.end_placeholders(at, sink);
        }
        Ok(())
    }

    /// Counts what is held of the calls.
    fn hold(&mut self, size: usize) -> Result<(), Failure> {
        self.held += size;
        if self.held > MAX_HELD_BYTES {
            return Err(Failure::response_too_large(MAX_HELD_BYTES));
        }
        Ok(())
    }

    /// Announces a call and those before it, as far as their names are known. A name may come in
    /// pieces, so this is done when arguments begin.
    fn announce(&mut self, last: usize, sink: &mut EventSink<'_>) {
        if self.calls[last].index.is_some() {
            return;
        }
        for at in 0..=last {
            let (before, call) = self.calls.split_at_mut(at);
            let Some(call) = call.first_mut() else {
                return;
            };
            if call.index.is_some() || call.name.is_empty() {
                continue;
            }
            let id = call.id.as_deref();
            let is_known = before.iter().any(|known| known.id.as_deref() == id);
            let id: Cow<'_, str> = match id {
                Some(id) if !is_known => id.into(),
                _ => format!("call_{}", base::id::random_hex()).into(),
            };
            let index = self.announced;
            self.announced += 1;
            let name = call.name.as_str().into();
            emit(sink, Event::ToolCall { index, id, name });
            call.index = Some(index);
            call.arguments.emit_waiting(call.index, sink);
        }
    }

    /// Ends the calls before one whose arguments have begun and that have only a placeholder.
    fn end_placeholders(&mut self, before: usize, sink: &mut EventSink<'_>) {
        for call in &mut self.calls[..before] {
            if call.arguments.is_placeholder() {
                call.arguments.end(call.index, sink);
            }
        }
    }
}

impl StreamedCall {
    /// Returns true if a delta that was sent under this call's index or id is one of this call, and
    /// not the begin of another.
    fn takes(&self, delta: &CallDelta<'_>) -> bool {
        let Some(name) = &delta.name else {
            return true;
        };
        if self.name.is_empty() {
            return true;
        }
        let same_id = match (&delta.id, &self.id) {
            (Some(id), Some(known)) if **id != **known => return false,
            (Some(_), Some(_)) => true,
            _ => false,
        };
        if **name != *self.name {
            // A piece of the name, if it can't be another call's.
            let is_id_missing = delta.id.is_none() && self.id.is_some();
            let is_same = same_id || (is_id_missing && delta.number.is_some());
            return is_same && self.arguments.fragments() == 0;
        }
        match &delta.fragment {
            _ if !self.arguments.is_whole() => true,
            None => same_id || (delta.id.is_none() && self.repeats_name),
            // Once more the same, or another call of the same tool?
            Some(fragment) if same_id => {
                self.arguments.is_placeholder() || self.arguments.is_same(fragment)
            }
            Some(fragment) => {
                self.arguments.fragments() > 1
                    && delta.id.is_none()
                    && self.arguments.is_same(fragment)
            }
        }
    }

    /// Adds a piece of the name, or the whole name once more.
    fn add_name(&mut self, name: &str) {
        self.repeats_name |= self.name == name;
        if self.index.is_some() || self.name == name {
            return;
        }
        if name.starts_with(&self.name) {
            self.name.clear();
        }
        self.name.push_str(name);
    }
}
