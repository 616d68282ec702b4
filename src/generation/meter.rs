//! The meter of a running generation. Dropping it hands the [`Outcome`] to the observers, whatever
//! came before.

use std::time::{Duration, Instant};

use base::id::RequestId;
use http::{HeaderMap, HeaderName, HeaderValue};

use dialect::event::{Event, Usage};
use dialect::failure::{Failure, FailureClass};
use dialect::{ContinuedNote, SealKey};

use crate::disconnect::Disconnect;
use crate::outcome::{AttemptOutcome, GenerationEnd, Observers, Outcome, Pauses, Spent};
use crate::routing::Target;
use crate::shutdown::AbortSignal;

use super::account::{Account, SaidTokens, spent};
use super::transcript::EarlierUsage;

/// The status of a client that left before its response began (nginx's number for it).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The provider and the model that answer, or that were asked last.
const TARGET: HeaderName = HeaderName::from_static("x-tokenrill-target");
/// The number of attempts.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tokenrill-attempts");

/// The facts of a generation that are known when it starts.
#[derive(Debug)]
pub(super) struct GenerationIdentity {
    pub(super) request_id: RequestId,
    pub(super) route: &'static str,
    pub(super) model: String,
}

/// The counts and times of one generation.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    disconnect: Disconnect,
    abort: AbortSignal,
    observers: Observers,
    outcome: Outcome,
    /// Payloads of attempts that broke after the client had seen something of them, and the usage
    /// of those.
    earlier_payloads: u64,
    earlier_usage: EarlierUsage,
    /// The time since when the upstream was waited for last, and the payloads that had come by
    /// then.
    last_wait: Option<(tokio::time::Instant, u64)>,
    said: SaidTokens,
    /// The tokens said from which on the account is asked for more.
    check_at: u64,
    account: Option<Box<Account>>,
    is_ended: bool,
}

impl Meter {
    /// Starts to count, when the request has been accepted.
    pub(super) fn start(
        identity: GenerationIdentity,
        disconnect: Disconnect,
        abort: AbortSignal,
        observers: Observers,
    ) -> Self {
        let GenerationIdentity {
            request_id,
            route,
            model,
        } = identity;
        observers.notify_start(&model);
        let pauses = observers.want_pauses().then(Box::<Pauses>::default);
        Self {
            started: Instant::now(),
            disconnect,
            abort,
            observers,
            outcome: Outcome {
                request_id,
                route,
                model,
                attempts: Vec::new(),
                status: CLIENT_CLOSED_REQUEST,
                time_to_first_token: None,
                duration: Duration::ZERO,
                payloads: 0,
                pauses,
                usage: None,
                spent: Spent::default(),
                key: None,
                team: None,
                resumed: 0,
                continued: None,
                end: GenerationEnd::ClientLeft,
            },
            earlier_payloads: 0,
            earlier_usage: EarlierUsage::default(),
            last_wait: None,
            said: SaidTokens::default(),
            check_at: u64::MAX,
            account: None,
            is_ended: false,
        }
    }

    /// Counts on that account.
    pub(super) fn charge(&mut self, account: Option<Box<Account>>) {
        self.check_at = account.as_ref().map_or(u64::MAX, |it| it.first_check());
        self.account = account;
    }

    /// Records that another attempt began.
    pub(super) fn on_attempt(&mut self, target: &Target) {
        self.outcome.attempts.push(AttemptOutcome {
            provider: target.provider.name().to_owned(),
            upstream_model: target.upstream_model.clone(),
            is_hedge: false,
            failure: None,
        });
    }

    /// Records that an attempt began beside the current one, which it takes the place of. Returns
    /// the usage that the other one has reported.
    pub(super) fn on_hedge(&mut self, target: &Target) -> Option<Usage> {
        self.on_attempt(target);
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.is_hedge = true;
        }
        self.outcome.usage.take()
    }

    /// Returns whether the current attempt began beside another one.
    pub(super) fn is_hedge(&self) -> bool {
        let current = self.outcome.attempts.last();
        current.is_some_and(|attempt| attempt.is_hedge)
    }

    /// Makes the attempt beside the current one the current one, and exchanges their usages.
    /// Nothing else is counted before one of them says something.
    pub(super) fn swap_attempts(&mut self, usage: &mut Option<Usage>) {
        std::mem::swap(usage, &mut self.outcome.usage);
        if let [.., other, current] = &mut self.outcome.attempts[..] {
            std::mem::swap(other, current);
        }
    }

    /// Records the failure of an attempt that another one follows.
    ///
    /// What it counted is not the next one's.
    pub(super) fn on_attempt_failure(&mut self, class: &'static FailureClass) {
        self.outcome.payloads = 0;
        self.outcome.usage = None;
        self.said = SaidTokens::default();
        self.outcome.time_to_first_token = None;
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.failure = Some(class);
        }
    }

    /// Adds the headers that name who was asked, and how often.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        let attempts = &self.outcome.attempts;
        let target = attempts.last().and_then(|attempt| {
            let AttemptOutcome {
                provider,
                upstream_model,
                ..
            } = attempt;
            HeaderValue::try_from(format!("{provider}/{upstream_model}")).ok()
        });
        if let Some(target) = target {
            headers.insert(TARGET, target);
        }
        headers.insert(ATTEMPTS, attempts.len().into());
    }

    /// Records the failure of an attempt that was to go on with an answer, and said nothing.
    pub(super) fn on_continuation_failure(&mut self, class: &'static FailureClass) {
        self.outcome.payloads = self.earlier_payloads;
        self.outcome.usage = None;
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.failure = Some(class);
        }
    }

    /// Returns the payloads that the client has, with those of the current attempt if they were
    /// shown.
    pub(super) fn said(&self, is_shown: bool) -> u64 {
        let current = self.outcome.payloads - self.earlier_payloads;
        self.earlier_usage.said() + if is_shown { current } else { 0 }
    }

    /// Records that the answer broke after that many bytes of text, and is continued. `is_shown`
    /// says that the client has what this attempt said.
    pub(super) fn on_break(&mut self, class: &'static FailureClass, at: usize, is_shown: bool) {
        let payloads = self.outcome.payloads - self.earlier_payloads;
        self.earlier_usage
            .add(self.outcome.usage.take(), payloads, is_shown);
        self.earlier_payloads = self.outcome.payloads;
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.failure = Some(class);
        }
        let continued = self.outcome.continued.get_or_insert_default();
        continued.breaks += 1;
        continued.at = at;
    }

    /// Records that the upstream was asked again for the rest of its answer.
    pub(super) fn on_resume(&mut self) {
        self.outcome.resumed += 1;
    }

    /// Returns the note for the client of an answer that was continued.
    pub(super) fn continued_note(&self) -> Option<ContinuedNote> {
        let continued = self.outcome.continued.as_ref()?;
        Some(ContinuedNote {
            breaks: continued.breaks,
            by: continued.by,
            usage_estimated: self.earlier_usage.is_estimated(),
        })
    }

    /// Returns what the attempts cost that broke.
    pub(super) fn earlier_usage(&self) -> EarlierUsage {
        self.earlier_usage
    }

    /// Records the way in which an attempt was asked to go on.
    pub(super) fn on_continuation(&mut self, by: &'static str) {
        self.outcome.continued.get_or_insert_default().by = by;
    }

    pub(super) fn request_id(&self) -> &str {
        self.outcome.request_id.as_str()
    }

    pub(super) fn model(&self) -> &str {
        &self.outcome.model
    }

    pub(super) fn set_status(&mut self, status: u16) {
        self.outcome.status = status;
    }

    /// Returns whether the upstream of the current attempt has sent content.
    pub(super) fn has_content(&self) -> bool {
        self.outcome.payloads > self.earlier_payloads
    }

    /// Returns whether no upstream has sent content.
    pub(super) fn is_empty(&self) -> bool {
        self.outcome.payloads == 0
    }

    /// Counts one payload with content, of that many bytes. Returns the failure if it goes beyond
    /// what can be paid for: then it is not counted, and nobody is to see it.
    #[inline]
    pub(super) fn on_content(&mut self, bytes: usize) -> Option<Failure> {
        let tokens = self.said.add(bytes);
        if self.said.count() > self.check_at
            && let Err(failure) = self.extend()
        {
            self.said.take_back(tokens);
            return Some(failure);
        }
        self.outcome.payloads += 1;
        if self.outcome.time_to_first_token.is_none() {
            self.outcome.time_to_first_token = Some(self.started.elapsed());
        }
        None
    }

    #[cold]
    fn extend(&mut self) -> Result<(), Failure> {
        if let Some(account) = &mut self.account {
            if account.is_bounded && self.outcome.payloads < account.allowance {
                // No upstream says more than its client allows: the estimate is too high.
                self.said.lower(account.allowance);
                return Ok(());
            }
            self.check_at = account.extend(self.said.count())?;
        }
        Ok(())
    }

    /// Takes note of the time since when the upstream is waited for. What came between two of these
    /// came at once.
    pub(super) fn on_wait(&mut self, since: Option<tokio::time::Instant>) {
        let (Some(pauses), Some(since)) = (&mut self.outcome.pauses, since) else {
            return;
        };
        let payloads = self.outcome.payloads;
        match self.last_wait {
            Some((_, before)) if before == payloads => return,
            Some((last, before)) if before > 0 => {
                let tokens = u32::try_from(payloads.saturating_sub(before)).unwrap_or(u32::MAX);
                pauses.add(since.saturating_duration_since(last), tokens);
            }
            _ => {}
        }
        self.last_wait = Some((since, payloads));
    }

    /// Takes a report of usage. Reports are cumulative: the last one counts.
    #[inline]
    pub(super) fn on_usage(&mut self, usage: Option<Usage>) {
        if let Some(reported) = usage {
            self.said.raise(reported.output);
            self.outcome.usage = usage;
        }
    }

    /// Takes what was counted in a whole answer: there is nothing left to cut.
    pub(super) fn on_whole_answer(&mut self, counts: &AnswerCounts) {
        if counts.payloads > 0 {
            self.check_at = u64::MAX;
            let _ = self.on_content(0);
            self.outcome.payloads += counts.payloads - 1;
        }
        self.said.raise(counts.payloads);
        self.on_usage(counts.usage);
    }

    /// Counts an event of an in-process model. Returns the failure if it can't be paid for.
    pub(super) fn on_event(&mut self, event: &Event<'_>) -> Option<Failure> {
        match event {
            Event::Usage(usage) => self.on_usage(Some(*usage)),
            event if event.has_content() => return self.on_content(0),
            _ => {}
        }
        None
    }

    pub(super) fn on_complete(&mut self) {
        self.is_ended = true;
        self.outcome.end = GenerationEnd::Complete;
    }

    pub(super) fn on_failure(&mut self, failure: &Failure) {
        self.is_ended = true;
        self.outcome.end = failure.into();
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.failure = Some(failure.class());
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_ended && matches!(self.outcome.end, GenerationEnd::Complete)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.outcome.duration = self.started.elapsed();
        if self.outcome.continued.is_some() {
            let usage = self.outcome.usage;
            self.outcome.usage = usage.map(|usage| self.earlier_usage.plus(usage));
        }
        if !self.is_ended {
            self.outcome.end = end_by_drop(&self.disconnect, &self.abort);
        }
        match self.account.take() {
            Some(account) => account.settle(&mut self.outcome, self.said.count()),
            None => self.outcome.spent = spent(&self.outcome, self.said.count(), 0),
        }
        self.observers.notify(&self.outcome);
    }
}

/// Returns the end of a generation that was dropped before it ended by itself.
fn end_by_drop(disconnect: &Disconnect, abort: &AbortSignal) -> GenerationEnd {
    if disconnect.is_cancelled() {
        GenerationEnd::Cancelled
    } else if disconnect.is_stalled() {
        GenerationEnd::ClientStalled
    } else if abort.is_aborted() {
        GenerationEnd::Aborted
    } else {
        GenerationEnd::ClientLeft
    }
}

/// The counts of a whole answer.
#[derive(Debug, Default)]
pub(super) struct AnswerCounts {
    /// Events with content.
    pub(super) payloads: u64,
    /// The usage, if the answer reports it.
    pub(super) usage: Option<Usage>,
    /// The sealed thoughts.
    pub(super) seals: Vec<SealKey>,
}

impl AnswerCounts {
    /// Counts an event.
    pub(super) fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::State(state) => self.seals.extend(SealKey::of(state)),
            event if event.has_content() => self.payloads += 1,
            _ => {}
        }
    }
}

/// A generation that failed before its response began. It records the failure once the status of
/// the response is known.
#[derive(Debug)]
pub struct RefusedGeneration(pub(super) Meter);

impl RefusedGeneration {
    /// Adds the headers that name who was asked, and how often.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        self.0.add_headers(headers);
    }

    /// Records the failure, and the status with which the client is told.
    pub fn record(mut self, failure: &Failure, status: u16) {
        self.0.set_status(status);
        self.0.on_failure(failure);
    }
}
