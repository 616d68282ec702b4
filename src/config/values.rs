//! The configuration, composed of its sections.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::edge;
use super::models::{default_model, models};
use super::providers::provider;
use super::reader::{any_duration, choice, count, duration, parsed, size, text, wrong};
use super::source::{ConfigError, Source};
use super::streams::streams;
use super::websocket::websocket;
use super::{Config, Log, LogFormat, Mock, PromptsDir, Sse, Timeouts};

/// Composes the configuration of its sections.
pub(super) fn config(
    source: &Source,
    env: &BTreeMap<String, String>,
    dialects: &[&'static str],
) -> Result<Config, ConfigError> {
    let sse = Sse {
        heartbeat: Some(any_duration(source, "sse.heartbeat", 15)?)
            .filter(|every| !every.is_zero()),
        commit_after: any_duration(source, "sse.commit_after", 10)?,
    };
    let providers = source
        .providers()
        .map(|name| provider(source, name, env, dialects))
        .collect::<Result<_, _>>()?;
    let models = models(source, &providers)?;
    if let (Some(name), true) = (providers.keys().next(), models.is_empty()) {
        let key = format!("providers.{name}");
        let add =
            format!("[[models]] with name = \"*\" and targets = [{{ provider = \"{name}\" }}]");
        return Err(source.error(&key, format!("no model leads to it; add {add}")));
    }
    let max_body = size(source, "max_body", 4 << 20)?;
    Ok(Config {
        listen: parsed(
            source,
            "listen",
            "127.0.0.1:8080",
            "an address such as \"127.0.0.1:8080\"",
        )?,
        tls: edge::tls(source)?,
        cors: edge::cors(source)?,
        workers: workers(source)?,
        max_body,
        max_bodies: size(source, "max_bodies", 64 << 20)?,
        max_event_bytes: size(source, "max_event_bytes", 1 << 20)?,
        max_response_bytes: size(source, "max_response_bytes", 16 << 20)?,
        drain: any_duration(source, "drain", 30)?,
        prompts: prompts_dir(source)?,
        default_model: default_model(source, &models)?,
        log: Log {
            format: choice(
                source,
                "log.format",
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            level: text(source, "log.level")?.unwrap_or("info").to_owned(),
        },
        timeouts: timeouts(source)?,
        sse,
        streams: streams(source, env)?,
        websocket: websocket(source, max_body)?,
        mock: Mock {
            tokens_per_second: pace(source)?,
        },
        providers,
        models,
    })
}

fn timeouts(source: &Source) -> Result<Timeouts, ConfigError> {
    Ok(Timeouts {
        connect: duration(source, "timeouts.connect", 5)?,
        first_token: duration(source, "timeouts.first_token", 60)?,
        between_tokens: duration(source, "timeouts.between_tokens", 30)?,
        total: duration(source, "timeouts.total", 600)?,
        client_stall: duration(source, "timeouts.client_stall", 30)?,
        request_head: duration(source, "timeouts.request_head", 10)?,
        request_body: duration(source, "timeouts.request_body", 30)?,
    })
}

fn prompts_dir(source: &Source) -> Result<PromptsDir, ConfigError> {
    let path = text(source, "prompts")?;
    Ok(PromptsDir {
        explicit: path.is_some(),
        path: PathBuf::from(path.unwrap_or("prompts")),
    })
}

fn workers(source: &Source) -> Result<NonZeroUsize, ConfigError> {
    count(
        source,
        "workers",
        std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        1024,
    )
}

fn pace(source: &Source) -> Result<u32, ConfigError> {
    const KEY: &str = "mock.tokens_per_second";
    match source.get(KEY) {
        None => Ok(50),
        Some(value) => {
            let number = value
                .as_integer()
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n <= 1_000_000);
            number.ok_or_else(|| {
                wrong(
                    source,
                    KEY,
                    "a whole number from 0 (no delay) to 1000000",
                    value,
                )
            })
        }
    }
}
