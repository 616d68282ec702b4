//! The connections of all clients: how many there may be, and which is closed for one more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http1::server::{IdleMark, IdleOrder};
use slab::Slab;

use super::load::LoadGuard;

/// Sockets and files that the process needs besides those of clients and their upstreams.
const RESERVED_FILES: u64 = 64;
/// The fewest connections, however little the process may have.
const MIN_CONNECTIONS: usize = 16;
/// Files that a process may have where the system doesn't say.
const DEFAULT_FILES: u64 = 1024;

/// Pause between two looks at whether a connection that was told to close is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Looks before a new connection is refused: a worker may be busy for a moment.
const MAX_LOOKS: usize = 100;

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
    marks: Mutex<Slab<Arc<IdleMark>>>,
}

/// The place of a connection among all, and in its worker's load. It ends with the socket.
pub(super) type Admission = (Arc<Connection>, LoadGuard);

/// One connection, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    mark: Arc<IdleMark>,
    key: usize,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            order: IdleOrder::default(),
            marks: Mutex::default(),
        }))
    }

    /// Admits one more connection. At the limit the ones that have been idle for longest are told
    /// to close, and it is admitted once one of them is gone. Returns `None` if none is idle.
    pub(super) async fn admit(&self) -> Option<Connection> {
        for _ in 0..MAX_LOOKS {
            match self.try_admit() {
                Ok(connection) => return Some(connection),
                Err(Full::AllBusy) => return None,
                Err(Full::SomeLeave) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
        None
    }

    fn try_admit(&self) -> Result<Connection, Full> {
        let shared = &self.0;
        let mut marks = shared.lock();
        if marks.len() >= shared.limit {
            return Err(evict_idle(&marks, shared.limit));
        }
        let mark = Arc::new(shared.order.mark());
        let key = marks.insert(mark.clone());
        Ok(Connection {
            shared: shared.clone(),
            mark,
            key,
        })
    }
}

/// The reason that there is no room for one more connection.
#[derive(Debug, PartialEq, Eq)]
enum Full {
    /// Idle ones were told to close, and will be gone in a moment.
    SomeLeave,
    /// A busy one may last for hours, even if it was told to close.
    AllBusy,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slab<Arc<IdleMark>>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the connections to close that have been idle for longest, unless others already were.
fn evict_idle(marks: &Slab<Arc<IdleMark>>, limit: usize) -> Full {
    let mut idle: Vec<(u64, &Arc<IdleMark>)> = Vec::new();
    for (_, mark) in marks {
        match mark.place() {
            Some(_) if mark.is_evicted() => return Full::SomeLeave,
            Some(place) => idle.push((place, mark)),
            None => {}
        }
    }
    // A few at once, so that a flood does not look for them each time.
    let count = (limit / 64).max(1).min(idle.len());
    if count == 0 {
        return Full::AllBusy;
    }
    idle.select_nth_unstable_by_key(count - 1, |(place, _)| *place);
    idle.iter().take(count).for_each(|(_, mark)| mark.evict());
    Full::SomeLeave
}

impl Connection {
    /// Returns the mark that says whether the connection is idle, and whether it is to close.
    pub(super) fn mark(&self) -> &IdleMark {
        &self.mark
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.lock().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn beyond_the_limit_the_longest_idle_makes_room_and_busy_ones_never() {
        let connections = Connections::new(2);
        let admit = || connections.try_admit();
        let (first, second) = (admit().unwrap(), admit().unwrap());
        // The first is idle again after the second.
        first.mark().set_busy();
        first.mark().set_idle();
        assert_eq!(admit().unwrap_err(), Full::SomeLeave);
        assert!(second.mark().is_evicted() && !first.mark().is_evicted());
        // One that leaves is enough.
        assert_eq!(admit().unwrap_err(), Full::SomeLeave);
        assert!(!first.mark().is_evicted());
        drop(second);
        let third = admit().unwrap();
        first.mark().set_busy();
        third.mark().set_busy();
        assert_eq!(admit().unwrap_err(), Full::AllBusy);
        drop(first);
        assert!(admit().is_ok());
    }

    #[test]
    fn one_that_was_told_to_close_and_is_busy_makes_no_room() {
        let connections = Connections::new(1);
        let first = connections.try_admit().unwrap();
        assert_eq!(connections.try_admit().unwrap_err(), Full::SomeLeave);
        // Its next request had come already: it is answered, however long that takes.
        first.mark().set_busy();
        assert_eq!(connections.try_admit().unwrap_err(), Full::AllBusy);
    }
}
