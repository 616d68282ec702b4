//! Patterns of models' names: the models that a key or a team may use.

use std::fmt;

use toml::Value;

use super::key::Key;
use super::reader::{Reader, wrong};

/// Patterns of models' names, in which `*` stands for any letters. None at all is every model.
///
/// ```
/// use tokenrill::config::ModelPatterns;
///
/// let patterns = ModelPatterns::from_iter(["gpt-*", "clever"]);
/// assert!(patterns.allow("gpt-5") && patterns.allow("clever"));
/// assert!(!patterns.allow("cleverer") && !patterns.allow("GPT-5"));
/// assert!(ModelPatterns::default().allow("anything"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPatterns(Vec<String>);

impl ModelPatterns {
    /// Returns whether a model of that name may be used.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern, name))
    }

    /// Returns whether every model may be used.
    #[must_use]
    pub fn allow_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the patterns.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl<T: Into<String>> FromIterator<T> for ModelPatterns {
    fn from_iter<I: IntoIterator<Item = T>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }
}

/// Lists the patterns: `gpt-*, clever`, or `every model`.
impl fmt::Display for ModelPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => f.write_str("every model"),
            false => f.write_str(&self.0.join(", ")),
        }
    }
}

/// Returns whether a name fits a pattern. Between two stars the first place that fits is as good as
/// any, so one pass over the name is enough.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(name) = name.strip_prefix(first) else {
        return false;
    };
    let Some(mut name) = name.strip_suffix(last) else {
        return false;
    };
    for part in middle.split('*') {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    true
}

/// Reads the patterns of a key of the configuration.
pub(super) fn model_patterns(reader: &mut Reader<'_>, key: &Key) -> ModelPatterns {
    const WANT: &str = "a list of models, as in [\"gpt-*\", \"clever\"]";
    let patterns = reader.read(key, |value| {
        let list = value.as_array().ok_or_else(|| wrong(WANT, value))?;
        if list.is_empty() {
            return Err("should name a model; left out, it is every model".to_owned());
        }
        let pattern = |value: &Value| {
            let text = value.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| wrong(WANT, value))
        };
        list.iter().map(pattern).collect::<Result<Vec<_>, _>>()
    });
    ModelPatterns(patterns.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, expected) in [
            ("gpt", "gpt", true),
            ("gpt", "gpt-5", false),
            ("*", "", true),
            ("gpt-*", "gpt-", true),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-x", false),
            ("g*5*i", "gpt-5-mini", true),
            ("g*5*i", "g5i", true),
            ("g*g", "g", false),
            ("a*b*c", "acb", false),
            ("**", "x", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
