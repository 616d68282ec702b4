//! Reload: another configuration for a server that runs.
//!
//! It is checked whole before anything changes. Then each worker gets other routes, for the next
//! requests; those that have begun keep what they began with, and so do their streams. What is
//! known of targets, and the numbers that were counted, stay. What a start alone can change is
//! named, and then nothing changes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, MissedTickBehavior};

use super::{App, Snapshot, admin_router_of, metrics};
use crate::config::{Config, ConfigError};
use crate::server::RouterCell;
use crate::service::ReloadError;

/// The interval of looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The keys that are read at the start alone, with all that is below them.
const FIXED: &[&str] = &[
    "admin",
    "auth",
    "drain",
    "drain_delay",
    "limits",
    "listen",
    "log",
    "max_bodies",
    "max_connections",
    "metrics",
    "prices",
    "reuse_port",
    "streams.key_prefix",
    "streams.max_bytes",
    "streams.max_lingering",
    "streams.max_lingering_per_caller",
    "streams.max_readers",
    "streams.max_total_bytes",
    "streams.password_env",
    "streams.password_file",
    "streams.store",
    "teams",
    "timeouts.client_stall",
    "timeouts.request_body",
    "timeouts.request_head",
    "tls",
    "usage",
    "workers",
];

/// The place that configurations come from.
#[derive(Clone)]
pub struct ConfigSource {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Reads it, and the environment.
    pub load: Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>,
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ConfigSource");
        debug.field("file", &self.file).finish_non_exhaustive()
    }
}

/// The digest of all files of a configuration.
type Content = [u8; 32];

/// Gives a server that runs another configuration.
#[derive(Debug)]
pub struct Reloader {
    /// With the configuration that is in force.
    app: App,
    routers: Vec<RouterCell>,
    admin_router: RouterCell,
}

impl Reloader {
    pub(super) fn new(app: App, routers: Vec<RouterCell>, admin_router: RouterCell) -> Self {
        Self {
            app,
            routers,
            admin_router,
        }
    }

    /// Reads the configuration again whenever somebody asks for it or its files change. Never ends.
    pub async fn run(mut self, source: ConfigSource) {
        let mut looks = tokio::time::interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What changed between the start's reading and the first looks is seen by these.
        let (mut known, mut is_first) = (None, true);
        // A file may be caught half written: two looks must agree.
        let mut changed = None;
        loop {
            let request = tokio::select! {
                Some(request) = self.app.reload_requests.recv() => Some(request),
                _ = looks.tick(), if source.file.is_some() => None,
            };
            let content = self.content(&source).await;
            if request.is_none() {
                if content == known {
                    changed = None;
                    continue;
                }
                if changed.replace(content) != Some(content) {
                    continue;
                }
            }
            (known, changed) = (content, None);
            let result = self.reload(&source).await;
            let is_as_ever = matches!(&result, Ok(changes) if changes.is_empty());
            if !(std::mem::take(&mut is_first) && is_as_ever && request.is_none()) {
                self.tell(&result);
            }
            if let Some(request) = request {
                request.answer(result);
            }
        }
    }

    /// Returns the content of the configuration's files, as far as a change must be seen.
    async fn content(&self, source: &ConfigSource) -> Option<Content> {
        let fingerprint = &self.app.snapshot.config.fingerprint;
        let named = fingerprint.files().map(std::path::Path::to_owned);
        let files: Vec<PathBuf> = source.file.iter().cloned().chain(named).collect();
        let read = self.app.compute.run_aside(move || {
            let mut digest = Sha256::new();
            for file in files {
                match std::fs::read(file) {
                    Ok(bytes) => digest.update(Sha256::digest(bytes)),
                    Err(_) => digest.update([0]),
                }
            }
            digest.finalize().into()
        });
        read.await.ok()
    }

    /// Takes the configuration that the source has now. Returns the keys that have changed.
    async fn reload(&mut self, source: &ConfigSource) -> Result<BTreeSet<String>, ReloadError> {
        let wrong = |error: &dyn std::error::Error| ReloadError::Wrong(error.to_string());
        let load = source.load.clone();
        let config = self.app.compute.run_aside(move || load()).await;
        let config = config
            .map_err(|failure| ReloadError::Wrong(failure.log_message()))?
            .map_err(|error| wrong(&error))?;
        let listen = config.listen;
        config.check_exposure(listen).map_err(ReloadError::Wrong)?;
        let before = &self.app.snapshot;
        let changes = before.config.fingerprint.changes(&config.fingerprint);
        let fixed: BTreeSet<String> = changes
            .iter()
            .filter(|key| is_fixed(key))
            .cloned()
            .collect();
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        if let Some(certificate) = &self.app.certificate {
            certificate.reload().map_err(|error| wrong(&error))?;
        }
        if changes.is_empty() {
            return Ok(changes);
        }
        let snapshot = Snapshot::new(config, Some(before), &self.app.tasks);
        let snapshot = snapshot.map_err(|error| wrong(&error))?;
        self.replace(snapshot).map_err(|error| wrong(&error))?;
        Ok(changes)
    }

    /// Puts a snapshot in force.
    fn replace(&mut self, snapshot: Snapshot) -> Result<(), super::AppError> {
        let app = &self.app;
        let workers = self.routers.len();
        let routers = (0..workers).map(|worker| app.worker_router(&snapshot, worker));
        let routers = routers.collect::<Result<Vec<_>, _>>()?;
        let admin = admin_router_of(Arc::new(app.service(&snapshot, workers)?));
        // From here on nothing fails.
        if let Some(metrics) = &app.metrics {
            metrics.replace(metrics::counted(&snapshot.config, &snapshot.routing));
        }
        snapshot.tokens.start();
        for (cell, router) in self.routers.iter().zip(routers) {
            cell.replace(router);
        }
        self.admin_router.replace(admin);
        self.app.snapshot = snapshot;
        Ok(())
    }

    fn tell(&self, result: &Result<BTreeSet<String>, ReloadError>) {
        if let Some(metrics) = &self.app.metrics {
            metrics.on_reload(result.is_ok());
        }
        match result {
            Ok(changes) => {
                let changed: Vec<&str> = changes.iter().map(String::as_str).collect();
                tracing::info!(changed = changed.join(", "), "configuration reloaded");
            }
            Err(error) => {
                let error = error.to_string().lines().collect::<Vec<_>>().join("; ");
                tracing::error!(error, "configuration not reloaded: it stays as it was");
            }
        }
    }
}

fn is_fixed(key: &str) -> bool {
    FIXED.iter().any(|fixed| {
        let below = key.strip_prefix(fixed);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_fixed_with_all_below_it_and_nothing_beside() {
        for fixed in ["listen", "tls.cert", "teams", "streams.store"] {
            assert!(is_fixed(fixed), "{fixed}");
        }
        for free in [
            "listener",
            "sse.heartbeat",
            "streams.linger",
            "models",
            "providers.a.base_url",
        ] {
            assert!(!is_fixed(free), "{free}");
        }
    }
}
