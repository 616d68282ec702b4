//! Conversations over several targets: where each begins, and whether it stays there.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::provider::mock::Mock;

const CONVERSATIONS: usize = 20;
const TURNS: usize = 8;

fn targets(weights: &[u32]) -> Vec<Target> {
    let mock = Arc::new(Mock::new(0, crate::compute::ComputePool::default()));
    let target = |(number, weight): (usize, &u32)| Target {
        weight: *weight,
        ..Target::new(mock.clone(), &format!("model-{number}"))
    };
    weights.iter().enumerate().map(target).collect()
}

fn key(seed: u32, conversation: usize) -> AffinityKey {
    AffinityKey::new(format!("seed {seed}, conversation {conversation}").as_bytes())
}

/// The turns of conversations: those that each target got, and the later ones that reached the
/// target of their conversation's first turn. `at_a_time` of them run at a time.
fn converse(weights: &[u32], seed: u32, at_a_time: usize) -> (Vec<u32>, usize) {
    let (targets, homes, now) = (targets(weights), Homes::new(), Instant::now());
    let candidates: Vec<usize> = (0..weights.len()).collect();
    let (mut firsts, mut counts, mut stayed) = (Vec::new(), vec![0; weights.len()], 0);
    let mut running = Vec::new();
    for turn in 0..TURNS {
        for conversation in 0..CONVERSATIONS {
            let key = key(seed, conversation);
            let chosen = homes.choose(&key, &targets, &candidates, now).unwrap();
            counts[chosen] += 1;
            match turn {
                0 => firsts.push(chosen),
                _ => stayed += usize::from(firsts[conversation] == chosen),
            }
            running.push(targets[chosen].health.begin(now));
            if running.len() == at_a_time {
                running.clear();
            }
        }
    }
    (counts, stayed)
}

#[test]
fn conversations_stay_where_they_began_and_no_target_has_much_more_than_its_share() {
    for weights in [&[1, 1, 1][..], &[2, 1, 1], &[3, 1], &[5, 3, 2]] {
        let all: u32 = weights.iter().sum();
        for (seed, at_a_time) in (0..20).flat_map(|seed| [(seed, 1), (seed, 7), (seed, 20)]) {
            let (counts, stayed) = converse(weights, seed, at_a_time);
            let told = format!("{weights:?}, seed {seed}, {at_a_time} at a time: {counts:?}");
            let later = CONVERSATIONS * (TURNS - 1);
            assert!(stayed * 100 >= later * 95, "{stayed} of {later}; {told}");
            let turns = f64::from(u32::try_from(CONVERSATIONS * TURNS).unwrap());
            for (count, weight) in counts.iter().zip(weights) {
                let share = turns * f64::from(*weight) / f64::from(all);
                assert!(f64::from(*count) <= share * 1.25, "{told}");
            }
        }
    }
}

#[test]
fn a_conversation_begins_at_the_same_target_on_every_replica() {
    let (targets, now) = (targets(&[1, 1, 1]), Instant::now());
    let first = |conversation| {
        let homes = Homes::new();
        homes.choose(&key(0, conversation), &targets, &[0, 1, 2], now)
    };
    let firsts: Vec<_> = (0..100).map(first).collect();
    assert_eq!(firsts, (0..100).map(first).collect::<Vec<_>>());
    for target in 0..3 {
        let count = firsts.iter().filter(|first| **first == Some(target));
        assert!((20..50).contains(&count.count()), "{firsts:?}");
    }
}

#[test]
fn a_conversation_moves_once_when_its_target_can_not_be_asked() {
    let (targets, homes, now) = (targets(&[1, 1, 1]), Homes::new(), Instant::now());
    let choose = |candidates: &[usize]| {
        let chosen = homes.choose(&key(0, 0), &targets, candidates, now);
        chosen.unwrap()
    };
    let first = choose(&[0, 1, 2]);
    let others: Vec<usize> = (0..3).filter(|number| *number != first).collect();
    let second = choose(&others);
    assert_ne!(first, second);
    for _ in 0..3 {
        assert_eq!(choose(&[0, 1, 2]), second, "its cache is there now");
    }
    assert_eq!(homes.0.lock().unwrap().counts.iter().sum::<u32>(), 1);
}

#[test]
fn a_busy_target_is_left_for_a_while_and_a_conversation_comes_back_to_it() {
    let (targets, homes, now) = (targets(&[1, 1]), Homes::new(), Instant::now());
    let choose = || homes.choose(&key(0, 0), &targets, &[0, 1], now).unwrap();
    let home = choose();
    let mut running = Vec::new();
    for _ in 0..40 {
        running.push((choose(), targets[home].health.begin(now)));
    }
    let at_home = running.iter().filter(|(chosen, _)| *chosen == home).count();
    assert!((4..20).contains(&at_home), "{at_home} of 40");
    drop(running);
    assert_eq!(choose(), home);
}

#[test]
fn what_is_remembered_is_bounded_and_ends() {
    let (targets, homes, now) = (targets(&[1, 1]), Homes::new(), Instant::now());
    let size = || {
        let homes = homes.0.lock().unwrap();
        let all = homes.homes.len();
        assert_eq!(homes.counts.iter().sum::<u32>() as usize, all);
        all
    };
    for conversation in 0..5 * MAX_HOMES / 2 {
        homes.choose(&key(0, conversation), &targets, &[0, 1], now);
    }
    assert_eq!(size(), 3 * MAX_HOMES / 2);
    for age in 1..3 {
        let later = now + HOMES_AGE * age;
        homes.choose(&key(1, 0), &targets, &[0, 1], later);
    }
    assert_eq!(size(), 1);
}
