//! Breakers, rests and probes against a simple model of them, which knows all that ever happened.

use proptest::prelude::*;

use super::super::window::MIN_SAMPLES;
use super::*;

/// A step: of time, or of an exchange, which is named by its place among those that run.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Begin,
    Answer(usize),
    Complete(usize),
    Fail(usize, Verdict, Option<u64>),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict = prop_oneof![
        6 => Just(Verdict::Hard),
        1 => Just(Verdict::Busy),
        1 => Just(Verdict::Final),
        1 => Just(Verdict::Unsupported),
        1 => Just(Verdict::Quota),
        1 => Just(Verdict::Key),
    ];
    let told = proptest::option::of(0_u64..100);
    let fail = (0_usize..4, verdict, told);
    let step = prop_oneof![
        2 => prop_oneof![0_u64..50, 500_u64..4000, 10_000_u64..70_000].prop_map(Step::Pass),
        6 => Just(Step::Begin),
        2 => (0_usize..4).prop_map(Step::Answer),
        2 => (0_usize..4).prop_map(Step::Complete),
        6 => fail.prop_map(|(at, verdict, told)| Step::Fail(at, verdict, told)),
        1 => (0_usize..4).prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 1..200)
}

/// An exchange, as the model sees it.
#[derive(Debug, Default, Clone, Copy)]
struct Exchanged {
    is_probe: bool,
    began: Option<Instant>,
}

/// The history of a target, and what follows from it.
#[derive(Debug, Default)]
struct Model {
    /// Each hard failure (false) and whole answer since the breaker closed last.
    ends: Vec<(Instant, bool)>,
    failures_in_row: u32,
    /// The end and the length of the time for which it is open.
    open: Option<(Instant, Duration)>,
    probes: u32,
    rests: Vec<(Closed, Instant)>,
    busy_in_row: u32,
    busy_at: Option<Instant>,
    /// Each busy answer (false) and whole one.
    busy_ends: Vec<(Instant, bool)>,
    begun: Vec<Instant>,
}

impl Model {
    fn availability(&self, now: Instant) -> Availability {
        let options = BreakerOptions::default();
        let mut rests = self.rests.iter().filter(|(_, until)| *until > now);
        if let Some(first) = rests.next() {
            let longest = rests.fold(first, |longest, rest| match rest.1 > longest.1 {
                true => rest,
                false => longest,
            });
            return Availability::Closed(longest.0, longest.1);
        }
        match self.open {
            None => Availability::Open,
            Some((until, _)) if until > now => Availability::Closed(Closed::Broken, until),
            Some(_) if self.probes > 0 => {
                Availability::Closed(Closed::Broken, now + options.min_open)
            }
            Some(_) => Availability::Probe,
        }
    }

    /// Returns if the breaker opens, if that is certain: which of those that run were sent just now
    /// is not, if they were sent between three and six seconds ago.
    fn opens(&self, others: usize, now: Instant) -> Option<bool> {
        let opens = |seconds: u64| {
            let is_new = |at: &&Instant| now.saturating_duration_since(**at).as_secs() < seconds;
            let running = others.min(self.begun.iter().filter(is_new).count());
            let row = self.failures_in_row as usize;
            if row >= BreakerOptions::default().failures as usize && row > running {
                return Some(true);
            }
            let (good, bad) = recent(&self.ends, now)?;
            Some(good + bad >= MIN_SAMPLES as usize && good + running < bad)
        };
        opens(3).filter(|is_open| opens(6) == Some(*is_open))
    }

    /// Returns if few of the last attempts were busy, if that is certain.
    fn is_mostly_good(&self, others: usize, now: Instant) -> Option<bool> {
        let (good, bad) = recent(&self.busy_ends, now)?;
        let all = good + bad + others;
        Some(all >= MIN_SAMPLES as usize && bad * 4 < all)
    }

    fn begin(&mut self, now: Instant) -> Option<Exchanged> {
        let is_probe = match self.open {
            None => false,
            Some((until, _)) if until <= now && self.probes == 0 => true,
            Some(_) => return None,
        };
        self.probes += u32::from(is_probe);
        self.begun.push(now);
        Some(Exchanged {
            is_probe,
            began: Some(now),
        })
    }

    fn answer(&mut self, exchange: &mut Exchanged) {
        (self.busy_in_row, self.busy_at) = (0, None);
        if std::mem::take(&mut exchange.is_probe) {
            self.probes -= 1;
            self.open = None;
            self.failures_in_row = 0;
            self.ends.clear();
        }
    }

    /// Takes a failure, while `others` run. `is_open` says if the real one has opened, where that
    /// is a matter of taste.
    fn fail(
        &mut self,
        exchange: Exchanged,
        (verdict, told): (Verdict, Option<Duration>),
        others: usize,
        now: Instant,
        is_open: bool,
    ) {
        let options = BreakerOptions::default();
        self.probes -= u32::from(exchange.is_probe);
        match verdict {
            Verdict::Final | Verdict::Unsupported => {}
            Verdict::Key => self.rests.push((Closed::Key, now + SECOND * 60)),
            Verdict::Quota => {
                let rest = told.map_or(SECOND * 3600, |told| told.max(SECOND * 60));
                self.rests.push((Closed::Quota, now + rest));
            }
            Verdict::Busy => {
                if exchange.began >= self.busy_at {
                    self.busy_in_row += 1;
                    self.busy_at = Some(now);
                }
                let untold = SECOND * 2_u32.pow(self.busy_in_row.min(9) - 1);
                let rest = match told {
                    Some(told) => told.min(SECOND * 60),
                    None => untold.min(SECOND * 30) / 2,
                };
                self.rests.push((Closed::Busy, now + rest));
            }
            Verdict::Hard => {
                self.ends.push((now, false));
                self.failures_in_row += 1;
                let opens = self.opens(others, now).unwrap_or(is_open);
                let duration = match self.open {
                    Some((_, duration)) if exchange.is_probe => {
                        Some((duration * 2).min(options.max_open))
                    }
                    None if opens => Some(options.min_open),
                    _ => None,
                };
                if let Some(duration) = duration {
                    self.open = Some((now + duration, duration));
                }
            }
        }
    }
}

/// Counts good and bad ends within the last half minute; `None` if that depends on which belong to
/// it, of which the first three seconds fade together.
fn recent(ends: &[(Instant, bool)], now: Instant) -> Option<(usize, usize)> {
    let within = |seconds: u64| {
        let since = move |at: Instant| now.saturating_duration_since(at).as_secs();
        ends.iter().filter(move |(at, _)| since(*at) < seconds)
    };
    let is_same = within(27).count() == within(30).count();
    let good = within(30).filter(|(_, is_good)| *is_good).count();
    is_same.then(|| (good, within(30).count() - good))
}

/// Does all steps with both, and compares them after each.
fn compare(steps: &[Step]) {
    let (health, mut now) = health();
    let mut model = Model::default();
    let mut running: Vec<(Exchange, Exchanged)> = Vec::new();
    for step in steps {
        match step {
            Step::Pass(millis) => now += Duration::from_millis(*millis),
            Step::Begin => {
                let both = (health.begin(now), model.begin(now));
                match both {
                    (Some(exchange), Some(known)) => running.push((exchange, known)),
                    (None, None) => {}
                    (real, known) => panic!("{real:?}, but {known:?}"),
                }
            }
            Step::Answer(at) => {
                if let Some((exchange, known)) = running.get_mut(*at) {
                    exchange.answered(now);
                    model.answer(known);
                }
            }
            Step::Complete(at) if *at < running.len() => {
                let (mut exchange, mut known) = running.swap_remove(*at);
                exchange.answered(now);
                exchange.completed(now);
                model.answer(&mut known);
                model.ends.push((now, true));
                model.busy_ends.push((now, true));
                model.failures_in_row = 0;
            }
            Step::Fail(at, verdict, told) if *at < running.len() => {
                let (mut exchange, known) = running.swap_remove(*at);
                let told = told.map(Duration::from_secs);
                exchange.failed(*verdict, told, 0.0, now);
                let is_open = health.lock().open.is_some();
                drop(exchange);
                let mut verdict = *verdict;
                if verdict == Verdict::Busy {
                    model.busy_ends.push((now, false));
                    match model.is_mostly_good(running.len(), now) {
                        None => return,
                        Some(is_spared) if is_spared && told.is_none() => verdict = Verdict::Final,
                        Some(_) => {}
                    }
                }
                model.fail(known, (verdict, told), running.len(), now, is_open);
            }
            Step::Leave(at) if *at < running.len() => {
                let (_, known) = running.swap_remove(*at);
                model.probes -= u32::from(known.is_probe);
            }
            Step::Complete(_) | Step::Fail(..) | Step::Leave(_) => {}
        }
        assert_eq!(
            health.availability(now),
            model.availability(now),
            "{step:?}"
        );
        assert_eq!(health.in_flight() as usize, running.len());
        // At most one request at a time probes it.
        assert!(model.probes <= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_target_is_as_available_as_all_that_happened_says(steps in steps()) {
        compare(&steps);
    }
}
