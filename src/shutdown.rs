//! The two signals of a server that ends: the drain, which lets running work finish, and the abort,
//! which does not. Not for: who raises them, and when, which is `server`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A signal that ends all generations at once, each with an error.
#[derive(Debug, Clone, Default)]
pub struct AbortSignal {
    /// Read for every token, so it must cost nothing: the token below takes a lock.
    flag: Arc<AtomicBool>,
    wake: CancellationToken,
}

impl AbortSignal {
    /// Raises the signal.
    pub fn abort(&self) {
        self.flag.store(true, Ordering::Release);
        self.wake.cancel();
    }

    /// Returns whether the signal has been raised.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Returns a future that resolves when the signal is raised.
    pub fn aborted(&self) -> WaitForCancellationFutureOwned {
        self.wake.clone().cancelled_owned()
    }
}

/// A signal that the server is shutting down: no new work is begun. It may be announced a while
/// before, so that load balancers send new work elsewhere in time.
#[derive(Debug, Clone, Default)]
pub struct DrainSignal {
    announced: Arc<AtomicBool>,
    begun: CancellationToken,
}

impl DrainSignal {
    /// Announces the signal: the server says that it is not ready, and serves as before.
    pub fn announce(&self) {
        self.announced.store(true, Ordering::Release);
    }

    /// Returns whether new work should be sent elsewhere.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Acquire)
    }

    /// Raises the signal.
    pub fn begin(&self) {
        self.announce();
        self.begun.cancel();
    }

    /// Returns whether the signal has been raised.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Returns a future that resolves when the signal is raised.
    pub fn begun(&self) -> WaitForCancellationFutureOwned {
        self.begun.clone().cancelled_owned()
    }
}
