//! The configuration, composed of its sections.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::families::{FAMILIES, families};
use super::key::Default::{Said, Value};
use super::key::{Key, Keys, Kind};
use super::models::{default_model, models};
use super::pass_through::{PASS_THROUGH, pass_through};
use super::providers::provider;
use super::reader::Reader;
use super::resume::check_resume;
use super::streams::streams;
use super::websocket::websocket;
use super::{Config, Fingerprint, Log, LogFormat, Mock, PromptsDir, Sse};
use super::{accounting, auth, edge, models, operators, providers, streams, timeouts, websocket};

/// All keys there are.
pub(super) const KEYS: Keys = Keys {
    sections: &[
        &[
            LISTEN,
            WORKERS,
            MAX_BODY,
            MAX_BODIES,
            MAX_EVENT_BYTES,
            MAX_RESPONSE_BYTES,
            DRAIN_DELAY,
            DRAIN,
            PROMPTS,
            models::DEFAULT_MODEL,
            models::MODELS,
            FAMILIES,
            PASS_THROUGH,
            auth::TEAMS,
        ],
        edge::KEYS,
        auth::KEYS,
        &[LOG_FORMAT, LOG_LEVEL],
        timeouts::KEYS,
        &[HEARTBEAT, COMMIT_AFTER],
        streams::KEYS,
        websocket::KEYS,
        operators::KEYS,
        accounting::KEYS,
        &[PACE],
    ],
    provider: providers::KEYS,
    model: models::MODEL_KEYS,
    target: models::TARGET_KEYS,
    family: super::families::FAMILY_KEYS,
    team: auth::TEAM_KEYS,
    client_key: &[],
    limits: super::limits::LIMIT_KEYS,
    budget: super::limits::BUDGET_KEYS,
};

const LISTEN: Key = Key::new(
    "listen",
    Kind::Address,
    Value("127.0.0.1:8080"),
    "address and port; `--listen` goes before it",
);
const WORKERS: Key = Key::new(
    "workers",
    Kind::Number(1, 1024),
    Said("one per core"),
    "threads that serve connections, each with upstream connections of its own",
);
const MAX_BODY: Key = Key::new(
    "max_body",
    Kind::Size,
    Value("32MiB"),
    "the largest request body; a larger one is a 413",
);
const MAX_BODIES: Key = Key::new(
    "max_bodies",
    Kind::Size,
    Said(
        "a quarter of the memory that the process may have, at most `\"512MiB\"` and at least `max_body`",
    ),
    "the memory that all bodies of requests, and all answers that are no streams, may hold together, until the upstream has the one and the client the other; a body beyond it is a 503. The first 64 KiB of each count as nothing. What [sockets](websocket.md) keep of their last responses may take a quarter of it on top",
);
const MAX_EVENT_BYTES: Key = Key::new(
    "max_event_bytes",
    Kind::Size,
    Value("16MiB"),
    "the longest event of an upstream's stream; a longer one breaks the stream",
);
const MAX_RESPONSE_BYTES: Key = Key::new(
    "max_response_bytes",
    Kind::Size,
    Value("64MiB"),
    "the largest answer that is no stream",
);
const DRAIN_DELAY: Key = Key::new(
    "drain_delay",
    Kind::DurationOrZero,
    Value("0s"),
    "how long `/readyz` says 503 while all else is served as before, when the server is told to end: longer than a load balancer takes to notice",
);
const DRAIN: Key = Key::new(
    "drain",
    Kind::DurationOrZero,
    Value("30s"),
    "how long streams may finish when the server is told to end",
);
const PROMPTS: Key = Key::new(
    "prompts",
    Kind::Text,
    Said("`\"prompts\"`, if there is one"),
    "the folder of prompt templates; one that is named here must exist",
);
const LOG_FORMAT: Key = Key::new(
    "log.format",
    Kind::Word(&["text", "json"]),
    Value("text"),
    "`\"json\"` is one object per line",
);
const LOG_LEVEL: Key = Key::new(
    "log.level",
    Kind::Text,
    Value("info"),
    "a filter such as `\"warn,tokenrill=debug\"`",
);
const HEARTBEAT: Key = Key::new(
    "sse.heartbeat",
    Kind::DurationOrZero,
    Value("15s"),
    "a silent stream gets a comment so often; `\"0s\"` is never",
);
const COMMIT_AFTER: Key = Key::new(
    "sse.commit_after",
    Kind::DurationOrZero,
    Value("10s"),
    "a response begins after so long, even if its upstream is silent; until then a refusal keeps its status",
);
const PACE: Key = Key::new(
    "mock.tokens_per_second",
    Kind::Number(0, 1_000_000),
    Value("50"),
    "the pace of the mock; 0 is no delay",
);

/// Composes the configuration of its sections. It holds placeholders for what has problems.
pub(super) fn config(reader: &mut Reader<'_>, dialects: &[&'static str]) -> Config {
    let names = reader.providers();
    let providers: BTreeMap<_, _> = names
        .iter()
        .filter_map(|name| provider(reader, name, dialects))
        .collect();
    let max_body = reader.size(&MAX_BODY);
    let models = models(reader, max_body.unwrap_or(usize::MAX));
    if let (Some(name), true) = (names.first(), models.is_empty()) {
        let key = format!("providers.{name}");
        if reader.is_sound(models::MODELS.path) && reader.get(&key).is_some() {
            let add =
                format!("[[models]] with name = \"*\" and targets = [{{ provider = \"{name}\" }}]");
            reader.report(&key, format!("no model leads to it; add {add}"));
        }
    }
    check_resume(reader, &models, &providers);
    let families = families(reader, dialects);
    let max_body = max_body.unwrap_or_default();
    let default_model = default_model(reader, &models);
    let listen = reader
        .parsed(&LISTEN, "an address such as \"127.0.0.1:8080\"")
        .unwrap_or(([127, 0, 0, 1], 0).into());
    Config {
        listen,
        operators: operators::operators(reader, listen),
        hosts: edge::hosts(reader),
        reuse_port: edge::reuse_port(reader),
        max_connections: edge::max_connections(reader),
        tls: edge::tls(reader),
        cors: edge::cors(reader),
        auth: auth::auth(reader),
        teams: auth::teams(reader),
        workers: reader.count(&WORKERS).unwrap_or_else(one_per_core),
        max_body,
        max_bodies: reader
            .size(&MAX_BODIES)
            .unwrap_or_else(|| room_for_bodies(max_body)),
        max_event_bytes: reader.size(&MAX_EVENT_BYTES).unwrap_or_default(),
        max_response_bytes: reader.size(&MAX_RESPONSE_BYTES).unwrap_or_default(),
        drain_delay: reader.duration(&DRAIN_DELAY),
        drain: reader.duration(&DRAIN),
        prompts: prompts_dir(reader),
        default_model,
        pass_through: pass_through(reader),
        log: log(reader),
        timeouts: timeouts::timeouts(reader),
        sse: Sse {
            heartbeat: Some(reader.duration(&HEARTBEAT)).filter(|every| !every.is_zero()),
            commit_after: reader.duration(&COMMIT_AFTER),
        },
        streams: streams(reader),
        websocket: websocket(reader, max_body),
        accounting: accounting::accounting(reader),
        mock: Mock {
            tokens_per_second: reader
                .number(&PACE)
                .and_then(|pace| u32::try_from(pace).ok())
                .unwrap_or_default(),
        },
        providers,
        models,
        families,
        fingerprint: Fingerprint::default(),
    }
}

/// Returns `max_bodies` where it isn't given: a body may hold several times its size while it is
/// read and translated.
fn room_for_bodies(max_body: usize) -> usize {
    const MOST: usize = 512 << 20;
    let quarter = super::machine::memory().map_or(MOST, |bytes| bytes / 4);
    quarter.min(MOST).max(max_body)
}

fn one_per_core() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn prompts_dir(reader: &mut Reader<'_>) -> PromptsDir {
    let path = reader.text(&PROMPTS);
    PromptsDir {
        explicit: path.is_some(),
        path: PathBuf::from(path.as_deref().unwrap_or("prompts")),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    let format = match reader.word(&LOG_FORMAT) {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let level = reader.text(&LOG_LEVEL).unwrap_or_default();
    if let Err(error) = EnvFilter::builder().parse(&level) {
        let problem = format!("{error}; right would be `info`, or `warn,tokenrill=debug`");
        reader.report(LOG_LEVEL.path, problem);
    }
    Log { format, level }
}
