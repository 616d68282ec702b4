//! The reasoning of an assistant's message: read from a client's history, and sent back to where it
//! came from.

use std::borrow::Cow;

use crate::event::{ReasoningState, SIGNATURE_MARK, StateOrigin};
use crate::json::{Json, ListWriter, ObjectWriter};
use crate::openai_chat::hosts::ChatHost;
use crate::request::Part;

/// Fields of reasoning that are one text.
const TEXT_FIELDS: [&str; 3] = ["reasoning_content", "reasoning", "reasoning_text"];
/// The field that most upstreams have.
const USUAL_FIELD: &str = "reasoning_content";
/// The field in which Copilot seals `reasoning_text`.
const OPAQUE_FIELD: &str = "reasoning_opaque";

/// The field of a state that is a part of the content, with an empty text.
pub(in crate::openai_chat) const CONTENT_THOUGHT: &str = "content";
/// Fields in which a part of the content has its thought: a text, or a list of texts.
pub(in crate::openai_chat) const THOUGHT_FIELDS: [&str; 4] =
    ["thinking", "summary", "reasoning", "text"];

/// The reasoning of an assistant's message that this kind of upstream takes back.
#[derive(Default)]
pub(super) struct AssistantReasoning<'a> {
    /// Fields of text, each only back to where it came from: other upstreams reject unknown fields.
    pub(super) fields: Vec<(&'static str, Cow<'a, str>)>,
    /// OpenRouter's details, and the text of each.
    details: Vec<(Json<'a>, &'a str)>,
    /// LiteLLM's thinking blocks, and the text of each.
    blocks: Vec<(Json<'a>, &'a str)>,
    /// Parts of the content, and the text of each.
    parts: Vec<(Json<'a>, &'a str)>,
}

impl<'a> AssistantReasoning<'a> {
    /// Reasoning of other kinds of upstreams can't be sent back here.
    pub(super) fn of(parts: &'a [Part], host: &ChatHost) -> Self {
        let mut found = Self::default();
        for part in parts {
            let Part::Reasoning {
                text,
                state: Some(state),
            } = part
            else {
                continue;
            };
            if state.origin != StateOrigin::OpenAiChat {
                continue;
            }
            let field = TEXT_FIELDS.into_iter().find(|field| *field == state.value);
            if let Some(field) = field {
                found.add(field, text);
            } else if let Some(state) = Json::parse(&state.value).filter(|json| json.is_object()) {
                found.add_object(state, text);
            }
        }
        if !host.takes_thoughts_in_content() {
            found.parts.clear();
        }
        found
    }

    /// Returns the reasoning for an upstream that refuses calls without any: of other models the
    /// text alone, of none an empty text.
    pub(super) fn required(parts: &'a [Part], host: &ChatHost) -> Self {
        let mut found = Self::of(parts, host);
        let calls = |part: &Part| matches!(part, Part::ToolCall { .. });
        if found.is_empty() && parts.iter().any(calls) {
            found.add(USUAL_FIELD, "");
            for part in parts {
                if let Part::Reasoning { text, .. } = part {
                    found.add(USUAL_FIELD, text);
                }
            }
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
            && self.details.is_empty()
            && self.blocks.is_empty()
            && self.parts.is_empty()
    }

    /// Returns whether the content has to be a list, which begins with thoughts.
    pub(super) fn is_in_content(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Writes the parts of the content.
    pub(super) fn write_parts(&self, content: &mut ListWriter) {
        for (part, text) in &self.parts {
            content.object(|object| write_part(*part, text, object));
        }
    }

    fn add(&mut self, field: &'static str, text: &'a str) {
        match self.fields.iter_mut().find(|(name, _)| *name == field) {
            Some((_, before)) if before.is_empty() => *before = text.into(),
            Some((_, before)) => before.to_mut().push_str(text),
            None => self.fields.push((field, text.into())),
        }
    }

    fn add_object(&mut self, state: Json<'a>, text: &'a str) {
        if let Some(opaque) = state.get(OPAQUE_FIELD).text() {
            if !text.is_empty() {
                self.add("reasoning_text", text);
            }
            // Each seals all that was thought: the last one counts.
            self.fields.retain(|(name, _)| *name != OPAQUE_FIELD);
            self.fields.push((OPAQUE_FIELD, opaque));
        } else if state.get(CONTENT_THOUGHT).is_object() {
            self.parts.push((state.get(CONTENT_THOUGHT), text));
        } else if is_block(state) {
            self.blocks.push((state, text));
        } else {
            self.details.push((state, text));
        }
    }

    /// Writes the lists of details and blocks.
    pub(super) fn write_lists(&self, message: &mut ObjectWriter) {
        for (name, list) in [
            ("reasoning_details", &self.details),
            ("thinking_blocks", &self.blocks),
        ] {
            if !list.is_empty() {
                message.list(name, |out| {
                    for (state, text) in list {
                        out.object(|object| write_detail(*state, text, object));
                    }
                });
            }
        }
    }
}

fn is_block(state: Json<'_>) -> bool {
    let kind = state.get("type");
    kind.is("thinking") || kind.is("redacted_thinking")
}

/// Returns the field in which a detail has its text.
fn text_field(detail: Json<'_>) -> Option<&'static str> {
    let kinds = [
        ("reasoning.text", "text"),
        ("reasoning.summary", "summary"),
        ("thinking", "thinking"),
    ];
    let kind = detail.get("type");
    kinds
        .into_iter()
        .find_map(|(name, field)| kind.is(name).then_some(field))
}

fn write_detail(detail: Json<'_>, text: &str, object: &mut ObjectWriter) {
    let field = text_field(detail);
    detail.each_field(|name, value| {
        if field.is_none_or(|field| field.as_bytes() != name) {
            object.raw(&String::from_utf8_lossy(name), value.raw());
        }
    });
    if let Some(field) = field {
        object.field(field, text);
    }
}

/// Writes a part of the content, with its text in the place that is empty. A client may have made
/// the state: the text is written once.
fn write_part(part: Json<'_>, text: &str, object: &mut ObjectWriter) {
    let mut text = Some(text);
    part.each_field(|name, value| {
        let is_place = THOUGHT_FIELDS.iter().any(|field| field.as_bytes() == name);
        let inner = value.items().next().unwrap_or(Json::NULL);
        if is_place && value.is("") {
            let name = String::from_utf8_lossy(name);
            object.field(&name, text.take().unwrap_or_default());
        } else if is_place && value.is_list() {
            object.list(&String::from_utf8_lossy(name), |list| {
                if inner.is("") {
                    return list.value(text.take().unwrap_or_default());
                }
                list.object(|object| {
                    inner.each_field(|name, value| match name {
                        b"text" => object.field("text", text.take().unwrap_or_default()),
                        name => object.raw_bytes(name, value.raw().as_bytes()),
                    });
                });
            });
        } else {
            object.raw_bytes(name, value.raw().as_bytes());
        }
    });
}

/// The number of calls that each part of a message's reasoning comes after.
#[derive(Debug, Default)]
pub(super) struct ReasoningPlaces(Vec<usize>);

impl ReasoningPlaces {
    /// Moves the reasoning, with which the parts begin, between the calls that it was between.
    pub(super) fn restore(&self, parts: &mut Vec<Part>) {
        if self.0.iter().all(|place| *place == 0) {
            return;
        }
        let said = parts.split_off(self.0.len());
        let thoughts = std::mem::take(parts);
        let mut thoughts = self.0.iter().zip(thoughts).peekable();
        let mut calls = 0;
        for part in said {
            let is_call = matches!(part, Part::ToolCall { .. });
            while let Some((_, thought)) = thoughts.next_if(|(place, _)| {
                **place < calls || **place == calls && (is_call || calls == 0)
            }) {
                parts.push(thought);
            }
            calls += usize::from(is_call);
            parts.push(part);
        }
        parts.extend(thoughts.map(|(_, thought)| thought));
    }
}

/// Parses an assistant message's reasoning: detail by detail, or as one text.
pub(super) fn parse_reasoning(message: Json<'_>, parts: &mut Vec<Part>) -> ReasoningPlaces {
    let lists = [
        message.get("reasoning_details"),
        message.get("thinking_blocks"),
    ];
    parts.reserve_exact(lists.iter().map(|list| list.len()).sum());
    let shown = TEXT_FIELDS.into_iter().find_map(|field| {
        let text = message.get(field).text();
        text.filter(|text| !text.is_empty())
    });
    // Others number theirs otherwise.
    let is_own = lists.into_iter().flat_map(Json::items).any(is_sealed_here);
    let mut places = ReasoningPlaces::default();
    let mut last = None;
    let mut told = Vec::new();
    for detail in lists.into_iter().flat_map(Json::items) {
        let index = detail.get("index").number::<usize>().filter(|_| is_own);
        let part = parse_detail(detail);
        // Some clients keep the pieces of a stream as they came.
        if index.is_some()
            && index == last
            && let (
                Some(Part::Reasoning {
                    text,
                    state: before,
                }),
                Part::Reasoning { text: more, state },
            ) = (parts.last_mut(), &part)
            && before.is_none()
        {
            text.push_str(more);
            before.clone_from(state);
            continue;
        }
        last = index;
        let place = index.map_or(0, |index| index.saturating_sub(places.0.len()));
        places.0.push(place);
        if text_field(detail).is_some() {
            told.push(parts.len());
        }
        parts.push(part);
    }
    if let Some(shown) = shown.as_ref().filter(|_| is_own) {
        complete(parts, &told, shown);
    }
    if !parts.is_empty() {
        return places;
    }
    let opaque = message.get(OPAQUE_FIELD).text();
    let state = opaque
        .filter(|opaque| !opaque.is_empty())
        .map(|opaque| opaque_state(&opaque));
    if shown.is_some() || state.is_some() {
        parts.push(Part::Reasoning {
            text: shown.unwrap_or_default().into_owned(),
            state,
        });
    }
    places
}

/// Gives the text that is shown to details which lost theirs: some clients keep of each detail's
/// pieces the last one alone, which is the seal. `told` are the parts that had a text.
fn complete(parts: &mut [Part], told: &[usize], shown: &str) {
    let mut thoughts = told.iter().filter_map(|at| match &parts[*at] {
        Part::Reasoning { text, state } => Some((text, state)),
        _ => None,
    });
    let length: usize = thoughts.clone().map(|(text, _)| text.len()).sum();
    let is_lost = thoughts.any(|(text, _)| text.is_empty());
    if !is_lost || length >= shown.len() {
        return;
    }
    for (nth, at) in told.iter().enumerate() {
        if let Part::Reasoning { text, state } = &mut parts[*at] {
            text.clear();
            text.push_str(if nth == 0 { shown } else { "" });
            // The signature of one of several texts fits no other.
            if told.len() > 1 {
                state.take_if(|state| state.origin == StateOrigin::Anthropic);
            }
        }
    }
}

/// Returns whether a detail has a seal that was written here.
fn is_sealed_here(detail: Json<'_>) -> bool {
    let seals = [detail.get("signature"), detail.get("data")];
    let mut seals = seals.into_iter().filter_map(Json::text);
    seals.any(|seal| seal.starts_with(SIGNATURE_MARK))
}

fn parse_detail(detail: Json<'_>) -> Part {
    let signature = [detail.get("signature"), detail.get("data")]
        .into_iter()
        .find_map(Json::text);
    let state = signature
        .filter(|signature| !signature.is_empty())
        .map(|signature| {
            let state = ReasoningState::decode(&signature, StateOrigin::OpenAiChat);
            let value = if state.origin == StateOrigin::OpenAiChat
                && !state.value.starts_with('{')
                && !state.value.is_empty()
            {
                without_text(detail)
            } else {
                state.value.into_owned()
            };
            ReasoningState {
                origin: state.origin,
                value: value.into(),
            }
        });
    let text = ["text", "summary", "thinking"]
        .into_iter()
        .find_map(|field| detail.get(field).text());
    Part::Reasoning {
        text: text.unwrap_or_default().into_owned(),
        state,
    }
}

/// Parses reasoning among the parts of a message's content, as Mistral and Databricks have it.
pub(super) fn thinking_part(part: Json<'_>) -> Part {
    let texts = |field: &str| {
        let field = part.get(field);
        let inner = field.items().filter_map(|inner| inner.get("text").text());
        field.text().into_iter().chain(inner).collect::<String>()
    };
    let fields = ["thinking", "summary", "reasoning", "text"].into_iter();
    Part::Reasoning {
        text: fields.map(texts).collect(),
        // Its own upstream gets the whole body as it is.
        state: None,
    }
}

/// Returns the state of a sealed `reasoning_text`.
pub(in crate::openai_chat) fn opaque_state(opaque: &str) -> ReasoningState<'static> {
    let state = ReasoningState::decode(opaque, StateOrigin::OpenAiChat);
    let value = match state.origin {
        StateOrigin::OpenAiChat => serde_json::json!({ OPAQUE_FIELD: opaque }).to_string(),
        _ => state.value.into_owned(),
    };
    ReasoningState {
        origin: state.origin,
        value: value.into(),
    }
}

/// Returns a reasoning detail without its text, which is kept apart.
fn without_text(detail: Json<'_>) -> String {
    let field = text_field(detail).unwrap_or("text");
    let mut rest = ObjectWriter::new();
    detail.each_field(|name, value| {
        if name != field.as_bytes() {
            rest.raw(&String::from_utf8_lossy(name), &value.compact());
        }
    });
    String::from_utf8(rest.finish()).unwrap_or_default()
}
