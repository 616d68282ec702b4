//! `tokenrill init`: a configuration for the providers whose keys the environment names.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::{FLAVORS, Flavor};

/// Variables of a flavor's section besides its key: the configuration's key, the variables, and an
/// example of a value.
const PLACES: &[(&str, &str, &[&str], &str)] = &[
    (
        "azure",
        "base_url",
        &["AZURE_OPENAI_ENDPOINT", "AZURE_ENDPOINT"],
        "https://my-resource.openai.azure.com",
    ),
    (
        "vertex",
        "project",
        &["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"],
        "my-project-123",
    ),
    (
        "bedrock",
        "region",
        &["AWS_REGION", "AWS_DEFAULT_REGION"],
        "us-east-1",
    ),
];
/// Flavors with credentials that are no key, and the variable that tells that they are there.
const OTHER_CREDENTIALS: &[(&str, &str)] = &[
    ("azure", "AZURE_CLIENT_SECRET"),
    ("vertex", "GOOGLE_APPLICATION_CREDENTIALS"),
    ("bedrock", "AWS_SECRET_ACCESS_KEY"),
];
/// Flavors that another one stands for: they have the same key.
const VARIANTS: &[&str] = &["bedrock-mantle", "bedrock-invoke", "bedrock-converse"];

/// Returns a configuration with comments. It names variables, and holds no key.
pub(super) fn configuration(env: &BTreeMap<String, String>) -> String {
    let has = |name: &&str| env.get(*name).is_some_and(|value| !value.is_empty());
    let mut out = String::from(
        "# Written by `tokenrill init`. All keys: docs/configuration.md; flavors: docs/providers.md.\n\
         # Check it with `tokenrill check`, and each provider with `tokenrill probe NAME`.\n\n\
         listen = \"127.0.0.1:8080\"\n",
    );
    let mut found = Vec::new();
    let flavors = FLAVORS
        .iter()
        .filter(|flavor| !VARIANTS.contains(&flavor.name));
    for flavor in flavors {
        let key = flavor.keys.iter().find(|name| has(name));
        let others = OTHER_CREDENTIALS
            .iter()
            .filter(|(name, _)| *name == flavor.name);
        let variable = key.copied().or_else(|| {
            let mut variables = others.map(|(_, variable)| *variable);
            variables.find(|variable| has(variable))
        });
        if let Some(variable) = variable
            && write_provider(flavor, variable, env, &mut out)
        {
            found.push(flavor.name);
        }
    }
    write_models(&found, &mut out);
    out
}

/// Writes a provider's section; commented out, and false, if something else is missing.
fn write_provider(
    flavor: &Flavor,
    variable: &str,
    env: &BTreeMap<String, String>,
    out: &mut String,
) -> bool {
    let name = flavor.name;
    let mut lines = vec![
        format!("[providers.{name}]"),
        format!("flavor = \"{name}\"  # the credentials are in {variable}"),
    ];
    let mut is_whole = true;
    for (_, key, variables, example) in PLACES.iter().filter(|(flavor, ..)| *flavor == name) {
        let mut values = variables.iter().filter_map(|variable| env.get(*variable));
        let given = values.find(|value| !value.is_empty());
        // What is given is written as TOML has it.
        let value = toml::Value::from(given.map_or(*example, String::as_str));
        if given.is_none() {
            is_whole = false;
            lines.push(format!("{key} = {value}  # yours"));
        } else {
            lines.push(format!("{key} = {value}"));
        }
    }
    let spoken: Vec<&str> = flavor.homes.iter().map(|home| home.dialect).collect();
    if spoken.len() > 1 {
        lines.push(format!(
            "# dialect = \"{}\"  # or {}",
            spoken[0],
            spoken[1..].join(", ")
        ));
    }
    let mark = if is_whole { "" } else { "# " };
    out.push('\n');
    for line in lines {
        let _ = writeln!(out, "{mark}{line}");
    }
    is_whole
}

fn write_models(found: &[&str], out: &mut String) {
    let Some((first, others)) = found.split_first() else {
        out.push_str(
            "\n# No key of a provider was found in the environment: the embedded mock answers.\n\
             # [providers.openai]\n# flavor = \"openai\"  # with OPENAI_API_KEY\n\n\
             # [[models]]\n# name = \"*\"\n# targets = [{ provider = \"openai\" }]\n",
        );
        return;
    };
    for name in others {
        let _ = write!(
            out,
            "\n# A name for clients, and the model's name at {name}:\n# [[models]]\n# name = \"my-{name}\"\n\
             # targets = [{{ provider = \"{name}\", model = \"its-name-there\" }}]\n"
        );
    }
    let _ = write!(
        out,
        "\n# Every other name is passed on as it is.\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"{first}\" }}]\n"
    );
}
