//! Making a stream, or finding that it is there already, just as asked for.

use bytes::Bytes;

use super::fork::ForkRecords;
use super::{
    End, ForkOf, Head, Lifetime, Owner, StreamError, StreamId, StreamRejection, Streams,
    media_type, records,
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

impl Create {
    /// Makes it; or finds it.
    ///
    /// # Errors
    ///
    /// [`StreamRejection::Differs`] if there is another of that id; what is said of a fork and its
    /// source; no room.
    pub async fn create(
        &self,
        streams: &Streams,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<Created, StreamRejection> {
        if let Some(head) = self.found(streams, id, caller).await? {
            return Ok(Created { head, new: false });
        }
        let mut first = ForkRecords::default();
        let mut head = match &self.fork {
            Some(fork) => {
                let (head, inherited) = streams
                    .fork(id, caller, fork, self.content_type.as_deref())
                    .await?;
                first.extend(inherited)?;
                head
            }
            None => Head::new(
                self.content_type.as_deref().unwrap_or(DEFAULT),
                Lifetime::Unlimited,
            ),
        };
        head.owner.clone_from(&self.owner);
        head.lifetime = self.lifetime.unwrap_or(head.lifetime);
        head.end = self.closed.then_some(End::Closed);
        first.extend(records(&head.content_type, self.body.clone())?)?;
        let first = first.run();
        let next = first.as_ref().map_or(0, super::RecordBatch::count);
        match streams.create(id, head.clone(), first).await {
            Ok(()) => Ok(Created {
                head: Head { next, ..head },
                new: true,
            }),
            // Somebody was faster. If it is the same, both have made it.
            Err(StreamError::Exists) => match self.found(streams, id, caller).await? {
                Some(head) => Ok(Created { head, new: false }),
                None => Err(StreamError::Exists.into()),
            },
            Err(error) => Err(error.into()),
        }
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
