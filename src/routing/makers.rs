//! The makers of what only one provider has: the responses that it stored, by their ids, and the
//! thoughts that it sealed, by their digests.
//!
//! A process remembers them for half a day at least, but for the oldest of very many. Not for:
//! responses that this server keeps itself, which are streams.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dialect::SealKey;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::recent::{KeyHash, Recent};

/// The most responses that are remembered in each of two generations, and the life of one.
const MAX_RESPONSES: usize = 32 * 1024;
/// The same of sealed thoughts, of which an answer may have several.
const MAX_SEALS: usize = 32 * 1024;
const AGE: Duration = Duration::from_secs(12 * 3600);

/// The names of providers, by what they made. Workers share it.
#[derive(Debug)]
pub struct Makers {
    responses: Mutex<Recent<Arc<str>>>,
    seals: Mutex<Recent<Arc<str>>>,
}

impl Default for Makers {
    fn default() -> Self {
        Self {
            responses: Mutex::new(Recent::new(MAX_RESPONSES, AGE)),
            seals: Mutex::new(Recent::new(MAX_SEALS, AGE)),
        }
    }
}

impl Makers {
    /// Remembers the provider that made a response.
    pub(super) fn remember(&self, id: &str, provider: &str) {
        put(&self.responses, Sha256::digest(id).into(), provider);
    }

    /// Returns the provider that made a response, if that is remembered.
    pub(super) fn find(&self, id: &str) -> Option<Arc<str>> {
        find(&self.responses, [Sha256::digest(id).into()]).pop()?.1
    }

    /// Remembers the provider that sealed a thought.
    pub(super) fn remember_seal(&self, seal: SealKey, provider: &str) {
        put(&self.seals, seal.0, provider);
    }

    /// Returns the thoughts of which it is remembered who sealed them, and who did.
    pub(super) fn find_seals(
        &self,
        seals: impl Iterator<Item = SealKey>,
    ) -> Vec<(SealKey, Arc<str>)> {
        let found = find(&self.seals, seals.map(|seal| seal.0)).into_iter();
        found
            .filter_map(|(key, provider)| Some((SealKey(key), provider?)))
            .collect()
    }
}

fn put(makers: &Mutex<Recent<Arc<str>>>, key: KeyHash, provider: &str) {
    let mut made = makers.lock().unwrap_or_else(PoisonError::into_inner);
    drop(made.forget(Instant::now()));
    made.take(&key);
    made.put(key, provider.into());
}

/// Looks for the makers of these, and remembers them anew.
fn find(
    makers: &Mutex<Recent<Arc<str>>>,
    keys: impl IntoIterator<Item = KeyHash>,
) -> Vec<(KeyHash, Option<Arc<str>>)> {
    // What can take long is done without the lock.
    let keys: Vec<KeyHash> = keys.into_iter().collect();
    let mut made = makers.lock().unwrap_or_else(PoisonError::into_inner);
    drop(made.forget(Instant::now()));
    let found = keys.into_iter().map(|key| {
        let provider = made.take(&key);
        if let Some(provider) = &provider {
            made.put(key, provider.clone());
        }
        (key, provider)
    });
    found.collect()
}
