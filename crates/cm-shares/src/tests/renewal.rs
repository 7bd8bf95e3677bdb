//! Prepared randomness in a later run, verifiable inputs, and committees that change.

use super::*;
use crate::vss::{self, Scheme};

fn per_party<T: Clone>(rehearsal: Rehearsal<T>) -> Vec<T> {
    rehearsal.results.into_iter().map(|result| result.expect("the run ends well")).collect()
}

#[test]
fn what_one_run_prepares_another_uses() {
    for tier in [Tier::SemiHonest, Tier::MaliciousAbort, Tier::Robust] {
        let n = if tier == Tier::Robust { 4 } else { 3 };
        let offline = terms(n, tier);
        let prepared = per_party(rehearse(offline, 3, |mut session| async move {
            session.prepare_bits::<F61>(200).await?;
            session.prepare_triples::<F61>(5).await?;
            Ok((session.take_bits::<F61>(), session.take_triples::<F61>()))
        }));
        let online = Terms::new(offline.committee(), tier, JobTag([200; 32])).unwrap();
        let opened = agreed(rehearse(online, 3, move |mut session| {
            let (bits, triples) = prepared[session.me().index()].clone();
            async move {
                let mut bits = Stock::new(StockKind::Bits, bits)?;
                let mut triples = Stock::new(StockKind::Triples, triples)?;
                let lease = bits.lease(122)?;
                session.provide_bits(&bits.draw(lease));
                let lease = triples.lease(2)?;
                session.provide_triples(&triples.draw(lease))?;
                let x = owned(&mut session, &[F61::from_u64(7), F61::from_i64(-3)]).await?;
                let square = session.multiply_prepared(&x, &x).await?;
                let zero = session.eq_zero(&x).await?;
                assert_eq!(session.bits_prepared::<F61>(), 0, "the provided ones are used");
                session.open(&Shared::concat([&zero, &square])).await
            }
        }));
        assert_eq!(opened, [0, 0, 49, 9].map(F61::from_u64), "{tier}");
    }
}

#[test]
fn dealt_shares_are_accepted_if_all_are_content() {
    let terms = terms(3, Tier::MaliciousAbort);
    let values = [Scalar::from_u64(4), Scalar::from_u64(5)];
    for spoil in [false, true] {
        let (commitments, mut shares) = vss::deal(Scheme::Pedersen, &values, terms.committee()).unwrap();
        if spoil {
            shares[1].blindings[0] += Scalar::ONE;
        }
        let rehearsal = rehearse(terms, 3, move |mut session| {
            let (commitments, mine) = (commitments.clone(), shares[session.me().index()].clone());
            async move {
                let x = session.accept_verifiable(&commitments, &mine).await?;
                let product = session.product(&x).await?;
                session.open(&product).await
            }
        });
        for result in rehearsal.results {
            let expected =
                if spoil { Err(MpcError::InconsistentInput) } else { Ok(vec![Scalar::from_u64(20)]) };
            assert_eq!(result, expected);
        }
    }
}

#[test]
fn a_committee_hands_over_to_another() {
    for (old, new) in [(3, 5), (5, 3), (4, 4), (7, 3)] {
        for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
            let old = terms(old, tier).committee();
            let values: Vec<F61> = numbers(20, 8);
            let shares = split(&values, old);
            for spoil in [None, Some(1usize)] {
                if spoil.is_some() && tier == Tier::SemiHonest {
                    continue;
                }
                let new = terms(new, tier);
                let mut handed: Vec<Vec<Vec<F61>>> = shares
                    .iter()
                    .map(|shares| hand_over(&Shared::from_shares(shares.clone()), new.committee()))
                    .collect();
                if let Some(party) = spoil {
                    // It hands over something else, properly shared.
                    let mut wrong = shares[party].clone();
                    wrong[3] += F61::ONE;
                    handed[party] = hand_over(&Shared::from_shares(wrong), new.committee());
                }
                let rehearsal = rehearse(new, 5, move |mut session| {
                    let parts: Vec<Vec<F61>> =
                        handed.iter().map(|parts| parts[session.me().index()].clone()).collect();
                    async move {
                        let x = session.take_over(old, &parts).await?;
                        session.open(&x).await
                    }
                });
                for result in rehearsal.results {
                    match spoil {
                        None => assert_eq!(result.as_ref(), Ok(&values)),
                        Some(_) => assert_eq!(result, Err(MpcError::InconsistentInput)),
                    }
                }
            }
        }
    }
}
