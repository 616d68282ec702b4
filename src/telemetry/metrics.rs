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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
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

/// The metrics of a server.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    series: Series,
    slots: Slots,
    requests: Mutex<Vec<RequestCounter>>,
    started: SystemTime,
    registry: Registry,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Returns metrics of which nothing is counted yet. `others` are asked at each scrape.
    #[must_use]
    pub fn new(models: Vec<CountedModel>, workers: usize, others: Vec<Box<dyn Collector>>) -> Self {
        let series = Series::new(models);
        let mut registry = Registry::default();
        for other in others {
            registry.register_collector(other);
        }
        Self(Arc::new(Shared {
            slots: Slots::new(workers, series.cells()),
            series,
            requests: Mutex::default(),
            started: SystemTime::now(),
            registry,
        }))
    }

    /// Returns a counter of requests for one worker.
    #[must_use]
    pub fn request_counter(&self) -> RequestCounter {
        let counter = RequestCounter::default();
        let mut counters = self
            .0
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counters.push(counter.clone());
        counter
    }

    /// Returns all series as text, of the type [`MEDIA_TYPE`].
    ///
    /// # Errors
    ///
    /// Never: writing to a string can't fail.
    pub fn exposition(&self) -> Result<String, fmt::Error> {
        let shared = &*self.0;
        let counters = shared.requests.lock();
        let counters = counters.unwrap_or_else(PoisonError::into_inner).clone();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition {
            metrics: self.clone(),
            requests: requests::sum(&counters),
        }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, &registry)?;
        encode(&mut text, &shared.registry)?;
        Ok(text)
    }
}

impl Observer for Metrics {
    fn on_start(&self, model: &str) {
        let Shared { series, slots, .. } = &*self.0;
        slots.add(series.started(model), 1);
    }

    fn wants_pauses(&self) -> bool {
        true
    }

    fn on_outcome(&self, outcome: &Outcome) {
        let Shared { series, slots, .. } = &*self.0;
        series.count(outcome, |cell, count| slots.add(cell, count));
    }
}

#[cfg(test)]
mod tests;
