//! Providers: they open upstreams.
//!
//! A provider is an address, a key and a dialect ([`remote`]), or the model embedded in this
//! process ([`mock`]). It sends one request and hands on the response; routing, timeouts and
//! translation are `generation`'s. Dropping what it returned, at any moment, *is* cancellation:
//! HTTP/1.1 closes the connection, HTTP/2 resets the stream.
//!
//! **Add a provider**: implement [`Provider`]; name it in `app`.

mod credentials;
pub mod mock;
pub mod remote;
mod upstream;

pub(crate) use credentials::MIN_CREDENTIAL_LENGTH;
pub use upstream::{
    CompleteSource, Events, Opened, StreamSource, UpstreamFrames, WholeBody, poll_event,
};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderMap;

use crate::memory::MemoryPermit;
use dialect::Dialect;
use dialect::failure::Failure;
use dialect::request::Request;

/// One request, ready to be sent upstream.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// The client's request.
    pub request: Arc<Request>,
    /// The client's dialect.
    pub dialect: &'static Dialect,
    /// The upstream's name for the model.
    pub model: String,
    /// The request's id, for the log.
    pub id: String,
    /// All headers of the client: a provider picks those that an upstream may see.
    pub headers: HeaderMap,
    /// The permit for the memory of the request, kept until the upstream has it.
    pub permit: Option<Arc<MemoryPermit>>,
}

/// An upstream that can be asked, behind a name.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Returns the name in the configuration and the log.
    fn name(&self) -> &str;

    /// Sends a request for a stream. Resolves when the upstream has accepted it: until then a
    /// refusal can still be reported to the client with its own status.
    fn open_stream(&self, request: UpstreamRequest) -> OpenFuture<StreamSource>;

    /// Sends a request for an answer in one piece, or for a count of tokens. Resolves when the
    /// answer is there.
    fn open_complete(&self, request: UpstreamRequest) -> OpenFuture<CompleteSource>;
}

/// A request on its way upstream.
pub type OpenFuture<S> = Pin<Box<dyn Future<Output = Result<Opened<S>, Failure>> + Send>>;
