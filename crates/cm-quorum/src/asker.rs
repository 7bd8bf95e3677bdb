//! What this node has asked for, and asks again until it is answered.

use std::time::Duration;

use crate::raft::Raft;
use crate::{Answer, Applied, Batch, Index, Message, Request, Term, Version};

#[derive(Debug, Default)]
pub(crate) struct Asker {
    turn: Option<Turn>,
    batch: Option<Submission>,
    /// The question that is on its way, and who waits for its answer.
    barrier: Option<Barrier>,
    /// Who came after it was asked.
    waiting: Vec<Request>,
}

#[derive(Debug)]
struct Turn {
    request: Request,
    /// Up to where the copy has to be, once it is granted.
    granted: Option<Index>,
    told: bool,
    sent: Sent,
}

#[derive(Debug)]
struct Submission {
    batch: Batch,
    sent: Sent,
    /// The leader whom it has reached.
    taken_in: Option<Term>,
}

#[derive(Debug)]
struct Barrier {
    request: Request,
    index: Option<Index>,
    waiting: Vec<Request>,
    sent: Sent,
}

/// When a question was asked last, and in whose time.
#[derive(Clone, Copy, Debug, Default)]
struct Sent(Option<(Duration, Term)>);

impl Sent {
    /// Whether to ask now: a leader that was not asked, or one that has not answered for a while.
    fn is_due(&mut self, raft: &Raft, wait: Duration) -> bool {
        let (now, term) = (raft.now(), raft.term());
        if raft.leader().is_none() || self.0.is_some_and(|(at, sent)| sent == term && now < at + wait) {
            return false;
        }
        self.0 = Some((now, term));
        true
    }
}

impl Asker {
    pub(crate) fn ask(&mut self, request: Request) {
        self.turn = Some(Turn { request, granted: None, told: false, sent: Sent::default() });
    }

    pub(crate) fn submit(&mut self, batch: Batch) {
        self.turn = None;
        self.batch = Some(Submission { batch, sent: Sent::default(), taken_in: None });
    }

    /// Forgets a turn or a batch. What a batch does is not undone by that. Whether there was one.
    pub(crate) fn forget(&mut self, request: Request) -> bool {
        let turn = self.turn.take_if(|turn| turn.request == request);
        let batch = self.batch.take_if(|submission| submission.batch.request == request);
        turn.is_some() || batch.is_some()
    }

    pub(crate) fn forget_barrier(&mut self, request: Request) {
        self.waiting.retain(|waiting| *waiting != request);
        if let Some(barrier) = &mut self.barrier {
            barrier.waiting.retain(|waiting| *waiting != request);
        }
    }

    pub(crate) fn barrier(&mut self, request: Request) {
        self.waiting.push(request);
    }

    /// `false` if nobody asked for the turn any more.
    pub(crate) fn granted(&mut self, request: Request, index: Index) -> bool {
        match &mut self.turn {
            Some(turn) if turn.request == request => {
                turn.granted = Some(index);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn submitted(&mut self, request: Request, term: Term) {
        if let Some(submission) = &mut self.batch
            && submission.batch.request == request
        {
            submission.taken_in = Some(term);
        }
    }

    pub(crate) fn barrier_known(&mut self, request: Request, index: Index) {
        if let Some(barrier) = &mut self.barrier
            && barrier.request == request
        {
            barrier.index = Some(index);
        }
    }

    /// An entry of this node was applied.
    pub(crate) fn judge(&mut self, request: Request, effective: bool) -> Option<Answer> {
        // Without effect it may still be the second copy of one that had it; then the first was told.
        self.batch.take_if(|submission| effective && submission.batch.request == request)?;
        Some(Answer::Done { request })
    }

    /// The data is another one: what had its effect in between nobody can say.
    pub(crate) fn skipped(&mut self, version: Version) -> Option<Answer> {
        let submission = self.batch.take_if(|submission| submission.batch.base != version)?;
        Some(Answer::Unknown { request: submission.batch.request })
    }

    /// What is answered by how far the copy is.
    pub(crate) fn progress(&mut self, applied: &Applied, answers: &mut Vec<Answer>) {
        let index = applied.at.index;
        if let Some(turn) = &mut self.turn
            && !turn.told
            && turn.granted.is_some_and(|granted| granted <= index)
        {
            turn.told = true;
            answers.push(Answer::Turn { request: turn.request });
        }
        if let Some(submission) = self.batch.take_if(|submission| submission.batch.base != applied.version) {
            answers.push(Answer::Stale { request: submission.batch.request });
        }
        if let Some(barrier) =
            self.barrier.take_if(|barrier| barrier.index.is_some_and(|known| known <= index))
        {
            answers.extend(barrier.waiting.into_iter().map(|request| Answer::Barrier { request }));
        }
    }

    /// What to ask the leader now; `fresh` names a new question.
    pub(crate) fn questions(&mut self, raft: &Raft, mut fresh: impl FnMut() -> Request) -> Vec<Message> {
        let mut questions = Vec::new();
        let timing = raft.timing();
        if let Some(turn) = &mut self.turn {
            let request = turn.request;
            match turn.granted {
                None if turn.sent.is_due(raft, timing.resend) => questions.push(Message::Ask { request }),
                Some(_) if turn.sent.is_due(raft, timing.turn / 3) => {
                    questions.push(Message::Renew { request })
                }
                _ => {}
            }
        }
        if let Some(submission) = &mut self.batch {
            let taken = submission.taken_in == Some(raft.term());
            let wait = if taken { Duration::MAX } else { timing.resend * 2 };
            // A leader that has it keeps it as long as it leads.
            if !taken && submission.sent.is_due(raft, wait) {
                questions.push(Message::Submit { batch: submission.batch.clone() });
            }
        }
        if self.barrier.is_none() && !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.barrier = Some(Barrier { request: fresh(), index: None, waiting, sent: Sent::default() });
        }
        if let Some(barrier) = &mut self.barrier
            && barrier.index.is_none()
            && barrier.sent.is_due(raft, timing.resend)
        {
            questions.push(Message::Barrier { request: barrier.request });
        }
        questions
    }
}
