//! JSON values of requests, read where they are.
//!
//! A request is the client's: a few megabytes of small values would take fifty times as much memory
//! as a tree, for as long as the request runs. A view is two words, and looking into it scans the
//! text again. Where a field is repeated the last one counts, as in a tree.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::cursor::{Cursor, RawJson, walk_raw};

/// A value that is valid JSON; null if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Json<'a>(RawJson<'a>);

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(RawJson::of_valid(raw.get()))
    }
}

impl<'a> From<Option<&'a RawValue>> for Json<'a> {
    fn from(raw: Option<&'a RawValue>) -> Self {
        raw.map_or(Self::NULL, Self::from)
    }
}

impl<'a> Json<'a> {
    /// The value of a missing field.
    pub(crate) const NULL: Self = Self(RawJson::NULL);

    /// Returns a view of a text that is known to be valid JSON.
    pub(crate) fn of_valid(text: &'a str) -> Self {
        Self(RawJson::of_valid(text))
    }

    /// Returns a view of a text, if it is valid JSON.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(Self::from)
    }

    /// Returns the value as `serde_json` has it.
    pub(crate) fn as_raw_value(self) -> &'a RawValue {
        serde_json::from_str(self.raw()).unwrap_or(RawValue::NULL)
    }

    /// Returns the value as it was sent.
    pub(crate) fn raw(self) -> &'a str {
        self.0.get()
    }

    /// Returns the value of a field; null for anything but an object that has it.
    pub(crate) fn get(self, name: &str) -> Json<'a> {
        let mut found = Self::NULL;
        self.each_field(|field, value| {
            if field == name.as_bytes() {
                found = value;
            }
        });
        found
    }

    /// Calls the closure with each field of an object; never for anything else.
    pub(crate) fn each_field(self, mut field: impl FnMut(&[u8], Json<'a>)) {
        if !self.is_object() {
            return;
        }
        // Valid JSON can't fail.
        let _ = walk_raw(self.0, |cursor| {
            cursor.object(|name, cursor| {
                field(name, Self(cursor.raw()?));
                Ok(())
            })
        });
    }

    /// Returns the elements of a list; none for anything else.
    pub(crate) fn items(self) -> Items<'a> {
        Items(self.is_list().then(|| Cursor::at_list(self.0)))
    }

    /// Returns the number of elements of a list.
    pub(crate) fn len(self) -> usize {
        self.items().count()
    }

    /// Returns the text of a string.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        self.0.text()
    }

    /// Returns the text of a string; an empty one for anything else.
    pub(crate) fn string(self) -> String {
        self.text().map_or_else(String::new, Cow::into_owned)
    }

    /// Returns true for exactly this string.
    pub(crate) fn is(self, text: &str) -> bool {
        self.text().is_some_and(|own| own == text)
    }

    /// Returns a boolean.
    pub(crate) fn as_bool(self) -> Option<bool> {
        match self.raw() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Returns a number of that type.
    pub(crate) fn number<T: DeserializeOwned>(self) -> Option<T> {
        let is_number = self
            .raw()
            .starts_with(|first: char| first == '-' || first.is_ascii_digit());
        serde_json::from_str(self.raw()).ok().filter(|_| is_number)
    }

    pub(crate) fn is_null(self) -> bool {
        self.raw() == "null"
    }

    pub(crate) fn is_object(self) -> bool {
        self.raw().starts_with('{')
    }

    pub(crate) fn is_list(self) -> bool {
        self.raw().starts_with('[')
    }

    /// Returns true for a value that means the same as its absence.
    pub(crate) fn is_empty(self) -> bool {
        match self.raw() {
            "null" | "false" | "\"\"" => true,
            list if self.is_list() => list[1..list.len() - 1].trim_ascii().is_empty(),
            object if self.is_object() => object[1..object.len() - 1].trim_ascii().is_empty(),
            _ => false,
        }
    }

    /// Returns the strings of a list, or a single string as a list of one; at most `most`.
    pub(crate) fn strings(self, most: usize) -> Vec<String> {
        match self.text() {
            Some(text) => vec![text.into_owned()],
            None => {
                let texts = self.items().filter_map(Json::text).take(most);
                texts.map(Cow::into_owned).collect()
            }
        }
    }

    /// Returns the value without white space between its parts, and with replacement characters for
    /// halves of surrogate pairs, which other readers refuse.
    pub(crate) fn compact(self) -> String {
        let text = self.0.without_lone_surrogates();
        let mut out = String::with_capacity(text.len());
        let (mut in_string, mut escaped) = (false, false);
        for char in text.chars() {
            let is_space = !in_string && matches!(char, ' ' | '\n' | '\t' | '\r');
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = !in_string,
                _ => {}
            }
            if !is_space {
                out.push(char);
            }
        }
        out
    }

    /// Returns the value as a tree, for values whose size is bounded.
    pub(crate) fn to_tree(self) -> Value {
        serde_json::from_str(self.raw()).unwrap_or_default()
    }
}

/// The elements of a list.
#[derive(Debug)]
pub(crate) struct Items<'a>(Option<Cursor<'a>>);

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let next = self.0.as_mut()?.next_element();
        if next.is_none() {
            self.0 = None;
        }
        next.map(Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_says_what_a_tree_would() {
        let text = r#" {"a": [1, "x", {"b": null}, []], "t\u0065xt": "é\n", "n": -2.5, "i": 7, "yes": true, "a ": {}, "i": 8} "#;
        let tree: Value = serde_json::from_str(text).unwrap_or_default();
        let view = Json::of_valid(text.trim());
        assert_eq!(view.get("text").text().as_deref(), tree["text"].as_str());
        assert_eq!(view.get("i").number::<u64>(), tree["i"].as_u64());
        assert_eq!(view.get("n").number::<f64>(), tree["n"].as_f64());
        assert_eq!(view.get("n").number::<u64>(), tree["n"].as_u64());
        assert_eq!(view.get("text").number::<f64>(), None);
        assert_eq!(view.get("yes").as_bool(), Some(true));
        assert!(view.get("none").is_null() && view.get("i").get("x").is_null());
        let items: Vec<Value> = view.get("a").items().map(Json::to_tree).collect();
        assert_eq!(Value::from(items), tree["a"]);
        assert_eq!(view.get("a").len(), 4);
        assert_eq!(view.items().count() + view.get("yes").items().count(), 0);
        assert_eq!(view.get("a").compact(), tree["a"].to_string());
        assert!(view.get("a ").is_empty() && !view.get("a").is_empty());
        assert!(Json::of_valid("[ ]").is_empty() && Json::of_valid("[ ]").items().next().is_none());
    }

    #[test]
    fn strings_are_one_or_many() {
        assert_eq!(Json::of_valid("\"a\"").strings(9), ["a"]);
        assert_eq!(
            Json::of_valid(r#"["a", 1, "b", "c"]"#).strings(2),
            ["a", "b"]
        );
        assert!(Json::of_valid("{}").strings(9).is_empty());
    }
}
