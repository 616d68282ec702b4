//! The providers of one worker, and the tasks that keep their access tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{App, AppError, Snapshot, UpstreamAccess};
use crate::config::{self, AnswerLimits, Config, FinishReasonRule, MOCK, ProviderName};
use crate::provider::Provider;
use crate::provider::remote::{
    Addressing, Authorization, Client, ClientOptions, RemoteOptions, RemoteProvider, RequestSigner,
    TokenReceiver, TokenRefresher,
};
use dialect::{Dialect, FinishRule};
use tokio_util::task::TaskTracker;

/// The access tokens of all providers that need some.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    receivers: BTreeMap<ProviderName, TokenReceiver>,
    /// The tasks that were not started yet.
    refreshers: Mutex<Vec<TokenRefresher>>,
}

impl Tokens {
    /// Prepares a task for each provider with credentials that give tokens.
    pub(super) fn new(
        config: &Config,
        upstreams: Option<&UpstreamAccess>,
        tasks: &TaskTracker,
    ) -> Self {
        let mut tokens = Self::default();
        let Some(upstreams) = upstreams else {
            return tokens;
        };
        let mut refreshers = Vec::new();
        for (name, provider) in &config.providers {
            let Some(access) = &provider.access else {
                continue;
            };
            let client = Client::new(client_options(config, upstreams, tasks, false));
            let headers = provider.headers.clone();
            let refresher = TokenRefresher::new(name.as_str(), access, headers, client);
            if let Some((refresher, receiver)) = refresher {
                refreshers.push(refresher);
                tokens.receivers.insert(name.clone(), receiver);
            }
        }
        tokens.refreshers = Mutex::new(refreshers);
        tokens
    }

    /// Starts the tasks, once.
    pub(super) fn start(&self) {
        let mut refreshers = self
            .refreshers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for refresher in refreshers.drain(..) {
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the last provider that would use its tokens"
            )]
            tokio::spawn(refresher.run());
        }
    }
}

fn client_options(
    config: &Config,
    upstreams: &UpstreamAccess,
    tasks: &TaskTracker,
    http2: bool,
) -> ClientOptions {
    ClientOptions {
        connect: config.timeouts.connect,
        http2,
        resolver: upstreams.resolver.clone(),
        tls: upstreams.tls.clone(),
        tasks: tasks.clone(),
    }
}

/// Returns the providers of one worker.
pub(super) fn providers(
    app: &App,
    snapshot: &Snapshot,
    upstreams: &UpstreamAccess,
) -> Result<BTreeMap<ProviderName, Arc<dyn Provider>>, AppError> {
    let config = &snapshot.config;
    let mut providers: BTreeMap<ProviderName, Arc<dyn Provider>> = BTreeMap::new();
    for (name, provider) in &config.providers {
        debug_assert_ne!(name.as_str(), MOCK);
        let remote = remote(app, snapshot, upstreams, name, provider)?;
        providers.insert(name.clone(), Arc::new(remote));
    }
    Ok(providers)
}

/// Returns one provider.
pub(super) fn remote(
    app: &App,
    snapshot: &Snapshot,
    upstreams: &UpstreamAccess,
    name: &ProviderName,
    provider: &config::Provider,
) -> Result<RemoteProvider, AppError> {
    let config = &snapshot.config;
    let options = client_options(config, upstreams, &app.tasks, provider.http2);
    let remote = RemoteProvider::new(
        remote_options(app, snapshot, name, provider)?,
        Client::new(options),
    );
    remote.map_err(|source| AppError::Address {
        provider: name.as_str().to_owned(),
        source,
    })
}

fn remote_options(
    app: &App,
    snapshot: &Snapshot,
    name: &ProviderName,
    provider: &config::Provider,
) -> Result<RemoteOptions, AppError> {
    let config = &snapshot.config;
    let (dialect, side) =
        Dialect::with_upstream_of(provider.dialect, provider.flavor).ok_or_else(|| {
            AppError::Dialect {
                provider: name.as_str().to_owned(),
                dialect: provider.dialect,
            }
        })?;
    let headers = headers(name, provider, side)?;
    let authorization = match (&provider.access, snapshot.tokens.receivers.get(name)) {
        (_, Some(receiver)) => Authorization::Token(receiver.clone()),
        (Some(access), None) => RequestSigner::new(access)
            .map_or(Authorization::Headers, |signer| {
                Authorization::Signature(Arc::new(signer))
            }),
        (None, None) => Authorization::Headers,
    };
    Ok(RemoteOptions {
        name: name.as_str().to_owned(),
        dialect,
        side,
        families: super::families(config),
        base_url: provider.base_url.as_str().to_owned(),
        addressing: Addressing::new(
            provider.flavor,
            dialect.name,
            provider.api_version.as_deref(),
        ),
        authorization,
        headers,
        forward_headers: provider.forward_headers.clone(),
        finish_rule: match provider.finish_reason {
            FinishReasonRule::Required => FinishRule::Required,
            FinishReasonRule::Optional => FinishRule::Optional,
        },
        refuses_tools: provider.refuses_tools,
        limits: AnswerLimits {
            event: config.max_event_bytes,
            response: config.max_response_bytes,
        },
        memory: app.memory.clone(),
        compute: app.compute.clone(),
    })
}

/// Returns the headers of every request, the key's among them.
fn headers(
    name: &ProviderName,
    provider: &config::Provider,
    side: &dyn dialect::UpstreamSide,
) -> Result<HeaderMap, AppError> {
    let mut headers = provider.headers.clone();
    if let Some(key) = &provider.api_key {
        let (header, value) = Addressing::key_header(provider.flavor, side, key.expose());
        let mut value = HeaderValue::try_from(value).map_err(|_| AppError::Key {
            provider: name.as_str().to_owned(),
        })?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(header), value);
    }
    Ok(headers)
}
