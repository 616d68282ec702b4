//! The bound on generations that run without their clients: of one caller, and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::MostLingering;
use dialect::failure::Failure;
use stream::Owner;

/// The generations that may outlive their clients, shared by all workers.
#[derive(Debug, Clone)]
pub struct LingerSlots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: MostLingering,
    /// Locked when a generation begins and ends.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_caller: HashMap<Owner, usize>,
}

/// The place of one generation, which it gives back when it ends.
#[derive(Debug)]
pub(super) struct LingerSlot {
    shared: Arc<Shared>,
    caller: Option<Owner>,
}

impl LingerSlots {
    /// Returns slots for so many generations.
    #[must_use]
    pub fn new(most: MostLingering) -> Self {
        Self(Arc::new(Shared {
            most,
            taken: Mutex::default(),
        }))
    }

    /// Takes a slot for a generation of a caller. Callers without credentials can't be told apart:
    /// for them only the bound over all holds.
    pub(super) fn take(&self, caller: Option<&Owner>) -> Result<LingerSlot, Failure> {
        let shared = &self.0;
        let mut taken = shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= shared.most.all {
            return Err(Failure::stream_capacity(
                "too many generations run without their clients (streams.max_lingering); try again",
            ));
        }
        if let Some(caller) = caller {
            let own = taken.by_caller.entry(caller.clone()).or_default();
            if *own >= shared.most.by_caller {
                return Err(Failure::too_many_lingering(shared.most.by_caller));
            }
            *own += 1;
        }
        taken.all += 1;
        Ok(LingerSlot {
            shared: shared.clone(),
            caller: caller.cloned(),
        })
    }
}

impl Drop for LingerSlot {
    fn drop(&mut self) {
        let mut taken = self
            .shared
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(caller) = &self.caller
            && let Some(own) = taken.by_caller.get_mut(caller)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_caller.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn slots_are_counted_by_caller_and_in_all_and_given_back() {
        let slots = LingerSlots::new(MostLingering {
            all: 3,
            by_caller: 2,
        });
        let (a, b) = (Owner::new("a".into()), Owner::new("b".into()));
        let first = slots.take(Some(&a)).unwrap();
        let _second = slots.take(Some(&a)).unwrap();
        assert_eq!(slots.take(Some(&a)).unwrap_err().status(), 429);
        let _third = slots.take(Some(&b)).unwrap();
        assert_eq!(slots.take(None).unwrap_err().status(), 503);
        drop(first);
        assert!(slots.take(Some(&a)).is_ok());
        assert!(slots.take(None).is_ok());
    }
}
