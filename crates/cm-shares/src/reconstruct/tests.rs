//! Shares taken apart, spoilt and put together.

use proptest::prelude::*;

use super::*;
use crate::F61;

fn shares_of(values: &[F61], committee: Committee) -> Vec<(Party, Vec<F61>)> {
    split(values, committee)
        .into_iter()
        .enumerate()
        .map(|(index, shares)| (Party::at(index), shares))
        .collect()
}

fn values(len: usize) -> Vec<F61> {
    (0..len as u64).map(|place| F61::from_u64(place * place * 7_919 + 3)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// As many wrong shares as can be corrected are, wherever they are, and their owners are named.
    #[test]
    fn wrong_shares_are_corrected_and_named(n in 1usize..12, t in 0usize..6, len in 1usize..6, picks in any::<[u16; 6]>()) {
        prop_assume!(t < n);
        let committee = Committee::with_threshold(n, t).unwrap();
        let values = values(len);
        let mut shares = shares_of(&values, committee);
        let mut wrong = Vec::new();
        for pick in picks.iter().take((n - t - 1) / 2) {
            let index = usize::from(*pick) % n;
            shares[index].1[usize::from(*pick >> 8) % len] += F61::from_u64(u64::from(*pick) + 1);
            wrong.push(Party::at(index));
        }
        let rebuilt = reconstruct(committee, &shares).unwrap();
        prop_assert_eq!(rebuilt.values, values);
        // Two changes to one share may cancel out.
        prop_assert!(rebuilt.wrong.iter().all(|party| wrong.contains(party)));
    }

    /// Any t+1 parties are enough, in any order.
    #[test]
    fn enough_shares_are_enough(n in 1usize..12, t in 0usize..6, rotation in 0usize..12) {
        prop_assume!(t < n);
        let committee = Committee::with_threshold(n, t).unwrap();
        let mut shares = shares_of(&values(3), committee);
        shares.rotate_left(rotation % n);
        shares.truncate(t + 1);
        prop_assert_eq!(reconstruct(committee, &shares).unwrap().values, values(3));
        shares.pop();
        prop_assert_eq!(reconstruct(committee, &shares), Err(MpcError::TooFewShares { have: t, need: t + 1 }));
    }
}

#[test]
fn contradictions_beyond_repair_are_seen() {
    let committee = Committee::of(3).unwrap();
    let mut shares = shares_of(&values(4), committee);
    shares[1].1[2] += F61::ONE;
    assert_eq!(reconstruct(committee, &shares), Err(MpcError::WrongShares));
    shares[1].1.pop();
    assert_eq!(reconstruct(committee, &shares), Err(MpcError::Lengths { expected: 4, got: 3 }));
    let twice = vec![shares[0].clone(), shares[0].clone()];
    assert!(matches!(reconstruct(committee, &twice), Err(MpcError::Parameter(_))));
}

/// Shares of one value, many times over: a degree too low, or randomness used twice, would show here.
#[test]
fn shares_say_nothing() {
    let committee = Committee::of(5).unwrap();
    for value in [F61::ZERO, F61::from_u64(1), -F61::ONE] {
        let shares = split(&vec![value; 4000], committee);
        for party in &shares {
            let mut sorted = party.clone();
            sorted.sort_unstable_by_key(|share| share.to_u64());
            sorted.dedup();
            assert_eq!(sorted.len(), 4000, "no share repeats");
            let upper = party.iter().filter(|share| share.to_u64() > 1 << 60).count();
            assert!((1700..2300).contains(&upper), "{upper} of 4000 in the upper half");
        }
        // The two shares of two parties, too, are spread evenly: over the four quarters of the square.
        let mut quarters = [0; 4];
        for (a, b) in shares[0].iter().zip(&shares[1]) {
            quarters[usize::from(a.to_u64() > 1 << 60) * 2 + usize::from(b.to_u64() > 1 << 60)] += 1;
        }
        assert!(quarters.iter().all(|count| (800..1200).contains(count)), "{quarters:?}");
    }
}
