//! What goes on in the background: deletions, tidying, and the survey.

use std::collections::BTreeSet;

use cm_placement::{Epoch, Held, is_surplus, mend};

use super::database::Chunk;
use super::world::{Event, Message, Op, World};

/// A peer asks whether it may drop a part.
#[derive(Clone, Debug)]
pub(super) struct Tidy {
    chunk: Chunk,
    part: usize,
    held: Held,
    unheard: usize,
}

/// Every chunk is looked at, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    epoch: u64,
    /// Those that are still to be looked at.
    rest: Vec<Chunk>,
    chunk: Option<Chunk>,
    held: Held,
    unheard: usize,
    pulls: usize,
    is_pending: bool,
}

impl World {
    /// Reads what was condemned, and deletes it some time later.
    pub(super) fn sweep(&mut self, at: usize) {
        let condemned: Vec<_> = self.seen(at).condemned.iter().map(|(c, r)| (*c, *r)).collect();
        self.later(at, Event::Delete { condemned });
    }

    /// Looks at one of the parts that a peer has.
    pub(super) fn tidy(&mut self, at: usize) {
        let count = self.peer(at).disk.len() as u64;
        if count == 0 {
            return;
        }
        let nth = self.rng.below(count) as usize;
        let (chunk, part) = *self.peer(at).disk.keys().nth(nth).expect("it was counted");
        // Behind a barrier.
        self.catch_up(at);
        let db = self.database();
        if !db.references.contains_key(&chunk) {
            return self.later(at, Event::CondemnUnknown { chunks: vec![chunk] });
        }
        if !db.is_counted(chunk) {
            return;
        }
        let round = db.condemned.get(&chunk).map(|_| db.round);
        let wanted = self.wanted(at, chunk);
        let op = self.begin(at, Op::Tidy(Tidy { chunk, part, held: Held::new(), unheard: wanted.len() }));
        for peer in wanted {
            self.send(at, peer, Message::Hold { op, chunk, round });
        }
    }

    pub(super) fn tidy_heard(&mut self, op: u64, from: usize, parts: Vec<usize>) {
        let (peer, redundancy) = (self.id(from), self.redundancy());
        let Some((at, Op::Tidy(tidy))) = self.op(op) else { return };
        tidy.unheard = tidy.unheard.saturating_sub(1);
        tidy.held.insert(peer, parts.into_iter().collect());
        if tidy.unheard > 0 {
            return;
        }
        let (at, tidy) = (*at, tidy.clone());
        let wanted: Vec<_> = self.wanted(at, tidy.chunk).into_iter().map(|peer| self.id(peer)).collect();
        if is_surplus(redundancy, &wanted, &tidy.held, &self.id(at), Some(tidy.part)) {
            self.peer_mut(at).disk.remove(&(tidy.chunk, tidy.part));
            self.report.dropped += 1;
        }
        self.end(op);
    }

    /// Begins to look at every chunk.
    pub(super) fn survey(&mut self, at: usize) {
        self.catch_up(at);
        let db = self.database();
        let rest = db.references.iter().filter(|(_, count)| **count > 0).map(|(chunk, _)| *chunk).collect();
        let survey = Survey {
            epoch: db.history.current().epoch().0,
            rest,
            chunk: None,
            held: Held::new(),
            unheard: 0,
            pulls: 0,
            is_pending: false,
        };
        let op = self.begin(at, Op::Survey(survey.clone()));
        self.survey_next(op, at, survey);
    }

    fn survey_next(&mut self, op: u64, at: usize, mut survey: Survey) {
        self.catch_up(at);
        let Some(chunk) = survey.rest.pop() else {
            let (epoch, settles) = (survey.epoch, !survey.is_pending);
            self.transact(|db| {
                if settles && db.history.current().epoch().0 == epoch {
                    db.history.settle(Epoch(epoch));
                }
            });
            return self.end(op);
        };
        let db = self.database();
        let round = db.condemned.get(&chunk).map(|_| db.round);
        let count = self.peers();
        (survey.chunk, survey.held, survey.unheard, survey.pulls) = (Some(chunk), Held::new(), count, 0);
        for peer in 0..count {
            self.send(at, peer, Message::Hold { op, chunk, round });
        }
        self.resume(op, at, Op::Survey(survey));
    }

    pub(super) fn survey_heard(&mut self, op: u64, from: usize, chunk: Chunk, parts: Vec<usize>) {
        let peer = self.id(from);
        let Some((_, Op::Survey(survey))) = self.op(op) else { return };
        if survey.chunk != Some(chunk) || survey.unheard == 0 {
            return;
        }
        survey.unheard -= 1;
        let parts: BTreeSet<usize> = parts.into_iter().collect();
        if !parts.is_empty() {
            survey.held.insert(peer, parts);
        }
        if survey.unheard == 0 {
            self.survey_mend(op);
        }
    }

    fn survey_mend(&mut self, op: u64) {
        let redundancy = self.redundancy();
        let Some((at, Op::Survey(survey))) = self.op(op) else { return };
        let (at, mut survey) = (*at, survey.clone());
        let Some(chunk) = survey.chunk else { return };
        // What was answered so far is all that counts from here on.
        survey.unheard = 0;
        let wanted: Vec<_> = self.wanted(at, chunk).into_iter().map(|peer| self.id(peer)).collect();
        let mending = mend(redundancy, &wanted, &survey.held);
        if !mending.is_readable {
            survey.is_pending = true;
        }
        let round = self.database().round;
        survey.pulls = mending.pulls.len();
        let none = survey.pulls == 0;
        self.resume(op, at, Op::Survey(survey.clone()));
        for pull in mending.pulls {
            let to = self.number(&pull.to);
            self.send(at, to, Message::Pull { op, chunk, part: pull.part, round });
        }
        if none {
            self.survey_next(op, at, survey);
        }
    }

    pub(super) fn survey_pulled(&mut self, op: u64, chunk: Chunk, done: bool) {
        let Some((at, Op::Survey(survey))) = self.op(op) else { return };
        if survey.chunk != Some(chunk) || survey.pulls == 0 {
            return;
        }
        survey.pulls -= 1;
        survey.is_pending |= !done;
        let (at, survey) = (*at, survey.clone());
        self.report.mended += u64::from(done);
        if survey.pulls == 0 {
            self.survey_next(op, at, survey);
        }
    }

    /// Nothing was heard for long.
    pub(super) fn maintenance_waited(&mut self, op: u64) {
        match self.op(op) {
            Some((at, Op::Survey(survey))) => {
                survey.is_pending = true;
                let (at, waits) = (*at, survey.unheard > 0);
                let survey = survey.clone();
                match waits {
                    true => self.survey_mend(op),
                    false => self.survey_next(op, at, survey),
                }
            }
            Some((_, Op::Tidy(_))) => self.end(op),
            Some((_, Op::Put(_))) | None => {}
        }
    }
}
