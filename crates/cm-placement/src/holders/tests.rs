use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Change;

fn id(number: usize) -> PeerId {
    format!("peer-{number}").parse().unwrap()
}

/// Digests as uniform as SHA-256's.
fn digest(number: u64) -> Sha256Digest {
    let mut bytes = [0; 32];
    for (at, piece) in bytes.chunks_exact_mut(8).enumerate() {
        piece.copy_from_slice(&finish(number.wrapping_mul(4).wrapping_add(at as u64 + 1)).to_le_bytes());
    }
    Sha256Digest::from_bytes(bytes)
}

/// Peers with capacities, in domains by number.
fn layout(peers: &[(u64, usize)]) -> Layout {
    let changes: Vec<_> = peers
        .iter()
        .enumerate()
        .map(|(number, (capacity_bytes, domain))| Change::Add {
            peer: id(number),
            capacity_bytes: *capacity_bytes,
            domain: Domain::parse(format!("rack-{domain}")).unwrap(),
        })
        .collect();
    Layout::empty().change(&changes).unwrap()
}

fn set(layout: &Layout, digest: &Sha256Digest, count: usize) -> BTreeSet<PeerId> {
    layout.holders(digest, count).into_iter().cloned().collect()
}

/// How many of so many digests each peer holds.
fn shares(layout: &Layout, digests: u64, count: usize) -> BTreeMap<PeerId, u64> {
    let mut shares = BTreeMap::new();
    for number in 0..digests {
        for holder in layout.holders(&digest(number), count) {
            *shares.entry(holder.clone()).or_default() += 1;
        }
    }
    shares
}

#[test]
fn the_logarithm_is_right() {
    for x in [0, 1, 2, 3, 1000, u64::MAX / 3, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let expected = 64.0 - (x as f64 + 0.5).log2();
        let found = negative_log2(x) as f64 / f64::from(2).powi(FRACTION_BITS as i32);
        assert!((found - expected).abs() < 1e-8, "{x}: {found} instead of {expected}");
    }
}

/// Placement may never change: data would be looked for where it is not.
#[test]
fn placement_is_what_it_has_always_been() {
    let layout = layout(&[(100, 0), (200, 0), (300, 1), (400, 2), (500, 2)]);
    let found: Vec<Vec<&str>> = (0..4)
        .map(|number| layout.holders(&digest(number), 3).into_iter().map(PeerId::as_str).collect())
        .collect();
    assert_eq!(
        found,
        [
            ["peer-4", "peer-2", "peer-1"],
            ["peer-4", "peer-2", "peer-1"],
            ["peer-4", "peer-1", "peer-2"],
            ["peer-2", "peer-3", "peer-0"],
        ]
    );
}

#[test]
fn peers_that_drain_or_are_gone_hold_nothing_new() {
    let layout = layout(&[(1, 0), (1, 1), (1, 2)]);
    let layout = layout.change(&[Change::Drain(id(0)), Change::DeclareGone(id(1))]).unwrap();
    assert_eq!(layout.holders(&digest(7), 3), [&id(2)]);
    assert!(Layout::empty().holders(&digest(7), 3).is_empty());
}

#[test]
fn several_holders_are_balanced_by_capacity_within_equal_domains() {
    // Three domains of equal capacity, divided differently.
    let layout = layout(&[(600, 0), (200, 1), (400, 1), (100, 2), (200, 2), (300, 2)]);
    let digests = 20_000;
    for (peer, held) in shares(&layout, digests, 3) {
        let capacity = layout.peer(&peer).unwrap().capacity_bytes as f64;
        let expected = digests as f64 * capacity / 600.0;
        let off = (held as f64 - expected).abs() / expected;
        assert!(off < 0.05, "{peer} holds {held} instead of {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_holder_is_chosen_by_capacity(capacities in prop::collection::vec(1_u64..=8, 2..12)) {
        let peers: Vec<_> = capacities.iter().map(|c| (c << 40, 0)).collect();
        let layout = layout(&peers);
        let shares = shares(&layout, 10_000, 1);
        let total: u64 = capacities.iter().sum();
        for (number, capacity) in capacities.iter().enumerate() {
            let share = *capacity as f64 / total as f64;
            let held = *shares.get(&id(number)).unwrap_or(&0) as f64;
            // Five standard deviations of the binomial distribution: about ±5 % of a tenth's share, ±15 % of a hundredth's.
            let allowed = 5.0 * (10_000.0 * share * (1.0 - share)).sqrt();
            prop_assert!((held - 10_000.0 * share).abs() <= allowed, "{number} holds {held}, share {share}");
        }
    }

    #[test]
    fn holders_are_spread_as_far_as_domains_allow(
        peers in prop::collection::vec((1_u64..1_000_000, 0_usize..6), 1..20),
        count in 1_usize..8,
        number: u64,
    ) {
        let layout = layout(&peers);
        let holders = layout.holders(&digest(number), count);
        prop_assert_eq!(holders.len(), count.min(peers.len()));
        let mut sizes: BTreeMap<&Domain, usize> = BTreeMap::new();
        for (_, peer) in layout.peers() {
            *sizes.entry(&peer.domain).or_default() += 1;
        }
        let mut held: BTreeMap<&Domain, usize> = BTreeMap::new();
        for holder in &holders {
            *held.entry(&layout.peer(holder).unwrap().domain).or_default() += 1;
        }
        // Who could hold one more holds at most one less than the fullest.
        let fullest = held.values().copied().max().unwrap_or(0);
        for (domain, size) in sizes {
            let mine = *held.get(domain).unwrap_or(&0);
            prop_assert!(mine == size || mine + 1 >= fullest, "{} holds {}, another {}", domain, mine, fullest);
        }
        prop_assert_eq!(holders.iter().collect::<BTreeSet<_>>().len(), holders.len());
    }

    #[test]
    fn a_new_peer_only_takes(
        peers in prop::collection::vec((1_u64..1_000_000, 0_usize..5), 1..16),
        new in (1_u64..1_000_000, 0_usize..6),
        count in 1_usize..7,
        numbers in prop::collection::vec(any::<u64>(), 32),
    ) {
        let before = layout(&peers);
        let peer = id(peers.len());
        let domain = Domain::parse(format!("rack-{}", new.1)).unwrap();
        let add = Change::Add { peer: peer.clone(), capacity_bytes: new.0, domain };
        let after = before.change(&[add]).unwrap();
        let without = after.change(&[Change::Drain(peer.clone())]).unwrap();
        for number in numbers {
            let digest = digest(number);
            let (old, new) = (set(&before, &digest, count), set(&after, &digest, count));
            prop_assert!(old.difference(&new).count() <= 1);
            prop_assert!(new.difference(&old).all(|joined| *joined == peer));
            prop_assert_eq!(&set(&without, &digest, count), &old, "draining undoes it");
        }
    }

    #[test]
    fn growing_moves_only_towards_who_grows(
        peers in prop::collection::vec((1_u64..1_000_000, 0_usize..5), 2..16),
        count in 1_usize..7,
        numbers in prop::collection::vec(any::<u64>(), 32),
    ) {
        let before = layout(&peers);
        let grown = Change::Resize { peer: id(0), capacity_bytes: peers[0].0 * 3 };
        let after = before.change(&[grown]).unwrap();
        for number in numbers {
            let digest = digest(number);
            let (old, new) = (set(&before, &digest, count), set(&after, &digest, count));
            prop_assert!(new.difference(&old).all(|joined| *joined == id(0)));
            prop_assert!(old.difference(&new).count() <= 1);
        }
    }

    #[test]
    fn a_new_peer_takes_no_more_than_its_share(capacity in 1_u64..=4) {
        let before = layout(&[(1, 0), (2, 1), (3, 2), (4, 3), (2, 4)]);
        let add = Change::Add { peer: id(5), capacity_bytes: capacity, domain: Domain::parse("rack-5").unwrap() };
        let after = before.change(&[add]).unwrap();
        let moved = (0..4000).filter(|n| set(&before, &digest(*n), 1) != set(&after, &digest(*n), 1)).count();
        let share = capacity as f64 / (12 + capacity) as f64;
        let allowed = 5.0 * (4000.0 * share * (1.0 - share)).sqrt();
        prop_assert!((moved as f64 - 4000.0 * share).abs() <= allowed, "{moved} of 4000 moved, share {share}");
    }
}
