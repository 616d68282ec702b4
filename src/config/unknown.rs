//! The search for unknown keys, and for values that should be tables and are not.

use toml::{Table, Value};

use super::key::Key;
use super::limits::check_limits;
use super::problems::Problems;
use super::source::Source;
use base::suggest::did_you_mean;

/// Reports every unknown key and the known one that is most like it.
pub(super) fn report_unknown_keys(source: &Source, problems: &mut Problems) {
    let known: Vec<&str> = source.keys.general().map(|key| key.path).collect();
    for (name, value) in &source.table {
        let section: Vec<&str> = known
            .iter()
            .filter_map(|key| key.strip_prefix(name.as_str())?.strip_prefix('.'))
            .collect();
        match (name.as_str(), value) {
            ("providers", Value::Table(providers)) => {
                check_providers(source, providers, problems);
            }
            ("providers", _) => {
                let problem = "should hold tables, as in [providers.openai]";
                problems.add(source.problem(name, problem));
            }
            ("models", Value::Array(models)) => check_models(source, models, problems),
            ("families", Value::Array(families)) => check_families(source, families, problems),
            ("teams", Value::Array(teams)) => {
                check_entries(source, ("teams", source.keys.team), teams, problems);
            }
            (_, Value::Table(table)) if !section.is_empty() => {
                check_section(source, name, table, &section, problems);
            }
            (_, _) if !section.is_empty() => {
                problems.add(source.problem(name, format!("should be a section, [{name}]")));
            }
            _ if known.contains(&name.as_str()) => {}
            _ => report_at_the_top(source, name, &known, problems),
        }
    }
}

/// Reports the unknown keys of a section, and of those within it.
fn check_section(source: &Source, at: &str, table: &Table, keys: &[&str], problems: &mut Problems) {
    let mut names: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.split('.').next())
        .collect();
    names.dedup();
    check_table(source, at, table, &names, problems);
    for (name, value) in table {
        let within: Vec<&str> = keys
            .iter()
            .filter_map(|key| key.strip_prefix(name.as_str())?.strip_prefix('.'))
            .collect();
        match value {
            _ if within.is_empty() => {}
            Value::Table(table) => {
                check_section(source, &format!("{at}.{name}"), table, &within, problems);
            }
            _ => {
                let at = format!("{at}.{name}");
                problems.add(source.problem(&at, format!("should be a section, [{at}]")));
            }
        }
    }
}

fn report_at_the_top(source: &Source, name: &str, known: &[&str], problems: &mut Problems) {
    let mut top: Vec<&str> = known
        .iter()
        .map(|key| key.split('.').next().unwrap_or(key))
        .collect();
    top.push("providers");
    top.dedup();
    // A key may also stand in the wrong section.
    let moved = known
        .iter()
        .copied()
        .find(|key| key.rsplit('.').next() == Some(name));
    let nearest = moved.or_else(|| did_you_mean(name, &top));
    problems.add(source.problem(name, unknown(nearest, &top)));
    if let Some(nearest) = nearest {
        problems.add_meant(nearest.to_owned());
    }
}

fn check_providers(source: &Source, providers: &Table, problems: &mut Problems) {
    let keys = paths(source.keys.provider);
    for (provider, value) in providers {
        let at = format!("providers.{provider}");
        match value {
            Value::Table(table) => check_table(source, &at, table, &keys, problems),
            _ => problems.add(source.problem(&at, "should be a table, as in [providers.openai]")),
        }
    }
}

fn check_models(source: &Source, models: &[Value], problems: &mut Problems) {
    let (keys, target_keys) = (paths(source.keys.model), paths(source.keys.target));
    for (at, model) in models.iter().enumerate() {
        let at = format!("models.{at}");
        let Value::Table(model) = model else {
            problems.add(source.problem(&at, "should be a table, as in [[models]]"));
            continue;
        };
        check_table(source, &at, model, &keys, problems);
        let targets = model.get("targets").and_then(Value::as_array);
        for (nth, target) in targets.into_iter().flatten().enumerate() {
            let at = format!("{at}.targets.{nth}");
            match target {
                Value::Table(target) => check_table(source, &at, target, &target_keys, problems),
                _ => {
                    let problem = "should be a table, as in { provider = \"openai\" }";
                    problems.add(source.problem(&at, problem));
                }
            }
        }
    }
}

fn check_families(source: &Source, families: &[Value], problems: &mut Problems) {
    let keys = paths(source.keys.family);
    for (at, family) in families.iter().enumerate() {
        let at = format!("families.{at}");
        match family {
            Value::Table(table) => check_table(source, &at, table, &keys, problems),
            _ => problems.add(source.problem(&at, "should be a table, as in [[families]]")),
        }
    }
}

/// Reports the unknown keys of a list of entries that may have limits.
pub(super) fn check_entries(
    source: &Source,
    (name, keys): (&str, &'static [Key]),
    entries: &[Value],
    problems: &mut Problems,
) {
    let keys = paths(keys);
    for (at, entry) in entries.iter().enumerate() {
        let at = format!("{name}.{at}");
        match entry {
            Value::Table(table) => {
                check_table(source, &at, table, &keys, problems);
                check_limits(source, &at, table, problems);
            }
            _ => {
                let problem = format!("should be a table, as in [[{name}]]");
                problems.add(source.problem(&at, problem));
            }
        }
    }
}

pub(super) fn check_table(
    source: &Source,
    at: &str,
    table: &Table,
    keys: &[&str],
    problems: &mut Problems,
) {
    for key in table.keys().filter(|key| !keys.contains(&key.as_str())) {
        let is_secret = key == "api_key" && keys.contains(&"api_key_env");
        let nearest = did_you_mean(key, keys);
        let problem = if is_secret {
            "a key doesn't stand here; name the variable that holds it by api_key_env, or the file by api_key_file"
                .to_owned()
        } else {
            unknown(nearest, keys)
        };
        problems.add(source.problem(&format!("{at}.{key}"), problem));
        if let Some(nearest) = nearest {
            problems.add_meant(format!("{at}.{nearest}"));
        }
    }
}

pub(super) fn paths(keys: &'static [Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.path).collect()
}

pub(super) fn unknown(nearest: Option<&str>, known: &[&str]) -> String {
    let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    let known = known.join(", ");
    format!("there is no such key{hint} (known here: {known})")
}
