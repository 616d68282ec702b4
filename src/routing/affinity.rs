//! Affinity: requests that have something in common reach the same target, whose prompt cache then
//! knows what they share.
//!
//! A key that is new goes by weighted rendezvous hashing to a target that does not have much more
//! than its share of the keys and of what runs, and stays there. Not for: which targets may be
//! asked, which is the plan's.

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dialect::request::{Part, Request, Role};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::recent::{KeyHash, Recent};
use super::{Affinity, Target};

/// The length of a conversation's beginning that counts.
const MAX_KEY_BYTES: usize = 16 * 1024;
/// The load of a target, as a multiple of its share, beyond which what is new goes elsewhere.
const MAX_LOAD_FACTOR: f64 = 1.25;
/// The same for a turn of a conversation that is at home there, and the number of requests that is
/// nothing to speak of.
const MAX_HOME_LOAD_FACTOR: f64 = 1.5;
const FEW_REQUESTS: f64 = 4.0;
/// The most keys that are remembered in each of two generations, and the life of a generation.
const MAX_HOMES: usize = 8192;
const HOMES_AGE: Duration = Duration::from_secs(30 * 60);

/// The hash of a conversation's beginning or of a header's value.
#[derive(Debug, Clone, Copy)]
pub(super) struct AffinityKey(KeyHash);

impl AffinityKey {
    /// Returns the key of a request, if it has one.
    pub(super) fn of(affinity: &Affinity, request: &Request, headers: &HeaderMap) -> Option<Self> {
        Some(match affinity {
            Affinity::None => return None,
            Affinity::Header(name) => Self::new(headers.get(name)?.as_bytes()),
            Affinity::Conversation => Self::new(beginning(request).as_bytes()),
        })
    }

    fn new(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Returns the candidate that it prefers.
    pub(super) fn preferred(&self, targets: &[Target], candidates: &[usize]) -> Option<usize> {
        let order = Shares::of(targets, candidates).order(self);
        order.first().copied()
    }

    /// Returns how much it prefers a target: the same on each replica and after each start.
    fn score(&self, target: &Target) -> f64 {
        let mut digest = Sha256::new_with_prefix(self.0);
        for part in [target.provider.name(), &target.upstream_model] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        let digest = digest.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // 53 bits, as many as a float holds, and never 0.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = ((u64::from_be_bytes(first) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -weight(target) / unit.ln()
    }
}

/// Returns the texts up to and with the first message of the user.
fn beginning(request: &Request) -> String {
    let mut key = String::new();
    for message in &request.messages {
        for part in &message.parts {
            if let Part::Text(text) = part {
                let room = MAX_KEY_BYTES.saturating_sub(key.len());
                key.extend(text.chars().take(room));
                key.push('\0');
            }
        }
        if message.role == Role::User {
            break;
        }
    }
    key
}

fn weight(target: &Target) -> f64 {
    f64::from(target.weight.max(1))
}

/// The targets that had the keys of late, by their numbers. Workers share it.
#[derive(Debug)]
pub(super) struct Homes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    homes: Recent<usize>,
    /// The number of keys at each target.
    counts: Vec<u32>,
}

impl Homes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Known {
            homes: Recent::new(MAX_HOMES, HOMES_AGE),
            counts: Vec::new(),
        }))
    }

    /// Returns the target of a key, of some candidates, and remembers it. A key whose target is
    /// none of them moves; one whose target is busy only makes a visit elsewhere.
    pub(super) fn choose(
        &self,
        key: &AffinityKey,
        targets: &[Target],
        candidates: &[usize],
        now: Instant,
    ) -> Option<usize> {
        let shares = Shares::of(targets, candidates);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.counts.resize(targets.len(), 0);
        let home = known
            .take(key, now)
            .filter(|home| candidates.contains(home));
        let (chosen, home) = match home {
            Some(home) if shares.is_too_busy(home) => {
                let order = shares.order(key);
                let visited = order.into_iter().find(|number| shares.has_room(*number));
                (visited.unwrap_or(home), home)
            }
            Some(home) => (home, home),
            None => {
                let home = shares.new_home(key, &known.counts)?;
                (home, home)
            }
        };
        known.put(key, home);
        Some(chosen)
    }
}

impl Known {
    /// Takes the target of a key out.
    fn take(&mut self, key: &AffinityKey, now: Instant) -> Option<usize> {
        for home in self.homes.forget(now) {
            self.counts[home] -= 1;
        }
        let home = self.homes.take(&key.0)?;
        self.counts[home] -= 1;
        Some(home)
    }

    fn put(&mut self, key: &AffinityKey, home: usize) {
        self.counts[home] += 1;
        self.homes.put(key.0, home);
    }
}

/// The shares of some targets in all that they do together.
struct Shares<'a> {
    targets: &'a [Target],
    candidates: &'a [usize],
    weights: f64,
    in_flight: f64,
}

impl<'a> Shares<'a> {
    fn of(targets: &'a [Target], candidates: &'a [usize]) -> Self {
        let of_all = |value: &dyn Fn(&Target) -> f64| {
            let values = candidates.iter().map(|number| value(&targets[*number]));
            values.sum()
        };
        Self {
            targets,
            candidates,
            weights: of_all(&weight),
            in_flight: of_all(&in_flight),
        }
    }

    /// Returns a target's share of so much.
    fn share(&self, number: usize, of: f64) -> f64 {
        of * weight(&self.targets[number]) / self.weights
    }

    /// Returns true if one more request there is within its share of those that run.
    fn has_room(&self, number: usize) -> bool {
        let share = self.share(number, self.in_flight + 1.0);
        in_flight(&self.targets[number]) + 1.0 <= (share * MAX_LOAD_FACTOR).ceil()
    }

    /// Returns true if even a conversation that is at home there is better off elsewhere.
    fn is_too_busy(&self, number: usize) -> bool {
        let share = self.share(number, self.in_flight + 1.0);
        in_flight(&self.targets[number]) >= share * MAX_HOME_LOAD_FACTOR + FEW_REQUESTS
    }

    /// Returns the candidates, the one first that the key prefers.
    fn order(&self, key: &AffinityKey) -> Vec<usize> {
        let score = |number: &usize| (key.score(&self.targets[*number]), *number);
        let mut order: Vec<(f64, usize)> = self.candidates.iter().map(score).collect();
        order.sort_by(|one, other| other.0.partial_cmp(&one.0).unwrap_or(Ordering::Equal));
        order.into_iter().map(|(_, number)| number).collect()
    }

    /// Returns the target of a key that is new; `counts` are the keys that each target has.
    fn new_home(&self, key: &AffinityKey, counts: &[u32]) -> Option<usize> {
        let all: u32 = self.candidates.iter().map(|number| counts[*number]).sum();
        let may_have = |number: &usize| {
            let share = self.share(*number, f64::from(all) + 1.0);
            // Rounded down there may be too little room for all, hence the other one.
            let most = (share * MAX_LOAD_FACTOR).floor().max(share.ceil());
            f64::from(counts[*number]) + 1.0 <= most
        };
        let order = self.order(key);
        let of_share = order.iter().find(|number| may_have(number));
        let with_room = order
            .iter()
            .find(|number| may_have(number) && self.has_room(**number));
        with_room.or(of_share).or(order.first()).copied()
    }
}

fn in_flight(target: &Target) -> f64 {
    f64::from(target.health.in_flight())
}

#[cfg(test)]
mod tests;
