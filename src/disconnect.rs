//! The reason for which a client is gone, on its way from the server, which sees it, to the outcome
//! of a generation, which records it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The reason a client's connection or stream ended, shared between the server (which detects it)
/// and the generation (which logs it).
#[derive(Debug, Clone, Default)]
pub struct Disconnect {
    stalled: Arc<AtomicBool>,
    /// The flag of the whole connection, for one of its many streams.
    connection: Option<Arc<AtomicBool>>,
    /// Set when one generation is cancelled by its client while the connection lives on.
    cancelled: Option<Arc<AtomicBool>>,
}

impl Disconnect {
    /// Records that the client has read nothing for too long.
    pub fn set_stalled(&self) {
        self.stalled.store(true, Ordering::Release);
    }

    /// Records that the client cancelled this one request.
    pub fn set_cancelled(&self) {
        if let Some(cancelled) = &self.cancelled {
            cancelled.store(true, Ordering::Release);
        }
    }

    /// Returns the reason for one stream of this connection, which ends alone or with the
    /// connection.
    #[must_use]
    pub fn for_stream(&self) -> Self {
        Self {
            stalled: Arc::default(),
            connection: Some(self.stalled.clone()),
            cancelled: None,
        }
    }

    /// Returns the reason for one request on this socket, which its client can cancel alone.
    #[must_use]
    pub fn for_request(&self) -> Self {
        Self {
            cancelled: Some(Arc::default()),
            ..self.for_stream()
        }
    }

    /// Returns whether the client cancelled this one request.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let cancelled = self.cancelled.as_ref();
        cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Acquire))
    }

    /// Returns whether the client read nothing for too long, on this stream or on the connection.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let mut flags = std::iter::once(&self.stalled).chain(&self.connection);
        flags.any(|stalled| stalled.load(Ordering::Acquire))
    }
}
