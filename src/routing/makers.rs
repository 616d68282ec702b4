//! The makers of what only one provider has: the responses that it stored, by their ids.
//!
//! A process remembers them for half a day at least, but for the oldest of very many. Not for:
//! responses that this server keeps itself, which are streams.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::recent::Recent;

/// The most responses that are remembered in each of two generations, and the life of one.
const MAX_RESPONSES: usize = 32 * 1024;
const AGE: Duration = Duration::from_secs(12 * 3600);

/// The names of the providers that made responses, by the responses' ids. Workers share it.
#[derive(Debug)]
pub struct Makers(Mutex<Recent<Arc<str>>>);

impl Default for Makers {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MAX_RESPONSES, AGE)))
    }
}

impl Makers {
    /// Remembers the provider that made a response.
    pub(super) fn remember(&self, id: &str, provider: &str) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(made.forget(Instant::now()));
        let key = Sha256::digest(id).into();
        made.take(&key);
        made.put(key, provider.into());
    }

    /// Returns the provider that made a response, if that is remembered.
    pub(super) fn find(&self, id: &str) -> Option<Arc<str>> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(made.forget(Instant::now()));
        let key = Sha256::digest(id).into();
        let provider = made.take(&key)?;
        made.put(key, provider.clone());
        Some(provider)
    }
}
