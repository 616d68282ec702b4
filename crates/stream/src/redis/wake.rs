//! The tasks that wait for messages about a stream.
//!
//! A message only says "look again": a lost one costs a second, not a record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{FromRedisValue, PushInfo, PushKind};
use tokio::sync::Notify;

use super::link::RedisLink;
use crate::StreamId;

/// The tasks to wake for each message.
#[derive(Debug)]
pub(super) struct Wakes {
    /// The channel on which this process is told of cancels; the message is a stream's id.
    inbox: String,
    waiting: Mutex<WakeRegistry>,
}

#[derive(Debug, Default)]
struct WakeRegistry {
    /// Those who follow a stream, by channel.
    followers: HashMap<String, Arc<Notify>>,
    /// Those who write one.
    mirrors: HashMap<StreamId, Arc<Notify>>,
}

impl Wakes {
    pub(super) fn new(inbox: String) -> Self {
        Self {
            inbox,
            waiting: Mutex::default(),
        }
    }

    /// All channels that there are to subscribe to.
    pub(super) fn channels(&self) -> Vec<String> {
        let waiting = self.lock();
        std::iter::once(&self.inbox)
            .chain(waiting.followers.keys())
            .cloned()
            .collect()
    }

    /// The follower of that channel.
    pub(super) fn follower(&self, channel: &str) -> Arc<Notify> {
        self.lock()
            .followers
            .entry(channel.to_owned())
            .or_default()
            .clone()
    }

    /// Returns whether nobody follows that channel any more.
    pub(super) fn forget_follower(&self, channel: &str, ours: Arc<Notify>) -> bool {
        let mut waiting = self.lock();
        drop(ours);
        // The one in here is the last.
        let last = waiting
            .followers
            .get(channel)
            .is_some_and(|left| Arc::strong_count(left) == 1);
        if last {
            waiting.followers.remove(channel);
        }
        last
    }

    /// The mirror of that stream.
    pub(super) fn mirror(&self, id: &StreamId) -> Arc<Notify> {
        self.lock().mirrors.entry(id.clone()).or_default().clone()
    }

    pub(super) fn forget_mirror(&self, id: &StreamId) {
        self.lock().mirrors.remove(id);
    }

    /// Returns whether anything is written here that is not wholly copied yet.
    pub(super) fn writes(&self) -> bool {
        !self.lock().mirrors.is_empty()
    }

    /// Wakes everyone: messages may have been missed.
    pub(super) fn all(&self) {
        let waiting = self.lock();
        waiting
            .followers
            .values()
            .chain(waiting.mirrors.values())
            .for_each(|waiting| waiting.notify_one());
    }

    /// Takes a message; it comes on the connection's own task, which must not be kept.
    pub(super) fn told(&self, info: &PushInfo, link: &RedisLink) {
        match info.kind {
            PushKind::SMessage => {}
            PushKind::Disconnection => return link.doubt(),
            _ => return,
        }
        let mut texts = info
            .data
            .iter()
            .filter_map(|value| String::from_redis_value_ref(value).ok());
        let (Some(channel), Some(message)) = (texts.next(), texts.next()) else {
            return;
        };
        let waiting = self.lock();
        let woken = if channel == self.inbox {
            StreamId::from_client(&message).and_then(|id| waiting.mirrors.get(&id))
        } else {
            waiting.followers.get(&channel)
        };
        if let Some(woken) = woken {
            woken.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, WakeRegistry> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
