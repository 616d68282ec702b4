//! Changes to the parameters of a body, as the configuration has them for a model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::failure::Failure;
use crate::json::{Json, ObjectWriter};

/// Parameters that are left out, renamed or set, by their path in the upstream's body.
///
/// ```
/// use bytes::Bytes;
/// use dialect::Parameters;
///
/// let parameters = Parameters {
///     drop: vec!["top_p".to_owned()],
///     rename: [("max_tokens".to_owned(), "max_output".to_owned())].into(),
///     set: [("a.b".to_owned(), "1".to_owned())].into(),
/// };
/// let body = Bytes::from(r#"{"top_p": 0.5, "max_tokens": 9, "x": 1.50}"#);
/// assert_eq!(parameters.apply(&body)?, r#"{"max_output":9,"x":1.50,"a":{"b":1}}"#);
/// # Ok::<(), dialect::failure::Failure>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The paths of those that are left out.
    pub drop: Vec<String>,
    /// Other names, by path.
    pub rename: BTreeMap<String, String>,
    /// Values as JSON, by path.
    pub set: BTreeMap<String, String>,
}

impl Parameters {
    /// Returns whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.rename.is_empty() && self.set.is_empty()
    }

    /// Returns the body with the changes; all else stays byte for byte the same.
    ///
    /// # Errors
    ///
    /// Never for a body that is JSON.
    pub fn apply(&self, body: &Bytes) -> Result<Bytes, Failure> {
        if self.is_empty() {
            return Ok(body.clone());
        }
        let text = std::str::from_utf8(body).map_err(|e| Failure::internal(e.into()))?;
        let Some(object) = Json::parse(text).filter(|json| json.is_object()) else {
            return Ok(body.clone());
        };
        let mut out = ObjectWriter::with_capacity(body.len());
        self.write(object, "", &mut out);
        Ok(out.finish().into())
    }

    fn write(&self, object: Json<'_>, prefix: &str, out: &mut ObjectWriter) {
        let mut inner: Vec<String> = Vec::new();
        object.each_field(|name, value| {
            let name = String::from_utf8_lossy(name);
            let path = format!("{prefix}{name}");
            if self.set.contains_key(&path) || self.drop.contains(&path) {
                return;
            }
            let below = format!("{path}.");
            if value.is_object() && self.concerns(&below) {
                out.object(&name, |out| self.write(value, &below, out));
                inner.push(name.into_owned());
                return;
            }
            // A table that is set replaces what is none.
            if self.set.keys().any(|set| set.starts_with(&below)) {
                return;
            }
            match self.rename.get(&path) {
                Some(new) => {
                    let target = format!("{prefix}{new}");
                    let is_given = !object.get(new).is_null() && !self.drop.contains(&target);
                    if !is_given && !self.set.contains_key(&target) {
                        out.raw(new, value.raw());
                    }
                }
                // Another field that the client has takes its name.
                None if value.is_null() && self.is_renamed_to(object, prefix, &name) => {}
                None => out.raw(&name, value.raw()),
            }
        });
        let mut made: Vec<&str> = Vec::new();
        for (path, value) in &self.set {
            let Some(rest) = path.strip_prefix(prefix) else {
                continue;
            };
            match rest.split_once('.') {
                None => out.raw(rest, value),
                Some((name, _)) if made.contains(&name) || inner.iter().any(|it| it == name) => {}
                Some((name, _)) => {
                    made.push(name);
                    let empty: Cow<'_, str> = format!("{prefix}{name}.").into();
                    out.object(name, |out| self.write(Json::of_valid("{}"), &empty, out));
                }
            }
        }
    }

    /// Returns true if a field of the object gets that name.
    fn is_renamed_to(&self, object: Json<'_>, prefix: &str, name: &str) -> bool {
        self.rename.iter().any(|(from, to)| {
            let from = from.strip_prefix(prefix);
            to == name && from.is_some_and(|from| !object.get(from).is_null())
        })
    }

    fn concerns(&self, below: &str) -> bool {
        let paths = self
            .drop
            .iter()
            .chain(self.rename.keys())
            .chain(self.set.keys());
        paths.into_iter().any(|path| path.starts_with(below))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn parameters_change_and_all_else_stays() {
        let parameters = |drop: &[&str], rename: &[(&str, &str)], set: &[(&str, &str)]| {
            let own = |pairs: &[(&str, &str)]| {
                let pairs = pairs
                    .iter()
                    .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
                pairs.collect::<BTreeMap<_, _>>()
            };
            Parameters {
                drop: drop.iter().map(|path| (*path).to_owned()).collect(),
                rename: own(rename),
                set: own(set),
            }
        };
        for (parameters, body, want) in [
            (
                parameters(&[], &[], &[]),
                r#"{ "a" : 1.0 }"#,
                r#"{ "a" : 1.0 }"#,
            ),
            (
                parameters(&["b"], &[], &[]),
                r#"{ "a" : 1.0, "b": [1]}"#,
                r#"{"a":1.0}"#,
            ),
            (
                parameters(&["g.t"], &[], &[("g.k", "1")]),
                r#"{"g":{"t":0.5,"p": 1e0},"t":1}"#,
                r#"{"g":{"p":1e0,"k":1},"t":1}"#,
            ),
            (
                parameters(&[], &[("a", "b")], &[]),
                r#"{"a":1,"b":2}"#,
                r#"{"b":2}"#,
            ),
            (
                parameters(&[], &[("a", "b")], &[("c.d.e", "null")]),
                r#"{"a":1}"#,
                r#"{"b":1,"c":{"d":{"e":null}}}"#,
            ),
            // No field stands twice, and none is lost to a null.
            (
                parameters(&[], &[("a", "b")], &[]),
                r#"{"a":1,"b":null}"#,
                r#"{"b":1}"#,
            ),
            (
                parameters(&[], &[], &[("t.k", "1")]),
                r#"{"t":null,"c":2}"#,
                r#"{"c":2,"t":{"k":1}}"#,
            ),
            (
                parameters(&[], &[("a", "b")], &[("b", "7")]),
                r#"{"a":1}"#,
                r#"{"b":7}"#,
            ),
            (
                parameters(&["b"], &[("a", "b")], &[]),
                r#"{"a":1,"b":2}"#,
                r#"{"b":1}"#,
            ),
            (
                parameters(&[], &[], &[("a", "2")]),
                r#"{"a":1,"a":3}"#,
                r#"{"a":2}"#,
            ),
        ] {
            assert_eq!(
                parameters.apply(&Bytes::from(body)).unwrap(),
                want,
                "{body}"
            );
        }
    }
}
