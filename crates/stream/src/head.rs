//! The head of a stream: everything about it but its records.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Lineage, Offset, Producers, StreamError};

/// The head of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The media type of what it holds.
    pub content_type: String,
    /// The time of creation in Unix seconds: see [`Offset`].
    pub epoch: u32,
    /// The same in nanoseconds: tells two streams of one name and one second apart.
    #[serde(default)]
    pub made: u64,
    /// The number of records ever appended.
    pub next: u64,
    /// The lifetime.
    pub lifetime: Lifetime,
    /// Set once nothing more can be appended.
    pub end: Option<End>,
    /// The owner, if it has one.
    pub owner: Option<Owner>,
    /// The dialect of the generation that writes it, if one does.
    pub dialect: Option<String>,
    /// The model that this generation was asked of.
    #[serde(default)]
    pub model: Option<String>,
    /// Set if that generation goes on without readers until it is done.
    #[serde(default)]
    pub background: bool,
    /// The producers and how far each has appended.
    #[serde(default)]
    #[serde(rename = "writers")]
    pub producers: Producers,
    /// The stream's source and its forks.
    #[serde(default)]
    #[serde(rename = "kin")]
    pub lineage: Lineage,
}

impl Head {
    /// A new stream, without a record.
    #[must_use]
    pub fn new(content_type: impl Into<String>, lifetime: Lifetime) -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            content_type: content_type.into(),
            epoch: u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
            made: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            next: 0,
            lifetime,
            end: None,
            owner: None,
            dialect: None,
            model: None,
            background: false,
            producers: Producers::default(),
            lineage: Lineage::default(),
        }
    }

    /// Returns the memory it takes beyond the fixed cost of a stream, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.producers.weight() + self.lineage.weight()
    }

    /// Checks that an offset belongs to this stream, of which everything from `first` on is kept,
    /// and returns its position.
    pub(super) fn check_offset(&self, first: u64, offset: Offset) -> Result<u64, StreamError> {
        if offset.epoch != self.epoch {
            return Err(StreamError::Gone(
                "this offset is one of an earlier stream of the same name",
            ));
        }
        if offset.position > self.next {
            return Err(StreamError::NotYetWritten);
        }
        if offset.position < first {
            return Err(StreamError::Gone(
                "what followed this offset is no longer kept",
            ));
        }
        Ok(offset.position)
    }

    /// Checks an offset like [`Head::check_offset`], against a copy of what a generation writes
    /// elsewhere. The writer gives out offsets before what precedes them is copied: such a place is
    /// one to wait at, until it is reached or the writer has said its last word.
    pub(super) fn check_copy_offset(&self, first: u64, offset: Offset) -> Result<u64, StreamError> {
        let may_come = self.dialect.is_some() && matches!(self.end, None | Some(End::Lost));
        match self.check_offset(first, offset) {
            Err(StreamError::NotYetWritten) if may_come => Ok(offset.position),
            checked => checked,
        }
    }

    /// The place after the last record.
    #[must_use]
    pub fn tail(&self) -> Offset {
        self.at(self.next)
    }

    /// A place in this stream.
    #[must_use]
    pub fn at(&self, position: u64) -> Offset {
        Offset {
            epoch: self.epoch,
            position,
        }
    }
}

/// The lifetime of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Only by deleting it.
    Unlimited,
    /// So long after the last read or write.
    Idle(Duration),
    /// At that time.
    Until(SystemTime),
}

/// The way in which a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Whoever appended over HTTP closed it.
    Closed,
    /// The generation said all that it had to say.
    Completed,
    /// It was told to end, or had no reader for its linger.
    Cancelled,
    /// It broke; its last record says why.
    Failed,
    /// Its writer vanished without a last word.
    Lost,
}

impl End {
    /// Returns its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::Completed => "completed",
            End::Cancelled => "cancelled",
            End::Failed => "failed",
            End::Lost => "lost",
        }
    }
}

/// The owner of a stream: a digest of the credentials that created it, never the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner(String);

impl Owner {
    /// Makes an owner of a digest.
    #[must_use]
    pub fn new(digest: String) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
