//! Producers and their sequence numbers: a repeated append is harmless, an outdated producer is
//! refused.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rejection::StreamRejection;

/// The most producers that a stream remembers. Beyond it the longest silent one is forgotten.
const MOST: usize = 256;

/// The producer's id, its epoch, and the append's sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerClaim {
    /// The producer.
    pub id: Arc<str>,
    /// Raised at each restart.
    pub epoch: u64,
    /// Counts its appends from 0 on, anew in each epoch.
    pub seq: u64,
}

/// The producers that have appended to a stream. A fork begins without any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Producers {
    /// The highest `Stream-Seq`, one for the whole stream.
    pub seq: Option<String>,
    /// The last accepted claim of each, the longest silent first. Shared, as heads are copied for
    /// every read.
    pub producers: Arc<Vec<ProducerClaim>>,
    /// The claim that came with the close.
    pub closed_by: Option<ProducerClaim>,
}

/// The verdict on an append by its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// It is the next one.
    Accepted,
    /// It was accepted before; `last` is the highest that was.
    Duplicate {
        /// Of this epoch.
        last: u64,
    },
}

impl Producers {
    /// Decides whether an append with that claim is new.
    ///
    /// ```
    /// use stream::{ClaimVerdict, ProducerClaim, Producers, StreamRejection};
    ///
    /// let mut producers = Producers::default();
    /// let first = ProducerClaim { id: "sensor".into(), epoch: 0, seq: 0 };
    /// assert_eq!(producers.judge(&first)?, ClaimVerdict::Accepted);
    /// producers.accept(&first);
    /// assert_eq!(producers.judge(&first)?, ClaimVerdict::Duplicate { last: 0 });
    /// let early = ProducerClaim { seq: 2, ..first };
    /// let gap = StreamRejection::Gap { expected: 1, received: 2 };
    /// assert_eq!(producers.judge(&early), Err(gap));
    /// # Ok::<(), StreamRejection>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StreamRejection::StaleEpoch`], [`StreamRejection::EpochNotFromStart`],
    /// [`StreamRejection::Gap`].
    pub fn judge(&self, claim: &ProducerClaim) -> Result<ClaimVerdict, StreamRejection> {
        let Some(known) = self.producers.iter().find(|known| known.id == claim.id) else {
            return match claim.seq {
                0 => Ok(ClaimVerdict::Accepted),
                received => Err(StreamRejection::Gap {
                    expected: 0,
                    received,
                }),
            };
        };
        if claim.epoch < known.epoch {
            return Err(StreamRejection::StaleEpoch {
                current: known.epoch,
            });
        }
        if claim.epoch > known.epoch {
            return if claim.seq == 0 {
                Ok(ClaimVerdict::Accepted)
            } else {
                Err(StreamRejection::EpochNotFromStart)
            };
        }
        if claim.seq <= known.seq {
            return Ok(ClaimVerdict::Duplicate { last: known.seq });
        }
        let expected = known.seq + 1;
        if claim.seq > expected {
            Err(StreamRejection::Gap {
                expected,
                received: claim.seq,
            })
        } else {
            Ok(ClaimVerdict::Accepted)
        }
    }

    /// Remembers an accepted claim.
    pub fn accept(&mut self, claim: &ProducerClaim) {
        let producers = Arc::make_mut(&mut self.producers);
        producers.retain(|known| known.id != claim.id);
        if producers.len() >= MOST {
            producers.remove(0);
        }
        producers.push(claim.clone());
    }

    /// Returns the memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let claims: usize = self
            .producers
            .iter()
            .map(|claim| claim.id.len() + size_of::<ProducerClaim>() + 16)
            .sum();
        claims + self.seq.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(id: &str, epoch: u64, seq: u64) -> ProducerClaim {
        ProducerClaim {
            id: id.into(),
            epoch,
            seq,
        }
    }

    fn after(claims: &[ProducerClaim]) -> Producers {
        let mut writers = Producers::default();
        for claim in claims {
            assert_eq!(
                writers.judge(claim),
                Ok(ClaimVerdict::Accepted),
                "{claim:?}"
            );
            writers.accept(claim);
        }
        writers
    }

    #[test]
    fn appends_count_up_from_nought_and_repeats_are_known() {
        let writers = after(&[claim("a", 0, 0), claim("a", 0, 1), claim("b", 7, 0)]);
        assert_eq!(writers.judge(&claim("a", 0, 2)), Ok(ClaimVerdict::Accepted));
        assert_eq!(
            writers.judge(&claim("a", 0, 0)),
            Ok(ClaimVerdict::Duplicate { last: 1 })
        );
        assert_eq!(
            writers.judge(&claim("a", 0, 3)),
            Err(StreamRejection::Gap {
                expected: 2,
                received: 3
            })
        );
        assert_eq!(
            writers.judge(&claim("c", 0, 1)),
            Err(StreamRejection::Gap {
                expected: 0,
                received: 1
            })
        );
    }

    #[test]
    fn a_restart_takes_over_and_its_predecessor_is_refused() {
        let writers = after(&[claim("a", 0, 0), claim("a", 3, 0)]);
        assert_eq!(
            writers.judge(&claim("a", 0, 1)),
            Err(StreamRejection::StaleEpoch { current: 3 })
        );
        assert_eq!(
            writers.judge(&claim("a", 4, 1)),
            Err(StreamRejection::EpochNotFromStart)
        );
    }

    #[test]
    fn the_longest_silent_producer_is_forgotten_first() {
        let mut claims: Vec<ProducerClaim> =
            (0..MOST).map(|n| claim(&n.to_string(), 0, 0)).collect();
        claims.push(claim("0", 0, 1));
        claims.push(claim("new", 0, 0));
        let writers = after(&claims);
        assert_eq!(writers.producers.len(), MOST);
        assert_eq!(writers.judge(&claim("0", 0, 2)), Ok(ClaimVerdict::Accepted));
        assert_eq!(
            writers.judge(&claim("1", 0, 1)),
            Err(StreamRejection::Gap {
                expected: 0,
                received: 1
            })
        );
    }
}
