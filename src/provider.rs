//! Providers: they open upstreams.
//!
//! A provider is an address, a key and a dialect ([`remote`]), or the model embedded in this
//! process ([`mock`]). It sends one request and hands on the response; routing, timeouts and
//! translation are `generation`'s. Dropping what it returned, at any moment, *is* cancellation:
//! HTTP/1.1 closes the connection, HTTP/2 resets the stream.
//!
//! **Add a provider**: implement [`Provider`]; name it in `app`.

mod credentials;
mod forward;
pub mod mock;
pub mod remote;
mod upstream;

#[cfg(test)]
pub(crate) use remote::scripted;

pub(crate) use credentials::MIN_CREDENTIAL_LENGTH;
pub use forward::{ForwardedAnswer, ForwardedBody, ForwardedRequest};
pub use upstream::{
    CompleteSource, Events, Opened, StreamSource, StreamedAnswer, UpstreamFrames, WholeBody,
    poll_event,
};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderMap;

use crate::config::{AnswerSizes, ResumeBy};
use crate::memory::MemoryPermit;
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{Continuation, Dialect, Parameters, SealKey};

/// One request, ready to be sent upstream.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// The client's request.
    pub request: Arc<Request>,
    /// The client's dialect.
    pub dialect: &'static Dialect,
    /// The upstream's name for the model.
    pub model: String,
    /// The changes to its parameters.
    pub parameters: Arc<Parameters>,
    /// The largest sizes of the model's answers, where it has its own.
    pub sizes: AnswerSizes,
    /// The request's id, for the log.
    pub id: String,
    /// All headers of the client: a provider picks those that an upstream may see.
    pub headers: HeaderMap,
    /// The permit for the memory of the request, kept until the upstream has it.
    pub permit: Option<Arc<MemoryPermit>>,
    /// The answer so far, with which the upstream is to go on. The request has it as its last
    /// messages, but not its body.
    pub continuation: Option<Arc<Continuation>>,
    /// The sealed thoughts of the request that this upstream can't read. It does not get them.
    pub foreign_seals: Option<Arc<[SealKey]>>,
    /// The way in which the upstream can be asked again for the rest of a streamed answer, if it
    /// can.
    pub resume: Option<ResumeBy>,
}

/// An upstream that can be asked, behind a name.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Returns the name in the configuration and the log.
    fn name(&self) -> &str;

    /// Returns false for a model's name that it is known not to have.
    fn serves(&self, model: &str) -> bool {
        let _ = model;
        true
    }

    /// Sends a request for a stream. Resolves when the upstream has accepted it: until then a
    /// refusal can still be reported to the client with its own status.
    fn open_stream(&self, request: UpstreamRequest) -> OpenFuture<StreamSource>;

    /// Sends a request for an answer in one piece, or for a count of tokens. Resolves when the
    /// answer is there.
    fn open_complete(&self, request: UpstreamRequest) -> OpenFuture<CompleteSource>;

    /// Returns the dialect that it speaks over HTTP, if it does.
    fn dialect(&self) -> Option<&'static Dialect> {
        None
    }

    /// Returns whether a model goes on with an answer that its request begins.
    fn takes_prefill(&self, _model: &str) -> bool {
        false
    }

    /// Sends a request as it is. Resolves when the head of the answer is there.
    fn forward(&self, request: ForwardedRequest) -> OpenFuture<ForwardedAnswer> {
        drop(request);
        let message = format!("nothing can be passed on to provider `{}`", self.name());
        Box::pin(async { Err(Failure::not_found(message)) })
    }
}

/// A request on its way upstream.
pub type OpenFuture<S> = Pin<Box<dyn Future<Output = Result<Opened<S>, Failure>> + Send>>;
