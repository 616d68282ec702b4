//! The parameters of a generation, streamed or complete.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use base::id::RequestId;
use dialect::request::Request;
use dialect::{Dialect, ResponseMeta};

use super::account::Account;
use super::meter::{GenerationIdentity, Meter};
use crate::compute::ComputePool;
use crate::config::{AnswerSizes, GenerationTimeouts};
use crate::disconnect::Disconnect;
use crate::memory::MemoryPermit;
use crate::outcome::Observers;
use crate::provider::UpstreamRequest;
use crate::routing::Plan;
use crate::shutdown::AbortSignal;

/// The parameters of a generation.
#[derive(Debug)]
pub struct GenerationParams {
    /// The id of the client's request.
    pub request_id: RequestId,
    /// The route of the client's request, for the outcome.
    pub route: &'static str,
    /// The client's request.
    pub request: Arc<Request>,
    /// The permit for the request's memory, if it was large.
    pub permit: Option<MemoryPermit>,
    /// The threads for long computations.
    pub compute: ComputePool,
    /// The targets that may serve it.
    pub plan: Plan,
    /// The client's dialect.
    pub dialect: &'static Dialect,
    /// The id, the time and the model that the answer bears.
    pub meta: ResponseMeta,
    /// The client's headers.
    pub headers: HeaderMap,
    /// Passes an upstream's comments on, if set.
    pub comments: bool,
    /// The time limits.
    pub timeouts: GenerationTimeouts,
    /// The time that the client waits for a whole answer, or for the beginning of a streamed one.
    pub client_timeout: Option<Duration>,
    /// The signal on which every generation ends with an error.
    pub abort: AbortSignal,
    /// The reason for which the client is gone, if it is.
    pub disconnect: Disconnect,
    /// The observers of the outcome.
    pub observers: Observers,
    /// The account that it is counted on, where usage is limited or has a price.
    pub account: Option<Box<Account>>,
}

impl GenerationParams {
    /// Returns the meter of a generation that begins now.
    pub(super) fn start_meter(&mut self) -> Meter {
        let identity = GenerationIdentity {
            request_id: self.request_id.clone(),
            route: self.route,
            model: self.meta.model.clone(),
        };
        let (disconnect, abort) = (self.disconnect.clone(), self.abort.clone());
        let mut meter = Meter::start(identity, disconnect, abort, self.observers.clone());
        meter.charge(self.account.take());
        meter
    }

    /// Returns the request for a target, which gives it its own name for the model.
    pub(super) fn upstream_request(&mut self) -> UpstreamRequest {
        UpstreamRequest {
            request: self.request.clone(),
            dialect: self.dialect,
            model: String::new(),
            parameters: Arc::default(),
            sizes: AnswerSizes::default(),
            id: self.request_id.as_str().to_owned(),
            headers: std::mem::take(&mut self.headers),
            permit: self.permit.take().map(Arc::new),
            continuation: None,
            foreign_seals: None,
            resume: None,
        }
    }
}
