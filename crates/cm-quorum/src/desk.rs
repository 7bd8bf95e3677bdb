//! Where a leader keeps whose turn it is.
//!
//! Nothing here is needed for anything to be right: what was computed in vain has no effect. So it is not kept when the leader goes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::raft::Raft;
use crate::{Index, MemberId, Message, Request};

/// Most questions for barriers that wait for the leader to be sure that it leads.
const BARRIERS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Desk {
    turn: Option<Turn>,
    /// One per member.
    queue: VecDeque<Waiting>,
    barriers: Vec<Waiting>,
}

#[derive(Debug)]
struct Turn {
    member: MemberId,
    request: Request,
    began: Duration,
    renewed: Duration,
}

#[derive(Debug)]
struct Waiting {
    member: MemberId,
    request: Request,
    /// It asked before this probe was sent.
    probe: u64,
}

impl Desk {
    pub(crate) fn clear(&mut self) {
        *self = Desk::default();
    }

    pub(crate) fn ask(&mut self, raft: &Raft, member: MemberId, request: Request) {
        let holds = |turn: &Turn| (turn.member, turn.request) == (member, request);
        if self.turn.as_ref().is_some_and(holds) {
            // It was told, and perhaps the answer was lost: it is told again.
            self.turn = None;
            self.queue.push_front(Waiting { member, request, probe: 0 });
            return;
        }
        let probe = raft.next_probe();
        match self.queue.iter_mut().find(|waiting| waiting.member == member) {
            Some(waiting) if waiting.request == request => {}
            Some(waiting) => (waiting.request, waiting.probe) = (request, probe),
            None => self.queue.push_back(Waiting { member, request, probe }),
        }
    }

    pub(crate) fn renew(&mut self, now: Duration, member: MemberId, request: Request) {
        if let Some(turn) = &mut self.turn
            && (turn.member, turn.request) == (member, request)
        {
            turn.renewed = now;
        }
    }

    pub(crate) fn release(&mut self, member: MemberId, request: Request) {
        self.queue.retain(|waiting| (waiting.member, waiting.request) != (member, request));
        if self.turn.as_ref().is_some_and(|turn| (turn.member, turn.request) == (member, request)) {
            self.turn = None;
        }
    }

    pub(crate) fn barrier(&mut self, raft: &Raft, member: MemberId, request: Request) {
        if self.barriers.len() < BARRIERS_MAX {
            self.barriers.push(Waiting { member, request, probe: raft.next_probe() });
        }
    }

    /// What can be answered now, and whether the leader has to make sure first that it leads.
    pub(crate) fn serve(&mut self, raft: &Raft) -> (Vec<(MemberId, Message)>, bool) {
        let mut answers = Vec::new();
        let (now, timing) = (raft.now(), raft.timing());
        if !raft.is_settled() {
            return (answers, false);
        }
        let commit: Index = raft.commit();
        self.barriers.retain(|waiting| {
            let confirmed = raft.is_confirmed(waiting.probe);
            if confirmed {
                let answer = Message::BarrierReply { request: waiting.request, index: commit };
                answers.push((waiting.member, answer));
            }
            !confirmed
        });
        if let Some(turn) = &self.turn {
            let silent = now.saturating_sub(turn.renewed) > timing.turn;
            let long = !self.queue.is_empty() && now.saturating_sub(turn.began) > timing.turn_max;
            if silent || long {
                self.turn = None;
            }
        }
        self.queue.retain(|waiting| raft.is_active(waiting.member));
        if self.turn.is_none()
            && !raft.is_handing_over()
            && self.queue.front().is_some_and(|waiting| raft.is_confirmed(waiting.probe))
            && let Some(Waiting { member, request, .. }) = self.queue.pop_front()
        {
            self.turn = Some(Turn { member, request, began: now, renewed: now });
            answers.push((member, Message::Grant { request, index: raft.last() }));
        }
        let unsure = |waiting: &Waiting| waiting.probe == raft.next_probe();
        let waits = self.turn.is_none() && self.queue.front().is_some_and(unsure);
        (answers, waits || self.barriers.iter().any(unsure))
    }
}
