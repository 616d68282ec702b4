//! Subscriptions to the channels of streams: one in Redis, however many tasks here wait for it.

use tokio::sync::watch;

use super::Redis;

/// One task's subscription to a stream's channel.
#[derive(Debug)]
pub(super) struct Subscription {
    redis: Redis,
    channel: String,
    /// Taken when this is dropped.
    changes: Option<watch::Receiver<()>>,
}

impl Subscription {
    pub(super) async fn new(redis: &Redis, channel: &str) -> Self {
        let subscription = Self {
            redis: redis.clone(),
            channel: channel.to_owned(),
            changes: Some(redis.wakes().follow(channel)),
        };
        redis.link().subscribe(channel).await;
        subscription
    }

    /// Waits for a message that came after the last one that was waited for.
    pub(super) async fn changed(&mut self) {
        match &mut self.changes {
            // The sender lives as long as a receiver does.
            Some(changes) => drop(changes.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.changes = None;
        if !self.redis.wakes().forget_unfollowed(&self.channel) {
            return;
        }
        let (redis, channel) = (self.redis.clone(), self.channel.clone());
        self.redis.start(async move {
            redis.link().unsubscribe(&channel).await;
            // Somebody may have subscribed in between.
            if !redis.wakes().forget_unfollowed(&channel) {
                redis.link().subscribe(&channel).await;
            }
        });
    }
}
