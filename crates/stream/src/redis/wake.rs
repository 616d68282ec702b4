//! The tasks that wait for messages about a stream.
//!
//! A message only says "look again": a lost one costs a second, not a record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::StreamId;
use store::redis::PushListener;

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
    followers: HashMap<String, watch::Sender<()>>,
    /// Those who write one.
    mirrors: HashMap<StreamId, Arc<MirrorSignals>>,
    /// The time at which the connection was last made.
    connected: Option<Instant>,
}

/// The signals to and from the mirror of one stream.
#[derive(Debug, Default)]
pub(super) struct MirrorSignals {
    /// There is word from elsewhere, or somebody waits for the first copy.
    pub(super) heard: Notify,
    /// Set once a first copy was made, or could not be.
    tried: watch::Sender<bool>,
}

impl MirrorSignals {
    /// Notes that the first copy was made, or could not be.
    pub(super) fn set_tried(&self) {
        self.tried
            .send_if_modified(|tried| !std::mem::replace(tried, true));
    }

    /// Asks for the first copy and waits until it was made, or could not be.
    pub(super) async fn first_try(&self) {
        let mut tried = self.tried.subscribe();
        if !*tried.borrow_and_update() {
            self.heard.notify_one();
            // The sender is here.
            let _ = tried.wait_for(|tried| *tried).await;
        }
    }
}

impl Wakes {
    pub(super) fn new(inbox: String) -> Self {
        Self {
            inbox,
            waiting: Mutex::default(),
        }
    }

    /// Returns a receiver that every message of that channel marks as changed.
    pub(super) fn follow(&self, channel: &str) -> watch::Receiver<()> {
        let mut waiting = self.lock();
        let followers = waiting.followers.entry(channel.to_owned());
        followers
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    /// Forgets a channel that has no receiver any more; returns whether it has none.
    pub(super) fn forget_unfollowed(&self, channel: &str) -> bool {
        let mut waiting = self.lock();
        let is_followed = waiting
            .followers
            .get(channel)
            .is_some_and(|followers| followers.receiver_count() > 0);
        if !is_followed {
            waiting.followers.remove(channel);
        }
        !is_followed
    }

    /// Returns the signals of a new mirror of that stream.
    pub(super) fn mirror(&self, id: &StreamId) -> Arc<MirrorSignals> {
        self.lock().mirrors.entry(id.clone()).or_default().clone()
    }

    /// Returns the signals of that stream's mirror, if it has one.
    pub(super) fn find_mirror(&self, id: &StreamId) -> Option<Arc<MirrorSignals>> {
        self.lock().mirrors.get(id).cloned()
    }

    /// Returns the time at which the connection was last made.
    pub(super) fn connected(&self) -> Option<Instant> {
        self.lock().connected
    }

    pub(super) fn forget_mirror(&self, id: &StreamId) {
        self.lock().mirrors.remove(id);
    }

    /// Returns whether anything is written here that is not wholly copied yet.
    pub(super) fn writes(&self) -> bool {
        !self.lock().mirrors.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, WakeRegistry> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PushListener for Wakes {
    fn channels(&self) -> Vec<String> {
        let waiting = self.lock();
        std::iter::once(&self.inbox)
            .chain(waiting.followers.keys())
            .cloned()
            .collect()
    }

    fn on_message(&self, channel: &str, message: &str) {
        let waiting = self.lock();
        if channel != self.inbox {
            if let Some(followers) = waiting.followers.get(channel) {
                followers.send_replace(());
            }
        } else if let Some(mirror) =
            StreamId::from_client(message).and_then(|id| waiting.mirrors.get(&id))
        {
            mirror.heard.notify_one();
        }
    }

    fn on_reconnect(&self) {
        let mut waiting = self.lock();
        waiting.connected = Some(Instant::now());
        for followers in waiting.followers.values() {
            followers.send_replace(());
        }
        waiting
            .mirrors
            .values()
            .for_each(|mirror| mirror.heard.notify_one());
    }
}
