//! The rest of an answer that broke on its way: its upstream is asked again for what follows, so
//! that nothing is generated twice, and the client sees nothing of it.
//!
//! How an upstream is asked is the provider's. Not here: going on with the answer of another
//! attempt, which is the continuation's.

use dialect::failure::Failure;

use super::Generation;
use super::attempt::Attempt;
use super::continuation::is_own_end;
use crate::routing::{Verdict, breaks_off, judge};

impl Generation {
    /// Asks the upstream of an answer that broke for the rest of it.
    ///
    /// # Errors
    ///
    /// The failure that ends the attempt, if the upstream can't be asked: the one that broke the
    /// answer, whatever kept the rest from coming.
    pub(super) fn resume(&mut self, failure: Failure) -> Result<(), Failure> {
        let Attempt::Open(relay) = &mut self.attempt else {
            return Err(failure);
        };
        let interruption = self.interruption.take();
        let interruption = interruption.filter(|_| relay.is_reopening());
        let is_worth_it = match interruption {
            None => breaks_off(&failure),
            // It could not be asked, perhaps for a moment.
            Some(_) => matches!(judge(&failure).0, Verdict::Hard | Verdict::Busy),
        };
        if is_own_end(&failure) {
            return Err(failure);
        }
        let failure = interruption.unwrap_or(failure);
        if !is_worth_it
            || !relay.is_resumable()
            || !self.attempts.begin_resume(&failure)
            || !relay.reopen()
        {
            return Err(failure);
        }
        self.deadlines.begin_resume();
        self.meter.on_resume();
        self.interruption = Some(failure);
        Ok(())
    }
}
