//! The events of a body in another form than Server-Sent Events.

use bytes::{Bytes, BytesMut};
use dialect::failure::Failure;

/// The form of a body's events, which become Server-Sent Events.
pub(in crate::provider) trait EventForm {
    /// Takes the next bytes of the body. Those before must have been written.
    fn push(&mut self, bytes: Bytes);

    /// Writes the events that are there.
    ///
    /// # Errors
    ///
    /// For what is no event. Those before it have been written.
    fn write_events(&mut self, out: &mut BytesMut) -> Result<(), Failure>;

    /// Checks that the body did not end within an event.
    ///
    /// # Errors
    ///
    /// When it did.
    fn end(&self) -> Result<(), Failure>;
}
