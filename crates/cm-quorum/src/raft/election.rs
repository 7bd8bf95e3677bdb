//! Who leads.

use std::collections::BTreeMap;

use super::{Leader, Mode, Peer, Raft, Role};
use crate::{Body, MemberId, Message, Position, Term};

impl Raft {
    /// Asks whether it would be elected. Nothing changes anywhere if it would not: a node that was cut off does not
    /// disturb the others when it is back.
    pub(super) fn hope(&mut self) {
        self.leader = None;
        self.role = Role::Hopeful(BTreeMap::from([(self.id, true)]));
        self.wait_anew();
        self.ask_for_votes(true, false);
        self.count();
    }

    pub(super) fn campaign(&mut self, transfer: bool) {
        self.leader = None;
        self.hard.term += 1;
        self.hard.vote = Some(self.id);
        self.keep_hard();
        self.role = Role::Candidate(BTreeMap::from([(self.id, true)]));
        self.wait_anew();
        self.ask_for_votes(false, transfer);
        self.count();
    }

    fn ask_for_votes(&mut self, pre: bool, transfer: bool) {
        let term = self.hard.term + u64::from(pre);
        let last = self.log.last();
        let voters: Vec<_> = self.members().voters().filter(|id| *id != self.id).collect();
        for voter in voters {
            self.send(voter, Message::Vote { term, last, pre, transfer });
        }
    }

    pub(super) fn vote(&mut self, from: MemberId, term: Term, last: Position, pre: bool, transfer: bool) {
        // There is a leader that lives. Whoever does not hear it shall not unseat it.
        let led = self.is_leader()
            || self.leader.is_some() && self.now.saturating_sub(self.heard) < self.timing.election;
        if led && !transfer {
            return;
        }
        if !pre && term > self.hard.term {
            self.follow(term, None);
        }
        let free = if pre {
            term > self.hard.term
        } else {
            term == self.hard.term && self.hard.vote.is_none_or(|vote| vote == from)
        };
        let granted = free && last.is_at_least(self.log.last());
        if granted && !pre {
            if self.hard.vote.is_none() {
                self.hard.vote = Some(from);
                self.keep_hard();
            }
            self.wait_anew();
        }
        let term = if granted { term } else { self.hard.term };
        self.send(from, Message::VoteReply { term, granted, pre });
    }

    pub(super) fn voted(&mut self, from: MemberId, term: Term, granted: bool, pre: bool) {
        if !granted && term > self.hard.term {
            return self.follow(term, None);
        }
        let asked = self.hard.term + u64::from(pre);
        let votes = match &mut self.role {
            Role::Hopeful(votes) if pre => votes,
            Role::Candidate(votes) if !pre => votes,
            _ => return,
        };
        if granted && term != asked {
            return;
        }
        // A refusal that was overtaken by the same voter's consent counts for nothing.
        let vote = votes.entry(from).or_insert(granted);
        *vote |= granted;
        self.count();
    }

    fn count(&mut self) {
        let (Role::Hopeful(votes) | Role::Candidate(votes)) = &self.role else { return };
        if !self.members().has_majority(|id| votes.get(&id) == Some(&true)) {
            return;
        }
        match self.role {
            Role::Hopeful(_) => self.campaign(false),
            _ => self.lead(),
        }
    }

    fn lead(&mut self) {
        self.leader = Some(self.id);
        self.role = Role::Leader(Leader {
            peers: BTreeMap::new(),
            began: self.last() + 1,
            probe: 0,
            beat_at: self.now,
            transfer: None,
            shipment: None,
            making: false,
            make_at: self.now,
        });
        self.incoming = None;
        self.meet_members();
        // What earlier leaders left is committed with this.
        self.propose(Body::Blank);
    }

    /// What a leader does now and then.
    pub(super) fn lead_on(&mut self) {
        let (now, id, timing) = (self.now, self.id, self.timing);
        let Role::Leader(leader) = &mut self.role else { return };
        for peer in leader.peers.values_mut() {
            if peer.mode == Mode::Stream && now.saturating_sub(peer.active_at) > timing.election {
                // It shall not be sent what it does not take.
                peer.mode = Mode::Search;
            }
        }
        if leader.transfer.is_some_and(|(_, until)| now >= until) {
            leader.transfer = None;
        }
        let (due, peers) = (now >= leader.beat_at, &leader.peers);
        let lives = |peer: &Peer| now.saturating_sub(peer.active_at) <= timing.election * 2;
        if !self.log.members().0.has_majority(|member| member == id || peers.get(&member).is_some_and(lives))
        {
            // Somebody else may lead by now.
            return self.follow(self.hard.term, None);
        }
        if due {
            self.broadcast();
        }
    }

    /// Begins to hand over to the voter that has most. `false` if there is nobody.
    pub(crate) fn hand_over(&mut self) -> bool {
        let (now, election) = (self.now, self.timing.election);
        let Role::Leader(leader) = &mut self.role else { return false };
        let members = self.log.members().0;
        let best = leader
            .peers
            .iter()
            .filter(|(id, peer)| members.is_voter(**id) && now.saturating_sub(peer.active_at) <= election)
            .max_by_key(|(_, peer)| peer.matched)
            .map(|(id, _)| *id);
        let Some(to) = best else { return false };
        leader.transfer = Some((to, now + election * 2));
        self.finish_hand_over(to);
        true
    }

    pub(crate) fn is_handing_over(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.transfer.is_some())
    }

    /// Tells the successor once it has everything.
    pub(super) fn finish_hand_over(&mut self, to: MemberId) {
        let (term, last) = (self.hard.term, self.last());
        let Role::Leader(leader) = &self.role else { return };
        let chosen = leader.transfer.is_some_and(|(chosen, _)| chosen == to);
        if chosen && leader.peers.get(&to).is_some_and(|peer| peer.matched == last) {
            self.send(to, Message::TakeOver { term });
        }
    }
}
