//! `[[models]]` and `default_model`: the names that clients ask for.

use std::collections::BTreeSet;

use toml::Value;

use super::continuation::{CONTINUE, CONTINUE_BY, continue_by};
use super::continue_turn::CONTINUE_TURN;
use super::key::Default::{Required, Said};
use super::key::{Key, Kind};
use super::parameters::{DROP, RENAME, SET, parameters};
use super::reader::{Reader, among};
use super::resume::{RESUME, resume_by};
use super::routing::{
    AFFINITY, ATTEMPTS, CHOOSE, HEDGE, QUEUE, RETRY_BUDGET, RETRY_UNCERTAIN, TIER, WEIGHT,
    routing_rules, tier_and_weight,
};
use super::sizes::{MAX_BODY_OF_MODEL, MAX_EVENT_OF_MODEL, MAX_RESPONSE_OF_MODEL, model_sizes};
use super::timeouts::{
    BETWEEN_TOKENS_OF_MODEL, FIRST_TOKEN_OF_MODEL, FIRST_TOKEN_OF_TARGET, TOTAL_OF_MODEL,
    model_timeouts, target_first_token,
};
use super::{MOCK, Model, ProviderName, Target};

pub(super) const DEFAULT_MODEL: Key = Key::new(
    "default_model",
    Kind::Text,
    Said("the first model"),
    "for requests that name none; one of the configured models",
);
pub(super) const MODELS: Key = Key::new(
    "models",
    Kind::Tables,
    Said("the mock's"),
    "what clients may ask for: see [`[[models]]`](#models)",
);

pub(super) const MODEL_KEYS: &[Key] = &[
    NAME,
    TARGETS,
    FIRST_TOKEN_OF_MODEL,
    BETWEEN_TOKENS_OF_MODEL,
    TOTAL_OF_MODEL,
    MAX_BODY_OF_MODEL,
    MAX_EVENT_OF_MODEL,
    MAX_RESPONSE_OF_MODEL,
    CHOOSE,
    ATTEMPTS,
    RETRY_BUDGET,
    RETRY_UNCERTAIN,
    AFFINITY,
    QUEUE,
    HEDGE,
    CONTINUE,
    CONTINUE_TURN,
    DROP,
    RENAME,
    SET,
];

const NAME: Key = Key::new(
    "name",
    Kind::Text,
    Required,
    "what clients ask for; `\"*\"` is every name that is not listed",
);
const TARGETS: Key = Key::new(
    "targets",
    Kind::Tables,
    Required,
    "`[{ provider = \"NAME\", model = \"its name there\" }]`, in the order in which they are preferred",
);

pub(super) const TARGET_KEYS: &[Key] = &[
    PROVIDER,
    MODEL,
    TIER,
    WEIGHT,
    FIRST_TOKEN_OF_TARGET,
    CONTINUE_BY,
    RESUME,
];

const PROVIDER: Key = Key::new(
    "provider",
    Kind::Text,
    Required,
    "the name of a provider's section, or `\"mock\"`",
);
const MODEL: Key = Key::new(
    "model",
    Kind::Text,
    Said("the same name"),
    "the model's name there",
);

/// Reads the default, which must be a model. With none configured they are the mock's, which are
/// not known here.
pub(super) fn default_model(reader: &mut Reader<'_>, models: &[Model]) -> Option<String> {
    let name = reader.text(&DEFAULT_MODEL)?;
    let known: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let is_known = known.is_empty() || known.contains(&"*") || known.contains(&name.as_str());
    if !is_known && reader.is_sound(MODELS.path) {
        let problem = format!("there is no model `{name}`{}", among(&name, &known));
        reader.report(DEFAULT_MODEL.path, problem);
    }
    Some(name)
}

/// Reads the models that can be read. No body is longer than `max_body`.
pub(super) fn models(reader: &mut Reader<'_>, max_body: usize) -> Vec<Model> {
    let count = reader.read(&MODELS, |value| match value {
        Value::Array(list) => Ok(list.len()),
        _ => Err("should be a list, as in [[models]]".to_owned()),
    });
    let mut names = BTreeSet::new();
    (0..count.unwrap_or(0))
        .filter_map(|at| {
            let at = format!("{}.{at}", MODELS.path);
            model(reader, &at, max_body, &mut names)
        })
        .collect()
}

fn model(
    reader: &mut Reader<'_>,
    at: &str,
    max_body: usize,
    names: &mut BTreeSet<String>,
) -> Option<Model> {
    let Some(Value::Table(_)) = reader.get(at) else {
        // Reported with the unknown keys.
        return None;
    };
    let reader = &mut reader.within(at.to_owned());
    let name = reader.text(&NAME);
    match &name {
        None => reader.report_missing(&NAME, "such as name = \"fast\" or name = \"*\""),
        Some(name) if !names.insert(name.clone()) => {
            let path = reader.path(&NAME);
            reader.report(&path, format!("there is a model `{name}` already"));
        }
        Some(_) => {}
    }
    let targets = targets(reader, name.as_deref() == Some("*"));
    let rules = routing_rules(reader, &targets);
    let timeouts = model_timeouts(reader);
    let sizes = model_sizes(reader, max_body);
    let parameters = parameters(reader);
    Some(Model {
        name: name?,
        targets: Some(targets).filter(|targets| !targets.is_empty())?,
        rules,
        timeouts,
        sizes,
        parameters,
    })
}

/// Reads the targets that can be read.
fn targets(reader: &mut Reader<'_>, passes_names_on: bool) -> Vec<Target> {
    let count = reader.read(&TARGETS, |value| match value {
        Value::Array(targets) => Ok(targets.len()),
        _ => Err("should be a list, as in [{ provider = \"openai\" }]".to_owned()),
    });
    let key = reader.path(&TARGETS);
    let Some(count @ 1..) = count else {
        reader.report_missing(&TARGETS, "as in targets = [{ provider = \"openai\" }]");
        return Vec::new();
    };
    (0..count)
        .filter_map(|number| target(reader, &key, number, passes_names_on))
        .collect()
}

fn target(
    reader: &mut Reader<'_>,
    key: &str,
    number: usize,
    passes_names_on: bool,
) -> Option<Target> {
    let at = format!("{key}.{number}");
    if !matches!(reader.get(&at), Some(Value::Table(_))) {
        return None;
    }
    let known: Vec<&str> = reader.providers().into_iter().chain([MOCK]).collect();
    let reader = &mut reader.within(at);
    let provider = reader.text(&PROVIDER);
    let path = reader.path(&PROVIDER);
    match &provider {
        None if reader.is_sound(&path) => {
            let problem = "the target names no provider, as in [{ provider = \"openai\" }]";
            reader.report(key, problem);
        }
        // With a broken or misspelled section of all providers nothing can be said.
        Some(name) if !reader.is_doubtful("providers") && !known.contains(&name.as_str()) => {
            let problem = format!("there is no provider `{name}`{}", among(name, &known));
            reader.report(&path, problem);
        }
        _ => {}
    }
    let upstream = reader.text(&MODEL);
    if passes_names_on && upstream.is_some() {
        let path = reader.path(&MODEL);
        let problem = "the model `*` passes every name on as it is; leave this out";
        reader.report(&path, problem);
    }
    let (tier, weight) = tier_and_weight(reader);
    Some(Target {
        provider: ProviderName(provider?),
        model: upstream,
        tier,
        weight,
        first_token: target_first_token(reader),
        continue_by: continue_by(reader),
        resume: resume_by(reader),
    })
}
