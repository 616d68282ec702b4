//! The state of a log as its readers, its writer and its mirror change it.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{AttachedReader, LogState, RemoteReaders};
use crate::views::{ReaderEvent, WriterStatus};
use crate::wakers::{StoredWaker, Wakers};
use crate::{End, Offset, StreamError};

impl LogState {
    /// Attaches a reader; returns its slot.
    pub(crate) fn attach(&mut self, position: u64) -> Result<usize, StreamError> {
        if self.readers.len() >= self.limits.max_readers {
            return Err(StreamError::TooManyReaders);
        }
        self.touch();
        Ok(self.readers.insert(AttachedReader {
            position,
            waker: StoredWaker::default(),
        }))
    }

    /// Detaches a reader.
    pub(crate) fn detach(&mut self, slot: usize) -> Wakers {
        self.readers.try_remove(slot);
        self.touch();
        if !self.readers.is_empty() {
            return Wakers::default();
        }
        self.unattended = self.touched;
        if let (Some(since), Some(removal)) = (self.left_since(), &mut self.removal) {
            removal.set_unread(since);
        }
        self.take_writer_waker()
    }

    /// Polls for the next records of a reader. Returns also the writer's waker if the writer waits
    /// for them to be read.
    pub(crate) fn poll_reader(
        &mut self,
        slot: usize,
        cx: &mut Context<'_>,
    ) -> (Poll<ReaderEvent>, Option<Waker>) {
        let position = self.readers.get(slot).map(|reader| reader.position);
        let Some(position) = position.filter(|position| !self.gone && *position >= self.first())
        else {
            return (Poll::Ready(ReaderEvent::Gone), None);
        };
        if let Some(run) = self.run_at(position) {
            let next = position + run.count();
            self.move_reader(slot, next);
            let records = ReaderEvent::Records(run, self.head.at(next));
            // Only a writer that found no room waits for readers.
            let is_full = self.is_full();
            return (
                Poll::Ready(records),
                if is_full { self.writer.take() } else { None },
            );
        }
        // A reader of a copy may be ahead of it, but not of a last word.
        if let Some(end) = self.head.end
            && position >= self.head.next
        {
            let is_reached = position == self.head.next || end == End::Lost;
            let event = match is_reached {
                true => ReaderEvent::End(end),
                false => ReaderEvent::Gone,
            };
            return (Poll::Ready(event), None);
        }
        if let Some(reader) = self.readers.get_mut(slot) {
            reader.waker.set(cx);
        }
        (Poll::Pending, None)
    }

    /// Returns the offset that a reader has reached.
    pub(crate) fn reader_offset(&self, slot: usize) -> Offset {
        let position = self.readers.get(slot).map_or(0, |reader| reader.position);
        self.head.at(position)
    }

    /// Notes the position that a reader has reached.
    pub(crate) fn move_reader(&mut self, slot: usize, position: u64) {
        if let Some(reader) = self.readers.get_mut(slot) {
            reader.position = position;
        }
    }

    /// Frees what the furthest reader has read, as far as room is needed, and returns what the
    /// writer must know. The writer is woken when any of it changes.
    pub(crate) fn poll_writer(&mut self, cx: &mut Context<'_>) -> WriterStatus {
        let furthest = self.furthest();
        while self.is_full() && self.drop_first_before(furthest) {}
        self.writer.set(cx);
        WriterStatus {
            cancelled: self.cancelled || self.gone,
            unattended: self.unattended(),
            room: !self.is_full()
                || (self.weight < self.limits.max_bytes && self.head.next <= furthest),
        }
    }

    /// Ready when there is something that a copy which holds all before that place doesn't hold.
    pub(crate) fn poll_mirror(&mut self, from: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.head.next > from || self.is_over() {
            return Poll::Ready(());
        }
        self.mirror.set(cx);
        Poll::Pending
    }

    /// Notes readers of a copy elsewhere: how long they count, and the furthest's position.
    pub(crate) fn set_remote_readers(&mut self, seen: Option<(Duration, u64)>) -> Wakers {
        let now = Instant::now();
        match seen {
            Some((rest, position)) => {
                let until = now + rest;
                self.remote = Some(RemoteReaders { until, position });
            }
            None => {
                if let Some(remote) = &mut self.remote {
                    remote.until = remote.until.min(now);
                }
            }
        }
        // Their coming and going are the writer's business.
        self.take_writer_waker()
    }

    fn take_writer_waker(&mut self) -> Wakers {
        Wakers {
            writer: self.writer.take(),
            ..Wakers::default()
        }
    }

    pub(super) fn take_reader_wakers(&mut self) -> Wakers {
        let mut readers = self
            .readers
            .iter_mut()
            .filter_map(|(_, reader)| reader.waker.take());
        Wakers {
            writer: None,
            mirror: self.mirror.take(),
            reader: readers.next(),
            more_readers: readers.collect(),
        }
    }

    pub(super) fn take_wakers(&mut self) -> Wakers {
        Wakers {
            writer: self.writer.take(),
            ..self.take_reader_wakers()
        }
    }
}
