//! Access tokens, which a cloud gives for other credentials and for an hour or so.
//!
//! A task of each such provider fetches a token at the start, and the next well before the last one
//! ends: no request waits for one but the first. The task ends with the last provider that would
//! use its tokens.

mod grant;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dialect::failure::Failure;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use crate::config::Access;
use crate::provider::credentials::Credentials;
use crate::provider::upstream::UpstreamBody;
use grant::Grant;

/// The most that is read of an answer.
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
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
/// The most of the giver's own words that are repeated, in characters.
const MAX_REASON: usize = 300;

/// A token, as requests carry it.
#[derive(Debug)]
pub(super) struct AccessToken {
    /// The value of `authorization`.
    pub(super) header: HeaderValue,
    /// The credentials of a request with this token, to be cut out of its answer.
    pub(super) credentials: Arc<Credentials>,
    ends: Instant,
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
pub struct TokenReceiver(watch::Receiver<TokenState>);

impl TokenReceiver {
    /// Returns the current token.
    pub(super) async fn current(&self, provider: &str) -> Result<Arc<AccessToken>, Failure> {
        let mut state = self.0.clone();
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
    grant: Grant,
    /// Cut out of what the giver answers.
    secrets: Credentials,
    client: Client,
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
        let grant = Grant::new(access)?;
        let (state, receiver) = watch::channel(TokenState::Awaited);
        let refresher = Self {
            provider: provider.to_owned(),
            secrets: grant.secrets(),
            grant,
            client,
            headers,
            state,
        };
        Some((refresher, TokenReceiver(receiver)))
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
                Ok((token, lifetime)) => {
                    retry_interval = RETRY_INTERVALS.0;
                    self.state.send_replace(TokenState::Valid(Arc::new(token)));
                    let early = lifetime.saturating_sub(RENEWAL_LEAD).max(lifetime / 2);
                    early.max(MIN_RENEWAL_INTERVAL)
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
        let host = self.grant.host();
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

    /// Fetches a token; the error says in words what is wrong.
    async fn fetch(&self) -> Result<(AccessToken, Duration), String> {
        let request = self.grant.request()?;
        let sent = self.client.send(request, &self.provider).await;
        let response = sent.map_err(|failure| failure.log_message())?;
        let (status, body) = read_answer(response).await;
        if status != StatusCode::OK {
            return Err(refusal(status, &self.secrets.redact_error(body)));
        }
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| "the answer is not the JSON of an access token".to_owned())?;
        let lifetime = answer.expires_in.lifetime().unwrap_or(DEFAULT_LIFETIME);
        let mut header = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
            .map_err(|_| "the access token can't be sent in a header".to_owned())?;
        header.set_sensitive(true);
        let mut headers = self.headers.clone();
        headers.insert(AUTHORIZATION, header.clone());
        let token = AccessToken {
            header,
            credentials: Arc::new(Credentials::from_headers(&headers)),
            ends: Instant::now() + lifetime,
        };
        Ok((token, lifetime))
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

/// The answer that refuses one, in the words of OAuth.
#[derive(Deserialize, Default)]
struct TokenError {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

async fn read_answer(response: Response<UpstreamBody>) -> (StatusCode, Bytes) {
    let status = response.status();
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(Ok(bytes)) = body.next_bytes().await {
        let room = MAX_TOKEN_ANSWER - read.len();
        read.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if read.len() == MAX_TOKEN_ANSWER {
            break;
        }
    }
    (status, read.into())
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let mut text = format!("it answered {}", status.as_u16());
    let told: TokenError = serde_json::from_slice(body).unwrap_or_default();
    let reasons = [told.error, told.error_description];
    let reasons: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| reason.lines().next())
        .filter(|reason| !reason.is_empty())
        .collect();
    if !reasons.is_empty() {
        let words: String = reasons.join(": ").chars().take(MAX_REASON).collect();
        let _ = write!(text, ", {words}");
    }
    text
}

/// The request for a token, as [`Grant`] builds it.
type TokenRequest = Request<Bytes>;
