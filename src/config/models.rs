//! `[[models]]` and `default_model`: the names that clients ask for.

use std::collections::BTreeMap;

use toml::Value;

use super::reader::{among, text};
use super::source::{ConfigError, Source};
use super::{MOCK, Model, Provider, ProviderName, Target};

/// The default must be a model. With none configured they are the mock's, which are not known here.
pub(super) fn default_model(
    source: &Source,
    models: &[Model],
) -> Result<Option<String>, ConfigError> {
    const KEY: &str = "default_model";
    let Some(name) = text(source, KEY)? else {
        return Ok(None);
    };
    let known: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    if known.is_empty() || known.contains(&"*") || known.contains(&name) {
        return Ok(Some(name.to_owned()));
    }
    Err(source.error(
        KEY,
        format!("there is no model `{name}`{}", among(name, &known)),
    ))
}

pub(super) fn models(
    source: &Source,
    providers: &BTreeMap<ProviderName, Provider>,
) -> Result<Vec<Model>, ConfigError> {
    let list = match source.get("models") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(source.error("models", "should be a list, as in [[models]]")),
    };
    let mut models: Vec<Model> = Vec::new();
    for at in 0..list.len() {
        let key = format!("models.{at}");
        let name_key = format!("{key}.name");
        let Some(name) = text(source, &name_key)? else {
            return Err(source.error(
                &key,
                "`name` is missing, such as name = \"fast\" or name = \"*\"",
            ));
        };
        if models.iter().any(|model| model.name == name) {
            return Err(source.error(&name_key, format!("there is a model `{name}` already")));
        }
        let target = target(source, &key, name, providers)?;
        models.push(Model {
            name: name.to_owned(),
            target,
        });
    }
    Ok(models)
}

fn target(
    source: &Source,
    model: &str,
    name: &str,
    providers: &BTreeMap<ProviderName, Provider>,
) -> Result<Target, ConfigError> {
    let key = format!("{model}.targets");
    match source.get(&key) {
        Some(Value::Array(targets)) if targets.len() == 1 => {}
        Some(Value::Array(targets)) if targets.len() > 1 => {
            return Err(source.error(&key, "one target per model for now; leave only the first"));
        }
        Some(other) if !other.as_array().is_some_and(Vec::is_empty) => {
            return Err(source.error(&key, "should be a list, as in [{ provider = \"openai\" }]"));
        }
        _ => {
            return Err(source.error(
                model,
                "`targets` is missing, as in targets = [{ provider = \"openai\" }]",
            ));
        }
    }
    let provider_key = format!("{key}.0.provider");
    let Some(provider) = text(source, &provider_key)? else {
        return Err(source.error(
            &key,
            "the target names no provider, as in [{ provider = \"openai\" }]",
        ));
    };
    let provider = ProviderName(provider.to_owned());
    if provider.as_str() != MOCK && !providers.contains_key(&provider) {
        let mut known: Vec<&str> = providers.keys().map(ProviderName::as_str).collect();
        known.push(MOCK);
        let among = among(provider.as_str(), &known);
        return Err(source.error(
            &provider_key,
            format!("there is no provider `{provider}`{among}"),
        ));
    }
    let upstream = text(source, &format!("{key}.0.model"))?;
    if name == "*" && upstream.is_some() {
        return Err(source.error(
            &format!("{key}.0.model"),
            "the model `*` passes every name on as it is; leave this out",
        ));
    }
    Ok(Target {
        provider,
        model: upstream.map(str::to_owned),
    })
}
