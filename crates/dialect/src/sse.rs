//! Server-Sent Events as bytes: a bounded reader and a writer, per the
//! [WHATWG standard](https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! The reader never copies what it can slice: it hands on *whole events* as the upstream's own bytes, and reads fields
//! in place. Not here: HTTP, JSON, or what an event means (`dialect`).

mod reader;
mod writer;

pub use reader::{Frame, Frames, Reader, TooLarge, frames};
pub use writer::{Data, RETRY, come_again, write, write_begin, write_numbered};

#[cfg(test)]
mod tests;
