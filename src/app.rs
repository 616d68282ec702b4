//! Composition: the only file that names concrete providers. A checked configuration goes in, a
//! service comes out.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use http::header::{HeaderName, HeaderValue};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::compute::ComputePool;
use crate::config::{self, Config, FinishReasonRule, Hosts, MOCK, ProviderName};
use crate::http::{cors, router};
use crate::memory::MemoryBudget;
use crate::outcome::{Observer, Observers};
use crate::prompts::{Library, PromptError};
use crate::provider::mock::{MODELS, Mock};
use crate::provider::remote::{
    CertificatesError, Client, ClientOptions, RemoteOptions, RemoteProvider, Resolver, tls_config,
};
use crate::provider::{MIN_CREDENTIAL_LENGTH, Provider};
use crate::routing::{Route, Routes, Target};
use crate::server::tls::{self, TlsError};
use crate::server::{Server, Shutdown, room_for_connections};
use crate::service::{LingerSlots, Service};
use crate::shutdown::{AbortSignal, DrainSignal};
use crate::telemetry::log::OutcomeLog;
use dialect::{Dialect, FinishRule};
use stream::{self, Streams};

/// An error of building the service from a checked configuration.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A prompt template is broken.
    #[error(transparent)]
    Prompts(#[from] PromptError),
    /// The certificates by which upstreams are trusted.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// The certificate for clients, or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A base URL and a dialect's path make no address.
    #[error("providers.{provider}.base_url makes no address: {source}")]
    Address {
        /// The provider's name.
        provider: String,
        /// The reason.
        source: ::http::uri::InvalidUri,
    },
    /// No upstream speaks that dialect. A checked configuration has no such.
    #[error("providers.{provider} speaks `{dialect}`, which no upstream does")]
    Dialect {
        /// The provider's name.
        provider: String,
        /// The dialect that it is configured to speak.
        dialect: &'static str,
    },
    /// A key can't be sent in a header.
    #[error(
        "the key of providers.{provider} contains characters that are not allowed in an HTTP header"
    )]
    Key {
        /// The provider's name.
        provider: String,
    },
}

/// A service, ready to listen.
#[derive(Debug)]
pub struct App {
    snapshot: Snapshot,
    tls: Option<Arc<rustls::ServerConfig>>,
    draining: DrainSignal,
    abort: AbortSignal,
    observers: Observers,
    streams: Streams,
    memory: MemoryBudget,
    linger_slots: LingerSlots,
    compute: ComputePool,
    tasks: TaskTracker,
}

/// All of request handling that one configuration determines, for all workers. Another
/// configuration makes another one, beside the same streams, tasks and signals.
#[derive(Debug)]
struct Snapshot {
    config: Config,
    prompts: Arc<Library>,
    /// `None` if there is no provider to reach.
    upstreams: Option<UpstreamAccess>,
}

/// The system's certificates and names, by which all workers and providers reach upstreams.
#[derive(Debug)]
struct UpstreamAccess {
    tls: rustls::ClientConfig,
    resolver: Resolver,
}

impl UpstreamAccess {
    fn load(config: &Config) -> Result<Option<Self>, CertificatesError> {
        if config.providers.is_empty() {
            return Ok(None);
        }
        let providers = config.providers.values();
        let secure = providers
            .map(|provider| provider.base_url.as_str())
            .any(|url| url.starts_with("https:"));
        Ok(Some(Self {
            tls: tls_config(secure)?,
            resolver: Resolver::new(config.timeouts.connect),
        }))
    }
}

impl Snapshot {
    fn new(config: Config) -> Result<Self, AppError> {
        let (folder, must_exist) = (&config.prompts.path, config.prompts.explicit);
        let prompts = Arc::new(Library::open(folder, must_exist)?);
        let upstreams = UpstreamAccess::load(&config)?;
        Ok(Self {
            config,
            prompts,
            upstreams,
        })
    }
}

impl App {
    /// Builds what a configuration names.
    ///
    /// # Errors
    ///
    /// When a prompt template is broken, or the certificate.
    pub fn new(config: Config) -> Result<Self, AppError> {
        let snapshot = Snapshot::new(config)?;
        let config = &snapshot.config;
        let tls = config
            .tls
            .as_ref()
            .map(|files| tls::load_certificate(&files.cert, &files.key))
            .transpose()?;
        for (name, provider) in &config.providers {
            let key = provider.api_key.as_ref();
            if key.is_some_and(|key| key.expose().len() < MIN_CREDENTIAL_LENGTH) {
                tracing::warn!(
                    provider = name.as_str(),
                    "the key is shorter than {MIN_CREDENTIAL_LENGTH} bytes: where the provider repeats it, it is not cut out"
                );
            }
        }
        let (draining, abort) = (DrainSignal::default(), AbortSignal::default());
        let log: Arc<dyn Observer> = Arc::new(OutcomeLog);
        let observers = Observers::from_iter([log]);
        let limits = config.streams.limits;
        let streams = match &config.streams.store {
            config::Store::Memory => Streams::new(limits),
            config::Store::Redis(address) => Streams::shared(limits, address.clone()),
        };
        let memory = MemoryBudget::new(config.max_bodies);
        let linger_slots = LingerSlots::new(config.streams.most_lingering);
        Ok(Self {
            snapshot,
            tls,
            draining,
            abort,
            observers,
            streams,
            memory,
            linger_slots,
            compute: ComputePool::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Returns the number of prompt templates.
    #[must_use]
    pub fn prompts(&self) -> usize {
        self.snapshot.prompts.current().list().count()
    }

    /// Connects to the store of streams. What keeps the connection runs on the caller's runtime
    /// until the server ends.
    ///
    /// # Errors
    ///
    /// When it can't be reached.
    pub async fn connect(&self) -> Result<(), stream::StoreUnreachable> {
        self.streams.connect().await
    }

    /// The routes, with upstream connections of their own: they serve one worker.
    ///
    /// # Errors
    ///
    /// When a provider can't be built.
    pub fn router(&self) -> Result<Router, AppError> {
        let service = Arc::new(self.service(&self.snapshot)?);
        Ok(cors::around(router(service.clone()), &service.origins))
    }

    /// Turns a snapshot into one worker's state of request handling: all that a request reads of
    /// the configuration is in it.
    fn service(&self, snapshot: &Snapshot) -> Result<Service, AppError> {
        let config = &snapshot.config;
        Ok(Service {
            routes: routes(self, snapshot)?,
            prompts: snapshot.prompts.clone(),
            timeouts: config.timeouts.generation,
            streams: self.streams.clone(),
            streaming: config.streams.streaming,
            linger_slots: self.linger_slots.clone(),
            heartbeat: config.sse.heartbeat,
            commit_after: config.sse.commit_after,
            websocket: config.websocket,
            origins: config.cors.clone(),
            hosts: Hosts::new(config.hosts.clone(), config.listen),
            max_body: config.max_body,
            memory: self.memory.clone(),
            compute: self.compute.clone(),
            body_timeout: config.timeouts.connection.request_body,
            draining: self.draining.clone(),
            abort: self.abort.clone(),
            observers: self.observers.clone(),
            tasks: self.tasks.clone(),
        })
    }

    /// The server, on that listener.
    ///
    /// # Errors
    ///
    /// When a provider can't be built.
    pub fn server(self, listener: TcpListener, shutdown: Shutdown) -> Result<Server, AppError> {
        let config = &self.snapshot.config;
        Ok(Server {
            listener,
            limits: config.timeouts.connection,
            max_connections: config
                .max_connections
                .map_or_else(room_for_connections, NonZeroUsize::get),
            routers: (0..config.workers.get())
                .map(|_| self.router())
                .collect::<Result<_, _>>()?,
            tls: self.tls,
            shutdown,
            drain_delay: config.drain_delay,
            drain: config.drain,
            draining: self.draining,
            abort: self.abort,
            tasks: self.tasks,
            streams: self.streams,
        })
    }
}

fn routes(app: &App, snapshot: &Snapshot) -> Result<Routes, AppError> {
    let config = &snapshot.config;
    let mock = Mock::new(config.mock.tokens_per_second, app.compute.clone());
    let mock: Arc<dyn Provider> = Arc::new(mock);
    let default = config.default_model.clone();
    if config.models.is_empty() {
        let route = |name: &str| Route {
            name: name.to_owned(),
            target: Target {
                provider: mock.clone(),
                upstream_model: name.to_owned(),
            },
        };
        return Ok(Routes::new(
            MODELS.iter().map(|(name, _)| route(name)).collect(),
            None,
            default,
        ));
    }
    let providers = match &snapshot.upstreams {
        Some(upstreams) => providers(app, config, upstreams)?,
        None => BTreeMap::new(),
    };
    let provider = |name: &ProviderName| match providers.get(name) {
        Some(provider) => provider.clone(),
        // The configuration knows no other name that is not among the providers.
        None => mock.clone(),
    };
    let mut fallback = None;
    let mut routes = Vec::new();
    for model in &config.models {
        if model.name == "*" {
            fallback = Some(provider(&model.target.provider));
        } else {
            let upstream_model = model.target.model.as_ref().unwrap_or(&model.name);
            routes.push(Route {
                name: model.name.clone(),
                target: Target {
                    provider: provider(&model.target.provider),
                    upstream_model: upstream_model.clone(),
                },
            });
        }
    }
    Ok(Routes::new(routes, fallback, default))
}

fn providers(
    app: &App,
    config: &Config,
    upstreams: &UpstreamAccess,
) -> Result<BTreeMap<ProviderName, Arc<dyn Provider>>, AppError> {
    let mut providers: BTreeMap<ProviderName, Arc<dyn Provider>> = BTreeMap::new();
    for (name, provider) in &config.providers {
        debug_assert_ne!(name.as_str(), MOCK);
        let options = ClientOptions {
            connect: config.timeouts.connect,
            http2: provider.http2,
            resolver: upstreams.resolver.clone(),
            tls: upstreams.tls.clone(),
            tasks: app.tasks.clone(),
        };
        let remote = RemoteProvider::new(
            remote_options(app, config, name, provider)?,
            Client::new(options),
        );
        let remote = remote.map_err(|source| AppError::Address {
            provider: name.as_str().to_owned(),
            source,
        })?;
        providers.insert(name.clone(), Arc::new(remote));
    }
    Ok(providers)
}

fn remote_options(
    app: &App,
    config: &Config,
    name: &ProviderName,
    provider: &config::Provider,
) -> Result<RemoteOptions, AppError> {
    let mut headers = provider.headers.clone();
    let (dialect, side) =
        Dialect::with_upstream(provider.dialect).ok_or_else(|| AppError::Dialect {
            provider: name.as_str().to_owned(),
            dialect: provider.dialect,
        })?;
    if let Some(key) = &provider.api_key {
        let (header, value) = side.key_header(key.expose());
        let mut value = HeaderValue::try_from(value).map_err(|_| AppError::Key {
            provider: name.as_str().to_owned(),
        })?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(header), value);
    }
    Ok(RemoteOptions {
        name: name.as_str().to_owned(),
        dialect,
        side,
        base_url: provider.base_url.as_str().to_owned(),
        headers,
        forward_headers: provider.forward_headers.clone(),
        finish_rule: match provider.finish_reason {
            FinishReasonRule::Required => FinishRule::Required,
            FinishReasonRule::Optional => FinishRule::Optional,
        },
        max_event: config.max_event_bytes,
        max_response: config.max_response_bytes,
        memory: app.memory.clone(),
        compute: app.compute.clone(),
    })
}
