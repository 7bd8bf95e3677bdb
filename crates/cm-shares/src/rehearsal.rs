//! All parties of a run in one thread, with links in memory: for estimates of rounds and bytes, for tests, and for measuring the arithmetic alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::committee::{Party, Terms};
use crate::error::MpcError;
use crate::keys::Keys;
use crate::machine::{Machine, Progress};
use crate::session::Session;
use crate::wire::Traffic;

/// What became of a rehearsed run.
#[derive(Debug)]
pub struct Rehearsal<T> {
    /// Each party's result.
    pub results: Vec<Result<T, MpcError>>,
    /// What each party sent.
    pub traffic: Vec<Traffic>,
    /// Whom each party caught.
    pub cheaters: Vec<Vec<Party>>,
}

/// What a link does with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives as it now is.
    Arrives,
    /// It never arrives.
    Vanishes,
    /// It arrives twice.
    Doubles,
    /// The sender is cut off from everybody from now on.
    Cut,
}

type Queue = Arc<Mutex<VecDeque<(Party, Party, Vec<u8>)>>>;

/// Runs a program at all parties, with seeds that everybody can compute from `number`. Frames of different links overtake each other in an order that depends on `number`, too.
pub fn rehearse<T, P, R>(terms: Terms, number: u64, program: P) -> Rehearsal<T>
where
    T: 'static,
    P: Fn(Session) -> R,
    R: Future<Output = Result<T, MpcError>> + Send + 'static,
{
    rehearse_with(terms, number, program, |_, _, _| Fate::Arrives)
}

/// As [`rehearse`], with a hand in what links carry: it sees sender, receiver and frame, may change the frame, and decides its fate.
pub fn rehearse_with<T, P, R>(
    terms: Terms,
    number: u64,
    program: P,
    mut link: impl FnMut(Party, Party, &mut Vec<u8>) -> Fate,
) -> Rehearsal<T>
where
    T: 'static,
    P: Fn(Session) -> R,
    R: Future<Output = Result<T, MpcError>> + Send + 'static,
{
    let parties = terms.committee().parties();
    let sent: Queue = Arc::default();
    let mut machines: Vec<Machine<T>> = Vec::with_capacity(parties);
    for keys in Keys::rehearsed(parties, number) {
        let (me, sent) = (keys.party(), sent.clone());
        let outbox = Box::new(move |to, frame| {
            sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_back((me, to, frame));
        });
        machines.push(Machine::new(terms, &keys, outbox, &program).expect("there are keys for all parties"));
    }
    let mut results: Vec<Option<Result<T, MpcError>>> = (0..parties).map(|_| None).collect();
    let mut links: Vec<VecDeque<Vec<u8>>> = vec![VecDeque::new(); parties * parties];
    let mut cut = vec![false; parties];
    let mut dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut due: Vec<usize> = (0..parties).collect();
    loop {
        let mut woken = Vec::new();
        for index in due.drain(..) {
            if results[index].is_none()
                && !cut[index]
                && let Progress::Done(result) = machines[index].advance()
            {
                results[index] = Some(result);
            }
            let frames: Vec<_> =
                sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..).collect();
            for (from, to, mut frame) in frames {
                if cut[from.index()] {
                    continue;
                }
                match link(from, to, &mut frame) {
                    Fate::Arrives => links[from.index() * parties + to.index()].push_back(frame),
                    Fate::Vanishes => {}
                    Fate::Doubles => {
                        links[from.index() * parties + to.index()].extend([frame.clone(), frame])
                    }
                    Fate::Cut => {
                        cut[from.index()] = true;
                        for (index, machine) in
                            machines.iter_mut().enumerate().filter(|(index, _)| *index != from.index())
                        {
                            for frame in links[from.index() * parties + index].drain(..) {
                                machine.deliver(from, frame);
                            }
                            machine.lose(from);
                            woken.push(index);
                        }
                    }
                }
            }
        }
        due.append(&mut woken);
        if !due.is_empty() {
            continue;
        }
        let loaded: Vec<usize> = (0..links.len()).filter(|&link| !links[link].is_empty()).collect();
        if loaded.is_empty() {
            // Nothing moves: as a deadline does, those who wait give up on whom they wait for.
            let stuck: Vec<usize> =
                (0..parties).filter(|&index| results[index].is_none() && !cut[index]).collect();
            if stuck.is_empty() {
                break;
            }
            let earliest = stuck
                .iter()
                .copied()
                .filter_map(|index| machines[index].waiting().map(|(party, step)| (step, index, party)))
                .min();
            let Some((_, index, party)) = earliest else { break };
            machines[index].lose(party);
            due.push(index);
            continue;
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let chosen = loaded[(dice % loaded.len() as u64) as usize];
        let (from, to) = (chosen / parties, chosen % parties);
        for frame in links[chosen].drain(..) {
            machines[to].deliver(Party::at(from), frame);
        }
        due.push(to);
    }
    Rehearsal {
        traffic: machines.iter().map(Machine::traffic).collect(),
        cheaters: machines.iter().map(Machine::cheaters).collect(),
        results: results
            .into_iter()
            .enumerate()
            .map(|(index, result)| result.unwrap_or(Err(MpcError::Lost { party: Party::at(index) })))
            .collect(),
    }
}
