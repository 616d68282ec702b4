//! The properties of one upstream.

use std::sync::Arc;

use dialect::families::Families;
use dialect::{Dialect, FinishRule, UpstreamSide};
use http::{HeaderMap, HeaderName};

use super::authorize::Authorization;
use super::flavor::Addressing;
use crate::compute::ComputePool;
use crate::config::AnswerLimits;
use crate::memory::MemoryBudget;
use crate::provider::credentials::Credentials;

/// The properties of one upstream, from its section of the configuration.
#[derive(Debug)]
pub struct RemoteOptions {
    /// The provider's name in the configuration.
    pub name: String,
    /// The upstream's dialect.
    pub dialect: &'static Dialect,
    /// The upstream side of that dialect.
    pub side: &'static dyn UpstreamSide,
    /// The parameters that families of models refuse and want.
    pub families: Arc<Families>,
    /// The address, without a trailing slash.
    pub base_url: String,
    /// The way in which its flavor puts addresses together.
    pub addressing: Addressing,
    /// Credentials of single requests, besides the headers.
    pub authorization: Authorization,
    /// Headers of every request; keys among them are marked sensitive.
    pub headers: HeaderMap,
    /// Headers of clients that are sent upstream besides those of the dialect.
    pub forward_headers: Vec<HeaderName>,
    /// The rule by which a stream counts as complete.
    pub finish_rule: FinishRule,
    /// Requests with tools that another API would run itself are refused.
    pub refuses_tools: bool,
    /// The largest sizes of answers, where a model has none of its own.
    pub limits: AnswerLimits,
    /// The memory that all bodies may hold together.
    pub memory: MemoryBudget,
    /// The threads for long computations.
    pub compute: ComputePool,
}

impl RemoteOptions {
    /// Returns the credentials that are the same for each request.
    pub(super) fn credentials(&self) -> Credentials {
        let mut headers = self.headers.clone();
        if let Authorization::Signature(signer) = &self.authorization {
            headers.extend(signer.secrets().clone());
        }
        Credentials::from_headers(&headers)
    }
}
