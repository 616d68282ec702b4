//! Views of stored streams, and the store's errors, as readers get them.

use super::commands::{StoreError, StreamView};
use crate::{Offset, ReadPage, StreamError};

/// Returns the records of a view after that offset.
pub(super) fn page_after(view: StreamView, from: Offset) -> Result<ReadPage, StreamError> {
    let Some(mut head) = view.head else {
        return Err(StreamError::Unavailable);
    };
    let mut position = head.check_copy_offset(view.first, from)?;
    // Who asks for more than is copied has what lies between.
    head.next = head.next.max(position);
    let mut runs = Vec::with_capacity(view.records.len());
    for (first, run) in view.records {
        let skip = position
            .checked_sub(first)
            .ok_or(stream_error(StoreError::DamagedEntry))?;
        if skip < run.count() {
            let run = run.after(skip);
            position += run.count();
            runs.push(run);
        }
    }
    Ok(ReadPage {
        runs,
        next: head.at(position),
        head,
    })
}

/// Returns the stream error for an error of the store.
pub(super) fn stream_error(error: StoreError) -> StreamError {
    match error {
        StoreError::Unavailable | StoreError::Conflict => StreamError::Unavailable,
        StoreError::Full => StreamError::StoreFull,
        StoreError::Missing => StreamError::Unknown,
        StoreError::Deleted | StoreError::Expired => {
            StreamError::Gone("this stream is no longer here")
        }
        StoreError::Exists => StreamError::Exists,
        StoreError::DamagedEntry => StreamError::Gone("the stored data of this stream is damaged"),
    }
}
