//! Thoughts that one provider sealed: it is asked first, and nobody else is sent them.

use std::sync::Arc;

use dialect::SealKey;
use dialect::request::Request;

use super::Plan;
use crate::routing::Target;

impl Plan {
    /// Returns whether another provider could be sent what the current target seals.
    #[must_use]
    pub fn notes_seals(&self) -> bool {
        self.model.binds_seals && self.makers.is_some()
    }

    /// Takes note of a thought that the current target has sealed.
    pub fn note_seal(&self, seal: SealKey) {
        if let Some(makers) = &self.makers {
            makers.remember_seal(seal, self.current().provider.name());
        }
    }

    /// Prefers the provider that sealed the last thought of a request, if it is known.
    pub fn prefer_sealer(&mut self, request: &Request) {
        if self.model.binds_seals
            && let Some(makers) = &self.makers
        {
            self.seals = makers.find_seals(request.seals());
        }
    }

    /// Returns the sealed thoughts of the request that another provider made than that of a target.
    #[must_use]
    pub fn foreign_seals(&self, target: &Target) -> Option<Arc<[SealKey]>> {
        let name = target.provider.name();
        let foreign = self.seals.iter().filter(|(_, maker)| **maker != *name);
        let foreign: Arc<[SealKey]> = foreign.map(|(seal, _)| *seal).collect();
        (!foreign.is_empty()).then_some(foreign)
    }

    /// Returns the numbers of those targets that sealed the last thought and were not asked yet;
    /// none if that is not known, or they can't be asked.
    pub(super) fn of_sealer(&self, open: &[(u32, u8, usize)]) -> Vec<usize> {
        let sealers = self.seals.iter().rev().map(|(_, maker)| maker);
        let of = |maker: &Arc<str>| -> Vec<usize> {
            let targets = open.iter().filter(|(asked, _, number)| {
                *asked == 0 && self.model.targets[*number].provider.name() == &**maker
            });
            targets.map(|(_, _, number)| *number).collect()
        };
        let mut targets = sealers.map(of);
        targets
            .find(|targets| !targets.is_empty())
            .unwrap_or_default()
    }
}
