//! Parties that deviate. A cheater is one whose frames are changed on the way: whatever a cheater may send can be made so.

use super::*;

/// Adds one to the first element of a frame, if it has one.
fn spoil(frame: &mut [u8]) {
    if frame.len() >= FRAME_HEADER_BYTES + 8 {
        let body = &mut frame[FRAME_HEADER_BYTES..];
        let value = u64::from_le_bytes(body[..8].try_into().unwrap());
        // Stays an encoding of an element, whichever it is.
        body[..8].copy_from_slice(&(value ^ 1).to_le_bytes());
    }
}

fn step_of(frame: &[u8]) -> u32 {
    u32::from_le_bytes(frame[8..12].try_into().unwrap())
}

async fn some_products(mut session: Session) -> Result<Vec<F61>, MpcError> {
    let x = owned(&mut session, &numbers::<F61>(6, 1)).await?;
    let y = owned(&mut session, &numbers::<F61>(6, 2)).await?;
    let product = session.mul(&x, &y).await?;
    let product = session.mul(&product, &y).await?;
    session.open(&product).await
}

fn right_products() -> Vec<F61> {
    numbers::<F61>(6, 1).into_iter().zip(numbers::<F61>(6, 2)).map(|(x, y)| x * y * y).collect()
}

/// How many frames a run has, so that each can be spoilt in its turn.
fn frames_of(terms: Terms, cheater: Party) -> usize {
    let mut frames = 0;
    agreed(rehearse_with(terms, 11, some_products, |from, _, _| {
        frames += usize::from(from == cheater);
        Fate::Arrives
    }));
    frames
}

/// Spoils one frame of the cheater after another and returns how many runs somebody noticed.
fn noticed(terms: Terms, cheater: Party, fate: impl Fn(&mut Vec<u8>) -> Fate) -> (usize, usize) {
    let frames = frames_of(terms, cheater);
    let mut noticed = 0;
    for target in 0..frames {
        let mut count = 0;
        let rehearsal = rehearse_with(terms, 11, some_products, |from, _, frame| {
            if from != cheater {
                return Fate::Arrives;
            }
            count += 1;
            if count == target + 1 { fate(frame) } else { Fate::Arrives }
        });
        let mut failed = false;
        for (index, result) in rehearsal.results.into_iter().enumerate() {
            match result {
                _ if index == cheater.index() => {}
                Ok(values) => assert_eq!(
                    values,
                    right_products(),
                    "frame {target} of {frames}, party {index}, {terms:?}"
                ),
                Err(error) => {
                    assert_ne!(terms.tier(), Tier::Robust, "frame {target}: {error}");
                    failed = true;
                }
            }
        }
        for (index, cheaters) in rehearsal.cheaters.into_iter().enumerate() {
            assert!(
                index == cheater.index() || cheaters.iter().all(|&caught| caught == cheater),
                "{cheaters:?} caught in vain"
            );
            failed |= index != cheater.index() && !cheaters.is_empty();
        }
        noticed += usize::from(failed);
    }
    (noticed, frames)
}

#[test]
fn no_spoilt_frame_opens_a_wrong_result() {
    for n in [3, 4, 5] {
        for cheater in [Party(0), Party(1), Party(n as u8 - 1)] {
            let (noticed, frames) = noticed(terms(n, Tier::MaliciousAbort), cheater, |frame| {
                spoil(frame);
                Fate::Arrives
            });
            assert_eq!(noticed, frames, "every spoilt frame is noticed, n = {n}, cheater {cheater}");
        }
    }
}

#[test]
fn the_robust_tier_gives_the_right_result_and_the_name() {
    for (n, cheater) in [(4, Party(0)), (4, Party(1)), (4, Party(3)), (7, Party(2))] {
        let (noticed, frames) = noticed(terms(n, Tier::Robust), cheater, |frame| {
            spoil(frame);
            Fate::Arrives
        });
        // What is agreed on by majority outvotes a cheater without naming it; every wrong share names it.
        assert!(noticed * 4 > frames, "{noticed} of {frames}");
    }
}

#[test]
fn frames_that_vanish_double_or_come_from_elsewhere_do_not_pass() {
    for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
        for fate in [Fate::Vanishes, Fate::Doubles] {
            let (noticed, frames) = noticed(terms(3, tier), Party(1), |_| fate.clone());
            // The last frames of a run may be doubled unnoticed: nobody reads any more.
            assert!(noticed + 2 >= frames, "{tier} {fate:?}: {noticed} of {frames}");
        }
    }
    for fate in [Fate::Vanishes, Fate::Doubles] {
        noticed(terms(4, Tier::Robust), Party(1), |_| fate.clone());
    }
}

#[test]
fn a_frame_of_another_job_is_recognised() {
    // The same run under another tag, and its frames in place of those of this one.
    let mut other = Vec::new();
    let elsewhere = Terms::new(Committee::of(3).unwrap(), Tier::MaliciousAbort, JobTag([99; 32])).unwrap();
    agreed(rehearse_with(elsewhere, 11, some_products, |from, to, frame| {
        if (from, to) == (Party(1), Party(2)) {
            other.push(frame.clone());
        }
        Fate::Arrives
    }));
    for (target, stray) in other.iter().enumerate() {
        let mut count = 0;
        let rehearsal =
            rehearse_with(terms(3, Tier::MaliciousAbort), 11, some_products, |from, to, frame| {
                if (from, to) == (Party(1), Party(2)) {
                    if count == target {
                        assert_eq!(step_of(stray), step_of(frame));
                        frame.clone_from(stray);
                    }
                    count += 1;
                }
                Fate::Arrives
            });
        assert_eq!(rehearsal.results[2], Err(MpcError::Replayed { party: Party(1) }), "frame {target}");
    }
}

#[test]
fn a_party_that_dies_is_named_or_outlived() {
    for terms in [
        terms(3, Tier::SemiHonest),
        terms(3, Tier::MaliciousAbort),
        terms(5, Tier::MaliciousAbort),
        terms(4, Tier::Robust),
    ] {
        let frames = frames_of(terms, Party(1));
        for target in 0..frames {
            let mut count = 0;
            let rehearsal = rehearse_with(terms, 11, some_products, |from, _, _| {
                count += usize::from(from == Party(1));
                if from == Party(1) && count == target + 1 { Fate::Cut } else { Fate::Arrives }
            });
            for (index, result) in rehearsal.results.into_iter().enumerate().filter(|(index, _)| *index != 1)
            {
                match result {
                    Ok(values) => assert_eq!(values, right_products()),
                    Err(error) => {
                        assert_ne!(terms.tier(), Tier::Robust, "{error}");
                        assert!(matches!(error, MpcError::Lost { .. }), "party {index}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_client_that_contradicts_itself_is_refused() {
    for n in [3, 4, 5] {
        let terms = terms(n, Tier::MaliciousAbort);
        let mut shares = split(&numbers::<F61>(20, 3), terms.committee());
        shares[0][7] += F61::ONE;
        let rehearsal = rehearse(terms, 5, move |mut session| {
            let mine = shares[session.me().index()].clone();
            async move { session.accept(mine).await.map(|_| ()) }
        });
        for result in rehearsal.results {
            assert_eq!(result, Err(MpcError::InconsistentInput));
        }
    }
    for terms in [terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        let rehearsal = rehearse(terms, 5, |mut session| async move {
            let masks = session.masks::<F61>(1).await?;
            // A different word to each party.
            let masked = [F61::from_u64(u64::from(session.me().0))];
            session.accept_masked(&masked, &masks).await.map(|_| ())
        });
        for result in rehearsal.results {
            assert_eq!(result, Err(MpcError::InconsistentInput));
        }
    }
}
