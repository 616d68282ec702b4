//! A flag that futures set when they are ready to be polled again.
//!
//! A task that carries tokens is woken for each of them, and hardly ever because a timer, a
//! departed client or the end of the server needs attention. Such a future is polled with the
//! flag's waker: as long as the flag is unset, it need not be polled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// A flag set by the waker that it hands out, which also wakes the task that polled last.
///
/// ```
/// use std::task::{Context, Waker};
/// use base::wake_flag::WakeFlag;
///
/// let mut flag = WakeFlag::new();
/// let mut cx = Context::from_waker(Waker::noop());
/// // A new flag is set: its future has to be polled once.
/// let waker = flag.take_waker(&mut cx).expect("set");
/// assert!(flag.take_waker(&mut cx).is_none(), "nothing has happened since");
/// waker.wake();
/// assert!(flag.is_set());
/// ```
#[derive(Debug)]
pub struct WakeFlag {
    state: Arc<State>,
    /// Sets the flag and wakes the task.
    waker: Waker,
    /// The task to wake, as `state` knows it.
    task: Option<Waker>,
}

#[derive(Debug)]
struct State {
    set: AtomicBool,
    /// Locked when the task changes and when the flag is set: both are rare.
    task: Mutex<Option<Waker>>,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.store(true, Ordering::Release);
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

impl WakeFlag {
    /// Returns a flag that is set, so that its future is polled once.
    #[must_use]
    pub fn new() -> Self {
        let state = Arc::new(State {
            set: AtomicBool::new(true),
            task: Mutex::default(),
        });
        Self {
            waker: state.clone().into(),
            state,
            task: None,
        }
    }

    /// Sets the flag and wakes the task that polled last.
    pub fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Returns whether the flag is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.set.load(Ordering::Acquire)
    }

    /// Clears the flag and returns the waker to poll with, or `None` if the flag is not set.
    ///
    /// The future must then be polled until it is pending, or nothing will set the flag again.
    #[inline]
    pub fn take_waker(&mut self, cx: &Context<'_>) -> Option<Waker> {
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
        // A plain read first: it shares the cache line, where a swap would claim it for every
        // token.
        let set = self.is_set() && self.state.set.swap(false, Ordering::AcqRel);
        set.then(|| self.waker.clone())
    }
}

impl Default for WakeFlag {
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
    fn it_is_set_once_for_each_wake_and_wakes_the_task_that_polled_last() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let wakers = [Waker::from(first.clone()), Waker::from(second.clone())];
        let mut flag = WakeFlag::new();
        let waker = flag.take_waker(&Context::from_waker(&wakers[0])).unwrap();
        assert!(flag.take_waker(&Context::from_waker(&wakers[0])).is_none());
        waker.wake_by_ref();
        assert!(flag.take_waker(&Context::from_waker(&wakers[1])).is_some());
        assert!(flag.take_waker(&Context::from_waker(&wakers[1])).is_none());
        waker.wake_by_ref();
        waker.wake();
        assert!(flag.take_waker(&Context::from_waker(&wakers[1])).is_some());
        assert_eq!(
            (
                first.0.load(Ordering::Relaxed),
                second.0.load(Ordering::Relaxed)
            ),
            (1, 2)
        );
    }
}
