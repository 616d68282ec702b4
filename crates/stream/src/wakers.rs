//! The wakers of tasks that wait for a log.

use std::task::{Context, Waker};

/// The waker of one task that waits, or of none.
#[derive(Debug, Default)]
pub(super) struct StoredWaker(Option<Waker>);

impl StoredWaker {
    /// Stores the task's waker, unless it is stored already.
    pub(super) fn set(&mut self, cx: &Context<'_>) {
        if !self
            .0
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.0 = Some(cx.waker().clone());
        }
    }

    pub(super) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// The wakers of those who wait for a change, to be woken once the lock is released.
#[derive(Debug, Default)]
#[must_use = "whoever waits for a change is woken after it"]
pub(super) struct Wakers {
    pub(super) writer: Option<Waker>,
    pub(super) mirror: Option<Waker>,
    /// Mostly there is one reader, which needs no list.
    pub(super) reader: Option<Waker>,
    pub(super) more_readers: Vec<Waker>,
}

impl Wakers {
    pub(super) fn wake(self) {
        let readers = self.mirror.into_iter().chain(self.reader);
        readers
            .chain(self.more_readers)
            .chain(self.writer)
            .for_each(Waker::wake);
    }
}
