//! Forks: streams that begin with what another holds up to some place.
//!
//! A fork has a copy, so that it lives on its own, and its source's epoch, so that the source's
//! offsets are its own up to that place. A source that is deleted while it has forks leaves its
//! name behind, and no more: see [`Lineage::deleted`].
//!
//! Which forks are alive is found out when it is asked, as a fork may end without anyone there: by
//! its lifetime.

use bytes::{BufMut, Bytes, BytesMut};

use super::lineage::{Fork, Lineage};
use super::{
    ContentKind, Head, Offset, Owner, ReadPage, RecordBatch, StreamError, StreamId,
    StreamRejection, Streams, media_type,
};

/// The most living forks that a stream may have.
const MOST: usize = 256;

/// The point to fork at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkAt {
    /// Before the first record.
    Start,
    /// There.
    Offset(Offset),
    /// At the end, wherever it is then.
    Tail,
}

/// A fork to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkOf {
    /// Of which stream.
    pub source: StreamId,
    /// From where on.
    pub at: ForkAt,
    /// So many messages, or bytes of one record, further on.
    pub sub: u64,
}

impl ForkOf {
    /// Returns whether a stream is that fork already.
    pub(super) fn is(&self, fork: Option<&Fork>) -> bool {
        fork.is_some_and(|fork| {
            let there = match self.at {
                ForkAt::Start => fork.position == 0,
                ForkAt::Offset(offset) => fork.position == offset.position,
                ForkAt::Tail => true,
            };
            fork.source == self.source && fork.sub == self.sub && there
        })
    }

    fn position(&self, source: &Head) -> Result<u64, StreamRejection> {
        match self.at {
            ForkAt::Start => Ok(0),
            ForkAt::Tail => Ok(source.next),
            ForkAt::Offset(offset)
                if offset.epoch == source.epoch && offset.position <= source.next =>
            {
                Ok(offset.position)
            }
            ForkAt::Offset(_) => Err(StreamRejection::ForkOffset),
        }
    }

    /// Returns the records that the fork begins with. A JSON record is one message; any other can
    /// be cut.
    pub(super) fn take(
        &self,
        ForkSource { page, position }: &ForkSource,
    ) -> Result<ForkRecords, StreamRejection> {
        let (source, position) = (page, *position);
        let json = ContentKind::of(&source.head.content_type) == ContentKind::Json;
        let whole = if json {
            position.saturating_add(self.sub)
        } else {
            position
        };
        if whole > source.head.next {
            return Err(StreamRejection::ForkSubOffset);
        }
        let mut records = source.runs.iter().flat_map(RecordBatch::records);
        let mut taken = ForkRecords::default();
        for record in records
            .by_ref()
            .take(usize::try_from(whole).unwrap_or(usize::MAX))
        {
            taken.push(&record)?;
        }
        if !json && self.sub > 0 {
            let length = usize::try_from(self.sub).map_err(|_| StreamRejection::ForkSubOffset)?;
            let record = records
                .next()
                .filter(|record| record.len() >= length)
                .ok_or(StreamRejection::ForkSubOffset)?;
            taken.push(&record.slice(..length))?;
        }
        Ok(taken)
    }
}

/// The source of a fork, as it was read for it.
#[derive(Debug)]
pub(super) struct ForkSource {
    pub(super) page: ReadPage,
    /// The number of its records that the fork takes.
    position: u64,
}

/// Records that are put together.
#[derive(Debug, Default)]
pub(super) struct ForkRecords {
    bytes: BytesMut,
    ends: Vec<u32>,
}

impl ForkRecords {
    pub(super) fn push(&mut self, record: &Bytes) -> Result<(), StreamError> {
        self.bytes.put_slice(record);
        self.ends
            .push(u32::try_from(self.bytes.len()).map_err(|_| StreamError::Full)?);
        Ok(())
    }

    pub(super) fn extend(&mut self, run: Option<RecordBatch>) -> Result<(), StreamError> {
        run.iter()
            .flat_map(RecordBatch::records)
            .try_for_each(|record| self.push(&record))
    }

    pub(super) fn run(self) -> Option<RecordBatch> {
        (!self.ends.is_empty()).then(|| RecordBatch::many(self.bytes.freeze(), self.ends))
    }
}

impl Streams {
    /// Returns the head of a new fork, and the source whose records it takes.
    pub(super) async fn fork_source(
        &self,
        caller: Option<&Owner>,
        asked: &ForkOf,
        content_type: Option<&str>,
    ) -> Result<(Head, ForkSource), StreamRejection> {
        let source = match self.status(&asked.source, caller).await {
            Ok(source) => source,
            Err(StreamRejection::Stream(StreamError::Unknown | StreamError::Gone(_))) => {
                return Err(StreamRejection::NoSource);
            }
            Err(StreamRejection::Deleted) => return Err(StreamRejection::SourceDeleted),
            Err(refusal) => return Err(refusal),
        };
        if source.dialect.is_some() {
            return Err(StreamRejection::Generation);
        }
        if let Some(sent) =
            content_type.filter(|sent| media_type(sent) != media_type(&source.content_type))
        {
            return Err(StreamRejection::OtherType {
                holds: source.content_type,
                sent: sent.chars().take(80).collect(),
            });
        }
        let position = asked.position(&source)?;
        let page = match self
            .read(&asked.source, caller, source.at(0), usize::MAX)
            .await
        {
            Err(StreamError::Unknown | StreamError::Gone(_)) => {
                return Err(StreamRejection::NoSource);
            }
            page => page?,
        };
        let mut head = Head::new(
            content_type.map_or(source.content_type, str::to_owned),
            source.lifetime,
        );
        head.epoch = source.epoch;
        head.lineage.from = Some(Fork {
            source: asked.source.clone(),
            position,
            sub: asked.sub,
        });
        Ok((head, ForkSource { page, position }))
    }

    /// Remembers a fork with its source. Should it come to nothing, it is a dead one.
    pub(super) async fn register_fork(
        &self,
        source: &StreamId,
        caller: Option<&Owner>,
        fork: &StreamId,
    ) -> Result<(), StreamRejection> {
        let mut alive = None;
        loop {
            let registered = self.update(source, caller, |head| {
                if head.lineage.deleted {
                    return Err(StreamRejection::SourceDeleted);
                }
                if let Some(alive) = alive.take() {
                    head.lineage.forks = alive;
                }
                if !head.lineage.forks.contains(fork) {
                    if head.lineage.forks.len() >= MOST {
                        return Err(StreamRejection::TooManyForks(MOST));
                    }
                    head.lineage.forks.push(fork.clone());
                }
                Ok((None, ()))
            });
            match registered.await {
                Err(StreamRejection::TooManyForks(_)) => {
                    let head = self.head(source, caller).await?;
                    let mut living = Vec::new();
                    for fork in head.lineage.forks {
                        if self.is_fork_of(source, &fork, caller).await.is_some() {
                            living.push(fork);
                        }
                    }
                    if living.len() >= MOST {
                        return Err(StreamRejection::TooManyForks(MOST));
                    }
                    alive = Some(living);
                }
                registered => return registered,
            }
        }
    }

    /// The fork's kin, if it is there and one of that stream.
    async fn is_fork_of(
        &self,
        source: &StreamId,
        fork: &StreamId,
        caller: Option<&Owner>,
    ) -> Option<Lineage> {
        let lineage = self.head(fork, caller).await.ok()?.lineage;
        lineage
            .from
            .as_ref()
            .is_some_and(|from| from.source == *source)
            .then_some(lineage)
    }

    /// Returns whether a stream has a living fork, or a deleted one kept for a living fork's sake.
    pub(super) async fn has_fork(
        &self,
        id: &StreamId,
        lineage: &Lineage,
        caller: Option<&Owner>,
    ) -> bool {
        let pairs = |source: &StreamId, lineage: &Lineage| -> Vec<(StreamId, StreamId)> {
            lineage
                .forks
                .iter()
                .map(|fork| (source.clone(), fork.clone()))
                .collect()
        };
        let mut left = pairs(id, lineage);
        while let Some((source, fork)) = left.pop() {
            match self.is_fork_of(&source, &fork, caller).await {
                Some(lineage) if lineage.deleted => left.extend(pairs(&fork, &lineage)),
                Some(_) => return true,
                None => {}
            }
        }
        false
    }

    /// Forgets the name of a deleted stream that has no more forks, then its source's, and so on
    /// up.
    pub(super) async fn bury(
        &self,
        name: Option<StreamId>,
        caller: Option<&Owner>,
    ) -> Result<(), StreamRejection> {
        let mut next = name;
        while let Some(id) = next {
            match self.head(&id, caller).await {
                Ok(head)
                    if head.lineage.deleted && !self.has_fork(&id, &head.lineage, caller).await =>
                {
                    match self.delete(&id, caller).await {
                        Ok(()) | Err(StreamError::Unknown | StreamError::Gone(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                    next = head.lineage.from.map(|fork| fork.source);
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{Lifetime, records};

    fn batch(content_type: &str, bodies: &[&'static str]) -> ReadPage {
        let mut head = Head::new(content_type, Lifetime::Unlimited);
        let run = |body: &&'static str| {
            records(content_type, Bytes::from_static(body.as_bytes()))
                .unwrap()
                .unwrap()
        };
        let runs: Vec<RecordBatch> = bodies.iter().map(run).collect();
        head.next = runs.iter().map(RecordBatch::count).sum();
        ReadPage {
            runs,
            next: head.tail(),
            head,
        }
    }

    fn taken(source: &ReadPage, position: u64, sub: u64) -> Result<String, StreamRejection> {
        let fork = ForkOf {
            source: StreamId::random(),
            at: ForkAt::Offset(source.head.at(position)),
            sub,
        };
        let position = fork.position(&source.head)?;
        let page = source.clone();
        let taken = fork.take(&ForkSource { page, position })?;
        Ok(taken.run().map_or(String::new(), |run| {
            String::from_utf8(run.into_bytes().to_vec()).unwrap()
        }))
    }

    #[test]
    fn a_fork_takes_whole_records_and_a_piece_of_the_next() {
        let source = batch("text/plain", &["one", "two"]);
        assert_eq!(taken(&source, 0, 0).unwrap(), "");
        assert_eq!(taken(&source, 1, 2).unwrap(), "onetw");
        assert_eq!(taken(&source, 2, 0).unwrap(), "onetwo");
        assert_eq!(
            taken(&source, 0, 4),
            Err(StreamRejection::ForkSubOffset),
            "that is behind the next offset"
        );
        assert_eq!(taken(&source, 2, 1), Err(StreamRejection::ForkSubOffset));
        assert_eq!(taken(&source, 3, 0), Err(StreamRejection::ForkOffset));
    }

    #[test]
    fn a_fork_of_json_takes_whole_messages() {
        let source = batch("application/json", &["[1,2]", "[3]"]);
        assert_eq!(taken(&source, 0, 1).unwrap(), "1,");
        assert_eq!(taken(&source, 2, 1).unwrap(), "1,2,3,");
        assert_eq!(taken(&source, 2, 2), Err(StreamRejection::ForkSubOffset));
    }
}
