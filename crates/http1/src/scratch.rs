//! A buffer that a thread lends to whichever of its connections has something to do.
//!
//! What waits, as every stream does nearly always, holds no buffer: what it could not get rid of is all that it keeps.

use std::cell::Cell;
use std::fmt;

/// A thread's buffer, to be kept in a `thread_local!`.
pub struct Scratch<T> {
    buffer: Cell<Option<T>>,
    make: fn() -> T,
}

impl<T> Scratch<T> {
    /// One that is made so when it is first lent.
    #[must_use]
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            buffer: Cell::new(None),
            make,
        }
    }

    /// Lends it. Who asks for it while it is lent gets another one.
    pub fn lend<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut buffer = self.buffer.take().unwrap_or_else(self.make);
        let result = work(&mut buffer);
        self.buffer.set(Some(buffer));
        result
    }
}

impl<T> fmt::Debug for Scratch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}
