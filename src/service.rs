//! The work of every front door: starting a generation, attaching to a stream, cancelling one, and
//! recognising a request that was sent before.
//!
//! A front door, be it an HTTP route or a WebSocket, builds a [`RequestContext`] once, parses its
//! body into a [`GenerationRequest`], calls one of the functions here, and carries the frames of
//! the [`Subscription`] to its client.
//!
//! Not here: anything of HTTP but headers, and how frames reach a client.

mod accounting;
mod attach;
mod catalog;
mod context;
mod detach;
mod error;
mod forward;
mod idempotency;
mod key_report;
mod limit_headers;
mod linger;
mod plan;
mod reload;
mod slots;
mod start;
mod subscription;
mod timeouts;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use accounting::Accounting;
pub use attach::{attach, cancel, find, follow, parse_event_id, parse_stream_id, stream_failure};
pub use catalog::{Catalog, ListedModel, list_models};
pub use context::{Preferences, RequestContext};
pub use error::StartError;
pub use forward::{ForwardRequest, forward};
pub use key_report::{KeyReport, key_report};
pub use reload::{ReloadError, ReloadHandle, ReloadRequest};
pub use slots::LingerSlots;
pub use start::{
    BackgroundStart, GenerationRequest, complete, is_spoken_upstream, start, start_in_background,
    warm_up,
};
pub use subscription::{Frames, Subscription};

use crate::access::AccessRule;
use crate::compute::ComputePool;
use crate::config::{Cors, GenerationTimeouts, Hosts, PassThrough, Streaming, Websocket};
use crate::memory::MemoryBudget;
use crate::outcome::Observers;
use crate::prompts::Library;
use crate::routing::Routes;
use crate::shutdown::{AbortSignal, DrainSignal};
use crate::telemetry::metrics::{Metrics, RequestCounter};
use crate::usage::ledger::Ledger;
use dialect::families::Families;
use stream::Streams;

/// The state that all front doors share.
#[derive(Debug)]
pub struct Service {
    /// The models.
    pub routes: Routes,
    /// The rule by which callers are told apart.
    pub access: AccessRule,
    /// The models that the provider behind `*` lists.
    pub catalog: Catalog,
    /// The paths whose requests are passed on as they are.
    pub pass_through: PassThrough,
    /// The prompt templates.
    pub prompts: Arc<Library>,
    /// The timeouts of a generation.
    pub timeouts: GenerationTimeouts,
    /// The longest silence between two tokens of a model that reasons.
    pub between_reasoning: Duration,
    /// The parameters that families of models refuse and want.
    pub families: Arc<Families>,
    /// The streams, which outlive their connections.
    pub streams: Streams,
    /// The settings of streams.
    pub streaming: Streaming,
    /// The generations that may run without their clients.
    pub linger_slots: LingerSlots,
    /// The interval of comments on a silent stream; never if `None`.
    pub heartbeat: Option<Duration>,
    /// The time after which an SSE response begins although its upstream has not answered.
    pub commit_after: Duration,
    /// The settings of WebSockets.
    pub websocket: Websocket,
    /// The web pages that may ask, besides our own.
    pub origins: Cors,
    /// The names of this server.
    pub hosts: Hosts,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The memory that all bodies may hold together.
    pub memory: MemoryBudget,
    /// The memory that sockets may keep of their last responses: what is idle takes no body's.
    pub kept_memory: MemoryBudget,
    /// The threads for long computations.
    pub compute: ComputePool,
    /// The timeout of receiving a request's body.
    pub body_timeout: Duration,
    /// Set once the server is shutting down.
    pub draining: DrainSignal,
    /// Cut when the server must end now.
    pub abort: AbortSignal,
    /// The limits and the prices, if there are any.
    pub accounting: Option<Arc<Accounting>>,
    /// The usage of the last days.
    pub ledger: Arc<Ledger>,
    /// The observers of each generation's outcome.
    pub observers: Observers,
    /// The metrics, if there are any.
    pub metrics: Option<MetricsSite>,
    /// Set if operators come to the address of clients.
    pub has_operators: bool,
    /// Reads the configuration again.
    pub reload: ReloadHandle,
    /// Owns what runs on without a connection.
    pub tasks: TaskTracker,
}

/// The metrics as one worker counts and shows them.
#[derive(Debug)]
pub struct MetricsSite {
    /// All of them.
    pub metrics: Metrics,
    /// The counter of this worker's requests.
    pub requests: RequestCounter,
}
