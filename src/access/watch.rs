//! The watch over the keys: their file is read again when its content changes, and what runs for a
//! key ends with its time.
//!
//! The content is looked at and not the file's times: a mounted secret is swapped by a link. A
//! change is taken once two looks agree, since a file may be caught half written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::key_ring::KeyRing;
use crate::compute::ComputePool;
use crate::config::{ClientKey, ConfigError, Team, load_keys};

/// The interval of looks at the times of keys, and at a file that has just changed.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks at the file are so many ticks apart.
const TICKS_PER_LOOK: u32 = 2;

/// The content of the file, as far as it must be known to see a change; none if there is no file.
type Content = Option<[u8; 32]>;

/// The watch over a ring of keys.
#[derive(Debug)]
pub struct KeysWatch {
    ring: Arc<KeyRing>,
    file: PathBuf,
    teams: Vec<Team>,
    compute: ComputePool,
    /// The content that was taken, or refused.
    known: Content,
    /// The content of the last look, if it is another.
    changed: Option<Content>,
}

impl KeysWatch {
    /// Reads the file, and returns the watch over the ring of its keys. `ring` makes the ring.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file.
    pub fn open(
        file: &Path,
        teams: &[Team],
        compute: ComputePool,
        ring: impl FnOnce(Vec<ClientKey>) -> KeyRing,
    ) -> Result<Self, ConfigError> {
        // Before it is read: a change meanwhile is seen as one.
        let known = content(file);
        let keys = load_keys(file, teams)?;
        Ok(Self {
            ring: Arc::new(ring(keys)),
            file: file.to_owned(),
            teams: teams.to_owned(),
            compute,
            known,
            changed: None,
        })
    }

    /// Returns the ring.
    #[must_use]
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Watches until told to end.
    pub async fn run(mut self, end: CancellationToken) {
        let mut ticks = 0;
        let mut next = Instant::now();
        loop {
            next += TICK_INTERVAL;
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
            ticks += 1;
            self.ring.cut_over(SystemTime::now());
            if self.changed.is_some() || ticks % TICKS_PER_LOOK == 0 {
                self.look().await;
                next = next.max(Instant::now());
            }
        }
    }

    /// Looks at the file, and takes its keys if two looks agree that it has changed.
    async fn look(&mut self) {
        let file = self.file.clone();
        let Ok(seen) = self.compute.run_aside(move || content(&file)).await else {
            return;
        };
        if seen == self.known {
            self.changed = None;
        } else if self.changed.replace(seen) == Some(seen) {
            self.changed = None;
            self.known = seen;
            self.take().await;
        }
    }

    async fn take(&self) {
        let (file, teams) = (self.file.clone(), self.teams.clone());
        let ring = self.ring.clone();
        let taken = self.compute.run_aside(move || {
            let keys = load_keys(&file, &teams)?;
            let count = keys.len();
            ring.replace(keys, &teams);
            Ok::<usize, ConfigError>(count)
        });
        match taken.await {
            Ok(Ok(keys)) => tracing::info!(keys, "the file of keys has changed"),
            Ok(Err(error)) => {
                let error = error.lines().join("; ");
                tracing::warn!(
                    error,
                    "the file of keys is wrong: the keys stay as they were"
                );
            }
            Err(failure) => {
                let error = failure.log_message();
                tracing::error!(error, "the file of keys was not read");
            }
        }
    }
}

/// Returns the digest of a file's content.
fn content(file: &Path) -> Content {
    let bytes = std::fs::read(file).ok()?;
    Some(Sha256::digest(bytes).into())
}
