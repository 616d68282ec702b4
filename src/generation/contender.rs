//! The state of an attempt beside another one, of which at most one is shown. Not for: taking
//! turns with it, which is the generation's.

use std::pin::Pin;

use http::HeaderMap;
use tokio::time::Sleep;

use dialect::event::Usage;

use super::attempt::Attempt;
use super::deadline::Deadlines;
use super::hold::Hold;
use super::relay::ClientWriter;

/// The hedge of an answer that has not said anything yet.
#[derive(Debug, Default)]
pub(super) enum Hedge {
    /// There is none, or no longer.
    #[default]
    None,
    /// A second target is asked at that time.
    Due(Pin<Box<Sleep>>),
    /// Two targets are asked: the generation's, and this one.
    Racing(Box<Contender>),
}

/// An attempt beside the generation's own, and all that depends on it. To poll it, it takes the
/// place of the generation's.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) attempt: Attempt,
    pub(super) client: ClientWriter,
    pub(super) deadlines: Deadlines,
    pub(super) headers: HeaderMap,
    pub(super) hold: Hold,
    pub(super) usage: Option<Usage>,
}
