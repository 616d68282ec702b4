//! The streams that a stream was forked from, and those that were forked from it.
//!
//! Not here: how a fork is made (`fork`).

use serde::{Deserialize, Serialize};

use super::StreamId;

/// The source and the forks of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The fork's source and position, if it is a fork.
    pub from: Option<Fork>,
    /// The forks of this stream, including those that are gone.
    pub forks: Vec<StreamId>,
    /// It was deleted, and is there only so that its name is not given away while it has forks.
    pub deleted: bool,
}

impl Lineage {
    pub(super) fn weight(&self) -> usize {
        self.forks
            .iter()
            .map(|fork| fork.as_str().len() + size_of::<StreamId>() + 16)
            .sum()
    }
}

/// The point at which a fork left its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The source.
    pub source: StreamId,
    /// The number of whole records taken from the source.
    pub position: u64,
    /// The number of messages, or of bytes of the next record, taken beyond.
    pub sub: u64,
}
