//! The body of an upstream request, built field by field.

use serde_json::Value;

use crate::UpstreamPayload;

/// A body under construction, with the parameters that it leaves out.
#[derive(Debug)]
pub(crate) struct PayloadBuilder {
    body: Value,
    dropped: Vec<String>,
}

impl PayloadBuilder {
    /// Returns a builder over the fields that every request has.
    pub(crate) fn new(body: Value, dropped: Vec<String>) -> Self {
        Self { body, dropped }
    }

    /// Sets a field if it has a value.
    pub(crate) fn set(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.body[name] = value.into();
        }
    }

    /// Records a parameter that is left out, or sent in another form.
    pub(crate) fn drop_param(&mut self, param: impl Into<String>) {
        self.dropped.push(param.into());
    }

    /// Records the parameters that the request has and the dialect lacks.
    pub(crate) fn drop_present(&mut self, params: &[(&str, bool)]) {
        for (param, _) in params.iter().filter(|(_, is_present)| *is_present) {
            self.drop_param(*param);
        }
    }

    /// Returns the finished body.
    pub(crate) fn finish(self) -> UpstreamPayload {
        UpstreamPayload {
            body: self.body.to_string().into(),
            dropped: self.dropped,
        }
    }
}

/// Returns true for a penalty that has an effect.
pub(crate) fn has_effect(penalty: Option<f64>) -> bool {
    penalty.is_some_and(|penalty| penalty != 0.0)
}
