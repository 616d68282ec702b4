//! All streams, wherever they are kept.

use tokio_util::sync::CancellationToken;

use super::{Batch, Head, Memory, Offset, Once, OnceKey, Options, Owner, Reader, Run, StreamError, StreamId, Writer};

/// All streams. What is not in this process may be far away, so whatever looks for a stream is asynchronous.
#[derive(Debug, Clone)]
pub struct Streams {
    memory: Memory,
}

#[expect(clippy::unused_async, reason = "only a store in this process answers at once")]
impl Streams {
    /// No streams yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { memory: Memory::new(options) }
    }

    /// Makes a stream that is appended to with [`Streams::update`]. Whoever finds it finds `first` in it: there is no moment
    /// between.
    ///
    /// # Errors
    ///
    /// [`StreamError::Exists`], or what [`Streams::update`] says of a stream without room.
    pub async fn create(&self, id: &StreamId, head: Head, first: Option<Run>) -> Result<(), StreamError> {
        self.memory.create(id.clone(), head, first).map(drop)
    }

    /// Makes a stream that a generation writes, in this process.
    ///
    /// # Errors
    ///
    /// [`StreamError::Exists`], [`StreamError::AllFull`].
    pub fn write(&self, id: &StreamId, head: Head) -> Result<Writer, StreamError> {
        self.memory.write(id.clone(), head)
    }

    /// Makes a stream that a generation writes, in this process, unless its key has made one already, anywhere.
    ///
    /// # Errors
    ///
    /// As [`Streams::write`].
    pub async fn write_once(&self, id: &StreamId, head: Head, key: OnceKey) -> Result<Once, StreamError> {
        self.memory.write_once(id.clone(), head, key)
    }

    /// Gives a stream another name besides its id, at most one, which is forgotten with it: an upstream's id of the answer
    /// that it holds. The name is its owner's.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`] when it is not there.
    pub async fn alias(&self, id: &StreamId, name: &str) -> Result<(), StreamError> {
        self.memory.alias(id, name)
    }

    /// The stream to which [`Streams::alias`] gave that name, for that caller.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`], also for another caller's.
    pub async fn named(&self, name: &str, caller: Option<&Owner>) -> Result<StreamId, StreamError> {
        self.memory.named(name, caller)
    }

    /// What a stream is. This is no read: its lifetime goes on as before.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`], also for another caller's; [`StreamError::Gone`].
    pub async fn head(&self, id: &StreamId, caller: Option<&Owner>) -> Result<Head, StreamError> {
        Ok(self.memory.find(id, caller)?.head())
    }

    /// Changes what a stream is and appends to it, in one step that nobody sees half of. `change` may be asked again, of
    /// a newer head; what it refuses changes nothing.
    ///
    /// # Errors
    ///
    /// Whatever `change` says; as [`Streams::head`]; [`StreamError::Full`], [`StreamError::AllFull`].
    pub async fn update<T, E: From<StreamError>>(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        change: impl FnMut(&mut Head) -> Result<(Option<Run>, T), E>,
    ) -> Result<T, E> {
        self.memory.make_room()?;
        self.memory.find(id, caller)?.update(change)
    }

    /// Records from that place on, at most about so many bytes of them. An idle lifetime begins anew.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`]; [`StreamError::Gone`] or [`StreamError::Future`] for the offset.
    pub async fn read(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        from: Offset,
        most: usize,
    ) -> Result<Batch, StreamError> {
        self.memory.find(id, caller)?.read(from, most)
    }

    /// Attaches a reader at that place, or at the start.
    ///
    /// # Errors
    ///
    /// As [`Streams::read`]; [`StreamError::TooManyReaders`].
    pub async fn attach(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        from: Option<Offset>,
    ) -> Result<Reader, StreamError> {
        let log = self.memory.find(id, caller)?;
        let start = log.head().at(0);
        Reader::attach(log, from.unwrap_or(start))
    }

    /// Ends the generation that writes a stream, soon; what it said stays. Nothing happens to one that has ended.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`].
    pub async fn cancel(&self, id: &StreamId, caller: Option<&Owner>) -> Result<(), StreamError> {
        self.memory.find(id, caller)?.cancel();
        Ok(())
    }

    /// Forgets a stream; a generation that writes it ends.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`].
    pub async fn delete(&self, id: &StreamId, caller: Option<&Owner>) -> Result<(), StreamError> {
        self.memory.find(id, caller)?;
        self.memory.remove(id);
        Ok(())
    }

    /// Forgets those whose lifetime is over, until cancelled.
    pub async fn sweep(self, end: CancellationToken) {
        self.memory.sweep(end).await;
    }
}
