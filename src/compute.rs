//! Computations that would hold a worker for too long: parsing and translating large bodies,
//! rendering templates. They run on a bounded number of threads beside the workers.

use std::sync::Arc;

use tokio::sync::Semaphore;

use dialect::failure::Failure;

/// The most bytes that a worker computes over itself: a small part of the 5 ms that one computation
/// may hold it for.
const MAX_INLINE_BYTES: usize = 32 * 1024;

/// Threads for long computations, shared by all workers.
#[derive(Debug, Clone)]
pub struct ComputePool {
    slots: Arc<Semaphore>,
}

impl Default for ComputePool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            // Workers have as many threads as there are cores: some of those stay theirs.
            slots: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }
}

impl ComputePool {
    /// Runs a computation over that many bytes: at once if they are few, else on another thread. If
    /// the caller leaves, one that has not begun never does.
    ///
    /// # Errors
    ///
    /// An internal error when the computation panics.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if bytes <= MAX_INLINE_BYTES {
            return Ok(compute());
        }
        self.run_aside(compute).await
    }

    /// Runs a computation of unknown length on another thread.
    ///
    /// # Errors
    ///
    /// An internal error when the computation panics.
    #[expect(
        clippy::disallowed_methods,
        reason = "the caller waits for it; as many run at once as the pool has slots"
    )]
    pub async fn run_aside<T: Send + 'static>(
        &self,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = self.slots.clone().acquire_owned().await;
        let computed = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            compute()
        });
        computed
            .await
            .map_err(|error| Failure::internal(error.into()))
    }
}
