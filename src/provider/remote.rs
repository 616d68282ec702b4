//! A provider across HTTP: an address, a key and a dialect.
//!
//! Requests are sent once: no retries on our own account, no redirects, no cookies, no proxy from the environment. The
//! answer is read from reqwest's byte stream by our own bounded SSE reader.

mod client;
mod h1;
mod headers;
mod read_ahead;
mod response;

pub use client::{Client, ClientOptions};
pub use response::UpstreamFrames;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::{OpenFuture, Opened, Provider, Upstream, UpstreamRequest};
use dialect::failure::Failure;
use dialect::request::Task;
use dialect::{self, Dialect, FinishRule, UpstreamSide};

/// What a provider needs to know of its upstream.
#[derive(Debug)]
pub struct RemoteOptions {
    /// Its name in the configuration.
    pub name: String,
    /// What it speaks.
    pub dialect: &'static Dialect,
    /// How it speaks it.
    pub side: &'static dyn UpstreamSide,
    /// Where it lives, without a trailing slash.
    pub base_url: String,
    /// Sent with every request; keys among them are marked sensitive.
    pub headers: HeaderMap,
    /// How its streams end.
    pub finish_rule: FinishRule,
    /// The longest event of a stream, in bytes.
    pub max_event: usize,
    /// The longest answer that is no stream, in bytes.
    pub max_response: usize,
}

/// A provider across HTTP.
#[derive(Debug)]
pub struct RemoteProvider {
    options: Arc<RemoteOptions>,
    client: Client,
}

impl RemoteProvider {
    /// A provider that sends through that client.
    ///
    /// # Errors
    ///
    /// When base URL and path make no address.
    pub fn new(options: RemoteOptions, client: Client) -> Result<Self, http::uri::InvalidUri> {
        let path = options
            .side
            .path(Task::Generate, "model", true)
            .unwrap_or_default();
        let _: http::Uri = format!("{}{path}", options.base_url).parse()?;
        Ok(Self {
            options: Arc::new(options),
            client,
        })
    }

    fn request(&self, call: &UpstreamRequest) -> Result<Request<Bytes>, Failure> {
        let RemoteOptions {
            dialect,
            side,
            base_url,
            ..
        } = &*self.options;
        let (asked, model) = (&*call.request, call.model.as_str());
        let same = call.dialect == *dialect;
        let body = if same {
            side.same(asked, model)?
        } else {
            let written = dialect::translate(dialect, *side, asked, model)?;
            if !written.dropped.is_empty() {
                let dropped = written.dropped.join(", ");
                tracing::warn!(request_id = %call.id, from = call.dialect.name, to = dialect.name, dropped, "not sent upstream");
            }
            written.body
        };
        // Which tokens there are to count is a question of one's own dialect.
        let path = side
            .path(asked.task, model, asked.stream)
            .filter(|_| same || asked.task == Task::Generate);
        let Some(path) = path else {
            let message = format!(
                "provider `{}` speaks {}, which does not count tokens",
                self.name(),
                dialect.name
            );
            return Err(Failure::NotFound { message });
        };
        let request = Request::post(format!("{base_url}{path}"));
        let mut request = request
            .body(body)
            .map_err(|error| Failure::Internal(error.into()))?;
        let accept = if call.request.stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let headers = request.headers_mut();
        for (name, value) in side.headers() {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers::forward(
            &call.headers,
            if same { side.forwarded() } else { &[] },
            headers,
        );
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("tokenrill/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, value) in &self.options.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

impl Provider for RemoteProvider {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn open(&self, call: UpstreamRequest) -> OpenFuture {
        let request = self.request(&call);
        let client = self.client.clone();
        let options = self.options.clone();
        Box::pin(async move {
            let response = client.send(request?, &options.name).await?;
            if response.status() != StatusCode::OK {
                return Err(response::refusal(response, &options).await);
            }
            let stream = call.request.stream;
            let expected = if stream {
                "text/event-stream"
            } else {
                "application/json"
            };
            if let Err(found) = response::expect(&response, expected) {
                return Err(response::unexpected(response, &options, found, expected).await);
            }
            let headers = headers::client_visible(response.headers());
            let upstream = if stream {
                let reader = options.side.reader(options.finish_rule);
                Upstream::Frames(
                    client.frames(response, options.max_event),
                    options.dialect,
                    reader,
                )
            } else {
                Upstream::Whole(
                    response::whole(response, options.max_response).await?,
                    options.dialect,
                )
            };
            Ok(Opened { headers, upstream })
        })
    }
}
