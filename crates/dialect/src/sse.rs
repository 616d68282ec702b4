//! Server-Sent Events as bytes: a bounded reader and a writer, per the [WHATWG
//! standard](https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! The reader never copies what it can slice: it returns *whole events* as the upstream's own
//! bytes, and reads fields in place. Not here: HTTP, JSON, or the meaning of an event (the
//! dialects).

mod reader;
mod writer;

/// The media type of frames, with the only encoding that the standard allows.
pub const MEDIA_TYPE: &str = "text/event-stream; charset=utf-8";

pub use reader::{EventTooLarge, Frame, FrameIter, FrameSplitter, frames};
pub use writer::{
    DataWriter, RETRY_INTERVAL, retry_frame, write_frame, write_frame_head, write_frame_with_id,
    write_without_ids,
};

#[cfg(test)]
mod tests;
