//! Agreement on the log.
//!
//! The modules beneath follow the papers' parts: who leads, what it sends, what happens to those who lag too far, who
//! takes part.

mod election;
mod membership;
mod replication;
mod snapshots;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::Log;
use crate::{
    Base, Body, ClusterId, Effects, Entry, Envelope, Hard, Index, MemberId, Members, Message, Position, Rng,
    SnapshotMeta, Stored, Task, Term, Timing, Write,
};

#[derive(Debug)]
pub(crate) struct Raft {
    id: MemberId,
    timing: Timing,
    rng: Rng,
    now: Duration,
    hard: Hard,
    log: Log,
    /// Up to where the log is durable here.
    stable: Index,
    /// What the writes that were taken last make durable.
    taken: Index,
    commit: Index,
    role: Role,
    leader: Option<MemberId>,
    /// When a leader was heard of last.
    heard: Duration,
    /// When to look for another leader.
    deadline: Duration,
    incoming: Option<Incoming>,
    out: Effects,
    /// What cannot be was seen; nothing is done any more.
    fault: Option<&'static str>,
}

#[derive(Debug)]
enum Role {
    Follower,
    /// Asks whether it would be elected.
    Hopeful(BTreeMap<MemberId, bool>),
    Candidate(BTreeMap<MemberId, bool>),
    Leader(Leader),
}

#[derive(Debug)]
struct Leader {
    peers: BTreeMap<MemberId, Peer>,
    /// The first entry of its time. What is committed is known once that is.
    began: Index,
    /// Numbers what is sent to all.
    probe: u64,
    beat_at: Duration,
    /// To whom it hands over, and until when it tries.
    transfer: Option<(MemberId, Duration)>,
    shipment: Option<SnapshotMeta>,
    making: bool,
    /// When to try again to make a copy.
    make_at: Duration,
}

/// What a leader knows of another member.
#[derive(Debug)]
struct Peer {
    next: Index,
    matched: Index,
    /// The newest probe that came back.
    probe: u64,
    active_at: Duration,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Where the logs agree is not known yet: entries are not sent.
    Search,
    /// Entries are sent as they come.
    Stream,
    /// The entries that it needs are gone: it is sent a copy of the data.
    Copy { offset: u64, sent_at: Option<Duration> },
}

/// A copy of the data that comes in pieces.
#[derive(Debug)]
struct Incoming {
    meta: Box<SnapshotMeta>,
    /// Up to where it is kept.
    offset: u64,
    /// The end of the piece that is being kept.
    keeping: Option<u64>,
    installing: bool,
}

impl Incoming {
    /// Whether something is done with it now.
    fn is_busy(&self) -> bool {
        self.keeping.is_some() || self.installing
    }
}

impl Raft {
    /// As it was left; the data has everything up to `applied`, as of which it gives the members.
    pub(crate) fn new(
        id: MemberId,
        timing: Timing,
        seed: u64,
        stored: Stored,
        applied: &Base,
    ) -> Result<Self, &'static str> {
        let Stored { hard, base, entries } = stored;
        let mut log = Log::new(base);
        for entry in entries {
            if entry.at.index != log.last().index + 1 || entry.at.term < log.last().term {
                return Err("the log has a gap");
            }
            log.append(entry);
        }
        let mut out = Effects::default();
        if applied.at.index < log.base().at.index {
            return Err("the data lacks what the log has forgotten");
        }
        // The data came as a copy and the log did not follow, or the log's end was lost after it was applied.
        if log.term_at(applied.at.index) != Some(applied.at.term) {
            log = Log::new(applied.clone());
            out.writes.push(Write::Reset(applied.clone()));
        }
        let mut raft = Self {
            id,
            timing,
            rng: Rng::new(seed),
            now: Duration::ZERO,
            hard: Hard { term: hard.term.max(log.last().term), ..hard },
            stable: log.last().index,
            taken: log.last().index,
            commit: applied.at.index,
            log,
            role: Role::Follower,
            leader: None,
            heard: Duration::ZERO,
            deadline: Duration::ZERO,
            incoming: None,
            out,
            fault: None,
        };
        raft.wait_anew();
        Ok(raft)
    }

    pub(crate) fn id(&self) -> MemberId {
        self.id
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(crate) fn term(&self) -> Term {
        self.hard.term
    }

    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.hard.cluster
    }

    pub(crate) fn adopt(&mut self, cluster: ClusterId) {
        self.hard.cluster = Some(cluster);
        self.keep_hard();
    }

    pub(crate) fn leader(&self) -> Option<MemberId> {
        self.leader
    }

    pub(crate) fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether it leads and knows what is committed.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if self.commit >= leader.began)
    }

    pub(crate) fn commit(&self) -> Index {
        self.commit
    }

    pub(crate) fn last(&self) -> Index {
        self.log.last().index
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn members(&self) -> &Members {
        self.log.members().0
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.fault.is_some() {
            return;
        }
        if self.is_leader() {
            self.lead_on();
        } else if self.now >= self.deadline {
            if self.may_lead() {
                self.hope();
            } else {
                self.leader = None;
                self.wait_anew();
            }
        }
    }

    pub(crate) fn receive(&mut self, from: MemberId, message: Message) {
        if self.fault.is_some() {
            return;
        }
        match message {
            Message::Vote { term, last, pre, transfer } => self.vote(from, term, last, pre, transfer),
            Message::VoteReply { term, granted, pre } => self.voted(from, term, granted, pre),
            Message::Append { term, previous, entries, commit, probe } => {
                self.append(from, term, previous, entries, commit, probe);
            }
            Message::Appended { term, matched, probe } => self.appended(from, term, matched, probe),
            Message::Refused { term, next, probe } => self.refused(from, term, next, probe),
            Message::Piece { term, meta, offset, bytes } => self.piece(from, term, meta, offset, bytes),
            Message::PieceReply { term, id, offset } => self.piece_kept(from, term, id, offset),
            Message::TakeOver { term } if term == self.hard.term && !self.is_leader() && self.may_lead() => {
                self.campaign(true);
            }
            // Of turns and barriers others know.
            _ => {}
        }
    }

    /// The writes that were taken are durable.
    pub(crate) fn persisted(&mut self) {
        self.stable = self.taken.min(self.last());
        if self.is_leader() {
            self.advance_commit();
        }
    }

    /// Appends an entry of the leader, if this is one, and sends it to all.
    pub(crate) fn propose(&mut self, body: Body) -> Option<Index> {
        if !self.is_leader() {
            return None;
        }
        let index = self.last() + 1;
        self.write_entry(Entry { at: Position { index, term: self.hard.term }, body });
        self.broadcast();
        Some(index)
    }

    /// Forgets entries that are applied, durably, and of which enough others are kept.
    pub(crate) fn compact(&mut self, to: Index) {
        if to <= self.commit
            && let Some(base) = self.log.compact(to)
        {
            self.out.writes.push(Write::Compact(base));
        }
    }

    pub(crate) fn take(&mut self) -> Effects {
        let mut effects = std::mem::take(&mut self.out);
        self.taken = self.last();
        // What a time says must not be heard before the time is durable: after a crash this node could vote in it again.
        if effects.writes.iter().any(|write| matches!(write, Write::Hard(_))) {
            let late = std::mem::take(&mut effects.first);
            effects.after.splice(0..0, late);
        }
        effects
    }

    /// Sends what is not about the log.
    pub(crate) fn send_beside(&mut self, to: MemberId, message: Message) {
        self.send(to, message);
    }

    fn send(&mut self, to: MemberId, message: Message) {
        let first = matches!(message, Message::Append { .. });
        let out = if first { &mut self.out.first } else { &mut self.out.after };
        out.push(Envelope { to, message });
    }

    fn task(&mut self, task: Task) {
        self.out.tasks.push(task);
    }

    fn keep_hard(&mut self) {
        self.out.writes.push(Write::Hard(self.hard));
    }

    fn write_entry(&mut self, entry: Entry) {
        self.out.writes.push(Write::Append(entry.clone()));
        self.log.append(entry);
    }

    fn may_lead(&self) -> bool {
        self.members().is_voter(self.id) && !self.is_installing()
    }

    /// Whether a copy is being put in the place of the data.
    pub(crate) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.installing)
    }

    /// By lot, so that seldom two try at once.
    fn wait_anew(&mut self) {
        let election = self.timing.election;
        self.deadline = self.now + self.rng.duration(election, election * 2);
    }

    /// Follows in a time: the same one or a newer one.
    fn follow(&mut self, term: Term, leader: Option<MemberId>) {
        if term > self.hard.term {
            self.hard.term = term;
            self.hard.vote = None;
            self.keep_hard();
        }
        if !matches!(self.role, Role::Follower) {
            self.drop_shipment();
            self.role = Role::Follower;
            self.wait_anew();
        }
        self.leader = leader;
        if leader.is_some() {
            self.heard = self.now;
            self.wait_anew();
        }
    }
}
