//! The numbers as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::{Error, Write as _};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::process::ProcessFigures;
use super::series::{
    ATTEMPT_ENDS, ATTEMPTS, COST, DURATION, FIRST_TOKEN, OUTCOMES, PAUSES, TIME_BOUNDS,
    TOKEN_KINDS, TOKENS,
};
use super::{Metrics, Reload};
use crate::outcome::PAUSE_BOUNDS;

/// Microseconds of a second.
const MICROS: f64 = 1e6;
/// Billionths of a dollar.
const NANOS: f64 = 1e9;

/// All that one scrape tells.
#[derive(Debug)]
pub(super) struct Exposition {
    pub(super) metrics: Metrics,
    pub(super) requests: BTreeMap<(String, &'static str, u16), u64>,
    pub(super) last_reload: Reload,
}

/// The labels of a series.
struct Labels<'a, const N: usize>([(&'static str, &'a str); N]);

impl<const N: usize> EncodeLabelSet for Labels<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        self.0.encode(encoder)
    }
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_build(&mut encoder)?;
        self.encode_reload(&mut encoder)?;
        self.encode_requests(&mut encoder)?;
        self.encode_generations(&mut encoder)?;
        self.encode_running(&mut encoder)?;
        self.encode_cost(&mut encoder)?;
        self.encode_counts(
            &mut encoder,
            ("tokenrill_attempts", "Exchanges with targets"),
            ("result", &ATTEMPT_ENDS, ATTEMPTS),
        )?;
        self.encode_counts(
            &mut encoder,
            ("tokenrill_tokens", "Tokens as upstreams report them"),
            ("kind", &TOKEN_KINDS, TOKENS),
        )?;
        self.encode_histogram(
            &mut encoder,
            (
                "tokenrill_time_to_first_token_seconds",
                "Time from the request to the first payload with content",
            ),
            (FIRST_TOKEN, &TIME_BOUNDS),
        )?;
        self.encode_histogram(
            &mut encoder,
            ("tokenrill_inter_token_seconds", "Time between tokens"),
            (PAUSES, &PAUSE_BOUNDS),
        )?;
        self.encode_histogram(
            &mut encoder,
            (
                "tokenrill_generation_duration_seconds",
                "Time from the request to the end of the answer",
            ),
            (DURATION, &TIME_BOUNDS),
        )?;
        self.encode_process(&mut encoder)
    }
}

impl Exposition {
    fn encode_build(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "The version that runs";
        let mut family =
            encoder.encode_descriptor("tokenrill_build_info", help, None, MetricType::Gauge)?;
        let labels = Labels([("version", env!("CARGO_PKG_VERSION"))]);
        family.encode_family(&labels)?.encode_gauge(&1_u64)
    }

    fn encode_reload(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let name = "tokenrill_config_last_reload_successful";
        let help = "1 if the configuration was fine when it was read last";
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode_gauge(&u32::from(self.last_reload.is_successful))?;
        let name = "tokenrill_config_last_reload_success_timestamp_seconds";
        let help = "Time of the last reading of the configuration that was fine, since 1970";
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode_gauge(&seconds_since_1970(self.last_reload.success))
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Requests by route, dialect of the client, and status";
        let mut family =
            encoder.encode_descriptor("tokenrill_requests", help, None, MetricType::Counter)?;
        let mut code = String::new();
        for ((route, dialect, status), count) in &self.requests {
            code.clear();
            write!(code, "{status}")?;
            let labels = Labels([("route", route), ("dialect", dialect), ("code", &code)]);
            encode_count(&mut family, &labels, *count)?;
        }
        Ok(())
    }

    fn encode_generations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let name = ("tokenrill_generations", "Generations that have ended");
        self.encode_counts(encoder, name, ("outcome", &OUTCOMES, 0))
    }

    /// Encodes a counter that each pair has for each of some words, from that cell on.
    fn encode_counts(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        (label, words, first): (&'static str, &[&str], usize),
    ) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let table = self.metrics.table();
        for pair in table.series.pairs() {
            for (at, word) in words.iter().enumerate() {
                let labels = Labels([
                    ("model", &pair.model),
                    ("provider", &pair.provider),
                    (label, word),
                ]);
                encode_count(
                    &mut family,
                    &labels,
                    table.slots.sum(pair.first + first + at),
                )?;
            }
        }
        Ok(())
    }

    fn encode_cost(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (name, help) = ("tokenrill_cost_usd", "Cost of generations with a price");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let table = self.metrics.table();
        for pair in table.series.pairs() {
            let labels = Labels([("model", &pair.model), ("provider", &pair.provider)]);
            let usd = to_f64(table.slots.sum(pair.first + COST)) / NANOS;
            let mut series = family.encode_family(&labels)?;
            series.encode_counter(&usd, NO_EXEMPLAR)?;
        }
        Ok(())
    }

    fn encode_running(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (name, help) = ("tokenrill_generations_running", "Generations that run now");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let table = self.metrics.table();
        for (model, started, pairs) in table.series.models() {
            // Ends first: one that begins and ends meanwhile is not counted as less than none.
            let cells = pairs.iter().flat_map(|pair| {
                let first = pair.first;
                first..first + OUTCOMES.len()
            });
            let ended: u64 = cells.map(|cell| table.slots.sum(cell)).sum();
            let running = table.slots.sum(started).saturating_sub(ended);
            let labels = Labels([("model", model)]);
            family.encode_family(&labels)?.encode_gauge(&running)?;
        }
        Ok(())
    }

    fn encode_histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        (first, bounds): (usize, &[u64]),
    ) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let table = self.metrics.table();
        for pair in table.series.pairs() {
            let cells = pair.first + first;
            let ends = bounds.iter().map(|bound| to_f64(*bound) / MICROS);
            let buckets: Vec<(f64, u64)> = ends
                .chain([f64::INFINITY])
                .enumerate()
                .map(|(at, end)| (end, table.slots.sum(cells + at)))
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = to_f64(table.slots.sum(cells + bounds.len() + 1)) / MICROS;
            let labels = Labels([("model", &pair.model), ("provider", &pair.provider)]);
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let started = seconds_since_1970(self.metrics.0.started);
        let (name, help) = (
            "process_start_time_seconds",
            "Time of the start, since 1970",
        );
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode_gauge(&started)?;
        let Some(figures) = ProcessFigures::read() else {
            return Ok(());
        };
        let (name, help) = ("process_cpu_seconds", "Processor time");
        let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter.encode_counter(&figures.cpu.as_secs_f64(), NO_EXEMPLAR)?;
        let (name, help) = ("process_resident_memory_bytes", "Memory that is present");
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode_gauge(&figures.memory)?;
        let (name, help) = ("process_open_fds", "Open files and sockets");
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode_gauge(&figures.files)
    }
}

fn seconds_since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

fn encode_count(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    count: u64,
) -> Result<(), Error> {
    family
        .encode_family(labels)?
        .encode_counter(&count, NO_EXEMPLAR)
}

/// Returns a number as Prometheus has all of them: exactly up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "as documented")]
fn to_f64(number: u64) -> f64 {
    number as f64
}
