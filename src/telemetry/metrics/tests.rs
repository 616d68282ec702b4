//! Tests of the metrics: each event is counted in its place, and clients add no series.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use base::id::RequestId;
use dialect::event::Usage;
use dialect::failure::Failure;

use super::*;
use crate::outcome::{AttemptOutcome, GenerationEnd, Pauses, Spent};

fn metrics() -> Metrics {
    let model = |name: &str, providers: &[&str]| CountedModel {
        name: name.to_owned(),
        providers: providers.iter().map(ToString::to_string).collect(),
    };
    let models = vec![model("clever", &["a", "b", "a"]), model("*", &["b"])];
    counting(models)
}

fn parts(models: Vec<CountedModel>) -> CountedParts {
    CountedParts {
        models,
        others: Vec::new(),
    }
}

fn counting(models: Vec<CountedModel>) -> Metrics {
    Metrics::new(parts(models), 2)
}

fn outcome(model: &str, providers: &[&str], end: GenerationEnd) -> Outcome {
    let attempt = |provider: &&str| AttemptOutcome {
        provider: (*provider).to_owned(),
        upstream_model: "m".to_owned(),
        is_hedge: false,
        failure: None,
    };
    Outcome {
        request_id: RequestId::random(),
        route: "/stream",
        model: model.to_owned(),
        attempts: providers.iter().map(attempt).collect(),
        status: 200,
        time_to_first_token: Some(Duration::from_millis(15)),
        duration: Duration::from_secs(2),
        payloads: 3,
        pauses: None,
        usage: None,
        resumed: 0,
        spent: Spent::default(),
        key: None,
        team: None,
        continued: None,
        end,
    }
}

/// Returns the value of a series.
fn value(text: &str, series: &str) -> Option<String> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(str::to_owned)
}

#[test]
fn a_generation_is_counted_where_it_ended_and_the_attempts_before_where_they_were_made() {
    let metrics = metrics();
    metrics.on_start("clever");
    metrics.on_start("clever");
    let mut ended = outcome("clever", &["a", "b"], GenerationEnd::Complete);
    ended.usage = Some(Usage {
        input: 7,
        output: 5,
        cached: Some(3),
        ..Usage::default()
    });
    ended.spent.nano_usd = Some(2_500_000);
    let mut pauses = Pauses::default();
    pauses.add(Duration::from_millis(30), 2);
    ended.pauses = Some(Box::new(pauses));
    metrics.on_outcome(&ended);
    let text = metrics.exposition().unwrap();
    let on = |name: &str, provider: &str, more: &str| {
        let labels = format!("model=\"clever\",provider=\"{provider}\"");
        let series = match more.strip_prefix("le=") {
            Some(bound) => format!("{name}{{le={bound},{labels}}}"),
            None => format!("{name}{{{labels}{more}}}"),
        };
        value(&text, &series).unwrap_or_else(|| panic!("{series} in {text}"))
    };
    assert_eq!(
        on("tokenrill_generations_total", "b", ",outcome=\"done\""),
        "1"
    );
    assert_eq!(
        on("tokenrill_generations_total", "a", ",outcome=\"done\""),
        "0"
    );
    assert_eq!(
        on("tokenrill_attempts_total", "a", ",result=\"failed\""),
        "1"
    );
    assert_eq!(on("tokenrill_attempts_total", "b", ",result=\"ok\""), "1");
    assert_eq!(on("tokenrill_tokens_total", "b", ",kind=\"cached\""), "3");
    assert_eq!(on("tokenrill_tokens_total", "b", ",kind=\"output\""), "5");
    assert_eq!(on("tokenrill_cost_usd_total", "b", ""), "0.0025");
    let first = "tokenrill_time_to_first_token_seconds";
    assert_eq!(
        on(&format!("{first}_bucket"), "b", "le=\"0.01\"").as_str(),
        "0"
    );
    assert_eq!(
        on(&format!("{first}_bucket"), "b", "le=\"0.02\"").as_str(),
        "1"
    );
    assert_eq!(on(&format!("{first}_sum"), "b", ""), "0.015");
    let pauses = "tokenrill_inter_token_seconds";
    assert_eq!(on(&format!("{pauses}_bucket"), "b", "le=\"0.001\""), "1");
    assert_eq!(on(&format!("{pauses}_count"), "b", ""), "2");
    assert_eq!(on(&format!("{pauses}_sum"), "b", ""), "0.03");
    let running = "tokenrill_generations_running{model=\"clever\"}";
    assert_eq!(value(&text, running).unwrap(), "1");
}

#[test]
fn names_that_clients_choose_make_no_series() {
    let metrics = metrics();
    let count = |text: &str| text.lines().count();
    let before = count(&metrics.exposition().unwrap());
    for number in 0..100 {
        let name = format!("model-{number}");
        metrics.on_start(&name);
        metrics.on_outcome(&outcome(&name, &["b"], GenerationEnd::ClientLeft));
        metrics.on_outcome(&outcome(&name, &["unheard"], GenerationEnd::Aborted));
    }
    let text = metrics.exposition().unwrap();
    assert_eq!(count(&text), before);
    let of = |provider: &str, outcome: &str| {
        let labels = format!("{{model=\"*\",provider=\"{provider}\",outcome=\"{outcome}\"}}");
        value(&text, &format!("tokenrill_generations_total{labels}")).unwrap()
    };
    assert_eq!(of("b", "cancelled"), "100");
    assert_eq!(of("none", "server_error"), "100");
}

#[test]
fn failures_are_told_apart_by_whose_they_are() {
    let metrics = metrics();
    let limit = Duration::from_secs(1);
    for (failure, word) in [
        (Failure::first_token_timeout(limit), "timeout"),
        (Failure::invalid_request("no".to_owned()), "client_error"),
        (Failure::draining(), "server_error"),
    ] {
        metrics.on_outcome(&outcome("clever", &[], (&failure).into()));
        let text = metrics.exposition().unwrap();
        let labels = format!("{{model=\"clever\",provider=\"none\",outcome=\"{word}\"}}");
        let series = format!("tokenrill_generations_total{labels}");
        assert_eq!(value(&text, &series).as_deref(), Some("1"), "{word}");
    }
}

#[test]
fn another_configuration_goes_on_with_the_numbers_of_what_it_has_in_common() {
    let model = |name: &str, providers: &[&str]| CountedModel {
        name: name.to_owned(),
        providers: providers.iter().map(ToString::to_string).collect(),
    };
    let metrics = counting(vec![model("m", &["a", "b"]), model("gone", &["a"])]);
    for (name, provider) in [("m", "a"), ("m", "b"), ("gone", "a")] {
        metrics.on_start(name);
        metrics.on_outcome(&outcome(name, &[provider], GenerationEnd::Complete));
    }
    metrics.on_start("m");
    metrics.replace(parts(vec![model("new", &["a"]), model("m", &["c", "b"])]));
    metrics.on_reload(false);
    let text = metrics.exposition().unwrap();
    let done = |model: &str, provider: &str| {
        let labels = format!("{{model=\"{model}\",provider=\"{provider}\",outcome=\"done\"}}");
        value(&text, &format!("tokenrill_generations_total{labels}"))
    };
    assert_eq!(done("m", "b").as_deref(), Some("1"));
    // Of the provider that is gone.
    assert_eq!(done("m", "none").as_deref(), Some("1"));
    assert_eq!(done("m", "c").as_deref(), Some("0"));
    assert_eq!(done("new", "a").as_deref(), Some("0"));
    assert_eq!(done("gone", "a"), None);
    let running = |model: &str| {
        let series = format!("tokenrill_generations_running{{model=\"{model}\"}}");
        value(&text, &series)
    };
    assert_eq!(running("m").as_deref(), Some("1"));
    let last = "tokenrill_config_last_reload_successful";
    assert_eq!(value(&text, last).as_deref(), Some("0"));
}

#[test]
fn numbers_of_all_threads_are_summed() {
    let slots = Slots::new(2, 3);
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| (0..1000).for_each(|_| slots.add(1, 2)));
        }
    });
    assert_eq!((slots.sum(0), slots.sum(1), slots.sum(2)), (0, 10_000, 0));
}
