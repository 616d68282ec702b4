//! Metrics for Prometheus: what has happened since the start, as numbers.
//!
//! Generations are counted when they end, by [`Observer`]; requests by the layer in front of all
//! routes. Each worker adds to numbers of its own, which a scrape sums. Labels have only values of
//! the configuration and of the code, so the number of series does not depend on what clients send.
//! `docs/metrics.md` lists them.
//!
//! Not here: when and where they are served.

mod exposition;
mod process;
mod requests;
mod series;
mod slots;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::registry::Registry;

use crate::outcome::{Observer, Outcome};
use exposition::Exposition;
pub use requests::RequestCounter;
use series::Series;
use slots::Slots;

/// The media type of the exposition.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A model that is counted by its name, and its providers.
#[derive(Debug, Clone)]
pub struct CountedModel {
    /// The name that clients ask for; `*` counts every other.
    pub name: String,
    /// The names of the providers that may answer.
    pub providers: Vec<String>,
}

/// The models and parts that are counted, as one configuration says.
#[derive(Debug)]
pub struct CountedParts {
    /// The models.
    pub models: Vec<CountedModel>,
    /// The parts of the server that tell their own metrics at each scrape.
    pub others: Vec<Box<dyn Collector>>,
}

/// The metrics of a server.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    /// Written when a configuration is read again.
    table: RwLock<Table>,
    requests: Mutex<Vec<RequestCounter>>,
    workers: usize,
    started: SystemTime,
    last_reload: Mutex<Reload>,
}

/// The numbers, and the names that they go by.
struct Table {
    series: Series,
    slots: Slots,
    others: Registry,
}

/// The last reading of the configuration.
#[derive(Debug, Clone, Copy)]
struct Reload {
    is_successful: bool,
    /// The time of the last one that was.
    success: SystemTime,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Table {
    fn new(parts: CountedParts, workers: usize) -> Self {
        let series = Series::new(parts.models);
        let mut others = Registry::default();
        for other in parts.others {
            others.register_collector(other);
        }
        Self {
            slots: Slots::new(workers, series.cells()),
            series,
            others,
        }
    }
}

impl Metrics {
    /// Returns metrics of which nothing is counted yet.
    #[must_use]
    pub fn new(parts: CountedParts, workers: usize) -> Self {
        let started = SystemTime::now();
        Self(Arc::new(Shared {
            table: RwLock::new(Table::new(parts, workers)),
            requests: Mutex::default(),
            workers,
            started,
            last_reload: Mutex::new(Reload {
                is_successful: true,
                success: started,
            }),
        }))
    }

    /// Counts by another configuration from now on. The numbers of models and providers that both
    /// have go on.
    pub fn replace(&self, parts: CountedParts) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let new = Table::new(parts, self.0.workers);
        for (before, after) in table.series.shared_cells(&new.series) {
            new.slots.add(after, table.slots.sum(before));
        }
        *table = new;
    }

    /// Takes note that the configuration was read again.
    pub fn on_reload(&self, is_successful: bool) {
        let last = self.0.last_reload.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        last.is_successful = is_successful;
        if is_successful {
            last.success = SystemTime::now();
        }
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counter of requests of a worker, by its number.
    #[must_use]
    pub fn request_counter(&self, worker: usize) -> RequestCounter {
        let counters = self.0.requests.lock();
        let mut counters = counters.unwrap_or_else(PoisonError::into_inner);
        if counters.len() <= worker {
            counters.resize_with(worker + 1, RequestCounter::default);
        }
        counters.get(worker).cloned().unwrap_or_default()
    }

    /// Returns all series as text, of the type [`MEDIA_TYPE`].
    ///
    /// # Errors
    ///
    /// When a collector fails. Ours don't.
    pub fn exposition(&self) -> Result<String, fmt::Error> {
        let counters = self.0.requests.lock();
        let counters = counters.unwrap_or_else(PoisonError::into_inner).clone();
        let last_reload = self.0.last_reload.lock();
        let last_reload = *last_reload.unwrap_or_else(PoisonError::into_inner);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition {
            metrics: self.clone(),
            requests: requests::sum(&counters),
            last_reload,
        }));
        let mut text = String::new();
        encode_registry(&mut text, &registry)?;
        encode(&mut text, &self.table().others)?;
        Ok(text)
    }
}

impl Observer for Metrics {
    fn on_start(&self, model: &str) {
        let Table { series, slots, .. } = &*self.table();
        slots.add(series.started(model), 1);
    }

    fn wants_pauses(&self) -> bool {
        true
    }

    fn on_outcome(&self, outcome: &Outcome) {
        let Table { series, slots, .. } = &*self.table();
        series.count(outcome, |cell, count| slots.add(cell, count));
    }
}

#[cfg(test)]
mod tests;
