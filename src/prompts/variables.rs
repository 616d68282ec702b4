//! The variables of a template, and the check of given values against them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use base::suggest::did_you_mean;

/// The type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
}

impl VariableType {
    fn want(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }

    pub(super) fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }

    /// Reads text as this type; text that can't be read stays text, for [`check`] to refuse.
    fn read(self, text: &str) -> Value {
        let read = match self {
            Self::String => None,
            Self::Integer => text.parse::<i64>().ok().map(Value::from),
            // A whole number stays one, or 3 would be printed as 3.0.
            Self::Number => text.parse::<i64>().ok().map(Value::from).or_else(|| {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                number.map(Value::from)
            }),
            Self::Boolean => text.parse::<bool>().ok().map(Value::from),
        };
        read.unwrap_or_else(|| Value::from(text))
    }
}

/// One variable of a template.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: VariableType,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The default value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Set if it must be given.
    pub required: bool,
    /// The only values that it may have; any if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

/// An error of rendering a template with the values given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A required variable was not given.
    #[error("the variable `{name}` is missing; it should be {want}")]
    Missing {
        /// The variable.
        name: String,
        /// The expected kind.
        want: &'static str,
    },
    /// There is no such variable.
    #[error("there is no variable `{name}`{}; there are: {known}", nearest.as_ref().map_or(String::new(), |n| format!(" (did you mean `{n}`?)")))]
    Unknown {
        /// The value given.
        name: String,
        /// The one that was perhaps meant.
        nearest: Option<String>,
        /// All that there are.
        known: String,
    },
    /// A variable was given twice.
    #[error("the variable `{name}` is given twice")]
    Twice {
        /// The variable.
        name: String,
    },
    /// A value of another type.
    #[error("the variable `{name}` should be {want}")]
    WrongType {
        /// The variable.
        name: String,
        /// The expected kind.
        want: &'static str,
    },
    /// A value that is not among those allowed.
    #[error("the variable `{name}` should be one of {allowed}")]
    NotAllowed {
        /// The variable.
        name: String,
        /// The allowed values.
        allowed: String,
    },
    /// The prompt would become too long.
    #[error("the prompt would be longer than {limit} bytes; give shorter values")]
    TooLong {
        /// The longest that it may be.
        limit: usize,
    },
    /// Filling in takes too long.
    #[error(
        "the template `{template}` takes too long with these values: more than {seconds} s or {steps} steps; \
         give shorter values, or let it do less in its loops"
    )]
    TooSlow {
        /// The template.
        template: String,
        /// The longest that it may take.
        seconds: u64,
        /// The most steps that it may take.
        steps: u64,
    },
    /// The template itself failed.
    #[error("the template can't be filled in: {0}")]
    Template(String),
}

impl RenderError {
    /// The variable at fault, if it is one.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::Missing { name, .. }
            | Self::Unknown { name, .. }
            | Self::Twice { name }
            | Self::WrongType { name, .. }
            | Self::NotAllowed { name, .. } => Some(name),
            Self::TooLong { .. } | Self::TooSlow { .. } | Self::Template(_) => None,
        }
    }
}

/// Query parameters as values of the variables' types.
pub(super) fn from_query(
    variables: &[Variable],
    pairs: &[(String, String)],
) -> Result<Map<String, Value>, RenderError> {
    let mut values = Map::new();
    for (name, text) in pairs {
        let variable = find(variables, name)?;
        if values
            .insert(name.clone(), variable.kind.read(text))
            .is_some()
        {
            return Err(RenderError::Twice { name: name.clone() });
        }
    }
    Ok(values)
}

/// All variables' values: those given, checked, and the defaults of the rest.
pub(super) fn complete(
    variables: &[Variable],
    mut given: Map<String, Value>,
) -> Result<BTreeMap<String, Value>, RenderError> {
    for name in given.keys() {
        find(variables, name)?;
    }
    let mut values = BTreeMap::new();
    for variable in variables {
        let value = match given.remove(&variable.name) {
            Some(value) => {
                check(variable, &value)?;
                value
            }
            None if variable.required => {
                return Err(RenderError::Missing {
                    name: variable.name.clone(),
                    want: variable.kind.want(),
                });
            }
            None => variable.default.clone().unwrap_or(Value::Null),
        };
        values.insert(variable.name.clone(), value);
    }
    Ok(values)
}

/// Checks a given value by its variable's name; none stands for a list or an object.
pub(super) fn check_one(
    variables: &[Variable],
    name: &str,
    value: Option<&Value>,
) -> Result<(), RenderError> {
    let variable = find(variables, name)?;
    match value {
        Some(value) => check(variable, value),
        None => Err(wrong_type(variable)),
    }
}

fn wrong_type(variable: &Variable) -> RenderError {
    RenderError::WrongType {
        name: variable.name.clone(),
        want: variable.kind.want(),
    }
}

/// Checks that a value fits a variable.
pub(super) fn check(variable: &Variable, value: &Value) -> Result<(), RenderError> {
    if !variable.kind.fits(value) {
        return Err(wrong_type(variable));
    }
    // 1 and 1.0 are the same number, however they are written.
    let same = |allowed: &Value| {
        allowed == value || (value.is_number() && allowed.as_f64() == value.as_f64())
    };
    if !variable.values.is_empty() && !variable.values.iter().any(same) {
        let allowed = variable
            .values
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let name = variable.name.clone();
        return Err(RenderError::NotAllowed { name, allowed });
    }
    Ok(())
}

fn find<'a>(variables: &'a [Variable], name: &str) -> Result<&'a Variable, RenderError> {
    variables
        .iter()
        .find(|variable| variable.name == name)
        .ok_or_else(|| {
            let known: Vec<&str> = variables
                .iter()
                .map(|variable| variable.name.as_str())
                .collect();
            RenderError::Unknown {
                name: name.chars().take(60).collect(),
                nearest: did_you_mean(name, &known).map(str::to_owned),
                known: if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                },
            }
        })
}
