//! Admission: the requests that a provider may have at a time, and those that wait for a place.
//!
//! A place that is given back goes to whoever has waited for it longest, on whichever worker. A
//! request that waits for several providers takes the first place it gets. Dropping a place gives
//! it back; dropping who waits leaves the queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The requests that a provider may have at a time, shared by all workers.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

/// One of a provider's places. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl From<OwnedSemaphorePermit> for Place {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

impl Places {
    /// Returns so many places, all of them free.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Returns true if a place is free for somebody who has not waited.
    pub(super) fn has_room(&self) -> bool {
        self.0.available_permits() > 0
    }

    /// Takes a place, if one is free. Nobody who waits is passed over.
    pub(super) fn take(&self) -> Option<Place> {
        self.0.clone().try_acquire_owned().ok().map(Place::from)
    }

    fn wait(&self) -> WaitForPlace {
        let places = self.0.clone();
        Box::pin(async move { places.acquire_owned().await.ok().map(Place::from) })
    }
}

/// A wait for a place. It keeps its turn for as long as it is not dropped.
type WaitForPlace = Pin<Box<dyn Future<Output = Option<Place>> + Send + Sync>>;

/// The bound on the requests of a model that wait, shared by all workers.
#[derive(Debug)]
pub(super) struct Queue(Arc<Semaphore>);

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Lets one more request wait, if there is room for it.
    pub(super) fn enter(&self) -> Option<Waiting> {
        let permit = self.0.clone().try_acquire_owned().ok()?;
        Some(Waiting {
            _permit: permit,
            waits: Vec::new(),
            found: None,
        })
    }
}

/// A request that waits, for places or for time to pass.
pub(super) struct Waiting {
    _permit: OwnedSemaphorePermit,
    /// By the number of the target.
    waits: Vec<(usize, WaitForPlace)>,
    found: Option<(usize, Place)>,
}

impl Waiting {
    /// Waits for a place at each of these targets, and at no other. Where it has waited before it
    /// keeps its turn; a place that it has found and not taken is given back.
    pub(super) fn wait_for(&mut self, targets: &[(usize, Places)]) {
        self.found = None;
        let is_wanted = |number: usize| targets.iter().any(|(wanted, _)| *wanted == number);
        self.waits.retain(|(number, _)| is_wanted(*number));
        for (number, places) in targets {
            if !self.waits.iter().any(|(known, _)| known == number) {
                self.waits.push((*number, places.wait()));
            }
        }
    }

    /// Polls for a place at any of the targets.
    pub(super) fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.found.is_none() {
            let mut waits = self.waits.iter_mut().enumerate();
            let found = waits.find_map(|(at, (_, wait))| match wait.as_mut().poll(cx) {
                Poll::Ready(place) => Some((at, place)),
                Poll::Pending => None,
            });
            let Some((at, place)) = found else {
                return Poll::Pending;
            };
            let (number, _) = self.waits.swap_remove(at);
            self.found = place.map(|place| (number, place));
        }
        Poll::Ready(())
    }

    /// Returns true if it has found a place at that target.
    pub(super) fn has_found(&self, target: usize) -> bool {
        self.found.as_ref().is_some_and(|(at, _)| *at == target)
    }

    /// Takes the place that it has found at that target.
    pub(super) fn take_found(&mut self, target: usize) -> Option<Place> {
        let found = self.found.take_if(|(at, _)| *at == target);
        found.map(|(_, place)| place)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}
