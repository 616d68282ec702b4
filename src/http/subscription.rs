//! The frames of one client, wherever they come from.

use axum::http::HeaderMap;

use crate::transport::frames::Frames;
use dialect::Dialect;
use stream::StreamId;

/// The frames that a client reads, and the stream they come from.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) frames: Frames,
    pub(super) dialect: &'static Dialect,
    /// The stream that they come from, if they come from one.
    pub(super) stream: Option<StreamId>,
    /// The upstream's headers that the client may see.
    pub(super) headers: HeaderMap,
}
