//! The events of a run, in the order of their times.

mod programs;
mod recovery;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use cm_quorum::{
    ClusterId, Effects, Envelope, Frame, MemberId, Members, Message, Rng, SnapshotMeta, Stored, Task, Timing,
};

use super::client::Writer;
use super::copy::{Copy, mix};
use super::disk::Disk;
use super::faults::Fault;
use super::node::{Input, Node, Work};
use super::{Options, Report, Violation};
use crate::Network;
use crate::linear::{Operation, is_linearizable};

const TICK: Duration = Duration::from_millis(20);
const KEYS: u64 = 5;
/// Bytes of a piece of a copy; few, so that there are several.
const PIECE_LEN: usize = 48;
const TURN_WAIT: Duration = Duration::from_secs(4);
const READ_WAIT: Duration = Duration::from_secs(4);

#[derive(Debug)]
enum Event {
    Tick { node: usize, life: u64 },
    Arrive { from: usize, to: usize, bytes: Vec<u8> },
    Flushed { node: usize, life: u64 },
    Worked { node: usize, life: u64 },
    Computed { node: usize, life: u64 },
    Operation,
    Fault,
    Restart { node: usize },
    Made { node: usize, life: u64, meta: Box<SnapshotMeta>, bytes: Vec<u8> },
    Heal,
}

/// A cluster in virtual time.
pub struct World {
    options: Options,
    timing: Timing,
    rng: Rng,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    waiting: BTreeMap<usize, Event>,
    scheduled: u64,
    nodes: Vec<Node>,
    network: Network,
    history: BTreeMap<u64, Vec<Operation>>,
    /// What a key held when somebody last looked.
    known: BTreeMap<u64, u64>,
    next_value: u64,
    stamp: u64,
    leaders: BTreeMap<u64, u64>,
    digests: BTreeMap<u64, u64>,
    calm: bool,
    report: Report,
}

impl World {
    /// The cluster that a seed gives: three or five members, and two nodes that may become some.
    pub fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let timing = Timing {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            resend: Duration::from_millis(300),
            turn: Duration::from_secs(1),
            turn_max: Duration::from_secs(3),
            log_entries: 10 + rng.below(100) as usize,
            log_bytes: 1 << 20,
        };
        let founders = if rng.per_mille(600) { 3 } else { 5 };
        let members =
            (0..founders).fold(Members::new(), |members, id| members.with_voter(MemberId(id), "founder"));
        let mut nodes = Vec::new();
        for id in 0..founders + 2 {
            let mut disk = Disk::default();
            if id < founders {
                let log = Stored::founding(ClusterId(7), members.clone());
                let copy = Copy::founding(&members, log.base.at);
                disk = Disk::new(log, copy);
            }
            let mut node = Node::new(MemberId(id), disk);
            node.offset = rng.duration(Duration::ZERO, Duration::from_secs(1000));
            nodes.push(node);
        }
        Self {
            options,
            timing,
            rng,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            scheduled: 0,
            nodes,
            network: Network::default(),
            history: BTreeMap::new(),
            known: BTreeMap::new(),
            next_value: 0,
            stamp: 0,
            leaders: BTreeMap::new(),
            digests: BTreeMap::new(),
            calm: false,
            report: Report::default(),
        }
    }

    /// Faults, then calm, then the checks.
    pub fn run(mut self) -> Result<Report, Violation> {
        (0..self.nodes.len()).try_for_each(|node| self.start(node))?;
        self.at(Duration::from_millis(500), Event::Operation);
        self.at(Duration::from_millis(1500), Event::Fault);
        let end = self.options.duration;
        self.run_until(end, |_| false)?;
        self.recover()?;
        // Who is no member any more may still wait for what it submitted as one.
        (0..self.nodes.len()).for_each(|node| self.leave_open(node));
        for (key, history) in &self.history {
            if !is_linearizable(history) {
                return Err(Violation::NotLinearizable { key: *key });
            }
        }
        self.report.terms = self.leaders.len() as u64;
        Ok(self.report)
    }

    fn run_until(&mut self, end: Duration, done: impl Fn(&World) -> bool) -> Result<bool, Violation> {
        while let Some(Reverse((time, _, _))) = self.events.peek() {
            if *time > end {
                break;
            }
            let Some(Reverse((time, _, id))) = self.events.pop() else { break };
            let Some(event) = self.waiting.remove(&id) else { continue };
            self.now = time;
            self.report.events += 1;
            self.happen(event)?;
            if done(self) {
                return Ok(true);
            }
        }
        self.now = end;
        Ok(false)
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.scheduled += 1;
        let id = self.scheduled as usize;
        self.events.push(Reverse((time, self.scheduled, id)));
        self.waiting.insert(id, event);
    }

    fn after(&mut self, least: Duration, end: Duration, event: Event) {
        let time = self.now + self.rng.duration(least, end);
        self.at(time, event);
    }

    fn trace(&mut self, what: u64, whom: u64) {
        let micros = u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX);
        self.report.trace = mix(mix(mix(self.report.trace, what), whom), micros);
    }

    fn stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let (node, life) = match event {
            Event::Tick { node, life }
            | Event::Flushed { node, life }
            | Event::Worked { node, life }
            | Event::Made { node, life, .. }
            | Event::Computed { node, life } => (node, Some(life)),
            Event::Arrive { to, .. } => (to, None),
            Event::Operation => return self.operate(),
            Event::Fault => return self.fail(),
            Event::Restart { node } => {
                return if self.nodes[node].replica.is_none() { self.start(node) } else { Ok(()) };
            }
            Event::Heal => {
                self.network.heal();
                return Ok(());
            }
        };
        let whom = &self.nodes[node];
        if whom.replica.is_none() || life.is_some_and(|life| life != whom.life) {
            return Ok(());
        }
        if whom.paused_until > self.now {
            let until = whom.paused_until;
            self.at(until, event);
            return Ok(());
        }
        match event {
            Event::Tick { life, .. } => {
                self.trace(1, node as u64);
                self.at(self.now + TICK, Event::Tick { node, life });
                self.give_up(node);
                self.tell(node, Input::Tick)
            }
            Event::Arrive { from, bytes, .. } => {
                self.trace(2, from as u64);
                let Ok(frame) = Frame::decode(&bytes) else { return Ok(()) };
                self.tell(node, Input::Message(self.nodes[from].id, frame))
            }
            Event::Flushed { .. } => self.flushed(node),
            Event::Worked { .. } => self.worked(node),
            Event::Made { meta, bytes, .. } => {
                // Now and then there is no room for it.
                if self.rng.per_mille(100) {
                    return self.tell(node, Input::Made(None));
                }
                self.nodes[node].outgoing = Some((*meta.clone(), bytes));
                self.tell(node, Input::Made(Some(*meta)))
            }
            Event::Computed { .. } => match &self.nodes[node].client.writer {
                Writer::Computing(batch) => self.tell(node, Input::Submit(batch.request)),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn start(&mut self, node: usize) -> Result<(), Violation> {
        let (timing, seed) = (self.timing, self.rng.number());
        let name = self.nodes[node].id.0;
        self.nodes[node]
            .start(timing, seed)
            .map_err(|source| Violation::Contradiction { node: name, source })?;
        let life = self.nodes[node].life;
        self.after(Duration::ZERO, TICK, Event::Tick { node, life });
        self.tell(node, Input::Tick)
    }

    /// Tells a node something, as soon as it has time.
    fn tell(&mut self, node: usize, input: Input) -> Result<(), Violation> {
        self.nodes[node].inbox.push_back(input);
        self.drain(node)
    }

    fn drain(&mut self, node: usize) -> Result<(), Violation> {
        while self.nodes[node].flushing.is_none() && self.nodes[node].replica.is_some() {
            let Some(input) = self.nodes[node].inbox.pop_front() else { return Ok(()) };
            self.take_in(node, input)
                .map_err(|source| Violation::Contradiction { node: node as u64, source })?;
            self.pump(node)?;
        }
        Ok(())
    }

    fn take_in(&mut self, at: usize, input: Input) -> Result<(), cm_quorum::Inconsistent> {
        let now = self.now;
        let node = &mut self.nodes[at];
        let clock = node.clock(now);
        let Some(replica) = &mut node.replica else { return Ok(()) };
        match input {
            Input::Tick => {
                replica.tick(clock);
                if let Some(to) = replica.compactable() {
                    node.disk.flushed = node.copy.clone();
                    replica.compact(to);
                }
            }
            Input::Message(from, frame) => replica.receive(from, frame),
            Input::Applied(index, version) => replica.applied(index, version)?,
            Input::Made(meta) => replica.snapshot_made(meta),
            Input::Kept(id, done) => replica.kept(id, done),
            Input::Installed(meta) => {
                self.report.snapshots += 1;
                replica.installed(&meta);
            }
            Input::Write => {
                if matches!(node.client.writer, Writer::Idle) && !node.client.queue.is_empty() {
                    node.client.writer = Writer::Asking { request: replica.ask(), until: now + TURN_WAIT };
                }
            }
            Input::Read(pending) => {
                node.client.reads.insert(replica.barrier(), (pending, now + READ_WAIT));
            }
            Input::Submit(request) => self.submit(at, request),
            Input::Change(change) => {
                if replica.change(&change).is_ok() {
                    self.report.changes += 1;
                }
            }
            Input::HandOver => drop(replica.hand_over()),
        }
        Ok(())
    }

    /// Does what the replica wants, until there is nothing, or the disk is waited for.
    fn pump(&mut self, node: usize) -> Result<(), Violation> {
        loop {
            let name = self.nodes[node].id.0;
            let Some(replica) = &mut self.nodes[node].replica else { return Ok(()) };
            let contradiction = |source| Violation::Contradiction { node: name, source };
            let mut effects = replica.take_effects().map_err(contradiction)?;
            if replica.is_leader() {
                let term = replica.status().term;
                let one = *self.leaders.entry(term).or_insert(name);
                if one != name {
                    return Err(Violation::TwoLeaders { term, one, other: name });
                }
            }
            if effects.is_empty() {
                return Ok(());
            }
            self.post(node, std::mem::take(&mut effects.first));
            if effects.writes.is_empty() {
                self.follow(node, effects);
                continue;
            }
            let (life, max) = (self.nodes[node].life, self.nodes[node].flush_max);
            self.nodes[node].flushing = Some(effects);
            self.after(Duration::from_micros(100), max, Event::Flushed { node, life });
            return Ok(());
        }
    }

    fn flushed(&mut self, node: usize) -> Result<(), Violation> {
        self.trace(3, node as u64);
        let Some(mut effects) = self.nodes[node].flushing.take() else { return Ok(()) };
        self.nodes[node].disk.write(std::mem::take(&mut effects.writes));
        if let Some(replica) = &mut self.nodes[node].replica {
            replica.persisted();
        }
        self.follow(node, effects);
        self.pump(node)?;
        self.drain(node)
    }

    /// What comes after the writes.
    fn follow(&mut self, node: usize, effects: Effects) {
        self.post(node, effects.after);
        let work = &mut self.nodes[node].work;
        work.extend(effects.apply.into_iter().map(Work::Apply));
        work.extend(effects.tasks.into_iter().map(Work::Task));
        self.begin_work(node);
        for answer in effects.answers {
            self.answered(node, answer);
        }
    }

    fn post(&mut self, from: usize, envelopes: Vec<Envelope>) {
        let Some(cluster) = self.nodes[from].replica.as_ref().and_then(|replica| replica.cluster()) else {
            return;
        };
        for Envelope { to, message } in envelopes {
            let bytes = Frame { cluster, message }.encode();
            let Some(to) = self.nodes.iter().position(|node| node.id == to) else { continue };
            for delay in self.network.fates(&mut self.rng, from as u64, to as u64) {
                self.at(self.now + delay, Event::Arrive { from, to, bytes: bytes.clone() });
            }
        }
    }

    fn begin_work(&mut self, node: usize) {
        let whom = &mut self.nodes[node];
        if !whom.working && !whom.work.is_empty() {
            whom.working = true;
            let life = whom.life;
            let end =
                if self.rng.per_mille(20) { Duration::from_millis(200) } else { Duration::from_millis(2) };
            self.after(Duration::from_micros(10), end, Event::Worked { node, life });
        }
    }

    fn worked(&mut self, at: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        node.working = false;
        let told = match node.work.pop_front() {
            Some(Work::Apply(entry)) => {
                node.copy.apply(&entry);
                let (index, digest, version) =
                    (entry.at.index, node.copy.digest(), node.copy.applied.version);
                if *self.digests.entry(index).or_insert(digest) != digest {
                    return Err(Violation::Copies { index });
                }
                Some(Input::Applied(index, version))
            }
            Some(Work::Task(task)) => self.task(at, task)?,
            None => None,
        };
        self.begin_work(at);
        told.map_or(Ok(()), |input| self.tell(at, input))
    }

    fn task(&mut self, at: usize, task: Task) -> Result<Option<Input>, Violation> {
        let id = self.rng.number();
        let node = &mut self.nodes[at];
        match task {
            Task::MakeSnapshot => {
                let bytes = node.copy.encode();
                let applied = node.copy.applied.clone();
                let (version, len) = (applied.version, bytes.len() as u64);
                let meta = SnapshotMeta {
                    id,
                    at: applied.at,
                    version,
                    members: applied.members,
                    len,
                    digest: [0; 32],
                };
                let (life, end) = (node.life, node.copy_max);
                let made = Event::Made { node: at, life, meta: Box::new(meta), bytes };
                self.after(Duration::from_micros(100), end, made);
            }
            Task::DropSnapshot => node.outgoing = None,
            Task::SendPiece { to, term, meta, offset } => {
                let Some((_, bytes)) = node.outgoing.as_ref().filter(|(made, _)| made.id == meta.id) else {
                    return Ok(None);
                };
                let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let piece = bytes[begin..bytes.len().min(begin + PIECE_LEN)].into();
                let message = Message::Piece { term, meta, offset, bytes: piece };
                self.post(at, vec![Envelope { to, message }]);
            }
            Task::KeepPiece { meta, offset, bytes } => {
                let done = !self.rng.per_mille(20);
                if done {
                    node.incoming.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                    node.incoming.extend_from_slice(&bytes);
                }
                return Ok(Some(Input::Kept(meta.id, done)));
            }
            Task::Install { meta } => {
                let applied =
                    cm_quorum::Applied { at: meta.at, version: meta.version, members: meta.members.clone() };
                node.copy = Copy::decode(&std::mem::take(&mut node.incoming), applied);
                node.disk.flushed = node.copy.clone();
                let (index, digest) = (meta.at.index, node.copy.digest());
                if *self.digests.entry(index).or_insert(digest) != digest {
                    return Err(Violation::Copies { index });
                }
                return Ok(Some(Input::Installed(meta)));
            }
        }
        Ok(None)
    }

    fn fail(&mut self) -> Result<(), Violation> {
        if self.calm {
            return Ok(());
        }
        self.after(Duration::from_millis(100), Duration::from_millis(1500), Event::Fault);
        let fault = Fault::choose(&mut self.rng, self.nodes.len());
        match fault {
            Fault::Crash { node, back_after } => {
                if self.nodes[node].replica.is_some() {
                    self.crash(node);
                    self.at(self.now + back_after, Event::Restart { node });
                }
            }
            Fault::Pause { node, time } => self.nodes[node].paused_until = self.now + time,
            Fault::Part { cut, heal_after } => {
                cut.into_iter().for_each(|(from, to)| self.network.cut(from, to));
                self.at(self.now + heal_after, Event::Heal);
            }
            Fault::Weather(weather) => self.network.weather = weather,
            Fault::Clock { node, drift } => {
                let shown = self.nodes[node].clock(self.now);
                self.nodes[node].drift = drift;
                // It goes on from where it was.
                let (anew, offset) = (self.nodes[node].clock(self.now), self.nodes[node].offset);
                self.nodes[node].offset = (offset + shown).saturating_sub(anew);
            }
            Fault::SlowDisk { node, flush_max, copy_max } => {
                (self.nodes[node].flush_max, self.nodes[node].copy_max) = (flush_max, copy_max);
            }
            Fault::HandOver => return self.tell_leader(Input::HandOver),
            Fault::Change(change) => return self.tell_leader(Input::Change(change)),
        }
        Ok(())
    }

    fn tell_leader(&mut self, input: Input) -> Result<(), Violation> {
        let leads = |node: &Node| node.replica.as_ref().is_some_and(|replica| replica.is_leader());
        match self.nodes.iter().position(leads) {
            Some(leader) => self.tell(leader, input),
            None => Ok(()),
        }
    }

    fn crash(&mut self, at: usize) {
        self.report.crashes += 1;
        self.leave_open(at);
        self.nodes[at].crash(&mut self.rng, self.options.forgetful_disks);
    }

    /// Whoever waited for an answer gets none.
    fn leave_open(&mut self, at: usize) {
        let client = std::mem::take(&mut self.nodes[at].client);
        if let Writer::Waiting { batch, .. } = &client.writer {
            for (key, operation) in batch.answers(None, 0).into_iter().filter(|(_, one)| one.ended.is_none())
            {
                self.note(key, operation);
            }
        }
    }
}
