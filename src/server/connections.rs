//! The connections of all clients: how many there may be, and which is closed for one more.

use std::sync::{Arc, Mutex, PoisonError};

use http1::server::{IdleMark, IdleOrder};
use slab::Slab;
use tokio_util::sync::CancellationToken;

use super::load::LoadGuard;

/// Sockets and files that the process needs besides those of clients and their upstreams.
const RESERVED_FILES: u64 = 64;
/// The fewest connections, however little the process may have.
const MIN_CONNECTIONS: usize = 16;
/// Where the system doesn't say how many files a process may have.
const DEFAULT_FILES: u64 = 1024;

/// Returns how many connections the process has room for, with an upstream for each. Raises its own
/// limit first, as far as it may.
pub fn room() -> usize {
    // What could not be raised stays as it is.
    let files = rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_| rlimit::getrlimit(rlimit::Resource::NOFILE).map(|(soft, _)| soft))
        .unwrap_or(DEFAULT_FILES);
    let room = files.saturating_sub(RESERVED_FILES) / 2;
    usize::try_from(room).map_or(usize::MAX, |room| room.max(MIN_CONNECTIONS))
}

/// The connections of all clients, shared by the workers.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    order: IdleOrder,
    /// Locked when a connection begins and ends, and for each one beyond the limit.
    entries: Mutex<Slab<Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    idle: IdleMark,
    /// Cancelled when the connection is to close as soon as it is idle.
    close: CancellationToken,
}

/// The place of a connection among all, and in its worker's load. It ends with the socket.
pub(super) type Admission = (Arc<Connection>, LoadGuard);

/// One connection, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    key: usize,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            order: IdleOrder::default(),
            entries: Mutex::default(),
        }))
    }

    /// Admits one more connection. At the limit the ones that have been idle for longest are
    /// closed; returns `None` if none is idle. `drain` closes it as well.
    pub(super) fn admit(&self, drain: &CancellationToken) -> Option<Connection> {
        let shared = &self.0;
        let mut entries = shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= shared.limit && !close_idle(&entries, shared.limit) {
            return None;
        }
        let entry = Arc::new(Entry {
            idle: shared.order.mark(),
            close: drain.child_token(),
        });
        let key = entries.insert(entry.clone());
        Some(Connection {
            shared: shared.clone(),
            entry,
            key,
        })
    }
}

/// Closes the connections that have been idle for longest: a few at once, so that a flood does not
/// look for them each time. Returns false if none is idle.
fn close_idle(entries: &Slab<Arc<Entry>>, limit: usize) -> bool {
    let mut idle: Vec<(u64, &Arc<Entry>)> = entries
        .iter()
        .filter(|(_, entry)| !entry.close.is_cancelled())
        .filter_map(|(_, entry)| Some((entry.idle.place()?, entry)))
        .collect();
    let closing = entries.len() - idle.len();
    let some = (limit / 64).max(1).min(idle.len());
    if some == 0 {
        // Those that were told to close before make room in a moment.
        return closing > 0 && entries.iter().any(|(_, entry)| entry.close.is_cancelled());
    }
    idle.select_nth_unstable_by_key(some - 1, |(place, _)| *place);
    for (_, entry) in idle.iter().take(some) {
        entry.close.cancel();
    }
    true
}

impl Connection {
    /// Returns the mark that says whether the connection is idle.
    pub(super) fn idle(&self) -> &IdleMark {
        &self.entry.idle
    }

    /// Returns the signal to close the connection as soon as it is idle.
    pub(super) fn close(&self) -> &CancellationToken {
        &self.entry.close
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut entries = self
            .shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entries.try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn beyond_the_limit_the_longest_idle_makes_room_and_busy_ones_never() {
        let connections = Connections::new(2);
        let drain = CancellationToken::new();
        let admit = || connections.admit(&drain);
        let (first, second) = (admit().unwrap(), admit().unwrap());
        // The first is idle again after the second.
        first.idle().set_busy();
        first.idle().set_idle();
        let third = admit().unwrap();
        assert!(second.close().is_cancelled() && !first.close().is_cancelled());
        drop(second);
        first.idle().set_busy();
        third.idle().set_busy();
        assert!(admit().is_none());
        drop(first);
        assert!(admit().is_some());
        drain.cancel();
        assert!(third.close().is_cancelled());
    }
}
