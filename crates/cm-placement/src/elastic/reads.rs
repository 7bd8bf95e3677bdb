//! Whom to read from.

use cm_types::PeerId;

/// Of two holders picked at random the one with fewer bytes under way; of one, that one; of none, none. Two choices are nearly as
/// good as asking everybody, and do not send everybody to the same peer when what is known of it is old (Mitzenmacher, "The
/// Power of Two Choices in Randomized Load Balancing", 2001). `random` must be uniform.
pub fn two_choices(
    holders: &[PeerId],
    random: u64,
    in_flight_bytes: impl Fn(&PeerId) -> u64,
) -> Option<&PeerId> {
    let count = holders.len() as u64;
    if count < 2 {
        return holders.first();
    }
    let (high, low) = (random >> 32, random & u64::from(u32::MAX));
    let first = high % count;
    // One of the others, each equally likely.
    let second = (first + 1 + low % (count - 1)) % count;
    let (first, second) = (&holders[first as usize], &holders[second as usize]);
    Some(if in_flight_bytes(second) < in_flight_bytes(first) { second } else { first })
}

/// The holder that has served the object least often so far; the first of several. The way of the earlier system.
pub fn least_connections(holders: &[PeerId], hits: impl Fn(&PeerId) -> u64) -> Option<&PeerId> {
    holders.iter().min_by_key(|holder| hits(holder))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn peers(count: usize) -> Vec<PeerId> {
        (0..count).map(|n| format!("p{n}").parse().unwrap()).collect()
    }

    #[test]
    fn without_a_choice_there_is_none() {
        assert_eq!(two_choices(&[], 7, |_| 0), None);
        let one = peers(1);
        assert_eq!(two_choices(&one, 7, |_| 9), Some(&one[0]));
        let three = peers(3);
        assert_eq!(least_connections(&three, |peer| u64::from(peer != &three[1])), Some(&three[1]));
    }

    #[test]
    fn equal_holders_are_chosen_equally_often() {
        let holders = peers(5);
        let mut chosen: BTreeMap<&PeerId, u32> = BTreeMap::new();
        let mut random = 1_u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mixed = random ^ (random >> 29);
            *chosen.entry(two_choices(&holders, mixed, |_| 0).unwrap()).or_default() += 1;
        }
        assert!(chosen.len() == 5 && chosen.values().all(|count| (1800..2200).contains(count)), "{chosen:?}");
    }

    proptest! {
        #[test]
        fn the_most_loaded_is_never_chosen_where_there_are_others(count in 2_usize..9, worst: prop::sample::Index, random: u64) {
            let holders = peers(count);
            let worst = &holders[worst.index(count)];
            let chosen = two_choices(&holders, random, |peer| u64::from(peer == worst));
            prop_assert!(chosen.is_some_and(|chosen| chosen != worst));
        }
    }
}
