//! Which connections are idle, and for how long compared with each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The mark of one connection: whether it is idle, and since when in the order of all those that
/// have their marks from the same [`IdleOrder`].
#[derive(Debug, Default)]
pub struct IdleMark {
    order: IdleOrder,
    /// The place in the order; 0 while a request is answered.
    place: AtomicU64,
}

/// The order in which connections became idle.
#[derive(Debug, Clone, Default)]
pub struct IdleOrder(Arc<AtomicU64>);

impl IdleOrder {
    /// Returns the mark of a connection that is idle from now on.
    #[must_use]
    pub fn mark(&self) -> IdleMark {
        let mark = IdleMark {
            order: self.clone(),
            place: AtomicU64::new(0),
        };
        mark.set_idle();
        mark
    }
}

impl IdleMark {
    /// Marks the connection as idle from now on.
    pub fn set_idle(&self) {
        let place = self.order.0.fetch_add(1, Ordering::Relaxed) + 1;
        self.place.store(place, Ordering::Relaxed);
    }

    /// Marks the connection as busy.
    pub fn set_busy(&self) {
        self.place.store(0, Ordering::Relaxed);
    }

    /// Returns the place in the order: the lower, the longer the connection has been idle. `None`
    /// while it is busy.
    #[must_use]
    pub fn place(&self) -> Option<u64> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| *place > 0)
    }
}
