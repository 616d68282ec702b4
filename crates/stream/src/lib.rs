//! Streams: append-only logs of messages with an id, offsets, an end and a lifetime.
//!
//! A generation that may outlive its client's connection writes one; so does whoever appends over
//! HTTP. Readers come and go, each at an offset of its own. There is **one writer per log, and a
//! reader can't slow another**: it owns its offset and nothing else, and one that asks for what is
//! gone is told so, never skipped over.
//!
//! A [`Log`] keeps records in memory, wakes its readers and is bounded in bytes. [`Memory`] knows
//! all logs by their [`StreamId`], bounds them together, and forgets those whose time is over.
//! [`Streams`] is what others ask.
//!
//! What may be done to a stream over HTTP ([`Append`], [`Create`], forks) is decided by functions
//! on its [`Head`], and is the same wherever it is kept: per the [Durable Streams
//! protocol](https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md).
//!
//! ```
//! use std::time::Duration;
//! use stream::{End, Head, Lifetime, Memory, Reader, ReaderEvent, RecordBatch};
//! use stream::{StoreLimits, StreamId};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), stream::StreamError> {
//! let memory = Memory::new(StoreLimits {
//!     max_bytes: 1 << 20,
//!     max_total_bytes: 1 << 24,
//!     max_readers: 100,
//! });
//! let head = Head::new("text/plain", Lifetime::Idle(Duration::from_secs(60)));
//! let writer = memory.write(StreamId::random(), head)?;
//! writer.append(RecordBatch::one("Hello".into()));
//!
//! // A reader that comes late reads from the start, at an offset of its own.
//! let start = writer.log().head().at(0);
//! let mut reader = Reader::attach(writer.log().clone(), start)?;
//! writer.end(End::Completed);
//! let mut next = async || std::future::poll_fn(|cx| reader.poll_next(cx)).await;
//! let ReaderEvent::Records(batch, _offset) = next().await else { panic!("a record comes first") };
//! assert_eq!(batch.into_bytes(), "Hello");
//! assert!(matches!(next().await, ReaderEvent::End(End::Completed)));
//! # Ok(())
//! # }
//! ```
//!
//! Not here: HTTP, SSE, or the meaning of a generation's records.

mod budget;
mod create;
mod fork;
mod head;
mod id;
mod lineage;
mod log;
mod memory;
mod producer;
mod reader;
mod record_batch;
mod redis;
mod rejection;
mod removal;
mod rules;
mod state;
mod streams;
mod views;
mod wakers;
mod writer;

pub use create::{Create, Created, Creation, NewStream};
pub use fork::{ForkAt, ForkOf};
pub use head::{End, Head, Lifetime, Owner};
pub use id::{Offset, ParseOffsetError, StreamId};
pub use lineage::{Fork, Lineage};
pub use log::Log;
pub use memory::{Memory, StoreLimits};
pub use producer::{ClaimVerdict, ProducerClaim, Producers};
pub use reader::Reader;
pub use record_batch::RecordBatch;
pub use redis::{Redis, StoreUnreachable};
pub use rejection::StreamRejection;
pub use rules::{Append, Appended, ContentKind, media_type, records};
pub use streams::Streams;
pub use views::{ReadPage, ReaderEvent, WriterStatus};
pub use writer::{IdempotencyKey, IdempotentCreate, Writer};

/// An error of reading or writing a stream.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// No stream of that id, or another caller's: the two can't be told apart.
    #[error("there is no such stream")]
    Unknown,
    /// It existed: its lifetime is over, or it was deleted, or what was asked for has been
    /// trimmed.
    #[error("{0}")]
    Gone(&'static str),
    /// An offset behind the end, which this stream has not given out.
    #[error("this stream has no such offset yet")]
    NotYetWritten,
    /// More readers than one stream may have (`streams.max_readers`).
    #[error("too many readers on this stream (streams.max_readers)")]
    TooManyReaders,
    /// The stream is at its cap (`streams.max_bytes`).
    #[error("this stream is full (streams.max_bytes)")]
    Full,
    /// All streams together are at their cap (`streams.max_total_bytes`).
    #[error("the store of all streams is full (streams.max_total_bytes)")]
    StoreFull,
    /// The store can't be reached, or has not answered in time. Whether an append was made is not
    /// known then.
    #[error("the stream store is unavailable (streams.store); try again")]
    Unavailable,
    /// A stream of that id already exists.
    #[error("a stream of that id already exists")]
    Exists,
}

#[cfg(test)]
mod tests;
