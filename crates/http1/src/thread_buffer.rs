//! A buffer per thread, for the moment in which a connection reads or writes.
//!
//! A connection that waits, as nearly every stream does nearly all of the time, holds no buffer of
//! its own. It keeps only the bytes that it could not pass on.

use std::cell::Cell;
use std::fmt;

/// A buffer that all connections of a thread share, to be kept in a `thread_local!`.
///
/// ```
/// use http1::ThreadBuffer;
///
/// thread_local! {
///     static BUFFER: ThreadBuffer<Vec<u8>> = const { ThreadBuffer::new(Vec::new) };
/// }
/// let length = BUFFER.with(|buffer| {
///     buffer.with(|bytes| {
///         bytes.clear();
///         bytes.extend_from_slice(b"hello");
///         bytes.len()
///     })
/// });
/// assert_eq!(length, 5);
/// ```
pub struct ThreadBuffer<T> {
    buffer: Cell<Option<T>>,
    make: fn() -> T,
}

impl<T> ThreadBuffer<T> {
    /// Returns an empty slot; `make` builds the buffer when it is first used.
    #[must_use]
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            buffer: Cell::new(None),
            make,
        }
    }

    /// Runs `f` with the buffer. A nested call gets a fresh one.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut buffer = self.buffer.take().unwrap_or_else(self.make);
        let result = f(&mut buffer);
        self.buffer.set(Some(buffer));
        result
    }
}

impl<T> fmt::Debug for ThreadBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadBuffer")
    }
}
