//! Builds the HTTP request to an upstream: address, body and headers.

use base::shorten::shorten_list;
use bytes::Bytes;
use dialect::failure::Failure;
use dialect::request::Operation;
use http::{HeaderValue, Request, header};

use super::headers;
use super::options::RemoteOptions;
use crate::provider::UpstreamRequest;

/// Names of parameters that one line of the log has: they are the client's.
const MAX_LOGGED_NAMES: usize = 32;
/// Longest such name in the log, in bytes.
const MAX_LOGGED_NAME: usize = 64;
const USER_AGENT: &str = concat!("tokenrill/", env!("CARGO_PKG_VERSION"));

/// Builds the HTTP request: the client's own body if the dialects are the same, else a translation.
pub(super) fn build_request(
    options: &RemoteOptions,
    call: &UpstreamRequest,
) -> Result<Request<Bytes>, Failure> {
    let same_dialect = call.dialect == options.dialect;
    let body = if same_dialect {
        options.side.pass_through_body(&call.request, &call.model)?
    } else {
        translated_body(options, call)?
    };
    let path = request_path(options, call, same_dialect)?;
    let mut request = Request::post(format!("{}{path}", options.base_url))
        .body(body)
        .map_err(|error| Failure::internal(error.into()))?;
    let headers = request.headers_mut();
    for (name, value) in options.side.default_headers() {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    let forwarded = if same_dialect {
        options.side.forwarded_headers()
    } else {
        &[]
    };
    headers::copy_forwarded(&call.headers, forwarded, &options.forward_headers, headers);
    let accept = if call.request.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCEPT, accept),
        (header::ACCEPT_ENCODING, "identity"),
        (header::USER_AGENT, USER_AGENT),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in &options.headers {
        headers.insert(name.clone(), value.clone());
    }
    Ok(request)
}

/// Translates the client's request, and logs the parameters that the upstream's dialect lacks.
fn translated_body(options: &RemoteOptions, call: &UpstreamRequest) -> Result<Bytes, Failure> {
    let (from, to) = (call.dialect.name, options.dialect.name);
    let written = dialect::translate(options.dialect, options.side, &call.request, &call.model)?;
    if !written.dropped.is_empty() {
        let unnamed = call.request.unnamed_unsupported;
        let dropped = shorten_list(&written.dropped, MAX_LOGGED_NAMES, MAX_LOGGED_NAME, unnamed);
        tracing::warn!(request_id = %call.id, from, to, dropped, "not sent upstream");
    }
    Ok(written.body)
}

/// Returns the path for the request's task. Token counts depend on the dialect, and are not
/// translated.
fn request_path(
    options: &RemoteOptions,
    call: &UpstreamRequest,
    same_dialect: bool,
) -> Result<String, Failure> {
    let task = call.request.operation;
    options
        .side
        .request_path(task, &call.model, call.request.stream)
        .filter(|_| same_dialect || task == Operation::Generate)
        .ok_or_else(|| {
            Failure::not_found(format!(
                "provider `{}` speaks {}, which does not count tokens",
                options.name, options.dialect.name
            ))
        })
}
