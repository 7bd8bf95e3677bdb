//! Parties that deviate. A cheater is one whose frames are changed on the way: whatever a cheater may send can be made so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;

/// Changes the first element of a frame; a frame without one gets a byte.
fn spoil(frame: &mut Vec<u8>) {
    if frame.len() == FRAME_HEADER_BYTES {
        frame.push(0);
    } else if frame.len() >= FRAME_HEADER_BYTES + 8 {
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

/// The cheater's steps, each with how many frames it has.
fn steps_of(terms: Terms, cheater: Party) -> Vec<u32> {
    let mut steps = Vec::new();
    agreed(rehearse_with(terms, 11, some_products, |from, _, frame| {
        if from == cheater && steps.last() != Some(&step_of(frame)) {
            steps.push(step_of(frame));
        }
        Fate::Arrives
    }));
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// What honest parties may come to beside a cheater: the right result, or under `malicious-abort` none. Whether one of them noticed.
fn honest_ends(terms: Terms, cheater: Party, rehearsal: Rehearsal<Vec<F61>>) -> bool {
    let mut has_noticed = false;
    let honest = rehearsal.results.into_iter().zip(rehearsal.cheaters).enumerate();
    for (index, (result, caught)) in honest.filter(|(index, _)| *index != cheater.index()) {
        assert!(caught.iter().all(|&caught| caught == cheater), "party {index} caught {caught:?} in vain");
        has_noticed |= !caught.is_empty();
        match result {
            Ok(values) => assert_eq!(values, right_products(), "party {index}, {terms:?}"),
            Err(error) => {
                assert_ne!(terms.tier(), Tier::Robust, "party {index}: {error}");
                has_noticed = true;
            }
        }
    }
    has_noticed
}

/// Terms of both tiers that withstand cheaters, with a cheater that has no input: who changes its own input does not cheat.
fn withstanding() -> [(Terms, Party); 5] {
    [
        (terms(3, Tier::MaliciousAbort), Party(1)),
        (terms(3, Tier::MaliciousAbort), Party(2)),
        (terms(5, Tier::MaliciousAbort), Party(3)),
        (terms(4, Tier::Robust), Party(1)),
        (terms(7, Tier::Robust), Party(6)),
    ]
}

#[test]
fn a_lie_that_everybody_is_told_does_not_pass() {
    // One and the same wrong share to all, a wrong product dealt out in full: nothing that parties could compare among themselves.
    for (terms, cheater) in withstanding() {
        let (mut noticed, steps) = (0, steps_of(terms, cheater));
        for &target in &steps {
            let rehearsal = rehearse_with(terms, 11, some_products, |from, _, frame| {
                if from == cheater && step_of(frame) == target {
                    spoil(frame);
                }
                Fate::Arrives
            });
            noticed += usize::from(honest_ends(terms, cheater, rehearsal));
        }
        match terms.tier() {
            Tier::Robust => assert!(noticed > 0, "{terms:?}"),
            _ => assert_eq!(noticed, steps.len(), "{terms:?}"),
        }
    }
}

#[test]
fn what_was_sent_before_does_not_pass_again() {
    // Parts of an earlier product, opening or triple in the place of those of a later one.
    for (terms, cheater) in withstanding().into_iter().filter(|(terms, _)| terms.committee().parties() < 7) {
        let (mut changed, mut noticed) = (0, 0);
        for target in 0..frames_of(terms, cheater) {
            let mut earlier: Vec<(Party, Vec<u8>)> = Vec::new();
            let (mut count, mut is_changed) = (0, false);
            let rehearsal = rehearse_with(terms, 11, some_products, |from, to, frame| {
                if from == cheater {
                    let body = frame[FRAME_HEADER_BYTES..].to_vec();
                    let old =
                        earlier.iter().rev().find(|(was_to, old)| (*was_to, old.len()) == (to, body.len()));
                    if let Some((_, old)) = old.filter(|(_, old)| count == target && *old != body) {
                        frame[FRAME_HEADER_BYTES..].copy_from_slice(old);
                        is_changed = true;
                    }
                    earlier.push((to, body));
                    count += 1;
                }
                Fate::Arrives
            });
            let has_noticed = honest_ends(terms, cheater, rehearsal);
            changed += usize::from(is_changed);
            noticed += usize::from(has_noticed && is_changed);
        }
        assert!(changed > 3, "{terms:?}: there is something to use again");
        match terms.tier() {
            Tier::Robust => assert!(noticed > 0, "{terms:?}"),
            _ => assert_eq!(noticed, changed, "{terms:?}"),
        }
    }
}

#[test]
fn a_party_that_falls_silent_in_any_step_is_given_up_on() {
    // Its links stay open: who waits longest for it gives up, as a deadline has it.
    for terms in [terms(3, Tier::SemiHonest), terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        for target in 0..frames_of(terms, Party(1)) {
            let mut count = 0;
            let rehearsal = rehearse_with(terms, 11, some_products, |from, _, _| {
                count += usize::from(from == Party(1));
                if from == Party(1) && count > target { Fate::Vanishes } else { Fate::Arrives }
            });
            for (index, result) in rehearsal.results.into_iter().enumerate().filter(|(index, _)| *index != 1)
            {
                match result {
                    Ok(values) => assert_eq!(values, right_products(), "frame {target}"),
                    Err(error) => {
                        assert_ne!(terms.tier(), Tier::Robust, "frame {target}: {error}");
                        assert!(matches!(error, MpcError::Lost { .. }), "party {index}: {error}");
                    }
                }
            }
        }
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

/// A frame with its sender and its receiver.
type Sent = (Party, Party, Vec<u8>);

/// Three parties whose first one cheats by rushing: it keeps frames for the third party back, and reads what the others send meanwhile.
struct Rush {
    machines: Vec<Machine<Vec<F61>>>,
    results: Vec<Option<Result<Vec<F61>, MpcError>>>,
    sent: Arc<Mutex<VecDeque<Sent>>>,
    seen: Vec<Sent>,
    kept_back: Vec<Vec<u8>>,
}

impl Rush {
    const PRODUCTS: usize = 5;

    fn new() -> Self {
        let sent: Arc<Mutex<VecDeque<Sent>>> = Arc::default();
        let machine = |keys: &Keys| {
            let (me, sent) = (keys.party(), sent.clone());
            let outbox = Box::new(move |to, frame| sent.lock().unwrap().push_back((me, to, frame)));
            Machine::new(terms(3, Tier::MaliciousAbort), keys, outbox, |mut session| async move {
                let x = owned(&mut session, &numbers::<F61>(Self::PRODUCTS, 1)).await?;
                let squares = session.mul(&x, &x).await?;
                session.open(&squares).await
            })
            .unwrap()
        };
        let machines = Keys::rehearsed(3, 11).iter().map(machine).collect();
        Self { machines, results: vec![None, None, None], sent, seen: Vec::new(), kept_back: Vec::new() }
    }

    /// Runs until nothing moves. With `keeping_back` the cheater's part of the products and what follows it does not reach the third party.
    fn run(&mut self, keeping_back: bool) {
        loop {
            for (machine, result) in self.machines.iter_mut().zip(&mut self.results) {
                if result.is_none()
                    && let Progress::Done(done) = machine.advance()
                {
                    *result = Some(done);
                }
            }
            let frames: Vec<_> = self.sent.lock().unwrap().drain(..).collect();
            if frames.is_empty() {
                break;
            }
            for (from, to, frame) in frames {
                self.seen.push((from, to, frame.clone()));
                // The first frame of that length announces the input, the second one is the cheater's part of the products.
                let due = (Party(0), Party(2), FRAME_HEADER_BYTES + Self::PRODUCTS * 8);
                let alike = self.seen.iter().filter(|(from, to, frame)| (*from, *to, frame.len()) == due);
                if keeping_back && (from, to) == (due.0, due.1) && alike.count() >= 2 {
                    self.kept_back.push(frame);
                } else {
                    self.machines[to.index()].deliver(from, frame);
                }
            }
        }
    }

    /// The first coin, if the cheater can know it: out of its own share and that of the second party.
    fn coin(&self) -> Option<Vec<F61>> {
        let share = |party: Party| {
            let (.., frame) = self
                .seen
                .iter()
                .find(|(from, _, frame)| *from == party && frame.len() == FRAME_HEADER_BYTES + 3 * 8)?;
            crate::field::decode::<F61>(&frame[FRAME_HEADER_BYTES..], 3).map(|share| (party, share))
        };
        let shares = [share(Party(0))?, share(Party(1))?];
        Some(reconstruct(Committee::of(3).unwrap(), &shares).unwrap().values)
    }
}

#[test]
fn no_coin_opens_before_what_it_tests_has_arrived() {
    let mut rush = Rush::new();
    rush.run(true);
    assert!(!rush.kept_back.is_empty(), "the products were on their way");
    assert_eq!(rush.coin(), None, "the cheater knows what its frame will be tested with");
    for frame in std::mem::take(&mut rush.kept_back) {
        rush.machines[2].deliver(Party(0), frame);
    }
    rush.run(false);
    assert!(rush.coin().is_some(), "it opens afterwards");
    let squares: Vec<F61> = numbers::<F61>(Rush::PRODUCTS, 1).into_iter().map(|x| x * x).collect();
    assert_eq!(rush.results, vec![Some(Ok(squares)); 3]);
}

#[test]
fn an_announcement_of_another_length_is_nobodys() {
    for (n, cheater) in [(4, Party(1)), (7, Party(6))] {
        let mut longest = 0;
        let rehearsal = rehearse_with(
            terms(n, Tier::Robust),
            11,
            move |mut session: Session| async move {
                // An honest party's chain of relays is longer than a frame.
                let mine = vec![session.me().0; if session.me() == cheater { 60_000 } else { 2_000 }];
                session.announce(&mine).await
            },
            |from, _, frame| {
                if from != cheater {
                    longest = longest.max(frame.len());
                }
                Fate::Arrives
            },
        );
        assert!(longest <= FRAME_HEADER_BYTES + CHUNK_BYTES, "{longest}");
        for (index, result) in rehearsal.results.into_iter().enumerate() {
            if index == cheater.index() {
                continue;
            }
            for (party, said) in result.unwrap().into_iter().enumerate() {
                let expected = (party != cheater.index()).then(|| vec![party as u8; 2_000]);
                assert_eq!(said, expected, "party {index} about {party}");
            }
        }
    }
}
