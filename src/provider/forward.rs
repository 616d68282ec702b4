//! A request that is passed on as it is, and its answer.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::credentials::Credentials;
use super::upstream::UpstreamBody;
use crate::memory::MemoryPermit;
use dialect::failure::Failure;

/// A request that is passed on as it is.
#[derive(Debug, Clone)]
pub struct ForwardedRequest {
    /// The method.
    pub method: Method,
    /// The path at this server, which begins with the version, and the query.
    pub path: String,
    /// All headers of the client: a provider picks those that an upstream may see.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The permit for the body's memory, kept until the upstream has it.
    pub permit: Option<Arc<MemoryPermit>>,
}

/// The answer to a request that was passed on.
#[derive(Debug)]
pub struct ForwardedAnswer {
    /// The status, of those that mean success.
    pub status: StatusCode,
    /// The body, as it comes.
    pub body: ForwardedBody,
}

/// The body of an answer that is passed on as it comes. Dropping it cancels the request.
#[derive(Debug)]
pub struct ForwardedBody {
    pub(super) body: UpstreamBody,
    pub(super) credentials: Arc<Credentials>,
}

impl ForwardedBody {
    /// Polls for the next bytes, `None` after the end.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        self.body.poll_bytes(cx).map(|bytes| {
            bytes.map(|bytes| match bytes {
                Ok(bytes) => Ok(self.credentials.redact(bytes)),
                Err(error) => Err(Failure::upstream_reset(error)),
            })
        })
    }
}
