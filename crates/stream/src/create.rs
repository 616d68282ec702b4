//! Making a stream, or finding that it is there already, just as asked for.

use bytes::Bytes;

use super::fork::{ForkRecords, ForkSource};
use super::{
    End, ForkOf, Head, Lifetime, Owner, RecordBatch, StreamError, StreamId, StreamRejection,
    Streams, media_type, records,
};

/// The content type of a stream that was created without one.
const DEFAULT: &str = "application/octet-stream";

/// A stream to be made.
#[derive(Debug, Clone)]
pub struct Create {
    /// The owner of the new stream.
    pub owner: Option<Owner>,
    /// The content type; a fork inherits its source's.
    pub content_type: Option<String>,
    /// The lifetime; a fork inherits its source's.
    pub lifetime: Option<Lifetime>,
    /// Set if the stream is created closed.
    pub closed: bool,
    /// The fork to make, if it is one.
    pub fork: Option<ForkOf>,
    /// Its first data.
    pub body: Bytes,
}

/// A stream that is there as asked for.
#[derive(Debug, Clone)]
pub struct Created {
    /// The head of the stream.
    pub head: Head,
    /// Set if this request created it.
    pub new: bool,
}

/// The answer to a [`Create`].
#[derive(Debug)]
pub enum Creation {
    /// It is there already, as asked for.
    Found(Box<Head>),
    /// It is to be made.
    New(Box<NewStream>),
}

/// A stream that is not there yet.
#[derive(Debug)]
pub struct NewStream {
    asked: Create,
    head: Head,
    source: Option<ForkSource>,
}

impl NewStream {
    /// Returns the number of bytes that [`NewStream::records`] goes over.
    #[must_use]
    pub fn size(&self) -> usize {
        let inherited = self.source.iter().flat_map(|source| &source.page.runs);
        self.asked.body.len() + inherited.map(RecordBatch::bytes_len).sum::<usize>()
    }

    /// Returns the records that it begins with. That is parsing: not for a worker if they are many.
    ///
    /// # Errors
    ///
    /// The error in the body, or in a fork's position.
    pub fn records(&self) -> Result<Option<RecordBatch>, StreamRejection> {
        let own = records(&self.head.content_type, self.asked.body.clone())?;
        let (Some(fork), Some(source)) = (&self.asked.fork, &self.source) else {
            return Ok(own);
        };
        let mut all: ForkRecords = fork.take(source)?;
        all.extend(own)?;
        Ok(all.run())
    }

    /// Makes it, with these records.
    ///
    /// # Errors
    ///
    /// As [`Create::look`]; no room.
    pub async fn create(
        self,
        streams: &Streams,
        id: &StreamId,
        caller: Option<&Owner>,
        first: Option<RecordBatch>,
    ) -> Result<Created, StreamRejection> {
        let Self { asked, head, .. } = self;
        if let Some(fork) = &asked.fork {
            streams.register_fork(&fork.source, caller, id).await?;
        }
        let next = first.as_ref().map_or(0, RecordBatch::count);
        match streams.create(id, head.clone(), first).await {
            Ok(()) => Ok(Created {
                head: Head { next, ..head },
                new: true,
            }),
            // Somebody was faster. If it is the same, both have made it.
            Err(StreamError::Exists) => match asked.found(streams, id, caller).await? {
                Some(head) => Ok(Created { head, new: false }),
                None => Err(StreamError::Exists.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

impl Create {
    /// Looks whether it is there, and prepares it if it is not.
    ///
    /// # Errors
    ///
    /// [`StreamRejection::Differs`] if there is another of that id; what is said of a fork and its
    /// source.
    pub async fn look(
        self,
        streams: &Streams,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<Creation, StreamRejection> {
        if let Some(head) = self.found(streams, id, caller).await? {
            return Ok(Creation::Found(Box::new(head)));
        }
        let (mut head, source) = match &self.fork {
            Some(fork) => {
                let content_type = self.content_type.as_deref();
                let (head, source) = streams.fork_source(caller, fork, content_type).await?;
                (head, Some(source))
            }
            None => {
                let content_type = self.content_type.as_deref().unwrap_or(DEFAULT);
                (Head::new(content_type, Lifetime::Unlimited), None)
            }
        };
        head.owner.clone_from(&self.owner);
        head.lifetime = self.lifetime.unwrap_or(head.lifetime);
        head.end = self.closed.then_some(End::Closed);
        Ok(Creation::New(Box::new(NewStream {
            asked: self,
            head,
            source,
        })))
    }

    async fn found(
        &self,
        streams: &Streams,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<Option<Head>, StreamRejection> {
        match streams.status(id, caller).await {
            Ok(head) => self.is(&head).map(|()| Some(head)),
            Err(StreamRejection::Stream(StreamError::Unknown | StreamError::Gone(_))) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Checks that an existing stream is the one asked for.
    fn is(&self, head: &Head) -> Result<(), StreamRejection> {
        if head.dialect.is_some() {
            return Err(StreamRejection::Generation);
        }
        let is_fork = self.fork.is_some();
        let default = (!is_fork).then_some(DEFAULT);
        let wanted = self.content_type.as_deref().or(default);
        if wanted.is_some_and(|wanted| media_type(wanted) != media_type(&head.content_type)) {
            return Err(StreamRejection::Differs("content type"));
        }
        let default = (!is_fork).then_some(Lifetime::Unlimited);
        if self
            .lifetime
            .or(default)
            .is_some_and(|wanted| wanted != head.lifetime)
        {
            return Err(StreamRejection::Differs("lifetime"));
        }
        if self.closed != head.end.is_some() {
            return Err(StreamRejection::Differs("state, open or closed,"));
        }
        let same = match &self.fork {
            Some(fork) => fork.is(head.lineage.from.as_ref()),
            None => head.lineage.from.is_none(),
        };
        if same {
            Ok(())
        } else {
            Err(StreamRejection::Differs("source"))
        }
    }
}
