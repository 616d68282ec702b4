//! The mark of a connection that may have to make room: whether it is idle, since when compared
//! with others, and whether it was told to close.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// The mark of one connection. It is shared by the connection, which says whether it is idle, and
/// its server, which may tell it to close.
#[derive(Debug, Default)]
pub struct IdleMark {
    order: IdleOrder,
    /// The place in the order; 0 while a request is answered.
    place: AtomicU64,
    evicted: CancellationToken,
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
            ..IdleMark::default()
        };
        mark.set_idle();
        mark
    }
}

impl IdleMark {
    /// Marks the connection as idle from now on. It is idle until a whole request head has arrived.
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

    /// Tells the connection to close: at once if it is idle, else after the current response.
    pub fn evict(&self) {
        self.evicted.cancel();
    }

    /// Returns whether the connection was told to close.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.evicted.is_cancelled()
    }

    /// Resolves when the connection is told to close.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}
