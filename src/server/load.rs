//! The load of a worker: the connections and HTTP/2 streams that it serves at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter of work in progress, shared by its clones.
#[derive(Debug, Clone, Default)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    /// Returns the number of guards that are alive.
    pub(super) fn current(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more, until the guard is dropped.
    pub(super) fn acquire(&self) -> LoadGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        LoadGuard(self.0.clone())
    }
}

/// A connection or stream that counts as load while this lives.
#[derive(Debug)]
pub(super) struct LoadGuard(Arc<AtomicUsize>);

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
