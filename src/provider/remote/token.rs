//! Access tokens, which a cloud gives for other credentials and for an hour or so.
//!
//! A task of each such provider fetches a token at the start, and the next well before the last one
//! ends: no request waits for one but the first. The task ends with the last provider that would
//! use its tokens.

mod aws;
mod giver;
mod grant;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dialect::failure::Failure;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use super::sign::RequestSigner;
use crate::config::Access;
use crate::provider::credentials::Credentials;
use aws::AwsExchange;
use giver::Giver;
use grant::Grant;

/// Time limit for one answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// The time for which the first requests wait for the first token.
const FIRST_TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The time before its end at which a token is replaced.
const RENEWAL_LEAD: Duration = Duration::from_secs(300);
/// The longest lifetime of a token that is believed.
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
/// The lifetime of a token whose giver does not say it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// Pauses after a failure: the first, and the longest.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The shortest pause between two tokens.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// A token, as requests carry it, or a key that signs them.
#[derive(Debug)]
pub(super) struct AccessToken {
    proof: Proof,
    /// The credentials of a request with this token, to be cut out of its answer.
    pub(super) credentials: Arc<Credentials>,
    ends: Instant,
}

/// The part of a token that a request has.
#[derive(Debug)]
enum Proof {
    /// The value of `authorization`.
    Header(HeaderValue),
    /// A signature.
    Signature(Arc<RequestSigner>),
}

impl AccessToken {
    /// Returns the value of `authorization`, if the token is one.
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        match &self.proof {
            Proof::Header(header) => Some(header),
            Proof::Signature(_) => None,
        }
    }

    /// Returns the signer of requests, if the token is a key.
    pub(super) fn signer(&self) -> Option<&Arc<RequestSigner>> {
        match &self.proof {
            Proof::Header(_) => None,
            Proof::Signature(signer) => Some(signer),
        }
    }
}

#[derive(Debug, Clone)]
enum TokenState {
    /// The first one is on its way.
    Awaited,
    Valid(Arc<AccessToken>),
    /// There is none, for that reason.
    Missing(String),
}

/// The current token of one provider; clones share it.
#[derive(Debug, Clone)]
pub struct TokenReceiver {
    state: watch::Receiver<TokenState>,
    signs: bool,
}

impl TokenReceiver {
    /// Returns whether the tokens are keys, which sign requests.
    pub(super) fn signs(&self) -> bool {
        self.signs
    }

    /// Returns the current token.
    pub(super) async fn current(&self, provider: &str) -> Result<Arc<AccessToken>, Failure> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, TokenState::Awaited));
        let state = match timeout(FIRST_TOKEN_TIMEOUT, known).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => TokenState::Awaited,
        };
        match state {
            TokenState::Valid(token) if Instant::now() < token.ends => Ok(token),
            TokenState::Valid(_) => Err(Failure::no_access_token(provider, "the last has expired")),
            TokenState::Missing(reason) => Err(Failure::no_access_token(provider, &reason)),
            TokenState::Awaited => {
                let reason = "none has come yet; try again";
                Err(Failure::no_access_token(provider, reason))
            }
        }
    }
}

/// The task that keeps a provider's token current.
#[derive(Debug)]
pub struct TokenRefresher {
    provider: String,
    exchange: Exchange,
    giver: Giver,
    /// Headers that each request has besides the token.
    headers: HeaderMap,
    state: watch::Sender<TokenState>,
}

impl TokenRefresher {
    /// Creates a task for credentials that give tokens, and the receiver of these; `None` for
    /// others.
    #[must_use]
    pub fn new(
        provider: &str,
        access: &Access,
        headers: HeaderMap,
        client: Client,
    ) -> Option<(Self, TokenReceiver)> {
        let exchange = Exchange::new(access)?;
        let (state, receiver) = watch::channel(TokenState::Awaited);
        let receiver = TokenReceiver {
            state: receiver,
            signs: matches!(exchange, Exchange::Aws(_)),
        };
        let refresher = Self {
            provider: provider.to_owned(),
            giver: Giver::new(provider, client),
            exchange,
            headers,
            state,
        };
        Some((refresher, receiver))
    }

    /// Keeps the token current until no receiver is left.
    pub async fn run(self) {
        tokio::select! {
            () = self.refresh() => {}
            () = self.state.closed() => {}
        }
    }

    async fn refresh(&self) {
        let mut retry_interval = RETRY_INTERVALS.0;
        loop {
            let fetched = timeout(FETCH_TIMEOUT, self.fetch()).await;
            let fetched = fetched
                .unwrap_or_else(|_| Err(format!("no answer within {}s", FETCH_TIMEOUT.as_secs())));
            let pause = match fetched {
                Ok((token, pause)) => {
                    retry_interval = RETRY_INTERVALS.0;
                    self.state.send_replace(TokenState::Valid(Arc::new(token)));
                    pause.max(MIN_RENEWAL_INTERVAL)
                }
                Err(reason) => {
                    self.report(&reason);
                    let pause = retry_interval;
                    retry_interval = (retry_interval * 2).min(RETRY_INTERVALS.1);
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Tells that there is no new token; the last one serves as long as it is valid.
    fn report(&self, reason: &str) {
        let provider = &self.provider;
        let host = self.exchange.host();
        tracing::warn!(provider, host, reason, "no access token");
        let reason = reason.to_owned();
        self.state.send_if_modified(|state| {
            let serves = matches!(state, TokenState::Valid(token) if Instant::now() < token.ends);
            if !serves {
                *state = TokenState::Missing(reason);
            }
            !serves
        });
    }

    /// Fetches a token, and returns the pause until the next; the error says in words what is
    /// wrong.
    async fn fetch(&self) -> Result<(AccessToken, Duration), String> {
        match &self.exchange {
            Exchange::Grant(grant) => self.fetch_token(grant).await,
            Exchange::Aws(exchange) => self.fetch_key(exchange).await,
        }
    }

    async fn fetch_token(&self, grant: &Grant) -> Result<(AccessToken, Duration), String> {
        let body = self.giver.ask(grant.request()?, &grant.secrets()).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| "the answer is not the JSON of an access token".to_owned())?;
        let lifetime = answer.expires_in.lifetime().unwrap_or(DEFAULT_LIFETIME);
        let mut header = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
            .map_err(|_| "the access token can't be sent in a header".to_owned())?;
        header.set_sensitive(true);
        let mut headers = self.headers.clone();
        headers.insert(AUTHORIZATION, header.clone());
        Ok(self.token(Proof::Header(header), &headers, Some(lifetime)))
    }

    async fn fetch_key(&self, exchange: &AwsExchange) -> Result<(AccessToken, Duration), String> {
        let (signer, lifetime) = exchange.fetch(&self.giver).await?;
        let mut headers = self.headers.clone();
        headers.extend(signer.secrets().clone());
        let lifetime = lifetime.map(|lifetime| lifetime.min(MAX_LIFETIME));
        Ok(self.token(Proof::Signature(Arc::new(signer)), &headers, lifetime))
    }

    /// Returns a token and the pause until the next. One that doesn't end is looked up again from
    /// time to time: it may be replaced.
    fn token(
        &self,
        proof: Proof,
        headers: &HeaderMap,
        lifetime: Option<Duration>,
    ) -> (AccessToken, Duration) {
        let pause = match lifetime {
            Some(lifetime) => lifetime.saturating_sub(RENEWAL_LEAD).max(lifetime / 2),
            None => DEFAULT_LIFETIME,
        };
        let token = AccessToken {
            proof,
            credentials: Arc::new(Credentials::from_headers(headers)),
            ends: Instant::now() + lifetime.unwrap_or(MAX_LIFETIME),
        };
        (token, pause)
    }
}

/// The way to a token.
#[derive(Debug)]
enum Exchange {
    /// Other credentials are given for it.
    Grant(Grant),
    /// A key of AWS, from the place where it is.
    Aws(AwsExchange),
}

impl Exchange {
    fn new(access: &Access) -> Option<Self> {
        let aws = || AwsExchange::new(access).map(Self::Aws);
        Grant::new(access).map(Self::Grant).or_else(aws)
    }

    /// Returns the host that is asked.
    fn host(&self) -> &str {
        match self {
            Self::Grant(grant) => grant.host(),
            Self::Aws(exchange) => exchange.place(),
        }
    }
}

/// The answer that has a token.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Seconds,
}

/// A number of seconds, which some givers write as text.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
    #[default]
    Missing,
}

impl Seconds {
    fn lifetime(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
            Self::Missing => return None,
        };
        let lifetime = Duration::try_from_secs_f64(seconds).ok()?;
        Some(lifetime.min(MAX_LIFETIME))
    }
}

/// The request for a token, as [`Grant`] builds it.
type TokenRequest = Request<Bytes>;
