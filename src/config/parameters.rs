//! `drop`, `rename` and `set` of `[[models]]`: changes to the parameters of its requests.

use std::collections::BTreeMap;

use dialect::Parameters;
use toml::{Table, Value};

use super::families::{text_table, texts};
use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::{Reader, wrong};

pub(super) const DROP: Key = Key::new(
    "drop",
    Kind::List,
    Said("`[]`"),
    "fields of the provider's dialect that are left out, as in `[\"top_p\", \"generationConfig.seed\"]`; of the client's own requests too",
);
pub(super) const RENAME: Key = Key::new(
    "rename",
    Kind::Texts,
    Said("none"),
    "fields that are sent under another name, `{ max_tokens = \"max_completion_tokens\" }`",
);
pub(super) const SET: Key = Key::new(
    "set",
    Kind::Table,
    Said("none"),
    "fields that have this value whatever the client says, `{ temperature = 1, \"chat_template_kwargs.enable_thinking\" = false }`",
);

/// Fields without which a request is another.
const FIXED: &[&str] = &["model", "stream", "messages", "input", "contents"];

/// Reads the changes to a model's parameters.
pub(super) fn parameters(reader: &mut Reader<'_>) -> Parameters {
    let set = reader.read(&SET, |value| {
        const WANT: &str = "a table of values, as in { temperature = 1 }";
        let table = value.as_table().ok_or_else(|| wrong(WANT, value))?;
        Ok(flattened(table))
    });
    let parameters = Parameters {
        drop: texts(reader, &DROP).unwrap_or_default(),
        rename: text_table(reader, &RENAME).unwrap_or_default(),
        set: set.unwrap_or_default(),
    };
    let names = [
        (&DROP, parameters.drop.iter().collect::<Vec<_>>()),
        (
            &RENAME,
            parameters
                .rename
                .iter()
                .flat_map(|(old, new)| [old, new])
                .collect(),
        ),
        (&SET, parameters.set.keys().collect()),
    ];
    for (key, names) in names {
        if let Some(name) = names.iter().find(|name| FIXED.contains(&name.as_str())) {
            let path = reader.path(key);
            reader.report(
                &path,
                format!("names `{name}`, which is the request itself"),
            );
        }
    }
    parameters
}

/// Returns the values of a table as JSON, each with its path.
fn flattened(table: &Table) -> BTreeMap<String, String> {
    let json = |value: &Value| serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    let mut values = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                let inner = flattened(inner).into_iter();
                values.extend(inner.map(|(path, value)| (format!("{name}.{path}"), value)));
            }
            value => {
                values.insert(name.clone(), json(value));
            }
        }
    }
    values
}
