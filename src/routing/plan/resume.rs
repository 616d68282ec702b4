//! Attempts that ask the same target for the rest of the same answer.

use super::Plan;

impl Plan {
    /// Begins to ask the current target again for the rest of its answer. Returns false if no
    /// attempt is left, or the budget is used up.
    pub fn begin_resume(&mut self) -> bool {
        if self.is_repeat || !self.may_go_on() || !self.may_repeat() {
            return false;
        }
        self.attempts += 1;
        true
    }
}
