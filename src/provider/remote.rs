//! A provider across HTTP: an address, a key and a dialect.
//!
//! Requests are sent once: no retries, no redirects, no cookies, no proxy from the environment.
//! HTTP/1.1 responses are read by [`http1::client`], HTTP/2 responses by hyper; both go through the
//! bounded SSE reader.

mod asking;
mod authorize;
mod background;
mod client;
mod connect;
mod count;
mod flavor;
mod forward;
mod headers;
mod kept_stream;
mod options;
mod recognize;
mod request;
mod response;
#[cfg(test)]
pub(crate) mod scripted;
mod sign;
mod streaming;
mod token;

pub use authorize::Authorization;
pub use client::{Client, ClientOptions};
pub use connect::{CertificatesError, Resolver, tls_config};
pub use flavor::Addressing;
pub use options::RemoteOptions;
pub use sign::RequestSigner;
pub use token::{TokenReceiver, TokenRefresher};

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};

use asking::Asking;
use authorize::signer;
use recognize::AnswerSource;
use request::BuiltRequest;

use super::credentials::Credentials;
use super::upstream::UpstreamBody;
use super::{
    CompleteSource, ForwardedAnswer, ForwardedRequest, OpenFuture, Opened, Provider, StreamSource,
    StreamedAnswer, UpstreamRequest,
};
use crate::config::AnswerLimits;
use dialect::failure::Failure;
use dialect::request::Operation;
use dialect::{BodyKind, Dialect, ToolNames};

/// A provider across HTTP.
#[derive(Debug)]
pub struct RemoteProvider {
    options: Arc<RemoteOptions>,
    credentials: Arc<Credentials>,
    client: Client,
}

impl RemoteProvider {
    /// Creates a provider that sends through that client.
    ///
    /// # Errors
    ///
    /// When base URL and path make no valid address.
    pub fn new(options: RemoteOptions, client: Client) -> Result<Self, http::uri::InvalidUri> {
        let path = options
            .addressing
            .path(options.side, Operation::Generate, "model", true)
            .unwrap_or_default();
        let _: http::Uri = format!("{}{path}", options.base_url).parse()?;
        Ok(Self {
            credentials: Arc::new(options.credentials()),
            options: Arc::new(options),
            client,
        })
    }
}

impl RemoteProvider {
    /// Asks for what is at a path after the base address, such as a list of models.
    ///
    /// # Errors
    ///
    /// When the upstream can't be reached or refuses.
    pub async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        let url = format!("{}{path}", self.options.base_url);
        let (authorization, name) = (&self.options.authorization, &self.options.name);
        let key = authorization.signing_key(name, &self.credentials).await?;
        let mut request =
            request::build_bare(&self.options, signer(&key).as_deref(), Method::GET, url)?;
        let credentials = authorization
            .authorize(name, &mut request, &self.credentials, key)
            .await?;
        let limited = (&*self.options, self.options.limits);
        let response = exchange(&self.client, request, limited, &credentials).await?;
        let length = headers::content_length(response.headers());
        let body = response.into_body();
        let body = response::whole_body(body, length, limited).await?;
        Ok(credentials.redact(body.bytes))
    }
}

impl Provider for RemoteProvider {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn dialect(&self) -> Option<&'static Dialect> {
        Some(self.options.dialect)
    }

    fn takes_prefill(&self, model: &str) -> bool {
        let options = &self.options;
        let rules = options.families.rules(options.dialect.name, model);
        options.side.takes_prefill(model, &rules)
    }

    fn forward(&self, call: ForwardedRequest) -> OpenFuture<ForwardedAnswer> {
        let client = self.client.clone();
        let (options, credentials) = (self.options.clone(), self.credentials.clone());
        Box::pin(forward::forward(client, options, credentials, call))
    }

    fn open_stream(&self, call: UpstreamRequest) -> OpenFuture<StreamSource> {
        let asking = Asking {
            client: self.client.clone(),
            options: self.options.clone(),
            credentials: self.credentials.clone(),
            limits: call.sizes.or(self.options.limits),
        };
        Box::pin(streaming::open(asking, call))
    }

    fn open_complete(&self, call: UpstreamRequest) -> OpenFuture<CompleteSource> {
        let client = self.client.clone();
        let (options, credentials) = (self.options.clone(), self.credentials.clone());
        Box::pin(async move {
            let _permit = call.permit.clone();
            match call.request.operation {
                Operation::Generate => complete(&client, options, credentials, call).await,
                Operation::CountTokens => {
                    count::count_tokens(&client, options, credentials, call).await
                }
            }
        })
    }
}

/// Asks for an answer in one piece, or for a count of tokens.
async fn complete(
    client: &Client,
    options: Arc<RemoteOptions>,
    credentials: Arc<Credentials>,
    call: UpstreamRequest,
) -> Result<Opened<CompleteSource>, Failure> {
    let limits = call.sizes.or(options.limits);
    let (built, credentials) = build_request(&options, &credentials, call).await?;
    let BuiltRequest { request, names, .. } = built;
    let response = exchange(client, request, (&options, limits), &credentials).await?;
    let headers = headers::client_visible(response.headers(), &credentials);
    let source = AnswerSource {
        options,
        credentials,
        limits,
    };
    let source = read_complete(client, response, source, names).await?;
    Ok(Opened { headers, source })
}

/// Reads an answer that was asked for in one piece.
async fn read_complete(
    client: &Client,
    response: Response<UpstreamBody>,
    source: AnswerSource,
    names: ToolNames,
) -> Result<CompleteSource, Failure> {
    let length = headers::content_length(response.headers());
    let (options, limits) = (source.options.clone(), source.limits);
    match source.read_start(response.into_body()).await? {
        (BodyKind::Json | BodyKind::JsonList, body) => {
            let mut body = response::whole_body(body, length, (&options, limits)).await?;
            body.bytes = source.credentials.redact(body.bytes);
            body.names = names;
            Ok(CompleteSource::Body(body, options.dialect))
        }
        (BodyKind::Events, body) => Ok(CompleteSource::Frames(StreamedAnswer {
            frames: client.frames(client.streamed(body), limits.event, source.credentials),
            reader: names.restore_in(options.side.event_reader(options.finish_rule)),
            dialect: options.dialect,
            max_bytes: limits.response,
            permit: options.memory.permit(),
        })),
        (BodyKind::Other | BodyKind::Empty, body) => {
            Err(source.unexpected(body, "an answer").await)
        }
    }
}

/// Builds the HTTP request, a large one beside the worker, and authorizes it. Returns with it the
/// credentials to be cut out of its answer.
async fn build_request(
    options: &Arc<RemoteOptions>,
    fixed: &Arc<Credentials>,
    call: UpstreamRequest,
) -> Result<(BuiltRequest, Arc<Credentials>), Failure> {
    let size = call.request.size();
    let authorization = &options.authorization;
    let key = authorization.signing_key(&options.name, fixed).await?;
    let (shared, signer) = (options.clone(), signer(&key));
    let build = move || request::build_request(&shared, signer.as_deref(), &call);
    let mut built = options.compute.run(size, build).await??;
    let credentials = authorization
        .authorize(&options.name, &mut built.request, fixed, key)
        .await?;
    Ok((built, credentials))
}

/// Sends a request and checks that it was not refused.
async fn exchange(
    client: &Client,
    request: Request<Bytes>,
    (options, limits): (&RemoteOptions, AnswerLimits),
    credentials: &Credentials,
) -> Result<Response<UpstreamBody>, Failure> {
    let response = recognize::decode(client.send(request, &options.name).await?);
    if headers::is_labelled_aws_events(response.headers()) && response.status().is_success() {
        // In base64, and in an envelope.
        let max_frame = limits.event.saturating_mul(2);
        Ok(response.map(|body| body.aws_events(max_frame)))
    } else if response.status().is_success() {
        Ok(response)
    } else {
        Err(response::refusal(response, options, credentials).await)
    }
}
