//! `POST /v1/tickets`: a signed address for a client that can send no header.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::access::{Caller, MAX_TICKET_TTL, TICKET, TicketAddress};
use crate::http::body::{ReceivedBody, read_body};
use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::service::Service;
use dialect::failure::Failure;

/// The only method: clients that use another can send a header.
const METHOD: &str = "GET";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    path: String,
    method: Option<String>,
    ttl: Option<String>,
}

/// Answers with a ticket for the path that the body names.
pub(super) async fn issue(
    State(service): State<Arc<Service>>,
    caller: Caller,
    body: Body,
) -> Result<Response, Rejection> {
    let ReceivedBody { bytes, .. } = read_body(body, &service).await?;
    let (Some(key), Some(tickets)) = (caller.key(), service.access.tickets()) else {
        let message = "this server gives no tickets; auth.tickets.secret_file would let it";
        return Err(Failure::not_found(message).into());
    };
    let asked: TicketRequest = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::invalid_request(format!(
            "the body should be {{\"path\": \"/stream?…\"}}: {error}"
        ))
    })?;
    if asked.method.is_some_and(|method| method != METHOD) {
        let message = "`method` should be `GET`; a client that uses another can send its key";
        return Err(Failure::invalid("method", message).into());
    }
    let ttl = asked
        .ttl
        .map_or(Ok(MAX_TICKET_TTL), |ttl| parse_ttl(&ttl))?;
    let path: PathAndQuery = asked
        .path
        .parse()
        .ok()
        .filter(|_| asked.path.starts_with('/'))
        .ok_or_else(|| Failure::invalid("path", "`path` should be a path with its query"))?;
    let address = TicketAddress {
        method: METHOD,
        path: path.path(),
        query: path.query().unwrap_or_default(),
    };
    let (ticket, until) = tickets.issue(&key.id, address, ttl, SystemTime::now())?;
    let separator = if path.query().is_some() { '&' } else { '?' };
    let mut response = json_response(&json!({
        "ticket": ticket,
        "path": format!("{path}{separator}{TICKET}={ticket}"),
        "expires_at": humantime::format_rfc3339_seconds(until).to_string(),
    }));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    Ok(response)
}

fn parse_ttl(text: &str) -> Result<Duration, Failure> {
    let ttl = humantime::parse_duration(text).ok();
    ttl.filter(|ttl| (Duration::from_secs(1)..=MAX_TICKET_TTL).contains(ttl))
        .ok_or_else(|| Failure::invalid("ttl", "`ttl` should be from \"1s\" to \"60s\""))
}
