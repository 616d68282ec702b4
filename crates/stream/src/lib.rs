//! Streams: append-only logs of messages with an id, offsets, an end and a lifetime.
//!
//! A generation that may outlive its client's connection writes one; so does whoever appends over HTTP. Readers come and
//! go, each at an offset of its own. There is **one writer per log, and a reader can't slow another**: it owns its offset
//! and nothing else, and one that asks for what is gone is told so, never skipped over.
//!
//! A [`Log`] keeps records in memory, wakes its readers and is bounded in bytes. [`Memory`] knows all logs by their
//! [`StreamId`], bounds them together, and forgets those whose time is over. [`Streams`] is what others ask.
//!
//! What may be done to a stream over HTTP ([`Append`], [`Create`], forks) is decided by functions on its [`Head`], and is
//! the same wherever it is kept: per the
//! [Durable Streams protocol](https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md).
//!
//! Not here: HTTP, SSE, or what a generation's record says.

mod budget;
mod copy;
mod create;
mod fork;
mod head;
mod id;
mod log;
mod memory;
mod producer;
mod reader;
mod record_batch;
mod redis;
mod rules;
mod streams;
mod writer;

pub use create::{Create, Created};
pub use fork::{Fork, ForkAt, ForkOf, Lineage};
pub use head::{End, Head, Lifetime, Owner};
pub use id::{Offset, ParseOffsetError, StreamId};
pub use log::{Log, ReadPage};
pub use memory::{Memory, StoreLimits};
pub use producer::{ClaimVerdict, ProducerClaim, Producers};
pub use reader::{Reader, ReaderEvent};
pub use record_batch::RecordBatch;
pub use redis::{Redis, StoreUnreachable};
pub use rules::{Append, Appended, ContentKind, StreamRejection, media_type, records};
pub use streams::Streams;
pub use writer::{IdempotencyKey, IdempotentCreate, Writer, WriterStatus};

/// Why a stream can't be read or written.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// No stream of that id, or another caller's: the two can't be told apart.
    #[error("there is no such stream")]
    Unknown,
    /// It has been there: its lifetime is over, or it was deleted, or what was asked for has been trimmed.
    #[error("{0}")]
    Gone(&'static str),
    /// An offset behind the end, which this stream has not given out.
    #[error("this stream has no such offset yet")]
    NotYetWritten,
    /// More readers than one stream may have (`streams.max_readers`).
    #[error("this stream has all the readers that it may have (streams.max_readers)")]
    TooManyReaders,
    /// The stream is at its cap (`streams.max_bytes`).
    #[error("this stream holds all that it may hold (streams.max_bytes)")]
    Full,
    /// All streams together are at their cap (`streams.max_total_bytes`).
    #[error("all streams together hold all that they may hold (streams.max_total_bytes)")]
    StoreFull,
    /// The store can't be reached, or has not answered in time. Whether an append was made is not known then.
    #[error("the store of streams is away (streams.store); try again")]
    Unavailable,
    /// A stream of that id is there already.
    #[error("a stream of that id is there already")]
    Exists,
}

#[cfg(test)]
mod tests;
