//! Requests that concern an answer which an upstream has begun: for the rest of it, or to cancel
//! it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dialect::failure::Failure;
use dialect::sse;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::authorize::signer;
use super::client::Client;
use super::exchange;
use super::options::RemoteOptions;
use super::recognize::AnswerSource;
use super::request;
use crate::config::AnswerLimits;
use crate::provider::credentials::Credentials;
use crate::provider::upstream::UpstreamBody;

/// Characters that stand for themselves in an id's part of a path.
const ID: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The longest id of an answer, in bytes.
const MAX_ID_BYTES: usize = 256;

/// Returns an upstream's id as a part of a path, if it may be one.
pub(super) fn path_segment(id: &str) -> Option<String> {
    let is_dots = id.bytes().all(|byte| byte == b'.');
    (!is_dots && id.len() <= MAX_ID_BYTES).then(|| utf8_percent_encode(id, ID).to_string())
}

/// Returns events without the ids by which this connection would be resumed: clients come back to
/// this server.
pub(super) fn without_ids(run: &[u8]) -> Bytes {
    let mut shown = BytesMut::with_capacity(run.len());
    sse::write_without_ids(&mut shown, run);
    shown.freeze()
}

/// The upstream of an answer.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) client: Client,
    pub(super) options: Arc<RemoteOptions>,
    pub(super) credentials: Arc<Credentials>,
    /// The largest sizes of the answer.
    pub(super) limits: AnswerLimits,
}

impl Asking {
    /// Asks for the stream at an address.
    pub(super) async fn stream(
        self,
        url: String,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<UpstreamBody, Failure> {
        let (mut request, credentials) = self.bare(Method::GET, url).await?;
        let headers = request.headers_mut();
        let accept = HeaderValue::from_static("text/event-stream");
        headers.insert(header::ACCEPT, accept);
        headers.extend(header.map(|(name, value)| (Some(name), value)));
        let limited = (&*self.options, self.limits);
        let response = exchange(&self.client, request, limited, &credentials).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(UpstreamBody::empty());
        }
        let (head, body) = response.into_parts();
        let body = self.client.streamed(body);
        self.source(credentials)
            .stream_body(&head.headers, body)
            .await
    }

    /// Sends a request whose answer does not matter.
    pub(super) async fn tell(self, method: Method, url: String) {
        let told = async {
            let (request, _) = self.bare(method, url).await?;
            let provider = &self.options.name;
            let response = self.client.send(request, provider).await?;
            Ok::<_, Failure>(response.status())
        };
        let provider = self.options.name.as_str();
        match told.await {
            Ok(status) if status.is_success() => {}
            Ok(status) => tracing::debug!(provider, %status, "an answer could not be cancelled"),
            Err(failure) => {
                let error = failure.log_message();
                tracing::debug!(provider, error, "an answer could not be cancelled");
            }
        }
    }

    /// Returns the source of an answer.
    pub(super) fn source(&self, credentials: Arc<Credentials>) -> AnswerSource {
        AnswerSource {
            options: self.options.clone(),
            credentials,
            limits: self.limits,
        }
    }

    /// Returns a request without a body that is let in, and the credentials to be cut out of its
    /// answer.
    async fn bare(
        &self,
        method: Method,
        url: String,
    ) -> Result<(Request<Bytes>, Arc<Credentials>), Failure> {
        let (options, fixed) = (&self.options, &self.credentials);
        let authorization = &options.authorization;
        let key = authorization.signing_key(&options.name, fixed).await?;
        let signer = signer(&key);
        let mut request = request::build_bare(options, signer.as_deref(), method, url)?;
        let credentials = authorization
            .authorize(&options.name, &mut request, fixed, key)
            .await?;
        Ok((request, credentials))
    }
}
