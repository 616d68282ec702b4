//! The routes of a worker, which may be replaced while it serves.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;

/// The routes of one worker. Each request takes those that are current when it comes, also on a
/// connection that is older.
#[derive(Debug, Clone)]
pub struct RouterCell(Arc<Mutex<Router>>);

impl RouterCell {
    /// Returns a cell with these routes.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self(Arc::new(Mutex::new(router)))
    }

    /// Returns the current routes. The lock is the worker's own, but for the moment of a change.
    pub fn current(&self) -> Router {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the routes. Requests that have begun keep theirs.
    pub fn replace(&self, router: Router) {
        let before = {
            let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, router)
        };
        drop(before);
    }
}
