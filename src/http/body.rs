//! Reads a request's body within bounds of size, time and format.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::memory::MemoryPermit;
use crate::service::Service;
use dialect::failure::Failure;

/// The formats that bodies come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFormat {
    Json,
    Text,
}

/// Returns the format named by the body's `content-type`.
pub(super) fn format(headers: &HeaderMap, accepted: &[BodyFormat]) -> Result<BodyFormat, Failure> {
    let want = if accepted.contains(&BodyFormat::Text) {
        "application/json or text/plain"
    } else {
        "application/json"
    };
    uncompressed(headers)?;
    let value = headers
        .get(CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let media_type = value
        .as_deref()
        .map(|value| value.split(';').next().unwrap_or_default().trim());
    let format = match media_type {
        Some("application/json") => Some(BodyFormat::Json),
        Some(other) if other.starts_with("application/") && other.ends_with("+json") => {
            Some(BodyFormat::Json)
        }
        Some("text/plain") => Some(BodyFormat::Text),
        _ => None,
    };
    format
        .filter(|format| accepted.contains(format))
        .ok_or_else(|| {
            let found = media_type.map_or("nothing".to_owned(), |t| {
                format!("`{}`", t.chars().take(60).collect::<String>())
            });
            Failure::unsupported_media_type(format!("content-type is {found}; it should be {want}"))
        })
}

/// Checks that the body is not compressed.
pub(super) fn uncompressed(headers: &HeaderMap) -> Result<(), Failure> {
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    if encoding.is_some_and(|encoding| encoding != b"identity") {
        let message =
            "the request's body is compressed; send it as it is, without content-encoding"
                .to_owned();
        return Err(Failure::unsupported_media_type(message));
    }
    Ok(())
}

/// A whole body, and the permit for the memory that it takes.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    pub(super) bytes: Bytes,
    pub(super) permit: MemoryPermit,
}

/// Receives a whole body.
pub(super) async fn read_body(body: Body, service: &Service) -> Result<ReceivedBody, Failure> {
    let limit = service.max_body;
    if body.size_hint().lower() > limit as u64 {
        return Err(Failure::body_too_large(limit));
    }
    let received = collect(body, limit, service.memory.permit());
    match tokio::time::timeout(service.body_timeout, received).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Failure::body_timeout(service.body_timeout)),
    }
}

async fn collect(
    mut body: Body,
    limit: usize,
    mut permit: MemoryPermit,
) -> Result<ReceivedBody, Failure> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::body_broken(error.into()))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit {
                return Err(Failure::body_too_large(limit));
            }
            whole.extend_from_slice(&data);
            permit.try_grow_to(whole.capacity())?;
        }
    }
    Ok(ReceivedBody {
        bytes: whole.freeze(),
        permit,
    })
}
