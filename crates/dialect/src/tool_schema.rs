//! The schema of a tool's arguments, in the form that all upstreams take: an object, with its
//! properties, and without alternatives at the top.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::json::{Json, MAX_SCHEMA_NESTING, ObjectWriter};
use crate::request::{JsonText, MAX_STRINGS};

/// The most schemas that are merged into one.
const MAX_BRANCHES: usize = 64;
/// The most different schemas of one property.
const MAX_ALTERNATIVES: usize = 16;

/// Keywords at the top that OpenAI and Anthropic refuse there.
const COMBINING: [&str; 4] = ["anyOf", "oneOf", "allOf", "$ref"];
/// The same, which have no properties to keep.
const RESTRICTING: [&str; 2] = ["enum", "not"];

/// Returns whether a schema has keywords at the top that [`schema`] dissolves.
pub(super) fn has_alternatives(parameters: &JsonText) -> bool {
    has_top(parameters, |name| combines(name) || restricts(name))
}

fn has_top(parameters: &JsonText, is_it: impl Fn(&[u8]) -> bool) -> bool {
    let mut has = false;
    parameters
        .view()
        .each_field(|name, value| has |= is_it(name) && !value.is_null());
    has
}

fn restricts(name: &[u8]) -> bool {
    RESTRICTING.iter().any(|word| word.as_bytes() == name)
}

fn combines(name: &[u8]) -> bool {
    COMBINING.iter().any(|word| word.as_bytes() == name)
}

/// Returns a tool's schema as an object with properties: those of all alternatives at the top, of
/// which all that each requires are required.
pub(super) fn schema(parameters: &JsonText) -> JsonText {
    let top = parameters.view();
    let mut merged = Merged::default();
    let is_combined = has_top(parameters, combines);
    if is_combined {
        merged.add(top, top, 0);
    }
    // Room for what is added.
    let mut whole = ObjectWriter::with_capacity(top.raw().len() + 64);
    let mut has_properties = false;
    whole.field("type", "object");
    top.each_field(|name, value| match name {
        b"type" => {}
        _ if value.is_null() => {}
        b"properties" if !value.is_object() => {}
        b"required" if !value.is_list() => {}
        name if restricts(name) => {}
        b"properties" | b"required" if is_combined => {}
        name if combines(name) => {}
        name => {
            has_properties |= name == b"properties";
            put_keyword(name, value, 0, &mut whole);
        }
    });
    if is_combined {
        whole.object("properties", |properties| merged.write(properties));
        if !merged.required.is_empty() {
            whole.field("required", &merged.required);
        }
    } else if !has_properties {
        whole.raw("properties", "{}");
    }
    JsonText::of_valid(whole.finish())
}

/// Returns a schema as it is, but for values in it that are none: for an upstream that takes
/// alternatives at the top.
pub(super) fn repaired(parameters: &JsonText) -> JsonText {
    let top = parameters.view();
    if !top.is_object() {
        return JsonText::of_valid(br#"{"type":"object","properties":{}}"#.to_vec());
    }
    match mended(top, 0) {
        Cow::Borrowed(_) => parameters.clone(),
        Cow::Owned(whole) => JsonText::of_valid(whole),
    }
}

/// Returns whether a schema may have values that are none. Python's `None` becomes this word where
/// a library writes it as a text, and PHP writes an empty object as a list.
fn has_odd_values(raw: &str) -> bool {
    ["null", "\"None\"", "[]"]
        .into_iter()
        .any(|odd| raw.contains(odd))
}

fn is_none(value: Json<'_>) -> bool {
    value.is_null() || value.is("None")
}

/// Returns a schema without the values in it that are none, on every level.
fn mended(schema: Json<'_>, depth: usize) -> Cow<'_, [u8]> {
    if !schema.is_object() || depth > MAX_SCHEMA_NESTING || !has_odd_values(schema.raw()) {
        return schema.raw().as_bytes().into();
    }
    let mut whole = ObjectWriter::with_capacity(schema.raw().len());
    schema.each_field(|name, value| put_keyword(name, value, depth, &mut whole));
    whole.finish().into()
}

/// Writes a keyword of a schema, unless it has no value.
fn put_keyword(name: &[u8], value: Json<'_>, depth: usize, out: &mut ObjectWriter) {
    let next = depth + 1;
    match name {
        // The value is the client's own.
        b"default" | b"const" => out.raw_bytes(name, value.raw().as_bytes()),
        _ if value.is_null() => {}
        b"enum" | b"example" | b"examples" => out.raw_bytes(name, value.raw().as_bytes()),
        b"type" if value.is("None") => {}
        b"type" if value.is_list() => {
            out.raw_bytes(
                name,
                &list_of(value, |kind| match is_none(kind) {
                    true => br#""null""#.into(),
                    false => kind.raw().as_bytes().into(),
                }),
            );
        }
        b"properties" | b"patternProperties" | b"$defs" | b"definitions" | b"dependentSchemas" => {
            // A list is no such thing, but for PHP.
            if value.is_object() {
                out.raw_bytes(name, &schemas_of(value, next));
            }
        }
        // In YAML the word for the type of nothing is no text.
        b"anyOf" | b"oneOf" if value.is_list() => {
            out.raw_bytes(
                name,
                &list_of(value, |branch| match means_null(branch) {
                    true => br#"{"type":"null"}"#.into(),
                    false => mended(branch, next),
                }),
            );
        }
        _ if value.is_list() => {
            out.raw_bytes(name, &list_of(value, |item| mended(item, next)));
        }
        _ => out.raw_bytes(name, &mended(value, next)),
    }
}

/// Returns whether an alternative says nothing but a type that is none.
fn means_null(branch: Json<'_>) -> bool {
    let (mut count, mut is_it) = (0, branch.is_null());
    branch.each_field(|name, value| {
        count += 1;
        is_it = name == b"type" && is_none(value);
    });
    is_it && count < 2
}

/// Returns an object whose fields are schemas.
fn schemas_of(named: Json<'_>, depth: usize) -> Vec<u8> {
    let mut whole = ObjectWriter::with_capacity(named.raw().len());
    named.each_field(|name, schema| match schema.is_null() {
        true => whole.raw_bytes(name, b"{}"),
        false => whole.raw_bytes(name, &mended(schema, depth)),
    });
    whole.finish()
}

fn list_of<'a>(list: Json<'a>, item: impl Fn(Json<'a>) -> Cow<'a, [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(list.raw().len());
    out.push(b'[');
    for (at, value) in list.items().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&item(value));
    }
    out.push(b']');
    out
}

/// The properties that several schemas have together.
#[derive(Default)]
struct Merged<'a> {
    /// Each property and its different schemas.
    properties: Vec<(Vec<u8>, Vec<Json<'a>>)>,
    /// The place of each property in the list.
    places: HashMap<Vec<u8>, usize>,
    required: Vec<String>,
    branches: usize,
}

impl<'a> Merged<'a> {
    /// Adds a schema and all of its alternatives.
    fn add(&mut self, top: Json<'a>, schema: Json<'a>, depth: usize) {
        self.branches += 1;
        if depth > 4 || self.branches > MAX_BRANCHES {
            return;
        }
        schema.get("properties").each_field(|name, value| {
            let count = self.properties.len();
            let at = *self.places.entry(name.to_vec()).or_insert(count);
            match self.properties.get_mut(at) {
                None => self.properties.push((name.to_vec(), vec![value])),
                Some((_, values)) => {
                    let is_new = values.iter().all(|known| known.raw() != value.raw());
                    if is_new && values.len() < MAX_ALTERNATIVES {
                        values.push(value);
                    }
                }
            }
        });
        self.require(schema.get("required").strings(MAX_STRINGS));
        if let Some(meant) = resolve(top, schema.get("$ref")) {
            self.add(top, meant, depth + 1);
        }
        for branch in schema.get("allOf").items() {
            self.add(top, branch, depth + 1);
        }
        for word in ["anyOf", "oneOf"] {
            let mut common: Option<Vec<String>> = None;
            for branch in schema.get(word).items() {
                let before = std::mem::take(&mut self.required);
                self.add(top, branch, depth + 1);
                let own = std::mem::replace(&mut self.required, before);
                common = Some(match common {
                    None => own,
                    Some(known) => {
                        let own: HashSet<String> = own.into_iter().collect();
                        let known = known.into_iter();
                        known.filter(|name| own.contains(name)).collect()
                    }
                });
            }
            self.require(common.unwrap_or_default());
        }
    }

    fn require(&mut self, names: Vec<String>) {
        for name in names {
            if self.required.len() < MAX_STRINGS && !self.required.contains(&name) {
                self.required.push(name);
            }
        }
    }

    fn write(&self, properties: &mut ObjectWriter) {
        for (name, values) in &self.properties {
            match &values[..] {
                [value] if value.is_null() => properties.raw_bytes(name, b"{}"),
                [value] => properties.raw_bytes(name, &mended(*value, 1)),
                values => {
                    let schemas = values.iter().map(|value| mended(*value, 1));
                    let schemas = schemas.collect::<Vec<_>>().join(&b',');
                    properties.raw_bytes(name, &[br#"{"anyOf":["#, &schemas[..], b"]}"].concat());
                }
            }
        }
    }
}

/// Returns the schema within the same document that a reference names.
fn resolve<'a>(top: Json<'a>, reference: Json<'a>) -> Option<Json<'a>> {
    let reference = reference.text()?;
    let path = reference.strip_prefix("#/")?;
    let found = path.split('/').fold(top, |found, name| found.get(name));
    found.is_object().then_some(found)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn fitted(schema_: Value) -> Value {
        serde_json::from_str(schema(&JsonText::from(schema_)).as_str()).unwrap()
    }

    #[test]
    fn a_schema_becomes_an_object() {
        let object = json!({ "type": "object", "properties": {} });
        for odd in [
            json!(null),
            json!({}),
            json!({ "type": null }),
            json!({ "type": "None" }),
            json!({ "type": "object", "properties": null }),
            json!({ "type": ["object", "null"], "properties": {} }),
            json!(true),
            json!([]),
        ] {
            assert_eq!(fitted(odd.clone()), object, "{odd}");
        }
        let whole = json!({
            "type": "object", "properties": { "a": { "anyOf": [{ "type": "string" }] } },
            "required": ["a"], "additionalProperties": false,
        });
        assert_eq!(fitted(whole.clone()), whole);
    }

    #[test]
    fn values_that_are_none_are_mended_on_every_level() {
        let odd = json!({ "type": null, "items": null, "properties": [], "minimum": 1 });
        let own = json!([null, "None", { "type": null }]);
        let schema = json!({ "type": "object", "properties": {
            "default": odd, "type": { "type": null }, "nothing": null,
            "either": { "anyOf": [{ "type": "string" }, { "type": null }, { "type": "None" }] },
            "odd": { "oneOf": [odd, { "allOf": [odd] }], "not": odd },
            "list": { "type": ["string", null], "items": [odd, { "items": odd }], "prefixItems": [odd] },
            "own": { "type": "None", "default": null, "const": null, "enum": own, "examples": own },
        }, "$defs": { "enum": odd } });
        let plain = json!({ "minimum": 1 });
        let null_type = json!({ "type": "null" });
        let mended = json!({ "type": "object", "properties": {
            "default": plain, "type": {}, "nothing": {},
            "either": { "anyOf": [{ "type": "string" }, null_type, null_type] },
            "odd": { "oneOf": [plain, { "allOf": [plain] }], "not": plain },
            "list": { "type": ["string", "null"], "items": [plain, { "items": plain }], "prefixItems": [plain] },
            "own": { "default": null, "const": null, "enum": own, "examples": own },
        }, "$defs": { "enum": plain } });
        assert_eq!(fitted(schema.clone()), mended);
        let whole = repaired(&JsonText::from(schema.clone()));
        assert_eq!(whole.view().to_tree(), mended);
        let merged = fitted(json!({ "allOf": [schema, { "properties": { "type": odd } }] }));
        let mut properties = mended["properties"].clone();
        properties["type"] = json!({ "anyOf": [{}, plain] });
        assert_eq!(merged["properties"], properties);
    }

    #[test]
    fn alternatives_become_one_object_with_what_all_require() {
        let schema = json!({
            "$defs": { "C": { "properties": { "c": { "type": "integer" } }, "required": ["c"] } },
            "properties": { "own": {} }, "required": ["own"],
            "anyOf": [
                { "properties": { "kind": { "const": "x" }, "a": {} }, "required": ["kind", "a"] },
                { "properties": { "kind": { "const": "y" } }, "required": ["kind"] },
            ],
            "allOf": [{ "$ref": "#/$defs/C" }],
        });
        let got = fitted(schema.clone());
        assert_eq!(
            got["properties"],
            json!({
                "own": {}, "c": { "type": "integer" },
                "kind": { "anyOf": [{ "const": "x" }, { "const": "y" }] }, "a": {},
            })
        );
        assert_eq!(got["required"], json!(["own", "c", "kind"]));
        assert_eq!(got["$defs"], schema["$defs"]);
        assert!(got.get("anyOf").is_none() && got.get("allOf").is_none());
    }

    #[test]
    fn a_schema_that_means_itself_ends() {
        let got = fitted(json!({ "$ref": "#/$defs/A", "$defs": { "A": {
            "properties": { "a": {} }, "anyOf": [{ "$ref": "#/$defs/A" }, { "$ref": "#/$defs/A" }],
        } } }));
        assert_eq!(got["properties"], json!({ "a": {} }));
    }
}
