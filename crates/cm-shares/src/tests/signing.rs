//! Keys of the parties and signatures by them, with parties that deviate or fall silent.

use std::sync::{Arc, Mutex};

use cm_crypto::threshold::{GroupKey, KeyShare};

use super::*;

const COMMON: [u8; 32] = [7; 32];

fn own(party: Party) -> [u8; 32] {
    [party.0 + 1; 32]
}

fn message(owns: &[Option<[u8; 32]>]) -> [u8; 32] {
    let mut sum = COMMON;
    for (at, own) in owns.iter().enumerate() {
        sum[at] = own.map_or(0, |own| own[0]);
    }
    sum
}

async fn make(mut session: Session) -> Result<KeyShareOf, MpcError> {
    Ok(KeyShareOf(session.make_key().await?))
}

/// Equal if they are of the same key.
#[derive(Clone, Debug)]
struct KeyShareOf(KeyShare);

impl PartialEq for KeyShareOf {
    fn eq(&self, other: &Self) -> bool {
        self.0.group_key() == other.0.group_key()
    }
}

fn made(terms: Terms) -> Arc<Vec<KeyShare>> {
    let shares = rehearse(terms, 3, make).results;
    let shares: Vec<KeyShareOf> = shares.into_iter().map(|share| share.expect("a key is made")).collect();
    assert!(shares.iter().all(|share| *share == shares[0]));
    Arc::new(shares.into_iter().map(|share| share.0).collect())
}

/// The parties sign, with a hand in what links carry.
fn sign(
    terms: Terms,
    keys: &Arc<Vec<KeyShare>>,
    link: impl FnMut(Party, Party, &mut Vec<u8>) -> Fate,
) -> Rehearsal<Signed> {
    let keys = keys.clone();
    rehearse_with(
        terms,
        5,
        move |mut session| {
            let key = keys[session.me().index()].clone();
            async move {
                let me = session.me();
                session.sign(&key, COMMON, own(me), message).await
            }
        },
        link,
    )
}

fn demand_valid(key: &GroupKey, signed: &Signed) {
    assert_eq!(key.verify(&message(&signed.own), &signed.signature), Ok(()));
}

fn step_of(frame: &[u8]) -> u32 {
    u32::from_le_bytes(frame[8..12].try_into().unwrap())
}

/// The steps in which the parties send, and how many frames one of them sends.
fn steps_of(terms: Terms, keys: &Arc<Vec<KeyShare>>, of: Party) -> Vec<u32> {
    let mut steps = Vec::new();
    let rehearsal = sign(terms, keys, |from, _, frame| {
        if from == of {
            steps.push(step_of(frame));
        }
        Fate::Arrives
    });
    let key = keys[0].group_key();
    for signed in rehearsal.results {
        demand_valid(&key, &signed.unwrap());
    }
    steps.sort_unstable();
    steps.dedup();
    steps
}

#[test]
fn parties_make_a_key_and_sign_by_it_in_every_tier() {
    for terms in [
        terms(3, Tier::SemiHonest),
        terms(3, Tier::MaliciousAbort),
        terms(5, Tier::MaliciousAbort),
        terms(4, Tier::Robust),
    ] {
        let keys = made(terms);
        let signed = agreed(sign(terms, &keys, |_, _, _| Fate::Arrives));
        assert!(signed.own.iter().all(Option::is_some));
        demand_valid(&keys[0].group_key(), &signed);
    }
}

#[test]
fn who_changes_any_frame_of_a_signature_is_named_or_outlived() {
    for (terms, cheater) in [
        (terms(3, Tier::SemiHonest), Party(1)),
        (terms(3, Tier::MaliciousAbort), Party(0)),
        (terms(3, Tier::MaliciousAbort), Party(2)),
        (terms(4, Tier::Robust), Party(1)),
    ] {
        let keys = made(terms);
        let key = keys[0].group_key();
        // The same lie to everybody, in each step in its turn, in its first byte and in its last.
        for target in steps_of(terms, &keys, cheater) {
            for at_end in [false, true] {
                let rehearsal = sign(terms, &keys, |from, _, frame| {
                    if from == cheater && step_of(frame) == target {
                        let at = if at_end { frame.len() - 1 } else { FRAME_HEADER_BYTES };
                        frame[at] ^= 1;
                    }
                    Fate::Arrives
                });
                let ends = rehearsal.results.into_iter().zip(rehearsal.cheaters).enumerate();
                for (index, (result, caught)) in ends.filter(|(index, _)| *index != cheater.index()) {
                    let place = format!("{terms:?}, step {target}, party {index}");
                    assert!(caught.iter().all(|&caught| caught == cheater), "{place}: {caught:?}");
                    match result {
                        Ok(signed) => demand_valid(&key, &signed),
                        Err(error) => {
                            assert_ne!(terms.tier(), Tier::Robust, "{place}: {error}");
                            let is_named =
                                matches!(error, MpcError::Cheated { party, .. } if party == cheater);
                            // A false echo contradicts everybody, and does not say who is false.
                            let is_echo = error == MpcError::Cheating(Check::Echo);
                            assert!(is_named || is_echo, "{place}: {error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_wrong_share_of_a_signature_and_another_result_name_their_party() {
    for terms in [terms(3, Tier::SemiHonest), terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        let keys = made(terms);
        // A share of another key in the place of its own: it commits to nonces as it should, and signs wrongly.
        let other = rehearse(terms, 4, make).results.swap_remove(2).unwrap().0;
        for (check, key, common) in
            [(Check::Signature, other, COMMON), (Check::Result, keys[2].clone(), [8; 32])]
        {
            let keys = keys.clone();
            let public = keys[0].group_key();
            let rehearsal = rehearse(terms, 6, move |mut session| {
                let me = session.me();
                let (key, common) =
                    if me == Party(2) { (key.clone(), common) } else { (keys[me.index()].clone(), COMMON) };
                async move { session.sign(&key, common, own(me), message).await }
            });
            for (index, result) in rehearsal.results.into_iter().enumerate().filter(|(at, _)| *at != 2) {
                if terms.tier() == Tier::Robust {
                    let signed = result.unwrap();
                    demand_valid(&public, &signed);
                    assert_eq!(signed.own[2], None);
                    assert_eq!(rehearsal.cheaters[index], [Party(2)]);
                } else {
                    assert_eq!(result, Err(MpcError::Cheated { party: Party(2), check }), "party {index}");
                }
            }
        }
    }
}

#[test]
fn who_says_different_things_to_different_parties_gets_no_signature() {
    for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
        let terms = terms(3, tier);
        let keys = made(terms);
        let first = steps_of(terms, &keys, Party(1))[0];
        let rehearsal = sign(terms, &keys, |from, to, frame| {
            if from == Party(1) && to == Party(2) && step_of(frame) == first {
                *frame.last_mut().unwrap() ^= 1;
            }
            Fate::Arrives
        });
        for index in [0, 2] {
            assert_eq!(rehearsal.results[index], Err(MpcError::Cheating(Check::Echo)));
        }
    }
}

#[test]
fn signers_that_die_or_fall_silent_are_named_or_outlived() {
    for terms in [terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        let keys = made(terms);
        let key = keys[0].group_key();
        for target in steps_of(terms, &keys, Party(1)) {
            for fate in [Fate::Cut, Fate::Vanishes] {
                let rehearsal = sign(terms, &keys, |from, _, frame| {
                    let is_gone = from == Party(1) && step_of(frame) >= target;
                    if is_gone { fate.clone() } else { Fate::Arrives }
                });
                for (index, result) in rehearsal.results.into_iter().enumerate().filter(|(at, _)| *at != 1) {
                    match result {
                        Ok(signed) => demand_valid(&key, &signed),
                        Err(error) => {
                            assert_ne!(terms.tier(), Tier::Robust, "step {target}: {error}");
                            assert!(matches!(error, MpcError::Lost { .. }), "party {index}: {error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn who_deals_a_key_wrongly_is_named() {
    for terms in [terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = steps.clone();
        rehearse_with(terms, 3, make, move |from, _, frame| {
            if from == Party(1) {
                seen.lock().unwrap().push(step_of(frame));
            }
            Fate::Arrives
        });
        let steps = steps.lock().unwrap().clone();
        // After an announcement of two steps, in each of these tiers.
        let shares: std::collections::BTreeSet<u32> = steps.into_iter().collect();
        let dealing = *shares.iter().nth(2).unwrap();
        let rehearsal = rehearse_with(terms, 3, make, |from, to, frame| {
            if from == Party(1) && to == Party(2) && step_of(frame) == dealing {
                *frame.last_mut().unwrap() ^= 1;
            }
            Fate::Arrives
        });
        let expected = MpcError::Cheated { party: Party(1), check: Check::Key };
        assert_eq!(rehearsal.results[2].clone().map(|_| ()), Err(expected));
        for result in rehearsal.results {
            assert!(result.is_err(), "nobody keeps a key of which another has no share");
        }
    }
}

#[test]
fn a_key_of_other_parties_signs_nothing() {
    let three = made(terms(3, Tier::MaliciousAbort));
    let four = terms(4, Tier::MaliciousAbort);
    let keys: Vec<KeyShare> = three.iter().chain(three.iter().take(1)).cloned().collect();
    for result in sign(four, &Arc::new(keys), |_, _, _| Fate::Arrives).results {
        assert!(matches!(result, Err(MpcError::Parameter(_))), "{result:?}");
    }
}
