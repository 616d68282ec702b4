//! Builds the HTTP request to an upstream: address, body and headers.

use std::sync::Arc;
use std::time::SystemTime;

use base::shorten::{shorten, shorten_list};
use bytes::Bytes;
use dialect::ToolNames;
use dialect::failure::Failure;
use dialect::openai_responses;
use dialect::request::Operation;
use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::headers;
use super::options::RemoteOptions;
use super::sign::RequestSigner;
use crate::config::ResumeBy;
use crate::provider::UpstreamRequest;
use crate::telemetry::repeats::is_warning_due;

/// Names of parameters that one line of the log has: they are the client's.
const MAX_LOGGED_NAMES: usize = 32;
/// Longest such name in the log, in bytes.
const MAX_LOGGED_NAME: usize = 64;
pub(super) const USER_AGENT: &str = concat!("tokenrill/", env!("CARGO_PKG_VERSION"));

/// A request that is ready to be sent.
pub(super) struct BuiltRequest {
    pub(super) request: Request<Bytes>,
    /// The client's names of tools that it has under others.
    pub(super) names: ToolNames,
    /// The way in which the upstream can be asked again for the rest of its answer.
    pub(super) resume: Option<ResumeBy>,
}

/// Builds the HTTP request: the client's own body if the dialects are the same, else a translation.
pub(super) fn build_request(
    options: &RemoteOptions,
    signer: Option<&RequestSigner>,
    call: &UpstreamRequest,
) -> Result<BuiltRequest, Failure> {
    let stripped = without_foreign_seals(call);
    let call = stripped.as_ref().unwrap_or(call);
    let same_dialect = call.dialect == options.dialect;
    let (body, names) = if same_dialect {
        let body = options.side.pass_through_body(&call.request, &call.model)?;
        let body = match &call.continuation {
            Some(continuation) => options.side.continued_body(&body, continuation)?,
            None => body,
        };
        (body, ToolNames::default())
    } else {
        translated_body(options, call)?
    };
    let operation = call.request.operation;
    let body = match operation {
        Operation::CountTokens if !same_dialect => {
            options
                .addressing
                .count_body(options.side, body, &call.model)?
        }
        Operation::Generate | Operation::CountTokens => body,
    };
    options.addressing.check_model(&call.model)?;
    let body = match operation {
        Operation::Generate => call.parameters.apply(&body)?,
        Operation::CountTokens => body,
    };
    let (body, resume) = resumable_body(body, call, same_dialect)?;
    let path = request_path(options, call)?;
    let mut request = Request::post(format!("{}{path}", options.base_url))
        .body(Bytes::new())
        .map_err(|error| Failure::internal(error.into()))?;
    let headers = request.headers_mut();
    write_headers(options, call, resume, headers);
    let body = options.addressing.body(body, operation, headers)?;
    *request.body_mut() = body;
    sign(signer, &mut request)?;
    Ok(BuiltRequest {
        request,
        names,
        resume,
    })
}

/// Writes the headers of a request.
fn write_headers(
    options: &RemoteOptions,
    call: &UpstreamRequest,
    resume: Option<ResumeBy>,
    headers: &mut HeaderMap,
) {
    for (name, value) in options.side.default_headers() {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    let forwarded = if call.dialect == options.dialect {
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
    if resume == Some(ResumeBy::Stream) {
        headers::ask_to_keep(headers);
    }
}

/// Returns a request without the sealed thoughts that this upstream can't read, if it has any.
fn without_foreign_seals(call: &UpstreamRequest) -> Option<UpstreamRequest> {
    let seals = call.foreign_seals.as_ref()?;
    Some(UpstreamRequest {
        request: Arc::new(call.request.without_seals(seals)),
        ..call.clone()
    })
}

/// Returns a body, changed so that the upstream can be asked again for the rest of its answer, and
/// the way in which it can.
fn resumable_body(
    body: Bytes,
    call: &UpstreamRequest,
    is_own: bool,
) -> Result<(Bytes, Option<ResumeBy>), Failure> {
    let is_streamed = call.request.stream && call.request.operation == Operation::Generate;
    let resume = call.resume.filter(|_| is_streamed);
    if resume != Some(ResumeBy::Background) {
        return Ok((body, resume));
    }
    Ok(match openai_responses::in_background(&body, is_own)? {
        Some(body) => (body, resume),
        None => (body, None),
    })
}

/// Builds a request without a body to an address.
pub(super) fn build_bare(
    options: &RemoteOptions,
    signer: Option<&RequestSigner>,
    method: Method,
    url: String,
) -> Result<Request<Bytes>, Failure> {
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Bytes::new())
        .map_err(|error| Failure::internal(error.into()))?;
    let headers = request.headers_mut();
    for (name, value) in options.side.default_headers() {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    headers.extend(options.headers.clone());
    sign(signer, &mut request)?;
    Ok(request)
}

/// Signs a request, if this provider's are signed.
pub(super) fn sign(
    signer: Option<&RequestSigner>,
    request: &mut Request<Bytes>,
) -> Result<(), Failure> {
    match signer {
        Some(signer) => signer.sign(request, SystemTime::now()),
        None => Ok(()),
    }
}

/// Translates the client's request, and logs the parameters that the upstream's dialect lacks: as a
/// warning if one of them is new or was not warned of for a while.
fn translated_body(
    options: &RemoteOptions,
    call: &UpstreamRequest,
) -> Result<(Bytes, ToolNames), Failure> {
    let (from, to) = (call.dialect.name, options.dialect.name);
    if options.refuses_tools
        && let Some(tool) = call.request.hosted_tool()
    {
        let message = format!(
            "provider `{}` has no equivalent of {}",
            options.name,
            tool.described()
        );
        return Err(Failure::invalid(&tool.param, message));
    }
    let rules = options.families.rules(to, &call.model);
    let (side, request) = (options.side, &call.request);
    let written = dialect::translate_by(options.dialect, side, request, &call.model, &rules)?;
    if !written.dropped.is_empty() {
        let mut is_due = false;
        let that_matter = written.dropped.iter().filter(|name| !is_inert(name));
        for name in that_matter.take(MAX_LOGGED_NAMES) {
            let name = shorten(name, MAX_LOGGED_NAME);
            is_due |= is_warning_due(&format!("{from} {to} {} {name}", call.model));
        }
        let unnamed = call.request.unnamed_unsupported;
        let dropped = shorten_list(&written.dropped, MAX_LOGGED_NAMES, MAX_LOGGED_NAME, unnamed);
        if is_due {
            tracing::warn!(request_id = %call.id, from, to, dropped, "not sent upstream");
        } else {
            tracing::debug!(request_id = %call.id, from, to, dropped, "not sent upstream");
        }
    }
    Ok((written.body, written.names))
}

/// Parameters that change nothing of what a model says: hints to caches, labels and prices.
const INERT_PARAMS: &[&str] = &[
    "cache_control",
    "context_management",
    "client_metadata",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "speed",
    "user",
    "labels",
    "x-anthropic-billing-header",
];

fn is_inert(name: &str) -> bool {
    INERT_PARAMS.contains(&name)
}

/// Returns the path for the request's task.
fn request_path(options: &RemoteOptions, call: &UpstreamRequest) -> Result<String, Failure> {
    let task = call.request.operation;
    options
        .addressing
        .path(options.side, task, &call.model, call.request.stream)
        .ok_or_else(|| {
            Failure::not_found(format!(
                "provider `{}` speaks {}, which does not count tokens",
                options.name, options.dialect.name
            ))
        })
}
