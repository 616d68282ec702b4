//! The outcome of a generation: plain data, and the trait of those who are told.
//!
//! Each generation has exactly one, whatever happened to it: complete, failed, cancelled, refused,
//! or left by its client. The log is one observer; metrics, usage and budgets are others. Nothing
//! is measured here: that is `generation`'s.

mod pauses;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::id::RequestId;
use dialect::event::Usage;
use dialect::failure::{Failure, FailureClass, classes};

pub use pauses::{PAUSE_BOUNDS, Pauses};

/// The facts that remain of a generation.
#[derive(Debug)]
pub struct Outcome {
    /// The id of the request.
    pub request_id: RequestId,
    /// The route of the request, as the log names it.
    pub route: &'static str,
    /// The model that the client asked for.
    pub model: String,
    /// The exchanges with targets, in their order; of two at a time the one that is shown is the
    /// last.
    pub attempts: Vec<AttemptOutcome>,
    /// The HTTP status of the response; 499 if the client left before there was one.
    pub status: u16,
    /// The time from the request to the first payload with content.
    pub time_to_first_token: Option<Duration>,
    /// The time from the request to the end.
    pub duration: Duration,
    /// Payloads with content. Logged as the token count when the upstream reports no usage.
    pub payloads: u64,
    /// The times between tokens, if an observer [asks for them](Observer::wants_pauses).
    pub pauses: Option<Box<Pauses>>,
    /// The usage as the upstream reported it.
    pub usage: Option<Usage>,
    /// The usage and its cost, as far as that is known.
    pub spent: Spent,
    /// The key of the caller, by its id.
    pub key: Option<Arc<str>>,
    /// The team of that key.
    pub team: Option<Arc<str>>,
    /// The number of times that an upstream was asked again for the rest of its answer.
    pub resumed: u32,
    /// The continuation of an answer that broke, if there was one.
    pub continued: Option<Continued>,
    /// The way it ended.
    pub end: GenerationEnd,
}

/// The tokens that a generation has used, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// The tokens.
    pub usage: Usage,
    /// Where that is known from.
    pub source: UsageSource,
    /// The cost in billionths of a dollar, if there is a price.
    pub nano_usd: Option<u64>,
}

/// The source of what a generation has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UsageSource {
    /// Nothing was used.
    #[default]
    Nothing,
    /// The upstream has reported it of a whole answer.
    Reported,
    /// The answer is not whole: its input, and what it said.
    Partial,
    /// The upstream of a whole answer has reported nothing: its input, and what it said.
    Estimated,
}

/// The facts that remain of the continuation of an answer. Its usage is the sum of all attempts,
/// and estimated for those that broke.
#[derive(Debug, Clone, Default)]
pub struct Continued {
    /// The number of times that the answer broke and another attempt went on.
    pub breaks: u32,
    /// The way in which the last one was asked: `prefill` or `turn`.
    pub by: &'static str,
    /// The length of the text before the last break, in bytes.
    pub at: usize,
}

/// The facts that remain of one exchange with one target.
#[derive(Debug, Clone)]
pub struct AttemptOutcome {
    /// The provider's name.
    pub provider: String,
    /// The provider's name for the model.
    pub upstream_model: String,
    /// Set if it was made beside another one that was slow to say something.
    pub is_hedge: bool,
    /// The class of the failure that ended this attempt, if one did.
    pub failure: Option<&'static FailureClass>,
}

impl Outcome {
    /// Returns the word for a hedge, if there was one: `won` if its answer is the client's.
    #[must_use]
    pub fn hedged(&self) -> Option<&'static str> {
        let is_hedge = |attempt: &AttemptOutcome| attempt.is_hedge;
        let was_hedged = self.attempts.iter().any(is_hedge);
        let has_won = self.attempts.last().is_some_and(is_hedge) && self.payloads > 0;
        was_hedged.then_some(if has_won { "won" } else { "lost" })
    }
}

/// The way a generation ended.
#[derive(Debug, Clone)]
pub enum GenerationEnd {
    /// With all tokens and the end mark.
    Complete,
    /// With a failure, whose details are for the log alone.
    Failed {
        /// The failure's class.
        class: &'static FailureClass,
        /// The failure's message and causes on one line.
        details: String,
    },
    /// By the client, which cancelled it.
    Cancelled,
    /// By the client, which read nothing for too long.
    ClientStalled,
    /// By the client, which closed its connection.
    ClientLeft,
    /// By this server, which ended before the client could be told.
    Aborted,
}

impl GenerationEnd {
    /// Returns the stable name: `ended` in the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed { class, .. } => class.code,
            Self::Cancelled => classes::CANCELLED.code,
            Self::ClientStalled => "client_stall",
            Self::ClientLeft => "client_left",
            Self::Aborted => "aborted",
        }
    }

    /// Returns the details of a failure, for the log.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        match self {
            Self::Failed { details, .. } => Some(details),
            _ => None,
        }
    }
}

impl From<&Failure> for GenerationEnd {
    fn from(failure: &Failure) -> Self {
        Self::Failed {
            class: failure.class(),
            details: failure.log_message(),
        }
    }
}

/// A consumer of outcomes. It is called by the worker that drops the generation, so it must not
/// block.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tokenrill::outcome::{GenerationEnd, Observer, Outcome};
///
/// /// The number of generations that ended without their end mark.
/// #[derive(Debug, Default)]
/// struct IncompleteCount(AtomicU64);
///
/// impl Observer for IncompleteCount {
///     fn on_outcome(&self, outcome: &Outcome) {
///         if !matches!(outcome.end, GenerationEnd::Complete) {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes note of a generation that has ended.
    fn on_outcome(&self, outcome: &Outcome);

    /// Takes note of a generation of that model that begins. Each has an outcome later.
    fn on_start(&self, model: &str) {
        let _ = model;
    }

    /// Returns whether the times between tokens are to be measured.
    fn wants_pauses(&self) -> bool {
        false
    }
}

/// The observers of a server, shared by all of its generations.
#[derive(Debug, Clone, Default)]
pub struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// Tells each observer of a generation that begins.
    pub fn notify_start(&self, model: &str) {
        for observer in &*self.0 {
            observer.on_start(model);
        }
    }

    /// Returns whether any of them asks for the times between tokens.
    #[must_use]
    pub fn want_pauses(&self) -> bool {
        self.0.iter().any(|observer| observer.wants_pauses())
    }

    /// Hands an outcome to each observer.
    pub fn notify(&self, outcome: &Outcome) {
        for observer in &*self.0 {
            observer.on_outcome(outcome);
        }
    }
}

impl FromIterator<Arc<dyn Observer>> for Observers {
    fn from_iter<T: IntoIterator<Item = Arc<dyn Observer>>>(observers: T) -> Self {
        Self(observers.into_iter().collect())
    }
}
