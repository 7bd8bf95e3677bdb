use proptest::prelude::*;

use super::*;

/// All members, honest, make a key.
fn group(members: u16, threshold: u16) -> Vec<KeyShare> {
    let begun: Vec<_> = (0..members).map(|me| Dealing::begin(me, members, threshold).unwrap()).collect();
    let announced: Vec<Vec<u8>> = begun.iter().map(|(_, announced)| announced.clone()).collect();
    let others = |me: u16| -> BTreeMap<u16, Vec<u8>> {
        (0..members)
            .filter(|other| *other != me)
            .map(|other| (other, announced[usize::from(other)].clone()))
            .collect()
    };
    let dealt: Vec<_> =
        begun.into_iter().zip(0..).map(|((dealing, _), me)| dealing.deal(&others(me)).unwrap()).collect();
    let (states, shares): (Vec<_>, Vec<_>) = dealt.into_iter().unzip();
    let to = |me: u16| -> BTreeMap<u16, Vec<u8>> {
        let of = |(from, shares): (u16, &BTreeMap<u16, Secret<Vec<u8>>>)| {
            shares.get(&me).map(|share| (from, share.expose().clone()))
        };
        (0..).zip(&shares).filter_map(of).collect()
    };
    states.into_iter().zip(0..).map(|(dealt, me)| dealt.finish(&to(me)).unwrap()).collect()
}

fn signed(group: &[KeyShare], signers: &[usize], message: &[u8]) -> Vec<u8> {
    let (mut nonces, mut commitments) = (BTreeMap::new(), BTreeMap::new());
    for &signer in signers {
        let (nonce, announced) = group[signer].commit().unwrap();
        assert_eq!(announced.len(), COMMITMENTS_LEN);
        nonces.insert(signer, nonce);
        commitments.insert(signer as u16, announced);
    }
    let shares: BTreeMap<u16, Vec<u8>> = nonces
        .into_iter()
        .map(|(signer, nonce)| (signer as u16, group[signer].sign(nonce, &commitments, message).unwrap()))
        .collect();
    assert!(shares.values().all(|share| share.len() == SIGNATURE_SHARE_LEN));
    // A wrong share is named, whoever looks.
    for &liar in signers {
        let mut wrong = shares.clone();
        wrong.get_mut(&(liar as u16)).unwrap()[31] ^= 1;
        for &judge in signers {
            let refused = group[judge].join(&commitments, message, &wrong);
            assert_eq!(refused, Err(ThresholdError::Culprits(vec![liar as u16])));
        }
    }
    group[signers[0]].join(&commitments, message, &shares).unwrap()
}

#[test]
fn one_more_than_the_threshold_signs_and_anybody_verifies() {
    for (members, threshold) in [(3, 1), (4, 1), (5, 2)] {
        let group = group(members, threshold);
        let key = group[0].group_key();
        assert!(group.iter().all(|share| share.group_key() == key && share.threshold() == threshold));
        assert!((0..members).zip(&group).all(|(me, share)| share.member() == me));
        let most: Vec<usize> = (0..usize::from(members)).collect();
        for signers in [&most[..], &most[..usize::from(threshold) + 1], &most[1..usize::from(threshold) + 2]]
        {
            let signature = signed(&group, signers, b"result");
            assert_eq!(signature.len(), SIGNATURE_LEN);
            assert_eq!(key.verify(b"result", &signature), Ok(()));
            assert_eq!(key.verify(b"other", &signature), Err(ThresholdError::Signature));
            for at in 0..signature.len() {
                let mut altered = signature.clone();
                altered[at] ^= 2;
                assert_eq!(key.verify(b"result", &altered), Err(ThresholdError::Signature), "byte {at}");
            }
        }
        let again: GroupKey = key.to_string().parse().unwrap();
        assert_eq!(again, key);
    }
}

#[test]
fn too_few_sign_nothing() {
    let group = group(5, 2);
    let (nonces, announced) = group[0].commit().unwrap();
    let (_, second) = group[1].commit().unwrap();
    let commitments = BTreeMap::from([(0, announced), (1, second)]);
    assert_eq!(group[0].sign(nonces, &commitments, b"result"), Err(ThresholdError::Malformed));
}

#[test]
fn who_deals_wrongly_is_named() {
    let begun: Vec<_> = (0..3).map(|me| Dealing::begin(me, 3, 1).unwrap()).collect();
    let announced: Vec<Vec<u8>> = begun.iter().map(|(_, announced)| announced.clone()).collect();
    let mut begun = begun.into_iter().map(|(dealing, _)| dealing);
    // The proof of the third is that of another key.
    let mut forged = announced[2].clone();
    *forged.last_mut().unwrap() ^= 1;
    let heard = BTreeMap::from([(1, announced[1].clone()), (2, forged)]);
    let refused = begun.next().unwrap().deal(&heard).unwrap_err();
    assert_eq!(refused, ThresholdError::Culprits(vec![2]));
    // A share that does not fit.
    let heard = BTreeMap::from([(0, announced[0].clone()), (2, announced[2].clone())]);
    let (second, _) = begun.next().unwrap().deal(&heard).unwrap();
    let heard = BTreeMap::from([(0, announced[0].clone()), (1, announced[1].clone())]);
    let (_, of_third) = begun.next().unwrap().deal(&heard).unwrap();
    // What the third dealt to the first, in the place of what it dealt to the second.
    let dealt = BTreeMap::from([(0, of_third[&0].expose().clone()), (2, of_third[&1].expose().clone())]);
    assert_eq!(second.finish(&dealt).unwrap_err(), ThresholdError::Culprits(vec![0]));
}

#[test]
fn shares_are_kept_as_bytes() {
    let group = group(3, 1);
    let bytes = group[1].to_bytes().unwrap();
    let again = KeyShare::from_bytes(bytes.expose()).unwrap();
    assert_eq!((again.member(), again.group_key()), (1, group[1].group_key()));
    let kept: Vec<KeyShare> =
        group.iter().map(|share| KeyShare::from_bytes(share.to_bytes().unwrap().expose()).unwrap()).collect();
    let signature = signed(&kept, &[0, 1], b"result");
    assert_eq!(kept[2].group_key().verify(b"result", &signature), Ok(()));
    let mixed = [&bytes.expose()[..bytes.expose().len() / 2], &[0; 40]].concat();
    assert!(KeyShare::from_bytes(&mixed).is_err());
    assert!(
        Dealing::begin(0, 3, 0).is_err()
            && Dealing::begin(3, 3, 1).is_err()
            && Dealing::begin(0, 3, 3).is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn foreign_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        let (dealing, _) = Dealing::begin(0, 2, 1).unwrap();
        prop_assert!(dealing.deal(&BTreeMap::from([(1, bytes.clone())])).is_err());
        prop_assert!(KeyShare::from_bytes(&bytes).is_err());
        prop_assert!(hex::encode(&bytes).parse::<GroupKey>().is_err() || bytes.len() == GROUP_KEY_LEN);
    }
}
