//! The body of an upstream request, written field by field.

use serde::Serialize;

use crate::UpstreamPayload;
use crate::json::{ListWriter, ObjectWriter};
use crate::request::Request;

/// A body under construction, with the parameters that it leaves out.
#[derive(Debug)]
pub(crate) struct PayloadBuilder {
    body: ObjectWriter,
    dropped: Vec<String>,
}

impl PayloadBuilder {
    /// Returns a builder of an empty body, with room for about what the request has.
    pub(crate) fn new(request: &Request) -> Self {
        let size = request.size();
        Self {
            body: ObjectWriter::with_capacity(size + size / 4),
            dropped: Vec::new(),
        }
    }

    /// Writes a field if it has a value.
    pub(crate) fn set(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.body.field(name, value);
        }
    }

    /// Writes a field whose value is a list; the closure may also record what it leaves out.
    pub(crate) fn list(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut ListWriter, &mut Vec<String>),
    ) {
        let dropped = &mut self.dropped;
        self.body.list(name, |list| write(list, dropped));
    }

    /// Writes a field whose value is an object.
    pub(crate) fn object(&mut self, name: &str, write: impl FnOnce(&mut ObjectWriter)) {
        self.body.object(name, write);
    }

    /// Returns the list of parameters that are left out, or sent in another form.
    pub(crate) fn dropped(&mut self) -> &mut Vec<String> {
        &mut self.dropped
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
            body: self.body.finish().into(),
            dropped: self.dropped,
        }
    }
}

/// Returns true for a penalty that has an effect.
pub(crate) fn has_effect(penalty: Option<f64>) -> bool {
    penalty.is_some_and(|penalty| penalty != 0.0)
}
