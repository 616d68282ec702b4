//! The way to have the configuration read again. Not here: what that does, which is `app`'s.

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};

/// Requests that may wait: one that finds none of these places comes at a time of many, and what
/// it asks for is about to happen.
const MAX_WAITING: usize = 4;

/// An error of reading the configuration again. Everything stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration, or something that it names, is wrong.
    #[error("{0}")]
    Wrong(String),
    /// Keys have changed that are read at the start alone.
    #[error("a restart is needed for {}", .0.iter().map(String::as_str).collect::<Vec<_>>().join(", "))]
    NeedsRestart(BTreeSet<String>),
    /// Nobody reads configurations here, or too many have asked.
    #[error("the configuration can't be read again now")]
    Unavailable,
}

/// A request to read the configuration again.
#[derive(Debug)]
pub struct ReloadRequest(oneshot::Sender<Result<BTreeSet<String>, ReloadError>>);

impl ReloadRequest {
    /// Tells the one who asked which keys have changed, or why nothing has.
    pub fn answer(self, result: Result<BTreeSet<String>, ReloadError>) {
        // Whoever asked may have left.
        let _ = self.0.send(result);
    }
}

/// Asks for the configuration to be read again.
#[derive(Debug, Clone)]
pub struct ReloadHandle(mpsc::Sender<ReloadRequest>);

impl ReloadHandle {
    /// Returns a handle, and what takes the requests.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Has the configuration read again, and returns the keys that have changed.
    ///
    /// # Errors
    ///
    /// When it is wrong, or has changes that need a restart: then nothing has changed.
    pub async fn reload(&self) -> Result<BTreeSet<String>, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(ReloadRequest(answer))
            .map_err(|_| ReloadError::Unavailable)?;
        answered.await.map_err(|_| ReloadError::Unavailable)?
    }
}
