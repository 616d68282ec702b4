//! The body of an upstream request, written field by field.

use std::borrow::Cow;

use serde::Serialize;

use crate::families::Family;
use crate::json::{ListWriter, ObjectWriter};
use crate::request::{Effort, OpenAiOptions, Request};
use crate::{ToolNames, UpstreamPayload, tools};

/// Longest `prompt_cache_key` that OpenAI takes, in characters.
const MAX_CACHE_KEY: usize = 64;

/// A body under construction, with the parameters that it leaves out.
#[derive(Debug)]
pub(crate) struct PayloadBuilder<'a> {
    body: ObjectWriter,
    dropped: Vec<String>,
    rules: &'a Family,
}

impl<'a> PayloadBuilder<'a> {
    /// Returns a builder of an empty body, with room for about what the request has.
    pub(crate) fn new(request: &Request, rules: &'a Family) -> Self {
        let size = request.size();
        Self {
            body: ObjectWriter::with_capacity(size + size / 4),
            dropped: Vec::new(),
            rules,
        }
    }

    /// Writes a field if it has a value, and the model takes it.
    pub(crate) fn set(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value
            && self.takes(name)
        {
            self.body.field(self.rules.name_of(name), value);
        }
    }

    /// Returns whether the model takes a field, and records one that it does not.
    pub(crate) fn takes(&mut self, name: &str) -> bool {
        let is_dropped = self.rules.drops(name);
        if is_dropped {
            self.drop_param(name);
        }
        !is_dropped
    }

    /// Writes the options that both of OpenAI's dialects have, but for the verbosity.
    pub(crate) fn set_openai_options(&mut self, options: &OpenAiOptions) {
        let metadata = &options.metadata;
        self.set("metadata", (!metadata.is_null()).then_some(metadata));
        self.set("service_tier", options.service_tier.as_deref());
        let key = options.prompt_cache_key.as_deref();
        self.set("prompt_cache_key", key.map(fit_cache_key));
        let retention = options.prompt_cache_retention.as_deref();
        self.set("prompt_cache_retention", retention);
    }

    /// Writes the stop sequences, as many as the model takes.
    pub(crate) fn set_stop(&mut self, name: &str, stop: &[String], most: Option<usize>) {
        let most = most.unwrap_or(usize::MAX).min(stop.len());
        if most < stop.len() && !self.rules.drops(name) {
            self.drop_param(format!("stop (more than {most})"));
        }
        self.set(name, (most > 0).then(|| &stop[..most]));
    }

    /// Returns the model's word for an effort, and records another one than the client's.
    pub(crate) fn effort(&mut self, effort: Effort) -> &'a str {
        let word = self.rules.effort(effort);
        if word != effort.word() {
            self.drop_param(format!("effort {} (sent as {word})", effort.word()));
        }
        word
    }

    /// Writes a field whose value is a list; the closure may also record what it leaves out.
    pub(crate) fn list(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut ListWriter, &mut Vec<String>),
    ) {
        if !self.takes(name) {
            return;
        }
        let dropped = &mut self.dropped;
        self.body
            .list(self.rules.name_of(name), |list| write(list, dropped));
    }

    /// Writes a field whose value is an object.
    pub(crate) fn object(&mut self, name: &str, write: impl FnOnce(&mut ObjectWriter)) {
        if self.takes(name) {
            self.body.object(self.rules.name_of(name), write);
        }
    }

    /// Returns the list of parameters that are left out, or sent in another form.
    pub(crate) fn dropped(&mut self) -> &mut Vec<String> {
        &mut self.dropped
    }

    /// Records a parameter that is left out, or sent in another form.
    pub(crate) fn drop_param(&mut self, param: impl Into<String>) {
        self.dropped.push(param.into());
    }

    /// Records the parameters that the request has and the dialect lacks.
    pub(crate) fn drop_present(&mut self, params: &[(&str, bool)]) {
        for (param, _) in params.iter().filter(|(_, is_present)| *is_present) {
            self.drop_param(*param);
        }
    }

    /// Returns the finished body.
    pub(crate) fn finish(self) -> UpstreamPayload {
        UpstreamPayload {
            body: self.body.finish().into(),
            dropped: self.dropped,
            names: ToolNames::default(),
        }
    }
}

/// Returns a key that is short enough, the same every time for the same key.
fn fit_cache_key(key: &str) -> Cow<'_, str> {
    match key.chars().count() > MAX_CACHE_KEY {
        true => tools::digest("key_", key).into(),
        false => key.into(),
    }
}

/// Returns true for a penalty that has an effect.
pub(crate) fn has_effect(penalty: Option<f64>) -> bool {
    penalty.is_some_and(|penalty| penalty != 0.0)
}
