//! The response id chosen by an upstream, where clients of its dialect ask by it.

use dialect::EventReader;

/// The response id chosen by the upstream.
#[derive(Debug)]
pub(super) enum UpstreamId {
    /// Clients don't ask by it, or see another one.
    Ignored,
    Awaited,
    Known(String),
    Taken,
}

impl UpstreamId {
    /// Returns an id that has not come yet, if it is awaited at all.
    pub(super) fn new(is_awaited: bool) -> Self {
        match is_awaited {
            true => Self::Awaited,
            false => Self::Ignored,
        }
    }

    /// Looks for the id in what was read. Returns it when it is found.
    #[inline]
    pub(super) fn notice(&mut self, reader: &dyn EventReader) -> Option<&str> {
        if !matches!(self, Self::Awaited) {
            return None;
        }
        let id = reader.position().response_id;
        if id.is_empty() {
            return None;
        }
        *self = Self::Known(id.to_owned());
        match self {
            Self::Known(id) => Some(id),
            _ => None,
        }
    }

    /// Returns the id, once.
    pub(super) fn take(&mut self) -> Option<String> {
        if !matches!(self, Self::Known(_)) {
            return None;
        }
        match std::mem::replace(self, Self::Taken) {
            Self::Known(id) => Some(id),
            _ => None,
        }
    }
}
