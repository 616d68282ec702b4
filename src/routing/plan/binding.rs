//! Requests that go on from what one provider stored.

use dialect::failure::Failure;

use super::Plan;

impl Plan {
    /// Binds the request to the provider that stored what it goes on from. One whose provider is
    /// not known goes where it would, and to no other provider.
    ///
    /// # Errors
    ///
    /// When that provider is none of the model's.
    pub fn bind(&mut self, id: &str) -> Result<(), Failure> {
        self.is_bound = true;
        let maker = self.makers.as_ref().and_then(|makers| makers.find(id));
        if let Some(maker) = maker {
            self.keep_provider(&maker);
            if self.asked.iter().all(Option::is_none) {
                return Err(Failure::previous_response_not_found(id));
            }
        }
        Ok(())
    }

    pub(super) fn keep_provider(&mut self, name: &str) {
        for (asked, target) in self.asked.iter_mut().zip(&self.model.targets) {
            if target.provider.name() != name {
                *asked = None;
            }
        }
        self.current = self.asked.iter().position(Option::is_some).unwrap_or(0);
    }

    /// Takes note that the current target's provider has made a response.
    pub fn note_response(&self, id: &str) {
        if let Some(makers) = &self.makers {
            makers.remember(id, self.current().provider.name());
        }
    }
}
