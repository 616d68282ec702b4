//! Numbers that only rise, a copy for each worker: nobody waits for a cache line of another's.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Rows of numbers, one for each worker.
#[derive(Debug)]
pub(super) struct Slots {
    rows: Vec<Box<[AtomicU64]>>,
}

/// The number of the next thread that counts something.
static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Slots {
    /// Returns `cells` numbers, all 0. Threads beyond that many workers share rows.
    pub(super) fn new(workers: usize, cells: usize) -> Self {
        let row = || (0..cells).map(|_| AtomicU64::new(0)).collect();
        Self {
            rows: (0..workers.max(1)).map(|_| row()).collect(),
        }
    }

    /// Adds to a number in the row of this thread.
    pub(super) fn add(&self, cell: usize, count: u64) {
        let thread = THREAD.get().unwrap_or_else(|| {
            let thread = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
            THREAD.set(Some(thread));
            thread
        });
        let row = self.rows.get(thread % self.rows.len());
        if let Some(number) = row.and_then(|row| row.get(cell)) {
            number.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Returns a number, all rows together.
    pub(super) fn sum(&self, cell: usize) -> u64 {
        let numbers = self.rows.iter().filter_map(|row| row.get(cell));
        numbers.map(|number| number.load(Ordering::Relaxed)).sum()
    }
}
