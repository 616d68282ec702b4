//! The plan of one request: which target is asked next, and when there is none.
//!
//! Until a client has seen something of its answer, each failure is judged; another target may then
//! be asked, within the model's number of attempts and its budget of retries. Not for: sending
//! anything, which is `generation`'s.

mod binding;
mod continuation;
mod hedge;
mod resume;
mod seals;
mod trial;
mod wait;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use dialect::SealKey;
use dialect::failure::{Failure, classes};
use dialect::request::Request;
use http::HeaderMap;
use tokio::time::Instant;

use super::admission::{Place, Places, Waiting};
use super::affinity::AffinityKey;
use super::choose::choose;
use super::health::{Availability, Closed, Exchange};
use super::makers::Makers;
use super::told::told_delay;
use super::verdict::{Sent, Verdict, judge};
use super::{ModelTargets, Target};

/// The time after which a client may come again, where nobody knows better.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// The targets of one request, and what became of those that were asked.
#[derive(Debug)]
pub struct Plan {
    model: Arc<ModelTargets>,
    /// The key of the conversation, where it prefers a target.
    affinity: Option<AffinityKey>,
    /// The number of times that each target was asked; `None` if it is not to be asked again.
    asked: Vec<Option<u32>>,
    attempts: u32,
    current: usize,
    /// The failure to tell if nobody else can be asked.
    last: Option<Failure>,
    exchange: Option<Exchange>,
    /// The target that is asked beside the current one, by its number.
    rival: Option<(usize, Option<Exchange>)>,
    /// The time at which the first wait for closed or full targets began.
    waits_since: Option<Instant>,
    /// Its place in the queue, while it waits.
    waiting: Option<Waiting>,
    /// Set if the client itself repeats a request: then nothing is repeated for it.
    is_repeat: bool,
    /// Set if the request is passed on as it is, whatever it does.
    is_forwarded: bool,
    /// Set if the request goes on from what one provider stored: it is sent to no other.
    is_bound: bool,
    makers: Option<Arc<Makers>>,
    /// The sealed thoughts of the request, and their makers, as far as they are known.
    seals: Vec<(SealKey, Arc<str>)>,
    /// The target that is asked again before all others, in another way.
    again: Option<usize>,
}

/// The next step of a plan.
#[derive(Debug)]
pub enum Next {
    /// Ask the plan's current target.
    Ask,
    /// Wait until then, or until the plan has found a place, then ask the plan again.
    Wait(Instant),
    /// Tell the client that failure.
    Fail(Failure),
}

impl Plan {
    /// Returns the plan of a request for a model.
    #[must_use]
    pub fn new(model: Arc<ModelTargets>) -> Self {
        Self {
            asked: vec![Some(0); model.targets.len()],
            model,
            affinity: None,
            last: None,
            attempts: 0,
            current: 0,
            exchange: None,
            rival: None,
            waits_since: None,
            waiting: None,
            is_repeat: false,
            is_forwarded: false,
            is_bound: false,
            makers: None,
            seals: Vec::new(),
            again: None,
        }
    }

    /// Shares what is known of the makers of stored responses.
    #[must_use]
    pub(super) fn with_makers(self, makers: Arc<Makers>) -> Self {
        let makers = Some(makers);
        Self { makers, ..self }
    }

    /// Returns a plan with one target, which is asked once.
    #[must_use]
    pub fn of(target: Target) -> Self {
        Self::new(Arc::new(ModelTargets::of(target)))
    }

    /// Takes note that the request is passed on as it is, and leaves out other targets. It is not
    /// known what such a request does: none is sent again that an upstream may have worked on, and
    /// a key that may not do it says nothing of what else it may do.
    pub fn forward_to(&mut self, is_kept: impl Fn(usize, &Target) -> bool) {
        self.is_forwarded = true;
        let targets = self.model.targets.iter().zip(&mut self.asked);
        for (number, (target, asked)) in targets.enumerate() {
            if !is_kept(number, target) {
                *asked = None;
            }
        }
        self.current = self.asked.iter().position(Option::is_some).unwrap_or(0);
    }

    /// Takes note of what the request has in common with others.
    pub fn prefer_by(&mut self, request: &Request, headers: &HeaderMap) {
        self.affinity = AffinityKey::of(&self.model.rules.affinity, request, headers);
    }

    /// Takes note that the client sends the request again: it draws on the model's budget.
    pub fn count_client_retry(&mut self) {
        let budget = self.model.budget();
        self.is_repeat = budget.is_some_and(|budget| !budget.withdraw());
    }

    /// Returns the target that is asked, or that was asked last.
    #[must_use]
    pub fn current(&self) -> &Target {
        &self.model.targets[self.current]
    }

    /// Returns all targets of the model.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.model.targets
    }

    /// Returns the number of attempts so far.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns true if a failure that no client has seen may lead to another attempt.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        self.model.budget().is_some() && self.attempts < self.model.rules.attempts
    }

    /// Begins the first attempt. A single target is asked whatever its health; `latest` is the end
    /// of the request's time.
    pub fn begin(&mut self, latest: Instant) -> Next {
        if self.model.limits.is_none() {
            self.attempts = 1;
            return Next::Ask;
        }
        if let Some(budget) = self.model.budget() {
            budget.deposit();
        }
        self.next(latest)
    }

    /// Continues after a failure of the current target, or after a wait. `latest` is the end of the
    /// request's time.
    pub fn next(&mut self, latest: Instant) -> Next {
        let now = Instant::now();
        if now >= latest && self.last.is_some() {
            return self.fail(None, now);
        }
        let mut candidates = self.candidates(now, latest);
        let model = self.model.clone();
        let homes = model.limits.as_ref().map(|limits| &limits.homes);
        while let Some(number) = choose(
            &model.targets,
            &candidates,
            model.rules.choose,
            self.affinity.as_ref().map(|key| (key, homes)),
            now,
        ) {
            let Some(exchange) = self.admit(number, now) else {
                // Another worker's request has become the probe meanwhile, or took the last place.
                candidates.retain(|candidate| *candidate != number);
                continue;
            };
            return self.ask(number, exchange);
        }
        if let Some((number, exchange)) = self.begin_trial(now, latest) {
            return self.ask(number, exchange);
        }
        self.wait(now, latest)
    }

    /// Makes an attempt, if the model's budget allows another one.
    fn ask(&mut self, number: usize, exchange: Exchange) -> Next {
        self.waiting = None;
        if self.attempts > 0 && !self.may_repeat() {
            let failure = self.last.take();
            return Next::Fail(failure.map_or_else(
                || Failure::targets_down(RETRY_SOON),
                Failure::without_client_retry,
            ));
        }
        self.exchange = Some(exchange);
        self.current = number;
        self.again = None;
        self.attempts += 1;
        if self.is_bound {
            let model = self.model.clone();
            self.keep_provider(model.targets[number].provider.name());
            self.current = number;
        }
        if let Some(asked) = &mut self.asked[number] {
            *asked += 1;
        }
        Next::Ask
    }

    /// Takes a place at a target, and begins an exchange.
    fn admit(&mut self, number: usize, now: Instant) -> Option<Exchange> {
        let place = self.take_place(number)?;
        let health = &self.model.targets[number].health;
        let exchange = match self.model.is_simple {
            true => health.begin_anyway(now),
            false => health.begin(now)?,
        };
        Some(exchange.with_place(place))
    }

    /// Takes a place at a target, if its provider's are counted; `None` if all are taken.
    fn take_place(&mut self, number: usize) -> Option<Option<Place>> {
        let Some(places) = &self.model.targets[number].places else {
            return Some(None);
        };
        let waiting = self.waiting.as_mut();
        let found = waiting.and_then(|waiting| waiting.take_found(number));
        Some(Some(found.or_else(|| places.take())?))
    }

    /// Polls for a place at a target, while the plan waits.
    pub fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            Some(waiting) => waiting.poll_found(cx),
            None => Poll::Pending,
        }
    }

    /// Returns the failure to tell: a target's, if there was one, else this one.
    fn fail_with(&mut self, failure: Failure) -> Next {
        self.waiting = None;
        Next::Fail(self.last.take().unwrap_or(failure))
    }

    /// Returns the failure to tell, since nobody can be asked.
    fn fail(&mut self, earliest: Option<(Closed, Instant)>, now: Instant) -> Next {
        self.fail_with(match earliest {
            Some((Closed::Busy | Closed::Quota, until)) => Failure::targets_busy(until - now),
            Some((_, until)) => Failure::targets_down(until - now),
            None => Failure::targets_down(RETRY_SOON),
        })
    }

    /// Takes another attempt from the model's budget.
    fn may_repeat(&self) -> bool {
        let budget = self.model.budget();
        budget.is_some_and(|budget| budget.withdraw())
    }

    /// Judges a failure of the current target. The result is the failure, if the client must be
    /// told.
    pub fn judge(&mut self, failure: Failure) -> (Judged, Result<(), Failure>) {
        let judged = self.record(&failure);
        let Judged { verdict, sent } = judged;
        if verdict == Verdict::Final {
            return (judged, Err(failure));
        }
        if self.is_repeat {
            return (judged, Err(failure.without_client_retry()));
        }
        let may_repeat_uncertain = self.model.rules.retry_uncertain && !self.is_forwarded;
        let is_allowed = sent != Sent::Uncertain || may_repeat_uncertain;
        if !is_allowed || !self.may_go_on() || self.asked.iter().all(Option::is_none) {
            return (judged, Err(failure));
        }
        // What a target said is told rather than that another one can't be asked.
        if self.last.is_none() || verdict != Verdict::Unsupported {
            self.last = Some(failure);
        }
        (judged, Ok(()))
    }

    /// Records a failure of the current target: with its health, and whether it is asked again.
    fn record(&mut self, failure: &Failure) -> Judged {
        let (verdict, sent) = judge(failure);
        if let Some(mut exchange) = self.exchange.take() {
            let told = told_delay(failure, SystemTime::now());
            // Of many names behind `*` one that is unknown says nothing of the others.
            let is_name = self.model.is_fallback && failure.status() == 404;
            let is_for_another = self.is_forwarded && verdict == Verdict::Key;
            let of_target = match is_name || is_for_another {
                true => Verdict::Final,
                false => verdict,
            };
            exchange.failed(of_target, told, fastrand::f64(), Instant::now());
        }
        match verdict {
            Verdict::Unsupported | Verdict::Quota | Verdict::Key => {
                self.asked[self.current] = None;
            }
            // A silent one was given its time.
            Verdict::Hard if failure.is(&classes::FIRST_TOKEN_TIMEOUT) => {
                self.asked[self.current] = None;
            }
            Verdict::Final | Verdict::Busy | Verdict::Hard => {}
        }
        Judged { verdict, sent }
    }

    /// Takes note that the current target has begun to answer.
    pub fn answered(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.answered(Instant::now());
        }
    }

    /// Takes note that the answer is whole.
    pub fn completed(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.completed(Instant::now());
        }
    }

    /// Gives back what all attempts hold: they have ended, and say nothing of their targets.
    pub fn release(&mut self) {
        (self.exchange, self.rival) = (None, None);
        self.waiting = None;
    }

    /// Takes note that an answer of which the client has seen something broke.
    pub fn broke(&mut self, failure: &Failure) {
        if let Some(mut exchange) = self.exchange.take() {
            let (verdict, _) = judge(failure);
            exchange.failed(verdict, None, fastrand::f64(), Instant::now());
        }
    }

    /// Returns the targets that may be asked now: of those that were asked least often, the ones of
    /// the first tier that has any. No attempt but the first is one that can't begin to answer in
    /// time.
    fn candidates(&self, now: Instant, latest: Instant) -> Vec<usize> {
        let open: Vec<(u32, u8, usize)> = self
            .asked
            .iter()
            .zip(&self.model.targets)
            .enumerate()
            .filter_map(|(number, (asked, target))| {
                let asked = (*asked)?;
                let may_be_asked = self.is_open(target, now)
                    && self.has_room(number)
                    && self.is_in_time(target, now, latest);
                may_be_asked.then_some((asked, target.tier, number))
            })
            .collect();
        let mut numbers = open.iter().map(|(_, _, number)| *number);
        if let Some(again) = self.again.filter(|again| numbers.any(|it| it == *again)) {
            return vec![again];
        }
        let of_sealer = self.of_sealer(&open);
        if !of_sealer.is_empty() {
            return of_sealer;
        }
        let best = open.iter().map(|(asked, tier, _)| (*asked, *tier)).min();
        let of_best = open
            .iter()
            .filter(|(asked, tier, _)| Some((*asked, *tier)) == best);
        of_best.map(|(_, _, number)| *number).collect()
    }

    /// Returns true if a target may be asked, as far as its health goes.
    fn is_open(&self, target: &Target, now: Instant) -> bool {
        let is_closed = || matches!(target.health.availability(now), Availability::Closed(..));
        self.model.is_simple || !is_closed()
    }

    /// Returns true if an answer may begin before the request's time ends. A first attempt that has
    /// not waited is always made.
    fn is_in_time(&self, target: &Target, now: Instant, latest: Instant) -> bool {
        let is_first = self.attempts == 0 && self.waiting.is_none();
        is_first || now + target.health.quickest() <= latest
    }

    /// Returns true if a target's provider has a place for the request.
    fn has_room(&self, number: usize) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.has_found(number))
            || self.model.targets[number]
                .places
                .as_ref()
                .is_none_or(Places::has_room)
    }
}

/// The judgement on a failure that another attempt may follow.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Its meaning for the target.
    pub verdict: Verdict,
    /// The fate of its request.
    pub sent: Sent,
}
