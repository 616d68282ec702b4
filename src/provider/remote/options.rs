//! The properties of one upstream.

use dialect::{Dialect, FinishRule, UpstreamSide};
use http::{HeaderMap, HeaderName};

use crate::compute::ComputePool;
use crate::memory::MemoryBudget;

/// The properties of one upstream, from its section of the configuration.
#[derive(Debug)]
pub struct RemoteOptions {
    /// The provider's name in the configuration.
    pub name: String,
    /// The upstream's dialect.
    pub dialect: &'static Dialect,
    /// The upstream side of that dialect.
    pub side: &'static dyn UpstreamSide,
    /// The address, without a trailing slash.
    pub base_url: String,
    /// Headers of every request; keys among them are marked sensitive.
    pub headers: HeaderMap,
    /// Headers of clients that are sent upstream besides those of the dialect.
    pub forward_headers: Vec<HeaderName>,
    /// The rule by which a stream counts as complete.
    pub finish_rule: FinishRule,
    /// Longest event of a stream, in bytes.
    pub max_event: usize,
    /// Longest response that is not a stream, in bytes.
    pub max_response: usize,
    /// The memory that all bodies may hold together.
    pub memory: MemoryBudget,
    /// The threads for long computations.
    pub compute: ComputePool,
}
