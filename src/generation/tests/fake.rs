//! A provider in this process that does as a test says, and counts what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_stream::try_stream;
use http::HeaderMap;

use dialect::event::{Event, FinishReason};
use dialect::failure::{Failure, Refusal};

use crate::provider::{
    CompleteSource, Events, OpenFuture, Opened, Provider, StreamSource, UpstreamRequest,
};

/// The answer to one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// A text, after so long.
    Text(Duration),
    /// A refusal with that status.
    Refused(u16),
    /// Nobody is there.
    Unreachable,
    /// A stream that breaks before it says anything.
    Broken,
    /// The same, after so long.
    BrokenAfter(Duration),
    /// A refusal with that status, after so long.
    RefusedAfter(Duration, u16),
}

type Script = Box<dyn Fn(u32) -> Answer + Send + Sync>;

/// A provider that answers each request by a script.
pub(super) struct Fake {
    name: &'static str,
    script: Script,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU32,
    running: AtomicU32,
    most_running: AtomicU32,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.counts.fmt(f)
    }
}

/// A request that is being answered.
struct Running(Arc<Counts>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fake {
    /// Returns a provider whose script is given the number of each request.
    pub(super) fn new(
        name: &'static str,
        script: impl Fn(u32) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            script: Box::new(script),
            counts: Arc::default(),
        })
    }

    /// Returns the number of requests so far.
    pub(super) fn asked(&self) -> u32 {
        self.counts.asked.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that run.
    pub(super) fn running(&self) -> u32 {
        self.counts.running.load(Ordering::Relaxed)
    }

    /// Returns the most requests that ever ran at a time.
    pub(super) fn most_running(&self) -> u32 {
        self.counts.most_running.load(Ordering::Relaxed)
    }

    fn answer(&self) -> Result<Events, Failure> {
        let number = self.counts.asked.fetch_add(1, Ordering::Relaxed);
        let running = self.counts.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts
            .most_running
            .fetch_max(running, Ordering::Relaxed);
        let guard = Running(self.counts.clone());
        let (name, answer) = (self.name, (self.script)(number));
        match answer {
            Answer::Refused(status) => Err(refused(name, status)),
            Answer::Unreachable => Err(Failure::connect_failed(name, "nobody".into())),
            _ => Ok(Box::pin(try_stream! {
                let _guard = guard;
                match answer {
                    Answer::Text(after) if !after.is_zero() => tokio::time::sleep(after).await,
                    Answer::Broken => Err(Failure::upstream_reset("broken".into()))?,
                    Answer::BrokenAfter(after) => {
                        tokio::time::sleep(after).await;
                        Err(Failure::upstream_reset("broken".into()))?;
                    }
                    Answer::RefusedAfter(after, status) => {
                        tokio::time::sleep(after).await;
                        Err(refused(name, status))?;
                    }
                    _ => {}
                }
                yield Event::Text("good".into());
                yield Event::Finish(FinishReason::Stop);
            })),
        }
    }
}

fn refused(provider: &str, status: u16) -> Failure {
    Failure::upstream_refused(Refusal {
        provider: provider.to_owned(),
        status,
        ..Refusal::default()
    })
}

impl Provider for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn open_stream(&self, _: UpstreamRequest) -> OpenFuture<StreamSource> {
        let answer = self.answer();
        Box::pin(async move {
            Ok(Opened {
                headers: HeaderMap::new(),
                source: StreamSource::Events(answer?),
            })
        })
    }

    fn open_complete(&self, _: UpstreamRequest) -> OpenFuture<CompleteSource> {
        let answer = self.answer();
        Box::pin(async move {
            Ok(Opened {
                headers: HeaderMap::new(),
                source: CompleteSource::Events(answer?),
            })
        })
    }
}
