//! Attempts that go on with an answer of which the client has seen something.

use dialect::failure::{Failure, classes};

use super::{Judged, Plan};
use crate::routing::verdict::{Sent, Verdict};
use crate::routing::{ContinuationRules, ContinueBy};

impl Plan {
    /// Returns the rules by which an answer that breaks is continued, if it is.
    #[must_use]
    pub fn continuation(&self) -> Option<&ContinuationRules> {
        let rules = self.model.rules.continuation.as_ref();
        rules.filter(|_| self.model.budget().is_some())
    }

    /// Returns true if another attempt may go on with an answer of which the client has seen
    /// something.
    #[must_use]
    pub fn may_continue(&self) -> bool {
        self.may_go_on() && !self.is_repeat
    }

    /// Begins to look for a target that goes on with an answer: those that never do are left out.
    pub fn begin_continuation(&mut self) {
        self.waits_since = None;
        for (asked, target) in self.asked.iter_mut().zip(&self.model.targets) {
            if target.continue_by() == ContinueBy::Never {
                *asked = None;
            }
        }
    }

    /// Judges the failure of an attempt to go on with an answer. The result is the judgement, and
    /// true if another attempt may follow. `may_repeat` says that the failure came of the way in
    /// which the target was asked.
    pub fn judge_continuation(&mut self, failure: &Failure, may_repeat: bool) -> (Judged, bool) {
        let judged = self.record(failure);
        let is_told = failure.refusal().is_some() || failure.is(&classes::UPSTREAM_ERROR);
        if judged.verdict == Verdict::Final && !is_told {
            return (judged, false);
        }
        if judged.verdict == Verdict::Final {
            match may_repeat {
                // It is well, and may do it if it is asked otherwise.
                true => self.again = Some(self.current),
                false => self.asked[self.current] = None,
            }
        }
        let is_allowed = judged.sent != Sent::Uncertain || self.model.rules.retry_uncertain;
        let may_follow = is_allowed && self.may_continue();
        (judged, may_follow && self.asked.iter().any(Option::is_some))
    }

    /// Takes note that the current target went on with other words than those of the answer.
    pub fn reject_continuation(&mut self) {
        self.exchange = None;
        self.asked[self.current] = None;
    }
}
