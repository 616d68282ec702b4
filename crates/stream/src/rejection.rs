//! The reasons to refuse a request to a stream.

use super::{Offset, StreamError};

/// The reason for which a request to a stream is refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum StreamRejection {
    /// The store says so.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A generation is its writer.
    #[error(
        "a generation writes this stream: it can be read, cancelled and deleted, and nothing else"
    )]
    Generation,
    /// Deleted, but its name is kept while it has forks.
    #[error("this stream was deleted; its name is taken for as long as it has forks")]
    Deleted,
    /// Nothing more can be appended.
    #[error("this stream is closed")]
    Closed {
        /// Its end.
        tail: Offset,
    },
    /// The body is of another type than the stream.
    #[error("this stream holds `{holds}`, and the request's content-type is `{sent}`")]
    OtherType {
        /// The stream's.
        holds: String,
        /// The request's.
        sent: String,
    },
    /// The body should be JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// An array's elements are appended; this one has none.
    #[error("the body is an empty array: its elements are what is appended")]
    EmptyArray,
    /// Nothing to append and no close.
    #[error("the body is empty; only a close (`stream-closed: true`) has nothing to append")]
    EmptyBody,
    /// Somebody was faster.
    #[error("stream-seq should be above the last one, `{last}`")]
    SeqTooLow {
        /// The highest one so far.
        last: String,
    },
    /// The producer has been replaced by a younger one.
    #[error("a producer of this id has begun epoch {current}; this one's time is over")]
    StaleEpoch {
        /// The younger one's.
        current: u64,
    },
    /// A new epoch has no history.
    #[error("a new producer-epoch begins with producer-seq 0")]
    EpochNotFromStart,
    /// An append before this one has not arrived.
    #[error("producer-seq should be {expected}, not {received}: one before it is missing")]
    Gap {
        /// The next one.
        expected: u64,
        /// This one.
        received: u64,
    },
    /// It is there, but not as asked for.
    #[error("there is a stream of that id already, and its {0} is another")]
    Differs(&'static str),
    /// The source of the fork doesn't exist.
    #[error("there is no such stream to fork")]
    NoSource,
    /// The source of the fork was deleted.
    #[error("the stream to fork was deleted")]
    SourceDeleted,
    /// The place to fork at isn't there.
    #[error("stream-fork-offset is no offset of the stream to fork")]
    ForkOffset,
    /// The place between offsets isn't there.
    #[error("stream-fork-sub-offset lies behind what follows stream-fork-offset")]
    ForkSubOffset,
    /// A bound.
    #[error("the stream has {0} forks, and may have no more")]
    TooManyForks(usize),
}
