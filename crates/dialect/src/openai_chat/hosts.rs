//! Hosts of Chat Completions besides OpenAI, and the fields of a request in which each differs.
//!
//! A table: nothing here knows a model. What a family of models refuses, wherever it is served, is
//! not a matter of its host.

pub(super) mod table;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::families::Family;
use crate::json::{self, OrderedFields};
use crate::request::{
    CacheTtl, CustomNames, Format, Reasoning, Request, Role, Tool, ToolChoice, cache_control,
};
use crate::{Continuation, UpstreamPayload, tools};

/// A host, and its differences from OpenAI's.
#[derive(Debug)]
pub(super) struct ChatHost {
    /// The flavor's name in the configuration.
    pub(super) name: &'static str,
    /// Fields that it knows by another name.
    renames: &'static [(&'static str, &'static str)],
    /// Fields that it answers with an error.
    refuses: &'static [&'static str],
    /// It samples among the `top_k` likeliest tokens.
    has_top_k: bool,
    /// It takes a JSON schema for its answer, not only `json_object`.
    has_schemas: bool,
    /// It can be told to call some tool.
    has_required_choice: bool,
    reasoning: ReasoningField,
    ids: CallIds,
    prefill: Prefill,
    marks: CacheMarks,
    /// It knows custom tools, which take a text.
    has_custom_tools: bool,
    /// It takes files of OpenAI's store by their ids.
    has_stored_files: bool,
    /// It has thoughts among the parts of content, and takes them back there.
    has_thoughts_in_content: bool,
}

/// The way to ask for reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReasoningField {
    /// `reasoning_effort`.
    Effort,
    /// `reasoning_effort`, which is `none` or `high`.
    OnOrOff,
    /// `reasoning: {effort}` or `{max_tokens}`.
    Object,
    /// `thinking: {type}` besides `reasoning_effort`.
    Thinking,
    /// `thinking: {type}` alone.
    ThinkingOnly,
    /// `enable_thinking` and `thinking_budget`.
    Flag,
    /// `reasoning_effort`, and `enable_thinking` for the chat template.
    Template,
}

/// The form of the ids of tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallIds {
    /// At most 40 characters.
    Short,
    /// Exactly nine letters and digits.
    Nine,
}

/// The places where a host takes marks of what is to be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CacheMarks {
    /// None: it caches by itself, or not at all.
    Nowhere,
    /// Parts of messages.
    Content,
    /// Parts of messages and tools, each with its time to live.
    Everywhere,
}

/// The way to let a model continue the assistant's last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefill {
    /// As the model likes.
    Unmarked,
    /// A field of that message is true.
    Field(&'static str),
    /// Fields of the request say so.
    Continue,
}

impl ChatHost {
    /// Returns a tool call's id in the form that the host takes; the same every time, so that a
    /// call and its result still match.
    pub(super) fn fit_id<'a>(&self, id: &'a str) -> Cow<'a, str> {
        match self.ids {
            CallIds::Short => tools::fit_id(id, 40),
            CallIds::Nine => nine_characters(id),
        }
    }

    /// Returns the field that marks the assistant's last message as the beginning of the answer.
    pub(super) fn prefill_field(&self) -> Option<&'static str> {
        match self.prefill {
            Prefill::Field(field) => Some(field),
            Prefill::Unmarked | Prefill::Continue => None,
        }
    }

    /// Returns whether the host's models go on with the assistant's last message.
    pub(super) fn takes_prefill_by_itself(&self) -> bool {
        self.prefill != Prefill::Unmarked
    }

    /// Returns the custom tools of a request that are sent as such.
    pub(super) fn custom_tools<'a>(&self, request: &'a Request) -> CustomNames<'a> {
        match self.has_custom_tools {
            true => CustomNames::of(request),
            false => CustomNames::default(),
        }
    }

    /// Returns whether files of OpenAI's store may be named.
    pub(super) fn takes_stored_files(&self) -> bool {
        self.has_stored_files
    }

    /// Returns whether thoughts may stand among the parts of content.
    pub(super) fn takes_thoughts_in_content(&self) -> bool {
        self.has_thoughts_in_content
    }

    /// Returns the mark behind a part of a message, if the host takes it.
    pub(super) fn content_mark(&self, ttl: CacheTtl) -> Option<Value> {
        match self.marks {
            CacheMarks::Nowhere => None,
            CacheMarks::Content => Some(cache_control(CacheTtl::Default)),
            CacheMarks::Everywhere => Some(cache_control(ttl)),
        }
    }

    /// Returns the mark of a tool, if the host takes it.
    pub(super) fn tool_mark(&self, tool: &Tool) -> Option<Value> {
        let ttl = tool.cache.filter(|_| self.marks == CacheMarks::Everywhere);
        ttl.map(cache_control)
    }

    /// Returns whether any mark of a request is left out.
    pub(super) fn leaves_out_marks(&self, request: &Request) -> bool {
        match self.marks {
            CacheMarks::Nowhere => request.has_cache_breakpoint(),
            CacheMarks::Content => request.tools.iter().any(|tool| tool.cache.is_some()),
            CacheMarks::Everywhere => false,
        }
    }

    /// Returns the client's own body, asking to go on with an answer that has begun.
    pub(super) fn continue_body(
        &self,
        body: &Bytes,
        continuation: &Continuation,
    ) -> Result<Bytes, Failure> {
        let prefill = self.prefill_field().filter(|_| continuation.turn.is_none());
        let messages = continuation.messages("assistant", |role, text| {
            let mut message = json!({ "role": role, "content": text });
            if let Some(field) = prefill {
                message[field] = true.into();
            }
            message
        });
        let limits = ["max_tokens", "max_completion_tokens"];
        let body = continuation.append(body, "messages", &messages, &limits)?;
        if self.prefill == Prefill::Continue && continuation.turn.is_none() {
            let goes_on = [
                ("continue_final_message", Some("true")),
                ("add_generation_prompt", Some("false")),
            ];
            return json::with_fields(&body, &goes_on);
        }
        Ok(body)
    }

    /// Changes a request that was written as for OpenAI into the host's.
    ///
    /// Options that the family's `rules` drop are not sent in the host's form, either.
    pub(super) fn fit_payload(
        &self,
        request: &Request,
        rules: &Family,
        payload: UpstreamPayload,
    ) -> Result<UpstreamPayload, Failure> {
        let UpstreamPayload {
            body,
            mut dropped,
            names,
        } = payload;
        let mut fields: Vec<(&str, Value)> = Vec::new();
        if let Some(top_k) = request
            .sampling
            .top_k
            .filter(|_| self.has_top_k && !rules.drops("top_k"))
        {
            dropped.retain(|name| name != "top_k");
            fields.push(("top_k", top_k.into()));
        }
        if let Some(reasoning) = request.reasoning {
            self.set_reasoning(reasoning, rules, &mut fields, &mut dropped);
        }
        if let (false, Some(Format::Schema { .. })) = (self.has_schemas, &request.format) {
            fields.push(("response_format", json!({ "type": "json_object" })));
            dropped.push("the schema of the answer (sent as json_object)".to_owned());
        }
        if let (false, Some(ToolChoice::Required)) =
            (self.has_required_choice, &request.tool_choice)
            && !request.tools.is_empty()
        {
            fields.push(("tool_choice", "auto".into()));
            dropped.push("tool_choice required (sent as auto)".to_owned());
        }
        if self.prefill == Prefill::Continue && ends_with_prefill(request) {
            fields.push(("continue_final_message", true.into()));
            fields.push(("add_generation_prompt", false.into()));
        }
        fields.retain(|(name, _)| !rules.drops(name));
        let body = self.edit(&body, &fields, &mut dropped)?;
        Ok(UpstreamPayload {
            body,
            dropped,
            names,
        })
    }

    fn set_reasoning(
        &self,
        reasoning: Reasoning,
        rules: &Family,
        fields: &mut Vec<(&'static str, Value)>,
        dropped: &mut Vec<String>,
    ) {
        let Reasoning { effort, budget, .. } = reasoning;
        let is_on = !reasoning.is_off();
        let word = json!(effort.map(|effort| rules.effort(effort)));
        let switch = json!({ "type": if is_on { "enabled" } else { "disabled" } });
        match self.reasoning {
            ReasoningField::Effort => return,
            ReasoningField::OnOrOff => {
                let word = if is_on { "high" } else { "none" };
                fields.push(("reasoning_effort", word.into()));
            }
            ReasoningField::Object => {
                let how = match budget {
                    Some(tokens) if is_on => json!({ "max_tokens": tokens }),
                    None if is_on && effort.is_none() => json!({ "enabled": true }),
                    None if is_on => json!({ "effort": word }),
                    _ => json!({ "enabled": false }),
                };
                fields.extend([("reasoning", how), ("reasoning_effort", Value::Null)]);
            }
            ReasoningField::Thinking => {
                let effort = if is_on { word } else { Value::Null };
                fields.extend([("thinking", switch), ("reasoning_effort", effort)]);
            }
            ReasoningField::ThinkingOnly => {
                fields.extend([("thinking", switch), ("reasoning_effort", Value::Null)]);
            }
            ReasoningField::Flag => {
                let tokens = budget.filter(|_| is_on).map_or(Value::Null, Value::from);
                fields.push(("enable_thinking", is_on.into()));
                fields.extend([
                    ("thinking_budget", tokens),
                    ("reasoning_effort", Value::Null),
                ]);
            }
            ReasoningField::Template => {
                let flags = json!({ "enable_thinking": is_on });
                let effort = if is_on { word } else { Value::Null };
                fields.push(("chat_template_kwargs", flags));
                fields.push(("reasoning_effort", effort));
            }
        }
        // It was sent, in the host's own form.
        if !is_on
            || matches!(
                self.reasoning,
                ReasoningField::Object | ReasoningField::Flag
            )
        {
            dropped.retain(|name| !name.starts_with("the thinking budget"));
        }
    }

    /// Changes the client's own body as little as the host needs it. Without need it stays byte for
    /// byte the same.
    pub(super) fn fit_body(&self, body: Bytes) -> Result<Bytes, Failure> {
        let renamed = self.renames.iter().map(|(name, _)| *name);
        let mut names = renamed.chain(self.refuses.iter().copied());
        let is_named = |name: &str| memchr::memmem::find(&body, name.as_bytes()).is_some();
        if !names.any(is_named) {
            return Ok(body);
        }
        self.edit(&body, &[], &mut Vec::new())
    }

    /// Renames and leaves out the fields that the host wants so, and sets those of `fields`; null
    /// leaves a field out.
    fn edit(
        &self,
        body: &Bytes,
        fields: &[(&str, Value)],
        dropped: &mut Vec<String>,
    ) -> Result<Bytes, Failure> {
        if fields.is_empty() && self.renames.is_empty() && self.refuses.is_empty() {
            return Ok(body.clone());
        }
        let OrderedFields(found) =
            serde_json::from_slice(body).map_err(|error| Failure::internal(error.into()))?;
        // Clients that write every field have null for those that they don't use.
        let has = |name: &str| {
            let mut given = found.iter().filter(|(_, value)| !is_null(value));
            given.any(|(known, _)| known == name)
        };
        let mut kept = Vec::with_capacity(found.len() + fields.len());
        for (name, value) in &found {
            if fields.iter().any(|(set, _)| set == name) {
                continue;
            }
            if self.refuses.contains(&name.as_str()) {
                // The usage is asked for here; these hosts send it unasked.
                if name != "stream_options" && value.get() != "null" {
                    dropped.push(name.clone());
                }
                continue;
            }
            if is_null(value) && self.renames.iter().any(|(_, to)| to == name) {
                continue;
            }
            match self.renames.iter().find(|(from, _)| from == name) {
                Some((_, to)) if has(to) => {}
                Some((_, to)) => kept.push((*to, Cow::Borrowed(value.get()))),
                None => kept.push((name.as_str(), Cow::Borrowed(value.get()))),
            }
        }
        let set = fields.iter().filter(|(_, value)| !value.is_null());
        kept.extend(set.map(|(name, value)| (*name, Cow::Owned(value.to_string()))));
        Ok(json::object(
            kept.iter().map(|(name, value)| (*name, &**value)),
        ))
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Returns whether the last message is the beginning of the answer.
fn ends_with_prefill(request: &Request) -> bool {
    let last = request.messages.last();
    last.is_some_and(|message| message.role == Role::Assistant && !message.all_text().is_empty())
}

/// Returns an id of nine letters and digits; any other is hashed.
fn nine_characters(id: &str) -> Cow<'_, str> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.into();
    }
    let digest: [u8; 32] = Sha256::digest(id).into();
    let nine = digest.iter().take(9);
    nine.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests;
