//! Polling what is seldom ready only when it has been woken.
//!
//! A task that carries tokens is woken for each of them, and its timers, its client's leaving and the server's end are not
//! why. A future polled with a bell's waker rings it; unless it has rung, nothing needs to be polled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// How often any bell has rung. Unless this has changed, none needs to be looked at: that of a stream which was last heard
/// of a while ago lies far away in memory, and this does not.
static RINGS: AtomicU64 = AtomicU64::new(0);

/// Rung by what is polled with its waker; wakes the task that asked last.
#[derive(Debug)]
pub struct Bell {
    state: Arc<State>,
    /// Rings it.
    rope: Waker,
    /// The task that it wakes, as `state` knows it.
    task: Option<Waker>,
    /// How often any bell had rung when this one was last looked at, if it was.
    seen: Option<u64>,
}

#[derive(Debug)]
struct State {
    rung: AtomicBool,
    /// Locked when the task changes, and when it rings: seldom, both.
    task: Mutex<Option<Waker>>,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        RINGS.fetch_add(1, Ordering::Release);
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

impl Bell {
    /// A bell that has just rung: what it is for has to be polled once.
    #[must_use]
    pub fn new() -> Self {
        let state = Arc::new(State {
            rung: AtomicBool::new(true),
            task: Mutex::default(),
        });
        Self {
            rope: state.clone().into(),
            state,
            task: None,
            seen: None,
        }
    }

    /// Rings it: there is something to be polled once more.
    pub fn ring(&self) {
        self.rope.wake_by_ref();
    }

    /// Whether it has rung since it was last asked what to poll with.
    #[must_use]
    pub fn has_rung(&self) -> bool {
        self.seen != Some(RINGS.load(Ordering::Acquire)) && self.state.rung.load(Ordering::Acquire)
    }

    /// What to poll with, if it has rung since it was last asked. Whatever is polled must be polled until it waits
    /// again, or nobody will ring.
    pub fn rung(&mut self, cx: &Context<'_>) -> Option<Waker> {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            self.task = Some(cx.waker().clone());
            (*self
                .state
                .task
                .lock()
                .unwrap_or_else(PoisonError::into_inner))
            .clone_from(&self.task);
        }
        // Counted before it is looked at: what rings meanwhile is seen the next time, and wakes the task for that.
        let rings = RINGS.load(Ordering::Acquire);
        if self.seen == Some(rings) {
            return None;
        }
        self.seen = Some(rings);
        self.state
            .rung
            .swap(false, Ordering::AcqRel)
            .then(|| self.rope.clone())
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_rings_once_for_each_ring_and_wakes_the_task_of_now() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let wakers = [Waker::from(first.clone()), Waker::from(second.clone())];
        let mut bell = Bell::new();
        let rope = bell.rung(&Context::from_waker(&wakers[0])).unwrap();
        assert!(bell.rung(&Context::from_waker(&wakers[0])).is_none());
        rope.wake_by_ref();
        assert!(bell.rung(&Context::from_waker(&wakers[1])).is_some());
        assert!(bell.rung(&Context::from_waker(&wakers[1])).is_none());
        rope.wake_by_ref();
        rope.wake();
        assert!(bell.rung(&Context::from_waker(&wakers[1])).is_some());
        assert_eq!(
            (
                first.0.load(Ordering::Relaxed),
                second.0.load(Ordering::Relaxed)
            ),
            (1, 2)
        );
    }
}
