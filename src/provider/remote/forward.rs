//! Sends a request that is passed on as it is.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};

use super::authorize::signer;
use super::client::Client;
use super::options::RemoteOptions;
use super::request::{self, USER_AGENT};
use super::{headers, response};
use crate::provider::credentials::Credentials;
use crate::provider::{ForwardedAnswer, ForwardedBody, ForwardedRequest, Opened};
use dialect::failure::Failure;

/// Headers of a request's body and of its answer that are passed on, either way.
const REQUEST_HEADERS: [header::HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];
const ANSWER_HEADERS: [header::HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
];
/// Parameters of a query that are for this server alone: clients' keys, and Azure's version.
const KEPT_PARAMETERS: &[&str] = &["key", "api_key", "api-key", "access_token", "api-version"];

/// Sends the request, once.
pub(super) async fn forward(
    client: Client,
    options: Arc<RemoteOptions>,
    credentials: Arc<Credentials>,
    call: ForwardedRequest,
) -> Result<Opened<ForwardedAnswer>, Failure> {
    let _permit = &call.permit;
    let mut request = build_request(&options, &call)?;
    let authorization = &options.authorization;
    let key = authorization
        .signing_key(&options.name, &credentials)
        .await?;
    request::sign(signer(&key).as_deref(), &mut request)?;
    let credentials = authorization
        .authorize(&options.name, &mut request, &credentials, key)
        .await?;
    let response = client.send(request, &options.name).await?;
    if !response.status().is_success() {
        return Err(response::refusal(response, &options, &credentials).await);
    }
    let mut visible = headers::client_visible(response.headers(), &credentials);
    for name in ANSWER_HEADERS {
        if let Some(value) = response.headers().get(&name) {
            visible.insert(name, credentials.redact_header(value));
        }
    }
    Ok(Opened {
        headers: visible,
        source: ForwardedAnswer {
            status: response.status(),
            body: ForwardedBody {
                body: response.into_body(),
                credentials,
            },
        },
    })
}

fn build_request(
    options: &RemoteOptions,
    call: &ForwardedRequest,
) -> Result<Request<Bytes>, Failure> {
    let path = upstream_path(options.dialect.name, &call.path);
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(format!("{}{path}", options.base_url))
        .body(call.body.clone())
        .map_err(|error| Failure::internal(error.into()))?;
    let to: &mut HeaderMap = request.headers_mut();
    for (name, value) in options.side.default_headers() {
        to.insert(*name, HeaderValue::from_static(value));
    }
    let of_dialect = options.side.forwarded_headers();
    headers::copy_forwarded(&call.headers, of_dialect, &options.forward_headers, to);
    for name in REQUEST_HEADERS {
        if let Some(value) = call.headers.get(&name) {
            to.insert(name, value.clone());
        }
    }
    let identity = HeaderValue::from_static("identity");
    to.insert(header::ACCEPT_ENCODING, identity);
    to.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in &options.headers {
        to.insert(name.clone(), value.clone());
    }
    Ok(request)
}

/// Returns the path to be added to a base URL, which has the version where the dialect's own have
/// it.
fn upstream_path(dialect: &str, path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let version = match dialect {
        "anthropic" => "",
        "gemini" => "/v1beta",
        _ => "/v1",
    };
    let mut path = path.strip_prefix(version).unwrap_or(path).to_owned();
    let is_passed = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        !parameter.is_empty() && !KEPT_PARAMETERS.contains(&&*name)
    };
    for (at, parameter) in query.split('&').filter(is_passed).enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        path.push_str(parameter);
    }
    path
}
