//! One member, whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::asker::Asker;
use crate::desk::Desk;
use crate::raft::Raft;
use crate::{
    Answer, Applied, Base, Batch, Body, CHANGES_LEN_MAX, Change, ChangeRefused, ClusterId, Effects, Entry,
    Frame, Hard, Index, MemberId, Members, Message, Position, Request, SnapshotMeta, Term, Timing, Verdict,
    Version,
};

/// The last time of a leader: no cluster gets there, so that a message which says a later one is a mistake of somebody's.
const TERM_MAX: Term = 1 << 62;
/// Entries that are given out to be applied before those before them are told to be.
const UNAPPLIED_MAX: Index = 64;

/// What a node begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who it is.
    pub id: MemberId,
    /// The delays.
    pub timing: Timing,
    /// By lot, another one with every start: elections are spread and requests named by it.
    pub seed: u64,
}

/// The log as it was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What must never be forgotten.
    pub hard: Hard,
    /// What the entries follow.
    pub base: Base,
    /// All of them, in order.
    pub entries: Vec<Entry>,
}

impl Stored {
    /// The log of a founder: nothing has happened but that there are members. The first index is gone already, so that whoever has
    /// nothing is given a copy, with whatever data the founder had.
    pub fn founding(cluster: ClusterId, members: Members) -> Self {
        let at = Position { index: 1, term: 1 };
        Self {
            hard: Hard { term: 1, vote: None, cluster: Some(cluster) },
            base: Base { at, members },
            entries: Vec::new(),
        }
    }
}

/// What cannot be: a disk that lost what it had promised to keep, or a program that is wrong. The node must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replicated log contradicts itself: {0}")]
pub struct Inconsistent(pub &'static str);

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who leads, as far as it knows.
    pub leader: Option<MemberId>,
    /// The newest time that it knows of.
    pub term: Term,
    /// The end of its log.
    pub last: Index,
    /// Up to where it knows that all is committed.
    pub commit: Index,
    /// Up to where it has applied.
    pub applied: Index,
    /// The version of its data.
    pub version: Version,
    /// The newest members that it knows of.
    pub members: Members,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows yet.
    Open,
    /// It stays.
    Committed,
    /// Another leader's entry is in its place: it never had an effect.
    Overwritten,
    /// It was long ago.
    Forgotten,
}

/// A member of a log.
///
/// After each call the caller takes the [`Effects`], does them, and takes again until there are none.
#[derive(Debug)]
pub struct Replica {
    raft: Raft,
    desk: Desk,
    asker: Asker,
    /// How far the copy is, as far as was told.
    applied: Applied,
    /// Up to where entries were given out.
    handed: Index,
    next_request: Request,
    answers: Vec<Answer>,
    local: VecDeque<Message>,
}

impl Replica {
    /// As it was left. A node that belongs to no log yet has an empty one, and waits until a leader speaks to it.
    ///
    /// [`Inconsistent`] if log and data do not fit.
    pub fn new(setup: Setup, stored: Stored, applied: Applied) -> Result<Self, Inconsistent> {
        let base = Base { at: applied.at, members: applied.members.clone() };
        let mut raft = Raft::new(setup.id, setup.timing, setup.seed, stored, &base).map_err(Inconsistent)?;
        let next_request = raft.rng().number();
        let (handed, desk, asker) = (applied.at.index, Desk::default(), Asker::default());
        Ok(Self {
            raft,
            desk,
            asker,
            applied,
            handed,
            next_request,
            answers: Vec::new(),
            local: VecDeque::new(),
        })
    }

    /// Time passes; called some ten times per heartbeat and election, with a clock that never goes backwards.
    pub fn tick(&mut self, now: Duration) {
        self.raft.tick(now);
        self.settle();
    }

    /// A message came. Who sent it was proved by whoever carried it, and that it comes from a member, as far as that can be known:
    /// a newer leader may be one of whom this node has not heard yet.
    pub fn receive(&mut self, from: MemberId, frame: Frame) {
        let Frame { cluster, message } = frame;
        if from == self.raft.id() || message.term().is_some_and(|term| term > TERM_MAX) {
            return;
        }
        match self.raft.cluster() {
            Some(known) if known != cluster => return,
            Some(_) => {}
            None if matches!(message, Message::Append { .. } | Message::Piece { .. }) => {
                self.raft.adopt(cluster)
            }
            None => return,
        }
        self.take_in(from, message);
        self.settle();
    }

    /// The writes that were taken last are durable.
    pub fn persisted(&mut self) {
        self.raft.persisted();
        self.settle();
    }

    /// The copy has everything up to there, and such a version.
    ///
    /// [`Inconsistent`] if that is not the version that the entries lead to.
    pub fn applied(&mut self, index: Index, version: Version) -> Result<(), Inconsistent> {
        while self.applied.at.index < index {
            let next = self.applied.at.index + 1;
            let entry =
                self.raft.log().entry(next).ok_or(Inconsistent("an entry was applied that is not there"))?;
            let effective = matches!(self.applied.apply(entry), Verdict::Change(_));
            if let Body::Batch(batch) = &entry.body
                && batch.origin == self.raft.id()
            {
                self.answers.extend(self.asker.judge(batch.request, effective));
            }
        }
        if self.applied.at.index == index && self.applied.version != version {
            return Err(Inconsistent("the data has another version than its entries lead to"));
        }
        self.settle();
        Ok(())
    }

    /// A copy of the data was made, as [`crate::Task::MakeSnapshot`] said; `None` if it could not be.
    pub fn snapshot_made(&mut self, meta: Option<SnapshotMeta>) {
        self.raft.snapshot_made(meta);
        self.settle();
    }

    /// A piece of the copy of that id was kept ([`crate::Task::KeepPiece`]), or could not be.
    pub fn kept(&mut self, id: u64, done: bool) {
        self.raft.kept(id, done);
        self.settle();
    }

    /// A copy is in the place of the data.
    pub fn installed(&mut self, meta: &SnapshotMeta) {
        let SnapshotMeta { at, version, members, .. } = meta.clone();
        self.applied = Applied { at, version, members: members.clone() };
        self.handed = self.handed.max(at.index);
        self.raft.installed(Base { at, members });
        self.answers.extend(self.asker.skipped(version));
        self.settle();
    }

    /// A copy could not be put in the place of the data, which is as it was.
    pub fn not_installed(&mut self) {
        self.raft.not_installed();
        self.settle();
    }

    /// Asks for the turn. One at a time.
    pub fn ask(&mut self) -> Request {
        let request = self.fresh();
        self.asker.ask(request);
        self.settle();
        request
    }

    /// Submits what was computed on a version, with the request of the turn. Answered by [`Answer::Done`], [`Answer::Stale`] or
    /// [`Answer::Unknown`], however long that takes; see [`Replica::forget`].
    ///
    /// # Panics
    /// If the changes are longer than [`CHANGES_LEN_MAX`].
    pub fn submit(&mut self, request: Request, base: Version, changes: Arc<[u8]>) {
        assert!(changes.len() <= CHANGES_LEN_MAX, "batches are bounded by who computes them");
        self.asker.submit(Batch { origin: self.raft.id(), request, base, changes });
        self.settle();
    }

    /// A turn that is not needed any more, or a batch that nobody waits for any more, which may have its effect nevertheless.
    pub fn forget(&mut self, request: Request) {
        if self.asker.forget(request)
            && let Some(leader) = self.raft.leader()
        {
            self.route(leader, Message::Release { request });
        }
        self.settle();
    }

    /// Asks for a barrier; answered by [`Answer::Barrier`].
    pub fn barrier(&mut self) -> Request {
        let request = self.fresh();
        self.asker.barrier(request);
        self.settle();
        request
    }

    /// A barrier that nobody waits for any more.
    pub fn forget_barrier(&mut self, request: Request) {
        self.asker.forget_barrier(request);
    }

    /// Begins a change of membership; [`Replica::fate`] tells what became of it.
    pub fn change(&mut self, change: &Change) -> Result<Position, ChangeRefused> {
        let begun = self.raft.change(change).map(|index| Position { index, term: self.raft.term() });
        self.settle();
        begun
    }

    /// What became of an entry that this node has appended as leader.
    pub fn fate(&self, entry: Position) -> Fate {
        if self.raft.commit() < entry.index {
            return Fate::Open;
        }
        match self.raft.log().term_at(entry.index) {
            Some(term) if term == entry.term => Fate::Committed,
            Some(_) => Fate::Overwritten,
            None => Fate::Forgotten,
        }
    }

    /// Begins to hand leadership over, as is polite before leaving. `false` if this does not lead, or nobody could.
    pub fn hand_over(&mut self) -> bool {
        let begun = self.raft.hand_over();
        self.settle();
        begun
    }

    /// Up to where the log should be forgotten, once the data is durable up to there.
    pub fn compactable(&self) -> Option<Index> {
        let (log, timing) = (self.raft.log(), self.raft.timing());
        if log.len() < timing.log_entries && log.bytes() < timing.log_bytes {
            return None;
        }
        let keep = timing.log_entries / 2;
        let much = log.bytes() >= timing.log_bytes;
        let wanted =
            if much { self.applied.at.index } else { self.applied.at.index.saturating_sub(keep as Index) };
        // Not what members who are there still need, nor what follows a copy that is being sent, unless that becomes too much.
        let bound = match self.raft.needed() {
            Some(needed) if log.bytes() < timing.log_bytes * 4 && log.len() < timing.log_entries * 4 => {
                wanted.min(needed)
            }
            _ => wanted,
        };
        (bound > log.base().at.index).then_some(bound)
    }

    /// The data is durable up to there: the log may forget it.
    pub fn compact(&mut self, to: Index) {
        self.raft.compact(to.min(self.applied.at.index));
    }

    /// Whether this leads.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// Whose log it is.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.raft.cluster()
    }

    /// How it is.
    pub fn status(&self) -> Status {
        Status {
            leader: self.raft.leader(),
            term: self.raft.term(),
            last: self.raft.last(),
            commit: self.raft.commit(),
            applied: self.applied.at.index,
            version: self.applied.version,
            members: self.raft.members().clone(),
        }
    }

    /// What there is to do.
    ///
    /// [`Inconsistent`] if something was seen that cannot be; there is nothing to do any more then but to stop.
    pub fn take_effects(&mut self) -> Result<Effects, Inconsistent> {
        if let Some(fault) = self.raft.fault() {
            return Err(Inconsistent(fault));
        }
        let mut effects = self.raft.take();
        // What follows is applied to the copy that is being put in place, which has it already or is given it then.
        let end = match self.raft.is_installing() {
            true => self.handed,
            false => self.raft.commit().min(self.applied.at.index + UNAPPLIED_MAX),
        };
        while self.handed < end {
            let Some(entry) = self.raft.log().entry(self.handed + 1) else {
                return Err(Inconsistent("a committed entry is not there"));
            };
            effects.apply.push(entry.clone());
            self.handed += 1;
        }
        effects.answers = std::mem::take(&mut self.answers);
        Ok(effects)
    }

    fn fresh(&mut self) -> Request {
        self.next_request = self.next_request.wrapping_add(1);
        self.next_request
    }

    /// Brings about everything that follows from what has just happened.
    fn settle(&mut self) {
        loop {
            self.asker.progress(&self.applied, &mut self.answers);
            let next = &mut self.next_request;
            let questions = self.asker.questions(&self.raft, || {
                *next = next.wrapping_add(1);
                *next
            });
            if let Some(leader) = self.raft.leader() {
                questions.into_iter().for_each(|question| self.route(leader, question));
            }
            if self.raft.is_leader() {
                let (answers, unsure) = self.desk.serve(&self.raft);
                if unsure {
                    self.raft.broadcast();
                }
                let idle = answers.is_empty() && !unsure;
                answers.into_iter().for_each(|(to, answer)| self.route(to, answer));
                if idle && self.local.is_empty() {
                    return;
                }
            } else {
                self.desk.clear();
                if self.local.is_empty() {
                    return;
                }
            }
            while let Some(message) = self.local.pop_front() {
                self.take_in(self.raft.id(), message);
            }
        }
    }

    fn route(&mut self, to: MemberId, message: Message) {
        if to == self.raft.id() {
            self.local.push_back(message);
        } else {
            self.raft.send_beside(to, message);
        }
    }

    fn take_in(&mut self, from: MemberId, message: Message) {
        let now = self.raft.now();
        match message {
            Message::Ask { request } if self.serves(from) => self.desk.ask(&self.raft, from, request),
            Message::Renew { request } => self.desk.renew(now, from, request),
            Message::Release { request } => self.desk.release(from, request),
            Message::Submit { batch } if self.serves(from) => self.submitted(from, batch),
            Message::Barrier { request } if self.serves(from) => self.desk.barrier(&self.raft, from, request),
            Message::Ask { .. } | Message::Submit { .. } | Message::Barrier { .. } => {}
            Message::Grant { request, index } => {
                if !self.asker.granted(request, index) {
                    self.route(from, Message::Release { request });
                }
            }
            Message::Submitted { request, term } => self.asker.submitted(request, term),
            Message::BarrierReply { request, index } => self.asker.barrier_known(request, index),
            message => self.raft.receive(from, message),
        }
    }

    /// Whether this answers questions of a member now. Whoever is not answered asks again.
    fn serves(&self, member: MemberId) -> bool {
        self.raft.is_settled() && self.raft.members().get(member).is_some()
    }

    /// A batch that was computed on what the log's end leads to is appended. Of any other it is known already that it will
    /// have no effect, or had it; its origin sees that in the log.
    fn submitted(&mut self, from: MemberId, batch: Batch) {
        if batch.origin != from || self.raft.is_handing_over() {
            return;
        }
        let (request, term) = (batch.request, self.raft.term());
        if batch.base == self.version_at_end() {
            self.raft.propose(Body::Batch(batch));
        }
        self.desk.release(from, request);
        self.route(from, Message::Submitted { request, term });
    }

    /// The version that the data has once everything in the log is applied.
    fn version_at_end(&self) -> Version {
        let (mut version, mut index) = (self.applied.version, self.applied.at.index + 1);
        while let Some(entry) = self.raft.log().entry(index) {
            match &entry.body {
                Body::Batch(batch) if batch.base == version => version = index,
                _ => {}
            }
            index += 1;
        }
        version
    }
}
