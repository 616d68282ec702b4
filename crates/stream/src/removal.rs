//! The order in which streams are removed: by the end of their lifetime, and by the time for which
//! nobody has read them.
//!
//! Each log enters itself, at a time before which there is nothing to do. Whoever takes an entry
//! out looks at the log: it may have been read since, and then enters itself again. So reads cost
//! nothing here, and a removal costs the same however many streams there are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::StreamId;

/// The order of removal of all streams of a store.
#[derive(Debug, Default)]
pub(super) struct RemovalQueue(Mutex<RemovalOrder>);

#[derive(Debug, Default)]
struct RemovalOrder {
    /// By the time at which the lifetime may be over.
    expiring: BTreeSet<(Instant, StreamId)>,
    /// Generations' streams that have ended, by the time since which nobody reads them.
    unread: BTreeSet<(Instant, StreamId)>,
}

impl RemovalQueue {
    /// Takes out the streams whose lifetime may be over by then, but no more than so many.
    pub(super) fn take_due(&self, now: Instant, most: usize) -> Vec<StreamId> {
        let mut order = self.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some((_, id)) = take_first_until(&mut order.expiring, now)
        {
            due.push(id);
        }
        due
    }

    /// Takes out the stream that may have been unread for longest, with the time since which it is.
    pub(super) fn take_unread(&self) -> Option<(Instant, StreamId)> {
        self.lock().unread.pop_first()
    }

    fn lock(&self) -> MutexGuard<'_, RemovalOrder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_first_until(
    entries: &mut BTreeSet<(Instant, StreamId)>,
    now: Instant,
) -> Option<(Instant, StreamId)> {
    let (due, _) = entries.first()?;
    if *due > now {
        return None;
    }
    entries.pop_first()
}

/// The entries of one stream; they leave with it.
#[derive(Debug)]
pub(super) struct RemovalEntry {
    queue: Arc<RemovalQueue>,
    id: StreamId,
    expiring: Option<Instant>,
    unread: Option<Instant>,
}

impl RemovalEntry {
    /// Returns the entries of a stream, which has none yet.
    pub(super) fn new(queue: Arc<RemovalQueue>, id: StreamId) -> Self {
        Self {
            queue,
            id,
            expiring: None,
            unread: None,
        }
    }

    /// Enters the stream at these times, or takes it out.
    pub(super) fn set(&mut self, expiring: Option<Instant>, unread: Option<Instant>) {
        let mut order = self.queue.lock();
        let RemovalOrder {
            expiring: by_expiry,
            unread: by_read,
        } = &mut *order;
        let moves = [
            (&mut self.expiring, expiring, by_expiry),
            (&mut self.unread, unread, by_read),
        ];
        for (before, now, entries) in moves {
            if let Some(before) = before.take() {
                entries.remove(&(before, self.id.clone()));
            }
            if let Some(now) = now {
                entries.insert((now, self.id.clone()));
            }
            *before = now;
        }
    }

    /// Enters the stream as one that nobody reads, unless it is entered so.
    pub(super) fn set_unread(&mut self, since: Instant) {
        if self.unread.is_none() {
            self.set(self.expiring, Some(since));
        }
    }
}

impl Drop for RemovalEntry {
    fn drop(&mut self) {
        self.set(None, None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_first_is_taken_first_and_what_leaves_leaves_nothing() {
        let queue = Arc::new(RemovalQueue::default());
        let start = Instant::now();
        let mut entries: Vec<RemovalEntry> = (0..3)
            .map(|_| RemovalEntry::new(queue.clone(), StreamId::random()))
            .collect();
        for (entry, seconds) in entries.iter_mut().zip([3, 1, 2]) {
            let at = start + Duration::from_secs(seconds);
            entry.set(Some(at), None);
            entry.set_unread(at);
        }
        let ids: Vec<StreamId> = entries.iter().map(|entry| entry.id.clone()).collect();
        let due = queue.take_due(start + Duration::from_secs(2), 10);
        assert_eq!(due, [ids[1].clone(), ids[2].clone()]);
        drop(entries.remove(1));
        let unread: Vec<StreamId> = std::iter::from_fn(|| Some(queue.take_unread()?.1)).collect();
        assert_eq!(unread, [ids[2].clone(), ids[0].clone()]);
        drop(entries);
        let order = queue.lock();
        assert!(order.expiring.is_empty() && order.unread.is_empty());
    }
}
