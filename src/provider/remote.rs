//! A provider across HTTP: an address, a key and a dialect.
//!
//! Requests are sent once: no retries, no redirects, no cookies, no proxy from the environment.
//! HTTP/1.1 responses are read by [`http1::client`], HTTP/2 responses by hyper; both go through the
//! bounded SSE reader.

mod client;
mod connect;
mod headers;
mod options;
mod request;
mod response;

pub use client::{Client, ClientOptions};
pub use connect::{CertificatesError, Resolver, tls_config};
pub use options::RemoteOptions;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::credentials::Credentials;
use super::upstream::UpstreamBody;
use super::{CompleteSource, OpenFuture, Opened, Provider, StreamSource, UpstreamRequest};
use dialect::failure::Failure;
use dialect::request::Operation;

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
            .side
            .request_path(Operation::Generate, "model", true)
            .unwrap_or_default();
        let _: http::Uri = format!("{}{path}", options.base_url).parse()?;
        Ok(Self {
            credentials: Arc::new(Credentials::from_headers(&options.headers)),
            options: Arc::new(options),
            client,
        })
    }
}

impl Provider for RemoteProvider {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn open_stream(&self, call: UpstreamRequest) -> OpenFuture<StreamSource> {
        let client = self.client.clone();
        let (options, credentials) = (self.options.clone(), self.credentials.clone());
        Box::pin(async move {
            // The request's memory is free once the upstream has it.
            let _permit = call.permit.clone();
            let request = build_request(&options, call).await?;
            let upstream = (&*options, &*credentials);
            let response = exchange(&client, upstream, request, "text/event-stream").await?;
            let headers = headers::client_visible(response.headers(), &credentials);
            let reader = options.side.event_reader(options.finish_rule);
            let frames = client.frames(response.into_body(), options.max_event, credentials);
            let source = StreamSource::Frames(frames, options.dialect, reader);
            Ok(Opened { headers, source })
        })
    }

    fn open_complete(&self, call: UpstreamRequest) -> OpenFuture<CompleteSource> {
        let client = self.client.clone();
        let (options, credentials) = (self.options.clone(), self.credentials.clone());
        Box::pin(async move {
            let _permit = call.permit.clone();
            let request = build_request(&options, call).await?;
            let upstream = (&*options, &*credentials);
            let response = exchange(&client, upstream, request, "application/json").await?;
            let headers = headers::client_visible(response.headers(), &credentials);
            let mut body = response::whole_body(response, &options).await?;
            body.bytes = credentials.redact(body.bytes);
            let source = CompleteSource::Body(body, options.dialect);
            Ok(Opened { headers, source })
        })
    }
}

/// Builds the HTTP request; a large one beside the worker.
async fn build_request(
    options: &Arc<RemoteOptions>,
    call: UpstreamRequest,
) -> Result<Request<Bytes>, Failure> {
    let size = call.request.size();
    let shared = options.clone();
    let build = move || request::build_request(&shared, &call);
    options.compute.run(size, build).await?
}

/// Sends a request and checks that the response is of the `expected` media type.
async fn exchange(
    client: &Client,
    upstream: (&RemoteOptions, &Credentials),
    request: Request<Bytes>,
    expected: &'static str,
) -> Result<Response<UpstreamBody>, Failure> {
    let (options, credentials) = upstream;
    let response = client.send(request, &options.name).await?;
    if response.status() != StatusCode::OK {
        return Err(response::refusal(response, options, credentials).await);
    }
    match response::check_content_type(&response, expected) {
        Ok(()) => Ok(response),
        Err(found) => Err(response::unexpected_response(response, options, &found, expected).await),
    }
}
