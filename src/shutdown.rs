//! The two signals that end work: the drain of a server that ends, which lets running work finish,
//! and the abort, which does not: of a server that must end now, or of what runs for a key that is
//! revoked. Not for: who raises them, and when, which is `server`'s and `access`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use dialect::failure::Failure;

/// A signal that ends generations at once, each with an error: all of the server's, or those of one
/// key.
#[derive(Debug, Clone, Default)]
pub struct AbortSignal {
    /// Read for every token, so it must cost nothing: the token below takes a lock.
    flag: Arc<AtomicBool>,
    /// The flag of the key, for the signal of one.
    revoked: Option<Arc<AtomicBool>>,
    wake: CancellationToken,
}

impl AbortSignal {
    /// Raises the signal of the whole server.
    pub fn abort(&self) {
        self.flag.store(true, Ordering::Release);
        self.wake.cancel();
    }

    /// Returns the signal for a key, which is raised with the server's, or alone.
    #[must_use]
    pub fn of_key(&self) -> Self {
        Self {
            flag: self.flag.clone(),
            revoked: Some(Arc::default()),
            wake: self.wake.child_token(),
        }
    }

    /// Raises the signal of one key.
    pub fn revoke(&self) {
        if let Some(revoked) = &self.revoked {
            revoked.store(true, Ordering::Release);
            self.wake.cancel();
        }
    }

    /// Returns whether the signal has been raised.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.flag.load(Ordering::Acquire) || self.is_revoked()
    }

    /// Returns whether the signal of one key has been raised.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        let revoked = self.revoked.as_ref();
        revoked.is_some_and(|revoked| revoked.load(Ordering::Acquire))
    }

    /// Returns whether it is the signal of one key.
    #[must_use]
    pub fn is_of_key(&self) -> bool {
        self.revoked.is_some()
    }

    /// Returns the failure of those whom it ends.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self.is_revoked() {
            true => Failure::key_revoked(),
            false => Failure::draining(),
        }
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
