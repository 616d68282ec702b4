//! The frames of an answer that has not said anything yet: they are held, so that a failure can
//! still lead to another target without the client's knowing.

use bytes::{Bytes, BytesMut};

/// The most bytes that are held. A preamble that is longer is shown.
const MAX_HELD_BYTES: usize = 64 * 1024;
/// The most runs of frames that are held.
const MAX_HELD_RUNS: usize = 64;

/// Frames that are held back.
#[derive(Debug, Default)]
pub(super) struct Hold {
    bytes: BytesMut,
    runs: usize,
}

impl Hold {
    /// Holds a run of frames. Returns false if it is one too many.
    pub(super) fn add(&mut self, run: &Bytes) -> bool {
        self.bytes.extend_from_slice(run);
        self.runs += 1;
        self.bytes.len() <= MAX_HELD_BYTES && self.runs <= MAX_HELD_RUNS
    }

    /// Forgets all frames: they belong to an attempt that failed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns all frames, and `run` after them.
    pub(super) fn release(mut self, run: Bytes) -> Bytes {
        if self.bytes.is_empty() {
            return run;
        }
        self.bytes.extend_from_slice(&run);
        self.bytes.freeze()
    }
}
