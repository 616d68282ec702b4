//! A stream of which the upstream can be asked again for the rest.
//!
//! It is noted how far the stream was read. An upstream that keeps it for who comes back would also
//! go on with it for nobody, so one that is given up before its end is cancelled by a request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use dialect::failure::Failure;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::body::RecognizedBody;

/// The first pause before an upstream is asked again that was asked in vain; it doubles each time.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The time that a request has which cancels an answer.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that cancels an answer.
pub(in crate::provider) type Cancellation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way to the rest of a stream.
pub(in crate::provider) trait Resumption: fmt::Debug + Send {
    /// Takes note of a run of whole events. Returns it as the client is to see it.
    ///
    /// # Errors
    ///
    /// When it does not follow what was read before.
    fn note(&mut self, run: Bytes) -> Result<Bytes, Failure>;

    /// Asks, after a pause, for what follows the last event that was noted. `None` if that can't
    /// be asked for.
    fn reopen(&mut self, pause: Duration) -> Option<RecognizedBody>;

    /// Returns a request that cancels the answer; `None` if it has ended.
    fn cancel(&mut self) -> Option<Cancellation>;
}

/// A stream that can be resumed. Dropping it cancels the answer, unless that was settled.
#[derive(Debug)]
pub(in crate::provider) struct ResumableStream {
    resumption: Box<dyn Resumption>,
    tasks: TaskTracker,
    /// The times that it was asked for since the last event.
    tries: u32,
    /// Set if nothing is left to be asked for.
    is_exhausted: bool,
    is_settled: bool,
}

impl ResumableStream {
    pub(in crate::provider) fn new(resumption: Box<dyn Resumption>, tasks: &TaskTracker) -> Self {
        Self {
            resumption,
            tasks: tasks.clone(),
            tries: 0,
            is_exhausted: false,
            is_settled: false,
        }
    }

    /// Takes note of a run of whole events, as [`Resumption::note`] does.
    pub(super) fn note(&mut self, run: Bytes) -> Result<Bytes, Failure> {
        self.tries = 0;
        self.resumption.note(run)
    }

    /// Takes note of the proper end of a body.
    pub(super) fn on_end(&mut self) {
        // Of one that was asked for and said nothing: there is no more.
        self.is_exhausted |= self.tries > 0;
    }

    /// Returns whether nothing is left to be asked for.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }

    /// Returns whether nothing has come since it was asked for again.
    pub(super) fn is_reopening(&self) -> bool {
        self.tries > 0
    }

    /// Asks for the rest; `None` if it can't be asked for.
    pub(super) fn reopen(&mut self) -> Option<RecognizedBody> {
        if self.is_exhausted {
            return None;
        }
        let pause = match self.tries {
            0 => Duration::ZERO,
            tries => MIN_PAUSE.saturating_mul(1 << (tries - 1).min(8)),
        };
        self.tries += 1;
        self.resumption.reopen(pause.min(MAX_PAUSE))
    }

    /// Takes note that the answer has ended at its upstream.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }
}

impl Drop for ResumableStream {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        // Without a runtime the process ends, and nobody is left to send it.
        if let (Some(cancellation), Ok(runtime)) = (self.resumption.cancel(), Handle::try_current())
        {
            let cancel = async move {
                if tokio::time::timeout(CANCEL_TIMEOUT, cancellation)
                    .await
                    .is_err()
                {
                    tracing::debug!("an upstream took too long to cancel an answer");
                }
            };
            #[expect(clippy::disallowed_methods, reason = "ends after CANCEL_TIMEOUT")]
            drop(self.tasks.spawn_on(cancel, &runtime));
        }
    }
}
