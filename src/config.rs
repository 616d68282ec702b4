//! The configuration: a TOML file, overridden key by key from the environment, checked whole before
//! anything starts.
//!
//! Each section's file lists its keys (`key`), each with its type, default and purpose, and reads
//! them into types that can't be wrong. `source` knows where a value came from; `reader` collects
//! what is wrong and reads on, so that all problems are told at once. Each is one line that names
//! file and line, or the variable, the key, and what would be right. Secrets come only by the name
//! of a variable or file.

mod access;
mod accounting;
mod auth;
mod aws;
mod aws_profile;
mod client_keys;
mod cloud;
mod continuation;
mod continue_turn;
mod digest;
mod edge;
mod exposure;
mod families;
mod fingerprint;
mod flavors;
mod key;
mod limits;
mod machine;
mod model_patterns;
mod models;
mod operators;
mod parameters;
mod pass_through;
mod problems;
mod providers;
mod reader;
mod resume;
mod routing;
mod secret;
mod sizes;
mod source;
mod store;
mod streams;
mod timeouts;
mod unknown;
mod values;
mod websocket;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::store::redis::RedisAddress;
use dialect::Parameters;
use dialect::families::Family;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

pub use access::{Access, AwsKeys, AwsSource, ContainerToken, ProfileFiles, WebIdentity};
pub use accounting::UsageAccounting;
pub use auth::{Auth, Team};
pub use aws_profile::{ProfileKeys, profile_keys};
pub use client_keys::{ClientKey, KeyRole, OldDigest, load_keys};
pub use continuation::{ContinuationRules, ContinueBy};
pub use continue_turn::{ContinueTurn, LAST_WORDS};
pub use digest::{KeyDigest, ParseDigestError};
pub use fingerprint::Fingerprint;
pub use flavors::{FLAVORS, Flavor, Home};
pub use limits::{Budget, Limits, Period, usd};
pub use model_patterns::ModelPatterns;
pub use operators::Operators;
pub use pass_through::{DEFAULT_PATHS as DEFAULT_PASS_THROUGH, PassThrough};
pub use problems::ConfigError;
use problems::Problems;
use reader::Reader;
pub use resume::ResumeBy;
pub use routing::{Affinity, BreakerOptions, Choose, RetryBudget, RoutingRules};
pub use sizes::{AnswerLimits, AnswerSizes, ModelSizes};
use source::Source;
pub use streams::{MostLingering, Streaming, Streams};
pub use timeouts::{ConnectionLimits, GenerationTimeouts, ModelTimeouts, Timeouts};
pub use websocket::Websocket;

/// The provider that is always there; its name can't be given to another.
pub const MOCK: &str = "mock";

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address that clients connect to.
    pub listen: SocketAddr,
    /// The certificate shown to clients; plain HTTP if none.
    pub tls: Option<Tls>,
    /// The web pages that may ask and read answers.
    pub cors: Cors,
    /// The accounting of what generations use.
    pub accounting: UsageAccounting,
    /// The rules by which clients are told apart.
    pub auth: Auth,
    /// The teams that keys belong to.
    pub teams: Vec<Team>,
    /// Another process may listen on the same address.
    pub reuse_port: bool,
    /// The names by which clients may call this server.
    pub hosts: Vec<String>,
    /// The most connections of clients; as many as the process may have if `None`.
    pub max_connections: Option<NonZeroUsize>,
    /// Threads that serve connections.
    pub workers: NonZeroUsize,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The memory that bodies, and answers that are no streams, may hold together, in bytes.
    pub max_bodies: usize,
    /// The longest event of an upstream's stream, in bytes.
    pub max_event_bytes: usize,
    /// The largest answer of an upstream that is no stream, in bytes.
    pub max_response_bytes: usize,
    /// The time for which the server says that it is not ready before it drains.
    pub drain_delay: Duration,
    /// The time that running streams get at shutdown.
    pub drain: Duration,
    /// The folder of prompt templates.
    pub prompts: PromptsDir,
    /// The model for requests that name none.
    pub default_model: Option<String>,
    /// The paths whose requests are passed on as they are.
    pub pass_through: PassThrough,
    /// Logs.
    pub log: Log,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The form of SSE responses.
    pub sse: Sse,
    /// Streams that outlive their connection.
    pub streams: Streams,
    /// Sockets.
    pub websocket: Websocket,
    /// The settings of what operators see, and where.
    pub operators: Operators,
    /// The embedded model.
    pub mock: Mock,
    /// Upstreams by name.
    pub providers: BTreeMap<ProviderName, Provider>,
    /// Models that clients may ask for; the mock's if none.
    pub models: Vec<Model>,
    /// Families of models, after those that are known.
    pub families: Vec<Family>,
    /// The values, as far as a change of one must be seen.
    pub fingerprint: Fingerprint,
}

/// TLS for clients. That the files are good is found out when they are read, at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and its chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The web pages that may read answers, by their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Only our own.
    None,
    /// All, but without their cookies.
    Any,
    /// These.
    These(Vec<HeaderValue>),
}

/// The names by which clients may call this server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// The names that are listed.
    names: Vec<String>,
    /// Set if a name that is not known is refused.
    is_checked: bool,
}

impl Hosts {
    /// Returns the names that may be used: any if none are listed, unless the server listens on
    /// loopback alone. A page's name that was made to point there would be one that it can't know.
    #[must_use]
    pub fn new(names: Vec<String>, listen: SocketAddr) -> Self {
        let is_checked = listen.ip().is_loopback() || !names.is_empty();
        Self { names, is_checked }
    }

    /// Returns whether a `Host` may be used, with or without a port. Addresses may, and names
    /// without a dot, which no page of another site can have.
    ///
    /// ```
    /// use tokenrill::config::Hosts;
    ///
    /// let hosts = Hosts::new(vec!["api.example".to_owned()], ([127, 0, 0, 1], 8080).into());
    /// for own in ["localhost:8080", "[::1]:8080", "127.0.0.1", "API.example", "tokenrill"] {
    ///     assert!(hosts.allows(own), "{own}");
    /// }
    /// assert!(!hosts.allows("evil.example:8080"));
    /// ```
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        !self.is_checked
            || !name.contains('.') && address.is_none()
            || address.unwrap_or(name).parse::<IpAddr>().is_ok()
            || name.to_ascii_lowercase().ends_with(".localhost")
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// A folder of prompt templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptsDir {
    /// The path.
    pub path: PathBuf,
    /// Set if it was named explicitly: then it must exist.
    pub explicit: bool,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Their form.
    pub format: LogFormat,
    /// The level, as a `tracing` filter.
    pub level: String,
}

/// The form of SSE responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sse {
    /// A silent stream gets a comment every so often; `None` for `"0s"`, never.
    pub heartbeat: Option<Duration>,
    /// A response begins after so long, even if its upstream has not answered.
    pub commit_after: Duration,
}

/// The embedded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mock {
    /// Its pace; 0 is no delay.
    pub tokens_per_second: u32,
}

/// A provider's name: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(String);

impl ProviderName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret: no log, error or `Debug` shows it.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub(crate) fn new(secret: String) -> Self {
        Self(SecretString::from(secret))
    }

    /// The secret itself, to be sent where it belongs and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An `http` or `https` address without a trailing slash; it may have a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rule for streams that end without a finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReasonRule {
    /// A stream without a finish reason is broken off.
    Required,
    /// `[DONE]` suffices.
    Optional,
}

/// The place where streams are kept.
#[derive(Debug, Clone)]
pub enum Store {
    /// In this process alone.
    Memory,
    /// A Redis that all replicas share.
    Redis(RedisAddress),
}

/// An upstream.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The flavor's name; empty if it has none.
    pub flavor: &'static str,
    /// The name of the dialect that it speaks.
    pub dialect: &'static str,
    /// The address.
    pub base_url: BaseUrl,
    /// The API key.
    pub api_key: Option<Secret>,
    /// The credentials that a cloud has instead of a key.
    pub access: Option<Access>,
    /// The version of Azure's API.
    pub api_version: Option<String>,
    /// Further headers of each request. Their values are secrets too.
    pub headers: HeaderMap,
    /// Headers of clients that are sent to it besides those of its dialect.
    pub forward_headers: Vec<HeaderName>,
    /// HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// The rule for the end of its streams.
    pub finish_reason: FinishReasonRule,
    /// The breaker of each of its models.
    pub breaker: BreakerOptions,
    /// The most requests that it has at a time.
    pub max_in_flight: Option<usize>,
    /// Requests with tools that another API would run itself are refused.
    pub refuses_tools: bool,
}

/// A model that clients may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its name; `*` stands for every other.
    pub name: String,
    /// The targets that may answer; at least one.
    pub targets: Vec<Target>,
    /// The rules by which they are asked.
    pub rules: RoutingRules,
    /// The time limits of its own.
    pub timeouts: ModelTimeouts,
    /// The largest sizes of its own.
    pub sizes: ModelSizes,
    /// The changes to the parameters of its requests.
    pub parameters: Parameters,
}

/// The target of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The provider's name.
    pub provider: ProviderName,
    /// The model's name there, if it differs.
    pub model: Option<String>,
    /// Targets of a higher tier are asked when none of a lower one can be.
    pub tier: u8,
    /// Its share of requests within the tier.
    pub weight: u32,
    /// The time limit of its first token, where it has one of its own.
    pub first_token: Option<Duration>,
    /// The way in which it is asked to go on with an answer, if its model does not decide.
    pub continue_by: Option<ContinueBy>,
    /// The way in which it is asked again for the rest of an answer, if it is.
    pub resume: Option<ResumeBy>,
}

impl Config {
    /// Reads a file, if any, and the environment; `dialects` are those that upstreams speak.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each on one line.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (OsString, OsString)>,
        dialects: &[&'static str],
    ) -> Result<Self, ConfigError> {
        let env: BTreeMap<String, String> = env
            .filter_map(|(name, value)| {
                Some((
                    name.into_string().ok()?,
                    value.to_string_lossy().into_owned(),
                ))
            })
            .collect();
        let mut problems = Problems::default();
        let source = Source::load(file, &env, values::KEYS, &mut problems);
        let config = source.map(|source| {
            unknown::report_unknown_keys(&source, &mut problems);
            let mut reader = Reader::new(&source, &env, &mut problems);
            let config = values::config(&mut reader, dialects);
            Self {
                fingerprint: Fingerprint::new(&source.table),
                ..config
            }
        });
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.into_error()),
        }
    }
}

#[cfg(test)]
mod tests;
