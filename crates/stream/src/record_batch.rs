//! Records that lie together.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Whole records that were appended at once. They share one piece of memory.
///
/// ```
/// use stream::RecordBatch;
///
/// let batch = RecordBatch::many("onetwo".into(), vec![3, 6]);
/// assert_eq!(batch.count(), 2);
/// assert!(batch.records().eq(["one", "two"]));
/// ```
#[derive(Debug, Clone)]
pub struct RecordBatch {
    /// The records, one after the other.
    bytes: Bytes,
    /// The end of each record; none if there is only one. Shared: a batch may have millions.
    ends: Option<Arc<[u32]>>,
}

impl RecordBatch {
    /// One record.
    #[must_use]
    pub fn one(record: Bytes) -> Self {
        Self {
            bytes: record,
            ends: None,
        }
    }

    /// Records that lie one after the other; `ends` says where each ends.
    #[must_use]
    pub fn many(bytes: Bytes, ends: Vec<u32>) -> Self {
        debug_assert_eq!(ends.last().map(|&end| end as usize), Some(bytes.len()));
        Self {
            bytes,
            ends: (ends.len() > 1).then(|| ends.into()),
        }
    }

    /// All records of some runs, in that order.
    #[must_use]
    pub fn joined(mut runs: Vec<RecordBatch>) -> Self {
        if runs.len() == 1
            && let Some(run) = runs.pop()
        {
            return run;
        }
        let mut bytes = BytesMut::with_capacity(runs.iter().map(RecordBatch::bytes_len).sum());
        let mut ends = Vec::new();
        for run in &runs {
            let before = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            ends.extend(run.ends().map(|end| before.saturating_add(end)));
            bytes.extend_from_slice(&run.bytes);
        }
        Self::many(bytes.freeze(), ends)
    }

    /// Returns the end of each record.
    pub(super) fn ends(&self) -> impl Iterator<Item = u32> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let only = self.ends.is_none().then_some(length);
        self.several_ends().iter().copied().chain(only)
    }

    /// Returns the end of each record if there are several.
    fn several_ends(&self) -> &[u32] {
        self.ends.as_deref().unwrap_or_default()
    }

    /// Returns the number of records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.several_ends().len().max(1) as u64
    }

    /// The records one by one.
    pub fn records(&self) -> impl Iterator<Item = Bytes> {
        let ends = self.ends();
        ends.scan(0, |from, end| {
            let record = self.bytes.slice(*from as usize..end as usize);
            *from = end;
            Some(record)
        })
    }

    /// One of the records.
    #[must_use]
    pub fn record(&self, index: usize) -> Option<Bytes> {
        let Some(ends) = &self.ends else {
            return (index == 0).then(|| self.bytes.clone());
        };
        let end = *ends.get(index)? as usize;
        let from = index
            .checked_sub(1)
            .map_or(0, |before| ends[before] as usize);
        Some(self.bytes.slice(from..end))
    }

    /// All but the first so many records.
    #[inline]
    pub(super) fn after(&self, records: u64) -> RecordBatch {
        let all = self.several_ends();
        let skipped = usize::try_from(records).unwrap_or(usize::MAX);
        let Some(&from) = skipped.checked_sub(1).and_then(|last| all.get(last)) else {
            return self.clone();
        };
        let ends = all.iter().skip(skipped).map(|end| end - from).collect();
        RecordBatch::many(self.bytes.slice(from as usize..), ends)
    }

    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + size_of_val(self.several_ends()) + size_of::<Self>()
    }

    /// The bytes of all its records.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
