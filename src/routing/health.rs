//! The health of a target, shared by all workers: a breaker, a cool-down, and what it takes to
//! answer. Pure: time is handed in, and nothing is sent.
//!
//! A breaker opens after so many hard failures in a row, or when less than half of the last half
//! minute's attempts went well; those that were sent just now count as if they did. It lets one
//! probe through when its time is over; each probe that fails doubles the time. A client that
//! leaves says nothing of a target.

#[cfg(test)]
mod tests;
mod window;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::BreakerOptions;
use super::admission::Place;
use super::verdict::Verdict;
use window::Window;

/// The cool-down after the first busy answer that tells no time, and the longest of those.
const MIN_COOL_DOWN: Duration = Duration::from_secs(1);
const MAX_COOL_DOWN: Duration = Duration::from_secs(30);
/// The part of such a cool-down after which one request may try whether it is over, if every target
/// rests; and the time after which others look what became of it.
const TRIAL_PART: u32 = 10;
pub(super) const TRIAL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest that one busy answer is believed.
const MAX_TOLD: Duration = Duration::from_secs(60);
/// The rest of a target whose account has nothing left.
const QUOTA_REST: Duration = Duration::from_secs(3600);
/// The rest of a target that rejects our key or has no such model.
const KEY_REST: Duration = Duration::from_secs(60);
/// The time after which what was measured weighs a third.
const DECAY: Duration = Duration::from_secs(10);
/// The latency that a target is assumed to have before any was measured.
const ASSUMED_LATENCY: f64 = 1.0;
/// The latency that a failure counts as: a target that fails at once is not quick.
const FAILURE_LATENCY: f64 = 5.0;
/// Time after an outage within which a target gets less than its share.
const SLOW_START: Duration = Duration::from_secs(10);

/// The reason for which a target gets no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its breaker is open, or another request probes it.
    Broken,
    /// It said that it has too much to do.
    Busy,
    /// Its account has nothing left.
    Quota,
    /// It rejected our key, or has no such model.
    Key,
}

/// The answer to the question if a target may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It may.
    Open,
    /// One request may try whether it works again.
    Probe,
    /// Not before that time.
    Closed(Closed, Instant),
}

/// The health of one target.
#[derive(Debug)]
pub struct Health {
    options: BreakerOptions,
    in_flight: AtomicU32,
    /// Set once it has refused to go on with an answer that a request begins.
    refuses_prefill: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failures_in_row: u32,
    window: Window,
    /// The attempts that began.
    begun: Window,
    /// Set while the breaker is open.
    open: Option<Open>,
    /// Set when the breaker closed.
    closed_at: Option<Instant>,
    cool_down: Option<(Closed, Instant)>,
    /// Set while it rests only since it was busy and told no time.
    trial: Option<Trial>,
    /// Busy answers in a row, of those that were sent at a time only one.
    busy_in_row: u32,
    /// The time of the last one that counts.
    busy_at: Option<Instant>,
    /// The whole answers of the last half minute, and the busy ones.
    busy_window: Window,
    latency: Latency,
    /// The time that its quickest answers of late took to begin.
    quickest: Option<Duration>,
}

/// An open breaker.
#[derive(Debug, Clone, Copy)]
struct Open {
    until: Instant,
    /// The length of this time; the next is twice that.
    duration: Duration,
    is_probing: bool,
}

/// A request that tries whether a target that told no time is still busy.
#[derive(Debug, Clone, Copy)]
struct Trial {
    from: Instant,
    is_running: bool,
}

/// A time to the first token as a peak-sensitive moving average, in seconds.
#[derive(Debug)]
struct Latency {
    average: f64,
    at: Option<Instant>,
}

impl Latency {
    fn add(&mut self, seconds: f64, now: Instant) {
        let weight = match self.at {
            // A slower one counts at once, a quicker one bit by bit.
            Some(at) if seconds < self.average => {
                let passed = now.saturating_duration_since(at).as_secs_f64();
                (-passed / DECAY.as_secs_f64()).exp().min(0.9)
            }
            _ => 0.0,
        };
        self.average = self.average * weight + seconds * (1.0 - weight);
        self.at = Some(now);
    }

    /// Returns the average; one that was measured long ago fades to the assumed one.
    fn current(&self, now: Instant) -> f64 {
        let Some(at) = self.at else {
            return ASSUMED_LATENCY;
        };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        let weight = (-passed / (6.0 * DECAY.as_secs_f64())).exp();
        self.average * weight + ASSUMED_LATENCY.min(self.average) * (1.0 - weight)
    }
}

impl Health {
    /// Returns the health of a target that was not asked yet.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            in_flight: AtomicU32::new(0),
            refuses_prefill: AtomicBool::new(false),
            state: Mutex::new(State {
                failures_in_row: 0,
                window: Window::new(Instant::now()),
                begun: Window::new(Instant::now()),
                open: None,
                closed_at: None,
                cool_down: None,
                trial: None,
                busy_in_row: 0,
                busy_at: None,
                busy_window: Window::new(Instant::now()),
                latency: Latency {
                    average: ASSUMED_LATENCY,
                    at: None,
                },
                quickest: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a request may be sent now.
    #[must_use]
    pub fn availability(&self, now: Instant) -> Availability {
        let mut state = self.lock();
        if state.cool_down.is_some_and(|(_, until)| until <= now) {
            (state.cool_down, state.trial) = (None, None);
        }
        if let Some((reason, until)) = state.cool_down {
            return Availability::Closed(reason, until);
        }
        match state.open {
            None => Availability::Open,
            Some(open) if open.until > now => Availability::Closed(Closed::Broken, open.until),
            // Who waits looks again when the probe should have an answer.
            Some(open) if open.is_probing => {
                Availability::Closed(Closed::Broken, now + self.options.min_open)
            }
            Some(_) => Availability::Probe,
        }
    }

    /// Returns the time from which one request may try a target that rests only since it was busy
    /// and told no time.
    #[must_use]
    pub fn trial(&self, now: Instant) -> Option<Instant> {
        let state = self.lock();
        let trial = state.trial.filter(|_| state.open.is_none())?;
        Some(match trial.is_running {
            true => now + TRIAL_INTERVAL,
            false => trial.from,
        })
    }

    /// Begins that request; `None` if another one has begun.
    #[must_use]
    pub(super) fn begin_trial(self: &Arc<Self>, now: Instant) -> Option<Exchange> {
        let mut state = self.lock();
        let trial = state.trial.as_mut()?;
        if std::mem::replace(&mut trial.is_running, true) {
            return None;
        }
        let mut exchange = self.exchange(&mut state, now, false);
        exchange.is_trial = true;
        Some(exchange)
    }

    /// Returns whether it has refused to go on with an answer that a request begins.
    #[must_use]
    pub fn refuses_prefill(&self) -> bool {
        self.refuses_prefill.load(Ordering::Relaxed)
    }

    /// Takes note that it refuses to go on with an answer that a request begins.
    pub fn set_refuses_prefill(&self) {
        self.refuses_prefill.store(true, Ordering::Relaxed);
    }

    /// Returns the attempts that run.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns the cost of one more request: the time to a first token, for all that would share
    /// the target.
    #[must_use]
    pub fn cost(&self, now: Instant) -> f64 {
        let state = self.lock();
        let cost = state.latency.current(now) * f64::from(self.in_flight() + 1);
        let share = state.closed_at.map_or(1.0, |at| {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            (passed / SLOW_START.as_secs_f64()).clamp(0.1, 1.0)
        });
        cost / share
    }

    /// Returns the time within which no answer is to be expected.
    #[must_use]
    pub fn quickest(&self) -> Duration {
        self.lock().quickest.unwrap_or_default()
    }

    /// Begins an exchange with a target that is asked whatever its health.
    #[must_use]
    pub(super) fn begin_anyway(self: &Arc<Self>, now: Instant) -> Exchange {
        self.exchange(&mut self.lock(), now, false)
    }

    fn exchange(self: &Arc<Self>, state: &mut State, now: Instant, is_probe: bool) -> Exchange {
        state.begun.add(true, now);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Exchange {
            health: self.clone(),
            began: now,
            is_probe,
            is_trial: false,
            is_judged: false,
            place: None,
        }
    }

    /// Begins an exchange. Where the breaker is open it is the probe; `None` if there is one
    /// already, or it is too early for one.
    #[must_use]
    pub fn begin(self: &Arc<Self>, now: Instant) -> Option<Exchange> {
        let mut state = self.lock();
        let is_probe = match &mut state.open {
            None => false,
            Some(open) if open.until <= now && !open.is_probing => {
                open.is_probing = true;
                true
            }
            Some(_) => return None,
        };
        Some(self.exchange(&mut state, now, is_probe))
    }
}

/// One exchange with a target. Dropped without a verdict it says nothing of the target: its client
/// has left.
#[derive(Debug)]
pub struct Exchange {
    health: Arc<Health>,
    began: Instant,
    is_probe: bool,
    /// Set while it tries whether a target still is busy.
    is_trial: bool,
    is_judged: bool,
    /// Its place at the provider, which is given back with it.
    place: Option<Place>,
}

impl Exchange {
    /// Returns the exchange with its place at the provider.
    pub(super) fn with_place(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// Returns the time at which it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Records that the target has begun to answer. A probe has succeeded by that.
    pub fn answered(&mut self, now: Instant) {
        let mut state = self.health.lock();
        let seconds = now.saturating_duration_since(self.began).as_secs_f64();
        state.latency.add(seconds, now);
        let took = now.saturating_duration_since(self.began);
        // A slower one counts little: whoever takes it for the rule sends nothing any more.
        state.quickest = Some(match state.quickest {
            Some(quickest) if took > quickest => quickest + (took - quickest) / 16,
            _ => took,
        });
        (state.busy_in_row, state.busy_at) = (0, None);
        if std::mem::take(&mut self.is_trial) && state.trial.is_some() {
            (state.cool_down, state.trial) = (None, None);
        }
        if std::mem::take(&mut self.is_probe) {
            state.open = None;
            state.closed_at = Some(now);
            state.failures_in_row = 0;
            state.window = Window::new(now);
        }
    }

    /// Records that the answer is whole.
    pub fn completed(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_judged, true) {
            return;
        }
        let mut state = self.health.lock();
        state.window.add(true, now);
        state.busy_window.add(true, now);
        state.failures_in_row = 0;
    }

    /// Records that the target failed; `told` is the time after which it wants to be asked again,
    /// and `jitter` is from 0 to 1.
    pub fn failed(&mut self, verdict: Verdict, told: Option<Duration>, jitter: f64, now: Instant) {
        if std::mem::replace(&mut self.is_judged, true) {
            return;
        }
        let options = self.health.options;
        let mut state = self.health.lock();
        if self.is_probe && verdict != Verdict::Hard {
            release_probe(&mut state);
        }
        if std::mem::take(&mut self.is_trial) {
            end_trial(&mut state);
        }
        match verdict {
            Verdict::Final | Verdict::Unsupported => {}
            Verdict::Busy => {
                state.busy_window.add(false, now);
                let others = self.health.in_flight().saturating_sub(1);
                if told.is_none() && state.busy_window.is_mostly_good(others) {
                    // One in many is no reason to keep all others from it.
                    return;
                }
                // Those that were sent before it said so say nothing more.
                if state.busy_at.is_none_or(|at| self.began >= at) {
                    state.busy_in_row = state.busy_in_row.saturating_add(1);
                    state.busy_at = Some(now);
                }
                let rest = match told {
                    Some(told) => told.min(MAX_TOLD),
                    None => backoff(state.busy_in_row).mul_f64(0.5 + jitter),
                };
                let is_longer = rest_until(&mut state, Closed::Busy, now + rest);
                if is_longer && told.is_none() {
                    state.trial = Some(Trial {
                        from: now + rest / TRIAL_PART,
                        is_running: false,
                    });
                }
            }
            Verdict::Quota => {
                let rest = told.unwrap_or(QUOTA_REST).clamp(MAX_TOLD, QUOTA_REST);
                rest_until(&mut state, Closed::Quota, now + rest);
            }
            Verdict::Key => {
                rest_until(&mut state, Closed::Key, now + KEY_REST);
            }
            Verdict::Hard => {
                state.latency.add(FAILURE_LATENCY, now);
                state.window.add(false, now);
                state.failures_in_row = state.failures_in_row.saturating_add(1);
                // Of many that are sent at once the failures come first: those that were sent just
                // now may still go well.
                let others = self.health.in_flight().saturating_sub(1);
                let running = others.min(state.begun.latest(now));
                let is_row = state.failures_in_row >= options.failures.max(running + 1);
                let duration = match state.open {
                    Some(open) if self.is_probe => (open.duration * 2).min(options.max_open),
                    // Those that were sent before it opened.
                    Some(_) => return,
                    None if is_row || state.window.is_failing(running) => options.min_open,
                    None => return,
                };
                state.open = Some(Open {
                    until: now + duration.mul_f64(1.0 + 0.5 * jitter),
                    duration,
                    is_probing: false,
                });
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_probe && !self.is_judged {
            release_probe(&mut self.health.lock());
        }
        if self.is_trial {
            end_trial(&mut self.health.lock());
        }
    }
}

fn release_probe(state: &mut State) {
    if let Some(open) = &mut state.open {
        open.is_probing = false;
    }
}

fn end_trial(state: &mut State) {
    if let Some(trial) = &mut state.trial {
        trial.is_running = false;
    }
}

/// Lengthens a rest; none is ever shortened. Returns true if it is longer than before.
fn rest_until(state: &mut State, reason: Closed, until: Instant) -> bool {
    let is_longer = state.cool_down.is_none_or(|(_, known)| known < until);
    if is_longer {
        (state.cool_down, state.trial) = (Some((reason, until)), None);
    }
    is_longer
}

fn backoff(times: u32) -> Duration {
    let factor = 1_u32 << times.saturating_sub(1).min(8);
    (MIN_COOL_DOWN * factor).min(MAX_COOL_DOWN)
}
