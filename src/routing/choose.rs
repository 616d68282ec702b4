//! Choosing among equal targets. Not for: which targets may be chosen, which is the plan's.

use tokio::time::Instant;

use super::affinity::{AffinityKey, Homes};
use super::{Choose, Target};

/// Chooses among candidates, by their numbers. `affinity` is the key of a conversation, and the
/// targets that conversations had of late, unless it is not to be remembered.
pub(super) fn choose(
    targets: &[Target],
    candidates: &[usize],
    how: Choose,
    affinity: Option<(&AffinityKey, Option<&Homes>)>,
    now: Instant,
) -> Option<usize> {
    // Those of weight 0 are only for when there is no other.
    let weighty = |number: &&usize| targets[**number].weight > 0;
    let weighty: Vec<usize> = candidates.iter().filter(weighty).copied().collect();
    let candidates = if weighty.is_empty() {
        candidates
    } else {
        &weighty
    };
    if let Some((key, homes)) = affinity {
        return match homes {
            Some(homes) => homes.choose(key, targets, candidates, now),
            None => key.preferred(targets, candidates),
        };
    }
    if candidates.len() < 2 {
        return candidates.first().copied();
    }
    match how {
        Choose::First => candidates.first().copied(),
        Choose::Weighted => draw(targets, candidates),
        Choose::LeastLoaded => {
            let first = draw(targets, candidates)?;
            let rest: Vec<usize> = candidates
                .iter()
                .copied()
                .filter(|number| *number != first)
                .collect();
            let second = draw(targets, &rest)?;
            let cost = |number: usize| {
                targets[number].health.cost(now) / f64::from(targets[number].weight.max(1))
            };
            Some(if cost(second) < cost(first) {
                second
            } else {
                first
            })
        }
    }
}

/// Draws one in proportion to the weights; the first, if all are 0.
fn draw(targets: &[Target], candidates: &[usize]) -> Option<usize> {
    let weights = candidates.iter().map(|number| targets[*number].weight);
    let total: u64 = weights.map(u64::from).sum();
    if total == 0 {
        return candidates.first().copied();
    }
    let mut rest = fastrand::u64(..total);
    candidates.iter().copied().find(|number| {
        let weight = u64::from(targets[*number].weight);
        let is_it = rest < weight;
        rest = rest.saturating_sub(weight);
        is_it
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::mock::Mock;

    fn targets(weights: &[u32]) -> Vec<Target> {
        let mock = Arc::new(Mock::new(0, crate::compute::ComputePool::default()));
        let target = |(number, weight): (usize, &u32)| Target {
            weight: *weight,
            ..Target::new(mock.clone(), &format!("model-{number}"))
        };
        weights.iter().enumerate().map(target).collect()
    }

    #[test]
    fn weights_are_shares() {
        fastrand::seed(7);
        let (targets, now) = (targets(&[3, 1, 0]), Instant::now());
        let mut counts = [0_u32; 3];
        for _ in 0..4000 {
            let chosen = choose(&targets, &[0, 1, 2], Choose::Weighted, None, now);
            counts[chosen.unwrap_or(2)] += 1;
        }
        assert!(
            (2850..3150).contains(&counts[0]) && counts[2] == 0,
            "{counts:?}"
        );
    }

    #[test]
    fn who_has_no_weight_gets_nothing_while_there_is_another() {
        let (targets, now) = (targets(&[1, 0]), Instant::now());
        let _busy = targets[0].health.begin(now);
        for how in [Choose::First, Choose::Weighted, Choose::LeastLoaded] {
            assert_eq!(choose(&targets, &[0, 1], how, None, now), Some(0));
            assert_eq!(choose(&targets, &[1], how, None, now), Some(1));
        }
    }

    #[test]
    fn the_better_of_two_is_chosen() {
        let (targets, now) = (targets(&[1, 1]), Instant::now());
        let _busy: Vec<_> = (0..5).map(|_| targets[0].health.begin(now)).collect();
        for _ in 0..50 {
            let chosen = choose(&targets, &[0, 1], Choose::LeastLoaded, None, now);
            assert_eq!(chosen, Some(1));
        }
    }
}
