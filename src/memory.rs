//! The bound on the memory that bodies hold together: those of requests that are being received,
//! parsed and sent upstream, and whole answers on their way to their clients.
//!
//! Not for: streams, whose memory is bounded by the stream store and by backpressure.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use dialect::failure::Failure;

/// The bytes of each body that count as nothing. Connections are bounded, so these are too, and
/// ordinary requests are served while large bodies use the budget up.
const FREE_BYTES: usize = 64 * 1024;
/// The unit in which bytes are counted.
const UNIT: usize = 1024;

/// A budget that all bodies of a server share.
///
/// ```
/// use tokenrill::memory::MemoryBudget;
///
/// let budget = MemoryBudget::new(1 << 20);
/// let mut first = budget.permit();
/// assert!(first.try_grow_to(1 << 20).is_ok());
/// let mut second = budget.permit();
/// assert_eq!(second.try_grow_to(1 << 20).unwrap_err().status(), 503);
/// drop(first);
/// assert!(second.try_grow_to(1 << 20).is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    limit: usize,
}

impl MemoryBudget {
    /// Returns a budget of that many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let limit = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Returns a permit for one body, which holds nothing yet.
    #[must_use]
    pub fn permit(&self) -> MemoryPermit {
        MemoryPermit {
            budget: self.clone(),
            held: None,
        }
    }
}

/// The share of one body. Dropping it gives the bytes back.
#[derive(Debug)]
pub struct MemoryPermit {
    budget: MemoryBudget,
    held: Option<OwnedSemaphorePermit>,
}

impl MemoryPermit {
    /// Extends the permit to a body of `size` bytes.
    ///
    /// # Errors
    ///
    /// A 503 when other bodies hold the rest of the budget.
    pub fn try_grow_to(&mut self, size: usize) -> Result<(), Failure> {
        let more = self.missing_units(size);
        if more == 0 {
            return Ok(());
        }
        match self.budget.units.clone().try_acquire_many_owned(more) {
            Ok(permit) => self.add(permit),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                return Err(Failure::memory_capacity());
            }
        }
        Ok(())
    }

    /// Extends the permit to a body of `size` bytes, which waits until others have given back what
    /// it needs.
    ///
    /// # Errors
    ///
    /// Never while the server runs.
    pub async fn grow_to(&mut self, size: usize) -> Result<(), Failure> {
        let more = self.missing_units(size);
        if more == 0 {
            return Ok(());
        }
        let permit = self.budget.units.clone().acquire_many_owned(more).await;
        self.add(permit.map_err(|error: AcquireError| Failure::internal(error.into()))?);
        Ok(())
    }

    /// Returns the units that a body of `size` bytes needs beyond those held. One that is larger
    /// than the whole budget needs the budget.
    fn missing_units(&self, size: usize) -> u32 {
        let units = size.saturating_sub(FREE_BYTES).div_ceil(UNIT);
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = units.min(self.budget.limit).saturating_sub(held);
        u32::try_from(more).unwrap_or(u32::MAX)
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
    }
}
