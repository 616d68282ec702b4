//! Custom tools, for the upstreams that know such.

use std::collections::HashSet;

use super::Request;

/// The names of a request's custom tools; none for an upstream that knows functions only.
#[derive(Debug, Default)]
pub(crate) struct CustomNames<'a>(HashSet<&'a str>);

impl<'a> CustomNames<'a> {
    /// Returns the names of the custom tools that a request offers.
    pub(crate) fn of(request: &'a Request) -> Self {
        let custom = request.tools.iter().filter(|tool| tool.custom.is_some());
        Self(custom.map(|tool| tool.name.as_str()).collect())
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// The calls of custom tools in a conversation that is being written.
#[derive(Debug)]
pub(crate) struct CustomCalls<'a> {
    names: &'a CustomNames<'a>,
    /// The ids under which such a tool was called last. Some upstreams give the same ones again.
    ids: HashSet<&'a str>,
}

impl<'a> CustomCalls<'a> {
    pub(crate) fn new(names: &'a CustomNames<'a>) -> Self {
        Self {
            names,
            ids: HashSet::new(),
        }
    }

    /// Takes note of a call; returns whether it is one of a custom tool.
    pub(crate) fn begin(&mut self, id: &'a str, name: &str) -> bool {
        let is_custom = self.names.contains(name);
        match is_custom {
            true => self.ids.insert(id),
            false => self.ids.remove(id),
        };
        is_custom
    }

    /// Returns whether a result is that of a custom tool.
    pub(crate) fn has_called(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}
