use std::collections::BTreeMap;

use cm_types::Sha256Digest;

use super::*;
use crate::parse;
use crate::plan::{Plan, PlannedParty};

/// A plan of so many parties whose result goes to `ada`.
fn agreed(tier: &str, parties: usize, key: &RecipientSecretKey) -> Agreed {
    let party = |at: usize| PlannedParty {
        name: format!("n{}", at + 1),
        link_key: Sha256Digest::from_bytes([u8::try_from(at).unwrap(); 32]),
        sealing_key: RecipientSecretKey::generate().public_key().to_string(),
    };
    let owner = if tier == "robust" { "party n1" } else { "ada" };
    let program = format!("tier {tier}\ninput x[2] from {owner}\nreveal x + 1 as r to ada");
    let plan = Plan {
        computation: "c".to_owned(),
        program: parse(&program).unwrap(),
        parties: (0..parties).map(party).collect(),
        receivers: BTreeMap::from([("ada".to_owned(), key.public_key().to_string())]),
        signature: None,
    };
    Agreed::write(&plan).unwrap()
}

/// The parties' sealed shares of 5 and 8; those of `altered` are one too large in the second place.
fn sealed(agreed: &Agreed, altered: &[usize]) -> Vec<(usize, Vec<u8>)> {
    let values = [F61::from_u64(5), F61::from_u64(8)];
    let mut shares = split(&values, agreed.terms("run").unwrap().committee());
    for party in altered {
        shares[*party][1] += F61::ONE;
    }
    let seal = |(party, share): (usize, &Vec<F61>)| {
        (party, seal_output(agreed, "run", "r", party, "ada", share).unwrap())
    };
    shares.iter().enumerate().map(seal).collect()
}

fn opened(
    agreed: &Agreed,
    key: &RecipientSecretKey,
    sealed: &[(usize, Vec<u8>)],
) -> Result<(Vec<String>, Vec<String>), ClientError> {
    let opened = open_output(agreed, "run", "r", "ada", key, sealed)?;
    Ok((opened.values.iter().map(ToString::to_string).collect(), opened.wrong))
}

#[test]
fn outside_the_robust_tier_every_share_must_be_there_and_right() {
    let key = RecipientSecretKey::generate();
    for (tier, parties) in
        [("malicious-abort", 3), ("malicious-abort", 5), ("semi-honest", 3), ("semi-honest", 5)]
    {
        let agreed = agreed(tier, parties, &key);
        let whole = sealed(&agreed, &[]);
        assert_eq!(opened(&agreed, &key, &whole).unwrap().0, ["5", "8"], "{tier} {parties}");
        for party in 0..parties {
            let altered = sealed(&agreed, &[party]);
            let refused = opened(&agreed, &key, &altered).unwrap_err();
            assert!(matches!(refused, ClientError::SharesAltered), "{tier} {parties}: {refused}");
            let mut missing = whole.clone();
            missing.remove(party);
            let ClientError::SharesMissing(named) = opened(&agreed, &key, &missing).unwrap_err() else {
                panic!("{tier} {parties}")
            };
            assert_eq!(named, [format!("n{}", party + 1)]);
            let mut broken = whole.clone();
            broken[party].1[40] ^= 1;
            let ClientError::SharesMissing(named) = opened(&agreed, &key, &broken).unwrap_err() else {
                panic!("{tier} {parties}")
            };
            assert_eq!(named, [format!("n{}", party + 1)]);
        }
    }
}

#[test]
fn the_robust_tier_goes_on_without_as_many_parties_as_its_threshold_and_no_more() {
    let key = RecipientSecretKey::generate();
    let agreed = agreed("robust", 7, &key);
    let right = |wrong: &[&str]| {
        let wrong = wrong.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        (vec!["5".to_owned(), "8".to_owned()], wrong)
    };
    assert_eq!(opened(&agreed, &key, &sealed(&agreed, &[2, 6])).unwrap(), right(&["n3", "n7"]));
    let mut both = sealed(&agreed, &[2]);
    both[4].1[40] ^= 1;
    assert_eq!(opened(&agreed, &key, &both).unwrap(), right(&["n3", "n5"]));
    both.remove(0);
    assert!(opened(&agreed, &key, &both).is_err(), "one wrong, one unopened, one missing");
    assert!(opened(&agreed, &key, &sealed(&agreed, &[0, 1, 2])).is_err());
    let mut two = sealed(&agreed, &[]);
    two.truncate(5);
    assert_eq!(opened(&agreed, &key, &two).unwrap(), right(&[]));
    two.truncate(4);
    assert!(matches!(opened(&agreed, &key, &two), Err(ClientError::SharesMissing(_))));
}
