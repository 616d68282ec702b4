//! Composition: the only file that names concrete providers. A checked configuration goes in, a
//! service comes out.

mod routes;
mod upstreams;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use tokio_util::task::TaskTracker;

use crate::access::limits::LimitBook;
use crate::access::{AccessRule, KeyRing, KeysWatch, Tickets};
use crate::compute::ComputePool;
use crate::config::{self, Config, ConfigError, Hosts, ProviderName};
use crate::http::{cors, router};
use crate::memory::MemoryBudget;
use crate::outcome::{Observer, Observers};
use crate::prompts::{Library, PromptError};
use crate::provider::MIN_CREDENTIAL_LENGTH;
use crate::provider::mock::Mock;
use crate::provider::remote::{CertificatesError, RemoteProvider, Resolver, tls_config};
use crate::routing::Routes;
use crate::server::tls::{self, TlsError};
use crate::server::{Server, Shutdown, room_for_connections};
use crate::service::{Accounting, Catalog, LingerSlots, Service};
use crate::shutdown::{AbortSignal, DrainSignal};
use crate::telemetry::log::OutcomeLog;
use crate::usage::ledger::Ledger;
use crate::usage::prices::{Prices, PricesError};
use routes::SharedRouting;
use stream::{self, Streams};
use upstreams::{Tokens, providers};

/// The last responses that sockets keep may take one part in this many of the memory for bodies.
const KEPT_SHARE: usize = 4;

/// An error of building the service from a checked configuration.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A prompt template is broken.
    #[error(transparent)]
    Prompts(#[from] PromptError),
    /// The certificates by which upstreams are trusted.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// The file of the clients' keys.
    #[error(transparent)]
    Keys(#[from] ConfigError),
    /// The certificate for clients, or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file of prices.
    #[error(transparent)]
    Prices(#[from] PricesError),
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
    accounting: Option<Arc<Accounting>>,
    ledger: Arc<Ledger>,
    streams: Streams,
    memory: MemoryBudget,
    kept_memory: MemoryBudget,
    linger_slots: LingerSlots,
    compute: ComputePool,
    tokens: Tokens,
    access: AccessRule,
    keys: Option<KeysWatch>,
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
    /// The health and the budgets of targets, which all workers share.
    routing: SharedRouting,
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
        // Whoever gives access tokens is asked over TLS.
        let secure = providers.into_iter().any(|provider| {
            provider.access.is_some() || provider.base_url.as_str().starts_with("https:")
        });
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
        let routing = SharedRouting::new(&config);
        Ok(Self {
            config,
            prompts,
            upstreams,
            routing,
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
        let ledger = Arc::new(Ledger::default());
        let observers = Observers::from_iter([log, ledger.clone()]);
        let limits = config.streams.limits;
        let streams = match &config.streams.store {
            config::Store::Memory => Streams::new(limits),
            config::Store::Redis(address) => Streams::shared(limits, address.clone()),
        };
        let memory = MemoryBudget::new(config.max_bodies);
        let kept_memory = MemoryBudget::new(config.max_bodies / KEPT_SHARE);
        let linger_slots = LingerSlots::new(config.streams.most_lingering);
        let tasks = TaskTracker::new();
        let compute = ComputePool::default();
        let keys = watch_keys(config, &compute, &abort)?;
        let access = keys.as_ref().map_or(AccessRule::Open, |keys| {
            let secrets = config.auth.ticket_secrets.clone();
            let tickets = (!secrets.is_empty()).then(|| Arc::new(Tickets::new(secrets)));
            let max_pending = config.auth.max_pending.get();
            AccessRule::of_keys(keys.ring().clone(), max_pending, tickets)
        });
        let accounting = accounting(config)?;
        let tokens = Tokens::new(config, snapshot.upstreams.as_ref(), &tasks);
        Ok(Self {
            snapshot,
            tls,
            draining,
            abort,
            observers,
            accounting,
            ledger,
            streams,
            memory,
            kept_memory,
            linger_slots,
            compute,
            tokens,
            access,
            keys,
            tasks,
        })
    }

    /// Returns the number of prompt templates.
    #[must_use]
    pub fn prompts(&self) -> usize {
        self.snapshot.prompts.current().list().count()
    }

    /// Returns the keys of clients, if they have any.
    #[must_use]
    pub fn keys(&self) -> Option<&Arc<KeyRing>> {
        self.keys.as_ref().map(KeysWatch::ring)
    }

    /// Connects to the store of streams, and fetches the first access tokens. What keeps both runs
    /// on the caller's runtime until the server ends.
    ///
    /// # Errors
    ///
    /// When it can't be reached.
    pub async fn connect(&self) -> Result<(), stream::StoreUnreachable> {
        self.start_tokens();
        self.streams.connect().await
    }

    /// Starts to fetch access tokens. What does runs on the caller's runtime.
    pub fn start_tokens(&self) {
        self.tokens.start();
    }

    /// Returns one provider across HTTP, with connections of its own.
    ///
    /// # Errors
    ///
    /// When it can't be built.
    pub fn remote(&self, name: &ProviderName) -> Result<Option<RemoteProvider>, AppError> {
        let config = &self.snapshot.config;
        let provider = config.providers.get(name);
        let Some((upstreams, provider)) = self.snapshot.upstreams.as_ref().zip(provider) else {
            return Ok(None);
        };
        upstreams::remote(self, config, upstreams, name, provider).map(Some)
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
            routes: self.routes(snapshot)?,
            access: self.access.clone(),
            catalog: Catalog::default(),
            pass_through: config.pass_through.clone(),
            prompts: snapshot.prompts.clone(),
            timeouts: config.timeouts.generation,
            families: families(config),
            between_reasoning: config.timeouts.between_reasoning,
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
            kept_memory: self.kept_memory.clone(),
            compute: self.compute.clone(),
            body_timeout: config.timeouts.connection.request_body,
            draining: self.draining.clone(),
            abort: self.abort.clone(),
            accounting: self.accounting.clone(),
            ledger: self.ledger.clone(),
            observers: self.observers.clone(),
            tasks: self.tasks.clone(),
        })
    }

    /// The routing table of one worker, with upstream connections of its own.
    fn routes(&self, snapshot: &Snapshot) -> Result<Routes, AppError> {
        let config = &snapshot.config;
        let mock = Mock::new(config.mock.tokens_per_second, self.compute.clone());
        let providers = match &snapshot.upstreams {
            Some(upstreams) => providers(self, config, upstreams)?,
            None => BTreeMap::new(),
        };
        Ok(snapshot.routing.routes(config, Arc::new(mock), &providers))
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
            keys: self.keys,
        })
    }
}

/// Returns what requests are admitted and charged by; `None` where nothing is limited or counted.
fn accounting(config: &Config) -> Result<Option<Arc<Accounting>>, PricesError> {
    let options = &config.accounting;
    let prices = options.prices_file.as_deref().map(Prices::load);
    let prices = prices.transpose()?;
    let has_keys = config.auth.keys_file.is_some();
    let is_wanted = has_keys || prices.is_some() || options.wants_usage;
    Ok(is_wanted.then(|| {
        Arc::new(Accounting {
            book: LimitBook::default(),
            prices: Arc::new(prices.unwrap_or_default()),
            unpriced_is_free: options.unpriced_is_free,
            output_reserve: options.output_reserve,
            wants_usage: options.wants_usage,
        })
    }))
}

/// Reads the file of the clients' keys, if there is one.
fn watch_keys(
    config: &Config,
    compute: &ComputePool,
    abort: &AbortSignal,
) -> Result<Option<KeysWatch>, ConfigError> {
    let Some(file) = &config.auth.keys_file else {
        return Ok(None);
    };
    let teams = &config.teams;
    let ring = |keys| KeyRing::new(keys, teams, abort.clone());
    KeysWatch::open(file, teams, compute.clone(), ring).map(Some)
}

/// Returns the families of models that are known, and those of the configuration.
fn families(config: &Config) -> Arc<dialect::families::Families> {
    Arc::new(dialect::families::Families::built_in().with(&config.families))
}
