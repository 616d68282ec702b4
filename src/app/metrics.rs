//! The metrics of a configuration: the models and providers that are counted, and the targets whose
//! health each scrape tells.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::MetricType;
use tokio::time::Instant;

use super::routes::SharedRouting;
use crate::config::{Config, MOCK};
use crate::provider::mock::MODELS;
use crate::routing::Health;
use crate::routing::health::{Availability, Closed};
use crate::telemetry::metrics::{CountedModel, CountedParts};

/// Returns what is counted with a configuration.
pub(super) fn counted(config: &Config, routing: &SharedRouting) -> CountedParts {
    let targets = TargetMetrics(routing.chosen_targets(config));
    CountedParts {
        models: counted_models(config),
        others: vec![Box::new(targets)],
    }
}

fn counted_models(config: &Config) -> Vec<CountedModel> {
    if config.models.is_empty() {
        let names = MODELS.iter().map(|(name, _)| *name).chain(["*"]);
        let model = |name: &str| CountedModel {
            name: name.to_owned(),
            providers: vec![MOCK.to_owned()],
        };
        return names.map(model).collect();
    }
    let models = config.models.iter().map(|model| {
        let targets = model.targets.iter();
        CountedModel {
            name: model.name.clone(),
            providers: targets
                .map(|target| target.provider.as_str().to_owned())
                .collect(),
        }
    });
    models.collect()
}

/// A target by its provider and that one's name for the model.
pub(super) type NamedHealth = (String, String, Arc<Health>);

/// The health of all targets that are chosen among.
#[derive(Debug)]
struct TargetMetrics(Vec<NamedHealth>);

/// The labels of a target, and of a reason.
struct TargetLabels<'a>(&'a [(&'static str, &'a str)]);

impl EncodeLabelSet for TargetLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        self.0.encode(encoder)
    }
}

/// The states of a target, and their words.
const STATES: [&str; 6] = ["open", "probe", "broken", "busy", "quota", "key"];

impl Collector for TargetMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (name, help) = (
            "tokenrill_target_in_flight",
            "Attempts that run at a target",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (provider, model, health) in &self.0 {
            let labels = TargetLabels(&[("provider", provider), ("upstream_model", model)]);
            family
                .encode_family(&labels)?
                .encode_gauge(&health.in_flight())?;
        }
        let help = "1 for the state that a target is in: open for requests, or the reason why not";
        let mut family =
            encoder.encode_descriptor("tokenrill_target_state", help, None, MetricType::Gauge)?;
        let now = Instant::now();
        for (provider, model, health) in &self.0 {
            let current = state(health.availability(now));
            for state in STATES {
                let labels = TargetLabels(&[
                    ("provider", provider),
                    ("upstream_model", model),
                    ("state", state),
                ]);
                let is_current = u32::from(state == current);
                family.encode_family(&labels)?.encode_gauge(&is_current)?;
            }
        }
        Ok(())
    }
}

fn state(availability: Availability) -> &'static str {
    match availability {
        Availability::Open => "open",
        Availability::Probe => "probe",
        Availability::Closed(Closed::Broken, _) => "broken",
        Availability::Closed(Closed::Busy, _) => "busy",
        Availability::Closed(Closed::Quota, _) => "quota",
        Availability::Closed(Closed::Key, _) => "key",
    }
}
