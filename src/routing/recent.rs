//! A bounded memory of what was used of late, in two generations: the elder one is forgotten when
//! the younger one is full or old.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The hash of a key.
pub(super) type KeyHash = [u8; 32];

/// Values by the hashes of their keys.
#[derive(Debug)]
pub(super) struct Recent<V> {
    young: HashMap<KeyHash, V>,
    elder: HashMap<KeyHash, V>,
    began: Instant,
    /// The most values of a generation, and its life.
    most: usize,
    age: Duration,
}

impl<V> Recent<V> {
    /// Returns a memory of nothing, for twice that many values and twice that time at most.
    pub(super) fn new(most: usize, age: Duration) -> Self {
        Self {
            young: HashMap::new(),
            elder: HashMap::new(),
            began: Instant::now(),
            most,
            age,
        }
    }

    /// Forgets what is too old or too much, and returns that.
    pub(super) fn forget(&mut self, now: Instant) -> impl Iterator<Item = V> + use<V> {
        let is_old = now.saturating_duration_since(self.began) >= self.age;
        let forgotten = match is_old || self.young.len() >= self.most {
            true => {
                self.began = now;
                let young = std::mem::take(&mut self.young);
                std::mem::replace(&mut self.elder, young)
            }
            false => HashMap::new(),
        };
        forgotten.into_values()
    }

    /// Takes the value of a key out.
    pub(super) fn take(&mut self, key: &KeyHash) -> Option<V> {
        self.young.remove(key).or_else(|| self.elder.remove(key))
    }

    /// Remembers a value, which was taken out before.
    pub(super) fn put(&mut self, key: KeyHash, value: V) {
        self.young.insert(key, value);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.elder.len()
    }
}
